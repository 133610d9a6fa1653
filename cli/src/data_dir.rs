//! The folder that holds everything a service must keep: database, signing
//! key, checkpoints.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use plumbline_governance::dsse::{DecisionSigner, Envelope};
use plumbline_governance::keys::KeyStatement;
use plumbline_service::KeyChange;
use serde::{Deserialize, Serialize};

use crate::entropy::{hex, random_bytes};

/// File of the key that signs decisions.
const KEY: &str = "signing.key";
/// File of the word of the key before it.
const KEY_CHANGE: &str = "signing.change.json";

/// An existing, writable data folder.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the folder, making it if it is missing.
    ///
    /// # Errors
    /// One line that names the folder and says what to do when it cannot be made or written.
    pub fn open(root: &Path) -> Result<Self> {
        let advice = || {
            format!(
                "cannot write the data folder {}: choose another with --data-dir, or fix its permissions",
                root.display()
            )
        };
        fs::create_dir_all(root).with_context(advice)?;
        let probe = root.join(".writable");
        fs::write(&probe, b"").with_context(advice)?;
        fs::remove_file(&probe).with_context(advice)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The SQLite file.
    pub fn database(&self) -> PathBuf {
        self.root.join("plumbline.db")
    }

    /// Where training runs keep their checkpoints and corpora.
    pub fn training(&self) -> PathBuf {
        self.root.join("training")
    }

    /// What the embedded scheduler remembers of the decisions it holds.
    pub fn corpora(&self) -> PathBuf {
        self.root.join("corpora")
    }

    pub fn consumer_state(&self) -> PathBuf {
        self.root.join("embedded-scheduler.json")
    }

    /// The ed25519 seed that signs decisions: read, or made on first use. The
    /// file is readable by its owner only.
    ///
    /// # Errors
    /// When the file is not 32 bytes of hex, or cannot be read or written.
    pub fn signing_seed(&self) -> Result<[u8; 32]> {
        let path = self.root.join(KEY);
        if fs::exists(&path).with_context(|| format!("cannot read {}", path.display()))? {
            return read_seed(&path);
        }
        new_seed_file(&path)
    }

    /// What was written when the signing key was replaced, if it was.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn key_change(&self) -> Result<Option<KeyChange>> {
        let path = self.root.join(KEY_CHANGE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let change: StoredChange = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not what a rotation wrote; move it away",
                path.display()
            )
        })?;
        Ok(Some(KeyChange {
            statement: serde_json::to_string(&change.statement)?,
            overlap_ms: change.overlap_ms,
        }))
    }

    /// Replaces the signing key. The old one vouches for the new one in a file beside it, and is gone then.
    /// The names of both come back.
    ///
    /// # Errors
    /// When a service uses the folder, there is no key, or something cannot be written: the old key then
    /// stays.
    pub fn rotate(&self, pool: &str, overlap_ms: i64) -> Result<(String, String)> {
        let path = self.root.join(KEY);
        let _alone = self.alone()?;
        let old = DecisionSigner::from_seed(&read_seed(&path)?);
        let next = self.root.join("signing.key.next");
        // Left over from a rotation that did not come to its end.
        if fs::exists(&next)? {
            fs::remove_file(&next)?;
        }
        let new = DecisionSigner::from_seed(&new_seed_file(&next)?);
        let statement = KeyStatement::of(pool, &new.public_bytes(), jiff::Timestamp::now());
        let change = StoredChange {
            statement: statement.sign(&[&old])?,
            overlap_ms,
        };
        // First the word of the old key: a word about a key that never comes into use says nothing.
        let mut file = fs::File::create(self.root.join(KEY_CHANGE))?;
        file.write_all(&serde_json::to_vec_pretty(&change)?)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        fs::File::open(&self.root)?.sync_all()?;
        Ok((old.key_id().to_owned(), new.key_id().to_owned()))
    }

    /// Makes sure that no service uses the folder, as long as the answer is held.
    fn alone(&self) -> Result<Option<fs::File>> {
        let mut lock = self.database().into_os_string();
        lock.push(".lock");
        if !fs::exists(&lock)? {
            return Ok(None);
        }
        let file = fs::File::options().write(true).open(&lock)?;
        file.try_lock()
            .ok()
            .with_context(|| format!("a service uses {}; stop it first", self.root.display()))?;
        Ok(Some(file))
    }
}

/// The word of an old key for a new one, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredChange {
    statement: Envelope,
    overlap_ms: i64,
}

/// The ed25519 seed in a file of 64 hex digits.
pub fn read_seed(path: &Path) -> Result<[u8; 32]> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_seed(text.trim()).with_context(|| {
        format!(
            "{} is not a signing key (64 hex digits); restore it from a backup",
            path.display()
        )
    })
}

/// Makes a seed in a file that only its owner reads; never over another one.
pub fn new_seed_file(path: &Path) -> Result<[u8; 32]> {
    let seed = random_bytes::<32>()?;
    let open = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = open.with_context(|| format!("cannot make {}", path.display()))?;
    writeln!(file, "{}", hex(&seed))
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(seed)
}

fn parse_seed(hex: &str) -> Result<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        bail!("wrong length");
    }
    let mut seed = [0u8; 32];
    for (byte, at) in seed.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16)?;
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_key_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let seed = data.signing_seed().unwrap();
        assert_eq!(data.signing_seed().unwrap(), seed);
        let mode = fs::metadata(folder.path().join("signing.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("signing.key"), "zz").unwrap();
        let error = format!("{:#}", data.signing_seed().unwrap_err());
        assert!(error.contains("signing.key"), "{error}");
    }

    #[test]
    fn a_rotated_key_is_vouched_for_by_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert!(data.rotate("default", 0).is_err(), "there is no key yet");
        let old = data.signing_seed().unwrap();
        assert_eq!(data.key_change().unwrap(), None);
        let (before, after) = data.rotate("default", 60_000).unwrap();
        let new = data.signing_seed().unwrap();
        assert_ne!(old, new);
        let signer = |seed| DecisionSigner::from_seed(&seed);
        assert_eq!(
            (before.as_str(), after.as_str()),
            (signer(old).key_id(), signer(new).key_id())
        );
        let change = data.key_change().unwrap().unwrap();
        let envelope: Envelope = serde_json::from_str(&change.statement).unwrap();
        let key = signer(old).public_bytes();
        let signature = &envelope.signatures[0].sig;
        assert!(plumbline_governance::dsse::is_signed_with(
            &envelope, &key, signature
        ));
        assert_eq!(change.overlap_ms, 60_000);
        let lock = fs::File::create(folder.path().join("plumbline.db.lock")).unwrap();
        lock.try_lock().unwrap();
        let error = format!("{:#}", data.rotate("default", 0).unwrap_err());
        assert!(error.contains("stop it first"), "{error}");
        assert_eq!(data.signing_seed().unwrap(), new);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("occupied");
        fs::write(&file, b"x").unwrap();
        let error = format!("{:#}", DataDir::open(&file).unwrap_err());
        assert!(
            error.contains("occupied") && error.contains("--data-dir"),
            "{error}"
        );
    }
}
