//! A test-bed: whole runs with hostile nodes, in one thread and without time.
//!
//! Rounds go through the real machine, codecs, aggregators, screens, draws and
//! recomputations; only the clock is a number and the network is a loop. A run
//! is a function of its settings, so every figure can be had again.

mod arena;
pub mod attack;
mod checks;
mod hostile;
mod report;
#[cfg(test)]
mod tests;
pub mod toy;

pub use arena::Arena;
pub use attack::Attack;
pub use report::{ArenaError, ArenaReport, ArenaSpec, Hostility};
