//! Deciding together: who may vote with what weight, what a proposal needs, and what becomes of it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tracks`] | the kinds of proposals, each with its own deposit, quorum, approval curve and times |
//! | [`ballot`] | sides, convictions, and the weight of a ballot |
//! | [`tally`](mod@tally) | electors with their delegates, and the count |
//! | [`proposal`] | the life of a proposal as a pure machine |
//! | [`split`] | dividing a sum by weights, in integers |
//! | [`seal`] | emergency authority that was approved before, k of n, for one use |
//!
//! Laws, each with a property test: a stake counts once in a proposal however it is delegated; a
//! ballot for never lowers approval or support, one against never raises them; nothing is executed
//! before its time lock is over; a proposal that has ended never changes.

pub mod ballot;
pub mod proposal;
pub mod seal;
pub mod split;
pub mod tally;
pub mod tracks;
