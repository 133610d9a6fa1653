//! What becomes of the bonds of a disputed settlement.
//!
//! Every bond stands for a number: a proposal for the settlement it proposes, a challenge for
//! the one it wants instead. Each challenge disputes the claim that stood before it, whether
//! somebody's proposal or a ruling. Once the settlement π* stands, the nearer of the two sides
//! of each dispute has won it:
//!
//! ```text
//! a challenge wins if |own − π*| < |disputed − π*|, loses if >, and is void if equal
//! a bonded claim that was disputed wins where its challenge lost, and loses where it won
//! ```
//!
//! A lost bond is cut in two: the burnt part goes to the treasury, the rest to those who won,
//! in proportion to their bonds. Nobody who holds both sides of a dispute gets back what they
//! put in, so disputing with oneself never pays.

use crate::money::{Micro, MoneyError};
use crate::probability::Pi;

/// One bonded or unbonded claim on the settlement, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The settlement it stands for.
    pub pi: Pi,
    /// Its bond, not negative; zero for a ruling, which has none.
    pub bond: Micro,
    /// Index of the earlier claim that it disputes; none for proposals and rulings.
    pub disputes: Option<usize>,
}

/// How a claim fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody disputed it, or both sides were equally far off: the bond goes back.
    Returned,
    /// It was nearer: the bond goes back, with a share of what others lost.
    Won,
    /// It was further off: the bond is lost.
    Lost,
}

/// How the bonds of a case are given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BondPlan {
    /// Fate and amount paid out for each claim, in the order given.
    pub claims: Vec<(Fate, Micro)>,
    /// What the treasury receives: the burnt part, what rounding leaves, and lost bonds that
    /// nobody won.
    pub burnt: Micro,
}

/// Gives out all bonds of a case that settled at `pi`; `burn_bps` of what is lost is burnt.
///
/// `Σ bonds = Σ paid + burnt`, every amount is at least zero, and nobody on the losing side
/// gets anything. Errors: a sum left the range of the type, or a bond is negative.
pub fn distribute(claims: &[Claim], pi: Pi, burn_bps: u16) -> Result<BondPlan, MoneyError> {
    let fates = fates(claims, pi);
    let total = Micro::checked_sum(claims.iter().map(|claim| claim.bond))?;
    if claims.iter().any(|claim| claim.bond.is_negative()) {
        return Err(MoneyError::Overflow);
    }
    let sum_of = |wanted: Fate| {
        let bonds = claims
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| **fate == wanted);
        Micro::checked_sum(bonds.map(|(claim, _)| claim.bond))
    };
    let (lost, won) = (sum_of(Fate::Lost)?, sum_of(Fate::Won)?);
    let burn = i128::from(burn_bps.min(crate::draw::ALL_BPS));
    let shared = i128::from(lost.get()) * (10_000 - burn) / 10_000;
    let paid = claims
        .iter()
        .zip(&fates)
        .map(|(claim, fate)| {
            let reward = match fate {
                Fate::Lost => return Ok(Micro::ZERO),
                Fate::Won if !won.is_zero() => {
                    shared * i128::from(claim.bond.get()) / i128::from(won.get())
                }
                Fate::Won | Fate::Returned => 0,
            };
            let reward = i64::try_from(reward).map_err(|_| MoneyError::Overflow)?;
            claim.bond.checked_add(Micro(reward))
        })
        .collect::<Result<Vec<_>, MoneyError>>()?;
    let given = Micro::checked_sum(paid.iter().copied())?;
    Ok(BondPlan {
        burnt: total.checked_sub(given)?,
        claims: fates.into_iter().zip(paid).collect(),
    })
}

fn fates(claims: &[Claim], pi: Pi) -> Vec<Fate> {
    let distance = |claim: &Claim| claim.pi.billionths().abs_diff(pi.billionths());
    let mut fates = vec![Fate::Returned; claims.len()];
    for (index, claim) in claims.iter().enumerate() {
        let disputed = claim.disputes.filter(|&at| at < index);
        let Some(at) = disputed else { continue };
        match distance(claim).cmp(&distance(&claims[at])) {
            std::cmp::Ordering::Less => (fates[index], fates[at]) = (Fate::Won, Fate::Lost),
            std::cmp::Ordering::Greater => (fates[index], fates[at]) = (Fate::Lost, Fate::Won),
            std::cmp::Ordering::Equal => {}
        }
    }
    fates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn claim(pi: f64, bond: i64, disputes: Option<usize>) -> Claim {
        Claim {
            pi: Pi::new(pi).unwrap(),
            bond: Micro(bond),
            disputes,
        }
    }

    fn paid(claims: &[Claim], pi: f64, burn_bps: u16) -> (Vec<i64>, i64) {
        let plan = distribute(claims, Pi::new(pi).unwrap(), burn_bps).unwrap();
        let amounts: Vec<i64> = plan.claims.iter().map(|(_, amount)| amount.get()).collect();
        (amounts, plan.burnt.get())
    }

    #[test]
    fn the_nearer_side_gets_three_quarters_of_the_other_bond() {
        let case = [claim(0.0, 100, None), claim(1.0, 200, Some(0))];
        assert_eq!(paid(&case, 1.0, 2_500), (vec![0, 275], 25));
        assert_eq!(paid(&case, 0.2, 2_500), (vec![250, 0], 50));
        assert_eq!(paid(&case, 0.5, 2_500), (vec![100, 200], 0), "a tie");
        assert_eq!(paid(&case[..1], 0.7, 2_500), (vec![100], 0), "no dispute");
    }

    #[test]
    fn disputing_a_ruling_is_paid_by_whoever_lost() {
        // A wrong proposal, a wrong challenge, a wrong ruling, and one who saw through all.
        let case = [
            claim(0.0, 100, None),
            claim(0.1, 200, Some(0)),
            claim(0.0, 0, None),
            claim(1.0, 400, Some(2)),
            claim(1.0, 0, None),
        ];
        // The proposal lost to the challenge, and the last challenge won against the ruling.
        let (amounts, burnt) = paid(&case, 1.0, 2_500);
        assert_eq!(amounts, [0, 225, 0, 450, 0]);
        assert_eq!(burnt, 25);
        // Confirmed all the way: both challengers lose to the proposer.
        let (amounts, burnt) = paid(&case, 0.0, 2_500);
        assert_eq!(amounts, [550, 0, 0, 0, 0]);
        assert_eq!(burnt, 150);
    }

    #[test]
    fn without_a_bonded_winner_the_treasury_keeps_what_was_lost() {
        let case = [
            claim(0.0, 0, None),
            claim(1.0, 200, Some(0)),
            claim(0.0, 0, None),
        ];
        assert_eq!(paid(&case, 0.0, 2_500), (vec![0, 0, 0], 200));
    }

    #[test]
    fn disputing_with_oneself_costs_the_burnt_part() {
        let case = [claim(0.0, 100, None), claim(1.0, 200, Some(0))];
        for (pi, cost) in [(1.0, 25), (0.0, 50)] {
            let (amounts, burnt) = paid(&case, pi, 2_500);
            assert_eq!(amounts.iter().sum::<i64>(), 300 - cost);
            assert_eq!(burnt, cost);
            assert_eq!(paid(&case, pi, 0).1, 0, "free without the burnt part");
        }
    }

    #[test]
    fn negative_bonds_and_overflow_are_refused() {
        assert!(distribute(&[claim(0.0, -1, None)], Pi::NO, 0).is_err());
        let huge = [claim(0.0, i64::MAX, None), claim(1.0, i64::MAX, Some(0))];
        assert!(distribute(&huge, Pi::YES, 0).is_err());
    }
}
