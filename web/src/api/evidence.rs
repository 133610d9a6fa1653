//! Evidence: submitting it and reading what it did.

use actix_web::web;
use plumbline_service::commands::SubmitEvidence;
use plumbline_service::views::{EvidenceView, Page};

use super::{Answer, created, ok};
use crate::auth::{Caller, Reader, State, Witness};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params};

/// Evidence in a market, newest first
#[utoipa::path(get, path = "/api/v1/markets/{id}/evidence", tag = "evidence",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of evidence", body = Page<EvidenceView>)))]
pub(crate) async fn list(
    state: State,
    caller: Caller<Reader>,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    let page = blocking(&state.service, move |service| {
        service.evidence_list(&caller.context(), &id, cursor.as_deref(), limit)
    });
    ok(&page.await?)
}

/// Submit evidence with a stake; judging follows at once, poll the evidence or its market's events
#[utoipa::path(post, path = "/api/v1/markets/{id}/evidence", tag = "evidence", request_body = SubmitEvidence,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The submission, `pending` until it is judged", body = EvidenceView)))]
pub(crate) async fn submit(
    state: State,
    caller: Caller<Witness>,
    id: web::Path<String>,
    body: Json<SubmitEvidence>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.submit_evidence(&context, &id, &body.value)
        })
        .await?,
    )
}

/// One submission with every judge's view and the replay verdict
#[utoipa::path(get, path = "/api/v1/evidence/{id}", tag = "evidence", params(("id" = String, Path, description = "Evidence id")),
    responses((status = 200, description = "The submission", body = EvidenceView)))]
pub(crate) async fn show(state: State, caller: Caller<Reader>, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.evidence(&caller.context(), &id)
    })
    .await?)
}
