//! Runs and their checkpoints.

use actix_web::web;
use plumbline_service::commands::{RegisterCheckpoint, RegisterRun};
use plumbline_service::views::{CheckpointView, Page, RunView};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params};

/// Governed runs with their risk, allocation and training figures
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(Paging),
    responses((status = 200, description = "A page of runs", body = Page<RunView>)))]
pub(crate) async fn list(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.runs(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Register a run of an outside scheduler
#[utoipa::path(post, path = "/api/v1/runs", tag = "runs", request_body = RegisterRun,
    responses((status = 201, description = "The run", body = RunView)))]
pub(crate) async fn register(state: State, caller: Caller, body: Json<RegisterRun>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.register_run(&context, &body.value)
        })
        .await?,
    )
}

/// One run, by id or by name
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The run", body = RunView)))]
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.run(&caller.context(), &id)
    })
    .await?)
}

/// Checkpoints of a run, newest first
#[utoipa::path(get, path = "/api/v1/runs/{id}/checkpoints", tag = "runs", params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The checkpoints", body = Vec<CheckpointView>)))]
pub(crate) async fn checkpoints(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.checkpoints(&caller.context(), &id)
    })
    .await?)
}

/// Register a checkpoint's hash
#[utoipa::path(post, path = "/api/v1/runs/{id}/checkpoints", tag = "runs", request_body = RegisterCheckpoint,
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 201, description = "The checkpoint", body = CheckpointView)))]
pub(crate) async fn register_checkpoint(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<RegisterCheckpoint>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.register_checkpoint(&context, &id, &body.value)
        })
        .await?,
    )
}
