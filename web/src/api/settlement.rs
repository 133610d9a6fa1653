//! How markets end: the record, proposals, challenges, calling a market off.

use actix_web::web;
use plumbline_service::commands::{ChallengeSettlement, ProposeSettlement, VoidMarket};
use plumbline_service::views::{InclusionView, SettlementRecord};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::Json;

/// The whole record of how a market ends: terms, draws with what it takes to recompute them, proposals, challenges, juries
#[utoipa::path(get, path = "/api/v1/markets/{id}/settlement", tag = "markets", params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The record", body = SettlementRecord)))]
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.case(&caller.context(), &id)
    })
    .await?)
}

/// Propose the settlement of a `panel` market after its freeze, with a bond; not for those with a part in it
#[utoipa::path(post, path = "/api/v1/markets/{id}/settlement", tag = "markets", request_body = ProposeSettlement,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The record with the proposal", body = SettlementRecord)))]
pub(crate) async fn propose(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<ProposeSettlement>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.propose_settlement(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Challenge the settlement that stands, with a doubled bond, inside its window
#[utoipa::path(post, path = "/api/v1/markets/{id}/challenges", tag = "markets", request_body = ChallengeSettlement,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 201, description = "The record with the challenge", body = SettlementRecord)))]
pub(crate) async fn challenge(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<ChallengeSettlement>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.challenge_settlement(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Call a market off before it is final; everybody gets back what they put in
#[utoipa::path(post, path = "/api/v1/markets/{id}/void", tag = "markets", request_body = VoidMarket,
    params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "The record", body = SettlementRecord)))]
pub(crate) async fn void(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<VoidMarket>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.void(&context, &id, &body.value)
    })
    .await?)
}

/// Shows that a submission is under its market's exhibits root
#[utoipa::path(get, path = "/api/v1/evidence/{id}/inclusion", tag = "evidence", params(("id" = String, Path, description = "Evidence id")),
    responses((status = 200, description = "The Merkle path", body = InclusionView)))]
pub(crate) async fn inclusion(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.inclusion(&caller.context(), &id)
    })
    .await?)
}
