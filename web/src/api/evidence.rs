//! Evidence: submitting it and reading what it did.

use actix_web::web;
use plumbline_service::commands::{ChallengeExhibit, CommitEvidence, SubmitEvidence};
use plumbline_service::views::{
    CommitmentView, EvidenceFeeView, EvidenceView, ExhibitChallengeView, Page,
};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params};

/// Evidence in a market, newest first
#[utoipa::path(get, path = "/api/v1/markets/{id}/evidence", tag = "evidence",
    params(("id" = String, Path, description = "Market id"), Paging),
    responses((status = 200, description = "A page of evidence", body = Page<EvidenceView>)))]
pub(crate) async fn list(
    state: State,
    caller: Caller,
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
    caller: Caller,
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
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.evidence(&caller.context(), &id)
    })
    .await?)
}

/// What the caller's next submission to a market costs
#[utoipa::path(get, path = "/api/v1/markets/{id}/evidence/fee", tag = "evidence",
    params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "Fee, bonds and the reveal window", body = EvidenceFeeView)))]
pub(crate) async fn fee(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.evidence_fee(&caller.context(), &id)
    })
    .await?)
}

/// Commit to evidence by its hash, and reveal it within the window: it then has the commitment's place in the order
#[utoipa::path(post, path = "/api/v1/markets/{id}/commitments", tag = "evidence", request_body = CommitEvidence,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The commitment", body = CommitmentView)))]
pub(crate) async fn commit(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<CommitEvidence>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.commit_evidence(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Commitments of a market that are not revealed yet, oldest first, at most 200
#[utoipa::path(get, path = "/api/v1/markets/{id}/commitments", tag = "evidence",
    params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The open commitments", body = Vec<CommitmentView>)))]
pub(crate) async fn commitments(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.open_commitments(&caller.context(), &id)
    })
    .await?)
}

/// Dispute that a submission is what it says, with a bond
#[utoipa::path(post, path = "/api/v1/evidence/{id}/challenges", tag = "evidence", request_body = ChallengeExhibit,
    params(("id" = String, Path, description = "Evidence id")),
    responses((status = 201, description = "The dispute; a replay or a panel decides it", body = ExhibitChallengeView)))]
pub(crate) async fn challenge(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<ChallengeExhibit>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.challenge_exhibit(&context, &id, &body.value)
        })
        .await?,
    )
}

/// The disputes about a submission, oldest first, at most four
#[utoipa::path(get, path = "/api/v1/evidence/{id}/challenges", tag = "evidence",
    params(("id" = String, Path, description = "Evidence id")),
    responses((status = 200, description = "The disputes", body = Vec<ExhibitChallengeView>)))]
pub(crate) async fn challenges(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.exhibit_challenges(&caller.context(), &id)
    })
    .await?)
}
