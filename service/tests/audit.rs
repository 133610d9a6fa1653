//! Exports of a real service, checked by the auditor that shares no code with it.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;

use plumbline_audit::{Report, verify};
use plumbline_service::audit::export_file;
use plumbline_service::commands::{OpenMarket, OutcomeTerms, TradeOrder};
use support::*;

fn whole(world: &World) -> Report {
    let mut text = Vec::new();
    world.service.export_books(&mut text).unwrap();
    verify(text.as_slice()).unwrap()
}

fn green(report: &Report) {
    assert!(report.is_green(), "{:#?}", report.violations);
}

/// What others do while the judges read is before what comes of it, in the ledger and by its date.
#[test]
fn the_books_are_dated_in_the_order_in_which_they_are_written() {
    let world = World::new(true);
    let market = world.market();
    let (ada, begun) = (world.person("ada"), world.clock.0.load(Ordering::SeqCst));
    let slow = world.report(&format!("1.5 # {SLOW}"), 5_000_000);
    let submitted = world.service.submit_evidence(&ada, &market.id, &slow);
    let id = submitted.unwrap().id;
    world.service.run_due_jobs().unwrap();
    let judged = world.service.evidence(&ada, &id).unwrap();
    let ended = world.clock.0.load(Ordering::SeqCst);
    assert!(ended >= begun + THOUGHT_MS);
    assert_eq!(
        judged.judged_at,
        Some(plumbline_service::time::rfc3339(ended))
    );
    green(&whole(&world));
}

#[test]
fn every_stage_of_a_market_can_be_audited() {
    let world = World::new(true);
    green(&whole(&world));
    let market = world.market();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    for (who, outcome, micro) in [
        (&ada, "yes", 3_000_001),
        (&bob, "no", 7_777_777),
        (&ada, "no", 12_345_678),
        (&bob, "yes", 1),
    ] {
        world
            .service
            .trade(who, &market.id, &spend(outcome, micro))
            .unwrap();
    }
    let sell = TradeOrder {
        outcome: "no".into(),
        shares_micro: Some(-1_000_003),
        ..TradeOrder::default()
    };
    world.service.trade(&bob, &market.id, &sell).unwrap();
    for (number, stake) in [
        ("1.5", 5_000_000),
        ("-0.7 # b", 300_000),
        ("1.5", 5_000_000),
    ] {
        world
            .service
            .submit_evidence(&ada, &market.id, &world.report(number, stake))
            .unwrap();
    }
    green(&whole(&world));
    world.service.run_due_jobs().unwrap();
    let open = whole(&world);
    green(&open);
    assert!(open.checked["trades"] >= 7, "{:?}", open.checked);
    world.pass(61_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(paid.settlement.pi, Some(1.0));
    let report = whole(&world);
    green(&report);
    assert_eq!(report.checked["settlements"], 1);
    assert_eq!(report.checked["verdicts"], 1);
    let public = world.service.market_audit(&ada, &market.id).unwrap();
    let report = verify(public.as_slice()).unwrap();
    green(&report);
    assert_eq!(report.checked["payouts"], 2);
    assert_eq!(report.checked.get("accounts"), None);
    let path = world.folder.path().join("plumbline.db");
    let mut text = Vec::new();
    let summary = export_file(&path, 1_800_000_000_000, &mut text).unwrap();
    green(&verify(text.as_slice()).unwrap());
    assert_eq!(
        summary.rows as usize,
        text.iter().filter(|byte| **byte == b'\n').count() - 2
    );
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("argon2") && !text.contains("password"));
}

#[test]
fn a_void_market_can_be_audited() {
    let world = World::new(true);
    let market = world.market();
    let ada = world.person("ada");
    world
        .service
        .trade(&ada, &market.id, &spend("yes", 9_000_000))
        .unwrap();
    world
        .host
        .gone
        .store(true, std::sync::atomic::Ordering::SeqCst);
    world.pass(61_000);
    world.until_status(&market.id, "void");
    world.service.run_due_jobs().unwrap();
    let report = whole(&world);
    green(&report);
    assert_eq!(report.checked["payouts"], 1);
}

#[test]
fn a_market_of_several_outcomes_can_be_audited() {
    let world = World::new(true);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let run = world.market().run_id;
    let names = (0..8).map(|n| format!("// trigger-{n}"));
    let outcomes = names.chain(["none".to_owned()]).map(|name| OutcomeTerms {
        probability: (name == "none").then_some(0.4),
        name,
    });
    let terms = OpenMarket {
        outcomes: Some(outcomes.collect()),
        ..world.terms(&run)
    };
    let market = world.service.open_market(&world.operator, &terms).unwrap();
    let order = |outcome: &str, shares| TradeOrder {
        outcome: outcome.into(),
        shares_micro: Some(shares),
        ..TradeOrder::default()
    };
    for (who, order) in [
        (&ada, spend("// trigger-3", 12_345_678)),
        (&bob, spend("none", 40_000_001)),
        (&ada, order("// trigger-3", -1_000_003)),
        (&bob, order("// trigger-0", 1)),
    ] {
        world.service.trade(who, &market.id, &order).unwrap();
    }
    for outcome in &terms.outcomes.unwrap() {
        let order = order(&outcome.name, 5_000_000);
        world.service.trade(&ada, &market.id, &order).unwrap();
    }
    green(&whole(&world));
    world.pass(61_000);
    world.until_status(&market.id, "paid");
    let report = whole(&world);
    green(&report);
    assert_eq!(report.checked["outcomes"], 9);
    let public = world.service.market_audit(&ada, &market.id).unwrap();
    let report = verify(public.as_slice()).unwrap();
    green(&report);
    assert_eq!(report.checked["payouts"], 2);
    // A micro-share that nobody bought is seen.
    let text = String::from_utf8(public).unwrap();
    let forged = text.replace("\"shares_micro\":1,", "\"shares_micro\":2,");
    assert!(forged != text);
    let body = forged.rsplit_once("{\"rows\"").unwrap().0;
    let digest = blake3::hash(body.as_bytes()).to_hex();
    let rows = body.lines().count() - 1;
    let forged = format!("{body}{{\"rows\":{rows},\"blake3\":\"{digest}\"}}\n");
    assert!(!verify(forged.as_bytes()).unwrap().is_green());
}
