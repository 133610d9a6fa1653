//! Challenges of exhibits: bonded disputes on whether a submission is what it says.

use diesel::prelude::*;

use crate::schema::exhibit_challenges;
use crate::{StoreError, Tx, changed, found};

/// A challenge of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = exhibit_challenges, treat_none_as_null = true)]
pub struct ExhibitChallenge {
    /// Identifier.
    pub id: String,
    /// The submission.
    pub evidence_id: String,
    /// Its market.
    pub market_id: String,
    /// Who challenges.
    pub account_id: String,
    /// Why.
    pub reason: String,
    /// Bond held in the market's bonds while it is open, micro-credits.
    pub bond_micro: i64,
    /// One of `open`, `upheld`, `rejected`, `undecided`.
    pub status: String,
    /// `replay` or `panel`, once decided.
    pub decided_by: Option<String>,
    /// The panel that decides it, if one does.
    pub panel_id: Option<String>,
    /// What the decision rests on.
    pub note: Option<String>,
    /// Part of the losing bond that was burnt, micro-credits.
    pub burnt_micro: Option<i64>,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// When it was closed, unix ms.
    pub decided_at: Option<i64>,
}

/// Adds a challenge.
///
/// # Errors
/// [`StoreError::Conflict`] if one of the submission is open already.
pub fn insert(tx: &mut Tx<'_>, row: &ExhibitChallenge) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(exhibit_challenges::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The challenge with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<ExhibitChallenge, StoreError> {
    let row = tx.run(|conn| {
        exhibit_challenges::table
            .find(id)
            .select(ExhibitChallenge::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "challenge", id)
}

/// Writes back a challenge.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, row: &ExhibitChallenge) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(exhibit_challenges::table.find(&row.id))
            .set(row)
            .execute(conn)
    })?;
    changed(rows, "challenge", &row.id)
}

/// Up to `limit` challenges of a submission, oldest first.
///
/// # Errors
/// Those of the database.
pub fn of_evidence(
    tx: &mut Tx<'_>,
    evidence_id: &str,
    limit: i64,
) -> Result<Vec<ExhibitChallenge>, StoreError> {
    tx.run(|conn| {
        exhibit_challenges::table
            .filter(exhibit_challenges::evidence_id.eq(evidence_id))
            .order(exhibit_challenges::id)
            .limit(limit)
            .select(ExhibitChallenge::as_select())
            .load(conn)
    })
}

/// Up to `limit` open challenges in a market, oldest first.
///
/// # Errors
/// Those of the database.
pub fn open_in(
    tx: &mut Tx<'_>,
    market_id: &str,
    limit: i64,
) -> Result<Vec<ExhibitChallenge>, StoreError> {
    tx.run(|conn| {
        exhibit_challenges::table
            .filter(exhibit_challenges::market_id.eq(market_id))
            .filter(exhibit_challenges::status.eq("open"))
            .order(exhibit_challenges::id)
            .limit(limit)
            .select(ExhibitChallenge::as_select())
            .load(conn)
    })
}

/// Up to `limit` open challenges in any market with ids after `after`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn open(
    tx: &mut Tx<'_>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ExhibitChallenge>, StoreError> {
    tx.run(|conn| {
        exhibit_challenges::table
            .filter(exhibit_challenges::status.eq("open"))
            .filter(exhibit_challenges::id.gt(after.unwrap_or("")))
            .order(exhibit_challenges::id)
            .limit(limit)
            .select(ExhibitChallenge::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evidence;
    use crate::testing::{evidence as submission, within};

    fn row(id: &str) -> ExhibitChallenge {
        ExhibitChallenge {
            id: id.to_owned(),
            evidence_id: "e1".to_owned(),
            market_id: "m1".to_owned(),
            account_id: "bob".to_owned(),
            reason: "made up".to_owned(),
            bond_micro: 5,
            status: "open".to_owned(),
            decided_by: None,
            panel_id: None,
            note: None,
            burnt_micro: None,
            created_at: 1,
            decided_at: None,
        }
    }

    #[test]
    fn one_challenge_at_a_time() {
        within(|tx| {
            evidence::insert(tx, &submission("e1", "h"))?;
            insert(tx, &row("x1"))?;
            assert!(matches!(
                insert(tx, &row("x2")),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(open_in(tx, "m1", 9)?, [row("x1")]);
            let decided = ExhibitChallenge {
                status: "upheld".to_owned(),
                decided_by: Some("replay".to_owned()),
                note: Some("the counts differ".to_owned()),
                decided_at: Some(2),
                ..row("x1")
            };
            update(tx, &decided)?;
            assert_eq!(get(tx, "x1")?, decided);
            insert(tx, &row("x2"))?;
            assert_eq!(of_evidence(tx, "e1", 9)?, [decided, row("x2")]);
            assert_eq!(open(tx, None, 9)?, [row("x2")]);
            assert_eq!(open(tx, Some("x2"), 9)?, []);
            assert!(update(tx, &row("x9")).is_err());
            let undated = ExhibitChallenge {
                decided_at: Some(1),
                ..row("x3")
            };
            assert!(insert(tx, &undated).is_err());
            Ok(())
        })
        .unwrap();
    }
}
