#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::thread::JoinHandle;

use plumbline_training_core::outer::{Mean, OuterOptions};
use plumbline_training_core::round::DeadlineRule;
use plumbline_training_core::schedule::LrSchedule;

use super::*;
use crate::gate::Gate;
use crate::node::{InnerPlan, NodeHandle, NodeOptions};
use crate::run::HistoryPoint;
use crate::testing::{Bigram, Cycle, VOCABULARY};
use crate::transport::{LocalHub, TransportLimits};

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
    }
}

fn fresh() -> Snapshot {
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
        states: BTreeMap::new(),
        accounts: Accounts::default(),
        loss_first: None,
        loss_last: None,
        bytes_sent: 0,
        bytes_every_step: 0,
    }
}

type Log = Arc<Mutex<(Vec<Arc<Snapshot>>, Vec<HistoryPoint>, Vec<RunEvent>)>>;

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

/// A run of bigram nodes.
struct Rig {
    hub: LocalHub,
    gate: Arc<Gate>,
    board: Arc<Board>,
    control: Arc<Control>,
    log: Log,
    thread: Option<JoinHandle<RunStatus>>,
}

impl Rig {
    fn start(quorum: usize, start: Snapshot, max_rounds: Option<(u64, u64)>) -> Self {
        let hub = LocalHub::new(TransportLimits::default());
        let board = Arc::new(Board::new(VecDeque::new()));
        let control = Arc::new(Control::new(10_000));
        let log = Log::default();
        let outer = OuterOptions::default();
        let options = CoordinatorOptions {
            run: "test".into(),
            rules: rules(quorum),
            outer: Nesterov::resume(outer, start.velocity.to_vec()),
            start,
            aggregator: Box::new(Mean),
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
        let gate = Arc::new(Gate::new(2));
        Self {
            hub,
            gate,
            board,
            control,
            log,
            thread: Some(thread),
        }
    }

    fn node(&self, name: &str, delay_ms: u64) -> NodeHandle {
        NodeHandle::spawn(NodeOptions {
            transport: Box::new(self.hub.connect(NodeId::new(name).unwrap()).unwrap()),
            trainer: Box::new(move || {
                let mut trainer = Bigram::new();
                trainer.delay = Duration::from_millis(delay_ms);
                Ok(Box::new(trainer))
            }),
            data: Arc::new(Cycle),
            plan: InnerPlan {
                batch: BATCH,
                length: LENGTH,
                schedule: LrSchedule::flat(0.5, 0),
            },
            gate: Arc::clone(&self.gate),
            lane: 0,
        })
        .unwrap()
    }

    fn join(mut self) -> (RunStatus, Log) {
        let status = self.thread.take().unwrap().join().unwrap();
        (status, Arc::clone(&self.log))
    }

    fn rounds(&self) -> usize {
        self.log.lock().unwrap().1.len()
    }

    fn wait_for(&self, what: impl Fn(&Self) -> bool) {
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
    // Only the newest parameters are still stored.
    assert!(hub.stored_bytes() < 2_000, "{}", hub.stored_bytes());
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
    use plumbline_training_core::trainer::{Batch, StepReport, TrainerError};
    let rig = Rig::start(1, fresh(), None);
    let node = NodeHandle::spawn(NodeOptions {
        transport: Box::new(rig.hub.connect(NodeId::new("sick").unwrap()).unwrap()),
        trainer: Box::new(|| Ok(Box::new(Broken(Bigram::new())))),
        data: Arc::new(Cycle),
        plan: InnerPlan {
            batch: BATCH,
            length: LENGTH,
            schedule: LrSchedule::flat(0.5, 0),
        },
        gate: Arc::clone(&rig.gate),
        lane: 0,
    })
    .unwrap();
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
    liar.announce(&Message::Hello).unwrap();
    let poison = payload::encode(VectorKind::PseudoGradient, &[f32::NAN; 256]);
    while let Some(envelope) = liar.receive(Duration::from_secs(10)).unwrap() {
        match envelope.message {
            Message::Open(open) => {
                let digest = Digest::of(&poison);
                liar.announce(&Message::Commit {
                    round: open.round,
                    digest,
                    tokens: 160,
                })
                .unwrap();
            }
            Message::RequestReveals { round, .. } => {
                let digest = liar.put(poison.clone()).unwrap();
                let report = RoundReport::default();
                liar.announce(&Message::Reveal {
                    round,
                    digest,
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
