//! From prices and settlements to signed decisions and their acknowledgements.
#![allow(clippy::unwrap_used)]

mod support;

use jiff::Timestamp;
use plumbline_governance::decision::AllocationDecision;
use plumbline_governance::dsse::{Envelope, PublicKeyRecord};
use plumbline_service::commands::*;
use plumbline_service::views::*;
use support::*;

fn run(world: &World, name: &str) -> RunView {
    let cmd = RegisterRun {
        name: name.into(),
        parameters: 0,
    };
    world.service.register_run(&world.operator, &cmd).unwrap()
}

fn share(world: &World, run: &RunView) -> i64 {
    world
        .service
        .run(&world.operator, &run.id)
        .unwrap()
        .allocation
        .unwrap()
        .share_bps
}

/// Acknowledges every phase of every target's newest decision, as a scheduler that obeys at once.
fn obey(world: &World) {
    for view in world.service.allocations(&world.operator).unwrap().items {
        let share_bps = view.decision["share_bps"].as_i64().unwrap();
        for phase in ["received", "accepted", "applying", "enforced", "released"] {
            let ack = Acknowledge {
                decision_id: view.decision["decision_id"].as_str().unwrap().into(),
                scheduler: "test".into(),
                phase: phase.into(),
                observed_generation: view.decision["generation"].as_i64().unwrap(),
                actual_bps: Some(share_bps),
                detail: None,
            };
            world.service.acknowledge(&world.operator, &ack).unwrap();
        }
    }
}

/// Lets `seconds` pass in steps of one, obeying every decision.
fn live(world: &World, seconds: i64) {
    for _ in 0..seconds {
        world.pass(1_000);
        world.service.tick().unwrap();
        obey(world);
    }
}

#[test]
fn a_settled_run_gives_its_compute_to_the_other() {
    let world = World::new(true);
    let (bad, good) = (run(&world, "bad"), run(&world, "good"));
    world
        .host
        .clean
        .lock()
        .unwrap()
        .push(checkpoint_of(&good.id));
    let market = world
        .service
        .open_market(&world.operator, &world.terms(&bad.id))
        .unwrap();
    let other = world.terms(&good.id);
    world.service.open_market(&world.operator, &other).unwrap();
    live(&world, 2);
    assert_eq!((share(&world, &bad), share(&world, &good)), (5_000, 5_000));
    world
        .service
        .trade(&world.operator, &market.id, &price("yes", 0.99))
        .unwrap();
    let good_market = world
        .service
        .markets(&world.operator, Some(&good.id), None, None, 10)
        .unwrap();
    let good_market = &good_market.items[0].id;
    world
        .service
        .trade(&world.operator, good_market, &price("no", 0.03))
        .unwrap();
    live(&world, 8);
    assert!(
        share(&world, &bad) <= 2_500,
        "the upper bound trips the throttle"
    );
    world
        .host
        .tokens
        .store(1_000, std::sync::atomic::Ordering::SeqCst);
    world.until_status(&market.id, "paid");
    live(&world, 60);
    assert_eq!(share(&world, &bad), 500, "settled against it");
    assert!(
        share(&world, &good) > 5_000,
        "the freed compute is handed on"
    );
    let total = share(&world, &bad) + share(&world, &good);
    assert!(total <= 10_000, "{total}");
}

fn price(outcome: &str, target: f64) -> TradeOrder {
    TradeOrder {
        outcome: outcome.into(),
        target_probability: Some(target),
        ..TradeOrder::default()
    }
}

#[test]
fn freed_compute_waits_for_the_release() {
    let world = World::new(true);
    let (bad, good) = (run(&world, "bad"), run(&world, "good"));
    let market = world
        .service
        .open_market(&world.operator, &world.terms(&bad.id))
        .unwrap();
    world
        .service
        .open_market(&world.operator, &world.terms(&good.id))
        .unwrap();
    live(&world, 2);
    world
        .service
        .trade(&world.operator, &market.id, &price("yes", 0.99))
        .unwrap();
    for _ in 0..30 {
        world.pass(1_000);
        world.service.tick().unwrap();
    }
    assert!(share(&world, &bad) <= 2_500, "tightening does not wait");
    assert_eq!(
        share(&world, &good),
        5_000,
        "loosening does: nobody acknowledged the release"
    );
}

#[test]
fn decisions_verify_with_the_published_key_and_count_up() {
    let world = World::new(false);
    let subject = run(&world, "subject");
    world.service.tick().unwrap();
    let first = world.service.allocations(&world.operator).unwrap();
    world.pass(120_000);
    world.service.tick().unwrap();
    let second = world.service.allocations(&world.operator).unwrap();
    assert!(second.version > first.version);
    let keys: Vec<PublicKeyRecord> = world
        .service
        .keys()
        .unwrap()
        .into_iter()
        .map(|key| serde_json::from_value(serde_json::to_value(key).unwrap()).unwrap())
        .collect();
    let mut generations = Vec::new();
    for view in [&first.items[0], &second.items[0]] {
        let envelope: Envelope = serde_json::from_value(view.envelope.clone()).unwrap();
        let at = Timestamp::from_millisecond(1_790_000_200_000).unwrap();
        let decision = AllocationDecision::open(&envelope, &keys, 1, at).unwrap();
        assert_eq!(decision.target.uid.to_string(), subject.id);
        generations.push(decision.generation);
    }
    assert_eq!(generations, [1, 2]);
}

#[test]
fn a_scheduler_that_stops_its_regular_reports_is_silent_and_one_that_holds_too_much_is_seen() {
    let world = World::new(false);
    let stranger = world.person("ada");
    run(&world, "subject");
    world.service.tick().unwrap();
    let state = world.service.allocations(&world.operator).unwrap();
    let training = |view: &&DecisionView| view.decision["target"]["workload"] == "training";
    let view = state.items.iter().find(training).unwrap();
    let uid = view.decision["target"]["uid"].as_str().unwrap().to_owned();
    let share = view.decision["share_bps"].as_i64().unwrap();
    let report = |actual_bps| ReportEnforcement {
        scheduler: "test".into(),
        every_s: 60,
        items: vec![HeldShare {
            target_uid: uid.clone(),
            workload: "training".into(),
            epoch: 1,
            observed_generation: 1,
            actual_bps,
            detail: None,
        }],
    };
    let service = &world.service;
    for phase in ["received", "accepted", "applying", "enforced"] {
        let ack = Acknowledge {
            decision_id: view.decision["decision_id"].as_str().unwrap().into(),
            scheduler: "test".into(),
            phase: phase.into(),
            observed_generation: 1,
            actual_bps: Some(share),
            detail: None,
        };
        service.acknowledge(&world.operator, &ack).unwrap();
    }
    world.pass(60000);
    let seen = || {
        let found = service.enforcement(&world.operator).unwrap();
        let own = |one: &TargetEnforcement| one.target_uid == uid && one.workload == "training";
        let one = found.targets.into_iter().find(own).unwrap();
        (one.held_bps, one.silent, one.overdue, one.diverges)
    };
    assert_eq!(seen(), (Some(share), false, false, false));
    let taken = service
        .report_enforcement(&world.operator, &report(share))
        .unwrap();
    assert_eq!(taken.items, 1);
    service
        .report_enforcement(&world.operator, &report(share + 1))
        .unwrap();
    assert_eq!(seen(), (Some(share + 1), false, false, true));
    world.pass(180000);
    assert!(!seen().2);
    world.pass(1000);
    assert!(seen().1 && seen().2);
    service
        .report_enforcement(&world.operator, &report(share))
        .unwrap();
    assert_eq!(seen(), (Some(share), false, false, false));
    for (bad, code) in [
        (
            ReportEnforcement {
                every_s: 4,
                ..report(1)
            },
            "bad-report",
        ),
        (
            ReportEnforcement {
                items: vec![],
                ..report(1)
            },
            "bad-report",
        ),
        (report(10_001), "bad-report"),
        (
            ReportEnforcement {
                scheduler: String::new(),
                ..report(1)
            },
            "bad-scheduler",
        ),
    ] {
        let refused = service.report_enforcement(&world.operator, &bad);
        assert_eq!(refused.unwrap_err().code(), code);
    }
    let refused = service.report_enforcement(&stranger, &report(1));
    assert_eq!(refused.unwrap_err().code(), "forbidden");
}

#[test]
fn acknowledgements_come_in_order_and_only_from_schedulers() {
    let world = World::new(false);
    run(&world, "subject");
    world.service.tick().unwrap();
    let view = world
        .service
        .allocations(&world.operator)
        .unwrap()
        .items
        .remove(0);
    let ack = Acknowledge {
        decision_id: view.decision["decision_id"].as_str().unwrap().into(),
        scheduler: "test".into(),
        phase: "enforced".into(),
        observed_generation: 1,
        actual_bps: None,
        detail: None,
    };
    assert_eq!(
        world
            .service
            .acknowledge(&world.operator, &ack)
            .unwrap_err()
            .code(),
        "ack-out-of-order"
    );
    let received = Acknowledge {
        phase: "received".into(),
        ..ack.clone()
    };
    world
        .service
        .acknowledge(&world.operator, &received)
        .unwrap();
    world
        .service
        .acknowledge(&world.operator, &received)
        .unwrap();
    let ada = world.person("ada");
    assert_eq!(
        world
            .service
            .acknowledge(&ada, &received)
            .unwrap_err()
            .code(),
        "forbidden"
    );
    let nowhere = Acknowledge {
        decision_id: "x".into(),
        ..received
    };
    assert_eq!(
        world
            .service
            .acknowledge(&world.operator, &nowhere)
            .unwrap_err()
            .code(),
        "not-found"
    );
    assert_eq!(
        world
            .service
            .decision(&ada, view.decision["decision_id"].as_str().unwrap())
            .unwrap()
            .acks
            .len(),
        1
    );
}

#[test]
fn a_long_poll_ends_with_the_next_decision_or_with_its_time() {
    let world = World::new(false);
    run(&world, "subject");
    let service = world.service.clone();
    let operator = world.operator.clone();
    let waiting = std::thread::spawn(move || {
        service
            .wait_allocations(&operator, 0, std::time::Duration::from_secs(20))
            .unwrap()
    });
    world.service.tick().unwrap();
    let answer = waiting.join().unwrap().unwrap();
    assert_eq!(answer.items.len(), 2, "training and inference");
    let none = world.service.wait_allocations(
        &world.operator,
        answer.version,
        std::time::Duration::from_millis(5),
    );
    assert!(none.unwrap().is_none());
}
