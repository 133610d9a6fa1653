//! The one error type of this crate, and how SQLite's failures become it.

use std::path::{Path, PathBuf};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why the store did not do what it was asked. Nothing was changed when one is returned, with one
/// exception that no database can rule out: when the disk fails in the middle of a commit and the
/// process dies right after, the change may or may not be there on the next start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No row has this id.
    #[error("no {what} has the id {id}")]
    NotFound {
        /// Kind of row looked for.
        what: &'static str,
        /// The id given.
        id: String,
    },
    /// The change contradicts what is stored: a second row with the same key, a stale version, a
    /// reference to a row that is not there, a state that does not allow it.
    #[error("conflict: {what}")]
    Conflict {
        /// What it contradicts, for people and for the log.
        what: String,
    },
    /// The bounded queue of writes is full, or no reader became free in time. Trying again later helps.
    #[error("the store is busy; try again in a moment")]
    Overloaded,
    /// The file holds something that this program never writes.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// SQLite refused: disk full, input/output error, a value outside a column's domain.
    #[error("the database failed: {0}")]
    Database(String),
    /// The file could not be opened. One line that says why and what to do.
    #[error("cannot open the database {}: {why}", path.display())]
    Open {
        /// The file asked for.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// The request's closure panicked; what it had written was undone.
    #[error("a store request panicked; its changes were undone")]
    Panicked,
    /// The entries of a transfer do not sum to zero, or there are none.
    #[error("the ledger entries do not sum to zero")]
    LedgerUnbalanced,
    /// An account that may not go below zero would.
    #[error("account {account} needs {needed_micro} micro-credits and has {available_micro}")]
    InsufficientFunds {
        /// Account that would go below zero.
        account: String,
        /// Amount it would have to pay in all, micro-credits.
        needed_micro: i64,
        /// Amount it holds, micro-credits.
        available_micro: i64,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// A [`StoreError::NotFound`].
    pub(crate) fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            id: id.into(),
        }
    }

    /// A [`StoreError::Conflict`].
    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    /// A [`StoreError::Open`].
    pub(crate) fn open(path: &Path, why: impl Into<String>) -> Self {
        Self::Open {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, information) => {
                from_sqlite(&kind, information.message())
            }
            DieselError::NotFound => Self::not_found("row", "asked for"),
            DieselError::DeserializationError(cause) => Self::Corrupt(cause.to_string()),
            other => Self::Database(other.to_string()),
        }
    }
}

/// SQLite's result codes do not pass through diesel, so the fixed English messages of
/// `sqlite3_errstr` decide where diesel's kinds are too coarse.
fn from_sqlite(kind: &DatabaseErrorKind, message: &str) -> StoreError {
    match kind {
        DatabaseErrorKind::UniqueViolation => {
            let columns = message
                .strip_prefix("UNIQUE constraint failed: ")
                .unwrap_or(message);
            StoreError::conflict(format!("{columns} is taken"))
        }
        DatabaseErrorKind::ForeignKeyViolation => StoreError::conflict(
            "a row that this one refers to does not exist, or still refers to it",
        ),
        _ if message.contains("malformed") || message.contains("not a database") => {
            StoreError::Corrupt(message.to_owned())
        }
        _ if message.contains("is locked") => StoreError::Overloaded,
        _ => StoreError::Database(message.to_owned()),
    }
}

/// Whether SQLite may have ended the surrounding transaction by itself, as it does when a disk is full
/// or fails. Constraint violations undo their own statement only.
pub(crate) fn may_end_transaction(error: &DieselError) -> bool {
    use DatabaseErrorKind::{
        CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation,
    };
    match error {
        DieselError::DatabaseError(kind, _) => !matches!(
            kind,
            UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation
        ),
        _ => false,
    }
}
