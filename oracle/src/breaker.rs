//! A circuit breaker, and the budget of a day. The time is passed in.

use std::time::{Duration, Instant};

/// A day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a judge may be asked: not while it keeps failing, and not beyond what a day may cost.
#[derive(Debug)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    day: Instant,
    spent_micro: i64,
    requests: u32,
}

/// The bounds of a [`Breaker`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Failures in a row after which nobody asks.
    pub failures_to_open: u32,
    /// For how long.
    pub open_for: Duration,
    /// Most that a day may cost, micro-credits.
    pub budget_micro: i64,
    /// Most requests of a day.
    pub requests: u32,
}

impl Breaker {
    /// Closed, with a day's budget from now on.
    pub fn new(now: Instant) -> Self {
        Self {
            failures: 0,
            open_until: None,
            day: now,
            spent_micro: 0,
            requests: 0,
        }
    }

    /// Takes leave for one request, or says why there is none. While the circuit is open nobody asks; after that one
    /// request tries, and the others wait for what becomes of it. Errors: the reason, in words.
    pub fn admit(&mut self, now: Instant, bounds: &Bounds) -> Result<(), String> {
        if now.duration_since(self.day) >= DAY {
            (self.day, self.spent_micro, self.requests) = (now, 0, 0);
        }
        if self.requests >= bounds.requests || self.spent_micro >= bounds.budget_micro {
            return Err("the budget of the day is spent".to_owned());
        }
        if let Some(until) = self.open_until {
            if now < until {
                return Err(format!(
                    "failed {} times in a row and is left alone for {} s",
                    self.failures,
                    (until - now).as_secs() + 1
                ));
            }
            self.open_until = Some(now + bounds.open_for);
        }
        self.requests += 1;
        Ok(())
    }

    /// A request was answered and cost this much.
    pub fn succeeded(&mut self, cost_micro: i64) {
        (self.failures, self.open_until) = (0, None);
        self.spent_micro = self.spent_micro.saturating_add(cost_micro);
    }

    /// A request failed.
    pub fn failed(&mut self, now: Instant, bounds: &Bounds) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= bounds.failures_to_open {
            self.open_until = Some(now + bounds.open_for);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // Any moment will do; what is tested is how much later things happen.
    #[allow(clippy::disallowed_methods)]
    fn now() -> Instant {
        Instant::now()
    }

    const BOUNDS: Bounds = Bounds {
        failures_to_open: 2,
        open_for: Duration::from_secs(10),
        budget_micro: 100,
        requests: 6,
    };

    #[test]
    fn it_opens_lets_one_try_and_closes() {
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(start);
        for second in 0..2 {
            breaker.admit(at(second), &BOUNDS).unwrap();
            breaker.failed(at(second), &BOUNDS);
        }
        assert!(breaker.admit(at(5), &BOUNDS).is_err());
        breaker.admit(at(12), &BOUNDS).unwrap();
        assert!(
            breaker.admit(at(13), &BOUNDS).is_err(),
            "one tries, others wait"
        );
        breaker.succeeded(1);
        breaker.admit(at(13), &BOUNDS).unwrap();
    }

    #[test]
    fn a_day_has_a_budget_and_the_next_a_new_one() {
        let start = now();
        let mut breaker = Breaker::new(start);
        breaker.admit(start, &BOUNDS).unwrap();
        breaker.succeeded(100);
        assert!(
            breaker
                .admit(start, &BOUNDS)
                .unwrap_err()
                .contains("budget")
        );
        let tomorrow = start + DAY;
        for _ in 0..6 {
            breaker.admit(tomorrow, &BOUNDS).unwrap();
        }
        assert!(breaker.admit(tomorrow, &BOUNDS).is_err());
    }
}
