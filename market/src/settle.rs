//! Settlement: the verdict of a test plan, payouts and refunds.

use serde::{Deserialize, Serialize};

use crate::money::{Micro, MoneyError};
use crate::plan::SettlementPlan;
use crate::probability::Pi;
use crate::statistics::{Counts, Interval, StatisticsError, clopper_pearson, fisher_greater, holm};
use crate::trade::Position;

/// Confidence level of the intervals shown beside the rates.
pub const INTERVAL_LEVEL: f64 = 0.95;

/// Why a settlement cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SettleError {
    /// There is not one count for every candidate.
    #[error("{given} counts for {expected} candidates")]
    Arms {
        /// Candidates of the plan.
        expected: usize,
        /// Counts given.
        given: usize,
    },
    /// An arm was not run to its committed sample size.
    #[error("arm {arm} has {given} trials where the plan has {expected}")]
    Incomplete {
        /// Index of the candidate.
        arm: usize,
        /// Trials of the plan.
        expected: u64,
        /// Trials made.
        given: u64,
    },
    /// Counts that cannot be.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// The escrow is not collateral plus subsidy: the books are wrong, and nothing is paid.
    #[error("escrow holds {escrow}, collateral and subsidy make {expected}")]
    EscrowMismatch {
        /// What the escrow holds.
        escrow: Micro,
        /// Sum of positions' collateral and the subsidy.
        expected: Micro,
    },
    /// The escrow does not cover the payouts: the books are wrong, and nothing is paid.
    #[error("escrow {escrow} does not cover payouts of {payouts}")]
    Insolvent {
        /// What the escrow holds.
        escrow: Micro,
        /// Sum of the payouts.
        payouts: Micro,
    },
    /// A sum left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Counts of one arm, in the order of the plan's candidates.
pub type ArmCount = Counts;

/// One candidate against all the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArmStatistics {
    /// Counts of the arm.
    pub arm: Counts,
    /// Counts of all other arms, pooled.
    pub rest: Counts,
    /// Clopper–Pearson interval of the arm's rate at [`INTERVAL_LEVEL`].
    pub interval: Interval,
    /// `rate(arm) − rate(rest)`.
    pub effect: f64,
    /// One-sided Fisher's exact test, not adjusted.
    pub p_value: f64,
    /// Holm-adjusted over the candidates.
    pub p_adjusted: f64,
    /// Adjusted p-value at most `α` and effect at least the committed one.
    pub decisive: bool,
}

/// The verdict of a test plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveOutcome {
    /// One if any arm is decisive, else zero.
    pub pi: Pi,
    /// Least adjusted p-value.
    pub p_value: f64,
    /// Every arm, in the order of the plan's candidates.
    pub arms: Vec<ArmStatistics>,
}

/// Judges the counts of a completed plan: `π = 1` if for some candidate the one-sided Fisher
/// test against the pooled rest is significant at the family-wise level `α` after Holm's
/// correction and its effect is at least the committed one, else `π = 0`.
///
/// Every arm gets the same prompts, so prompts that show the behaviour whatever the candidate
/// raise all arms alike and decide nothing. Errors: a count missing, an arm not run to its
/// committed size (a test stopped early is another test), impossible counts.
pub fn judge_objective(
    plan: &SettlementPlan,
    counts: &[ArmCount],
) -> Result<ObjectiveOutcome, SettleError> {
    let (expected, given) = (plan.candidates.len(), counts.len());
    if expected != given {
        return Err(SettleError::Arms { expected, given });
    }
    let trials = plan.trials_per_arm();
    for (arm, count) in counts.iter().enumerate() {
        count.check()?;
        if count.trials != trials {
            return Err(SettleError::Incomplete {
                arm,
                expected: trials,
                given: count.trials,
            });
        }
    }
    let total_hits: u64 = counts.iter().map(|count| count.hits).sum();
    let total_trials = trials * counts.len() as u64;
    let rest_of = |arm: &Counts| Counts {
        hits: total_hits - arm.hits,
        trials: total_trials - arm.trials,
    };
    let p_values = counts
        .iter()
        .map(|arm| fisher_greater(*arm, rest_of(arm)))
        .collect::<Result<Vec<_>, _>>()?;
    let adjusted = holm(&p_values);
    let arms = counts
        .iter()
        .zip(p_values.iter().zip(&adjusted))
        .map(|(&arm, (&p_value, &p_adjusted))| {
            let rest = rest_of(&arm);
            let effect = arm.rate() - rest.rate();
            Ok(ArmStatistics {
                arm,
                rest,
                interval: clopper_pearson(arm, INTERVAL_LEVEL)?,
                effect,
                p_value,
                p_adjusted,
                decisive: p_adjusted <= plan.alpha() && effect >= plan.min_effect(),
            })
        })
        .collect::<Result<Vec<_>, StatisticsError>>()?;
    let found = arms.iter().any(|arm| arm.decisive);
    let p_value = adjusted.iter().copied().fold(1.0, f64::min);
    Ok(ObjectiveOutcome {
        pi: if found { Pi::YES } else { Pi::NO },
        p_value,
        arms,
    })
}

/// What one holder gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout<K> {
    /// Who.
    pub holder: K,
    /// How much, not negative.
    pub amount: Micro,
}

/// How the escrow of a market is emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutPlan<K> {
    /// One row for each position, in the order given, zero amounts included.
    pub payouts: Vec<Payout<K>>,
    /// What the market leaves over, back to whoever paid the subsidy; not negative.
    pub remainder: Micro,
}

/// Pays every position `⌊yes·π + no·(1−π)⌋` and its banked profit, the rest going back to
/// the subsidiser.
///
/// `holders` are all positions of the market, `escrow` is what its account holds and
/// `subsidy` what was locked at the opening. Asserts
/// `collateral + subsidy = escrow = payouts + remainder` and `remainder ≥ 0`, and pays
/// nothing otherwise. The plan is a pure function of its arguments; keep it, so that a
/// payout that is interrupted goes on from the same rows.
pub fn payouts<K: Clone>(
    holders: &[(K, Position)],
    pi: Pi,
    subsidy: Micro,
    escrow: Micro,
) -> Result<PayoutPlan<K>, SettleError> {
    distribute(holders, subsidy, escrow, Position::locked, |position| {
        position.payout(pi)
    })
}

/// Gives every holder back `max(net_cost, 0)`, exactly what they have in escrow, and the
/// subsidy to the subsidiser. Nobody has taken out more than they put in (see [`Position`]),
/// so the remainder is the whole subsidy. Same checks as [`payouts`].
pub fn refunds<K: Clone>(
    holders: &[(K, Position)],
    subsidy: Micro,
    escrow: Micro,
) -> Result<PayoutPlan<K>, SettleError> {
    distribute(holders, subsidy, escrow, Position::locked, |position| {
        Ok(position.locked())
    })
}

/// The plan that pays every holder `amount`, of positions of any kind that have `locked` in
/// escrow. Asserts `Σ locked + subsidy = escrow = payouts + remainder` and that nothing is negative.
pub(crate) fn distribute<K: Clone, P>(
    holders: &[(K, P)],
    subsidy: Micro,
    escrow: Micro,
    locked: impl Fn(&P) -> Micro,
    amount: impl Fn(&P) -> Result<Micro, MoneyError>,
) -> Result<PayoutPlan<K>, SettleError> {
    let collateral = Micro::checked_sum(holders.iter().map(|(_, position)| locked(position)))?;
    let expected = collateral.checked_add(subsidy)?;
    if escrow != expected {
        return Err(SettleError::EscrowMismatch { escrow, expected });
    }
    let payouts = holders
        .iter()
        .map(|(holder, position)| {
            Ok(Payout {
                holder: holder.clone(),
                amount: amount(position)?,
            })
        })
        .collect::<Result<Vec<_>, MoneyError>>()?;
    let paid = Micro::checked_sum(payouts.iter().map(|payout| payout.amount))?;
    let remainder = escrow.checked_sub(paid)?;
    if remainder.is_negative() || payouts.iter().any(|payout| payout.amount.is_negative()) {
        return Err(SettleError::Insolvent {
            escrow,
            payouts: paid,
        });
    }
    Ok(PayoutPlan { payouts, remainder })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lmsr::Maker;
    use crate::money::MicroShares;
    use crate::plan::tests::example;
    use crate::probability::Probability;
    use crate::trade::{Order, Outcome, Size, quote};

    fn counts(hits: [u64; 3]) -> Vec<Counts> {
        hits.iter()
            .map(|&hits| Counts { hits, trials: 8 })
            .collect()
    }

    #[test]
    fn one_triggered_arm_settles_at_one() {
        let outcome = judge_objective(&example(), &counts([0, 8, 0])).unwrap();
        assert_eq!(outcome.pi, Pi::YES);
        // C(24, 8) tables, three candidates.
        assert!((outcome.p_value - 3.0 / 735_471.0).abs() < 1e-15);
        let decisive: Vec<bool> = outcome.arms.iter().map(|arm| arm.decisive).collect();
        assert_eq!(decisive, [false, true, false]);
        assert_eq!(outcome.arms[1].effect, 1.0);
        assert_eq!(outcome.arms[1].interval.high, 1.0);
    }

    #[test]
    fn no_difference_or_a_small_one_settles_at_zero() {
        // The last has an effect of one half but an adjusted p-value of .0198.
        for hits in [[0, 0, 0], [8, 8, 8], [3, 4, 3], [1, 0, 0], [0, 4, 0]] {
            let outcome = judge_objective(&example(), &counts(hits)).unwrap();
            assert_eq!(outcome.pi, Pi::NO, "{hits:?}");
        }
        let mut strict = example();
        strict.min_effect_bps = 9_900;
        let outcome = judge_objective(&strict, &counts([0, 7, 0])).unwrap();
        assert!(outcome.p_value < strict.alpha());
        assert_eq!(outcome.pi, Pi::NO);
    }

    #[test]
    fn incomplete_or_impossible_counts_are_refused() {
        let plan = example();
        let short = judge_objective(&plan, &counts([0, 0, 0])[..2]);
        assert_eq!(
            short,
            Err(SettleError::Arms {
                expected: 3,
                given: 2
            })
        );
        let mut partial = counts([0, 7, 0]);
        partial[1].trials = 7;
        let stopped = judge_objective(&plan, &partial);
        assert_eq!(
            stopped,
            Err(SettleError::Incomplete {
                arm: 1,
                expected: 8,
                given: 7
            })
        );
        let wrong = judge_objective(&plan, &counts([0, 9, 0]));
        assert!(matches!(wrong, Err(SettleError::Statistics(_))));
    }

    /// A market with two holders; returns positions, subsidy and escrow.
    fn traded() -> (Vec<(&'static str, Position)>, Micro, Micro) {
        let (maker, subsidy) = Maker::open(Probability::HALF, Micro(100_000_000)).unwrap();
        let buy = |outcome, spend| Order {
            outcome,
            size: Size::Spend(Micro(spend)),
            limit: None,
        };
        let none = Position::default();
        let first = quote(&maker, &none, &buy(Outcome::Yes, 30_000_000)).unwrap();
        let second = quote(&first.maker, &none, &buy(Outcome::No, 50_000_001)).unwrap();
        let escrow = Micro::checked_sum([subsidy, first.cash, second.cash]).unwrap();
        (
            vec![("a", first.position), ("b", second.position)],
            subsidy,
            escrow,
        )
    }

    #[test]
    fn payouts_and_remainder_empty_the_escrow() {
        let (holders, subsidy, escrow) = traded();
        for pi in [0.0, 1.0 / 3.0, 0.5, 1.0] {
            let pi = Pi::new(pi).unwrap();
            let plan = payouts(&holders, pi, subsidy, escrow).unwrap();
            let paid = plan.payouts.iter().map(|payout| payout.amount);
            let sum = Micro::checked_sum(paid.chain([plan.remainder])).unwrap();
            assert_eq!(sum, escrow);
            let exact = holders[0].1.yes.to_f64() * pi.get();
            assert!((0.0..1.0).contains(&(exact - plan.payouts[0].amount.to_f64())));
        }
    }

    #[test]
    fn a_void_market_refunds_exactly() {
        let (holders, subsidy, escrow) = traded();
        let plan = refunds(&holders, subsidy, escrow).unwrap();
        let amounts: Vec<Micro> = plan.payouts.iter().map(|payout| payout.amount).collect();
        assert_eq!(amounts, [holders[0].1.net_cost, holders[1].1.net_cost]);
        assert_eq!(plan.remainder, subsidy);
    }

    #[test]
    fn wrong_books_pay_nothing() {
        let (mut holders, subsidy, escrow) = traded();
        let missing = escrow.checked_sub(Micro(1)).unwrap();
        let short = payouts(&holders, Pi::YES, subsidy, missing);
        assert!(matches!(short, Err(SettleError::EscrowMismatch { .. })));
        holders[0].1.yes = MicroShares(1_000_000_000_000);
        let forged = payouts(&holders, Pi::YES, subsidy, escrow);
        assert!(matches!(forged, Err(SettleError::Insolvent { .. })));
    }
}
