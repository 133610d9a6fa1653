//! Whatever order decisions come in, however the clock jumps, whenever the consumer dies: a share grows
//! only by a newer decision whose lease runs.

#![allow(clippy::unwrap_used)]

use plumbline_governance::Action;

use super::super::fixtures::{at, bps, decision};
use super::*;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % count
    }
}

/// Twelve decisions on one run, five seconds apart.
fn chain(dice: &mut Dice) -> Vec<(Envelope, AllocationDecision)> {
    let mut chain: Vec<(Envelope, AllocationDecision)> = Vec::new();
    for n in 0..12_i64 {
        let share = 100 * dice.below(101) as u16;
        let (action, share) = match dice.below(5) {
            0 => (Action::Pause, 0),
            _ => (Action::Throttle, share),
        };
        let before = chain.last().map(|(_, decision)| decision);
        let id = u128::from(n.unsigned_abs()) + 1;
        chain.push(decision(id, action, share, before, at(5 * n)));
    }
    chain
}

/// What the run has, and by which decision it came to that.
#[derive(Default)]
struct Run {
    share: Option<Bps>,
    generation: u64,
}

impl Run {
    fn obey(&mut self, tracker: &mut Tracker, chain: &[(Envelope, AllocationDecision)], now: i64) {
        for step in tracker.due(at(now), false) {
            let Step::Apply(order) = step else {
                continue;
            };
            let (_, by) = &chain[usize::try_from(order.generation).unwrap() - 1];
            assert!(order.generation >= self.generation, "went back");
            assert!(order.share_bps <= by.share_bps);
            if self.share.is_some_and(|share| order.share_bps > share) {
                assert!(at(now) < by.expires_at, "grew by a lease that ran out");
                assert!(at(now) >= by.not_before);
            }
            (self.share, self.generation) = (Some(order.share_bps), order.generation);
            tracker.applying(&order);
            let done = Applied {
                actual_bps: order.share_bps,
                method: "test".to_owned(),
            };
            tracker.applied(&order, &Ok(done));
        }
    }
}

#[test]
fn a_share_grows_only_by_a_newer_decision_whose_lease_runs() {
    let mut grown = 0;
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let chain = chain(&mut dice);
        let (mut tracker, mut run) = (Tracker::new("host", "core"), Run::default());
        let mut now = 0;
        for _ in 0..60 {
            match dice.below(10) {
                0..=3 => {
                    // What was issued by now, the newest more often than not.
                    let issued = (now / 5 + 1).clamp(1, 12) as u64;
                    let back = if dice.below(3) == 0 {
                        dice.below(issued)
                    } else {
                        0
                    };
                    let (envelope, decision) = chain[(issued - 1 - back) as usize].clone();
                    tracker.offer(envelope, decision, "run", at(now));
                }
                4 => now -= dice.below(15) as i64,
                5..=6 => now += dice.below(12) as i64,
                7 => {
                    // A restart: what is on the disk is all that is left.
                    let kept = tracker.snapshot();
                    tracker = Tracker::new("host", "core");
                    for held in kept {
                        let by = chain
                            .iter()
                            .find(|(envelope, _)| *envelope == held.envelope);
                        tracker.restore(held.clone(), by.unwrap().1.clone());
                    }
                }
                _ => {
                    let before = run.share;
                    run.obey(&mut tracker, &chain, now);
                    grown += u32::from(before.is_some() && run.share > before);
                }
            }
            now = now.max(0);
        }
    }
    assert!(grown > 100, "{grown}");
}

#[test]
fn a_lease_that_ran_out_stays_out_whatever_the_clock_says() {
    let mut tracker = Tracker::new("host", "core");
    let (envelope, first) = decision(1, Action::Allow, 4_000, None, at(0));
    let chain = [(envelope.clone(), first.clone())];
    let mut run = Run::default();
    tracker.offer(envelope, first.clone(), "run", at(0));
    run.obey(&mut tracker, &chain, 1);
    run.obey(&mut tracker, &chain, 40);
    assert_eq!(run.share, Some(bps(500)));
    for _ in 0..2 {
        run.obey(&mut tracker, &chain, 2);
        assert_eq!(run.share, Some(bps(500)));
        let kept = tracker.snapshot();
        tracker = Tracker::new("host", "core");
        tracker.restore(kept[0].clone(), first.clone());
    }
}

#[test]
fn a_decision_that_lapses_before_it_is_acted_on_gives_nothing() {
    let mut tracker = Tracker::new("host", "core");
    let paused = decision(1, Action::Pause, 0, None, at(0));
    let more = decision(2, Action::Allow, 4_000, Some(&paused.1), at(5));
    let chain = [paused, more];
    let mut run = Run::default();
    tracker.offer(chain[0].0.clone(), chain[0].1.clone(), "run", at(0));
    run.obey(&mut tracker, &chain, 1);
    tracker.offer(chain[1].0.clone(), chain[1].1.clone(), "run", at(6));
    // The process was stopped for a minute between taking it and acting on it.
    run.obey(&mut tracker, &chain, 66);
    assert_eq!(run.share, Some(Bps::ZERO));
}
