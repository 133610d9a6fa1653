//! The operator's page: threads, queues, stuck jobs, what was slow.

use std::time::Duration;

use plumbline_service::ServiceError;
use plumbline_service::time::rfc3339;
use plumbline_service::views::OperationsView;
use serde::Serialize;

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::templates::Page;
use crate::traffic::SlowRequest;

/// The operations page's context.
#[derive(Debug, Serialize)]
pub(crate) struct OperationsPage {
    /// What the service says of itself.
    pub(crate) operations: OperationsView,
    /// The latest slow requests, latest first.
    pub(crate) slow_requests: Vec<SlowRequestRow>,
}

/// A request that took long.
#[derive(Debug, Serialize)]
pub(crate) struct SlowRequestRow {
    /// Its name in the log.
    pub(crate) id: String,
    /// Its method and the pattern of its path.
    pub(crate) route: String,
    /// What was answered.
    pub(crate) status: u16,
    /// How long it took.
    pub(crate) took_ms: u64,
    /// When it ended, RFC 3339.
    pub(crate) at: String,
}

impl Page for OperationsPage {
    const TEMPLATE: &'static str = "operations.html";
}

/// `GET /operations`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    let slow_requests = state.traffic.slow().into_iter().map(row).collect();
    visit
        .page(&state, move |service, context| {
            Ok::<_, ServiceError>(OperationsPage {
                operations: service.operations(context)?,
                slow_requests,
            })
        })
        .await
}

fn row(request: SlowRequest) -> SlowRequestRow {
    let since = request.at.duration_since(std::time::UNIX_EPOCH);
    SlowRequestRow {
        id: request.id,
        route: request.route,
        status: request.status,
        took_ms: millis(request.took),
        at: rfc3339(since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
