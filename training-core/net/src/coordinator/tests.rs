#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::thread::JoinHandle;

use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::SparseOptions;
use plumbline_training_core::outer::{Nesterov, OuterOptions};
use plumbline_training_core::round::DeadlineRule;
use plumbline_training_core::schedule::LrSchedule;

use super::*;
use crate::auditor::{Auditor, AuditorOptions};
use crate::gate::Gate;
use crate::node::{Effort, InnerPlan, NodeHandle, NodeOptions, TrainerFactory};
use crate::payload::{self, VectorKind};
use crate::run::HistoryPoint;
use crate::testing::{Bigram, Cycle, VOCABULARY};
use crate::transport::{LocalHub, TransportLimits};
use plumbline_training_core::verify::{Evidence, VerifyRules};

const BATCH: usize = 4;
const LENGTH: usize = 8;
const STEPS: u64 = 5;

fn rules(quorum: usize) -> RoundRules {
    RoundRules {
        quorum,
        max_members: 8,
        warm_up: Micros::from_millis(50),
        reveal: Micros::from_secs(5),
        cooldown: Micros(0),
        deadline: DeadlineRule {
            initial: Micros::from_millis(1_500),
            least: Micros::from_millis(1_000),
            ..DeadlineRule::default()
        },
        max_age: 0,
        max_missed: 0,
        sequences_per_node: STEPS * BATCH as u64,
        tokens_per_node: STEPS * (BATCH * LENGTH) as u64,
        unit: 0,
    }
}

pub(super) fn fresh() -> Snapshot {
    Snapshot {
        origin: Origin {
            run_seed: 7,
            round: 0,
            parameters: Digest::default(),
            cursor: 0,
            tokens: 0,
        },
        rounds: 0,
        parameters: Arc::new(vec![0.0; VOCABULARY * VOCABULARY]),
        velocity: Arc::new(vec![0.0; VOCABULARY * VOCABULARY]),
        central: Arc::default(),
        states: BTreeMap::new(),
        held: BTreeMap::new(),
        accounts: Accounts::default(),
        bans: Vec::new(),
        loss_first: None,
        loss_last: None,
        bytes_sent: 0,
        bytes_every_step: 0,
    }
}

pub(super) type Log = Arc<Mutex<(Vec<Arc<Snapshot>>, Vec<HistoryPoint>, Vec<RunEvent>)>>;

struct Recorder(Log);

impl Observer for Recorder {
    fn round_closed(&mut self, snapshot: &Arc<Snapshot>, point: &HistoryPoint) {
        let mut log = self.0.lock().unwrap();
        log.0.push(Arc::clone(snapshot));
        log.1.push(point.clone());
    }

    fn happened(&mut self, event: RunEvent) {
        self.0.lock().unwrap().2.push(event);
    }
}

#[derive(Default)]
pub(super) struct Setting {
    pub(super) scheme: Scheme,
    pub(super) aggregator: AggregatorSpec,
    pub(super) verify: Option<VerifyRules>,
}

fn plan(scheme: Scheme) -> InnerPlan {
    InnerPlan {
        batch: BATCH,
        length: LENGTH,
        schedule: LrSchedule::flat(0.5, 0),
        scheme,
    }
}

/// A run of bigram nodes.
pub(super) struct Rig {
    pub(super) hub: LocalHub,
    scheme: Scheme,
    gate: Arc<Gate>,
    pub(super) board: Arc<Board>,
    pub(super) control: Arc<Control>,
    log: Log,
    thread: Option<JoinHandle<RunStatus>>,
}

impl Rig {
    fn start(quorum: usize, start: Snapshot, max_rounds: Option<(u64, u64)>) -> Self {
        Self::with(Setting::default(), quorum, start, max_rounds)
    }

    fn with(
        setting: Setting,
        quorum: usize,
        start: Snapshot,
        max_rounds: Option<(u64, u64)>,
    ) -> Self {
        Self::with_rules(setting, rules(quorum), start, max_rounds)
    }

    /// Silent nodes are waited for no longer than `patience`, and kept.
    pub(super) fn patient(
        setting: Setting,
        quorum: usize,
        start: Snapshot,
        patience: Duration,
    ) -> Self {
        let patience = Micros(patience.as_micros() as u64);
        let mut rules = rules(quorum);
        rules.reveal = patience;
        (rules.deadline.initial, rules.deadline.least) = (patience, patience);
        rules.deadline.most = patience;
        Self::with_rules(setting, rules, start, None)
    }

    fn with_rules(
        setting: Setting,
        rules: RoundRules,
        start: Snapshot,
        max_rounds: Option<(u64, u64)>,
    ) -> Self {
        let gate = Arc::new(Gate::new(2));
        let hub = LocalHub::new(TransportLimits::default());
        let board = Arc::new(Board::new(VecDeque::new()));
        let control = Arc::new(Control::new(10_000));
        let log = Log::default();
        let scheme = setting.scheme;
        let outer = match scheme {
            Scheme::SparseLoCo(options) => OuterStep::Plain(options.rate),
            _ => OuterStep::Nesterov(Nesterov::resume(
                OuterOptions::default(),
                start.velocity.to_vec(),
            )),
        };
        let verification = setting.verify.map(|rules| Verification {
            rules,
            secret: [9; 32],
            batch: BATCH,
            exact: true,
            auditor: Auditor::spawn(AuditorOptions {
                trainer: Box::new(|| Ok(Box::new(Bigram::new()))),
                data: Arc::new(Cycle),
                plan: plan(scheme),
                gate: Arc::clone(&gate),
                lane: 0,
            })
            .unwrap(),
        });
        let options = CoordinatorOptions {
            run: "test".into(),
            rules,
            scheme,
            geometry: Geometry::new(&[[VOCABULARY, VOCABULARY]]).unwrap(),
            outer: Outer::Step(outer),
            verification,
            start,
            aggregator: setting.aggregator.build(),
            transport: Box::new(hub.connect(NodeId::new(COORDINATOR).unwrap()).unwrap()),
            board: Arc::clone(&board),
            control: Arc::clone(&control),
            cores: 8,
            max_tokens: max_rounds
                .map(|(rounds, nodes)| rounds * nodes * STEPS * (BATCH * LENGTH) as u64),
            observer: Box::new(Recorder(Arc::clone(&log))),
        };
        let coordinator = Coordinator::new(options).unwrap();
        let thread = std::thread::spawn(move || coordinator.run());
        Self {
            hub,
            scheme,
            gate,
            board,
            control,
            log,
            thread: Some(thread),
        }
    }

    pub(super) fn node(&self, name: &str, delay_ms: u64) -> NodeHandle {
        let trainer = move || -> Result<Box<dyn LocalTrainer>, TrainerError> {
            let mut trainer = Bigram::new();
            trainer.delay = Duration::from_millis(delay_ms);
            Ok(Box::new(trainer))
        };
        self.node_of(name, Box::new(trainer))
    }

    fn node_of(&self, name: &str, trainer: TrainerFactory) -> NodeHandle {
        NodeHandle::spawn(NodeOptions {
            transport: Box::new(self.hub.connect(NodeId::new(name).unwrap()).unwrap()),
            trainer,
            effort: Effort::Cpu,
            data: Arc::new(Cycle),
            plan: plan(self.scheme),
            gate: Arc::clone(&self.gate),
            lane: 0,
            speed: 0,
            rebuild: None,
        })
        .unwrap()
    }

    pub(super) fn join(mut self) -> (RunStatus, Log) {
        let status = self.thread.take().unwrap().join().unwrap();
        (status, Arc::clone(&self.log))
    }

    pub(super) fn rounds(&self) -> usize {
        self.log.lock().unwrap().1.len()
    }

    pub(super) fn wait_for(&self, what: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !what(self) {
            assert!(begun.elapsed() < Duration::from_secs(30), "timed out");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn two_nodes_learn_together_and_are_credited() {
    let rig = Rig::start(1, fresh(), Some((12, 2)));
    let nodes = [rig.node("node-1", 0), rig.node("node-2", 0)];
    let board = Arc::clone(&rig.board);
    let hub = rig.hub.clone();
    let (status, log) = rig.join();
    nodes.into_iter().for_each(NodeHandle::join);
    assert_eq!(status, RunStatus::Finished);
    let (snapshots, points, events) = &*log.lock().unwrap();
    assert_eq!(points.len(), 12);
    // ln 16 = 2.77 to begin with; the source's entropy is about 0.8.
    assert!(points[0].loss > 2.0 && points[11].loss < 1.4, "{points:?}");
    let tokens = 12 * 2 * STEPS * (BATCH * LENGTH) as u64;
    let last = snapshots.last().unwrap();
    assert_eq!(last.accounts.total_tokens(), tokens);
    assert_eq!(last.origin.cursor, 12 * 2 * STEPS * BATCH as u64);
    assert_eq!(points[11].node_losses.len(), 2);
    assert_eq!(points[0].bytes_every_step, points[0].bytes * STEPS);
    let joined = |event: &&RunEvent| matches!(event, RunEvent::NodeChanged { .. });
    assert_eq!(events.iter().filter(joined).count(), 2);
    assert_eq!(board.lock().status, RunStatus::Finished);
    // Only the newest parameters and what nodes would begin from are still stored.
    assert!(hub.stored_bytes() < 3_200, "{}", hub.stored_bytes());
}

#[test]
fn a_run_goes_on_from_a_snapshot_on_the_same_trajectory() {
    let straight = Rig::start(2, fresh(), Some((6, 2)));
    let nodes = [straight.node("a", 0), straight.node("b", 0)];
    let (_, whole) = straight.join();
    drop(nodes);
    let middle = Snapshot::clone(&whole.lock().unwrap().0[2]);
    assert_eq!(middle.states.len(), 2);
    let again = Rig::start(2, middle, Some((6, 2)));
    let nodes = [again.node("a", 0), again.node("b", 0)];
    let (_, rest) = again.join();
    drop(nodes);
    let (whole, rest) = (whole.lock().unwrap(), rest.lock().unwrap());
    let (straight, resumed) = (whole.0.last().unwrap(), rest.0.last().unwrap());
    assert_eq!(rest.0.len(), 3);
    assert_eq!(straight.parameters, resumed.parameters);
    assert_eq!(straight.velocity, resumed.velocity);
    assert_eq!(straight.origin, resumed.origin);
    assert_eq!(straight.accounts, resumed.accounts);
    assert_eq!(straight.loss_first, resumed.loss_first);
}

#[test]
fn a_round_survives_the_death_of_a_node_and_a_newcomer_joins() {
    let rig = Rig::start(1, fresh(), None);
    let steady = rig.node("steady", 5);
    let doomed = rig.node("doomed", 5);
    rig.wait_for(|rig| rig.rounds() >= 2);
    doomed.kill();
    doomed.join();
    let before = rig.rounds();
    // One round waits for it until the deadline; then it is evicted.
    rig.wait_for(|rig| rig.rounds() >= before + 4);
    let newcomer = rig.node("newcomer", 5);
    let seen = |rig: &Rig| {
        let log = rig.log.lock().unwrap();
        log.1
            .last()
            .is_some_and(|p| p.node_losses.len() == 2 && p.tokens > 0)
    };
    rig.wait_for(seen);
    rig.control.stop();
    let board = Arc::clone(&rig.board);
    let (status, log) = rig.join();
    assert_eq!(status, RunStatus::Stopped);
    let log = log.lock().unwrap();
    let dead = |event: &RunEvent| {
        matches!(event, RunEvent::NodeChanged { node, status: NodeStatus::Dead, .. }
            if node.as_str() == "doomed")
    };
    assert!(log.2.iter().any(dead));
    let missed: usize = log.1.iter().map(|point| point.missed.len()).sum();
    assert_eq!(missed, 1);
    assert_eq!(board.lock().nodes.len(), 3);
    drop((steady, newcomer));
}

#[test]
fn shares_pace_the_nodes_and_pausing_keeps_the_round() {
    let rig = Rig::start(1, fresh(), None);
    let node = rig.node("only", 4);
    let steps = |rig: &Rig, seconds: f64| {
        std::thread::sleep(Duration::from_millis(400));
        let before = rig.board.lock().step;
        std::thread::sleep(Duration::from_secs_f64(seconds));
        (rig.board.lock().step - before) as f64
    };
    // A share of 1/8 of eight cores is one whole core for one node.
    rig.control.set_share(1_250);
    rig.wait_for(|rig| rig.rounds() >= 1);
    let full = steps(&rig, 2.0);
    rig.control.set_share(312);
    let quarter = steps(&rig, 2.0);
    rig.control.set_paused(true);
    let none = steps(&rig, 1.0);
    let status = rig.board.lock().status.clone();
    rig.control.set_paused(false);
    rig.wait_for(|rig| rig.board.lock().status == RunStatus::Training);
    let again = rig.rounds();
    rig.wait_for(|rig| rig.rounds() > again);
    // A loaded machine takes CPU time from the full run; to the quarter it adds only what a thread that overslept its
    // pause makes good within the window.
    assert!(
        quarter > 20.0 && quarter < 0.25 * 2.0 / 0.004 * 1.25,
        "{quarter} of {full}"
    );
    assert_eq!((none, status), (0.0, RunStatus::Paused));
    rig.control.stop();
    rig.join();
    drop(node);
}

#[test]
fn a_run_whose_nodes_all_fail_says_why() {
    struct Broken(Bigram);
    impl plumbline_training_core::trainer::LocalTrainer for Broken {
        fn parameter_count(&self) -> usize {
            self.0.parameter_count()
        }
        fn parameters(&self) -> Result<Vec<f32>, TrainerError> {
            self.0.parameters()
        }
        fn set_parameters(&mut self, flat: &[f32]) -> Result<(), TrainerError> {
            self.0.set_parameters(flat)
        }
        fn step(&mut self, _: &Batch, _: f32) -> Result<StepReport, TrainerError> {
            Err(TrainerError::Diverged("loss is NaN".into()))
        }
        fn gradient(&mut self, batch: &Batch) -> Result<(StepReport, Vec<f32>), TrainerError> {
            self.0.gradient(batch)
        }
        fn apply(&mut self, gradient: &[f32], lr: f32) -> Result<(), TrainerError> {
            self.0.apply(gradient, lr)
        }
        fn shapes(&self) -> Vec<[usize; 2]> {
            self.0.shapes()
        }
        fn reset_optimizer(&mut self) -> Result<(), TrainerError> {
            self.0.reset_optimizer()
        }
        fn evaluate(&mut self, batch: &Batch) -> Result<f32, TrainerError> {
            self.0.evaluate(batch)
        }
        fn optimizer_state(&self) -> Result<Vec<u8>, TrainerError> {
            self.0.optimizer_state()
        }
        fn restore_optimizer(&mut self, state: &[u8]) -> Result<(), TrainerError> {
            self.0.restore_optimizer(state)
        }
    }
    use plumbline_training_core::trainer::{Batch, StepReport};
    let rig = Rig::start(1, fresh(), None);
    let node = rig.node_of("sick", Box::new(|| Ok(Box::new(Broken(Bigram::new())))));
    let (status, _) = rig.join();
    let RunStatus::Failed(reason) = status else {
        panic!("{status:?}")
    };
    assert!(
        reason.contains("sick") && reason.contains("loss is NaN"),
        "{reason}"
    );
    node.join();
}

#[test]
fn contributions_that_are_no_vectors_are_not_counted() {
    let rig = Rig::start(1, fresh(), Some((3, 1)));
    let honest = rig.node("honest", 0);
    let liar = rig.hub.connect(NodeId::new("liar").unwrap()).unwrap();
    liar.announce(&Message::hello()).unwrap();
    let poison = payload::encode(VectorKind::PseudoGradient, &[f32::NAN; 256]);
    while let Some(envelope) = liar.receive(Duration::from_secs(10)).unwrap() {
        match envelope.message {
            Message::Open(open) => {
                let id = liar.id();
                let payload = Digest::of(&poison);
                liar.announce(&Message::Commit {
                    round: open.round,
                    digest: commitment(open.round, id, &payload, None, 160),
                    tokens: 160,
                })
                .unwrap();
            }
            Message::RequestReveals { round, .. } => {
                let payload = liar.put(poison.clone()).unwrap();
                let report = RoundReport::default();
                liar.announce(&Message::Reveal {
                    round,
                    payload,
                    report,
                    state: None,
                })
                .unwrap();
            }
            Message::Stop => break,
            _ => {}
        }
    }
    let (status, log) = rig.join();
    assert_eq!(status, RunStatus::Finished);
    for snapshot in &log.lock().unwrap().0 {
        assert!(snapshot.parameters.iter().all(|value| value.is_finite()));
        let liar = snapshot.accounts.get(&NodeId::new("liar").unwrap());
        assert!(liar.is_none_or(|account| account.tokens == 0));
    }
    drop(honest);
}

/// Honest protocol, hostile arithmetic: trains, and sends it the other way round.
struct Flipped {
    model: Bigram,
    start: Vec<f32>,
}

impl LocalTrainer for Flipped {
    fn parameter_count(&self) -> usize {
        self.model.parameter_count()
    }
    fn parameters(&self) -> Result<Vec<f32>, TrainerError> {
        let moved = self.model.parameters()?;
        let pairs = self.start.iter().zip(&moved);
        Ok(pairs.map(|(start, moved)| 2.0 * start - moved).collect())
    }
    fn set_parameters(&mut self, flat: &[f32]) -> Result<(), TrainerError> {
        self.start = flat.to_vec();
        self.model.set_parameters(flat)
    }
    fn step(
        &mut self,
        batch: &plumbline_training_core::trainer::Batch,
        lr: f32,
    ) -> Result<plumbline_training_core::trainer::StepReport, TrainerError> {
        self.model.step(batch, lr)
    }
    fn gradient(
        &mut self,
        batch: &plumbline_training_core::trainer::Batch,
    ) -> Result<(plumbline_training_core::trainer::StepReport, Vec<f32>), TrainerError> {
        self.model.gradient(batch)
    }
    fn apply(&mut self, gradient: &[f32], lr: f32) -> Result<(), TrainerError> {
        self.model.apply(gradient, lr)
    }
    fn shapes(&self) -> Vec<[usize; 2]> {
        self.model.shapes()
    }
    fn evaluate(
        &mut self,
        batch: &plumbline_training_core::trainer::Batch,
    ) -> Result<f32, TrainerError> {
        self.model.evaluate(batch)
    }
    fn optimizer_state(&self) -> Result<Vec<u8>, TrainerError> {
        self.model.optimizer_state()
    }
    fn restore_optimizer(&mut self, state: &[u8]) -> Result<(), TrainerError> {
        self.model.restore_optimizer(state)
    }
    fn reset_optimizer(&mut self) -> Result<(), TrainerError> {
        self.model.reset_optimizer()
    }
}

#[test]
fn a_liar_among_threads_is_banned_with_evidence_and_honest_nodes_are_not() {
    for scheme in [Scheme::DiLoCo, Scheme::SparseLoCo(SparseOptions::default())] {
        let setting = Setting {
            scheme,
            aggregator: AggregatorSpec::CenteredClip,
            verify: Some(VerifyRules {
                gain_rows: 4,
                ..VerifyRules::default()
            }),
        };
        let rig = Rig::with(setting, 1, fresh(), None);
        let honest: Vec<NodeHandle> = (1..=4)
            .map(|n| rig.node(&format!("honest-{n}"), 1))
            .collect();
        let model = Bigram::new();
        let start = model.parameters().unwrap();
        let liar = rig.node_of("liar", Box::new(|| Ok(Box::new(Flipped { model, start }))));
        rig.wait_for(|rig| !rig.board.lock().bans.is_empty());
        let after = rig.rounds();
        // It is told, and stops; the others go on and pass their recomputations.
        rig.wait_for(|_| !liar.is_alive());
        let passed = |rig: &Rig| {
            let board = rig.board.lock();
            board.audits >= 4 && board.nodes.values().filter(|node| node.audits > 0).count() >= 2
        };
        rig.wait_for(|rig| rig.rounds() >= after + 10 && passed(rig));
        rig.control.stop();
        let board = Arc::clone(&rig.board);
        let (_, log) = rig.join();
        let board = board.lock();
        let [ban] = &board.bans[..] else {
            panic!("{:?}", board.bans)
        };
        assert_eq!(ban.node.as_str(), "liar");
        let Evidence::Recomputed { cosine, .. } = &ban.evidence else {
            panic!("{ban:?}")
        };
        // What is selected of the opposite need not even overlap.
        assert!(*cosine < 0.1, "{cosine}");
        assert_eq!(board.nodes[&ban.node].status, NodeStatus::Banned);
        let log = log.lock().unwrap();
        let told = |event: &RunEvent| matches!(event, RunEvent::NodeBanned { .. });
        assert_eq!(log.2.iter().filter(|event| told(event)).count(), 1);
        let last = log.0.last().unwrap();
        assert_eq!(last.bans.len(), 1, "a checkpoint remembers");
        assert!(log.1.last().unwrap().loss < 2.3, "{:?}", log.1.last());
        drop(honest);
        // After a restart it is still out.
        let again = Rig::start(1, Snapshot::clone(last), None);
        let refused = again.node("liar", 0);
        again.wait_for(|_| !refused.is_alive());
        again.control.stop();
        again.join();
    }
}

#[test]
fn sparse_payloads_go_on_from_a_snapshot_on_the_same_trajectory() {
    let setting = || Setting {
        scheme: Scheme::SparseLoCo(SparseOptions::default()),
        ..Setting::default()
    };
    let straight = Rig::with(setting(), 2, fresh(), Some((6, 2)));
    let nodes = [straight.node("a", 0), straight.node("b", 0)];
    let (_, whole) = straight.join();
    drop(nodes);
    let middle = Snapshot::clone(&whole.lock().unwrap().0[2]);
    let again = Rig::with(setting(), 2, middle, Some((6, 2)));
    let nodes = [again.node("a", 0), again.node("b", 0)];
    let (_, rest) = again.join();
    drop(nodes);
    let (whole, rest) = (whole.lock().unwrap(), rest.lock().unwrap());
    let (straight, resumed) = (whole.0.last().unwrap(), rest.0.last().unwrap());
    // The error feedback is part of the state that a snapshot keeps.
    assert_eq!(straight.parameters, resumed.parameters);
    assert_eq!(straight.states, resumed.states);
    assert!(straight.bytes_sent < straight.bytes_every_step / 10);
}
