//! What a consumer keeps over a restart, in one file that is replaced whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use plumbline_governance::dsse::PublicKeyRecord;
use serde::{Deserialize, Serialize};

use super::ConsumerError;
use super::tracker::Held;

/// Version of the file's shape.
const FORMAT: u32 = 1;

/// The content of a state file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    /// Scheduler that wrote it.
    pub(super) scheduler: String,
    /// Keys that were trusted, so that the decisions can be verified without contact.
    pub(super) keys: Vec<PublicKeyRecord>,
    /// Keys that were pinned then; with other pins the keys above count no more.
    #[serde(default)]
    pub(super) pinned: Vec<PublicKeyRecord>,
    /// Newest decision of each target.
    pub(super) held: Vec<Held>,
}

impl State {
    pub(super) fn new(
        scheduler: &str,
        keys: Vec<PublicKeyRecord>,
        pinned: &[PublicKeyRecord],
        held: Vec<Held>,
    ) -> Self {
        Self {
            format: FORMAT,
            scheduler: scheduler.to_owned(),
            keys,
            pinned: pinned.to_vec(),
            held,
        }
    }

    /// Reads the file; none when there is none yet.
    pub(super) fn load(path: &Path, scheduler: &str) -> Result<Option<Self>, ConsumerError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(path, &error.to_string())),
        };
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| {
            broken(path, &format!("cannot be understood ({error}); move it away only if no older decision can come back"))
        })?;
        if state.format != FORMAT {
            return Err(broken(
                path,
                &format!("has format {}, this program knows {FORMAT}", state.format),
            ));
        }
        if state.scheduler != scheduler {
            let why = format!(
                "belongs to scheduler `{}`, not `{scheduler}`; give each its own file",
                state.scheduler
            );
            return Err(broken(path, &why));
        }
        Ok(Some(state))
    }

    /// Replaces the file: after a crash it is the old or the new one, never a mixture.
    pub(super) fn save(&self, path: &Path) -> Result<(), ConsumerError> {
        self.replace(path)
            .map_err(|error| broken(path, &format!("cannot be written: {error}")))
    }

    fn replace(&self, path: &Path) -> Result<(), std::io::Error> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        let next = PathBuf::from(next);
        let bytes = serde_json::to_vec_pretty(self)?;
        let mut file = File::create(&next)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        // The new name must be durable before anything is acknowledged.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn broken(path: &Path, why: &str) -> ConsumerError {
    ConsumerError::StateFile {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_read_as_written_and_refused_when_it_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(State::load(&path, "core").unwrap(), None);
        let state = State::new("core", Vec::new(), &[], Vec::new());
        state.save(&path).unwrap();
        state.save(&path).unwrap();
        assert_eq!(State::load(&path, "core").unwrap(), Some(state));
        assert!(
            State::load(&path, "other")
                .unwrap_err()
                .to_string()
                .contains("belongs to")
        );
        for text in [
            "",
            "{",
            "{\"format\":2,\"scheduler\":\"core\",\"keys\":[],\"held\":[]}",
        ] {
            fs::write(&path, text).unwrap();
            let error = State::load(&path, "core").unwrap_err().to_string();
            assert!(error.contains("state.json"), "{error}");
        }
        let nowhere = folder.path().join("missing/state.json");
        assert!(
            State::new("core", Vec::new(), &[], Vec::new())
                .save(&nowhere)
                .is_err()
        );
    }
}
