//! The head of a market's own log (see [`plumbline_market::draw`]). It is computed from the
//! stored trades when a draw needs it, so that a trade costs nothing for it.

use plumbline_market::digest::Digest;
use plumbline_market::draw::LogHead;
use plumbline_store::cases::FrozenExhibit;
use plumbline_store::{Tx, cases};
use serde::{Deserialize, Serialize};

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
            let trades = cases::log_after(tx, market_id, self.seq, CHUNK)?;
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
