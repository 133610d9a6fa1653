//! The operator's view of the service at work.

use std::time::Duration;

use plumbline_access::Action;
use plumbline_store::jobs::{self, Job, Pending};
use plumbline_store::{SlowRead, ledger};

use crate::context::Context;
use crate::time::{Millis, rfc3339};
use crate::turns::TurnView;
use crate::views::{JobView, OperationsView, PendingView, SlowReadView, ThreadView};
use crate::{Result, Service};

/// Jobs looked at for stuck ones, the latest of each status.
const LOOKED_AT: i64 = 200;

impl Service {
    /// Threads, queues, stuck jobs and slow reads, for the operator.
    pub fn operations(&self, ctx: &Context) -> Result<OperationsView> {
        self.allow(&ctx.actor, Action::ReadOperations)?;
        let now = self.now();
        let (pending, stuck, sum) = self.read(|tx| {
            let mut stuck = jobs::list(tx, Some("failed"), LOOKED_AT)?;
            for status in ["running", "queued"] {
                let listed = jobs::list(tx, Some(status), LOOKED_AT)?;
                stuck.extend(listed.into_iter().filter(|job| is_stuck(job, now)));
            }
            Ok((jobs::pending(tx)?, stuck, ledger::sum(tx)?))
        })?;
        let slow = self.store.slow_reads();
        Ok(OperationsView {
            threads: self.turns.view().into_iter().map(thread_view).collect(),
            pending: pending.into_iter().map(pending_view).collect(),
            stuck: stuck.into_iter().map(job_view).collect(),
            slow_reads: slow.iter().map(|read| slow_view(read, now)).collect(),
            writer_queue: self.store.queue_depth() as u64,
            ledger_sum_micro: sum,
        })
    }
}

/// Tried before and not done, or held by a worker beyond its lease.
fn is_stuck(job: &Job, now: Millis) -> bool {
    match job.status.as_str() {
        "running" => job.attempts > 1 || job.lease_until.is_some_and(|until| until < now),
        _ => job.attempts > 0,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn thread_view(turn: TurnView) -> ThreadView {
    ThreadView {
        name: turn.name.to_owned(),
        busy: turn.busy,
        age_ms: millis(turn.age),
        turns: turn.turns,
        failures: turn.failures,
        longest_ms: millis(turn.longest),
    }
}

fn pending_view(row: Pending) -> PendingView {
    PendingView {
        kind: row.kind,
        status: row.status,
        count: row.count.unsigned_abs(),
        oldest_run_at: row.oldest_run_at.map(rfc3339),
    }
}

/// A job as it is shown.
pub(crate) fn job_view(job: Job) -> JobView {
    JobView {
        kind: job.kind,
        key: job.key,
        status: job.status,
        attempts: job.attempts,
        run_at: rfc3339(job.run_at),
        last_error: job.last_error,
    }
}

fn slow_view(read: &SlowRead, now: Millis) -> SlowReadView {
    let ago = i64::try_from(read.ended.elapsed().as_millis()).unwrap_or(0);
    SlowReadView {
        place: format!("{}:{}", read.place.file(), read.place.line()),
        took_ms: millis(read.took),
        at: rfc3339(now - ago),
    }
}
