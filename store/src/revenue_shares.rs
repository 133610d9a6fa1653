//! What votes gave to accounts of the revenue, and what contributed to it.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::schema::revenue_shares;
use crate::{StoreError, Tx, changed, found};

/// A share of revenue.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = revenue_shares)]
pub struct RevenueShare {
    /// Identifier; also the reference of the transfer that pays it.
    pub id: String,
    /// The vote that gave it.
    pub proposal_id: String,
    /// Name of the period.
    pub period: String,
    /// Whose it is.
    pub account_id: String,
    /// Its weight in the split, > 0.
    pub weight: i64,
    /// What it comes to, micro-credits, > 0.
    pub amount_micro: i64,
    /// When it was given, unix ms.
    pub created_at: i64,
    /// When it was claimed, unix ms.
    pub claimed_at: Option<i64>,
}

/// What an account put into a period.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Contribution {
    /// The account.
    #[diesel(sql_type = Text)]
    pub account_id: String,
    /// How much, micro-credits, > 0.
    #[diesel(sql_type = BigInt)]
    pub amount_micro: i64,
}

/// Adds a share.
///
/// # Errors
/// [`StoreError::Conflict`] if the account has one of this vote.
pub fn insert(tx: &mut Tx<'_>, row: &RevenueShare) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(revenue_shares::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The share with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<RevenueShare, StoreError> {
    let row = tx.run(|conn| {
        revenue_shares::table
            .find(id)
            .select(RevenueShare::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "share of revenue", id)
}

/// Marks a share as claimed.
///
/// # Errors
/// [`StoreError::NotFound`] also for one that was claimed before.
pub fn claim(tx: &mut Tx<'_>, id: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(revenue_shares::table.find(id))
            .filter(revenue_shares::claimed_at.is_null())
            .set(revenue_shares::claimed_at.eq(at))
            .execute(conn)
    })?;
    changed(rows, "share of revenue", id)
}

/// Up to `limit` shares of an account before the one with the id `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    tx: &mut Tx<'_>,
    account_id: &str,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<RevenueShare>, StoreError> {
    tx.run(|conn| {
        revenue_shares::table
            .filter(revenue_shares::account_id.eq(account_id))
            // No identifier sorts after it.
            .filter(revenue_shares::id.lt(before.unwrap_or("~")))
            .order(revenue_shares::id.desc())
            .limit(limit)
            .select(RevenueShare::as_select())
            .load(conn)
    })
}

/// Whether an account has shares to claim.
///
/// # Errors
/// Those of the database.
pub fn any_unclaimed_of(tx: &mut Tx<'_>, account_id: &str) -> Result<bool, StoreError> {
    tx.run(|conn| {
        diesel::select(diesel::dsl::exists(
            revenue_shares::table
                .filter(revenue_shares::account_id.eq(account_id))
                .filter(revenue_shares::claimed_at.is_null()),
        ))
        .get_result(conn)
    })
}

/// Up to `limit` shares of the votes on a period, oldest first.
///
/// # Errors
/// Those of the database.
pub fn of_period(
    tx: &mut Tx<'_>,
    period: &str,
    limit: i64,
) -> Result<Vec<RevenueShare>, StoreError> {
    tx.run(|conn| {
        revenue_shares::table
            .filter(revenue_shares::period.eq(period))
            .order(revenue_shares::id)
            .limit(limit)
            .select(RevenueShare::as_select())
            .load(conn)
    })
}

/// What each juror was paid, less what was taken, for seats of panels settled from `from` to before `until` (unix
/// ms), the most first; at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn juror_pay(
    tx: &mut Tx<'_>,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Contribution>, StoreError> {
    let query = "SELECT s.account_id AS account_id, SUM(s.paid_micro - s.slashed_micro) AS amount_micro \
         FROM panels p JOIN panel_seats s ON s.panel_id = p.id WHERE p.settled_at >= ?1 AND p.settled_at < ?2 \
         GROUP BY s.account_id HAVING amount_micro > 0 ORDER BY amount_micro DESC, account_id LIMIT ?3";
    contributions(tx, query, [from, until, limit])
}

/// The subsidies that each account put into markets opened from `from` to before `until` (unix ms) which were not
/// called off, the most first; at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn subsidies(
    tx: &mut Tx<'_>,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Contribution>, StoreError> {
    let query = "SELECT creator_id AS account_id, SUM(subsidy_micro) AS amount_micro FROM markets \
         WHERE opened_at >= ?1 AND opened_at < ?2 AND status <> 'void' \
         GROUP BY creator_id ORDER BY amount_micro DESC, account_id LIMIT ?3";
    contributions(tx, query, [from, until, limit])
}

fn contributions(
    tx: &mut Tx<'_>,
    query: &str,
    [from, until, limit]: [i64; 3],
) -> Result<Vec<Contribution>, StoreError> {
    tx.run(|conn| {
        diesel::sql_query(query)
            .bind::<BigInt, _>(from)
            .bind::<BigInt, _>(until)
            .bind::<BigInt, _>(limit)
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::markets::{self, Market};
    use crate::panels::{self, Panel, Seat};
    use crate::testing::{panel, proposal, seat, within};

    fn share(id: &str, account: &str) -> RevenueShare {
        RevenueShare {
            id: id.to_owned(),
            proposal_id: "p1".to_owned(),
            period: "revenue-1".to_owned(),
            account_id: account.to_owned(),
            weight: 2,
            amount_micro: 5,
            created_at: 1,
            claimed_at: None,
        }
    }

    #[test]
    fn a_share_is_claimed_once() {
        within(|tx| {
            crate::proposals::insert(tx, &proposal("p1"))?;
            insert(tx, &share("s1", "ada"))?;
            insert(tx, &share("s2", "bob"))?;
            assert!(insert(tx, &share("s3", "ada")).is_err(), "it has one");
            assert!(any_unclaimed_of(tx, "ada")?);
            claim(tx, "s1", 7)?;
            assert!(claim(tx, "s1", 8).is_err(), "it was claimed");
            assert_eq!(get(tx, "s1")?.claimed_at, Some(7));
            assert!(!any_unclaimed_of(tx, "ada")? && any_unclaimed_of(tx, "bob")?);
            assert_eq!(of_account(tx, "bob", None, 9)?, [share("s2", "bob")]);
            assert!(of_account(tx, "bob", Some("s2"), 9)?.is_empty());
            assert_eq!(of_period(tx, "revenue-1", 9)?.len(), 2);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn contributions_of_a_period_are_added_up_by_account() {
        within(|tx| {
            let settled = |id: &str, at| Panel {
                status: "ruled".to_owned(),
                pi: Some(1),
                settled_at: Some(at),
                ..panel(id)
            };
            let paid = |id: &str, account: &str, paid_micro, slashed_micro| Seat {
                state: "revealed".to_owned(),
                paid_micro,
                slashed_micro,
                ..seat(id, account, i64::from(account == "bob"))
            };
            for (id, at) in [("p1", 10), ("p2", 19), ("p3", 20)] {
                let seats = [paid(id, "ada", 5, 0), paid(id, "bob", 9, 1)];
                panels::insert(tx, &settled(id, at), &seats)?;
            }
            let of = |account: &str, amount_micro| Contribution {
                account_id: account.to_owned(),
                amount_micro,
            };
            assert_eq!(juror_pay(tx, 10, 20, 9)?, [of("bob", 16), of("ada", 10)]);
            assert_eq!(juror_pay(tx, 10, 20, 1)?, [of("bob", 16)]);
            assert_eq!(juror_pay(tx, 21, 30, 9)?, []);
            let first = markets::get(tx, "m1")?;
            let at = first.opened_at;
            let whose = of(&first.creator_id, first.subsidy_micro);
            assert_eq!(subsidies(tx, at, at + 1, 9)?, [whose]);
            assert_eq!(subsidies(tx, at + 1, at + 2, 9)?, []);
            let status = "void".to_owned();
            markets::update(tx, &Market { status, ..first })?;
            assert_eq!(subsidies(tx, at, at + 1, 9)?, []);
            Ok(())
        })
        .unwrap();
    }
}
