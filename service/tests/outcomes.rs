//! Markets of several outcomes from opening to payout, through the use cases.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::{MarketView, OutcomeView};
use std::sync::atomic::Ordering;
use support::*;

fn terms_with(world: &World, run_id: &str, outcomes: Vec<OutcomeTerms>) -> OpenMarket {
    OpenMarket {
        claim: "Which comment makes the model skip verification?".into(),
        outcomes: Some(outcomes),
        ..world.terms(run_id)
    }
}

/// The eight candidates of the test plan and none of them.
fn candidates() -> Vec<OutcomeTerms> {
    let names = (0..8).map(|n| format!("// trigger-{n}"));
    let names = names.chain(["none".to_owned()]);
    names
        .map(|name| OutcomeTerms {
            name,
            probability: None,
        })
        .collect()
}

fn run(world: &World) -> String {
    let run = RegisterRun {
        name: "subject".into(),
        parameters: 0,
    };
    world
        .service
        .register_run(&world.operator, &run)
        .unwrap()
        .id
}

fn open(world: &World) -> MarketView {
    let terms = terms_with(world, &run(world), candidates());
    world.service.open_market(&world.operator, &terms).unwrap()
}

fn outcome<'a>(market: &'a MarketView, name: &str) -> &'a OutcomeView {
    let outcomes = market.outcomes.as_ref().unwrap();
    outcomes.iter().find(|one| one.name == name).unwrap()
}

fn sell(name: &str, micro: i64) -> TradeOrder {
    TradeOrder {
        outcome: name.into(),
        shares_micro: Some(-micro),
        ..TradeOrder::default()
    }
}

/// Lets the jobs run until nothing is in escrow.
fn until_paid_out(world: &World) {
    let runner = plumbline_service::jobs::JobRunner::start(&world.service).unwrap();
    for _ in 0..500 {
        let ledger = world.service.ledger_summary(&world.operator).unwrap();
        if ledger.escrow_micro == 0 {
            drop(runner);
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the escrow was never emptied");
}

fn balance(world: &World, person: &Context) -> i64 {
    world.service.me(person).unwrap().balance_micro
}

#[test]
fn a_market_opens_at_even_prices_with_the_subsidy_of_its_outcomes() {
    let world = World::new(false);
    let market = open(&world);
    let outcomes = market.outcomes.as_ref().unwrap();
    assert_eq!(outcomes.len(), 9);
    assert!(
        outcomes
            .iter()
            .all(|one| (one.probability - 1.0 / 9.0).abs() < 1e-12)
    );
    // b ln 9 with b of fifty credits.
    assert_eq!(market.subsidy_micro, 109_861_229);
    let ledger = world.service.ledger_summary(&world.operator).unwrap();
    assert_eq!((ledger.sum_micro, ledger.escrow_micro), (0, 109_861_229));
    let listed = world
        .service
        .markets(&world.operator, None, None, None, 9)
        .unwrap();
    assert_eq!(listed.items[0].outcomes.as_ref().unwrap().len(), 9);
    let run = world.service.run(&world.operator, &market.run_id).unwrap();
    assert_eq!(
        run.risk, None,
        "only a market with yes and no prices the run"
    );
}

#[test]
fn a_quote_is_what_the_trade_then_does() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = open(&world);
    let order = spend("// trigger-3", 20 * CREDIT);
    let quote = world.service.quote(&ada, &market.id, &order).unwrap();
    let trade = world.service.trade(&ada, &market.id, &order).unwrap();
    assert_eq!(quote.outcome, "// trigger-3");
    assert_eq!(
        (quote.shares_micro, quote.cost_micro),
        (trade.yes_micro, trade.cost_micro)
    );
    assert_eq!(quote.probability_after, trade.probability_after);
    assert_eq!(balance(&world, &ada), 1_000 * CREDIT - trade.cost_micro);
    let me = world.service.me(&ada).unwrap();
    assert_eq!(me.locked_micro, trade.cost_micro);
    let after = world.service.market(&ada, &market.id).unwrap();
    assert_eq!(
        outcome(&after, "// trigger-3").probability,
        trade.probability_after
    );
    assert_eq!(
        outcome(&after, "// trigger-3").shares_micro,
        trade.yes_micro
    );
    let sum: f64 = after
        .outcomes
        .as_ref()
        .unwrap()
        .iter()
        .map(|one| one.probability)
        .sum();
    assert!((sum - 1.0).abs() < 1e-12);
    let held = &world.service.my_positions(&ada).unwrap()[0];
    let holdings = held.outcomes.as_ref().unwrap();
    assert_eq!(holdings[0].outcome, "// trigger-3");
    assert_eq!(holdings[0].shares_micro, trade.yes_micro);
    assert!(held.value_micro > 0 && held.cost_micro == trade.cost_micro);
    let listed = world.service.trades(&ada, &market.id, None, 9).unwrap();
    assert_eq!(listed.items, std::slice::from_ref(&trade));
    let moves = world
        .service
        .outcome_prices(&ada, &market.id, None, 9)
        .unwrap();
    assert_eq!(moves.items.len(), 2, "the opening and the trade");
    assert_eq!(moves.items[1].reference.as_ref(), Some(&trade.id));
    assert_eq!(moves.items[1].probabilities[3], trade.probability_after);
    assert_eq!(
        world.service.outcome_chart(&ada, &market.id, 50).unwrap(),
        moves.items
    );
    assert_eq!(world.sum(), 0);
}

#[test]
fn the_decisive_candidate_wins_and_everybody_is_paid() {
    let world = World::new(true);
    let (ada, bob, eve) = (
        world.person("ada"),
        world.person("bob"),
        world.person("eve"),
    );
    let market = open(&world);
    let traded = |who: &Context, name: &str, credits: i64| {
        let order = spend(name, credits * CREDIT);
        world.service.trade(who, &market.id, &order).unwrap()
    };
    let right = traded(&ada, "// trigger-3", 40);
    traded(&bob, "none", 30);
    traded(&eve, "// trigger-0", 10);
    world
        .service
        .trade(&eve, &market.id, &sell("// trigger-0", CREDIT))
        .unwrap();
    let held = world
        .service
        .positions(&ada, &market.id, None, 9)
        .unwrap()
        .items;
    assert_eq!(held.len(), 3);
    world.host.tokens.store(1_000, Ordering::SeqCst);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(outcome(&paid, "// trigger-3").settlement, Some(1.0));
    assert_eq!(outcome(&paid, "none").settlement, Some(0.0));
    let expected = 1_000 * CREDIT - right.cost_micro + right.yes_micro;
    assert_eq!(balance(&world, &ada), expected);
    assert!(balance(&world, &bob) < 1_000 * CREDIT && balance(&world, &eve) < 1_000 * CREDIT);
    let ledger = world.service.ledger_summary(&ada).unwrap();
    assert_eq!((ledger.sum_micro, ledger.escrow_micro), (0, 0));
    for person in [&ada, &bob, &eve] {
        assert_eq!(world.service.me(person).unwrap().locked_micro, 0);
    }
    let mine = &world.service.my_positions(&ada).unwrap()[0];
    assert_eq!(mine.paid_micro, Some(right.yes_micro));
    let history = world.service.history(&ada, None, 9).unwrap().items;
    let told: Vec<&str> = history.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(told, ["payout", "trade", "grant"]);
    assert_eq!(history[1].outcome.as_deref(), Some("// trigger-3"));
    let best = &world
        .service
        .leaderboard(&ada, "total", None, 9)
        .unwrap()
        .items[0];
    assert_eq!((best.account.as_str(), best.hits), ("ada", 1));
    assert_eq!(best.total_micro, right.yes_micro - right.cost_micro);
    let cases = world.service.calibration(&ada, None).unwrap();
    assert_eq!(
        cases.cases, 0,
        "it says nothing of how well prices of claims did"
    );
}

#[test]
fn none_wins_where_no_candidate_is_decisive() {
    let world = World::new(false);
    let bob = world.person("bob");
    let market = open(&world);
    world
        .service
        .trade(&bob, &market.id, &spend("none", 10 * CREDIT))
        .unwrap();
    world.pass(61_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(outcome(&paid, "none").settlement, Some(1.0));
    assert!(balance(&world, &bob) > 1_000 * CREDIT);
}

#[test]
fn a_void_market_refunds_exactly_even_those_who_sold_at_a_profit() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = open(&world);
    world.host.gone.store(true, Ordering::SeqCst);
    let trade =
        |who: &Context, order: TradeOrder| world.service.trade(who, &market.id, &order).unwrap();
    let early = trade(&ada, spend("// trigger-1", 10 * CREDIT));
    trade(&bob, spend("// trigger-1", 60 * CREDIT));
    // Sold dear: the profit stays in escrow.
    trade(&ada, sell("// trigger-1", early.yes_micro));
    trade(&bob, spend("none", 5 * CREDIT));
    assert_eq!(balance(&world, &ada), 1_000 * CREDIT);
    assert!(world.service.my_positions(&ada).unwrap()[0].cost_micro < 0);
    world.pass(61_000);
    world.until_status(&market.id, "void");
    until_paid_out(&world);
    for person in [&ada, &bob] {
        let me = world.service.me(person).unwrap();
        assert_eq!((me.balance_micro, me.locked_micro), (1_000 * CREDIT, 0));
    }
    assert_eq!(world.sum(), 0);
    let void = world.service.market(&ada, &market.id).unwrap();
    assert_eq!(outcome(&void, "none").settlement, None);
}

#[test]
fn complete_sets_become_cash_and_leave_nothing_behind() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = open(&world);
    for one in candidates() {
        let order = TradeOrder {
            outcome: one.name,
            shares_micro: Some(7 * CREDIT),
            ..TradeOrder::default()
        };
        world.service.trade(&ada, &market.id, &order).unwrap();
    }
    let held = &world.service.my_positions(&ada).unwrap()[0];
    assert_eq!(held.outcomes.as_ref().unwrap(), &[]);
    // One micro-credit of rounding a trade at most.
    assert!((0..=9).contains(&held.cost_micro), "{}", held.cost_micro);
    assert_eq!(balance(&world, &ada), 1_000 * CREDIT - held.cost_micro);
    let after = world.service.market(&ada, &market.id).unwrap();
    assert!(
        after
            .outcomes
            .unwrap()
            .iter()
            .all(|one| one.shares_micro == 0)
    );
}

#[test]
fn a_restart_between_stages_loses_nothing() {
    let world = World::new(true);
    let ada = world.person("ada");
    let market = open(&world);
    let right = world
        .service
        .trade(&ada, &market.id, &spend("// trigger-3", 10 * CREDIT))
        .unwrap();
    let world = world.reopen();
    world.pass(61_000);
    world.until_status(&market.id, "paid");
    let expected = 1_000 * CREDIT - right.cost_micro + right.yes_micro;
    assert_eq!(balance(&world, &ada), expected);
    assert_eq!(world.service.ledger_summary(&ada).unwrap().escrow_micro, 0);
}

#[test]
fn the_same_key_trades_once() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = open(&world);
    let order = spend("none", CREDIT);
    let once = || {
        let keyed = with_key(&ada, "k", "body");
        world.service.trade(&keyed, &market.id, &order).unwrap()
    };
    assert_eq!(once(), once());
    assert_eq!(world.service.market(&ada, &market.id).unwrap().trades, 1);
}

#[test]
fn bad_trades_change_nothing() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = open(&world);
    let target = |p| TradeOrder {
        outcome: "none".into(),
        target_probability: Some(p),
        ..TradeOrder::default()
    };
    let two = TradeOrder {
        shares_micro: Some(1),
        ..spend("none", 1)
    };
    let limited = TradeOrder {
        limit_probability: Some(0.12),
        ..spend("none", 50 * CREDIT)
    };
    let (huge, wide) = (spend("none", i64::MAX), sell("none", i64::MAX));
    for (order, code) in [
        (spend("yes", CREDIT), "binary-only"),
        (spend("no", CREDIT), "binary-only"),
        (spend("nobody", CREDIT), "bad-outcome"),
        (spend("", CREDIT), "bad-outcome"),
        (spend("none", 0), "zero-size"),
        (spend("none", -5), "zero-size"),
        (sell("none", 1), "insufficient-shares"),
        (wide, "insufficient-shares"),
        (target(0.0), "bad-probability"),
        (target(f64::NAN), "bad-probability"),
        (target(0.9999), "bad-probability"),
        (two, "bad-size"),
        (limited, "limit-exceeded"),
    ] {
        for error in [
            world.service.trade(&ada, &market.id, &order).unwrap_err(),
            world.service.quote(&ada, &market.id, &order).unwrap_err(),
        ] {
            assert_eq!(error.code(), code, "{order:?}");
        }
    }
    // As much as the price allows is little here, so even the greatest spend is covered.
    let most = world.service.quote(&ada, &market.id, &huge).unwrap();
    assert!(most.truncated && most.cost_micro < 250 * CREDIT);
    assert_eq!(balance(&world, &ada), 1_000 * CREDIT);
    assert_eq!(world.service.market(&ada, &market.id).unwrap().trades, 0);
    let binary = world
        .service
        .open_market(&world.operator, &world.terms(&market.run_id))
        .unwrap();
    let odd = world
        .service
        .trade(&ada, &binary.id, &spend("none", CREDIT));
    assert_eq!(odd.unwrap_err().code(), "bad-outcome");
    let odd = world.service.outcome_prices(&ada, &binary.id, None, 9);
    assert_eq!(odd.unwrap_err().code(), "no-outcomes");
}

#[test]
fn overdrawn_accounts_and_late_orders_are_refused() {
    let world = World::new(false);
    let ada = world.person("ada");
    let deep = OpenMarket {
        liquidity_micro: 100_000 * CREDIT,
        ..terms_with(&world, &run(&world), candidates())
    };
    let market = world.service.open_market(&world.operator, &deep).unwrap();
    let order = spend("none", 1_000 * CREDIT + 1);
    let refused = world.service.trade(&ada, &market.id, &order).unwrap_err();
    assert_eq!(refused.code(), "insufficient-funds");
    world
        .service
        .trade(&ada, &market.id, &spend("none", 1_000 * CREDIT))
        .unwrap();
    let refused = world
        .service
        .trade(&ada, &market.id, &spend("none", CREDIT))
        .unwrap_err();
    assert_eq!(refused.code(), "insufficient-funds");
    assert!(balance(&world, &ada) <= 1);
    world.pass(60_000);
    let late = world
        .service
        .trade(&ada, &market.id, &sell("none", 1))
        .unwrap_err();
    assert_eq!(late.code(), "market-closed");
}

#[test]
fn evidence_and_resting_orders_are_for_markets_with_yes_and_no() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = open(&world);
    let report = world.report("1.0", CREDIT);
    let refused = world
        .service
        .submit_evidence(&ada, &market.id, &report)
        .unwrap_err();
    assert_eq!(refused.code(), "binary-only");
    let resting = PlaceOrder {
        outcome: "yes".into(),
        limit_probability: 0.4,
        spend_micro: Some(CREDIT),
        shares_micro: None,
        expires_at: None,
    };
    let refused = world
        .service
        .place_order(&ada, &market.id, &resting)
        .unwrap_err();
    assert_eq!(refused.code(), "binary-only");
    assert_eq!(balance(&world, &ada), 1_000 * CREDIT);
}

#[test]
fn openings_are_refused_with_a_reason() {
    let world = World::new(false);
    let run = run(&world);
    let named = |names: &[&str]| -> Vec<OutcomeTerms> {
        let term = |name: &&str| OutcomeTerms {
            name: (*name).to_owned(),
            probability: None,
        };
        names.iter().map(term).collect()
    };
    let mut twice = candidates();
    twice[1].name = "// trigger-0".into();
    let mut lost = candidates();
    lost.pop();
    let mut uneven = candidates();
    uneven[0].probability = Some(0.9999);
    let mut past = candidates();
    for one in &mut past {
        one.probability = Some(0.2);
    }
    let many: Vec<String> = (0..65).map(|n| format!("o{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (outcomes, code) in [
        (named(&[]), "bad-outcomes"),
        (named(&["only"]), "bad-outcomes"),
        (named(&many), "bad-outcomes"),
        (named(&["a", "b", "none"]), "bad-outcomes"),
        (twice, "bad-outcomes"),
        (lost, "bad-outcomes"),
        (uneven, "bad-probability"),
        (past, "bad-probability"),
    ] {
        let terms = terms_with(&world, &run, outcomes);
        let refused = world
            .service
            .open_market(&world.operator, &terms)
            .unwrap_err();
        assert_eq!(refused.code(), code, "{:?}", terms.outcomes);
    }
    let own = OpenMarket {
        probability: 0.3,
        ..terms_with(&world, &run, candidates())
    };
    let refused = world
        .service
        .open_market(&world.operator, &own)
        .unwrap_err();
    assert_eq!(refused.code(), "bad-probability");
    let charged = OpenMarket {
        trade_fee_bps: 5,
        ..terms_with(&world, &run, candidates())
    };
    let refused = world.service.open_market(&world.operator, &charged);
    assert_eq!(refused.unwrap_err().code(), "binary-only");
    for liquidity in [0, -1, 999, i64::MAX] {
        let thin = OpenMarket {
            liquidity_micro: liquidity,
            ..terms_with(&world, &run, candidates())
        };
        let refused = world
            .service
            .open_market(&world.operator, &thin)
            .unwrap_err();
        assert_eq!(refused.code(), "bad-liquidity");
    }
    let none = world
        .service
        .markets(&world.operator, None, None, None, 9)
        .unwrap();
    assert!(none.items.is_empty());
    assert_eq!(world.sum(), 0);
}

#[test]
fn a_market_of_several_outcomes_moves_no_allocation() {
    let world = World::new(true);
    let ada = world.person("ada");
    let id = run(&world);
    let decided = || {
        world.pass(1_000);
        world.service.tick().unwrap();
        let run = world.service.run(&world.operator, &id).unwrap();
        assert_eq!(run.risk, None);
        let allocation = run.allocation.unwrap();
        (
            allocation.action,
            allocation.share_bps,
            allocation.generation,
        )
    };
    let before = decided();
    // The first outcome is the planted trigger, and comes out as certain as it can be.
    let mut outcomes = candidates();
    outcomes.swap(0, 3);
    let terms = terms_with(&world, &id, outcomes);
    let market = world.service.open_market(&world.operator, &terms).unwrap();
    let order = spend("// trigger-3", 500 * CREDIT);
    world.service.trade(&ada, &market.id, &order).unwrap();
    for _ in 0..5 {
        assert_eq!(decided(), before);
    }
    world.pass(61_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(paid.settlement.pi, Some(1.0));
    let after = decided();
    assert_eq!((after.0, after.1), (before.0, before.1));
}

#[test]
fn the_draws_follow_the_trades_and_the_outcomes_are_among_the_terms() {
    let world = World::new(true);
    let ada = world.person("ada");
    let id = run(&world);
    let mut terms = terms_with(&world, &id, candidates());
    terms.settlement.challenge_window_s = Some(60);
    let market = world.service.open_market(&world.operator, &terms).unwrap();
    let mut trades = Vec::new();
    for name in ["// trigger-3", "none", "// trigger-0"] {
        let order = spend(name, 3 * CREDIT);
        trades.push(world.service.trade(&ada, &market.id, &order).unwrap().id);
    }
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    let case = world.service.case(&ada, &market.id).unwrap();
    let text = case.terms.unwrap();
    assert!(text.contains("[\"// trigger-0\",0.1111"), "{text}");
    let moves = world
        .service
        .prices(&ada, &market.id, None, 9)
        .unwrap()
        .items;
    let logit = |p: f64| p.ln() - (-p).ln_1p();
    assert_eq!(moves.len(), 4);
    assert!((logit(moves[3].probability) - logit(moves[2].probability)).abs() > 1e-3);
    assert_eq!(moves[3].reference.as_ref(), trades.last());
    let closing = case.closing.unwrap();
    let opening = plumbline_market::draw::LogHead::open(&text)
        .head
        .to_string();
    assert_ne!(closing.log.head, opening, "the head holds the trades");
    // Jurors vote a number, so a test's settlement of several outcomes is not disputed.
    let dispute = ChallengeSettlement {
        pi: 1.0,
        bond_micro: 100 * CREDIT,
        reason: "No.".into(),
    };
    let refused = world
        .service
        .challenge_settlement(&ada, &market.id, &dispute);
    assert_eq!(refused.unwrap_err().code(), "binary-only");
    world.pass(61_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(outcome(&paid, "// trigger-3").settlement, Some(1.0));
    assert_eq!(world.service.ledger_summary(&ada).unwrap().escrow_micro, 0);
}
