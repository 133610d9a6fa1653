//! Turns what markets and settlements say about AI runs into signed statements
//! of how much compute each run may use.
//!
//! | module | what it holds |
//! |---|---|
//! | [`policy`] | the voted rules: a TOML document with CEL conditions |
//! | [`bound`] | time-weighted clamped price and its credible bounds |
//! | [`allocator`] | the linear program that shares the pool out |
//! | [`tail`] | risk in the worst scenarios instead of on average |
//! | [`control`] | asymmetric control: down at once, up slowly and only on a fresh basis |
//! | [`orders`] | what votes and seals put on a run for a term |
//! | [`plan`](mod@plan) | the five above in one pure step |
//! | [`replay`](mod@replay) | what a policy would have decided on the recorded history |
//! | [`voting`] | tracks, ballots, tallies, proposals and seals as pure machines |
//! | [`decision`] | the allocation decision and what a consumer must check |
//! | [`ack`] | acknowledgement phases |
//! | [`dsse`] | signing and verifying envelopes |
//! | [`keys`] | which keys are trusted, and how that changes |
//!
//! Invariant: this crate never looks at a clock, a source of randomness, a
//! file or a socket, and keeps no state of its own. The time, identifiers and
//! the previous state are arguments; the same arguments give the same answer.
//! It does not decide who holds a stake, nor how a price is formed.
//!
//! Second invariant: ignorance never loosens. A missing, thin or stale market,
//! a failing rule, or a share whose release nobody acknowledged can lower or
//! hold an allocation but never raise one; a vote that permits more for a term
//! can, up to what it says.

pub mod ack;
pub mod allocator;
pub mod bound;
pub mod control;
pub mod decision;
pub mod dsse;
pub mod keys;
pub mod orders;
pub mod plan;
pub mod policy;
pub mod replay;
pub mod tail;
mod units;
pub mod voting;

pub use units::{Action, Bps, Mode, Workload};
