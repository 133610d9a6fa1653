//! The handle that a request's closure works with.

use std::rc::Rc;

use diesel::QueryResult;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::accounts::{self, Account};
use crate::error::{StoreError, may_end_transaction};
use crate::hot::append::Append;
use crate::hot::{Counted, Hot, Named, position_key};
use crate::markets::{self, Market};
use crate::positions::{self, Position};
use crate::prepared::prepared;

diesel::define_sql_function! {
    /// Key of the row inserted last on this connection.
    fn last_insert_rowid() -> BigInt;
}

diesel::define_sql_function! {
    /// Rows changed since the connection was opened.
    fn total_changes() -> BigInt;
}

diesel::table! {
    /// SQLite's own: the last key given out in each table with AUTOINCREMENT.
    sqlite_sequence (name) { name -> Text, seq -> BigInt, }
}

/// One request's view of the database: everything read through it is one consistent state, and
/// everything written through it happens together or not at all. Only the store makes one.
pub struct Tx<'a> {
    conn: &'a mut SqliteConnection,
    /// The writer's memory; `None` for readers, whose every statement goes to the tables.
    hot: Option<&'a mut Hot>,
    last_event: Option<i64>,
    broken: Option<StoreError>,
}

impl<'a> Tx<'a> {
    /// A handle on a connection that is already inside a transaction.
    pub(crate) fn new(conn: &'a mut SqliteConnection) -> Self {
        Self {
            conn,
            hot: None,
            last_event: None,
            broken: None,
        }
    }

    /// As [`Tx::new`], with the writer's memory.
    pub(crate) fn writing(conn: &'a mut SqliteConnection, hot: &'a mut Hot) -> Self {
        Self {
            hot: Some(hot),
            ..Self::new(conn)
        }
    }

    /// Runs any statement. After a failure that may have ended the transaction, every later one is
    /// refused with the same error: otherwise it would be written on its own, outside of any transaction.
    pub(crate) fn run<T>(
        &mut self,
        query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        if self.hot.is_none() {
            return self.direct(query);
        }
        self.settle()?;
        let before = self.direct(total)?;
        let result = self.direct(query);
        let changed = result.is_err() || self.direct(total)? != before;
        if let Some(hot) = self.hot.as_deref_mut().filter(|_| changed) {
            hot.forget();
        }
        result
    }

    /// Runs a statement that only reads, and no table that the writer keeps rows of or defers rows to:
    /// neither accounts, markets and positions nor transfers, entries, trades, prices, events and answers.
    pub(crate) fn look<T>(
        &mut self,
        query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        self.direct(query)
    }

    /// As [`Tx::look`], for reads of several statements with failures of their own.
    pub(crate) fn beneath<T>(
        &mut self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => read(self.conn),
        }
    }

    /// Runs a statement that changes none of the tables named at [`Tx::look`], and nothing that readers
    /// outside of the store remember (see [`crate::Store::epoch`]).
    pub(crate) fn beside<T>(
        &mut self,
        query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        self.open_savepoint()?;
        self.direct(query)
    }

    fn direct<T>(
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

    /// From here on what this request wrote can be undone by the database.
    fn open_savepoint(&mut self) -> Result<(), StoreError> {
        let needed = |hot: &&mut Hot| !hot.has_savepoint();
        let Some(hot) = self.hot.as_deref_mut().filter(needed) else {
            return Ok(());
        };
        hot.note_savepoint();
        let savepoint = prepared!([], "SAVEPOINT request");
        self.direct(|conn| savepoint.execute(conn)).map(|_| ())
    }

    /// Brings the tables up to date with the memory. A failure breaks the transaction: what could not be
    /// written was reported as done.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.open_savepoint()?;
        self.write_pending()?;
        let (Some(hot), None) = (self.hot.as_deref_mut(), &self.broken) else {
            return Ok(());
        };
        hot.flush(self.conn)
            .inspect_err(|error| self.broken = Some(error.clone()))
    }

    /// Writes what was deferred. A failure breaks the transaction, as in [`Tx::settle`].
    fn write_pending(&mut self) -> Result<(), StoreError> {
        let pending = self.hot.as_deref_mut().map(Hot::take_pending);
        for fact in pending.unwrap_or_default() {
            self.direct(|conn| fact.apply(conn))
                .inspect_err(|error| self.broken = Some(error.clone()))?;
        }
        Ok(())
    }

    /// Adds a fact; now, or when the request has succeeded.
    pub(crate) fn append(&mut self, fact: Append) -> Result<(), StoreError> {
        let fact = match self.hot.as_deref_mut() {
            Some(hot) => match hot.defer(fact) {
                Some(fact) => fact,
                None => return Ok(()),
            },
            None => return self.direct(|conn| fact.apply(conn)),
        };
        self.open_savepoint()?;
        self.write_pending()?;
        self.direct(|conn| fact.apply(conn))
    }

    /// Key that the next row of a table is to have.
    pub(crate) fn next_key(&mut self, table: Counted) -> Result<i64, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let conn = &mut *self.conn;
        let mut last = || {
            let last: Option<i64> = sqlite_sequence::table
                .filter(sqlite_sequence::name.eq(table.name()))
                .select(sqlite_sequence::seq)
                .get_result(conn)
                .optional()?;
            Ok(last.unwrap_or(0))
        };
        match self.hot.as_deref_mut() {
            Some(hot) => hot.next_key(table, last),
            None => last().map(|last| last + 1),
        }
    }

    /// Whether an identifier is beyond every one that its table can have: see [`Hot::is_beyond`].
    pub(crate) fn is_beyond(
        &mut self,
        table: Named,
        id: &str,
        greatest: impl FnOnce(&mut SqliteConnection) -> QueryResult<Option<String>>,
    ) -> Result<bool, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let conn = &mut *self.conn;
        match self.hot.as_deref_mut() {
            Some(hot) => hot.is_beyond(table, id, || Ok(greatest(conn)?)),
            None => Ok(false),
        }
    }

    /// Whether something that this request has added, and that may not be in its table yet, answers `is`.
    pub(crate) fn is_pending(&self, is: impl Fn(&Append) -> bool) -> bool {
        self.hot
            .as_deref()
            .is_some_and(|hot| hot.pending().iter().any(is))
    }

    /// The writer's memory, where there is one.
    pub(crate) fn hot(&mut self) -> Option<&mut Hot> {
        self.hot.as_deref_mut()
    }

    /// A market as the writer keeps it, read if need be; `None` if there is none.
    pub(crate) fn market(&mut self, id: &str) -> Result<Option<Rc<Market>>, StoreError> {
        if let Some(row) = self.hot().and_then(|hot| hot.markets.get(id)) {
            return Ok(Some(row));
        }
        let row = self.direct(|conn| markets::find(conn, id))?;
        Ok(row.map(|row| match self.hot() {
            Some(hot) => hot.markets.load(id, row),
            None => Rc::new(row),
        }))
    }

    /// An account as the writer keeps it, read if need be; `None` if there is none.
    pub(crate) fn account(&mut self, id: &str) -> Result<Option<Rc<Account>>, StoreError> {
        if let Some(row) = self.hot().and_then(|hot| hot.accounts.get(id)) {
            return Ok(Some(row));
        }
        let row = self.direct(|conn| accounts::find(conn, id))?;
        Ok(row.map(|row| match self.hot() {
            Some(hot) => hot.accounts.load(id, row),
            None => Rc::new(row),
        }))
    }

    /// A position as the writer keeps it, read if need be; `None` if there is none.
    pub(crate) fn position(
        &mut self,
        market_id: &str,
        account_id: &str,
    ) -> Result<Option<Rc<Position>>, StoreError> {
        let key = position_key(market_id, account_id);
        if let Some(row) = self.hot().and_then(|hot| hot.positions.get(&key)) {
            return Ok(Some(row));
        }
        let row = self.direct(|conn| positions::find(conn, market_id, account_id))?;
        Ok(row.map(|row| match self.hot() {
            Some(hot) => hot.positions.load(&key, row),
            None => Rc::new(row),
        }))
    }

    /// Key that SQLite gave to the row that was inserted last.
    pub(crate) fn last_key(&mut self) -> Result<i64, StoreError> {
        self.direct(|conn| diesel::select(last_insert_rowid()).get_result(conn))
    }

    /// Notes that an event was written, so that its readers are woken after the commit.
    pub(crate) fn note_event(&mut self, id: i64) {
        self.last_event = Some(id);
    }

    /// Ends the request, writing what it deferred if it is to be kept: the last event, and the failure
    /// that broke the transaction if one did.
    pub(crate) fn end(mut self, keep: bool) -> (Option<i64>, Option<StoreError>) {
        if keep && self.broken.is_none() {
            // A failure is noted in `broken`.
            let _ = self.write_pending();
        }
        (self.last_event, self.broken)
    }
}

fn total(conn: &mut SqliteConnection) -> QueryResult<i64> {
    diesel::select(total_changes()).get_result(conn)
}
