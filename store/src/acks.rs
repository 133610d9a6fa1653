//! What schedulers report about decisions.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::schema::{acks, decisions};
use crate::{StoreError, Tx, found};

/// A scheduler's report on one phase of carrying out a decision.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = acks)]
pub struct Ack {
    /// The decision.
    pub decision_id: String,
    /// Name of the scheduler.
    pub scheduler: String,
    /// One of `received`, `accepted`, `rejected`, `applying`, `enforced`, `partial`, `failed`, `released`.
    pub phase: String,
    /// When it came, unix ms.
    pub at: i64,
    /// Generation that the scheduler acts on.
    pub observed_generation: i64,
    /// Share really in force, 1/10,000.
    pub actual_bps: Option<i64>,
    /// The report, JSON.
    pub body: String,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new and was stored.
    Inserted,
    /// The same report is stored already (whenever it came).
    Same,
    /// Another report on the same decision, scheduler and phase is stored; this one was not.
    Conflict,
}

/// Stores a report, once per (decision, scheduler, phase).
///
/// # Errors
/// [`StoreError::NotFound`] if there is no such decision.
pub fn put(tx: &mut Tx<'_>, ack: &Ack) -> Result<Put, StoreError> {
    let stored: Option<Ack> = tx.run(|conn| {
        acks::table
            .filter(acks::decision_id.eq(&ack.decision_id))
            .filter(acks::scheduler.eq(&ack.scheduler))
            .filter(acks::phase.eq(&ack.phase))
            .select(Ack::as_select())
            .first(conn)
            .optional()
    })?;
    if let Some(stored) = stored {
        return Ok(
            if stored
                == (Ack {
                    at: stored.at,
                    ..ack.clone()
                })
            {
                Put::Same
            } else {
                Put::Conflict
            },
        );
    }
    let target: Option<String> = tx.run(|conn| {
        decisions::table
            .filter(decisions::decision_id.eq(&ack.decision_id))
            .select(decisions::target_uid)
            .first(conn)
            .optional()
    })?;
    let target = found(target, "decision", &ack.decision_id)?;
    tx.run(|conn| {
        diesel::insert_into(acks::table)
            .values((ack, acks::target_uid.eq(target)))
            .execute(conn)
    })?;
    Ok(Put::Inserted)
}

/// The reports on a decision, in the order they came.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, decision_id: &str) -> Result<Vec<Ack>, StoreError> {
    let mut rows: Vec<(i64, Ack)> = tx.run(|conn| {
        acks::table
            .filter(acks::decision_id.eq(decision_id))
            .select((acks::seq, Ack::as_select()))
            .load(conn)
    })?;
    rows.sort_by_key(|(seq, _)| *seq);
    Ok(rows.into_iter().map(|(_, ack)| ack).collect())
}

/// The last report of each scheduler on any decision about a target, by scheduler.
///
/// # Errors
/// Those of the database.
pub fn latest_by_scheduler(tx: &mut Tx<'_>, target_uid: &str) -> Result<Vec<Ack>, StoreError> {
    tx.run(|conn| {
        acks::table
            .filter(
                sql::<Bool>("seq IN (SELECT MAX(seq) FROM acks WHERE target_uid = ")
                    .bind::<Text, _>(target_uid)
                    .sql(" GROUP BY scheduler)"),
            )
            .order(acks::scheduler)
            .select(Ack::as_select())
            .load(conn)
    })
}
