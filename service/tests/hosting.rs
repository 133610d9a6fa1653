//! Runs that the service trains itself, and the stakes of nodes that join them.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_audit::verify;
use plumbline_service::ServiceError;
use plumbline_service::commands::StartRun;
use plumbline_service::context::{Actor, Context};
use plumbline_service::host::RunNews;
use plumbline_service::views::RunView;
use serde_json::json;
use support::hosting::{bond, terms};
use support::*;

fn started(world: &World, name: &str, least: i64) -> RunView {
    let run = world
        .service
        .start_training(&world.operator, &terms(name, least));
    run.unwrap()
}

fn balance(world: &World, who: &Context) -> i64 {
    world.service.me(who).unwrap().balance_micro
}

fn code<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> String {
    result.unwrap_err().code().to_owned()
}

fn books_are_right(world: &World) {
    let mut text = Vec::new();
    world.service.export_books(&mut text).unwrap();
    let report = verify(text.as_slice()).unwrap();
    assert!(report.is_green(), "{:#?}", report.violations);
    assert_eq!(world.sum(), 0);
}

#[test]
fn what_is_wanted_of_a_run_outlives_the_program() {
    let world = World::new(false);
    let ada = world.person("ada");
    assert_eq!(
        code(world.service.start_training(&ada, &terms("x", 0))),
        "forbidden"
    );
    let run = started(&world, "subject", 0);
    assert_eq!((run.kind.as_str(), run.parameters), ("embedded", 1_000));
    let again = world
        .service
        .start_training(&world.operator, &terms("subject", 0));
    assert_eq!(code(again), "run-name-taken");
    // The same request twice is one run.
    let once = with_key(&world.operator, "k", "body");
    let first = world
        .service
        .start_training(&once, &terms("twin", 0))
        .unwrap();
    let second = world
        .service
        .start_training(&once, &terms("twin", 0))
        .unwrap();
    assert_eq!(first.id, second.id);
    let stopped = world
        .service
        .stop_training(&world.operator, "subject")
        .unwrap();
    assert_eq!(stopped.id, run.id);
    assert_eq!(
        *world.host.hosting.running.lock().unwrap(),
        std::slice::from_ref(&first.id)
    );
    // The program dies, and whatever trains has forgotten everything.
    world.host.hosting.running.lock().unwrap().clear();
    let world = world.reopen();
    world.service.bring_up_all().unwrap();
    assert_eq!(
        *world.host.hosting.running.lock().unwrap(),
        std::slice::from_ref(&first.id)
    );
    world
        .service
        .resume_training(&world.operator, "subject")
        .unwrap();
    assert_eq!(world.host.hosting.running.lock().unwrap().len(), 2);
    let ticket = world.service.ticket(&ada, "subject").unwrap();
    assert_eq!(ticket.ticket, format!("ticket-{}", run.id));
    assert_eq!(
        code(
            world
                .service
                .ticket(&Context::of(Actor::visitor()), "subject")
        ),
        "unauthenticated"
    );
}

#[test]
fn a_run_that_cannot_start_is_not_tried_for_ever() {
    let world = World::new(false);
    *world.host.hosting.broken.lock().unwrap() = true;
    let failed = world
        .service
        .start_training(&world.operator, &terms("subject", 0));
    assert_eq!(code(failed), "bad-run");
    *world.host.hosting.broken.lock().unwrap() = false;
    world.service.bring_up_all().unwrap();
    assert!(world.host.hosting.running.lock().unwrap().is_empty());
    world
        .service
        .resume_training(&world.operator, "subject")
        .unwrap();
    assert_eq!(world.host.hosting.running.lock().unwrap().len(), 1);
}

#[test]
fn terms_are_bounded() {
    let world = World::new(false);
    let refused = |spoil: fn(&mut StartRun)| {
        let mut cmd = terms("subject", 0);
        spoil(&mut cmd);
        code(world.service.start_training(&world.operator, &cmd))
    };
    assert_eq!(refused(|cmd| cmd.name = "a b".into()), "bad-run-name");
    let bad: [fn(&mut StartRun); 7] = [
        |cmd| cmd.tokens = 0,
        |cmd| cmd.workers = 65,
        |cmd| cmd.model.width = 2_048,
        |cmd| cmd.learning_rate = f64::NAN,
        |cmd| cmd.outside.as_mut().unwrap().least_stake_micro = -1,
        |cmd| {
            cmd.workers = 0;
            cmd.outside = None;
        },
        |cmd| {
            cmd.audit_bps = 0;
            cmd.outside.as_mut().unwrap().least_stake_micro = 1;
        },
    ];
    for spoil in bad {
        assert_eq!(refused(spoil), "bad-run");
    }
    for number in 0..16 {
        started(&world, &format!("run-{number}"), 0);
    }
    let one_more = world
        .service
        .start_training(&world.operator, &terms("more", 0));
    assert_eq!(code(one_more), "too-many-runs");
}

#[test]
fn what_happens_to_a_run_is_an_event() {
    let world = World::new(false);
    let run = started(&world, "subject", 0);
    world.host.hosting.news.lock().unwrap().push(RunNews {
        run_id: run.id.clone(),
        kind: "round",
        detail: json!({"round": 7}),
    });
    world.service.tick().unwrap();
    let topics = [format!("training:{}", run.id)];
    let told = world
        .service
        .events_after(&world.operator, 0, &topics, 10)
        .unwrap();
    let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["started", "round"]);
    assert_eq!(told[1].data["round"], 7);
}

#[test]
fn a_stake_lets_a_node_in_and_goes_back() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let run = started(&world, "subject", 10 * CREDIT);
    let before = balance(&world, &ada);
    let pledge = bond(&world, &ada, &run, 1, 20 * CREDIT);
    let service = &world.service;
    // Nobody answers for a node with a signature that is not for them, nor with too little.
    assert_eq!(
        code(service.bond_node(&bob, &run.id, &pledge)),
        "bad-signature"
    );
    let little = bond(&world, &ada, &run, 1, CREDIT);
    assert_eq!(code(service.bond_node(&ada, &run.id, &little)), "bad-stake");
    let rich = bond(&world, &ada, &run, 1, 10_000 * CREDIT);
    assert_eq!(
        code(service.bond_node(&ada, &run.id, &rich)),
        "insufficient-funds"
    );
    let stake = service.bond_node(&ada, &run.id, &pledge).unwrap();
    assert_eq!(
        code(service.bond_node(&ada, &run.id, &pledge)),
        "node-bonded"
    );
    assert_eq!(balance(&world, &ada), before - 20 * CREDIT);
    assert_eq!(world.host.hosting.lets_in(&run), [pledge.node_key.as_str()]);
    books_are_right(&world);
    let closing = json!({"password": PASSWORD, "surrender": true});
    let closing = serde_json::from_value(closing).unwrap();
    assert_eq!(
        code(service.close_account(&ada, &closing)),
        "account-in-use"
    );

    assert_eq!(
        code(service.release_node(&bob, &run.id, &stake.id)),
        "not-found"
    );
    let leaving = service.release_node(&ada, &run.id, &stake.id).unwrap();
    assert_eq!(leaving.status, "leaving");
    assert!(world.host.hosting.lets_in(&run).is_empty());
    service.tick().unwrap();
    assert_eq!(balance(&world, &ada), before - 20 * CREDIT);
    world.pass(world.config.nodes.unbond_ms);
    service.tick().unwrap();
    service.tick().unwrap();
    assert_eq!(balance(&world, &ada), before);
    books_are_right(&world);

    // The end of the run is the end of the stakes in it.
    let again = service.bond_node(&ada, &run.id, &pledge).unwrap();
    *world.host.hosting.status.lock().unwrap() = Some("finished".to_owned());
    service.tick().unwrap();
    let stakes = service.node_stakes(&bob, &run.id, None, 50).unwrap().items;
    assert_eq!((stakes.len(), stakes[1].status.as_str()), (2, "returned"));
    assert_eq!(
        code(service.release_node(&ada, &run.id, &again.id)),
        "stake-over"
    );
    assert_eq!(balance(&world, &ada), before);
    books_are_right(&world);
}

#[test]
fn a_proven_offence_costs_the_stake_once() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let run = started(&world, "subject", CREDIT);
    let (before, of_bob) = (balance(&world, &ada), balance(&world, &bob));
    let pledge = bond(&world, &ada, &run, 1, 20 * CREDIT);
    world.service.bond_node(&ada, &run.id, &pledge).unwrap();
    let honest = bond(&world, &bob, &run, 2, 20 * CREDIT);
    world.service.bond_node(&bob, &run.id, &honest).unwrap();
    world.host.hosting.ban(&pledge.node_key);
    world.service.tick().unwrap();
    let world = world.reopen();
    world.service.tick().unwrap();
    assert_eq!(balance(&world, &ada), before - 15 * CREDIT);
    assert_eq!(balance(&world, &bob), of_bob - 20 * CREDIT);
    assert_eq!(world.host.hosting.lets_in(&run), [honest.node_key]);
    let stakes = world
        .service
        .node_stakes(&bob, &run.id, None, 50)
        .unwrap()
        .items;
    assert_eq!(
        (stakes[0].status.as_str(), stakes[0].slashed_micro),
        ("slashed", 15 * CREDIT)
    );
    assert_eq!(
        stakes[0].ban.as_ref().unwrap()["evidence"]["norm_ratio"],
        3.0
    );
    let back = world.service.bond_node(&ada, &run.id, &pledge);
    assert_eq!(code(back), "node-banned");
    books_are_right(&world);
}

#[test]
fn what_a_stake_says_is_what_the_ledger_says() {
    let world = World::new(false);
    let ada = world.person("ada");
    let run = started(&world, "subject", CREDIT);
    let pledge = bond(&world, &ada, &run, 1, 20 * CREDIT);
    world.service.bond_node(&ada, &run.id, &pledge).unwrap();
    world.host.hosting.ban(&pledge.node_key);
    world.service.tick().unwrap();
    let mut text = Vec::new();
    world.service.export_books(&mut text).unwrap();
    assert!(!tamper::is_found(&text));
    assert!(tamper::every_flip_is_found(&text, &["node_stakes"], 1) > 300);
}
