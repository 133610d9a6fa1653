//! The double-entry ledger: balanced transfers between accounts, kept for ever.

use std::collections::BTreeMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::BigInt;

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
    let of = |kind| rows.iter().filter(|row| row.0 == kind).map(|row| row.1).sum();
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
    tx.run(|conn| {
        diesel::insert_into(transfers::table)
            .values((
                transfers::id.eq(&transfer.id),
                transfers::at.eq(transfer.at),
                transfers::kind.eq(&transfer.kind),
                transfers::reference.eq(&transfer.reference),
            ))
            .execute(conn)
    })?;
    let seq = tx.last_key()?;
    // Balances first: an unknown account is then reported by name and not as a broken reference.
    for (account, amount_micro) in net {
        move_balance(tx, account, amount_micro)?;
    }
    for (ordinal, (account, amount_micro)) in (0_i64..).zip(&transfer.entries) {
        tx.run(|conn| {
            diesel::insert_into(entries::table)
                .values((
                    entries::transfer_seq.eq(seq),
                    entries::ordinal.eq(ordinal),
                    entries::account_id.eq(account),
                    entries::amount_micro.eq(amount_micro),
                ))
                .execute(conn)
        })?;
    }
    Ok(())
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
        *sum = sum
            .checked_add(*amount)
            .filter(|sum| {
                sum.abs() <= MAX_MICRO && amount.unsigned_abs() <= MAX_MICRO.unsigned_abs()
            })
            .ok_or_else(|| StoreError::conflict("an amount of the transfer is out of range"))?;
    }
    Ok(net)
}

/// balance ← balance + amount, refused by the table's own checks.
fn move_balance(tx: &mut Tx<'_>, account: &str, amount_micro: i64) -> Result<(), StoreError> {
    // A refusal undoes this statement only, so the reason can be read afterwards; any other failure passes on.
    let rows = tx.run(|conn| {
        let update = diesel::update(accounts::table.find(account))
            .set(accounts::balance_micro.eq(accounts::balance_micro + amount_micro))
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
            .first(conn)
    })?;
    if amount_micro < 0 && available_micro >= 0 && available_micro + amount_micro < 0 {
        let needed_micro = -amount_micro;
        return Ok(StoreError::InsufficientFunds {
            account: account.to_owned(),
            needed_micro,
            available_micro,
        });
    }
    Ok(StoreError::conflict(format!(
        "the balance of account {account} would be out of range"
    )))
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
