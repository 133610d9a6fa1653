//! Where there are no control groups: stopping processes that have used what they may, and letting them go on
//! when time has passed.
//!
//! A bucket fills with the allowance and empties with the processor time that the tree really used, so the share
//! holds for any number of threads. What is not used is kept for one window only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::tree;

/// Time between two looks.
const TICK: Duration = Duration::from_millis(20);
/// Ticks between two looks for new processes.
const TICKS_TO_LIST: u32 = 10;
/// Allowance that can be kept, as time.
const WINDOW_MS: f64 = 200.0;

/// Keeps a tree of processes to a share of the processor, until it is dropped: then it stays stopped.
#[derive(Debug)]
pub(super) struct Duty {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    milli_cores: u64,
    ended: bool,
}

impl Duty {
    /// Starts with the tree stopped.
    pub(super) fn start(root: i32) -> std::io::Result<Self> {
        tree::signal(&tree::descendants(root), Signal::STOP);
        let shared = Arc::new(Mutex::new(Shared {
            milli_cores: 0,
            ended: false,
        }));
        let watched = Arc::clone(&shared);
        let name = format!("duty-{root}");
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || watch(root, &watched))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Lets the tree use at most `milli_cores` thousandths of a core from now on.
    pub(super) fn limit(&self, milli_cores: u64) {
        lock(&self.shared).milli_cores = milli_cores;
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        lock(&self.shared).ended = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Two plain values: they are whole even if a thread died while it held them.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(root: i32, shared: &Mutex<Shared>) {
    let mut pids = tree::descendants(root);
    let mut used = tree::cpu_ms(&pids);
    let mut bucket = Bucket::default();
    let mut last = Instant::now();
    let mut tick = 0_u32;
    loop {
        let (milli_cores, ended) = {
            let shared = lock(shared);
            (shared.milli_cores, shared.ended)
        };
        tick = tick.wrapping_add(1);
        if tick.is_multiple_of(TICKS_TO_LIST) || ended {
            pids = tree::descendants(root);
        }
        let now = tree::cpu_ms(&pids);
        let spent = spent_ms(&used, &now);
        used = now;
        let passed = last.elapsed();
        last = Instant::now();
        let goes = bucket.step(milli_cores, passed, spent) && !ended;
        tree::signal(&pids, if goes { Signal::CONT } else { Signal::STOP });
        if ended || pids.is_empty() && tree::process(root).is_none() {
            return;
        }
        std::thread::sleep(TICK);
    }
}

/// Processor time since the last look; a process that is new counts from its start.
fn spent_ms(before: &BTreeMap<i32, u64>, now: &BTreeMap<i32, u64>) -> u64 {
    let since = |(pid, ms): (&i32, &u64)| ms.saturating_sub(before.get(pid).copied().unwrap_or(0));
    now.iter().map(since).sum()
}

#[derive(Debug, Default)]
struct Bucket {
    left_ms: f64,
}

impl Bucket {
    /// Fills for the time that passed, takes what was spent; whether there is anything left.
    fn step(&mut self, milli_cores: u64, passed: Duration, spent_ms: u64) -> bool {
        let rate = milli_cores as f64 / 1000.0;
        self.left_ms += rate * passed.as_secs_f64() * 1000.0 - spent_ms as f64;
        self.left_ms = self.left_ms.min(rate * WINDOW_MS);
        milli_cores > 0 && self.left_ms > 0.0
    }
}

/// Whether every living process of `pids` is stopped.
pub(super) fn all_stopped(pids: &BTreeSet<i32>) -> bool {
    let stopped =
        |pid: &i32| tree::process(*pid).is_none_or(|found| matches!(found.state, 'T' | 't'));
    pids.iter().all(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_is_spent_than_is_allowed_however_many_threads_there_are() {
        for (milli_cores, threads) in [(50, 1), (400, 2), (900, 8), (1_500, 2), (3_000, 2)] {
            let mut bucket = Bucket::default();
            let (mut spent, mut goes) = (0, false);
            for _ in 0..5_000 {
                let now = if goes { 20 * threads } else { 0 };
                spent += now;
                goes = bucket.step(milli_cores, TICK, now);
            }
            let allowed = milli_cores * 5_000 * 20 / 1000;
            let possible = 5_000 * 20 * threads;
            let expected = allowed.min(possible) as f64;
            let ratio = spent as f64 / expected;
            assert!(
                (0.97..=1.02).contains(&ratio),
                "{milli_cores} {threads}: {ratio}"
            );
        }
        let mut bucket = Bucket::default();
        assert!(
            !bucket.step(0, Duration::from_secs(100), 0),
            "a share of 0 never runs"
        );
    }
}
