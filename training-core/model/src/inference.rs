//! Next-token logits with a key-value cache.
//!
//! A step takes one token of each of a batch of sequences, or the whole prompt
//! of one. A sequence's numbers depend neither on which others are beside it nor
//! on how much of it was read at once, so all ways agree exactly.

use crate::decoder::Decoder;
use crate::layout::{BlockRanges, BlockWeights};
use crate::ops::lanes::{add_scaled, exp_sum, fma, max, scale};
use crate::ops::{embedding, rms_norm, swiglu};
use crate::packed::{PANEL, Packed};

/// Weights of one model as prompts are read and as tokens are decoded.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) decoder: Decoder,
    /// In canonical order: for prompts, tables and gains.
    flat: Vec<f32>,
    /// The matrices again, laid out for few rows.
    blocks: Vec<PackedBlock>,
    head: Packed,
}

/// One block's matrices.
#[derive(Debug)]
struct PackedBlock {
    qkv: Packed,
    out: Packed,
    gate_up: Packed,
    down: Packed,
}

/// Keys and values of one sequence: the last `window` positions per block.
///
/// Position `p` is in column `p mod window` of the keys and in that row of the
/// values. Rotary positions make scores depend on
/// distance only, so the window can slide without recomputation.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Per block, `d × stride` keys and `window × d` values.
    blocks: Vec<(Vec<f32>, Vec<f32>)>,
    /// Positions seen so far, which is the next position.
    position: usize,
}

impl Cache {
    fn new(decoder: &Decoder) -> Self {
        let (window, d) = (decoder.config.sequence, decoder.config.width);
        let blocks = decoder.layout.blocks.iter();
        Self {
            blocks: blocks
                .map(|_| (vec![0.0; key_stride(window) * d], vec![0.0; window * d]))
                .collect(),
            position: 0,
        }
    }
}

impl Weights {
    /// `flat` must have as many values as the decoder's layout.
    pub(crate) fn new(decoder: Decoder, flat: Vec<f32>) -> Self {
        let (d, h) = (decoder.config.width, decoder.config.hidden);
        let pack = |ranges: &BlockRanges| {
            let weights = BlockWeights::new(&flat, ranges);
            PackedBlock {
                qkv: Packed::new(weights.qkv, d),
                out: Packed::new(weights.out, d),
                gate_up: Packed::new(weights.gate_up, d),
                down: Packed::new(weights.down, h),
            }
        };
        Self {
            blocks: decoder.layout.blocks.iter().map(pack).collect(),
            head: Packed::new(&flat[decoder.layout.head.clone()], d),
            decoder,
            flat,
        }
    }

    /// Bytes of one sequence's cache.
    pub(crate) fn cache_bytes(&self) -> usize {
        let config = &self.decoder.config;
        let rows = key_stride(config.sequence) + config.sequence;
        config.layers * rows * config.width * size_of::<f32>()
    }

    /// Reads a prompt of 1 to `sequence` tokens; returns its cache and writes the
    /// logits after its last token.
    pub(crate) fn read(&self, prompt: &[u32], logits: &mut [f32]) -> Cache {
        let mut cache = Cache::new(&self.decoder);
        let x = self.forward(prompt, &mut [&mut cache], prompt.len());
        let last = x.len() - self.decoder.config.width;
        self.head_logits(&x[last..], logits);
        cache
    }

    /// Appends one token to each sequence; writes a row of logits for each.
    pub(crate) fn advance(&self, tokens: &[u32], caches: &mut [&mut Cache], logits: &mut [f32]) {
        let x = self.forward(tokens, caches, 1);
        self.head_logits(&x, logits);
    }

    /// The last block's output for `each` new tokens of every sequence.
    fn forward(&self, tokens: &[u32], caches: &mut [&mut Cache], each: usize) -> Vec<f32> {
        let d = self.decoder.config.width;
        let mut x = vec![0.0; tokens.len() * d];
        let table = &self.flat[self.decoder.layout.embedding.clone()];
        embedding::forward(tokens.iter().copied(), table, d, &mut x);
        for block in 0..self.blocks.len() {
            self.advance_block(block, &mut x, caches, each);
        }
        for cache in caches {
            cache.position += each;
        }
        x
    }

    fn head_logits(&self, x: &[f32], logits: &mut [f32]) {
        let d = self.decoder.config.width;
        let gain = &self.flat[self.decoder.layout.final_norm.clone()];
        let mut normed = vec![0.0; x.len()];
        let mut factors = vec![0.0; x.len() / d];
        let epsilon = self.decoder.config.norm_epsilon;
        rms_norm::forward(x, gain, epsilon, &mut normed, &mut factors);
        self.head.product(&normed, logits, false);
    }

    /// One block over `each` new positions per sequence, in place on `x`.
    fn advance_block(&self, block: usize, x: &mut [f32], caches: &mut [&mut Cache], each: usize) {
        let config = &self.decoder.config;
        let (d, h, rows) = (config.width, config.hidden, caches.len() * each);
        let epsilon = config.norm_epsilon;
        let weights = BlockWeights::new(&self.flat, &self.decoder.layout.blocks[block]);
        let packed = &self.blocks[block];
        let (mut normed, mut factors) = (vec![0.0; rows * d], vec![0.0; rows]);
        rms_norm::forward(x, weights.norm1, epsilon, &mut normed, &mut factors);
        let mut qkv = vec![0.0; rows * 3 * d];
        packed.qkv.product(&normed, &mut qkv, false);
        let mut attended = vec![0.0; rows * d];
        let outputs = qkv
            .chunks_exact_mut(3 * d)
            .zip(attended.chunks_exact_mut(d));
        for (n, (row, out)) in outputs.enumerate() {
            let cache = &mut *caches[n / each];
            let position = cache.position + n % each;
            self.decoder.rope.forward_at(row, d, position);
            let cache = &mut cache.blocks[block];
            self.decoder.attend_one(row, position, cache, out);
        }
        packed.out.product(&attended, x, true);
        rms_norm::forward(x, weights.norm2, epsilon, &mut normed, &mut factors);
        let mut gate_up = vec![0.0; rows * 2 * h];
        packed.gate_up.product(&normed, &mut gate_up, false);
        let mut gated = vec![0.0; rows * h];
        swiglu::forward(&gate_up, h, &mut gated);
        packed.down.product(&gated, x, true);
    }
}

impl Decoder {
    /// Stores the key and value of `position` and attends to the window before it.
    fn attend_one(
        &self,
        row: &[f32],
        position: usize,
        (keys, values): &mut (Vec<f32>, Vec<f32>),
        out: &mut [f32],
    ) {
        let (d, window, size) = (
            self.config.width,
            self.config.sequence,
            self.config.head_size(),
        );
        let stride = key_stride(window);
        let slot = position % window;
        let seen = (position + 1).min(window);
        store_key(keys, stride, slot, &row[d..2 * d]);
        values[slot * d..(slot + 1) * d].copy_from_slice(&row[2 * d..]);
        let mut weights = vec![0.0; seen.next_multiple_of(PANEL)];
        for (h, out) in out.chunks_exact_mut(size).enumerate() {
            let first = h * size;
            let query = &row[first..first + size];
            weighted_sum(query, &keys[first * stride..], stride, &mut weights);
            let weights = &mut weights[..seen];
            let largest = max(weights);
            let total = exp_sum(weights, largest);
            scale(weights, 1.0 / total);
            weighted_sum(weights, &values[first..], d, out);
        }
    }
}

/// Positions side by side in the keys of a cache, so that every load is whole.
fn key_stride(window: usize) -> usize {
    window.next_multiple_of(PANEL)
}

/// Keys are kept feature by feature: a query meets all positions at once, and
/// no sum is split over vector lanes.
fn store_key(keys: &mut [f32], stride: usize, slot: usize, key: &[f32]) {
    for (positions, key) in keys.chunks_exact_mut(stride).zip(key) {
        positions[slot] = *key;
    }
}

/// `outⱼ = Σᵢ cᵢ·rows[i·stride + j]`, summed in the order of `i`.
fn weighted_sum(coefficients: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let (panels, rest) = out.as_chunks_mut::<PANEL>();
    for (p, panel) in panels.iter_mut().enumerate() {
        let mut sums = [0f32; PANEL];
        for (c, row) in coefficients.iter().zip(rows[p * PANEL..].chunks(stride)) {
            if let Some((row, _)) = row.split_first_chunk::<PANEL>() {
                for lane in 0..PANEL {
                    sums[lane] = fma(*c, row[lane], sums[lane]);
                }
            }
        }
        *panel = sums;
    }
    if !rest.is_empty() {
        rest.fill(0.0);
        let rows = rows[panels.len() * PANEL..].chunks(stride);
        for (c, row) in coefficients.iter().zip(rows) {
            add_scaled(rest, *c, row);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::ModelConfig;
    use crate::ops::check::noise;

    fn model() -> Weights {
        let decoder = Decoder::new(ModelConfig {
            vocabulary: 23,
            width: 16,
            layers: 2,
            heads: 2,
            hidden: 24,
            sequence: 12,
            ..ModelConfig::default()
        });
        let mut flat = crate::init::parameters(&decoder.config, &decoder.layout, 1);
        for (x, n) in flat
            .iter_mut()
            .zip(noise(2, decoder.layout.parameter_count()))
        {
            *x += 0.2 * n;
        }
        Weights::new(decoder, flat)
    }

    #[test]
    fn cached_steps_equal_reading_the_whole_prefix() {
        let weights = model();
        let tokens: Vec<u32> = (0..12).map(|i| (i * 5 + 1) % 23).collect();
        let (mut cached, mut direct) = (vec![0.0; 23], vec![0.0; 23]);
        let mut cache = weights.read(&tokens[..3], &mut cached);
        for n in 3..12 {
            weights.read(&tokens[..n], &mut direct);
            assert_eq!(cached, direct, "{n}");
            weights.advance(&tokens[n..=n], &mut [&mut cache], &mut cached);
        }
    }

    #[test]
    fn probabilities_are_those_that_training_sees() {
        let weights = model();
        let tokens: Vec<u32> = (0..13).map(|i| (i * i * 5 + 1) % 23).collect();
        let mut sum = 0.0;
        let mut logits = vec![0.0; 23];
        for n in 1..13 {
            weights.read(&tokens[..n], &mut logits);
            crate::sampling::log_softmax(&mut logits).unwrap();
            sum -= f64::from(logits[tokens[n] as usize]);
        }
        let batch = plumbline_training_core::trainer::Batch {
            sequences: 1,
            length: 12,
            tokens,
        };
        let share = crate::decoder::Share {
            batch: &batch,
            first: 0,
            last: 1,
        };
        let mut space = crate::decoder::Workspace::default();
        let loss = weights.decoder.loss(&weights.flat, share, &mut space);
        assert!((sum - loss).abs() < 1e-3 * loss, "{sum} against {loss}");
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let weights = model();
        let mut out = vec![0.0; 23];
        let mut read = |prompt: &[u32]| weights.read(prompt, &mut out);
        let (mut a, mut b, mut c) = (read(&[1, 2, 3]), read(&[9]), read(&[1, 2, 3]));
        let (mut both, mut alone) = (vec![0.0; 46], vec![0.0; 23]);
        for step in 0..20 {
            let token = step % 23;
            weights.advance(&[7, token], &mut [&mut b, &mut a], &mut both);
            weights.advance(&[token], &mut [&mut c], &mut alone);
            assert_eq!(
                both[23..],
                alone[..],
                "step {step}, past the window from 10"
            );
        }
    }
}
