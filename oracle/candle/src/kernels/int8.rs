//! Products with 8-bit weights and 8-bit activations.
//!
//! A row of weights has one scale, a row of activations another, so a product is an exact sum of integers times two
//! numbers. Both sides are rotated first ([`rotate`](super::rows::rotate)), which is what makes one scale for a row
//! enough. Sums of integers do not depend on the order, so every level gives the same bits.

use std::ops::Range;

use super::Level;
use super::rows::{quantise, rotate, rotation_block};

/// Outputs computed side by side.
pub(crate) const PANEL: usize = 32;

/// Inputs multiplied by one instruction.
pub(crate) const QUAD: usize = 4;

/// Rows of activations in 8 bits.
#[derive(Default)]
pub(crate) struct Codes {
    /// `rows × width`, each 128 more than the signed value.
    pub(crate) codes: Vec<u8>,
    /// Step of each row.
    pub(crate) scales: Vec<f32>,
    width: usize,
}

impl Codes {
    /// Makes room for `rows` rows of `width` values; what was there is lost.
    pub(crate) fn resize(&mut self, rows: usize, width: usize) {
        self.width = width;
        self.codes.resize(rows * width, 0);
        self.scales.resize(rows, 0.0);
    }

    /// Rotates `x` in place and stores it as row `row`.
    pub(crate) fn set(&mut self, level: Level, row: usize, x: &mut [f32]) {
        rotate(level, x, rotation_block(x.len()));
        let codes = &mut self.codes[row * self.width..][..self.width];
        self.scales[row] = quantise(level, x, codes);
    }
}

/// A matrix of weights, `outputs × inputs`, in 8 bits.
pub(crate) struct Int8Weights {
    inputs: usize,
    outputs: usize,
    /// By panel of 32 outputs, then by four inputs, then output by output: the four bytes that one lane multiplies.
    packed: Vec<i8>,
    scales: Vec<f32>,
    /// −128 times each row's sum, which takes back the 128 added to every activation.
    offsets: Vec<i32>,
}

impl Int8Weights {
    /// All zero. `inputs` is a multiple of 16 and `outputs` of 32; the readers of models check that.
    pub(crate) fn empty(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            packed: vec![0; inputs * outputs],
            scales: vec![0.0; outputs],
            offsets: vec![0; outputs],
        }
    }

    /// Quantises the weights of one output; `values` is scratch afterwards.
    pub(crate) fn set_row(&mut self, output: usize, values: &mut [f32]) {
        let level = Level::detect();
        let block = rotation_block(self.inputs);
        let mut codes = vec![0u8; self.inputs];
        rotate(level, values, block);
        self.scales[output] = quantise(level, values, &mut codes) / block as f32;
        let lane = (output / PANEL) * PANEL * self.inputs + (output % PANEL) * QUAD;
        let mut sum = 0;
        for (quad, four) in codes.chunks_exact(QUAD).enumerate() {
            for (i, code) in four.iter().enumerate() {
                let value = (code ^ 0x80) as i8;
                sum += i32::from(value);
                self.packed[lane + quad * PANEL * QUAD + i] = value;
            }
        }
        self.offsets[output] = -128 * sum;
    }

    /// Quantises row-major `weights`, `outputs × inputs`.
    pub(crate) fn new(inputs: usize, outputs: usize, mut weights: Vec<f32>) -> Self {
        let mut packed = Self::empty(inputs, outputs);
        for (output, row) in weights.chunks_exact_mut(inputs).enumerate() {
            packed.set_row(output, row);
        }
        packed
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// One output's weights as numbers, not rotated: what the integers stand for.
    pub(crate) fn row(&self, level: Level, output: usize, out: &mut [f32]) {
        let lane = (output / PANEL) * PANEL * self.inputs + (output % PANEL) * QUAD;
        for (i, out) in out.iter_mut().enumerate() {
            *out = f32::from(self.packed[lane + (i / QUAD) * PANEL * QUAD + i % QUAD])
                * self.scales[output];
        }
        rotate(level, out, rotation_block(self.inputs));
    }

    /// `out[r][o] ← Σ_i x[r][i]·w[o][i] + bias[o]` for the rows `rows` of `x` and the panels `panels` of outputs.
    /// Row `r` of `out` starts at `(r − rows.start)·stride`, and its first value is the first output of `panels`.
    pub(crate) fn multiply(
        &self,
        level: Level,
        x: &Codes,
        rows: Range<usize>,
        panels: Range<usize>,
        bias: Option<&[f32]>,
        (out, stride): (&mut [f32], usize),
    ) {
        let columns = panels.len() * PANEL;
        assert!(x.width == self.inputs && rows.end * x.width <= x.codes.len());
        assert!(panels.end * PANEL <= self.outputs && rows.end <= x.scales.len());
        assert!(columns <= stride || rows.len() <= 1);
        assert!(rows.is_empty() || (rows.len() - 1) * stride + columns <= out.len());
        assert!(bias.is_none_or(|bias| bias.len() == self.outputs));
        let codes = &x.codes[rows.start * x.width..rows.end * x.width];
        let scales = &x.scales[rows];
        for (index, panel) in panels.enumerate() {
            let first = panel * PANEL;
            let panel = Panel {
                weights: &self.packed[first * self.inputs..][..PANEL * self.inputs],
                scales: &self.scales[first..][..PANEL],
                offsets: &self.offsets[first..][..PANEL],
                bias: bias.map_or(&ZEROS, |bias| &bias[first..][..PANEL]),
            };
            panel.multiply(level, codes, scales, &mut out[index * PANEL..], stride);
        }
    }
}

static ZEROS: [f32; PANEL] = [0.0; PANEL];

/// 32 outputs of a matrix.
pub(crate) struct Panel<'a> {
    pub(crate) weights: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) offsets: &'a [i32],
    pub(crate) bias: &'a [f32],
}

impl Panel<'_> {
    fn multiply(&self, level: Level, codes: &[u8], scales: &[f32], out: &mut [f32], stride: usize) {
        #[cfg(target_arch = "x86_64")]
        match level {
            Level::Avx512Vnni => return super::wide::int8_panel(self, codes, scales, out, stride),
            Level::Avx2 => return super::wide::int8_panel_avx2(self, codes, scales, out, stride),
            Level::Portable => {}
        }
        let _ = level;
        let width = self.weights.len() / PANEL;
        for (row, (codes, scale)) in codes.chunks_exact(width).zip(scales).enumerate() {
            let mut sums = [0i32; PANEL];
            let quads = codes.chunks_exact(QUAD);
            for (four, weights) in quads.zip(self.weights.chunks_exact(PANEL * QUAD)) {
                for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(QUAD)) {
                    for (code, weight) in four.iter().zip(weights) {
                        *sum += i32::from(*code) * i32::from(*weight);
                    }
                }
            }
            let out = &mut out[row * stride..][..PANEL];
            for (lane, out) in out.iter_mut().enumerate() {
                let sum = (sums[lane] + self.offsets[lane]) as f32;
                *out = sum * (scale * self.scales[lane]) + self.bias[lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{levels, noise};
    use super::*;

    #[test]
    fn products_are_close_to_exact_and_alike_at_every_level() {
        for (inputs, outputs, rows) in [(16, 32, 1), (48, 64, 13), (384, 96, 31), (640, 32, 12)] {
            let (weights, x) = (noise(1, inputs * outputs), noise(2, inputs * rows));
            let bias = noise(3, outputs);
            let matrix = Int8Weights::new(inputs, outputs, weights.clone());
            let mut first: Option<Vec<f32>> = None;
            for level in levels() {
                let mut codes = Codes::default();
                codes.resize(rows, inputs);
                for row in 0..rows {
                    let mut values = x[row * inputs..][..inputs].to_vec();
                    codes.set(level, row, &mut values);
                }
                let mut out = vec![f32::NAN; rows * outputs];
                let panels = 0..outputs / PANEL;
                matrix.multiply(
                    level,
                    &codes,
                    0..rows,
                    panels,
                    Some(&bias),
                    (&mut out, outputs),
                );
                for row in 0..rows {
                    for output in 0..outputs {
                        let exact: f32 = (0..inputs)
                            .map(|i| x[row * inputs + i] * weights[output * inputs + i])
                            .sum::<f32>()
                            + bias[output];
                        let error = (out[row * outputs + output] - exact).abs();
                        assert!(error < 0.06 * (inputs as f32).sqrt(), "{level:?}: {error}");
                    }
                }
                let first = first.get_or_insert_with(|| out.clone());
                for (a, b) in first.iter().zip(&out) {
                    assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{level:?}");
                }
            }
        }
    }

    #[test]
    fn rows_and_panels_can_be_taken_apart() {
        let weights = noise(4, 64 * 96);
        let matrix = Int8Weights::new(64, 96, weights.clone());
        let level = Level::detect();
        let mut codes = Codes::default();
        codes.resize(5, 64);
        for row in 0..5 {
            codes.set(level, row, &mut noise(10 + row as u64, 64));
        }
        let mut all = vec![0.0; 5 * 96];
        matrix.multiply(level, &codes, 0..5, 0..3, None, (&mut all, 96));
        let mut part = vec![0.0; 2 * 32];
        matrix.multiply(level, &codes, 3..5, 1..2, None, (&mut part, 32));
        assert_eq!(part[..32], all[3 * 96 + 32..][..32]);
        assert_eq!(part[32..], all[4 * 96 + 32..][..32]);
        let mut row = vec![0.0; 64];
        matrix.row(level, 70, &mut row);
        for (a, b) in row.iter().zip(&weights[70 * 64..]) {
            assert!((a - b).abs() < 0.08);
        }
    }
}
