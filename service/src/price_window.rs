//! The prices that a policy looks back on, kept from one tick to the next: under load a window holds
//! hundreds of thousands of moves, and only the newest of them are new.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use plumbline_governance::bound::PriceObservation;
use plumbline_market::probability::sigmoid;
use plumbline_store::Tx;
use plumbline_store::prices::{self, Price};

use crate::Result;
use crate::policy::timestamp;
use crate::time::Millis;

/// Rows read at once.
const CHUNK: i64 = 10_000;

/// The moves of one market since `from`, and the one in force at that time.
#[derive(Debug, Default)]
struct Window {
    from: Millis,
    /// Prices by time and sequence: requests take their time before they queue up, so that one that was
    /// stored later may be a little older.
    moves: BTreeMap<(Millis, i64), PriceObservation>,
    /// Last row that was read.
    seq: i64,
    /// Tick at which it was last looked at.
    tick: u64,
}

/// The windows of the markets that the policy looks at.
#[derive(Debug, Default)]
pub(crate) struct PriceWindows {
    tick: u64,
    markets: HashMap<String, Window>,
}

/// [`PriceWindows`] behind a lock.
pub(crate) type SharedWindows = Mutex<PriceWindows>;

/// Runs one tick on the windows, and forgets those of markets that it did not ask for.
pub(crate) fn tick<T>(
    windows: &SharedWindows,
    f: impl FnOnce(&mut PriceWindows) -> Result<T>,
) -> Result<T> {
    let mut windows = windows.lock().unwrap_or_else(PoisonError::into_inner);
    windows.tick += 1;
    let result = f(&mut windows);
    let tick = windows.tick;
    match result {
        Ok(_) => windows.markets.retain(|_, window| window.tick == tick),
        // What was read before the failure may have been read by half.
        Err(_) => windows.markets.clear(),
    }
    result
}

impl PriceWindows {
    /// The prices of a market since `from`, oldest first, with the one that held then. Where it did not
    /// move since the last call, what was read then is all there is.
    pub(crate) fn since(
        &mut self,
        tx: &mut Tx,
        market_id: &str,
        from: Millis,
        moved: bool,
    ) -> Result<Vec<PriceObservation>> {
        let tick = self.tick;
        let window = self.markets.entry(market_id.to_owned()).or_default();
        // A longer window, or a clock that stepped back: what is needed now was let go.
        if window.seq == 0 || from < window.from {
            *window = Window::read(tx, market_id, from)?;
        } else {
            if moved {
                window.read_on(tx, market_id)?;
            }
            window.let_go(from);
        }
        window.tick = tick;
        Ok(window.moves.values().copied().collect())
    }
}

impl Window {
    fn read(tx: &mut Tx, market_id: &str, from: Millis) -> Result<Self> {
        let mut window = Self {
            from,
            ..Self::default()
        };
        let before = prices::last_before(tx, market_id, from)?;
        let since = prices::since(tx, market_id, from)?;
        window.add(before.into_iter().chain(since))?;
        Ok(window)
    }

    fn read_on(&mut self, tx: &mut Tx, market_id: &str) -> Result<()> {
        loop {
            let rows = prices::list(tx, market_id, self.seq, CHUNK)?;
            let full = rows.len() as i64 == CHUNK;
            self.add(rows)?;
            if !full {
                return Ok(());
            }
        }
    }

    fn add(&mut self, rows: impl IntoIterator<Item = Price>) -> Result<()> {
        for row in rows {
            self.seq = self.seq.max(row.seq);
            let observation = PriceObservation {
                at: timestamp(row.at)?,
                price: sigmoid(row.log_odds),
            };
            self.moves.insert((row.at, row.seq), observation);
        }
        Ok(())
    }

    /// Keeps what [`Window::read`] would read at `from`.
    fn let_go(&mut self, from: Millis) {
        self.from = from;
        let held = self.moves.range(..=(from, i64::MAX)).next_back();
        if let Some((&held, _)) = held {
            while self
                .moves
                .first_key_value()
                .is_some_and(|(key, _)| *key < held)
            {
                self.moves.pop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn price(seq: i64, at: Millis) -> Price {
        Price {
            seq,
            market_id: "m".to_owned(),
            at,
            log_odds: seq as f64 / 10.0,
            cause: "trade".to_owned(),
            reference: None,
        }
    }

    /// What a full read would give, from all rows there are.
    fn full(rows: &[Price], from: Millis) -> Vec<(Millis, i64)> {
        let mut keys: Vec<_> = rows.iter().map(|row| (row.at, row.seq)).collect();
        keys.sort_unstable();
        let held = keys.iter().rev().find(|key| key.0 <= from).copied();
        let since = keys.into_iter().filter(|key| key.0 > from);
        held.into_iter().chain(since).collect()
    }

    #[test]
    fn a_window_that_grows_and_slides_is_the_one_that_a_full_read_gives() {
        let mut window = Window {
            from: 0,
            ..Window::default()
        };
        let mut rows = Vec::new();
        for seq in 1..400_i64 {
            // Times grow by fits and starts, and step back a little now and then.
            let at = seq * 7 - (seq * seq) % 23;
            rows.push(price(seq, at));
            window.add([price(seq, at)]).unwrap();
            if seq % 3 == 0 {
                let from = (at - 150).max(window.from);
                window.let_go(from);
                let kept: Vec<_> = window.moves.keys().copied().collect();
                assert_eq!(kept, full(&rows, from), "after {seq}");
            }
        }
        assert_eq!(window.seq, 399);
    }
}
