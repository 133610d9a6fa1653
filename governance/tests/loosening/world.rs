//! A small world: an issuer that plans and issues, a network that delays, repeats and reorders, and one
//! consumer for each run. Everything that decides is the crate's own; what a fault breaks is named.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use plumbline_governance::ack::{AckPhase, AckStep, step};
use plumbline_governance::bound::{PriceObservation, Uncertainty};
use plumbline_governance::control::ControlState;
use plumbline_governance::decision::{
    Accepted, Addressee, AllocationDecision, CheckpointDemand, DecisionTarget, Draft, LeasePhase,
    TargetKind, Terms, accept, is_due, issue,
};
use plumbline_governance::orders::{OrderEffect, OrderSource, StandingOrder};
use plumbline_governance::plan::{MarketView, RunPlan, RunView, plan};
use plumbline_governance::policy::{Policy, PolicyDocument};
use plumbline_governance::{Bps, Mode, Workload};
use uuid::Uuid;

/// Runs of a world.
pub(crate) const RUNS: usize = 3;

/// Something happens.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The issuer's clock moves, perhaps back.
    Wait(i64),
    Price(usize, f64),
    Liquidity(usize, u64),
    Settle(usize, f64),
    NewMarket {
        run: usize,
        advisory: bool,
        price: f64,
    },
    NoMarket(usize),
    Order {
        run: usize,
        effect: OrderEffect,
        term_s: i64,
        before: Option<Bps>,
    },
    /// Another of [`World::policies`] comes into force.
    Policy(usize),
    /// The policy's tick; a crash before its transaction loses all of it.
    Tick {
        crash: bool,
    },
    /// One of the decisions that were ever issued on a run reaches its consumer, again or late.
    Deliver {
        run: usize,
        back: usize,
    },
    /// A consumer does what it was told last.
    Apply(usize),
    /// One of the reports that were ever made reaches the issuer, again or late.
    Ack {
        run: usize,
        back: usize,
    },
    /// A consumer's clock is off by so much.
    Skew(usize, i64),
    /// All that works: a tick, the newest decision of everybody delivered, applied and reported.
    Round,
}

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    NoDwell,
    StaleCounts,
    ThinCounts,
    HighClear,
    GiantSteps,
    /// A crash loses what the control remembers.
    Forgets,
    /// A vote's permit never ends.
    PermitsForEver,
    /// A dwell time under another policy counts.
    DwellOfOtherPolicies,
    /// A dwell time on another market counts.
    DwellOfOtherMarkets,
    /// What grew while only shown binds at once.
    ShownBinds,
    /// A cut frees compute before anybody released it.
    FreesAtOnce,
    /// A consumer takes what comes.
    TakesOlder,
    /// A consumer takes what has expired.
    TakesExpired,
}

impl Fault {
    pub(crate) const ALL: [Self; 13] = [
        Self::NoDwell,
        Self::StaleCounts,
        Self::ThinCounts,
        Self::HighClear,
        Self::GiantSteps,
        Self::Forgets,
        Self::PermitsForEver,
        Self::DwellOfOtherPolicies,
        Self::DwellOfOtherMarkets,
        Self::ShownBinds,
        Self::FreesAtOnce,
        Self::TakesOlder,
        Self::TakesExpired,
    ];

    fn edit(self, document: &mut PolicyDocument) {
        match self {
            Self::NoDwell => document.control.dwell_s = 0,
            Self::StaleCounts => document.control.max_staleness_s = 1_000_000,
            Self::ThinCounts => document.control.min_liquidity_micro = 0,
            Self::HighClear => document.thresholds.clear = document.thresholds.trip - 0.01,
            Self::GiantSteps => document.control.step_bps = Bps::FULL,
            _ => {}
        }
    }
}

/// A market as its traders see it.
#[derive(Debug, Clone)]
pub(crate) struct Market {
    pub(crate) id: Uuid,
    pub(crate) opened: Timestamp,
    pub(crate) prices: Vec<PriceObservation>,
    pub(crate) liquidity_micro: u64,
    pub(crate) settlement: Option<f64>,
    pub(crate) advisory: bool,
}

/// A run with everything said about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) market: Option<Market>,
    pub(crate) orders: Vec<StandingOrder>,
    /// Every decision that was stored, oldest first.
    pub(crate) decisions: Vec<AllocationDecision>,
    /// Reports that were taken, by generation.
    taken: BTreeMap<u64, Vec<(AckPhase, Option<Bps>)>>,
    pub(crate) consumer: Consumer,
}

/// What a consumer has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consumer {
    /// The newest decision, on its disk.
    pub(crate) held: Option<AllocationDecision>,
    /// Its lease lapsed here once; no clock that steps back revives it.
    lapsed: bool,
    /// What the run really may use.
    pub(crate) in_use: Bps,
    /// Whether it ever did what it was told.
    pub(crate) acted: bool,
    /// What it used when the newest decision came, until that one is acted on in its time.
    before: Option<Bps>,
    skew: i64,
    /// Every report it made: generation, phase, share.
    reports: Vec<(u64, AckPhase, Option<Bps>)>,
}

/// A stored decision with what it was made of.
pub(crate) struct Issued<'a> {
    pub(crate) run: usize,
    pub(crate) decision: &'a AllocationDecision,
    pub(crate) earlier: &'a [AllocationDecision],
}

/// What an event did that a law is about.
pub(crate) enum Done<'a> {
    Nothing,
    /// A tick was stored.
    Ticked(Vec<Issued<'a>>),
    /// A consumer changed what its run may use; nothing was in force before its first order.
    Applied {
        run: usize,
        before: Option<Bps>,
    },
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) runs: Vec<Run>,
    /// What the laws are checked by.
    pub(crate) policies: Vec<Policy>,
    /// What the issuer has, the same unless a fault is in it.
    own_policies: Vec<Policy>,
    pub(crate) policy: usize,
    /// The control's memory as it is stored.
    stored: String,
    fault: Option<Fault>,
    ids: u128,
}

/// One policy with other figures.
fn variant(edit: impl FnOnce(&mut PolicyDocument)) -> PolicyDocument {
    let mut document = Policy::parse(Policy::demo_toml())
        .unwrap()
        .document()
        .clone();
    edit(&mut document);
    document
}

fn documents() -> Vec<PolicyDocument> {
    vec![
        variant(|_| ()),
        variant(|strict| {
            strict.thresholds.clear = 0.45;
            strict.control.dwell_s = 12;
            strict.control.start_bps = Bps::new(2_000).unwrap();
            strict.budget.risk = 0.3;
        }),
        variant(|shown| shown.mode = Mode::Shadow),
        variant(|pausing| {
            let rule = &mut pausing.rules[0];
            rule.action = plumbline_governance::Action::Pause;
            rule.cap_bps = None;
            pausing.lease.refresh_s = 10;
            pausing.lease.expires_s = 40;
        }),
    ]
}

impl World {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let compile = |document| Policy::from_document(document).unwrap();
        let broken = |mut document: PolicyDocument| {
            if let Some(fault) = fault {
                fault.edit(&mut document);
            }
            compile(document)
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self {
            now,
            runs: vec![Run::default(); RUNS],
            policies: documents().into_iter().map(compile).collect(),
            own_policies: documents().into_iter().map(broken).collect(),
            policy: 0,
            stored: serde_json::to_string(&ControlState::default()).unwrap(),
            fault,
            ids: 1_000,
        }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    /// The moments after the event at which a law may be broken, in order; `look` sees each of them.
    pub(crate) fn happen(
        &mut self,
        event: &Event,
        look: &mut impl FnMut(&Self, Done<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        match event {
            Event::Tick { crash } => return self.tick(*crash, look),
            Event::Apply(run) => return self.apply(*run, look),
            Event::Round => {
                self.tick(false, look)?;
                for run in 0..RUNS {
                    self.deliver(run, 0);
                    self.apply(run, look)?;
                    for back in (0..self.runs[run].consumer.reports.len().min(5)).rev() {
                        self.take_report(run, back);
                    }
                }
                return Ok(());
            }
            Event::Wait(seconds) => self.now += SignedDuration::from_secs(*seconds),
            Event::Policy(index) => self.policy = index % self.policies.len(),
            Event::Deliver { run, back } => self.deliver(*run, *back),
            Event::Ack { run, back } => self.take_report(*run, *back),
            Event::Skew(run, seconds) => self.runs[*run].consumer.skew = *seconds,
            event => self.market_event(event),
        }
        look(self, Done::Nothing)
    }

    fn market_event(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Price(run, price) => {
                if let Some(market) = &mut self.runs[*run].market {
                    let observation = PriceObservation {
                        at: now,
                        price: *price,
                    };
                    // Stable: of two prices at one moment the later one counts.
                    let place = market.prices.partition_point(|other| other.at <= now);
                    market.prices.insert(place, observation);
                }
            }
            Event::Liquidity(run, liquidity) => {
                if let Some(market) = &mut self.runs[*run].market {
                    market.liquidity_micro = *liquidity;
                }
            }
            Event::Settle(run, pi) => {
                if let Some(market) = &mut self.runs[*run].market {
                    market.settlement.get_or_insert(*pi);
                }
            }
            Event::NewMarket {
                run,
                advisory,
                price,
            } => {
                let id = self.id();
                let opening = PriceObservation {
                    at: now,
                    price: *price,
                };
                self.runs[*run].market = Some(Market {
                    id,
                    opened: now,
                    prices: vec![opening],
                    liquidity_micro: 100_000_000,
                    settlement: None,
                    advisory: *advisory,
                });
            }
            Event::NoMarket(run) => self.runs[*run].market = None,
            Event::Order {
                run,
                effect,
                term_s,
                before,
            } => {
                let id = self.id();
                let source = match before {
                    Some(_) => OrderSource::Seal { id },
                    None => OrderSource::Proposal { id },
                };
                self.runs[*run].orders.push(StandingOrder {
                    effect: *effect,
                    source,
                    from: now,
                    until: now + SignedDuration::from_secs(*term_s),
                    before: *before,
                });
            }
            _ => {}
        }
    }

    /// Share that a run is known to hold, as the service knows it.
    fn held(&self, run: &Run) -> Option<Bps> {
        let Some(newest) = run.decisions.last() else {
            return Some(Bps::ZERO);
        };
        if self.has(Fault::FreesAtOnce) {
            return Some(newest.share_bps);
        }
        let reports = run.taken.get(&newest.generation)?;
        let released = reports
            .iter()
            .find(|(phase, _)| *phase == AckPhase::Released)?;
        Some(released.1.unwrap_or(newest.share_bps))
    }

    fn view(&self, index: usize) -> RunView {
        let run = &self.runs[index];
        let market = run.market.as_ref().map(|market| {
            let known = market.prices.iter().rev().find(|p| p.at <= self.now);
            let moved = known.map_or(market.opened, |price| price.at);
            MarketView {
                market: market.id,
                observations: market.prices.clone(),
                uncertainty: Uncertainty {
                    liquidity_micro: market.liquidity_micro,
                    staleness_s: self.now.duration_since(moved).as_secs_f64().max(0.0),
                    disagreement: 0.3,
                    effective_judges: 1.5,
                },
                open_disputes: 0,
                settlement: market.settlement,
                advisory: market.advisory,
                exhibit_digests: vec![],
            }
        });
        let mut orders = run.orders.clone();
        if self.has(Fault::PermitsForEver) {
            let permits =
                |order: &&mut StandingOrder| matches!(order.effect, OrderEffect::Permit { .. });
            for order in orders.iter_mut().filter(permits) {
                order.until = Timestamp::MAX;
            }
        }
        RunView {
            run: Uuid::from_u128(index as u128 + 1),
            name: format!("run-{index}"),
            workload: Workload::Training,
            market_count: u32::from(market.is_some()),
            market,
            held: self.held(run),
            lift: false,
            withdrawn: false,
            orders,
        }
    }

    fn memory(&self, crash: bool) -> ControlState {
        let mut state: ControlState = serde_json::from_str(&self.stored).unwrap();
        if crash && self.has(Fault::Forgets) {
            state = ControlState::default();
        }
        if self.has(Fault::DwellOfOtherPolicies) {
            state.policy = None;
        }
        for (index, run) in self.runs.iter().enumerate() {
            let uid = Uuid::from_u128(index as u128 + 1);
            let Some(control) = state.runs.get_mut(&uid) else {
                continue;
            };
            if self.has(Fault::DwellOfOtherMarkets) {
                let basis = run.market.as_ref().filter(|market| !market.advisory);
                control.market = basis.map(|market| market.id);
            }
            if self.has(Fault::ShownBinds) {
                control.enforced = None;
            }
        }
        state
    }

    fn tick(
        &mut self,
        crash: bool,
        look: &mut impl FnMut(&Self, Done<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let policy = &self.own_policies[self.policy];
        let views: Vec<RunView> = (0..RUNS).map(|run| self.view(run)).collect();
        let planned = plan(policy, &self.memory(crash), &views, self.now)
            .map_err(|error| error.to_string())?;
        if crash && !self.has(Fault::Forgets) {
            return look(self, Done::Nothing);
        }
        let terms = Terms {
            audience: "pool".to_owned(),
            epoch: 1,
            mode: policy.document().mode,
            lease: policy.document().lease,
        };
        let mut due = BTreeSet::new();
        for (index, run) in planned.runs.iter().enumerate() {
            let previous = self.runs[index].decisions.last();
            let (action, share) = (run.grant.action, run.grant.share);
            // Before the newest decision was made nothing can be due by time.
            if is_due(previous, action, share, &terms, self.now) {
                let decision_id = self.id();
                let previous = self.runs[index].decisions.last();
                let draft = draft(decision_id, run);
                let decision =
                    issue(draft, &terms, previous, self.now).map_err(|error| error.to_string())?;
                self.runs[index].decisions.push(decision);
                due.insert(index);
            }
        }
        self.stored = serde_json::to_string(&planned.state).unwrap();
        let issued = due.into_iter().filter_map(|run| {
            let (decision, earlier) = self.runs[run].decisions.split_last()?;
            Some(Issued {
                run,
                decision,
                earlier,
            })
        });
        let issued = issued.collect();
        look(self, Done::Ticked(issued))
    }

    fn deliver(&mut self, run: usize, back: usize) {
        let now = self.now;
        let (any_order, any_age) = (self.has(Fault::TakesOlder), self.has(Fault::TakesExpired));
        let Run {
            decisions,
            consumer,
            ..
        } = &mut self.runs[run];
        let Some(incoming) = decisions.iter().rev().nth(back).cloned() else {
            return;
        };
        let at = consumer.clock(now);
        let addressee = Addressee {
            audience: "pool".to_owned(),
            target: Uuid::from_u128(run as u128 + 1),
        };
        let previous = consumer.held.as_ref().filter(|_| !any_order);
        let seen_at = if any_age { incoming.not_before } else { at };
        if accept(&addressee, previous, &incoming, seen_at) == Ok(Accepted::Newer) {
            consumer.held = Some(incoming);
            consumer.lapsed = false;
            consumer.before = consumer.acted.then_some(consumer.in_use);
            consumer.report(AckPhase::Received, None);
            consumer.report(AckPhase::Accepted, None);
        }
    }

    fn apply(
        &mut self,
        run: usize,
        look: &mut impl FnMut(&Self, Done<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let (now, any_age) = (self.now, self.has(Fault::TakesExpired));
        let consumer = &mut self.runs[run].consumer;
        let before = consumer.acted.then_some(consumer.in_use);
        let at = consumer.clock(now);
        let Some(held) = &consumer.held else {
            return Ok(());
        };
        let at = match (any_age, consumer.lapsed) {
            (true, _) => held.not_before,
            (false, true) => at.max(held.expires_at),
            (false, false) => at,
        };
        let effective = held.effective(at);
        if !effective.binding {
            return Ok(());
        }
        let mut share = effective.share_bps;
        match (effective.phase, consumer.before) {
            (LeasePhase::Expired, Some(before)) => share = share.min(before),
            (LeasePhase::Expired, None) => {}
            _ => consumer.before = None,
        }
        consumer.lapsed |= effective.phase == LeasePhase::Expired;
        (consumer.in_use, consumer.acted) = (share, true);
        consumer.report(AckPhase::Applying, None);
        consumer.report(AckPhase::Enforced, Some(share));
        consumer.report(AckPhase::Released, Some(share));
        look(self, Done::Applied { run, before })
    }

    fn take_report(&mut self, run: usize, back: usize) {
        let Run {
            consumer, taken, ..
        } = &mut self.runs[run];
        let Some(&(generation, phase, share)) = consumer.reports.iter().rev().nth(back) else {
            return;
        };
        let seen = taken.entry(generation).or_default();
        let phases: Vec<AckPhase> = seen.iter().map(|(phase, _)| *phase).collect();
        if step(&phases, phase) == Ok(AckStep::Advanced(phase)) {
            seen.push((phase, share));
        }
    }
}

impl Consumer {
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        now + SignedDuration::from_secs(self.skew)
    }

    fn report(&mut self, phase: AckPhase, share: Option<Bps>) {
        let Some(held) = &self.held else {
            return;
        };
        let report = (held.generation, phase, share);
        let known =
            |other: &(u64, AckPhase, Option<Bps>)| (other.0, other.1) == (report.0, report.1);
        if !self.reports.iter().any(known) {
            self.reports.push(report);
        }
    }
}

fn draft(decision_id: Uuid, run: &RunPlan) -> Draft {
    Draft {
        decision_id,
        target: DecisionTarget {
            kind: TargetKind::Run,
            uid: run.run,
            workload: Workload::Training,
        },
        action: run.grant.action,
        share_bps: run.grant.share,
        baseline: None,
        inference: None,
        checkpoint: CheckpointDemand::BestEffort,
        deadline_s: run.verdict.deadline_s,
        txn_id: None,
        depends_on: vec![],
        basis: run.basis.clone(),
    }
}
