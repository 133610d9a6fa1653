//! The rows that an auditor reads: every public column of every table that money, prices and
//! settlements rest on, in a fixed order, from one state of the database.
//!
//! The list of columns is what may leave: password and token hashes, sessions, stored answers and
//! anything that a market keeps secret until its freeze are not in it.

use std::path::Path;

use diesel::connection::{DefaultLoadingMode, LoadConnection};
use diesel::deserialize::{self, QueryableByName};

use diesel::row::{Field, NamedRow, Row as DieselRow};
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteType};

use crate::{StoreError, Tx, open};

mod tables;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Every row of every listed table.
    Everything,
    /// What belongs to one market, without the balances of people.
    Market(&'a str),
}

/// A value as it is stored. Byte strings come as lower-case hexadecimal text.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(String),
}

/// One row: the name of its columns beside their values, in order.
pub type Row = Vec<(String, Cell)>;

struct Cells(Row);

impl QueryableByName<Sqlite> for Cells {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        (0..row.field_count())
            .map(|index| {
                let field = DieselRow::get(row, index).ok_or("a row lacks a column")?;
                let name = field.field_name().unwrap_or_default().to_owned();
                Ok((name, cell(&field)))
            })
            .collect::<deserialize::Result<Row>>()
            .map(Cells)
    }
}

fn cell<'a>(field: &impl Field<'a, Sqlite>) -> Cell {
    let Some(mut value) = field.value() else {
        return Cell::Null;
    };
    match value.value_type() {
        None => Cell::Null,
        Some(SqliteType::SmallInt | SqliteType::Integer | SqliteType::Long) => {
            Cell::Integer(value.read_long())
        }
        Some(SqliteType::Float | SqliteType::Double) => Cell::Real(value.read_double()),
        Some(SqliteType::Binary) => Cell::Text(hex(value.read_blob())),
        Some(SqliteType::Text) => Cell::Text(value.read_text().to_owned()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hands every row of the scope to `sink`, table by table, and stops at its first error. Holds one
/// row in memory at a time.
///
/// # Errors
/// Those of the database, and those of `sink`.
pub fn rows<E: From<StoreError>>(
    tx: &mut Tx<'_>,
    scope: Scope<'_>,
    mut sink: impl FnMut(&'static str, Row) -> Result<(), E>,
) -> Result<(), E> {
    for table in tables::TABLES {
        let Some(sql) = table.query(scope) else {
            continue;
        };
        let mut refused = None;
        tx.run(|conn| {
            let market = match scope {
                Scope::Everything => "",
                Scope::Market(id) => id,
            };
            let query = diesel::sql_query(&sql).bind::<Text, _>(market);
            let found = LoadConnection::<DefaultLoadingMode>::load(conn, query)?;
            for row in found {
                let Cells(row) =
                    Cells::build(&row?).map_err(diesel::result::Error::DeserializationError)?;
                if let Err(error) = sink(table.name, row) {
                    refused = Some(error);
                    break;
                }
            }
            Ok(())
        })?;
        if let Some(error) = refused {
            return Err(error);
        }
    }
    Ok(())
}

/// Runs `f` on one state of a database that a service may be using at the same time. Nothing is
/// written, and no lock is held that would keep the service from writing.
///
/// # Errors
/// [`StoreError::Open`] for a file that is not one of this version's; what `f` returns.
pub fn snapshot<T, E: From<StoreError>>(
    path: &Path,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let mut conn = open::snapshot(path)?;
    f(&mut Tx::new(&mut conn))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{seeded, transfer};
    use crate::{ledger, sessions, tokens};

    fn of(store: &crate::Store, scope: Scope<'static>) -> Vec<(&'static str, Row)> {
        let mut found = Vec::new();
        store
            .read::<_, StoreError, _>(|tx| {
                rows(tx, scope, |table, row| {
                    found.push((table, row));
                    Ok(())
                })
            })
            .unwrap();
        found
    }

    #[test]
    fn rows_come_with_their_exact_values() {
        let (_folder, store) = seeded();
        store
            .write::<_, StoreError, _>(|tx| {
                let mut market = crate::markets::get(tx, "m1")?;
                market.log_odds = 0.1 + 0.2;
                crate::markets::update(tx, &market)?;
                Ok(())
            })
            .unwrap();
        let found = of(&store, Scope::Everything);
        let markets: Vec<_> = found.iter().filter(|row| row.0 == "markets").collect();
        assert_eq!(markets.len(), 1);
        let value = |name: &str| {
            let cells = &markets[0].1;
            cells.iter().find(|cell| cell.0 == name).unwrap().1.clone()
        };
        assert_eq!(value("log_odds"), Cell::Real(0.1 + 0.2));
        assert_eq!(value("id"), Cell::Text("m1".to_owned()));
        assert_eq!(value("settlement"), Cell::Null);
        // A plan is a secret until the freeze.
        assert_eq!(value("plan"), Cell::Null);
        assert_eq!(found.iter().filter(|row| row.0 == "accounts").count(), 4);
    }

    #[test]
    fn a_market_takes_its_own_transfers_along_and_no_balances() {
        let (_folder, store) = seeded();
        let escrow = crate::testing::account("escrow-m1", crate::accounts::AccountKind::Escrow);
        store
            .write::<_, StoreError, _>(move |tx| {
                crate::accounts::insert(tx, &escrow)?;
                ledger::post(tx, &transfer("t1", &[("ada", -5), ("escrow-m1", 5)]))?;
                ledger::post(tx, &transfer("t2", &[("ada", -5), ("bob", 5)]))
            })
            .unwrap();
        let found = of(&store, Scope::Market("m1"));
        let count = |table| found.iter().filter(|row| row.0 == table).count();
        assert_eq!(
            (
                count("accounts"),
                count("transfers"),
                count("entries"),
                count("markets")
            ),
            (0, 1, 2, 1)
        );
    }

    #[test]
    fn no_secret_leaves() {
        let (_folder, store) = seeded();
        store
            .write::<_, StoreError, _>(|tx| {
                crate::accounts::set_password(tx, "ada", "secret-password-hash")?;
                let session = sessions::Session {
                    id_hash: "secret-session".to_owned(),
                    account_id: "ada".to_owned(),
                    csrf: "secret-csrf".to_owned(),
                    created_at: 1,
                    expires_at: 2,
                    agent: "secret-agent".to_owned(),
                    last_seen_at: None,
                };
                sessions::insert(tx, &session)?;
                let token = tokens::Token {
                    id: "k".to_owned(),
                    account_id: "ada".to_owned(),
                    name: "n".to_owned(),
                    hash: "secret-token".to_owned(),
                    scopes: Vec::new(),
                    created_at: 1,
                    last_used_at: None,
                    revoked_at: None,
                    expires_at: None,
                };
                tokens::insert(tx, &token)?;
                let mut market = crate::markets::get(tx, "m1")?;
                market.plan = Some("secret-plan".to_owned());
                crate::markets::update(tx, &market)?;
                Ok(())
            })
            .unwrap();
        let text = format!("{:?}", of(&store, Scope::Everything));
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn a_snapshot_is_taken_beside_a_running_store() {
        let (folder, store) = seeded();
        let path = folder.path().join("plumbline.db");
        let count = snapshot(&path, |tx| {
            let mut count = 0;
            rows::<StoreError>(tx, Scope::Everything, |_, _| {
                count += 1;
                Ok(())
            })?;
            // Written meanwhile, and not seen.
            let entries = [("ada", -1), ("bob", 1)];
            store
                .write::<_, StoreError, _>(move |tx| ledger::post(tx, &transfer("t", &entries)))?;
            let mut again = 0;
            rows::<StoreError>(tx, Scope::Everything, |_, _| {
                again += 1;
                Ok(())
            })?;
            Ok::<_, StoreError>((count, again))
        });
        let (count, again) = count.unwrap();
        assert_eq!(count, again);
        let other = folder.path().join("other.db");
        std::fs::write(&other, b"").unwrap();
        for path in [other, folder.path().join("missing.db")] {
            let refused = snapshot(&path, |_| Ok::<_, StoreError>(()));
            assert!(
                matches!(refused, Err(StoreError::Open { .. })),
                "{refused:?}"
            );
        }
    }
}
