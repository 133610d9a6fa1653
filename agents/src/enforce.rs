//! The consumer side of the decision contract, for any kind of scheduler.
//!
//! A [`Consumer`] polls the service, believes only decisions whose signatures
//! verify, refuses what is older than what it holds, has its [`Enforcer`]
//! apply the rest, and acknowledges every phase. What it holds survives a
//! restart, and it keeps to the lease without contact:
//!
//! | time | admits new work | share |
//! |---|---|---|
//! | before `refresh_after` | as decided | the cap |
//! | until `expires_at` | no | the cap |
//! | after it | no | the floor, after saving state |
//!
//! Invariant: silence, an error or a forged answer never raises a share.

mod command;
mod consumer;
mod exec;
mod gateway;
mod process;
mod slurm;
mod state;
mod tracker;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod lost_contact;

pub use consumer::{Consumer, ConsumerConfig, Targets, TrustedKeys};
pub use exec::ExecEnforcer;
pub use gateway::{Gateway, Place, Refusal};
pub use process::{Method, ProcessEnforcer, ProcessOptions, Selector, Signal};
pub use slurm::{Resize, SlurmEnforcer, SlurmOptions};

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use plumbline_governance::decision::{DecisionTarget, InferenceLimits};
use plumbline_governance::{Action, Bps};
use thiserror::Error;
use uuid::Uuid;

use crate::error::ClientError;

/// The full state that a target must be brought to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What it is about.
    pub target: DecisionTarget,
    /// Name of the run, for people; empty when it is not known.
    pub target_name: String,
    /// Decision that says so.
    pub decision_id: Uuid,
    /// Its generation.
    pub generation: u64,
    /// What to do.
    pub action: Action,
    /// Share of the pool that it may use at most.
    pub share_bps: Bps,
    /// The same in units of the decision's baseline, where it has one.
    pub max_units: Option<u64>,
    /// Whether new work may be admitted.
    pub admit_new: bool,
    /// Limits that an inference target must keep to.
    pub inference: Option<InferenceLimits>,
    /// Whether state must be saved before a cut.
    pub checkpoint_first: bool,
    /// Time to save state before a cut, seconds.
    pub grace_s: u64,
    /// Whether the lease has expired, so that this is the floor.
    pub expired: bool,
}

/// What is really in force after an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Share in use. Above the order's share, the order counts as partly
    /// enforced and is tried again.
    pub actual_bps: Bps,
    /// How it is enforced, for example `inner_steps` or `cgroup`, with native job ids if there are any.
    pub method: String,
}

/// An order could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EnforceError(
    /// Why not, for the acknowledgement.
    pub String,
);

/// Whatever can throttle a run: a training host, a process controller, a batch scheduler.
pub trait Enforcer: Send {
    /// An order that did not end well comes again after this.
    const TRY_AGAIN: Duration = Duration::from_secs(5);

    /// Brings the target to the order's state. The same order comes again at
    /// every full reconcile and must then change nothing.
    ///
    /// # Errors
    /// When nothing could be done; the order comes again.
    fn apply(
        &mut self,
        order: &Order,
    ) -> impl Future<Output = Result<Applied, EnforceError>> + Send;

    /// Whether the target is this enforcer's to control. Decisions about others
    /// are left alone and not acknowledged; another scheduler answers for them.
    fn controls(&self, target: &DecisionTarget) -> bool {
        let _ = target;
        true
    }

    /// Opens or closes the order's target for new work; the share stays as it is. Comes after
    /// every `apply`, and alone when a lease is to be refreshed.
    fn admission(&mut self, order: &Order) -> impl Future<Output = ()> + Send;
}

/// Why a consumer cannot run.
#[derive(Debug, Error)]
pub enum ConsumerError {
    /// The state file cannot be read, understood or written. Nothing is acted
    /// on without it, because an older decision could then be taken for new.
    #[error("state file {}: {why}", path.display())]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// No key to verify decisions with.
    #[error("no verification key: {0}")]
    Keys(String),
    /// The settings make no sense.
    #[error("{0}")]
    Settings(String),
    /// The service refuses this client altogether.
    #[error(transparent)]
    Client(#[from] ClientError),
}
