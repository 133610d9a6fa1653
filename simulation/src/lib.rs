//! A seeded simulation of everything at once: thousands of actors, honest and not, trade on
//! hundreds of markets through the real service on a real database, while the writing process
//! dies at any statement and the clock jumps. An independent auditor checks what is left.
//!
//! [`run`] is a function of its seed: clock, randomness, judges, models and the moments of death
//! all follow from it, so a seed that fails fails again. What is simulated is the world round the
//! service (people, judges, models, time, power); the service, its jobs, its store and SQLite are
//! the shipped ones.
//!
//! **Invariant.** Nothing of the service is replaced or reached round: actors use its use cases,
//! and whatever they were told happened must still be there after every death.

mod actors;
mod behave;
mod checks;
mod court;
mod crash;
mod dispute;
mod judge;
mod market;
mod model;
mod plan;
mod play;
mod promise;
mod report;
mod rng;
mod together;
mod world;

pub use actors::Kind;
pub use plan::Scale;
pub use report::{Finding, Profit, Summary};

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plumbline_service::defences::Defences;
use report::Outcome;

/// Why a simulation could not be run at all; what it finds wrong is in its [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// No room or right to make temporary files.
    #[error("cannot make a folder for the simulated database: {0}")]
    Folder(#[from] std::io::Error),
    /// The service could not be started or set up.
    #[error("the simulated service could not be {what}: {why}")]
    Service {
        /// What was tried.
        what: &'static str,
        /// What it answered.
        why: String,
    },
}

impl SimulationError {
    fn service(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Service {
            what,
            why: why.to_string(),
        }
    }
}

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// First seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Seeds that run at the same time.
    pub jobs: usize,
    /// How large each is.
    pub scale: Scale,
    /// Which defences the service has.
    pub defences: Defences,
}

/// Runs every seed and sums up. `seen` hears of each seed as it ends, in no order.
///
/// # Errors
/// When a simulation could not be run; violations are no errors but in the summary.
pub fn simulate(
    options: &Options,
    seen: impl Fn(u64, &[Finding]) + Sync,
) -> Result<Summary, SimulationError> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= options.seeds {
                return;
            }
            let seed = options.from + index;
            let outcome = play::run(seed, &options.scale, options.defences);
            if let Ok(outcome) = &outcome {
                seen(seed, &outcome.findings);
            }
            outcomes
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((seed, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.sort_by_key(|(seed, _)| *seed);
    let mut summary = Summary::default();
    for (_, outcome) in outcomes {
        summary.add(outcome?);
    }
    Ok(summary)
}

/// Runs one seed and gives back the export that the auditor saw, besides what was found.
///
/// # Errors
/// When it could not be run.
pub fn run(seed: u64, scale: &Scale) -> Result<(Vec<u8>, Vec<Finding>), SimulationError> {
    let outcome: Outcome = play::run(seed, scale, Defences::default())?;
    Ok((outcome.export, outcome.findings))
}
