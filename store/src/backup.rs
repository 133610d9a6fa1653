//! A copy of a database that a service may be writing at the same time, and the examination of such a copy.

use std::fs::File;
use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::error::StoreError;
use crate::open;

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

/// Copies the database at `from` as it is at one moment to the new file `to`, without keeping its service from
/// writing, and forces the copy to the disk.
///
/// # Errors
/// [`StoreError::Open`] for a file that is not a database of this version, or a `to` that exists or cannot be written.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let fail = |why: String| StoreError::open(to, why);
    // SQLite writes into an empty file that is there; nobody else's file should become a database.
    if to.exists() {
        return Err(fail("it is already there; name a new file".to_owned()));
    }
    let name = to
        .to_str()
        .ok_or_else(|| fail("its path is not valid UTF-8; choose another".to_owned()))?;
    let mut conn = open::copied(from)?;
    diesel::sql_query("VACUUM INTO ?")
        .bind::<Text, _>(name)
        .execute(&mut conn)
        .map_err(|error| fail(format!("the copy failed ({error}); check the disk")))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|error| fail(format!("the copy is not on the disk ({error})")))
}

/// Reads every page and every index of the file at `path`, which nobody may be using.
///
/// # Errors
/// [`StoreError::Open`] for a file that is not a database of this version; [`StoreError::Corrupt`] with SQLite's first
/// findings.
pub fn examine(path: &Path) -> Result<(), StoreError> {
    let mut conn = open::copied(path)?;
    let findings: Vec<Finding> = diesel::sql_query("PRAGMA integrity_check(5)").load(&mut conn)?;
    let found: Vec<String> = findings
        .into_iter()
        .map(|finding| finding.integrity_check)
        .filter(|line| line != "ok")
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(StoreError::Corrupt(found.join("; ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Store, StoreOptions, Tx, control};

    fn value(store: &Store, key: &'static str) -> Option<String> {
        store.read(|tx: &mut Tx<'_>| control::get(tx, key)).unwrap()
    }

    fn put(store: &Store, key: &'static str) {
        store
            .write(move |tx| control::put(tx, key, "1", 1))
            .unwrap();
    }

    #[test]
    fn a_copy_is_of_one_moment_and_opens_like_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let store = Store::open(&from, StoreOptions::default()).unwrap();
        put(&store, "before");
        copy(&from, &to).unwrap();
        put(&store, "after");
        examine(&to).unwrap();
        let copied = Store::open(&to, StoreOptions::default()).unwrap();
        assert_eq!(value(&copied, "before"), Some("1".to_owned()));
        assert_eq!(value(&copied, "after"), None);
        assert!(copy(&from, &to).unwrap_err().to_string().contains("b.db"));
    }

    #[test]
    fn damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let copied = folder.path().join("b.db");
        let store = Store::open(&path, StoreOptions::default()).unwrap();
        put(&store, "key");
        copy(&path, &copied).unwrap();
        let mut bytes = std::fs::read(&copied).unwrap();
        let page = 3 * 4096;
        bytes[page..page + 64].fill(0xA5);
        std::fs::write(&copied, bytes).unwrap();
        assert!(examine(&copied).is_err());
        std::fs::write(&copied, b"nothing of the kind, but long enough").unwrap();
        assert!(examine(&copied).is_err());
    }
}
