//! A machine-wide permit gate: at most `permits` inner steps run at once.
//!
//! More runnable threads than cores would slow every step and spoil the CPU
//! accounting that shares are enforced by. A free permit goes to the lane
//! (run) that holds the fewest; among equals, to whoever waited longest.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The gate.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    held: HashMap<u64, usize>,
    /// `(ticket, lane)` of everyone waiting, oldest first.
    waiting: Vec<(u64, u64)>,
    next_ticket: u64,
}

/// The right to run one inner step; given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    gate: &'a Gate,
    lane: u64,
}

impl Gate {
    /// A gate with `permits` permits, at least one.
    pub fn new(permits: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: permits.max(1),
                held: HashMap::new(),
                waiting: Vec::new(),
                next_ticket: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for a permit for `lane`.
    pub fn acquire(&self, lane: u64) -> Permit<'_> {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, lane));
        while state.free == 0 || state.first_in_turn() != Some(ticket) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.retain(|(waiting, _)| *waiting != ticket);
        state.free -= 1;
        *state.held.entry(lane).or_default() += 1;
        // With permits left, somebody else may now be first in turn.
        self.changed.notify_all();
        Permit { gate: self, lane }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn first_in_turn(&self) -> Option<u64> {
        let held = |lane: &u64| self.held.get(lane).copied().unwrap_or(0);
        self.waiting
            .iter()
            .min_by_key(|(ticket, lane)| (held(lane), *ticket))
            .map(|(ticket, _)| *ticket)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.free += 1;
        if let Some(held) = state.held.get_mut(&self.lane) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.lane);
            }
        }
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn never_more_than_the_permits_and_nobody_starves() {
        let gate = Gate::new(2);
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let done = [AtomicUsize::new(0), AtomicUsize::new(0)];
        std::thread::scope(|scope| {
            // Lane 0 has five threads, lane 1 one.
            for lane in [0, 0, 0, 0, 0, 1] {
                let (gate, running, most, done) = (&gate, &running, &most, &done);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let permit = gate.acquire(lane as u64);
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(1));
                        running.fetch_sub(1, Ordering::SeqCst);
                        done[lane].fetch_add(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(done[0].load(Ordering::SeqCst), 100);
        assert_eq!(done[1].load(Ordering::SeqCst), 20);
    }

    #[test]
    fn the_lane_with_fewest_permits_goes_first() {
        let gate = Gate::new(2);
        let busy = gate.acquire(0);
        let other = gate.acquire(9);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for lane in [0, 1] {
                let (gate, order) = (&gate, &order);
                scope.spawn(move || {
                    let _permit = gate.acquire(lane);
                    order.lock().unwrap().push(lane);
                    std::thread::sleep(Duration::from_millis(5));
                });
                // Lane 0 queues first.
                while gate.lock().waiting.len() <= lane as usize {
                    std::thread::yield_now();
                }
            }
            drop(other);
        });
        drop(busy);
        assert_eq!(*order.lock().unwrap(), [1, 0]);
    }
}
