//! Runs that this service trains: started, stopped, joined by nodes elsewhere, and the stakes of those.

use actix_web::web;
use plumbline_service::commands::{BondNode, StartRun};
use plumbline_service::views::{NodeStakeView, Page, RunView, SwarmView, TicketView};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Paging, Params};

/// Start a run that the service trains; it trains once a decision says how much it may use
#[utoipa::path(post, path = "/api/v1/training/runs", tag = "training", request_body = StartRun,
    responses((status = 201, description = "The run", body = RunView)))]
pub(crate) async fn start(state: State, caller: Caller, body: Json<StartRun>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.start_training(&context, &body.value)
        })
        .await?,
    )
}

/// End the training of a run; its last closed round is kept
#[utoipa::path(post, path = "/api/v1/training/runs/{id}/stop", tag = "training",
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The run", body = RunView)))]
pub(crate) async fn stop(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.stop_training(&context, &id)
    })
    .await?)
}

/// Go on with a run that was stopped
#[utoipa::path(post, path = "/api/v1/training/runs/{id}/resume", tag = "training",
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The run", body = RunView)))]
pub(crate) async fn resume(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.resume_training(&context, &id)
    })
    .await?)
}

/// What a node elsewhere needs to join; a secret
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/ticket", tag = "training",
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The ticket", body = TicketView)))]
pub(crate) async fn ticket(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.ticket(&caller.context(), &id)
    })
    .await?)
}

/// How the nodes of a run work together: who came and went, links, deadline, audits
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/swarm", tag = "training",
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The swarm", body = SwarmView)))]
pub(crate) async fn swarm(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.swarm(&caller.context(), &id)
    })
    .await?)
}

/// Stakes of nodes in a run, oldest first
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/stakes", tag = "training",
    params(("id" = String, Path, description = "Run id or name"), Paging),
    responses((status = 200, description = "A page of stakes", body = Page<NodeStakeView>)))]
pub(crate) async fn stakes(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.node_stakes(&caller.context(), &id, cursor.as_deref(), limit)
    })
    .await?)
}

/// Lock a stake that answers for a node, so that it is let in
#[utoipa::path(post, path = "/api/v1/training/runs/{id}/stakes", tag = "training", request_body = BondNode,
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 201, description = "The stake", body = NodeStakeView)))]
pub(crate) async fn bond(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: Json<BondNode>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.bond_node(&context, &id, &body.value)
        })
        .await?,
    )
}

/// Send one's node away and have the stake back once its work can be proven wrong no more
#[utoipa::path(delete, path = "/api/v1/training/runs/{id}/stakes/{stake}", tag = "training",
    params(("id" = String, Path, description = "Run id or name"), ("stake" = String, Path, description = "Stake id")),
    responses((status = 200, description = "The stake", body = NodeStakeView)))]
pub(crate) async fn release(
    state: State,
    caller: Caller,
    path: web::Path<(String, String)>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.release_node(&context, &path.0, &path.1)
    })
    .await?)
}
