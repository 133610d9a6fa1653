//! The one thread that writes: it takes what has queued up, runs every request in a savepoint of its
//! own inside one transaction, commits once, and only then answers. While one commit waits for the disk
//! the next batch gathers, so the rate grows with the load and a lone request waits for nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};
use tokio::sync::oneshot;

use crate::crash::{self, CrashPlan, Moment};
use crate::error::StoreError;
use crate::hot::Hot;
use crate::log;
use crate::prepared::prepared;
use crate::tx::Tx;

/// Called after a commit with the id of its last event.
pub(crate) type Listener = Arc<dyn Fn(u64) + Send + Sync>;

/// What the callers' side shares with the writer thread.
#[derive(Default)]
pub(crate) struct Shared {
    /// Requests sent and not yet taken by the writer.
    pub(crate) queued: AtomicUsize,
    /// Who wants to know of commits that added events.
    pub(crate) listeners: Mutex<Vec<Listener>>,
    /// Grows with every commit that may have changed what others remember: see [`crate::Store::epoch`].
    pub(crate) epoch: AtomicU64,
    /// Grows with every commit: see [`crate::Store::commits`].
    pub(crate) commits: AtomicU64,
    /// Set in a simulation only: when the writing process dies.
    pub(crate) crashes: Option<Arc<dyn CrashPlan>>,
    /// The simulated process is dead: nothing is acknowledged any more.
    pub(crate) dead: AtomicBool,
}

impl Shared {
    /// Tells a simulation's plan where the writer is.
    fn reached(&self, moment: Moment<'_>) {
        if let Some(plan) = &self.crashes {
            crash::ask(plan, self, moment);
        }
    }
}

/// A queued request, its types hidden.
pub(crate) trait Request: Send {
    /// Runs the closure and keeps its result; true when its changes are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Replaces a result that claims success although a query had failed underneath.
    fn refuse(&mut self, failure: StoreError);
    /// Answers: with the result, or with the failure that kept it from becoming durable.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

/// A closure, its result once it ran, and where the caller waits for it.
pub(crate) struct Call<T, E, F, R> {
    pub(crate) closure: Option<F>,
    pub(crate) result: Option<Result<T, E>>,
    pub(crate) reply: R,
}

/// Where a caller waits: a thread, or a task.
pub(crate) trait Reply<T> {
    /// Hands the answer over. The caller may have gone; the change is durable all the same.
    fn send(self, answer: T);
}

impl<T> Reply<T> for SyncSender<T> {
    fn send(self, answer: T) {
        let _ = SyncSender::send(&self, answer);
    }
}

impl<T> Reply<T> for oneshot::Sender<T> {
    fn send(self, answer: T) {
        let _ = oneshot::Sender::send(self, answer);
    }
}

impl<T, E, F, R> Request for Call<T, E, F, R>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
    R: Reply<Result<T, E>> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(closure) = self.closure.take() else {
            return false;
        };
        // A closure that panics leaves nothing behind that others see: its savepoint is rolled back.
        let result = catch_unwind(AssertUnwindSafe(|| closure(tx)))
            .unwrap_or_else(|_| Err(StoreError::Panicked.into()));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn refuse(&mut self, failure: StoreError) {
        if matches!(self.result, Some(Ok(_))) {
            self.result = Some(Err(failure.into()));
        }
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let result = match (failure, self.result) {
            (Some(failure), _) => Err(failure.into()),
            (None, Some(result)) => result,
            (None, None) => Err(StoreError::Closed.into()),
        };
        self.reply.send(result);
    }
}

/// Takes batches until every sender is gone, then closes the database.
pub(crate) fn work(
    mut conn: SqliteConnection,
    requests: &Receiver<Box<dyn Request>>,
    shared: &Shared,
    batch: usize,
) {
    let mut hot = Hot::default();
    let mut last = Pace::default();
    while let Ok(first) = requests.recv() {
        let taken = gather(first, requests, batch, last);
        let size = taken.len();
        shared.queued.fetch_sub(size, Ordering::Relaxed);
        let started = Instant::now();
        // Only the conversion or the drop of a caller's own types can panic here; the writer outlives it.
        let processed = catch_unwind(AssertUnwindSafe(|| {
            process(&mut conn, &mut hot, taken, shared);
        }));
        if processed.is_err() {
            tracing::error!("a request's answer panicked");
            let _ = conn.batch_execute("ROLLBACK");
            hot.clear();
        }
        last = Pace {
            size,
            took: started.elapsed(),
        };
    }
}

/// How large the last batch was, and how long it took.
#[derive(Clone, Copy, Default)]
struct Pace {
    size: usize,
    took: Duration,
}

/// What has queued up behind the first request. Those who were just answered are about to ask again, but
/// the first of them would find the queue empty and go to the disk alone: so until as many have come as
/// last time, we wait for them a small part of what a commit costs.
fn gather(
    first: Box<dyn Request>,
    requests: &Receiver<Box<dyn Request>>,
    batch: usize,
    last: Pace,
) -> Vec<Box<dyn Request>> {
    let until = Instant::now() + last.took / 8;
    let mut taken = vec![first];
    while taken.len() < batch {
        let next = requests.try_recv().ok().or_else(|| {
            let patience = until.saturating_duration_since(Instant::now());
            let worthwhile = taken.len() < last.size && !patience.is_zero();
            worthwhile
                .then(|| requests.recv_timeout(patience).ok())
                .flatten()
        });
        let Some(next) = next else { break };
        taken.push(next);
    }
    taken
}

/// Runs one batch and answers it.
fn process(
    conn: &mut SqliteConnection,
    hot: &mut Hot,
    mut taken: Vec<Box<dyn Request>>,
    shared: &Shared,
) {
    let mut outcome = commit(conn, hot, &mut taken, shared);
    if shared.dead.load(Ordering::Acquire) {
        outcome = Err(StoreError::Closed);
    }
    if let Err(failure) = &outcome
        && *failure != StoreError::Closed
    {
        tracing::error!(requests = taken.len(), %failure, "a batch of writes failed; none of it was kept");
    }
    let failure = outcome.as_ref().err();
    for request in taken {
        request.answer(failure.cloned());
    }
    if let Ok(Some(last)) = outcome {
        notify(shared, last);
    }
}

/// Everything between `BEGIN` and a durable `COMMIT`; the id of the last event that the batch added.
pub(crate) fn commit(
    conn: &mut SqliteConnection,
    hot: &mut Hot,
    taken: &mut [Box<dyn Request>],
    shared: &Shared,
) -> Result<Option<i64>, StoreError> {
    let done = begin(conn).and_then(|()| {
        hot.begin_batch(data_version(conn)?);
        let mut last_event = None;
        for request in taken.iter_mut() {
            last_event = run_one(conn, hot, request.as_mut())?.max(last_event);
        }
        if let Some(last) = last_event {
            log::append_up_to(conn, &mut hot.logged, last)?;
        }
        hot.flush(conn)?;
        shared.reached(Moment::Commit);
        conn.batch_execute("COMMIT")?;
        // Before anybody is answered: whoever was told of a change never meets what was remembered before it.
        if hot.committed() {
            shared.epoch.fetch_add(1, Ordering::Release);
        }
        shared.commits.fetch_add(1, Ordering::Release);
        shared.reached(Moment::Committed);
        Ok(last_event)
    });
    if done.is_err() {
        // Fails when SQLite has rolled back by itself, which is as good.
        let _ = conn.batch_execute("ROLLBACK");
        hot.clear();
    }
    done
}

/// Starts the batch's transaction with the write lock in hand: a deferred one would fail half-way when
/// another process holds it.
fn begin(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    Ok(conn.batch_execute("BEGIN IMMEDIATE")?)
}

/// Runs one request in its savepoint. An error means that the whole batch is lost.
fn run_one(
    conn: &mut SqliteConnection,
    hot: &mut Hot,
    request: &mut dyn Request,
) -> Result<Option<i64>, StoreError> {
    hot.begin();
    let mut tx = Tx::writing(conn, hot);
    let keep = request.run(&mut tx);
    let (last_event, broken) = tx.end(keep);
    if keep && broken.is_none() {
        if hot.has_savepoint() {
            prepared!([], "RELEASE request").execute(conn)?;
        }
        hot.keep();
        return Ok(last_event);
    }
    if hot.has_savepoint() {
        undo(conn, broken.clone())?;
    } else if let Some(failure) = broken {
        // Some of it may be written, and nothing but the batch's own rollback undoes that.
        return Err(failure);
    }
    hot.roll_back();
    if let Some(failure) = broken {
        request.refuse(failure);
    }
    Ok(None)
}

/// Undoes what a request has written since its savepoint.
fn undo(conn: &mut SqliteConnection, broken: Option<StoreError>) -> Result<(), StoreError> {
    // Fails if SQLite has ended the transaction by itself: then the batch is lost, and the request's own
    // failure says why better than "no such savepoint".
    conn.batch_execute("ROLLBACK TO request; RELEASE request")
        .map_err(|error| broken.unwrap_or_else(|| error.into()))
}

/// Changes when another process has changed the file.
fn data_version(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(DataVersion.get_result(conn)?)
}

/// `PRAGMA data_version`, compiled once.
#[derive(Debug, Clone, Copy, QueryId)]
struct DataVersion;

impl QueryFragment<Sqlite> for DataVersion {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> diesel::QueryResult<()> {
        out.push_sql("PRAGMA data_version");
        Ok(())
    }
}

impl Query for DataVersion {
    type SqlType = BigInt;
}

impl RunQueryDsl<SqliteConnection> for DataVersion {}

/// Wakes the listeners; one that panics does not keep the others from hearing.
fn notify(shared: &Shared, last_event: i64) {
    let listeners = shared
        .listeners
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let last_event = u64::try_from(last_event).unwrap_or(0);
    for listener in listeners {
        if catch_unwind(AssertUnwindSafe(|| listener(last_event))).is_err() {
            tracing::error!("a commit listener panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use diesel::RunQueryDsl;

    use crate::testing::{GRANT, seeded, transfer};
    use crate::{Store, StoreError, Tx, control, ledger, outbox};

    fn sql(tx: &mut Tx<'_>, text: &str) -> Result<usize, StoreError> {
        tx.run(|conn| diesel::sql_query(text).execute(conn))
    }

    fn setting(store: &Store, key: &str) -> Option<String> {
        store
            .read::<_, StoreError, _>(|tx| control::get(tx, key))
            .unwrap()
    }

    /// How many pages the file may have from now on; fewer than it has means none more.
    fn limit_pages(store: &Store, pages: i64) {
        store
            .write::<_, StoreError, _>(move |tx| {
                sql(tx, &format!("PRAGMA max_page_count = {pages}")).map(|_| ())
            })
            .unwrap();
    }

    #[test]
    fn a_failure_that_was_hidden_is_not_taken_for_success() {
        let (_folder, store) = seeded();
        let result = store.write::<_, StoreError, _>(|tx| {
            control::put(tx, "before", "1", 1)?;
            // Refused by a trigger: diesel has no name for it, so it might have ended the transaction.
            assert!(sql(tx, "DELETE FROM entries").is_err());
            assert!(control::put(tx, "after", "1", 1).is_err());
            Ok(())
        });
        assert!(
            matches!(&result, Err(StoreError::Database(text)) if text.contains("never deleted")),
            "{result:?}"
        );
        assert_eq!(
            (setting(&store, "before"), setting(&store, "after")),
            (None, None)
        );
        store
            .write::<_, StoreError, _>(|tx| control::put(tx, "next", "1", 1))
            .unwrap();
        assert_eq!(setting(&store, "next").as_deref(), Some("1"));
    }

    #[test]
    fn a_full_disk_refuses_what_it_cannot_keep_and_recovers() {
        let (_folder, store) = seeded();
        limit_pages(&store, 1);
        let large = "x".repeat(1_000_000);
        let results: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let (store, large) = (&store, large.clone());
                    scope.spawn(move || {
                        store.write(move |tx| {
                            let entries = [("ada", -1), ("bob", 1)];
                            ledger::post(tx, &transfer(&format!("t{number}"), &entries))?;
                            outbox::push(tx, 1, "t", "k", &serde_json::Value::Null)?;
                            control::put(tx, &format!("k{number}"), &large, 1)
                        })
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for result in results {
            assert!(
                matches!(&result, Err(StoreError::Database(text)) if text.contains("full")),
                "{result:?}"
            );
        }
        assert_eq!(
            (0..8)
                .filter_map(|number| setting(&store, &format!("k{number}")))
                .count(),
            0
        );
        let (balance, events) = store
            .read::<_, StoreError, _>(|tx| {
                Ok((
                    crate::accounts::get(tx, "ada")?.balance_micro,
                    outbox::last_id(tx)?,
                ))
            })
            .unwrap();
        assert_eq!((balance, events), (GRANT, 0));
        limit_pages(&store, 1_000_000);
        store
            .write::<_, StoreError, _>(move |tx| control::put(tx, "k", &large, 1))
            .unwrap();
        assert!(setting(&store, "k").is_some());
    }

    #[test]
    fn a_transaction_that_sqlite_ended_fails_the_whole_batch_and_no_later_one() {
        let (_folder, store) = seeded();
        let result = store.write::<_, StoreError, _>(|tx| {
            control::put(tx, "before", "1", 1)?;
            // As SQLite does by itself after some input/output errors.
            sql(tx, "ROLLBACK")?;
            Ok(())
        });
        assert!(matches!(result, Err(StoreError::Database(_))), "{result:?}");
        assert_eq!(setting(&store, "before"), None);
        store
            .write::<_, StoreError, _>(|tx| control::put(tx, "next", "1", 1))
            .unwrap();
        assert_eq!(setting(&store, "next").as_deref(), Some("1"));
    }
}
