//! A process that writes is killed at random moments: whatever it had acknowledged must be there, and
//! nothing may be there by half.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{assert_sound, seeded, transfer};
use plumbline_store::{Store, StoreError, StoreOptions, control, ledger, outbox};

/// Tells the test binary to be the writing process, and where.
const CHILD: &str = "PLUMBLINE_STORE_CRASH_TEST";
const THREADS: u64 = 8;

/// Whether a request of this name writes a setting too. Those that do not are what trades are like: nothing
/// of them reaches a table before they have succeeded, and their balances not before the commit.
fn has_setting(name: &str) -> bool {
    name.ends_with(['0', '2', '4', '6', '8'])
}

/// One request: a transfer, an event, and perhaps a setting, that belong together.
fn write_one(store: &Store, name: String) -> Result<(), StoreError> {
    store.write(move |tx| {
        let entries = [("u0".to_owned(), -1), ("treasury".to_owned(), 1)];
        ledger::post(tx, &transfer(name.clone(), &entries))?;
        outbox::push(
            tx,
            1,
            "crash",
            "written",
            &serde_json::json!({ "name": name }),
        )?;
        if has_setting(&name) {
            control::put(tx, &name, "1", 1)?;
        }
        Ok(())
    })
}

/// Writes until killed; prints the name of each request after it was acknowledged.
#[test]
fn writing_process() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let store = Store::open(Path::new(&path), StoreOptions::default()).unwrap();
    let start = store.read::<_, StoreError, _>(outbox::last_id).unwrap();
    let next = AtomicU64::new(u64::try_from(start).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let name = format!("w{}-{}", start, next.fetch_add(1, Ordering::Relaxed));
                    write_one(&store, name.clone()).unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {name}")
                        .and_then(|()| out.flush())
                        .unwrap();
                }
            });
        }
    });
}

/// Runs the writing process and kills it `after` its first acknowledgement; what it had acknowledged.
fn run_and_kill(path: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "writing_process",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut kill_at: Option<Instant> = None;
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        // The last line may be cut off: then it was not acknowledged.
        if let Some(name) = line
            .strip_prefix("ack ")
            .and_then(|rest| rest.strip_suffix('\n'))
        {
            acknowledged.push(name.to_owned());
            if Instant::now() > *kill_at.get_or_insert_with(|| Instant::now() + after) {
                // SIGKILL; what is in the pipe is still read to its end.
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    child.wait().unwrap();
    acknowledged
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_there_by_half() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    drop(seeded(&path, StoreOptions::default()));
    let mut acknowledged = BTreeSet::new();
    for after_ms in [0, 7, 41, 3, 90, 23, 1, 150, 60, 13] {
        let names = run_and_kill(&path, Duration::from_millis(after_ms));
        assert!(!names.is_empty(), "the writing process did not start");
        acknowledged.extend(names);
        check(&path, &acknowledged);
    }
    assert!(
        acknowledged.len() > 50,
        "only {} requests",
        acknowledged.len()
    );
}

/// Opens the file that was left behind and compares.
fn check(path: &Path, acknowledged: &BTreeSet<String>) {
    let store = Store::open(path, StoreOptions::default()).unwrap();
    assert_sound(&store);
    let events = store
        .read::<_, StoreError, _>(|tx| outbox::after(tx, 0, i64::MAX))
        .unwrap();
    let transfers = store
        .read::<_, StoreError, _>(|tx| ledger::transfers(tx, "u0", None, i64::MAX))
        .unwrap();
    let of_events: BTreeSet<String> = events
        .iter()
        .map(|event| serde_json::from_str::<serde_json::Value>(&event.payload).unwrap())
        .filter_map(|payload| payload["name"].as_str().map(str::to_owned))
        .collect();
    let of_transfers: BTreeSet<String> = transfers
        .into_iter()
        .map(|row| row.id)
        .filter(|id| id.starts_with('w'))
        .collect();
    let lost: Vec<_> = acknowledged.difference(&of_events).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(of_events, of_transfers, "a request is there by half");
    for name in &of_events {
        let kept = store
            .read::<_, StoreError, _>(|tx| control::get(tx, name))
            .unwrap();
        assert_eq!(kept.is_some(), has_setting(name), "{name} is there by half");
    }
    // The sequence has no gap: readers of the outbox rely on it to see everything.
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    let expected: Vec<i64> = (1..).take(ids.len()).collect();
    assert_eq!(ids, expected);
}
