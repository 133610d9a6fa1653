//! Notices of events to addresses that accounts chose, and how their deliveries went.

use diesel::prelude::*;

use crate::schema::{webhook_deliveries, webhooks};
use crate::value::Names;
use crate::{StoreError, Tx, changed, found};

/// Deliveries that are remembered of each webhook.
const REMEMBERED: i64 = 100;

/// An address that is told of events.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = webhooks, treat_none_as_null = true)]
pub struct Webhook {
    /// Identifier.
    pub id: String,
    /// Whose it is.
    pub account_id: String,
    /// Where notices go.
    pub url: String,
    /// Topics of the events, `prefix:*` for all that start so.
    #[diesel(deserialize_as = Names, serialize_as = Names)]
    pub topics: Vec<String>,
    /// What notices are signed with.
    pub secret: String,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// The last event that was dealt with.
    pub event_id: i64,
    /// Failures since the last success.
    pub failures: i64,
    /// Since when it fails, unix ms.
    pub failing_since: Option<i64>,
    /// When to look for the next event, unix ms; `None` once it has ended.
    pub due_at: Option<i64>,
    /// Why it ended.
    pub ended_why: Option<String>,
}

/// One attempt to deliver a notice.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = webhook_deliveries)]
pub struct Delivery {
    /// The webhook.
    pub webhook_id: String,
    /// The event.
    pub event_id: i64,
    /// When, unix ms.
    pub at: i64,
    /// Which attempt for this event, from 1.
    pub attempt: i64,
    /// HTTP status of the answer.
    pub status: Option<i64>,
    /// Why there was none.
    pub error: Option<String>,
}

/// Adds a webhook.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(webhooks::table)
            .values(webhook.clone())
            .execute(conn)
    })?;
    Ok(())
}

/// Replaces a webhook.
///
/// # Errors
/// [`StoreError::NotFound`] where it was taken back meanwhile.
pub fn update(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<(), StoreError> {
    let rows = tx.beside(|conn| {
        diesel::update(webhooks::table.find(&webhook.id))
            .set(webhook.clone())
            .execute(conn)
    })?;
    changed(rows, "webhook", &webhook.id)
}

/// The webhook with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Webhook, StoreError> {
    let row = tx.look(|conn| {
        webhooks::table
            .find(id)
            .select(Webhook::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "webhook", id)
}

/// An account's webhooks, oldest first.
///
/// # Errors
/// Those of the database.
pub fn of_account(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Webhook>, StoreError> {
    tx.look(|conn| {
        webhooks::table
            .filter(webhooks::account_id.eq(account_id))
            .order(webhooks::id)
            .select(Webhook::as_select())
            .load(conn)
    })
}

/// Up to `limit` webhooks that are to look for an event at `now`, those that waited longest first.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<Webhook>, StoreError> {
    tx.look(|conn| {
        webhooks::table
            .filter(webhooks::due_at.le(now))
            .order(webhooks::due_at)
            .limit(limit)
            .select(Webhook::as_select())
            .load(conn)
    })
}

/// Webhooks that fail and have not ended.
///
/// # Errors
/// Those of the database.
pub fn count_failing(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.look(|conn| {
        webhooks::table
            .filter(webhooks::failures.gt(0))
            .filter(webhooks::due_at.is_not_null())
            .count()
            .get_result(conn)
    })
}

/// Takes a webhook of `account_id` back, with the record of its deliveries.
///
/// # Errors
/// [`StoreError::NotFound`] if the account has no such webhook.
pub fn delete(tx: &mut Tx<'_>, id: &str, account_id: &str) -> Result<(), StoreError> {
    let rows = tx.beside(|conn| {
        diesel::delete(
            webhooks::table
                .find(id)
                .filter(webhooks::account_id.eq(account_id)),
        )
        .execute(conn)
    })?;
    changed(rows, "webhook", id)
}

/// Notes an attempt, and forgets all but the newest hundred of the webhook.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such webhook.
pub fn note(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(webhook_deliveries::table)
            .values(delivery)
            .execute(conn)
    })?;
    let id = &delivery.webhook_id;
    let oldest: Option<i64> = tx.look(|conn| {
        webhook_deliveries::table
            .filter(webhook_deliveries::webhook_id.eq(id))
            .order(webhook_deliveries::seq.desc())
            .offset(REMEMBERED)
            .select(webhook_deliveries::seq)
            .first(conn)
            .optional()
    })?;
    let Some(oldest) = oldest else {
        return Ok(());
    };
    tx.beside(|conn| {
        diesel::delete(
            webhook_deliveries::table
                .filter(webhook_deliveries::webhook_id.eq(id))
                .filter(webhook_deliveries::seq.le(oldest)),
        )
        .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` attempts of a webhook, newest first.
///
/// # Errors
/// Those of the database.
pub fn deliveries(
    tx: &mut Tx<'_>,
    webhook_id: &str,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    tx.look(|conn| {
        webhook_deliveries::table
            .filter(webhook_deliveries::webhook_id.eq(webhook_id))
            .order(webhook_deliveries::seq.desc())
            .limit(limit)
            .select(Delivery::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::within;

    fn webhook(id: &str, account: &str, due: i64) -> Webhook {
        Webhook {
            id: id.to_owned(),
            account_id: account.to_owned(),
            url: "https://example.org/".to_owned(),
            topics: vec!["allocations".to_owned()],
            secret: "s".to_owned(),
            created_at: 1,
            event_id: 0,
            failures: 0,
            failing_since: None,
            due_at: Some(due),
            ended_why: None,
        }
    }

    #[test]
    fn webhooks_are_found_by_owner_and_when_due() {
        within(|tx| {
            let (a, b, c) = (
                webhook("a", "ada", 9),
                webhook("b", "bob", 5),
                webhook("c", "ada", 50),
            );
            for row in [&a, &b, &c] {
                insert(tx, row)?;
            }
            assert_eq!(of_account(tx, "ada")?, [a.clone(), c]);
            assert_eq!(due(tx, 9, 10)?, [b.clone(), a.clone()]);
            let ended = Webhook {
                due_at: None,
                ended_why: Some("gone".to_owned()),
                failing_since: Some(3),
                ..a.clone()
            };
            update(tx, &ended)?;
            assert_eq!(get(tx, "a")?, ended);
            assert_eq!(due(tx, 9, 10)?, [b]);
            update(tx, &a)?;
            assert_eq!(get(tx, "a")?.failing_since, None);
            assert!(delete(tx, "a", "bob").is_err());
            delete(tx, "a", "ada")?;
            assert!(update(tx, &a).is_err());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_newest_deliveries_are_remembered() {
        within(|tx| {
            insert(tx, &webhook("a", "ada", 9))?;
            for event_id in 0..REMEMBERED + 20 {
                let delivery = Delivery {
                    webhook_id: "a".to_owned(),
                    event_id,
                    at: 5,
                    attempt: 1,
                    status: Some(204),
                    error: None,
                };
                note(tx, &delivery)?;
            }
            let kept = deliveries(tx, "a", 1_000)?;
            assert_eq!(kept.len() as i64, REMEMBERED);
            assert_eq!(kept[0].event_id, REMEMBERED + 19);
            delete(tx, "a", "ada")?;
            assert_eq!(deliveries(tx, "a", 5)?, []);
            Ok(())
        })
        .unwrap();
    }
}
