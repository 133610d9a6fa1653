//! Opening files that can and cannot be opened: each refusal is one line that names the file and says
//! what to do.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use plumbline_store::{Store, StoreError, StoreOptions, accounts, control};

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, StoreOptions::default())
}

/// The refusal's text, checked for what every refusal has.
fn refusal(path: &Path) -> String {
    let Err(error @ StoreError::Open { .. }) = open(path) else {
        panic!("{} was not refused", path.display());
    };
    let text = error.to_string();
    assert!(
        text.contains(&path.display().to_string()) && !text.contains('\n'),
        "{text}"
    );
    text
}

/// Runs SQL on a file behind the store's back.
fn meddle(path: &Path, sql: &str) {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;
    let mut conn = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(sql).unwrap();
}

#[test]
fn a_file_is_created_with_its_folder_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/plumbline.db");
    for round in 0..3 {
        let store = open(&path).unwrap();
        let before = store
            .read::<_, StoreError, _>(|tx| control::get(tx, "round"))
            .unwrap();
        assert_eq!(before, (round > 0).then(|| (round - 1).to_string()));
        store
            .write::<_, StoreError, _>(move |tx| control::put(tx, "round", &round.to_string(), 1))
            .unwrap();
    }
}

#[test]
fn a_file_serves_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    let first = open(&path).unwrap();
    let clone = first.clone();
    assert!(refusal(&path).contains("another process uses it"));
    drop(first);
    assert!(refusal(&path).contains("another process uses it"));
    drop(clone);
    assert!(open(&path).is_ok());
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are notes, not a database\n".repeat(100)).unwrap();
    assert!(refusal(&text).contains("not a database"));
    assert!(
        std::fs::read_to_string(&text)
            .unwrap()
            .starts_with("these are notes")
    );

    let foreign = folder.path().join("foreign.db");
    meddle(
        &foreign,
        "CREATE TABLE accounts (id TEXT); INSERT INTO accounts VALUES ('theirs')",
    );
    assert!(refusal(&foreign).contains("not one of Plumbline's"));

    assert!(refusal(folder.path()).contains("it is a folder"));
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    drop(open(&path).unwrap());
    meddle(
        &path,
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')",
    );
    assert!(refusal(&path).contains("newer version"));
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    let store = open(&path).unwrap();
    drop(store);
    meddle(&path, "PRAGMA wal_checkpoint(TRUNCATE)");
    let whole = std::fs::read(&path).unwrap();
    // Every page but the first is overwritten; the header still looks right.
    let mut damaged = whole.clone();
    damaged[4096..].fill(0xA5);
    std::fs::write(&path, &damaged).unwrap();
    let outcome =
        open(&path).and_then(|store| store.read(|tx| accounts::list(tx, None, 10).map(|_| ())));
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, StoreError::Open { .. } | StoreError::Corrupt(_)),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("damaged") || error.to_string().contains("malformed"),
        "{error}"
    );
    // Cut short in the middle of the header.
    std::fs::write(&path, &whole[..50]).unwrap();
    assert!(refusal(&path).contains("not a database"));
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    // Permissions do not bind the superuser: there the kernel's own file system serves.
    let bound = std::fs::write(closed.join("probe"), "").is_err();
    let places = [
        bound.then(|| closed.join("plumbline.db")),
        Path::new("/proc")
            .is_dir()
            .then(|| "/proc/plumbline.db".into()),
    ];
    for path in places.into_iter().flatten() {
        let text = refusal(&path);
        assert!(text.contains("cannot be written"), "{text}");
    }
    for path in [
        closed.join("sub/plumbline.db"),
        "/proc/none/plumbline.db".into(),
    ] {
        if !bound && path.starts_with(&closed) {
            continue;
        }
        assert!(refusal(&path).contains("folder cannot be made"));
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(refusal(&file.join("plumbline.db")).contains("folder cannot be made"));
}
