//! Exports for auditors: the books as JSON lines, from one state of the database, closed by a digest.
//!
//! The format is described in `docs/audit.md`, for anyone who wants to check it without this
//! program. What may leave is decided by `plumbline_store::export`.

use std::io::{self, Write};
use std::path::Path;
use std::sync::TryLockError;

use plumbline_access::Action;
use plumbline_store::export::{self, Cell, Row, Scope as Rows};
use plumbline_store::{Tx, ledger, markets};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::context::Context;
use crate::time::Millis;
use crate::{Result, Service, ServiceError};

/// Version of the export's format.
pub const FORMAT_VERSION: u32 = 1;
/// Most bytes of one market's export over HTTP; larger ones are for `plumbline audit export`.
const MAX_MARKET_EXPORT: usize = 64 * 1024 * 1024;

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportSummary {
    /// Rows written, header and digest not counted.
    pub rows: u64,
    /// BLAKE3 of everything before the last line, hex.
    pub blake3: String,
}

/// Exports the whole books of the database at `path`, which a service may be using at the same time.
/// Holds one row in memory at a time.
///
/// # Errors
/// `internal` when the database or `out` fails; the text says which.
pub fn export_file(path: &Path, now: Millis, out: &mut dyn Write) -> Result<ExportSummary> {
    export::snapshot(path, |tx| write_rows(tx, Rows::Everything, now, out))
}

impl Service {
    /// The public part of one market's books, so that anyone can recompute its prices, positions,
    /// settlement and payouts.
    ///
    /// # Errors
    /// `audit-too-large` above 64 MiB: then the operator's export serves. `overloaded` while another is made.
    pub fn market_audit(&self, ctx: &Context, market_id: &str) -> Result<Vec<u8>> {
        self.allow(&ctx.actor, Action::AuditMarket)?;
        // One at a time: each may hold tens of megabytes and a reader.
        let _one = match self.exporting.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(ServiceError::Overloaded { retry_after_s: 1 });
            }
        };
        let (id, now) = (market_id.to_owned(), self.now());
        self.read(move |tx| {
            markets::get(tx, &id)?;
            let mut text = Bounded(Vec::new());
            match write_rows(tx, Rows::Market(&id), now, &mut text) {
                Ok(_) => Ok(text.0),
                Err(_) if text.0.len() >= MAX_MARKET_EXPORT => Err(ServiceError::refused(
                    "audit-too-large",
                    "this market's books are too large to send; ask the operator for an export",
                )),
                Err(error) => Err(error),
            }
        })
    }

    /// Exports the whole books of the running service's own store.
    ///
    /// # Errors
    /// `internal` when the database or `out` fails.
    pub fn export_books(&self, out: &mut dyn Write) -> Result<ExportSummary> {
        let now = self.now();
        self.read(|tx| write_rows(tx, Rows::Everything, now, out))
    }
}

/// A buffer that refuses to grow above its bound.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_MARKET_EXPORT {
            // Marks the buffer as full, so that the cause is told from other failures.
            self.0.resize(MAX_MARKET_EXPORT, 0);
            return Err(io::Error::other("the export is too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes header, rows and digest. The date is no earlier than the newest transfer: the clock that
/// dates them does not go back when the machine's does.
fn write_rows(
    tx: &mut Tx,
    rows: Rows<'_>,
    now: Millis,
    out: &mut dyn Write,
) -> Result<ExportSummary> {
    let market = match rows {
        Rows::Everything => None,
        Rows::Market(id) => Some(id),
    };
    let newest = ledger::newest(tx)?.unwrap_or(now);
    let mut lines = Lines {
        out,
        digest: blake3::Hasher::new(),
        line: Vec::new(),
    };
    lines.write(&json!({
        "format": "plumbline-audit",
        "version": FORMAT_VERSION,
        "market": market,
        "exported_at": now.max(newest),
    }))?;
    let mut count = 0;
    export::rows(tx, rows, |table, row| {
        count += 1;
        lines.write(&Line {
            table,
            row: Columns(&row),
        })
    })?;
    let summary = ExportSummary {
        rows: count,
        blake3: lines.digest.finalize().to_hex().to_string(),
    };
    lines.write(&summary)?;
    lines.out.flush().map_err(broken)?;
    Ok(summary)
}

/// Writes lines and adds them to the digest.
struct Lines<'a> {
    out: &'a mut dyn Write,
    digest: blake3::Hasher,
    line: Vec<u8>,
}

impl Lines<'_> {
    fn write(&mut self, value: &impl Serialize) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value).map_err(ServiceError::internal)?;
        self.line.push(b'\n');
        self.digest.update(&self.line);
        self.out.write_all(&self.line).map_err(broken)
    }
}

fn broken(error: io::Error) -> ServiceError {
    ServiceError::internal(format!("cannot write the export: {error}"))
}

#[derive(Serialize)]
struct Line<'a> {
    table: &'static str,
    row: Columns<'a>,
}

struct Columns<'a>(&'a Row);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, cell) in self.0 {
            match cell {
                Cell::Null => map.serialize_entry(name, &())?,
                Cell::Integer(value) => map.serialize_entry(name, value)?,
                // In quotes: many readers of JSON round numbers.
                Cell::Real(value) => map.serialize_entry(name, &value.to_string())?,
                Cell::Text(value) => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}
