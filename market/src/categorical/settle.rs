//! Settlement of several outcomes: a point of the simplex, and who is paid what.

use serde::{Deserialize, Serialize};

use super::{CategoricalPosition, MAX_OUTCOMES, MIN_OUTCOMES};
use crate::money::Micro;
use crate::probability::Pi;
use crate::settle::{PayoutPlan, SettleError, distribute};

/// Name of the outcome that no candidate is the one. A market that a test plan settles has it.
pub const NONE_OUTCOME: &str = "none";

/// Why numbers are not a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PiVectorError {
    /// Not [`MIN_OUTCOMES`] to [`MAX_OUTCOMES`] parts.
    #[error("{0} outcomes are not within [{MIN_OUTCOMES}, {MAX_OUTCOMES}]")]
    Outcomes(usize),
    /// The parts do not sum to the whole.
    #[error("the parts sum to {0} billionths, not to 1,000,000,000")]
    Sum(u64),
    /// Nobody wins, an outcome twice, or one that the market does not have.
    #[error("the winners are not different outcomes of the market")]
    Winners,
    /// A candidate of the test has no outcome of its name, or [`NONE_OUTCOME`] is missing.
    #[error("the outcomes are not the candidates of the plan and 'none'")]
    Names,
}

/// A settlement `π` on the simplex: what a share of each outcome pays, as parts of a credit
/// in billionths that sum to exactly one credit. Serialised as its list of billionths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct PiVector(Vec<u32>);

impl PiVector {
    /// Parts in the whole.
    pub const SCALE: u32 = Pi::SCALE;

    /// The parts as they are. Errors: their number, or a sum other than [`PiVector::SCALE`].
    pub fn new(billionths: Vec<u32>) -> Result<Self, PiVectorError> {
        if !(MIN_OUTCOMES..=MAX_OUTCOMES).contains(&billionths.len()) {
            return Err(PiVectorError::Outcomes(billionths.len()));
        }
        let sum: u64 = billionths.iter().copied().map(u64::from).sum();
        if sum != u64::from(Self::SCALE) {
            return Err(PiVectorError::Sum(sum));
        }
        Ok(Self(billionths))
    }

    /// The whole credit split equally among `winners` of `outcomes` outcomes. Billionths that
    /// do not divide go to the first winners, one each.
    pub fn split(outcomes: usize, winners: &[usize]) -> Result<Self, PiVectorError> {
        let mut parts = vec![0; outcomes];
        let count = u32::try_from(winners.len()).map_err(|_| PiVectorError::Winners)?;
        let share = Self::SCALE
            .checked_div(count)
            .ok_or(PiVectorError::Winners)?;
        let extra = (Self::SCALE % count) as usize;
        for (rank, &winner) in winners.iter().enumerate() {
            match parts.get_mut(winner) {
                Some(part) if *part == 0 => *part = share + u32::from(rank < extra),
                _ => return Err(PiVectorError::Winners),
            }
        }
        Self::new(parts)
    }

    /// The whole credit to one outcome.
    pub fn winner(outcomes: usize, winner: usize) -> Result<Self, PiVectorError> {
        Self::split(outcomes, &[winner])
    }

    /// What a share of each outcome pays, in billionths of a credit.
    pub fn billionths(&self) -> &[u32] {
        &self.0
    }
}

impl TryFrom<Vec<u32>> for PiVector {
    type Error = PiVectorError;

    fn try_from(billionths: Vec<u32>) -> Result<Self, PiVectorError> {
        Self::new(billionths)
    }
}

impl From<PiVector> for Vec<u32> {
    fn from(pi: PiVector) -> Self {
        pi.0
    }
}

/// The settlement that a test plan's verdict gives: the candidate whose arm is decisive wins,
/// several share equally, and if none is, [`NONE_OUTCOME`] wins.
///
/// `names` are the outcomes, `arms` each candidate with whether its arm is decisive.
/// Errors: the outcomes are not exactly the candidates and [`NONE_OUTCOME`].
pub fn decisive_vector(names: &[String], arms: &[(&str, bool)]) -> Result<PiVector, PiVectorError> {
    let index_of = |wanted: &str| {
        let found = names.iter().position(|name| name == wanted);
        found.ok_or(PiVectorError::Names)
    };
    let none = index_of(NONE_OUTCOME)?;
    if names.len() != arms.len() + 1 || arms.iter().any(|(name, _)| *name == NONE_OUTCOME) {
        return Err(PiVectorError::Names);
    }
    let mut winners = Vec::new();
    for (candidate, decisive) in arms {
        let index = index_of(candidate)?;
        if *decisive {
            winners.push(index);
        }
    }
    if winners.is_empty() {
        winners.push(none);
    }
    PiVector::split(names.len(), &winners)
}

/// Pays every position `⌊Σ shares_i·π_i⌋` and its banked profit, the rest going back to the
/// subsidiser; as [`crate::settle::payouts`], with the same checks.
pub fn payouts<K: Clone>(
    holders: &[(K, CategoricalPosition)],
    pi: &PiVector,
    subsidy: Micro,
    escrow: Micro,
) -> Result<PayoutPlan<K>, SettleError> {
    let locked = CategoricalPosition::locked;
    distribute(holders, subsidy, escrow, locked, |held| held.payout(pi))
}

/// Gives every holder back exactly what they have in escrow, and the subsidy to the
/// subsidiser; as [`crate::settle::refunds`], with the same checks.
pub fn refunds<K: Clone>(
    holders: &[(K, CategoricalPosition)],
    subsidy: Micro,
    escrow: Micro,
) -> Result<PayoutPlan<K>, SettleError> {
    let locked = CategoricalPosition::locked;
    distribute(holders, subsidy, escrow, locked, |held| Ok(held.locked()))
}
