//! Versions of the oracle, and the weights that some of them bring.

use diesel::prelude::*;

use crate::schema::{oracle_versions, oracle_weights};
use crate::{StoreError, Tx, changed, found};

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = oracle_versions)]
pub struct OracleVersion {
    /// Order of making.
    pub number: i64,
    /// Hash of the content.
    pub id: String,
    /// `shipped`, `learned` or `trained`.
    pub origin: String,
    /// The version as it was hashed, JSON.
    pub content: String,
    /// A held-out report that came with it, JSON.
    pub report: Option<String>,
    /// Settled cases seen.
    pub cases: i64,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// Who registered it; absent for what the service made.
    pub created_by: Option<String>,
    /// `candidate`, `in_force` or `retired`.
    pub status: String,
    /// When it last came into force, unix ms.
    pub adopted_at: Option<i64>,
    /// By what it last came into force.
    pub adopted_by: Option<String>,
}

/// A version to add.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = oracle_versions)]
pub struct NewVersion {
    /// Hash of the content.
    pub id: String,
    /// `shipped`, `learned` or `trained`.
    pub origin: String,
    /// The version as it was hashed, JSON.
    pub content: String,
    /// A held-out report, JSON.
    pub report: Option<String>,
    /// Settled cases seen.
    pub cases: i64,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// Who registered it.
    pub created_by: Option<String>,
}

/// Adds a candidate; one that is there already stays as it is. Whether it was added comes back.
///
/// # Errors
/// [`StoreError::Conflict`] if the account does not exist.
pub fn insert(tx: &mut Tx<'_>, version: &NewVersion) -> Result<bool, StoreError> {
    let rows = tx.run(|conn| {
        diesel::insert_into(oracle_versions::table)
            .values((version, oracle_versions::status.eq("candidate")))
            .on_conflict(oracle_versions::id)
            .do_nothing()
            .execute(conn)
    })?;
    Ok(rows == 1)
}

/// The version with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<OracleVersion, StoreError> {
    let row = tx.run(|conn| {
        oracle_versions::table
            .filter(oracle_versions::id.eq(id))
            .select(OracleVersion::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "oracle version", id)
}

/// The version in force; `None` before the first.
///
/// # Errors
/// Those of the database.
pub fn in_force(tx: &mut Tx<'_>) -> Result<Option<OracleVersion>, StoreError> {
    tx.run(|conn| {
        oracle_versions::table
            .filter(oracle_versions::status.eq("in_force"))
            .select(OracleVersion::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Id of the version in force.
///
/// # Errors
/// Those of the database.
pub fn in_force_id(tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
    tx.run(|conn| {
        oracle_versions::table
            .filter(oracle_versions::status.eq("in_force"))
            .select(oracle_versions::id)
            .get_result(conn)
            .optional()
    })
}

/// Puts a version in force in place of the one that was. Doing it again changes nothing; whether anything changed
/// comes back.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn adopt(tx: &mut Tx<'_>, id: &str, by: &str, at: i64) -> Result<bool, StoreError> {
    if get(tx, id)?.status == "in_force" {
        return Ok(false);
    }
    tx.run(|conn| {
        diesel::update(oracle_versions::table.filter(oracle_versions::status.eq("in_force")))
            .set(oracle_versions::status.eq("retired"))
            .execute(conn)
    })?;
    let rows = tx.run(|conn| {
        diesel::update(oracle_versions::table.filter(oracle_versions::id.eq(id)))
            .set((
                oracle_versions::status.eq("in_force"),
                oracle_versions::adopted_at.eq(at),
                oracle_versions::adopted_by.eq(by),
            ))
            .execute(conn)
    })?;
    changed(rows, "oracle version", id)?;
    Ok(true)
}

/// The latest version of an origin.
///
/// # Errors
/// Those of the database.
pub fn latest(tx: &mut Tx<'_>, origin: &str) -> Result<Option<OracleVersion>, StoreError> {
    tx.run(|conn| {
        oracle_versions::table
            .filter(oracle_versions::origin.eq(origin))
            .order(oracle_versions::number.desc())
            .select(OracleVersion::as_select())
            .first(conn)
            .optional()
    })
}

/// Up to `limit` versions, the latest first; only those made before the one with the number `before`, if given.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<OracleVersion>, StoreError> {
    tx.run(|conn| {
        oracle_versions::table
            .filter(oracle_versions::number.lt(before.unwrap_or(i64::MAX)))
            .order(oracle_versions::number.desc())
            .limit(limit)
            .select(OracleVersion::as_select())
            .load(conn)
    })
}

/// Keeps the weights of a judge under their hash; the same again changes nothing.
///
/// # Errors
/// Those of the database.
pub fn put_weights(
    tx: &mut Tx<'_>,
    hash: &str,
    judge: &str,
    data: &[u8],
    at: i64,
) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(oracle_weights::table)
            .values((
                oracle_weights::hash.eq(hash),
                oracle_weights::judge.eq(judge),
                oracle_weights::data.eq(data),
                oracle_weights::created_at.eq(at),
            ))
            .on_conflict(oracle_weights::hash)
            .do_nothing()
            .execute(conn)
    })?;
    Ok(())
}

/// The weights with this hash.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn weights(tx: &mut Tx<'_>, hash: &str) -> Result<Vec<u8>, StoreError> {
    let row = tx.run(|conn| {
        oracle_weights::table
            .find(hash)
            .select(oracle_weights::data)
            .get_result(conn)
            .optional()
    })?;
    found(row, "weights", hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn one_version_is_in_force() {
        within(|tx| {
            let version = |id: &str, origin: &str| NewVersion {
                id: id.to_owned(),
                origin: origin.to_owned(),
                content: "{}".to_owned(),
                report: None,
                cases: 0,
                created_at: 1,
                created_by: None,
            };
            assert_eq!(in_force(tx)?, None);
            assert!(insert(tx, &version("a", "shipped"))?);
            assert!(!insert(tx, &version("a", "shipped"))?);
            insert(tx, &version("b", "learned"))?;
            assert!(adopt(tx, "a", "start", 2)?);
            assert!(adopt(tx, "b", "ada", 3)?);
            assert!(!adopt(tx, "b", "bob", 4)?);
            let now = in_force(tx)?.unwrap();
            assert_eq!(
                (now.id.as_str(), now.adopted_at, now.adopted_by.as_deref()),
                ("b", Some(3), Some("ada"))
            );
            assert_eq!(in_force_id(tx)?.as_deref(), Some("b"));
            assert_eq!(get(tx, "a")?.status, "retired");
            assert_eq!(latest(tx, "shipped")?.unwrap().id, "a");
            assert_eq!(latest(tx, "trained")?, None);
            let ids: Vec<String> = list(tx, None, 9)?.into_iter().map(|row| row.id).collect();
            assert_eq!(ids, ["b", "a"]);
            assert_eq!(list(tx, Some(now.number), 9)?.len(), 1);
            assert!(adopt(tx, "c", "ada", 5).is_err());
            put_weights(tx, "h", "lexical", b"data", 1)?;
            put_weights(tx, "h", "lexical", b"data", 2)?;
            assert_eq!(weights(tx, "h")?, b"data");
            assert!(weights(tx, "x").is_err());
            Ok(())
        })
        .unwrap();
    }
}
