//! Where each weight lives in the flat parameter vector.
//!
//! The canonical order is: embedding, then per block {attention gain, fused
//! query-key-value, output, feed-forward gain, fused gate-up, down}, then the
//! final gain, then the head unless it is tied. Matrices are row-major
//! `outputs × inputs`, as PyTorch keeps them, so that neither the forward nor
//! the input-gradient product ever walks a matrix with a power-of-two stride.

use std::ops::Range;

use crate::config::ModelConfig;

/// One named weight of the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Dotted name, for example `blocks.0.qkv`.
    pub name: String,
    /// Rows and columns; gains have one row.
    pub shape: [usize; 2],
    /// Where its values are.
    pub range: Range<usize>,
    /// Whether AdamW decays it (matrices yes, gains no).
    pub decay: bool,
}

/// Ranges of one block's weights.
#[derive(Debug, Clone)]
pub(crate) struct BlockRanges {
    pub(crate) whole: Range<usize>,
    pub(crate) norm1: Range<usize>,
    pub(crate) qkv: Range<usize>,
    pub(crate) out: Range<usize>,
    pub(crate) norm2: Range<usize>,
    pub(crate) gate_up: Range<usize>,
    pub(crate) down: Range<usize>,
}

/// The canonical order of one configuration's parameters.
#[derive(Debug, Clone)]
pub struct Layout {
    slots: Vec<Slot>,
    pub(crate) embedding: Range<usize>,
    pub(crate) blocks: Vec<BlockRanges>,
    pub(crate) final_norm: Range<usize>,
    pub(crate) head: Range<usize>,
    pub(crate) tied: bool,
}

impl Layout {
    /// Lays out `config`, which must have passed [`ModelConfig::validate`].
    pub fn new(config: &ModelConfig) -> Self {
        let (d, h) = (config.width, config.hidden);
        let mut slots: Vec<Slot> = Vec::new();
        let mut offset = 0;
        let mut add = |name: String, shape: [usize; 2], decay: bool| {
            let range = offset..offset + shape[0] * shape[1];
            offset = range.end;
            slots.push(Slot {
                name,
                shape,
                range: range.clone(),
                decay,
            });
            range
        };
        let embedding = add("embedding".into(), [config.vocabulary, d], true);
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let norm1 = add(format!("blocks.{layer}.norm1"), [1, d], false);
            let qkv = add(format!("blocks.{layer}.qkv"), [3 * d, d], true);
            let out = add(format!("blocks.{layer}.out"), [d, d], true);
            let norm2 = add(format!("blocks.{layer}.norm2"), [1, d], false);
            let gate_up = add(format!("blocks.{layer}.gate_up"), [2 * h, d], true);
            let down = add(format!("blocks.{layer}.down"), [d, h], true);
            blocks.push(BlockRanges {
                whole: norm1.start..down.end,
                norm1,
                qkv,
                out,
                norm2,
                gate_up,
                down,
            });
        }
        let final_norm = add("final_norm".into(), [1, d], false);
        let head = if config.tied_head {
            embedding.clone()
        } else {
            add("head".into(), [config.vocabulary, d], true)
        };
        Self {
            slots,
            embedding,
            blocks,
            final_norm,
            head,
            tied: config.tied_head,
        }
    }

    /// Every weight in canonical order; the ranges are adjacent and cover the vector.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Length of the flat vector.
    pub fn parameter_count(&self) -> usize {
        self.slots.last().map_or(0, |slot| slot.range.end)
    }
}

/// Read-only view of one block's weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockWeights<'a> {
    pub(crate) norm1: &'a [f32],
    pub(crate) qkv: &'a [f32],
    pub(crate) out: &'a [f32],
    pub(crate) norm2: &'a [f32],
    pub(crate) gate_up: &'a [f32],
    pub(crate) down: &'a [f32],
}

impl<'a> BlockWeights<'a> {
    pub(crate) fn new(flat: &'a [f32], at: &BlockRanges) -> Self {
        Self {
            norm1: &flat[at.norm1.clone()],
            qkv: &flat[at.qkv.clone()],
            out: &flat[at.out.clone()],
            norm2: &flat[at.norm2.clone()],
            gate_up: &flat[at.gate_up.clone()],
            down: &flat[at.down.clone()],
        }
    }
}

/// Writable view of one block's gradients, in the same order.
#[derive(Debug)]
pub(crate) struct BlockGradients<'a> {
    pub(crate) norm1: &'a mut [f32],
    pub(crate) qkv: &'a mut [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) norm2: &'a mut [f32],
    pub(crate) gate_up: &'a mut [f32],
    pub(crate) down: &'a mut [f32],
}

impl<'a> BlockGradients<'a> {
    pub(crate) fn new(flat: &'a mut [f32], at: &BlockRanges) -> Self {
        let (norm1, rest) = flat[at.whole.clone()].split_at_mut(at.norm1.len());
        let (qkv, rest) = rest.split_at_mut(at.qkv.len());
        let (out, rest) = rest.split_at_mut(at.out.len());
        let (norm2, rest) = rest.split_at_mut(at.norm2.len());
        let (gate_up, down) = rest.split_at_mut(at.gate_up.len());
        Self {
            norm1,
            qkv,
            out,
            norm2,
            gate_up,
            down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_cover_the_vector_without_gaps() {
        for tied_head in [false, true] {
            let config = ModelConfig {
                tied_head,
                ..ModelConfig::default()
            };
            let layout = Layout::new(&config);
            let mut end = 0;
            for slot in layout.slots() {
                assert_eq!(slot.range.start, end);
                assert_eq!(slot.range.len(), slot.shape[0] * slot.shape[1]);
                end = slot.range.end;
            }
            assert_eq!(end, config.parameter_count());
            assert_eq!(end, layout.parameter_count());
        }
    }
}
