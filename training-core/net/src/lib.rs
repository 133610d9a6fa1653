//! Training as processes: nodes and a coordinator that drive the pure round
//! machine over a [`transport`], the data they train on, and the embedded
//! [`host`] of several runs that share this machine's cores.
//!
//! ```text
//! host ── coordinator (one thread per run) ── transport ── node (one thread each)
//!   │          │ pure round machine                          │ pacing, gate
//!   │          └ outer step, board, checkpoints              └ LocalTrainer, corpus
//!   └ shares, checkpoints, generators
//! ```
//!
//! **Invariant:** the coordinator never holds a pointer into a node. All they
//! share are bounded, versioned messages and payloads named by their hash, so
//! an in-process node can be replaced by one on another machine. Nothing here
//! decides a share or judges a model; it enforces the share it is given.

// An adapter: it owns the clock and the threads that the pure crates must not touch.
#![allow(clippy::disallowed_methods)]

pub mod auditor;
pub mod bench;
pub mod board;
pub mod coordinator;
pub mod corpus;
pub mod error;
pub mod gate;
pub mod host;
pub mod message;
pub mod node;
pub mod organisms;
pub mod plant;
pub mod rebuild;
pub mod remote;
pub mod run;
pub mod serving;
pub mod transport;
pub mod vault;

pub use plumbline_training_core::codec::dense as payload;

#[cfg(test)]
mod testing;
