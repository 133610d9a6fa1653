//! Resting orders: placing, listing, cancelling. [`matching`] runs them after moves of the price,
//! [`ending`] gives back what was set aside.

mod ending;
mod matching;

use plumbline_access::Action;
use plumbline_market::money::{Micro, MicroShares};
use plumbline_market::orders::{OrderError, Resting, Side, Want};
use plumbline_market::probability::Probability;
use plumbline_market::trade::Outcome;
use plumbline_store::markets::{self, Market};
use plumbline_store::orders::{self, BestLimits, Level, Order};
use plumbline_store::{Tx, accounts};

pub(crate) use ending::release;
pub(crate) use matching::follow;

use crate::accounts::account_of;
use crate::commands::PlaceOrder;
use crate::context::Context;
use crate::fees::schedule_of;
use crate::ledger::{ensure_holding, post};
use crate::outcomes::require_binary;
use crate::settlement::refuse_orders;
use crate::time::{Millis, parse_rfc3339, rfc3339};
use crate::trades::{check_open, outcome_named, position_of, probability};
use crate::views::{BookView, LevelView, OrderView, Page};
use crate::{Result, Service, ServiceError, page};

/// Most open orders of an account in one market.
const MOST_OPEN: usize = 50;
/// Levels of each side that a book shows.
const LEVELS: i64 = 50;

/// The account that holds what is set aside for a market's orders.
pub(crate) fn orders_account(market_id: &str) -> String {
    format!("orders-{market_id}")
}

/// An order as asked for, checked as far as that goes without the market.
struct Asked {
    outcome: Outcome,
    limit: Probability,
    want: Want,
    expires_at: Option<Millis>,
}

impl Asked {
    fn parse(cmd: &PlaceOrder) -> Result<Self> {
        let want = match (cmd.spend_micro, cmd.shares_micro) {
            (Some(spend), None) => Want::Spend(Micro(spend)),
            (None, Some(shares)) if shares < 0 => {
                let shares = shares.checked_neg().ok_or_else(too_large)?;
                Want::Sell(MicroShares(shares))
            }
            _ => {
                return Err(ServiceError::invalid(
                    "bad-size",
                    "give spend_micro to buy, or a negative shares_micro to sell",
                ));
            }
        };
        Ok(Self {
            outcome: outcome_named(&cmd.outcome)?,
            limit: probability(cmd.limit_probability)?,
            want,
            expires_at: cmd.expires_at.as_deref().map(parse_rfc3339).transpose()?,
        })
    }
}

fn too_large() -> ServiceError {
    ServiceError::invalid(
        "amount-out-of-range",
        "the amount is too large for this market",
    )
}

impl Service {
    /// Places an order that rests until the price is better than its limit; what can run at once
    /// does. The budget is set aside in the same transaction.
    pub fn place_order(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &PlaceOrder,
    ) -> Result<OrderView> {
        self.allow(&ctx.actor, Action::PlaceOrder)?;
        let (account, asked) = (account_of(&ctx.actor)?, Asked::parse(cmd)?);
        let (market_id, order_id, transfer_id) =
            (market_id.to_owned(), self.new_id(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let market = markets::get(tx, &market_id)?;
            require_binary(&market)?;
            check_open(&market, Some(now))?;
            refuse_orders(&market)?;
            let order = new_order(tx, &market, order_id, account, &asked, now)?;
            set_aside(tx, &order, transfer_id)?;
            orders::insert(tx, &order)?;
            refresh(tx, &market.id)?;
            follow(tx, market, now)?;
            let order = orders::get(tx, &order.id)?;
            order_view(tx, order)
        })
    }

    /// Takes an order back; what is left of its reserve returns at once.
    pub fn cancel_order(&self, ctx: &Context, order_id: &str) -> Result<OrderView> {
        self.allow(&ctx.actor, Action::CancelOrder)?;
        let (account, id) = (account_of(&ctx.actor)?, order_id.to_owned());
        self.write_at(move |tx, now| {
            let order = orders::get(tx, &id)?;
            // Somebody else's order is nobody's business, not even that it exists.
            if order.account_id != account {
                return Err(ServiceError::not_found("order", id));
            }
            if order.status != "open" {
                return Err(ServiceError::refused(
                    "order-ended",
                    format!("the order is {}", order.status),
                ));
            }
            let order = ending::end(tx, order, "cancelled", None, now)?;
            refresh(tx, &order.market_id)?;
            order_view(tx, order)
        })
    }

    /// The actor's own orders, newest first; only those in a market, if given.
    pub fn orders(
        &self,
        ctx: &Context,
        market_id: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<OrderView>> {
        self.allow(&ctx.actor, Action::ListOwnOrders)?;
        let account = account_of(&ctx.actor)?;
        let (before, limit) = (page::parse_cursor(cursor)?, page::bounded(limit));
        let market_id = market_id.map(str::to_owned);
        self.read(move |tx| {
            if let Some(id) = &market_id {
                markets::get(tx, id)?;
            }
            let rows = orders::list(
                tx,
                &account,
                market_id.as_deref(),
                before,
                (limit + 1) as i64,
            )?;
            let page = page::cut(rows, limit, |row| row.seq.to_string(), |row| row);
            Ok(Page {
                items: page
                    .items
                    .into_iter()
                    .map(|row| order_view(tx, row))
                    .collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// Everybody's open orders in a market, added up by limit.
    pub fn book(&self, ctx: &Context, market_id: &str) -> Result<BookView> {
        self.allow(&ctx.actor, Action::ReadBook)?;
        let id = market_id.to_owned();
        self.read(move |tx| {
            let market = markets::get(tx, &id)?;
            let side = |tx: &mut Tx, side: Side| -> Result<Vec<LevelView>> {
                let rows = orders::levels(tx, &id, side.as_str(), LEVELS)?;
                Ok(rows.into_iter().map(level_view).collect())
            };
            Ok(BookView {
                up: side(tx, Side::Up)?,
                down: side(tx, Side::Down)?,
                probability: crate::trades::maker_of(&market)?.probability().get(),
                market_id: market.id,
            })
        })
    }
}

/// The order as it is stored, checked against the market and against the account's other orders.
fn new_order(
    tx: &mut Tx,
    market: &Market,
    id: String,
    account_id: String,
    asked: &Asked,
    now: Millis,
) -> Result<Order> {
    let resting = Resting::new(
        asked.outcome,
        asked.limit,
        asked.want,
        &schedule_of(market)?,
    )
    .map_err(|error| match error {
        OrderError::TooSmall => ServiceError::invalid("order-too-small", error.to_string()),
        OrderError::Money(_) => too_large(),
    })?;
    if asked.expires_at.is_some_and(|at| at <= now) {
        return Err(ServiceError::invalid(
            "bad-expiry",
            "expires_at lies in the future",
        ));
    }
    check_other_orders(tx, market, &account_id, &resting)?;
    if let Want::Sell(shares) = asked.want {
        let held = position_of(tx, &market.id, &account_id)?.held(asked.outcome);
        if held < shares {
            return Err(ServiceError::refused(
                "insufficient-shares",
                format!("{shares} micro-shares needed, {held} held"),
            ));
        }
    }
    let (budget, shares) = match asked.want {
        Want::Spend(budget) => (budget.get(), 0),
        Want::Sell(shares) => (0, shares.get()),
    };
    Ok(Order {
        seq: 0,
        id,
        market_id: market.id.clone(),
        account_id,
        outcome: asked.outcome.as_str().to_owned(),
        side: resting.side().as_str().to_owned(),
        limit_probability: asked.limit.get(),
        budget_micro: budget,
        shares_micro: shares,
        remaining_micro: budget + shares,
        reserved_micro: resting.reserve.get(),
        filled_micro: 0,
        cost_micro: 0,
        fees_micro: 0,
        status: "open".to_owned(),
        reason: None,
        created_at: now,
        expires_at: asked.expires_at,
        ended_at: None,
    })
}

/// At most so many, and none that would run against one's own.
fn check_other_orders(tx: &mut Tx, market: &Market, account_id: &str, new: &Resting) -> Result<()> {
    let own = orders::open_of_owner(tx, &market.id, account_id)?;
    if own.len() >= MOST_OPEN {
        return Err(ServiceError::refused(
            "too-many-orders",
            format!("at most {MOST_OPEN} open orders in a market; cancel one first"),
        ));
    }
    let limit = new.limit.get();
    let against = own
        .iter()
        .filter(|order| order.side == new.side().other().as_str());
    let crosses = |order: &&Order| match new.side() {
        Side::Up => order.limit_probability < limit,
        Side::Down => order.limit_probability > limit,
    };
    match against.clone().find(crosses) {
        None => Ok(()),
        Some(order) => Err(ServiceError::refused(
            "crosses-own-order",
            format!(
                "it would run against your own order {}; cancel that first",
                order.id
            ),
        )),
    }
}

fn set_aside(tx: &mut Tx, order: &Order, transfer_id: String) -> Result<()> {
    let holder = orders_account(&order.market_id);
    ensure_holding(tx, &holder, order.created_at)?;
    let available = accounts::get(tx, &order.account_id)?.balance_micro;
    if order.reserved_micro > available {
        return Err(ServiceError::refused(
            "insufficient-funds",
            format!(
                "{} micro-credits needed, {available} available",
                order.reserved_micro
            ),
        ));
    }
    let entries = vec![
        (order.account_id.clone(), -order.reserved_micro),
        (holder, order.reserved_micro),
    ];
    post(
        tx,
        transfer_id,
        order.created_at,
        "order",
        &order.id,
        entries,
    )
}

/// Notes a market's best limits anew, after an order came or went.
pub(crate) fn refresh(tx: &mut Tx, market_id: &str) -> Result<()> {
    let mut best = |side: Side| -> Result<Option<f64>> {
        let order = orders::best(tx, market_id, side.as_str())?;
        let limit = order.map(|order| probability(order.limit_probability));
        Ok(limit.transpose()?.map(|limit| limit.log_odds().get()))
    };
    let limits = BestLimits {
        bid: best(Side::Up)?,
        ask: best(Side::Down)?,
    };
    Ok(orders::set_best_limits(tx, market_id, limits)?)
}

pub(crate) fn order_view(tx: &mut Tx, row: Order) -> Result<OrderView> {
    let sells = row.shares_micro > 0;
    let sign = if sells { -1 } else { 1 };
    Ok(OrderView {
        fills: orders::count_fills(tx, &row.id)?,
        id: row.id,
        market_id: row.market_id,
        outcome: row.outcome,
        side: row.side,
        limit_probability: row.limit_probability,
        spend_micro: (!sells).then_some(row.budget_micro),
        shares_micro: sells.then_some(-row.shares_micro),
        remaining_micro: row.remaining_micro,
        reserved_micro: row.reserved_micro,
        filled_shares_micro: sign * row.filled_micro,
        cost_micro: row.cost_micro,
        fee_micro: row.fees_micro,
        status: row.status,
        reason: row.reason,
        created_at: rfc3339(row.created_at),
        expires_at: row.expires_at.map(rfc3339),
        ended_at: row.ended_at.map(rfc3339),
    })
}

fn level_view(level: Level) -> LevelView {
    LevelView {
        probability: level.limit_probability,
        spend_micro: level.spend_micro,
        shares_micro: level.shares_micro,
        orders: level.orders,
    }
}
