//! Resting orders and the book.

use actix_web::web;
use plumbline_service::commands::PlaceOrder;
use plumbline_service::views::{BookView, OrderView, Page};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Paging, Params};

/// One's own orders in a market, newest first
#[utoipa::path(get, path = "/api/v1/markets/{id}/orders", tag = "markets",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of orders", body = Page<OrderView>)))]
pub(crate) async fn list(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.orders(&caller.context(), Some(&id), cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Place an order that rests until the price is better than its limit
#[utoipa::path(post, path = "/api/v1/markets/{id}/orders", tag = "markets", request_body = PlaceOrder,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The order, after what could run at once", body = OrderView)))]
pub(crate) async fn place(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<PlaceOrder>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.place_order(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Everybody's open orders in a market, added up by limit
#[utoipa::path(get, path = "/api/v1/markets/{id}/book", tag = "markets",
    params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The book", body = BookView)))]
pub(crate) async fn book(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.book(&caller.context(), &id)
    })
    .await?)
}

/// Take back an order; what was set aside for it returns
#[utoipa::path(delete, path = "/api/v1/orders/{id}", tag = "markets",
    params(("id" = String, Path, description = "Order id")),
    responses((status = 200, description = "The order as it ended", body = OrderView)))]
pub(crate) async fn cancel(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.cancel_order(&context, &id)
    })
    .await?)
}
