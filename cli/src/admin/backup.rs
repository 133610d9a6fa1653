//! `plumbline admin backup`: the database as it is at one moment, and the files beside it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::progress::spinner;

use super::manifest::{self, DATABASE, Entry, MANIFEST, Manifest};

/// Copies a data folder. Writes beside `--out` first and renames at the end, so that a backup that is there is whole.
#[derive(Debug, Args)]
pub struct Backup {
    /// Folder of the service
    #[arg(long, default_value = "data/serve", env = "PLUMBLINE_DATA_DIR")]
    data_dir: PathBuf,
    /// Folder to make
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Also copy private keys; whoever reads the backup can then sign decisions
    #[arg(long)]
    with_keys: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub fn run(self) -> Result<()> {
        if self.out.exists() {
            bail!("{} is already there; name a new folder", self.out.display());
        }
        let partial = beside(&self.out, "partial")?;
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot make {}", partial.display()))?;
        let bar = spinner("copying", self.json);
        let copied = self.copy(&partial);
        bar.finish_and_clear();
        let manifest = match copied {
            Ok(manifest) => manifest,
            Err(error) => {
                // What is half done is of no use to anybody.
                let _ = fs::remove_dir_all(&partial);
                return Err(error);
            }
        };
        fs::rename(&partial, &self.out)
            .with_context(|| format!("cannot make {}", self.out.display()))?;
        sync_folder(self.out.parent().unwrap_or(Path::new(".")));
        self.report(&manifest)
    }

    fn copy(&self, partial: &Path) -> Result<Manifest> {
        // The database first: whatever it names was on the disk before it did.
        let database = self.data_dir.join(DATABASE);
        plumbline_service::restore::copy_database(&database, &partial.join(DATABASE))?;
        let mut entries = vec![manifest::entry(partial, Path::new(DATABASE))?];
        for path in manifest::files(&self.data_dir)? {
            if self.is_wanted(&path) {
                // A checkpoint can be pruned meanwhile.
                entries.extend(manifest::copy(&self.data_dir, partial, &path)?);
            }
        }
        let manifest = Manifest::new(entries);
        let text = serde_json::to_vec_pretty(&manifest)?;
        let path = partial.join(MANIFEST);
        File::create_new(&path)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(manifest)
    }

    /// Neither the live database, nor locks and unfinished files, nor keys unless they are asked for.
    fn is_wanted(&self, path: &Path) -> bool {
        let name = path.to_string_lossy();
        let is_key = name.ends_with(".key");
        let is_passing = [".lock", ".tmp", ".partial", ".writable"]
            .iter()
            .any(|end| name.ends_with(end));
        !name.starts_with(DATABASE) && !is_passing && (self.with_keys || !is_key)
    }

    fn report(&self, manifest: &Manifest) -> Result<()> {
        let has_keys = manifest.files.iter().any(Entry::is_key);
        if self.json {
            let report = json!({
                "backup": self.out, "files": manifest.files.len(), "bytes": manifest.bytes(),
                "made_at": manifest.made_at, "has_keys": has_keys,
            });
            println!("{report}");
            return Ok(());
        }
        println!(
            "{}: {} files, {:.1} MB",
            self.out.display(),
            manifest.files.len(),
            manifest.bytes() as f64 / 1e6
        );
        match has_keys {
            true => println!("It holds private keys: keep it as safe as the service itself."),
            false => println!("It holds no private keys: keep signing.key in another safe place."),
        }
        Ok(())
    }
}

impl Entry {
    /// Whether it is a private key.
    pub fn is_key(&self) -> bool {
        self.path.ends_with(".key")
    }
}

/// A name beside a folder, on the same disk, for what is not finished.
pub fn beside(folder: &Path, ending: &str) -> Result<PathBuf> {
    let mut name = folder
        .file_name()
        .with_context(|| format!("{} names no folder", folder.display()))?
        .to_owned();
    name.push(format!(".{}.{ending}", std::process::id()));
    Ok(folder.with_file_name(name))
}

/// Makes a rename last through a power cut, where the system can.
pub fn sync_folder(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}
