//! Commitments: evidence announced by a hash before it is shown.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::schema::commitments;
use crate::{StoreError, Tx, changed, found};

/// A commitment to evidence in a market.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = commitments)]
pub struct Commitment {
    /// Identifier.
    pub id: String,
    /// The market.
    pub market_id: String,
    /// Who committed.
    pub account_id: String,
    /// The hash, 64 hexadecimal digits.
    pub commitment: String,
    /// Bond held in the market's bonds while it is open, micro-credits.
    pub bond_micro: i64,
    /// One of `open`, `revealed`, `expired`, `released`.
    pub status: String,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// Last moment to reveal it, unix ms.
    pub reveal_by: i64,
    /// The submission that revealed it.
    pub evidence_id: Option<String>,
}

/// Adds a commitment.
///
/// # Errors
/// [`StoreError::Conflict`] if the account made this one in this market before.
pub fn insert(tx: &mut Tx<'_>, row: &Commitment) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(commitments::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The commitment with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Commitment, StoreError> {
    let row = tx.run(|conn| {
        commitments::table
            .find(id)
            .select(Commitment::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "commitment", id)
}

/// Moves an open commitment to another status, with the submission that revealed it if one did.
///
/// # Errors
/// [`StoreError::NotFound`] if it is not open (any more).
pub fn close(
    tx: &mut Tx<'_>,
    id: &str,
    status: &str,
    evidence_id: Option<&str>,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(
            commitments::table
                .find(id)
                .filter(commitments::status.eq("open")),
        )
        .set((
            commitments::status.eq(status),
            commitments::evidence_id.eq(evidence_id),
        ))
        .execute(conn)
    })?;
    changed(rows, "open commitment", id)
}

/// The oldest commitment of a market that is open and may still be revealed at `now`.
///
/// # Errors
/// Those of the database.
pub fn oldest_open(
    tx: &mut Tx<'_>,
    market_id: &str,
    now: i64,
) -> Result<Option<Commitment>, StoreError> {
    tx.run(|conn| {
        commitments::table
            .filter(commitments::market_id.eq(market_id))
            .filter(commitments::status.eq("open"))
            .filter(commitments::reveal_by.ge(now))
            .order((commitments::created_at, commitments::id))
            .select(Commitment::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` open commitments of a market, the oldest first.
///
/// # Errors
/// Those of the database.
pub fn open(tx: &mut Tx<'_>, market_id: &str, limit: i64) -> Result<Vec<Commitment>, StoreError> {
    tx.run(|conn| {
        commitments::table
            .filter(commitments::market_id.eq(market_id))
            .filter(commitments::status.eq("open"))
            .order((commitments::created_at, commitments::id))
            .limit(limit)
            .select(Commitment::as_select())
            .load(conn)
    })
}

/// How many open commitments an account has in a market.
///
/// # Errors
/// Those of the database.
pub fn count_open(tx: &mut Tx<'_>, market_id: &str, account_id: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        commitments::table
            .filter(commitments::market_id.eq(market_id))
            .filter(commitments::account_id.eq(account_id))
            .filter(commitments::status.eq("open"))
            .count()
            .get_result(conn)
    })
}

/// Up to `limit` open commitments whose time to be revealed ended before `now`, in the order in which it ended.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<Commitment>, StoreError> {
    tx.run(|conn| {
        commitments::table
            // As in the partial index, word for word.
            .filter(sql::<Bool>("status = 'open'"))
            .filter(commitments::reveal_by.lt(now))
            .order(commitments::reveal_by)
            .limit(limit)
            .select(Commitment::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evidence;
    use crate::testing::{evidence as submission, within};

    fn row(id: &str, created_at: i64) -> Commitment {
        Commitment {
            id: id.to_owned(),
            market_id: "m1".to_owned(),
            account_id: "ada".to_owned(),
            commitment: format!("hash-{id}"),
            bond_micro: 5,
            status: "open".to_owned(),
            created_at,
            reveal_by: created_at + 10,
            evidence_id: None,
        }
    }

    #[test]
    fn a_commitment_is_open_until_it_is_closed_once() {
        within(|tx| {
            for (id, at) in [("c2", 3), ("c1", 3), ("c3", 2)] {
                insert(tx, &row(id, at))?;
            }
            let again = Commitment {
                id: "c4".to_owned(),
                ..row("c1", 9)
            };
            assert!(matches!(
                insert(tx, &again),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(count_open(tx, "m1", "ada")?, 3);
            assert_eq!(evidence::count_pending(tx, "m1")?, 3);
            assert_eq!(oldest_open(tx, "m1", 5)?.unwrap().id, "c3");
            assert_eq!(
                oldest_open(tx, "m1", 13)?.unwrap().id,
                "c1",
                "c3 is too late, ties go by id"
            );
            assert_eq!(oldest_open(tx, "m1", 14)?, None);
            assert_eq!(due(tx, 12, 9)?, []);
            assert_eq!(due(tx, 13, 9)?, [row("c3", 2)]);
            evidence::insert(tx, &submission("e1", "h"))?;
            close(tx, "c3", "revealed", Some("e1"))?;
            close(tx, "c2", "expired", None)?;
            assert!(matches!(
                close(tx, "c3", "expired", None),
                Err(StoreError::NotFound { .. })
            ));
            assert_eq!(get(tx, "c3")?.evidence_id.as_deref(), Some("e1"));
            assert_eq!(open(tx, "m1", 9)?, [row("c1", 3)]);
            Ok(())
        })
        .unwrap();
    }
}
