//! How markets end, through the use cases: every method, the ladder of challenges, voids.
#![allow(clippy::unwrap_used)]

#[path = "support/dispute.rs"]
mod dispute;
mod support;

use std::sync::atomic::Ordering;

use dispute::*;
use plumbline_market::draw::{LogHead, draw, seed_commitment, unit_interval};
use plumbline_market::{Digest, merkle};
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::time::{Clock, parse_rfc3339};
use plumbline_service::views::SettlementRecord;
use support::*;

const GRANT: i64 = 1_000 * CREDIT;
/// The bond of a first proposal.
const BOND: i64 = 5 * CREDIT;

fn kinds(record: &SettlementRecord) -> Vec<(String, String)> {
    let kind =
        |claim: &plumbline_service::views::ClaimView| (claim.kind.clone(), claim.source.clone());
    record.record.iter().map(kind).collect()
}

fn plain_court(method: &str, poisoned: bool, jurors: usize) -> Court {
    Court::of(method, World::with(poisoned, plain), jurors)
}

#[test]
fn orders_stop_at_a_secret_moment_that_anybody_can_recompute_afterwards() {
    let world = World::with(false, plain);
    let court = Court::new(world, 0, |_, cmd| {
        minutes("objective", cmd);
        cmd.closing_window_s = Some(30);
    });
    let (world, id) = (&court.world, court.market.id.clone());
    let ada = world.person("ada");
    let buy = || world.service.trade(&ada, &id, &spend("yes", CREDIT));
    buy().unwrap();
    court.pass(30_000);
    let closing = court.record();
    assert_eq!((closing.status.as_str(), closing.seed), ("closing", None));
    let shown = closing.closing.unwrap();
    assert_eq!(
        (shown.draw, shown.unit, shown.stopped_at),
        (None, None, None)
    );
    assert_eq!((closing.deadline, shown.log.trades), (None, 1));
    // Trades go on until one is refused; that moment is inside the window.
    let mut last = 0;
    while buy().is_ok() {
        last += 1;
        world.pass(1_000);
        assert!(last <= 30, "orders never stopped");
    }
    assert_eq!(buy().unwrap_err().code(), "market-closed");
    let quote = world.service.quote(&ada, &id, &spend("yes", CREDIT));
    assert_eq!(quote.unwrap_err().code(), "market-closed");
    court.run();
    let record = court.record();
    let seed: Digest = record.seed.unwrap().parse().unwrap();
    assert_eq!(
        record.settlement.seed_commitment.unwrap(),
        seed_commitment(&seed.0).to_string()
    );
    let terms = record.terms.unwrap();
    assert_eq!(
        record.terms_hash.unwrap(),
        Digest::of(terms.as_bytes()).to_string()
    );
    let closing = record.closing.unwrap();
    // Without a trade the head would be that of the terms alone.
    assert_eq!(closing.log.trades, 1);
    assert_ne!(closing.log.head, LogHead::open(&terms).head.to_string());
    let published: Digest = closing.log.head.parse().unwrap();
    let drawn = draw(&seed.0, &published, "close");
    assert_eq!(closing.draw.unwrap(), drawn.to_string());
    let began = parse_rfc3339(&closing.began_at).unwrap();
    let stopped = parse_rfc3339(&closing.stopped_at.unwrap()).unwrap();
    assert_eq!(stopped, began + (unit_interval(&drawn) * 30_000.0) as i64);
    assert_eq!(last, (stopped - began + 999) / 1_000);
    let audit = record.audit.unwrap();
    assert_eq!(audit.log.trades, 1 + last as u64);
    let head: Digest = audit.log.head.parse().unwrap();
    assert_eq!(
        audit.draw.unwrap(),
        draw(&seed.0, &head, "audit").to_string()
    );
}

#[test]
fn an_objective_case_climbs_the_whole_ladder() {
    let court = plain_court("objective", true, 26);
    let bob = court.world.person("bob");
    court.freeze();
    let record = court.record();
    assert_eq!(
        (record.stage.as_str(), record.proposed_pi),
        ("challengeable", Some(1.0))
    );
    assert_eq!(record.next_bond_micro, Some(2 * BOND));
    assert_eq!(record.next_decider.as_deref(), Some("test"));
    court.challenge(&bob, 0.0).unwrap();
    court.run();
    let rungs = [(4, 3), (8, 7), (16, 15)];
    for (bonds, size) in rungs {
        let record = court.record();
        assert_eq!(record.next_bond_micro, Some(bonds * BOND));
        assert_eq!(record.next_decider.unwrap(), format!("panel of {size}"));
        court.challenge(&bob, 0.1).unwrap();
        assert_eq!(court.record().status, "challenged");
        assert_eq!(court.seated().len(), size);
        court.rule(&vec![10_000; size]);
    }
    let record = court.record();
    assert_eq!(
        record.status, "paid",
        "nothing stands above the largest panel"
    );
    assert_eq!(record.settlement.pi, Some(1.0));
    let lost = 30 * BOND;
    assert_eq!(court.balance(&bob), GRANT - lost);
    let treasury = &record.record[1];
    assert_eq!(treasury.account.as_deref(), Some("treasury"));
    assert_eq!(treasury.paid_micro, Some(BOND + lost * 3 / 4));
    court.assert_empty();
}

#[test]
fn a_wrong_proposal_falls_and_pays_whoever_saw_it() {
    let court = plain_court("panel", false, 3);
    let (eve, bob, ada) = (
        court.world.person("eve"),
        court.world.person("bob"),
        court.world.person("ada"),
    );
    let buy = spend("yes", 10 * CREDIT);
    let bought = court
        .world
        .service
        .trade(&ada, &court.market.id, &buy)
        .unwrap();
    court.freeze();
    assert_eq!(court.stage(), "proposals");
    assert_eq!(
        court.propose(&ada, 1.0).unwrap_err().code(),
        "conflict-of-interest"
    );
    let operator = &court.world.operator;
    assert_eq!(
        court.propose(operator, 1.0).unwrap_err().code(),
        "forbidden"
    );
    let cheap = ProposeSettlement {
        pi: 0.0,
        bond_micro: BOND - 1,
        reason: String::new(),
    };
    let service = &court.world.service;
    let refused = service.propose_settlement(&eve, &court.market.id, &cheap);
    assert_eq!(refused.unwrap_err().code(), "bond-too-small");
    assert_eq!(
        court.propose(&eve, 1.5).unwrap_err().code(),
        "bad-settlement"
    );
    court.propose(&eve, 0.0).unwrap();
    assert_eq!(court.balance(&eve), GRANT - BOND);
    assert_eq!(court.propose(&bob, 1.0).unwrap_err().code(), "not-now");
    assert_eq!(
        court.challenge(&bob, 0.0).unwrap_err().code(),
        "same-settlement"
    );
    court.challenge(&bob, 0.35).unwrap();
    court.rule(&[3_700, 3_700, 3_600]);
    assert_eq!(court.record().proposed_pi, Some(0.37));
    court.pass(60_000);
    let record = court.record();
    assert_eq!(
        (record.status.as_str(), record.settlement.pi),
        ("paid", Some(0.37))
    );
    assert_eq!(court.balance(&eve), GRANT - BOND);
    assert_eq!(court.balance(&bob), GRANT + BOND * 3 / 4);
    let paid = bought.yes_micro * 37 / 100;
    assert_eq!(court.balance(&ada), GRANT - bought.cost_micro + paid);
    court.assert_empty();
}

#[test]
fn without_a_proposal_a_jury_decides() {
    let court = plain_court("panel", false, 3);
    court.freeze();
    court.pass(60_000);
    assert_eq!((court.stage().as_str(), court.seated().len()), ("panel", 3));
    court.rule(&[0, 200, 500]);
    let late = court.record().deadline.unwrap();
    assert_eq!(
        parse_rfc3339(&late).unwrap(),
        court.world.clock.now() + 60_000
    );
    court.pass(60_000);
    let record = court.record();
    assert_eq!(record.settlement.pi, Some(0.02));
    let wanted = [
        ("search", "proposals"),
        ("no_ruling", "proposals"),
        ("search", "panel"),
        ("ruling", "panel"),
    ];
    let wanted = wanted.map(|(kind, source)| (kind.to_owned(), source.to_owned()));
    assert_eq!(kinds(&record), wanted);
    assert!(record.record[3].panel_id.is_some());
    let bob = court.world.person("bob");
    assert_eq!(court.challenge(&bob, 1.0).unwrap_err().code(), "not-now");
    court.assert_empty();
}

#[test]
fn juries_that_cannot_decide_grow_and_the_case_ends_void() {
    let court = plain_court("panel", false, 12);
    let ada = court.world.person("ada");
    let buy = spend("yes", 10 * CREDIT);
    court
        .world
        .service
        .trade(&ada, &court.market.id, &buy)
        .unwrap();
    court.freeze();
    court.pass(60_000);
    assert_eq!(court.seated().len(), 3);
    // One of three votes: no quorum.
    court.rule(&[0]);
    assert_eq!(court.seated().len(), 7);
    court.rule(&[0]);
    let record = court.record();
    assert_eq!(record.status, "void");
    assert_eq!(record.void_reason.as_deref(), Some("no jury could decide"));
    assert_eq!(court.balance(&ada), GRANT);
}

#[test]
fn an_audited_case_goes_to_seven_jurors_or_to_the_committed_test() {
    let always = |cmd: &mut OpenMarket| {
        cmd.settlement.audit_floor_bps = Some(10_000);
    };
    let world = World::with(true, |config| config.panels.gold_probability_ppm = 0);
    let court = Court::new(world, 7, |_, cmd| {
        minutes("ensemble", cmd);
        always(cmd);
    });
    court.freeze();
    assert_eq!((court.stage().as_str(), court.seated().len()), ("panel", 7));
    assert!(court.record().audit.unwrap().audited);
    let world = World::with(true, |config| config.panels.gold_probability_ppm = 0);
    let court = Court::new(world, 0, |_, cmd| {
        let plan = cmd.settlement.plan.clone();
        minutes("ensemble", cmd);
        always(cmd);
        cmd.settlement.plan = plan;
    });
    court.freeze();
    let record = court.record();
    assert_eq!(
        (record.stage.as_str(), record.proposed_pi),
        ("challengeable", Some(1.0))
    );
    assert_eq!(kinds(&record)[0], ("search".to_owned(), "test".to_owned()));
}

#[test]
fn the_judges_probability_is_proposed_and_stands_when_nobody_minds() {
    let court = plain_court("ensemble", false, 0);
    let ada = court.world.person("ada");
    let report = court.world.report("1.5", 10 * CREDIT);
    let service = &court.world.service;
    let submitted = service
        .submit_evidence(&ada, &court.market.id, &report)
        .unwrap();
    court.run();
    court.freeze();
    let record = court.record();
    let pi = record.proposed_pi.unwrap();
    assert!(pi > 0.5 && pi < 1.0, "{pi}");
    assert_eq!((pi * 1e9).round() / 1e9, pi, "in billionths");
    let proof = service.inclusion(&ada, &submitted.id).unwrap();
    assert_eq!(Some(&proof.root), record.settlement.exhibits_root.as_ref());
    let content: Digest = proof.content_hash.parse().unwrap();
    assert!(merkle::verify(
        &proof.root.parse().unwrap(),
        &merkle::exhibit_leaf(&submitted.id, &content),
        0,
        1,
        &[]
    ));
    court.pass(60_000);
    assert_eq!(court.record().settlement.pi, Some(pi));
    court.assert_empty();
}

#[test]
fn a_self_resolving_market_undoes_its_last_trades_and_settles_at_its_price() {
    let court = plain_court("self_resolving", false, 0);
    let (ada, bob) = (court.world.person("ada"), court.world.person("bob"));
    let service = &court.world.service;
    let trade = |who: &Context, outcome: &str, credits: i64| {
        service
            .trade(who, &court.market.id, &spend(outcome, credits * CREDIT))
            .unwrap()
    };
    let early = trade(&ada, "yes", 20);
    for (who, outcome) in [(&bob, "yes"), (&bob, "yes"), (&ada, "yes")] {
        trade(who, outcome, 5);
    }
    let sell = TradeOrder {
        outcome: "yes".into(),
        shares_micro: Some(-CREDIT),
        ..TradeOrder::default()
    };
    let refused = service.trade(&ada, &court.market.id, &sell).unwrap_err();
    assert_eq!(refused.code(), "held-until-settled");
    let report = court.world.report("1", CREDIT);
    let refused = service.submit_evidence(&ada, &court.market.id, &report);
    assert_eq!(refused.unwrap_err().code(), "no-evidence");
    let price = service.market(&ada, &court.market.id).unwrap().probability;
    court.freeze();
    let record = court.record();
    assert_eq!(record.status, "paid", "nobody can challenge it");
    let pi = record.settlement.pi.unwrap();
    assert!((pi - price).abs() < 1e-9);
    assert!(record.settlement.advisory);
    // Bob's trades and ada's last were undone: stakes back and a credit each.
    assert_eq!(court.balance(&bob), GRANT + CREDIT);
    let value = (early.yes_micro as f64 * pi).floor() as i64;
    assert_eq!(
        court.balance(&ada),
        GRANT + CREDIT - early.cost_micro + value
    );
    court.assert_empty();
}

#[test]
fn a_self_resolving_market_stops_after_a_trade_that_its_seed_draws() {
    let court = Court::new(World::with(false, plain), 0, |_, cmd| {
        minutes("self_resolving", cmd);
        cmd.settlement.stop_ppm = Some(1_000_000);
        cmd.settlement.undone = Some(0);
    });
    let ada = court.world.person("ada");
    let trade = || {
        let order = spend("no", CREDIT);
        court.world.service.trade(&ada, &court.market.id, &order)
    };
    trade().unwrap();
    assert_eq!(trade().unwrap_err().code(), "market-closed");
    court.run();
    assert_eq!(court.record().status, "paid");
}

#[test]
fn a_ruling_that_no_jury_can_hear_stands_and_a_mere_word_falls() {
    let court = plain_court("objective", true, 0);
    let bob = court.world.person("bob");
    court.freeze();
    court.challenge(&bob, 0.0).unwrap();
    court.run();
    let refused = court.challenge(&bob, 0.0).unwrap_err();
    assert_eq!(refused.code(), "no-jury");
    assert_eq!(
        court.balance(&bob),
        GRANT - 2 * BOND,
        "nothing more was taken"
    );
    court.pass(60_000);
    assert_eq!(court.record().settlement.pi, Some(1.0));

    let court = plain_court("panel", true, 0);
    let (bob, eve) = (court.world.person("bob"), court.world.person("eve"));
    court.freeze();
    court.propose(&eve, 0.0).unwrap();
    court.challenge(&bob, 1.0).unwrap();
    court.run();
    assert_eq!(court.record().status, "void");
    assert_eq!((court.balance(&bob), court.balance(&eve)), (GRANT, GRANT));
    court.assert_empty();
}

#[test]
fn windows_close_on_time_and_bonds_must_be_paid() {
    let court = Court::new(World::with(false, plain), 3, |_, cmd| {
        minutes("panel", cmd);
        cmd.settlement.bond_micro = Some(600 * CREDIT);
    });
    let (eve, bob) = (court.world.person("eve"), court.world.person("bob"));
    court.freeze();
    court.propose(&eve, 0.5).unwrap();
    let poor = court.challenge(&bob, 1.0).unwrap_err();
    assert_eq!(poor.code(), "insufficient-funds");
    court.world.pass(60_000);
    assert_eq!(court.challenge(&bob, 1.0).unwrap_err().code(), "too-late");
    court.run();
    assert_eq!(court.record().settlement.pi, Some(0.5));
    assert_eq!(court.balance(&eve), GRANT);
}

/// Stages at which a market can be called off, and how to get there.
const STAGES: [&str; 6] = [
    "trading",
    "closing",
    "proposals",
    "challengeable",
    "challenged",
    "panel",
];

fn take_to(court: &Court, stage: &str, people: &[Context; 3]) {
    let [ada, bob, eve] = people;
    let service = &court.world.service;
    for (who, outcome) in [(ada, "yes"), (bob, "no"), (ada, "yes")] {
        service
            .trade(who, &court.market.id, &spend(outcome, 7 * CREDIT))
            .unwrap();
    }
    let sell = TradeOrder {
        outcome: "yes".into(),
        shares_micro: Some(-CREDIT),
        ..TradeOrder::default()
    };
    service.trade(ada, &court.market.id, &sell).unwrap();
    if stage == "trading" || stage == "closing" {
        // Its stake is in escrow and nobody has judged it.
        let report = court.world.report("1", 9 * CREDIT);
        service
            .submit_evidence(bob, &court.market.id, &report)
            .unwrap();
    }
    if stage == "trading" {
        return;
    }
    if stage == "closing" {
        court.world.pass(61_000);
        service.tick().unwrap();
        return;
    }
    court.freeze();
    if stage == "panel" {
        court.pass(60_000);
    }
    if ["challengeable", "challenged"].contains(&stage) {
        court.propose(eve, 0.0).unwrap();
    }
    if stage == "challenged" {
        court.challenge(bob, 1.0).unwrap();
    }
}

#[test]
fn the_operator_can_call_a_market_off_at_any_stage_and_everybody_is_refunded_exactly() {
    for stage in STAGES {
        let court = plain_court("panel", false, 3);
        let people = ["ada", "bob", "eve"].map(|name| court.world.person(name));
        take_to(&court, stage, &people);
        let void = VoidMarket {
            reason: "the claim was ambiguous".into(),
        };
        let service = &court.world.service;
        let own = service.void(&people[0], &court.market.id, &void);
        assert_eq!(own.unwrap_err().code(), "forbidden");
        let record = service
            .void(&court.world.operator, &court.market.id, &void)
            .unwrap();
        assert_eq!(
            record.void_reason.as_deref(),
            Some("the claim was ambiguous")
        );
        court.run();
        let balances = people.each_ref().map(|who| court.balance(who));
        assert_eq!(balances, [GRANT, GRANT, GRANT], "{stage}");
        court.assert_empty();
        let again = service.void(&court.world.operator, &court.market.id, &void);
        assert_eq!(again.unwrap_err().code(), "not-now");
    }
}

#[test]
fn a_restart_at_any_stage_loses_nothing() {
    let mut court = plain_court("panel", false, 3);
    let people = ["ada", "bob", "eve"].map(|name| court.world.person(name));
    let [ada, bob, eve] = &people;
    let buy = spend("no", 10 * CREDIT);
    court
        .world
        .service
        .trade(ada, &court.market.id, &buy)
        .unwrap();
    court = court.reopen();
    court.freeze();
    court = court.reopen();
    court.propose(eve, 1.0).unwrap();
    court = court.reopen();
    court.challenge(bob, 0.0).unwrap();
    court = court.reopen();
    court.rule(&[0, 0, 0]);
    court = court.reopen();
    court.world.pass(60_000);
    court = court.reopen();
    court.run();
    let record = court.record();
    assert_eq!(
        (record.status.as_str(), record.settlement.pi),
        ("paid", Some(0.0))
    );
    assert_eq!(court.balance(bob), GRANT + BOND * 3 / 4);
    assert_eq!(court.balance(eve), GRANT - BOND);
    assert!(court.balance(ada) > GRANT);
    court.assert_empty();
}

#[test]
fn settling_again_changes_nothing() {
    let court = plain_court("objective", true, 0);
    let ada = court.world.person("ada");
    let buy = spend("yes", 10 * CREDIT);
    court
        .world
        .service
        .trade(&ada, &court.market.id, &buy)
        .unwrap();
    court.freeze();
    court.pass(60_000);
    let (record, balance) = (court.record(), court.balance(&ada));
    assert_eq!(record.status, "paid");
    for _ in 0..3 {
        court
            .world
            .service
            .freeze_market(&ada, &court.market.id)
            .unwrap();
        court.pass(600_000);
    }
    assert_eq!((court.record(), court.balance(&ada)), (record, balance));
    court.assert_empty();
}

#[test]
fn a_lost_checkpoint_leaves_the_test_to_a_jury() {
    let court = plain_court("objective", true, 3);
    court.world.host.gone.store(true, Ordering::SeqCst);
    court.freeze();
    assert_eq!((court.stage().as_str(), court.seated().len()), ("panel", 3));
    court.rule(&[10_000, 9_000, 10_000]);
    court.pass(60_000);
    assert_eq!(court.record().settlement.pi, Some(1.0));
    court.assert_empty();
}

#[test]
fn terms_that_make_no_sense_are_refused() {
    let world = World::with(false, plain);
    let run = RegisterRun {
        name: "subject".into(),
        parameters: 0,
    };
    let run = world.service.register_run(&world.operator, &run).unwrap();
    type Spoil = fn(&mut OpenMarket);
    let cases: [(&str, Spoil, &str); 14] = [
        (
            "objective",
            |cmd| cmd.settlement.plan = serde_json::Value::Null,
            "bad-plan",
        ),
        (
            "objective",
            |cmd| cmd.settlement.proposal_window_s = Some(1),
            "bad-method",
        ),
        (
            "panel",
            |cmd| cmd.settlement.stop_ppm = Some(1),
            "bad-method",
        ),
        (
            "panel",
            |cmd| cmd.settlement.challenge_window_s = Some(-1),
            "bad-window",
        ),
        // A lone proposal, or fooled judges, must not be final before anybody can object.
        (
            "panel",
            |cmd| cmd.settlement.challenge_window_s = Some(0),
            "bad-window",
        ),
        (
            "ensemble",
            |cmd| cmd.settlement.challenge_window_s = Some(59),
            "bad-window",
        ),
        (
            "panel",
            |cmd| cmd.settlement.jury_commit_s = Some(0),
            "bad-window",
        ),
        (
            "panel",
            |cmd| cmd.settlement.proposal_window_s = Some(i64::MAX),
            "bad-window",
        ),
        ("panel", |cmd| cmd.closing_window_s = Some(60), "bad-window"),
        (
            "panel",
            |cmd| cmd.settlement.bond_micro = Some(-1),
            "bad-bond",
        ),
        (
            "panel",
            |cmd| cmd.settlement.audit_floor_bps = Some(499),
            "bad-audit",
        ),
        (
            "panel",
            |cmd| cmd.settlement.audit_peak_bps = Some(10_001),
            "bad-audit",
        ),
        (
            "self_resolving",
            |cmd| cmd.settlement.stop_ppm = Some(0),
            "bad-self-resolving",
        ),
        (
            "self_resolving",
            |cmd| cmd.settlement.undone = None,
            "bad-self-resolving",
        ),
    ];
    for (method, spoil, code) in cases {
        let mut cmd = world.terms(&run.id);
        minutes(method, &mut cmd);
        spoil(&mut cmd);
        let error = world
            .service
            .open_market(&world.operator, &cmd)
            .unwrap_err();
        assert_eq!(error.code(), code, "{method}: {error}");
    }
    let mut usual = world.terms(&run.id);
    usual.closing_window_s = None;
    let market = world.service.open_market(&world.operator, &usual).unwrap();
    let opened = parse_rfc3339(&market.opened_at).unwrap();
    let window = parse_rfc3339(&market.settlement.closes_from.unwrap()).unwrap();
    assert_eq!(window - opened, 54_000, "a tenth of a minute");
}
