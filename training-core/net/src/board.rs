//! A run's notice board: the coordinator writes, everybody reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plumbline_training_core::contribution::Accounts;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::pacing::FULL_BPS;
use plumbline_training_core::round::{NodeId, Origin};
use plumbline_training_core::verify::Ban;

use crate::run::{HistoryPoint, NodeStats, NodeStatus, RunStatus};

/// Length of the window that speed is measured over.
const SPEED_WINDOW: Duration = Duration::from_secs(10);
/// Rounds kept in memory.
const HISTORY_MAX: usize = 20_000;

/// Everything that is needed to go on after a closed round.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where the round machine goes on.
    pub origin: Origin,
    /// Rounds closed.
    pub rounds: u64,
    /// Model parameters.
    pub parameters: Arc<Vec<f32>>,
    /// The outer optimiser's velocity.
    pub velocity: Arc<Vec<f32>>,
    /// The central optimiser's state, where there is one.
    pub central: Arc<Vec<u8>>,
    /// State of each node that showed it.
    pub states: BTreeMap<NodeId, Arc<Vec<u8>>>,
    /// Hashes of the states that nodes keep themselves.
    pub held: BTreeMap<NodeId, Digest>,
    /// What nodes were credited with.
    pub accounts: Accounts,
    /// Who was removed for good.
    pub bans: Vec<Ban>,
    /// Loss of the first inner steps of the run.
    pub loss_first: Option<f64>,
    /// Loss over the last closed round.
    pub loss_last: Option<f64>,
    /// Bytes of contributions so far.
    pub bytes_sent: u64,
    /// Bytes that synchronising at every step would have sent.
    pub bytes_every_step: u64,
}

/// What the host may ask of a running coordinator.
#[derive(Debug)]
pub struct Control {
    share_bps: AtomicU32,
    paused: AtomicBool,
    stop: AtomicBool,
    admitted: Mutex<Option<BTreeSet<Digest>>>,
}

impl Control {
    /// Runs with `share_bps` of the machine.
    pub fn new(share_bps: u32) -> Self {
        Self {
            share_bps: AtomicU32::new(share_bps.min(FULL_BPS)),
            paused: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            admitted: Mutex::default(),
        }
    }

    /// Lets in the nodes elsewhere that have these keys, and no others.
    pub fn admit(&self, keys: BTreeSet<Digest>) {
        *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// Whether the node elsewhere with this key is let in; `None` before anybody has said who is.
    pub fn admits(&self, key: &Digest) -> Option<bool> {
        let admitted = self.admitted.lock();
        let admitted = admitted.unwrap_or_else(PoisonError::into_inner);
        admitted.as_ref().map(|keys| keys.contains(key))
    }

    /// Sets the share, basis points of the machine; more than all is all.
    pub fn set_share(&self, share_bps: u32) {
        self.share_bps
            .store(share_bps.min(FULL_BPS), Ordering::Relaxed);
    }

    /// Pauses or resumes; the share is remembered.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// The share in force: 0 while paused.
    pub fn share(&self) -> u32 {
        if self.paused.load(Ordering::Relaxed) {
            0
        } else {
            self.share_bps.load(Ordering::Relaxed)
        }
    }

    /// Ends the run after the message in hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`Control::stop`] was called.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The board.
#[derive(Debug)]
pub struct Board {
    state: Mutex<BoardState>,
}

/// What is written on it.
#[derive(Debug)]
pub struct BoardState {
    /// What the run is doing.
    pub status: RunStatus,
    /// Inner steps seen.
    pub step: u64,
    /// Mean loss of the first steps.
    pub loss_first: Option<f64>,
    /// The share in force.
    pub share_bps: u32,
    /// Figures of nodes seen so far.
    pub nodes: BTreeMap<NodeId, NodeStats>,
    /// Who was removed for good, and why.
    pub bans: Vec<Ban>,
    /// Contributions that were recomputed since this process started.
    pub audits: u64,
    /// What is left of the round's time at the full share, while nodes train.
    pub deadline: Option<Duration>,
    /// Closed rounds, oldest first.
    pub history: VecDeque<HistoryPoint>,
    /// The newest closed round.
    pub snapshot: Option<Arc<Snapshot>>,
    recent: VecDeque<(Instant, u64)>,
    since: Option<Instant>,
}

impl Board {
    /// An empty board with the rounds of an earlier life.
    pub fn new(history: VecDeque<HistoryPoint>) -> Self {
        Self {
            state: Mutex::new(BoardState {
                status: RunStatus::Preparing,
                step: 0,
                loss_first: None,
                share_bps: 0,
                nodes: BTreeMap::new(),
                bans: Vec::new(),
                audits: 0,
                deadline: None,
                history,
                snapshot: None,
                recent: VecDeque::new(),
                since: None,
            }),
        }
    }

    /// The state, to read or to write. Hold it briefly.
    pub fn lock(&self) -> MutexGuard<'_, BoardState> {
        // Plain figures: they stay meaningful if a writer died half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BoardState {
    /// The figures of `node`, which appear when it is first heard of.
    pub fn node(&mut self, node: &NodeId) -> &mut NodeStats {
        self.nodes.entry(node.clone()).or_insert_with(|| NodeStats {
            id: node.clone(),
            status: NodeStatus::Active,
            steps: 0,
            tokens: 0,
            rounds: 0,
            missed: 0,
            verified: 0,
            audits: 0,
            loss: None,
            tokens_per_cpu_second: 0.0,
        })
    }

    /// Notes an inner step at `now`.
    pub fn note_step(&mut self, node: &NodeId, tokens: u64, loss: f64, now: Instant) {
        self.step += 1;
        let figures = self.node(node);
        figures.steps += 1;
        figures.loss = Some(loss);
        self.since.get_or_insert(now);
        self.recent.push_back((now, tokens));
        self.forget_steps(now);
    }

    /// Tokens per second over the window that ends at `now`, or over the time
    /// since the first step when that is shorter.
    pub fn tokens_per_second(&mut self, now: Instant) -> f64 {
        self.forget_steps(now);
        let Some(since) = self.since else { return 0.0 };
        let span = now.saturating_duration_since(since).min(SPEED_WINDOW);
        let tokens: u64 = self.recent.iter().map(|(_, tokens)| tokens).sum();
        // A window shorter than a second says more about noise than speed.
        tokens as f64 / span.as_secs_f64().max(1.0)
    }

    /// Appends a closed round; the oldest give way.
    pub fn note_round(&mut self, point: HistoryPoint) {
        self.history.push_back(point);
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }

    fn forget_steps(&mut self, now: Instant) {
        while let Some((at, _)) = self.recent.front()
            && now.saturating_duration_since(*at) > SPEED_WINDOW
        {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn speed_is_of_the_window() {
        let board = Board::new(VecDeque::new());
        let node = NodeId::new("n").unwrap();
        let start = Instant::now();
        let mut state = board.lock();
        for second in 0..30 {
            let tokens = if second < 20 { 1_000 } else { 100 };
            state.note_step(&node, tokens, 1.0, start + Duration::from_secs(second));
        }
        let speed = state.tokens_per_second(start + Duration::from_secs(29));
        assert!(
            (speed - 200.0).abs() < 1.0,
            "1000 + 10 × 100 in ten seconds: {speed}"
        );
        assert_eq!(
            state.tokens_per_second(start + Duration::from_secs(60)),
            0.0
        );
        assert_eq!(state.node(&node).steps, 30);
    }

    #[test]
    fn pausing_remembers_the_share() {
        let control = Control::new(20_000);
        assert_eq!(control.share(), 10_000);
        control.set_share(2_500);
        control.set_paused(true);
        assert_eq!(control.share(), 0);
        control.set_share(4_000);
        control.set_paused(false);
        assert_eq!(control.share(), 4_000);
    }
}
