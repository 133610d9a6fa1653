//! What the HTTP API answers about obedience to decisions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /enforcement`: how targets obey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnforcementView {
    /// When this was so.
    pub at: String,
    /// Share of the granted compute whose scheduler reported the newest decision that was due as enforced:
    /// what could be stopped. 0 to 10,000.
    pub stop_coverage_bps: i64,
    /// Targets without such a report, and those whose scheduler has stopped its regular ones.
    pub silent: usize,
    /// Targets that hold more than decided.
    pub diverging: usize,
    /// Every target with a decision that was due.
    pub targets: Vec<TargetEnforcement>,
}

/// How one target obeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetEnforcement {
    /// Run id.
    pub target_uid: String,
    /// Run's name.
    pub target_name: String,
    /// `training` or `inference`: they are decided and obeyed apart.
    pub workload: String,
    /// The newest decision whose time to be enforced is over.
    pub decision_id: String,
    /// Share that is decided now.
    pub share_bps: i64,
    /// Share that is held, by the last report that says so.
    pub held_bps: Option<i64>,
    /// When the last report came.
    pub last_report_at: Option<String>,
    /// Nobody reported that decision as enforced, or the scheduler is overdue.
    pub silent: bool,
    /// A scheduler that reports regularly has not for three times as long as it meant to.
    pub overdue: bool,
    /// More is held than that decision allows.
    pub diverges: bool,
}

/// `POST /enforcement`: what was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportTaken {
    /// When it came.
    pub at: String,
    /// Targets that it was about.
    pub items: usize,
}
