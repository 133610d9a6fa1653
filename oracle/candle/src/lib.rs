//! Judges that run a model.
//!
//! [`ReplayJudge`] replays trigger/control exhibits on the frozen checkpoint they name and answers with the exact
//! log Bayes factor of what it saw, never of what the exhibit claims. The model is reached through
//! [`CheckpointRunner`], which the host of the checkpoints implements.
//!
//! Invariant: it holds no model and reads no file itself, so it judges the same whether the checkpoint lives in this
//! process, in another, or on another machine; and it runs no more completions than its cap for one exhibit.

mod plan;
mod replay;
mod runner;

pub use replay::{ReplayJudge, ReplayOptions};
pub use runner::{CheckpointRunner, RunnerError};
