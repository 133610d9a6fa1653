//! Attacks on the record of decisions. Each runs twice: with all defences, where the attacker gains nothing, and
//! with one of them switched off, where it gains; so that every test fails if its defence is taken out.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::commands::{Acknowledge, GrantRoles, RegisterRun};
use plumbline_service::context::Context;
use plumbline_service::views::{DecisionView, RunView};
use support::*;

const PHASES: [&str; 5] = ["received", "accepted", "applying", "enforced", "released"];

fn newest(world: &World, run: &RunView) -> DecisionView {
    let state = world.service.allocations(&world.operator).unwrap();
    let mut items = state.items.into_iter();
    items
        .find(|item| item.decision["target"]["uid"] == run.id.as_str())
        .unwrap()
}

fn share(world: &World, run: &RunView) -> i64 {
    newest(world, run).decision["share_bps"].as_i64().unwrap()
}

/// Reports every phase of a run's newest decision, holding what it says; false once one is refused.
fn report(world: &World, who: &Context, scheduler: &str, run: &RunView) -> bool {
    let view = newest(world, run);
    PHASES.iter().all(|phase| {
        let ack = Acknowledge {
            decision_id: view.decision["decision_id"].as_str().unwrap().into(),
            scheduler: scheduler.into(),
            phase: (*phase).into(),
            observed_generation: view.decision["generation"].as_i64().unwrap(),
            actual_bps: view.decision["share_bps"].as_i64(),
            detail: None,
        };
        world.service.acknowledge(who, &ack).is_ok()
    })
}

fn registered(world: &World, who: &Context, name: &str) -> RunView {
    let cmd = RegisterRun {
        name: name.into(),
        parameters: 0,
    };
    world.service.register_run(who, &cmd).unwrap()
}

/// A run holds the whole pool and does not let go. A scheduler whose own run waits reports in its name that
/// it did. What the attacker's run is granted then, beside the pool that is still held.
fn false_release(on: bool) -> i64 {
    let world = World::with(false, |config| {
        if !on {
            assert!(config.defences.switch_off("bound_schedulers"));
        }
    });
    let victim = registered(&world, &world.operator, "victim");
    for _ in 0..3 {
        world.pass(1_000);
        world.service.tick().unwrap();
        assert!(report(&world, &world.operator, "honest", &victim));
    }
    world.person("mallory");
    let cmd = GrantRoles {
        roles: vec!["scheduler".to_owned()],
    };
    world
        .service
        .grant_roles(&world.operator, "mallory", &cmd)
        .unwrap();
    let mallory = sign_in(&world.service, "mallory");
    let own = registered(&world, &mallory, "hers");
    let market = world.terms(&own.id);
    world.service.open_market(&world.operator, &market).unwrap();
    for _ in 0..8 {
        world.pass(1_000);
        world.service.tick().unwrap();
        assert_eq!(report(&world, &mallory, "honest-too", &victim), !on);
        assert!(report(&world, &mallory, "hers", &own));
    }
    share(&world, &own)
}

#[test]
fn nobody_reports_for_a_run_of_another_scheduler() {
    assert_eq!(false_release(true), 0);
    assert!(false_release(false) > 0);
}
