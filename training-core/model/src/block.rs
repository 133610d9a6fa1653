//! One transformer block, forward and backward, over a micro-batch.
//!
//! `x₂ = x + O·attention(rope(QKV·norm(x)))`, `y = x₂ + D·swiglu(GU·norm(x₂))`.
//! The backward pass keeps only what is dear to rebuild (projections, attention
//! output); norms, the gate and attention probabilities are recomputed.

use crate::config::ModelConfig;
use crate::layout::{BlockGradients, BlockWeights};
use crate::matmul::{Mat, MatMut, matmul};
use crate::ops::attention::{self, Shape};
use crate::ops::rope::Rope;
use crate::ops::{rms_norm, swiglu};
use crate::profile::{Part, Profile};

/// Sizes shared by every call of one micro-batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) sequences: usize,
    pub(crate) length: usize,
    pub(crate) width: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) epsilon: f32,
}

impl Sizes {
    pub(crate) fn new(config: &ModelConfig, sequences: usize, length: usize) -> Self {
        Self {
            sequences,
            length,
            width: config.width,
            hidden: config.hidden,
            heads: config.heads,
            epsilon: config.norm_epsilon,
        }
    }

    /// Tokens in the micro-batch.
    pub(crate) fn tokens(&self) -> usize {
        self.sequences * self.length
    }

    fn attention(&self) -> Shape {
        Shape {
            length: self.length,
            heads: self.heads,
            width: self.width,
        }
    }
}

/// What one block's forward pass leaves for its backward pass.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) x: Vec<f32>,
    factors1: Vec<f32>,
    pub(crate) qkv: Vec<f32>,
    attended: Vec<f32>,
    lse: Vec<f32>,
    x2: Vec<f32>,
    factors2: Vec<f32>,
    gate_up: Vec<f32>,
}

impl Saved {
    /// Buffers for up to `sizes.tokens()` tokens.
    pub(crate) fn new(sizes: &Sizes) -> Self {
        let (t, d) = (sizes.tokens(), sizes.width);
        Self {
            x: vec![0.0; t * d],
            factors1: vec![0.0; t],
            qkv: vec![0.0; t * 3 * d],
            attended: vec![0.0; t * d],
            lse: vec![0.0; t * sizes.heads],
            x2: vec![0.0; t * d],
            factors2: vec![0.0; t],
            gate_up: vec![0.0; t * 2 * sizes.hidden],
        }
    }
}

/// Buffers that every block of a lane reuses.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    normed: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    attention: Vec<f32>,
    row: Vec<f32>,
}

impl Scratch {
    /// Buffers for up to `sizes.tokens()` tokens.
    pub(crate) fn new(sizes: &Sizes) -> Self {
        let (t, d) = (sizes.tokens(), sizes.width);
        Self {
            normed: vec![0.0; t * d],
            wide: vec![0.0; t * sizes.hidden.max(3 * d)],
            narrow: vec![0.0; t * d],
            attention: vec![0.0; attention::scratch_values(sizes.length)],
            row: vec![0.0; d],
        }
    }
}

/// Runs the block on `saved.x`, filling `saved` and writing `y`.
pub(crate) fn forward(
    sizes: &Sizes,
    weights: &BlockWeights<'_>,
    rope: &Rope,
    saved: &mut Saved,
    y: &mut [f32],
    scratch: &mut Scratch,
    profile: &mut Profile,
) {
    let (t, d, h) = (sizes.tokens(), sizes.width, sizes.hidden);
    let x = &saved.x[..t * d];
    let normed = &mut scratch.normed[..t * d];
    profile.time(Part::Norm, || {
        rms_norm::forward(x, weights.norm1, sizes.epsilon, normed, &mut saved.factors1);
    });
    let qkv = &mut saved.qkv[..t * 3 * d];
    profile.time(Part::Projection, || {
        let w = Mat::new(weights.qkv, 3 * d, d);
        matmul(
            MatMut::new(qkv, t, 3 * d),
            Mat::new(normed, t, d),
            w.t(),
            false,
        );
    });
    let attended = &mut saved.attended[..t * d];
    attend(sizes, rope, qkv, attended, &mut saved.lse, scratch, profile);
    let x2 = &mut saved.x2[..t * d];
    profile.time(Part::Projection, || {
        x2.copy_from_slice(x);
        let w = Mat::new(weights.out, d, d);
        matmul(MatMut::new(x2, t, d), Mat::new(attended, t, d), w.t(), true);
    });
    let normed = &mut scratch.normed[..t * d];
    profile.time(Part::Norm, || {
        rms_norm::forward(
            x2,
            weights.norm2,
            sizes.epsilon,
            normed,
            &mut saved.factors2,
        );
    });
    let gate_up = &mut saved.gate_up[..t * 2 * h];
    profile.time(Part::FeedForward, || {
        let w = Mat::new(weights.gate_up, 2 * h, d);
        matmul(
            MatMut::new(gate_up, t, 2 * h),
            Mat::new(normed, t, d),
            w.t(),
            false,
        );
    });
    let gated = &mut scratch.wide[..t * h];
    profile.time(Part::Swiglu, || swiglu::forward(gate_up, h, gated));
    profile.time(Part::FeedForward, || {
        y.copy_from_slice(x2);
        let w = Mat::new(weights.down, d, h);
        matmul(MatMut::new(y, t, d), Mat::new(gated, t, h), w.t(), true);
    });
}

/// Rotates `qkv` and attends, one sequence after the other so that a sequence
/// is still in cache when its scores are taken.
fn attend(
    sizes: &Sizes,
    rope: &Rope,
    qkv: &mut [f32],
    attended: &mut [f32],
    lse: &mut [f32],
    scratch: &mut Scratch,
    profile: &mut Profile,
) {
    let (s, d) = (sizes.length, sizes.width);
    let sequences = qkv
        .chunks_exact_mut(s * 3 * d)
        .zip(attended.chunks_exact_mut(s * d))
        .zip(lse.chunks_exact_mut(s * sizes.heads));
    for ((qkv, o), lse) in sequences {
        profile.time(Part::Rope, || rope.forward(qkv, d));
        profile.time(Part::Attention, || {
            sizes
                .attention()
                .forward(qkv, o, lse, &mut scratch.attention);
        });
    }
}

/// Turns `dy` (the gradient in the block's output) in place into the gradient in
/// its input. Matrix gradients are written, or added to when `accumulate`; gain
/// gradients are always added to. `saved` is consumed as scratch.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    sizes: &Sizes,
    weights: &BlockWeights<'_>,
    rope: &Rope,
    saved: &mut Saved,
    dy: &mut [f32],
    gradients: &mut BlockGradients<'_>,
    accumulate: bool,
    scratch: &mut Scratch,
    profile: &mut Profile,
) {
    feed_forward_backward(
        sizes, weights, saved, dy, gradients, accumulate, scratch, profile,
    );
    let (t, d) = (sizes.tokens(), sizes.width);
    let dattended = &mut scratch.narrow[..t * d];
    let attended = &saved.attended[..t * d];
    profile.time(Part::Projection, || {
        let dy = Mat::new(dy, t, d);
        let w = Mat::new(weights.out, d, d);
        matmul(MatMut::new(dattended, t, d), dy, w, false);
        let dw = MatMut::new(gradients.out, d, d);
        matmul(dw, dy.t(), Mat::new(attended, t, d), accumulate);
    });
    attend_backward(sizes, rope, saved, scratch, profile);
    let x = &saved.x[..t * d];
    let normed = &mut scratch.normed[..t * d];
    profile.time(Part::Norm, || {
        rms_norm::recompute(x, weights.norm1, &saved.factors1, normed);
    });
    let dnormed = &mut scratch.narrow[..t * d];
    profile.time(Part::Projection, || {
        let dqkv = Mat::new(&scratch.wide[..t * 3 * d], t, 3 * d);
        let w = Mat::new(weights.qkv, 3 * d, d);
        matmul(MatMut::new(dnormed, t, d), dqkv, w, false);
        let dw = MatMut::new(gradients.qkv, 3 * d, d);
        matmul(dw, dqkv.t(), Mat::new(normed, t, d), accumulate);
    });
    profile.time(Part::Norm, || {
        let (gain, dgain) = (weights.norm1, &mut *gradients.norm1);
        rms_norm::backward(
            dnormed,
            x,
            gain,
            &saved.factors1,
            dy,
            dgain,
            &mut scratch.row,
        );
    });
}

/// The second half of the block, whose output gradient `dy` becomes that of `x₂`.
#[allow(clippy::too_many_arguments)]
fn feed_forward_backward(
    sizes: &Sizes,
    weights: &BlockWeights<'_>,
    saved: &mut Saved,
    dy: &mut [f32],
    gradients: &mut BlockGradients<'_>,
    accumulate: bool,
    scratch: &mut Scratch,
    profile: &mut Profile,
) {
    let (t, d, h) = (sizes.tokens(), sizes.width, sizes.hidden);
    let gated = &mut scratch.wide[..t * h];
    profile.time(Part::FeedForward, || {
        let w = Mat::new(weights.down, d, h);
        matmul(MatMut::new(gated, t, h), Mat::new(dy, t, d), w, false);
    });
    let gate_up = &mut saved.gate_up[..t * 2 * h];
    profile.time(Part::Swiglu, || swiglu::backward(gate_up, h, gated));
    let x2 = &saved.x2[..t * d];
    let normed = &mut scratch.normed[..t * d];
    profile.time(Part::Norm, || {
        rms_norm::recompute(x2, weights.norm2, &saved.factors2, normed);
    });
    let dnormed = &mut scratch.narrow[..t * d];
    profile.time(Part::FeedForward, || {
        let dw = MatMut::new(gradients.down, d, h);
        matmul(
            dw,
            Mat::new(dy, t, d).t(),
            Mat::new(gated, t, h),
            accumulate,
        );
        let dgate_up = Mat::new(gate_up, t, 2 * h);
        let dw = MatMut::new(gradients.gate_up, 2 * h, d);
        matmul(dw, dgate_up.t(), Mat::new(normed, t, d), accumulate);
        let w = Mat::new(weights.gate_up, 2 * h, d);
        matmul(MatMut::new(dnormed, t, d), dgate_up, w, false);
    });
    profile.time(Part::Norm, || {
        let (gain, dgain) = (weights.norm2, &mut *gradients.norm2);
        rms_norm::backward(
            dnormed,
            x2,
            gain,
            &saved.factors2,
            dy,
            dgain,
            &mut scratch.row,
        );
    });
}

/// Gradient in the unrotated `qkv`, left in `scratch.wide`, from that of the
/// attention output in `scratch.narrow`.
fn attend_backward(
    sizes: &Sizes,
    rope: &Rope,
    saved: &Saved,
    scratch: &mut Scratch,
    profile: &mut Profile,
) {
    let (t, s, d) = (sizes.tokens(), sizes.length, sizes.width);
    let dqkv = &mut scratch.wide[..t * 3 * d];
    for (i, dqkv) in dqkv.chunks_exact_mut(s * 3 * d).enumerate() {
        let narrow = i * s * d..(i + 1) * s * d;
        profile.time(Part::Attention, || {
            sizes.attention().backward(
                &saved.qkv[i * s * 3 * d..(i + 1) * s * 3 * d],
                &saved.attended[narrow.clone()],
                &saved.lse[i * s * sizes.heads..(i + 1) * s * sizes.heads],
                &scratch.narrow[narrow],
                dqkv,
                &mut scratch.attention,
            );
        });
        profile.time(Part::Rope, || rope.backward(dqkv, d));
    }
}
