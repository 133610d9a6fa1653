//! One's own portfolio and history; leaderboard, calibration, manipulation.

use actix_web::web;
use plumbline_service::views::{
    CalibrationView, HistoryView, ManipulationView, Page, PortfolioView, StandingView,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Paging, Params, limit};

/// Which standings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ranking {
    /// `total`, `trading` or `evidence`; `total` unless given.
    by: Option<String>,
    /// Rows per page, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which markets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfKind {
    /// Only claims of this kind.
    claim_kind: Option<String>,
}

/// Open positions at posted prices, open orders, stakes, and totals
#[utoipa::path(get, path = "/api/v1/portfolio", tag = "markets",
    responses((status = 200, description = "The portfolio", body = PortfolioView)))]
pub(crate) async fn show(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.portfolio(&caller.context())
    })
    .await?)
}

/// Own trades, moves of evidence, payouts and other transfers, newest first; a page may be short
#[utoipa::path(get, path = "/api/v1/portfolio/history", tag = "markets", params(Paging),
    responses((status = 200, description = "A page of lines", body = Page<HistoryView>)))]
pub(crate) async fn history(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.history(&caller.context(), cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Accounts by profit in paid markets, the best first
#[utoipa::path(get, path = "/api/v1/leaderboard", tag = "markets", params(Ranking),
    responses((status = 200, description = "A page of standings", body = Page<StandingView>)))]
pub(crate) async fn leaderboard(state: State, caller: Caller, ranking: Params<Ranking>) -> Answer {
    let ranking = ranking.0;
    let limit = limit(ranking.limit)?;
    let page = blocking(&state.service, move |service| {
        let by = ranking.by.as_deref().unwrap_or("total");
        service.leaderboard(&caller.context(), by, ranking.cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// How good the prices of paid markets were
#[utoipa::path(get, path = "/api/v1/calibration", tag = "markets", params(OfKind),
    responses((status = 200, description = "Scores and reliability", body = CalibrationView)))]
pub(crate) async fn calibration(state: State, caller: Caller, kind: Params<OfKind>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.calibration(&caller.context(), kind.0.claim_kind.as_deref())
    })
    .await?)
}

/// What it takes to mislead a market, and patterns of trades worth a look
#[utoipa::path(get, path = "/api/v1/markets/{id}/manipulation", tag = "markets",
    params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "Costs, concentration and flags", body = ManipulationView)))]
pub(crate) async fn manipulation(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.manipulation(&caller.context(), &id)
    })
    .await?)
}
