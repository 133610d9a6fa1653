//! A running node, seen from outside of its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use plumbline_training_core::round::NodeId;

use super::{NodeError, NodeOptions};

/// How a node spends its time: with work to do, or waiting for others and for
/// what they send.
#[derive(Debug, Default)]
pub struct Meter {
    rounds: AtomicU64,
    rebuilt: AtomicU64,
    idle_us: AtomicU64,
    all_us: AtomicU64,
}

impl Meter {
    /// A round's work begins: `idle` µs without any before, `all` µs since the first.
    pub(super) fn note(&self, idle: u64, all: u64) {
        self.idle_us.fetch_add(idle, Ordering::Relaxed);
        self.all_us.store(all, Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// The node has made a round's parameters itself.
    pub(super) fn note_rebuilt(&self) {
        self.rebuilt.fetch_add(1, Ordering::Relaxed);
    }

    /// Rounds whose parameters it made from what the others had sent.
    pub fn rebuilt(&self) -> u64 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// Rounds whose work it has begun.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Part of the time from its first work to its newest that it had some.
    pub fn computing_share(&self) -> f64 {
        let all = self.all_us.load(Ordering::Relaxed);
        let idle = self.idle_us.load(Ordering::Relaxed);
        1.0 - idle as f64 / all.max(1) as f64
    }
}

/// A running node.
#[derive(Debug)]
pub struct NodeHandle {
    id: NodeId,
    kill: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
    meter: Arc<Meter>,
    thread: Option<JoinHandle<Result<(), NodeError>>>,
}

impl NodeHandle {
    /// Starts a node on a new thread.
    ///
    /// # Errors
    /// [`NodeError::Thread`].
    pub fn spawn(options: NodeOptions) -> Result<Self, NodeError> {
        let id = options.transport.id().clone();
        let kill = Arc::new(AtomicBool::new(false));
        let leave = Arc::new(AtomicBool::new(false));
        let flags = (Arc::clone(&kill), Arc::clone(&leave));
        let meter = Arc::new(Meter::default());
        let metered = Arc::clone(&meter);
        let thread = std::thread::Builder::new()
            .name(format!("train-{id}"))
            .spawn(move || super::run(options, &flags.0, &flags.1, metered))
            .map_err(|e| NodeError::Thread(e.to_string()))?;
        Ok(Self {
            id,
            kill,
            leave,
            meter,
            thread: Some(thread),
        })
    }

    /// The node's name.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// How it spends its time.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whether its thread is running.
    pub fn is_alive(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Makes the node vanish without a word, as a crash does: the inner step
    /// in progress is its last.
    pub fn kill(&self) {
        self.kill.store(true, Ordering::Relaxed);
    }

    /// Makes the node say goodbye after the inner step in progress. Its work
    /// in this round goes back.
    pub fn leave(&self) {
        self.leave.store(true, Ordering::Relaxed);
    }

    /// Waits for the thread to end; it does after a stop message, a kill, or
    /// being told to leave.
    pub fn join(self) {
        self.finish().ok();
    }

    /// As [`NodeHandle::join`], and says what the node ended with.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn finish(mut self) -> Result<(), NodeError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let died = |_| Err(NodeError::Thread("it panicked".into()));
        thread.join().unwrap_or_else(died)
    }
}

/// A node whose handle is dropped has nobody left to stop it.
impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.kill();
    }
}
