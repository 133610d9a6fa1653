//! Cases with a known answer, and the secret seeds of draws.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::schema::{draw_secrets, gold_cases, gold_views};
use crate::{StoreError, Tx, changed, found};

/// A case with a known answer.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = gold_cases)]
pub struct GoldCase {
    /// Identifier.
    pub id: String,
    /// What jurors are shown, JSON.
    pub snapshot: String,
    /// The answer, billionths.
    pub pi: i64,
    /// Whether the answer is at least one half.
    pub affirms: bool,
    /// Settled market that it was made from.
    pub market_id: Option<String>,
    /// Operator who wrote it.
    pub author_id: Option<String>,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// Not drawn any more.
    pub retired: bool,
}

/// A seed that was committed before anybody knew what it would be used for.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = draw_secrets)]
pub struct DrawSecret {
    /// Its number; secrets are used in this order.
    pub number: i64,
    /// Its BLAKE3, hex.
    pub commitment: String,
    /// The seed, hex.
    pub secret: String,
    /// When it was committed, unix ms.
    pub created_at: i64,
    /// The panel drawn with it.
    pub panel_id: Option<String>,
}

/// Adds a case, unless its market has one.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken.
pub fn insert(tx: &mut Tx<'_>, case: &GoldCase) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(gold_cases::table)
            .values(case)
            .on_conflict(gold_cases::market_id)
            .do_nothing()
            .execute(conn)
    })?;
    Ok(())
}

/// The case with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<GoldCase, StoreError> {
    let row = tx.run(|conn| {
        gold_cases::table
            .find(id)
            .select(GoldCase::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "gold case", id)
}

/// Marks a case as not to be drawn any more.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn retire(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(gold_cases::table.find(id))
            .set(gold_cases::retired.eq(true))
            .execute(conn)
    })?;
    changed(rows, "gold case", id)
}

/// Up to `limit` cases in use with that kind of answer and ids less than `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn in_use(
    tx: &mut Tx<'_>,
    affirms: bool,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<GoldCase>, StoreError> {
    let mut query = gold_cases::table
        .filter(gold_cases::retired.eq(false))
        .filter(gold_cases::affirms.eq(affirms))
        .order(gold_cases::id.desc())
        .limit(limit)
        .select(GoldCase::as_select())
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(gold_cases::id.lt(before));
    }
    tx.run(|conn| query.load(conn))
}

/// Whether a juror has seen a case.
///
/// # Errors
/// Those of the database.
pub fn has_seen(tx: &mut Tx<'_>, account_id: &str, case_id: &str) -> Result<bool, StoreError> {
    let row: Option<String> = tx.run(|conn| {
        gold_views::table
            .find((account_id, case_id))
            .select(gold_views::case_id)
            .get_result(conn)
            .optional()
    })?;
    Ok(row.is_some())
}

/// Notes that a juror is shown a case.
///
/// # Errors
/// [`StoreError::Conflict`] if that was noted before.
pub fn mark_seen(tx: &mut Tx<'_>, account_id: &str, case_id: &str) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(gold_views::table)
            .values((
                gold_views::account_id.eq(account_id),
                gold_views::case_id.eq(case_id),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Adds a secret; its number comes back.
///
/// # Errors
/// Those of the database.
pub fn add_secret(
    tx: &mut Tx<'_>,
    commitment: &str,
    secret: &str,
    created_at: i64,
) -> Result<i64, StoreError> {
    tx.run(|conn| {
        diesel::insert_into(draw_secrets::table)
            .values((
                draw_secrets::commitment.eq(commitment),
                draw_secrets::secret.eq(secret),
                draw_secrets::created_at.eq(created_at),
            ))
            .execute(conn)
    })?;
    tx.last_key()
}

/// Up to `limit` secrets that no panel was drawn with, in the order in which they will be used.
///
/// # Errors
/// Those of the database.
pub fn unused_secrets(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<DrawSecret>, StoreError> {
    tx.run(|conn| {
        draw_secrets::table
            // As in the partial index, word for word.
            .filter(diesel::dsl::sql::<Bool>("panel_id IS NULL"))
            .order(draw_secrets::number)
            .limit(limit)
            .select(DrawSecret::as_select())
            .load(conn)
    })
}

/// The secret with this number.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn secret(tx: &mut Tx<'_>, number: i64) -> Result<DrawSecret, StoreError> {
    let row = tx.run(|conn| {
        draw_secrets::table
            .find(number)
            .select(DrawSecret::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "draw secret", &number.to_string())
}

/// Notes which panel was drawn with a secret.
///
/// # Errors
/// [`StoreError::NotFound`] if it was used before.
pub fn use_secret(tx: &mut Tx<'_>, number: i64, panel_id: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(
            draw_secrets::table
                .find(number)
                .filter(draw_secrets::panel_id.is_null()),
        )
        .set(draw_secrets::panel_id.eq(panel_id))
        .execute(conn)
    })?;
    changed(rows, "unused draw secret", &number.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{gold_case, within};

    #[test]
    fn cases_are_drawn_until_retired_and_a_market_makes_one() {
        within(|tx| {
            insert(tx, &gold_case("g1"))?;
            insert(
                tx,
                &GoldCase {
                    market_id: Some("m1".to_owned()),
                    ..gold_case("g2")
                },
            )?;
            insert(
                tx,
                &GoldCase {
                    market_id: Some("m1".to_owned()),
                    ..gold_case("g3")
                },
            )?;
            let ids = |rows: Vec<GoldCase>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
            assert_eq!(ids(in_use(tx, true, None, 9)?), ["g2", "g1"]);
            assert_eq!(ids(in_use(tx, true, Some("g2"), 9)?), ["g1"]);
            assert_eq!(ids(in_use(tx, false, None, 9)?), Vec::<String>::new());
            retire(tx, "g1")?;
            assert!(get(tx, "g1")?.retired);
            assert_eq!(ids(in_use(tx, true, None, 9)?), ["g2"]);
            assert!(!has_seen(tx, "ada", "g2")?);
            mark_seen(tx, "ada", "g2")?;
            assert!(has_seen(tx, "ada", "g2")?);
            assert_eq!(
                retire(tx, "x"),
                Err(StoreError::not_found("gold case", "x"))
            );
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn secrets_are_used_once_in_order() {
        within(|tx| {
            let first = add_secret(tx, "c1", "s1", 5)?;
            let second = add_secret(tx, "c2", "s2", 5)?;
            assert!(first < second);
            assert_eq!(unused_secrets(tx, 1)?[0].number, first);
            use_secret(tx, first, "p1")?;
            assert!(use_secret(tx, first, "p2").is_err());
            assert_eq!(secret(tx, first)?.panel_id.as_deref(), Some("p1"));
            assert_eq!(unused_secrets(tx, 9)?.len(), 1);
            Ok(())
        })
        .unwrap();
    }
}
