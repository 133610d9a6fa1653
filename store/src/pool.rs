//! A fixed set of reading connections, lent one at a time.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use diesel::sqlite::SqliteConnection;

use crate::error::StoreError;

/// Longest wait for a free connection. Reads take milliseconds: a longer wait means overload.
const PATIENCE: Duration = Duration::from_secs(5);

/// The connections that nobody uses now.
pub(crate) struct Pool {
    idle: Mutex<Vec<SqliteConnection>>,
    returned: Condvar,
}

/// A connection on loan; it goes back when this is dropped.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    connection: Option<SqliteConnection>,
}

impl Pool {
    /// A pool that lends these.
    pub(crate) fn new(connections: Vec<SqliteConnection>) -> Self {
        Self {
            idle: Mutex::new(connections),
            returned: Condvar::new(),
        }
    }

    /// A free connection, waiting for one if need be.
    pub(crate) fn take(&self) -> Result<Loan<'_>, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut idle, _) = self
            .returned
            .wait_timeout_while(idle, PATIENCE, |idle| idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let connection = idle.pop().ok_or(StoreError::Overloaded)?;
        Ok(Loan {
            pool: self,
            connection: Some(connection),
        })
    }
}

impl Loan<'_> {
    /// The connection itself.
    pub(crate) fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Closed)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
            self.pool.returned.notify_one();
        }
    }
}
