//! Double entry: money moves in balanced transfers only.
//!
//! The sum over all accounts is always zero, because each transfer sums to zero. Credits
//! enter circulation by a transfer from the treasury, whose balance is minus what it issued;
//! whoever keeps the balances refuses to let any other account fall below zero.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::{Micro, MoneyError};

/// Names one account of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub String);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a transfer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No entries at all.
    #[error("a transfer needs entries")]
    Empty,
    /// An entry of zero says nothing.
    #[error("account {0} has an entry of zero")]
    ZeroEntry(AccountId),
    /// One account appears twice.
    #[error("account {0} appears twice")]
    Duplicate(AccountId),
    /// The entries do not sum to zero.
    #[error("entries do not sum to zero")]
    Unbalanced,
    /// A sum left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// One line of a transfer: `amount` is added to `account`'s balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose balance changes.
    pub account: AccountId,
    /// By how much; negative takes away.
    pub amount: Micro,
}

/// A set of entries that sums to zero, names every account once and moves something.
/// It cannot be built otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    entries: Vec<Entry>,
}

impl Transfer {
    /// Checks `entries`. Errors: empty, an entry of zero, an account twice, not balanced.
    pub fn new(entries: Vec<Entry>) -> Result<Self, LedgerError> {
        if entries.is_empty() {
            return Err(LedgerError::Empty);
        }
        let mut seen = BTreeSet::new();
        for entry in &entries {
            if entry.amount.is_zero() {
                return Err(LedgerError::ZeroEntry(entry.account.clone()));
            }
            if !seen.insert(&entry.account) {
                return Err(LedgerError::Duplicate(entry.account.clone()));
            }
        }
        if !Micro::checked_sum(entries.iter().map(|entry| entry.amount))?.is_zero() {
            return Err(LedgerError::Unbalanced);
        }
        Ok(Self { entries })
    }

    /// Adds up the entries of each account, drops those that come to zero, then checks as
    /// [`Transfer::new`] does. `None` when everything cancels and there is nothing to move.
    pub fn merged(entries: impl IntoIterator<Item = Entry>) -> Result<Option<Self>, LedgerError> {
        let mut totals: BTreeMap<AccountId, i128> = BTreeMap::new();
        for entry in entries {
            *totals.entry(entry.account).or_default() += i128::from(entry.amount.get());
        }
        let entries = totals
            .into_iter()
            .filter(|(_, total)| *total != 0)
            .map(|(account, total)| {
                let amount = i64::try_from(total).map_err(|_| MoneyError::Overflow)?;
                Ok(Entry {
                    account,
                    amount: Micro(amount),
                })
            })
            .collect::<Result<Vec<_>, LedgerError>>()?;
        if entries.is_empty() {
            Ok(None)
        } else {
            Self::new(entries).map(Some)
        }
    }

    /// The entries; their amounts sum to zero.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// As [`Transfer::entries`], taken out.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(account: i64, amount: i64) -> Entry {
        Entry {
            account: AccountId(account.to_string()),
            amount: Micro(amount),
        }
    }

    #[test]
    fn only_balanced_sets_become_transfers() {
        let check = |entries: &[(i64, i64)]| {
            Transfer::new(
                entries
                    .iter()
                    .map(|&(account, amount)| entry(account, amount))
                    .collect(),
            )
        };
        assert!(check(&[(1, -5), (2, 3), (3, 2)]).is_ok());
        assert_eq!(check(&[]), Err(LedgerError::Empty));
        assert_eq!(check(&[(1, -5), (2, 4)]), Err(LedgerError::Unbalanced));
        assert_eq!(
            check(&[(1, 0), (2, 0)]),
            Err(LedgerError::ZeroEntry(AccountId("1".into())))
        );
        assert_eq!(
            check(&[(1, -5), (1, 5)]),
            Err(LedgerError::Duplicate(AccountId("1".into())))
        );
        let wrap = check(&[(1, i64::MAX), (2, i64::MAX), (3, 2)]);
        assert_eq!(wrap, Err(LedgerError::Money(MoneyError::Overflow)));
    }

    #[test]
    fn merging_adds_up_each_account() {
        let merged = Transfer::merged([entry(1, -5), entry(2, 3), entry(1, -1), entry(2, 3)]);
        assert_eq!(
            merged.unwrap().unwrap().entries(),
            [entry(1, -6), entry(2, 6)]
        );
        assert_eq!(Transfer::merged([entry(1, -5), entry(1, 5)]), Ok(None));
        assert_eq!(
            Transfer::merged([entry(1, -5)]),
            Err(LedgerError::Unbalanced)
        );
    }
}
