//! Matrices laid out for products with few rows, as decoding needs them.
//!
//! Every value is summed over the inputs in order, whatever the number of rows
//! and whichever other rows there are: a sequence's numbers must not depend on
//! its neighbours. So the rows share each weight that is read, and the vector
//! lanes run over outputs, where no sum has to be split.

use crate::ops::lanes::fma;

/// Outputs side by side; two 512-bit or four 256-bit registers.
pub(crate) const PANEL: usize = 32;

/// Inputs that are gone through for all rows before the next ones: their part
/// of a panel is 16 KiB and stays in the nearest cache.
const BLOCK: usize = 128;

/// A matrix of `outputs × inputs` in panels of 32 outputs, each panel input by
/// input. The last panel is filled up with zeros.
#[derive(Debug)]
pub(crate) struct Packed {
    outputs: usize,
    inputs: usize,
    values: Vec<f32>,
}

impl Packed {
    /// Packs row-major `weights` with `inputs` columns.
    pub(crate) fn new(weights: &[f32], inputs: usize) -> Self {
        let outputs = weights.len() / inputs;
        let mut values = vec![0.0; outputs.div_ceil(PANEL) * PANEL * inputs];
        for (o, row) in weights.chunks_exact(inputs).enumerate() {
            let panel = &mut values[o / PANEL * PANEL * inputs..][..PANEL * inputs];
            for (weights, x) in panel.chunks_exact_mut(PANEL).zip(row) {
                weights[o % PANEL] = *x;
            }
        }
        Self {
            outputs,
            inputs,
            values,
        }
    }

    /// `y = x·Wᵀ` for rows of `x`, added to `y` when `accumulate`.
    pub(crate) fn product(&self, x: &[f32], y: &mut [f32], accumulate: bool) {
        if !accumulate {
            y.fill(0.0);
        }
        let rows: Vec<&[f32]> = x.chunks_exact(self.inputs).collect();
        for (p, panel) in self.values.chunks_exact(PANEL * self.inputs).enumerate() {
            for (b, part) in panel.chunks(PANEL * BLOCK).enumerate() {
                let from = b * BLOCK;
                let mut tiles = rows.chunks_exact(4);
                for (t, tile) in tiles.by_ref().enumerate() {
                    let tile = [tile[0], tile[1], tile[2], tile[3]].map(|row| &row[from..]);
                    self.add(tile, part, p, 4 * t, y);
                }
                let done = rows.len() - tiles.remainder().len();
                for (r, row) in tiles.remainder().iter().enumerate() {
                    self.add([&row[from..]], part, p, done + r, y);
                }
            }
        }
    }

    /// Adds a part of a panel's products to the rows from `first` on of `y`.
    #[inline(always)]
    fn add<const R: usize>(
        &self,
        rows: [&[f32]; R],
        part: &[f32],
        panel: usize,
        first: usize,
        y: &mut [f32],
    ) {
        let column = panel * PANEL;
        let width = PANEL.min(self.outputs - column);
        let at = |r: usize| (first + r) * self.outputs + column;
        let mut sums = [[0f32; PANEL]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            sums[..width].copy_from_slice(&y[at(r)..at(r) + width]);
        }
        let sums = continued(sums, rows, part);
        for (r, sums) in sums.iter().enumerate() {
            y[at(r)..at(r) + width].copy_from_slice(&sums[..width]);
        }
    }
}

/// The sums of `R` rows, continued over as many inputs as `part` has.
#[inline(always)]
fn continued<const R: usize>(
    mut sums: [[f32; PANEL]; R],
    rows: [&[f32]; R],
    part: &[f32],
) -> [[f32; PANEL]; R] {
    let (weights, _) = part.as_chunks::<PANEL>();
    let rows = rows.map(|row| &row[..weights.len()]);
    for (i, weights) in weights.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][i];
            for lane in 0..PANEL {
                sums[r][lane] = fma(x, weights[lane], sums[r][lane]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::noise;

    #[test]
    fn products_match_plain_sums_and_rows_are_independent() {
        for (outputs, inputs, rows) in [(1, 1, 1), (32, 8, 4), (33, 7, 5), (70, 300, 11)] {
            let (weights, x) = (noise(1, outputs * inputs), noise(2, rows * inputs));
            let packed = Packed::new(&weights, inputs);
            let mut y = vec![1.0; rows * outputs];
            packed.product(&x, &mut y, false);
            let mut twice = y.clone();
            packed.product(&x, &mut twice, true);
            for (twice, y) in twice.iter().zip(&y) {
                assert!((twice - 2.0 * y).abs() < 1e-4);
            }
            for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact(outputs)) {
                let mut alone = vec![0.0; outputs];
                packed.product(x, &mut alone, false);
                for ((weights, y), alone) in weights.chunks_exact(inputs).zip(y).zip(&alone) {
                    let plain: f32 = weights.iter().zip(x).map(|(w, x)| w * x).sum();
                    assert!((alone - plain).abs() < 1e-4, "{alone} against {plain}");
                    assert_eq!(y, alone);
                }
            }
        }
    }
}
