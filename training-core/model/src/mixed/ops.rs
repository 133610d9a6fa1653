//! Norm, rotation, gate and products with their backward passes.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::config::ModelConfig;
use crate::layout::{Layout, Slot};

/// Cosines and sines of the rotary angles, each `sequence × head/2` in f32.
pub(crate) fn rotary_tables(config: &ModelConfig, device: &Device) -> Result<(Tensor, Tensor)> {
    let (s, head) = (config.sequence, config.head_size());
    let angle = |i: usize| {
        let (position, pair) = (i / (head / 2), i % (head / 2));
        position as f64 * f64::from(config.rope_base).powf(-2.0 * pair as f64 / head as f64)
    };
    let table = |f: fn(f64) -> f64| {
        let values = (0..s * head / 2).map(|i| f(angle(i)) as f32);
        Tensor::from_iter(values, device)?.reshape((s, head / 2))
    };
    Ok((table(f64::cos)?, table(f64::sin)?))
}

/// 1 where AdamW decays a parameter, else 0, in canonical order.
pub(crate) fn decay_of(layout: &Layout, device: &Device) -> Result<Tensor> {
    let decay = |slot: &Slot| vec![f32::from(u8::from(slot.decay)); slot.range.len()];
    let decayed: Vec<f32> = layout.slots().iter().flat_map(decay).collect();
    Tensor::new(decayed, device)
}

/// `x · wᵀ` for `x` of `r × i` and `w` of `o × i`.
pub(crate) fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.matmul(&w.t()?)
}

/// The gradient of [`linear`]'s `x` from that of its result.
pub(crate) fn input_gradient(y: &Tensor, w: &Tensor) -> Result<Tensor> {
    y.matmul(w)
}

/// The gradient of [`linear`]'s `w` from that of its result.
pub(crate) fn weight_gradient(y: &Tensor, x: &Tensor) -> Result<Tensor> {
    y.t()?.matmul(x)
}

/// RMSNorm of the rows of an f32 matrix, with what its backward pass needs.
pub(crate) struct Normed {
    /// The result in the working type.
    pub(crate) out: Tensor,
    /// `1/√(mean square + ε)` of each row, `r × 1`, f32.
    inverse: Tensor,
    gain: Tensor,
}

impl Normed {
    pub(crate) fn new(x: &Tensor, gain: Tensor, epsilon: f32, work: DType) -> Result<Self> {
        let square = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(epsilon))?;
        let inverse = square.sqrt()?.recip()?;
        let out = x.broadcast_mul(&inverse)?.broadcast_mul(&gain)?;
        Ok(Self {
            out: out.to_dtype(work)?,
            inverse,
            gain,
        })
    }

    /// The gradients of `x`, `r × d`, and of the gain, `d`, both f32, from that of the result. With `n = x·inverse` and
    /// `g = given·gain`: `dx = inverse · (g − n · mean(g·n))`.
    pub(crate) fn backward(&self, x: &Tensor, given: &Tensor) -> Result<(Tensor, Tensor)> {
        let given = given.to_dtype(DType::F32)?;
        let normal = x.broadcast_mul(&self.inverse)?;
        let product = (&given * &normal)?;
        // As a product with ones: a sum over rows reads with large strides.
        let ones = Tensor::ones((1, x.dim(0)?), DType::F32, x.device())?;
        let gain = ones.matmul(&product)?.flatten_all()?;
        let along = product.broadcast_mul(&self.gain)?.mean_keepdim(D::Minus1)?;
        let scaled = given.broadcast_mul(&self.gain)?;
        let across = (scaled - normal.broadcast_mul(&along)?)?;
        Ok((across.broadcast_mul(&self.inverse)?, gain))
    }
}

/// Rotary positions in halves (Su and others 2021).
#[derive(Debug)]
pub(crate) struct Rope {
    pub(crate) cosines: Tensor,
    pub(crate) sines: Tensor,
}

impl Rope {
    /// Turns `x` of `b × heads × s × e`; the result has its type.
    pub(crate) fn turn(&self, x: &Tensor) -> Result<Tensor> {
        self.by(x, 1.0)
    }

    /// The gradient of [`Rope::turn`]'s `x` from that of its result: turning back.
    pub(crate) fn turn_back(&self, x: &Tensor) -> Result<Tensor> {
        self.by(x, -1.0)
    }

    fn by(&self, x: &Tensor, sign: f64) -> Result<Tensor> {
        let work = x.dtype();
        let (s, half) = (x.dim(2)?, x.dim(D::Minus1)? / 2);
        let cosines = self.cosines.narrow(0, 0, s)?;
        let sines = (self.sines.narrow(0, 0, s)? * sign)?;
        let x = x.to_dtype(DType::F32)?;
        let (low, high) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
        let a = (low.broadcast_mul(&cosines)? - high.broadcast_mul(&sines)?)?;
        let b = (high.broadcast_mul(&cosines)? + low.broadcast_mul(&sines)?)?;
        Tensor::cat(&[a, b], 3)?.to_dtype(work)
    }
}

/// `silu(gate) · up` of `r × 2h`, where gate and up stand side by side.
pub(crate) fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let h = gate_up.dim(1)? / 2;
    gate_up.narrow(1, 0, h)?.silu()? * gate_up.narrow(1, h, h)?
}

/// The gradient of [`swiglu`]'s input, in its type, from that of its result.
pub(crate) fn swiglu_backward(gate_up: &Tensor, given: &Tensor) -> Result<Tensor> {
    let h = gate_up.dim(1)? / 2;
    let part = |at: usize| gate_up.narrow(1, at, h)?.to_dtype(DType::F32);
    let (gate, up) = (part(0)?, part(h)?);
    let given = given.to_dtype(DType::F32)?;
    // Where the exponential overflows its reciprocal is 0, as it should be.
    let sigmoid = (gate.neg()?.exp()? + 1.0)?.recip()?;
    let silu = (&gate * &sigmoid)?;
    // silu′ = σ + silu · (1 − σ)
    let slope = (&sigmoid + (&silu * sigmoid.affine(-1.0, 1.0)?)?)?;
    let gate = ((&given * up)? * slope)?;
    let up = (given * silu)?;
    Tensor::cat(&[gate, up], 1)?.to_dtype(gate_up.dtype())
}
