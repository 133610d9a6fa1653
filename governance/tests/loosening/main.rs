//! No schedule of prices, crashes and reorderings makes a share grow without a fresh, sufficient,
//! unexpired basis, or a vote in force that permits it; and no compute is in use twice.
//!
//! Random schedules run through the crate's own planning, issuing, accepting and acknowledging; another
//! hand judges every decision and every use from the facts. That the judge can say no is tested too:
//! each named fault is found.
#![allow(clippy::unwrap_used)]

mod law;
mod world;

use law::judge;
use plumbline_governance::Bps;
use plumbline_governance::orders::OrderEffect;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::{Event, Fault, RUNS};

fn any_bps() -> impl Strategy<Value = Bps> {
    (0u16..=20).prop_map(|n| Bps::new(n * 500).unwrap())
}

fn any_effect() -> impl Strategy<Value = OrderEffect> {
    prop_oneof![
        2 => any_bps().prop_map(|bps| OrderEffect::Cap { bps }),
        1 => Just(OrderEffect::Pause),
        3 => any_bps().prop_map(|bps| OrderEffect::Permit { bps }),
    ]
}

/// A schedule in which nothing happens for long shows nothing: calm prices and working rounds are
/// frequent, so that shares do grow, and everything else comes between.
fn any_event() -> impl Strategy<Value = Event> {
    let run = || 0..RUNS;
    let price = prop_oneof![3 => 0.02f64..0.3, 1 => 0.0f64..=1.0];
    let pi = prop_oneof![2 => 0.0f64..0.3, 1 => 0.0f64..=1.0];
    let wait = prop_oneof![6 => 1i64..8, 2 => 8i64..50, 1 => 100i64..700, 1 => -30i64..0];
    let late = prop_oneof![4 => Just(0usize), 1 => 0usize..9];
    let liquidity = prop_oneof![2 => Just(100_000_000), 1 => 0u64..20_000_000];
    let seal = prop_oneof![3 => Just(None), 1 => any_bps().prop_map(Some)];
    prop_oneof![
        12 => Just(Event::Round),
        14 => wait.prop_map(Event::Wait),
        6 => any::<bool>().prop_map(|crash| Event::Tick { crash }),
        8 => (run(), price.clone()).prop_map(|(run, price)| Event::Price(run, price)),
        4 => (run(), prop::bool::weighted(0.1), price)
            .prop_map(|(run, advisory, price)| Event::NewMarket { run, advisory, price }),
        1 => run().prop_map(Event::NoMarket),
        2 => (run(), liquidity).prop_map(|(run, liquidity)| Event::Liquidity(run, liquidity)),
        2 => (run(), pi).prop_map(|(run, pi)| Event::Settle(run, pi)),
        2 => (run(), any_effect(), 1i64..60, seal).prop_map(|(run, effect, term_s, before)| {
            let before = before.filter(|_| matches!(effect, OrderEffect::Cap { .. }));
            Event::Order { run, effect, term_s, before }
        }),
        2 => (0usize..4).prop_map(Event::Policy),
        6 => (run(), late.clone()).prop_map(|(run, back)| Event::Deliver { run, back }),
        5 => run().prop_map(Event::Apply),
        4 => (run(), late).prop_map(|(run, back)| Event::Ack { run, back }),
        1 => (run(), -100i64..100).prop_map(|(run, skew)| Event::Skew(run, skew)),
    ]
}

fn any_schedule(most: usize) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(), 20..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn nothing_loosens_without_a_basis(schedule in any_schedule(140)) {
        if let Err(what) = judge(&schedule, None) {
            prop_assert!(false, "{}", what);
        }
    }
}

/// Schedules from a fixed seed, for as long as it takes.
fn sampled(most: usize, length: usize) -> impl Iterator<Item = Vec<Event>> {
    let mut runner = TestRunner::deterministic();
    let strategy = any_schedule(length);
    (0..most).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

#[test]
fn the_schedules_do_loosen() {
    let (mut increases, mut used) = (0, 0);
    for schedule in sampled(100, 140) {
        let law = judge(&schedule, None).unwrap();
        increases += law.increases;
        used += law.used;
    }
    assert!(increases > 80 && used > 60, "{increases} {used}");
}

#[test]
fn long_histories_keep_the_laws() {
    for schedule in sampled(4, 4_000) {
        judge(&schedule, None).unwrap();
    }
}

#[test]
fn every_fault_is_found() {
    for fault in Fault::ALL {
        let found = sampled(1_500, 140).find_map(|schedule| judge(&schedule, Some(fault)).err());
        let what = found.unwrap_or_else(|| panic!("{fault:?} breaks no law"));
        println!("{fault:?}: {what}");
    }
}
