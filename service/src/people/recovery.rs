//! What an operator does on the service's machine when credentials are lost or stolen. The service is stopped
//! meanwhile: nobody asks who may, since whoever can open the database can do all of this anyway.

use plumbline_store::{Store, Tx, accounts, passkeys, second_factors, sessions, tokens};

use crate::entropy::OsEntropy;
use crate::secrets::{PasswordCost, hash_password, random_secret};
use crate::{Result, ServiceError};

/// Accounts read at a time.
const PAGE: i64 = 500;

/// An account with what can be used to act as it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Its handle.
    pub handle: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Whether it asks for one-time codes.
    pub second_factor: bool,
    /// Passkeys, each of which signs in alone.
    pub passkeys: usize,
    /// Tokens that were not revoked.
    pub tokens: usize,
    /// Sessions.
    pub sessions: usize,
}

/// What was ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Accounts that were looked at.
    pub accounts: usize,
    /// Tokens.
    pub tokens: usize,
    /// Sessions.
    pub sessions: usize,
}

/// Every account that somebody can sign in as.
///
/// # Errors
/// Those of the database.
pub fn people(store: &Store) -> Result<Vec<Person>> {
    store.read(|tx| {
        let mut people = Vec::new();
        each_account(tx, |tx, account| {
            let held = tokens::list(tx, &account.id)?;
            let factor = second_factors::get(tx, &account.id)?;
            people.push(Person {
                handle: account.handle.clone(),
                roles: account.roles.clone(),
                second_factor: factor.is_some_and(|row| row.confirmed_at.is_some()),
                passkeys: passkeys::of_account(tx, &account.id)?.len(),
                tokens: held.iter().filter(|row| row.revoked_at.is_none()).count(),
                sessions: sessions::of_account(tx, &account.id)?.len(),
            });
            Ok(())
        })?;
        Ok(people)
    })
}

/// Gives an account a random password, which is the answer, and ends its sessions. With `second_factor` it asks
/// for no one-time code any more, and with `passkeys` none that it had signs in any more.
///
/// # Errors
/// `not-found`, also for accounts of the service itself.
pub fn reset_password(
    store: &Store,
    handle: &str,
    second_factor: bool,
    passkeys: bool,
) -> Result<String> {
    let password = random_secret(&OsEntropy)?;
    let hash = hash_password(&password, PasswordCost::default(), &OsEntropy)?;
    let handle = handle.to_owned();
    store.write(move |tx| {
        let account = person(tx, &handle)?;
        accounts::set_password(tx, &account.id, &hash)?;
        end_sessions(tx, &account.id)?;
        if second_factor {
            second_factors::remove(tx, &account.id)?;
        }
        if passkeys {
            passkeys::forget(tx, &account.id)?;
        }
        Ok::<_, ServiceError>(())
    })?;
    Ok(password)
}

/// Ends every session and token of one account, or of all of them.
///
/// # Errors
/// `not-found`.
pub fn end_credentials(store: &Store, handle: Option<&str>) -> Result<Ended> {
    let handle = handle.map(str::to_owned);
    store.write(move |tx| {
        let mut ended = Ended::default();
        let mut end = |tx: &mut Tx, account: &accounts::Account| {
            ended.accounts += 1;
            ended.tokens += tokens::forget(tx, &account.id)?;
            ended.sessions += end_sessions(tx, &account.id)?;
            Ok(())
        };
        match handle {
            Some(handle) => {
                let account = person(tx, &handle)?;
                end(tx, &account)?;
            }
            None => each_account(tx, end)?,
        }
        Ok(ended)
    })
}

fn end_sessions(tx: &mut Tx, account_id: &str) -> Result<usize> {
    let all = sessions::of_account(tx, account_id)?;
    for session in &all {
        sessions::delete(tx, &session.id_hash)?;
    }
    Ok(all.len())
}

fn person(tx: &mut Tx, handle: &str) -> Result<accounts::Account> {
    accounts::by_handle(tx, handle)?
        .filter(|account| account.password_hash.is_some())
        .ok_or_else(|| ServiceError::not_found("account", handle))
}

fn each_account(
    tx: &mut Tx,
    mut f: impl FnMut(&mut Tx, &accounts::Account) -> Result<()>,
) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = accounts::list(tx, after.as_deref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.id.clone());
        for account in page.iter().filter(|one| one.password_hash.is_some()) {
            f(tx, account)?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::secrets::verify_password;
    use plumbline_store::StoreOptions;
    use plumbline_store::accounts::{Account, AccountKind};

    fn store_of(folder: &std::path::Path) -> Store {
        let store = Store::open(&folder.join("test.db"), StoreOptions::default()).unwrap();
        let account = |id: &str, password: Option<&str>| Account {
            id: id.to_owned(),
            kind: AccountKind::User,
            handle: id.to_owned(),
            password_hash: password.map(str::to_owned),
            roles: vec!["operator".to_owned()],
            balance_micro: 0,
            created_at: 1,
        };
        let rows = [
            account("ada", Some("old")),
            account("eve", Some("old")),
            account("machine", None),
        ];
        store
            .write(move |tx| {
                for row in &rows {
                    accounts::insert(tx, row)?;
                    tokens::insert(tx, &token(&row.id))?;
                    sessions::insert(tx, &session(&row.id))?;
                }
                Ok::<_, ServiceError>(())
            })
            .unwrap();
        store
    }

    fn token(id: &str) -> tokens::Token {
        tokens::Token {
            id: format!("token of {id}"),
            account_id: id.to_owned(),
            name: "t".to_owned(),
            hash: format!("hash of {id}"),
            scopes: vec![],
            created_at: 1,
            last_used_at: None,
            revoked_at: None,
            expires_at: None,
        }
    }

    fn session(id: &str) -> sessions::Session {
        sessions::Session {
            id_hash: format!("session of {id}"),
            account_id: id.to_owned(),
            csrf: "c".to_owned(),
            created_at: 1,
            expires_at: i64::MAX,
            agent: String::new(),
            last_seen_at: None,
        }
    }

    #[test]
    fn a_lost_password_is_replaced_and_what_was_stolen_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_of(folder.path());
        let seen = people(&store).unwrap();
        assert_eq!(seen.len(), 2, "the service's own accounts are nobody's");
        assert_eq!((seen[0].tokens, seen[0].sessions), (1, 1));
        let password = reset_password(&store, "Ada", true, true).unwrap();
        let hash = store.read(|tx| Ok::<_, ServiceError>(accounts::get(tx, "ada")?.password_hash));
        assert!(verify_password(&password, hash.unwrap().as_deref()));
        let seen = people(&store).unwrap();
        assert_eq!(
            (seen[0].tokens, seen[0].sessions, seen[1].sessions),
            (1, 0, 1)
        );
        let one = end_credentials(&store, Some("ada")).unwrap();
        assert_eq!((one.accounts, one.tokens, one.sessions), (1, 1, 0));
        let all = end_credentials(&store, None).unwrap();
        assert_eq!((all.accounts, all.tokens, all.sessions), (2, 1, 1));
        for nobody in ["grace", "machine"] {
            assert_eq!(
                reset_password(&store, nobody, false, false)
                    .unwrap_err()
                    .code(),
                "not-found"
            );
            assert_eq!(
                end_credentials(&store, Some(nobody)).unwrap_err().code(),
                "not-found"
            );
        }
    }
}
