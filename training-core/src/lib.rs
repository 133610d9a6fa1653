//! The pure rules of distributed training: who takes part in a round, which
//! data each node trains on, when a round may close, how contributions become
//! one step of the global model, how fast a node may run, and what each node
//! is credited with.
//!
//! | module | rule |
//! |---|---|
//! | [`round`] | the round machine `step(state, event, now)` |
//! | [`assignment`] | which sequences a node trains on |
//! | [`codec`] | the wire formats of contributions, error feedback |
//! | [`aggregate`] | several contributions become one, some perhaps lies |
//! | [`outer`] | the outer step over the aggregate |
//! | [`schedule`] | the inner learning rate by tokens |
//! | [`pacing`] | a compute share as a token bucket over CPU time |
//! | [`verify`] | finding out who lies: recomputation, signs, proofs, bans |
//! | [`testbed`] | whole runs with hostile nodes, without time |
//! | [`local`] | a node's own part of a round |
//! | [`contribution`] | accounts of counted tokens |
//! | [`pieces`] | large payloads in pieces that are checked one by one |
//! | [`trainer`] | the seam to whatever computes gradients |
//! | [`digest`], [`draw`] | content hashes and reproducible randomness |
//!
//! **Invariant:** nothing here reads a clock, draws ambient randomness, does
//! I/O, or knows what a layer, a socket or a file is. Time and seeds are
//! arguments, so equal events give equal states on every machine, and a round
//! can be replayed and audited from its log.

pub mod aggregate;
pub mod assignment;
pub mod codec;
pub mod contribution;
pub mod digest;
pub mod draw;
pub mod local;
pub mod outer;
pub mod pacing;
pub mod pieces;
pub mod round;
pub mod schedule;
pub mod testbed;
pub mod time;
pub mod trainer;
pub mod verify;
