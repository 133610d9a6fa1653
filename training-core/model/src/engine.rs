//! Gradients of a whole batch: lanes over threads, added up in a fixed order.
//!
//! The number of lanes depends on the batch only, never on the number of
//! threads, so a step gives the same bits on one core and on many. Auditors who
//! recompute a contribution rely on that.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp2, Layout as TensorLayout};
use plumbline_training_core::trainer::Batch;
use rayon::prelude::*;

use crate::decoder::{Decoder, Share, Workspace};
use crate::ops::lanes::sum_squares;
use crate::profile::{Part, Profile};

/// Most lanes of one batch. Each costs one gradient-sized buffer.
const LANES_MAX: usize = 4;

/// Values per piece of the gradient reduction.
const REDUCE_CHUNK: usize = 1 << 14;

/// Loss and gradient norm of one batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GradientReport {
    /// Mean cross-entropy in nats per token.
    pub(crate) loss: f64,
    /// Euclidean norm of the mean gradient.
    pub(crate) norm: f64,
}

/// The fused CPU implementation: a decoder with its reusable buffers.
#[derive(Debug)]
pub(crate) struct Engine {
    decoder: Decoder,
    gradients: Vec<Vec<f32>>,
    /// One per thread that ever ran a lane; the last one returned is the warmest.
    spaces: Mutex<Vec<Workspace>>,
    profile: Profile,
}

/// Whether splitting work over the current pool can help.
fn parallel() -> bool {
    rayon::current_num_threads() > 1
}

/// Cuts a batch into its lanes.
fn shares(batch: &Batch) -> Vec<Share<'_>> {
    let lanes = batch.sequences.min(LANES_MAX);
    (0..lanes)
        .map(|i| Share {
            batch,
            first: i * batch.sequences / lanes,
            last: (i + 1) * batch.sequences / lanes,
        })
        .collect()
}

impl Engine {
    pub(crate) fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            gradients: Vec::new(),
            spaces: Mutex::new(Vec::new()),
            profile: Profile::default(),
        }
    }

    /// Time spent so far, over all threads.
    pub(crate) fn profile(&self) -> Profile {
        let mut total = self.profile.clone();
        for space in self.lock_spaces().iter() {
            total.merge(&space.profile);
        }
        total
    }

    /// Where the optimiser's own time is booked.
    pub(crate) fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    fn lock_spaces(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        // A panicking lane leaves only buffers behind, which hold no invariant.
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` with a workspace of the calling thread.
    fn with_space<T>(&self, work: impl FnOnce(&mut Workspace) -> T) -> T {
        let mut space = self.lock_spaces().pop().unwrap_or_default();
        let result = work(&mut space);
        self.lock_spaces().push(space);
        result
    }

    /// Writes the mean gradient over `batch` to `out`.
    pub(crate) fn gradient(
        &mut self,
        flat: &[f32],
        batch: &Batch,
        out: &mut [f32],
    ) -> GradientReport {
        let shares = shares(batch);
        let tokens = batch.predicted_tokens() as f64;
        let weight = (1.0 / tokens) as f32;
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.resize_with(shares.len().max(gradients.len()), || vec![0.0; flat.len()]);
        let run = |(share, gradient): (&Share<'_>, &mut Vec<f32>)| {
            self.with_space(|space| self.decoder.gradient(flat, *share, weight, gradient, space))
        };
        let losses: Vec<f64> = if parallel() {
            shares.par_iter().zip(&mut gradients).map(run).collect()
        } else {
            shares.iter().zip(&mut gradients).map(run).collect()
        };
        let used = &gradients[..shares.len()];
        let norm = self.profile.time(Part::Reduce, || reduce(used, out));
        self.gradients = gradients;
        GradientReport {
            loss: losses.iter().sum::<f64>() / tokens,
            norm,
        }
    }

    /// Mean cross-entropy over `batch` in nats per token.
    pub(crate) fn loss(&self, flat: &[f32], batch: &Batch) -> f64 {
        let shares = shares(batch);
        let run =
            |share: &Share<'_>| self.with_space(|space| self.decoder.loss(flat, *share, space));
        let losses: Vec<f64> = if parallel() {
            shares.par_iter().map(run).collect()
        } else {
            shares.iter().map(run).collect()
        };
        losses.iter().sum::<f64>() / batch.predicted_tokens() as f64
    }
}

/// `out ← Σ gradients`, in order; returns its Euclidean norm.
fn reduce(gradients: &[Vec<f32>], out: &mut [f32]) -> f64 {
    let piece = |(i, out): (usize, &mut [f32])| {
        let span = i * REDUCE_CHUNK..i * REDUCE_CHUNK + out.len();
        match gradients {
            // The usual count gets one fused pass.
            [a, b, c, d] => {
                let [a, b, c, d] = [a, b, c, d].map(|lane| &lane[span.clone()]);
                let lanes = a.iter().zip(b).zip(c.iter().zip(d));
                for (out, ((a, b), (c, d))) in out.iter_mut().zip(lanes) {
                    *out = ((a + b) + c) + d;
                }
            }
            _ => {
                out.fill(0.0);
                for lane in gradients {
                    for (out, x) in out.iter_mut().zip(&lane[span.clone()]) {
                        *out += x;
                    }
                }
            }
        }
        f64::from(sum_squares(out))
    };
    let sums: Vec<f64> = if parallel() {
        out.par_chunks_mut(REDUCE_CHUNK)
            .enumerate()
            .map(piece)
            .collect()
    } else {
        out.chunks_mut(REDUCE_CHUNK)
            .enumerate()
            .map(piece)
            .collect()
    };
    sums.iter().sum::<f64>().sqrt()
}

/// The gradient as a tensor operation: overwrites the gradient tensor from the
/// parameter tensor. A GPU implementation would add `cuda_fwd` here.
pub(crate) struct GradientOp<'a> {
    engine: RefCell<&'a mut Engine>,
    batch: &'a Batch,
    report: Cell<GradientReport>,
}

impl<'a> GradientOp<'a> {
    pub(crate) fn new(engine: &'a mut Engine, batch: &'a Batch) -> Self {
        Self {
            engine: RefCell::new(engine),
            batch,
            report: Cell::default(),
        }
    }

    /// What the last application measured.
    pub(crate) fn report(&self) -> GradientReport {
        self.report.get()
    }
}

/// The contiguous `f32` values that a layout selects.
pub(crate) fn values<'a>(
    storage: &'a CpuStorage,
    layout: &TensorLayout,
) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values"),
    }
}

/// Writable form of [`values`].
pub(crate) fn values_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &TensorLayout,
) -> candle_core::Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&mut data[start..end]),
        _ => candle_core::bail!("expected contiguous f32 values"),
    }
}

impl InplaceOp2 for GradientOp<'_> {
    fn name(&self) -> &'static str {
        "decoder-gradient"
    }

    fn cpu_fwd(
        &self,
        gradient: &mut CpuStorage,
        gradient_layout: &TensorLayout,
        parameters: &CpuStorage,
        parameters_layout: &TensorLayout,
    ) -> candle_core::Result<()> {
        let out = values_mut(gradient, gradient_layout)?;
        let flat = values(parameters, parameters_layout)?;
        let report = self.engine.borrow_mut().gradient(flat, self.batch, out);
        self.report.set(report);
        Ok(())
    }
}
