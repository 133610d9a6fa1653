//! Invitations: who may make an account where not everybody may.

use diesel::prelude::*;

use crate::schema::invitations;
use crate::value::Names;
use crate::{StoreError, Tx, changed};

/// An invitation; its code is known to whoever was given it, and here by its hash.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = invitations)]
pub struct Invitation {
    /// Identifier.
    pub id: String,
    /// Hash of the code.
    pub code_hash: String,
    /// Whom it is for, as the operator noted.
    pub note: String,
    /// Roles that the account will have.
    #[diesel(deserialize_as = Names)]
    pub roles: Vec<String>,
    /// The operator who made it.
    pub created_by: String,
    /// When, unix ms.
    pub created_at: i64,
    /// Until when it can be used, unix ms.
    pub expires_at: i64,
    /// The account that was made with it.
    pub used_by: Option<String>,
    /// When, unix ms.
    pub used_at: Option<i64>,
    /// When it was taken back, unix ms.
    pub revoked_at: Option<i64>,
}

/// Adds an invitation.
///
/// # Errors
/// [`StoreError::Conflict`] if the id or the code is taken.
pub fn insert(tx: &mut Tx<'_>, row: &Invitation) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(invitations::table)
            .values((
                invitations::id.eq(&row.id),
                invitations::code_hash.eq(&row.code_hash),
                invitations::note.eq(&row.note),
                invitations::roles.eq(Names(row.roles.clone())),
                invitations::created_by.eq(&row.created_by),
                invitations::created_at.eq(row.created_at),
                invitations::expires_at.eq(row.expires_at),
                invitations::used_by.eq(&row.used_by),
                invitations::used_at.eq(row.used_at),
                invitations::revoked_at.eq(row.revoked_at),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// The invitation whose code has this hash.
///
/// # Errors
/// Those of the database.
pub fn by_code(tx: &mut Tx<'_>, code_hash: &str) -> Result<Option<Invitation>, StoreError> {
    tx.run(|conn| {
        invitations::table
            .filter(invitations::code_hash.eq(code_hash))
            .select(Invitation::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` invitations with ids below `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Invitation>, StoreError> {
    tx.run(|conn| {
        invitations::table
            .filter(invitations::id.lt(before.unwrap_or("~")))
            .order(invitations::id.desc())
            .limit(limit)
            .select(Invitation::as_select())
            .load(conn)
    })
}

/// Marks an invitation as used; one that was used or taken back stays as it is.
///
/// # Errors
/// [`StoreError::NotFound`] for one that cannot be used any more.
pub fn redeem(tx: &mut Tx<'_>, id: &str, account_id: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(invitations::table.find(id))
            .filter(invitations::used_at.is_null())
            .filter(invitations::revoked_at.is_null())
            .set((
                invitations::used_by.eq(account_id),
                invitations::used_at.eq(at),
            ))
            .execute(conn)
    })?;
    changed(rows, "invitation", id)
}

/// Takes an invitation back.
///
/// # Errors
/// [`StoreError::NotFound`] for one that was used or taken back.
pub fn revoke(tx: &mut Tx<'_>, id: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(invitations::table.find(id))
            .filter(invitations::used_at.is_null())
            .filter(invitations::revoked_at.is_null())
            .set(invitations::revoked_at.eq(at))
            .execute(conn)
    })?;
    changed(rows, "invitation", id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn an_invitation_is_used_once_or_taken_back() {
        within(|tx| {
            let row = |id: &str| Invitation {
                id: id.to_owned(),
                code_hash: format!("hash of {id}"),
                note: "for a friend".to_owned(),
                roles: vec!["participant".to_owned()],
                created_by: "ada".to_owned(),
                created_at: 1,
                expires_at: 9,
                used_by: None,
                used_at: None,
                revoked_at: None,
            };
            insert(tx, &row("1"))?;
            insert(tx, &row("2"))?;
            assert_eq!(by_code(tx, "hash of 1")?, Some(row("1")));
            assert_eq!(by_code(tx, "1")?, None);
            redeem(tx, "1", "bob", 5)?;
            revoke(tx, "2", 6)?;
            for gone in ["1", "2", "3"] {
                let none = Err(StoreError::not_found("invitation", gone));
                assert_eq!(redeem(tx, gone, "ada", 7), none);
                assert_eq!(revoke(tx, gone, 7), none);
            }
            let used = Invitation {
                used_by: Some("bob".to_owned()),
                used_at: Some(5),
                ..row("1")
            };
            let revoked = Invitation {
                revoked_at: Some(6),
                ..row("2")
            };
            assert_eq!(list(tx, None, 9)?, [revoked, used.clone()]);
            assert_eq!(list(tx, Some("2"), 9)?, [used]);
            Ok(())
        })
        .unwrap();
    }
}
