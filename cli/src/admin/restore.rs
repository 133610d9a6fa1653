//! `plumbline admin restore`: a data folder from a backup, after every file, the books and the money were checked.

use std::fs;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use plumbline_audit::Report;
use plumbline_service::restore::{self, Restored};
use serde_json::json;

use crate::progress::spinner;

use super::backup::{beside, sync_folder};
use super::manifest::{self, DATABASE, Entry, Manifest};

/// Makes a data folder of a backup. The backup is not changed, and an existing folder is not touched.
#[derive(Debug, Args)]
pub struct Restore {
    /// Folder that `plumbline admin backup` made
    backup: PathBuf,
    /// Data folder to make; it must be missing or empty
    #[arg(long, default_value = "data/serve", env = "PLUMBLINE_DATA_DIR")]
    data_dir: PathBuf,
    /// Epoch of the decisions to come; by default the time in seconds, above every epoch that can have been used
    #[arg(long)]
    epoch: Option<u64>,
    /// Check everything and keep nothing
    #[arg(long)]
    dry_run: bool,
    /// Put it in place although the auditor found something; for when there is no better backup
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was made.
struct Outcome {
    files: usize,
    restored: Restored,
    report: Report,
    has_keys: bool,
}

impl Restore {
    pub fn run(self) -> Result<()> {
        let manifest = Manifest::read(&self.backup)?;
        self.refuse_occupied()?;
        let partial = beside(&self.data_dir, "restoring")?;
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot make {}", partial.display()))?;
        let bar = spinner("copying, then recomputing the books", self.json);
        let outcome = self.fill(&partial, &manifest);
        bar.finish_and_clear();
        let outcome = match outcome {
            Ok(outcome) if !self.dry_run => self.put_in_place(&partial).map(|()| outcome),
            other => other,
        };
        if outcome.is_err() || self.dry_run {
            let _ = fs::remove_dir_all(&partial);
        }
        self.tell(&outcome?)
    }

    fn refuse_occupied(&self) -> Result<()> {
        let is_free = match fs::read_dir(&self.data_dir) {
            Ok(mut listed) => listed.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if is_free || self.dry_run {
            return Ok(());
        }
        bail!(
            "{} is not an empty folder: move it away first, or choose another with --data-dir",
            self.data_dir.display()
        )
    }

    fn fill(&self, partial: &Path, manifest: &Manifest) -> Result<Outcome> {
        for entry in &manifest.files {
            let copied = manifest::copy(&self.backup, partial, Path::new(&entry.path))?
                .with_context(|| format!("{} is missing in the backup", entry.path))?;
            entry.check(&copied)?;
        }
        let database = partial.join(DATABASE);
        let now = jiff::Timestamp::now().as_millisecond();
        let restored = restore::prepare_restored(&database, self.epoch, now)?;
        restore::examine(&database)?;
        let report = audited(&database, now)?;
        if !report.is_green() && !self.force {
            let first = report.violations.first();
            bail!(
                "the auditor finds {} violations in the books of this backup{}; --force restores it all the same",
                report.violations_in_all,
                first.map_or_else(String::new, |violation| format!(
                    ", the first: {violation:?}"
                ))
            );
        }
        Ok(Outcome {
            files: manifest.files.len(),
            restored,
            report,
            has_keys: manifest.files.iter().any(Entry::is_key),
        })
    }

    fn put_in_place(&self, partial: &Path) -> Result<()> {
        // Renaming replaces an empty folder and nothing else.
        fs::rename(partial, &self.data_dir).with_context(|| {
            format!(
                "cannot put the restored folder in place of {}",
                self.data_dir.display()
            )
        })?;
        sync_folder(self.data_dir.parent().unwrap_or(Path::new(".")));
        Ok(())
    }

    fn tell(&self, outcome: &Outcome) -> Result<()> {
        let Restored {
            epoch_before,
            epoch,
        } = outcome.restored;
        if self.json {
            let report = json!({
                "data_dir": self.data_dir, "dry_run": self.dry_run, "files": outcome.files, "epoch_before": epoch_before,
                "epoch": epoch, "violations": outcome.report.violations_in_all, "has_keys": outcome.has_keys,
            });
            println!("{report}");
            return Ok(());
        }
        let what = match self.dry_run {
            true => "is good; nothing was kept",
            false => "is restored",
        };
        println!(
            "{} {what}: {} files, the books audited, decisions continue in epoch {epoch} (were in {epoch_before})",
            self.backup.display(),
            outcome.files
        );
        if !outcome.has_keys {
            println!(
                "It holds no private keys. Put signing.key into {} before you start the service; without it a new one is \
                 made, and consumers that pinned the old one refuse its decisions.",
                self.data_dir.display()
            );
        }
        Ok(())
    }
}

/// The auditor's findings on the books of a database, which are not kept as a file on the way.
fn audited(database: &Path, now: i64) -> Result<Report> {
    let (reader, writer) = std::io::pipe().context("no pipe could be made for the audit")?;
    let database = database.to_owned();
    let export = std::thread::spawn(move || -> Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, writer);
        plumbline_service::audit::export_file(&database, now, &mut out)?;
        Ok(out.flush()?)
    });
    let report = plumbline_audit::verify(BufReader::with_capacity(1 << 20, reader));
    let exported = export
        .join()
        .map_err(|_| anyhow::anyhow!("the export stopped in the middle"))?;
    exported.context("the books cannot be exported")?;
    Ok(report?)
}
