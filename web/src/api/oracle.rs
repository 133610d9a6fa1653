//! The ensemble of judges, what it learnt, and how good it was.

use actix_web::web;
use plumbline_service::commands::RegisterOracleVersion;
use plumbline_service::views::{
    JudgeView, OracleCalibrationView, OracleCaseView, OracleVersionView, OracleView, Page,
};

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, NoBody, Paging, Params};

/// The ensemble: judges, weights, shared error, effective number, versions
#[utoipa::path(get, path = "/api/v1/oracle", tag = "oracle",
    responses((status = 200, description = "The ensemble", body = OracleView)))]
pub(crate) async fn show(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.oracle(&caller.context())
    })
    .await?)
}

/// The judges alone, with what they answered lately: status, cost, latencies, failures
#[utoipa::path(get, path = "/api/v1/oracle/judges", tag = "oracle",
    responses((status = 200, description = "The judges", body = Vec<JudgeView>)))]
pub(crate) async fn judges(state: State, caller: Caller) -> Answer {
    let oracle = blocking(&state.service, move |service| {
        service.oracle(&caller.context())
    })
    .await?;
    ok(&oracle.judges)
}

/// How good judges, pool and prices were on settled cases
#[utoipa::path(get, path = "/api/v1/oracle/calibration", tag = "oracle",
    responses((status = 200, description = "Reliability, comparisons, learning curves, probe gap", body = OracleCalibrationView)))]
pub(crate) async fn calibration(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.oracle_calibration(&caller.context())
    })
    .await?)
}

/// Settled cases in the order of their chain
#[utoipa::path(get, path = "/api/v1/oracle/cases", tag = "oracle", params(Paging),
    responses((status = 200, description = "Settled cases", body = Page<OracleCaseView>)))]
pub(crate) async fn cases(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.oracle_cases(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Versions of the oracle, the latest first
#[utoipa::path(get, path = "/api/v1/oracle/versions", tag = "oracle", params(Paging),
    responses((status = 200, description = "Versions", body = Page<OracleVersionView>)))]
pub(crate) async fn versions(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.oracle_versions(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// One version of the oracle
#[utoipa::path(get, path = "/api/v1/oracle/versions/{id}", tag = "oracle",
    params(("id" = String, Path, description = "Version id")),
    responses((status = 200, description = "The version", body = OracleVersionView)))]
pub(crate) async fn version(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.oracle_version(&caller.context(), &id)
    })
    .await?)
}

/// Register weights for a judge as a candidate, with their held-out report; operator only
///
/// It judges nothing until it is adopted. Registering the same again changes nothing.
#[utoipa::path(post, path = "/api/v1/oracle/versions", tag = "oracle", request_body = RegisterOracleVersion,
    responses((status = 201, description = "The candidate", body = OracleVersionView)))]
pub(crate) async fn register(
    state: State,
    caller: Caller,
    body: Json<RegisterOracleVersion>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.register_oracle_version(&context, &body.value)
        })
        .await?,
    )
}

/// Put a version in force: submissions judged from now on are judged by it; operator only
///
/// Prices of open markets stay as they are. Doing it again changes nothing.
#[utoipa::path(post, path = "/api/v1/oracle/versions/{id}/adopt", tag = "oracle",
    params(("id" = String, Path, description = "Version id")),
    responses((status = 200, description = "The version in force", body = OracleVersionView)))]
pub(crate) async fn adopt(
    state: State,
    caller: Caller,
    id: web::Path<String>,
    body: NoBody,
) -> Answer {
    let context = caller.writing(body.idempotency);
    ok(&blocking(&state.service, move |service| {
        service.adopt_oracle_version(&context, &id)
    })
    .await?)
}
