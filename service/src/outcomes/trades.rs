//! Quotes, trades and price history of markets of several outcomes.

use plumbline_access::Action;
use plumbline_market::categorical::{
    CategoricalError, CategoricalFill, CategoricalOrder, CategoricalPosition, CategoricalSize,
    CategoricalTradeError, quote,
};
use plumbline_market::money::{Micro, MicroShares};
use plumbline_store::markets::{self, Market};
use plumbline_store::outcome_trades::{self, OutcomeTrade};
use plumbline_store::prices::{self, Price};
use plumbline_store::{Tx, accounts, market_outcomes, outcome_holdings, positions};
use serde_json::json;

use super::{Book, first_log_odds, position_row};
use crate::accounts::account_of;
use crate::commands::TradeOrder;
use crate::context::Context;
use crate::events::publish;
use crate::ledger::post;
use crate::time::{Millis, rfc3339};
use crate::trades::{Trading, check_open};
use crate::views::{OutcomePrices, Page, QuoteView, TradeView};
use crate::{Result, Service, ServiceError, page};

/// Whether an order names a side of a market with yes and no.
pub(crate) fn is_binary(order: &TradeOrder) -> bool {
    matches!(order.outcome.as_str(), "yes" | "no")
}

impl Service {
    /// What a trade of one outcome would do now.
    pub(crate) fn quote_outcome(
        &self,
        ctx: &Context,
        market_id: &str,
        order: &TradeOrder,
    ) -> Result<QuoteView> {
        let (asked, market_id) = (order.clone(), market_id.to_owned());
        let size = parse_size(&asked)?;
        let account = ctx.actor.account_id.clone();
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            let (book, order) = placed(tx, &market, &asked, size)?;
            check_open(&market, None)?;
            let held = match account {
                Some(account) => book.position(tx, &account)?,
                None => CategoricalPosition::empty(book.rows.len()),
            };
            let fill = quote(&book.maker, &held, &order)?;
            Ok(QuoteView {
                outcome: asked.outcome,
                shares_micro: fill.shares.get(),
                cost_micro: fill.cost.get(),
                average_price: fill.average_price,
                probability_before: fill.price_before,
                probability_after: fill.price_after,
                truncated: fill.truncated,
                fee_micro: 0,
                total_micro: fill.cost.get(),
            })
        })
    }

    /// Trades one outcome, or changes nothing.
    pub(crate) fn trading_outcome(
        &self,
        ctx: &Context,
        market_id: &str,
        order: &TradeOrder,
    ) -> Result<Trading> {
        let (asked, market_id) = (order.clone(), market_id.to_owned());
        let size = parse_size(&asked)?;
        let (account, handle) = (account_of(&ctx.actor)?, ctx.actor.handle.clone());
        let (trade_id, transfer_id) = (self.new_id(), self.new_id());
        Ok(Box::new(move |tx: &mut Tx, now| {
            let market = markets::get(tx, &market_id)?;
            let (book, order) = placed(tx, &market, &asked, size)?;
            check_open(&market, Some(now))?;
            let held = book.position(tx, &account)?;
            let fill = quote(&book.maker, &held, &order)?;
            fill.check_funds(Micro(accounts::get(tx, &account)?.balance_micro))?;
            let cash = fill.cash.get();
            post(
                tx,
                transfer_id,
                now,
                "trade",
                &trade_id,
                vec![(account.clone(), -cash), (market.escrow_id.clone(), cash)],
            )?;
            let trade = trade_row(&trade_id, &market, &account, now, &fill)?;
            book_outcome(tx, market, &book, &trade, &held, &fill)?;
            Ok(trade_view(trade, &asked.outcome, handle))
        }))
    }

    /// The prices of all outcomes at the opening and after each trade, oldest first.
    pub fn outcome_prices(
        &self,
        ctx: &Context,
        market_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<OutcomePrices>> {
        self.allow(&ctx.actor, Action::ReadPrices)?;
        let after = page::parse_cursor(cursor)?;
        let (market_id, limit) = (market_id.to_owned(), page::bounded(limit));
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            let book = Book::of(tx, &market)?.ok_or_else(not_several)?;
            let rows =
                outcome_trades::after(tx, &market_id, after.unwrap_or(0), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.seq.to_string(), |row| row);
            let mut items = Vec::with_capacity(page.items.len() + 1);
            if after.is_none() {
                items.push(opening_prices(&market, &book));
            }
            for row in page.items {
                items.push(prices_view(row, &book)?);
            }
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// The opening prices and at most `points` later ones, evenly thinned, for a chart.
    pub fn outcome_chart(
        &self,
        ctx: &Context,
        market_id: &str,
        points: usize,
    ) -> Result<Vec<OutcomePrices>> {
        self.allow(&ctx.actor, Action::ReadPrices)?;
        let (market_id, points) = (market_id.to_owned(), points.clamp(2, 2_000));
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            let book = Book::of(tx, &market)?.ok_or_else(not_several)?;
            let mut items = vec![opening_prices(&market, &book)];
            for row in outcome_trades::sample(tx, &market_id, points as i64)? {
                items.push(prices_view(row, &book)?);
            }
            Ok(items)
        })
    }
}

fn not_several() -> ServiceError {
    ServiceError::refused("no-outcomes", "the market has only yes and no")
}

/// The market's book, and the order with the place of its outcome.
fn placed(
    tx: &mut Tx,
    market: &Market,
    asked: &TradeOrder,
    size: CategoricalSize,
) -> Result<(Book, CategoricalOrder)> {
    let shown: String = asked.outcome.chars().take(40).collect();
    let Some(book) = Book::of(tx, market)? else {
        return Err(ServiceError::invalid(
            "bad-outcome",
            format!("outcome is yes or no, not '{shown}'"),
        ));
    };
    let place = book.rows.iter().position(|row| row.name == asked.outcome);
    let outcome = place.ok_or_else(|| {
        ServiceError::invalid(
            "bad-outcome",
            format!("the market has no outcome '{shown}'"),
        )
    })?;
    let order = CategoricalOrder {
        outcome,
        size,
        limit: asked.limit_probability,
    };
    Ok((book, order))
}

fn parse_size(order: &TradeOrder) -> Result<CategoricalSize> {
    match (
        order.spend_micro,
        order.shares_micro,
        order.target_probability,
    ) {
        (Some(spend), None, None) => Ok(CategoricalSize::Spend(Micro(spend))),
        (None, Some(shares), None) => Ok(CategoricalSize::Shares(MicroShares(shares))),
        (None, None, Some(target)) => Ok(CategoricalSize::Target(target)),
        _ => Err(ServiceError::invalid(
            "bad-size",
            "give exactly one of spend_micro, shares_micro and target_probability",
        )),
    }
}

fn trade_row(
    id: &str,
    market: &Market,
    account: &str,
    at: Millis,
    fill: &CategoricalFill,
) -> Result<OutcomeTrade> {
    let prices = serde_json::to_string(&fill.maker.prices()).map_err(ServiceError::internal)?;
    Ok(OutcomeTrade {
        seq: 0,
        id: id.to_owned(),
        market_id: market.id.clone(),
        account_id: account.to_owned(),
        at,
        ordinal: fill.outcome as i64,
        shares_micro: fill.shares.get(),
        sets_micro: fill.sets.get(),
        cost_micro: fill.cost.get(),
        price_before: fill.price_before,
        price_after: fill.price_after,
        prices,
    })
}

/// Stores what a fill did: trade, shares, position, price and event. The caller has posted the
/// cash.
fn book_outcome(
    tx: &mut Tx,
    market: Market,
    book: &Book,
    trade: &OutcomeTrade,
    before: &CategoricalPosition,
    fill: &CategoricalFill,
) -> Result<()> {
    outcome_trades::insert(tx, trade)?;
    let (held, sold) = (before.shares.iter(), book.maker.shares().iter());
    let after = fill.position.shares.iter().zip(fill.maker.shares());
    for (ordinal, ((was_held, was_sold), (held, sold))) in (0_i64..).zip(held.zip(sold).zip(after))
    {
        if was_held != held {
            outcome_holdings::put(tx, &market.id, &trade.account_id, ordinal, held.get())?;
        }
        if was_sold != sold {
            market_outcomes::set_shares(tx, &market.id, ordinal, sold.get())?;
        }
    }
    let row = position_row(&market.id, &trade.account_id, &fill.position);
    positions::upsert(tx, &row)?;
    let log_odds = first_log_odds(&fill.maker.prices());
    prices::insert(
        tx,
        &Price {
            seq: 0,
            market_id: market.id.clone(),
            at: trade.at,
            log_odds,
            cause: "trade".to_owned(),
            reference: Some(trade.id.clone()),
        },
    )?;
    let payload = json!({
        "market_id": market.id,
        "cause": "trade",
        "ref": trade.id,
        "account_id": trade.account_id,
        "shares_micro": trade.shares_micro,
        "cost_micro": trade.cost_micro,
        "outcome": book.name(trade.ordinal),
        "probability": trade.price_after,
        "at": rfc3339(trade.at),
    });
    let topic = format!("market:{}", market.id);
    publish(tx, trade.at, &topic, "price", &payload)?;
    let traded = Market {
        log_odds,
        trades: market.trades + 1,
        ..market
    };
    markets::update(tx, &traded)?;
    Ok(())
}

/// A page of a market's trades, newest first; `None` for one with yes and no.
pub(crate) fn trades_page(
    tx: &mut Tx,
    market: &Market,
    before: Option<i64>,
    limit: usize,
) -> Result<Option<Page<TradeView>>> {
    let Some(book) = Book::of(tx, market)? else {
        return Ok(None);
    };
    let rows = outcome_trades::list(tx, &market.id, before, (limit + 1) as i64)?;
    let page = page::cut(rows, limit, |row| row.seq.to_string(), |row| row);
    let mut items = Vec::with_capacity(page.items.len());
    for row in page.items {
        let handle = accounts::get(tx, &row.account_id)?.handle;
        let name = book.name(row.ordinal).to_owned();
        items.push(trade_view(row, &name, handle));
    }
    Ok(Some(Page {
        items,
        next_cursor: page.next_cursor,
    }))
}

fn trade_view(trade: OutcomeTrade, outcome: &str, account: String) -> TradeView {
    TradeView {
        id: trade.id,
        market_id: trade.market_id,
        account,
        at: rfc3339(trade.at),
        outcome: outcome.to_owned(),
        yes_micro: trade.shares_micro,
        no_micro: 0,
        cost_micro: trade.cost_micro,
        probability_before: trade.price_before,
        probability_after: trade.price_after,
        cause: "trade".to_owned(),
        fee_micro: 0,
    }
}

fn opening_prices(market: &Market, book: &Book) -> OutcomePrices {
    OutcomePrices {
        at: rfc3339(market.opened_at),
        outcome: None,
        reference: None,
        probabilities: book.maker.opening().to_vec(),
    }
}

fn prices_view(row: OutcomeTrade, book: &Book) -> Result<OutcomePrices> {
    Ok(OutcomePrices {
        at: rfc3339(row.at),
        outcome: Some(book.name(row.ordinal).to_owned()),
        reference: Some(row.id),
        probabilities: serde_json::from_str(&row.prices).map_err(ServiceError::internal)?,
    })
}

impl From<CategoricalTradeError> for ServiceError {
    fn from(error: CategoricalTradeError) -> Self {
        use CategoricalTradeError as E;
        let detail = error.to_string();
        match error {
            E::ZeroSize => Self::invalid("zero-size", detail),
            E::TooSmall => Self::invalid("order-too-small", detail),
            E::PriceOutOfRange { .. } => Self::invalid("bad-probability", detail),
            E::AtBound => Self::refused(
                "price-at-bound",
                "the price of the outcome, or of one that would fall further, is at its bound",
            ),
            E::LimitExceeded { .. } => Self::refused("limit-exceeded", detail),
            E::InsufficientShares { .. } => Self::refused("insufficient-shares", detail),
            E::InsufficientFunds { .. } => Self::refused("insufficient-funds", detail),
            E::Money(_) | E::Maker(CategoricalError::Money(_)) => Self::invalid(
                "amount-out-of-range",
                "the amount is too large for this market",
            ),
            E::UnknownOutcome(_) | E::InvalidPosition | E::Maker(_) => Self::internal(detail),
        }
    }
}
