//! AdamW in one pass over parameters, moments and gradient.

use candle_core::{CpuStorage, InplaceOp2, Layout as TensorLayout, Tensor};
use rayon::prelude::*;

use crate::config::AdamW;
use crate::engine::{values, values_mut};
use crate::error::{ModelError, Result};
use crate::layout::Layout;
use crate::ops::lanes::fma;

/// Values per parallel piece.
const CHUNK: usize = 1 << 14;

/// First bytes of a serialised optimiser state; the last one is its version.
const MAGIC: [u8; 8] = *b"adamw\0\0\x01";

/// The scalars of one AdamW update (Loshchilov and Hutter 2019):
/// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`,
/// `θ ← θ − lr·(m/c₁ / (√(v/c₂) + ε) + λθ)`, `cᵢ = 1 − βᵢᵗ`, with `g` first
/// multiplied by the clipping factor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) eps: f32,
    /// `lr / c₁`.
    pub(crate) rate: f32,
    /// `1 / √c₂`.
    pub(crate) root: f32,
    /// `lr · λ`, applied to matrices only.
    pub(crate) decay: f32,
    /// Factor that brings the gradient under the clip norm.
    pub(crate) clip: f32,
}

impl Update {
    /// The update number `step` (from 1) at learning rate `lr`, for a gradient of
    /// Euclidean norm `norm`.
    pub(crate) fn new(hyper: &AdamW, step: u64, lr: f32, norm: f64) -> Self {
        let power = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let clip = f64::from(hyper.clip_norm) / norm.max(f64::MIN_POSITIVE);
        Self {
            beta1: hyper.beta1,
            beta2: hyper.beta2,
            eps: hyper.eps,
            rate: (f64::from(lr) / power(hyper.beta1)) as f32,
            root: (1.0 / power(hyper.beta2).sqrt()) as f32,
            decay: lr * hyper.weight_decay,
            clip: clip.min(1.0) as f32,
        }
    }

    /// Applies the update to all parameters of a layout; the five slices are of its length.
    pub(crate) fn apply_all(
        &self,
        layout: &Layout,
        theta: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
        gradient: &[f32],
    ) {
        for slot in layout.slots() {
            let at = slot.range.clone();
            let decay = if slot.decay { self.decay } else { 0.0 };
            let pieces = theta[at.clone()]
                .par_chunks_mut(CHUNK)
                .zip(m[at.clone()].par_chunks_mut(CHUNK))
                .zip(v[at.clone()].par_chunks_mut(CHUNK))
                .zip(gradient[at].par_chunks(CHUNK));
            pieces.for_each(|(((theta, m), v), g)| self.apply(decay, theta, m, v, g));
        }
    }

    /// Applies the update to the `3 × n` state `[θ, m, v]` by tensor operations, on whatever device it is; `decayed` is
    /// 1 where a parameter is decayed, else 0.
    pub(crate) fn apply_by_operations(
        &self,
        state: &Tensor,
        gradient: &Tensor,
        decayed: &Tensor,
    ) -> candle_core::Result<()> {
        let (beta1, beta2) = (f64::from(self.beta1), f64::from(self.beta2));
        let g = (gradient * f64::from(self.clip))?;
        let m = ((state.get(1)? * beta1)? + (&g * (1.0 - beta1))?)?;
        let v = ((state.get(2)? * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
        let root = ((v.sqrt()? * f64::from(self.root))? + f64::from(self.eps))?;
        let theta = state.get(0)?;
        let decay = ((&theta * decayed)? * f64::from(self.decay))?;
        let theta = ((theta - ((&m * f64::from(self.rate))? / root)?)? - decay)?;
        for (row, values) in [theta, m, v].into_iter().enumerate() {
            state.slice_set(&values.unsqueeze(0)?, 0, row)?;
        }
        Ok(())
    }

    /// Applies the update to one run of values that share `decay`.
    fn apply(&self, decay: f32, theta: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        let (rest1, rest2) = (1.0 - self.beta1, 1.0 - self.beta2);
        let moments = m.iter_mut().zip(v);
        for ((theta, (m, v)), g) in theta.iter_mut().zip(moments).zip(g) {
            let g = g * self.clip;
            *m = fma(self.beta1, *m, rest1 * g);
            *v = fma(self.beta2, *v, rest2 * g * g);
            let step = self.rate * *m / fma(v.sqrt(), self.root, self.eps);
            *theta -= fma(decay, *theta, step);
        }
    }
}

/// The update as a tensor operation on the `3 × n` state `[θ, m, v]`.
pub(crate) struct UpdateOp<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) update: Update,
}

impl InplaceOp2 for UpdateOp<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        state: &mut CpuStorage,
        state_layout: &TensorLayout,
        gradient: &CpuStorage,
        gradient_layout: &TensorLayout,
    ) -> candle_core::Result<()> {
        let state = values_mut(state, state_layout)?;
        let gradient = values(gradient, gradient_layout)?;
        let n = gradient.len();
        if state.len() != 3 * n || n != self.layout.parameter_count() {
            candle_core::bail!("optimiser state does not fit the gradient");
        }
        let (theta, moments) = state.split_at_mut(n);
        let (m, v) = moments.split_at_mut(n);
        self.update.apply_all(self.layout, theta, m, v, gradient);
        Ok(())
    }
}

/// Serialises the moments and the number of updates done.
///
/// # Errors
/// A tensor back end failure.
pub(crate) fn state_to_bytes(state: &Tensor, steps: u64) -> Result<Vec<u8>> {
    let moments = state.narrow(0, 1, 2)?.flatten_all()?.to_vec1::<f32>()?;
    let mut bytes = Vec::with_capacity(24 + 4 * moments.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&steps.to_le_bytes());
    bytes.extend_from_slice(&(moments.len() as u64 / 2).to_le_bytes());
    bytes.extend(moments.iter().flat_map(|x| x.to_le_bytes()));
    Ok(bytes)
}

/// Restores what [`state_to_bytes`] gave; returns the number of updates done.
///
/// # Errors
/// [`ModelError::Optimizer`] when the bytes are not a state of this size.
pub(crate) fn state_from_bytes(state: &Tensor, bytes: &[u8]) -> Result<u64> {
    let n = state.dim(1)?;
    let bad = |reason: &str| ModelError::Optimizer(reason.to_owned());
    let (header, body) = bytes
        .split_at_checked(24)
        .ok_or_else(|| bad("too short to hold a header"))?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&header[at..at + 8]);
        word
    };
    if word(0) != MAGIC {
        return Err(bad("not an AdamW state of a known version"));
    }
    if u64::from_le_bytes(word(16)) != n as u64 || body.len() != 8 * n {
        return Err(bad("written for another number of parameters"));
    }
    let moments: Vec<f32> = body
        .as_chunks::<4>()
        .0
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect();
    if moments.iter().any(|x| !x.is_finite()) {
        return Err(bad("holds a value that is not finite"));
    }
    let moments = Tensor::from_vec(moments, (2, n), state.device())?;
    state.slice_set(&moments, 0, 1)?;
    Ok(u64::from_le_bytes(word(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_written_out_formula() {
        let hyper = AdamW {
            clip_norm: 0.5,
            ..AdamW::default()
        };
        let (mut theta, mut m, mut v) = ([0.3f32], [0.02f32], [0.004f32]);
        let update = Update::new(&hyper, 3, 0.01, 2.0);
        update.apply(update.decay, &mut theta, &mut m, &mut v, &[1.2]);
        let g = 1.2 * 0.25;
        let (m1, v1) = (0.9 * 0.02 + 0.1 * g, 0.95 * 0.004 + 0.05 * g * g);
        let (c1, c2) = (1.0 - 0.9f64.powi(3), 1.0 - 0.95f64.powi(3));
        let step = m1 / c1 / ((v1 / c2).sqrt() + 1e-8) + 0.1 * 0.3;
        assert!((f64::from(theta[0]) - (0.3 - 0.01 * step)).abs() < 1e-6);
        assert!((f64::from(m[0]) - m1).abs() < 1e-7);
        assert!((f64::from(v[0]) - v1).abs() < 1e-7);
    }

    #[test]
    fn small_gradients_are_not_scaled_up() {
        let update = Update::new(&AdamW::default(), 1, 0.1, 0.0);
        assert_eq!(update.clip, 1.0);
    }
}
