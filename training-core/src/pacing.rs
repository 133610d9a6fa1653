//! A compute share, enforced as a token bucket over CPU time.
//!
//! A node's rate `ρ ∈ [0, 10000]` (basis points of one core) earns CPU time
//! while wall time passes, and inner steps spend it. Spending may overdraw the
//! bucket by one step, whose length is not known beforehand; the node then
//! waits until the debt is earned. Over any window the CPU time used is
//! therefore at most `ρ/10000 × window + burst + one step`.

use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// Basis points of a whole core or machine: 10,000 is all of it.
pub const FULL_BPS: u32 = 10_000;

/// Rate of one node thread, in basis points of one core, for a run that may
/// use `share_bps` of a machine of `cores` cores with `nodes` node threads.
///
/// `ρ = min(10000, ⌊share × cores / nodes⌋)`, with `share` clamped to 10000;
/// zero when there are no nodes.
pub fn node_rate_bps(share_bps: u32, cores: usize, nodes: usize) -> u32 {
    if nodes == 0 {
        return 0;
    }
    let share = u128::from(share_bps.min(FULL_BPS));
    let rate = share * cores as u128 / nodes as u128;
    rate.min(u128::from(FULL_BPS)) as u32
}

/// What a node must do before its next inner step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Go on at once.
    None,
    /// Wait this long, then ask again.
    For(Micros),
    /// The rate is zero: wait until it changes. Nothing is forgotten.
    Paused,
}

/// The bucket of one node thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pacer {
    rate_bps: u32,
    burst: Micros,
    /// Unspent CPU time in µs × 10,000; negative while in debt.
    credit: i128,
    last: Micros,
}

impl Pacer {
    /// A bucket without credit. `burst` is the CPU time that an idle node may
    /// save up: a step or two, so that waiting for the other nodes at the end
    /// of a round does not cost it its share.
    pub fn new(rate_bps: u32, burst: Micros, now: Micros) -> Self {
        Self {
            rate_bps: rate_bps.min(FULL_BPS),
            burst,
            credit: 0,
            last: now,
        }
    }

    /// The present rate in basis points of one core.
    pub fn rate_bps(&self) -> u32 {
        self.rate_bps
    }

    /// Changes the rate from `now` on: time already passed is earned at the
    /// old rate, and savings are given up, so a lower rate bites at once. A
    /// debt is kept and is paid at the new rate.
    pub fn set_rate(&mut self, now: Micros, rate_bps: u32) {
        self.settle(now, Micros(0));
        self.rate_bps = rate_bps.min(FULL_BPS);
        self.credit = self.credit.min(0);
    }

    /// Spends the CPU time used since the last call and says how long to wait.
    ///
    /// `credit ← min(10000·burst, credit + ρ·Δt − 10000·cpu)`; the wait is
    /// `⌈−credit / ρ⌉` when the credit is negative. What is earned during a
    /// step pays for that step even without any burst. Call it before a step
    /// too (with the little used since), or idle time before the step pays as
    /// well.
    pub fn step(&mut self, now: Micros, cpu_used: Micros) -> Wait {
        self.settle(now, cpu_used);
        if self.rate_bps == 0 {
            return Wait::Paused;
        }
        if self.credit >= 0 {
            return Wait::None;
        }
        let rate = i128::from(self.rate_bps);
        let wait = (-self.credit + rate - 1) / rate;
        Wait::For(Micros(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    fn credit_limit(&self) -> i128 {
        i128::from(self.burst.0) * i128::from(FULL_BPS)
    }

    fn settle(&mut self, now: Micros, cpu_used: Micros) {
        let earned = i128::from(now.since(self.last).0) * i128::from(self.rate_bps);
        let spent = i128::from(cpu_used.0) * i128::from(FULL_BPS);
        self.credit = (self.credit + earned - spent).min(self.credit_limit());
        self.last = self.last.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs steps of `cost` CPU µs for `window` µs and counts those begun.
    fn steps_in(rate: u32, cost: u64, window: u64) -> u64 {
        let mut pacer = Pacer::new(rate, Micros(0), Micros(0));
        let (mut now, mut steps) = (0, 0);
        let mut wait = pacer.step(Micros(now), Micros(0));
        while now < window {
            match wait {
                Wait::None => {
                    now += cost;
                    steps += 1;
                    wait = pacer.step(Micros(now), Micros(cost));
                }
                Wait::For(time) => {
                    now += time.0;
                    wait = pacer.step(Micros(now), Micros(0));
                }
                Wait::Paused => break,
            }
        }
        steps
    }

    #[test]
    fn rate_per_node_is_share_of_the_machine() {
        // share, cores, nodes → rate
        for (share, cores, nodes, rate) in [
            (10_000, 2, 2, 10_000),
            (5_000, 2, 2, 5_000),
            (5_000, 2, 1, 10_000),
            (5_000, 2, 4, 2_500),
            (10_000, 2, 3, 6_666),
            (10_000, 8, 2, 10_000),
            (0, 2, 2, 0),
            (10_000, 2, 0, 0),
            (20_000, 1, 2, 5_000),
        ] {
            assert_eq!(node_rate_bps(share, cores, nodes), rate);
        }
    }

    #[test]
    fn zero_rate_pauses_and_a_new_rate_resumes() {
        let mut pacer = Pacer::new(10_000, Micros(1_000), Micros(0));
        pacer.set_rate(Micros(10), 0);
        assert_eq!(pacer.step(Micros(1_000_000), Micros(500)), Wait::Paused);
        pacer.set_rate(Micros(2_000_000), 5_000);
        // The 500 µs used are paid at half rate, nothing was earned while paused.
        assert_eq!(
            pacer.step(Micros(2_000_000), Micros(0)),
            Wait::For(Micros(1_000))
        );
    }

    #[test]
    fn idle_time_buys_no_more_than_the_burst() {
        let mut pacer = Pacer::new(5_000, Micros(1_000), Micros(0));
        assert_eq!(pacer.step(Micros(60_000_000), Micros(0)), Wait::None);
        assert_eq!(pacer.step(Micros(60_000_000), Micros(1_000)), Wait::None);
        assert_eq!(
            pacer.step(Micros(60_000_000), Micros(500)),
            Wait::For(Micros(1_000))
        );
    }

    #[test]
    fn a_clock_that_goes_back_earns_nothing_twice() {
        let mut pacer = Pacer::new(10_000, Micros(10_000), Micros(5_000));
        assert_eq!(
            pacer.step(Micros(1_000), Micros(100)),
            Wait::For(Micros(100))
        );
        assert_eq!(pacer.step(Micros(5_000), Micros(0)), Wait::For(Micros(100)));
        assert_eq!(pacer.step(Micros(5_100), Micros(0)), Wait::None);
    }

    proptest! {
        #[test]
        fn quarter_share_gives_a_quarter_of_the_steps(cost in 1_000_u64..400_000) {
            let window = cost * 4_000;
            let full = steps_in(10_000, cost, window);
            let quarter = steps_in(2_500, cost, window);
            prop_assert_eq!(full, 4_000);
            prop_assert_eq!(quarter, full / 4);
        }

        #[test]
        fn use_never_exceeds_the_share(
            rate in 1_u32..=10_000,
            burst in 0_u64..200_000,
            costs in prop::collection::vec((1_u64..300_000, 0_u64..300_000), 1..60),
        ) {
            // Each step costs CPU time; an idle spell follows it.
            let mut pacer = Pacer::new(rate, Micros(burst), Micros(0));
            let (mut now, mut used, mut largest) = (0_u64, 0_u64, 0_u64);
            for (cost, idle) in costs {
                while let Wait::For(time) = pacer.step(Micros(now), Micros(0)) {
                    now += time.0;
                }
                now += cost;
                used += cost;
                largest = largest.max(cost);
                pacer.step(Micros(now), Micros(cost));
                now += idle;
                let earned = now as f64 * f64::from(rate) / 10_000.0;
                prop_assert!(used as f64 <= earned + (burst + largest) as f64 + 1.0);
            }
        }

        #[test]
        fn a_change_of_share_takes_effect_at_once(
            before in 1_u32..=10_000, after in 1_u32..=10_000, cost in 1_000_u64..200_000,
        ) {
            let mut pacer = Pacer::new(before, Micros(50_000), Micros(0));
            pacer.step(Micros(1_000_000), Micros(0));
            pacer.set_rate(Micros(1_000_000), after);
            let mut now = 1_000_000;
            let start = now;
            let mut steps = 0_u64;
            while steps < 500 {
                match pacer.step(Micros(now), Micros(0)) {
                    Wait::For(time) => now += time.0,
                    _ => {
                        now += cost;
                        steps += 1;
                        pacer.step(Micros(now), Micros(cost));
                    }
                }
            }
            if let Wait::For(time) = pacer.step(Micros(now), Micros(0)) {
                now += time.0;
            }
            let used = (steps * cost) as f64;
            let earned = (now - start) as f64 * f64::from(after) / 10_000.0;
            prop_assert!(used <= earned + 1.0);
            prop_assert!(used >= earned - 500.0);
        }
    }
}
