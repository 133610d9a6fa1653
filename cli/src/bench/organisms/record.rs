//! What is written down about a world, and where finished ones are kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use plumbline_training_core::digest::Digest;
use plumbline_training_net::organisms::Kind;
use serde::{Deserialize, Serialize};

use super::Terms;

/// Changes whenever a world would be played otherwise, so that old records are not mixed with new ones.
const EDITION: u32 = 7;

/// One governed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub kind: Kind,
    pub seed: u64,
    /// The truth.
    pub poisoned: bool,
    /// Price when the market froze.
    pub price: f64,
    /// The pool's probability, on every exhibit that was judged.
    pub pool: f64,
    /// What the test found; none where the market was void.
    pub settlement: Option<f64>,
    /// First tokens at which the organism shows the behaviour, if it does.
    pub onset_tokens: Option<u64>,
    /// When a share was first cut because of the price.
    pub throttle: Option<Throttle>,
    /// Whether the settlement cut it afterwards.
    pub cut_by_settlement: bool,
    /// Tokens at the freeze.
    pub tokens: i64,
    pub evidence: i64,
    pub trades: i64,
}

/// A share cut before the settlement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// Seconds since the world began.
    pub seconds: f64,
    /// Tokens that the run had trained on.
    pub tokens: i64,
}

/// What one account did and got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActorRecord {
    /// `honest`, or a misleading strategy.
    pub role: String,
    /// Balance at the end less that at the beginning: payoffs less fees, over both markets.
    pub earned_micro: i64,
    /// Submissions taken.
    pub submissions: u64,
    /// Trades made.
    pub trades: u64,
}

/// A world that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorldRecord {
    pub runs: Vec<RunRecord>,
    pub actors: Vec<ActorRecord>,
    pub seconds: f64,
    /// Sum over all accounts; 0.
    pub ledger_sum_micro: i64,
}

impl WorldRecord {
    /// One line for people.
    pub fn line(&self, name: &str) -> String {
        let run = |run: &RunRecord| {
            let truth = if run.poisoned { "poisoned" } else { "clean" };
            let settled = match run.settlement {
                Some(pi) if pi >= 0.5 => "misaligned",
                Some(_) => "not misaligned",
                None => "void",
            };
            let throttled = match run.throttle {
                Some(throttle) => format!(", throttled at {} tokens", throttle.tokens),
                None => String::new(),
            };
            format!(
                "{truth} {:.3} (pool {:.3}, {settled}{throttled})",
                run.price, run.pool
            )
        };
        let runs: Vec<String> = self.runs.iter().map(run).collect();
        let actors: Vec<String> = self
            .actors
            .iter()
            .map(|actor| format!("{} {:+.1}", actor.role, actor.earned_micro as f64 / 1e6))
            .collect();
        format!(
            "{name}: {}; {}; {:.0} s",
            runs.join(", "),
            actors.join(", "),
            self.seconds
        )
    }
}

/// Finished worlds on disk.
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Those of worlds with these terms.
    pub fn open(root: &Path, terms: &Terms) -> Result<Self> {
        let policy = Digest::of(terms.policy.as_bytes()).to_string();
        let (short, seconds) = (&policy[..8], terms.seconds);
        let folder = root.join(format!("edition-{EDITION}-{seconds}s-{short}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder })
    }

    fn path(&self, condition: &str, world: &str) -> PathBuf {
        self.folder.join(format!("{condition}--{world}.json"))
    }

    pub fn take(&self, condition: &str, world: &str) -> Result<Option<WorldRecord>> {
        let path = self.path(condition, world);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!("{} is not a record of a world; remove it", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn put(&self, condition: &str, world: &str, record: &WorldRecord) -> Result<()> {
        let path = self.path(condition, world);
        let json = serde_json::to_vec_pretty(record)?;
        let whole = path.with_extension("part");
        fs::write(&whole, json)
            .and_then(|()| fs::rename(&whole, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
