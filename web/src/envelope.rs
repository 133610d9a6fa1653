//! What every answer carries, whoever made it: a request id, security headers,
//! and errors in the form that the path promises.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use tracing::Instrument;

use crate::etag;
use crate::gateway;
use crate::limit::{Client, Quota};
use crate::pages;
use crate::problem::Problem;
use crate::request_id;
use crate::state::AppState;

/// Header with the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Own scripts and styles only, nothing inline, no framing, no plugins.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The form that a path's errors take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Problem,
    OpenAi,
    Page,
}

fn form_of(path: &str) -> Form {
    if path.starts_with("/v1/") {
        return Form::OpenAi;
    }
    let machine = path.starts_with("/api/v1")
        || matches!(
            path,
            "/api/openapi.json" | "/healthz" | "/readyz" | "/metrics"
        );
    if machine { Form::Problem } else { Form::Page }
}

/// The outermost layer of the application.
pub(crate) async fn envelope(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let request_id = request_id::next().to_string();
    let started = Instant::now();
    // Of the level of errors, so that every line of the log names its request whatever level is logged.
    let span = tracing::error_span!("request", id = %request_id, method = %req.method(), path = req.path());
    let refused = too_fast(&req);
    let response = match refused {
        Some(problem) => {
            let answer = problem.error_response();
            let (request, _) = req.into_parts();
            respond(&request, problem, &request_id)
                .unwrap_or(answer)
                .map_into_boxed_body()
                .pipe(request)
        }
        None => {
            let response = next.call(req).instrument(span).await?.map_into_boxed_body();
            etag::conditional(shape_error(response, &request_id))
        }
    };
    count(&response, &request_id, started);
    Ok(finish(response, &request_id))
}

fn count(response: &ServiceResponse<BoxBody>, request_id: &str, started: Instant) {
    let request = response.request();
    if let Ok(state) = AppState::of(request) {
        let (method, status) = (request.method().as_str(), response.status().as_u16());
        let pattern = request.match_pattern();
        let took = started.elapsed();
        state
            .traffic
            .count(request_id, method, pattern, status, took);
    }
}

/// Puts a response back beside its request.
trait Pipe {
    fn pipe(self, request: HttpRequest) -> ServiceResponse<BoxBody>;
}

impl Pipe for HttpResponse<BoxBody> {
    fn pipe(self, request: HttpRequest) -> ServiceResponse<BoxBody> {
        ServiceResponse::new(request, self)
    }
}

/// The client's address: the peer's, because headers can be forged.
pub(crate) fn client_of(peer: Option<std::net::SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}

fn too_fast(req: &ServiceRequest) -> Option<Problem> {
    let state = req.app_data::<web::Data<AppState>>()?;
    // Health checks must not fail because a neighbour is busy.
    if matches!(req.path(), "/healthz" | "/readyz") {
        return None;
    }
    let client = Client::at(client_of(req.peer_addr()));
    match state.requests.take(client, Instant::now()) {
        Ok(Some(quota)) => {
            req.extensions_mut().insert(quota);
            None
        }
        Ok(None) => None,
        Err(wait) => Some(Problem::too_many("requests", wait)),
    }
}

/// Gives an error the form that its path promises; other answers pass unchanged.
fn shape_error(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let known = response
        .response()
        .error()
        .and_then(|error| error.as_error::<Problem>())
        .cloned();
    let bare = matches!(
        response.response().body().size(),
        BodySize::None | BodySize::Sized(0)
    );
    let problem = match known {
        Some(problem) => problem,
        // Somebody wrote a body on purpose: a page with a form that was refused.
        None if !bare && response.response().error().is_none() => return response,
        None => Problem::of_status(status),
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let (request, original) = response.into_parts();
    let mut shaped = respond(&request, problem, request_id).unwrap_or(original);
    if let Some(allow) = allow {
        shaped.headers_mut().insert(header::ALLOW, allow);
    }
    ServiceResponse::new(request, shaped)
}

/// The problem as the path's clients expect it; `None` when even that failed.
fn respond(request: &HttpRequest, mut problem: Problem, request_id: &str) -> Option<HttpResponse> {
    problem.instance = Some(request_id.to_owned());
    match form_of(request.path()) {
        Form::Problem => Some(problem.error_response()),
        Form::OpenAi => Some(gateway::error_response(&problem)),
        Form::Page => pages::error_response(request, &problem),
    }
}

fn finish(mut response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if status.is_server_error() {
        let path = response.request().path().to_owned();
        tracing::warn!(request_id, status = status.as_u16(), path, "request failed");
    }
    let quota = response.request().extensions().get::<Quota>().copied();
    let headers = response.headers_mut();
    if let Some(quota) = quota {
        tell(headers, quota);
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    harden(headers);
    response
}

/// What is left, as in the draft of `RateLimit` header fields: of the account where somebody is signed in, else
/// of the address.
fn tell(headers: &mut HeaderMap, quota: Quota) {
    let policy = format!("\"default\";q={};w={}", quota.burst, quota.window_s);
    let left = format!("\"default\";r={};t={}", quota.left, quota.full_in_s);
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn harden(headers: &mut HeaderMap) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    for (name, value) in fixed {
        // A file of a stranger comes with a stricter policy of its own.
        let stricter = name == header::CONTENT_SECURITY_POLICY && headers.contains_key(&name);
        if !stricter {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    // What one account may see must not be served to the next from a shared cache.
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_promise_a_form() {
        for (path, form) in [
            ("/api/v1/runs", Form::Problem),
            ("/api/v1", Form::Problem),
            ("/healthz", Form::Problem),
            ("/v1/completions", Form::OpenAi),
            ("/", Form::Page),
            ("/api/docs", Form::Page),
            ("/markets/x", Form::Page),
        ] {
            assert_eq!(form_of(path), form, "{path}");
        }
    }

    #[test]
    fn nothing_inline_and_nothing_foreign_is_allowed() {
        assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
        assert!(CONTENT_SECURITY_POLICY.contains("frame-ancestors 'none'"));
        assert!(!CONTENT_SECURITY_POLICY.contains("http"));
    }
}
