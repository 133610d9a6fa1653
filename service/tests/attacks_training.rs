//! Attacks on runs that nodes elsewhere train. Each runs twice: with all defences, where the attacker gains nothing,
//! and with one of them switched off, where it gains; so that every test fails if its defence is taken out.
#![allow(clippy::unwrap_used)]

mod support;

use support::hosting::{bond, terms};
use support::*;

/// What a stake of 20 credits costs a node that lies, leaves at once, and is found out a minute later: an audit takes
/// the work of rounds, and takes effect rounds after it.
fn hit_and_run(on: bool) -> i64 {
    let world = World::with(false, |config| {
        if !on {
            assert!(config.defences.switch_off("node_unbonding"));
        }
    });
    let mallory = world.person("mallory");
    let run = terms("subject", 10 * CREDIT);
    let run = world.service.start_training(&world.operator, &run).unwrap();
    let before = world.service.me(&mallory).unwrap().balance_micro;
    let pledge = bond(&world, &mallory, &run, 1, 20 * CREDIT);
    let stake = world.service.bond_node(&mallory, &run.id, &pledge).unwrap();
    let leave = world.service.release_node(&mallory, &run.id, &stake.id);
    assert_eq!(leave.unwrap().status, "leaving");
    world.service.tick().unwrap();
    world.pass(60_000);
    world.host.hosting.ban(&pledge.node_key);
    world.service.tick().unwrap();
    world.pass(world.config.nodes.unbond_ms);
    world.service.tick().unwrap();
    assert_eq!(world.sum(), 0);
    before - world.service.me(&mallory).unwrap().balance_micro
}

#[test]
fn a_node_that_lies_and_leaves_does_not_take_its_stake_along() {
    assert_eq!(hit_and_run(true), 15 * CREDIT);
    assert_eq!(hit_and_run(false), 0);
}
