//! Events, liveness, readiness, metrics.

use actix_web::{HttpRequest, HttpResponse};
use plumbline_service::exposition::Exposition;
use plumbline_service::views::EventView;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Answer;
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::Params;
use crate::problem::Problem;
use crate::stream;

/// Most topics of one stream.
const MAX_TOPICS: usize = 32;
/// Longest topic, bytes.
const MAX_TOPIC: usize = 128;

/// What to follow.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Topics {
    /// Comma-separated: `market:ID`, `run:ID`, `training:RUN`, `allocations`, or `market:*` for all of a kind.
    topics: String,
    /// Start after this event; the `Last-Event-ID` header wins. Without either, only what happens from now on.
    after: Option<i64>,
}

/// Server-sent events from the outbox, in order, resumable with `Last-Event-ID`
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(Topics, ("Last-Event-ID" = Option<i64>, Header, description = "Resume after this event")),
    responses((status = 200, description = "A stream whose `data` lines are events", body = EventView, content_type = "text/event-stream")))]
pub(crate) async fn events(
    req: HttpRequest,
    state: State,
    caller: Caller,
    query: Params<Topics>,
) -> Answer {
    let topics = read_topics(&query.0.topics)?;
    let resumed = match req.headers().get("last-event-id") {
        None => query.0.after,
        Some(value) => Some(read_event_id(value.to_str().unwrap_or_default())?),
    };
    let after = match resumed {
        Some(after) => after,
        None => blocking(&state.service, |service| service.last_event_id()).await?,
    };
    stream::open(&state, caller.context(), topics, after)
}

fn read_event_id(text: &str) -> Result<i64, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("invalid-parameter", "Last-Event-ID is not a number"))
}

fn read_topics(list: &str) -> Result<Vec<String>, Problem> {
    let topics: Vec<String> = list
        .split(',')
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .map(str::to_owned)
        .collect();
    let bounded = (1..=MAX_TOPICS).contains(&topics.len())
        && topics.iter().all(|topic| topic.len() <= MAX_TOPIC);
    if bounded {
        return Ok(topics);
    }
    let detail = format!(
        "topics must be 1 to {MAX_TOPICS} names separated by commas, each at most {MAX_TOPIC} bytes"
    );
    Err(Problem::bad_request("invalid-parameter", detail))
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "Alive", body = String)))]
pub(crate) async fn alive(_caller: Caller) -> Answer {
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok\n"))
}

/// Whether the service can do its work: store, jobs, keys
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, description = "Ready", body = String)))]
pub(crate) async fn ready(state: State, _caller: Caller) -> Answer {
    match blocking(&state.service, |service| service.ready()).await {
        Ok(()) => Ok(HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body("ready\n")),
        Err(problem) => Err(Problem {
            status: 503,
            ..problem
        }),
    }
}

/// Figures in the Prometheus text format
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, description = "Prometheus text", body = String)))]
pub(crate) async fn metrics(state: State, _caller: Caller) -> Answer {
    let mut text = blocking(&state.service, |service| service.metrics()).await?;
    let streams = state
        .config
        .max_streams
        .saturating_sub(state.streams.available_permits());
    let mut own = Exposition::default();
    let help = "Open event streams.";
    own.single("plumbline_event_streams", "gauge", help, streams as f64);
    state.traffic.write(&mut own);
    text.push_str(&own.finish());
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn topics_are_bounded() {
        assert_eq!(
            read_topics("allocations, market:*").unwrap(),
            ["allocations", "market:*"]
        );
        for bad in ["", " , ", &"x,".repeat(33), &"x".repeat(129)] {
            assert_eq!(read_topics(bad).unwrap_err().code, "invalid-parameter");
        }
        assert!(read_event_id("12").is_ok() && read_event_id("x").is_err());
    }
}
