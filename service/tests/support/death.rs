//! Deaths of the writing process at a chosen commit.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use plumbline_store::{CrashPlan, Moment};

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
