//! The decoder in mixed precision by tensor operations of the back end, on any
//! device: how a GPU trains.
//!
//! Parameters, their gradients, the residual stream, norms, softmax and cross-entropy are `f32`; what goes into a
//! matrix product is of the working type, bf16 on a GPU. The backward pass is written out instead of being recorded:
//! it keeps only what [`Saved`] lists, does the cheap rest again, and writes each weight's gradient where the flat
//! vector has it. Attention goes over blocks of queries and the head over pieces of rows, so that neither a matrix of
//! `sequence × sequence` nor one of `tokens × vocabulary` is ever there as a whole.
//!
//! In f32 on the CPU it gives what the fused kernels give, up to rounding; the
//! tests say so.

mod attention;
mod head;
mod ops;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Result, Tensor};
use plumbline_training_core::trainer::Batch;

use crate::config::ModelConfig;
use crate::engine::GradientReport;
use crate::layout::{BlockRanges, Layout};
use attention::Attention;
use head::Head;
use ops::{Normed, Rope, input_gradient, linear, swiglu, swiglu_backward, weight_gradient};
pub(crate) use ops::{decay_of, rotary_tables};

/// Queries of one block of attention. Rows of scores are computed whole up to
/// the block's last key, so smaller blocks skip more of what the mask hides and
/// larger ones make better products.
const QUERIES: usize = 256;

/// Most logits of one piece of the head: 64 MiB in f32.
const LOGITS: usize = 1 << 24;

/// The decoder with its constant tensors; holds no weights.
#[derive(Debug)]
pub(crate) struct Mixed {
    config: ModelConfig,
    layout: Layout,
    /// Type of what goes into products.
    work: DType,
    rope: Rope,
    attention: Attention,
    head: Head,
    /// 1 where AdamW decays a parameter, else 0.
    pub(crate) decayed: Tensor,
}

/// What one block keeps for its backward pass. `r` is the number of tokens, `d` the width, `b·h` sequences times heads.
struct Saved {
    /// The residual stream before the block, `r × d`, f32.
    before: Tensor,
    /// Queries and keys after rotation, `b × 2h × s × e`.
    rotated: Tensor,
    /// Values, `b × h × s × e`.
    values: Tensor,
    /// What attention gave, `b·h × s × e`.
    attended: Tensor,
    /// Logarithms of the softmax's sums, `b·h × s × 1`, f32.
    sums: Tensor,
    /// The residual stream after attention, `r × d`, f32.
    between: Tensor,
    /// Gate and up, `r × 2·hidden`.
    gate_up: Tensor,
}

/// A batch's shape with the weights that a pass reads.
struct Pass<'a> {
    sequences: usize,
    length: usize,
    /// The parameters, f32.
    master: &'a Tensor,
    /// The same in the working type.
    weights: Tensor,
}

impl Pass<'_> {
    fn tokens(&self) -> usize {
        self.sequences * self.length
    }
}

impl Mixed {
    /// `config` must have passed [`ModelConfig::validate`] and `layout` be its own.
    pub(crate) fn new(
        config: ModelConfig,
        layout: Layout,
        work: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::in_pieces(config, layout, work, device, QUERIES, LOGITS)
    }

    /// [`Mixed::new`] with other sizes of blocks and pieces; both at least 1.
    fn in_pieces(
        config: ModelConfig,
        layout: Layout,
        work: DType,
        device: &Device,
        queries: usize,
        logits: usize,
    ) -> Result<Self> {
        let (cosines, sines) = rotary_tables(&config, device)?;
        Ok(Self {
            rope: Rope { cosines, sines },
            attention: Attention::new(&config, queries, device)?,
            head: Head {
                rows: (logits / config.vocabulary).max(1),
            },
            decayed: decay_of(&layout, device)?,
            work,
            config,
            layout,
        })
    }

    fn pass<'a>(&self, master: &'a Tensor, batch: &Batch) -> Result<Pass<'a>> {
        Ok(Pass {
            sequences: batch.sequences,
            length: batch.length,
            weights: master.to_dtype(self.work)?,
            master,
        })
    }

    /// Mean cross-entropy of `batch` at `master`, in nats per token.
    pub(crate) fn loss(&self, master: &Tensor, batch: &Batch) -> Result<f32> {
        let pass = self.pass(master, batch)?;
        let (inputs, targets) = tokens_of(batch, master.device())?;
        let x = self.forward(&pass, &inputs, None)?;
        let normed = self.norm(&pass, &self.layout.final_norm, &x)?;
        let loss = self.head.loss(&normed.out, &self.output(&pass)?, &targets);
        loss?.to_scalar()
    }

    /// Writes the gradient at `master`, f32 of the layout's length, to `gradient`.
    pub(crate) fn gradient(
        &self,
        master: &Tensor,
        batch: &Batch,
        gradient: &Tensor,
    ) -> Result<GradientReport> {
        let pass = self.pass(master, batch)?;
        let (inputs, targets) = tokens_of(batch, master.device())?;
        let mut saved = Vec::with_capacity(self.layout.blocks.len());
        let x = self.forward(&pass, &inputs, Some(&mut saved))?;
        let normed = self.norm(&pass, &self.layout.final_norm, &x)?;
        let output = self.output(&pass)?;
        let found = self.head.gradient(&normed.out, &output, &targets)?;
        let (mut stream, gain) = normed.backward(&x, &found.input)?;
        drop((normed, x));
        write(gradient, self.layout.final_norm.start, &gain)?;
        for ranges in self.layout.blocks.iter().rev() {
            let Some(kept) = saved.pop() else {
                candle_core::bail!("a block has kept nothing");
            };
            stream = self.block_backward(&pass, ranges, &kept, &stream, gradient)?;
        }
        let (v, d) = (self.config.vocabulary, self.config.width);
        let table = if self.layout.tied {
            found.weight
        } else {
            write(gradient, self.layout.head.start, &found.weight)?;
            Tensor::zeros((v, d), DType::F32, master.device())?
        };
        let table = table.index_add(&inputs, &stream, 0)?;
        write(gradient, self.layout.embedding.start, &table)?;
        let norm = gradient.sqr()?.sum_all()?.sqrt()?;
        // One read, so that the device is waited for once in a step.
        let read = Tensor::stack(&[found.loss, norm], 0)?.to_vec1::<f32>()?;
        let [loss, norm] = read[..] else {
            candle_core::bail!("expected loss and norm");
        };
        Ok(GradientReport {
            loss: f64::from(loss),
            norm: f64::from(norm),
        })
    }

    /// The residual stream after the last block, `r × d` in f32. Each block's
    /// [`Saved`] is pushed to `saved`, if that is there.
    fn forward(
        &self,
        pass: &Pass<'_>,
        inputs: &Tensor,
        mut saved: Option<&mut Vec<Saved>>,
    ) -> Result<Tensor> {
        let (v, d) = (self.config.vocabulary, self.config.width);
        let table = matrix(pass.master, &self.layout.embedding, v, d)?;
        let mut x = table.index_select(inputs, 0)?;
        for ranges in &self.layout.blocks {
            let (after, kept) = self.block(pass, ranges, x)?;
            x = after;
            if let Some(saved) = saved.as_deref_mut() {
                saved.push(kept);
            }
        }
        Ok(x)
    }

    fn block(&self, pass: &Pass<'_>, at: &BlockRanges, x: Tensor) -> Result<(Tensor, Saved)> {
        let ModelConfig {
            width: d,
            hidden,
            heads,
            ..
        } = self.config;
        let (b, s, e) = (pass.sequences, pass.length, self.config.head_size());
        let weight = |at, rows, cols| matrix(&pass.weights, at, rows, cols);
        let normed = self.norm(pass, &at.norm1, &x)?;
        let qkv = linear(&normed.out, &weight(&at.qkv, 3 * d, d)?)?
            .reshape((b, s, 3 * heads, e))?
            .transpose(1, 2)?;
        let rotated = self.rope.turn(&qkv.narrow(1, 0, 2 * heads)?)?;
        let values = qkv.narrow(1, 2 * heads, heads)?.contiguous()?;
        let [q, k, v] = self.heads(pass, &rotated, &values)?;
        let (attended, sums) = self.attention.forward(&q, &k, &v)?;
        let joined = self.join(pass, &attended)?;
        let between = (&x + linear(&joined, &weight(&at.out, d, d)?)?.to_dtype(DType::F32)?)?;
        let normed = self.norm(pass, &at.norm2, &between)?;
        let gate_up = linear(&normed.out, &weight(&at.gate_up, 2 * hidden, d)?)?;
        let gated = swiglu(&gate_up)?;
        let down = linear(&gated, &weight(&at.down, d, hidden)?)?;
        let after = (&between + down.to_dtype(DType::F32)?)?;
        let saved = Saved {
            before: x,
            rotated,
            values,
            attended,
            sums,
            between,
            gate_up,
        };
        Ok((after, saved))
    }

    /// Writes the gradients of a block's weights; `stream` is the gradient of
    /// what the block gave, and what comes back of what it was given.
    fn block_backward(
        &self,
        pass: &Pass<'_>,
        at: &BlockRanges,
        saved: &Saved,
        stream: &Tensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let (d, hidden) = (self.config.width, self.config.hidden);
        let weight = |at, rows, cols| matrix(&pass.weights, at, rows, cols);

        let from_above = stream.to_dtype(self.work)?;
        let gated = swiglu(&saved.gate_up)?;
        let down = weight_gradient(&from_above, &gated)?;
        write(gradient, at.down.start, &down)?;
        let gated = input_gradient(&from_above, &weight(&at.down, d, hidden)?)?;
        let gate_up = swiglu_backward(&saved.gate_up, &gated)?;
        let normed = self.norm(pass, &at.norm2, &saved.between)?;
        let found = weight_gradient(&gate_up, &normed.out)?;
        write(gradient, at.gate_up.start, &found)?;
        let inner = input_gradient(&gate_up, &weight(&at.gate_up, 2 * hidden, d)?)?;
        let (inner, gain) = normed.backward(&saved.between, &inner)?;
        write(gradient, at.norm2.start, &gain)?;
        let stream = (stream + inner)?;

        let from_above = stream.to_dtype(self.work)?;
        let joined = self.join(pass, &saved.attended)?;
        let out = weight_gradient(&from_above, &joined)?;
        write(gradient, at.out.start, &out)?;
        let joined = input_gradient(&from_above, &weight(&at.out, d, d)?)?;
        let qkv = self.attention_backward(pass, saved, &joined)?;
        let normed = self.norm(pass, &at.norm1, &saved.before)?;
        let found = weight_gradient(&qkv, &normed.out)?;
        write(gradient, at.qkv.start, &found)?;
        let inner = input_gradient(&qkv, &weight(&at.qkv, 3 * d, d)?)?;
        let (inner, gain) = normed.backward(&saved.before, &inner)?;
        write(gradient, at.norm1.start, &gain)?;
        stream + inner
    }

    /// The gradient of queries, keys and values before rotation, `r × 3d`, from
    /// that of the joined heads, `r × d`.
    fn attention_backward(
        &self,
        pass: &Pass<'_>,
        saved: &Saved,
        joined: &Tensor,
    ) -> Result<Tensor> {
        let (heads, e) = (self.config.heads, self.config.head_size());
        let (b, s) = (pass.sequences, pass.length);
        let given = joined
            .reshape((b, s, heads, e))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((b * heads, s, e))?;
        let parts = self.heads(pass, &saved.rotated, &saved.values)?;
        let [q, k, v] = self
            .attention
            .backward(&parts, (&saved.attended, &saved.sums), &given)?;
        let whole = |x: Tensor| x.reshape((b, heads, s, e));
        let turned = Tensor::cat(&[whole(q)?, whole(k)?], 1)?;
        let turned = self.rope.turn_back(&turned)?;
        Tensor::cat(&[turned, whole(v)?], 1)?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((pass.tokens(), 3 * self.config.width))
    }

    /// Queries, keys and values, each `b·h × s × e`.
    fn heads(&self, pass: &Pass<'_>, rotated: &Tensor, values: &Tensor) -> Result<[Tensor; 3]> {
        let (heads, e) = (self.config.heads, self.config.head_size());
        let shape = (pass.sequences * heads, pass.length, e);
        let part = |at: usize| rotated.narrow(1, at, heads)?.contiguous()?.reshape(shape);
        Ok([part(0)?, part(heads)?, values.reshape(shape)?])
    }

    /// Heads side by side again, `r × d`.
    fn join(&self, pass: &Pass<'_>, attended: &Tensor) -> Result<Tensor> {
        let (heads, e) = (self.config.heads, self.config.head_size());
        attended
            .reshape((pass.sequences, heads, pass.length, e))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((pass.tokens(), self.config.width))
    }

    fn norm(&self, pass: &Pass<'_>, at: &std::ops::Range<usize>, x: &Tensor) -> Result<Normed> {
        let gain = pass.master.narrow(0, at.start, at.len())?;
        Normed::new(x, gain, self.config.norm_epsilon, self.work)
    }

    fn output(&self, pass: &Pass<'_>) -> Result<Tensor> {
        let (v, d) = (self.config.vocabulary, self.config.width);
        matrix(&pass.weights, &self.layout.head, v, d)
    }
}

/// The tokens that go in, `r`, and those to foresee, `r × 1`.
fn tokens_of(batch: &Batch, device: &Device) -> Result<(Tensor, Tensor)> {
    let (b, s) = (batch.sequences, batch.length);
    let tokens = Tensor::from_slice(&batch.tokens, (b, s + 1), device)?;
    let inputs = tokens.narrow(1, 0, s)?.flatten_all()?;
    let targets = tokens.narrow(1, 1, s)?.flatten_all()?;
    Ok((
        inputs.contiguous()?,
        targets.contiguous()?.reshape((b * s, 1))?,
    ))
}

/// The matrix at `at`, `rows × cols`.
fn matrix(flat: &Tensor, at: &std::ops::Range<usize>, rows: usize, cols: usize) -> Result<Tensor> {
    flat.narrow(0, at.start, at.len())?.reshape((rows, cols))
}

/// Puts one weight's gradient where the flat vector has it.
fn write(gradient: &Tensor, start: usize, found: &Tensor) -> Result<()> {
    let found = found.to_dtype(DType::F32)?.flatten_all()?.contiguous()?;
    gradient.slice_set(&found, 0, start)
}
