//! Live figures of training runs that are hosted here.

use actix_web::web;
use plumbline_service::views::{BanView, ContributionView, NodeView, RoundView, TrainingView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Params, limit};

/// Which rounds.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// Only rounds after this number.
    after: Option<u64>,
    /// Rows, 1 to 200; 50 unless given.
    limit: Option<usize>,
}

/// Progress: loss, throughput, bytes, members, share in force
#[utoipa::path(get, path = "/api/v1/training/runs/{id}", tag = "training", params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The run's progress", body = TrainingView)))]
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.training(&caller.context(), &id)
    })
    .await?)
}

/// Outer rounds, oldest first
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/rounds", tag = "training",
    params(("id" = String, Path, description = "Run id or name"), After),
    responses((status = 200, description = "The rounds", body = Vec<RoundView>)))]
pub(crate) async fn rounds(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    query: Params<After>,
) -> Answer {
    let (after, limit) = (query.0.after.unwrap_or(0), limit(query.0.limit)?);
    ok(&blocking(&state.service, move |service| {
        service.rounds(&caller.context(), &id, after, limit)
    })
    .await?)
}

/// Members of a run
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/nodes", tag = "training", params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The nodes", body = Vec<NodeView>)))]
pub(crate) async fn nodes(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.nodes(&caller.context(), &id)
    })
    .await?)
}

/// Verified work per node
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/contributions", tag = "training",
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The contributions", body = Vec<ContributionView>)))]
pub(crate) async fn contributions(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.contributions(&caller.context(), &id)
    })
    .await?)
}

/// Nodes removed from a run for good, with the evidence, oldest first
#[utoipa::path(get, path = "/api/v1/training/runs/{id}/bans", tag = "training",
    params(("id" = String, Path, description = "Run id or name")),
    responses((status = 200, description = "The bans", body = Vec<BanView>)))]
pub(crate) async fn bans(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.bans(&caller.context(), &id)
    })
    .await?)
}
