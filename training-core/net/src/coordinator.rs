//! Drives the pure round machine of one run: turns messages into events,
//! carries out effects, takes the outer step and publishes new parameters.
//!
//! It reaches nodes through its [`Transport`] alone and trusts nothing that
//! they send: payloads are fetched by hash, must have been promised, and must
//! decode to as many finite values as the model has before they are counted.
//! With an [`Auditor`](crate::auditor::Auditor) they are also screened, and a drawn part is done again;
//! who lied is removed for good.

#[cfg(test)]
mod bad_peers;
mod closing;
mod members;
#[cfg(test)]
mod tests;
mod verification;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plumbline_training_core::codec::{Geometry, Scheme};
use plumbline_training_core::contribution::Accounts;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::local::commitment;
use plumbline_training_core::outer::{Aggregator, OuterError, OuterStep};
use plumbline_training_core::pacing::node_rate_bps;
use plumbline_training_core::round::{
    Effect, Event, NodeId, Origin, Phase, RoundError, RoundRules, RoundState, step,
};
use plumbline_training_core::schedule::LrSchedule;
use plumbline_training_core::time::Micros;
use plumbline_training_core::trainer::{LocalTrainer, TrainerError};
use plumbline_training_core::verify::Ban;

use crate::board::{Board, Control, Snapshot};
use crate::message::{Envelope, Message, Recipe, RoundAnnouncement, RoundReport};
use crate::payload::{self, VectorKind};
use crate::run::{HistoryPoint, NodeStatus, RunEvent, RunStatus};
use crate::transport::{Transport, TransportError};
use verification::Checks;
pub use verification::Verification;

/// Longest time without looking at the clock and the controls.
const TICK: Duration = Duration::from_millis(25);

/// The name of the coordinator's end of the channel.
pub const COORDINATOR: &str = "coordinator";

/// Told about what happens, on the coordinator's thread.
pub trait Observer: Send {
    /// A round closed; `snapshot` is all that is needed to go on from it.
    fn round_closed(&mut self, snapshot: &Arc<Snapshot>, point: &HistoryPoint);
    /// Anything else happened.
    fn happened(&mut self, event: RunEvent);
}

/// Everything a coordinator is made of.
pub struct CoordinatorOptions {
    /// The run's id, for events.
    pub run: String,
    /// The rules of its rounds.
    pub rules: RoundRules,
    /// Where it starts or goes on.
    pub start: Snapshot,
    /// What is exchanged.
    pub scheme: Scheme,
    /// How the model is cut into chunks.
    pub geometry: Geometry,
    /// The outer step.
    pub outer: Outer,
    /// Checks contributions; without, they are trusted.
    pub verification: Option<Verification>,
    /// Reduces contributions to one.
    pub aggregator: Box<dyn Aggregator>,
    /// Its end of the channel.
    pub transport: Box<dyn Transport>,
    /// The run's board.
    pub board: Arc<Board>,
    /// What the host asks for.
    pub control: Arc<Control>,
    /// Cores of the machine that the share is a share of.
    pub cores: usize,
    /// Finish at this many tokens.
    pub max_tokens: Option<u64>,
    /// Told about what happens.
    pub observer: Box<dyn Observer>,
}

/// How the aggregate becomes a step of the global model.
pub enum Outer {
    /// On the parameters alone.
    Step(OuterStep),
    /// One AdamW update of a replica of its own, at every step.
    Central {
        /// The replica, with the optimiser's state of the snapshot.
        trainer: Box<dyn LocalTrainer>,
        /// Learning rate by tokens.
        schedule: LrSchedule,
    },
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The rules are contradictory, or an own event was refused.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// The outer step failed.
    #[error(transparent)]
    Outer(#[from] OuterError),
    /// The central replica failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The channel failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Every node failed.
    #[error("the last node failed: {0}")]
    NodesFailed(String),
    /// The outer step gave a value that is not a number.
    #[error("training diverged: the outer step gave values that are not finite")]
    Diverged,
}

/// The coordinator of one run.
pub struct Coordinator {
    options: CoordinatorOptions,
    state: RoundState,
    started: Instant,
    parameters: Arc<Vec<f32>>,
    accounts: Accounts,
    rounds: u64,
    loss_first: Option<f64>,
    bytes_sent: u64,
    bytes_every_step: u64,
    /// State that each node begins its next round from.
    bases: BTreeMap<NodeId, Digest>,
    bans: Vec<Ban>,
    checks: Checks,
    announced: Option<RoundAnnouncement>,
    /// How the newest parameters came about.
    recipe: Option<Recipe>,
    shown: BTreeMap<NodeId, Shown>,
    deltas: BTreeMap<NodeId, Arc<Vec<f32>>>,
    update_norm: f64,
    rate: Option<(u32, u32)>,
    failure: Option<String>,
}

/// What a node showed in this round.
struct Shown {
    report: RoundReport,
    payload: Digest,
    bytes: u64,
    state: Option<Digest>,
}

impl Coordinator {
    /// Publishes the start parameters.
    ///
    /// # Errors
    /// [`CoordinatorError::Round`] for contradictory rules, and
    /// [`CoordinatorError::Transport`] when the parameters do not fit the channel.
    pub fn new(options: CoordinatorOptions) -> Result<Self, CoordinatorError> {
        let parameters = Arc::clone(&options.start.parameters);
        let published = payload::encode(VectorKind::Parameters, &parameters);
        let digest = options.transport.put(published)?;
        let origin = Origin {
            parameters: digest,
            ..options.start.origin.clone()
        };
        let mut state = RoundState::new(options.rules.clone(), origin, Micros(0))?;
        let bans = options.start.bans.clone();
        for ban in &bans {
            let node = ban.node.clone();
            state = step(&state, &Event::Ban { node }, Micros(0))?.0;
        }
        let mut bases = BTreeMap::new();
        for (node, bytes) in &options.start.states {
            bases.insert(node.clone(), options.transport.put(bytes.to_vec())?);
        }
        // What these begin from, they have kept themselves.
        bases.extend(options.start.held.clone());
        let mut board = options.board.lock();
        board.loss_first = options.start.loss_first;
        board.snapshot = Some(Arc::new(options.start.clone()));
        for (node, account) in options.start.accounts.iter() {
            let figures = board.node(node);
            figures.status = NodeStatus::Left;
            figures.credit(account);
        }
        for ban in &bans {
            board.node(&ban.node).status = NodeStatus::Banned;
        }
        board.bans.clone_from(&bans);
        drop(board);
        let checks = Checks::new(options.verification.as_ref());
        Ok(Self {
            state,
            started: Instant::now(),
            parameters,
            accounts: options.start.accounts.clone(),
            rounds: options.start.rounds,
            loss_first: options.start.loss_first,
            bytes_sent: options.start.bytes_sent,
            bytes_every_step: options.start.bytes_every_step,
            bases,
            bans,
            checks,
            announced: None,
            recipe: None,
            shown: BTreeMap::new(),
            deltas: BTreeMap::new(),
            update_norm: 0.0,
            rate: None,
            failure: None,
            options,
        })
    }

    /// Runs until stopped, finished or failed; says which. Nodes are told to stop.
    pub fn run(mut self) -> RunStatus {
        let status = match self.serve() {
            Ok(status) => status,
            Err(error) => RunStatus::Failed(error.to_string()),
        };
        self.options.transport.announce(&Message::Stop).ok();
        self.set_status(status.clone());
        status
    }

    fn serve(&mut self) -> Result<RunStatus, CoordinatorError> {
        let mut ticked = Instant::now();
        loop {
            if self.finished() {
                return Ok(RunStatus::Finished);
            }
            if self.options.control.stopping() {
                return Ok(RunStatus::Stopped);
            }
            self.apply_share()?;
            self.hear_auditor()?;
            match self.options.transport.receive(TICK) {
                Ok(Some(envelope)) => self.on_message(envelope)?,
                Ok(None) => {}
                // Not a message of ours: it is gone, go on.
                Err(TransportError::Codec(_) | TransportError::Version(_)) => {}
                Err(error) => return Err(error.into()),
            }
            // Also under a steady stream of messages, deadlines must be seen.
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.dispatch(&Event::Tick)?;
                let left = self.state.time_left();
                self.options.board.lock().deadline = left.map(|left| Duration::from_micros(left.0));
            }
            if self.state.members().is_empty()
                && let Some(failure) = self.failure.take()
            {
                return Err(CoordinatorError::NodesFailed(failure));
            }
        }
    }

    fn finished(&self) -> bool {
        let limit = self.options.max_tokens;
        limit.is_some_and(|limit| self.state.tokens() >= limit)
    }

    fn now(&self) -> Micros {
        Micros(self.started.elapsed().as_micros() as u64)
    }

    /// Tells nodes their rate when the share or the number of nodes changed.
    fn apply_share(&mut self) -> Result<(), CoordinatorError> {
        let share = self.options.control.share();
        let members = self.inside_members();
        let rate = node_rate_bps(share, self.options.cores, members);
        let rate = self.share_with_auditor((share, rate), members);
        // Nodes elsewhere train also when none does here.
        let pace = if members == 0 { share } else { rate };
        if self.rate != Some((share, rate)) {
            if self.rate.is_none_or(|(before, _)| before != share) {
                self.options.board.lock().share_bps = share;
                let run = self.options.run.clone();
                let share_bps = share;
                self.options
                    .observer
                    .happened(RunEvent::ShareChanged { run, share_bps });
            }
            self.rate = Some((share, rate));
            self.dispatch(&Event::Rate { bps: pace })?;
            self.announce_rate()?;
        }
        let status = match self.state.phase() {
            _ if share == 0 => RunStatus::Paused,
            Phase::WarmUp { .. } => RunStatus::WarmingUp,
            _ => RunStatus::Training,
        };
        self.set_status(status);
        Ok(())
    }

    fn set_status(&mut self, status: RunStatus) {
        let mut board = self.options.board.lock();
        if board.status != status {
            board.status = status.clone();
            drop(board);
            let run = self.options.run.clone();
            self.options
                .observer
                .happened(RunEvent::StatusChanged { run, status });
        }
    }

    fn on_message(&mut self, envelope: Envelope) -> Result<(), CoordinatorError> {
        let node = envelope.from;
        match envelope.message {
            Message::Hello { holds, speed } => self.on_hello(node, holds, speed),
            Message::Progress { tokens, loss, .. } => {
                if loss.is_finite() && self.state.members().contains_key(&node) {
                    let mut board = self.options.board.lock();
                    board.note_step(&node, tokens, loss, Instant::now());
                }
                Ok(())
            }
            Message::Commit {
                round,
                digest,
                tokens,
            } => self.offer(&Event::Commit {
                node,
                round,
                digest,
                tokens,
            }),
            Message::Reveal {
                payload,
                report,
                state,
                ..
            } => self.on_reveal(node, payload, report, state),
            Message::Bye { failure } => self.on_bye(node, failure),
            Message::Lost { reason } => self.on_lost(node, reason),
            _ => Ok(()),
        }
    }

    /// What is shown must hash to what was promised, the state with it.
    fn on_reveal(
        &mut self,
        node: NodeId,
        payload: Digest,
        report: RoundReport,
        state: Option<Digest>,
    ) -> Result<(), CoordinatorError> {
        let Ok(bytes) = self.options.transport.get(&payload) else {
            return Ok(());
        };
        let promised = self.state.open().and_then(|o| o.commitments.get(&node));
        let Some(tokens) = promised.map(|promised| promised.tokens) else {
            self.let_go(&payload, state.as_ref());
            return Ok(());
        };
        let round = self.state.round();
        let event = Event::Reveal {
            node: node.clone(),
            digest: commitment(round, &node, &payload, state.as_ref(), tokens),
        };
        match self.transition(&event) {
            Ok(effects) => {
                let bytes = bytes.len() as u64;
                let shown = Shown {
                    report,
                    payload,
                    bytes,
                    state,
                };
                self.shown.insert(node, shown);
                self.perform(effects)
            }
            Err(error) => {
                tracing::debug!(run = self.options.run, %node, %error, "reveal refused");
                self.let_go(&payload, state.as_ref());
                Ok(())
            }
        }
    }

    fn node_changed(&mut self, node: &NodeId, status: NodeStatus, failure: Option<String>) {
        self.options.board.lock().node(node).status = status;
        self.options.observer.happened(RunEvent::NodeChanged {
            run: self.options.run.clone(),
            node: node.clone(),
            status,
            failure,
        });
    }

    fn transition(&mut self, event: &Event) -> Result<Vec<Effect>, RoundError> {
        let (next, effects) = step(&self.state, event, self.now())?;
        self.state = next;
        Ok(effects)
    }

    /// An event of our own making: refusal is a bug, and stops the run.
    fn dispatch(&mut self, event: &Event) -> Result<(), CoordinatorError> {
        let effects = self.transition(event)?;
        self.perform(effects)
    }

    /// An event on a node's word: refusal is the node's problem.
    fn offer(&mut self, event: &Event) -> Result<(), CoordinatorError> {
        match self.transition(event) {
            Ok(effects) => self.perform(effects),
            Err(error) => {
                tracing::debug!(run = self.options.run, %error, "event refused");
                Ok(())
            }
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), CoordinatorError> {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            let answer = self.perform_one(effect)?;
            if let Some(event) = answer {
                queue.extend(self.transition(&event)?);
            }
        }
        Ok(())
    }

    fn perform_one(&mut self, effect: Effect) -> Result<Option<Event>, CoordinatorError> {
        match effect {
            Effect::Opened {
                round,
                parameters,
                assignments,
                tokens,
                ..
            } => {
                let announcement = RoundAnnouncement {
                    round,
                    parameters,
                    bases: self.bases_of(&assignments),
                    assignments,
                    tokens,
                    save_state: true,
                    recipe: self.recipe.clone(),
                };
                // A finished run's next round would only be withdrawn again.
                if self.finished() {
                    return Ok(None);
                }
                self.announced = Some(announcement.clone());
                self.options
                    .transport
                    .announce(&Message::Open(announcement))?;
            }
            Effect::RequestReveals { round, nodes } => {
                self.options
                    .transport
                    .announce(&Message::RequestReveals { round, nodes })?;
            }
            Effect::Audit { contributions, .. } => {
                let rejected = self.audit(&contributions)?;
                return Ok(Some(Event::Audited { rejected }));
            }
            Effect::Aggregate { contributions, .. } => {
                let parameters = self.aggregate(&contributions)?;
                return Ok(Some(Event::Aggregated { parameters }));
            }
            Effect::Closed {
                next,
                contributions,
                missed,
                duration,
                round,
            } => {
                self.accounts.close_round(round, &contributions, &missed);
                self.close(next, &contributions, missed, duration);
            }
            Effect::Voided { round, reason } => {
                self.clear_round(&BTreeSet::new());
                let reason = format!("{reason:?}");
                let run = self.options.run.clone();
                self.options
                    .observer
                    .happened(RunEvent::RoundVoided { run, round, reason });
            }
            Effect::Evicted { node } => {
                self.forget_base(&node);
                self.node_changed(&node, NodeStatus::Dead, None);
            }
        }
        Ok(None)
    }
}
