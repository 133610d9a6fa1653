//! A record that can only grow: Merkle trees as in RFC 6962 (with SHA-256), proofs that an entry is in
//! one and that one tree is the beginning of another, and checkpoints that say how large a tree is and
//! what its root is.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tree`] | hashes, roots, inclusion and consistency proofs, and their verification |
//! | [`tiles`] | how a tree is kept so that it grows by a batch in few writes, whatever its size |
//! | [`checkpoint`] | signed notes as logs of Go modules and certificates publish them |
//! | [`entry`] | the bytes that stand for one event |
//!
//! **Invariant.** Pure: no clock, no randomness, no files, no keys. Whoever calls brings the hashes that
//! are kept and the signatures; the same arguments give the same answer.

pub mod checkpoint;
pub mod entry;
pub mod tiles;
pub mod tree;

pub use tree::Hash;
