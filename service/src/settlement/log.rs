//! The head of a market's own log (see [`plumbline_market::draw`]). It is computed from the
//! stored trades when a draw needs it, so that a trade costs nothing for it.

use plumbline_market::digest::Digest;
use plumbline_market::draw::LogHead;
use plumbline_store::cases::{FrozenExhibit, LogTrade};
use plumbline_store::prices::{self, Price};
use plumbline_store::{Tx, cases, markets};
use serde::{Deserialize, Serialize};

use crate::outcomes::has_several;
use crate::{Result, ServiceError};

/// Trades read at once.
const CHUNK: i64 = 1_000;

/// A head and where in the history it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    /// The head.
    pub(super) head: LogHead,
    /// Place of the last trade in it.
    pub(super) seq: i64,
}

/// The next trades of a market. Those of several outcomes are in its price history, with the log-odds
/// of the first outcome after each; their places are those of that history.
fn trades_after(tx: &mut Tx, market_id: &str, seq: i64) -> Result<Vec<LogTrade>> {
    if !has_several(&markets::get(tx, market_id)?) {
        return Ok(cases::log_after(tx, market_id, seq, CHUNK)?);
    }
    let entry = |price: Price| {
        Some(LogTrade {
            seq: price.seq,
            id: price.reference?,
            log_odds_after: price.log_odds,
        })
    };
    let rows = prices::list(tx, market_id, seq, CHUNK)?;
    Ok(rows.into_iter().filter_map(entry).collect())
}

impl Log {
    pub(super) fn open(terms: &str) -> Self {
        Self {
            head: LogHead::open(terms),
            seq: 0,
        }
    }

    /// The log with every trade that was made since.
    pub(super) fn follow(mut self, tx: &mut Tx, market_id: &str) -> Result<Self> {
        loop {
            let trades = trades_after(tx, market_id, self.seq)?;
            let Some(last) = trades.last() else {
                return Ok(self);
            };
            self.seq = last.seq;
            for trade in &trades {
                self.head = self.head.trade(&trade.id, trade.log_odds_after);
            }
        }
    }

    /// The log with the exhibits of the freeze.
    pub(super) fn exhibits(mut self, leaves: &[FrozenExhibit]) -> Result<Self> {
        for leaf in leaves {
            let content: Digest = leaf.content_hash.parse().map_err(ServiceError::internal)?;
            self.head = self.head.exhibit(&leaf.evidence_id, &content);
        }
        Ok(self)
    }
}
