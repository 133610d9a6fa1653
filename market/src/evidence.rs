//! Evidence is a trade of its submitter.
//!
//! The ensemble judges the exhibits before and after a submission; the shift `δ` of its
//! log-odds moves the market to
//!
//! ```text
//! ℓ' = ℓ + κ·δ,   truncated where the collateral of the move reaches the stake
//! ```
//!
//! The move is booked as the shares it buys: `q > p` buys `b (logit q − logit p)` YES shares
//! for `b ln((1−p)/(1−q))`, `q < p` the mirror image in NO shares. At settlement `π` those
//! shares less their cost are `payoff(p→q; π)`, so there is one way to hold and to settle.

use serde::Serialize;

use crate::lmsr::Maker;
use crate::money::{Micro, MicroShares};
use crate::trade::{
    Fill, Outcome, Position, PricePoint, TradeError, affordable, execute, shares_for_shift,
    shares_within,
};

/// Largest shift of log-odds that is looked at, in nats. The whole price range is 10.6, so
/// cutting a larger shift changes nothing and keeps shares in range.
const MAX_SHIFT: f64 = 16.0;

/// Why evidence cannot be applied. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum EvidenceError {
    /// `δ` is NaN or infinite.
    #[error("the shift of log-odds is not a finite number")]
    Shift,
    /// `κ` is not within [0, 1].
    #[error("the weight of the ensemble is outside [0, 1]")]
    Weight,
    /// The stake is not above zero.
    #[error("the stake must be positive")]
    Stake,
    /// The move could not be booked.
    #[error(transparent)]
    Trade(#[from] TradeError),
}

/// What a submission moved and what it locked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvidenceFill {
    /// Price before.
    pub from: PricePoint,
    /// Price after.
    pub to: PricePoint,
    /// Collateral of the move, at most the stake; the rest of the stake is not needed.
    pub locked: Micro,
    /// What moves from the account to the market's escrow; at most `locked`, less where an
    /// opposite holding was netted (see [`Position`]).
    pub cash: Micro,
    /// YES micro-shares of the move.
    pub yes: MicroShares,
    /// NO micro-shares of the move.
    pub no: MicroShares,
    /// The stake or the bound of the price cut the move short.
    pub truncated: bool,
    /// The market afterwards.
    pub maker: Maker,
    /// The submitter's position afterwards.
    pub position: Position,
}

impl EvidenceFill {
    /// `shares·π − locked` in micro-credits: what the submission earns at settlement `π`.
    pub fn earnings_at(&self, pi: f64) -> f64 {
        self.yes.to_f64() * pi + self.no.to_f64() * (1.0 - pi) - self.locked.to_f64()
    }
}

/// Moves `maker` by `κ·δ`, at most as far as `stake` covers, and books the move to the
/// submitter's `position`.
///
/// A shift that rounds to no shares (or a price already at its bound) is not an error:
/// judged evidence that says nothing new moves nothing and locks nothing.
/// Errors: `δ` not finite, `κ` outside [0, 1], `stake ≤ 0`, overflow of a position.
pub fn apply_evidence(
    maker: &Maker,
    position: &Position,
    shift: f64,
    kappa: f64,
    stake: Micro,
) -> Result<EvidenceFill, EvidenceError> {
    if !shift.is_finite() {
        return Err(EvidenceError::Shift);
    }
    if !(0.0..=1.0).contains(&kappa) {
        return Err(EvidenceError::Weight);
    }
    if stake <= Micro::ZERO {
        return Err(EvidenceError::Stake);
    }
    if position.yes.is_negative() || position.no.is_negative() {
        return Err(TradeError::InvalidPosition.into());
    }
    let fill = book(
        maker,
        position,
        (kappa * shift).clamp(-MAX_SHIFT, MAX_SHIFT),
        stake,
    )?;
    Ok(EvidenceFill {
        from: fill.from,
        to: fill.to,
        locked: fill.cost,
        cash: fill.cash,
        yes: fill.yes,
        no: fill.no,
        truncated: fill.truncated,
        maker: fill.maker,
        position: fill.position,
    })
}

/// Books the part of `shift` that fits the price bound and the stake.
fn book(maker: &Maker, position: &Position, shift: f64, stake: Micro) -> Result<Fill, TradeError> {
    let up = shift > 0.0;
    let outcome = if up { Outcome::Yes } else { Outcome::No };
    let wanted = shares_for_shift(maker, shift)?;
    let room = maker.room(up)?.max(MicroShares::ZERO);
    let reach = wanted.min(room).min(shares_within(maker, outcome, stake)?);
    let size = affordable(maker, outcome, reach, stake)?;
    execute(maker, position, outcome, size, size < wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lmsr;
    use crate::probability::{Probability, logit};

    const B: Micro = Micro(100_000_000);
    const AMPLE: Micro = Micro(1_000_000_000);

    fn market(p: f64) -> Maker {
        Maker::open(Probability::new(p).unwrap(), B).unwrap().0
    }

    fn apply(p: f64, shift: f64, kappa: f64, stake: Micro) -> EvidenceFill {
        apply_evidence(&market(p), &Position::default(), shift, kappa, stake).unwrap()
    }

    #[test]
    fn moves_by_the_weighted_shift_and_earns_the_payoff() {
        for (p, shift, kappa) in [(0.5, 2.0, 0.6), (0.3, -1.5, 1.0), (0.9, -3.0, 0.25)] {
            let fill = apply(p, shift, kappa, AMPLE);
            let (q, b) = (fill.to.probability.get(), B.to_f64());
            assert!((logit(q) - logit(p) - kappa * shift).abs() < 2e-8);
            assert!(!fill.truncated);
            assert!((fill.locked.to_f64() - lmsr::collateral(p, q, b)).abs() <= 1.0);
            for pi in [0.0, 0.25, 1.0] {
                let error = lmsr::payoff(p, q, pi, b) - fill.earnings_at(pi);
                assert!(
                    (-1e-3..=1.001).contains(&error),
                    "{p} {shift} {pi}: {error}"
                );
            }
        }
    }

    #[test]
    fn the_stake_caps_the_move() {
        for shift in [4.0, -4.0] {
            let stake = Micro(5_000_000);
            let fill = apply(0.5, shift, 1.0, stake);
            assert!(fill.truncated);
            assert!(fill.locked <= stake && fill.locked.get() >= stake.get() - 1);
            assert_eq!(fill.cash, fill.locked);
            // Closed form: σ(ℓ') with collateral b ln((1−p)/(1−q)) = stake.
            let moved = 1.0 - 0.5 * (-stake.to_f64() / B.to_f64()).exp();
            let q = fill.to.probability.get();
            assert!((q.max(1.0 - q) - moved).abs() < 1e-7);
        }
    }

    #[test]
    fn what_says_nothing_moves_nothing() {
        for (shift, kappa) in [(0.0, 1.0), (1e-12, 1.0), (5.0, 0.0)] {
            let fill = apply(0.5, shift, kappa, AMPLE);
            assert_eq!(
                (fill.locked, fill.cash, fill.truncated),
                (Micro(0), Micro(0), false)
            );
            assert_eq!(fill.maker, market(0.5));
        }
        let bound = apply(0.995, 5.0, 1.0, AMPLE);
        assert_eq!((bound.locked, bound.truncated), (Micro(0), true));
    }

    #[test]
    fn the_bound_caps_the_move() {
        let fill = apply(0.5, f64::MAX, 1.0, Micro::MAX);
        assert!(fill.truncated);
        assert!((fill.to.probability.get() - 0.995).abs() < 1e-9);
    }

    #[test]
    fn refusals_are_typed() {
        let refused = |shift, kappa, stake| {
            apply_evidence(&market(0.5), &Position::default(), shift, kappa, stake).unwrap_err()
        };
        assert_eq!(refused(f64::NAN, 1.0, AMPLE), EvidenceError::Shift);
        assert_eq!(refused(1.0, 1.1, AMPLE), EvidenceError::Weight);
        assert_eq!(refused(1.0, f64::NAN, AMPLE), EvidenceError::Weight);
        assert_eq!(refused(1.0, 1.0, Micro(0)), EvidenceError::Stake);
    }
}
