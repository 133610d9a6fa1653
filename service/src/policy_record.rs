//! The record that policies are replayed on: what the policy was told about a run, whenever the run's
//! control changed or a decision was due.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plumbline_governance::bound::PriceObservation;
use plumbline_governance::control::ControlState;
use plumbline_governance::plan::{Plan, RunView};
use plumbline_governance::replay::{Decided, Entry, Moment, Prices};
use plumbline_market::probability::sigmoid;
use plumbline_store::decisions::Decision;
use plumbline_store::policy_inputs::{self, PolicyInput};
use plumbline_store::{Tx, prices, runs};
use uuid::Uuid;

use crate::policy::timestamp;
use crate::time::Millis;
use crate::{Result, ServiceError};

/// The record is kept for so long.
pub(crate) const KEEP: Millis = 90 * 86_400_000;
/// Rows that one replay takes, the newest.
const MAX_ROWS: i64 = 2_000;
/// Prices of one market that one replay takes; more are thinned out evenly.
const MAX_PRICES: usize = 20_000;
/// Prices read at once.
const CHUNK: i64 = 10_000;

/// One row to be.
pub(crate) struct Row {
    run_id: String,
    decision_id: Option<String>,
    entry: String,
}

/// What is to be recorded of a tick.
pub(crate) fn rows(
    views: &[RunView],
    before: &ControlState,
    planned: &Plan,
    due: &[Decision],
) -> Result<Vec<Row>> {
    let of_run: HashMap<&str, &Decision> = due
        .iter()
        .map(|decision| (decision.target_uid.as_str(), decision))
        .collect();
    let views: HashMap<Uuid, &RunView> = views.iter().map(|view| (view.run, view)).collect();
    let mut rows = Vec::new();
    for run in &planned.runs {
        let uid = run.run.to_string();
        let decision = of_run.get(uid.as_str());
        let (was, is) = (before.runs.get(&run.run), planned.state.runs.get(&run.run));
        let view = views.get(&run.run);
        let Some(view) = view.filter(|_| decision.is_some() || was != is) else {
            continue;
        };
        let decided = match decision {
            Some(decision) => Some(Decided {
                decision_id: decision
                    .decision_id
                    .parse()
                    .map_err(ServiceError::internal)?,
                action: run.grant.action,
                share: run.grant.share,
            }),
            None => None,
        };
        let entry = Entry {
            view: without_prices(view),
            before: was.copied(),
            after: is.copied(),
            decided,
        };
        rows.push(Row {
            run_id: uid,
            decision_id: decision.map(|decision| decision.decision_id.clone()),
            entry: serde_json::to_string(&entry).map_err(ServiceError::internal)?,
        });
    }
    Ok(rows)
}

/// Prices have a table of their own, and exhibits decide nothing.
fn without_prices(view: &RunView) -> RunView {
    let mut view = view.clone();
    if let Some(market) = &mut view.market {
        market.observations.clear();
        market.exhibit_digests.clear();
    }
    view
}

/// Stores rows.
pub(crate) fn keep(tx: &mut Tx, rows: &[Row], now: Millis) -> Result<()> {
    for row in rows {
        let decision = row.decision_id.as_deref();
        policy_inputs::insert(tx, now, &row.run_id, decision, &row.entry)?;
    }
    Ok(())
}

/// A stretch of the record.
pub(crate) struct History {
    pub(crate) moments: Vec<Moment>,
    pub(crate) prices: Prices,
    /// There was more than is replayed.
    pub(crate) cut: bool,
}

/// Reads what was recorded between two moments, opened by the last that was recorded of each run before.
pub(crate) fn read(tx: &mut Tx, from: Millis, to: Millis, window: Millis) -> Result<History> {
    let mut rows = policy_inputs::between(tx, from, to, MAX_ROWS + 1)?;
    let cut = rows.len() as i64 > MAX_ROWS;
    rows.truncate(MAX_ROWS as usize);
    rows.reverse();
    let Some(first) = rows.first() else {
        return Ok(History {
            moments: Vec::new(),
            prices: Prices::new(),
            cut,
        });
    };
    let (first_at, first_seq) = (first.at, first.seq);
    let mut opening = Vec::new();
    for run in runs::list(tx)? {
        if let Some(last) = policy_inputs::last_of_run(tx, &run.id, first_seq)? {
            opening.push(entry_of(&last)?.carried());
        }
    }
    let mut by_time: BTreeMap<Millis, Vec<Entry>> = BTreeMap::new();
    by_time.insert(first_at - 1, opening);
    for row in &rows {
        by_time.entry(row.at).or_default().push(entry_of(row)?);
    }
    let markets: BTreeSet<Uuid> = by_time
        .values()
        .flatten()
        .filter_map(|entry| entry.view.market.as_ref().map(|market| market.market))
        .collect();
    let mut prices = Prices::new();
    for market in markets {
        prices.insert(market, prices_of(tx, market, first_at - window, to)?);
    }
    let moment = |(at, entries)| -> Result<Moment> {
        Ok(Moment {
            at: timestamp(at)?,
            entries,
        })
    };
    Ok(History {
        moments: by_time.into_iter().map(moment).collect::<Result<_>>()?,
        prices,
        cut,
    })
}

fn entry_of(row: &PolicyInput) -> Result<Entry> {
    serde_json::from_str(&row.entry).map_err(ServiceError::internal)
}

/// Prices of a market in order of time, from the one in force at `from` on.
fn prices_of(tx: &mut Tx, market: Uuid, from: Millis, to: Millis) -> Result<Vec<PriceObservation>> {
    let id = market.to_string();
    let held = prices::last_before(tx, &id, from)?;
    let mut seq = held.as_ref().map_or(0, |price| price.seq);
    let mut found: Vec<(Millis, f64)> = held
        .into_iter()
        .map(|price| (price.at, price.log_odds))
        .collect();
    let (mut stride, mut passed) = (1_usize, 0_usize);
    loop {
        let rows = prices::list(tx, &id, seq, CHUNK)?;
        let full = rows.len() as i64 == CHUNK;
        for row in rows {
            seq = row.seq;
            passed += 1;
            if row.at <= to && passed.is_multiple_of(stride) {
                found.push((row.at, row.log_odds));
            }
        }
        while found.len() > MAX_PRICES {
            let mut keep = false;
            found.retain(|_| {
                keep = !keep;
                keep
            });
            stride *= 2;
        }
        if !full {
            break;
        }
    }
    // Requests take their time before they queue up: a row may be a little older than the one before.
    found.sort_by_key(|(at, _)| *at);
    let observation = |(at, log_odds): (Millis, f64)| -> Result<PriceObservation> {
        Ok(PriceObservation {
            at: timestamp(at)?,
            price: sigmoid(log_odds),
        })
    };
    found.into_iter().map(observation).collect()
}
