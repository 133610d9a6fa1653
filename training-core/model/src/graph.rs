//! The same decoder as an ordinary candle graph with automatic differentiation.
//!
//! It is the yardstick that the fused kernels and the mixed-precision step are
//! tested against, and the fused kernels timed.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use plumbline_training_core::trainer::Batch;

use crate::decoder::Decoder;
use crate::engine::GradientReport;
use crate::layout::BlockRanges;
use crate::mixed::{decay_of, rotary_tables};

/// The unfused decoder with its constant tensors.
#[derive(Debug)]
pub(crate) struct Graph {
    decoder: Decoder,
    cosines: Tensor,
    sines: Tensor,
    mask: Tensor,
    /// 1 where AdamW decays a parameter, else 0.
    pub(crate) decayed: Tensor,
}

impl Graph {
    pub(crate) fn new(decoder: Decoder, device: &Device) -> Result<Self> {
        let sequence = decoder.config.sequence;
        let (cosines, sines) = rotary_tables(&decoder.config, device)?;
        let mask = (0..sequence * sequence).map(|i| {
            if i % sequence > i / sequence {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        });
        Ok(Self {
            decayed: decay_of(&decoder.layout, device)?,
            cosines,
            sines,
            mask: Tensor::from_iter(mask, device)?.reshape((sequence, sequence))?,
            decoder,
        })
    }

    /// Mean cross-entropy of `batch` as a scalar tensor that depends on `flat`.
    pub(crate) fn loss(&self, flat: &Tensor, batch: &Batch) -> Result<Tensor> {
        let (b, s) = (batch.sequences, batch.length);
        let config = &self.decoder.config;
        let layout = &self.decoder.layout;
        let (v, d) = (config.vocabulary, config.width);
        let tokens = Tensor::from_slice(&batch.tokens, (b, s + 1), flat.device())?;
        let inputs = tokens.narrow(1, 0, s)?.flatten_all()?;
        let targets = tokens.narrow(1, 1, s)?.contiguous()?.reshape((b * s, 1))?;
        let table = matrix(flat, &layout.embedding, v, d)?;
        let mut x = table.index_select(&inputs, 0)?;
        for ranges in &layout.blocks {
            x = self.block(flat, ranges, &x, b, s)?;
        }
        let x = self.norm(flat, &layout.final_norm, &x)?;
        let logits = x.matmul(&matrix(flat, &layout.head, v, d)?.t()?)?;
        let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
        let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        (total - shifted.gather(&targets, 1)?)?.mean_all()
    }

    fn norm(&self, flat: &Tensor, at: &std::ops::Range<usize>, x: &Tensor) -> Result<Tensor> {
        let epsilon = f64::from(self.decoder.config.norm_epsilon);
        let square = (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?;
        x.broadcast_div(&square.sqrt()?)?
            .broadcast_mul(&flat.narrow(0, at.start, at.len())?)
    }

    fn block(
        &self,
        flat: &Tensor,
        at: &BlockRanges,
        x: &Tensor,
        b: usize,
        s: usize,
    ) -> Result<Tensor> {
        let config = &self.decoder.config;
        let (d, h) = (config.width, config.hidden);
        let split = |x: Tensor| {
            x.reshape((b, s, config.heads, d / config.heads))?
                .transpose(1, 2)
        };
        let qkv = self
            .norm(flat, &at.norm1, x)?
            .matmul(&matrix(flat, &at.qkv, 3 * d, d)?.t()?)?;
        let q = self.rope(&split(qkv.narrow(1, 0, d)?)?, s)?;
        let k = self.rope(&split(qkv.narrow(1, d, d)?)?, s)?;
        let v = split(qkv.narrow(1, 2 * d, d)?)?.contiguous()?;
        let scale = 1.0 / (config.head_size() as f64).sqrt();
        let mask = self.mask.narrow(0, 0, s)?.narrow(1, 0, s)?;
        let scores = (q.matmul(&k.t()?)? * scale)?.broadcast_add(&mask)?;
        let weights = scores
            .broadcast_sub(&scores.max_keepdim(D::Minus1)?)?
            .exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let attended = weights
            .matmul(&v)?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((b * s, d))?;
        let x = (x + attended.matmul(&matrix(flat, &at.out, d, d)?.t()?)?)?;
        let normed = self.norm(flat, &at.norm2, &x)?;
        let gate_up = normed.matmul(&matrix(flat, &at.gate_up, 2 * h, d)?.t()?)?;
        let gated = (gate_up.narrow(1, 0, h)?.silu()? * gate_up.narrow(1, h, h)?)?;
        x + gated.matmul(&matrix(flat, &at.down, d, h)?.t()?)?
    }

    fn rope(&self, x: &Tensor, s: usize) -> Result<Tensor> {
        let half = x.dim(D::Minus1)? / 2;
        let (low, high) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
        let (c, s) = (self.cosines.narrow(0, 0, s)?, self.sines.narrow(0, 0, s)?);
        let a = (low.broadcast_mul(&c)? - high.broadcast_mul(&s)?)?;
        let b = (high.broadcast_mul(&c)? + low.broadcast_mul(&s)?)?;
        Tensor::cat(&[a, b], 3)
    }

    /// Writes the gradient at `parameters` to `gradient`.
    pub(crate) fn gradient(
        &self,
        parameters: &Tensor,
        batch: &Batch,
        gradient: &Tensor,
    ) -> Result<GradientReport> {
        let flat = Var::from_tensor(parameters)?;
        let loss = self.loss(&flat, batch)?;
        let gradients = loss.backward()?;
        let Some(found) = gradients.get(&flat) else {
            candle_core::bail!("the loss does not depend on the parameters");
        };
        gradient.slice_set(&found.contiguous()?, 0, 0)?;
        let norm = found.sqr()?.sum_all()?.sqrt()?;
        Ok(GradientReport {
            loss: f64::from(loss.to_scalar::<f32>()?),
            norm: f64::from(norm.to_dtype(DType::F32)?.to_scalar::<f32>()?),
        })
    }
}

/// The matrix at `at`, `rows × cols`.
fn matrix(flat: &Tensor, at: &std::ops::Range<usize>, rows: usize, cols: usize) -> Result<Tensor> {
    flat.narrow(0, at.start, at.len())?.reshape((rows, cols))
}
