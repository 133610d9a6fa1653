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
    let share = share(world, run);
    report_holding(world, who, scheduler, (run, share))
}

/// The same, holding so many basis points.
fn report_holding(world: &World, who: &Context, scheduler: &str, held: (&RunView, i64)) -> bool {
    let (run, share) = held;
    let view = newest(world, run);
    PHASES.iter().all(|phase| {
        let ack = Acknowledge {
            decision_id: view.decision["decision_id"].as_str().unwrap().into(),
            scheduler: scheduler.into(),
            phase: (*phase).into(),
            observed_generation: view.decision["generation"].as_i64().unwrap(),
            actual_bps: Some(share),
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

/// A run holds its share. The scheduler of another run reports in its name that it let go of all of it. Whether the
/// record says so then. No share is freed by that: what was granted is free when all that took the decision released
/// it. But divergence, silence and stop coverage are read from the record.
fn false_release(on: bool) -> bool {
    let world = World::with(false, |config| {
        if !on {
            assert!(config.defences.switch_off("bound_schedulers"));
        }
    });
    let victim = registered(&world, &world.operator, "victim");
    world.pass(1_000);
    world.service.tick().unwrap();
    assert!(report(&world, &world.operator, "honest", &victim));
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
    world.pass(1_000);
    world.service.tick().unwrap();
    // Her own run's she may report on, whatever stands.
    assert!(report(&world, &mallory, "hers", &own));
    report_holding(&world, &mallory, "honest-too", (&victim, 0))
}

#[test]
fn nobody_reports_for_a_run_of_another_scheduler() {
    assert!(!false_release(true));
    assert!(false_release(false));
}
