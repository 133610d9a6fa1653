//! The embedded host: several runs on one machine.
//!
//! Each run has a coordinator thread and its node threads. All nodes of all
//! runs share one permit gate of as many permits as cores, and every node is
//! paced to its run's share of the machine:
//! `rate per node = min(1, share × cores / nodes)` cores. On a GPU there is one
//! permit, and the share is one of the device's time.
//!
//! Under `data_dir/runs/<id>/` a run keeps `spec.json`, `history.jsonl` and
//! `checkpoints/`. Starting a run whose folder has a checkpoint goes on from
//! the newest: parameters, outer momentum, inner optimiser states, token count
//! and data cursor continue as if nothing had happened. A round that was under
//! way is trained again.

mod life;
mod outside;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use plumbline_training_core::pacing::FULL_BPS;
use plumbline_training_core::round::NodeId;
use plumbline_training_model::{Checkpoint, DeviceName, Generator};

use crate::board::{Board, Control, Snapshot};
use crate::corpus::load_sources;
use crate::error::HostError;
use crate::gate::Gate;
use crate::remote::Network;
use crate::run::{CheckpointRef, HistoryPoint, RunEvent, RunSpec, RunStats};
use crate::serving::Serving;
use crate::vault::{Vault, write_atomically};
use life::{Live, Start};

/// Generators of checkpoints kept ready.
const GENERATORS_MAX: usize = 8;
/// Rounds read back from a history file.
const HISTORY_READ_MAX: usize = 20_000;

/// Where and with what a host works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// Folder for runs; created if missing.
    pub data_dir: PathBuf,
    /// Cores to use; 0 for all that this process may use. On a GPU its nodes take turns, whatever the number.
    pub cores: usize,
    /// What nodes of this host train on.
    pub device: DeviceName,
}

type Callback = Arc<dyn Fn(&RunEvent) + Send + Sync>;

/// Several runs on one machine. Clones are the same host; when the last one is
/// dropped its runs are stopped.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    data_dir: PathBuf,
    pub(crate) cores: usize,
    device: DeviceName,
    pub(crate) gate: Arc<Gate>,
    runs: Mutex<BTreeMap<String, Arc<Run>>>,
    subscribers: Arc<Subscribers>,
    network: OnceLock<Arc<Network>>,
    /// Least recently used first.
    generators: Mutex<VecDeque<(String, Arc<Generator>)>>,
    serving: Serving,
}

/// Whoever wants to hear of events.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<Vec<Callback>>);

impl Subscribers {
    pub(crate) fn tell(&self, event: &RunEvent) {
        // Not under the lock: a callback may subscribe another.
        let callbacks = lock(&self.0).clone();
        for callback in callbacks {
            callback(event);
        }
    }
}

/// One run as the host knows it.
pub(crate) struct Run {
    pub(crate) spec: RunSpec,
    pub(crate) lane: u64,
    pub(crate) folder: PathBuf,
    pub(crate) board: Arc<Board>,
    pub(crate) control: Arc<Control>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) live: Mutex<Option<Live>>,
    generator: Mutex<Option<(u64, Arc<Generator>)>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Caches and handles: usable whoever died while holding them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// A host without runs.
    ///
    /// # Errors
    /// [`HostError::Io`] when the data folder cannot be made.
    pub fn start(options: HostOptions) -> Result<Self, HostError> {
        let runs = options.data_dir.join("runs");
        fs::create_dir_all(&runs).map_err(HostError::io(&runs))?;
        let cores = match options.cores {
            // One device, whose time is handed out like a core's.
            _ if !options.device.is_cpu() => 1,
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            cores => cores,
        };
        let shared = Shared {
            data_dir: options.data_dir,
            cores,
            device: options.device,
            gate: Arc::new(Gate::new(cores)),
            runs: Mutex::default(),
            subscribers: Arc::default(),
            network: OnceLock::new(),
            generators: Mutex::default(),
            serving: Serving::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Cores that shares are shares of.
    pub fn cores(&self) -> usize {
        self.shared.cores
    }

    /// The folder given at the start.
    pub fn data_dir(&self) -> &Path {
        &self.shared.data_dir
    }

    /// Calls `callback` for every event of every run from now on, on the run's
    /// own thread: it must be quick and must not wait for the host.
    pub fn subscribe(&self, callback: impl Fn(&RunEvent) + Send + Sync + 'static) {
        lock(&self.shared.subscribers.0).push(Arc::new(callback));
    }

    /// Starts a run, or goes on with it if its folder has a checkpoint. Reads
    /// its data before it returns; tokenising happens on the run's thread
    /// ([`Preparing`](crate::run::RunStatus::Preparing)).
    ///
    /// # Errors
    /// [`HostError::Spec`], [`HostError::AlreadyRunning`], [`HostError::Corpus`],
    /// [`HostError::Incompatible`], and [`HostError::Model`] naming a
    /// checkpoint that is corrupt.
    pub fn start_run(&self, spec: RunSpec) -> Result<(), HostError> {
        if let Some(problem) = spec.problem() {
            return Err(HostError::Spec(problem));
        }
        spec.model.validate()?;
        let mut runs = lock(&self.shared.runs);
        if let Some(run) = runs.get(&spec.id)
            && !run.board.lock().status.is_over()
        {
            return Err(HostError::AlreadyRunning(spec.id));
        }
        let folder = self.shared.data_dir.join("runs").join(&spec.id);
        let vault = Vault::open(&folder.join("checkpoints"), spec.keep_checkpoints)?;
        let resumed = life::resume(&spec, &vault)?;
        let sources = load_sources(&spec.sources, spec.seed)?;
        let json = serde_json::to_vec_pretty(&spec).map_err(HostError::io(&folder))?;
        write_atomically(&folder.join("spec.json"), &json)?;
        let rounds = resumed.as_ref().map_or(0, |(snapshot, _)| snapshot.rounds);
        let history = read_history(&folder.join("history.jsonl"), rounds)?;
        let run = Arc::new(Run {
            lane: runs.len() as u64,
            folder,
            board: Arc::new(Board::new(history)),
            control: Arc::new(Control::new(spec.share_bps)),
            vault: Arc::new(vault),
            live: Mutex::default(),
            generator: Mutex::default(),
            thread: Mutex::default(),
            spec,
        });
        let start = Start {
            run: Arc::clone(&run),
            gate: Arc::clone(&self.shared.gate),
            device: self.shared.device,
            cores: self.shared.cores,
            subscribers: Arc::clone(&self.shared.subscribers),
            sources,
            resumed,
            network: self.shared.network.get().cloned(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("run-{}", run.spec.id))
            .spawn(move || life::live(start))
            .map_err(HostError::io(&run.folder))?;
        *lock(&run.thread) = Some(thread);
        runs.insert(run.spec.id.clone(), run);
        Ok(())
    }

    /// Ids of the runs started here, also those that are over.
    pub fn runs(&self) -> Vec<String> {
        lock(&self.shared.runs).keys().cloned().collect()
    }

    /// Specifications of every run that has a folder, so that they can be
    /// started again after a restart.
    ///
    /// # Errors
    /// [`HostError::Io`] naming a specification that cannot be read.
    pub fn stored_runs(&self) -> Result<Vec<RunSpec>, HostError> {
        let folder = self.shared.data_dir.join("runs");
        let mut specs = Vec::new();
        for entry in fs::read_dir(&folder)
            .map_err(HostError::io(&folder))?
            .flatten()
        {
            let path = entry.path().join("spec.json");
            match fs::read(&path) {
                Ok(bytes) => {
                    specs.push(serde_json::from_slice(&bytes).map_err(HostError::io(&path))?);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(HostError::io(&path)(error)),
            }
        }
        specs.sort_by(|a: &RunSpec, b| a.id.cmp(&b.id));
        Ok(specs)
    }

    /// The specification that a run was started with.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn spec(&self, run: &str) -> Result<RunSpec, HostError> {
        Ok(self.run(run)?.spec.clone())
    }

    /// Sets a run's share of the machine, basis points; more than all is all.
    /// It is in force within 25 ms and with each node's inner step in hand.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn set_share_bps(&self, run: &str, share_bps: u32) -> Result<(), HostError> {
        self.run(run)?.control.set_share(share_bps.min(FULL_BPS));
        Ok(())
    }

    /// Stops training but keeps everything, also the round under way.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn pause(&self, run: &str) -> Result<(), HostError> {
        self.run(run)?.control.set_paused(true);
        Ok(())
    }

    /// Goes on with the share that was set last.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn resume(&self, run: &str) -> Result<(), HostError> {
        self.run(run)?.control.set_paused(false);
        Ok(())
    }

    /// Ends a run: saves its last closed round, stops its threads and waits
    /// for them. It can be started again.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn stop(&self, run: &str) -> Result<(), HostError> {
        self.run(run)?.halt();
        Ok(())
    }

    /// Asks a run to end, without waiting for it.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn ask_to_stop(&self, run: &str) -> Result<(), HostError> {
        self.run(run)?.control.stop();
        Ok(())
    }

    /// A run's figures.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn stats(&self, run: &str) -> Result<RunStats, HostError> {
        Ok(self.run(run)?.stats())
    }

    /// Closed rounds after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn history_after(
        &self,
        run: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<HistoryPoint>, HostError> {
        let run = self.run(run)?;
        let board = run.board.lock();
        let first = board.history.partition_point(|point| point.round <= after);
        Ok(board
            .history
            .iter()
            .skip(first)
            .take(limit)
            .cloned()
            .collect())
    }

    /// All closed rounds, oldest first.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn history(&self, run: &str) -> Result<Vec<HistoryPoint>, HostError> {
        self.history_after(run, 0, usize::MAX)
    }

    /// Writes the last closed round as a checkpoint and pins it.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], [`HostError::NotReady`] before its data is
    /// prepared, [`HostError::Model`] or [`HostError::Io`] naming the file.
    pub fn checkpoint_now(&self, run: &str) -> Result<CheckpointRef, HostError> {
        let run = self.run(run)?;
        let (snapshot, tokenizer) = run.current()?;
        let spec = &run.spec;
        let (checkpoint, written) =
            run.vault
                .save(&spec.id, &spec.model, &tokenizer, &snapshot, true)?;
        if written {
            self.shared.subscribers.tell(&RunEvent::CheckpointSaved {
                run: spec.id.clone(),
                checkpoint: checkpoint.clone(),
            });
        }
        Ok(checkpoint)
    }

    /// A run's checkpoints, oldest first.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub fn checkpoints(&self, run: &str) -> Result<Vec<CheckpointRef>, HostError> {
        Ok(self.run(run)?.vault.list())
    }

    /// The run that a checkpoint belongs to, and where it is.
    pub fn find_checkpoint(&self, id: &str) -> Option<(String, CheckpointRef)> {
        let runs = lock(&self.shared.runs);
        runs.iter()
            .find_map(|(run, state)| Some((run.clone(), state.vault.find(id)?)))
    }

    /// A generator for a run's newest published parameters.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], [`HostError::NotReady`], [`HostError::Model`].
    pub fn generator(&self, run: &str) -> Result<Arc<Generator>, HostError> {
        Ok(self.newest(run)?.1)
    }

    /// The round after which a run's newest parameters were published, and a
    /// generator for them.
    ///
    /// # Errors
    /// As [`Host::generator`].
    pub fn newest(&self, run: &str) -> Result<(u64, Arc<Generator>), HostError> {
        self.run(run)?.newest_generator()
    }

    /// The threads that answer many callers at once.
    pub fn serving(&self) -> &Serving {
        &self.shared.serving
    }

    /// A generator for a checkpoint of any run here.
    ///
    /// # Errors
    /// [`HostError::UnknownCheckpoint`]; [`HostError::Model`] naming a file
    /// that is corrupt.
    pub fn generator_for_checkpoint(&self, id: &str) -> Result<Arc<Generator>, HostError> {
        let mut ready = lock(&self.shared.generators);
        if let Some(position) = ready.iter().position(|(known, _)| known == id)
            && let Some(entry) = ready.remove(position)
        {
            let generator = Arc::clone(&entry.1);
            ready.push_back(entry);
            return Ok(generator);
        }
        drop(ready);
        let (_, found) = self
            .find_checkpoint(id)
            .ok_or_else(|| HostError::UnknownCheckpoint(id.to_owned()))?;
        let checkpoint = Checkpoint::load(&found.path)?;
        let generator = Arc::new(Generator::from_checkpoint(&checkpoint)?);
        let mut ready = lock(&self.shared.generators);
        ready.push_back((id.to_owned(), Arc::clone(&generator)));
        while ready.len() > GENERATORS_MAX {
            ready.pop_front();
        }
        Ok(generator)
    }

    /// Adds a node to a running run; it takes part from the next round on.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], [`HostError::NotReady`], [`HostError::Node`].
    pub fn add_node(&self, run: &str) -> Result<NodeId, HostError> {
        let run = self.run(run)?;
        let mut live = lock(&run.live);
        let status = run.board.lock().status.as_str();
        let live = live
            .as_mut()
            .ok_or_else(|| HostError::NotReady(run.spec.id.clone(), status))?;
        live.add_node(&run.spec, &self.shared.gate, run.lane)
    }

    /// Makes a node vanish without a word, as a crash does. The run goes on
    /// without it.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`], [`HostError::UnknownNode`].
    pub fn kill_node(&self, run: &str, node: &str) -> Result<(), HostError> {
        let run = self.run(run)?;
        let mut live = lock(&run.live);
        let killed = live.as_mut().is_some_and(|live| live.kill_node(node));
        let unknown = || HostError::UnknownNode(run.spec.id.clone(), node.to_owned());
        killed.then_some(()).ok_or_else(unknown)
    }

    fn run(&self, id: &str) -> Result<Arc<Run>, HostError> {
        let runs = lock(&self.shared.runs);
        let unknown = || HostError::UnknownRun(id.to_owned());
        runs.get(id).cloned().ok_or_else(unknown)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let runs: Vec<Arc<Run>> = lock(&self.runs).values().cloned().collect();
        // Ask all before waiting for any.
        runs.iter().for_each(|run| run.control.stop());
        runs.iter().for_each(|run| run.halt());
    }
}

impl Run {
    fn halt(&self) {
        self.control.stop();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            thread.join().ok();
        }
    }

    fn stats(&self) -> RunStats {
        let mut board = self.board.lock();
        let snapshot = board.snapshot.clone();
        let snapshot = snapshot.as_deref();
        RunStats {
            id: self.spec.id.clone(),
            name: self.spec.name.clone(),
            status: board.status.clone(),
            parameters: self.spec.model.parameter_count() as u64,
            round: snapshot.map_or(0, |s| s.rounds),
            step: board.step,
            tokens: snapshot.map_or(0, |s| s.origin.tokens),
            loss_first: board.loss_first,
            loss_last: snapshot.and_then(|s| s.loss_last),
            tokens_per_second: board.tokens_per_second(Instant::now()),
            share_bps: board.share_bps,
            bytes_sent: snapshot.map_or(0, |s| s.bytes_sent),
            bytes_every_step: snapshot.map_or(0, |s| s.bytes_every_step),
            nodes: board.nodes.values().cloned().collect(),
            bans: board.bans.clone(),
            audits: board.audits,
            deadline: board.deadline,
            checkpoint: self.vault.newest().map(|checkpoint| checkpoint.id),
        }
    }

    /// The last closed round and the tokenizer.
    fn current(&self) -> Result<(Arc<Snapshot>, plumbline_training_model::Tokenizer), HostError> {
        let board = self.board.lock();
        let status = board.status.as_str();
        let snapshot = board.snapshot.clone();
        drop(board);
        let live = lock(&self.live);
        let tokenizer = live.as_ref().map(|live| live.tokenizer.clone());
        snapshot
            .zip(tokenizer)
            .ok_or_else(|| HostError::NotReady(self.spec.id.clone(), status))
    }

    fn newest_generator(&self) -> Result<(u64, Arc<Generator>), HostError> {
        let (snapshot, tokenizer) = self.current()?;
        let mut cached = lock(&self.generator);
        if let Some((rounds, generator)) = &*cached
            && *rounds == snapshot.rounds
        {
            return Ok((*rounds, Arc::clone(generator)));
        }
        let parameters = snapshot.parameters.to_vec();
        let generator = Generator::new(self.spec.model.clone(), tokenizer, parameters)?;
        let generator = Arc::new(generator);
        *cached = Some((snapshot.rounds, Arc::clone(&generator)));
        Ok((snapshot.rounds, generator))
    }
}

/// The rounds up to `rounds` of a history file; later ones belong to a life
/// that was not saved, and are cut off.
fn read_history(path: &Path, rounds: u64) -> Result<VecDeque<HistoryPoint>, HostError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(error) => return Err(HostError::io(path)(error)),
    };
    // A line that was being written when the process died is no loss.
    let points = text
        .lines()
        .filter_map(|line| serde_json::from_str::<HistoryPoint>(line).ok());
    let mut history: VecDeque<HistoryPoint> =
        points.filter(|point| point.round <= rounds).collect();
    while history.len() > HISTORY_READ_MAX {
        history.pop_front();
    }
    let mut kept = String::new();
    for point in &history {
        kept.push_str(&serde_json::to_string(point).map_err(HostError::io(path))?);
        kept.push('\n');
    }
    write_atomically(path, kept.as_bytes())?;
    Ok(history)
}

/// Whether a run would only be started to be over at once.
pub(crate) fn is_complete(spec: &RunSpec, snapshot: &Snapshot) -> bool {
    spec.max_tokens
        .is_some_and(|limit| snapshot.origin.tokens >= limit)
}
