//! What can go wrong when talking to the service.

use std::time::Duration;

use thiserror::Error;

/// A request that the service answered with an error: a problem document of
/// the API (RFC 9457) or the gateway's OpenAI-shaped error body.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{status} {code}: {detail}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Stable machine-readable code; `http-<status>` when the body had none.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
    /// How long the service asks to wait before another try.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 502..=504)
    }
}

/// Why a call of the client gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The client cannot be built from what it was given.
    #[error("{0}")]
    Configuration(String),
    /// No connection could be made or kept, after every retry.
    #[error("cannot reach {url}: {cause}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Innermost cause.
        cause: String,
    },
    /// The service did not answer in time, after every retry.
    #[error("{url} did not answer within {} s", within.as_secs())]
    Timeout {
        /// What was asked for.
        url: String,
        /// How long was waited, per try.
        within: Duration,
    },
    /// The service answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The answer is not what the API promises.
    #[error("{url} answered something unexpected: {why}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// The service's own error, if it answered with one.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// The problem code, if the service answered with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.api().map(|error| error.code.as_str())
    }

    /// Whether trying again later can help: contact was lost, or the service
    /// is busy or limits the caller.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Api(error) => error.is_transient(),
            Self::Configuration(_) | Self::Malformed { .. } => false,
        }
    }

    /// How long the service asked to wait, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.api().and_then(|error| error.retry_after)
    }
}
