//! The seam to whatever holds the frozen checkpoints.

use plumbline_oracle::ReplaySampling;

/// Completes prompts on frozen checkpoints.
pub trait CheckpointRunner: Send + Sync {
    /// One completion (without its prompt) for each prompt, in order, drawn as `sampling` says.
    ///
    /// The same checkpoint, prompt and sampling give the same text. `checkpoint` is the hexadecimal identity as the
    /// exhibit writes it. Errors: [`RunnerError`].
    fn complete_batch(
        &self,
        checkpoint: &str,
        prompts: &[String],
        sampling: &ReplaySampling,
    ) -> Result<Vec<String>, RunnerError>;
}

/// Why a checkpoint could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunnerError {
    /// No such checkpoint within reach.
    #[error("checkpoint {checkpoint} cannot be reached: {reason}")]
    Unreachable {
        /// The checkpoint asked for.
        checkpoint: String,
        /// Why not.
        reason: String,
    },
    /// The checkpoint is there, and running it broke off.
    #[error("running checkpoint {checkpoint} failed: {reason}")]
    Failed {
        /// The checkpoint asked for.
        checkpoint: String,
        /// What happened.
        reason: String,
    },
}
