//! How much evidence may wait for the judges, and what is said to who comes when that much does.

use plumbline_store::{Tx, evidence};

use crate::{Result, ServiceError};

/// Bounds of the queue of the judges. A reveal of a commitment was announced in time and loses its bond when it
/// comes late, so it may use as much again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgingQueue {
    /// Submissions of one market that may wait.
    pub per_market: i64,
    /// Submissions that may wait in all.
    pub overall: i64,
    /// What a full queue tells the caller to wait before the next try, seconds.
    pub retry_after_s: u32,
}

impl Default for JudgingQueue {
    fn default() -> Self {
        Self {
            per_market: 64,
            overall: 512,
            retry_after_s: 10,
        }
    }
}

impl JudgingQueue {
    /// Refuses one more submission where too many wait already, before anything is taken for it.
    ///
    /// Errors: `judging-overloaded`, 503 with the seconds to wait.
    pub(super) fn admit(&self, tx: &mut Tx, market_id: &str, reveals: bool) -> Result<()> {
        let (here, all) = evidence::count_waiting(tx, market_id)?;
        let room = if reveals { 2 } else { 1 };
        let full = here >= self.per_market.saturating_mul(room)
            || all >= self.overall.saturating_mul(room);
        if full {
            return Err(ServiceError::JudgingOverloaded {
                retry_after_s: self.retry_after_s,
            });
        }
        Ok(())
    }
}
