//! The integer state of a market of several outcomes, and its prices.

use serde::{Deserialize, Serialize};

use super::CategoricalError;
use crate::lmsr::{MAX_LIQUIDITY, MIN_LIQUIDITY};
use crate::money::{Micro, MicroShares, MoneyError};

/// Fewest outcomes. Two are the binary market in other words.
pub const MIN_OUTCOMES: usize = 2;
/// Most outcomes.
pub const MAX_OUTCOMES: usize = 64;

/// Price below which no outcome falls, whoever trades what. With opening prices of at least
/// [`price_floor`], the shares of one outcome exceed those of another by at most
/// `b ln(100·64/10⁻⁹) < 30 b`, which is exact in `f64` for every allowed liquidity.
pub const LEAST_PRICE: f64 = 1e-9;

/// What the floors of all outcomes take of the whole price.
const RESERVE: f64 = 0.01;
/// How far opening prices as people write them may sum past one.
const SUM_SLACK: f64 = 1e-6;
/// Relative slack when a stored price is held against its bound.
const BOUND_SLACK: f64 = 1e-9;
/// Relative widening of a cost before it is rounded up. The weights come from exponents of
/// up to 40 and a sum of up to 64 terms, so the `f64` value of [`CategoricalMaker::charge`]
/// is within about 3e-14 of the true one; widening by more than that makes "rounded against
/// the trader" true of the real number.
const COST_GUARD: f64 = 1e-13;

/// `0.01/n`: the least price at which an outcome opens, or to which a sale of it goes.
pub fn price_floor(outcomes: usize) -> f64 {
    RESERVE / outcomes as f64
}

/// `1 − (n−1)·0.01/n`: the greatest price to which a buy of an outcome goes.
pub fn price_ceiling(outcomes: usize) -> f64 {
    1.0 - RESERVE + RESERVE / outcomes as f64
}

/// State of one market of several outcomes: its opening prices, its liquidity `b`, and the
/// shares of each outcome in the hands of traders.
///
/// Prices depend only on the differences of the shares, which are integers: any two ways to
/// the same holdings lead to the same prices, exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MakerState", into = "MakerState")]
pub struct CategoricalMaker {
    opening: Vec<f64>,
    liquidity: Micro,
    shares: Vec<MicroShares>,
}

/// [`CategoricalMaker`] as it is serialised, before it is checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MakerState {
    opening_prices: Vec<f64>,
    liquidity_micro: Micro,
    shares_micro: Vec<MicroShares>,
}

impl TryFrom<MakerState> for CategoricalMaker {
    type Error = CategoricalError;

    fn try_from(state: MakerState) -> Result<Self, CategoricalError> {
        Self::restore(
            state.opening_prices,
            state.liquidity_micro,
            state.shares_micro,
        )
    }
}

impl From<CategoricalMaker> for MakerState {
    fn from(maker: CategoricalMaker) -> Self {
        Self {
            opening_prices: maker.opening,
            liquidity_micro: maker.liquidity,
            shares_micro: maker.shares,
        }
    }
}

/// The price of one outcome, and that of all others together. Kept apart because `1 − p`
/// has no precision left when `p` is near one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    /// Price of the outcome, in (0, 1).
    pub(super) of: f64,
    /// Sum of the other prices, in (0, 1).
    pub(super) rest: f64,
}

impl Price {
    /// `ln p − ln(1−p)`.
    pub(super) fn logit(self) -> f64 {
        self.of.ln() - self.rest.ln()
    }
}

impl CategoricalMaker {
    /// A new market with opening prices `prices`, and the subsidy to lock for it:
    /// `⌈b ln(1/min p⁰)⌉`, the most the market maker can lose.
    ///
    /// Prices that sum to one within 10⁻⁶ are scaled to one. Errors: number of outcomes,
    /// sum, a price below [`price_floor`], liquidity out of range.
    pub fn open(prices: &[f64], liquidity: Micro) -> Result<(Self, Micro), CategoricalError> {
        check_outcomes(prices.len())?;
        let sum: f64 = prices.iter().sum();
        if sum.is_nan() || (sum - 1.0).abs() > SUM_SLACK {
            return Err(CategoricalError::Sum(sum));
        }
        let opening: Vec<f64> = prices.iter().map(|price| price / sum).collect();
        let maker = Self::restore(opening, liquidity, vec![MicroShares::ZERO; prices.len()])?;
        let subsidy = maker.subsidy()?;
        Ok((maker, subsidy))
    }

    /// A market as it was stored.
    ///
    /// Errors: as [`CategoricalMaker::open`] (the sum within 10⁻⁶ is taken as it is), and
    /// negative shares or a price below [`LEAST_PRICE`].
    pub fn restore(
        opening: Vec<f64>,
        liquidity: Micro,
        shares: Vec<MicroShares>,
    ) -> Result<Self, CategoricalError> {
        check_outcomes(opening.len())?;
        if opening.len() != shares.len() {
            return Err(CategoricalError::Outcomes(shares.len()));
        }
        if !(MIN_LIQUIDITY..=MAX_LIQUIDITY).contains(&liquidity) {
            return Err(CategoricalError::Liquidity(liquidity));
        }
        let sum: f64 = opening.iter().sum();
        if sum.is_nan() || (sum - 1.0).abs() > SUM_SLACK {
            return Err(CategoricalError::Sum(sum));
        }
        let floor = price_floor(opening.len());
        for &price in &opening {
            let high_enough = price >= floor * (1.0 - BOUND_SLACK);
            if !high_enough {
                return Err(CategoricalError::OpeningPrice { price, floor });
            }
        }
        let maker = Self {
            opening,
            liquidity,
            shares,
        };
        maker.check_bounds()?;
        Ok(maker)
    }

    fn check_bounds(&self) -> Result<(), CategoricalError> {
        let negative = self.shares.iter().any(|shares| shares.is_negative());
        let least = self.prices().into_iter().fold(1.0, f64::min);
        if negative || least < LEAST_PRICE * (1.0 - BOUND_SLACK) {
            return Err(CategoricalError::OutOfBounds);
        }
        Ok(())
    }

    /// `⌈b ln(Σ p⁰ / min p⁰)⌉`: the most the market maker can lose.
    fn subsidy(&self) -> Result<Micro, MoneyError> {
        let least = self.opening.iter().copied().fold(f64::INFINITY, f64::min);
        let sum: f64 = self.opening.iter().sum();
        let worst = (sum / least).ln();
        Micro::ceil_from_f64(self.liquidity.to_f64() * worst * (1.0 + COST_GUARD))
    }

    /// Number of outcomes.
    pub fn outcomes(&self) -> usize {
        self.opening.len()
    }

    /// Prices at which the market opened; they sum to one.
    pub fn opening(&self) -> &[f64] {
        &self.opening
    }

    /// Liquidity `b`.
    pub const fn liquidity(&self) -> Micro {
        self.liquidity
    }

    /// Shares of each outcome in the hands of traders, complete sets taken out.
    pub fn shares(&self) -> &[MicroShares] {
        &self.shares
    }

    /// Prices of all outcomes; they sum to one but for `f64` rounding.
    pub fn prices(&self) -> Vec<f64> {
        let weights = self.weights();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    }

    /// `p⁰_i e^((q_i−q_min)/b) / e^m`, `m` the greatest exponent: in (0, 1], the greatest is 1.
    /// The differences of shares are taken as integers before they become `f64`.
    fn weights(&self) -> Vec<f64> {
        let b = self.liquidity.to_f64();
        let least = self.shares.iter().copied().min().unwrap_or_default().get();
        let exponents: Vec<f64> = self
            .opening
            .iter()
            .zip(&self.shares)
            // Shares are not negative, so the difference is within the range of `i64`.
            .map(|(price, shares)| price.ln() + (shares.get() - least) as f64 / b)
            .collect();
        let greatest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        exponents
            .into_iter()
            .map(|x| (x - greatest).exp())
            .collect()
    }

    /// Price of `outcome`, which must be below [`CategoricalMaker::outcomes`].
    pub(super) fn price(&self, outcome: usize) -> Price {
        let weights = self.weights();
        let total: f64 = weights.iter().sum();
        let rest: f64 = weights
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != outcome)
            .map(|(_, weight)| weight)
            .sum();
        Price {
            of: weights[outcome] / total,
            rest: rest / total,
        }
    }

    /// How many shares of `outcome` can still be bought (`buy`) or sold before a price meets
    /// its bound:
    ///
    /// ```text
    /// buy   s ≤ b (logit ceiling − logit p)   and   s ≤ b log1p((p_least/10⁻⁹ − 1)/p)
    /// sell  s ≤ b (logit p − logit floor)
    /// ```
    ///
    /// with `p_least` the least price of the other outcomes. Not negative.
    pub(super) fn room(&self, outcome: usize, buy: bool) -> Result<MicroShares, MoneyError> {
        let (b, n) = (self.liquidity.to_f64(), self.outcomes());
        let price = self.price(outcome);
        let logit = |p: f64, rest: f64| p.ln() - rest.ln();
        let (floor, ceiling) = (price_floor(n), price_ceiling(n));
        let room = if buy {
            let own = logit(ceiling, (n - 1) as f64 * floor) - price.logit();
            let others = self.prices().into_iter().enumerate();
            let least = others
                .filter(|(index, _)| *index != outcome)
                .fold(1.0, |least: f64, (_, p)| least.min(p));
            own.min(((least / LEAST_PRICE - 1.0) / price.of).max(0.0).ln_1p())
        } else {
            price.logit() - logit(floor, 1.0 - floor)
        };
        MicroShares::floor_from_f64((b * room).max(0.0))
    }

    /// `⌈b ln(1 − p + p e^(s/b))⌉` for `shares` of `outcome`, guarded so that the rounding is
    /// against the trader in exact arithmetic too. Negative: proceeds of a sale.
    pub(super) fn charge(&self, outcome: usize, shares: MicroShares) -> Result<Micro, MoneyError> {
        let b = self.liquidity.to_f64();
        let (price, t) = (self.price(outcome), shares.to_f64() / b);
        let change = price.of * t.exp_m1();
        // A large sale leaves the logarithm near its pole, where only a sum of positive terms is exact.
        let exact = if change > -0.5 {
            b * change.ln_1p()
        } else {
            b * (price.rest + price.of * t.exp()).ln()
        };
        Micro::ceil_from_f64(exact + exact.abs() * COST_GUARD)
    }

    /// The state after `shares` more (negative: fewer) of `outcome`, and `sets` complete sets
    /// taken out. Errors: a price would leave its bounds.
    pub(super) fn moved(
        &self,
        outcome: usize,
        shares: MicroShares,
        sets: MicroShares,
    ) -> Result<Self, CategoricalError> {
        let mut next = self.clone();
        next.shares[outcome] = next.shares[outcome].checked_add(shares)?;
        for held in &mut next.shares {
            *held = held.checked_sub(sets)?;
        }
        next.check_bounds()?;
        Ok(next)
    }

    /// `b·KL(p‖p′)`, rounded down, with `p′` the prices with the two greatest exchanged:
    /// `b (p₁−p₂) ln(p₁/p₂)`. What it costs in expectation, if the prices are right and nobody
    /// answers, to make the second outcome look as likely as the first.
    pub fn manipulation_cost(&self) -> Result<Micro, MoneyError> {
        let mut prices = self.prices();
        prices.sort_by(|a, b| b.total_cmp(a));
        let (first, second) = (prices[0], prices[1]);
        Micro::floor_from_f64(self.liquidity.to_f64() * (first - second) * (first / second).ln())
    }
}

fn check_outcomes(count: usize) -> Result<(), CategoricalError> {
    if (MIN_OUTCOMES..=MAX_OUTCOMES).contains(&count) {
        Ok(())
    } else {
        Err(CategoricalError::Outcomes(count))
    }
}
