//! What a host can refuse or fail at.

use std::path::{Path, PathBuf};

use crate::coordinator::CoordinatorError;
use crate::corpus::CorpusError;
use crate::node::NodeError;
use crate::remote::PeerError;
use crate::transport::TransportError;

/// Why the host could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No run of that id is here.
    #[error("no run {0:?}")]
    UnknownRun(String),
    /// The run has no node of that name.
    #[error("run {0:?} has no node {1:?}")]
    UnknownNode(String, String),
    /// No run here has that checkpoint.
    #[error("no checkpoint {0}")]
    UnknownCheckpoint(String),
    /// The run is already going.
    #[error("run {0:?} is already running")]
    AlreadyRunning(String),
    /// The run is not that far yet, or over.
    #[error("run {0:?} is {1}")]
    NotReady(String, &'static str),
    /// The specification makes no sense.
    #[error("run specification: {0}")]
    Spec(String),
    /// The stored checkpoint belongs to another run.
    #[error(
        "checkpoint {path} does not continue this run: {reason}; use another id or data folder"
    )]
    Incompatible {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The training data could not be had.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The model, tokenizer or a checkpoint file failed.
    #[error(transparent)]
    Model(#[from] plumbline_training_model::ModelError),
    /// The replica failed.
    #[error(transparent)]
    Trainer(#[from] plumbline_training_core::trainer::TrainerError),
    /// The channel failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The network to nodes elsewhere failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The coordinator could not start.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// A node could not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A file or folder of the host could not be read or written.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

impl HostError {
    /// For `map_err` on an operation on `path`.
    pub(crate) fn io<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::Io {
            path,
            reason: error.to_string(),
        }
    }
}
