//! What inference has set aside, what it used, and the revenue of closed periods.

use diesel::prelude::*;

use crate::schema::{inference_reservations, inference_usage, revenue_periods};
use crate::{StoreError, Tx, changed};

/// Money set aside for a request that is being answered.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = inference_reservations)]
pub struct Reservation {
    /// Identifier; also the reference of its transfers.
    pub id: String,
    /// Who asked.
    pub account_id: String,
    /// The run that answers.
    pub run_id: String,
    /// What is set aside, micro-credits, > 0.
    pub reserved_micro: i64,
    /// When, unix ms.
    pub created_at: i64,
}

/// What an account used of a run in a period.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = inference_usage)]
pub struct Usage {
    /// Who asked.
    pub account_id: String,
    /// First instant of the day, UTC, unix ms.
    pub period: i64,
    /// The run that answered.
    pub run_id: String,
    /// Texts generated.
    pub texts: i64,
    /// Tokens of their prompts.
    pub prompt_tokens: i64,
    /// Tokens generated.
    pub completion_tokens: i64,
    /// What was charged, micro-credits.
    pub charged_micro: i64,
}

/// A closed period of revenue.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = revenue_periods)]
pub struct RevenuePeriod {
    /// First instant, unix ms.
    pub from_at: i64,
    /// First instant after it, unix ms.
    pub until_at: i64,
    /// What was earned, micro-credits.
    pub revenue_micro: i64,
    /// What everybody contributed, JSON.
    pub snapshot: String,
    /// When it was closed, unix ms.
    pub closed_at: i64,
    /// Counts up from 1. Given by the store: [`close`] ignores it.
    #[diesel(skip_insertion)]
    pub version: i64,
}

/// Notes that money was set aside.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the account or run does not exist.
pub fn reserve(tx: &mut Tx<'_>, reservation: &Reservation) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(inference_reservations::table)
            .values(reservation)
            .execute(conn)
    })?;
    Ok(())
}

/// Forgets a reservation. With the transfer in the same transaction this happens once.
///
/// # Errors
/// [`StoreError::NotFound`] if it is not there (any more).
pub fn release(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    let rows =
        tx.run(|conn| diesel::delete(inference_reservations::table.find(id)).execute(conn))?;
    changed(rows, "reservation", id)
}

/// Up to `limit` reservations, by id.
///
/// # Errors
/// Those of the database.
pub fn reservations(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Reservation>, StoreError> {
    tx.run(|conn| {
        inference_reservations::table
            .order(inference_reservations::id)
            .limit(limit)
            .select(Reservation::as_select())
            .load(conn)
    })
}

/// Adds to what an account used of a run in a period.
///
/// # Errors
/// [`StoreError::Conflict`] if the account or run does not exist.
pub fn add_usage(tx: &mut Tx<'_>, usage: &Usage) -> Result<(), StoreError> {
    use inference_usage::dsl;
    tx.run(|conn| {
        diesel::insert_into(dsl::inference_usage)
            .values(usage)
            .on_conflict((dsl::account_id, dsl::period, dsl::run_id))
            .do_update()
            .set((
                dsl::texts.eq(dsl::texts + usage.texts),
                dsl::prompt_tokens.eq(dsl::prompt_tokens + usage.prompt_tokens),
                dsl::completion_tokens.eq(dsl::completion_tokens + usage.completion_tokens),
                dsl::charged_micro.eq(dsl::charged_micro + usage.charged_micro),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` rows of an account from the period `from` on, oldest first.
///
/// # Errors
/// Those of the database.
pub fn usage_of(
    tx: &mut Tx<'_>,
    account_id: &str,
    from: i64,
    limit: i64,
) -> Result<Vec<Usage>, StoreError> {
    tx.run(|conn| {
        inference_usage::table
            .filter(inference_usage::account_id.eq(account_id))
            .filter(inference_usage::period.ge(from))
            .order((inference_usage::period, inference_usage::run_id))
            .limit(limit)
            .select(Usage::as_select())
            .load(conn)
    })
}

/// Up to `limit` rows of everybody in the periods from `from` until before `until`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn usage_between(
    tx: &mut Tx<'_>,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Usage>, StoreError> {
    tx.run(|conn| {
        inference_usage::table
            .filter(inference_usage::period.ge(from))
            .filter(inference_usage::period.lt(until))
            .order((
                inference_usage::period,
                inference_usage::account_id,
                inference_usage::run_id,
            ))
            .limit(limit)
            .select(Usage::as_select())
            .load(conn)
    })
}

/// Closes a period; its version comes back.
///
/// # Errors
/// [`StoreError::Conflict`] if one ends then already.
pub fn close(tx: &mut Tx<'_>, period: &RevenuePeriod) -> Result<i64, StoreError> {
    tx.run(|conn| {
        diesel::insert_into(revenue_periods::table)
            .values(period)
            .execute(conn)
    })?;
    tx.last_key()
}

/// Up to `limit` closed periods, newest first, before `version` if given.
///
/// # Errors
/// Those of the database.
pub fn periods(
    tx: &mut Tx<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<RevenuePeriod>, StoreError> {
    tx.run(|conn| {
        revenue_periods::table
            .filter(revenue_periods::version.lt(before.unwrap_or(i64::MAX)))
            .order(revenue_periods::version.desc())
            .limit(limit)
            .select(RevenuePeriod::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn what_is_set_aside_goes_once_and_usage_adds_up() {
        within(|tx| {
            let one = Reservation {
                id: "q1".to_owned(),
                account_id: "ada".to_owned(),
                run_id: "r1".to_owned(),
                reserved_micro: 5,
                created_at: 1,
            };
            reserve(tx, &one)?;
            assert_eq!(reservations(tx, 9)?, [one]);
            release(tx, "q1")?;
            assert!(release(tx, "q1").is_err());
            let used = Usage {
                account_id: "ada".to_owned(),
                period: 86_400_000,
                run_id: "r1".to_owned(),
                texts: 1,
                prompt_tokens: 2,
                completion_tokens: 3,
                charged_micro: 4,
            };
            add_usage(tx, &used)?;
            add_usage(tx, &used)?;
            let rows = usage_of(tx, "ada", 0, 9)?;
            assert_eq!(rows, usage_between(tx, 0, 86_400_001, 9)?);
            assert_eq!((rows[0].texts, rows[0].charged_micro), (2, 8));
            assert!(usage_of(tx, "ada", 86_400_001, 9)?.is_empty());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn periods_are_closed_once() {
        within(|tx| {
            let period = RevenuePeriod {
                from_at: 0,
                until_at: 10,
                revenue_micro: 7,
                snapshot: "[]".to_owned(),
                closed_at: 11,
                version: 0,
            };
            assert_eq!(close(tx, &period)?, 1);
            assert_eq!(periods(tx, None, 9)?[0].version, 1);
            assert!(matches!(
                close(tx, &period),
                Err(StoreError::Conflict { .. })
            ));
            Ok(())
        })
        .unwrap();
    }
}
