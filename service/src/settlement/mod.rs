//! How markets end: closing, freezing, finding a settlement, disputing it, paying.
//!
//! Each stage is a step of the market's life in its own transaction, so that a crash between
//! two stages loses nothing: the next look at the deadlines (which are found by an index), or
//! the queued job, goes on from the stage that was reached.
//!
//! - [`terms`]: what a market promises about its end when it opens.
//! - [`closing`]: the closing window, the freeze and the audit draw.
//! - [`log`]: the head of a market's own log, which the draws are mixed with.
//! - [`matter`]: a market at a step of its life, and what follows from the step.
//! - [`finding`]: the job that runs the test, asks the judges or reads the last price.
//! - [`ladder`]: proposals, challenges, rulings and deadlines.
//! - [`bonds`]: what becomes of the bonds.
//! - [`self_resolving`]: markets that settle at their own last price.
//! - [`payout`]: payouts and refunds.
//! - [`record`]: what everybody may see of it.

mod bonds;
mod closing;
mod finding;
mod ladder;
mod log;
mod matter;
mod payout;
mod record;
mod self_resolving;
pub(crate) mod terms;

pub(crate) use bonds::release_bonds;
pub(crate) use ladder::{call_off, open_disputes, settlement_ruled};
pub(crate) use matter::open_case;
pub(crate) use self_resolving::{
    SELF_RESOLVING, after_trade, check_fill, refuse_evidence, refuse_orders,
};
pub use terms::SettlementConfig;
