//! Next-token logits with a key-value cache.
//!
//! Prompts are read one at a time through the training kernels; decoding steps
//! take a batch of sequences. In both, a sequence's numbers do not depend on
//! which others are beside it, so batched and single decoding agree exactly.

use crate::block::{self, Saved, Scratch, Sizes};
use crate::decoder::Decoder;
use crate::layout::{BlockRanges, BlockWeights};
use crate::ops::lanes::{add_scaled, dot, exp_sum, max, scale};
use crate::ops::{embedding, rms_norm, swiglu};
use crate::profile::Profile;

/// Keys and values of one sequence: the last `window` positions per block.
///
/// Position `p` is in row `p mod window`. Rotary positions make scores depend on
/// distance only, so the window can slide without recomputation.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Per block, `window × d` keys then `window × d` values.
    blocks: Vec<(Vec<f32>, Vec<f32>)>,
    /// Positions seen so far, which is the next position.
    position: usize,
}

impl Cache {
    fn new(decoder: &Decoder) -> Self {
        let values = decoder.config.sequence * decoder.config.width;
        let blocks = decoder.layout.blocks.iter();
        Self {
            blocks: blocks
                .map(|_| (vec![0.0; values], vec![0.0; values]))
                .collect(),
            position: 0,
        }
    }
}

/// `y = x·Wᵀ` (added to `y` when `accumulate`), each value one dot product.
///
/// Not the general product: that picks its summation order by the number of rows,
/// and a row's result must not depend on its neighbours.
fn product(x: &[f32], weights: &[f32], inputs: usize, y: &mut [f32], accumulate: bool) {
    let outputs = weights.len() / inputs;
    for (o, weights) in weights.chunks_exact(inputs).enumerate() {
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
            let base = if accumulate { y[o] } else { 0.0 };
            y[o] = base + dot(x, weights);
        }
    }
}

impl Decoder {
    /// Reads a prompt of 1 to `sequence` tokens; returns its cache and writes the
    /// logits after its last token.
    pub(crate) fn read(&self, flat: &[f32], prompt: &[u32], logits: &mut [f32]) -> Cache {
        let (n, d) = (prompt.len(), self.config.width);
        let sizes = Sizes::new(&self.config, 1, n);
        let (mut saved, mut scratch) = (Saved::new(&sizes), Scratch::new(&sizes));
        let mut profile = Profile::default();
        let mut cache = Cache::new(self);
        let mut stream = vec![0.0; n * d];
        let table = &flat[self.layout.embedding.clone()];
        embedding::forward(prompt.iter().copied(), table, d, &mut stream);
        for (ranges, (keys, values)) in self.layout.blocks.iter().zip(&mut cache.blocks) {
            saved.x[..n * d].copy_from_slice(&stream);
            let weights = BlockWeights::new(flat, ranges);
            let y = &mut stream;
            block::forward(
                &sizes,
                &weights,
                &self.rope,
                &mut saved,
                y,
                &mut scratch,
                &mut profile,
            );
            for (i, row) in saved.qkv.chunks_exact(3 * d).take(n).enumerate() {
                keys[i * d..(i + 1) * d].copy_from_slice(&row[d..2 * d]);
                values[i * d..(i + 1) * d].copy_from_slice(&row[2 * d..]);
            }
        }
        cache.position = n;
        self.head_logits(flat, &stream[(n - 1) * d..], logits);
        cache
    }

    /// Appends one token to each sequence; writes a row of logits for each.
    pub(crate) fn advance(
        &self,
        flat: &[f32],
        tokens: &[u32],
        caches: &mut [&mut Cache],
        logits: &mut [f32],
    ) {
        let d = self.config.width;
        let mut x = vec![0.0; tokens.len() * d];
        let table = &flat[self.layout.embedding.clone()];
        embedding::forward(tokens.iter().copied(), table, d, &mut x);
        for (i, ranges) in self.layout.blocks.iter().enumerate() {
            self.advance_block(flat, ranges, i, &mut x, caches);
        }
        for cache in caches {
            cache.position += 1;
        }
        self.head_logits(flat, &x, logits);
    }

    fn head_logits(&self, flat: &[f32], x: &[f32], logits: &mut [f32]) {
        let d = self.config.width;
        let gain = &flat[self.layout.final_norm.clone()];
        let mut normed = vec![0.0; x.len()];
        let mut factors = vec![0.0; x.len() / d];
        rms_norm::forward(x, gain, self.config.norm_epsilon, &mut normed, &mut factors);
        product(&normed, &flat[self.layout.head.clone()], d, logits, false);
    }

    /// One block over one new position per sequence, in place on `x`.
    fn advance_block(
        &self,
        flat: &[f32],
        ranges: &BlockRanges,
        block: usize,
        x: &mut [f32],
        caches: &mut [&mut Cache],
    ) {
        let (d, h, rows) = (self.config.width, self.config.hidden, caches.len());
        let epsilon = self.config.norm_epsilon;
        let weights = BlockWeights::new(flat, ranges);
        let (mut normed, mut factors) = (vec![0.0; rows * d], vec![0.0; rows]);
        rms_norm::forward(x, weights.norm1, epsilon, &mut normed, &mut factors);
        let mut qkv = vec![0.0; rows * 3 * d];
        product(&normed, weights.qkv, d, &mut qkv, false);
        let mut attended = vec![0.0; rows * d];
        let outputs = qkv
            .chunks_exact_mut(3 * d)
            .zip(attended.chunks_exact_mut(d));
        for ((row, out), cache) in outputs.zip(caches) {
            self.rope.forward_at(row, d, cache.position);
            self.attend_one(row, block, cache, out);
        }
        product(&attended, weights.out, d, x, true);
        rms_norm::forward(x, weights.norm2, epsilon, &mut normed, &mut factors);
        let mut gate_up = vec![0.0; rows * 2 * h];
        product(&normed, weights.gate_up, d, &mut gate_up, false);
        let mut gated = vec![0.0; rows * h];
        swiglu::forward(&gate_up, h, &mut gated);
        product(&gated, weights.down, h, x, true);
    }

    /// Stores the new key and value and attends to the window.
    fn attend_one(&self, row: &[f32], block: usize, cache: &mut Cache, out: &mut [f32]) {
        let (d, window, size) = (
            self.config.width,
            self.config.sequence,
            self.config.head_size(),
        );
        let slot = cache.position % window;
        let seen = (cache.position + 1).min(window);
        let (keys, values) = &mut cache.blocks[block];
        keys[slot * d..(slot + 1) * d].copy_from_slice(&row[d..2 * d]);
        values[slot * d..(slot + 1) * d].copy_from_slice(&row[2 * d..]);
        let mut weights = vec![0.0; seen];
        for (h, out) in out.chunks_exact_mut(size).enumerate() {
            let columns = h * size..(h + 1) * size;
            let query = &row[columns.clone()];
            for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(d)) {
                *weight = dot(query, &key[columns.clone()]);
            }
            let largest = max(&weights);
            let total = exp_sum(&mut weights, largest);
            scale(&mut weights, 1.0 / total);
            out.fill(0.0);
            for (weight, value) in weights.iter().zip(values.chunks_exact(d)) {
                add_scaled(out, *weight, &value[columns.clone()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::ops::check::noise;

    fn model() -> (Decoder, Vec<f32>) {
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
        (decoder, flat)
    }

    #[test]
    fn cached_steps_equal_reading_the_whole_prefix() {
        let (decoder, flat) = model();
        let tokens: Vec<u32> = (0..12).map(|i| (i * 5 + 1) % 23).collect();
        let (mut cached, mut direct) = (vec![0.0; 23], vec![0.0; 23]);
        let mut cache = decoder.read(&flat, &tokens[..3], &mut cached);
        for n in 3..12 {
            decoder.read(&flat, &tokens[..n], &mut direct);
            for (a, b) in cached.iter().zip(&direct) {
                assert!((a - b).abs() < 1e-4, "{n}: {a} against {b}");
            }
            decoder.advance(&flat, &tokens[n..=n], &mut [&mut cache], &mut cached);
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (decoder, flat) = model();
        let mut out = vec![0.0; 23];
        let mut read = |prompt: &[u32]| decoder.read(&flat, prompt, &mut out);
        let (mut a, mut b, mut c) = (read(&[1, 2, 3]), read(&[9]), read(&[1, 2, 3]));
        let (mut both, mut alone) = (vec![0.0; 46], vec![0.0; 23]);
        for step in 0..20 {
            let token = step % 23;
            decoder.advance(&flat, &[7, token], &mut [&mut b, &mut a], &mut both);
            decoder.advance(&flat, &[token], &mut [&mut c], &mut alone);
            assert_eq!(
                both[23..],
                alone[..],
                "step {step}, past the window from 10"
            );
        }
    }
}
