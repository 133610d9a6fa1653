//! A clock for deadlines that people's money hangs on.
//!
//! The machine's wall clock can jump: somebody sets it, a virtual machine is resumed, a time
//! server corrects a wrong start. A deadline must neither pass early nor wait for ever because
//! of that. So time in the process goes on by the monotonic clock, and is drawn to the wall clock
//! slowly:
//!
//! ```text
//! now' = now + e + clamp(wall − (now + e), −e/100, +e/100),   e = monotonic time elapsed
//! ```
//!
//! It never runs backwards, and an hour takes at least 59.4 minutes. A restart begins at the
//! wall clock, but never before a moment that was written down (see `remember_time`).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use plumbline_store::{Store, Tx, control, outbox};

use crate::time::{Clock, Millis, SystemClock};
use crate::{Result, Service, ServiceError};

/// Where the high-water mark is kept.
const MARK: &str = "clock-high-water";
/// How often the mark is written when nothing else is.
const MARK_EVERY: Millis = 60_000;
/// A change of the distance to the wall clock above this is a jump.
const JUMP_MICROS: i64 = 60_000_000;
/// The clock gains or loses at most this part of the time elapsed.
const SLEW: i64 = 100;

type Source = Box<dyn Fn() -> i64 + Send + Sync>;

/// See the module's documentation.
pub struct SteadyClock {
    wall_millis: Source,
    monotonic_micros: Source,
    state: Mutex<State>,
    jumps: AtomicU64,
    offset: AtomicI64,
}

#[derive(Debug, Clone, Copy)]
struct State {
    now_micros: i64,
    monotonic_micros: i64,
    gap_micros: i64,
}

impl SteadyClock {
    /// On the machine's clocks, from `not_before` on at the earliest.
    pub fn system(not_before: Millis) -> Self {
        let started = Instant::now();
        let elapsed = move || i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        Self::new(
            Box::new(|| SystemClock.now()),
            Box::new(elapsed),
            not_before,
        )
    }

    /// On other sources: the wall clock in milliseconds since 1970, and a monotonic one in
    /// microseconds since any moment.
    pub fn new(wall_millis: Source, monotonic_micros: Source, not_before: Millis) -> Self {
        let now_millis = wall_millis().max(not_before);
        let state = State {
            now_micros: now_millis.saturating_mul(1_000),
            monotonic_micros: monotonic_micros(),
            gap_micros: 0,
        };
        Self {
            wall_millis,
            monotonic_micros,
            state: Mutex::new(state),
            jumps: AtomicU64::new(0),
            offset: AtomicI64::new(0),
        }
    }

    /// One reading; whether the wall clock jumped since the last one, and how far it is now.
    fn advance(&self, state: &mut State) -> (bool, i64) {
        let monotonic = (self.monotonic_micros)().max(state.monotonic_micros);
        let elapsed = monotonic - state.monotonic_micros;
        let steady = state.now_micros.saturating_add(elapsed);
        let gap = (self.wall_millis)()
            .saturating_mul(1_000)
            .saturating_sub(steady);
        let jumped = gap.saturating_sub(state.gap_micros).saturating_abs() > JUMP_MICROS;
        let slew = gap.clamp(-(elapsed / SLEW), elapsed / SLEW);
        *state = State {
            now_micros: steady.saturating_add(slew),
            monotonic_micros: monotonic,
            gap_micros: gap,
        };
        (jumped, gap)
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Millis {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (jumped, gap) = self.advance(&mut state);
        self.offset.store(gap / 1_000, Ordering::Relaxed);
        if jumped {
            self.jumps.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                offset_s = gap / 1_000_000,
                "the wall clock jumped; deadlines go on by the time that has really passed"
            );
        }
        state.now_micros.div_euclid(1_000)
    }

    fn jumps(&self) -> u64 {
        self.jumps.load(Ordering::Relaxed)
    }

    fn offset(&self) -> Millis {
        self.offset.load(Ordering::Relaxed)
    }
}

/// The latest moment that the store knows of: the mark, or the last event. A clock for a service on
/// this store must not begin before it.
///
/// # Errors
/// When the store cannot be read.
pub fn high_water(store: &Store) -> Result<Millis> {
    store.read(|tx: &mut Tx| {
        let marked = control::get(tx, MARK)?.and_then(|text| text.parse().ok());
        let last = outbox::last_id(tx)?;
        let event = outbox::after(tx, last - 1, 1)?.pop().map(|event| event.at);
        Ok::<Millis, ServiceError>(marked.max(event).unwrap_or(0))
    })
}

impl Service {
    /// Writes the time down now and then, so that a restart never goes back before it.
    pub(crate) fn remember_time(&self) -> Result<()> {
        let now = self.now();
        if now - self.marked_at.load(Ordering::Acquire) < MARK_EVERY {
            return Ok(());
        }
        self.write(move |tx| Ok(control::put(tx, MARK, &now.to_string(), now)?))?;
        self.marked_at.store(now, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    /// A wall clock and a monotonic clock that the test moves.
    struct Bench {
        wall: Arc<AtomicI64>,
        monotonic: Arc<AtomicI64>,
        clock: SteadyClock,
    }

    const START: i64 = 1_790_000_000_000;

    fn bench(not_before: Millis) -> Bench {
        let wall = Arc::new(AtomicI64::new(START));
        let monotonic = Arc::new(AtomicI64::new(5));
        let (a, b) = (Arc::clone(&wall), Arc::clone(&monotonic));
        let clock = SteadyClock::new(
            Box::new(move || a.load(Ordering::SeqCst)),
            Box::new(move || b.load(Ordering::SeqCst)),
            not_before,
        );
        Bench {
            wall,
            monotonic,
            clock,
        }
    }

    impl Bench {
        fn pass(&self, millis: i64) -> Millis {
            self.wall.fetch_add(millis, Ordering::SeqCst);
            self.monotonic.fetch_add(millis * 1_000, Ordering::SeqCst);
            self.clock.now()
        }

        fn jump(&self, millis: i64) {
            self.wall.fetch_add(millis, Ordering::SeqCst);
        }
    }

    #[test]
    fn without_jumps_it_is_the_wall_clock() {
        let bench = bench(0);
        assert_eq!(bench.clock.now(), START);
        assert_eq!(bench.pass(1_234), START + 1_234);
        assert_eq!(bench.clock.jumps(), 0);
    }

    #[test]
    fn a_jump_ahead_ends_no_window_early() {
        let bench = bench(0);
        bench.jump(3_600_000);
        assert_eq!(bench.clock.now(), START, "no time has passed");
        assert_eq!((bench.clock.jumps(), bench.clock.offset()), (1, 3_600_000));
        // A window of a minute ends after 59.4 seconds at the earliest.
        assert_eq!(bench.pass(59_400), START + 59_994);
        // It catches up in a hundred times the distance.
        for _ in 0..100 {
            bench.pass(3_600_000);
        }
        let wall = bench.wall.load(Ordering::SeqCst);
        assert!(
            wall - bench.clock.now() <= 1,
            "{}",
            wall - bench.clock.now()
        );
        assert_eq!(bench.clock.jumps(), 1, "catching up is no jump");
    }

    #[test]
    fn a_jump_back_never_turns_time_back() {
        let bench = bench(0);
        bench.pass(1_000);
        bench.jump(-86_400_000);
        let mut last = bench.clock.now();
        assert_eq!(bench.clock.jumps(), 1);
        for _ in 0..1_000 {
            let now = bench.pass(7);
            assert!(now >= last + 6, "{now} after {last}");
            last = now;
        }
    }

    #[test]
    fn a_restart_begins_where_the_last_one_ended_if_the_wall_clock_fell_behind() {
        let bench = bench(START + 500_000);
        assert_eq!(bench.clock.now(), START + 500_000);
        assert_eq!(bench.pass(1_000), START + 500_990);
        let bench = self::bench(START - 500_000);
        assert_eq!(bench.clock.now(), START);
    }

    #[test]
    fn readings_in_between_lose_nothing() {
        let (often, seldom) = (bench(0), bench(0));
        often.jump(600_000);
        seldom.jump(600_000);
        for _ in 0..10_000 {
            often.pass(3);
        }
        let difference = often.clock.now() - seldom.pass(30_000);
        assert!(difference.abs() <= 1, "{difference}");
    }
}
