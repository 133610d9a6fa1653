//! The life of one run on its own thread: prepare, train, save, leave.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plumbline_training_core::codec::{Geometry, Scheme};
use plumbline_training_core::contribution::Accounts;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::{Nesterov, OuterStep};
use plumbline_training_core::round::{DeadlineRule, NodeId, Origin, RoundRules};
use plumbline_training_core::time::Micros;
use plumbline_training_core::trainer::LocalTrainer;
use plumbline_training_model::{
    Checkpoint, DeviceName, Layout, Model, ModelConfig, Products, Tokenizer, Trainer,
};

use super::{Run, Subscribers, is_complete, lock};
use crate::auditor::{Auditor, AuditorOptions};
use crate::board::Snapshot;
use crate::coordinator::{
    COORDINATOR, Coordinator, CoordinatorOptions, Observer, Outer, Verification,
};
use crate::corpus::{Corpus, RawSource};
use crate::error::HostError;
use crate::gate::Gate;
use crate::node::{Effort, InnerPlan, NodeHandle, NodeOptions};
use crate::remote::{Gateway, Job, Network};
use crate::run::{HistoryPoint, RunEvent, RunSpec, RunStatus};
use crate::transport::{LocalHub, TransportLimits};
use crate::vault::snapshot_of;

/// Most text that the tokenizer is trained on, bytes.
const TOKENIZER_BYTES_MAX: usize = 4 << 20;

/// What a run's thread begins with.
pub(super) struct Start {
    pub(super) run: Arc<Run>,
    pub(super) gate: Arc<Gate>,
    pub(super) cores: usize,
    pub(super) device: DeviceName,
    pub(super) subscribers: Arc<Subscribers>,
    pub(super) sources: Vec<RawSource>,
    pub(super) resumed: Option<(Snapshot, Tokenizer)>,
    pub(super) network: Option<Arc<Network>>,
}

/// A prepared run.
pub(crate) struct Live {
    pub(crate) tokenizer: Tokenizer,
    data: Arc<Corpus>,
    hub: LocalHub,
    nodes: Vec<NodeHandle>,
    named: AtomicUsize,
    device: DeviceName,
    pub(super) gateway: Option<Gateway>,
}

/// The newest checkpoint of a run, if it has one that fits `spec`.
pub(super) fn resume(
    spec: &RunSpec,
    vault: &crate::vault::Vault,
) -> Result<Option<(Snapshot, Tokenizer)>, HostError> {
    let Some(newest) = vault.newest() else {
        return Ok(None);
    };
    let checkpoint = Checkpoint::load(&newest.path)?;
    let incompatible = |reason: &str| HostError::Incompatible {
        path: newest.path.clone(),
        reason: reason.to_owned(),
    };
    if checkpoint.config != spec.model {
        return Err(incompatible("its model has another shape"));
    }
    let snapshot = snapshot_of(&spec.id, &newest.path, &checkpoint)?;
    if snapshot.origin.run_seed != spec.seed {
        return Err(incompatible("it has another seed"));
    }
    Ok(Some((snapshot, checkpoint.tokenizer)))
}

/// Runs until the end; whatever happens is on the board afterwards.
pub(super) fn live(start: Start) {
    let run = Arc::clone(&start.run);
    let subscribers = Arc::clone(&start.subscribers);
    let status = match train(start) {
        Ok(status) => status,
        Err(error) => RunStatus::Failed(error.to_string()),
    };
    if let RunStatus::Failed(reason) = &status {
        tracing::error!(run = run.spec.id, reason, "run failed");
    }
    let mut board = run.board.lock();
    let news = board.status != status;
    board.status = status.clone();
    drop(board);
    if news {
        let run = run.spec.id.clone();
        subscribers.tell(&RunEvent::StatusChanged { run, status });
    }
}

fn train(start: Start) -> Result<RunStatus, HostError> {
    let Start {
        run,
        gate,
        cores,
        device,
        subscribers,
        sources,
        resumed,
        network,
    } = start;
    let spec = &run.spec;
    let (snapshot, tokenizer) = match resumed {
        Some((snapshot, tokenizer)) => (snapshot, tokenizer),
        None => begin(spec, &sources)?,
    };
    let encode = |text: &str| tokenizer.encode(text);
    let data = Corpus::tokenise(sources, spec.seed, tokenizer.separator(), &encode)?;
    data.check_length(spec.model.sequence)?;
    let data = Arc::new(data);
    let hub = LocalHub::new(limits_of(spec));
    let keeper = Keeper::new(&run, &tokenizer, subscribers)?;
    let complete = is_complete(spec, &snapshot);
    let coordinator = Coordinator::new(CoordinatorOptions {
        run: spec.id.clone(),
        rules: rules_of(spec),
        scheme: spec.scheme,
        geometry: geometry_of(&spec.model)?,
        outer: outer_of(spec, &snapshot)?,
        verification: verification_of(spec, &data, (&gate, run.lane), device)?,
        start: snapshot,
        aggregator: spec.aggregator.build(),
        transport: Box::new(hub.connect(NodeId::new(COORDINATOR).map_err(spec_error)?)?),
        board: Arc::clone(&run.board),
        control: Arc::clone(&run.control),
        cores,
        max_tokens: spec.max_tokens,
        observer: Box::new(keeper),
    })?;
    let gateway = match network {
        Some(network) if !complete => open_to_others(&network, &run, &hub, &data, &tokenizer)?,
        _ => None,
    };
    let mut live = Live {
        tokenizer,
        data,
        hub,
        nodes: Vec::new(),
        named: AtomicUsize::new(0),
        device,
        gateway,
    };
    if !complete {
        for _ in 0..spec.nodes {
            live.add_node(spec, &gate, run.lane)?;
        }
    }
    *lock(&run.live) = Some(live);
    let status = coordinator.run();
    leave(&run);
    Ok(status)
}

/// Saves the last closed round and waits for the nodes.
fn leave(run: &Run) {
    let (nodes, gateway, tokenizer) = match &mut *lock(&run.live) {
        Some(live) => (
            std::mem::take(&mut live.nodes),
            live.gateway.take(),
            live.tokenizer.clone(),
        ),
        None => return,
    };
    drop(gateway);
    nodes.iter().for_each(NodeHandle::kill);
    nodes.into_iter().for_each(NodeHandle::join);
    let snapshot = run.board.lock().snapshot.clone();
    if let Some(snapshot) = snapshot
        && snapshot.rounds > 0
    {
        let spec = &run.spec;
        let saved = run
            .vault
            .save(&spec.id, &spec.model, &tokenizer, &snapshot, false);
        if let Err(error) = saved {
            tracing::error!(run = spec.id, %error, "the last checkpoint was not saved");
        }
    }
}

fn spec_error(error: impl std::fmt::Display) -> HostError {
    HostError::Spec(error.to_string())
}

/// Rounds go on with one node when others are gone; the first waits a little
/// so that nodes which start together are together in it.
fn rules_of(spec: &RunSpec) -> RoundRules {
    let sequences = spec.inner_steps * spec.batch as u64;
    let outside = spec.outside.as_ref();
    RoundRules {
        quorum: outside.map_or(1, |rules| rules.quorum),
        max_members: 64,
        warm_up: Micros::from_millis(300),
        reveal: Micros::from_secs(30),
        cooldown: Micros(0),
        deadline: DeadlineRule::default(),
        max_age: 0,
        max_missed: 1,
        // Machines differ; threads of one machine do not.
        unit: outside.map_or(0, |_| spec.batch as u64),
        sequences_per_node: sequences,
        tokens_per_node: sequences * spec.model.sequence as u64,
    }
}

fn geometry_of(model: &ModelConfig) -> Result<Geometry, HostError> {
    let slots = Layout::new(model);
    let shapes: Vec<[usize; 2]> = slots.slots().iter().map(|slot| slot.shape).collect();
    Geometry::new(&shapes).map_err(spec_error)
}

/// The outer optimiser as the snapshot left it.
fn outer_of(spec: &RunSpec, snapshot: &Snapshot) -> Result<Outer, HostError> {
    Ok(match spec.scheme {
        Scheme::DiLoCo => {
            let mut velocity = snapshot.velocity.to_vec();
            velocity.resize(snapshot.parameters.len(), 0.0);
            Outer::Step(OuterStep::Nesterov(Nesterov::resume(spec.outer, velocity)))
        }
        Scheme::SparseLoCo(options) => Outer::Step(OuterStep::Plain(options.rate)),
        Scheme::EveryStep => {
            let mut trainer = Trainer::new(spec.model.clone(), spec.optimizer, spec.seed)?;
            if !snapshot.central.is_empty() {
                trainer.restore_optimizer(&snapshot.central)?;
            }
            Outer::Central {
                trainer: Box::new(trainer),
                schedule: spec.schedule,
            }
        }
    })
}

fn plan_of(spec: &RunSpec) -> InnerPlan {
    InnerPlan {
        batch: spec.batch,
        length: spec.model.sequence,
        schedule: spec.schedule,
        scheme: spec.scheme,
    }
}

/// Work and states of nodes elsewhere are bounded by the model's size, so that
/// strangers cannot fill the memory.
fn limits_of(spec: &RunSpec) -> TransportLimits {
    let limits = TransportLimits::default();
    if spec.outside.is_none() {
        return limits;
    }
    let vector = 4 * spec.model.parameter_count() + (1 << 12);
    // Each node's contribution and state, twice; the corpus and its tokenizer.
    let nodes = 128 * 12 * vector;
    TransportLimits {
        store_bytes: limits.store_bytes.min(nodes + (512 << 20)),
        ..limits
    }
}

/// Publishes what nodes elsewhere need, and lets them in.
fn open_to_others(
    network: &Network,
    run: &Run,
    hub: &LocalHub,
    data: &Corpus,
    tokenizer: &Tokenizer,
) -> Result<Option<Gateway>, HostError> {
    let spec = &run.spec;
    let Some(rules) = spec.outside.clone() else {
        return Ok(None);
    };
    let job = Job {
        run: spec.id.clone(),
        name: spec.name.clone(),
        model: spec.model.clone(),
        optimizer: spec.optimizer,
        seed: spec.seed,
        plan: plan_of(spec),
        aggregator: spec.aggregator,
        corpus: hub.put(data.to_bytes()?)?,
        tokenizer: hub.put(tokenizer.to_json().into_bytes())?,
        verified: spec.verify.is_some(),
    };
    Ok(Some(network.open_run(
        hub.clone(),
        job,
        rules,
        Arc::clone(&run.control),
    )?))
}

fn verification_of(
    spec: &RunSpec,
    data: &Arc<Corpus>,
    (gate, lane): (&Arc<Gate>, u64),
    device: DeviceName,
) -> Result<Option<Verification>, HostError> {
    let Some(rules) = spec.verify else {
        return Ok(None);
    };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(spec_error)?;
    let (model, optimizer, seed) = (spec.model.clone(), spec.optimizer, spec.seed);
    let auditor = Auditor::spawn(AuditorOptions {
        trainer: Box::new(move || Ok(Box::new(Trainer::new(model, optimizer, seed)?))),
        data: data.clone(),
        plan: plan_of(spec),
        // On a GPU the permit is the GPU's, and the auditor works beside it.
        gate: match device.is_cpu() {
            true => Arc::clone(gate),
            false => Arc::new(Gate::new(1)),
        },
        lane,
    })?;
    Ok(Some(Verification {
        rules,
        secret,
        auditor,
        exact: device.is_cpu(),
        batch: spec.batch,
    }))
}

/// Trains the tokenizer on documents of all sources in turn, so that a small
/// source is represented too.
fn train_tokenizer(sources: &[RawSource], vocabulary: usize) -> Result<Tokenizer, HostError> {
    let most = sources.iter().map(|s| s.documents.len()).max().unwrap_or(0);
    let mut left = TOKENIZER_BYTES_MAX;
    let mut texts: Vec<String> = Vec::new();
    'all: for position in 0..most {
        for document in sources.iter().filter_map(|s| s.documents.get(position)) {
            if document.text.len() > left {
                break 'all;
            }
            left -= document.text.len();
            texts.push(document.text.clone());
        }
    }
    if texts.is_empty() {
        // One huge document: its beginning will do.
        let document = sources.iter().find_map(|s| s.documents.first());
        let chars = document.map(|d| d.text.chars().take(TOKENIZER_BYTES_MAX / 4));
        texts.extend(chars.map(Iterator::collect::<String>));
    }
    Ok(Tokenizer::train(texts.into_iter(), vocabulary)?)
}

/// Where a run begins that has no checkpoint: at a model that was given, or afresh.
fn begin(spec: &RunSpec, sources: &[RawSource]) -> Result<(Snapshot, Tokenizer), HostError> {
    let Some(path) = &spec.from else {
        let tokenizer = train_tokenizer(sources, spec.model.vocabulary)?;
        let trainer = Trainer::new(spec.model.clone(), spec.optimizer, spec.seed)?;
        return Ok((first_snapshot(spec, trainer.parameters()?), tokenizer));
    };
    let model = Model::import(path)?;
    if model.config != spec.model {
        return Err(HostError::Incompatible {
            path: path.clone(),
            reason: "its model has another shape".to_owned(),
        });
    }
    Ok((first_snapshot(spec, model.parameters), model.tokenizer))
}

fn first_snapshot(spec: &RunSpec, parameters: Vec<f32>) -> Snapshot {
    Snapshot {
        origin: Origin {
            run_seed: spec.seed,
            round: 0,
            parameters: Digest::default(),
            cursor: 0,
            tokens: 0,
        },
        rounds: 0,
        velocity: Arc::new(vec![0.0; parameters.len()]),
        parameters: Arc::new(parameters),
        central: Arc::default(),
        states: Default::default(),
        held: Default::default(),
        accounts: Accounts::default(),
        bans: Vec::new(),
        loss_first: None,
        loss_last: None,
        bytes_sent: 0,
        bytes_every_step: 0,
    }
}

impl Live {
    /// Starts one more node thread.
    pub(crate) fn add_node(
        &mut self,
        spec: &RunSpec,
        gate: &Arc<Gate>,
        lane: u64,
    ) -> Result<NodeId, HostError> {
        let number = self.named.fetch_add(1, Ordering::Relaxed) + 1;
        let id = NodeId::new(format!("node-{number}")).map_err(spec_error)?;
        let (model, optimizer, seed) = (spec.model.clone(), spec.optimizer, spec.seed);
        let device = self.device;
        // The auditor does this work again on the processor.
        let place = (device, Products::of_run(spec.verify.is_some()));
        let handle = NodeHandle::spawn(NodeOptions {
            transport: Box::new(self.hub.connect(id.clone())?),
            trainer: Box::new(move || Ok(Box::new(Trainer::on(model, optimizer, seed, place)?))),
            effort: Effort::on(device),
            data: self.data.clone(),
            plan: plan_of(spec),
            gate: Arc::clone(gate),
            lane,
            speed: 0,
            rebuild: None,
        })?;
        self.nodes.push(handle);
        Ok(id)
    }

    /// `false` when there is no such node.
    pub(crate) fn kill_node(&mut self, node: &str) -> bool {
        let position = self
            .nodes
            .iter()
            .position(|handle| handle.id().as_str() == node);
        // Dropping the handle kills; nobody waits for a crash.
        position
            .map(|position| drop(self.nodes.remove(position)))
            .is_some()
    }
}

/// Writes a run's history and periodic checkpoints, and passes events on.
struct Keeper {
    run: Arc<Run>,
    tokenizer: Tokenizer,
    subscribers: Arc<Subscribers>,
    history: File,
}

impl Keeper {
    fn new(
        run: &Arc<Run>,
        tokenizer: &Tokenizer,
        subscribers: Arc<Subscribers>,
    ) -> Result<Self, HostError> {
        let path = run.folder.join("history.jsonl");
        let history = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(HostError::io(&path))?;
        Ok(Self {
            run: Arc::clone(run),
            tokenizer: tokenizer.clone(),
            subscribers,
            history,
        })
    }

    fn checkpoint(&self, snapshot: &Snapshot) {
        let spec = &self.run.spec;
        let saved = self
            .run
            .vault
            .save(&spec.id, &spec.model, &self.tokenizer, snapshot, false);
        match saved {
            Ok((checkpoint, true)) => {
                let run = spec.id.clone();
                self.subscribers
                    .tell(&RunEvent::CheckpointSaved { run, checkpoint });
            }
            Ok((_, false)) => {}
            // A full disk must not stop the training; the next period tries again.
            Err(error) => tracing::error!(run = spec.id, %error, "checkpoint not saved"),
        }
    }
}

impl Observer for Keeper {
    fn round_closed(&mut self, snapshot: &Arc<Snapshot>, point: &HistoryPoint) {
        let run = self.run.spec.id.clone();
        if let Ok(mut line) = serde_json::to_vec(point) {
            line.push(b'\n');
            if let Err(error) = self.history.write_all(&line) {
                tracing::warn!(run, %error, "history not written");
            }
        }
        let every = self.run.spec.checkpoint_every;
        if every > 0 && snapshot.rounds.is_multiple_of(every) {
            self.checkpoint(snapshot);
        }
        let point = point.clone();
        self.subscribers.tell(&RunEvent::RoundClosed { run, point });
    }

    fn happened(&mut self, event: RunEvent) {
        self.subscribers.tell(&event);
    }
}
