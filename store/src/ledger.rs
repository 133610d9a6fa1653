//! The double-entry ledger: balanced transfers between accounts, kept for ever.

use std::collections::BTreeMap;
use std::rc::Rc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;

use crate::accounts::{Account, AccountKind};
use crate::hot::append::Append;
use crate::hot::{Counted, Named, WORDS_FROM};
use crate::prepared::prepared;
use crate::schema::{accounts, entries, transfers};
use crate::{StoreError, Tx};

/// Largest magnitude of one entry and of one balance, micro-credits: two of them fit an `i64`.
const MAX_MICRO: i64 = 4_000_000_000_000_000_000;

/// A movement of money to be posted.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// Identifier; posting the same one twice is refused.
    pub id: String,
    /// When, unix ms.
    pub at: i64,
    /// What kind of fact caused it: `trade`, `payout`, `fee`, ….
    pub kind: String,
    /// The id of that fact.
    pub reference: String,
    /// Account and amount in micro-credits (positive: the account receives). Σ amount = 0.
    pub entries: Vec<(String, i64)>,
}

/// A posted transfer, as one account sees it.
#[derive(Debug, Clone, PartialEq, Queryable)]
pub struct TransferRow {
    /// Position in the ledger; grows.
    pub seq: i64,
    /// Identifier.
    pub id: String,
    /// When, unix ms.
    pub at: i64,
    /// What kind of fact caused it.
    pub kind: String,
    /// The id of that fact.
    pub reference: String,
    /// What this account received (positive) or paid (negative), micro-credits.
    pub amount_micro: i64,
}

/// The two totals that must both be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Σ balances over all accounts, micro-credits.
    pub balances_micro: i64,
    /// Σ amounts over all entries, micro-credits.
    pub entries_micro: i64,
}

/// Balances by kind of account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Σ balances over all accounts; zero, or the ledger is broken. Micro-credits.
    pub sum_micro: i64,
    /// What the treasury holds; negative by what it issued.
    pub treasury_micro: i64,
    /// What the markets' escrows hold.
    pub escrow_micro: i64,
    /// What people hold.
    pub users_micro: i64,
}

/// Balances by kind of account. Reads every account.
///
/// # Errors
/// Those of the database.
pub fn totals(tx: &mut Tx<'_>) -> Result<Totals, StoreError> {
    let rows: Vec<(crate::accounts::AccountKind, i64)> = tx.run(|conn| {
        accounts::table
            .group_by(accounts::kind)
            .select((accounts::kind, sql::<BigInt>("SUM(balance_micro)")))
            .load(conn)
    })?;
    let of = |kind| {
        rows.iter()
            .filter(|row| row.0 == kind)
            .map(|row| row.1)
            .sum()
    };
    Ok(Totals {
        sum_micro: rows.iter().map(|row| row.1).sum(),
        treasury_micro: of(crate::accounts::AccountKind::Treasury),
        escrow_micro: of(crate::accounts::AccountKind::Escrow),
        users_micro: of(crate::accounts::AccountKind::User),
    })
}

/// Posts a transfer: its rows, and the new balances of its accounts.
///
/// # Errors
/// [`StoreError::LedgerUnbalanced`] for entries that do not sum to zero, or none;
/// [`StoreError::InsufficientFunds`] if an account other than a treasury would go below zero;
/// [`StoreError::NotFound`] for an unknown account; [`StoreError::Conflict`] if the id was posted before
/// or an amount is out of range (±4·10¹⁸). The caller's transaction must not go on after an error.
pub fn post(tx: &mut Tx<'_>, transfer: &Transfer) -> Result<(), StoreError> {
    let net = net_by_account(&transfer.entries)?;
    if is_posted(tx, &transfer.id)? {
        return Err(StoreError::conflict("transfers.id is taken"));
    }
    // Balances first: an unknown account is then reported by name and not as a broken reference.
    if tx.hot().is_some() {
        keep_balances(tx, &net)?;
    } else {
        for (account, amount_micro) in net {
            move_balance(tx, account, amount_micro)?;
        }
    }
    let seq = tx.next_key(Counted::Transfers)?;
    tx.append(Append::Transfer(seq, transfer.clone()))
}

/// Whether a transfer with this id is in the ledger.
fn is_posted(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    let greatest = |conn: &mut SqliteConnection| {
        transfers::table
            .filter(transfers::id.lt(WORDS_FROM))
            .select(diesel::dsl::max(transfers::id))
            .get_result(conn)
    };
    if tx.is_beyond(Named::Transfers, id, greatest)? {
        return Ok(false);
    }
    let is_it = |fact: &Append| matches!(fact, Append::Transfer(_, other) if other.id == id);
    if tx.is_pending(is_it) {
        return Ok(true);
    }
    let found: Option<i64> = tx.look(|conn| {
        transfers::table
            .filter(transfers::id.eq(id))
            .select(transfers::seq)
            .get_result(conn)
            .optional()
    })?;
    Ok(found.is_some())
}

/// Moves balances in the writer's memory, all or none, by the rules of the table's own checks.
fn keep_balances(tx: &mut Tx<'_>, net: &BTreeMap<&str, i64>) -> Result<(), StoreError> {
    let mut moved = Vec::with_capacity(net.len());
    for (id, amount_micro) in net {
        let account = tx.account(id)?;
        let account = account.ok_or_else(|| StoreError::not_found("account", *id))?;
        // Both are at most 4·10¹⁸ in magnitude, so the sum fits.
        let balance_micro = account.balance_micro + amount_micro;
        let fits = (-MAX_MICRO..=MAX_MICRO).contains(&balance_micro)
            && (balance_micro >= 0 || account.kind == AccountKind::Treasury);
        if !fits {
            return Err(reason(id, account.balance_micro, *amount_micro));
        }
        moved.push(Account {
            balance_micro,
            ..Rc::unwrap_or_clone(account)
        });
    }
    if let Some(hot) = tx.hot() {
        for account in moved {
            let id = account.id.clone();
            hot.accounts.put(&id, account);
        }
    }
    Ok(())
}

/// Writes an account's balance: see [`keep_balances`].
pub(crate) fn write_balance(conn: &mut SqliteConnection, account: &Account) -> QueryResult<usize> {
    prepared!(
        [
            (
                "UPDATE accounts SET balance_micro = ",
                account.balance_micro,
            ),
            (" WHERE id = ", &account.id),
        ],
        ""
    )
    .execute(conn)
}

/// One amount per account, so that the order of entries does not decide who is overdrawn.
fn net_by_account(entries: &[(String, i64)]) -> Result<BTreeMap<&str, i64>, StoreError> {
    let total: i128 = entries.iter().map(|(_, amount)| i128::from(*amount)).sum();
    if entries.is_empty() || total != 0 {
        return Err(StoreError::LedgerUnbalanced);
    }
    let mut net = BTreeMap::<&str, i64>::new();
    for (account, amount) in entries {
        let sum = net.entry(account).or_default();
        // Magnitudes unsigned: that of i64::MIN is no i64.
        let fits = |micro: i64| micro.unsigned_abs() <= MAX_MICRO.unsigned_abs();
        *sum = sum
            .checked_add(*amount)
            .filter(|sum| fits(*sum) && fits(*amount))
            .ok_or_else(|| StoreError::conflict("an amount of the transfer is out of range"))?;
    }
    Ok(net)
}

/// balance ← balance + amount, refused by the table's own checks.
fn move_balance(tx: &mut Tx<'_>, account: &str, amount_micro: i64) -> Result<(), StoreError> {
    // A refusal undoes this statement only, so the reason can be read afterwards; any other failure passes on.
    let rows = tx.run(|conn| {
        let update = prepared!(
            [
                (
                    "UPDATE accounts SET balance_micro = balance_micro + ",
                    amount_micro,
                ),
                (" WHERE id = ", account),
            ],
            ""
        )
        .execute(conn);
        match update {
            Err(DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, _)) => Ok(None),
            other => other.map(Some),
        }
    })?;
    match rows {
        Some(0) => Err(StoreError::not_found("account", account)),
        Some(_) => Ok(()),
        None => Err(refused(tx, account, amount_micro)?),
    }
}

/// Why a balance could not move.
fn refused(tx: &mut Tx<'_>, account: &str, amount_micro: i64) -> Result<StoreError, StoreError> {
    let available_micro: i64 = tx.run(|conn| {
        accounts::table
            .find(account)
            .select(accounts::balance_micro)
            .get_result(conn)
    })?;
    Ok(reason(account, available_micro, amount_micro))
}

/// Why an amount cannot be added to a balance.
fn reason(account: &str, available_micro: i64, amount_micro: i64) -> StoreError {
    if amount_micro < 0 && available_micro >= 0 && available_micro + amount_micro < 0 {
        let needed_micro = -amount_micro;
        return StoreError::InsufficientFunds {
            account: account.to_owned(),
            needed_micro,
            available_micro,
        };
    }
    StoreError::conflict(format!(
        "the balance of account {account} would be out of range"
    ))
}

/// Up to `limit` transfers that touch the account, newest first, with `seq < before` if given.
///
/// # Errors
/// Those of the database.
pub fn transfers(
    tx: &mut Tx<'_>,
    account_id: &str,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<TransferRow>, StoreError> {
    tx.run(|conn| {
        entries::table
            .inner_join(transfers::table.on(transfers::seq.eq(entries::transfer_seq)))
            .filter(entries::account_id.eq(account_id))
            .filter(entries::transfer_seq.lt(before.unwrap_or(i64::MAX)))
            .group_by(entries::transfer_seq)
            .order(entries::transfer_seq.desc())
            .limit(limit)
            .select(sql::<(BigInt, diesel::sql_types::Text, BigInt, diesel::sql_types::Text, diesel::sql_types::Text, BigInt)>(
                "transfers.seq, transfers.id, transfers.at, transfers.kind, transfers.reference, SUM(entries.amount_micro)",
            ))
            .load(conn)
    })
}

/// Kind and amount of the first transfer that touched the account.
///
/// # Errors
/// Those of the database.
pub fn first(tx: &mut Tx<'_>, account_id: &str) -> Result<Option<(String, i64)>, StoreError> {
    tx.run(|conn| {
        entries::table
            .inner_join(transfers::table.on(transfers::seq.eq(entries::transfer_seq)))
            .filter(entries::account_id.eq(account_id))
            .order(entries::transfer_seq)
            .select((transfers::kind, entries::amount_micro))
            .first(conn)
            .optional()
    })
}

/// The entries of one transfer, in the order posted: account and amount in micro-credits.
///
/// # Errors
/// Those of the database.
pub fn entries(tx: &mut Tx<'_>, transfer_seq: i64) -> Result<Vec<(String, i64)>, StoreError> {
    tx.run(|conn| {
        entries::table
            .filter(entries::transfer_seq.eq(transfer_seq))
            .order(entries::ordinal)
            .select((entries::account_id, entries::amount_micro))
            .load(conn)
    })
}

/// When the newest transfer was made; `None` while there is none.
///
/// # Errors
/// Those of the database.
pub fn newest(tx: &mut Tx<'_>) -> Result<Option<i64>, StoreError> {
    tx.run(|conn| {
        transfers::table
            .filter(transfers::seq.le(i64::MAX))
            .order(transfers::seq.desc())
            .select(transfers::at)
            .limit(1)
            .get_result(conn)
            .optional()
    })
}

/// Both totals of the ledger. Reads every row.
///
/// # Errors
/// Those of the database.
pub fn sums(tx: &mut Tx<'_>) -> Result<Sums, StoreError> {
    tx.run(|conn| {
        Ok(Sums {
            balances_micro: accounts::table
                .select(sql::<BigInt>("COALESCE(SUM(balance_micro), 0)"))
                .get_result(conn)?,
            entries_micro: entries::table
                .select(sql::<BigInt>("COALESCE(SUM(amount_micro), 0)"))
                .get_result(conn)?,
        })
    })
}

/// Zero if the ledger is sound, else the total that is not zero: of the balances, or failing that of the
/// entries. Reads every row.
///
/// # Errors
/// Those of the database.
pub fn sum(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let sums = sums(tx)?;
    Ok(if sums.balances_micro == 0 {
        sums.entries_micro
    } else {
        sums.balances_micro
    })
}

/// Accounts whose balance is not the sum of their entries, with the difference in micro-credits: none,
/// unless the file was changed behind this program's back. Reads every row.
///
/// # Errors
/// Those of the database.
pub fn drift(tx: &mut Tx<'_>) -> Result<Vec<(String, i64)>, StoreError> {
    let difference = "balance_micro - COALESCE((SELECT SUM(amount_micro) FROM entries WHERE account_id = accounts.id), 0)";
    tx.run(|conn| {
        accounts::table
            .filter(sql::<diesel::sql_types::Bool>(&format!(
                "{difference} <> 0"
            )))
            .order(accounts::id)
            .select((accounts::id, sql::<BigInt>(difference)))
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{GRANT, seeded, transfer, within};

    #[test]
    fn a_transfer_moves_money_and_is_listed() {
        within(|tx| {
            post(
                tx,
                &transfer("t1", &[("ada", -30), ("escrow", 25), ("bob", 5)]),
            )?;
            post(
                tx,
                &transfer("t2", &[("bob", 2), ("escrow", -5), ("bob", 3)]),
            )?;
            let balance = |tx: &mut Tx<'_>, id| {
                Ok::<_, StoreError>(crate::accounts::get(tx, id)?.balance_micro)
            };
            assert_eq!(balance(tx, "ada")?, GRANT - 30);
            assert_eq!(balance(tx, "bob")?, GRANT + 10);
            assert_eq!(balance(tx, "escrow")?, 20);
            let seen: Vec<_> = transfers(tx, "bob", None, 9)?
                .into_iter()
                .map(|row| (row.seq, row.id, row.amount_micro))
                .collect();
            let expected = [(4, "t2", 5), (3, "t1", 5), (2, "grant-bob", GRANT)];
            assert_eq!(
                seen,
                expected.map(|(seq, id, amount)| (seq, id.to_owned(), amount))
            );
            assert_eq!(transfers(tx, "bob", Some(4), 1)?[0].id, "t1");
            assert_eq!(
                entries(tx, 4)?,
                transfer("t2", &[("bob", 2), ("escrow", -5), ("bob", 3)]).entries
            );
            assert_eq!(
                sums(tx)?,
                Sums {
                    balances_micro: 0,
                    entries_micro: 0
                }
            );
            assert_eq!(
                totals(tx)?,
                Totals {
                    sum_micro: 0,
                    treasury_micro: -2 * GRANT,
                    escrow_micro: 20,
                    users_micro: 2 * GRANT - 20
                }
            );
            assert_eq!((sum(tx)?, drift(tx)?), (0, Vec::new()));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_bad_transfer_is_refused_and_leaves_nothing() {
        let over = StoreError::InsufficientFunds {
            account: "ada".to_owned(),
            needed_micro: GRANT + 1,
            available_micro: GRANT,
        };
        let out_of_range = || StoreError::conflict("an amount of the transfer is out of range");
        let cases: [(&[(&str, i64)], StoreError); 9] = [
            (&[], StoreError::LedgerUnbalanced),
            (&[("ada", 1)], StoreError::LedgerUnbalanced),
            (&[("ada", -5), ("bob", 4)], StoreError::LedgerUnbalanced),
            (
                &[("ada", i64::MAX), ("bob", i64::MAX), ("escrow", 2)],
                StoreError::LedgerUnbalanced,
            ),
            (&[("ada", -GRANT - 1), ("bob", GRANT + 1)], over.clone()),
            (&[("ada", -GRANT), ("ada", -1), ("bob", GRANT + 1)], over),
            (
                &[("ada", -1), ("nobody", 1)],
                StoreError::not_found("account", "nobody"),
            ),
            (
                &[("treasury", -i64::MAX), ("ada", i64::MAX)],
                out_of_range(),
            ),
            (
                &[("treasury", i64::MIN), ("ada", i64::MAX), ("bob", 1)],
                out_of_range(),
            ),
        ];
        let (_folder, store) = seeded();
        for (entries, error) in cases {
            let posted = transfer("bad", entries);
            assert_eq!(
                store.write(move |tx| post(tx, &posted)),
                Err(error),
                "{entries:?}"
            );
        }
        let left = store.read::<_, StoreError, _>(|tx| {
            Ok((sum(tx)?, drift(tx)?, transfers(tx, "ada", None, 9)?.len()))
        });
        assert_eq!(left, Ok((0, Vec::new(), 1)));
    }

    #[test]
    fn a_transfer_is_posted_once() {
        let (_folder, store) = seeded();
        let once = || {
            store.write::<_, StoreError, _>(|tx| {
                post(tx, &transfer("t", &[("ada", -1), ("bob", 1)]))
            })
        };
        assert_eq!(once(), Ok(()));
        assert_eq!(once(), Err(StoreError::conflict("transfers.id is taken")));
    }

    #[test]
    fn balances_stay_within_what_fits() {
        within(|tx| {
            let half = MAX_MICRO / 2 + 1;
            post(tx, &transfer("t1", &[("treasury", -half), ("ada", half)]))?;
            let second = post(tx, &transfer("t2", &[("treasury", -half), ("ada", half)]));
            assert!(
                matches!(second, Err(StoreError::Conflict { .. })),
                "{second:?}"
            );
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn history_cannot_be_rewritten() {
        for sql in [
            "UPDATE entries SET amount_micro = 0",
            "DELETE FROM entries",
            "UPDATE transfers SET at = 0",
            "DELETE FROM transfers",
            "UPDATE accounts SET balance_micro = -1 WHERE id = 'ada'",
        ] {
            let result = within(move |tx| tx.run(|conn| diesel::sql_query(sql).execute(conn)));
            assert!(
                matches!(result, Err(StoreError::Database(_))),
                "{sql}: {result:?}"
            );
        }
    }
}
