//! Does contributions again, on a thread of its own.
//!
//! The coordinator hands over what it drew and goes on; what comes of it
//! arrives rounds later. The queue is bounded: what does not fit is not done,
//! and an auditor that falls behind audits less instead of holding up rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plumbline_training_core::codec::{CodecError, Geometry};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::local::{InnerPlan, LocalError, LocalRound, NodeState, Task};
use plumbline_training_core::pacing::{Pacer, Wait};
use plumbline_training_core::round::NodeId;
use plumbline_training_core::time::Micros;
use plumbline_training_core::trainer::LocalTrainer;
use plumbline_training_core::verify::{Claim, Evidence, Gain, examine};

use crate::corpus::SequenceSource;
use crate::gate::Gate;
use crate::node::{NodeError, TrainerFactory, thread_cpu};

/// Jobs that wait.
const QUEUE: usize = 16;
/// Sequences that gains on random data are measured on: no round gets there.
const RANDOM: u64 = 1 << 60;
/// Longest sleep without looking whether to stop.
const POLL: Duration = Duration::from_millis(50);
/// CPU time that may be saved up.
const BURST: Micros = Micros::from_millis(100);

/// What an auditor is made of.
pub struct AuditorOptions {
    /// Makes its replica.
    pub trainer: TrainerFactory,
    /// The run's data.
    pub data: Arc<dyn SequenceSource>,
    /// What nodes do in a round.
    pub plan: InnerPlan,
    /// The machine's permit gate.
    pub gate: Arc<Gate>,
    /// The run's lane at the gate.
    pub lane: u64,
}

/// One contribution with all that it follows from.
#[derive(Debug, Clone)]
pub struct Case {
    /// Whose.
    pub node: NodeId,
    /// Its work.
    pub task: Task,
    /// Its state at the start; none for a fresh one.
    pub base: Option<Arc<Vec<u8>>>,
    /// What it sent, decoded.
    pub delta: Arc<Vec<f32>>,
    /// Hash of the payload.
    pub payload: Digest,
    /// Hash of the state that it showed.
    pub state: Option<Digest>,
    /// Tokens that it claims.
    pub tokens: u64,
    /// Whether it was computed by this process, and so gives equal bits.
    pub same_machine: bool,
}

/// Something to do.
#[derive(Debug, Clone)]
pub enum Job {
    /// Do this contribution again.
    Recompute {
        /// The round's parameters.
        start: Arc<Vec<f32>>,
        /// The contribution.
        case: Box<Case>,
    },
    /// Measure what each of a round's contributions gains.
    Gains {
        /// The round's parameters.
        start: Arc<Vec<f32>>,
        /// The round.
        round: u64,
        /// Rows to measure on.
        rows: usize,
        /// The contributions.
        cases: Vec<Case>,
    },
}

/// What nodes gained, with the tokens that they claim.
pub type Gains = Vec<(NodeId, Gain, u64)>;

/// What came of a job.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A contribution was done again.
    Recomputed {
        /// Whose.
        node: NodeId,
        /// The round.
        round: u64,
        /// What is wrong with it, if anything.
        evidence: Option<Evidence>,
    },
    /// Gains of a round, with the tokens claimed.
    Gains {
        /// The round.
        round: u64,
        /// By node.
        gains: Gains,
    },
}

/// A running auditor. Dropping it stops the thread after the step in hand.
#[derive(Debug)]
pub struct Auditor {
    jobs: Option<SyncSender<Job>>,
    outcomes: Receiver<Outcome>,
    rate: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Auditor {
    /// Starts an auditor on a new thread.
    ///
    /// # Errors
    /// [`NodeError::Thread`].
    pub fn spawn(options: AuditorOptions) -> Result<Self, NodeError> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (told, outcomes) = channel();
        let rate = Arc::new(AtomicU32::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (paced, stopped) = (Arc::clone(&rate), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("train-audit".into())
            .spawn(move || {
                if let Err(error) = work(options, queue, told, paced, stopped) {
                    tracing::error!(%error, "auditor stopped");
                }
            })
            .map_err(|error| NodeError::Thread(error.to_string()))?;
        Ok(Self {
            jobs: Some(jobs),
            outcomes,
            rate,
            stop,
            thread: Some(thread),
        })
    }

    /// Hands a job over; `false` when the queue is full or the thread is gone.
    pub fn offer(&self, job: Job) -> bool {
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        if let Some(Err(TrySendError::Disconnected(_))) = &sent {
            tracing::error!("the auditor is gone");
        }
        matches!(sent, Some(Ok(())))
    }

    /// The next outcome, if one is there.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }

    /// Sets the rate, basis points of a core.
    pub fn set_rate(&self, bps: u32) {
        self.rate.store(bps, Ordering::Relaxed);
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Why the thread ended early.
#[derive(Debug, thiserror::Error)]
enum AuditorError {
    #[error(transparent)]
    Trainer(#[from] plumbline_training_core::trainer::TrainerError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("cannot start a compute pool: {0}")]
    Pool(#[from] rayon::ThreadPoolBuildError),
}

fn work(
    options: AuditorOptions,
    queue: Receiver<Job>,
    told: Sender<Outcome>,
    rate: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
) -> Result<(), AuditorError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "audit-pool".into())
        .build()?;
    // Everything on the pool's one thread, whose CPU time is what is paced.
    pool.install(move || {
        let mut desk = Desk::new(options, rate, stop)?;
        while let Ok(job) = queue.recv() {
            if let Some(outcome) = desk.settle(job) {
                told.send(outcome).ok();
            }
        }
        Ok(())
    })
}

struct Desk {
    trainer: Box<dyn LocalTrainer>,
    geometry: Geometry,
    data: Arc<dyn SequenceSource>,
    plan: InnerPlan,
    gate: Arc<Gate>,
    lane: u64,
    rate: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    started: Instant,
    pacer: Pacer,
    cpu_seen: Micros,
}

impl Desk {
    fn new(
        options: AuditorOptions,
        rate: Arc<AtomicU32>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, AuditorError> {
        let trainer = (options.trainer)()?;
        Ok(Self {
            geometry: Geometry::new(&trainer.shapes())?,
            trainer,
            data: options.data,
            plan: options.plan,
            gate: options.gate,
            lane: options.lane,
            rate,
            stop,
            started: Instant::now(),
            pacer: Pacer::new(0, BURST, Micros(0)),
            cpu_seen: thread_cpu(),
        })
    }

    /// `None` when it stops or the replica failed, which proves nothing.
    fn settle(&mut self, job: Job) -> Option<Outcome> {
        match job {
            Job::Recompute { start, case } => {
                let evidence = self.recompute(&start, &case);
                let (node, round) = (case.node, case.task.round);
                let evidence = evidence
                    .inspect_err(|error| tracing::warn!(%node, round, %error, "not recomputed"))
                    .ok()??;
                Some(Outcome::Recomputed {
                    node,
                    round,
                    evidence,
                })
            }
            Job::Gains {
                start,
                round,
                rows,
                cases,
            } => {
                let gains = self.gains(&start, round, rows, &cases);
                let gains = gains
                    .inspect_err(|error| tracing::warn!(round, %error, "no gains measured"))
                    .ok()??;
                Some(Outcome::Gains { round, gains })
            }
        }
    }

    /// Waits for the rate's allowance; `false` when it is time to stop.
    fn pace(&mut self) -> bool {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let now = Micros(self.started.elapsed().as_micros() as u64);
            let rate = self.rate.load(Ordering::Relaxed);
            if rate != self.pacer.rate_bps() {
                self.pacer.set_rate(now, rate);
            }
            let cpu = thread_cpu();
            let used = cpu.since(self.cpu_seen);
            self.cpu_seen = cpu;
            match self.pacer.step(now, used) {
                Wait::None => return true,
                Wait::For(time) => {
                    std::thread::sleep(Duration::from_micros(time.0.max(1)).min(POLL));
                }
                Wait::Paused => std::thread::sleep(POLL),
            }
        }
    }

    fn recompute(
        &mut self,
        start: &[f32],
        case: &Case,
    ) -> Result<Option<Option<Evidence>>, LocalError> {
        let state = match &case.base {
            Some(bytes) => NodeState::from_bytes(bytes, start.len())?,
            None => NodeState::default(),
        };
        let plan = self.plan;
        let begun = (plan, case.task.clone(), start.to_vec());
        let mut local = LocalRound::begin(&mut *self.trainer, begun.0, begun.1, begun.2, state)?;
        while !local.is_done() {
            if !self.pace() {
                return Ok(None);
            }
            let _permit = self.gate.acquire(self.lane);
            let batch = self
                .data
                .batch(local.next_sequence(), plan.batch, plan.length);
            local.step(&mut *self.trainer, &batch)?;
        }
        let tokens = local.report().tokens;
        let work = local.finish(&*self.trainer, &self.geometry)?;
        let claim = Claim {
            payload: &case.delta,
            digest: case.payload,
            state: case.state,
            tokens: case.tokens,
        };
        let same = case.same_machine;
        let found = examine(&plan.scheme, &self.geometry, &claim, (&work, tokens), same);
        Ok(Some(found))
    }

    fn gains(
        &mut self,
        start: &[f32],
        round: u64,
        rows: usize,
        cases: &[Case],
    ) -> Result<Option<Gains>, LocalError> {
        let length = self.plan.length;
        let random = RANDOM.saturating_add(round.saturating_mul(rows as u64));
        let random = self.data.batch(random, rows, length);
        let mut gains = Vec::with_capacity(cases.len());
        for case in cases {
            if !self.pace() {
                return Ok(None);
            }
            let _permit = self.gate.acquire(self.lane);
            let assigned = self.data.batch(case.task.first, rows, length);
            let both = (&assigned, &random);
            let gain = Gain::measure(&mut *self.trainer, start, &case.delta, both)?;
            gains.push((case.node.clone(), gain, case.tokens));
        }
        Ok(Some(gains))
    }
}
