//! The thinnest safe layer over SQLite's C interface: prepared statements and nothing else.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::c_int;
use std::path::Path;
use std::ptr::{self, NonNull};

use libsqlite3_sys as ffi;

use crate::StoreError;

/// A value to bind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// TEXT.
    Text(&'a str),
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
}

/// An open database.
pub(super) struct Connection {
    handle: NonNull<ffi::sqlite3>,
}

/// A compiled statement; it does not outlive its connection.
pub(super) struct Statement<'c> {
    handle: NonNull<ffi::sqlite3_stmt>,
    connection: PhantomData<&'c Connection>,
}

impl Connection {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let name = path
            .to_str()
            .and_then(|name| CString::new(name).ok())
            .ok_or_else(|| StoreError::open(path, "its path is not valid UTF-8; choose another"))?;
        let mut handle = ptr::null_mut();
        // SAFETY: `name` ends in NUL and outlives the call; `handle` receives a connection even on failure.
        let code = unsafe { ffi::sqlite3_open(name.as_ptr(), &mut handle) };
        let connection = NonNull::new(handle)
            .map(|handle| Self { handle })
            .ok_or_else(|| StoreError::open(path, "out of memory"))?;
        if code != ffi::SQLITE_OK {
            return Err(connection.error());
        }
        Ok(connection)
    }

    /// Runs statements that return nothing of interest.
    pub(super) fn execute(&self, sql: &CStr) -> Result<(), StoreError> {
        // SAFETY: the connection is open until it is dropped; no callback and no message are asked for.
        let code = unsafe {
            ffi::sqlite3_exec(
                self.handle.as_ptr(),
                sql.as_ptr(),
                None,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if code == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Compiles one statement.
    pub(super) fn prepare(&self, sql: &CStr) -> Result<Statement<'_>, StoreError> {
        let mut handle = ptr::null_mut();
        // SAFETY: `sql` ends in NUL, so a length of -1 is right; `handle` is set, to null on failure.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                self.handle.as_ptr(),
                sql.as_ptr(),
                -1,
                &mut handle,
                ptr::null_mut(),
            )
        };
        match NonNull::new(handle) {
            Some(handle) if code == ffi::SQLITE_OK => Ok(Statement {
                handle,
                connection: PhantomData,
            }),
            _ => Err(self.error()),
        }
    }

    /// Runs a compiled statement with these values, in order.
    pub(super) fn run(
        &self,
        statement: &mut Statement<'_>,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        for (index, value) in (1..).zip(values) {
            if statement.bind(index, *value) != ffi::SQLITE_OK {
                return Err(self.error());
            }
        }
        // SAFETY: the statement is valid until it is dropped.
        let code = unsafe { ffi::sqlite3_step(statement.handle.as_ptr()) };
        let result = if matches!(code, ffi::SQLITE_DONE | ffi::SQLITE_ROW) {
            Ok(())
        } else {
            Err(self.error())
        };
        // SAFETY: as above; a reset makes the statement ready for the next values.
        unsafe { ffi::sqlite3_reset(statement.handle.as_ptr()) };
        result
    }

    /// Key of the row inserted last.
    pub(super) fn last_key(&self) -> i64 {
        // SAFETY: the connection is open until it is dropped.
        unsafe { ffi::sqlite3_last_insert_rowid(self.handle.as_ptr()) }
    }

    fn error(&self) -> StoreError {
        // SAFETY: SQLite returns a string that is valid until the next call on this connection.
        let message = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.handle.as_ptr())) };
        StoreError::Database(message.to_string_lossy().into_owned())
    }
}

impl Statement<'_> {
    fn bind(&mut self, index: c_int, value: Value<'_>) -> c_int {
        let handle = self.handle.as_ptr();
        // SAFETY: the statement is valid until it is dropped, and SQLITE_TRANSIENT makes SQLite copy the
        // text before the call returns. A text longer than `c_int` is cut off at its limit by the clamp.
        unsafe {
            match value {
                Value::Text(text) => {
                    let length = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
                    ffi::sqlite3_bind_text(
                        handle,
                        index,
                        text.as_ptr().cast(),
                        length,
                        ffi::SQLITE_TRANSIENT(),
                    )
                }
                Value::Integer(number) => ffi::sqlite3_bind_int64(handle, index, number),
                Value::Real(number) => ffi::sqlite3_bind_double(handle, index, number),
            }
        }
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `sqlite3_prepare_v2` and finalised once, here, before its connection closes.
        unsafe { ffi::sqlite3_finalize(self.handle.as_ptr()) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: made by `sqlite3_open` and closed once, here; every statement borrows the connection.
        unsafe { ffi::sqlite3_close(self.handle.as_ptr()) };
    }
}
