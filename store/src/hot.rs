//! What the writer keeps in memory from one request to the next, so that a batch of trades on one market
//! reads that market once and writes it once.
//!
//! Three kinds of rows are kept: markets, accounts and positions. A request reads and changes them in
//! memory; the last state of each goes to its table before the commit. Facts that are only added
//! ([`append`]) are written when their request has succeeded. So a trade that fails has written nothing,
//! and one that succeeds needs no savepoint.
//!
//! **Invariant.** Whatever the tables are asked by any other statement, they answer as if all of this had
//! been written at once: such a statement runs in a savepoint, after everything that is pending and dirty
//! was written ([`crate::Tx::run`]); and if it changed anything, what is kept is forgotten.

pub(crate) mod append;
mod rows;

use std::collections::HashMap;

use diesel::sqlite::SqliteConnection;

use self::append::Append;
use self::rows::Rows;
use crate::accounts::Account;
use crate::markets::{self, Market};
use crate::orders::BestLimits;
use crate::positions::{self, Position};
use crate::{StoreError, ledger};

/// The tables whose keys are given out before their rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// `transfers`.
    Transfers,
    /// `prices`.
    Prices,
    /// `outbox`.
    Outbox,
}

impl Counted {
    /// The table's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::Prices => "prices",
            Self::Outbox => "outbox",
        }
    }
}

/// The tables with identifiers that their callers make in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// `transfers`.
    Transfers,
    /// `trades`.
    Trades,
}

/// Identifiers below this one are UUIDs, which sort by the time at which they were made; those that are
/// put together of words are mostly above it.
pub(crate) const WORDS_FROM: &str = "g";

/// Last keys given out, by table; `None` where the table has to be asked.
type Keys = [Option<i64>; 3];

/// The writer's memory.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    /// Markets by id.
    pub(crate) markets: Rows<Market>,
    /// Accounts by id.
    pub(crate) accounts: Rows<Account>,
    /// Positions by [`position_key`].
    pub(crate) positions: Rows<Position>,
    /// Best limits of resting orders by market, as the table has them.
    books: HashMap<String, BestLimits>,
    /// By table, a bound of every identifier below [`WORDS_FROM`] that is there or was added; `None` where
    /// the table has to be asked.
    greatest: [Option<String>; 2],
    /// Added by this request and not written yet, in order.
    pending: Vec<Append>,
    keys: Keys,
    /// The keys when this request began.
    keys_before: Keys,
    /// Account and key for which this request found no answer.
    unanswered: Option<(String, String)>,
    /// This request runs in a savepoint.
    savepoint: bool,
    /// This batch changed something by a statement that this memory knows nothing of.
    changed: bool,
    /// Entries of the transparency log; `None` where its tiles have to be asked.
    pub(crate) logged: Option<i64>,
    /// `PRAGMA data_version` when the last batch began.
    version: Option<i64>,
}

/// Nothing may be lost on its way to its table.
fn written(rows: usize) -> Result<(), StoreError> {
    match rows {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt(format!(
            "a row that is kept in memory has {rows} counterparts in its table"
        ))),
    }
}

/// Name of a position in the memory; two pairs of ids never share one.
pub(crate) fn position_key(market_id: &str, account_id: &str) -> String {
    format!("{}:{market_id}{account_id}", market_id.len())
}

impl Hot {
    /// A batch begins, on a file in this version: what another process changed is not what is kept.
    pub(crate) fn begin_batch(&mut self, version: i64) {
        if self.version != Some(version) {
            self.clear();
            self.version = Some(version);
            self.changed = true;
        }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self) {
        self.keys_before = self.keys;
        self.unanswered = None;
        self.savepoint = false;
    }

    /// The request succeeded and everything it added is written.
    pub(crate) fn keep(&mut self) {
        self.markets.keep();
        self.accounts.keep();
        self.positions.keep();
    }

    /// The request failed, and what it wrote is undone.
    pub(crate) fn roll_back(&mut self) {
        self.pending.clear();
        self.keys = self.keys_before;
        self.markets.roll_back();
        self.accounts.roll_back();
        self.positions.roll_back();
        self.books.clear();
    }

    /// The batch is on the disk. Whether it changed something that this memory knows nothing of.
    pub(crate) fn committed(&mut self) -> bool {
        self.keep();
        self.markets.trim();
        self.accounts.trim();
        self.positions.trim();
        if self.books.len() > rows::MAX_ROWS {
            self.books.clear();
        }
        std::mem::take(&mut self.changed)
    }

    /// The batch is lost, or the tables may be different from what this memory holds.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A statement that this memory knows nothing of changed something; everything was written before.
    pub(crate) fn forget(&mut self) {
        self.markets.forget();
        self.accounts.forget();
        self.positions.forget();
        self.books.clear();
        self.greatest = Default::default();
        self.keys = Keys::default();
        self.changed = true;
    }

    /// Whether this request runs in a savepoint.
    pub(crate) fn has_savepoint(&self) -> bool {
        self.savepoint
    }

    /// This request runs in a savepoint from now on.
    pub(crate) fn note_savepoint(&mut self) {
        self.savepoint = true;
    }

    /// Adds a fact when the request has succeeded; gives it back if that could fail, because it refers to
    /// something that may not be there or holds what its table may refuse.
    pub(crate) fn defer(&mut self, fact: Append) -> Option<Append> {
        let known_account = |id: &str| self.accounts.get(id).is_some();
        let known_market = |id: &str| self.markets.get(id).is_some();
        let price_fits = |log_odds: f64| (-100.0..=100.0).contains(&log_odds);
        let safe = match &fact {
            Append::Transfer(_, transfer) => transfer
                .entries
                .iter()
                .all(|(account, _)| known_account(account)),
            Append::Trade(trade) => {
                known_market(&trade.market_id)
                    && known_account(&trade.account_id)
                    && matches!(trade.outcome.as_str(), "yes" | "no")
                    && matches!(trade.cause.as_str(), "trade" | "evidence")
                    && price_fits(trade.log_odds_before)
                    && price_fits(trade.log_odds_after)
            }
            Append::Price(_, price) => {
                known_market(&price.market_id)
                    && matches!(price.cause.as_str(), "trade" | "evidence")
                    && price_fits(price.log_odds)
            }
            Append::Event(_) => true,
            Append::Answer(answer) => {
                known_account(&answer.account_id)
                    && (100..=599).contains(&answer.status)
                    && self.unanswered.as_ref().is_some_and(|(account, key)| {
                        *account == answer.account_id && *key == answer.key
                    })
                    && self.pending_answers() == 0
            }
        };
        if safe {
            self.pending.push(fact);
            None
        } else {
            Some(fact)
        }
    }

    fn pending_answers(&self) -> usize {
        let answers = self.pending.iter();
        answers
            .filter(|fact| matches!(fact, Append::Answer(_)))
            .count()
    }

    /// What this request has added and not written, for somebody who writes it now.
    pub(crate) fn take_pending(&mut self) -> Vec<Append> {
        std::mem::take(&mut self.pending)
    }

    /// What this request has added and not written.
    pub(crate) fn pending(&self) -> &[Append] {
        &self.pending
    }

    /// This account has no answer under this key.
    pub(crate) fn note_unanswered(&mut self, account_id: &str, key: &str) {
        self.unanswered = Some((account_id.to_owned(), key.to_owned()));
    }

    /// The next key of a table, given the last one if that is not known here.
    pub(crate) fn next_key(
        &mut self,
        table: Counted,
        last: impl FnOnce() -> Result<i64, StoreError>,
    ) -> Result<i64, StoreError> {
        let known = &mut self.keys[table as usize];
        let next = match *known {
            Some(last) => last + 1,
            None => last()? + 1,
        };
        *known = Some(next);
        Ok(next)
    }

    /// Whether no row of the table, written or pending, can have this identifier, because all are smaller;
    /// if so it is taken for added. `greatest` asks the table for the greatest one below [`WORDS_FROM`].
    pub(crate) fn is_beyond(
        &mut self,
        table: Named,
        id: &str,
        greatest: impl FnOnce() -> Result<Option<String>, StoreError>,
    ) -> Result<bool, StoreError> {
        if id >= WORDS_FROM {
            return Ok(false);
        }
        let bound = match self.greatest[table as usize].take() {
            Some(bound) => bound,
            None => greatest()?.unwrap_or_default(),
        };
        let beyond = id > bound.as_str();
        // A request that fails leaves the bound higher than it need be, which is as good a bound.
        self.greatest[table as usize] = Some(if beyond { id.to_owned() } else { bound });
        Ok(beyond)
    }

    /// Best limits of a market's resting orders, if they are remembered.
    pub(crate) fn best_limits(&self, market_id: &str) -> Option<BestLimits> {
        self.books.get(market_id).copied()
    }

    /// Remembers the best limits that were read of a market.
    pub(crate) fn note_best_limits(&mut self, market_id: &str, limits: BestLimits) {
        self.books.insert(market_id.to_owned(), limits);
    }

    /// Writes every dirty row to its table.
    pub(crate) fn flush(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        self.markets
            .flush(|row| written(markets::write_traded(conn, row)?))?;
        self.accounts
            .flush(|row| written(ledger::write_balance(conn, row)?))?;
        self.positions
            .flush(|row| written(positions::write_kept(conn, row)?))
    }
}

#[cfg(test)]
mod tests;
