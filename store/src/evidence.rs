//! Evidence: submissions, what the judges made of them, and the move they caused.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::schema::{commitments, evidence};
use crate::{StoreError, Tx, changed, found};

/// A submission of evidence on a market.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = evidence, treat_none_as_null = true)]
pub struct Evidence {
    /// Identifier.
    pub id: String,
    /// The market.
    pub market_id: String,
    /// Who submitted it.
    pub account_id: String,
    /// What it is: a transcript, a measurement, a report, ….
    pub kind: String,
    /// Title.
    pub title: String,
    /// Text.
    pub body: String,
    /// The exhibits, JSON.
    pub exhibits: String,
    /// Hash of the content.
    pub content_hash: String,
    /// Stake offered, micro-credits.
    pub stake_micro: i64,
    /// Fee paid, micro-credits.
    pub fee_micro: i64,
    /// One of `pending`, `judged`, `duplicate`, `rejected`, `struck`.
    pub status: String,
    /// Shift of the ensemble's log-odds.
    pub shift: f64,
    /// Price before its move, as log-odds.
    pub log_odds_before: Option<f64>,
    /// Price after its move, as log-odds.
    pub log_odds_after: Option<f64>,
    /// Part of the stake locked as collateral of the move, micro-credits.
    pub locked_micro: i64,
    /// YES shares booked to the submitter, micro-shares.
    pub yes_micro: i64,
    /// NO shares booked to the submitter, micro-shares.
    pub no_micro: i64,
    /// Each judge's view, JSON.
    pub judgements: String,
    /// What the replay found, JSON.
    pub replay: Option<String>,
    /// Why it was rejected or moved nothing.
    pub reason: Option<String>,
    /// When it was submitted, unix ms.
    pub created_at: i64,
    /// When it was judged, unix ms.
    pub judged_at: Option<i64>,
    /// Bond that it is what it says, micro-credits: posted to the market's bonds with the submission.
    pub bond_micro: i64,
    /// Since when it claims its content: time of its commitment, else of the submission, unix ms.
    pub priority_at: i64,
    /// Breaks ties of `priority_at`: id of the commitment, else its own.
    pub priority_id: String,
    /// The commitment that it revealed.
    pub commitment_id: Option<String>,
    /// Hashes of its attachments, JSON.
    pub attachments: String,
    /// It waits until older commitments are revealed or lapse.
    pub held: bool,
    /// When the market was over and gave back what it held for it, unix ms.
    pub released_at: Option<i64>,
    /// When it was struck, unix ms.
    pub struck_at: Option<i64>,
    /// The version of the oracle that judged it.
    pub oracle_version: Option<String>,
}

/// Adds a submission.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken, if the market has this content already (and this one is not
/// marked as a duplicate), or if the market or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, row: &Evidence) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(evidence::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The submission with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Evidence, StoreError> {
    let row = tx.run(|conn| {
        evidence::table
            .find(id)
            .select(Evidence::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "evidence", id)
}

/// Writes back a submission.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, row: &Evidence) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(evidence::table.find(&row.id))
            .set(row)
            .execute(conn)
    })?;
    changed(rows, "evidence", &row.id)
}

/// Up to `limit` submissions on a market with ids greater than `after`, by id.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    market_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Evidence>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            .filter(evidence::id.gt(after.unwrap_or("")))
            .order(evidence::id)
            .limit(limit)
            .select(Evidence::as_select())
            .load(conn)
    })
}

/// Up to `limit` submissions that wait for their judges, by id.
///
/// # Errors
/// Those of the database.
pub fn pending(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Evidence>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::status.eq("pending"))
            .order(evidence::id)
            .limit(limit)
            .select(Evidence::as_select())
            .load(conn)
    })
}

/// Every judged submission on a market, by id: its exhibit set.
///
/// # Errors
/// Those of the database.
pub fn judged(tx: &mut Tx<'_>, market_id: &str) -> Result<Vec<Evidence>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            .filter(evidence::status.eq("judged"))
            .order(evidence::id)
            .select(Evidence::as_select())
            .load(conn)
    })
}

/// Submissions that wait for the judges: those of a market, and all of them.
///
/// # Errors
/// Those of the database.
pub fn count_waiting(tx: &mut Tx<'_>, market_id: &str) -> Result<(i64, i64), StoreError> {
    tx.run(|conn| {
        let all = evidence::table.filter(evidence::status.eq("pending"));
        let here: i64 = all
            .filter(evidence::market_id.eq(market_id))
            .count()
            .get_result(conn)?;
        Ok((here, all.count().get_result(conn)?))
    })
}

/// What the judges said of the latest up to `limit` judged submissions, the latest first: id, when, judgements as JSON.
///
/// # Errors
/// Those of the database.
pub fn newest_judgements(
    tx: &mut Tx<'_>,
    limit: i64,
) -> Result<Vec<(String, Option<i64>, String)>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::status.eq("judged"))
            .order(evidence::id.desc())
            .limit(limit)
            .select((evidence::id, evidence::judged_at, evidence::judgements))
            .load(conn)
    })
}

/// How many submissions of a market are still to be judged: those that wait for their judges, and open
/// commitments, each of which may become one.
///
/// # Errors
/// Those of the database.
pub fn count_pending(tx: &mut Tx<'_>, market_id: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        let submitted: i64 = evidence::table
            .filter(evidence::market_id.eq(market_id))
            .filter(evidence::status.eq("pending"))
            .count()
            .get_result(conn)?;
        let committed: i64 = commitments::table
            .filter(commitments::market_id.eq(market_id))
            .filter(commitments::status.eq("open"))
            .count()
            .get_result(conn)?;
        Ok(submitted + committed)
    })
}

/// Up to `limit` submissions of a market that wait for older commitments, the oldest claim first.
///
/// # Errors
/// Those of the database.
pub fn held(tx: &mut Tx<'_>, market_id: &str, limit: i64) -> Result<Vec<Evidence>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            // As in the partial index, word for word.
            .filter(sql::<Bool>("held = 1"))
            .order((evidence::priority_at, evidence::priority_id))
            .limit(limit)
            .select(Evidence::as_select())
            .load(conn)
    })
}

/// Up to `limit` submissions of a market that are decided and whose bonds are not dealt with yet, by id.
///
/// # Errors
/// Those of the database.
pub fn unreleased(
    tx: &mut Tx<'_>,
    market_id: &str,
    limit: i64,
) -> Result<Vec<Evidence>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            // As in the partial index, word for word.
            .filter(sql::<Bool>("released_at IS NULL AND status <> 'pending'"))
            .order(evidence::id)
            .limit(limit)
            .select(Evidence::as_select())
            .load(conn)
    })
}

/// How many submissions of any status an account has made on a market.
///
/// # Errors
/// Those of the database.
pub fn count_by_account(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
) -> Result<i64, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            .filter(evidence::account_id.eq(account_id))
            .count()
            .get_result(conn)
    })
}

/// The submission that was first on a market with this content.
///
/// # Errors
/// Those of the database.
pub fn by_hash(
    tx: &mut Tx<'_>,
    market_id: &str,
    content_hash: &str,
) -> Result<Option<Evidence>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            .filter(evidence::content_hash.eq(content_hash))
            // As in the partial index, word for word: SQLite does not use it for a bound value.
            .filter(sql::<Bool>("status NOT IN ('duplicate', 'rejected')"))
            .select(Evidence::as_select())
            .get_result(conn)
            .optional()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{evidence as submission, within};

    fn ids(rows: Vec<Evidence>) -> Vec<String> {
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn a_content_counts_once_per_market() {
        within(|tx| {
            insert(tx, &submission("e1", "h"))?;
            assert!(matches!(
                insert(tx, &submission("e2", "h")),
                Err(StoreError::Conflict { .. })
            ));
            let mut copy = Evidence {
                status: "duplicate".to_owned(),
                ..submission("e2", "h")
            };
            insert(tx, &copy)?;
            assert_eq!(by_hash(tx, "m1", "h")?, Some(submission("e1", "h")));
            assert_eq!(count_by_account(tx, "m1", "ada")?, 2);
            // A duplicate cannot become a second original.
            copy.status = "judged".to_owned();
            assert!(matches!(
                update(tx, &copy),
                Err(StoreError::Conflict { .. })
            ));
            // A rejected one makes room.
            update(
                tx,
                &Evidence {
                    status: "rejected".to_owned(),
                    ..submission("e1", "h")
                },
            )?;
            assert_eq!(by_hash(tx, "m1", "h")?, None);
            insert(tx, &submission("e3", "h"))
        })
        .unwrap();
    }

    #[test]
    fn submissions_go_from_pending_to_judged() {
        within(|tx| {
            for id in ["e2", "e1", "e3"] {
                insert(tx, &submission(id, id))?;
            }
            assert_eq!(ids(pending(tx, 2)?), ["e1", "e2"]);
            assert_eq!(count_pending(tx, "m1")?, 3);
            let judged_row = Evidence {
                status: "judged".to_owned(),
                shift: 0.7,
                log_odds_before: Some(0.0),
                log_odds_after: Some(0.7),
                judged_at: Some(9),
                replay: Some("{}".to_owned()),
                ..submission("e1", "e1")
            };
            update(tx, &judged_row)?;
            assert_eq!(get(tx, "e1")?, judged_row);
            assert_eq!(ids(judged(tx, "m1")?), ["e1"]);
            assert_eq!(ids(pending(tx, 9)?), ["e2", "e3"]);
            assert_eq!(ids(list(tx, "m1", Some("e1"), 1)?), ["e2"]);
            assert_eq!(
                update(tx, &submission("e9", "x")),
                Err(StoreError::not_found("evidence", "e9"))
            );
            let odd = Evidence {
                shift: f64::NAN,
                ..submission("e4", "e4")
            };
            assert!(matches!(insert(tx, &odd), Err(StoreError::Database(_))));
            Ok(())
        })
        .unwrap();
    }
}
