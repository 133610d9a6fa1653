//! Markets of several outcomes.

use actix_web::web;
use plumbline_service::views::{OutcomePrices, Page};

use super::{Answer, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Paging, Params};

/// Prices of all outcomes after every trade, oldest first; refused with `no-outcomes` for a market with yes and no
#[utoipa::path(get, path = "/api/v1/markets/{id}/outcomes/prices", tag = "markets",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of prices, the opening first", body = Page<OutcomePrices>)))]
pub(crate) async fn prices(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.outcome_prices(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}
