//! When the writing process dies, and what it leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use plumbline_store::{CrashPlan, Moment};

use crate::rng::Rng;

/// Statements of a commit, about.
const STATEMENTS: u32 = 25;
/// A statement of the chosen kind that does not come within so many others is not waited for.
const PATIENCE: u32 = 4_000;

/// The kinds of write points: those that were compiled, and those at which the process died.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Statements that write, by their text without values.
    pub(crate) seen: BTreeSet<String>,
    /// Those before which the process died once.
    pub(crate) struck: BTreeSet<String>,
}

/// How the next death comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// Not at all.
    Never,
    /// Before any statement.
    Statement,
    /// Before a statement of the kind chosen.
    Kind,
    /// Just before a commit.
    Commit,
    /// In the middle of a commit: part of it is in the log.
    Torn,
    /// After a commit, before anybody is told.
    Committed,
}

struct State {
    rng: Rng,
    aim: Aim,
    /// Commits to let pass first.
    wait: u32,
    kind: String,
    patience: u32,
    /// The files as they were before a commit that is to be torn.
    before: Option<(Vec<u8>, Vec<u8>)>,
    struck: bool,
    coverage: Coverage,
}

/// The plan of one life of the database, from its opening to its death.
pub(crate) struct Crashes {
    database: PathBuf,
    copy: PathBuf,
    /// Statements before the first that the state is asked about; without a lock, as there are
    /// hundreds of thousands.
    unasked: AtomicU32,
    state: Mutex<State>,
}

/// The text of a statement without values, cut to what tells kinds apart.
fn kind_of(sql: &str) -> String {
    let text = sql.split(" -- binds").next().unwrap_or(sql);
    text.chars().take(72).collect()
}

fn writes(kind: &str) -> bool {
    [
        "INSERT",
        "UPDATE",
        "DELETE",
        "SAVEPOINT",
        "RELEASE",
        "COMMIT",
        "BEGIN",
    ]
    .iter()
    .any(|verb| kind.starts_with(verb))
}

fn log_of(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

impl Crashes {
    /// A plan for the database at `database` that leaves the dead one's files at `copy`. `mean` is
    /// how many commits a life lasts, about.
    pub(crate) fn new(
        database: &Path,
        copy: &Path,
        mut rng: Rng,
        mean: u32,
        coverage: Coverage,
    ) -> Self {
        let aim = match rng.below(10) {
            _ if mean == 0 => Aim::Never,
            0..=2 => Aim::Statement,
            3..=5 => Aim::Kind,
            6 => Aim::Commit,
            7..=8 => Aim::Torn,
            _ => Aim::Committed,
        };
        let commits = 1 + rng.below(2 * u64::from(mean)) as u32;
        let left: Vec<&String> = coverage.seen.difference(&coverage.struck).collect();
        let kind = rng.pick(&left).map(|kind| (*kind).clone());
        let statements = match aim {
            // A commit has about as many statements as this.
            Aim::Statement | Aim::Kind => commits * STATEMENTS,
            _ => u32::MAX,
        };
        Self {
            database: database.to_owned(),
            copy: copy.to_owned(),
            unasked: AtomicU32::new(statements),
            state: Mutex::new(State {
                rng,
                aim: if kind.is_none() && aim == Aim::Kind {
                    Aim::Statement
                } else {
                    aim
                },
                wait: commits,
                kind: kind.unwrap_or_default(),
                patience: PATIENCE,
                before: None,
                struck: false,
                coverage,
            }),
        }
    }

    /// Whether the process has died.
    pub(crate) fn has_struck(&self) -> bool {
        self.state().struck
    }

    /// What was seen of write points so far.
    pub(crate) fn coverage(&self) -> Coverage {
        self.state().coverage.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the files as they are now.
    fn leave(&self) -> bool {
        fs::copy(&self.database, &self.copy).is_ok()
            && fs::copy(log_of(&self.database), log_of(&self.copy)).is_ok()
    }

    /// Leaves the database as it was before a commit, and a log into which part of the commit was
    /// written.
    fn leave_torn(&self, state: &mut State) -> bool {
        let (Some((database, old)), Ok(new)) =
            (state.before.take(), fs::read(log_of(&self.database)))
        else {
            return false;
        };
        let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let cut = same + state.rng.index((new.len() - same).max(1));
        let mut torn = new[..cut].to_vec();
        torn.extend_from_slice(old.get(cut..).unwrap_or_default());
        fs::write(&self.copy, database).is_ok() && fs::write(log_of(&self.copy), torn).is_ok()
    }
}

impl State {
    /// Counts one moment down; true when the wait is over.
    fn due(&mut self) -> bool {
        self.wait = self.wait.saturating_sub(1);
        self.wait == 0
    }

    /// Every statement is looked at, until one fits.
    fn strikes_before(&mut self, sql: &dyn std::fmt::Display) -> bool {
        let kind = kind_of(&sql.to_string());
        self.patience -= 1;
        let fits = match self.aim {
            Aim::Kind => kind == self.kind || self.patience == 0,
            _ => writes(&kind) || self.patience == 0,
        };
        if fits {
            self.coverage.struck.insert(kind);
        }
        fits
    }
}

impl CrashPlan for Crashes {
    fn strikes(&self, moment: Moment<'_>) -> bool {
        if matches!(moment, Moment::Statement(_)) {
            // Only the writer counts, so that nothing comes between.
            let left = self.unasked.load(Ordering::Relaxed);
            if left > 0 {
                if left < u32::MAX {
                    self.unasked.store(left - 1, Ordering::Relaxed);
                }
                return false;
            }
        }
        let mut state = self.state();
        let struck = match (moment, state.aim) {
            (_, Aim::Never) => false,
            (Moment::Statement(sql), _) => state.strikes_before(sql) && self.leave(),
            (Moment::Commit, Aim::Commit) => state.due() && self.leave(),
            (Moment::Commit, Aim::Torn) => {
                if state.due()
                    && let Ok(database) = fs::read(&self.database)
                    && let Ok(log) = fs::read(log_of(&self.database))
                {
                    state.before = Some((database, log));
                }
                false
            }
            (Moment::Committed, Aim::Torn) => state.before.is_some() && self.leave_torn(&mut state),
            (Moment::Committed, Aim::Committed) => state.due() && self.leave(),
            _ => false,
        };
        if struck {
            match moment {
                Moment::Statement(_) => {}
                Moment::Commit => {
                    state.coverage.struck.insert("COMMIT, before".to_owned());
                }
                Moment::Committed if state.aim == Aim::Torn => {
                    state.coverage.struck.insert("COMMIT, within".to_owned());
                }
                Moment::Committed => {
                    state.coverage.struck.insert("COMMIT, after".to_owned());
                }
            }
            state.struck = true;
        }
        struck
    }

    fn compiled(&self, sql: &str) {
        let kind = kind_of(sql);
        if writes(&kind) {
            self.state().coverage.seen.insert(kind);
        }
    }
}
