//! The folder that holds everything a service must keep: database, signing
//! key, checkpoints.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::entropy::{hex, random_bytes};

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
    pub fn consumer_state(&self) -> PathBuf {
        self.root.join("embedded-scheduler.json")
    }

    /// The ed25519 seed that signs decisions: read, or made on first use. The
    /// file is readable by its owner only.
    ///
    /// # Errors
    /// When the file is not 32 bytes of hex, or cannot be read or written.
    pub fn signing_seed(&self) -> Result<[u8; 32]> {
        let path = self.root.join("signing.key");
        match fs::read_to_string(&path) {
            Ok(text) => parse_seed(text.trim()).with_context(|| {
                format!(
                    "{} is not a signing key (64 hex digits); restore it from a backup",
                    path.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_seed(&path),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

fn make_seed(path: &Path) -> Result<[u8; 32]> {
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
