//! What a policy is told, kept from one tick to the next.
//!
//! A tick looks at every run, and most of the time one thing has changed. Whatever changes a market, a
//! decision or its acknowledgements writes an event in the same transaction, so the events since the last
//! tick say of which runs the facts must be read again; all of them are when there were too many events,
//! and every few seconds in any case.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use plumbline_governance::Bps;
use plumbline_governance::Workload;
use plumbline_governance::bound::Uncertainty;
use plumbline_governance::control::ControlState;
use plumbline_governance::decision::AllocationDecision;
use plumbline_governance::orders::{OrderSource, StandingOrder};
use plumbline_governance::plan::{MarketView, RunView};
use plumbline_oracle::ensemble::Assessment;
use plumbline_oracle::judge::JudgeOutcome;
use plumbline_store::acks::Ack;
use plumbline_store::decisions::{self, Decision};
use plumbline_store::markets::{self, Market};
use plumbline_store::outbox::{self, Event};
use plumbline_store::runs::Run;
use plumbline_store::{Tx, acks, control, runs, standing};
use uuid::Uuid;

use crate::allocations::{TOPIC, payload_of};
use crate::price_window::{self, PriceWindows, SharedWindows};
use crate::settlement::{SELF_RESOLVING, open_disputes};
use crate::time::Millis;
use crate::{Result, ServiceError, keys};

/// Where the controller's memory is kept.
pub(crate) const STATE: &str = "allocation-control";
/// Markets of a run that are looked at for one that counts.
const MARKETS_LOOKED_AT: i64 = 20;
/// Events that one tick goes through; more, and everything is read again.
const MAX_EVENTS: i64 = 5_000;
/// Everything is read again after so long, whatever the events say.
const READ_AGAIN: Millis = 10_000;

/// When to look, and how far back.
#[derive(Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) now: Millis,
    /// The policy's window of prices.
    pub(crate) window: Millis,
    /// Its dwell time: orders of seals that ended within it still count.
    pub(crate) dwell: Millis,
}

/// Everything that a tick needs, read in one transaction.
pub(crate) struct Known {
    pub(crate) state: ControlState,
    pub(crate) epoch: u64,
    pub(crate) views: Vec<RunView>,
    decisions: HashMap<Uuid, Arc<AllocationDecision>>,
}

impl Known {
    /// As if the policy had no window to look back on.
    pub(crate) fn forget_all_but_last_prices(&mut self) {
        let markets = self.views.iter_mut().filter_map(|run| run.market.as_mut());
        for market in markets {
            let earlier = market.observations.len().saturating_sub(1);
            market.observations.drain(..earlier);
        }
    }

    pub(crate) fn previous(&self, run: Uuid) -> Option<&AllocationDecision> {
        self.decisions.get(&run).map(Arc::as_ref)
    }
}

/// The facts and the prices of the last tick.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    facts: Mutex<Facts>,
    prices: SharedWindows,
}

impl Memory {
    /// What a tick at `looked` is to know of the runs that `is_going` holds of.
    pub(crate) fn known(
        &self,
        read: impl FnOnce(&mut dyn FnMut(&mut Tx) -> Result<Known>) -> Result<Known>,
        looked: Looked,
        is_going: &dyn Fn(&Run) -> bool,
    ) -> Result<Known> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = price_window::tick(&self.prices, |prices| {
            let mut look = |tx: &mut Tx| facts.look(tx, prices, looked, is_going);
            read(&mut look)
        });
        if known.is_err() {
            // What was read before the failure may have been read by half.
            *facts = Facts::default();
        }
        known
    }
}

#[derive(Debug, Default)]
struct Facts {
    /// Last event that was seen.
    after: i64,
    /// When everything was read; none when it must be.
    read_at: Option<Millis>,
    runs: BTreeMap<String, RunFacts>,
    /// The run of each market that is a fact of one.
    markets: HashMap<String, String>,
    /// The controller's memory, with the text that it was read from.
    state: (String, ControlState),
}

/// What is known of a run without its prices.
#[derive(Debug)]
struct RunFacts {
    uid: Uuid,
    previous: Option<Arc<AllocationDecision>>,
    held: Option<Bps>,
    market: Option<MarketFacts>,
    market_count: u32,
}

#[derive(Debug)]
struct MarketFacts {
    id: String,
    uid: Uuid,
    opened_at: Millis,
    liquidity_micro: u64,
    disagreement: f64,
    n_eff: f64,
    open_disputes: u32,
    advisory: bool,
    settlement: Option<f64>,
}

/// What events say has changed.
#[derive(Debug, Default)]
struct Changed {
    /// Nothing is known of what has not.
    all: bool,
    runs: BTreeSet<String>,
    markets: BTreeSet<String>,
}

impl Facts {
    fn look(
        &mut self,
        tx: &mut Tx,
        prices: &mut PriceWindows,
        looked: Looked,
        is_going: &dyn Fn(&Run) -> bool,
    ) -> Result<Known> {
        let changed = self.changed(tx, looked.now)?;
        let mut orders = standing_orders(tx, looked)?;
        let mut known = Known {
            state: self.state(tx)?,
            epoch: u64::try_from(keys::epoch(tx)?).map_err(ServiceError::internal)?,
            views: Vec::new(),
            decisions: HashMap::new(),
        };
        for run in &changed.runs {
            // Also of those that are not going now: they may again.
            self.runs.remove(run);
        }
        for run in runs::list(tx)?.into_iter().filter(is_going) {
            if !self.runs.contains_key(&run.id) {
                self.read(tx, &run)?;
            }
            let Some(facts) = self.runs.get(&run.id) else {
                continue;
            };
            if let Some(previous) = &facts.previous {
                known.decisions.insert(facts.uid, Arc::clone(previous));
            }
            let orders = orders.remove(&run.id).unwrap_or_default();
            let market = facts.market.as_ref();
            let market = market
                .map(|market| market.view(tx, prices, &changed, looked))
                .transpose()?;
            known.views.push(facts.view(run, market, orders));
        }
        Ok(known)
    }

    /// What events since the last look say; forgets everything where they do not say enough.
    fn changed(&mut self, tx: &mut Tx, now: Millis) -> Result<Changed> {
        let mut changed = Changed::default();
        let recent = |read_at: Millis| (read_at..read_at + READ_AGAIN).contains(&now);
        let events = if self.read_at.is_some_and(recent) {
            outbox::after(tx, self.after, MAX_EVENTS)?
        } else {
            Vec::new()
        };
        let complete = (events.len() as i64) < MAX_EVENTS;
        if complete && self.read_at.is_some_and(recent) {
            for event in &events {
                self.after = event.id;
                if !self.take(event, &mut changed) {
                    self.read_at = None;
                }
            }
        }
        if !complete || !self.read_at.is_some_and(recent) {
            self.after = outbox::last_id(tx)?;
            self.read_at = Some(now);
            self.runs.clear();
            self.markets.clear();
            changed.all = true;
        }
        Ok(changed)
    }

    /// False when it cannot be told what the event is about.
    fn take(&self, event: &Event, changed: &mut Changed) -> bool {
        let Some(market) = event.topic.strip_prefix("market:") else {
            if event.topic != TOPIC {
                return true;
            }
            let run = run_of(event);
            let known = run.is_some();
            changed.runs.extend(run);
            return known;
        };
        changed.markets.insert(market.to_owned());
        if event.kind == "price" {
            return true;
        }
        let run = run_of(event).or_else(|| self.markets.get(market).cloned());
        let known = run.is_some();
        changed.runs.extend(run);
        known
    }

    fn state(&mut self, tx: &mut Tx) -> Result<ControlState> {
        let Some(text) = control::get(tx, STATE)? else {
            return Ok(ControlState::default());
        };
        if self.state.0 != text {
            let state = serde_json::from_str(&text).map_err(ServiceError::internal)?;
            self.state = (text, state);
        }
        Ok(self.state.1.clone())
    }

    fn read(&mut self, tx: &mut Tx, run: &Run) -> Result<()> {
        let facts = RunFacts::read(tx, run)?;
        if let Some(market) = &facts.market {
            self.markets.insert(market.id.clone(), run.id.clone());
        }
        self.runs.insert(run.id.clone(), facts);
        Ok(())
    }
}

fn run_of(event: &Event) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_str(&event.payload).ok()?;
    Some(payload.get("run_id")?.as_str()?.to_owned())
}

impl RunFacts {
    fn read(tx: &mut Tx, run: &Run) -> Result<Self> {
        let previous = decisions::latest(tx, &run.id, "training")?;
        let held = match &previous {
            Some(row) => released_share(&acks::list(tx, &row.decision_id)?, row),
            // A run that was never granted anything holds nothing.
            None => Some(Bps::ZERO),
        };
        let rows = markets::newest_binary(tx, &run.id, MARKETS_LOOKED_AT)?;
        let rows: Vec<Market> = rows
            .into_iter()
            .filter(|market| market.status != "void")
            .collect();
        // A market that is only a signal counts where there is no other.
        let counts = rows
            .iter()
            .position(|market| market.settlement_method != SELF_RESOLVING)
            .unwrap_or(0);
        Ok(Self {
            uid: id_of(&run.id)?,
            previous: previous.as_ref().map(payload_of).transpose()?.map(Arc::new),
            held,
            market_count: rows.len() as u32,
            market: rows.get(counts).map(MarketFacts::of).transpose()?,
        })
    }

    fn view(&self, run: Run, market: Option<MarketView>, orders: Vec<StandingOrder>) -> RunView {
        RunView {
            run: self.uid,
            name: run.name,
            workload: Workload::Training,
            market,
            market_count: self.market_count,
            held: self.held,
            lift: false,
            withdrawn: run.status == "finished",
            orders,
        }
    }
}

impl MarketFacts {
    fn of(market: &Market) -> Result<Self> {
        let assessment: Option<Assessment> = market
            .assessment
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(ServiceError::internal)?;
        Ok(Self {
            id: market.id.clone(),
            uid: id_of(&market.id)?,
            opened_at: market.opened_at,
            liquidity_micro: u64::try_from(market.liquidity_micro).unwrap_or(0),
            disagreement: assessment.as_ref().map_or(0.0, disagreement),
            n_eff: market.n_eff,
            open_disputes: open_disputes(market),
            advisory: market.settlement_method == SELF_RESOLVING,
            settlement: market.settlement,
        })
    }

    /// Its moves inside the window, and what widens its bound. The exhibits behind the price decide
    /// nothing: a decision that is issued names them.
    fn view(
        &self,
        tx: &mut Tx,
        windows: &mut PriceWindows,
        changed: &Changed,
        looked: Looked,
    ) -> Result<MarketView> {
        let moved = changed.all || changed.markets.contains(&self.id);
        let observations = windows.since(tx, &self.id, looked.now - looked.window, moved)?;
        let times = observations.iter().map(|one| one.at.as_millisecond());
        let last = times.rev().find(|at| *at <= looked.now);
        let moved_at = last.unwrap_or(self.opened_at);
        Ok(MarketView {
            market: self.uid,
            observations,
            uncertainty: Uncertainty {
                liquidity_micro: self.liquidity_micro,
                staleness_s: (looked.now - moved_at).max(0) as f64 / 1000.0,
                disagreement: self.disagreement,
                effective_judges: self.n_eff,
            },
            open_disputes: self.open_disputes,
            advisory: self.advisory,
            settlement: self.settlement,
            exhibit_digests: Vec::new(),
        })
    }
}

/// What votes and seals put on runs, by run.
fn standing_orders(tx: &mut Tx, looked: Looked) -> Result<BTreeMap<String, Vec<StandingOrder>>> {
    let mut orders: BTreeMap<String, Vec<StandingOrder>> = BTreeMap::new();
    for row in standing::ending_after(tx, looked.now.saturating_sub(looked.dwell))? {
        let id: Uuid = id_of(&row.source_id)?;
        let order = StandingOrder {
            effect: serde_json::from_str(&row.effect).map_err(ServiceError::internal)?,
            source: match row.source_kind.as_str() {
                "seal" => OrderSource::Seal { id },
                _ => OrderSource::Proposal { id },
            },
            from: timestamp(row.from_at)?,
            until: timestamp(row.until_at)?,
            before: row
                .before_bps
                .map(|bps| Bps::saturating(u32::try_from(bps).unwrap_or(0))),
        };
        orders.entry(row.run_id).or_default().push(order);
    }
    Ok(orders)
}

fn id_of(text: &str) -> Result<Uuid> {
    text.parse().map_err(ServiceError::internal)
}

/// Standard deviation of the judges' log-odds, by their weights.
fn disagreement(assessment: &Assessment) -> f64 {
    let opinions: Vec<(f64, f64)> = assessment
        .judgements
        .iter()
        .filter_map(|outcome| match outcome {
            JudgeOutcome::Judged { judgement, weight } => Some((judgement.log_odds, *weight)),
            _ => None,
        })
        .collect();
    let mean: f64 = opinions
        .iter()
        .map(|(log_odds, weight)| log_odds * weight)
        .sum();
    opinions
        .iter()
        .map(|(log_odds, weight)| weight * (log_odds - mean).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The share a run is known to hold: what its schedulers reported when they
/// released the rest. Unknown while one that has taken the decision has not.
fn released_share(reports: &[Ack], decision: &Decision) -> Option<Bps> {
    let by = |scheduler: &str, phase: &str| {
        let mut found = reports.iter().rev();
        found.find(|ack| ack.scheduler == scheduler && ack.phase == phase)
    };
    let mut most = None;
    for report in reports {
        if by(&report.scheduler, "rejected").is_some() {
            continue;
        }
        let released = by(&report.scheduler, "released")?;
        let share = released.actual_bps.unwrap_or(decision.share_bps);
        most = most.max(Some(Bps::saturating(u32::try_from(share).unwrap_or(0))));
    }
    most
}

pub(crate) fn timestamp(at: Millis) -> Result<Timestamp> {
    Timestamp::from_millisecond(at).map_err(ServiceError::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ack(scheduler: &str, phase: &str, actual_bps: Option<i64>) -> Ack {
        Ack {
            decision_id: "d".to_owned(),
            scheduler: scheduler.to_owned(),
            phase: phase.to_owned(),
            at: 0,
            observed_generation: 1,
            actual_bps,
            body: "{}".to_owned(),
        }
    }

    #[test]
    fn a_share_is_released_when_every_scheduler_that_took_the_decision_says_so() {
        let decision = Decision {
            decision_id: "d".to_owned(),
            target_kind: "run".to_owned(),
            target_uid: "r".to_owned(),
            workload: "training".to_owned(),
            epoch: 1,
            generation: 1,
            share_bps: 2_500,
            action: "throttle".to_owned(),
            created_at: 0,
            expires_at: 1,
            payload: String::new(),
            envelope: String::new(),
            version: 1,
        };
        let east = ack("east", "released", Some(1_000));
        let west = ack("west", "received", None);
        let table = [
            (vec![], None),
            (vec![west.clone()], None),
            (vec![east.clone()], Some(1_000)),
            (vec![east.clone(), west.clone()], None),
            (
                vec![west.clone(), east.clone(), ack("west", "released", None)],
                Some(2_500),
            ),
            // Who refuses a decision does nothing about it.
            (vec![west, east, ack("west", "rejected", None)], Some(1_000)),
        ];
        for (reports, expected) in table {
            let share = released_share(&reports, &decision).map(Bps::get);
            assert_eq!(share, expected, "{reports:?}");
        }
    }
}
