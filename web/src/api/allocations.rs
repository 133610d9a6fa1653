//! The decision contract with schedulers, and the policy behind it.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use plumbline_service::commands::Acknowledge;
use plumbline_service::context::Context;
use plumbline_service::views::{
    AckView, AllocationsView, DecisionView, EnforcementView, Page, PolicyView,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, ok};
use crate::auth::{Caller, Reader, Scheduler, State};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params};
use crate::problem::{Problem, ProblemDocument};
use crate::state::AppState;

/// Longest wait of a long poll, seconds.
const MAX_WAIT_S: f64 = 60.0;

/// From which version, and how long to wait for a newer one.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// Answer only with a version above this one.
    since: Option<i64>,
    /// Wait up to this many seconds for it, 0 to 60.
    wait: Option<f64>,
}

/// The full desired state of every target; with `since` and `wait` a long poll that answers 304 when nothing changed,
/// and 410 when `since` is ahead of the server, which means: list again
#[utoipa::path(get, path = "/api/v1/allocations", tag = "allocations", params(Since),
    responses((status = 200, description = "Newest decision of each target", body = AllocationsView),
        (status = 304, description = "Nothing newer than `since` or If-None-Match"),
        (status = 410, description = "`since` is ahead of the server: list everything again", body = ProblemDocument)))]
pub(crate) async fn list(
    req: HttpRequest,
    state: State,
    caller: Caller<Reader>,
    query: Params<Since>,
) -> Answer {
    let since = query.0.since.or_else(|| if_none_match(&req));
    let wait = wait_of(query.0.wait)?;
    let view = wait_newer(&state, &caller.context(), since, wait).await?;
    match (since, view) {
        (Some(since), Some(view)) if view.version < since => Err(Problem::new(
            StatusCode::GONE,
            "relist",
            format!(
                "the newest version here is {}; list again without since",
                view.version
            ),
        )),
        (_, Some(view)) => Ok(HttpResponse::Ok()
            .insert_header((header::ETAG, etag(view.version)))
            .json(view)),
        (since, None) => {
            let tag = etag(since.unwrap_or_default());
            Ok(HttpResponse::NotModified()
                .insert_header((header::ETAG, tag))
                .finish())
        }
    }
}

fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

fn if_none_match(req: &HttpRequest) -> Option<i64> {
    let value = req.headers().get(header::IF_NONE_MATCH)?.to_str().ok()?;
    value
        .trim_start_matches("W/")
        .trim_matches('"')
        .parse()
        .ok()
}

fn wait_of(seconds: Option<f64>) -> Result<Duration, Problem> {
    match seconds {
        None => Ok(Duration::ZERO),
        Some(wait) if (0.0..=MAX_WAIT_S).contains(&wait) => Ok(Duration::from_secs_f64(wait)),
        Some(_) => Err(Problem::bad_request(
            "invalid-parameter",
            format!("wait must be 0 to {MAX_WAIT_S} seconds"),
        )),
    }
}

/// The allocations once their version differs from `since`; `None` after `wait`. Holds no thread while waiting.
async fn wait_newer(
    state: &AppState,
    context: &Context,
    since: Option<i64>,
    wait: Duration,
) -> Result<Option<AllocationsView>, Problem> {
    let deadline = tokio::time::Instant::now() + wait;
    let (mut versions, mut stopping) = (state.allocations.clone(), state.stopping.clone());
    loop {
        versions.borrow_and_update();
        let context = context.clone();
        let view = blocking(&state.service, move |service| service.allocations(&context)).await?;
        if since != Some(view.version) {
            return Ok(Some(view));
        }
        tokio::select! {
            changed = versions.changed() => if changed.is_err() { return Ok(None) },
            _ = stopping.changed() => return Ok(None),
            () = tokio::time::sleep_until(deadline) => return Ok(None),
        }
    }
}

/// One signed decision with its acknowledgements
#[utoipa::path(get, path = "/api/v1/allocations/{decision_id}", tag = "allocations",
    params(("decision_id" = String, Path, description = "Decision id")),
    responses((status = 200, description = "The decision", body = DecisionView)))]
pub(crate) async fn show(state: State, caller: Caller<Reader>, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.decision(&caller.context(), &id)
    })
    .await?)
}

/// Every decision, newest first
#[utoipa::path(get, path = "/api/v1/decisions", tag = "allocations", params(Paging),
    responses((status = 200, description = "A page of decisions", body = Page<DecisionView>)))]
pub(crate) async fn history(
    state: State,
    caller: Caller<Reader>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.decisions(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Acknowledge a decision, phase by phase
#[utoipa::path(post, path = "/api/v1/acks", tag = "allocations", request_body = Acknowledge,
    responses((status = 201, description = "The acknowledgement", body = AckView)))]
pub(crate) async fn acknowledge(
    state: State,
    caller: Caller<Scheduler>,
    body: Json<Acknowledge>,
) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.acknowledge(&context, &body.value)
        })
        .await?,
    )
}

/// Whether decisions are obeyed: who is silent, who holds more than decided, how much could be stopped
#[utoipa::path(get, path = "/api/v1/enforcement", tag = "allocations",
    responses((status = 200, description = "Every target, and the figures of all", body = EnforcementView)))]
pub(crate) async fn enforcement(state: State, caller: Caller<Reader>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.enforcement(&caller.context())
    })
    .await?)
}

/// The policy in force
#[utoipa::path(get, path = "/api/v1/policy", tag = "policy",
    responses((status = 200, description = "The policy", body = PolicyView)))]
pub(crate) async fn policy(state: State, caller: Caller<Reader>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.policy(&caller.context())
    })
    .await?)
}

/// Every version of the policy, newest first
#[utoipa::path(get, path = "/api/v1/policy/versions", tag = "policy", params(Paging),
    responses((status = 200, description = "A page of versions", body = Page<PolicyView>)))]
pub(crate) async fn policy_versions(
    state: State,
    caller: Caller<Reader>,
    paging: Params<Paging>,
) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.policy_versions(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn waits_are_bounded() {
        assert_eq!(wait_of(None).unwrap(), Duration::ZERO);
        assert_eq!(wait_of(Some(2.5)).unwrap(), Duration::from_millis(2500));
        for bad in [-1.0, 61.0, f64::NAN, f64::INFINITY] {
            assert_eq!(wait_of(Some(bad)).unwrap_err().code, "invalid-parameter");
        }
    }

    #[test]
    fn an_entity_tag_is_a_version() {
        for (value, version) in [
            ("\"12\"", Some(12)),
            ("W/\"12\"", Some(12)),
            ("\"x\"", None),
            ("*", None),
        ] {
            let req = TestRequest::get()
                .insert_header((header::IF_NONE_MATCH, value))
                .to_http_request();
            assert_eq!(if_none_match(&req), version);
        }
    }
}
