//! Crashes on purpose: a simulation learns of every moment at which the writing process could
//! die, and says at which one it does.
//!
//! Dying is simulated, not done. At the chosen moment the plan copies the database's files as
//! they are, which is what `kill -9` would leave behind; from then on this store acknowledges
//! nothing and takes nothing more. Whoever simulates drops it and opens the copy. A store without a
//! plan, that is every store of a running service, has no part of this.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use diesel::connection::{Connection, InstrumentationEvent};
use diesel::sqlite::SqliteConnection;

use crate::writer::Shared;

/// Where the writer is.
#[derive(Clone, Copy)]
pub enum Moment<'a> {
    /// It is about to run a statement; its text is put together when it is shown.
    Statement(&'a dyn Display),
    /// It is about to commit a batch.
    Commit,
    /// It has committed a batch and is about to tell the callers.
    Committed,
}

/// Decides when the writing process dies. Called on the writer thread.
pub trait CrashPlan: Send + Sync {
    /// Whether it dies now. When it does, the plan has copied the database's files before it
    /// returns: the writer, which knows nothing of it, goes on with the ones that are given up.
    fn strikes(&self, moment: Moment<'_>) -> bool;

    /// A statement was compiled that this connection had not run before.
    fn compiled(&self, sql: &str) {
        let _ = sql;
    }
}

/// Has the plan hear of every statement of the writer's connection.
pub(crate) fn observe(
    conn: &mut SqliteConnection,
    plan: &Arc<dyn CrashPlan>,
    shared: &Arc<Shared>,
) {
    let (plan, shared) = (Arc::clone(plan), Arc::clone(shared));
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
        InstrumentationEvent::StartQuery { query, .. } => {
            ask(&plan, &shared, Moment::Statement(query));
        }
        InstrumentationEvent::CacheQuery { sql, .. } => plan.compiled(sql),
        _ => {}
    });
}

/// Marks the store dead if the plan strikes; a dead process dies no second time.
pub(crate) fn ask(plan: &Arc<dyn CrashPlan>, shared: &Shared, moment: Moment<'_>) {
    if !shared.dead.load(Ordering::Acquire) && plan.strikes(moment) {
        shared.dead.store(true, Ordering::Release);
    }
}
