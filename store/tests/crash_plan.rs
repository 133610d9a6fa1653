//! A simulated death of the writing process, at every moment of a few writes: what was acknowledged
//! is in the copy that it leaves, and nothing is there by half.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{assert_sound, seeded, transfer};
use plumbline_store::{CrashPlan, Moment, Store, StoreError, StoreOptions, ledger, outbox};

/// Dies at the `at`-th moment after [`DieAt::arm`]; copies the files aside.
struct DieAt {
    from: PathBuf,
    to: PathBuf,
    at: AtomicUsize,
    seen: Mutex<Vec<String>>,
}

const NEVER: usize = usize::MAX;

impl DieAt {
    fn arm(&self, at: usize) {
        self.at.store(at, Ordering::SeqCst);
    }
}

impl CrashPlan for DieAt {
    fn strikes(&self, moment: Moment<'_>) -> bool {
        let left = self.at.load(Ordering::SeqCst);
        if left == NEVER {
            return false;
        }
        let name = match moment {
            Moment::Statement(sql) => sql.to_string(),
            Moment::Commit => "before the commit".to_owned(),
            Moment::Committed => "after the commit".to_owned(),
        };
        self.seen.lock().unwrap().push(name);
        if left > 0 {
            self.at.store(left - 1, Ordering::SeqCst);
            return false;
        }
        for ending in ["", "-wal"] {
            let file = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
            std::fs::copy(file(&self.from), file(&self.to)).unwrap();
        }
        true
    }
}

/// One write that dies at moment `at`: whether it was acknowledged, whether it is in the copy, and
/// the moments that it went through.
fn dying_at(at: usize) -> (bool, bool, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("plumbline.db");
    let to = folder.path().join("copy.db");
    drop(seeded(&from, StoreOptions::default()));
    let plan = Arc::new(DieAt {
        from: from.clone(),
        to: to.clone(),
        at: AtomicUsize::new(NEVER),
        seen: Mutex::default(),
    });
    let store = Store::open_to_crash(&from, StoreOptions::default(), plan.clone()).unwrap();
    let write = |name: &'static str| {
        store.write::<_, StoreError, _>(move |tx| {
            let entries = [("u0".to_owned(), -1), ("treasury".to_owned(), 1)];
            ledger::post(tx, &transfer(name.to_owned(), &entries))?;
            outbox::push(tx, 1, "t", "k", &serde_json::Value::Null)?;
            Ok(())
        })
    };
    write("earlier").unwrap();
    plan.arm(at);
    let acknowledged = write("dying").is_ok();
    if !acknowledged {
        assert_eq!(write("later"), Err(StoreError::Closed));
    }
    drop(store);
    let seen = plan.seen.lock().unwrap().clone();
    if acknowledged {
        return (true, true, seen);
    }
    let store = Store::open(&to, StoreOptions::default()).unwrap();
    assert_sound(&store);
    let found = store
        .read::<_, StoreError, _>(|tx| ledger::transfers(tx, "u0", None, 10))
        .unwrap();
    let has = |id: &str| found.iter().any(|row| row.id == id);
    assert!(has("earlier") && !has("later"));
    let events = store.read::<_, StoreError, _>(outbox::last_id).unwrap();
    assert_eq!(events == 2, has("dying"), "a request is there by half");
    (false, has("dying"), seen)
}

#[test]
fn a_death_at_any_moment_leaves_what_was_acknowledged_and_nothing_by_half() {
    let mut moments = Vec::new();
    let mut kept = Vec::new();
    for at in 0.. {
        let (acknowledged, found, seen) = dying_at(at);
        if acknowledged {
            moments = seen;
            break;
        }
        if found {
            kept.push(seen.last().unwrap().clone());
        }
    }
    assert!(moments.len() > 6, "{moments:?}");
    assert!(moments.iter().any(|moment| moment.contains("INSERT")));
    // Only a death after the commit leaves the request there without an answer.
    assert_eq!(kept, ["after the commit"]);
}
