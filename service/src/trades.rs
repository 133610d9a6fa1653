//! Trades and positions. A quote (`quotes`) is a dry run of the trade: both call
//! the same function of the market crate on the same state.

use plumbline_access::Action;
use plumbline_market::fees::{FeeSchedule, PricedFill, quote_with_fees};
use plumbline_market::life::{Status, Time};
use plumbline_market::lmsr::Maker;
use plumbline_market::money::{Micro, MicroShares};
use plumbline_market::probability::{LogOdds, Probability, sigmoid};
use plumbline_market::trade::{Fill, Order, Outcome, Position, Size, TradeError};
use plumbline_store::Tx;
use plumbline_store::accounts;
use plumbline_store::markets::{self, Market};
use plumbline_store::positions::{self, Position as PositionRow};
use plumbline_store::prices::{self, Price};
use plumbline_store::trades::{self, Trade};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::TradeOrder;
use crate::context::Context;
use crate::events::publish;
use crate::fees::{charge, schedule_of};
use crate::ledger::post;
use crate::markets::life_of;
use crate::orders::follow;
use crate::outcomes::trades::{is_binary, trades_page};
use crate::outcomes::{require_binary, with_holdings};
use crate::time::{Millis, rfc3339};
use crate::views::{Page, PositionView, QuoteView, TradeView};
use crate::{Result, Service, ServiceError, page, settlement};

/// A trade that is ready to be made: what it does in its transaction, at a time.
pub(crate) type Trading = Box<dyn FnOnce(&mut Tx, Millis) -> Result<TradeView> + Send>;

impl Service {
    /// Trades, or changes nothing.
    pub fn trade(&self, ctx: &Context, market_id: &str, order: &TradeOrder) -> Result<TradeView> {
        let view = self.write_once(ctx, self.trading(ctx, market_id, order)?)?;
        self.counters.trades.add(1);
        Ok(view)
    }

    /// As [`Service::trade`], for a task instead of a thread: nothing blocks while the trade is made durable.
    pub async fn trade_async(
        &self,
        ctx: &Context,
        market_id: &str,
        order: &TradeOrder,
    ) -> Result<TradeView> {
        let trading = self.trading(ctx, market_id, order)?;
        let view = self.write_once_async(ctx, trading).await?;
        self.counters.trades.add(1);
        Ok(view)
    }

    /// What a trade does inside its transaction.
    fn trading(&self, ctx: &Context, market_id: &str, order: &TradeOrder) -> Result<Trading> {
        self.allow(&ctx.actor, Action::PlaceTrade)?;
        if !is_binary(order) {
            return self.trading_outcome(ctx, market_id, order);
        }
        let asked = Asked::parse(order)?;
        let (account, handle) = (account_of(&ctx.actor)?, ctx.actor.handle.clone());
        let (market_id, trade_id, transfer_id) =
            (market_id.to_owned(), self.new_id(), self.new_id());
        Ok(Box::new(move |tx: &mut Tx, now| {
            let market = markets::get(tx, &market_id)?;
            require_binary(&market)?;
            check_open(&market, Some(now))?;
            let held = position_of(tx, &market_id, &account)?;
            let priced = asked.price(&market, &held)?;
            settlement::check_fill(&market, &priced.fill)?;
            priced.check_funds(Micro(accounts::get(tx, &account)?.balance_micro))?;
            let (due, cash) = (priced.due()?.get(), priced.fill.cash.get());
            let mut entries = vec![(account.clone(), -due), (market.escrow_id.clone(), cash)];
            entries.extend(charge(tx, &market, &account, &priced.fees, now)?);
            post(tx, transfer_id, now, "trade", &trade_id, entries)?;
            let trade = trade_row(
                &trade_id,
                &market,
                &account,
                now,
                &asked.order,
                &priced.fill,
            );
            let fee = priced.fees.total()?.get();
            let (maker, position) = (priced.fill.maker, priced.fill.position);
            let advisory = market.settlement_method == settlement::SELF_RESOLVING;
            book(tx, market, &trade, maker, position)?;
            if advisory {
                settlement::after_trade(tx, &market_id, now)?;
            }
            Ok(trade_view(trade, handle, fee))
        }))
    }

    /// A market's trades, newest first.
    pub fn trades(
        &self,
        ctx: &Context,
        market_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<TradeView>> {
        self.allow(&ctx.actor, Action::ListTrades)?;
        let (market_id, before, limit) = (
            market_id.to_owned(),
            page::parse_cursor(cursor)?,
            page::bounded(limit),
        );
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            if let Some(page) = trades_page(tx, &market, before, limit)? {
                return Ok(page);
            }
            let schedule = schedule_of(&market)?;
            let rows = trades::list(tx, &market_id, before, (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                let fee = fee_of(&row, &schedule)?;
                items.push(trade_view(row, handle, fee));
            }
            // Pages go on from a trade's place in the sequence, which does not move when trades are added.
            let next = page
                .next_cursor
                .map(|id| trades::seq_of(tx, &id))
                .transpose()?;
            Ok(Page {
                items,
                next_cursor: next.map(|seq| seq.to_string()),
            })
        })
    }

    /// Everybody's holdings in a market.
    pub fn positions(
        &self,
        ctx: &Context,
        market_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<PositionView>> {
        self.allow(&ctx.actor, Action::ListPositions)?;
        let (market_id, limit) = (market_id.to_owned(), page::bounded(limit));
        let after = cursor.map(str::to_owned);
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            let rows = positions::list(tx, &market_id, after.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.account_id.clone(), |row| row);
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                let account = row.account_id.clone();
                let view = position_view(row, &market, handle);
                items.push(with_holdings(tx, view, &market, &account)?);
            }
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// The actor's own holdings, newest market first.
    pub fn my_positions(&self, ctx: &Context) -> Result<Vec<PositionView>> {
        let (account, handle) = (account_of(&ctx.actor)?, ctx.actor.handle.clone());
        self.read(move |tx| {
            let mut views = Vec::new();
            for row in positions::by_account(tx, &account)? {
                let market = markets::get(tx, &row.market_id)?;
                let view = position_view(row, &market, handle.clone());
                views.push(with_holdings(tx, view, &market, &account)?);
            }
            Ok(views)
        })
    }
}

/// Stores what a fill did to the market, and runs the resting orders that it reached. The caller
/// has posted the cash.
pub(crate) fn book(
    tx: &mut Tx,
    market: Market,
    trade: &Trade,
    maker: Maker,
    position: Position,
) -> Result<()> {
    let market = book_move(tx, market, trade, maker, position)?;
    follow(tx, market, trade.at)
}

/// Stores a move alone: trade, position, price and event. The market comes back as it is stored.
pub(crate) fn book_move(
    tx: &mut Tx,
    market: Market,
    trade: &Trade,
    maker: Maker,
    position: Position,
) -> Result<Market> {
    trades::insert(tx, trade)?;
    positions::upsert(
        tx,
        &PositionRow {
            market_id: market.id.clone(),
            account_id: trade.account_id.clone(),
            yes_micro: position.yes.get(),
            no_micro: position.no.get(),
            cost_micro: position.net_cost.get(),
            paid_micro: None,
            paid_at: None,
        },
    )?;
    prices::insert(
        tx,
        &Price {
            seq: 0,
            market_id: market.id.clone(),
            at: trade.at,
            log_odds: trade.log_odds_after,
            cause: trade.cause.clone(),
            reference: Some(trade.id.clone()),
        },
    )?;
    let payload = json!({
        "market_id": market.id,
        "cause": trade.cause,
        "ref": trade.id,
        "account_id": trade.account_id,
        "yes_micro": trade.yes_micro,
        "no_micro": trade.no_micro,
        "cost_micro": trade.cost_micro,
        "probability": maker.probability(),
        "at": rfc3339(trade.at),
    });
    publish(
        tx,
        trade.at,
        &format!("market:{}", market.id),
        "price",
        &payload,
    )?;
    let traded = Market {
        log_odds: trade.log_odds_after,
        net_shares_micro: maker.net_shares().get(),
        trades: market.trades + 1,
        ..market
    };
    let version = markets::update(tx, &traded)?;
    Ok(Market { version, ..traded })
}

/// The market maker as the row says it stands.
pub(crate) fn maker_of(market: &Market) -> Result<Maker> {
    let opening = LogOdds::new(market.opening_log_odds).map_err(ServiceError::internal)?;
    Maker::restore(
        opening,
        Micro(market.liquidity_micro),
        MicroShares(market.net_shares_micro),
    )
    .map_err(ServiceError::internal)
}

/// What an account holds in a market; nothing if it never traded there.
pub(crate) fn position_of(tx: &mut Tx, market_id: &str, account_id: &str) -> Result<Position> {
    let row = positions::get(tx, market_id, account_id)?;
    Ok(row.map_or_else(Position::default, |row| position_from(&row)))
}

/// A stored holding as the market crate knows it.
pub(crate) fn position_from(row: &PositionRow) -> Position {
    Position {
        yes: MicroShares(row.yes_micro),
        no: MicroShares(row.no_micro),
        net_cost: Micro(row.cost_micro),
    }
}

/// Refuses unless the market takes trades (at `now`, when given: the deadline and the stop moment
/// count even before the job that acts on them has run).
pub(crate) fn check_open(market: &Market, now: Option<Millis>) -> Result<()> {
    let life = life_of(market)?;
    let now = now.map_or(life.stepped_at, Time);
    // Whether the run has reported the tokens is for the tick to find out.
    if life.accepts_orders(0, now) {
        return Ok(());
    }
    let detail = match life.status {
        Status::Open if now < life.rules.closes_at => {
            "the market's closing window begins just now: try again in a moment".to_owned()
        }
        Status::Open => "the market is past its closing time: only open markets trade".to_owned(),
        status => format!("the market is {status}: only open markets trade"),
    };
    Err(ServiceError::refused("market-closed", detail))
}

/// A trade as asked for.
pub(crate) struct Asked {
    /// What to trade.
    pub(crate) order: Order,
    /// Most that a purchase may come to, fees included.
    max_cost: Option<i64>,
    /// Least that a sale must bring in, less fees.
    min_proceeds: Option<i64>,
}

impl Asked {
    pub(crate) fn parse(order: &TradeOrder) -> Result<Self> {
        let bounds = [order.max_cost_micro, order.min_proceeds_micro];
        if bounds.into_iter().flatten().any(|bound| bound < 0) {
            return Err(ServiceError::invalid(
                "bad-bound",
                "max_cost_micro and min_proceeds_micro are not negative",
            ));
        }
        Ok(Self {
            order: parse_order(order)?,
            max_cost: order.max_cost_micro,
            min_proceeds: order.min_proceeds_micro,
        })
    }

    /// The one way from an order to a fill: what a quote shows is what a trade books.
    pub(crate) fn price(&self, market: &Market, held: &Position) -> Result<PricedFill> {
        let priced = quote_with_fees(&maker_of(market)?, held, &self.order, &schedule_of(market)?)?;
        let total = priced.total()?.get();
        let too_dear = self.max_cost.is_some_and(|most| total > most);
        let too_little = self.min_proceeds.is_some_and(|least| -total < least);
        if too_dear || too_little {
            return Err(ServiceError::refused(
                "slippage",
                format!("the trade would come to {total} micro-credits, fees included"),
            ));
        }
        Ok(priced)
    }
}

/// The outcome of that name.
pub(crate) fn outcome_named(name: &str) -> Result<Outcome> {
    match name {
        "yes" => Ok(Outcome::Yes),
        "no" => Ok(Outcome::No),
        other => Err(ServiceError::invalid(
            "bad-outcome",
            format!("outcome is yes or no, not '{other}'"),
        )),
    }
}

/// The fee of a stored trade: what the rules of its market make of its cost.
pub(crate) fn fee_of(trade: &Trade, schedule: &FeeSchedule) -> Result<i64> {
    if trade.cause != "trade" {
        return Ok(0);
    }
    let fees = schedule.on(Micro(trade.cost_micro))?;
    Ok(fees.total()?.get())
}

fn parse_order(order: &TradeOrder) -> Result<Order> {
    let outcome = outcome_named(&order.outcome)?;
    let size = match (
        order.spend_micro,
        order.shares_micro,
        order.target_probability,
    ) {
        (Some(spend), None, None) => Size::Spend(Micro(spend)),
        (None, Some(shares), None) => Size::Shares(MicroShares(shares)),
        (None, None, Some(target)) => Size::Target(probability(target)?),
        _ => {
            return Err(ServiceError::invalid(
                "bad-size",
                "give exactly one of spend_micro, shares_micro and target_probability",
            ));
        }
    };
    Ok(Order {
        outcome,
        size,
        limit: order.limit_probability.map(probability).transpose()?,
    })
}

pub(crate) fn probability(value: f64) -> Result<Probability> {
    Probability::new(value).map_err(|_| {
        ServiceError::invalid(
            "bad-probability",
            "a probability is a number from 0.005 to 0.995",
        )
    })
}

pub(crate) fn quote_view(order: &Order, priced: &PricedFill) -> Result<QuoteView> {
    let fill = &priced.fill;
    let shares = if order.outcome.is_yes() {
        fill.yes
    } else {
        fill.no
    };
    Ok(QuoteView {
        outcome: order.outcome.as_str().to_owned(),
        shares_micro: shares.get(),
        cost_micro: fill.cost.get(),
        fee_micro: priced.fees.total()?.get(),
        total_micro: priced.total()?.get(),
        average_price: fill.average_price,
        probability_before: fill.from.probability.get(),
        probability_after: fill.to.probability.get(),
        truncated: fill.truncated,
    })
}

fn trade_row(
    id: &str,
    market: &Market,
    account: &str,
    at: Millis,
    order: &Order,
    fill: &Fill,
) -> Trade {
    Trade {
        id: id.to_owned(),
        market_id: market.id.clone(),
        account_id: account.to_owned(),
        at,
        outcome: order.outcome.as_str().to_owned(),
        yes_micro: fill.yes.get(),
        no_micro: fill.no.get(),
        cost_micro: fill.cost.get(),
        log_odds_before: fill.from.log_odds.get(),
        log_odds_after: fill.to.log_odds.get(),
        cause: "trade".to_owned(),
    }
}

pub(crate) fn trade_view(trade: Trade, account: String, fee_micro: i64) -> TradeView {
    TradeView {
        id: trade.id,
        market_id: trade.market_id,
        account,
        at: rfc3339(trade.at),
        outcome: trade.outcome,
        yes_micro: trade.yes_micro,
        no_micro: trade.no_micro,
        cost_micro: trade.cost_micro,
        fee_micro,
        probability_before: sigmoid(trade.log_odds_before),
        probability_after: sigmoid(trade.log_odds_after),
        cause: trade.cause,
    }
}

pub(crate) fn position_view(row: PositionRow, market: &Market, account: String) -> PositionView {
    let p = market
        .settlement
        .unwrap_or_else(|| sigmoid(market.log_odds));
    let banked = (-row.cost_micro).max(0) as f64;
    let value = row.yes_micro as f64 * p + row.no_micro as f64 * (1.0 - p) + banked;
    PositionView {
        market_id: row.market_id,
        claim: market.claim.clone(),
        account,
        yes_micro: row.yes_micro,
        no_micro: row.no_micro,
        cost_micro: row.cost_micro,
        value_micro: value.floor() as i64,
        paid_micro: row.paid_micro,
        outcomes: None,
    }
}

impl From<plumbline_market::MoneyError> for ServiceError {
    fn from(error: plumbline_market::MoneyError) -> Self {
        Self::from(TradeError::Money(error))
    }
}

impl From<TradeError> for ServiceError {
    fn from(error: TradeError) -> Self {
        let detail = error.to_string();
        match error {
            TradeError::ZeroSize => Self::invalid("zero-size", detail),
            TradeError::TooSmall => Self::invalid("order-too-small", detail),
            TradeError::AtBound => Self::refused("price-at-bound", detail),
            TradeError::LimitExceeded { .. } => Self::refused("limit-exceeded", detail),
            TradeError::InsufficientShares { .. } => Self::refused("insufficient-shares", detail),
            TradeError::InsufficientFunds { .. } => Self::refused("insufficient-funds", detail),
            TradeError::Money(_) => Self::invalid(
                "amount-out-of-range",
                "the amount is too large for this market",
            ),
            TradeError::InvalidPosition | TradeError::Maker(_) => Self::internal(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_order_has_exactly_one_size() {
        let order = |spend, shares, target| TradeOrder {
            outcome: "yes".into(),
            spend_micro: spend,
            shares_micro: shares,
            target_probability: target,
            ..TradeOrder::default()
        };
        assert!(parse_order(&order(Some(5), None, None)).is_ok());
        assert!(parse_order(&order(None, Some(-5), None)).is_ok());
        assert_eq!(
            parse_order(&order(None, None, None)).unwrap_err().code(),
            "bad-size"
        );
        assert_eq!(
            parse_order(&order(Some(1), Some(1), None))
                .unwrap_err()
                .code(),
            "bad-size"
        );
        for bad in [f64::NAN, 0.0, 1.0, -3.0, f64::INFINITY] {
            assert_eq!(
                parse_order(&order(None, None, Some(bad)))
                    .unwrap_err()
                    .code(),
                "bad-probability"
            );
        }
        let maybe = TradeOrder {
            outcome: "maybe".into(),
            spend_micro: Some(1),
            ..TradeOrder::default()
        };
        assert_eq!(parse_order(&maybe).unwrap_err().code(), "bad-outcome");
    }
}
