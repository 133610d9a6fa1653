//! The handle that a request's closure works with.

use diesel::QueryResult;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::error::{StoreError, may_end_transaction};

diesel::define_sql_function! {
    /// Key of the row inserted last on this connection.
    fn last_insert_rowid() -> diesel::sql_types::BigInt;
}

/// One request's view of the database: everything read through it is one consistent state, and
/// everything written through it happens together or not at all. Only the store makes one.
pub struct Tx<'a> {
    conn: &'a mut SqliteConnection,
    last_event: Option<i64>,
    broken: Option<StoreError>,
}

impl<'a> Tx<'a> {
    /// A handle on a connection that is already inside a transaction.
    pub(crate) fn new(conn: &'a mut SqliteConnection) -> Self {
        Self {
            conn,
            last_event: None,
            broken: None,
        }
    }

    /// Runs one query. After a failure that may have ended the transaction, every later query is
    /// refused with the same error: otherwise it would be written on its own, outside of any transaction.
    pub(crate) fn run<T>(
        &mut self,
        query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        query(self.conn).map_err(|error| {
            let ends = may_end_transaction(&error);
            let error = StoreError::from(error);
            if ends {
                self.broken = Some(error.clone());
            }
            error
        })
    }

    /// Key that SQLite gave to the row that was inserted last.
    pub(crate) fn last_key(&mut self) -> Result<i64, StoreError> {
        self.run(|conn| diesel::select(last_insert_rowid()).get_result(conn))
    }

    /// Notes that an event was written, so that its readers are woken after the commit.
    pub(crate) fn note_event(&mut self, id: i64) {
        self.last_event = Some(id);
    }

    /// The last event written, and the failure that broke the transaction if one did.
    pub(crate) fn into_parts(self) -> (Option<i64>, Option<StoreError>) {
        (self.last_event, self.broken)
    }
}
