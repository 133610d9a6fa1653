//! The decision contract with schedulers, and the policy behind it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use plumbline_service::commands::{Acknowledge, ReportEnforcement};
use plumbline_service::context::Context;
use plumbline_service::views::{
    AckView, AllocationsView, DecisionView, EnforcementView, Page, PolicyView, ReportTaken,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, created, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Json, Paging, Params};
use crate::news::{News, TargetFilter, uid_of};
use crate::problem::Problem;
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
    /// Answer with the targets that changed after `since` only, where the service still knows them; with all of them
    /// otherwise.
    changes: Option<bool>,
    /// Only these targets: up to 64 ids of runs or pools with commas between them. A poll then waits for a decision on
    /// one of them.
    #[param(
        pattern = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(,[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}){0,63}$"
    )]
    targets: Option<String>,
}

/// The full desired state of every target; with `since` and `wait` a long poll that answers 304 when nothing changed,
/// and 410 when `since` is ahead of the server, which means: list again
#[utoipa::path(get, path = "/api/v1/allocations", tag = "allocations", params(Since),
    responses((status = 200, description = "Newest decision of each target", body = AllocationsView),
        (status = 304, description = "Nothing newer than `since` or If-None-Match")))]
pub(crate) async fn list(
    req: HttpRequest,
    state: State,
    caller: Caller,
    query: Params<Since>,
) -> Answer {
    let since = query.0.since.or_else(|| if_none_match(&req));
    let (wait, of) = (wait_of(query.0.wait)?, filter(query.0.targets.as_deref())?);
    let context = caller.context();
    state.service.may_read(&context)?;
    if let Some(since) = since {
        let newest = wait_newer(&state, &context, since, wait, &of).await?;
        if newest < since {
            return Err(Problem::new(
                StatusCode::GONE,
                "relist",
                format!("the newest version here is {newest}; list again without since"),
            ));
        }
        let news = state.allocations.borrow().clone();
        if newest == since || (news.version >= newest && !news.has_after(since, &of)) {
            return Ok(HttpResponse::NotModified()
                .insert_header((header::ETAG, etag(since)))
                .finish());
        }
        if query.0.changes == Some(true)
            && news.version >= newest
            && let Some(body) = news.answer(since, &of)
        {
            return Ok(listed(news.version, body));
        }
    }
    if !of.is_everything() {
        let (version, body) = list_of(&state, context, of).await?;
        return Ok(listed(version, body));
    }
    let epoch = state.service.epoch();
    let (version, body) = state.listing.at(epoch, whole_list(&state, context)).await?;
    Ok(listed(version, body))
}

/// Everything in force, as JSON.
async fn whole_list(state: &AppState, context: Context) -> Result<(i64, Bytes), Problem> {
    list_of(state, context, TargetFilter::default()).await
}

/// What is in force on some targets, as JSON.
async fn list_of(
    state: &AppState,
    context: Context,
    of: TargetFilter,
) -> Result<(i64, Bytes), Problem> {
    let mut view = blocking(&state.service, move |service| service.allocations(&context)).await?;
    view.items.retain(|item| of.includes(uid_of(item)));
    let body = serde_json::to_vec(&view).map_err(Problem::internal)?;
    Ok((view.version, body.into()))
}

fn filter(targets: Option<&str>) -> Result<TargetFilter, Problem> {
    let parsed = targets.map_or_else(|| Ok(TargetFilter::default()), TargetFilter::parse);
    parsed.map_err(|what| Problem::bad_request("invalid-parameter", what))
}

fn listed(version: i64, body: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::ETAG, etag(version)))
        .body(body)
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

/// The newest version once there is a decision after `since` on one of the targets, or `since` after `wait`. Holds no
/// thread while waiting.
async fn wait_newer(
    state: &AppState,
    context: &Context,
    since: i64,
    wait: Duration,
    of: &TargetFilter,
) -> Result<i64, Problem> {
    let deadline = tokio::time::Instant::now() + wait;
    let (news, mut stopping) = (state.allocations.clone(), state.stopping.clone());
    let waiter = state.concerned.wait_for(&of.topics());
    // What was committed before this request must not be missed, whoever has heard of it yet.
    let mut version = if state.followed.load(Ordering::Acquire) == state.service.epoch() {
        news.borrow().version
    } else {
        let context = context.clone();
        blocking(&state.service, move |service| {
            service.allocations_version(&context)
        })
        .await?
    };
    while version >= since && !is_newer(&news.borrow(), version, since, of) {
        tokio::select! {
            () = waiter.woken() => {}
            _ = stopping.changed() => return Ok(since),
            () = tokio::time::sleep_until(deadline) => return Ok(since),
        }
        version = news.borrow().version.max(version);
    }
    Ok(version)
}

/// Whether `version`, the newest, has something on the targets after `since`.
fn is_newer(news: &News, version: i64, since: i64, of: &TargetFilter) -> bool {
    // What is committed and not heard of here yet may concern anybody.
    version > since && (news.version < version || news.has_after(since, of))
}

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// Begin after this version; what is new from now on by default. `Last-Event-ID` does the same.
    since: Option<i64>,
    /// Only these targets: up to 64 ids of runs or pools with commas between them.
    #[param(
        pattern = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(,[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}){0,63}$"
    )]
    targets: Option<String>,
}

/// Server-sent events with the signed decisions themselves, as they are made: `data` is an item of the list, `id` its
/// version. An event `relist` says that what is between is not known here any more: list in full
#[utoipa::path(get, path = "/api/v1/allocations/stream", tag = "allocations", params(From),
    responses((status = 200, description = "A stream whose `data` lines are decisions", body = DecisionView, content_type = "text/event-stream")))]
pub(crate) async fn stream(
    req: HttpRequest,
    state: State,
    caller: Caller,
    query: Params<From>,
) -> Answer {
    state.service.may_read(&caller.context())?;
    let last = req.headers().get("last-event-id");
    let last = last.and_then(|value| value.to_str().ok()?.parse().ok());
    let of = filter(query.0.targets.as_deref())?;
    crate::stream::decisions(&state, last.or(query.0.since), of)
}

/// One signed decision with its acknowledgements
#[utoipa::path(get, path = "/api/v1/allocations/{decision_id}", tag = "allocations",
    params(("decision_id" = String, Path, description = "Decision id")),
    responses((status = 200, description = "The decision", body = DecisionView)))]
pub(crate) async fn show(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.decision(&caller.context(), &id)
    })
    .await?)
}

/// Every decision, newest first
#[utoipa::path(get, path = "/api/v1/decisions", tag = "allocations", params(Paging),
    responses((status = 200, description = "A page of decisions", body = Page<DecisionView>)))]
pub(crate) async fn history(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.decisions(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Acknowledge a decision, phase by phase
#[utoipa::path(post, path = "/api/v1/acks", tag = "allocations", request_body = Acknowledge,
    responses((status = 201, description = "The acknowledgement", body = AckView)))]
pub(crate) async fn acknowledge(state: State, caller: Caller, body: Json<Acknowledge>) -> Answer {
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
pub(crate) async fn enforcement(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.enforcement(&caller.context())
    })
    .await?)
}

/// Report what is held, time and again: each report takes the place of the one before it from the same scheduler
#[utoipa::path(post, path = "/api/v1/enforcement", tag = "allocations", request_body = ReportEnforcement,
    responses((status = 201, description = "The report was taken", body = ReportTaken)))]
pub(crate) async fn report(state: State, caller: Caller, body: Json<ReportEnforcement>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.report_enforcement(&context, &body.value)
        })
        .await?,
    )
}

/// The policy in force
#[utoipa::path(get, path = "/api/v1/policy", tag = "policy",
    responses((status = 200, description = "The policy", body = PolicyView)))]
pub(crate) async fn policy(state: State, caller: Caller) -> Answer {
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
    caller: Caller,
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
