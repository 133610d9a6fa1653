//! The process dies before and after every commit of the settlement and the payout of a market of
//! several outcomes: the next one ends with the same balances, and the auditor finds nothing.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_audit::verify;
use plumbline_service::Service;
use plumbline_service::commands::*;
use support::death::{at_every_commit, copy};
use support::*;

/// Runs what is due, over and over: a job that failed comes back after a pause.
fn settle(world: &World, service: &Service) -> bool {
    for _ in 0..5 {
        if service.run_due_jobs().is_err() {
            return false;
        }
        world.pass(2_000);
    }
    true
}

#[test]
fn a_death_at_any_commit_pays_everybody_once() {
    let world = World::with(true, |config| config.payout_chunk = 2);
    let people: Vec<_> = (0..5)
        .map(|n| world.person(&format!("person-{n}")))
        .collect();
    let run = world.market().run_id;
    let names = (0..8).map(|n| format!("// trigger-{n}"));
    let outcomes = names.chain(["none".to_owned()]).map(|name| OutcomeTerms {
        name,
        probability: None,
    });
    let terms = OpenMarket {
        outcomes: Some(outcomes.collect()),
        ..world.terms(&run)
    };
    let market = world.service.open_market(&world.operator, &terms).unwrap();
    let mut right = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let outcome = if n % 2 == 0 { "// trigger-3" } else { "none" };
        let order = spend(outcome, (5 + n as i64) * CREDIT);
        let trade = world.service.trade(person, &market.id, &order).unwrap();
        let paid = if n % 2 == 0 { trade.yes_micro } else { 0 };
        right.push(1_000 * CREDIT - trade.cost_micro + paid);
    }
    world.pass(61_000);
    // The state before the deadline is looked at, from which every death starts.
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().join("start.db");
    copy(&world.folder.path().join("plumbline.db"), &start);
    let open = |store| open_on(store, &world.host, &world.clock, &world.config);
    let check = |service: &Service, at: usize| {
        let paid = service.market(&world.operator, &market.id).unwrap();
        assert_eq!(paid.status, "paid", "death at commit {at}");
        for (person, right) in people.iter().zip(&right) {
            let balance = service.me(person).unwrap().balance_micro;
            assert_eq!(balance, *right, "death at commit {at}");
        }
        let mut text = Vec::new();
        service.export_books(&mut text).unwrap();
        let report = verify(text.as_slice()).unwrap();
        assert!(report.is_green(), "{at}: {:#?}", report.violations);
    };
    let finish = |service: &Service| settle(&world, service);
    let deaths = at_every_commit(&start, open, finish, check);
    // Closing, freezing, settling, three chunks, the remainder: each can be cut short.
    assert!(deaths >= 10, "{deaths}");
}
