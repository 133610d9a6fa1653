//! Secrets that a person keeps between committing and revealing: files that only the owner reads.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `KIND-ID.json` in the current folder. An id comes from the service: only its letters, digits and
/// dashes become a file name.
pub fn file_for(kind: &str, id: &str) -> PathBuf {
    let plain: String = id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    PathBuf::from(format!("{kind}-{plain}.json"))
}

/// Writes a secret where nobody else reads it; never over another one.
pub fn write(path: &Path, secret: &impl Serialize) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| {
        format!(
            "cannot make {}: what is kept there is not overwritten",
            path.display()
        )
    })?;
    file.write_all(serde_json::to_string_pretty(secret)?.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Reads a secret back.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} does not hold what was kept", path.display()))
}
