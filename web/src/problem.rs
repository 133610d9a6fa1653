//! The one error type of handlers, and its RFC 9457 form.
//!
//! A handler returns [`Problem`] whatever it serves; [`crate::envelope`]
//! turns it into a page or an OpenAI error where the path asks for one.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use plumbline_service::ServiceError;
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of RFC 9457 problem documents.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused. Small, because every handler may return one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// Stable, machine-readable code.
    pub(crate) code: String,
    /// What is wrong and what to do about it.
    pub(crate) detail: String,
    /// The request's id, once the answer is shaped.
    pub(crate) instance: Option<String>,
    /// Decision that limits the run, for `run-throttled` and `run-paused`.
    pub(crate) decision_id: Option<String>,
    /// Seconds to wait.
    pub(crate) retry_after_s: Option<u32>,
}

/// An error as clients see it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// Where the code is explained.
    #[serde(rename = "type")]
    kind: String,
    /// Short name of the HTTP status.
    title: String,
    /// HTTP status.
    status: u16,
    /// Stable, machine-readable code.
    code: String,
    /// What is wrong and what to do about it.
    detail: String,
    /// The request's id, as in the `X-Request-Id` header and the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Decision that limits the run, for `run-throttled` and `run-paused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
    /// Seconds to wait, as in the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of that status and code.
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            instance: None,
            decision_id: None,
            retry_after_s: None,
        }
    }

    /// 400 with that code.
    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 429: the client is over a rate limit.
    pub(crate) fn too_many(what: &str, retry_after_s: u32) -> Self {
        let detail = format!("too many {what}; try again in {retry_after_s} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail).retry_after(retry_after_s)
    }

    /// 503: a bounded resource of the server is used up.
    pub(crate) fn overloaded(what: &str) -> Self {
        let detail = format!("too many {what} at once; try again in 2 s");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(2)
    }

    /// 500 whose cause goes to the log and not to the client.
    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something broke on our side; it has been logged with this request's id",
        )
    }

    /// What a bare status means, for answers that the router itself gave.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not-found", "nothing is at this address"),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method-not-allowed",
                "this address does not answer that method",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => (
                "body-too-large",
                "the request body is larger than this server takes",
            ),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("unsupported-media-type", "send application/json")
            }
            StatusCode::URI_TOO_LONG => ("uri-too-long", "the address is too long"),
            status if status.is_server_error() => ("internal", "something broke on our side"),
            _ => ("bad-request", "the request could not be read"),
        };
        Self::new(status, code, detail)
    }

    /// The problem as it is sent.
    pub(crate) fn document(&self) -> ProblemDocument {
        let title = self.http_status().canonical_reason().unwrap_or("Error");
        ProblemDocument {
            kind: format!("/api/docs#problem-{}", self.code),
            title: title.to_owned(),
            status: self.status,
            code: self.code.clone(),
            detail: self.detail.clone(),
            instance: self.instance.clone(),
            decision_id: self.decision_id.clone(),
            retry_after_s: self.retry_after_s,
        }
    }

    /// The same, with the seconds to wait.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The status, always a valid one.
    pub(crate) fn http_status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        if let ServiceError::Internal(cause) = &error {
            return Self::internal(cause);
        }
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut problem = Self::new(status, error.code(), error.to_string());
        match error {
            ServiceError::TooMany { retry_after_s, .. }
            | ServiceError::JudgingOverloaded { retry_after_s }
            | ServiceError::Overloaded { retry_after_s } => {
                problem.retry_after_s = Some(retry_after_s)
            }
            ServiceError::Limited {
                decision_id,
                retry_after_s,
                ..
            } => {
                problem.decision_id = Some(decision_id);
                problem.retry_after_s = Some(retry_after_s);
            }
            _ => {}
        }
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.http_status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.http_status());
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if self.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"plumbline\""));
        }
        response.content_type(PROBLEM_JSON).json(self.document())
    }
}

/// Codes that this crate itself gives, with what they mean, for the reference page.
pub(crate) const CODES: &[(&str, u16, &str)] = &[
    (
        "malformed-json",
        400,
        "The body is not JSON (NaN and Infinity are not JSON).",
    ),
    ("not-utf8", 400, "The body or a parameter is not UTF-8."),
    (
        "unknown-field",
        400,
        "The body has a field that the endpoint does not know.",
    ),
    (
        "unknown-parameter",
        400,
        "The query has a parameter that the endpoint does not know.",
    ),
    (
        "invalid-parameter",
        400,
        "A query parameter has the wrong form.",
    ),
    (
        "invalid-idempotency-key",
        400,
        "Idempotency-Key is not 1 to 128 visible ASCII characters.",
    ),
    (
        "invalid-field",
        422,
        "A field is missing, has the wrong type, or does not fit its range.",
    ),
    (
        "unauthenticated",
        401,
        "No valid session or token came with a request that needs one.",
    ),
    (
        "bad-credentials",
        401,
        "The handle, the password or the token is wrong.",
    ),
    (
        "bad-passkey",
        401,
        "The passkey is unknown, its answer is wrong, or the attempt is over.",
    ),
    (
        "forbidden",
        403,
        "The account lacks the scope or role that the endpoint needs.",
    ),
    (
        "cross-origin",
        403,
        "A browser sent a write with a session cookie from another origin.",
    ),
    (
        "csrf",
        403,
        "A write with a session cookie came without the session's CSRF token.",
    ),
    ("not-found", 404, "Nothing has this address or id."),
    (
        "method-not-allowed",
        405,
        "The address does not answer this method; Allow lists those it does.",
    ),
    (
        "relist",
        410,
        "`since` is ahead of the server: list everything again without it.",
    ),
    (
        "body-too-large",
        413,
        "The body is larger than the server takes.",
    ),
    (
        "unsupported-media-type",
        415,
        "The body is not declared as application/json.",
    ),
    (
        "idempotency-mismatch",
        422,
        "The same Idempotency-Key came with another request.",
    ),
    (
        "rate-limited",
        429,
        "Too many requests; wait Retry-After seconds.",
    ),
    (
        "run-throttled",
        429,
        "The run's allocation is used up for now; wait Retry-After seconds.",
    ),
    (
        "run-paused",
        503,
        "The run is paused by the decision in decision_id.",
    ),
    (
        "overloaded",
        503,
        "A bounded queue is full; nothing was done.",
    ),
    (
        "judging-overloaded",
        503,
        "Too much evidence waits for the judges, in this market or in all; nothing was taken.",
    ),
    (
        "unfit-version",
        409,
        "The judges of this service cannot be set to that version of the oracle, or take no such weights.",
    ),
    (
        "bad-report",
        422,
        "A version of the oracle comes with a held-out report: an object with rows.",
    ),
    ("bad-weights", 422, "Weights come as standard base64."),
    ("weights-too-large", 422, "Weights have 1 byte to 16 MiB."),
    (
        "internal",
        500,
        "Something broke on our side; the log has it under the request's id.",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn service_errors_keep_their_status_and_code() {
        let cases: [(ServiceError, u16, &str); 8] = [
            (ServiceError::Unauthenticated, 401, "unauthenticated"),
            (ServiceError::BadCredentials, 401, "bad-credentials"),
            (
                ServiceError::Forbidden { needs: "x".into() },
                403,
                "forbidden",
            ),
            (ServiceError::not_found("market", "m"), 404, "not-found"),
            (
                ServiceError::invalid("stake-too-large", "x"),
                422,
                "stake-too-large",
            ),
            (
                ServiceError::refused("market-closed", "x"),
                409,
                "market-closed",
            ),
            (
                ServiceError::Limited {
                    decision_id: "d".into(),
                    paused: true,
                    retry_after_s: 3,
                },
                503,
                "run-paused",
            ),
            (ServiceError::internal("secret path"), 500, "internal"),
        ];
        for (error, status, code) in cases {
            let problem = Problem::from(error);
            assert_eq!((problem.status, problem.code.as_str()), (status, code));
            assert!(
                !problem.detail.contains("secret"),
                "internal causes stay in the log"
            );
        }
    }

    #[test]
    fn a_limited_run_names_its_decision_and_the_wait() {
        let error = ServiceError::Limited {
            decision_id: "d-1".into(),
            paused: false,
            retry_after_s: 7,
        };
        let response = Problem::from(error).error_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "7");
        assert_eq!(
            response.headers().get(header::CONTENT_TYPE).unwrap(),
            PROBLEM_JSON
        );
    }

    #[test]
    fn codes_are_listed_once() {
        let mut codes: Vec<_> = CODES.iter().map(|(code, ..)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }
}
