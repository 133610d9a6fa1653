//! What settled markets teach the oracle.
//!
//! A binary market with judgements that becomes final leaves a settled case, in the transaction that makes it
//! final: what each judge said at the close, the pooled view, the last price, π. Cases form a chain. A job makes
//! a new version of the oracle of all cases so far: how the judges' errors hang together, their weights, and the
//! calibration by kind of claim. What is learnt is a *candidate*: it is shown at once and moves no price. It
//! comes into force by [`adopt`] alone, so that nobody can steer the judges by settling markets. An open market
//! keeps its price then; only submissions judged from then on are judged by the new version, both sides of
//! their shift by the same.

mod cases;
pub(crate) mod force;
mod gap;
mod judges;
mod measures;
mod register;
mod state;
mod versions;

pub(crate) use cases::record;
pub(crate) use force::{InForce, adopt, start};
