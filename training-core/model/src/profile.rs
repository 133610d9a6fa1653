//! Where a training step's time goes.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The one place that reads the clock. Times only describe a step's cost; no
/// result depends on them.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The parts that a training step's time is attributed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Token gather and scatter-add.
    Embedding,
    /// RMSNorm, forward, recomputation and backward.
    Norm,
    /// Query-key-value and output projections.
    Projection,
    /// Rotary position embedding.
    Rope,
    /// Scores, softmax and weighted values.
    Attention,
    /// Gate, up and down products.
    FeedForward,
    /// The SwiGLU gate itself.
    Swiglu,
    /// Output head with cross-entropy.
    Head,
    /// Adding up the gradients of the lanes, with their norm.
    Reduce,
    /// The AdamW pass.
    AdamW,
}

impl Part {
    /// Every part, in the order of the step.
    pub const ALL: [Self; 10] = [
        Self::Embedding,
        Self::Norm,
        Self::Projection,
        Self::Rope,
        Self::Attention,
        Self::FeedForward,
        Self::Swiglu,
        Self::Head,
        Self::Reduce,
        Self::AdamW,
    ];
}

/// Time spent per [`Part`], summed over threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    spent: [Duration; Part::ALL.len()],
}

impl Profile {
    /// Runs `work` and adds its time to `part`. Two clock reads cost well under
    /// a thousandth of the smallest timed piece, so this is always on.
    #[inline]
    pub(crate) fn time<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T {
        let start = now();
        let result = work();
        self.spent[part as usize] += start.elapsed();
        result
    }

    /// Adds another profile's times.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.spent.iter_mut().zip(other.spent) {
            *mine += theirs;
        }
    }

    /// Time attributed to `part`.
    pub fn spent(&self, part: Part) -> Duration {
        self.spent[part as usize]
    }
}
