//! Opening a database file: whose it is, whether it may be used, and the settings of each connection.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::StoreError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");

/// "PLMB", as the first migration writes it.
const APPLICATION_ID: i64 = 1_347_177_794;

/// What every connection sets, in this order: switching to WAL can meet a lock, so the time-out comes
/// first. One statement per call: SQLite stops a batch at the first that fails.
const PRAGMAS: [&str; 6] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
];

/// What the connection that writes sets beside them.
const WRITER_PRAGMAS: [&str; 3] = [
    // Every account has pages of its own at the end of its history: those of thousands should stay at hand.
    "PRAGMA cache_size = -32768",
    // A longer log than SQLite's default of 1,000 pages. A page that many commits change is written into the
    // database once for all of them; opening after a crash reads 64 MiB at most.
    "PRAGMA wal_autocheckpoint = 16000",
    "PRAGMA journal_size_limit = 67108864",
];

/// Size of a database of one page of the smallest size, bytes.
const SMALLEST_DATABASE: u64 = 512;

const NOT_A_DATABASE: &str =
    "it is not a database; choose another file, or restore it from a backup";

/// Keeps a second server from opening the same file; let go by the system even when we are killed.
pub(crate) struct FileLock {
    _file: File,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// Checks that the file can be ours and locks it. The absolute path comes back: SQLite would read a
/// relative one that begins with `file:` as an address.
pub(crate) fn claim(path: &Path) -> Result<(PathBuf, FileLock), StoreError> {
    let fail = |why: String| StoreError::open(path, why);
    if path.is_dir() {
        return Err(fail("it is a folder; name a file inside it".to_owned()));
    }
    let name = path
        .file_name()
        .ok_or_else(|| fail("it names no file".to_owned()))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| {
        fail(format!(
            "its folder cannot be made ({error}); choose another or make it yourself"
        ))
    })?;
    let parent = parent.canonicalize().map_err(|error| {
        fail(format!(
            "its folder cannot be read ({error}); choose another"
        ))
    })?;
    let absolute = parent.join(name);
    let lock = lock_beside(&absolute).map_err(fail)?;
    // SQLite reports a read-only file only at the first write, and without its name.
    let size = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&absolute)
        .and_then(|file| Ok(file.metadata()?.len()))
        .map_err(|error| {
            fail(format!(
                "it cannot be written ({error}); check its owner and permissions"
            ))
        })?;
    // SQLite would take so short a file for an empty one, and write over what is left of it.
    if (1..SMALLEST_DATABASE).contains(&size) {
        return Err(fail(NOT_A_DATABASE.to_owned()));
    }
    Ok((absolute, lock))
}

/// A file of its own carries the lock: SQLite's locks on the database would be lost if we closed a
/// second handle on it.
fn lock_beside(path: &Path) -> Result<FileLock, String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name).map_err(|error| {
        format!("its folder cannot be written ({error}); check the permissions or choose another folder")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(FileLock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            Err("another process uses it; stop that one or choose another file".to_owned())
        }
        Err(TryLockError::Error(error)) => Err(format!(
            "it cannot be locked ({error}); choose a folder on a local disk"
        )),
    }
}

/// The connection that writes, on a file whose schema is now up to date.
pub(crate) fn writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    let fail = |why: String| StoreError::open(path, why);
    let mut conn = connect(path)?;
    let tables = number(
        &mut conn,
        path,
        "SELECT count(*) AS value FROM sqlite_master",
    )?;
    let application = number(
        &mut conn,
        path,
        "SELECT application_id AS value FROM pragma_application_id",
    )?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(fail(
            "it is an SQLite database, but not one of Plumbline's; choose another file".to_owned(),
        ));
    }
    if tables > 0
        && has_unknown_migration(&mut conn).map_err(|error| fail(unusable(error.as_ref())))?
    {
        return Err(fail(
            "a newer version of Plumbline wrote it; use that version, or another file".to_owned(),
        ));
    }
    for pragma in PRAGMAS {
        conn.batch_execute(pragma)
            .map_err(|error| fail(unusable(&error)))?;
    }
    conn.run_pending_migrations(MIGRATIONS)
        .map_err(|error| fail(unusable(error.as_ref())))?;
    for pragma in WRITER_PRAGMAS {
        conn.batch_execute(pragma)
            .map_err(|error| fail(unusable(&error)))?;
    }
    Ok(conn)
}

/// A connection that reads. The file exists and is in WAL mode by now.
pub(crate) fn reader(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut conn = connect(path)?;
    for pragma in PRAGMAS
        .iter()
        .filter(|pragma| !pragma.contains("journal_mode"))
        .chain(&["PRAGMA query_only = ON"])
    {
        conn.batch_execute(pragma)
            .map_err(|error| StoreError::open(path, unusable(&error)))?;
    }
    Ok(conn)
}

/// A connection that reads one state of a file that another process may be writing, in a
/// transaction; the file must have been brought up to date by a service of this version.
pub(crate) fn snapshot(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut conn = reader(&existing(path)?)?;
    current(&mut conn, path)?;
    conn.batch_execute("BEGIN")
        .map_err(|error| StoreError::open(path, unusable(&error)))?;
    Ok(conn)
}

/// A connection to a file of this version that another process may be writing, to copy or examine it.
/// SQLite counts a copy as a write, so nothing forbids writing here.
pub(crate) fn copied(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut conn = connect(&existing(path)?)?;
    conn.batch_execute(PRAGMAS[0])
        .map_err(|error| StoreError::open(path, unusable(&error)))?;
    current(&mut conn, path)?;
    Ok(conn)
}

/// SQLite would make a file that is missing.
fn existing(path: &Path) -> Result<PathBuf, StoreError> {
    path.canonicalize()
        .map_err(|error| StoreError::open(path, format!("{error}; name the database of a service")))
}

/// Refuses what is not a database of this program and this version.
fn current(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let fail = |why: String| StoreError::open(path, why);
    let application = number(
        conn,
        path,
        "SELECT application_id AS value FROM pragma_application_id",
    )?;
    if application != APPLICATION_ID {
        return Err(fail(NOT_A_DATABASE.to_owned()));
    }
    let unknown = has_unknown_migration(conn).map_err(|error| fail(unusable(error.as_ref())))?;
    let pending = conn
        .has_pending_migration(MIGRATIONS)
        .map_err(|error| fail(unusable(error.as_ref())))?;
    if unknown || pending {
        return Err(fail(
            "another version of Plumbline wrote it; use that version, or start the service once"
                .to_owned(),
        ));
    }
    Ok(())
}

fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let text = path
        .to_str()
        .ok_or_else(|| StoreError::open(path, "its path is not valid UTF-8; choose another"))?;
    SqliteConnection::establish(text).map_err(|error| StoreError::open(path, unusable(&error)))
}

fn number(conn: &mut SqliteConnection, path: &Path, sql: &str) -> Result<i64, StoreError> {
    let row: Number = diesel::sql_query(sql)
        .get_result(conn)
        .map_err(|error| StoreError::open(path, unusable(&error)))?;
    Ok(row.value)
}

/// Whether the file went through a migration that this program does not have.
fn has_unknown_migration(conn: &mut SqliteConnection) -> diesel::migration::Result<bool> {
    let known = diesel::migration::MigrationSource::<Sqlite>::migrations(&MIGRATIONS)?;
    let known: Vec<String> = known
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    Ok(conn
        .applied_migrations()?
        .iter()
        .any(|applied| !known.contains(&applied.to_string())))
}

/// One line for people from an error that names no file and no remedy.
fn unusable(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string().replace('\n', " ");
    if text.contains("not a database") {
        NOT_A_DATABASE.to_owned()
    } else if text.contains("malformed") {
        "it is damaged; restore it from a backup".to_owned()
    } else if text.contains("readonly") || text.contains("unable to open") {
        format!("it cannot be written ({text}); check the permissions of the file and its folder")
    } else if text.contains("locked") {
        "another process uses it; stop that one or choose another file".to_owned()
    } else {
        format!("{text}; check the disk, or restore it from a backup")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = diesel::sql_types::Text)]
        value: String,
    }

    fn setting(conn: &mut SqliteConnection, name: &str) -> String {
        let query = format!("SELECT CAST({name} AS TEXT) AS value FROM pragma_{name}");
        let row: Setting = diesel::sql_query(query).get_result(conn).unwrap();
        row.value
    }

    #[test]
    fn connections_are_set_up_for_durability() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plumbline.db");
        let mut writer = writer(&path).unwrap();
        let mut reader = reader(&path).unwrap();
        // 2 is FULL.
        for (name, value) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("foreign_keys", "1"),
        ] {
            assert_eq!(setting(&mut writer, name), value, "{name}");
            assert_eq!(setting(&mut reader, name), value, "{name}");
        }
        for conn in [&mut writer, &mut reader] {
            let timeout: Number =
                diesel::sql_query("SELECT timeout AS value FROM pragma_busy_timeout")
                    .get_result(conn)
                    .unwrap();
            assert_eq!(timeout.value, 5000);
        }
        assert_eq!(
            (
                setting(&mut writer, "query_only"),
                setting(&mut reader, "query_only")
            ),
            ("0".into(), "1".into())
        );
    }

    #[test]
    fn migrations_go_down_and_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plumbline.db");
        let mut conn = writer(&path).unwrap();
        let tables = "SELECT count(*) AS value FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'";
        let before = number(&mut conn, &path, tables).unwrap();
        conn.revert_all_migrations(MIGRATIONS).unwrap();
        assert_eq!(number(&mut conn, &path, tables).unwrap(), 1);
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(number(&mut conn, &path, tables).unwrap(), before);
        assert!(conn.run_pending_migrations(MIGRATIONS).unwrap().is_empty());
    }
}
