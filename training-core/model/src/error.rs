//! The crate's one error type.

use std::path::PathBuf;

use plumbline_training_core::trainer::TrainerError;

use crate::device::DeviceName;

/// Why a model, tokenizer or checkpoint operation could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model configuration cannot describe a model.
    #[error("model configuration: {0}")]
    Config(String),
    /// A parameter vector's length is not the model's parameter count.
    #[error("parameter vector has {got} values, the model has {want}")]
    ParameterCount {
        /// Values given.
        got: usize,
        /// Values the model holds.
        want: usize,
    },
    /// The batch does not fit the model (empty, ragged, or a token out of vocabulary).
    #[error("batch rejected: {0}")]
    Batch(String),
    /// A loss or gradient stopped being a finite number.
    #[error("training diverged: {0}")]
    Diverged(String),
    /// The tensor back end failed.
    #[error("tensor back end: {0}")]
    Backend(#[from] candle_core::Error),
    /// Text that names no device.
    #[error("{0:?} is no device: cpu, cuda, or cuda:N for the one of that number")]
    DeviceName(String),
    /// CUDA was asked of a program that has none.
    #[error(
        "this program was built without CUDA; build it with --features cuda, or use --device cpu"
    )]
    NoCuda,
    /// A CUDA device is not there, or the driver does not let it be used.
    #[error("device {device} cannot be used: {reason}")]
    NoDevice {
        /// The device that was asked for.
        device: DeviceName,
        /// What the driver said.
        reason: String,
    },
    /// Serialised optimiser moments do not fit this model.
    #[error("optimiser state: {0}")]
    Optimizer(String),
    /// The tokenizer could not be trained, read or applied.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A sampling request is out of its domain.
    #[error("sampling: {0}")]
    Sampling(String),
    /// A checkpoint file could not be read or written.
    #[error("checkpoint {}: {source}", path.display())]
    CheckpointIo {
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A checkpoint's bytes are not what its name promises, or not a checkpoint.
    #[error("checkpoint {} is corrupt: {reason}", path.display())]
    CheckpointCorrupt {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The crate's result type.
pub type Result<T> = std::result::Result<T, ModelError>;

impl From<ModelError> for TrainerError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::ParameterCount { got, want } => Self::ParameterCount { got, want },
            ModelError::Batch(reason) => Self::Batch(reason),
            ModelError::Diverged(reason) => Self::Diverged(reason),
            other => Self::Backend(other.to_string()),
        }
    }
}
