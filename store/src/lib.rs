//! Everything that Plumbline keeps: accounts and their ledger, runs, markets, evidence, events, jobs and
//! allocation decisions, in one SQLite file.
//!
//! One thread writes. Requests queue up for it, each runs in a savepoint of its own, one commit makes a
//! whole batch durable (`synchronous=FULL`), and only then is anybody answered. Reads go to a small pool
//! of read-only connections and see the state after some commit.
//!
//! **Invariant.** What [`Store::write`] has acknowledged survives `kill -9` and a power cut, and every
//! transfer of money is balanced and stored together with the fact that caused it. This crate is the only
//! one that knows diesel and SQLite. It deliberately decides nothing: no prices, no rules about who may do
//! what, no life cycles, no clock and no identifiers of its own — the caller brings times (unix
//! milliseconds), ids (text), and money (integer micro-credits).

mod crash;
mod error;
mod hot;
mod open;
mod pool;
mod prepared;
mod sampling;
mod schema;
mod slow;
mod store;
mod tx;
mod value;
mod writer;

pub mod accounts;
pub mod acks;
pub mod attachments;
pub mod backup;
pub mod ballots;
pub mod bench;
pub mod cases;
pub mod checkpoints;
pub mod claims;
pub mod comments;
pub mod commitments;
pub mod control;
pub mod decisions;
pub mod enforcement_reports;
pub mod evidence;
pub mod exhibit_challenges;
pub mod export;
pub mod fees;
pub mod fingerprints;
pub mod follows;
pub mod gold;
pub mod hosted;
pub mod idempotency;
pub mod inference;
pub mod invitations;
pub mod jobs;
pub mod jurors;
pub mod keys;
pub mod ledger;
pub mod log;
pub mod mails;
pub mod market_outcomes;
pub mod markets;
pub mod notices;
pub mod oracle_versions;
pub mod orders;
pub mod outbox;
pub mod outcome_holdings;
pub mod outcome_trades;
pub mod panels;
pub mod passkeys;
pub mod policies;
pub mod policy_inputs;
pub mod portfolio;
pub mod positions;
pub mod prices;
pub mod proposals;
pub mod revenue_shares;
pub mod runs;
pub mod second_factors;
pub mod sessions;
pub mod settled_cases;
pub mod stakes;
pub mod standing;
pub mod standings;
pub mod tokens;
pub mod trades;
pub mod webhooks;

#[cfg(test)]
mod plans;
#[cfg(test)]
mod testing;

pub use crash::{CrashPlan, Moment};
pub use error::StoreError;
pub use slow::SlowRead;
pub use store::{Store, StoreOptions};
pub use tx::Tx;

/// Turns "no row" into [`StoreError::NotFound`].
fn found<T>(row: Option<T>, what: &'static str, id: &str) -> Result<T, StoreError> {
    row.ok_or_else(|| StoreError::not_found(what, id))
}

/// Turns "no row was changed" into [`StoreError::NotFound`].
fn changed(rows: usize, what: &'static str, id: &str) -> Result<(), StoreError> {
    if rows == 0 {
        Err(StoreError::not_found(what, id))
    } else {
        Ok(())
    }
}
