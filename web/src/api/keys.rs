//! Keys that verify decisions, and the signatures of guardians.

use actix_web::web;
use plumbline_service::commands::{AddSignature, RegisterKey};
use plumbline_service::views::{DecisionView, KeyView};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody};

/// Keys that verify decisions, each with the time in which it may sign and who vouches for it
#[utoipa::path(get, path = "/api/v1/keys", tag = "allocations",
    responses((status = 200, description = "The keys with their validity", body = Vec<KeyView>)))]
pub(crate) async fn list(state: State, _caller: Caller) -> Answer {
    ok(&blocking(&state.service, |service| service.keys()).await?)
}

/// Register a key of your own, as a guardian
#[utoipa::path(post, path = "/api/v1/keys", tag = "allocations", request_body = RegisterKey,
    responses((status = 201, description = "The key", body = KeyView)))]
pub(crate) async fn register(state: State, caller: Caller, body: Json<RegisterKey>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.register_key(&context, &body.value)
        })
        .await?,
    )
}

/// Retire a guardian's key at once: your own, or any as an operator
#[utoipa::path(delete, path = "/api/v1/keys/{key_id}", tag = "allocations",
    params(("key_id" = String, Path, description = "Key id")),
    responses((status = 200, description = "The key with its end", body = KeyView)))]
pub(crate) async fn retire(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.retire_key(&context, &id)
    })
    .await?)
}

/// Vouch for a key with your own, as a guardian
#[utoipa::path(post, path = "/api/v1/keys/{key_id}/signatures", tag = "allocations", request_body = AddSignature,
    params(("key_id" = String, Path, description = "Key id")),
    responses((status = 201, description = "The key", body = KeyView)))]
pub(crate) async fn vouch(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<AddSignature>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.vouch_for_key(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Sign a decision beside the service, as a guardian
#[utoipa::path(post, path = "/api/v1/allocations/{decision_id}/signatures", tag = "allocations", request_body = AddSignature,
    params(("decision_id" = String, Path, description = "Decision id")),
    responses((status = 201, description = "The decision with its signatures", body = DecisionView)))]
pub(crate) async fn cosign(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<AddSignature>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.cosign(&context, &id, &body.value)
        })
        .await?,
    )
}
