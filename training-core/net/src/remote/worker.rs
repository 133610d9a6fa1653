//! A node as a process: joins, gets what the run needs, measures itself, trains.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plumbline_training_core::codec::Scheme;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::OuterStep;
use plumbline_training_core::pacing::FULL_BPS;
use plumbline_training_core::round::NodeId;
use plumbline_training_core::trainer::LocalTrainer;
use plumbline_training_model::{DeviceDescription, DeviceName, Products, Tokenizer, Trainer};

use super::error::PeerError;
use super::member::{Member, MemberOptions};
use super::{CORPUS_BYTES_MAX, Job, TOKENIZER_BYTES_MAX};
use crate::corpus::{Corpus, CorpusError, SequenceSource, SourceSpec, load_sources};
use crate::error::HostError;
use crate::gate::Gate;
use crate::node::{Effort, Meter, NodeError, NodeHandle, NodeOptions};
use crate::rebuild::Rebuild;
use crate::transport::Transport;
use crate::vault::write_atomically;

/// Longest measurement of the own speed.
const MEASURE: Duration = Duration::from_secs(2);
/// Steps that it takes at most; the first is not counted.
const MEASURE_STEPS: u32 = 4;
/// Sequences it is taken on: no round gets there.
const NOWHERE: u64 = 1 << 61;

/// A node of a run elsewhere.
pub struct Worker {
    id: NodeId,
    job: Job,
    device: DeviceDescription,
    products: Products,
    speed: u64,
    measured: f64,
    handle: NodeHandle,
}

/// Why a node process could not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The coordinator or the network.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Its own data.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// Its files.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The model or the tokenizer.
    #[error(transparent)]
    Model(#[from] plumbline_training_model::ModelError),
    /// The replica.
    #[error(transparent)]
    Trainer(#[from] plumbline_training_core::trainer::TrainerError),
    /// The training.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Own data where work is checked.
    #[error(
        "this run does contributions again to check them, on its own data: join without a folder of yours"
    )]
    OwnData,
}

impl Worker {
    /// Joins and begins to train on `device`. `data` is trained on instead of the run's
    /// corpus, where the run does not check.
    ///
    /// # Errors
    /// [`WorkerError`]; see there.
    pub fn start(
        options: MemberOptions,
        data: Option<&Path>,
        device: DeviceName,
    ) -> Result<Self, WorkerError> {
        // Before anybody is told of it: a node without its device is none.
        let found = device.describe()?;
        let folder = options.folder.clone();
        let share = options.max_share_bps.min(FULL_BPS);
        let (member, job, parameters) = Member::join(options)?;
        if job.verified && data.is_some() {
            return Err(WorkerError::OwnData);
        }
        let corpus = match data {
            Some(path) => own_corpus(&member, &job, path)?,
            None => shared_corpus(&member, &job, &folder)?,
        };
        corpus.check_length(job.model.sequence)?;
        // Before hello, so that no round waits for it. If it is gone by now, the
        // next announcement names another.
        if let Some(parameters) = parameters {
            member.fetch(&parameters, job.payload_most()).ok();
        }
        // Who does this work again does it on a processor.
        let products = Products::of_run(job.verified).on(device);
        let place = (device, products);
        let whole = measure(&job, &corpus, place)?;
        let speed = whole.saturating_mul(u64::from(share)) / u64::from(FULL_BPS);
        let (model, optimizer, seed) = (job.model.clone(), job.optimizer, job.seed);
        let id = member.id().clone();
        let handle = NodeHandle::spawn(NodeOptions {
            transport: Box::new(member),
            trainer: Box::new(move || Ok(Box::new(Trainer::on(model, optimizer, seed, place)?))),
            effort: Effort::on(device),
            data: Arc::new(corpus),
            plan: job.plan,
            gate: Arc::new(Gate::new(1)),
            lane: 0,
            speed,
            rebuild: match job.plan.scheme {
                Scheme::SparseLoCo(options) => Some(Rebuild {
                    aggregator: job.aggregator.build(),
                    outer: OuterStep::Plain(options.rate),
                }),
                _ => None,
            },
        })?;
        let worker = Self {
            id,
            measured: tokens_per_second(&job, whole),
            device: found,
            products,
            job,
            speed,
            handle,
        };
        tracing::info!(
            device = %worker.device,
            %products,
            tokens_per_second = worker.measured,
            model_flops_utilisation = worker.utilisation(),
            "measured before joining"
        );
        Ok(worker)
    }

    /// The node's name: its key.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What the run is about.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Tokens per second by its own measure, at the share that it gives.
    pub fn tokens_per_second(&self) -> f64 {
        tokens_per_second(&self.job, self.speed)
    }

    /// What it trains on.
    pub fn device(&self) -> &DeviceDescription {
        &self.device
    }

    /// The type of its matrix products.
    pub fn products(&self) -> Products {
        self.products
    }

    /// The share of the device's bf16 peak that the model's arithmetic reached in that measurement, at full speed; none where
    /// the peak is not known.
    pub fn utilisation(&self) -> Option<f64> {
        self.device.utilisation(&self.job.model, self.measured)
    }

    /// How it spends its time.
    pub fn meter(&self) -> &Meter {
        self.handle.meter()
    }

    /// Whether it is still at it.
    pub fn is_alive(&self) -> bool {
        self.handle.is_alive()
    }

    /// Says goodbye after the inner step in progress; its work goes back.
    pub fn leave(&self) {
        self.handle.leave();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`WorkerError::Node`]: what the node stopped for, when nobody told it to.
    pub fn finish(self) -> Result<(), WorkerError> {
        Ok(self.handle.finish()?)
    }
}

/// The run's corpus, from this node's folder or from the others.
fn shared_corpus(member: &Member, job: &Job, folder: &Path) -> Result<Corpus, WorkerError> {
    let path: PathBuf = folder.join("corpus");
    let kept = std::fs::read(&path).ok();
    let bytes = match kept.filter(|bytes| Digest::of(bytes) == job.corpus) {
        Some(kept) => {
            member.hold(kept);
            member.fetch(&job.corpus, CORPUS_BYTES_MAX)?
        }
        None => {
            let bytes = member.fetch_for_good(&job.corpus, CORPUS_BYTES_MAX)?;
            // Only for the next start: without it, it is fetched again.
            if let Err(error) = write_atomically(&path, &bytes) {
                tracing::warn!(%error, "the corpus is not kept");
            }
            bytes
        }
    };
    Ok(Corpus::from_bytes(&bytes, job.model.vocabulary)?)
}

fn own_corpus(member: &Member, job: &Job, path: &Path) -> Result<Corpus, WorkerError> {
    let bytes = member.fetch_for_good(&job.tokenizer, TOKENIZER_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let tokenizer = Tokenizer::from_json(&text)?;
    let sources = load_sources(&[SourceSpec::path("data", path)], job.seed)?;
    let encode = |text: &str| tokenizer.encode(text);
    Ok(Corpus::tokenise(
        sources,
        job.seed,
        tokenizer.separator(),
        &encode,
    )?)
}

/// What `sequences` in 1,000 seconds are in tokens per second.
fn tokens_per_second(job: &Job, sequences: u64) -> f64 {
    sequences as f64 * job.plan.length as f64 / 1_000.0
}

/// Sequences in 1,000 seconds on a core, or a GPU, that is all its own.
fn measure(job: &Job, corpus: &Corpus, place: (DeviceName, Products)) -> Result<u64, WorkerError> {
    let mut trainer = Trainer::on(job.model.clone(), job.optimizer, job.seed, place)?;
    let (batch, length) = (job.plan.batch, job.plan.length);
    let mut begun = Instant::now();
    let mut steps = 0_u64;
    for step in 0..MEASURE_STEPS {
        let rows = corpus.batch(NOWHERE + u64::from(step) * batch as u64, batch, length);
        trainer.step(&rows, 0.0)?;
        // The first step also makes buffers.
        if step == 0 && begun.elapsed() < MEASURE {
            begun = Instant::now();
        } else {
            steps += 1;
        }
        if begun.elapsed() >= MEASURE {
            break;
        }
    }
    let micros = begun.elapsed().as_micros().max(1);
    let sequences = u128::from(steps.max(1)) * batch as u128 * 1_000_000_000 / micros;
    Ok(u64::try_from(sequences).unwrap_or(u64::MAX))
}
