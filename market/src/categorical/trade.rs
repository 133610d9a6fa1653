//! Orders, positions and fills on several outcomes.
//!
//! As in [`crate::trade`], [`quote`] is the only way to a fill, shares are chosen as an
//! integer first and priced afterwards, and every cost is rounded against the trader.

use serde::{Deserialize, Serialize};

use super::settle::PiVector;
use super::{CategoricalError, CategoricalMaker, price_ceiling, price_floor};
use crate::money::{Micro, MicroShares, MoneyError};

/// Slack when a price is compared with a limit: the price comes from shares by `f64`.
const LIMIT_SLACK: f64 = 1e-12;
/// Relative widening of the closed-form shares of a spend, more than their `f64` error and
/// the guard of the charge, so that the search starts above the answer.
const GUESS_MARGIN: f64 = 1e-12;
/// No trade is for more than this many times the liquidity in shares: the whole range of a
/// price, from the least price to the ceiling, is `26 b`.
const MOST_SHARES: f64 = 32.0;

/// How much to trade.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CategoricalSize {
    /// Buy for at most this much, above zero.
    Spend(Micro),
    /// Buy this many shares of the outcome; negative sells.
    Shares(MicroShares),
    /// Trade the outcome until its price is this, within [`price_floor`] and
    /// [`price_ceiling`]: a buy when that raises the price, a sale of held shares otherwise.
    Target(f64),
}

/// What a trader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CategoricalOrder {
    /// Index of the outcome whose shares to trade.
    pub outcome: usize,
    /// How much.
    pub size: CategoricalSize,
    /// Worst price of the outcome after the trade, in the direction in which the trade moves
    /// it. A trade that would pass it is refused whole.
    pub limit: Option<f64>,
}

/// Why an order was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CategoricalTradeError {
    /// The market has no such outcome.
    #[error("the market has no outcome {0}")]
    UnknownOutcome(usize),
    /// A spend of zero or less, or zero shares.
    #[error("the order must be for more than nothing")]
    ZeroSize,
    /// The amount is too small to buy a single micro-share, or the target is the price.
    #[error("the order is too small to move the market")]
    TooSmall,
    /// The target or the limit is not a price that the market may post.
    #[error("a price is a number from {floor} to {ceiling}")]
    PriceOutOfRange {
        /// Least price.
        floor: f64,
        /// Greatest price.
        ceiling: f64,
    },
    /// The price of the outcome, or of one that the trade would lower, is at its bound.
    #[error("a price is at its bound")]
    AtBound,
    /// The price of the outcome would pass the limit.
    #[error("the price would move to {reached}, past the limit {limit}")]
    LimitExceeded {
        /// The limit of the order.
        limit: f64,
        /// Price that the market would have posted.
        reached: f64,
    },
    /// A sale of more shares than are held.
    #[error("{needed} micro-shares needed, {held} held")]
    InsufficientShares {
        /// Shares to sell.
        needed: MicroShares,
        /// Shares held of the outcome.
        held: MicroShares,
    },
    /// The trade needs more than the account has.
    #[error("{needed} micro-credits needed, {available} available")]
    InsufficientFunds {
        /// Cash that the trade takes.
        needed: Micro,
        /// Cash there is.
        available: Micro,
    },
    /// A stored position has negative shares, or not one number for each outcome.
    #[error("the position is not valid")]
    InvalidPosition,
    /// An amount left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The market's state would not be valid.
    #[error(transparent)]
    Maker(#[from] CategoricalError),
}

/// What one account holds in one market: shares of each outcome, the least of them zero
/// because complete sets are turned into credits of `net_cost` at once.
///
/// `net_cost` is signed, and what is locked and banked follows from it, exactly as in
/// [`crate::trade::Position`]: nobody ever takes out more than they put in before the
/// settlement, so a void market refunds everybody exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoricalPosition {
    /// Micro-shares of each outcome, not negative.
    pub shares: Vec<MicroShares>,
    /// Net cost of the holding in micro-credits, signed.
    pub net_cost: Micro,
}

impl CategoricalPosition {
    /// Nothing held in a market of `outcomes` outcomes.
    pub fn empty(outcomes: usize) -> Self {
        Self {
            shares: vec![MicroShares::ZERO; outcomes],
            net_cost: Micro::ZERO,
        }
    }

    /// `max(net_cost, 0)`: the account's cash in the market's escrow.
    pub const fn locked(&self) -> Micro {
        self.net_cost.positive_part()
    }

    /// `max(−net_cost, 0)`: realised profit, paid with the settlement.
    pub fn banked(&self) -> Result<Micro, MoneyError> {
        Ok(self.net_cost.checked_neg()?.positive_part())
    }

    /// `⌊Σ shares_i·π_i⌋ + banked`: what the account is paid at settlement `π`.
    /// Errors: overflow. Outcomes that `π` does not have pay nothing.
    pub fn payout(&self, pi: &PiVector) -> Result<Micro, MoneyError> {
        let value: i128 = self
            .shares
            .iter()
            .zip(pi.billionths())
            .map(|(shares, part)| i128::from(shares.get()) * i128::from(*part))
            .sum();
        let floor = value.div_euclid(i128::from(PiVector::SCALE));
        Micro(i64::try_from(floor).map_err(|_| MoneyError::Overflow)?).checked_add(self.banked()?)
    }

    /// `Σ shares_i·p_i + banked` in micro-credits, not rounded: the worth at prices `p`.
    pub fn value_at(&self, prices: &[f64]) -> f64 {
        let shares = self.shares.iter().zip(prices);
        let value: f64 = shares.map(|(shares, price)| shares.to_f64() * price).sum();
        value - self.net_cost.to_f64().min(0.0)
    }

    /// The position after `shares` of `outcome` (negative: sold) for `cost`, and the complete
    /// sets that were turned into credits.
    fn after(
        &self,
        outcome: usize,
        shares: MicroShares,
        cost: Micro,
    ) -> Result<(Self, MicroShares), MoneyError> {
        let mut next = self.clone();
        next.shares[outcome] = next.shares[outcome].checked_add(shares)?;
        let sets = next.shares.iter().copied().min().unwrap_or_default();
        for held in &mut next.shares {
            *held = held.checked_sub(sets)?;
        }
        // A share is a million micro-shares and a credit a million micro-credits.
        next.net_cost = next
            .net_cost
            .checked_add(cost)?
            .checked_sub(Micro(sets.get()))?;
        Ok((next, sets))
    }
}

/// An executed trade, or a quote: what happens, and both states afterwards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CategoricalFill {
    /// Index of the outcome.
    pub outcome: usize,
    /// Micro-shares of the outcome bought; negative: sold.
    pub shares: MicroShares,
    /// Cost of the shares, rounded up; negative are proceeds of a sale, rounded down.
    pub cost: Micro,
    /// What moves from the account to the market's escrow; negative moves back. It is `cost`
    /// less what complete sets set free, and never more goes back than was put in.
    pub cash: Micro,
    /// Complete sets that were turned into credits, in micro-shares.
    pub sets: MicroShares,
    /// Price of the outcome before.
    pub price_before: f64,
    /// Price of the outcome after.
    pub price_after: f64,
    /// `cost / shares`: credits paid (or got) per share.
    pub average_price: f64,
    /// The trade was cut short at a bound of a price.
    pub truncated: bool,
    /// The market afterwards.
    pub maker: CategoricalMaker,
    /// The account's position afterwards.
    pub position: CategoricalPosition,
}

impl CategoricalFill {
    /// Errors with [`CategoricalTradeError::InsufficientFunds`] if the trade takes more than
    /// `available`.
    pub fn check_funds(&self, available: Micro) -> Result<(), CategoricalTradeError> {
        if self.cash > Micro::ZERO && self.cash > available {
            return Err(CategoricalTradeError::InsufficientFunds {
                needed: self.cash,
                available,
            });
        }
        Ok(())
    }
}

/// Executes `order` for a holder of `position` on `maker`, without storing anything.
///
/// Errors: see [`CategoricalTradeError`]; funds are checked apart by
/// [`CategoricalFill::check_funds`].
pub fn quote(
    maker: &CategoricalMaker,
    position: &CategoricalPosition,
    order: &CategoricalOrder,
) -> Result<CategoricalFill, CategoricalTradeError> {
    let outcome = order.outcome;
    if outcome >= maker.outcomes() {
        return Err(CategoricalTradeError::UnknownOutcome(outcome));
    }
    let negative = position.shares.iter().any(|shares| shares.is_negative());
    if negative || position.shares.len() != maker.outcomes() {
        return Err(CategoricalTradeError::InvalidPosition);
    }
    if let Some(limit) = order.limit {
        check_price(maker, limit)?;
    }
    let (buy, wanted) = wanted_shares(maker, outcome, order.size)?;
    let held = position.shares[outcome];
    if !buy && wanted > held {
        return Err(CategoricalTradeError::InsufficientShares {
            needed: wanted,
            held,
        });
    }
    let room = maker.room(outcome, buy)?;
    if room <= MicroShares::ZERO {
        return Err(CategoricalTradeError::AtBound);
    }
    let mut size = wanted.min(room);
    if let CategoricalSize::Spend(budget) = order.size {
        size = affordable(maker, outcome, size, budget)?;
    }
    if size <= MicroShares::ZERO {
        return Err(CategoricalTradeError::TooSmall);
    }
    let shares = if buy { size } else { size.checked_neg()? };
    let truncated = size == room && wanted > room;
    let fill = execute(maker, position, outcome, shares, truncated)?;
    check_limit(&fill, buy, order.limit)?;
    Ok(fill)
}

fn check_price(maker: &CategoricalMaker, price: f64) -> Result<(), CategoricalTradeError> {
    let n = maker.outcomes();
    let (floor, ceiling) = (price_floor(n), price_ceiling(n));
    if (floor..=ceiling).contains(&price) {
        Ok(())
    } else {
        Err(CategoricalTradeError::PriceOutOfRange { floor, ceiling })
    }
}

fn check_limit(
    fill: &CategoricalFill,
    buy: bool,
    limit: Option<f64>,
) -> Result<(), CategoricalTradeError> {
    let (Some(limit), reached) = (limit, fill.price_after) else {
        return Ok(());
    };
    let passed = if buy {
        reached > limit + LIMIT_SLACK
    } else {
        reached < limit - LIMIT_SLACK
    };
    if passed {
        return Err(CategoricalTradeError::LimitExceeded { limit, reached });
    }
    Ok(())
}

/// Whether the order buys, and how many shares it asks for, before bounds and budget.
fn wanted_shares(
    maker: &CategoricalMaker,
    outcome: usize,
    size: CategoricalSize,
) -> Result<(bool, MicroShares), CategoricalTradeError> {
    use CategoricalSize::{Shares, Spend, Target};
    let b = maker.liquidity().to_f64();
    match size {
        Shares(shares) if shares.is_zero() => Err(CategoricalTradeError::ZeroSize),
        Shares(shares) if shares.is_negative() => Ok((false, shares.checked_neg()?)),
        Shares(shares) => Ok((true, shares)),
        Spend(budget) if budget <= Micro::ZERO => Err(CategoricalTradeError::ZeroSize),
        Spend(budget) => {
            // s = b log1p(expm1(x/b)/p); bounded, so that a huge budget gives no infinity.
            let price = maker.price(outcome).of;
            let exact = b * ((budget.to_f64() / b).exp_m1() / price).ln_1p();
            let guess = (exact * (1.0 + GUESS_MARGIN) + 1.0).min(b * MOST_SHARES);
            Ok((true, MicroShares::ceil_from_f64(guess)?))
        }
        Target(target) => {
            check_price(maker, target)?;
            let goal = target.ln() - (-target).ln_1p();
            let shift = goal - maker.price(outcome).logit();
            let wanted = MicroShares::floor_from_f64(b * shift.abs())?;
            if wanted.is_zero() {
                return Err(CategoricalTradeError::TooSmall);
            }
            Ok((shift > 0.0, wanted))
        }
    }
}

/// The most shares, up to `size`, whose charge is within `budget`: a gallop down from the
/// closed-form guess, which is off by a few micro-shares only, then a bisection.
fn affordable(
    maker: &CategoricalMaker,
    outcome: usize,
    size: MicroShares,
    budget: Micro,
) -> Result<MicroShares, MoneyError> {
    let fits = |shares: i64| -> Result<bool, MoneyError> {
        Ok(maker.charge(outcome, MicroShares(shares))? <= budget)
    };
    if fits(size.get())? {
        return Ok(size);
    }
    let (mut high, mut step) = (size.get(), 1);
    let mut low = (high - step).max(0);
    while low > 0 && !fits(low)? {
        high = low;
        step *= 2;
        low = (low - step).max(0);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            low = middle
        } else {
            high = middle
        }
    }
    Ok(MicroShares(low))
}

/// Moves `maker` by `shares` of `outcome` (negative: sold) and books them to `position`.
fn execute(
    maker: &CategoricalMaker,
    position: &CategoricalPosition,
    outcome: usize,
    shares: MicroShares,
    truncated: bool,
) -> Result<CategoricalFill, CategoricalTradeError> {
    let cost = maker.charge(outcome, shares)?;
    let (after, sets) = position.after(outcome, shares, cost)?;
    let moved = maker.moved(outcome, shares, sets)?;
    Ok(CategoricalFill {
        outcome,
        shares,
        cost,
        cash: after.locked().checked_sub(position.locked())?,
        sets,
        price_before: maker.price(outcome).of,
        price_after: moved.price(outcome).of,
        average_price: cost.to_f64() / shares.to_f64(),
        truncated,
        maker: moved,
        position: after,
    })
}
