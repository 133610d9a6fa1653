//! Deaths of the writing process at a chosen commit.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plumbline_service::Service;
use plumbline_store::{CrashPlan, Moment, Store, StoreOptions};

/// No commit is the last.
pub const NEVER: usize = usize::MAX;

/// Dies at the chosen commit, counted from 0 when armed; copies the files aside.
pub struct DieAt {
    pub from: PathBuf,
    pub to: PathBuf,
    pub left: AtomicUsize,
}

impl CrashPlan for DieAt {
    fn strikes(&self, moment: Moment<'_>) -> bool {
        let left = self.left.load(Ordering::SeqCst);
        if left == NEVER || matches!(moment, Moment::Statement(_)) {
            return false;
        }
        if left > 0 {
            self.left.store(left - 1, Ordering::SeqCst);
            return false;
        }
        copy(&self.from, &self.to);
        true
    }
}

pub fn copy(from: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        let file = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        if file(from).exists() {
            std::fs::copy(file(from), file(to)).unwrap();
        }
    }
}

/// From the state `start` on, lets the process die at each commit of `finish` in turn, which says whether it came to
/// its end. After each death a new process finishes what is left, and `check` looks at it. The number of deaths.
pub fn at_every_commit(
    start: &Path,
    open: impl Fn(Store) -> Service,
    finish: impl Fn(&Service) -> bool,
    check: impl Fn(&Service, usize),
) -> usize {
    let folder = tempfile::tempdir().unwrap();
    for at in 0.. {
        let from = folder.path().join(format!("{at}-from.db"));
        let to = folder.path().join(format!("{at}-to.db"));
        copy(start, &from);
        let plan = Arc::new(DieAt {
            from: from.clone(),
            to: to.clone(),
            left: AtomicUsize::new(NEVER),
        });
        let store = Store::open_to_crash(&from, StoreOptions::default(), plan.clone()).unwrap();
        let service = open(store);
        plan.left.store(at, Ordering::SeqCst);
        let survived = finish(&service);
        drop(service);
        if !to.exists() {
            assert!(survived);
            return at;
        }
        let service = open(Store::open(&to, StoreOptions::default()).unwrap());
        assert!(finish(&service), "death at commit {at}");
        check(&service, at);
    }
    unreachable!("commits end")
}
