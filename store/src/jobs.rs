//! Jobs: long work, queued in the transaction that caused it and leased by whoever does it.

use diesel::dsl::min;
use diesel::prelude::*;

use crate::schema::jobs;
use crate::{StoreError, Tx, changed, found};

/// A job.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub struct Job {
    /// Identifier.
    pub id: i64,
    /// What is to be done.
    pub kind: String,
    /// Name of this piece of work; unique, so that it is queued once.
    pub key: String,
    /// The details, JSON.
    pub payload: String,
    /// Not to be started before, unix ms.
    pub run_at: i64,
    /// How often it was started.
    pub attempts: i64,
    /// One of `queued`, `running`, `done`, `failed`.
    pub status: String,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// While running: when somebody else may start it again, unix ms.
    pub lease_until: Option<i64>,
}

/// How many jobs there are in each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for their time or for a worker.
    pub queued: i64,
    /// Leased to a worker.
    pub running: i64,
    /// Finished.
    pub done: i64,
    /// Given up.
    pub failed: i64,
}

/// Jobs of one kind that are not done.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Pending {
    /// What is to be done.
    pub kind: String,
    /// One of `queued`, `running`, `failed`.
    pub status: String,
    /// How many.
    pub count: i64,
    /// When the oldest was to be started, unix ms.
    pub oldest_run_at: Option<i64>,
}

/// Queues a job, unless one with this key was queued before, whatever became of it. Its id comes back.
///
/// # Errors
/// Those of the database.
pub fn enqueue(
    tx: &mut Tx<'_>,
    kind: &str,
    key: &str,
    payload: &str,
    run_at: i64,
) -> Result<i64, StoreError> {
    let rows = tx.run(|conn| {
        diesel::insert_into(jobs::table)
            .values((
                jobs::kind.eq(kind),
                jobs::key.eq(key),
                jobs::payload.eq(payload),
                jobs::run_at.eq(run_at),
                jobs::attempts.eq(0),
                jobs::status.eq("queued"),
            ))
            .on_conflict(jobs::key)
            .do_nothing()
            .execute(conn)
    })?;
    if rows == 1 {
        return tx.last_key();
    }
    let id = tx.run(|conn| {
        jobs::table
            .filter(jobs::key.eq(key))
            .select(jobs::id)
            .get_result(conn)
            .optional()
    })?;
    found(id, "job", key)
}

/// When the first job of these kinds is due, unix ms: a queued one at its time, a leased one when its lease
/// ends. `None` if there is nothing to do.
///
/// # Errors
/// Those of the database.
pub fn next_run_at(tx: &mut Tx<'_>, kinds: &[&str]) -> Result<Option<i64>, StoreError> {
    tx.run(|conn| {
        let queued: Option<i64> = jobs::table
            .filter(jobs::status.eq("queued"))
            .filter(jobs::kind.eq_any(kinds))
            .select(min(jobs::run_at))
            .get_result(conn)?;
        let leased: Option<i64> = jobs::table
            .filter(jobs::status.eq("running"))
            .filter(jobs::kind.eq_any(kinds))
            .select(min(jobs::lease_until))
            .get_result(conn)?;
        Ok(queued.into_iter().chain(leased).min())
    })
}

/// Leases up to `limit` jobs of these kinds until `now + lease_ms`: first those whose worker let its lease run out, then
/// those whose time has come. They come back as they are now, the attempt counted.
///
/// # Errors
/// Those of the database.
pub fn claim(
    tx: &mut Tx<'_>,
    kinds: &[&str],
    now: i64,
    lease_ms: i64,
    limit: i64,
) -> Result<Vec<Job>, StoreError> {
    let mut claimed: Vec<Job> = tx.run(|conn| {
        jobs::table
            .filter(jobs::status.eq("running"))
            .filter(jobs::lease_until.le(now))
            .filter(jobs::kind.eq_any(kinds))
            .order(jobs::lease_until)
            .limit(limit)
            .select(Job::as_select())
            .load(conn)
    })?;
    let rest = limit
        .saturating_sub(i64::try_from(claimed.len()).unwrap_or(limit))
        .max(0);
    let queued: Vec<Job> = tx.run(|conn| {
        jobs::table
            .filter(jobs::status.eq("queued"))
            .filter(jobs::run_at.le(now))
            .filter(jobs::kind.eq_any(kinds))
            .order((jobs::run_at, jobs::id))
            .limit(rest)
            .select(Job::as_select())
            .load(conn)
    })?;
    claimed.extend(queued);
    for job in &mut claimed {
        job.status = "running".to_owned();
        job.attempts += 1;
        job.lease_until = Some(now.saturating_add(lease_ms));
        tx.run(|conn| {
            diesel::update(jobs::table.find(job.id))
                .set((
                    jobs::status.eq(&job.status),
                    jobs::attempts.eq(job.attempts),
                    jobs::lease_until.eq(job.lease_until),
                ))
                .execute(conn)
        })?;
    }
    Ok(claimed)
}

/// Queues every running job again, the attempt not counted: whoever held the leases is gone, and a job
/// is not to blame for that. Only for a server that has just opened the file, which nobody else can have
/// open then; without this, work that a crash cut off would wait for its lease to end.
///
/// # Errors
/// Those of the database.
pub fn requeue_running(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    tx.run(|conn| {
        diesel::update(jobs::table.filter(jobs::status.eq("running")))
            .set((
                jobs::status.eq("queued"),
                jobs::attempts.eq(jobs::attempts - 1),
                jobs::lease_until.eq(None::<i64>),
            ))
            .execute(conn)
    })
}

/// Marks a job as done.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn finish(tx: &mut Tx<'_>, id: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(jobs::table.find(id))
            .set((jobs::status.eq("done"), jobs::lease_until.eq(None::<i64>)))
            .execute(conn)
    })?;
    changed(rows, "job", &id.to_string())
}

/// Queues a job again after a failed attempt.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn retry(tx: &mut Tx<'_>, id: i64, run_at: i64, error: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(jobs::table.find(id))
            .set((
                jobs::status.eq("queued"),
                jobs::run_at.eq(run_at),
                jobs::last_error.eq(error),
                jobs::lease_until.eq(None::<i64>),
            ))
            .execute(conn)
    })?;
    changed(rows, "job", &id.to_string())
}

/// Gives a job up.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn fail(tx: &mut Tx<'_>, id: i64, error: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(jobs::table.find(id))
            .set((
                jobs::status.eq("failed"),
                jobs::last_error.eq(error),
                jobs::lease_until.eq(None::<i64>),
            ))
            .execute(conn)
    })?;
    changed(rows, "job", &id.to_string())
}

/// Up to `limit` jobs, newest first; only those in a status, if given.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, status: Option<&str>, limit: i64) -> Result<Vec<Job>, StoreError> {
    let mut query = jobs::table
        .select(Job::as_select())
        .order(jobs::id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(status) = status {
        query = query.filter(jobs::status.eq(status));
    }
    tx.run(|conn| query.load(conn))
}

/// How many jobs there are in each status.
///
/// # Errors
/// Those of the database.
pub fn counts(tx: &mut Tx<'_>) -> Result<Counts, StoreError> {
    let rows: Vec<(String, i64)> = tx.run(|conn| {
        jobs::table
            .group_by(jobs::status)
            .select((jobs::status, diesel::dsl::count_star()))
            .load(conn)
    })?;
    let of = |status: &str| {
        rows.iter()
            .find(|(name, _)| name == status)
            .map_or(0, |(_, count)| *count)
    };
    Ok(Counts {
        queued: of("queued"),
        running: of("running"),
        done: of("done"),
        failed: of("failed"),
    })
}

/// The jobs that are not done, by kind and status.
///
/// # Errors
/// Those of the database.
pub fn pending(tx: &mut Tx<'_>) -> Result<Vec<Pending>, StoreError> {
    tx.run(|conn| {
        jobs::table
            .filter(jobs::status.eq_any(["queued", "running", "failed"]))
            .group_by((jobs::kind, jobs::status))
            .order((jobs::kind, jobs::status))
            .select((
                jobs::kind,
                jobs::status,
                diesel::dsl::count_star(),
                min(jobs::run_at),
            ))
            .load(conn)
    })
}

/// Forgets the done jobs that were to run before `before`; how many there were. Their keys may then be
/// queued again.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: i64) -> Result<usize, StoreError> {
    tx.run(|conn| {
        diesel::delete(
            jobs::table
                .filter(jobs::status.eq("done"))
                .filter(jobs::run_at.lt(before)),
        )
        .execute(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn claim_ids(tx: &mut Tx<'_>, kinds: &[&str], now: i64) -> Result<Vec<i64>, StoreError> {
        Ok(claim(tx, kinds, now, 10, 9)?
            .into_iter()
            .map(|job| job.id)
            .collect())
    }

    #[test]
    fn a_key_is_queued_once() {
        within(|tx| {
            let id = enqueue(tx, "judge", "e1", "{}", 5)?;
            assert_eq!(enqueue(tx, "judge", "e1", "{}", 99)?, id);
            assert_ne!(enqueue(tx, "judge", "e2", "{}", 5)?, id);
            finish(tx, id)?;
            assert_eq!(enqueue(tx, "judge", "e1", "{}", 99)?, id);
            assert_eq!(
                counts(tx)?,
                Counts {
                    queued: 1,
                    done: 1,
                    ..Counts::default()
                }
            );
            assert_eq!((prune(tx, 5)?, prune(tx, 6)?), (0, 1));
            assert_ne!(enqueue(tx, "judge", "e1", "{}", 5)?, id);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn jobs_are_leased_in_time_by_kind_and_again_when_the_lease_ends() {
        within(|tx| {
            let late = enqueue(tx, "judge", "late", "{}", 50)?;
            let soon = enqueue(tx, "judge", "soon", "{}", 5)?;
            let other = enqueue(tx, "settle", "other", "{}", 1)?;
            assert_eq!(next_run_at(tx, &["judge"])?, Some(5));
            assert!(claim_ids(tx, &["judge"], 4)?.is_empty());
            assert_eq!(claim_ids(tx, &["judge"], 5)?, [soon]);
            assert!(claim_ids(tx, &["judge"], 14)?.is_empty());
            assert_eq!(next_run_at(tx, &["judge"])?, Some(15));
            let again = claim(tx, &["judge", "settle"], 15, 10, 9)?;
            let found: Vec<_> = again
                .iter()
                .map(|job| (job.id, job.attempts, job.lease_until))
                .collect();
            assert_eq!(found, [(soon, 2, Some(25)), (other, 1, Some(25))]);
            assert_eq!(claim(tx, &["judge"], 60, 10, 1)?[0].id, soon);
            assert_eq!(claim_ids(tx, &["judge"], 60)?, [late]);
            assert_eq!(next_run_at(tx, &["audit"])?, None);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_a_crash_cut_off_is_due_at_once() {
        within(|tx| {
            let cut = enqueue(tx, "judge", "e1", "{}", 5)?;
            claim(tx, &["judge"], 5, 600_000, 1)?;
            let failed = enqueue(tx, "judge", "e2", "{}", 5)?;
            fail(tx, failed, "given up")?;
            assert_eq!(requeue_running(tx)?, 1);
            let again = claim(tx, &["judge"], 6, 10, 9)?;
            let found: Vec<_> = again.iter().map(|job| (job.id, job.attempts)).collect();
            assert_eq!(found, [(cut, 1)]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn attempts_fail_and_are_given_up() {
        within(|tx| {
            let id = enqueue(tx, "judge", "e1", "{}", 5)?;
            claim(tx, &["judge"], 5, 10, 1)?;
            retry(tx, id, 30, "no answer")?;
            let job = list(tx, Some("queued"), 9)?.remove(0);
            assert_eq!((job.run_at, job.attempts, job.lease_until), (30, 1, None));
            assert_eq!(job.last_error.as_deref(), Some("no answer"));
            fail(tx, id, "given up")?;
            assert!(claim_ids(tx, &["judge"], 1_000)?.is_empty());
            assert_eq!(list(tx, None, 9)?[0].status, "failed");
            assert_eq!(list(tx, Some("done"), 9)?, []);
            assert_eq!(finish(tx, 99), Err(StoreError::not_found("job", "99")));
            Ok(())
        })
        .unwrap();
    }
}
