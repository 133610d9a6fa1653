//! Orders that rest until the price is better than their limit.
//!
//! A resting order trades with the market maker only, by the same formula as everybody else,
//! so the maker's bounded loss is what it is without orders. It is run after every move of
//! the price that reaches its limit, and moves the price back towards it: never past it.
//!
//! ```text
//! up   (buy YES, sell NO):  runs while ℓ < logit(limit)
//! down (buy NO, sell YES):  runs while ℓ > logit(limit)
//! ```
//!
//! An order that runs takes the whole way to its limit, or as much of it as its budget (or
//! the shares that it sells) reaches. A way shorter than [`min_reach`] is left for later, so
//! that nobody can wear an order down in crumbs that only rounding gains by. On each side the
//! best limit runs first, and of equal limits the oldest ([`rank`]); whatever makes the best
//! order wait makes every other one of its side wait too.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::fees::{FeeSchedule, Fees};
use crate::lmsr::Maker;
use crate::money::{Micro, MicroShares, MoneyError};
use crate::probability::Probability;
use crate::trade::{
    Fill, Outcome, Position, TradeError, affordable, execute, shares_for_shift, shares_within,
};

/// Least budget of a purchase, micro-credits.
pub const MIN_SPEND: Micro = Micro(10_000);
/// Least number of micro-shares of a sale.
pub const MIN_SALE: MicroShares = MicroShares(20_000);
/// Least way to a limit that an order runs for, micro-shares, in a market of little liquidity.
const LEAST_REACH: i64 = 20_000;
/// In other markets: this part of the liquidity, which is a thousandth of a nat.
const REACH_PART: i64 = 1_000;
/// What is too little to leave resting, micro-credits or micro-shares.
const CRUMB: i64 = 1_000;

/// Which way an order moves the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Towards YES.
    Up,
    /// Towards NO.
    Down,
}

impl Side {
    /// The name under which the side is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// The side against which orders of this one run.
    pub const fn other(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What an order still wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// To buy for this much, fees included; not negative.
    Spend(Micro),
    /// To sell this many shares, if they are still held; not negative.
    Sell(MicroShares),
}

/// A resting order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Resting {
    /// Whose shares are bought or sold.
    pub outcome: Outcome,
    /// Probability of YES up to which (or down to which) the order moves the price.
    pub limit: Probability,
    /// What is left of it.
    pub want: Want,
    /// Cash set aside for it: the budget of a purchase, the fees of a sale.
    pub reserve: Micro,
}

/// Why an order cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OrderError {
    /// Below [`MIN_SPEND`] or [`MIN_SALE`].
    #[error("the least order is {MIN_SPEND} micro-credits, or {MIN_SALE} micro-shares to sell")]
    TooSmall,
    /// An amount left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// One run of an order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OrderFill {
    /// The trade.
    pub fill: Fill,
    /// What is charged for it, out of the reserve.
    pub fees: Fees,
    /// Cash that goes to the account: proceeds, and what netted pairs set free.
    pub to_account: Micro,
    /// The order afterwards.
    pub rest: Resting,
    /// Nothing worth resting is left; the rest of the reserve goes back.
    pub done: bool,
}

/// What happens when an order is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Run {
    /// The price is not better than the limit, or not by enough.
    Waits,
    /// It can buy or sell nothing any more, whatever the price; the reserve goes back.
    Spent,
    /// It traded.
    Filled(OrderFill),
}

impl Resting {
    /// A new order with what has to be set aside for it: the budget of a purchase; for a sale
    /// of `s` shares the most that its fees can come to, `fee(s) + 2·(s/20,000 + 1)` (a share
    /// sells for less than a credit, and each run but the last sells at least
    /// 20,000 micro-shares and rounds two fees up). Errors: too small, overflow.
    pub fn new(
        outcome: Outcome,
        limit: Probability,
        want: Want,
        schedule: &FeeSchedule,
    ) -> Result<Self, OrderError> {
        let reserve = match want {
            Want::Spend(budget) if budget < MIN_SPEND => return Err(OrderError::TooSmall),
            Want::Sell(shares) if shares < MIN_SALE => return Err(OrderError::TooSmall),
            Want::Spend(budget) => budget,
            Want::Sell(_) if schedule.is_none() => Micro::ZERO,
            Want::Sell(shares) => {
                let rounding = Micro(2 * (shares.get() / LEAST_REACH + 1));
                schedule
                    .on(Micro(shares.get()))?
                    .total()?
                    .checked_add(rounding)?
            }
        };
        Ok(Self {
            outcome,
            limit,
            want,
            reserve,
        })
    }

    /// Which way the order moves the price.
    pub const fn side(&self) -> Side {
        let buys = matches!(self.want, Want::Spend(_));
        if buys == self.outcome.is_yes() {
            Side::Up
        } else {
            Side::Down
        }
    }

    /// `logit(limit) − ℓ` in the order's direction, nats: how far it would move the price.
    pub fn ahead(&self, maker: &Maker) -> f64 {
        let shift = self.limit.log_odds().get() - maker.log_odds_nats();
        match self.side() {
            Side::Up => shift,
            Side::Down => -shift,
        }
    }
}

/// Order of running on one side: the better limit first, then the lower place in the sequence.
/// `a` and `b` are of one side.
pub fn rank(a: (&Resting, i64), b: (&Resting, i64)) -> Ordering {
    let by_limit = a.0.limit.get().total_cmp(&b.0.limit.get());
    let better = match a.0.side() {
        Side::Up => by_limit.reverse(),
        Side::Down => by_limit,
    };
    better.then(a.1.cmp(&b.1))
}

/// Which of the best orders of the two sides is looked at next: one whose limit the price is
/// better than, and of two the older. `None` when the price is within both limits.
pub fn next_side(
    maker: &Maker,
    up: Option<(&Resting, i64)>,
    down: Option<(&Resting, i64)>,
) -> Option<Side> {
    let reached = |best: Option<(&Resting, i64)>| {
        best.filter(|(order, _)| order.ahead(maker) > 0.0)
            .map(|(_, seq)| seq)
    };
    match (reached(up), reached(down)) {
        (Some(up), Some(down)) if down < up => Some(Side::Down),
        (Some(_), _) => Some(Side::Up),
        (None, Some(_)) => Some(Side::Down),
        (None, None) => None,
    }
}

/// `max(b/1000, 20,000)` micro-shares: the shortest way to its limit that an order runs for.
/// In a market of more than 20 credits of liquidity that is a thousandth of a nat.
pub fn min_reach(liquidity: Micro) -> MicroShares {
    MicroShares((liquidity.get() / REACH_PART).max(LEAST_REACH))
}

/// Runs `order` of a holder of `position` against `maker`, without storing anything.
///
/// The price never passes the limit: the shares to it are rounded down. Errors: an invalid
/// position, or amounts out of range; both mean broken records, not a bad order.
pub fn run(
    maker: &Maker,
    position: &Position,
    order: &Resting,
    schedule: &FeeSchedule,
) -> Result<Run, TradeError> {
    if position.yes.is_negative() || position.no.is_negative() {
        return Err(TradeError::InvalidPosition);
    }
    if is_spent(position, order) {
        return Ok(Run::Spent);
    }
    let ahead = order.ahead(maker);
    if ahead <= 0.0 {
        return Ok(Run::Waits);
    }
    let room = maker.room(order.side() == Side::Up)?;
    let reach = shares_for_shift(maker, ahead)?.min(room);
    if reach < min_reach(maker.liquidity()) {
        return Ok(Run::Waits);
    }
    let (size, shares) = match order.want {
        Want::Spend(budget) => {
            let cost = schedule.within(budget)?;
            let most = reach.min(shares_within(maker, order.outcome, cost)?);
            let size = affordable(maker, order.outcome, most, cost)?;
            (size, size)
        }
        Want::Sell(shares) => {
            let size = reach.min(shares).min(position.held(order.outcome));
            (size, size.checked_neg()?)
        }
    };
    if size <= MicroShares::ZERO {
        return Ok(Run::Spent);
    }
    let fill = execute(maker, position, order.outcome, shares, size < reach)?;
    book(order, fill, schedule, size < reach).map(Run::Filled)
}

/// Whether nothing can come of the order at any price.
fn is_spent(position: &Position, order: &Resting) -> bool {
    match order.want {
        Want::Spend(budget) => budget <= Micro::ZERO,
        Want::Sell(shares) => shares.min(position.held(order.outcome)) <= MicroShares::ZERO,
    }
}

fn book(
    order: &Resting,
    fill: Fill,
    schedule: &FeeSchedule,
    cut_short: bool,
) -> Result<OrderFill, TradeError> {
    let fees = schedule.on(fill.cost)?;
    let (want, left, used, to_account) = match order.want {
        Want::Spend(budget) => {
            let used = fill.cost.checked_add(fees.total()?)?;
            let left = budget.checked_sub(used)?;
            // What was set aside for the shares and was not needed in cash: pairs were netted.
            let freed = fill.cost.checked_sub(fill.cash)?;
            (Want::Spend(left), left.get(), used, freed)
        }
        Want::Sell(shares) => {
            let sold = fill.yes.checked_add(fill.no)?;
            let left = shares.checked_add(sold)?;
            (
                Want::Sell(left),
                left.get(),
                fees.total()?,
                fill.cash.checked_neg()?,
            )
        }
    };
    let rest = Resting {
        want,
        reserve: order.reserve.checked_sub(used)?,
        ..*order
    };
    if rest.reserve.is_negative() || to_account.is_negative() {
        return Err(TradeError::InvalidPosition);
    }
    Ok(OrderFill {
        fill,
        fees,
        to_account,
        rest,
        done: cut_short || left < CRUMB,
    })
}

#[cfg(test)]
mod tests;
