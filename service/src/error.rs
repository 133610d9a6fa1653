//! The one error type that use cases return, and its stable problem codes.
//!
//! Use [`ServiceError::Invalid`] for a request that is well formed but makes no
//! sense (422), [`ServiceError::Refused`] for one that the current state does
//! not allow (409), and [`ServiceError::Forbidden`] when the actor may not.

use plumbline_store::StoreError;

/// Why a use case did not happen. Nothing was changed when one is returned.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No valid session or token came with a request that needs one.
    #[error("sign in, or send a bearer token")]
    Unauthenticated,
    /// The credentials were wrong. Deliberately the same for every cause.
    #[error("handle or password is wrong")]
    BadCredentials,
    /// The passkey does not sign in here. Deliberately the same for every cause.
    #[error("this passkey does not sign in here, or it took too long; try again")]
    BadPasskey,
    /// The actor is known but lacks the role or scope.
    #[error("this needs {needs}")]
    Forbidden {
        /// The role or scope that is missing, for people.
        needs: String,
    },
    /// Nothing has this id.
    #[error("no {what} has the id {id}")]
    NotFound {
        /// Kind of thing looked for.
        what: &'static str,
        /// The id given.
        id: String,
    },
    /// Well formed but meaningless: a stable code and a sentence that says what to change.
    #[error("{detail}")]
    Invalid {
        /// Stable problem code.
        code: &'static str,
        /// What is wrong and what to do.
        detail: String,
    },
    /// The state of things does not allow this now: a stable code and a sentence.
    #[error("{detail}")]
    Refused {
        /// Stable problem code.
        code: &'static str,
        /// Why not, and what would be needed.
        detail: String,
    },
    /// The same idempotency key came with another body.
    #[error("this idempotency key was used with a different body")]
    IdempotencyMismatch,
    /// The account did this too often; nothing was done.
    #[error("too many {what}; try again in {retry_after_s} s")]
    TooMany {
        /// What there are too many of, for people.
        what: &'static str,
        /// Seconds to wait before a retry.
        retry_after_s: u32,
    },
    /// A bounded queue is full; nothing was done.
    #[error("the service is busy; try again in {retry_after_s} s")]
    Overloaded {
        /// Seconds to wait before a retry.
        retry_after_s: u32,
    },
    /// Too much evidence waits for the judges; nothing was taken.
    #[error("too much evidence waits for the judges; try again in {retry_after_s} s")]
    JudgingOverloaded {
        /// Seconds to wait before a retry.
        retry_after_s: u32,
    },
    /// A run's allocation forbids serving it now.
    #[error("the run is limited by allocation decision {decision_id}")]
    Limited {
        /// Decision that limits the run.
        decision_id: String,
        /// True when the run is paused or stopped rather than throttled.
        paused: bool,
        /// Seconds to wait before a retry.
        retry_after_s: u32,
    },
    /// Something broke on our side; the detail goes to the log, not to the client.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ServiceError {
    /// Stable, machine-readable problem code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::BadCredentials => "bad-credentials",
            Self::BadPasskey => "bad-passkey",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not-found",
            Self::Invalid { code, .. } | Self::Refused { code, .. } => code,
            Self::IdempotencyMismatch => "idempotency-mismatch",
            Self::TooMany { .. } => "rate-limited",
            Self::Overloaded { .. } => "overloaded",
            Self::JudgingOverloaded { .. } => "judging-overloaded",
            Self::Limited { paused: true, .. } => "run-paused",
            Self::Limited { paused: false, .. } => "run-throttled",
            Self::Internal(_) => "internal",
        }
    }

    /// HTTP status that fits the error.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthenticated | Self::BadCredentials | Self::BadPasskey => 401,
            Self::Forbidden { .. } => 403,
            Self::NotFound { .. } => 404,
            Self::Invalid { .. } | Self::IdempotencyMismatch => 422,
            Self::Refused { .. } => 409,
            Self::Overloaded { .. }
            | Self::JudgingOverloaded { .. }
            | Self::Limited { paused: true, .. } => 503,
            Self::TooMany { .. } | Self::Limited { paused: false, .. } => 429,
            Self::Internal(_) => 500,
        }
    }

    /// Shorthand for [`ServiceError::Invalid`].
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid {
            code,
            detail: detail.into(),
        }
    }

    /// Shorthand for [`ServiceError::Refused`].
    pub fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused {
            code,
            detail: detail.into(),
        }
    }

    /// Shorthand for [`ServiceError::NotFound`].
    pub fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            id: id.into(),
        }
    }

    /// Shorthand for [`ServiceError::Internal`].
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}

/// What was looked for, or `None` where there is no such row; other failures stay failures.
pub(crate) fn if_found<T>(row: Result<T, StoreError>) -> Result<Option<T>, ServiceError> {
    match row {
        Ok(row) => Ok(Some(row)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, id } => Self::NotFound { what, id },
            StoreError::Conflict { what } => Self::Refused {
                code: "conflict",
                detail: what,
            },
            StoreError::Overloaded => Self::Overloaded { retry_after_s: 1 },
            StoreError::InsufficientFunds {
                needed_micro,
                available_micro,
                ..
            } => Self::Refused {
                code: "insufficient-funds",
                detail: format!("{needed_micro} micro-credits needed, {available_micro} available"),
            },
            other => Self::Internal(other.to_string()),
        }
    }
}
