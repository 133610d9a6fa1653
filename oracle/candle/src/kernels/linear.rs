//! An affine map in either precision.

use super::Level;
use super::attention::{TILE, tile};
use super::int8::{Codes, Int8Weights, PANEL};
use super::rows::add;

/// How the weights of a model are kept and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 8-bit integers with a scale for every row of weights and of activations, after a rotation of both.
    Int8,
}

/// Weights `outputs × inputs` with a bias.
pub(crate) struct Linear {
    weights: Weights,
    bias: Vec<f32>,
}

enum Weights {
    /// As the file has them, for the products of the crate `gemm`.
    F32 {
        inputs: usize,
        values: Vec<f32>,
    },
    /// By panel of 32 outputs, then input by input: `inputs × 32`, for tiles in 512-bit registers.
    Panels {
        inputs: usize,
        values: Vec<f32>,
    },
    Int8(Int8Weights),
}

/// Rows about to be multiplied, in the form that the precision wants.
#[derive(Default)]
pub(crate) struct Operand {
    codes: Codes,
    values: Vec<f32>,
}

impl Linear {
    /// From row-major `weights` (`outputs × inputs`) and `bias` (one for each output).
    pub(crate) fn new(
        weights: Vec<f32>,
        inputs: usize,
        bias: Vec<f32>,
        (kind, level): (Precision, Level),
    ) -> Self {
        let weights = match kind {
            Precision::F32 if level == Level::Avx512Vnni => Weights::Panels {
                inputs,
                values: panels(&weights, inputs),
            },
            Precision::F32 => Weights::F32 {
                inputs,
                values: weights,
            },
            Precision::Int8 => Weights::Int8(Int8Weights::new(inputs, bias.len(), weights)),
        };
        Self { weights, bias }
    }

    fn inputs(&self) -> usize {
        match &self.weights {
            Weights::F32 { inputs, .. } | Weights::Panels { inputs, .. } => *inputs,
            Weights::Int8(weights) => weights.inputs(),
        }
    }

    /// Makes `operand` ready to take `rows` rows for this map.
    pub(crate) fn prepare(&self, operand: &mut Operand, rows: usize) {
        match &self.weights {
            Weights::F32 { inputs, .. } | Weights::Panels { inputs, .. } => {
                operand.values.resize(rows * inputs, 0.0)
            }
            Weights::Int8(weights) => operand.codes.resize(rows, weights.inputs()),
        }
    }

    /// Stores `x` as row `row` of `operand`; `x` is scratch afterwards.
    pub(crate) fn set(&self, level: Level, operand: &mut Operand, row: usize, x: &mut [f32]) {
        match &self.weights {
            Weights::F32 { inputs, .. } | Weights::Panels { inputs, .. } => {
                operand.values[row * inputs..][..*inputs].copy_from_slice(x);
            }
            Weights::Int8(_) => operand.codes.set(level, row, x),
        }
    }

    /// `out ← operand·weightsᵀ + bias`, `rows × outputs`.
    pub(crate) fn apply(&self, level: Level, operand: &Operand, rows: usize, out: &mut [f32]) {
        let outputs = self.bias.len();
        match &self.weights {
            Weights::Int8(weights) => {
                let panels = 0..outputs / PANEL;
                let bias = Some(self.bias.as_slice());
                weights.multiply(level, &operand.codes, 0..rows, panels, bias, (out, outputs));
            }
            Weights::Panels { inputs, values } => {
                let panels = values.chunks_exact(inputs * PANEL).enumerate();
                for (index, panel) in panels {
                    for first in (0..rows).step_by(TILE) {
                        let own = TILE.min(rows - first);
                        let a = (&operand.values[first * inputs..], *inputs);
                        let c = (&mut out[first * outputs + index * PANEL..], outputs);
                        tile(level, own, *inputs, a, (panel, PANEL), c);
                    }
                }
                for row in out[..rows * outputs].chunks_exact_mut(outputs) {
                    add(level, row, &self.bias);
                }
            }
            Weights::F32 { values, .. } => {
                for row in out[..rows * outputs].chunks_exact_mut(outputs) {
                    row.copy_from_slice(&self.bias);
                }
                add_product(out, &operand.values, values, (rows, self.inputs(), outputs));
            }
        }
    }
}

/// Row-major `weights` with rows of `inputs` values, by panel of 32 outputs and then input by input.
fn panels(weights: &[f32], inputs: usize) -> Vec<f32> {
    let mut packed = vec![0.0; weights.len()];
    for (output, row) in weights.chunks_exact(inputs).enumerate() {
        let lane = output / PANEL * PANEL * inputs + output % PANEL;
        for (input, value) in row.iter().enumerate() {
            packed[lane + input * PANEL] = *value;
        }
    }
    packed
}

/// `c ← c + a·bᵀ`, `a` being `m × k`, `b` `n × k`, and `c` `m × n`.
fn add_product(c: &mut [f32], a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) {
    assert!(c.len() >= m * n && a.len() >= m * k && b.len() >= n * k);
    // SAFETY: the three matrices are dense and lie within their slices, and `c` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.as_ptr(),
            1,
            k as isize,
            b.as_ptr(),
            k as isize,
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
