//! What an enforcer keeps in its folder beside the decisions: which run a name meant.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plumbline_agents::Client;
use uuid::Uuid;

/// A folder that one enforcer uses at a time.
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl StateFolder {
    pub fn open(path: &Path) -> Result<Self> {
        let made = std::fs::create_dir_all(path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize()?;
        let lock = File::create(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another enforcer uses {}; give each its own --state",
                path.display()
            ),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn state_file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    fn runs_file(&self) -> PathBuf {
        self.path.join("runs.json")
    }
}

/// Names of runs with the ids that they had when they were first looked up.
#[derive(Debug, Default)]
pub struct Bindings(BTreeMap<String, Uuid>);

impl Bindings {
    pub fn load(folder: &StateFolder) -> Result<Self> {
        let path = folder.runs_file();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self(serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} cannot be understood; remove it to look the runs up again",
                    path.display()
                )
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The id of a run. While the service cannot be reached it waits: nothing can be enforced on a run that is
    /// not known.
    pub async fn find(&mut self, client: &Client, name: &str) -> Result<Uuid> {
        if let Ok(uid) = name.parse() {
            return Ok(uid);
        }
        if let Some(uid) = self.0.get(name) {
            return Ok(*uid);
        }
        loop {
            match client.run(name).await {
                Ok(run) => {
                    let uid = run
                        .id
                        .parse()
                        .with_context(|| format!("run {name} has no usable id"))?;
                    self.0.insert(name.to_owned(), uid);
                    return Ok(uid);
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, run = name, "the run cannot be looked up yet");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot look run {name} up"));
                }
            }
        }
    }

    pub fn save(&self, folder: &StateFolder) -> Result<()> {
        let (path, next) = (folder.runs_file(), folder.path().join("runs.json.next"));
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec_pretty(&self.0)?)?;
        file.sync_all()?;
        Ok(std::fs::rename(next, path)?)
    }
}
