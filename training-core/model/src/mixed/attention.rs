//! Causal attention over blocks of queries.
//!
//! The forward pass keeps of the softmax only the logarithm of each row's sum; the backward pass makes the weights of a
//! block again from it, as Dao and others 2022 do. The crates of fused GPU kernels at hand have forward passes only,
//! so training cannot use them.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::config::ModelConfig;

/// The constants of attention; holds no activations.
#[derive(Debug)]
pub(crate) struct Attention {
    /// Queries of a block.
    block: usize,
    /// `block × sequence`: minus infinity where key `j` is after query `i` of a block that ends with the last key.
    mask: Tensor,
    scale: f64,
}

/// One block: queries `start..start + count` and the keys up to the last of them.
#[derive(Clone, Copy)]
struct Block {
    start: usize,
    count: usize,
}

impl Block {
    fn keys(self) -> usize {
        self.start + self.count
    }

    /// Its queries' rows of `x`, `b·h × s × …`.
    fn rows(self, x: &Tensor) -> Result<Tensor> {
        x.narrow(1, self.start, self.count)
    }

    /// Its keys' rows of `x`.
    fn seen(self, x: &Tensor) -> Result<Tensor> {
        x.narrow(1, 0, self.keys())
    }
}

impl Attention {
    /// With at most `block` queries at a time, at least 1.
    pub(crate) fn new(config: &ModelConfig, block: usize, device: &Device) -> Result<Self> {
        let s = config.sequence;
        let block = block.clamp(1, s);
        let mask = (0..block * s).map(|at| {
            let (query, key) = (at / s, at % s);
            if key > s - block + query {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        });
        Ok(Self {
            mask: Tensor::from_iter(mask, device)?.reshape((block, s))?,
            scale: 1.0 / (config.head_size() as f64).sqrt(),
            block,
        })
    }

    fn blocks(&self, s: usize) -> impl DoubleEndedIterator<Item = Block> + use<> {
        let block = self.block;
        (0..s.div_ceil(block)).map(move |number| Block {
            start: number * block,
            count: block.min(s - number * block),
        })
    }

    /// Scaled and masked scores of a block, `b·h × count × keys`, f32.
    fn scores(&self, q: &Tensor, k: &Tensor, block: Block) -> Result<Tensor> {
        let products = block.rows(q)?.matmul(&block.seen(k)?.t()?)?;
        let (rows, columns) = self.mask.dims2()?;
        // The lower right corner fits whatever the block's size.
        let mask = self
            .mask
            .narrow(0, rows - block.count, block.count)?
            .narrow(1, columns - block.keys(), block.keys())?;
        (products.to_dtype(DType::F32)? * self.scale)?.broadcast_add(&mask)
    }

    /// Attends with `q`, `k`, `v`, each `b·h × s × e` and contiguous. Gives what comes out, of their shape and type, and
    /// the logarithms of the softmax's sums, `b·h × s × 1` in f32.
    pub(crate) fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (mut outs, mut sums) = (Vec::new(), Vec::new());
        for block in self.blocks(q.dim(1)?) {
            let scores = self.scores(q, k, block)?;
            let most = scores.max_keepdim(D::Minus1)?;
            let weights = scores.broadcast_sub(&most)?.exp()?;
            let sum = weights.sum_keepdim(D::Minus1)?;
            let weights = weights.broadcast_div(&sum)?.to_dtype(v.dtype())?;
            outs.push(weights.matmul(&block.seen(v)?)?);
            sums.push((most + sum.log()?)?);
        }
        Ok((Tensor::cat(&outs, 1)?, Tensor::cat(&sums, 1)?))
    }

    /// The gradients of queries, keys and values, of their shape and type, from `given`, that of what came out. `kept` is
    /// what [`Attention::forward`] gave.
    pub(crate) fn backward(
        &self,
        [q, k, v]: &[Tensor; 3],
        (out, sums): (&Tensor, &Tensor),
        given: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let (s, work) = (q.dim(1)?, q.dtype());
        let product = (given.to_dtype(DType::F32)? * out.to_dtype(DType::F32)?)?;
        let along = product.sum_keepdim(D::Minus1)?;
        let mut queries = Vec::new();
        let (mut keys, mut values): (Option<Tensor>, Option<Tensor>) = (None, None);
        // From the last block, which sees every key, to the first.
        for block in self.blocks(s).rev() {
            let scores = self.scores(q, k, block)?;
            let weights = scores.broadcast_sub(&block.rows(sums)?)?.exp()?;
            let above = block.rows(given)?;
            let value = weights.to_dtype(work)?.t()?.matmul(&above)?;
            add_rows(&mut values, &value, s)?;
            let pulled = above.matmul(&block.seen(v)?.t()?)?.to_dtype(DType::F32)?;
            let pulled = (pulled.broadcast_sub(&block.rows(&along)?)? * weights)?;
            let scores = (pulled * self.scale)?.to_dtype(work)?;
            queries.push(scores.matmul(&block.seen(k)?)?);
            let key = scores.t()?.matmul(&block.rows(q)?)?;
            add_rows(&mut keys, &key, s)?;
        }
        queries.reverse();
        let (Some(keys), Some(values)) = (keys, values) else {
            candle_core::bail!("no queries");
        };
        Ok([
            Tensor::cat(&queries, 1)?,
            keys.to_dtype(work)?,
            values.to_dtype(work)?,
        ])
    }
}

/// Adds the first rows of a sum of `s` rows, in f32.
fn add_rows(sum: &mut Option<Tensor>, rows: &Tensor, s: usize) -> Result<()> {
    let rows = rows.to_dtype(DType::F32)?;
    let missing = s - rows.dim(1)?;
    let rows = if missing == 0 {
        rows
    } else {
        rows.pad_with_zeros(1, 0, missing)?
    };
    *sum = Some(match sum.take() {
        Some(sum) => (sum + rows)?,
        None => rows,
    });
    Ok(())
}
