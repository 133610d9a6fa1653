//! Attacks on the judges, each with the defence and without it: what the attacker has at the end.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::JudgingQueue;
use support::school::*;
use support::*;

/// Mallory floods the judges of a market; then Ada brings what she found. Where does it stand?
fn flood(queue: JudgingQueue) -> (usize, usize, i64) {
    let world = school_with(2, |config| config.judging = queue);
    let (ada, mallory) = (world.person("ada"), world.person("mallory"));
    let target = open(&world, "target", "kind", true);
    let other = open(&world, "other", "kind", true);
    let mut taken = 0;
    for n in 0..12 {
        let report = world.report(&format!("0.1|{n}"), CREDIT);
        let sent = world.service.submit_evidence(&mallory, &target.id, &report);
        match sent {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!((error.code(), error.status()), ("judging-overloaded", 503));
            }
        }
    }
    let paid = 1_000 * CREDIT - world.service.me(&mallory).unwrap().balance_micro;
    let found = world.report("1.0|1.0", CREDIT);
    let before = world
        .service
        .submit_evidence(&ada, &other.id, &found)
        .map_or(usize::MAX, |_| taken);
    assert_eq!(world.sum(), 0);
    world.service.run_due_jobs().unwrap();
    let again = world.report("0.2|0.2", CREDIT);
    world
        .service
        .submit_evidence(&ada, &target.id, &again)
        .unwrap();
    (taken, before, paid)
}

#[test]
fn a_flood_is_stopped_before_money_is_taken_and_others_are_heard() {
    let bounded = JudgingQueue {
        per_market: 4,
        overall: 6,
        retry_after_s: 10,
    };
    let (taken, before, paid) = flood(bounded);
    assert_eq!((taken, before), (4, 4));
    // Nothing was taken for the eight that were refused.
    let (all, behind, all_paid) = flood(JudgingQueue {
        per_market: i64::MAX,
        overall: i64::MAX,
        retry_after_s: 10,
    });
    assert_eq!(
        (all, behind),
        (12, 12),
        "without the bound everybody waits behind the flood"
    );
    assert!(paid < all_paid / 2, "{paid} {all_paid}");
}

#[test]
fn the_whole_queue_is_bounded_over_markets() {
    let world = school_with(2, |config| {
        config.judging = JudgingQueue {
            per_market: 4,
            overall: 3,
            retry_after_s: 7,
        };
    });
    let mallory = world.person("mallory");
    for n in 0..3 {
        let market = open(&world, &format!("run-{n}"), "kind", true);
        say(&world, &world.service, &mallory, &market.id, &[0.1, 0.1]);
    }
    let market = open(&world, "one-more", "kind", true);
    let balance = world.service.me(&mallory).unwrap().balance_micro;
    let report = world.report("0.3|0.3", CREDIT);
    let refused = world.service.submit_evidence(&mallory, &market.id, &report);
    assert_eq!(refused.unwrap_err().code(), "judging-overloaded");
    assert_eq!(world.service.me(&mallory).unwrap().balance_micro, balance);
    assert_eq!(world.service.oracle(&mallory).unwrap().waiting, 3);
    world.service.run_due_jobs().unwrap();
    world
        .service
        .submit_evidence(&mallory, &market.id, &report)
        .unwrap();
}

/// Mallory settles markets on runs that she knows, so that the judge she can fool looks best, then brings what only that
/// judge believes. By how much does the price move?
fn poisoned_lessons(adopt: bool) -> f64 {
    let world = school(2);
    let mallory = world.person("mallory");
    let mut dice = Dice(77);
    for n in 0..40 {
        let truth = n % 2 == 0;
        let market = open(&world, &format!("run-{n}"), "kind", truth);
        let right = if truth { 2.0 } else { -2.0 };
        let numbers = [-right + 0.3 * dice.normal(), right + 0.3 * dice.normal()];
        say(&world, &world.service, &mallory, &market.id, &numbers);
        world.service.run_due_jobs().unwrap();
    }
    settle(&world);
    let learned = world.service.oracle(&mallory).unwrap().learned.unwrap();
    if adopt {
        world
            .service
            .adopt_oracle_version(&world.operator, &learned.version)
            .unwrap();
    }
    let market = open(&world, "victim", "kind", false);
    say(&world, &world.service, &mallory, &market.id, &[-2.0, 2.0]);
    world.service.run_due_jobs().unwrap();
    let after = world
        .service
        .market(&mallory, &market.id)
        .unwrap()
        .probability;
    (after / (1.0 - after)).ln()
}

#[test]
fn lessons_move_no_price_before_somebody_decides_that_they_do() {
    let (untaught, taught) = (poisoned_lessons(false), poisoned_lessons(true));
    assert!(untaught.abs() < 0.05, "{untaught}");
    assert!(
        taught > 0.15,
        "without the decision the lessons would count at once: {taught}"
    );
}
