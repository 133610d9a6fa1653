//! Keys that verify decisions, and the signatures that came beside the service's own.

use diesel::prelude::*;

use crate::schema::{decision_signatures, signing_keys};
use crate::{StoreError, Tx, changed, found};

/// A public key with the time in which it may sign.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys)]
pub struct SigningKey {
    /// Name of the key.
    pub key_id: String,
    /// 32 bytes, hexadecimal.
    pub public_key: String,
    /// Whose it is; `None`: the service's own.
    pub owner_id: Option<String>,
    /// Epoch of decisions from which it signs.
    pub epoch: i64,
    /// First instant at which it counts, unix ms.
    pub not_before: i64,
    /// First instant at which it no longer counts, unix ms; `None`: no end.
    pub not_after: Option<i64>,
    /// DSSE envelope in which keys before it vouch for it, JSON; `None` for the first.
    pub statement: Option<String>,
}

/// A signature beside the service's own.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = decision_signatures)]
pub struct DecisionSignature {
    /// The decision.
    pub decision_id: String,
    /// Key that signed.
    pub key_id: String,
    /// 64 bytes, standard base64.
    pub signature: String,
    /// When it came, unix ms.
    pub at: i64,
}

/// Adds a key.
///
/// # Errors
/// [`StoreError::Conflict`] if it is there.
pub fn insert(tx: &mut Tx<'_>, key: &SigningKey) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(signing_keys::table)
            .values(key)
            .execute(conn)
    })?;
    Ok(())
}

/// The key of this name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, key_id: &str) -> Result<SigningKey, StoreError> {
    let row = tx.look(|conn| {
        signing_keys::table
            .find(key_id)
            .select(SigningKey::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "key", key_id)
}

/// Every key there ever was, oldest first: a few.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<SigningKey>, StoreError> {
    tx.look(|conn| {
        signing_keys::table
            .order((signing_keys::not_before, signing_keys::key_id))
            .select(SigningKey::as_select())
            .load(conn)
    })
}

/// Keys of the service itself that have no end yet, oldest first.
///
/// # Errors
/// Those of the database.
pub fn active_of_service(tx: &mut Tx<'_>) -> Result<Vec<SigningKey>, StoreError> {
    tx.look(|conn| {
        signing_keys::table
            .filter(signing_keys::owner_id.is_null())
            .filter(signing_keys::not_after.is_null())
            .order(signing_keys::not_before)
            .select(SigningKey::as_select())
            .load(conn)
    })
}

/// Ends a key, or ends it earlier.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Database`] for an end before its beginning.
pub fn end(tx: &mut Tx<'_>, key_id: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.beside(|conn| {
        diesel::update(signing_keys::table.find(key_id))
            .set(signing_keys::not_after.eq(at))
            .execute(conn)
    })?;
    changed(rows, "key", key_id)
}

/// Replaces the statement in which others vouch for a key.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_statement(tx: &mut Tx<'_>, key_id: &str, statement: &str) -> Result<(), StoreError> {
    let rows = tx.beside(|conn| {
        diesel::update(signing_keys::table.find(key_id))
            .set(signing_keys::statement.eq(statement))
            .execute(conn)
    })?;
    changed(rows, "key", key_id)
}

/// Adds a signature to a decision.
///
/// # Errors
/// [`StoreError::Conflict`] if the key has signed it, or one of the two is not there.
pub fn sign(tx: &mut Tx<'_>, signature: &DecisionSignature) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(decision_signatures::table)
            .values(signature)
            .execute(conn)
    })?;
    Ok(())
}

/// The signatures of a decision beside the service's own, by key.
///
/// # Errors
/// Those of the database.
pub fn signatures(
    tx: &mut Tx<'_>,
    decision_id: &str,
) -> Result<Vec<DecisionSignature>, StoreError> {
    tx.look(|conn| {
        decision_signatures::table
            .filter(decision_signatures::decision_id.eq(decision_id))
            .order(decision_signatures::key_id)
            .select(DecisionSignature::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::decisions::{self, tests::decision};
    use crate::testing::within;

    fn key(id: &str, owner: Option<&str>, at: i64) -> SigningKey {
        SigningKey {
            key_id: id.to_owned(),
            public_key: format!("{id}{id}"),
            owner_id: owner.map(str::to_owned),
            epoch: 1,
            not_before: at,
            not_after: None,
            statement: None,
        }
    }

    #[test]
    fn keys_come_and_end() {
        within(|tx| {
            let (old, new, of_ada) = (
                key("b", None, 1),
                key("a", None, 5),
                key("c", Some("ada"), 3),
            );
            for row in [&old, &new, &of_ada] {
                insert(tx, row)?;
            }
            assert!(insert(tx, &old).is_err());
            assert_eq!(active_of_service(tx)?, [old.clone(), new.clone()]);
            end(tx, "b", 7)?;
            assert!(end(tx, "b", 0).is_err());
            assert!(end(tx, "z", 7).is_err());
            assert_eq!(active_of_service(tx)?, [new]);
            set_statement(tx, "c", "{}")?;
            assert_eq!(get(tx, "c")?.statement.as_deref(), Some("{}"));
            let order: Vec<String> = list(tx)?.into_iter().map(|key| key.key_id).collect();
            assert_eq!(order, ["b", "c", "a"]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_key_signs_a_decision_once() {
        within(|tx| {
            decisions::insert(tx, &decision("d1", "r1", 1))?;
            insert(tx, &key("a", None, 1))?;
            let signature = DecisionSignature {
                decision_id: "d1".to_owned(),
                key_id: "a".to_owned(),
                signature: "s".to_owned(),
                at: 2,
            };
            sign(tx, &signature)?;
            assert!(matches!(
                sign(tx, &signature),
                Err(StoreError::Conflict { .. })
            ));
            let unknown = DecisionSignature {
                decision_id: "d2".to_owned(),
                ..signature.clone()
            };
            assert!(sign(tx, &unknown).is_err());
            assert_eq!(signatures(tx, "d1")?, [signature]);
            Ok(())
        })
        .unwrap();
    }
}
