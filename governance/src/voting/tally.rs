//! Counting: electors as they stood when the vote began, with their delegates, and the ballots.
//!
//! An elector who votes decides over the own stake, whoever it is delegated to. The stake of one who
//! does not vote goes along the delegations, to the first delegate who has voted; if there is none it
//! is not counted. So a stake is counted at most once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ballot::{Ballot, Conviction, Side};
use super::tracks::TrackTerms;
use crate::Bps;

/// Delegations that are followed from one elector, at most.
pub const MAX_CHAIN: usize = 8;

/// Somebody with a stake or a delegate when the vote began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elector {
    /// Stake that counts, micro-credits.
    pub stake_micro: u64,
    /// Who votes with it while the elector does not.
    pub delegate: Option<String>,
    /// Its weight in the delegate's hands.
    pub conviction: Conviction,
}

/// Electors by account.
pub type Electors = BTreeMap<String, Elector>;
/// Ballots by account.
pub type Ballots = BTreeMap<String, Ballot>;

/// A count. Weights are in tenths of micro-credits of stake, stakes in micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Weight for.
    pub for_weight: u128,
    /// Weight against.
    pub against_weight: u128,
    /// Stake for.
    pub for_stake_micro: u64,
    /// Stake against.
    pub against_stake_micro: u64,
    /// Stake abstaining.
    pub abstain_stake_micro: u64,
    /// All stake there was when the vote began.
    pub electorate_micro: u64,
    /// Electors counted, by their own ballot or a delegate's.
    pub counted: u32,
    /// Those of them counted by a delegate's.
    pub delegated: u32,
}

impl Tally {
    fn add(&mut self, stake_micro: u64, side: Side, conviction: Conviction) {
        let weight = conviction.weight(stake_micro);
        match side {
            Side::For => {
                self.for_weight = self.for_weight.saturating_add(weight);
                self.for_stake_micro = self.for_stake_micro.saturating_add(stake_micro);
            }
            Side::Against => {
                self.against_weight = self.against_weight.saturating_add(weight);
                self.against_stake_micro = self.against_stake_micro.saturating_add(stake_micro);
            }
            Side::Abstain => {
                self.abstain_stake_micro = self.abstain_stake_micro.saturating_add(stake_micro);
            }
        }
    }

    /// Share of the decided weight that is for, rounded down; nothing where nobody decided.
    #[must_use]
    pub fn approval_bps(&self) -> Bps {
        share(
            self.for_weight,
            self.for_weight.saturating_add(self.against_weight),
        )
    }

    /// Stake for or abstaining as a share of all, rounded down. Ballots against do not help a
    /// quorum, so that staying away is never better than voting against.
    #[must_use]
    pub fn support_bps(&self) -> Bps {
        share(
            u128::from(self.for_stake_micro) + u128::from(self.abstain_stake_micro),
            u128::from(self.electorate_micro),
        )
    }

    /// Whether the quorum is there.
    #[must_use]
    pub fn has_quorum(&self, terms: &TrackTerms) -> bool {
        self.electorate_micro > 0 && self.support_bps() >= terms.quorum_bps
    }

    /// Whether a proposal is approved when `elapsed_s` of its voting period are over: the quorum is
    /// there, more weight is for it than against, and as much as the curve asks for.
    #[must_use]
    pub fn passes(&self, terms: &TrackTerms, elapsed_s: u64) -> bool {
        let needed = terms.approval.needed(elapsed_s, terms.voting_s);
        self.has_quorum(terms)
            && self.for_weight > self.against_weight
            && self.approval_bps() >= needed
    }
}

/// `⌊part / whole⌋` in basis points; nothing of nothing.
fn share(part: u128, whole: u128) -> Bps {
    let bps = part
        .saturating_mul(10_000)
        .checked_div(whole)
        .unwrap_or_default();
    Bps::saturating(u32::try_from(bps).unwrap_or(u32::MAX))
}

/// Counts the ballots.
#[must_use]
pub fn tally(electors: &Electors, ballots: &Ballots) -> Tally {
    let mut tally = Tally::default();
    for (account, elector) in electors {
        let stake = elector.stake_micro;
        tally.electorate_micro = tally.electorate_micro.saturating_add(stake);
        if stake == 0 {
            continue;
        }
        if let Some(ballot) = ballots.get(account) {
            tally.add(stake, ballot.side, ballot.conviction);
            tally.counted += 1;
        } else if let Some(side) = delegated(electors, ballots, elector) {
            tally.add(stake, side, elector.conviction);
            tally.counted += 1;
            tally.delegated += 1;
        }
    }
    tally
}

/// What the first delegate along the chain who has voted says.
fn delegated(electors: &Electors, ballots: &Ballots, elector: &Elector) -> Option<Side> {
    let mut delegate = elector.delegate.as_ref()?;
    for _ in 0..MAX_CHAIN {
        if let Some(ballot) = ballots.get(delegate) {
            return Some(ballot.side);
        }
        delegate = electors.get(delegate)?.delegate.as_ref()?;
    }
    None
}

/// Why somebody cannot be made a delegate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DelegationError {
    /// Nobody delegates to themselves.
    #[error("you vote with your own stake anyway")]
    Oneself,
    /// The delegation would lead back to the delegator.
    #[error(
        "this would lead back to you: the delegate's votes are delegated to you, directly or through others"
    )]
    Cycle,
    /// The chain would be too long.
    #[error("at most eight delegations follow each other")]
    TooLong,
}

/// Whether `delegator` may delegate to `delegate`, where `next` tells whom an account delegates to on
/// the same track now.
///
/// # Errors
/// [`DelegationError`], or what `next` fails with.
pub fn check_delegation<E: From<DelegationError>>(
    delegator: &str,
    delegate: &str,
    mut next: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<(), E> {
    if delegator == delegate {
        return Err(DelegationError::Oneself.into());
    }
    let mut at = delegate.to_owned();
    for _ in 1..MAX_CHAIN {
        match next(&at)? {
            None => return Ok(()),
            Some(account) if account == delegator => return Err(DelegationError::Cycle.into()),
            Some(account) => at = account,
        }
    }
    Err(DelegationError::TooLong.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn level(n: u8) -> Conviction {
        Conviction::new(n).unwrap()
    }

    fn electors(rows: &[(&str, u64, Option<&str>, u8)]) -> Electors {
        let elector = |row: &(&str, u64, Option<&str>, u8)| Elector {
            stake_micro: row.1,
            delegate: row.2.map(str::to_owned),
            conviction: level(row.3),
        };
        rows.iter()
            .map(|row| (row.0.to_owned(), elector(row)))
            .collect()
    }

    fn ballots(rows: &[(&str, Side, u8)]) -> Ballots {
        let ballot = |side, conviction| Ballot {
            side,
            conviction: level(conviction),
        };
        rows.iter()
            .map(|row| (row.0.to_owned(), ballot(row.1, row.2)))
            .collect()
    }

    #[test]
    fn a_stake_goes_to_the_first_delegate_who_votes_unless_its_owner_does() {
        let all = electors(&[
            ("ada", 100, Some("bob"), 2),
            ("bob", 10, Some("cyd"), 1),
            ("cyd", 1, None, 0),
            ("dan", 1_000, None, 0),
        ]);
        let of = |rows: &[(&str, Side, u8)]| {
            let tally = tally(&all, &ballots(rows));
            assert_eq!(tally.electorate_micro, 1_111);
            (
                tally.for_weight,
                tally.against_weight,
                tally.for_stake_micro,
                tally.delegated,
            )
        };
        // Cyd carries both, each with the conviction of its own delegation.
        assert_eq!(
            of(&[("cyd", Side::For, 6)]),
            (100 * 20 + 10 * 10 + 60, 0, 111, 2)
        );
        // Bob takes his own back, and with it what Ada gave to him.
        let two = [("cyd", Side::For, 6), ("bob", Side::Against, 0)];
        assert_eq!(of(&two), (60, 100 * 20 + 10, 1, 1));
        // Ada votes for herself and is counted once.
        let three = [
            ("cyd", Side::For, 6),
            ("bob", Side::Against, 0),
            ("ada", Side::For, 1),
        ];
        assert_eq!(of(&three), (60 + 1_000, 10, 101, 0));
        assert_eq!(of(&[("stranger", Side::For, 6)]), (0, 0, 0, 0));
    }

    #[test]
    fn chains_are_bounded_and_a_cycle_counts_nowhere() {
        let ring = electors(&[("a", 5, Some("b"), 1), ("b", 5, Some("a"), 1)]);
        assert_eq!(tally(&ring, &Ballots::new()).counted, 0);
        let next = |at: &str| -> Result<Option<String>, DelegationError> {
            let row = ring.get(at);
            Ok(row.and_then(|elector| elector.delegate.clone()))
        };
        let chain =
            |at: &str| -> Result<Option<String>, DelegationError> { Ok(Some(format!("{at}x"))) };
        let none = |_: &str| -> Result<Option<String>, DelegationError> { Ok(None) };
        assert_eq!(
            check_delegation("a", "b", next),
            Err(DelegationError::Cycle)
        );
        assert_eq!(
            check_delegation("a", "a", none),
            Err(DelegationError::Oneself)
        );
        assert_eq!(
            check_delegation("z", "b", next),
            Err(DelegationError::TooLong)
        );
        assert_eq!(
            check_delegation("z", "b", chain),
            Err(DelegationError::TooLong)
        );
        assert_eq!(check_delegation("a", "b", none), Ok(()));
    }

    #[test]
    fn a_quorum_is_of_those_for_and_abstaining() {
        let all = electors(&[
            ("ada", 10, None, 0),
            ("bob", 20, None, 0),
            ("cyd", 70, None, 0),
        ]);
        let of = |rows: &[(&str, Side, u8)]| tally(&all, &ballots(rows));
        let against = of(&[("ada", Side::For, 1), ("cyd", Side::Against, 1)]);
        assert_eq!(
            (against.support_bps().get(), against.approval_bps().get()),
            (1_000, 1_250)
        );
        let abstaining = of(&[("ada", Side::For, 1), ("bob", Side::Abstain, 1)]);
        assert_eq!(
            (
                abstaining.support_bps().get(),
                abstaining.approval_bps().get()
            ),
            (3_000, 10_000)
        );
        assert_eq!(Tally::default().support_bps(), Bps::ZERO);
    }
}
