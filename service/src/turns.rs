//! When the service's threads last did something, so that one that hangs is seen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is known of each thread.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<&'static str, Turn>>);

#[derive(Debug, Clone, Copy)]
struct Turn {
    since: Instant,
    busy: bool,
    turns: u64,
    failures: u64,
    longest: Duration,
}

/// One thread, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TurnView {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether it is in the middle of a turn.
    pub(crate) busy: bool,
    /// Since the turn began or, between turns, since the last one ended.
    pub(crate) age: Duration,
    /// Turns ended.
    pub(crate) turns: u64,
    /// Those that failed.
    pub(crate) failures: u64,
    /// The longest one.
    pub(crate) longest: Duration,
}

impl Turns {
    /// A thread begins a turn.
    pub(crate) fn begin(&self, name: &'static str) {
        self.with(name, |turn| {
            (turn.since, turn.busy) = (Instant::now(), true)
        });
    }

    /// It has ended, well or not.
    pub(crate) fn end(&self, name: &'static str, failed: bool) {
        self.with(name, |turn| {
            turn.longest = turn.longest.max(turn.since.elapsed());
            (turn.since, turn.busy) = (Instant::now(), false);
            turn.turns += 1;
            turn.failures += u64::from(failed);
        });
    }

    fn with(&self, name: &'static str, change: impl FnOnce(&mut Turn)) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(turns.entry(name).or_insert(Turn {
            since: Instant::now(),
            busy: false,
            turns: 0,
            failures: 0,
            longest: Duration::ZERO,
        }));
    }

    /// Every thread that had a turn.
    pub(crate) fn view(&self) -> Vec<TurnView> {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns
            .iter()
            .map(|(name, turn)| TurnView {
                name,
                busy: turn.busy,
                age: turn.since.elapsed(),
                turns: turn.turns,
                failures: turn.failures,
                longest: turn.longest,
            })
            .collect()
    }

    /// Whether this thread had a turn and then none for `limit`, or is in one for so long.
    pub(crate) fn is_stuck(&self, name: &str, limit: Duration) -> bool {
        self.view()
            .iter()
            .any(|turn| turn.name == name && turn.age > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_and_a_thread_that_hangs_is_stuck() {
        let turns = Turns::default();
        assert!(!turns.is_stuck("deadlines", Duration::ZERO), "not started");
        turns.begin("deadlines");
        turns.end("deadlines", false);
        turns.begin("deadlines");
        turns.end("deadlines", true);
        turns.begin("deadlines");
        let view = turns.view();
        assert_eq!(
            (view[0].turns, view[0].failures, view[0].busy),
            (2, 1, true)
        );
        std::thread::sleep(Duration::from_millis(2));
        assert!(turns.is_stuck("deadlines", Duration::from_millis(1)));
        assert!(!turns.is_stuck("deadlines", Duration::from_secs(60)));
        assert!(!turns.is_stuck("other", Duration::ZERO));
    }
}
