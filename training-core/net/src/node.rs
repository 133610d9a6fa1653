//! A training node: its own OS thread, its own one-thread compute pool, one
//! replica of the model.
//!
//! The node talks to the run through a [`Transport`] only. It takes a round
//! announcement, trains H inner steps on its assigned sequences at the rate it
//! is allowed, promises its contribution by hash, shows it when asked, and
//! waits for the next round. A newer announcement makes it drop what it was
//! doing: nobody is waiting for that work any more, and the next round begins
//! from the state that the announcement names, so that anybody can do its work
//! again.

mod handle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plumbline_training_core::assignment::Assignment;
use plumbline_training_core::codec::{CodecError, Geometry, Memory};
use plumbline_training_core::digest::Digest;
pub use plumbline_training_core::local::InnerPlan;
use plumbline_training_core::local::{LocalError, LocalRound, NodeState, Task, Work, commitment};
use plumbline_training_core::pacing::{Pacer, Wait};
use plumbline_training_core::time::Micros;
use plumbline_training_core::trainer::{LocalTrainer, TrainerError};
use plumbline_training_model::DeviceName;
use rustix::time::{ClockId, clock_gettime};

use crate::corpus::SequenceSource;
use crate::gate::Gate;
use crate::message::{Message, RoundAnnouncement, RoundReport, bounded_reason};
use crate::payload::{self, PayloadError, VectorKind};
use crate::rebuild::Rebuild;
use crate::transport::{Transport, TransportError};
pub use handle::{Meter, NodeHandle};

/// Longest sleep without looking at the kill flag or saying hello again.
const POLL: Duration = Duration::from_millis(500);
/// Hello is repeated this often while nothing is heard, in case it was lost.
const HELLO_EVERY: Duration = Duration::from_secs(2);
/// CPU time that a node may save up while it waits for others: about two inner
/// steps of the default model.
const BURST: Micros = Micros::from_millis(100);

/// A payload as it is shared.
type Bytes = Arc<Vec<u8>>;

/// Makes the replica on the node's own thread.
pub type TrainerFactory = Box<dyn FnOnce() -> Result<Box<dyn LocalTrainer>, TrainerError> + Send>;

/// What of a node's work counts against its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// CPU time of its thread.
    Cpu,
    /// The time that its steps take: while a device computes, its thread waits.
    Steps,
}

impl Effort {
    /// What counts where the replica is on `device`.
    pub fn on(device: DeviceName) -> Self {
        if device.is_cpu() {
            Self::Cpu
        } else {
            Self::Steps
        }
    }
}

/// Everything a node is made of.
pub struct NodeOptions {
    /// Its end of the run's channel; its name is the node's name.
    pub transport: Box<dyn Transport>,
    /// Makes its replica.
    pub trainer: TrainerFactory,
    /// What counts against its share.
    pub effort: Effort,
    /// Its data.
    pub data: Arc<dyn SequenceSource>,
    /// What it does in a round.
    pub plan: InnerPlan,
    /// The machine's permit gate.
    pub gate: Arc<Gate>,
    /// The run's lane at the gate.
    pub lane: u64,
    /// Sequences that it trains in 1,000 seconds by its own measure; 0 for unknown.
    pub speed: u64,
    /// Takes outer steps here, where parameters come over a slow link.
    pub rebuild: Option<Rebuild>,
}

/// Why a node stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The replica failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The channel failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The announced parameters are not this model's.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The round's work failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The model's shapes cannot be cut.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The coordinator removed it for good.
    #[error("banned from the run: {0}")]
    Banned(String),
    /// The thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

fn run(
    options: NodeOptions,
    kill: &AtomicBool,
    leave: &AtomicBool,
    meter: Arc<Meter>,
) -> Result<(), NodeError> {
    // One pool per node: whatever the tensor back end hands to the current
    // pool stays on this one thread, whose CPU time is what pacing counts.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "train-pool".into())
        .build()
        .map_err(|error| NodeError::Thread(error.to_string()))?;
    pool.install(move || {
        let NodeOptions {
            transport,
            trainer,
            effort,
            data,
            plan,
            gate,
            lane,
            speed,
            rebuild,
        } = options;
        let node = transport.id().clone();
        let result = trainer().map_err(NodeError::from).and_then(|trainer| {
            let now = Instant::now();
            let geometry = Geometry::new(&trainer.shapes())?;
            let mut node = Node {
                transport: &*transport,
                trainer,
                geometry,
                at: At::Fresh,
                data,
                plan,
                gate,
                lane,
                started: now,
                pacer: Pacer::new(0, BURST, Micros(0)),
                effort,
                cpu_seen: thread_cpu(),
                stepped: Micros(0),
                welcomed: false,
                task: None,
                heard: now,
                said_hello: now,
                speed,
                rebuild,
                meter,
                first_work: None,
                idle: None,
            };
            node.serve(kill, leave)
        });
        let (failure, end) = match result {
            Ok(false) => return Ok(()),
            Ok(true) => (None, Ok(())),
            Err(error) => {
                tracing::error!(%node, %error, "node stopped");
                (Some(bounded_reason(&error.to_string())), Err(error))
            }
        };
        transport.announce(&Message::Bye { failure }).ok();
        end
    })
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Micros {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Micros(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

/// A round this node works on.
struct Current {
    /// The announcement, as far as it concerns this node.
    given: Given,
    local: LocalRound,
    save_state: bool,
    cpu_us: u64,
    promised: Option<Promise>,
}

/// What a node's work in a round follows from.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    round: u64,
    parameters: Digest,
    assignment: Assignment,
    base: Option<Digest>,
    tokens: u64,
}

/// The finished work of a round, not shown yet.
struct Promise {
    commitment: Digest,
    payload: Vec<u8>,
    state: Vec<u8>,
}

/// The state that the replica's optimiser is in.
enum At {
    /// A new one's.
    Fresh,
    /// What it showed under this hash, with what its codec remembers.
    Shown(Digest, Memory),
    /// In the middle of something.
    Between,
}

struct Node<'a> {
    transport: &'a dyn Transport,
    trainer: Box<dyn LocalTrainer>,
    geometry: Geometry,
    at: At,
    data: Arc<dyn SequenceSource>,
    plan: InnerPlan,
    gate: Arc<Gate>,
    lane: u64,
    started: Instant,
    pacer: Pacer,
    effort: Effort,
    cpu_seen: Micros,
    /// What steps took since the pacer was last told.
    stepped: Micros,
    welcomed: bool,
    task: Option<Current>,
    heard: Instant,
    said_hello: Instant,
    speed: u64,
    rebuild: Option<Rebuild>,
    meter: Arc<Meter>,
    first_work: Option<Instant>,
    /// Since when there is nothing to do.
    idle: Option<Instant>,
}

impl Node<'_> {
    /// Works until told to stop or to leave (`true`), or killed (`false`).
    fn serve(&mut self, kill: &AtomicBool, leave: &AtomicBool) -> Result<bool, NodeError> {
        self.hello()?;
        loop {
            if kill.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if leave.load(Ordering::Relaxed) {
                return Ok(true);
            }
            let patience = self.patience();
            match self.transport.receive(patience) {
                Ok(Some(envelope)) => {
                    self.heard = Instant::now();
                    if self.handle(envelope.message)? {
                        return Ok(true);
                    }
                }
                Ok(None) if patience.is_zero() => self.train_step()?,
                Ok(None) => {
                    let quiet = self.heard.max(self.said_hello).elapsed();
                    if quiet >= HELLO_EVERY {
                        self.hello()?;
                    }
                }
                // Another version or rubbish: not for us.
                Err(TransportError::Codec(_) | TransportError::Version(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn hello(&mut self) -> Result<(), NodeError> {
        self.said_hello = Instant::now();
        let holds = self.transport.kept_states();
        let speed = self.speed;
        Ok(self.transport.announce(&Message::Hello { holds, speed })?)
    }

    fn now(&self) -> Micros {
        Micros(self.started.elapsed().as_micros() as u64)
    }

    /// What was used of the share since the last call.
    fn used(&mut self) -> Micros {
        let stepped = std::mem::replace(&mut self.stepped, Micros(0));
        let now = thread_cpu();
        let used = now.since(self.cpu_seen);
        self.cpu_seen = now;
        match self.effort {
            Effort::Cpu => used,
            Effort::Steps => stepped,
        }
    }

    /// How long to listen for messages before the next inner step; zero means
    /// that a step is due.
    fn patience(&mut self) -> Duration {
        let training = self
            .task
            .as_ref()
            .is_some_and(|task| task.promised.is_none());
        let used = self.used();
        let wait = self.pacer.step(self.now(), used);
        match wait {
            _ if !training => POLL,
            Wait::None => Duration::ZERO,
            Wait::For(time) => Duration::from_micros(time.0.max(1)).min(POLL),
            Wait::Paused => POLL,
        }
    }

    /// `true` when the run is over.
    fn handle(&mut self, message: Message) -> Result<bool, NodeError> {
        match message {
            Message::Welcome { node } if node == *self.transport.id() => self.welcomed = true,
            Message::Banned { node, reason } if node == *self.transport.id() => {
                return Err(NodeError::Banned(reason));
            }
            Message::Open(announcement) if self.welcomed => self.open(announcement)?,
            Message::RequestReveals { round, nodes } if nodes.contains(self.transport.id()) => {
                self.reveal(round)?;
            }
            Message::Rate { bps, .. } => {
                let now = self.now();
                self.pacer.set_rate(now, bps);
            }
            Message::Stop => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn open(&mut self, opened: RoundAnnouncement) -> Result<(), NodeError> {
        let mine = opened
            .assignments
            .iter()
            .find(|a| a.node == *self.transport.id());
        let Some(mine) = mine else {
            // We were evicted, or joined too late for this round.
            self.task = None;
            let quiet = self.said_hello.elapsed() >= HELLO_EVERY;
            return if quiet { self.hello() } else { Ok(()) };
        };
        let given = Given {
            round: opened.round,
            parameters: opened.parameters,
            assignment: mine.clone(),
            base: opened.bases.get(self.transport.id()).copied(),
            tokens: opened.tokens,
        };
        if self.task.as_ref().is_some_and(|task| task.given == given) {
            // A repeated announcement: perhaps our promise was lost.
            return self.promise();
        }
        self.task = None;
        let task = Task {
            round: opened.round,
            first: mine.start,
            steps: mine.count / self.plan.batch.max(1) as u64,
            tokens_before: opened.tokens,
            members: opened.assignments.len() as u64,
        };
        let fetched = self.fetch(&opened, given.base.as_ref());
        let (bytes, base) = match fetched {
            Ok(fetched) => fetched,
            // The round is over already and the next announcement will come,
            // or what we are to begin from is lost, as saying hello tells.
            Err(TransportError::NotFound(missing)) if Some(missing) == given.base => {
                return self.hello();
            }
            Err(TransportError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let count = self.trainer.parameter_count();
        let start = payload::decode(VectorKind::Parameters, &bytes, count)?;
        self.task = Some(Current {
            given,
            local: self.begin(task, start, base)?,
            save_state: opened.save_state,
            cpu_us: 0,
            promised: None,
        });
        self.note_work();
        Ok(())
    }

    /// A round's work begins.
    fn note_work(&mut self) {
        let first = *self.first_work.get_or_insert_with(Instant::now);
        let micros = |since: Instant| since.elapsed().as_micros() as u64;
        let idle = self.idle.take().map_or(0, micros);
        self.meter.note(idle, micros(first));
    }

    /// The parameters, and the state to begin from where the replica is not in
    /// it already: empty bytes for a fresh one.
    fn fetch(
        &mut self,
        opened: &RoundAnnouncement,
        base: Option<&Digest>,
    ) -> Result<(Bytes, Option<Bytes>), TransportError> {
        let state = match (&self.at, base) {
            (At::Fresh, None) => None,
            (At::Shown(digest, _), Some(base)) if digest == base => None,
            (_, None) => Some(Arc::default()),
            (_, Some(base)) => Some(self.transport.get(base)?),
        };
        Ok((self.parameters(opened)?, state))
    }

    /// The round's parameters: made here where that is possible, else fetched.
    fn parameters(&mut self, opened: &RoundAnnouncement) -> Result<Bytes, TransportError> {
        let target = &opened.parameters;
        let (Some(rebuild), Some(recipe)) = (&mut self.rebuild, &opened.recipe) else {
            return self.transport.get(target);
        };
        if let Some(here) = self.transport.peek(target) {
            return Ok(here);
        }
        let means = (&self.plan.scheme, &self.geometry);
        match rebuild.apply(self.transport, means, recipe, target) {
            Some(bytes) => {
                self.meter.note_rebuilt();
                self.transport.put(bytes)?;
                self.transport.get(target)
            }
            None => self.transport.get(target),
        }
    }

    fn begin(
        &mut self,
        task: Task,
        start: Vec<f32>,
        state: Option<Bytes>,
    ) -> Result<LocalRound, NodeError> {
        let at = std::mem::replace(&mut self.at, At::Between);
        let plan = self.plan;
        let Some(bytes) = state else {
            self.trainer.set_parameters(&start)?;
            let memory = match at {
                At::Shown(_, memory) => memory,
                At::Fresh | At::Between => Memory::default(),
            };
            return Ok(LocalRound::go_on(plan, task, start, memory));
        };
        let state = if bytes.is_empty() {
            NodeState::default()
        } else {
            NodeState::from_bytes(&bytes, start.len())?
        };
        let trainer = &mut *self.trainer;
        Ok(LocalRound::begin(trainer, plan, task, start, state)?)
    }

    fn train_step(&mut self) -> Result<(), NodeError> {
        let Some(task) = &mut self.task else {
            return Ok(());
        };
        let InnerPlan { batch, length, .. } = self.plan;
        let cpu = thread_cpu();
        let (step, took) = {
            let _permit = self.gate.acquire(self.lane);
            let begun = Instant::now();
            let first = task.local.next_sequence();
            let batch = self.data.batch(first, batch, length);
            let step = task.local.step(&mut *self.trainer, &batch)?;
            (step, Micros(begun.elapsed().as_micros() as u64))
        };
        self.stepped.0 += took.0;
        task.cpu_us += match self.effort {
            Effort::Cpu => thread_cpu().since(cpu).0,
            Effort::Steps => took.0,
        };
        self.transport.announce(&Message::Progress {
            round: task.local.task().round,
            step: task.local.report().steps,
            tokens: step.tokens,
            loss: f64::from(step.loss),
        })?;
        if task.local.is_done() {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), NodeError> {
        let Some(task) = &mut self.task else {
            return Ok(());
        };
        let Work { payload, state } = task.local.finish(&*self.trainer, &self.geometry)?;
        let bytes = state.to_bytes();
        let digest = Digest::of(&bytes);
        let shown = task.save_state.then_some(&digest);
        task.promised = Some(Promise {
            commitment: commitment(
                task.local.task().round,
                self.transport.id(),
                &Digest::of(&payload),
                shown,
                task.local.report().tokens,
            ),
            payload,
            state: bytes,
        });
        self.at = At::Shown(digest, state.memory);
        self.idle = Some(Instant::now());
        self.promise()
    }

    fn promise(&self) -> Result<(), NodeError> {
        if let Some(task) = &self.task
            && let Some(promise) = &task.promised
        {
            self.transport.announce(&Message::Commit {
                round: task.local.task().round,
                digest: promise.commitment,
                tokens: task.local.report().tokens,
            })?;
        }
        Ok(())
    }

    fn reveal(&mut self, round: u64) -> Result<(), NodeError> {
        if let Some(task) = &self.task
            && task.local.task().round == round
            && let Some(promise) = &task.promised
        {
            let payload = self.transport.put(promise.payload.clone())?;
            let state = if task.save_state {
                Some(self.transport.put_state(promise.state.clone())?)
            } else {
                None
            };
            let local = task.local.report();
            self.transport.announce(&Message::Reveal {
                round,
                payload,
                report: RoundReport {
                    steps: local.steps,
                    tokens: local.tokens,
                    loss: local.loss,
                    loss_first: local.loss_first,
                    cpu_us: task.cpu_us,
                    bytes: promise.payload.len() as u64,
                },
                state,
            })?;
        }
        Ok(())
    }
}
