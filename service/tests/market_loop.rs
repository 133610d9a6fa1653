//! Markets from opening to payout, through the use cases.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::commands::*;
use plumbline_service::context::{Actor, Context};
use std::sync::atomic::Ordering;
use support::*;

#[test]
fn a_quote_is_what_the_trade_then_does() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let order = spend("yes", 10 * CREDIT);
    let quote = world.service.quote(&ada, &market.id, &order).unwrap();
    let trade = world.service.trade(&ada, &market.id, &order).unwrap();
    assert_eq!(quote.shares_micro, trade.yes_micro);
    assert_eq!(quote.cost_micro, trade.cost_micro);
    assert_eq!(quote.probability_after, trade.probability_after);
    let me = world.service.me(&ada).unwrap();
    assert_eq!(me.balance_micro, 1_000 * CREDIT - trade.cost_micro);
    assert_eq!(me.locked_micro, trade.cost_micro);
    assert_eq!(world.sum(), 0);
}

#[test]
fn the_same_key_trades_once_and_another_body_is_refused() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let order = spend("yes", CREDIT);
    let first = world
        .service
        .trade(&with_key(&ada, "k", "body"), &market.id, &order)
        .unwrap();
    let again = world
        .service
        .trade(&with_key(&ada, "k", "body"), &market.id, &order)
        .unwrap();
    assert_eq!(first, again);
    assert_eq!(world.service.market(&ada, &market.id).unwrap().trades, 1);
    let other = world
        .service
        .trade(&with_key(&ada, "k", "another"), &market.id, &order);
    assert_eq!(other.unwrap_err().code(), "idempotency-mismatch");
}

#[test]
fn a_poisoned_run_settles_at_one_and_pays_those_who_said_so() {
    let world = World::new(true);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    world
        .service
        .trade(&ada, &market.id, &spend("yes", 10 * CREDIT))
        .unwrap();
    world
        .service
        .trade(&bob, &market.id, &spend("no", 10 * CREDIT))
        .unwrap();
    let submitted = world
        .service
        .submit_evidence(&ada, &market.id, &world.report("2.0", 20 * CREDIT))
        .unwrap();
    let judged = world.until_judged(&submitted.id);
    assert_eq!(judged.status, "judged");
    assert!(judged.probability_after > judged.probability_before);
    assert!(judged.locked_micro > 0 && judged.locked_micro <= 20 * CREDIT);
    world.host.tokens.store(1_000, Ordering::SeqCst);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(paid.settlement.pi, Some(1.0));
    assert!(
        paid.settlement.plan.is_some(),
        "the plan is opened by the freeze"
    );
    let (ada_now, bob_now) = (
        world.service.me(&ada).unwrap(),
        world.service.me(&bob).unwrap(),
    );
    assert!(ada_now.balance_micro > 1_000 * CREDIT, "{ada_now:?}");
    assert!(bob_now.balance_micro < 1_000 * CREDIT, "{bob_now:?}");
    assert_eq!((ada_now.locked_micro, bob_now.locked_micro), (0, 0));
    let ledger = world.service.ledger_summary(&ada).unwrap();
    assert_eq!((ledger.sum_micro, ledger.escrow_micro), (0, 0));
    let after = world.service.evidence(&ada, &submitted.id).unwrap();
    assert!(after.payoff_micro.unwrap() > 0);
}

#[test]
fn a_clean_run_settles_at_zero() {
    let world = World::new(false);
    let bob = world.person("bob");
    let market = world.market();
    world
        .service
        .trade(&bob, &market.id, &spend("no", 10 * CREDIT))
        .unwrap();
    world.pass(61_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(paid.settlement.pi, Some(0.0));
    assert!(world.service.me(&bob).unwrap().balance_micro > 1_000 * CREDIT);
}

#[test]
fn the_plan_stays_hidden_until_the_freeze() {
    let world = World::new(false);
    let market = world.market();
    assert!(market.settlement.plan.is_none());
    assert_eq!(
        market.settlement.plan_commitment.as_deref().map(str::len),
        Some(64)
    );
}

#[test]
fn nothing_trades_after_the_deadline_even_before_the_job_has_run() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    world.pass(60_000);
    let late = world
        .service
        .trade(&ada, &market.id, &spend("yes", CREDIT))
        .unwrap_err();
    assert_eq!(late.code(), "market-closed");
    let late = world
        .service
        .submit_evidence(&ada, &market.id, &world.report("1", CREDIT))
        .unwrap_err();
    assert_eq!(late.code(), "market-closed");
}

#[test]
fn bad_trades_change_nothing() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let sell = TradeOrder {
        outcome: "yes".into(),
        shares_micro: Some(-1),
        ..TradeOrder::default()
    };
    let huge = TradeOrder {
        outcome: "yes".into(),
        shares_micro: Some(i64::MIN),
        ..TradeOrder::default()
    };
    for (order, code) in [
        (spend("yes", 0), "zero-size"),
        (spend("yes", -5), "zero-size"),
        (sell, "insufficient-shares"),
        (huge, "amount-out-of-range"),
        (
            TradeOrder {
                limit_probability: Some(0.51),
                ..spend("yes", 50 * CREDIT)
            },
            "limit-exceeded",
        ),
    ] {
        assert_eq!(
            world
                .service
                .trade(&ada, &market.id, &order)
                .unwrap_err()
                .code(),
            code,
            "{order:?}"
        );
    }
    let poor = Context::of(Actor {
        scopes: vec![],
        ..ada.actor.clone()
    });
    assert_eq!(
        world
            .service
            .trade(&poor, &market.id, &spend("yes", 1))
            .unwrap_err()
            .code(),
        "forbidden"
    );
    let visitor = Context::of(Actor::visitor());
    assert_eq!(
        world
            .service
            .trade(&visitor, &market.id, &spend("yes", 1))
            .unwrap_err()
            .code(),
        "unauthenticated"
    );
    let unknown = world
        .service
        .trade(&ada, "nowhere", &spend("yes", CREDIT))
        .unwrap_err();
    assert_eq!(unknown.code(), "not-found");
    assert_eq!(
        world.service.me(&ada).unwrap().balance_micro,
        1_000 * CREDIT
    );
    assert_eq!(world.service.market(&ada, &market.id).unwrap().trades, 0);
}

#[test]
fn stakes_above_the_balance_are_refused() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    for stake in [1_000 * CREDIT, i64::MAX] {
        let error = world
            .service
            .submit_evidence(&ada, &market.id, &world.report("1", stake))
            .unwrap_err();
        assert_eq!(error.code(), "insufficient-funds");
    }
    assert_eq!(
        world.service.me(&ada).unwrap().balance_micro,
        1_000 * CREDIT
    );
}

#[test]
fn duplicates_cost_the_fee_and_move_nothing() {
    let world = World::new(false);
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let market = world.market();
    let first = world
        .service
        .submit_evidence(&ada, &market.id, &world.report("1.5", CREDIT))
        .unwrap();
    let copy = world
        .service
        .submit_evidence(&eve, &market.id, &world.report("1.5", CREDIT))
        .unwrap();
    assert_eq!(copy.status, "duplicate");
    assert!(copy.reason.unwrap().contains(&first.id));
    assert_eq!(
        world.service.me(&eve).unwrap().balance_micro,
        1_000 * CREDIT - copy.fee_micro
    );
    world.until_judged(&first.id);
    assert_eq!(world.service.market(&ada, &market.id).unwrap().trades, 1);
    assert_eq!(world.sum(), 0);
}

#[test]
fn evidence_moves_the_price_by_kappa_times_the_shift_and_no_further_than_the_stake() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let rich = world
        .service
        .submit_evidence(&ada, &market.id, &world.report("0.5", 100 * CREDIT))
        .unwrap();
    let rich = world.until_judged(&rich.id);
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let moved = logit(rich.probability_after.unwrap()) - logit(rich.probability_before.unwrap());
    assert!(
        (moved - 0.8 * rich.shift).abs() < 1e-6,
        "{moved} against {}",
        rich.shift
    );
    let poor = world
        .service
        .submit_evidence(&ada, &market.id, &world.report("3 # more", CREDIT / 10))
        .unwrap();
    let poor = world.until_judged(&poor.id);
    assert!(poor.locked_micro <= CREDIT / 10);
    let moved = logit(poor.probability_after.unwrap()) - logit(poor.probability_before.unwrap());
    assert!(moved > 0.0 && moved < 0.8 * poor.shift);
}

#[test]
fn a_restart_between_stages_loses_nothing() {
    let world = World::new(true);
    let ada = world.person("ada");
    let market = world.market();
    world
        .service
        .trade(&ada, &market.id, &spend("yes", 10 * CREDIT))
        .unwrap();
    let pending = world
        .service
        .submit_evidence(&ada, &market.id, &world.report("1", CREDIT))
        .unwrap();
    let world = world.reopen();
    world.pass(61_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(paid.settlement.pi, Some(1.0));
    assert_eq!(
        world.service.evidence(&ada, &pending.id).unwrap().status,
        "judged"
    );
    assert_eq!(world.service.ledger_summary(&ada).unwrap().escrow_micro, 0);
}

#[test]
fn markets_are_refused_with_a_reason() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let good = world.terms(&market.run_id);
    let refused = |terms: &OpenMarket| {
        world
            .service
            .open_market(&world.operator, terms)
            .unwrap_err()
            .code()
    };
    type Spoil = fn(&mut OpenMarket);
    let cases: [(Spoil, &str); 7] = [
        (|terms| terms.probability = f64::NAN, "bad-probability"),
        (|terms| terms.liquidity_micro = 0, "bad-liquidity"),
        (|terms| terms.closes_at = "soon".into(), "bad-time"),
        (
            |terms| terms.closes_at = "2001-01-01T00:00:00Z".into(),
            "closes-too-soon",
        ),
        (|terms| terms.closes_after_tokens = Some(0), "bad-tokens"),
        (|terms| terms.claim = String::new(), "bad-claim"),
        (|terms| terms.run_id = "nothing".into(), "not-found"),
    ];
    for (spoil, code) in cases {
        let mut terms = good.clone();
        spoil(&mut terms);
        assert_eq!(refused(&terms), code);
    }
    let plan = serde_json::json!({"alpha_ppm": 1});
    let terms = SettlementTerms {
        method: "objective".into(),
        plan,
        ..SettlementTerms::default()
    };
    assert_eq!(
        refused(&OpenMarket {
            settlement: terms,
            ..good.clone()
        }),
        "bad-plan"
    );
    let terms = SettlementTerms {
        method: "vibes".into(),
        ..good.settlement.clone()
    };
    assert_eq!(
        refused(&OpenMarket {
            settlement: terms,
            ..good.clone()
        }),
        "bad-method"
    );
    assert_eq!(
        world.service.open_market(&ada, &good).unwrap_err().code(),
        "forbidden"
    );
}

#[test]
fn the_scheduler_inside_the_process_is_not_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    let service = fresh(&folder);
    service.system_scheduler("embedded-scheduler").unwrap();
    assert!(service.needs_setup().unwrap(), "nobody can sign in yet");
    let cmd = CreateAccount {
        handle: "operator".into(),
        password: PASSWORD.into(),
        invitation: None,
    };
    let code = service.setup_code().to_owned();
    service.set_up(&code, &cmd).unwrap();
    assert!(!service.needs_setup().unwrap());
}

#[test]
fn a_market_on_a_run_that_cannot_be_reached_is_voided_and_refunds_exactly() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    world.host.gone.store(true, Ordering::SeqCst);
    for (who, outcome) in [(&ada, "yes"), (&bob, "no"), (&ada, "yes")] {
        world
            .service
            .trade(who, &market.id, &spend(outcome, 7 * CREDIT))
            .unwrap();
    }
    let sell = TradeOrder {
        outcome: "yes".into(),
        shares_micro: Some(-CREDIT),
        ..TradeOrder::default()
    };
    world.service.trade(&ada, &market.id, &sell).unwrap();
    world.pass(61_000);
    let void = world.until_status(&market.id, "void");
    assert!(void.settlement.statistics.unwrap()["void"].is_string());
    let runner = plumbline_service::jobs::JobRunner::start(&world.service).unwrap();
    for _ in 0..500 {
        if world.service.ledger_summary(&ada).unwrap().escrow_micro == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(runner);
    for person in [&ada, &bob] {
        let me = world.service.me(person).unwrap();
        assert_eq!((me.balance_micro, me.locked_micro), (1_000 * CREDIT, 0));
    }
    assert_eq!(world.sum(), 0);
}
