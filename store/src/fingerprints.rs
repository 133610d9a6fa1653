//! Fingerprints of judged evidence, with which later evidence is compared.

use diesel::prelude::*;

use crate::schema::fingerprints;
use crate::{StoreError, Tx};

/// Keeps the fingerprint of a submission, in place of one it had.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such submission.
pub fn put(
    tx: &mut Tx<'_>,
    evidence_id: &str,
    market_id: &str,
    data: &[u8],
) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(fingerprints::table)
            .values((
                fingerprints::evidence_id.eq(evidence_id),
                fingerprints::market_id.eq(market_id),
                fingerprints::data.eq(data),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Ids and fingerprints of up to `limit` submissions of a market with ids below `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    market_id: &str,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    tx.run(|conn| {
        fingerprints::table
            .filter(fingerprints::market_id.eq(market_id))
            // Greater than every id, which are ASCII.
            .filter(fingerprints::evidence_id.lt(before.unwrap_or("\u{10ffff}")))
            .order(fingerprints::evidence_id.desc())
            .limit(limit)
            .select((fingerprints::evidence_id, fingerprints::data))
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evidence;
    use crate::testing::{evidence as submission, within};

    #[test]
    fn fingerprints_are_listed_newest_first() {
        within(|tx| {
            for id in ["e1", "e2", "e3"] {
                evidence::insert(tx, &submission(id, id))?;
                put(tx, id, "m1", id.as_bytes())?;
            }
            put(tx, "e2", "m1", b"again")?;
            let ids = |rows: Vec<(String, Vec<u8>)>| -> Vec<String> {
                rows.into_iter().map(|row| row.0).collect()
            };
            assert_eq!(ids(list(tx, "m1", None, 2)?), ["e3", "e2"]);
            assert_eq!(
                list(tx, "m1", Some("e3"), 1)?,
                [("e2".to_owned(), b"again".to_vec())]
            );
            assert_eq!(list(tx, "m2", None, 9)?, []);
            assert!(put(tx, "e9", "m1", b"x").is_err());
            Ok(())
        })
        .unwrap();
    }
}
