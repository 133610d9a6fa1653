//! What a backup holds: its files with their digests, so that a damaged or incomplete one is told from a good one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Name of the manifest in a backup.
pub const MANIFEST: &str = "manifest.json";
/// Name of the database in a data folder and in a backup.
pub const DATABASE: &str = "plumbline.db";
/// Version of the manifest's form.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// Version of the program that made the backup.
    pub version: String,
    /// When, RFC 3339.
    pub made_at: String,
    /// Every file but this one.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Below the backup's folder, with `/` between.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Of its content, hex.
    pub blake3: String,
}

impl Manifest {
    /// Of these files, made now.
    pub fn new(files: Vec<Entry>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: jiff::Timestamp::now().to_string(),
            files,
        }
    }

    /// Of the backup in `folder`.
    ///
    /// # Errors
    /// When there is none, or one that this version does not know or that names a file outside of the folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).with_context(|| {
            format!(
                "{} is not a backup: its {MANIFEST} cannot be read",
                folder.display()
            )
        })?;
        let manifest: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        if manifest.format != FORMAT {
            bail!(
                "{} is of format {}, and this version reads format {FORMAT}",
                path.display(),
                manifest.format
            );
        }
        for entry in &manifest.files {
            let plain = |part| matches!(part, Component::Normal(_));
            if entry.path.is_empty() || !Path::new(&entry.path).components().all(plain) {
                bail!(
                    "{} names a file outside of the backup: {}",
                    path.display(),
                    entry.path
                );
            }
        }
        if !manifest.files.iter().any(|entry| entry.path == DATABASE) {
            bail!("{} names no database", path.display());
        }
        Ok(manifest)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).sum()
    }
}

impl Entry {
    /// Checks that what was copied is what the manifest says.
    ///
    /// # Errors
    /// Naming the file that differs.
    pub fn check(&self, copied: &Self) -> Result<()> {
        if self == copied {
            return Ok(());
        }
        bail!(
            "{} of the backup is damaged: it has {} bytes with BLAKE3 {}, and the manifest says {} and {}",
            self.path,
            copied.bytes,
            copied.blake3,
            self.bytes,
            self.blake3
        )
    }
}

/// Copies the file `from/path` to `to/path`, forces it to the disk, and returns its entry; nothing if it is gone.
///
/// # Errors
/// When it cannot be read or written.
pub fn copy(from: &Path, to: &Path, path: &Path) -> Result<Option<Entry>> {
    let source = from.join(path);
    let mut input = match File::open(&source) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", source.display()));
        }
    };
    let target = to.join(path);
    let failed = || format!("cannot write {}", target.display());
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(failed)?;
    }
    let mut output = File::create_new(&target).with_context(failed)?;
    output
        .set_permissions(input.metadata()?.permissions())
        .with_context(failed)?;
    let mut hasher = blake3::Hasher::new();
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        let read = input
            .read(&mut buffer)
            .with_context(|| format!("cannot read {}", source.display()))?;
        if read == 0 {
            break;
        }
        output.write_all(&buffer[..read]).with_context(failed)?;
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    output.sync_all().with_context(failed)?;
    Ok(Some(Entry {
        path: slashed(path),
        bytes,
        blake3: hasher.finalize().to_hex().to_string(),
    }))
}

/// The entry of a file that is already in its place.
///
/// # Errors
/// When it cannot be read.
pub fn entry(folder: &Path, path: &Path) -> Result<Entry> {
    let full = folder.join(path);
    let failed = || format!("cannot read {}", full.display());
    let mut hasher = blake3::Hasher::new();
    let bytes = std::io::copy(&mut File::open(&full).with_context(failed)?, &mut hasher)
        .with_context(failed)?;
    Ok(Entry {
        path: slashed(path),
        bytes,
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

/// Every ordinary file below `folder`, relative to it and in order. Links are not followed.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = open.pop() {
        let at = folder.join(&below);
        let listed = fs::read_dir(&at).with_context(|| format!("cannot read {}", at.display()))?;
        for item in listed {
            let item = item.with_context(|| format!("cannot read {}", at.display()))?;
            let path = below.join(item.file_name());
            match item.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn write(folder: &Path, files: &[&str]) {
        let entry = |path: &&str| Entry {
            path: (*path).to_owned(),
            bytes: 0,
            blake3: String::new(),
        };
        let manifest = Manifest::new(files.iter().map(entry).collect());
        let text = serde_json::to_vec(&manifest).unwrap();
        fs::write(folder.join(MANIFEST), text).unwrap();
    }

    #[test]
    fn a_manifest_names_files_of_its_backup_only() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Manifest::read(folder.path());
        assert!(read().is_err());
        write(folder.path(), &[DATABASE, "training/runs/a/spec.json"]);
        assert_eq!(read().unwrap().files.len(), 2);
        for bad in ["../x", "/etc/x", "a/../../x", ""] {
            write(folder.path(), &[DATABASE, bad]);
            assert!(format!("{:#}", read().unwrap_err()).contains("outside"));
        }
        write(folder.path(), &["x"]);
        assert!(format!("{:#}", read().unwrap_err()).contains("no database"));
    }

    #[test]
    fn a_copy_carries_content_mode_and_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(from.join("x/y")).unwrap();
        fs::write(from.join("x/y/z"), b"text").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", from.join("link")).unwrap();
        assert_eq!(files(&from).unwrap(), [Path::new("x/y/z")]);
        let copied = copy(&from, &to, Path::new("x/y/z")).unwrap().unwrap();
        assert_eq!(copied, entry(&to, Path::new("x/y/z")).unwrap());
        assert_eq!((copied.path.as_str(), copied.bytes), ("x/y/z", 4));
        assert_eq!(copy(&from, &to, Path::new("gone")).unwrap(), None);
        fs::write(to.join("x/y/z"), b"tent").unwrap();
        let damaged = entry(&to, Path::new("x/y/z")).unwrap();
        assert!(copied.check(&damaged).is_err() && copied.check(&copied).is_ok());
    }
}
