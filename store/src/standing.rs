//! What votes and seals put on runs, and the seals themselves.

use diesel::prelude::*;

use crate::schema::{seals, standing_orders};
use crate::{StoreError, Tx, changed, found};

/// An order on a run for a term.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = standing_orders, treat_none_as_null = true)]
pub struct StandingOrder {
    /// Identifier.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// `proposal` or `seal`.
    pub source_kind: String,
    /// Which one.
    pub source_id: String,
    /// What it does, JSON.
    pub effect: String,
    /// In force from then, unix ms.
    pub from_at: i64,
    /// In force before then, unix ms.
    pub until_at: i64,
    /// For a seal's: the share before, basis points.
    pub before_bps: Option<i64>,
    /// When it was made, unix ms.
    pub created_at: i64,
}

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = seals, treat_none_as_null = true)]
pub struct Seal {
    /// Identifier; sorts by creation.
    pub id: String,
    /// The proposal that made it.
    pub proposal_id: String,
    /// One line.
    pub title: String,
    /// The seal, JSON.
    pub seal: String,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// It can be used before this, unix ms.
    pub expires_at: i64,
    /// When it was used, unix ms.
    pub used_at: Option<i64>,
    /// The order that its use put in force.
    pub order_id: Option<String>,
    /// The proposal about its use.
    pub vote_id: Option<String>,
}

/// Adds an order.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or there is no such run.
pub fn insert(tx: &mut Tx<'_>, order: &StandingOrder) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(standing_orders::table)
            .values(order)
            .execute(conn)
    })?;
    Ok(())
}

/// The order with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<StandingOrder, StoreError> {
    let row = tx.run(|conn| {
        standing_orders::table
            .find(id)
            .select(StandingOrder::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "standing order", id)
}

/// Writes back an order.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, order: &StandingOrder) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(standing_orders::table.find(&order.id))
            .set(order)
            .execute(conn)
    })?;
    changed(rows, "standing order", &order.id)
}

/// Orders that end after `since`, by their end.
///
/// # Errors
/// Those of the database.
pub fn ending_after(tx: &mut Tx<'_>, since: i64) -> Result<Vec<StandingOrder>, StoreError> {
    tx.look(|conn| {
        standing_orders::table
            .filter(standing_orders::until_at.gt(since))
            .order(standing_orders::until_at)
            .select(StandingOrder::as_select())
            .load(conn)
    })
}

/// Up to `limit` orders on a run, newest first.
///
/// # Errors
/// Those of the database.
pub fn of_run(tx: &mut Tx<'_>, run_id: &str, limit: i64) -> Result<Vec<StandingOrder>, StoreError> {
    tx.run(|conn| {
        standing_orders::table
            .filter(standing_orders::run_id.eq(run_id))
            .order(standing_orders::id.desc())
            .limit(limit)
            .select(StandingOrder::as_select())
            .load(conn)
    })
}

/// Adds a seal.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the proposal made one before.
pub fn insert_seal(tx: &mut Tx<'_>, seal: &Seal) -> Result<(), StoreError> {
    tx.run(|conn| diesel::insert_into(seals::table).values(seal).execute(conn))?;
    Ok(())
}

/// The seal with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn seal(tx: &mut Tx<'_>, id: &str) -> Result<Seal, StoreError> {
    let row = tx.run(|conn| {
        seals::table
            .find(id)
            .select(Seal::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "seal", id)
}

/// Writes back a seal.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update_seal(tx: &mut Tx<'_>, seal: &Seal) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(seals::table.find(&seal.id))
            .set(seal)
            .execute(conn)
    })?;
    changed(rows, "seal", &seal.id)
}

/// Up to `limit` seals with ids less than `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn seals(tx: &mut Tx<'_>, before: Option<&str>, limit: i64) -> Result<Vec<Seal>, StoreError> {
    let mut query = seals::table
        .order(seals::id.desc())
        .limit(limit)
        .select(Seal::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(seals::id.lt(before));
    }
    tx.run(|conn| query.load(conn))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{proposal, standing_order, within};

    #[test]
    fn orders_end_and_belong_to_a_run() {
        within(|tx| {
            insert(tx, &standing_order("o1", 10))?;
            insert(tx, &standing_order("o2", 5))?;
            let ending: Vec<_> = ending_after(tx, 5)?.into_iter().map(|o| o.id).collect();
            assert_eq!(ending, ["o1"]);
            assert_eq!(of_run(tx, "r1", 9)?.len(), 2);
            let second = get(tx, "o2")?;
            update(
                tx,
                &StandingOrder {
                    until_at: 20,
                    ..second
                },
            )?;
            assert_eq!(ending_after(tx, 5)?.len(), 2);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_proposal_makes_one_seal() {
        within(|tx| {
            crate::proposals::insert(tx, &proposal("p1"))?;
            let row = Seal {
                id: "s1".to_owned(),
                proposal_id: "p1".to_owned(),
                title: "stop".to_owned(),
                seal: "{}".to_owned(),
                created_at: 1,
                expires_at: 9,
                used_at: None,
                order_id: None,
                vote_id: None,
            };
            insert_seal(tx, &row)?;
            let again = insert_seal(
                tx,
                &Seal {
                    id: "s2".to_owned(),
                    ..row.clone()
                },
            );
            assert!(matches!(again, Err(StoreError::Conflict { .. })));
            let used = Seal {
                used_at: Some(3),
                ..row
            };
            update_seal(tx, &used)?;
            assert_eq!(seal(tx, "s1")?, used);
            assert_eq!(seals(tx, None, 9)?, [used]);
            assert_eq!(seals(tx, Some("s1"), 9)?, []);
            Ok(())
        })
        .unwrap();
    }
}
