//! Fees, resting orders, portfolio, standings and calibration, on a service with its jobs.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::commands::{OpenMarket, PlaceOrder, TradeOrder};
use plumbline_service::context::Context;
use plumbline_service::time::rfc3339;
use plumbline_service::views::{MarketView, OrderView};
use support::{CREDIT, World, spend};

fn open(world: &World, trade_fee_bps: u16, creator_fee_bps: u16) -> MarketView {
    let run = plumbline_service::commands::RegisterRun {
        name: "subject".into(),
        parameters: 0,
    };
    let run = world.service.register_run(&world.operator, &run).unwrap();
    let terms = OpenMarket {
        trade_fee_bps,
        creator_fee_bps,
        ..world.terms(&run.id)
    };
    world.service.open_market(&world.operator, &terms).unwrap()
}

fn balance(world: &World, who: &Context) -> i64 {
    world.service.me(who).unwrap().balance_micro
}

fn buy(outcome: &str, limit: f64, micro: i64) -> PlaceOrder {
    PlaceOrder {
        outcome: outcome.into(),
        limit_probability: limit,
        spend_micro: Some(micro),
        ..PlaceOrder::default()
    }
}

fn sell(outcome: &str, limit: f64, micro: i64) -> PlaceOrder {
    PlaceOrder {
        outcome: outcome.into(),
        limit_probability: limit,
        shares_micro: Some(-micro),
        ..PlaceOrder::default()
    }
}

fn to(probability: f64, outcome: &str) -> TradeOrder {
    TradeOrder {
        outcome: outcome.into(),
        target_probability: Some(probability),
        ..TradeOrder::default()
    }
}

fn own(world: &World, who: &Context, id: &str) -> OrderView {
    let page = world.service.orders(who, None, None, 200).unwrap();
    page.items.into_iter().find(|order| order.id == id).unwrap()
}

fn price(world: &World, market: &MarketView) -> f64 {
    world
        .service
        .market(&world.operator, &market.id)
        .unwrap()
        .probability
}

fn settle(world: &World, market: &MarketView) {
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    world.service.run_due_jobs().unwrap();
    let status = world
        .service
        .market(&world.operator, &market.id)
        .unwrap()
        .status;
    assert_eq!(status, "paid");
}

#[test]
fn fees_are_quoted_held_and_paid_out() {
    let world = World::new(true);
    let market = open(&world, 100, 50);
    let ada = world.person("ada");
    let order = spend("yes", 10 * CREDIT);
    let quote = world.service.quote(&ada, &market.id, &order).unwrap();
    let before = balance(&world, &ada);
    let trade = world.service.trade(&ada, &market.id, &order).unwrap();
    assert_eq!(
        (quote.cost_micro, quote.fee_micro, quote.total_micro),
        (
            trade.cost_micro,
            trade.fee_micro,
            trade.cost_micro + trade.fee_micro
        )
    );
    assert!(quote.total_micro <= 10 * CREDIT && quote.total_micro >= 10 * CREDIT - 2);
    assert_eq!(before - balance(&world, &ada), quote.total_micro);
    // 1.5 % of the cost, each part rounded up.
    let part = |bps: i64| (trade.cost_micro * bps + 9_999) / 10_000;
    assert_eq!(trade.fee_micro, part(100) + part(50));
    let listed = world.service.trades(&ada, &market.id, None, 9).unwrap();
    assert_eq!(listed.items[0].fee_micro, trade.fee_micro);
    let creator = balance(&world, &world.operator);
    settle(&world, &market);
    assert_eq!(balance(&world, &world.operator) - creator, part(50));
    assert_eq!(world.sum(), 0);
    // The job that gave them out may run again.
    world.service.run_due_jobs().unwrap();
    assert_eq!(balance(&world, &world.operator) - creator, part(50));
}

#[test]
fn a_void_market_gives_fees_and_reserves_back_exactly() {
    let world = World::new(true);
    let market = open(&world, 500, 500);
    let people: Vec<Context> = ["ada", "bob", "eve"].map(|name| world.person(name)).into();
    let before: Vec<i64> = people.iter().map(|who| balance(&world, who)).collect();
    for (who, outcome) in people.iter().zip(["yes", "no", "yes"]) {
        let order = spend(outcome, 7 * CREDIT + 1);
        world.service.trade(who, &market.id, &order).unwrap();
    }
    let resting = buy("yes", 0.2, 3 * CREDIT);
    world
        .service
        .place_order(&people[0], &market.id, &resting)
        .unwrap();
    let held = world.service.positions(&people[2], &market.id, None, 9);
    assert_eq!(held.unwrap().items.len(), 3);
    world
        .host
        .gone
        .store(true, std::sync::atomic::Ordering::SeqCst);
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    world.service.run_due_jobs().unwrap();
    let market = world.service.market(&world.operator, &market.id).unwrap();
    assert_eq!(market.status, "void");
    let after: Vec<i64> = people.iter().map(|who| balance(&world, who)).collect();
    assert_eq!(before, after);
    assert_eq!(world.sum(), 0);
}

#[test]
fn a_resting_order_runs_when_the_price_reaches_it() {
    let world = World::new(true);
    let market = open(&world, 0, 0);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let before = balance(&world, &ada);
    let placed = world
        .service
        .place_order(&ada, &market.id, &buy("yes", 0.4, 10 * CREDIT))
        .unwrap();
    assert_eq!(
        (placed.status.as_str(), placed.fills, placed.side.as_str()),
        ("open", 0, "up")
    );
    assert_eq!(before - balance(&world, &ada), 10 * CREDIT);
    assert_eq!(price(&world, &market), 0.5);
    // Above its limit nothing happens; below, the order buys back up to it.
    world
        .service
        .trade(&bob, &market.id, &to(0.45, "no"))
        .unwrap();
    assert_eq!(own(&world, &ada, &placed.id).fills, 0);
    let sold = world
        .service
        .trade(&bob, &market.id, &to(0.35, "no"))
        .unwrap();
    assert!(
        (sold.probability_after - 0.35).abs() < 1e-6,
        "bob's own move"
    );
    assert!((price(&world, &market) - 0.4).abs() < 1e-6);
    let order = own(&world, &ada, &placed.id);
    assert_eq!((order.fills, order.status.as_str()), (1, "open"));
    assert_eq!(order.remaining_micro, 10 * CREDIT - order.cost_micro);
    assert_eq!(order.reserved_micro, order.remaining_micro);
    let book = world.service.book(&bob, &market.id).unwrap();
    assert_eq!(book.up.len(), 1);
    assert_eq!(book.up[0].spend_micro, order.remaining_micro);
    // A large move exhausts it, and the rest of the budget (a crumb) comes back.
    world
        .service
        .trade(&bob, &market.id, &to(0.05, "no"))
        .unwrap();
    let order = own(&world, &ada, &placed.id);
    assert_eq!((order.status.as_str(), order.reserved_micro), ("filled", 0));
    let left = 10 * CREDIT - order.cost_micro;
    assert!((0..10).contains(&left), "{left}");
    assert_eq!(before - balance(&world, &ada), order.cost_micro);
    assert!(world.service.book(&bob, &market.id).unwrap().up.is_empty());
    settle(&world, &market);
    assert_eq!(world.sum(), 0);
}

#[test]
fn what_can_run_at_once_does_and_the_rest_rests() {
    let world = World::new(true);
    let market = open(&world, 100, 0);
    let ada = world.person("ada");
    let before = balance(&world, &ada);
    let order = world
        .service
        .place_order(&ada, &market.id, &buy("yes", 0.6, 100 * CREDIT))
        .unwrap();
    assert_eq!((order.fills, order.status.as_str()), (1, "open"));
    assert!((price(&world, &market) - 0.6).abs() < 1e-6);
    assert_eq!(
        order.reserved_micro + order.cost_micro + order.fee_micro,
        100 * CREDIT
    );
    let order = world.service.cancel_order(&ada, &order.id).unwrap();
    assert_eq!(
        (order.status.as_str(), order.reserved_micro),
        ("cancelled", 0)
    );
    assert_eq!(
        before - balance(&world, &ada),
        order.cost_micro + order.fee_micro
    );
    // Selling at a limit: the shares are sold as the price rises past it.
    let held = order.filled_shares_micro;
    let sale = world
        .service
        .place_order(&ada, &market.id, &sell("yes", 0.7, held))
        .unwrap();
    let bob = world.person("bob");
    world
        .service
        .trade(&bob, &market.id, &to(0.9, "yes"))
        .unwrap();
    let sale = own(&world, &ada, &sale.id);
    assert_eq!(sale.status, "filled");
    assert_eq!(sale.filled_shares_micro, -held);
    assert!(sale.cost_micro < 0 && sale.reserved_micro == 0);
    settle(&world, &market);
    assert_eq!(world.sum(), 0);
}

#[test]
fn orders_end_with_their_time_and_with_the_market() {
    let world = World::new(true);
    let market = open(&world, 0, 0);
    let ada = world.person("ada");
    let before = balance(&world, &ada);
    let soon = PlaceOrder {
        expires_at: Some(rfc3339(1_790_000_000_000 + 5_000)),
        ..buy("yes", 0.3, CREDIT)
    };
    let soon = world.service.place_order(&ada, &market.id, &soon).unwrap();
    let late = world
        .service
        .place_order(&ada, &market.id, &buy("no", 0.8, CREDIT))
        .unwrap();
    world.pass(5_000);
    // Due, not yet ended by the job, and reached: it must not run any more.
    let bob = world.person("bob");
    world
        .service
        .trade(&bob, &market.id, &to(0.25, "no"))
        .unwrap();
    assert_eq!(own(&world, &ada, &soon.id).status, "expired");
    world.service.tick().unwrap();
    assert_eq!(before - balance(&world, &ada), CREDIT);
    settle(&world, &market);
    let late = own(&world, &ada, &late.id);
    assert_eq!(
        (late.status.as_str(), late.reason.as_deref()),
        ("closed", Some("trading has stopped"))
    );
    assert_eq!(balance(&world, &ada), before);
    assert_eq!(world.sum(), 0);
}

#[test]
fn many_orders_go_on_in_the_job_and_survive_a_restart() {
    let world = World::new(true);
    let market = open(&world, 0, 0);
    let ada = world.person("ada");
    for n in 0..30 {
        let limit = 0.3 + f64::from(n) * 0.005;
        world
            .service
            .place_order(&ada, &market.id, &buy("yes", limit, CREDIT / 10))
            .unwrap();
    }
    let bob = world.person("bob");
    world
        .service
        .trade(&bob, &market.id, &to(0.1, "no"))
        .unwrap();
    let open_orders = |world: &World| {
        let page = world.service.orders(&ada, None, None, 200).unwrap();
        page.items
            .iter()
            .filter(|order| order.status == "open")
            .count()
    };
    assert_eq!(open_orders(&world), 22, "eight ran with the move");
    let world = world.reopen();
    world.service.run_due_jobs().unwrap();
    assert_eq!(open_orders(&world), 0);
    // Best limit first: the dearest order bought at the lowest price.
    let trades = world.service.trades(&ada, &market.id, None, 200).unwrap();
    let runs: Vec<f64> = trades
        .items
        .iter()
        .rev()
        .filter(|trade| trade.account == "ada")
        .map(|trade| trade.probability_before)
        .collect();
    assert_eq!(runs.len(), 30);
    assert!(runs.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(world.sum(), 0);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let world = World::new(true);
    let market = open(&world, 0, 0);
    let ada = world.person("ada");
    let refused = |cmd: &PlaceOrder| {
        let error = world
            .service
            .place_order(&ada, &market.id, cmd)
            .unwrap_err();
        error.code()
    };
    for (cmd, code) in [
        (buy("maybe", 0.5, CREDIT), "bad-outcome"),
        (buy("yes", f64::NAN, CREDIT), "bad-probability"),
        (buy("yes", 0.001, CREDIT), "bad-probability"),
        (buy("yes", 0.4, 9_999), "order-too-small"),
        (buy("yes", 0.4, -5), "order-too-small"),
        (buy("yes", 0.4, i64::MAX), "insufficient-funds"),
        (sell("yes", 0.7, CREDIT), "insufficient-shares"),
        (sell("yes", 0.7, -CREDIT), "bad-size"),
        (PlaceOrder::default(), "bad-size"),
        (
            PlaceOrder {
                expires_at: Some(rfc3339(1_790_000_000_000)),
                ..buy("yes", 0.4, CREDIT)
            },
            "bad-expiry",
        ),
        (
            PlaceOrder {
                shares_micro: Some(i64::MIN),
                spend_micro: None,
                ..buy("yes", 0.4, 1)
            },
            "amount-out-of-range",
        ),
    ] {
        assert_eq!(refused(&cmd), code, "{cmd:?}");
    }
    let order = world
        .service
        .place_order(&ada, &market.id, &buy("yes", 0.4, CREDIT))
        .unwrap();
    assert_eq!(refused(&buy("no", 0.3, CREDIT)), "crosses-own-order");
    let bob = world.person("bob");
    let stranger = world.service.cancel_order(&bob, &order.id).unwrap_err();
    assert_eq!(stranger.code(), "not-found");
    world.service.cancel_order(&ada, &order.id).unwrap();
    let again = world.service.cancel_order(&ada, &order.id).unwrap_err();
    assert_eq!(again.code(), "order-ended");
    for _ in 0..50 {
        world
            .service
            .place_order(&ada, &market.id, &buy("yes", 0.4, 10_000))
            .unwrap();
    }
    assert_eq!(refused(&buy("yes", 0.4, 10_000)), "too-many-orders");
    world.pass(60_000);
    assert_eq!(refused(&buy("yes", 0.4, 10_000)), "market-closed");
    assert_eq!(world.sum(), 0);
}

#[test]
fn a_trade_can_be_bounded_by_what_it_comes_to() {
    let world = World::new(true);
    let market = open(&world, 100, 0);
    let ada = world.person("ada");
    let order = TradeOrder {
        outcome: "yes".into(),
        shares_micro: Some(5 * CREDIT),
        ..TradeOrder::default()
    };
    let total = world
        .service
        .quote(&ada, &market.id, &order)
        .unwrap()
        .total_micro;
    let bounded = |most| TradeOrder {
        max_cost_micro: Some(most),
        ..order.clone()
    };
    let refused = world
        .service
        .trade(&ada, &market.id, &bounded(total - 1))
        .unwrap_err();
    assert_eq!(refused.code(), "slippage");
    world
        .service
        .trade(&ada, &market.id, &bounded(total))
        .unwrap();
    let sale = TradeOrder {
        shares_micro: Some(-5 * CREDIT),
        min_proceeds_micro: Some(total),
        ..order
    };
    let refused = world.service.trade(&ada, &market.id, &sale).unwrap_err();
    assert_eq!(refused.code(), "slippage");
}

#[test]
fn what_is_held_is_marked_and_what_was_paid_is_ranked() {
    let world = World::new(true);
    let market = open(&world, 100, 0);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let start = balance(&world, &ada);
    let trade = world
        .service
        .trade(&ada, &market.id, &spend("yes", 10 * CREDIT))
        .unwrap();
    world
        .service
        .trade(&bob, &market.id, &spend("no", 20 * CREDIT))
        .unwrap();
    let stake = world.report("1.5", 5 * CREDIT);
    world
        .service
        .submit_evidence(&bob, &market.id, &stake)
        .unwrap();
    world
        .service
        .place_order(&ada, &market.id, &buy("yes", 0.1, 2 * CREDIT))
        .unwrap();
    let pending = world.service.portfolio(&bob).unwrap();
    assert_eq!(pending.staked_micro, 5 * CREDIT);
    world.service.run_due_jobs().unwrap();
    let mine = world.service.portfolio(&ada).unwrap();
    assert_eq!((mine.positions.len(), mine.orders.len()), (1, 1));
    let held = &mine.positions[0];
    assert_eq!(
        (held.locked_micro, held.fee_micro, mine.reserved_micro),
        (trade.cost_micro, trade.fee_micro, 2 * CREDIT)
    );
    assert_eq!(mine.unrealised_micro, held.value_micro - held.locked_micro);
    assert_eq!(
        mine.equity_micro,
        mine.balance_micro + mine.reserved_micro + mine.value_micro
    );
    let empty = world.service.calibration(&ada, None).unwrap();
    assert_eq!((empty.cases, empty.closing), (0, None));
    settle(&world, &market);

    let board = world.service.leaderboard(&ada, "total", None, 1).unwrap();
    assert_eq!(board.items[0].account, "ada", "the claim was true");
    let cursor = board.next_cursor.unwrap();
    let rest = world
        .service
        .leaderboard(&ada, "total", Some(&cursor), 9)
        .unwrap();
    assert_eq!((rest.items.len(), rest.items[0].rank), (1, 2));
    let profit = balance(&world, &ada) - start;
    assert_eq!(board.items[0].total_micro, profit, "fees taken off");
    assert_eq!((board.items[0].hits, board.items[0].evidence_micro), (1, 0));
    let row = &rest.items[0];
    assert!(row.evidence_micro > 0 && row.trading_micro < 0, "{row:?}");
    assert_eq!(row.total_micro, row.evidence_micro + row.trading_micro);

    let scored = world.service.calibration(&ada, None).unwrap();
    let price = world.service.market(&ada, &market.id).unwrap().probability;
    let closing = scored.closing.unwrap();
    assert_eq!((scored.cases, scored.enough), (1, false));
    assert!((closing.brier - (1.0 - price).powi(2)).abs() < 1e-12);
    assert!((closing.log_loss + price.ln()).abs() < 1e-12);
    assert_eq!(scored.kinds[0].claim_kind, "trigger_backdoor");

    let mut lines = Vec::new();
    let mut cursor = None;
    loop {
        let page = world.service.history(&ada, cursor.as_deref(), 2).unwrap();
        lines.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let moved: i64 = lines.iter().map(|line| line.amount_micro).sum();
    assert_eq!(
        moved,
        balance(&world, &ada),
        "the history adds up to the balance"
    );
    for line in &lines {
        let told = line.kind == "grant" || line.claim.is_some();
        assert!(told, "{} says no market", line.kind);
    }
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.as_str()).collect();
    for kind in ["payout", "order-refund", "order", "trade", "grant"] {
        assert!(kinds.contains(&kind), "{kind} is in {kinds:?}");
    }
}
