//! The ledger's totals and statements, and the service's jobs.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use plumbline_service::views::{
    JobView, LedgerSummary, OperationsView, Page, RevenueShareView, RevenueView, TransferView,
    UsageView,
};

use super::{Answer, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{NoBody, Paging, Params};

/// Totals of the ledger; the sum over all accounts is 0
#[utoipa::path(get, path = "/api/v1/ledger", tag = "ledger",
    responses((status = 200, description = "The totals", body = LedgerSummary)))]
pub(crate) async fn summary(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.ledger_summary(&caller.context())
    })
    .await?)
}

/// Statement of an account, newest first; one's own, or any as an operator
#[utoipa::path(get, path = "/api/v1/ledger/accounts/{id}/transfers", tag = "ledger",
    params(("id" = String, Path, description = "Account id"), Paging),
    responses((status = 200, description = "A page of transfers", body = Page<TransferView>)))]
pub(crate) async fn transfers(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.account_transfers(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// What one's completions used, by day and run, oldest first
#[utoipa::path(get, path = "/api/v1/usage", tag = "ledger",
    responses((status = 200, description = "The rows", body = Vec<UsageView>)))]
pub(crate) async fn usage(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.usage(&caller.context(), 0)
    })
    .await?)
}

/// What inference earned: the open period, and closed ones with who contributed what
#[utoipa::path(get, path = "/api/v1/treasury", tag = "ledger",
    responses((status = 200, description = "The revenue", body = RevenueView)))]
pub(crate) async fn treasury(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.revenue(&caller.context())
    })
    .await?)
}

/// Statement of a closed period, as CSV
#[utoipa::path(get, path = "/api/v1/treasury/statements/{version}", tag = "ledger",
    params(("version" = i64, Path, description = "Version of the period")),
    responses((status = 200, description = "The statement", body = String, content_type = "text/csv")))]
pub(crate) async fn statement(state: State, caller: Caller, version: web::Path<i64>) -> Answer {
    let version = version.into_inner();
    let csv = blocking(&state.service, move |service| {
        service.revenue_statement(&caller.context(), version)
    })
    .await?;
    let name = format!("attachment; filename=\"revenue-{version}.csv\"");
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .body(csv))
}

/// One's own shares of revenue, newest first
#[utoipa::path(get, path = "/api/v1/treasury/shares", tag = "ledger", params(Paging),
    responses((status = 200, description = "A page of shares", body = Page<RevenueShareView>)))]
pub(crate) async fn shares(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.revenue_shares(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Move one's share of revenue to one's balance
#[utoipa::path(post, path = "/api/v1/treasury/shares/{id}/claim", tag = "ledger",
    params(("id" = String, Path, description = "Share id")),
    responses((status = 200, description = "The share", body = RevenueShareView)))]
pub(crate) async fn claim(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.claim_revenue_share(&context, &id)
    })
    .await?)
}

/// Jobs of the service, newest first, for operators
#[utoipa::path(get, path = "/api/v1/jobs", tag = "operations",
    responses((status = 200, description = "The jobs", body = Vec<JobView>)))]
pub(crate) async fn jobs(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.jobs(&caller.context(), 100)
    })
    .await?)
}

/// Threads, queues, stuck jobs and slow reads of the service, for operators
#[utoipa::path(get, path = "/api/v1/operations", tag = "operations",
    responses((status = 200, description = "The service at work", body = OperationsView)))]
pub(crate) async fn operations(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.operations(&caller.context())
    })
    .await?)
}
