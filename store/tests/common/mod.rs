//! What the integration tests start from.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::Path;

use plumbline_store::accounts::{self, Account, AccountKind};
use plumbline_store::ledger::{self, Transfer};
use plumbline_store::{Store, StoreError, StoreOptions};

/// Money that each of the accounts `u0` … `u3` starts with, micro-credits.
pub(crate) const GRANT: i64 = 1_000_000;

pub(crate) fn transfer(id: String, entries: &[(String, i64)]) -> Transfer {
    Transfer {
        id,
        at: 1,
        kind: "test".to_owned(),
        reference: "none".to_owned(),
        entries: entries.to_vec(),
    }
}

/// A new file with a treasury and four users with [`GRANT`] each.
pub(crate) fn seeded(path: &Path, options: StoreOptions) -> Store {
    let store = Store::open(path, options).unwrap();
    store
        .write::<_, StoreError, _>(|tx| {
            let names = ["treasury", "u0", "u1", "u2", "u3"];
            for name in names {
                let kind = if name == "treasury" {
                    AccountKind::Treasury
                } else {
                    AccountKind::User
                };
                let account = Account {
                    id: name.to_owned(),
                    kind,
                    handle: name.to_owned(),
                    password_hash: None,
                    roles: Vec::new(),
                    balance_micro: 0,
                    created_at: 1,
                };
                accounts::insert(tx, &account)?;
            }
            for name in &names[1..] {
                let entries = [("treasury".to_owned(), -GRANT), ((*name).to_owned(), GRANT)];
                ledger::post(tx, &transfer(format!("grant-{name}"), &entries))?;
            }
            Ok(())
        })
        .unwrap();
    store
}

/// Fails unless both sums are zero and every balance is the sum of its entries.
pub(crate) fn assert_sound(store: &Store) {
    let found = store
        .read::<_, StoreError, _>(|tx| Ok((ledger::sums(tx)?, ledger::drift(tx)?)))
        .unwrap();
    assert_eq!(
        found,
        (
            ledger::Sums {
                balances_micro: 0,
                entries_micro: 0
            },
            Vec::new()
        )
    );
}

pub(crate) fn balance(store: &Store, id: &str) -> i64 {
    store
        .read::<_, StoreError, _>(|tx| accounts::get(tx, id))
        .unwrap()
        .balance_micro
}
