//! The reallocation protocol as a finite machine round the crate's own planning, accepting and
//! acknowledging: everything that can happen next, from every state.
//!
//! Times are left out, which only adds behaviours: a lease may lapse at any moment, a decision may arrive
//! at any moment until it is forgotten, a step is never too soon. So shares and orders are what remains,
//! and there are finitely many of them.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use plumbline_governance::ack::{AckPhase, AckStep, Acknowledgement, step};
use plumbline_governance::bound::Uncertainty;
use plumbline_governance::control::{ControlState, RunControl};
use plumbline_governance::decision::{
    Accepted, Addressee, AllocationDecision, CheckpointDemand, DecisionBasis, DecisionTarget,
    Draft, TargetKind, Terms, accept, issue,
};
use plumbline_governance::plan::{MarketView, RunView, plan};
use plumbline_governance::policy::Policy;
use plumbline_governance::{Action, Bps, Mode, Workload};
use uuid::Uuid;

/// Decisions on one run that may still arrive: the newest and one before it.
const WIRE: usize = 2;
/// Generation of the newest decision; only distances from it count.
const NEWEST: u64 = 100;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A cut frees compute at once.
    FreesAtOnce,
    /// A report of a release on an older decision counts for the newest.
    OldReports,
    /// That a decision arrived counts as a release.
    ArrivalReleases,
    /// A lapsed lease counts as a release of all of it.
    LapseReleases,
    /// A consumer takes decisions in any order.
    AnyOrder,
    /// The control forgets what runs held before.
    ForgetsHeld,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::FreesAtOnce,
        Self::OldReports,
        Self::ArrivalReleases,
        Self::LapseReleases,
        Self::AnyOrder,
        Self::ForgetsHeld,
    ];
}

/// A decision as far as it counts here: its distance from the newest, and its share.
type Told = (u8, u16);

/// One run, at the issuer, on the wire and at its consumer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Run {
    granted: u16,
    held: u16,
    known: bool,
    /// Decisions that may arrive, newest first; an older one may arrive after a newer one, or again.
    wire: Vec<u16>,
    /// Share that the issuer knows to be held under the newest.
    released: Option<u16>,
    /// The decision on the consumer's disk.
    disk: Option<Told>,
    /// Its lease is over.
    lapsed: bool,
    /// What may run.
    pub(crate) in_use: u16,
    /// A report of a release on its way, on which decision.
    report: Option<Told>,
}

impl Run {
    /// The most that the run may come to use without another word of the issuer.
    fn may_use(&self) -> u16 {
        let disk = self.disk.filter(|_| !self.lapsed).map(|(_, share)| share);
        let newer = |age: usize| self.disk.is_none_or(|(held, _)| age < usize::from(held));
        let wire = self.wire.iter().enumerate();
        let coming = wire.filter(|(age, _)| newer(*age)).map(|(_, share)| *share);
        let most = coming.chain(disk).max().unwrap_or(0);
        most.max(self.in_use)
    }
}

/// All runs.
pub(crate) type State = Vec<Run>;

/// What a run's market says, which the world is free to choose at every tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Risk {
    Clean,
    Misaligned,
    Gone,
}

/// What a tick is told of one run.
type Asked = (u16, u16, bool, Option<u16>, Risk);

pub(crate) struct Model {
    policy: Policy,
    terms: Terms,
    runs: usize,
    /// What a market may come to say.
    risks: &'static [Risk],
    fault: Option<Fault>,
    planned: HashMap<Vec<Asked>, Vec<(u16, u16)>>,
    taken: HashMap<(usize, Option<Told>, Told), bool>,
}

fn bps(share: u16) -> Bps {
    Bps::new(share).unwrap()
}

fn uid(run: usize) -> Uuid {
    Uuid::from_u128(run as u128 + 1)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn view(run: usize, held: Option<u16>, risk: Risk) -> RunView {
    RunView {
        run: uid(run),
        name: format!("run-{run}"),
        workload: Workload::Training,
        market: Some(MarketView {
            market: uid(100 + run),
            observations: vec![],
            uncertainty: Uncertainty {
                liquidity_micro: 0,
                staleness_s: 0.0,
                disagreement: 0.0,
                effective_judges: 1.0,
            },
            open_disputes: 0,
            settlement: Some(if risk == Risk::Misaligned { 1.0 } else { 0.0 }),
            advisory: false,
            exhibit_digests: vec![],
        }),
        market_count: 1,
        held: held.map(bps),
        lift: false,
        withdrawn: risk == Risk::Gone,
        orders: vec![],
    }
}

impl Model {
    /// Runs that start with an even part of the pool, grow by as much, and keep half of it when they
    /// are found misaligned.
    pub(crate) fn new(runs: usize, risks: &'static [Risk], fault: Option<Fault>) -> Self {
        let mut document = Policy::parse(Policy::demo_toml())
            .unwrap()
            .document()
            .clone();
        let part = 10_000 / runs as u16;
        document.control.dwell_s = 0;
        document.control.start_bps = bps(part);
        document.control.step_bps = bps(part);
        document.rules[0].cap_bps = Some(bps(part / 2));
        document.lease.expiry_floor_bps = Bps::ZERO;
        let policy = Policy::from_document(document).unwrap();
        let terms = Terms {
            audience: "pool".to_owned(),
            epoch: 1,
            mode: Mode::Enforce,
            lease: policy.document().lease,
        };
        Self {
            policy,
            terms,
            runs,
            risks,
            fault,
            planned: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    pub(crate) fn start(&self) -> State {
        vec![Run::default(); self.runs]
    }

    /// # Errors
    /// Says what is used twice.
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let sum = |of: fn(&Run) -> u16| state.iter().map(|run| u32::from(of(run))).sum::<u32>();
        let (used, may_use) = (sum(|run| run.in_use), sum(Run::may_use));
        if used > 10_000 {
            return Err(format!("{used} bps are in use"));
        }
        if may_use > 10_000 {
            return Err(format!("{may_use} bps may come to be used"));
        }
        Ok(())
    }

    /// Every state that may follow.
    pub(crate) fn successors(&mut self, state: &State) -> Vec<State> {
        let mut next = Vec::new();
        let choices = self.risks;
        for n in 0..choices.len().pow(self.runs as u32) {
            let risks: Vec<Risk> = (0..self.runs as u32)
                .map(|run| choices[n / choices.len().pow(run) % choices.len()])
                .collect();
            next.push(self.tick(state, &risks, false));
        }
        // A lease that is renewed though nothing changed: a new generation that nobody reported on.
        next.push(self.tick(state, &vec![Risk::Clean; self.runs], true));
        for run in 0..self.runs {
            for age in 0..state[run].wire.len() {
                next.extend(self.deliver(state, run, age));
            }
            next.extend(self.apply(state, run));
            next.extend(self.part(state, run));
            next.extend(self.lapse(state, run));
            next.extend(self.report(state, run));
        }
        for state in &mut next {
            self.forget_dead(state);
        }
        next.retain(|other| other != state);
        next
    }

    /// Forgets what can have no effect any more, so that states that behave alike are one.
    fn forget_dead(&self, state: &mut State) {
        for run in state {
            if let Some((age, share)) = &mut run.disk {
                if self.fault != Some(Fault::AnyOrder) {
                    run.wire.truncate(usize::from(*age));
                }
                if run.lapsed {
                    *share = 0;
                }
            }
            let of_older = run.report.is_some_and(|(age, _)| age > 0);
            let again = run.released.is_some();
            if (of_older && self.fault != Some(Fault::OldReports)) || again {
                run.report = None;
            }
        }
    }

    /// The policy's tick. A crash before its transaction is no tick; a crash after it, a late delivery.
    fn tick(&mut self, state: &State, risks: &[Risk], renew: bool) -> State {
        let asked: Vec<Asked> = state
            .iter()
            .zip(risks)
            .map(|(run, &risk)| {
                let held = if self.fault == Some(Fault::ForgetsHeld) {
                    run.granted
                } else {
                    run.held
                };
                (run.granted, held, run.known, self.known_share(run), risk)
            })
            .collect();
        let granted = match self.planned.get(&asked) {
            Some(granted) => granted.clone(),
            None => {
                let granted = self.plan(&asked);
                self.planned.insert(asked, granted.clone());
                granted
            }
        };
        let mut next = state.clone();
        for (run, (share, held)) in next.iter_mut().zip(granted) {
            let due = !run.known || run.granted != share || renew;
            (run.granted, run.held, run.known) = (share, held, true);
            if due {
                run.issue(share);
            }
        }
        next
    }

    fn known_share(&self, run: &Run) -> Option<u16> {
        match self.fault {
            _ if !run.known => Some(0),
            Some(Fault::FreesAtOnce) => Some(run.granted),
            Some(Fault::ArrivalReleases) if run.disk.is_some_and(|(age, _)| age == 0) => {
                Some(run.granted)
            }
            Some(Fault::LapseReleases) if run.lapsed => Some(0),
            _ => run.released,
        }
    }

    /// The crate's own step, from the control's memory as it would be read back.
    fn plan(&self, asked: &[Asked]) -> Vec<(u16, u16)> {
        let mut state = ControlState::default();
        let long_ago = now() - SignedDuration::from_hours(1_000);
        for (run, &(granted, held, known, ..)) in asked.iter().enumerate() {
            let control = RunControl {
                granted: bps(granted),
                held: bps(held),
                latched: None,
                under_clear_since: Some(long_ago),
                last_raise_at: Some(long_ago),
                market: Some(uid(100 + run)),
                enforced: None,
            };
            if known {
                state.runs.insert(uid(run), control);
            }
        }
        let stored = serde_json::to_string(&state).unwrap();
        let state: ControlState = serde_json::from_str(&stored).unwrap();
        let views: Vec<RunView> = asked
            .iter()
            .enumerate()
            .map(|(run, &(.., held, risk))| view(run, held, risk))
            .collect();
        let planned = plan(&self.policy, &state, &views, now()).unwrap();
        (0..self.runs)
            .map(|run| {
                let control = planned.state.runs[&uid(run)];
                (control.granted.get(), control.held.get())
            })
            .collect()
    }

    fn decision(&self, run: usize, (age, share): Told) -> AllocationDecision {
        let draft = Draft {
            decision_id: Uuid::from_u128(1_000 + u128::from(age)),
            target: DecisionTarget {
                kind: TargetKind::Run,
                uid: uid(run),
                workload: Workload::Training,
            },
            action: Action::Throttle,
            share_bps: bps(share),
            baseline: None,
            inference: None,
            checkpoint: CheckpointDemand::BestEffort,
            deadline_s: None,
            txn_id: None,
            depends_on: vec![],
            basis: DecisionBasis {
                policy_hash: self.policy.hash().to_owned(),
                market: None,
                price_window: None,
                bound: None,
                liquidity_micro: None,
                settlement: None,
                exhibit_digests: vec![],
                proposal_id: None,
                seal_id: None,
                reason_code: "model".to_owned(),
                explanation: String::new(),
            },
        };
        let mut decision = issue(draft, &self.terms, None, now()).unwrap();
        decision.generation = NEWEST - u64::from(age);
        decision
    }

    fn deliver(&mut self, state: &State, run: usize, age: usize) -> Option<State> {
        let told = (age as u8, state[run].wire[age]);
        let disk = state[run].disk;
        let mut taken = self.taken.get(&(run, disk, told)).copied();
        if taken.is_none() {
            let addressee = Addressee {
                audience: "pool".to_owned(),
                target: uid(run),
            };
            let held = disk.map(|disk| self.decision(run, disk));
            let incoming = self.decision(run, told);
            let accepted = accept(&addressee, held.as_ref(), &incoming, now());
            taken = Some(accepted == Ok(Accepted::Newer));
            self.taken
                .insert((run, disk, told), accepted == Ok(Accepted::Newer));
        }
        let any_order = self.fault == Some(Fault::AnyOrder);
        if taken != Some(true) && !any_order {
            return None;
        }
        let mut next = state.clone();
        (next[run].disk, next[run].lapsed) = (Some(told), false);
        Some(next)
    }

    /// The consumer brings its run to what it was told, and says so. What it says is on its way until the
    /// next report replaces it; one that is lost is one that never arrives.
    fn apply(&self, state: &State, run: usize) -> Option<State> {
        let (age, share) = state[run].disk.filter(|_| !state[run].lapsed)?;
        let mut next = state.clone();
        next[run].in_use = share;
        next[run].report = Some((age, share));
        Some(next)
    }

    /// Some of the excess could not be stopped: the consumer says what it holds, which is more.
    fn part(&self, state: &State, run: usize) -> Option<State> {
        let (age, share) = state[run].disk?;
        // In whole steps of the shares there are, so that their number stays small.
        let middle = share.midpoint(state[run].in_use).next_multiple_of(2_500);
        let mut next = state.clone();
        next[run].in_use = state[run].in_use.min(middle.max(share));
        next[run].report = Some((age, next[run].in_use));
        (state[run].in_use > share).then_some(next)
    }

    /// Contact is lost for so long that the lease is over.
    fn lapse(&self, state: &State, run: usize) -> Option<State> {
        let (age, _) = state[run].disk?;
        let mut next = state.clone();
        (next[run].lapsed, next[run].in_use) = (true, 0);
        next[run].report = Some((age, 0));
        Some(next)
    }

    /// The report arrives, in its place after the others on the same decision.
    fn report(&self, state: &State, run: usize) -> Option<State> {
        let (age, share) = state[run].report?;
        if age != 0 && self.fault != Some(Fault::OldReports) {
            // It is kept with its own decision, and says nothing about the newest.
            return None;
        }
        let mut seen = vec![
            AckPhase::Received,
            AckPhase::Accepted,
            AckPhase::Applying,
            AckPhase::Partial,
        ];
        if state[run].released.is_some() {
            seen.push(AckPhase::Released);
        }
        if step(&seen, AckPhase::Released) != Ok(AckStep::Advanced(AckPhase::Released)) {
            return None;
        }
        let report = Acknowledgement {
            decision_id: Uuid::nil(),
            scheduler: "one".to_owned(),
            phase: AckPhase::Released,
            observed_generation: NEWEST,
            actual_units: None,
            actual_bps: Some(bps(share)),
            method: None,
            native_job_ids: vec![],
            detail: None,
            at: now(),
        };
        let mut next = state.clone();
        next[run].released = report.known_held(bps(state[run].granted)).map(Bps::get);
        Some(next)
    }
}

impl Run {
    /// A new decision: all others are one older, and the oldest can no longer arrive.
    fn issue(&mut self, share: u16) {
        self.wire.insert(0, share);
        self.wire.truncate(WIRE);
        let older = |(age, share): Told| ((age + 1).min(WIRE as u8), share);
        self.disk = self.disk.map(older);
        self.report = self.report.map(older);
        self.released = None;
    }
}
