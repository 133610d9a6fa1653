//! Fees of trades, fixed when a market opens.
//!
//! ```text
//! fee(c) = ⌈|c|·t/10⁴⌉ + ⌈|c|·r/10⁴⌉
//! ```
//!
//! `c` is the cost of a trade (negative: its proceeds), `t` the rate for the treasury and `r`
//! the rate for the market's creator, both in basis points. Both are rounded up, against the
//! trader. Moves that evidence makes carry no fee: they are paid for by their stake.
//!
//! A round trip costs nothing but rounding (see [`crate::lmsr`]), so what a creator earns by
//! trading with himself is at most what he pays for it; a property test shows it.

use serde::{Deserialize, Serialize};

use crate::lmsr::Maker;
use crate::money::{Micro, MoneyError};
use crate::trade::{Fill, Order, Position, Size, TradeError, quote};

/// Greatest rate of either fee, basis points.
pub const MAX_FEE_BPS: u16 = 500;
/// Basis points in the whole.
const WHOLE: i128 = 10_000;

/// A rate above [`MAX_FEE_BPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fee of {0} basis points is above {MAX_FEE_BPS}")]
pub struct FeeError(pub u16);

/// The two rates of a market.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeSchedule {
    /// To the treasury, basis points of the cost.
    trade_bps: u16,
    /// To the market's creator, basis points of the cost.
    creator_bps: u16,
}

/// The two fees of one trade, micro-credits, not negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// Due to the treasury.
    pub trade: Micro,
    /// Due to the market's creator.
    pub creator: Micro,
}

impl Fees {
    /// Both together. Errors: overflow.
    pub fn total(&self) -> Result<Micro, MoneyError> {
        self.trade.checked_add(self.creator)
    }
}

impl FeeSchedule {
    /// No fees.
    pub const NONE: Self = Self {
        trade_bps: 0,
        creator_bps: 0,
    };

    /// The rates in basis points. Errors: one is above [`MAX_FEE_BPS`].
    pub fn new(trade_bps: u16, creator_bps: u16) -> Result<Self, FeeError> {
        match [trade_bps, creator_bps]
            .into_iter()
            .find(|bps| *bps > MAX_FEE_BPS)
        {
            Some(bps) => Err(FeeError(bps)),
            None => Ok(Self {
                trade_bps,
                creator_bps,
            }),
        }
    }

    /// Whether nothing is charged.
    pub const fn is_none(&self) -> bool {
        self.trade_bps == 0 && self.creator_bps == 0
    }

    /// The fees on a trade of this `cost` (negative: proceeds), each `⌈|c|·rate/10⁴⌉`.
    /// Errors: overflow, for amounts near the end of the range.
    pub fn on(&self, cost: Micro) -> Result<Fees, MoneyError> {
        let part = |bps: u16| {
            let exact = i128::from(cost.get()).abs() * i128::from(bps);
            let fee = (exact + WHOLE - 1).div_euclid(WHOLE);
            i64::try_from(fee)
                .map(Micro)
                .map_err(|_| MoneyError::Overflow)
        };
        Ok(Fees {
            trade: part(self.trade_bps)?,
            creator: part(self.creator_bps)?,
        })
    }

    /// `max { c ≥ 0 : c + fee(c) ≤ budget }`: what is left of a budget to buy shares with.
    /// Zero for a budget of zero or less. Errors: never inside the range of an amount.
    pub fn within(&self, budget: Micro) -> Result<Micro, MoneyError> {
        let rates = i128::from(self.trade_bps) + i128::from(self.creator_bps);
        // Without rounding the answer is ⌊budget / (1 + rates)⌋; each of the two roundings
        // takes less than one unit, so at most two steps down are left.
        let most = i128::from(budget.get().max(0)) * WHOLE / (WHOLE + rates);
        let mut cost = i64::try_from(most).map_err(|_| MoneyError::Overflow)?;
        while cost > 0 && i128::from(cost) + self.total_on(cost)? > i128::from(budget.get()) {
            cost -= 1;
        }
        Ok(Micro(cost))
    }

    fn total_on(&self, cost: i64) -> Result<i128, MoneyError> {
        let fees = self.on(Micro(cost))?;
        Ok(i128::from(fees.trade.get()) + i128::from(fees.creator.get()))
    }
}

/// A fill with its fees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PricedFill {
    /// The trade.
    pub fill: Fill,
    /// What is charged for it.
    pub fees: Fees,
}

impl PricedFill {
    /// What leaves the account, fees included; negative comes back. Errors: overflow.
    pub fn due(&self) -> Result<Micro, MoneyError> {
        self.fill.cash.checked_add(self.fees.total()?)
    }

    /// Cost of the shares and the fees; negative are proceeds less fees. Errors: overflow.
    pub fn total(&self) -> Result<Micro, MoneyError> {
        self.fill.cost.checked_add(self.fees.total()?)
    }

    /// Errors with [`TradeError::InsufficientFunds`] if more is due than is `available`.
    pub fn check_funds(&self, available: Micro) -> Result<(), TradeError> {
        let needed = self.due()?;
        if needed > Micro::ZERO && needed > available {
            return Err(TradeError::InsufficientFunds { needed, available });
        }
        Ok(())
    }
}

/// As [`quote`], with fees: a budget ([`Size::Spend`]) pays for shares and fees together.
///
/// Errors: see [`TradeError`]; funds are checked apart by [`PricedFill::check_funds`].
pub fn quote_with_fees(
    maker: &Maker,
    position: &Position,
    order: &Order,
    schedule: &FeeSchedule,
) -> Result<PricedFill, TradeError> {
    let size = match order.size {
        Size::Spend(budget) if budget > Micro::ZERO => match schedule.within(budget)? {
            Micro::ZERO => return Err(TradeError::TooSmall),
            cost => Size::Spend(cost),
        },
        other => other,
    };
    let fill = quote(maker, position, &Order { size, ..*order })?;
    let fees = schedule.on(fill.cost)?;
    Ok(PricedFill { fill, fees })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::probability::Probability;
    use crate::trade::Outcome;

    fn rates(trade: u16, creator: u16) -> FeeSchedule {
        FeeSchedule::new(trade, creator).unwrap()
    }

    #[test]
    fn fees_are_rounded_up_each_on_its_own() {
        for (trade, creator, cost, expected) in [
            (0, 0, 1_000_000, (0, 0)),
            (100, 50, 1_000_000, (10_000, 5_000)),
            (100, 50, -1_000_000, (10_000, 5_000)),
            (1, 1, 1, (1, 1)),
            (500, 1, 0, (0, 0)),
            (333, 7, 12_345, (412, 9)),
            (
                500,
                500,
                i64::MAX,
                (461_168_601_842_738_791, 461_168_601_842_738_791),
            ),
            (500, 0, i64::MIN, (461_168_601_842_738_791, 0)),
        ] {
            let fees = rates(trade, creator).on(Micro(cost)).unwrap();
            assert_eq!((fees.trade.get(), fees.creator.get()), expected, "{cost}");
        }
        assert_eq!(FeeSchedule::new(501, 0), Err(FeeError(501)));
        assert_eq!(FeeSchedule::new(0, u16::MAX), Err(FeeError(u16::MAX)));
    }

    #[test]
    fn a_budget_leaves_the_most_that_fits_with_its_fee() {
        for schedule in [rates(0, 0), rates(1, 0), rates(500, 500), rates(333, 7)] {
            for budget in [0, 1, 2, 3, 20, 21, 999, 1_000_000, 123_456_789, i64::MAX] {
                let cost = schedule.within(Micro(budget)).unwrap().get();
                let total = |cost: i64| i128::from(cost) + schedule.total_on(cost).unwrap();
                assert!(total(cost) <= i128::from(budget), "{schedule:?} {budget}");
                if cost < i64::MAX {
                    assert!(
                        total(cost + 1) > i128::from(budget),
                        "{schedule:?} {budget}"
                    );
                }
            }
            assert_eq!(schedule.within(Micro(-5)), Ok(Micro(0)));
        }
    }

    #[test]
    fn a_spend_pays_for_shares_and_fees_together() {
        let (maker, _) = Maker::open(Probability::HALF, Micro(100_000_000)).unwrap();
        let order = |size| Order {
            outcome: Outcome::Yes,
            size,
            limit: None,
        };
        let budget = Micro(10_000_000);
        let priced = quote_with_fees(
            &maker,
            &Position::default(),
            &order(Size::Spend(budget)),
            &rates(100, 100),
        )
        .unwrap();
        let total = priced.total().unwrap();
        assert!(
            total <= budget && total.get() >= budget.get() - 2,
            "{total}"
        );
        assert!(priced.check_funds(total).is_ok());
        assert!(matches!(
            priced.check_funds(Micro(total.get() - 1)),
            Err(TradeError::InsufficientFunds { .. })
        ));
        let nothing = quote_with_fees(
            &maker,
            &Position::default(),
            &order(Size::Spend(Micro(2))),
            &rates(500, 500),
        );
        assert_eq!(nothing, Err(TradeError::TooSmall));
    }
}
