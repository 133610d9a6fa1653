//! Accounts: who may hold money and act.

use std::rc::Rc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;

use crate::schema::{accounts, positions};
use crate::value::{Names, text_enum};
use crate::{StoreError, Tx, changed, found};

text_enum! {
    /// What an account is for; it decides whether its balance may go below zero.
    AccountKind {
        /// A person or a program. Never below zero.
        User = "user",
        /// The issuer of credits: the only kind that may go below zero.
        Treasury = "treasury",
        /// Collateral of one market. Never below zero.
        Escrow = "escrow",
        /// Where forfeited credits end. Never below zero.
        Burn = "burn",
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = accounts)]
pub struct Account {
    /// Identifier.
    pub id: String,
    /// What it is for.
    pub kind: AccountKind,
    /// Name shown to people; unique, whatever the case of its letters.
    pub handle: String,
    /// Password hash in PHC format; `None` where nobody can sign in.
    pub password_hash: Option<String>,
    /// Roles held.
    #[diesel(deserialize_as = Names)]
    pub roles: Vec<String>,
    /// Balance, micro-credits: the sum of the account's ledger entries.
    pub balance_micro: i64,
    /// When it was made, unix ms.
    pub created_at: i64,
}

/// Adds an account. Its balance must be 0: money comes by a transfer only.
///
/// # Errors
/// [`StoreError::Conflict`] if the id or the handle is taken; [`StoreError::LedgerUnbalanced`] for a
/// balance other than 0.
pub fn insert(tx: &mut Tx<'_>, account: &Account) -> Result<(), StoreError> {
    if account.balance_micro != 0 {
        return Err(StoreError::LedgerUnbalanced);
    }
    tx.run(|conn| {
        diesel::insert_into(accounts::table)
            .values((
                accounts::id.eq(&account.id),
                accounts::kind.eq(account.kind),
                accounts::handle.eq(&account.handle),
                accounts::handle_key.eq(account.handle.to_lowercase()),
                accounts::password_hash.eq(&account.password_hash),
                accounts::roles.eq(Names(account.roles.clone())),
                accounts::balance_micro.eq(0),
                accounts::created_at.eq(account.created_at),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// The account with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Account, StoreError> {
    let row = tx.account(id)?;
    found(row.map(Rc::unwrap_or_clone), "account", id)
}

/// Reads an account's row.
pub(crate) fn find(conn: &mut SqliteConnection, id: &str) -> QueryResult<Option<Account>> {
    accounts::table
        .find(id)
        .select(Account::as_select())
        .get_result(conn)
        .optional()
}

/// The account with this handle, whatever the case of its letters.
///
/// # Errors
/// Those of the database.
pub fn by_handle(tx: &mut Tx<'_>, handle: &str) -> Result<Option<Account>, StoreError> {
    let key = handle.to_lowercase();
    tx.run(|conn| {
        accounts::table
            .filter(accounts::handle_key.eq(key))
            .select(Account::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` accounts with ids greater than `after`, by id.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, after: Option<&str>, limit: i64) -> Result<Vec<Account>, StoreError> {
    tx.run(|conn| {
        accounts::table
            .filter(accounts::id.gt(after.unwrap_or("")))
            .order(accounts::id)
            .limit(limit)
            .select(Account::as_select())
            .load(conn)
    })
}

/// Replaces an account's roles.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_roles(tx: &mut Tx<'_>, id: &str, roles: &[String]) -> Result<(), StoreError> {
    let roles = Names(roles.to_vec());
    let rows = tx.run(|conn| {
        diesel::update(accounts::table.find(id))
            .set(accounts::roles.eq(roles))
            .execute(conn)
    })?;
    changed(rows, "account", id)
}

/// Replaces an account's password hash.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_password(tx: &mut Tx<'_>, id: &str, password_hash: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(accounts::table.find(id))
            .set(accounts::password_hash.eq(password_hash))
            .execute(conn)
    })?;
    changed(rows, "account", id)
}

/// Takes an account's name, password and roles: nobody can sign in as it any more. Its id stays.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] if another has that handle.
pub fn close(tx: &mut Tx<'_>, id: &str, handle: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(accounts::table.find(id))
            .set((
                accounts::handle.eq(handle),
                accounts::handle_key.eq(handle.to_lowercase()),
                accounts::password_hash.eq(None::<String>),
                accounts::roles.eq(Names(Vec::new())),
            ))
            .execute(conn)
    })?;
    changed(rows, "account", id)
}

/// Whether there is anybody: an account of kind [`AccountKind::User`] with a password. The account of
/// a scheduler inside the server has none, and must not pass for somebody who set the service up.
///
/// # Errors
/// Those of the database.
pub fn any_user(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    tx.run(|conn| {
        let found = accounts::table
            .filter(accounts::kind.eq(AccountKind::User))
            .filter(accounts::password_hash.is_not_null());
        diesel::select(diesel::dsl::exists(found)).get_result(conn)
    })
}

/// What the account has in positions that are not paid out yet, micro-credits: Σ max(cost, 0) over its
/// unpaid positions. A negative cost is a gain that waits for the settlement; it locks nothing.
///
/// # Errors
/// Those of the database.
pub fn locked_micro(tx: &mut Tx<'_>, account_id: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        positions::table
            .filter(positions::account_id.eq(account_id))
            .filter(positions::paid_at.is_null())
            .select(sql::<BigInt>("COALESCE(SUM(MAX(cost_micro, 0)), 0)"))
            .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ledger;
    use crate::testing::{GRANT, account, empty, transfer, within};

    #[test]
    fn what_is_stored_comes_back() {
        let (_folder, store) = empty();
        for kind in [
            AccountKind::User,
            AccountKind::Treasury,
            AccountKind::Escrow,
            AccountKind::Burn,
        ] {
            let mut row = account(kind.as_str(), kind);
            row.password_hash = Some("$argon2id$…".to_owned());
            row.roles = vec!["juror".to_owned(), "a \"quoted\" role".to_owned()];
            let stored = row.clone();
            let read = store.write::<_, StoreError, _>(move |tx| {
                insert(tx, &stored)?;
                get(tx, &stored.id)
            });
            assert_eq!(read, Ok(row));
            assert_eq!(AccountKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(AccountKind::parse("bank"), None);
    }

    #[test]
    fn handles_are_unique_whatever_their_case() {
        within(|tx| {
            let of = |id: &str, handle: &str| Account {
                handle: handle.to_owned(),
                ..account(id, AccountKind::User)
            };
            insert(tx, &of("1", "Älva"))?;
            assert!(matches!(
                insert(tx, &of("2", "äLVA")),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(
                by_handle(tx, "ÄLVA")?.map(|found| found.id),
                Some("1".to_owned())
            );
            assert_eq!(by_handle(tx, "nobody")?, None);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn money_comes_by_transfer_only() {
        let row = Account {
            balance_micro: 1,
            ..account("rich", AccountKind::User)
        };
        assert_eq!(
            within(move |tx| insert(tx, &row)),
            Err(StoreError::LedgerUnbalanced)
        );
    }

    #[test]
    fn lists_counts_and_changes() {
        within(|tx| {
            let ids = |rows: Vec<Account>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
            assert_eq!(
                ids(list(tx, None, 10)?),
                ["ada", "bob", "escrow", "treasury"]
            );
            assert_eq!(ids(list(tx, Some("ada"), 2)?), ["bob", "escrow"]);
            assert!(!any_user(tx)?, "nobody has a password yet");
            set_roles(tx, "ada", &["operator".to_owned()])?;
            set_password(tx, "ada", "hash")?;
            assert!(any_user(tx)?);
            let ada = get(tx, "ada")?;
            assert_eq!(
                (ada.roles, ada.password_hash),
                (vec!["operator".to_owned()], Some("hash".to_owned()))
            );
            close(tx, "ada", "closed:1")?;
            let closed = get(tx, "ada")?;
            assert_eq!(
                (
                    closed.handle.as_str(),
                    closed.password_hash,
                    closed.roles.len()
                ),
                ("closed:1", None, 0)
            );
            assert_eq!(by_handle(tx, "ada")?, None);
            let nobody = Err(StoreError::not_found("account", "x"));
            assert_eq!(set_roles(tx, "x", &[]), nobody);
            assert_eq!(get(tx, "x").map(|_| ()), nobody);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn locked_money_is_the_cost_of_open_positions() {
        use crate::positions::{self, Position};
        within(|tx| {
            assert_eq!(locked_micro(tx, "ada")?, 0);
            let position = |market: &str, cost_micro| Position {
                market_id: market.to_owned(),
                account_id: "ada".to_owned(),
                yes_micro: 1,
                no_micro: 0,
                cost_micro,
                paid_micro: None,
                paid_at: None,
            };
            crate::markets::insert(tx, &crate::testing::market("m2"))?;
            positions::upsert(tx, &position("m1", 300))?;
            positions::upsert(tx, &position("m2", 50))?;
            assert_eq!(locked_micro(tx, "ada")?, 350);
            positions::mark_paid(tx, "m1", "ada", 10, 5)?;
            assert_eq!(locked_micro(tx, "ada")?, 50);
            positions::upsert(tx, &position("m2", -20))?;
            assert_eq!(locked_micro(tx, "ada")?, 0);
            ledger::post(tx, &transfer("t", &[("ada", -GRANT), ("bob", GRANT)]))?;
            assert_eq!(
                (get(tx, "ada")?.balance_micro, get(tx, "bob")?.balance_micro),
                (0, 2 * GRANT)
            );
            Ok(())
        })
        .unwrap();
    }
}
