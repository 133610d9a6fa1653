//! The logarithmic market scoring rule (R. Hanson, "Combinatorial information market
//! design", Information Systems Frontiers 5, 2003) in log-odds.
//!
//! The free functions are the formulas in `f64`; amounts are in whatever unit `b` is in.
//! [`Maker`] is the state of one market and keeps only integers besides its opening price,
//! so that any two ways to the same holdings lead to the same price, exactly.

use serde::{Deserialize, Serialize};

use crate::money::{Micro, MicroShares, MoneyError};
use crate::probability::{
    LogOdds, MAX_LOG_ODDS, Probability, ProbabilityError, logit, sigmoid, softplus,
};

/// Least liquidity of a market: below it, rounding to micro-credits would dominate prices.
pub const MIN_LIQUIDITY: Micro = Micro(1_000);
/// Greatest liquidity of a market (10⁸ credits): shares stay below 2⁵³, so exact in `f64`.
pub const MAX_LIQUIDITY: Micro = Micro(100_000_000_000_000);

/// Relative widening of a cost before it is rounded up. The `f64` value of
/// [`cost`] is within about 1e-14 of the true one inside the price clamp; widening it by
/// more than that makes "rounded against the trader" true of the real number.
const COST_GUARD: f64 = 4e-14;

/// `payoff(p→q; π) = b [π ln(q/p) + (1−π) ln((1−q)/(1−p))]`.
///
/// `p`, `q` in (0, 1), `π` in [0, 1]; in units of `b`. Additive along a path of prices.
pub fn payoff(p: f64, q: f64, pi: f64, b: f64) -> f64 {
    let yes = ((q - p) / p).ln_1p();
    let no = ((p - q) / (1.0 - p)).ln_1p();
    b * (pi * yes + (1.0 - pi) * no)
}

/// `collateral(p→q) = b ln((1−p)/(1−q))` for `q ≥ p`, `b ln(p/q)` for `q < p`: minus the
/// least [`payoff`] over `π`. `p`, `q` in (0, 1); in units of `b`, never negative.
pub fn collateral(p: f64, q: f64, b: f64) -> f64 {
    if q >= p {
        -b * ((p - q) / (1.0 - p)).ln_1p()
    } else {
        -b * ((q - p) / p).ln_1p()
    }
}

/// `s = b (logit q − logit p)`: YES shares bought by the move `p→q` (negative: NO shares).
pub fn shares(p: f64, q: f64, b: f64) -> f64 {
    b * (logit(q) - logit(p))
}

/// `C = b [sp(ℓ_q) − sp(ℓ_p)]`, `sp(x) = ln(1 + e^x)`: what the YES shares of a move from
/// log-odds `from` to log-odds `to` cost. For NO shares negate both arguments.
pub fn cost_between(from: f64, to: f64, b: f64) -> f64 {
    b * (softplus(to) - softplus(from))
}

/// `C(s) = b log1p(p·expm1(s/b))`: cost of `s` shares of an outcome priced `p`.
/// Negative `s` is a sale, and `−C` its proceeds. The same number as [`cost_between`],
/// without cancellation for small `s`. `p` in (0, 1), any finite `s`.
pub fn cost(p: f64, s: f64, b: f64) -> f64 {
    b * (p * (s / b).exp_m1()).ln_1p()
}

/// `−b log1p(p·expm1(−s/b))`: proceeds of selling `s ≥ 0` shares of an outcome priced `p`.
pub fn sell_proceeds(p: f64, s: f64, b: f64) -> f64 {
    -cost(p, -s, b)
}

/// `s = b log1p(expm1(x/b)/p)`: shares that `x ≥ 0` buys of an outcome priced `p`; the
/// inverse of [`cost`]. Infinite when `e^(x/b)` overflows.
pub fn shares_for_spend(p: f64, x: f64, b: f64) -> f64 {
    b * ((x / b).exp_m1() / p).ln_1p()
}

/// `C(q) = m + b ln Σ e^((q_i−m)/b)`, `m = max q`: the cost function over `n` outcomes with
/// `quantities` outstanding. Zero for no outcomes.
pub fn cost_n(quantities: &[f64], b: f64) -> f64 {
    let Some(max) = quantities.iter().copied().reduce(f64::max) else {
        return 0.0;
    };
    let sum: f64 = quantities.iter().map(|q| ((q - max) / b).exp()).sum();
    max + b * sum.ln()
}

/// `price_i = softmax(q/b)_i` over `n` outcomes; sums to one.
pub fn prices_n(quantities: &[f64], b: f64) -> Vec<f64> {
    let max = quantities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = quantities.iter().map(|q| ((q - max) / b).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// `KL(p‖q) = p ln(p/q) + (1−p) ln((1−p)/(1−q))` in nats. `p` in [0, 1], `q` in (0, 1).
pub fn kl_divergence(p: f64, q: f64) -> f64 {
    let term = |x: f64, y: f64| if x > 0.0 { x * (x / y).ln() } else { 0.0 };
    (term(p, q) + term(1.0 - p, 1.0 - q)).max(0.0)
}

/// `b·KL(p‖q)`, rounded down: what it costs in expectation to hold a market whose truth is
/// `p` at `q`, if nobody answers. Size `b` so that it exceeds the gain from a wrong decision.
pub fn manipulation_cost(p: Probability, q: Probability, b: Micro) -> Result<Micro, MoneyError> {
    Micro::floor_from_f64(b.to_f64() * kl_divergence(p.get(), q.get()))
}

/// `b·max(ln 1/p₀, ln 1/(1−p₀))`, rounded up: the most a market opened at `p₀` can lose,
/// and so the subsidy to lock in its escrow before it opens.
pub fn subsidy(p0: Probability, b: Micro) -> Result<Micro, MoneyError> {
    let worst = (-p0.get().ln()).max(-(-p0.get()).ln_1p());
    Micro::ceil_from_f64(b.to_f64() * worst * (1.0 + COST_GUARD))
}

/// Why a market's state cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum MakerError {
    /// Liquidity outside [[`MIN_LIQUIDITY`], [`MAX_LIQUIDITY`]].
    #[error("liquidity {0} is outside [{MIN_LIQUIDITY}, {MAX_LIQUIDITY}] micro-credits")]
    Liquidity(Micro),
    /// Opening log-odds or net shares put the price outside the clamp.
    #[error("the price of the market lies outside its bounds")]
    OutOfBounds,
    /// Opening log-odds are not a number.
    #[error(transparent)]
    Probability(#[from] ProbabilityError),
    /// An amount left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// State of one binary market: where it opened, its liquidity `b`, and the net number of
/// YES shares sold since (YES less NO). The log-odds are `ℓ = ℓ₀ + net/b`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MakerState", into = "MakerState")]
pub struct Maker {
    opening: LogOdds,
    liquidity: Micro,
    net_shares: MicroShares,
}

/// [`Maker`] as it is serialised, before it is checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MakerState {
    opening_log_odds: LogOdds,
    liquidity_micro: Micro,
    net_shares_micro: MicroShares,
}

impl TryFrom<MakerState> for Maker {
    type Error = MakerError;

    fn try_from(state: MakerState) -> Result<Self, MakerError> {
        Self::restore(
            state.opening_log_odds,
            state.liquidity_micro,
            state.net_shares_micro,
        )
    }
}

impl From<Maker> for MakerState {
    fn from(maker: Maker) -> Self {
        Self {
            opening_log_odds: maker.opening,
            liquidity_micro: maker.liquidity,
            net_shares_micro: maker.net_shares,
        }
    }
}

impl Maker {
    /// A new market at `p0` and the [`subsidy`] to lock for it.
    /// Errors: liquidity out of range.
    pub fn open(p0: Probability, liquidity: Micro) -> Result<(Self, Micro), MakerError> {
        let maker = Self::restore(p0.log_odds(), liquidity, MicroShares::ZERO)?;
        Ok((maker, subsidy(p0, liquidity)?))
    }

    /// A market as it was stored. Errors: liquidity out of range, price outside the clamp.
    pub fn restore(
        opening: LogOdds,
        liquidity: Micro,
        net_shares: MicroShares,
    ) -> Result<Self, MakerError> {
        if !(MIN_LIQUIDITY..=MAX_LIQUIDITY).contains(&liquidity) {
            return Err(MakerError::Liquidity(liquidity));
        }
        // logit(0.995) in f64 is a few ulps from ln 199; opening at the bound is allowed.
        if opening.get().abs() > MAX_LOG_ODDS + 1e-12 {
            return Err(MakerError::OutOfBounds);
        }
        let maker = Self {
            opening,
            liquidity,
            net_shares,
        };
        let (low, high) = maker.net_bounds()?;
        if !(low..=high).contains(&net_shares) {
            return Err(MakerError::OutOfBounds);
        }
        Ok(maker)
    }

    /// Log-odds at which the market opened.
    pub const fn opening(&self) -> LogOdds {
        self.opening
    }

    /// Liquidity `b`.
    pub const fn liquidity(&self) -> Micro {
        self.liquidity
    }

    /// YES shares less NO shares in the hands of traders.
    pub const fn net_shares(&self) -> MicroShares {
        self.net_shares
    }

    /// `ℓ = ℓ₀ + net/b`, in nats.
    pub fn log_odds_nats(&self) -> f64 {
        self.opening.get() + self.net_shares.to_f64() / self.liquidity.to_f64()
    }

    /// [`Maker::log_odds_nats`] as a value of its type; finite because its parts are bounded.
    pub fn log_odds(&self) -> LogOdds {
        LogOdds::from_finite(self.log_odds_nats())
    }

    /// The posted probability, `σ(ℓ)` within the clamp.
    pub fn probability(&self) -> Probability {
        self.log_odds().probability()
    }

    /// `σ(ℓ)` for YES shares, `σ(−ℓ)` for NO shares, not clamped.
    pub(crate) fn price(&self, yes: bool) -> f64 {
        let l = self.log_odds_nats();
        sigmoid(if yes { l } else { -l })
    }

    /// Least and greatest net shares with the price inside its bounds:
    /// `⌈b(−L − ℓ₀)⌉` and `⌊b(L − ℓ₀)⌋`, `L = ln 199`; zero is always inside.
    fn net_bounds(&self) -> Result<(MicroShares, MicroShares), MoneyError> {
        let b = self.liquidity.to_f64();
        let low = MicroShares::ceil_from_f64(b * (-MAX_LOG_ODDS - self.opening.get()))?;
        let high = MicroShares::floor_from_f64(b * (MAX_LOG_ODDS - self.opening.get()))?;
        Ok((low.min(MicroShares::ZERO), high.max(MicroShares::ZERO)))
    }

    /// How many shares the price can still move up (`true`) or down before it meets its bound.
    pub(crate) fn room(&self, up: bool) -> Result<MicroShares, MoneyError> {
        let (low, high) = self.net_bounds()?;
        if up {
            high.checked_sub(self.net_shares)
        } else {
            self.net_shares.checked_sub(low)
        }
    }

    /// `⌈b log1p(p·expm1(s/b))⌉` for `shares` of YES or NO, guarded so that the rounding is
    /// against the trader in exact arithmetic too. Negative: proceeds of a sale.
    pub(crate) fn charge(&self, yes: bool, shares: MicroShares) -> Result<Micro, MoneyError> {
        let exact = cost(self.price(yes), shares.to_f64(), self.liquidity.to_f64());
        Micro::ceil_from_f64(exact + exact.abs() * COST_GUARD)
    }

    /// The state after `delta` more net YES shares. Errors: the price would leave its bounds.
    pub(crate) fn moved(&self, delta: MicroShares) -> Result<Self, MakerError> {
        let net = self.net_shares.checked_add(delta)?;
        Self::restore(self.opening, self.liquidity, net)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(actual: f64, expected: f64) {
        let error = (actual - expected).abs() / expected.abs().max(1.0);
        assert!(error < 1e-10, "{actual} is not {expected}");
    }

    #[test]
    fn published_values() {
        let b = 14.4269504088;
        close(shares_for_spend(0.5, 10.0, b), 15.8496250072);
        close(prices_n(&[shares_for_spend(0.5, 10.0, b), 0.0], b)[0], 0.75);
        close(collateral(0.1, 0.9, 10.0), 21.9722457734);
        close(collateral(0.3, 0.4, 10.0), 1.5415067983);
        let b = 10.0 / 4f64.ln();
        close(sell_proceeds(0.75, 10.0, b), 5.9632253897);
        let after = prices_n(&[b * 3f64.ln() - 10.0, 0.0], b);
        close(after[1], 0.5714285714);
        close(after[0], 0.4285714286);
        close(payoff(0.5, 0.75, 0.8, 1.0), 0.1857426504);
        close(payoff(0.7, 0.4, 0.8, 1.0), -0.3090631942);
    }

    #[test]
    fn refuses_states_out_of_bounds() {
        let p = Probability::HALF;
        assert!(matches!(
            Maker::open(p, Micro(999)),
            Err(MakerError::Liquidity(_))
        ));
        assert!(matches!(
            Maker::open(p, Micro::MAX),
            Err(MakerError::Liquidity(_))
        ));
        let b = Micro(1_000_000);
        let far = LogOdds::new(6.0).unwrap();
        assert_eq!(
            Maker::restore(far, b, MicroShares::ZERO),
            Err(MakerError::OutOfBounds)
        );
        let shares = MicroShares(6_000_000);
        assert_eq!(
            Maker::restore(LogOdds::ZERO, b, shares),
            Err(MakerError::OutOfBounds)
        );
        for bound in [Probability::MIN, Probability::MAX] {
            let (maker, _) = Maker::open(bound, MAX_LIQUIDITY).unwrap();
            assert!((maker.probability().get() - bound.get()).abs() < 1e-15);
            assert!(
                maker
                    .room(bound == Probability::MIN)
                    .is_ok_and(|room| !room.is_zero())
            );
        }
    }

    #[test]
    fn serialises_and_checks_what_it_reads() {
        let (maker, _) = Maker::open(Probability::new(0.3).unwrap(), Micro(5_000_000)).unwrap();
        let text = serde_json::to_string(&maker).unwrap();
        assert_eq!(serde_json::from_str::<Maker>(&text).unwrap(), maker);
        assert!(serde_json::from_str::<Maker>(&text.replace("5000000", "5")).is_err());
    }
}
