//! Why a model cannot be had or cannot be used.

use std::path::PathBuf;

/// Result of everything that loads or runs a model.
pub type Result<T> = std::result::Result<T, ModelError>;

/// A model that is missing, broken or of another kind, or an input that it does not take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The source names a model that is not there.
    #[error("no model at {source_name}: {reason}")]
    Missing {
        /// The source, as it was written.
        source_name: String,
        /// What was looked for.
        reason: String,
    },
    /// A source that cannot be read as one.
    #[error("{0:?} is not a source of models: expected a folder, hub:OWNER/NAME or package:NAME")]
    Source(String),
    /// A file that cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file that holds something else than a model of the kind asked for.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Texts beyond the bounds.
    #[error("{what} is {value}, more than {most}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How much there was.
        value: usize,
        /// How much is taken.
        most: usize,
    },
    /// The tokenizer refused a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The model that the project trains itself.
    #[error("trained model: {0}")]
    Trained(String),
    /// An option outside its domain.
    #[error("option {name} {reason}")]
    Option {
        /// The option.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl ModelError {
    pub(crate) fn invalid(path: &std::path::Path, reason: impl std::fmt::Display) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn file(path: &std::path::Path, error: impl std::fmt::Display) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
}

impl From<plumbline_training_model::ModelError> for ModelError {
    fn from(error: plumbline_training_model::ModelError) -> Self {
        Self::Trained(error.to_string())
    }
}
