//! The ensemble of judges.

use plumbline_service::views::{JudgeView, OracleView};

use super::{Answer, ok};
use crate::auth::{Caller, Reader, State};
use crate::blocking::blocking;

/// The ensemble: judges, weights, shared error, effective number
#[utoipa::path(get, path = "/api/v1/oracle", tag = "oracle",
    responses((status = 200, description = "The ensemble", body = OracleView)))]
pub(crate) async fn show(state: State, caller: Caller<Reader>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.oracle(&caller.context())
    })
    .await?)
}

/// The judges alone
#[utoipa::path(get, path = "/api/v1/oracle/judges", tag = "oracle",
    responses((status = 200, description = "The judges", body = Vec<JudgeView>)))]
pub(crate) async fn judges(state: State, caller: Caller<Reader>) -> Answer {
    let oracle = blocking(&state.service, move |service| {
        service.oracle(&caller.context())
    })
    .await?;
    ok(&oracle.judges)
}
