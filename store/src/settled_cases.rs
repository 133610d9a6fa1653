//! Settled cases: what the judges had said where a market was settled, each chained to the one before.

use diesel::prelude::*;

use crate::schema::settled_cases;
use crate::{StoreError, Tx, changed};

/// A settled case.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = settled_cases)]
pub struct SettledCase {
    /// Place in the chain, from 1 without gaps.
    pub number: i64,
    /// The market.
    pub market_id: String,
    /// Kind of its claim.
    pub claim_kind: String,
    /// When it was settled, unix ms.
    pub at: i64,
    /// The case as it was hashed, JSON.
    pub record: String,
    /// Covers the record and the hash of the case before.
    pub hash: String,
    /// What the learnt version that had not seen it would have said, log-odds.
    pub learned: Option<f64>,
    /// What the untaught pool would have said, log-odds.
    pub untaught: Option<f64>,
}

/// Adds the next case.
///
/// # Errors
/// [`StoreError::Conflict`] if the number or the market is taken, or the market does not exist.
pub fn insert(tx: &mut Tx<'_>, case: &SettledCase) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(settled_cases::table)
            .values(case)
            .execute(conn)
    })?;
    Ok(())
}

/// Notes what would have been said of a case.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn predicted(
    tx: &mut Tx<'_>,
    number: i64,
    learned: f64,
    untaught: f64,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(settled_cases::table.find(number))
            .set((
                settled_cases::learned.eq(learned),
                settled_cases::untaught.eq(untaught),
            ))
            .execute(conn)
    })?;
    changed(rows, "settled case", &number.to_string())
}

/// The last case of the chain.
///
/// # Errors
/// Those of the database.
pub fn last(tx: &mut Tx<'_>) -> Result<Option<SettledCase>, StoreError> {
    Ok(newest(tx, None, 1)?.pop())
}

/// The case of a market.
///
/// # Errors
/// Those of the database.
pub fn of_market(tx: &mut Tx<'_>, market_id: &str) -> Result<Option<SettledCase>, StoreError> {
    tx.run(|conn| {
        settled_cases::table
            .filter(settled_cases::market_id.eq(market_id))
            .select(SettledCase::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` cases with numbers greater than `after`, in order.
///
/// # Errors
/// Those of the database.
pub fn after(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<SettledCase>, StoreError> {
    tx.run(|conn| {
        settled_cases::table
            .filter(settled_cases::number.gt(after))
            .order(settled_cases::number)
            .limit(limit)
            .select(SettledCase::as_select())
            .load(conn)
    })
}

/// Up to `limit` cases, the latest first; only those of a kind of claim, if given.
///
/// # Errors
/// Those of the database.
pub fn newest(
    tx: &mut Tx<'_>,
    claim_kind: Option<&str>,
    limit: i64,
) -> Result<Vec<SettledCase>, StoreError> {
    let newest = settled_cases::table
        .order(settled_cases::number.desc())
        .limit(limit)
        .select(SettledCase::as_select());
    match claim_kind {
        None => tx.run(|conn| newest.load(conn)),
        Some(kind) => tx.run(|conn| newest.filter(settled_cases::claim_kind.eq(kind)).load(conn)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn cases_are_chained_in_order_and_once_for_a_market() {
        within(|tx| {
            assert_eq!(last(tx)?, None);
            let case = SettledCase {
                number: 1,
                market_id: "m1".to_owned(),
                claim_kind: "backdoor".to_owned(),
                at: 5,
                record: "{}".to_owned(),
                hash: "h1".to_owned(),
                learned: None,
                untaught: None,
            };
            insert(tx, &case)?;
            let again = SettledCase {
                number: 2,
                hash: "h2".to_owned(),
                ..case.clone()
            };
            assert!(matches!(
                insert(tx, &again),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(last(tx)?.as_ref(), Some(&case));
            assert_eq!(of_market(tx, "m1")?.as_ref(), Some(&case));
            assert_eq!(of_market(tx, "m2")?, None);
            assert_eq!(after(tx, 0, 9)?, [case]);
            predicted(tx, 1, 0.5, 0.25)?;
            assert_eq!(last(tx)?.and_then(|case| case.learned), Some(0.5));
            assert!(predicted(tx, 2, 0.5, 0.25).is_err());
            assert_eq!(after(tx, 1, 9)?, []);
            assert!(newest(tx, Some("other"), 9)?.is_empty());
            assert_eq!(newest(tx, Some("backdoor"), 9)?.len(), 1);
            Ok(())
        })
        .unwrap();
    }
}
