//! Reads that took long, for an operator who wonders why.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From how long on a read is worth a note.
const SLOW: Duration = Duration::from_millis(100);
/// Notes kept, the latest.
const KEPT: usize = 50;

/// A read that took long.
#[derive(Debug, Clone, Copy)]
pub struct SlowRead {
    /// Where in the program it was asked for.
    pub place: &'static Location<'static>,
    /// How long it took, waiting for a connection included.
    pub took: Duration,
    /// When it ended.
    pub ended: Instant,
}

/// The latest slow reads.
#[derive(Default)]
pub(crate) struct SlowReads(Mutex<VecDeque<SlowRead>>);

impl SlowReads {
    /// Notes a read that began at `started`, if it was slow.
    pub(crate) fn note(&self, place: &'static Location<'static>, started: Instant) {
        let took = started.elapsed();
        if took < SLOW {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(SlowRead {
            place,
            took,
            ended: started + took,
        });
    }

    /// Latest first.
    pub(crate) fn latest(&self) -> Vec<SlowRead> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_slow_ones_are_kept() {
        let reads = SlowReads::default();
        let now = Instant::now();
        reads.note(Location::caller(), now);
        assert!(reads.latest().is_empty());
        let Some(long_ago) = now.checked_sub(Duration::from_secs(1)) else {
            return;
        };
        for _ in 0..KEPT + 5 {
            reads.note(Location::caller(), long_ago);
        }
        let latest = reads.latest();
        assert_eq!(latest.len(), KEPT);
        assert!(latest[0].took >= SLOW && latest[0].place.file().ends_with("slow.rs"));
        assert!(latest[0].ended >= latest[KEPT - 1].ended);
    }
}
