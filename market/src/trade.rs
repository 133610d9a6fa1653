//! Orders, positions and fills.
//!
//! [`quote`] is the only way to a [`Fill`]: showing it is a quote, storing it is a trade.
//! Shares are chosen as an integer first and priced afterwards, so the state never drifts
//! from the holdings, and every cost is rounded up and every proceeds down.

use serde::{Deserialize, Serialize};

use crate::lmsr::{Maker, MakerError, shares_for_spend};
use crate::money::{Micro, MicroShares, MoneyError};
use crate::probability::{LogOdds, Pi, Probability};

/// Slack when a price is compared with a limit: the price comes from shares by `f64`.
const LIMIT_SLACK: f64 = 1e-12;

/// Relative widening of the closed-form shares of a spend, more than their `f64` error, so
/// that the search for the most shares within a budget starts above the answer.
const GUESS_MARGIN: f64 = 1e-13;

/// One of the two outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The claim is true.
    Yes,
    /// The claim is false.
    No,
}

impl Outcome {
    /// Whether this is [`Outcome::Yes`].
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }

    /// The name under which the outcome is stored.
    pub const fn as_str(self) -> &'static str {
        if self.is_yes() { "yes" } else { "no" }
    }
}

/// How much to trade.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Buy for at most this much, above zero.
    Spend(Micro),
    /// Buy this many shares of the outcome; negative sells.
    Shares(MicroShares),
    /// Trade the outcome until the market posts this probability (of YES): a buy when that
    /// raises the price of the outcome, a sale of held shares otherwise.
    Target(Probability),
}

/// What a trader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Which outcome's shares to trade.
    pub outcome: Outcome,
    /// How much.
    pub size: Size,
    /// Worst probability (of YES) that the market may post after the trade, in the direction
    /// in which the trade moves it. A trade that would pass it is refused whole.
    pub limit: Option<Probability>,
}

/// Why an order was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum TradeError {
    /// A spend of zero or less, or zero shares.
    #[error("the order must be for more than nothing")]
    ZeroSize,
    /// The amount is too small to buy a single micro-share, or the target is the price.
    #[error("the order is too small to move the market")]
    TooSmall,
    /// The price already is at its bound in the direction of the trade.
    #[error("the price is at its bound")]
    AtBound,
    /// The market would pass the limit.
    #[error("the price would move to {reached}, past the limit {limit}")]
    LimitExceeded {
        /// The limit of the order.
        limit: Probability,
        /// Probability that the market would have posted.
        reached: Probability,
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
    /// A stored position has negative shares.
    #[error("the position is not valid")]
    InvalidPosition,
    /// An amount left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The market's state would not be valid.
    #[error(transparent)]
    Maker(#[from] MakerError),
}

/// What one account holds in one market.
///
/// A pair of a YES and a NO share pays one credit whatever happens, so pairs are turned into
/// a credit of `net_cost` at once: at least one of `yes` and `no` is zero.
///
/// `net_cost` is the sum of the costs of all trades (proceeds and pairs subtracted). What
/// the account has in the market's escrow is `max(net_cost, 0)`. When sales have brought in
/// more than was put in, the excess `max(−net_cost, 0)` is realised profit: it stays in
/// escrow, can be spent on this market, and is paid with the settlement. That is what makes
/// a void market refund everybody exactly: nobody ever took out more than they put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// YES micro-shares, not negative.
    pub yes: MicroShares,
    /// NO micro-shares, not negative.
    pub no: MicroShares,
    /// Net cost of the holding in micro-credits, signed.
    pub net_cost: Micro,
}

impl Position {
    /// Shares held of `outcome`.
    pub const fn held(&self, outcome: Outcome) -> MicroShares {
        match outcome {
            Outcome::Yes => self.yes,
            Outcome::No => self.no,
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

    /// `⌊yes·π + no·(1−π)⌋ + banked`: what the account is paid at settlement `π`.
    pub fn payout(&self, pi: Pi) -> Result<Micro, MoneyError> {
        let scale = i128::from(Pi::SCALE);
        let pi = i128::from(pi.billionths());
        let value = i128::from(self.yes.get()) * pi + i128::from(self.no.get()) * (scale - pi);
        let floor = i64::try_from(value.div_euclid(scale)).map_err(|_| MoneyError::Overflow)?;
        Micro(floor).checked_add(self.banked()?)
    }

    /// `yes·π + no·(1−π) − net_cost` in micro-credits, not rounded: the profit at
    /// settlement `π`, or the marked-to-market profit with the price in place of `π`.
    pub fn profit_at(&self, pi: f64) -> f64 {
        self.yes.to_f64() * pi + self.no.to_f64() * (1.0 - pi) - self.net_cost.to_f64()
    }

    /// The position after `shares` of `outcome` (negative: sold) for `cost`, pairs netted.
    fn after(
        &self,
        outcome: Outcome,
        shares: MicroShares,
        cost: Micro,
    ) -> Result<Self, MoneyError> {
        let (mut yes, mut no) = (self.yes, self.no);
        match outcome {
            Outcome::Yes => yes = yes.checked_add(shares)?,
            Outcome::No => no = no.checked_add(shares)?,
        }
        let pairs = yes.min(no);
        // A share is a million micro-shares and a credit a million micro-credits.
        let net_cost = self
            .net_cost
            .checked_add(cost)?
            .checked_sub(Micro(pairs.get()))?;
        Ok(Self {
            yes: yes.checked_sub(pairs)?,
            no: no.checked_sub(pairs)?,
            net_cost,
        })
    }
}

/// A state of the price, in both forms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PricePoint {
    /// Log-odds, nats.
    pub log_odds: LogOdds,
    /// Posted probability.
    pub probability: Probability,
}

impl PricePoint {
    /// Where `maker` stands.
    pub fn of(maker: &Maker) -> Self {
        Self {
            log_odds: maker.log_odds(),
            probability: maker.probability(),
        }
    }
}

/// An executed trade, or a quote: what happens, and both states afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fill {
    /// Price before.
    pub from: PricePoint,
    /// Price after.
    pub to: PricePoint,
    /// Cost of the shares, rounded up; negative are proceeds of a sale, rounded down.
    pub cost: Micro,
    /// What moves from the account to the market's escrow; negative moves back. It is `cost`
    /// less what netted pairs set free, and never more goes back than was put in
    /// (see [`Position`]).
    pub cash: Micro,
    /// Change of YES micro-shares by the trade, before pairs are netted.
    pub yes: MicroShares,
    /// Change of NO micro-shares by the trade, before pairs are netted.
    pub no: MicroShares,
    /// `cost / shares`: credits paid (or got) per share.
    pub average_price: f64,
    /// The trade was cut short at the bound of the price.
    pub truncated: bool,
    /// The market afterwards.
    pub maker: Maker,
    /// The account's position afterwards.
    pub position: Position,
}

impl Fill {
    /// Errors with [`TradeError::InsufficientFunds`] if the trade takes more than `available`.
    pub fn check_funds(&self, available: Micro) -> Result<(), TradeError> {
        if self.cash > Micro::ZERO && self.cash > available {
            return Err(TradeError::InsufficientFunds {
                needed: self.cash,
                available,
            });
        }
        Ok(())
    }

    /// `shares·π − cost` in micro-credits: what this trade alone earns at settlement `π`;
    /// [`crate::lmsr::payoff`] less rounding.
    pub fn earnings_at(&self, pi: f64) -> f64 {
        self.yes.to_f64() * pi + self.no.to_f64() * (1.0 - pi) - self.cost.to_f64()
    }
}

/// Executes `order` for a holder of `position` on `maker`, without storing anything.
///
/// Errors: see [`TradeError`]; funds are checked apart by [`Fill::check_funds`].
pub fn quote(maker: &Maker, position: &Position, order: &Order) -> Result<Fill, TradeError> {
    if position.yes.is_negative() || position.no.is_negative() {
        return Err(TradeError::InvalidPosition);
    }
    let outcome = order.outcome;
    let (buy, wanted) = wanted_shares(maker, outcome, order.size)?;
    if !buy {
        let held = position.held(outcome);
        if wanted > held {
            return Err(TradeError::InsufficientShares {
                needed: wanted,
                held,
            });
        }
    }
    let up = buy == outcome.is_yes();
    let room = maker.room(up)?;
    if room <= MicroShares::ZERO {
        return Err(TradeError::AtBound);
    }
    let mut size = wanted.min(room);
    if let Size::Spend(budget) = order.size {
        size = affordable(maker, outcome, size, budget)?;
    }
    if size <= MicroShares::ZERO {
        return Err(TradeError::TooSmall);
    }
    let shares = if buy { size } else { size.checked_neg()? };
    let fill = execute(
        maker,
        position,
        outcome,
        shares,
        size == room && wanted > room,
    )?;
    if let Some(limit) = order.limit {
        let reached = fill.to.probability;
        let passed = if up {
            reached.get() > limit.get() + LIMIT_SLACK
        } else {
            reached.get() < limit.get() - LIMIT_SLACK
        };
        if passed {
            return Err(TradeError::LimitExceeded { limit, reached });
        }
    }
    Ok(fill)
}

/// Whether the order buys, and how many shares it asks for, before bounds and budget.
fn wanted_shares(
    maker: &Maker,
    outcome: Outcome,
    size: Size,
) -> Result<(bool, MicroShares), TradeError> {
    match size {
        Size::Shares(shares) if shares.is_zero() => Err(TradeError::ZeroSize),
        Size::Shares(shares) if shares.is_negative() => Ok((false, shares.checked_neg()?)),
        Size::Shares(shares) => Ok((true, shares)),
        Size::Spend(budget) if budget <= Micro::ZERO => Err(TradeError::ZeroSize),
        Size::Spend(budget) => Ok((true, shares_within(maker, outcome, budget)?)),
        Size::Target(target) => {
            let shift = target.log_odds().get() - maker.log_odds_nats();
            let wanted = shares_for_shift(maker, shift)?;
            if wanted.is_zero() {
                return Err(TradeError::TooSmall);
            }
            Ok(((shift > 0.0) == outcome.is_yes(), wanted))
        }
    }
}

/// `⌊b·|Δℓ|⌋`: the shares of a shift of the log-odds.
pub(crate) fn shares_for_shift(maker: &Maker, shift: f64) -> Result<MicroShares, MoneyError> {
    MicroShares::floor_from_f64(maker.liquidity().to_f64() * shift.abs())
}

/// A first guess, not too low, at the most shares whose charge is within `budget`; bounded
/// by the whole range of the price, so a huge budget gives no infinity.
pub(crate) fn shares_within(
    maker: &Maker,
    outcome: Outcome,
    budget: Micro,
) -> Result<MicroShares, MoneyError> {
    let b = maker.liquidity().to_f64();
    let exact = shares_for_spend(maker.price(outcome.is_yes()), budget.to_f64(), b);
    MicroShares::ceil_from_f64((exact * (1.0 + GUESS_MARGIN) + 1.0).min(b * 16.0))
}

/// The most shares, up to `size`, whose charge is within `budget`.
///
/// The charge grows with the shares, so this is a bisection; the first step tries the whole
/// of `size`, which is right when the price bound and not the budget decides.
pub(crate) fn affordable(
    maker: &Maker,
    outcome: Outcome,
    size: MicroShares,
    budget: Micro,
) -> Result<MicroShares, MoneyError> {
    let fits = |shares: i64| -> Result<bool, MoneyError> {
        Ok(maker.charge(outcome.is_yes(), MicroShares(shares))? <= budget)
    };
    if fits(size.get())? {
        return Ok(size);
    }
    // Gallop down from the closed-form guess, which is off by a few micro-shares only.
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
pub(crate) fn execute(
    maker: &Maker,
    position: &Position,
    outcome: Outcome,
    shares: MicroShares,
    truncated: bool,
) -> Result<Fill, TradeError> {
    let cost = maker.charge(outcome.is_yes(), shares)?;
    let (yes, no) = match outcome {
        Outcome::Yes => (shares, MicroShares::ZERO),
        Outcome::No => (MicroShares::ZERO, shares),
    };
    let moved = maker.moved(yes.checked_sub(no)?)?;
    let after = position.after(outcome, shares, cost)?;
    Ok(Fill {
        from: PricePoint::of(maker),
        to: PricePoint::of(&moved),
        cost,
        cash: after.locked().checked_sub(position.locked())?,
        yes,
        no,
        average_price: if shares.is_zero() {
            0.0
        } else {
            cost.to_f64() / shares.to_f64()
        },
        truncated,
        maker: moved,
        position: after,
    })
}

#[cfg(test)]
mod tests;
