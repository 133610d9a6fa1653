//! A run's checkpoints on disk: which there are, which may go.
//!
//! The files are content-addressed; `index.json` says which belong to the run,
//! from which round, and which are pinned. It is replaced atomically after the
//! file it names is durable, so a crash leaves at worst a file that no index
//! names, which the next opening removes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plumbline_training_core::contribution::Accounts;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::local::NodeState;
use plumbline_training_core::round::{NodeId, Origin};
use plumbline_training_core::verify::Ban;
use plumbline_training_model::{Checkpoint, ModelConfig, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::board::Snapshot;
use crate::error::HostError;
use crate::run::CheckpointRef;

const VELOCITY: &str = "outer.velocity";
const CENTRAL: &str = "outer.optimizer";
const INNER: &str = "inner.";

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    keep: usize,
    entries: Mutex<Vec<CheckpointRef>>,
}

/// The part of a snapshot that is written as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    run: String,
    origin: Origin,
    rounds: u64,
    accounts: Accounts,
    loss_first: Option<f64>,
    loss_last: Option<f64>,
    bytes_sent: u64,
    bytes_every_step: u64,
    #[serde(default)]
    bans: Vec<Ban>,
    #[serde(default)]
    held: BTreeMap<NodeId, Digest>,
}

impl Vault {
    /// Opens or creates the folder. `keep` checkpoints that are not pinned are
    /// kept, at least one.
    ///
    /// # Errors
    /// [`HostError::Io`] naming what cannot be read or written.
    pub fn open(folder: &Path, keep: usize) -> Result<Self, HostError> {
        fs::create_dir_all(folder).map_err(HostError::io(folder))?;
        let index = folder.join("index.json");
        let mut entries: Vec<CheckpointRef> = match fs::read(&index) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(HostError::io(&index))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(HostError::io(&index)(error)),
        };
        for entry in &mut entries {
            // The data folder may have been moved.
            entry.path = folder.join(format!("{}.ckpt", entry.id));
        }
        let vault = Self {
            folder: folder.to_owned(),
            keep: keep.max(1),
            entries: Mutex::new(entries),
        };
        vault.remove_strays()?;
        Ok(vault)
    }

    /// Every checkpoint, oldest first.
    pub fn list(&self) -> Vec<CheckpointRef> {
        self.lock().clone()
    }

    /// The newest one.
    pub fn newest(&self) -> Option<CheckpointRef> {
        self.lock().last().cloned()
    }

    /// The checkpoint with this hash.
    pub fn find(&self, id: &str) -> Option<CheckpointRef> {
        self.lock().iter().find(|entry| entry.id == id).cloned()
    }

    /// Writes `snapshot` unless its round is there already, pins it if asked,
    /// and deletes the oldest ones that are neither pinned nor to be kept.
    /// `true` when a file was written.
    ///
    /// # Errors
    /// [`HostError::Model`] or [`HostError::Io`] naming the file.
    pub fn save(
        &self,
        run: &str,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
        snapshot: &Snapshot,
        pin: bool,
    ) -> Result<(CheckpointRef, bool), HostError> {
        let mut entries = self.lock();
        let known = entries.iter().position(|e| e.round == snapshot.rounds);
        if let Some(position) = known {
            if pin && !entries[position].pinned {
                entries[position].pinned = true;
                self.write_index(&entries)?;
            }
            return Ok((entries[position].clone(), false));
        }
        let checkpoint = checkpoint_of(run, config, tokenizer, snapshot)?;
        let id = checkpoint.save(&self.folder)?;
        let entry = CheckpointRef {
            path: id.path_in(&self.folder),
            id: id.to_string(),
            round: snapshot.rounds,
            tokens: snapshot.origin.tokens,
            pinned: pin,
        };
        entries.push(entry.clone());
        entries.sort_by_key(|entry| entry.round);
        let gone = self.surplus(&mut entries);
        self.write_index(&entries)?;
        for old in gone {
            // A file that stays is removed as a stray when the vault is opened.
            fs::remove_file(old.path).ok();
        }
        Ok((entry, true))
    }

    /// Takes the oldest unpinned entries beyond `keep` out of `entries`.
    fn surplus(&self, entries: &mut Vec<CheckpointRef>) -> Vec<CheckpointRef> {
        let loose = entries.iter().filter(|entry| !entry.pinned).count();
        let mut excess = loose.saturating_sub(self.keep);
        let mut gone = Vec::new();
        entries.retain(|entry| {
            let goes = !entry.pinned && excess > 0;
            if goes {
                excess -= 1;
                gone.push(entry.clone());
            }
            !goes
        });
        gone
    }

    fn write_index(&self, entries: &[CheckpointRef]) -> Result<(), HostError> {
        let index = self.folder.join("index.json");
        let json = serde_json::to_vec_pretty(entries).map_err(HostError::io(&index))?;
        write_atomically(&index, &json)
    }

    fn remove_strays(&self) -> Result<(), HostError> {
        let entries = self.lock();
        let files = fs::read_dir(&self.folder).map_err(HostError::io(&self.folder))?;
        for file in files.flatten() {
            let path = file.path();
            let name = file.file_name();
            let name = name.to_string_lossy();
            let stray = name.ends_with(".tmp") || name.ends_with(".ckpt");
            if stray && !entries.iter().any(|entry| entry.path == path) {
                fs::remove_file(&path).map_err(HostError::io(&path))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CheckpointRef>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes `bytes` so that `path` holds all of the old or all of the new content.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    write_with_mode(path, bytes, 0o666)
}

/// As [`write_atomically`], readable by the owner alone; makes the folder.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(HostError::io(folder))?;
    }
    write_with_mode(path, bytes, 0o600)
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), HostError> {
    let temporary = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(HostError::io(path))
}

/// The checkpoint that holds all of `snapshot`.
fn checkpoint_of(
    run: &str,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    snapshot: &Snapshot,
) -> Result<Checkpoint, HostError> {
    let progress = Progress {
        run: run.to_owned(),
        origin: snapshot.origin.clone(),
        rounds: snapshot.rounds,
        accounts: snapshot.accounts.clone(),
        loss_first: snapshot.loss_first,
        loss_last: snapshot.loss_last,
        bytes_sent: snapshot.bytes_sent,
        bytes_every_step: snapshot.bytes_every_step,
        bans: snapshot.bans.clone(),
        held: snapshot.held.clone(),
    };
    let mut sections = BTreeMap::new();
    let velocity = snapshot.velocity.iter().flat_map(|v| v.to_le_bytes());
    sections.insert(VELOCITY.to_owned(), velocity.collect());
    if !snapshot.central.is_empty() {
        sections.insert(CENTRAL.to_owned(), snapshot.central.to_vec());
    }
    for (node, state) in &snapshot.states {
        sections.insert(format!("{INNER}{node}"), state.to_vec());
    }
    let json = serde_json::to_value(&progress);
    Ok(Checkpoint {
        config: config.clone(),
        tokenizer: tokenizer.clone(),
        parameters: snapshot.parameters.to_vec(),
        progress: json.map_err(|error| HostError::Spec(error.to_string()))?,
        sections,
    })
}

/// The snapshot in a checkpoint that [`Vault::save`] wrote for `run`.
///
/// # Errors
/// [`HostError::Incompatible`] naming `path` when it is another run's, or not
/// written by a host.
pub fn snapshot_of(run: &str, path: &Path, checkpoint: &Checkpoint) -> Result<Snapshot, HostError> {
    let incompatible = |reason: String| HostError::Incompatible {
        path: path.to_owned(),
        reason,
    };
    let progress: Progress = serde_json::from_value(checkpoint.progress.clone())
        .map_err(|error| incompatible(error.to_string()))?;
    if progress.run != run {
        return Err(incompatible(format!(
            "it belongs to run {:?}",
            progress.run
        )));
    }
    let velocity = checkpoint
        .sections
        .get(VELOCITY)
        .filter(|bytes| bytes.is_empty() || bytes.len() == 4 * checkpoint.parameters.len())
        .ok_or_else(|| incompatible("it holds no outer momentum".into()))?
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    let mut states = BTreeMap::new();
    for (name, bytes) in &checkpoint.sections {
        if let Some(node) = name.strip_prefix(INNER) {
            let node = NodeId::new(node).map_err(|error| incompatible(error.to_string()))?;
            states.insert(node, Arc::new(state_of(bytes)));
        }
    }
    Ok(Snapshot {
        origin: progress.origin,
        rounds: progress.rounds,
        parameters: Arc::new(checkpoint.parameters.clone()),
        velocity: Arc::new(velocity),
        central: Arc::new(
            checkpoint
                .sections
                .get(CENTRAL)
                .cloned()
                .unwrap_or_default(),
        ),
        states,
        held: progress.held,
        accounts: progress.accounts,
        bans: progress.bans,
        loss_first: progress.loss_first,
        loss_last: progress.loss_last,
        bytes_sent: progress.bytes_sent,
        bytes_every_step: progress.bytes_every_step,
    })
}

/// A node's state; checkpoints of earlier releases hold only its optimiser.
fn state_of(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(b"PLNS") {
        return bytes.to_vec();
    }
    let state = NodeState {
        optimizer: bytes.to_vec(),
        ..NodeState::default()
    };
    state.to_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tiny() -> (ModelConfig, Tokenizer) {
        let texts = ["fn main() {}".to_owned(), "fn other() {}".to_owned()];
        let config = ModelConfig {
            vocabulary: 300,
            width: 8,
            layers: 1,
            heads: 1,
            hidden: 8,
            sequence: 8,
            ..ModelConfig::default()
        };
        (config, Tokenizer::train(texts.into_iter(), 300).unwrap())
    }

    fn snapshot(rounds: u64, parameters: usize) -> Snapshot {
        let node = NodeId::new("node-1").unwrap();
        Snapshot {
            origin: Origin {
                run_seed: 3,
                round: rounds + 1,
                parameters: Digest::of(b"p"),
                cursor: 40,
                tokens: 100 * rounds,
            },
            rounds,
            parameters: Arc::new(vec![0.25; parameters]),
            velocity: Arc::new(vec![-1.5; parameters]),
            central: Arc::default(),
            states: BTreeMap::from([(node.clone(), Arc::new(b"PLNS-state".to_vec()))]),
            held: BTreeMap::from([(node, Digest::of(b"kept"))]),
            accounts: Accounts::default(),
            bans: Vec::new(),
            loss_first: Some(6.9),
            loss_last: Some(4.0),
            bytes_sent: 5,
            bytes_every_step: 50,
        }
    }

    #[test]
    fn keeps_the_newest_and_the_pinned_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let (config, tokenizer) = tiny();
        let count = config.parameter_count();
        let vault = Vault::open(folder.path(), 2).unwrap();
        let save = |vault: &Vault, round, pin| {
            let snapshot = snapshot(round, count);
            vault
                .save("run", &config, &tokenizer, &snapshot, pin)
                .unwrap()
        };
        let (first, written) = save(&vault, 1, true);
        assert!(written && first.pinned);
        for round in 2..6 {
            save(&vault, round, false);
        }
        let (again, written) = save(&vault, 5, true);
        assert!(!written && again.pinned);
        save(&vault, 6, false);
        save(&vault, 7, false);
        save(&vault, 8, false);
        std::fs::write(folder.path().join("stray.ckpt"), "x").unwrap();
        let vault = Vault::open(folder.path(), 2).unwrap();
        let rounds: Vec<u64> = vault.list().iter().map(|entry| entry.round).collect();
        assert_eq!(rounds, [1, 5, 7, 8]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
        let newest = vault.newest().unwrap();
        let loaded = Checkpoint::load(&newest.path).unwrap();
        let back = snapshot_of("run", &newest.path, &loaded).unwrap();
        let want = snapshot(8, count);
        assert_eq!(back.parameters, want.parameters);
        assert_eq!(back.velocity, want.velocity);
        assert_eq!(back.states, want.states);
        assert_eq!((back.origin, back.rounds), (want.origin, want.rounds));
        let other = snapshot_of("other", &newest.path, &loaded).unwrap_err();
        assert!(other.to_string().contains(&newest.id), "{other}");
    }

    #[test]
    fn a_spoilt_index_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.json"), "{").unwrap();
        let error = Vault::open(folder.path(), 1).unwrap_err().to_string();
        assert!(error.contains("index.json"), "{error}");
    }
}
