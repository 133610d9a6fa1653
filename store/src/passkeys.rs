//! Passkeys: public keys of people's devices, which sign in instead of a password.

use diesel::prelude::*;

use crate::schema::passkeys;
use crate::{StoreError, Tx};

/// A passkey of an account.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = passkeys)]
pub struct Passkey {
    /// Identifier.
    pub id: String,
    /// Whose.
    pub account_id: String,
    /// What the device calls the key, 16 to 1023 bytes; no two keys have the same.
    pub credential_id: Vec<u8>,
    /// What its owner calls it.
    pub name: String,
    /// The public key, and what was settled when it was made; opaque here.
    pub public_key: Vec<u8>,
    /// What every sign-in may change, such as the device's counter; 7 bytes, opaque here.
    pub state: Vec<u8>,
    /// How the device is reached, as bits; opaque here.
    pub transports: i32,
    /// When it was added, unix ms.
    pub created_at: i64,
    /// When it last signed in, unix ms.
    pub last_used_at: Option<i64>,
}

/// Adds a passkey.
///
/// # Errors
/// [`StoreError::Conflict`] if the credential is known or there is no such account.
pub fn insert(tx: &mut Tx<'_>, row: &Passkey) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(passkeys::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The passkey of that credential.
///
/// # Errors
/// Those of the database.
pub fn by_credential(tx: &mut Tx<'_>, credential_id: &[u8]) -> Result<Option<Passkey>, StoreError> {
    tx.run(|conn| {
        passkeys::table
            .filter(passkeys::credential_id.eq(credential_id))
            .select(Passkey::as_select())
            .get_result(conn)
            .optional()
    })
}

/// The account's passkeys, oldest first.
///
/// # Errors
/// Those of the database.
pub fn of_account(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Passkey>, StoreError> {
    tx.run(|conn| {
        passkeys::table
            .filter(passkeys::account_id.eq(account_id))
            .order(passkeys::created_at)
            .select(Passkey::as_select())
            .load(conn)
    })
}

/// Writes down that a passkey signed in, and its state after it.
///
/// # Errors
/// Those of the database.
pub fn used(tx: &mut Tx<'_>, id: &str, state: &[u8], at: i64) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::update(passkeys::table.find(id))
            .set((
                passkeys::state.eq(state),
                passkeys::last_used_at.eq(Some(at)),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Removes a passkey; removing one that is not there is no error.
///
/// # Errors
/// Those of the database.
pub fn delete(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    tx.run(|conn| diesel::delete(passkeys::table.find(id)).execute(conn))?;
    Ok(())
}

/// Removes every passkey of an account; how many there were.
///
/// # Errors
/// Those of the database.
pub fn forget(tx: &mut Tx<'_>, account_id: &str) -> Result<usize, StoreError> {
    tx.run(|conn| {
        diesel::delete(passkeys::table.filter(passkeys::account_id.eq(account_id))).execute(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn passkey(id: &str, account_id: &str, at: i64) -> Passkey {
        Passkey {
            id: id.to_owned(),
            account_id: account_id.to_owned(),
            credential_id: format!("credential-of-{id:0>8}").into_bytes(),
            name: "laptop".to_owned(),
            public_key: vec![1, 2, 3],
            state: vec![0; 7],
            transports: 0,
            created_at: at,
            last_used_at: None,
        }
    }

    #[test]
    fn passkeys_come_are_used_and_go() {
        within(|tx| {
            let (first, second) = (passkey("1", "ada", 1), passkey("2", "ada", 2));
            let other = passkey("3", "bob", 1);
            for row in [&second, &first, &other] {
                insert(tx, row)?;
            }
            assert_eq!(of_account(tx, "ada")?, [first.clone(), second.clone()]);
            let found = by_credential(tx, &second.credential_id)?;
            assert_eq!(found, Some(second.clone()));
            assert_eq!(by_credential(tx, b"nobody's")?, None);
            used(tx, "2", &[7; 7], 9)?;
            let after = by_credential(tx, &second.credential_id)?.unwrap();
            assert_eq!((after.state, after.last_used_at), (vec![7; 7], Some(9)));
            delete(tx, "1")?;
            assert_eq!(of_account(tx, "ada")?.len(), 1);
            assert_eq!((forget(tx, "ada")?, forget(tx, "ada")?), (1, 0));
            assert_eq!(of_account(tx, "bob")?.len(), 1);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_credential_belongs_to_one_account() {
        let again = within(|tx| {
            insert(tx, &passkey("1", "ada", 1))?;
            let mut row = passkey("1", "bob", 2);
            row.id = "2".to_owned();
            insert(tx, &row)
        });
        assert!(matches!(again, Err(StoreError::Conflict { .. })));
        let nobody = within(|tx| insert(tx, &passkey("1", "nobody", 1)));
        assert!(matches!(nobody, Err(StoreError::Conflict { .. })));
    }
}
