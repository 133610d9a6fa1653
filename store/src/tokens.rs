//! Bearer tokens for programs. Only the hash of a token is kept.

use diesel::prelude::*;

use crate::schema::tokens;
use crate::value::Names;
use crate::{StoreError, Tx, changed};

/// A bearer token.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct Token {
    /// Identifier.
    pub id: String,
    /// Whose it is.
    pub account_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Hash of the secret; unique.
    pub hash: String,
    /// What it allows.
    #[diesel(deserialize_as = Names)]
    pub scopes: Vec<String>,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// When it was last used, unix ms.
    pub last_used_at: Option<i64>,
    /// When it was revoked, unix ms.
    pub revoked_at: Option<i64>,
    /// When it ends by itself, unix ms.
    pub expires_at: Option<i64>,
}

/// Adds a token.
///
/// # Errors
/// [`StoreError::Conflict`] if the id or the hash is taken or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, token: &Token) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(tokens::table)
            .values((
                tokens::id.eq(&token.id),
                tokens::account_id.eq(&token.account_id),
                tokens::name.eq(&token.name),
                tokens::hash.eq(&token.hash),
                tokens::scopes.eq(Names(token.scopes.clone())),
                tokens::created_at.eq(token.created_at),
                tokens::last_used_at.eq(token.last_used_at),
                tokens::revoked_at.eq(token.revoked_at),
                tokens::expires_at.eq(token.expires_at),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// The token with this hash, revoked or not.
///
/// # Errors
/// Those of the database.
pub fn by_hash(tx: &mut Tx<'_>, hash: &str) -> Result<Option<Token>, StoreError> {
    tx.run(|conn| {
        tokens::table
            .filter(tokens::hash.eq(hash))
            .select(Token::as_select())
            .get_result(conn)
            .optional()
    })
}

/// An account's tokens, oldest first, the revoked ones among them.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Token>, StoreError> {
    tx.run(|conn| {
        tokens::table
            .filter(tokens::account_id.eq(account_id))
            .order(tokens::id)
            .select(Token::as_select())
            .load(conn)
    })
}

/// Revokes a token of `account_id`; the first time stays.
///
/// # Errors
/// [`StoreError::NotFound`] if the account has no such token.
pub fn revoke(tx: &mut Tx<'_>, id: &str, account_id: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(
            tokens::table
                .find(id)
                .filter(tokens::account_id.eq(account_id)),
        )
        .set(
            tokens::revoked_at.eq(diesel::dsl::sql::<
                diesel::sql_types::Nullable<diesel::sql_types::BigInt>,
            >("COALESCE(revoked_at, ")
            .bind::<diesel::sql_types::BigInt, _>(at)
            .sql(")")),
        )
        .execute(conn)
    })?;
    changed(rows, "token", id)
}

/// Notes that a token was used.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn touch(tx: &mut Tx<'_>, id: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.beside(|conn| {
        diesel::update(tokens::table.find(id))
            .set(tokens::last_used_at.eq(at))
            .execute(conn)
    })?;
    changed(rows, "token", id)
}

/// Forgets every token of an account.
///
/// # Errors
/// Those of the database.
pub fn forget(tx: &mut Tx<'_>, account_id: &str) -> Result<usize, StoreError> {
    tx.run(|conn| {
        diesel::delete(tokens::table.filter(tokens::account_id.eq(account_id))).execute(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn tokens_are_found_used_and_revoked_once() {
        within(|tx| {
            let token = Token {
                id: "t1".to_owned(),
                account_id: "ada".to_owned(),
                name: "laptop".to_owned(),
                hash: "h1".to_owned(),
                scopes: vec!["read".to_owned(), "trade".to_owned()],
                created_at: 1,
                last_used_at: None,
                revoked_at: None,
                expires_at: Some(9),
            };
            insert(tx, &token)?;
            assert_eq!(by_hash(tx, "h1")?, Some(token.clone()));
            assert_eq!(by_hash(tx, "h2")?, None);
            touch(tx, "t1", 5)?;
            assert_eq!(
                revoke(tx, "t1", "bob", 6),
                Err(StoreError::not_found("token", "t1"))
            );
            revoke(tx, "t1", "ada", 7)?;
            revoke(tx, "t1", "ada", 8)?;
            let stored = Token {
                last_used_at: Some(5),
                revoked_at: Some(7),
                ..token
            };
            assert_eq!(list(tx, "ada")?, [stored]);
            assert_eq!(list(tx, "bob")?, []);
            assert_eq!((forget(tx, "ada")?, list(tx, "ada")?.len()), (1, 0));
            Ok(())
        })
        .unwrap();
    }
}
