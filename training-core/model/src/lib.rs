//! The transformer that Plumbline trains: a decoder with hand-written kernels,
//! its tokenizer, checkpoints and text generation.
//!
//! A [`Trainer`] implements the [`LocalTrainer`] seam of the training core: it
//! turns batches of token ids into AdamW steps on one flat parameter vector. A
//! [`Checkpoint`] is a content-addressed file of everything needed to go on or
//! to answer prompts; a [`Generator`] answers them.
//!
//! A [`VerdictTrainer`] teaches the same decoder to classify texts, by a verdict on the mean of its states; a
//! [`VerdictModel`] answers with that mean and the verdict.
//!
//! Layers, from the inside: `ops` are fused kernels on slices with hand-written
//! backward passes; `block` and `decoder` compose them over micro-batches;
//! `engine` spreads lanes of sequences over threads and presents the gradient as
//! a candle in-place operation on tensors; `mixed` is the same network in mixed
//! precision by candle's tensor operations, for GPUs; `graph` is a plain candle
//! graph, the yardstick of both.
//!
//! Invariant: this crate moves numbers and nothing else. It opens no sockets,
//! picks no data, decides no learning rate and holds no policy; what a step
//! computes depends on parameters, batch and settings alone, never on the clock,
//! the number of threads or ambient randomness.
//!
//! [`LocalTrainer`]: plumbline_training_core::trainer::LocalTrainer

mod adamw;
mod batch;
pub mod bench;
mod block;
mod checkpoint;
mod config;
mod decoder;
mod device;
mod engine;
mod error;
mod exchange;
mod generate;
mod graph;
mod inference;
mod init;
mod layout;
mod matmul;
mod mixed;
mod ops;
mod packed;
mod profile;
mod sampling;
mod session;
mod tokenizer;
mod trainer;
mod verdict;

pub use batch::{Batch, Event, Finished};
pub use checkpoint::{Checkpoint, CheckpointId};
pub use config::{AdamW, ModelConfig};
pub use device::{
    DeviceDescription, DeviceName, Products, bf16_peak_flops, model_flops_utilisation,
};
pub use error::{ModelError, Result};
pub use exchange::Model;
pub use generate::{Completion, Generator};
pub use layout::{Layout, Slot};
pub use matmul::matmul_peak;
pub use profile::{Part, Profile};
pub use sampling::Sampling;
pub use session::{Alternative, FinishReason, TokenLogprob};
pub use tokenizer::Tokenizer;
pub use trainer::Trainer;
pub use verdict::{LabelledText, VerdictModel, VerdictTrainer};
