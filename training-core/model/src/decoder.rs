//! The whole decoder over a lane of sequences: loss and gradient.
//!
//! A lane is a fixed share of a batch's sequences with its own gradient buffer;
//! lanes run on different threads without meeting. Within a lane, sequences go
//! through the network a micro-batch at a time so that activations stay near.

use plumbline_training_core::trainer::Batch;

use crate::block::{self, Saved, Scratch, Sizes};
use crate::config::ModelConfig;
use crate::layout::{BlockGradients, BlockWeights, Layout};
use crate::ops::cross_entropy::{Head, chunk_rows};
use crate::ops::rope::Rope;
use crate::ops::{embedding, rms_norm};
use crate::profile::{Part, Profile};

/// Tokens that a micro-batch aims at: enough rows for the products to run at
/// full speed, few enough for one block's activations to stay in cache.
pub(crate) const MICRO_BATCH_TOKENS: usize = 384;

/// A decoder's shape with its position tables; holds no weights.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) layout: Layout,
    pub(crate) rope: Rope,
}

impl Decoder {
    /// `config` must have passed [`ModelConfig::validate`].
    pub(crate) fn new(config: ModelConfig) -> Self {
        Self {
            layout: Layout::new(&config),
            rope: Rope::new(config.sequence, config.head_size(), config.rope_base),
            config,
        }
    }
}

/// Activation buffers of whichever thread runs a lane, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) profile: Profile,
    capacity: usize,
    length: usize,
    saved: Vec<Saved>,
    scratch: Scratch,
    /// Input of the final norm and, going back, the gradient of the stream.
    stream: Vec<f32>,
    pub(crate) normed: Vec<f32>,
    pub(crate) dnormed: Vec<f32>,
    dstream: Vec<f32>,
    factors: Vec<f32>,
    row: Vec<f32>,
    logits: Vec<f32>,
    targets: Vec<u32>,
}

impl Workspace {
    /// Grows the buffers to hold micro-batches of `sequences × length` tokens.
    fn reserve(&mut self, config: &ModelConfig, sequences: usize, length: usize) {
        if self.capacity >= sequences * length && self.length >= length {
            return;
        }
        let sizes = Sizes::new(config, sequences, length);
        let (t, d, v) = (sizes.tokens(), sizes.width, config.vocabulary);
        self.saved = (0..config.layers).map(|_| Saved::new(&sizes)).collect();
        self.scratch = Scratch::new(&sizes);
        self.stream = vec![0.0; t * d];
        self.normed = vec![0.0; t * d];
        self.dnormed = vec![0.0; t * d];
        self.dstream = vec![0.0; t * d];
        self.factors = vec![0.0; t];
        self.row = vec![0.0; d];
        self.logits = vec![0.0; chunk_rows(v) * v];
        self.targets = vec![0; t];
        (self.capacity, self.length) = (t, length);
    }
}

/// A batch's sequences `first..last`, as one lane sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl<'a> Share<'a> {
    fn rows(&self) -> impl Iterator<Item = &'a [u32]> + Clone + use<'a> {
        let width = self.batch.length + 1;
        self.batch.tokens[self.first * width..self.last * width].chunks_exact(width)
    }

    /// Input tokens in order.
    fn inputs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let length = self.batch.length;
        self.rows()
            .flat_map(move |row| row[..length].iter().copied())
    }

    /// Target tokens in order.
    fn targets(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.rows().flat_map(|row| row[1..].iter().copied())
    }

    /// The share cut into micro-batches.
    fn micro_batches(self) -> impl Iterator<Item = Share<'a>> {
        let step = micro_batch(self.batch.length, self.last - self.first);
        (self.first..self.last)
            .step_by(step)
            .map(move |first| Share {
                batch: self.batch,
                first,
                last: (first + step).min(self.last),
            })
    }
}

/// Sequences per micro-batch for a lane of `sequences`.
fn micro_batch(length: usize, sequences: usize) -> usize {
    (MICRO_BATCH_TOKENS / length.max(1)).clamp(1, sequences.max(1))
}

impl Decoder {
    pub(crate) fn reserve(&self, share: &Share<'_>, space: &mut Workspace) {
        let length = share.batch.length;
        let sequences = micro_batch(length, share.last - share.first);
        space.reserve(&self.config, sequences, length);
    }

    /// Sum of the share's losses in nats. The gradient of `weight` times that
    /// sum replaces `gradient`, whatever it held.
    pub(crate) fn gradient(
        &self,
        flat: &[f32],
        share: Share<'_>,
        weight: f32,
        gradient: &mut [f32],
        space: &mut Workspace,
    ) -> f64 {
        self.reserve(&share, space);
        self.clear_sums(gradient);
        let mut sum = 0.0;
        for (i, micro) in share.micro_batches().enumerate() {
            let sizes = self.forward(flat, &micro, space);
            sum += self.head_gradient(flat, &micro, &sizes, weight, i > 0, gradient, space);
            self.backward(flat, &micro, &sizes, i > 0, gradient, space);
        }
        sum
    }

    /// Clears the gradients that are added to from the start; matrices are overwritten by their first product.
    pub(crate) fn clear_sums(&self, gradient: &mut [f32]) {
        for slot in self.layout.slots() {
            if !slot.decay || slot.range == self.layout.embedding {
                gradient[slot.range.clone()].fill(0.0);
            }
        }
    }

    /// Sum of the share's losses in nats, without a gradient.
    pub(crate) fn loss(&self, flat: &[f32], share: Share<'_>, space: &mut Workspace) -> f64 {
        self.reserve(&share, space);
        let mut sum = 0.0;
        for micro in share.micro_batches() {
            let sizes = self.forward(flat, &micro, space);
            self.gather_targets(&micro, space);
            let t = sizes.tokens();
            let head = self.head(flat, &space.normed[..t * sizes.width]);
            let (targets, logits) = (&space.targets[..t], &mut space.logits);
            sum += space
                .profile
                .time(Part::Head, || head.loss(targets, logits));
        }
        sum
    }

    fn head<'a>(&self, flat: &'a [f32], states: &'a [f32]) -> Head<'a> {
        Head {
            states,
            weights: &flat[self.layout.head.clone()],
            width: self.config.width,
        }
    }

    fn gather_targets(&self, micro: &Share<'_>, space: &mut Workspace) {
        for (slot, token) in space.targets.iter_mut().zip(micro.targets()) {
            *slot = token;
        }
    }

    /// Embedding, blocks and final norm; leaves the normed states in the space.
    pub(crate) fn forward(&self, flat: &[f32], micro: &Share<'_>, space: &mut Workspace) -> Sizes {
        let sizes = Sizes::new(&self.config, micro.last - micro.first, micro.batch.length);
        let (t, d) = (sizes.tokens(), sizes.width);
        let table = &flat[self.layout.embedding.clone()];
        let profile = &mut space.profile;
        let x = &mut space.saved[0].x[..t * d];
        profile.time(Part::Embedding, || {
            embedding::forward(micro.inputs(), table, d, x)
        });
        for (i, ranges) in self.layout.blocks.iter().enumerate() {
            let weights = BlockWeights::new(flat, ranges);
            let (done, next) = space.saved.split_at_mut(i + 1);
            let y = match next.first_mut() {
                Some(next) => &mut next.x[..t * d],
                None => &mut space.stream[..t * d],
            };
            let (saved, scratch) = (&mut done[i], &mut space.scratch);
            block::forward(&sizes, &weights, &self.rope, saved, y, scratch, profile);
        }
        let gain = &flat[self.layout.final_norm.clone()];
        let (x, y) = (&space.stream[..t * d], &mut space.normed[..t * d]);
        profile.time(Part::Norm, || {
            rms_norm::forward(x, gain, sizes.epsilon, y, &mut space.factors);
        });
        sizes
    }

    /// Loss and the gradients of head and final norm; leaves the gradient of
    /// the last block's output in `space.dstream`.
    #[allow(clippy::too_many_arguments)]
    fn head_gradient(
        &self,
        flat: &[f32],
        micro: &Share<'_>,
        sizes: &Sizes,
        weight: f32,
        accumulate: bool,
        gradient: &mut [f32],
        space: &mut Workspace,
    ) -> f64 {
        let (t, d) = (sizes.tokens(), sizes.width);
        self.gather_targets(micro, space);
        let head = self.head(flat, &space.normed[..t * d]);
        let dnormed = &mut space.dnormed[..t * d];
        // A tied head shares its gradient with the embedding, which was cleared
        // and may already hold earlier micro-batches' scattered rows.
        let accumulate = accumulate || self.layout.tied;
        let sum = space.profile.time(Part::Head, || {
            let dhead = &mut gradient[self.layout.head.clone()];
            let targets = &space.targets[..t];
            head.loss_and_gradient(
                targets,
                weight,
                &mut space.logits,
                dnormed,
                dhead,
                accumulate,
            )
        });
        self.final_norm_backward(flat, t, gradient, space);
        sum
    }

    /// From the gradient of the normed states of `t` tokens, in `space.dnormed`, to that of the last block's output,
    /// in `space.dstream`; the gain's gradient is added to.
    pub(crate) fn final_norm_backward(
        &self,
        flat: &[f32],
        t: usize,
        gradient: &mut [f32],
        space: &mut Workspace,
    ) {
        let d = self.config.width;
        let gain = &flat[self.layout.final_norm.clone()];
        let dgain = &mut gradient[self.layout.final_norm.clone()];
        let (dnormed, dx) = (&space.dnormed[..t * d], &mut space.dstream[..t * d]);
        space.profile.time(Part::Norm, || {
            dx.fill(0.0);
            let x = &space.stream[..t * d];
            rms_norm::backward(dnormed, x, gain, &space.factors, dx, dgain, &mut space.row);
        });
    }

    /// Blocks and embedding, last to first.
    pub(crate) fn backward(
        &self,
        flat: &[f32],
        micro: &Share<'_>,
        sizes: &Sizes,
        accumulate: bool,
        gradient: &mut [f32],
        space: &mut Workspace,
    ) {
        let (t, d) = (sizes.tokens(), sizes.width);
        let dstream = &mut space.dstream[..t * d];
        for (ranges, saved) in self.layout.blocks.iter().zip(&mut space.saved).rev() {
            block::backward(
                sizes,
                &BlockWeights::new(flat, ranges),
                &self.rope,
                saved,
                dstream,
                &mut BlockGradients::new(gradient, ranges),
                accumulate,
                &mut space.scratch,
                &mut space.profile,
            );
        }
        let dtable = &mut gradient[self.layout.embedding.clone()];
        space.profile.time(Part::Embedding, || {
            embedding::backward(micro.inputs(), dstream, d, dtable);
        });
    }
}
