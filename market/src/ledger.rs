//! Double entry: balanced transfers, and which accounts may be overdrawn.
//!
//! The sum over all accounts is always zero, because each transfer sums to zero. Credits
//! enter circulation by a transfer from the issuer, whose balance is minus what it issued.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::{Micro, MoneyError};

/// Names one account of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub i64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an account is for; decides whether it may be overdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// Spendable credits of one principal.
    User,
    /// Collateral and subsidy of one market.
    MarketEscrow,
    /// Bonds of one dispute.
    BondEscrow,
    /// Fees not yet swept to the treasury.
    Fees,
    /// Pays subsidies; receives what markets leave over.
    Treasury,
    /// Issues credits; its balance is minus the credits in existence.
    Issuer,
}

impl AccountKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::User,
        Self::MarketEscrow,
        Self::BondEscrow,
        Self::Fees,
        Self::Treasury,
        Self::Issuer,
    ];

    /// Only the treasury and the issuer may be overdrawn: they stand behind the currency.
    /// A user, an escrow or the fee account below zero would be credits out of nothing.
    pub const fn may_be_negative(self) -> bool {
        matches!(self, Self::Treasury | Self::Issuer)
    }

    /// The name under which the kind is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::MarketEscrow => "market_escrow",
            Self::BondEscrow => "bond_escrow",
            Self::Fees => "fees",
            Self::Treasury => "treasury",
            Self::Issuer => "issuer",
        }
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AccountKind {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(LedgerError::UnknownKind)
    }
}

/// Why a transfer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
    /// The amount to move is not above zero.
    #[error("the amount to transfer must be positive")]
    NotPositive,
    /// The account would fall below zero and its kind does not allow that.
    #[error("balance {balance} does not cover {amount}")]
    Overdrawn {
        /// Balance before.
        balance: Micro,
        /// The (negative) entry that was refused.
        amount: Micro,
    },
    /// The stored name of an account kind is not known.
    #[error("unknown account kind")]
    UnknownKind,
    /// A sum left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// One line of a transfer: `amount` is added to `account`'s balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        let mut seen = BTreeMap::new();
        for entry in &entries {
            if entry.amount.is_zero() {
                return Err(LedgerError::ZeroEntry(entry.account));
            }
            if seen.insert(entry.account, ()).is_some() {
                return Err(LedgerError::Duplicate(entry.account));
            }
        }
        if !Micro::checked_sum(entries.iter().map(|entry| entry.amount))?.is_zero() {
            return Err(LedgerError::Unbalanced);
        }
        Ok(Self { entries })
    }

    /// Moves `amount` from one account to another. Errors: `amount ≤ 0`, same account.
    pub fn between(from: AccountId, to: AccountId, amount: Micro) -> Result<Self, LedgerError> {
        if amount <= Micro::ZERO {
            return Err(LedgerError::NotPositive);
        }
        Self::new(vec![
            Entry {
                account: from,
                amount: amount.checked_neg()?,
            },
            Entry {
                account: to,
                amount,
            },
        ])
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
}

/// The balance of an account of `kind` after `amount` is added to `balance`.
///
/// Errors: overflow; [`LedgerError::Overdrawn`] when the account is debited below zero and
/// its kind may not be. A credit is always accepted.
pub fn post(kind: AccountKind, balance: Micro, amount: Micro) -> Result<Micro, LedgerError> {
    let after = balance.checked_add(amount)?;
    if after.is_negative() && amount.is_negative() && !kind.may_be_negative() {
        return Err(LedgerError::Overdrawn { balance, amount });
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(account: i64, amount: i64) -> Entry {
        Entry {
            account: AccountId(account),
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
            Err(LedgerError::ZeroEntry(AccountId(1)))
        );
        assert_eq!(
            check(&[(1, -5), (1, 5)]),
            Err(LedgerError::Duplicate(AccountId(1)))
        );
        let wrap = check(&[(1, i64::MAX), (2, i64::MAX), (3, 2)]);
        assert_eq!(wrap, Err(LedgerError::Money(MoneyError::Overflow)));
    }

    #[test]
    fn transfers_between_two_accounts() {
        let (a, b) = (AccountId(1), AccountId(2));
        let transfer = Transfer::between(a, b, Micro(7)).unwrap();
        assert_eq!(transfer.entries(), [entry(1, -7), entry(2, 7)]);
        assert_eq!(
            Transfer::between(a, b, Micro(0)),
            Err(LedgerError::NotPositive)
        );
        assert_eq!(
            Transfer::between(a, b, Micro(-7)),
            Err(LedgerError::NotPositive)
        );
        assert_eq!(
            Transfer::between(a, a, Micro(7)),
            Err(LedgerError::Duplicate(a))
        );
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

    #[test]
    fn only_the_treasury_and_the_issuer_go_below_zero() {
        for kind in AccountKind::ALL {
            let debit = post(kind, Micro(4), Micro(-5));
            assert_eq!(debit.is_ok(), kind.may_be_negative(), "{kind}");
            assert_eq!(post(kind, Micro(4), Micro(-4)), Ok(Micro(0)));
            assert_eq!(kind.as_str().parse::<AccountKind>(), Ok(kind));
        }
        assert!(post(AccountKind::User, Micro::MAX, Micro(1)).is_err());
        assert!("bank".parse::<AccountKind>().is_err());
    }
}
