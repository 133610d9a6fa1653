//! What an operator looks at when something is slow or stuck.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::JobView;

/// `GET /operations`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationsView {
    /// The threads that work on deadlines and jobs.
    pub threads: Vec<ThreadView>,
    /// Jobs that are not done, by kind and status.
    pub pending: Vec<PendingView>,
    /// Jobs that were given up, or tried more than once, or running for longer than their lease.
    pub stuck: Vec<JobView>,
    /// The latest reads of the database that took a tenth of a second or more.
    pub slow_reads: Vec<SlowReadView>,
    /// Requests that wait for the writer.
    pub writer_queue: u64,
    /// Sum of all balances; 0.
    pub ledger_sum_micro: i64,
}

/// A thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThreadView {
    /// Its name.
    pub name: String,
    /// In the middle of a turn.
    pub busy: bool,
    /// Since the turn began or, between turns, since the last one ended; milliseconds.
    pub age_ms: u64,
    /// Turns since the process started.
    pub turns: u64,
    /// Those that failed.
    pub failures: u64,
    /// The longest one, milliseconds.
    pub longest_ms: u64,
}

/// Jobs of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PendingView {
    /// What is to be done.
    pub kind: String,
    /// `queued`, `running` or `failed`.
    pub status: String,
    /// How many.
    pub count: u64,
    /// When the oldest was to be started.
    pub oldest_run_at: Option<String>,
}

/// A read of the database that took long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SlowReadView {
    /// Source file and line that asked.
    pub place: String,
    /// How long it took.
    pub took_ms: u64,
    /// When it ended.
    pub at: String,
}
