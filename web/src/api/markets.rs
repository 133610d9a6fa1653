//! Markets: prices, quotes, trades, positions, freezing, settlement.

use actix_web::web;
use plumbline_service::commands::{OpenMarket, TradeOrder};
use plumbline_service::views::{MarketView, Page, PositionView, PricePoint, QuoteView, TradeView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Paging, Params, limit_beside};

/// Which markets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MarketFilter {
    /// Only of this run.
    run_id: Option<String>,
    /// Only in this status.
    status: Option<String>,
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Markets, newest first
#[utoipa::path(get, path = "/api/v1/markets", tag = "markets", params(MarketFilter),
    responses((status = 200, description = "A page of markets", body = Page<MarketView>)))]
pub(crate) async fn list(state: State, caller: Caller, filter: Params<MarketFilter>) -> Answer {
    let filter = filter.0;
    let limit = limit_beside(filter.cursor.as_deref(), filter.limit)?;
    let page = blocking(&state.service, move |service| {
        let (run, status, cursor) = (
            filter.run_id.as_deref(),
            filter.status.as_deref(),
            filter.cursor.as_deref(),
        );
        service.markets(&caller.context(), run, status, cursor, limit)
    });
    ok(&page.await?)
}

/// Open a market on a claim about a run
#[utoipa::path(post, path = "/api/v1/markets", tag = "markets", request_body = OpenMarket,
    responses((status = 201, description = "The market", body = MarketView)))]
pub(crate) async fn open(state: State, caller: Caller, body: Json<OpenMarket>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.open_market(&context, &body.value)
        })
        .await?,
    )
}

/// One market
#[utoipa::path(get, path = "/api/v1/markets/{id}", tag = "markets", params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The market", body = MarketView)))]
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.market(&caller.context(), &id)
    })
    .await?)
}

/// Price history with the cause of every move
#[utoipa::path(get, path = "/api/v1/markets/{id}/prices", tag = "markets",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of price points", body = Page<PricePoint>)))]
pub(crate) async fn prices(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.prices(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Trades, newest first
#[utoipa::path(get, path = "/api/v1/markets/{id}/trades", tag = "markets",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of trades", body = Page<TradeView>)))]
pub(crate) async fn trades(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.trades(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Positions in a market
#[utoipa::path(get, path = "/api/v1/markets/{id}/positions", tag = "markets",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of positions", body = Page<PositionView>)))]
pub(crate) async fn positions(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.positions(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// What a trade would cost now; changes nothing
#[utoipa::path(post, path = "/api/v1/markets/{id}/quotes", tag = "markets", request_body = TradeOrder,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The trade that would happen", body = QuoteView)))]
pub(crate) async fn quote(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<TradeOrder>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    if let Some(known) = state.service.known_quote(&context, &id, &body.value) {
        return ok(&known?);
    }
    ok(&blocking(&state.service, move |service| {
        service.quote(&context, &id, &body.value)
    })
    .await?)
}

/// Trade
#[utoipa::path(post, path = "/api/v1/markets/{id}/trades", tag = "markets", request_body = TradeOrder,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The trade that happened", body = TradeView)))]
pub(crate) async fn trade(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<TradeOrder>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    let trade = state.service.trade_async(&context, &id, &body.value);
    created(&trade.await?)
}

/// Freeze a market whose closing rules hold; refused with `not-due` before that, whoever asks
#[utoipa::path(post, path = "/api/v1/markets/{id}/freeze", tag = "markets", params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The market", body = MarketView)))]
pub(crate) async fn freeze(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.freeze_market(&context, &id)
    })
    .await?)
}
