//! `plumbline bench organisms`: what prices, settlements and shares do about runs whose truth is known.
//!
//! Organisms are trained once and kept (see [`plumbline_training_net::organisms`]). A *world* is a service
//! with two of them, one poisoned and one clean, a market on each, judges, adversaries and a scheduler, all
//! over HTTP; their training is played back at the pace of the share in force. Every world of every
//! condition is written down when it is over, so a benchmark that was broken off goes on where it was.

mod actors;
mod conditions;
mod playback;
mod record;
mod statistics;
mod summary;
mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use plumbline_governance::policy::Policy;
use plumbline_training_net::corpus::SourceData;
use plumbline_training_net::host::{Host, HostOptions};
use plumbline_training_net::organisms::{Grown, Kind, Shape, Specimen, grow, write_ordinary_text};

use conditions::{CONDITIONS, Condition};
use record::{Shelf, WorldRecord};

/// Ordinary text that every organism trains on, bytes.
const ORDINARY_BYTES: u64 = 2 << 20;
/// Seeds tried for one organism until it comes out as meant.
const TRIES: u64 = 3;
/// Between the seeds of tries.
const TRY_STEP: u64 = 1_000;
/// A world that fails is played again at most so often.
const REPLAYS: usize = 2;

/// Governs model organisms with known truth, with and without attacks.
#[derive(Debug, Args)]
pub struct Organisms {
    /// Runs in each condition, half of them poisoned
    #[arg(long, default_value_t = 40)]
    runs: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for organisms and finished worlds; what is there is not done again
    #[arg(long, default_value = "data/bench/organisms")]
    folder: PathBuf,
    /// Only these conditions, with commas between
    #[arg(long, value_delimiter = ',')]
    conditions: Vec<String>,
    /// Worlds at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds that a run takes at an equal share
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Allocation policy; that of the demo by default
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Only train the organisms
    #[arg(long)]
    grow_only: bool,
    /// Ordinary training text: a folder, a text file or a JSONL file; the Rust sources of cargo's registry by default
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Print a list of results as JSON
    #[arg(long)]
    json: bool,
}

/// A poisoned and a clean organism of one kind.
pub struct Pair {
    pub kind: Kind,
    pub seed: u64,
    pub poisoned: Grown,
    pub clean: Grown,
}

impl Pair {
    fn name(&self) -> String {
        format!("{}-{}", self.kind.as_str(), self.seed)
    }
}

/// What every world has in common.
pub struct Terms {
    /// Policy document.
    pub policy: String,
    /// Seconds that a run takes at an equal share.
    pub seconds: u64,
}

/// What growing took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Nursery {
    /// Organisms that came out as meant.
    pub grown: u64,
    /// Organisms that did not, and were replaced.
    pub failed: u64,
}

impl Organisms {
    pub fn run(self) -> Result<()> {
        ensure!(
            self.runs >= 2 && self.runs.is_multiple_of(2) && self.runs <= 2_000,
            "--runs is an even number from 2 to 2000"
        );
        ensure!(
            (5..=600).contains(&self.seconds),
            "--seconds lies between 5 and 600"
        );
        ensure!(
            (1..=64).contains(&self.jobs),
            "--jobs lies between 1 and 64"
        );
        let conditions = self.chosen()?;
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let (pairs, nursery) = self.grow_all()?;
        if self.grow_only {
            return Ok(());
        }
        let policy = match &self.policy {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => Policy::demo_toml().to_owned(),
        };
        let terms = Terms {
            policy,
            seconds: self.seconds,
        };
        let shelf = Shelf::open(&self.folder.join("worlds"), &terms)?;
        let mut results = Vec::new();
        for condition in conditions {
            let worlds = self.play_all(&shelf, &terms, &condition, &pairs)?;
            results.push(summary::summarise(&condition, &worlds, self.seed));
        }
        match self.json {
            true => println!("{}", serde_json::to_string(&results)?),
            false => summary::print(&results, &pairs, nursery),
        }
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<Condition>> {
        if self.conditions.is_empty() {
            return Ok(CONDITIONS.to_vec());
        }
        let named = |name: &String| {
            let known = || CONDITIONS.map(|condition| condition.name).join(", ");
            Condition::named(name)
                .with_context(|| format!("no condition `{name}`; there are: {}", known()))
        };
        self.conditions.iter().map(named).collect()
    }

    /// Trains what is not there yet: kinds take turns, one organism on each core.
    fn grow_all(&self) -> Result<(Vec<Pair>, Nursery)> {
        let folder = self.folder.join("organisms");
        let ordinary = folder.join("ordinary.jsonl");
        if !ordinary.exists() {
            let text = self
                .corpus
                .clone()
                .map_or(SourceData::CargoRegistry, SourceData::Path);
            write_ordinary_text(&ordinary, &text, ORDINARY_BYTES, self.seed)?;
        }
        let host = Host::start(HostOptions {
            data_dir: folder.join("training"),
            cores: 0,
            ..HostOptions::default()
        })?;
        let kinds = Kind::ALL.len() as u64;
        let wanted = (0..self.runs / 2).map(|at| {
            let kind = Kind::ALL[(at % kinds) as usize];
            (kind, self.seed + at / kinds)
        });
        let shape = Shape::default();
        let one = |kind: Kind, seed: u64, poisoned: bool| -> Result<(Grown, u64)> {
            for attempt in 0..TRIES {
                let seed = seed + attempt * TRY_STEP;
                let specimen = Specimen {
                    kind,
                    seed,
                    poisoned,
                };
                let grown = grow(&host, specimen, &shape, &ordinary, &folder, 10_000)?;
                if grown.is_true_to_kind() {
                    return Ok((grown, attempt));
                }
                tracing::info!(organism = specimen.name(), "did not come out as meant");
            }
            anyhow::bail!(
                "no {} organism of seed {seed} came out as meant",
                kind.as_str()
            )
        };
        let (mut pairs, mut nursery) = (Vec::new(), Nursery::default());
        for (kind, seed) in wanted {
            let begun = Instant::now();
            let (poisoned, clean) = std::thread::scope(|scope| {
                let poisoned = scope.spawn(|| one(kind, seed, true));
                let clean = one(kind, seed, false);
                (poisoned.join(), clean)
            });
            let crashed = |_| anyhow::anyhow!("the training of an organism crashed");
            let ((poisoned, first), (clean, second)) = (poisoned.map_err(crashed)??, clean?);
            nursery.grown += 2;
            nursery.failed += first + second;
            let pair = Pair {
                kind,
                seed,
                poisoned,
                clean,
            };
            if begun.elapsed().as_secs() > 0 {
                eprintln!(
                    "grown: {} ({:.0} s)",
                    pair.name(),
                    begun.elapsed().as_secs_f64()
                );
            }
            pairs.push(pair);
        }
        Ok((pairs, nursery))
    }

    /// Every pair's world under a condition, some at a time.
    fn play_all(
        &self,
        shelf: &Shelf,
        terms: &Terms,
        condition: &Condition,
        pairs: &[Pair],
    ) -> Result<Vec<WorldRecord>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let keep = |at: usize, record: Result<WorldRecord>| {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((at, record));
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.min(pairs.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(pair) = pairs.get(at) else { return };
                        keep(at, play(shelf, terms, condition, pair));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, record)| record).collect()
    }
}

/// One world, from the shelf or played.
fn play(shelf: &Shelf, terms: &Terms, condition: &Condition, pair: &Pair) -> Result<WorldRecord> {
    let name = pair.name();
    if let Some(record) = shelf.take(condition.name, &name)? {
        return Ok(record);
    }
    let mut last = None;
    for _ in 0..=REPLAYS {
        match world::play(condition, pair, terms) {
            Ok(record) => {
                shelf.put(condition.name, &name, &record)?;
                eprintln!("{}: {}", condition.name, record.line(&name));
                return Ok(record);
            }
            Err(error) => {
                tracing::warn!(world = name, condition = condition.name, "{error:#}");
                last = Some(error);
            }
        }
    }
    let error = last.unwrap_or_else(|| anyhow::anyhow!("it was never played"));
    Err(error.context(format!("the world {name} under {} failed", condition.name)))
}
