//! Attacks on trading, each run against a service: what the attacker does, and that it does not pay.
#![allow(clippy::unwrap_used)]

mod support;

use jiff::Timestamp;
use plumbline_governance::bound::{PriceObservation, time_weighted_price};
use plumbline_governance::policy::Policy;
use plumbline_market::fees::{FeeSchedule, quote_with_fees};
use plumbline_market::lmsr::Maker;
use plumbline_market::trade::{Order, Outcome, Position, Size, quote};
use plumbline_market::{Micro, MicroShares, Pi, Probability};
use plumbline_service::commands::{OpenMarket, PlaceOrder, RegisterRun, TradeOrder};
use plumbline_service::context::Context;
use plumbline_service::views::MarketView;
use support::{CREDIT, World, spend};

fn open(world: &World, trade_fee_bps: u16, creator_fee_bps: u16) -> MarketView {
    let run = RegisterRun {
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

fn to(probability: f64, outcome: &str) -> TradeOrder {
    TradeOrder {
        outcome: outcome.into(),
        target_probability: Some(probability),
        ..TradeOrder::default()
    }
}

fn settle(world: &World, market: &MarketView) {
    world.pass(61_000);
    for _ in 0..3 {
        world.service.run_due_jobs().unwrap();
    }
    let now = world.service.market(&world.operator, &market.id).unwrap();
    assert_eq!(now.status, "paid");
}

/// The operator opens a market with the highest creator fee and trades in circles through puppets.
#[test]
fn wash_trading_for_the_creators_fee_loses() {
    for trade_fee_bps in [0, 500] {
        let world = World::new(true);
        let market = open(&world, trade_fee_bps, 500);
        let puppets: Vec<Context> = ["ada", "bob"].map(|name| world.person(name)).into();
        let own = |world: &World| {
            puppets.iter().map(|who| balance(world, who)).sum::<i64>()
                + balance(world, &world.operator)
        };
        let before = own(&world);
        for n in 0..20 {
            let (price, outcome) = if n % 2 == 0 {
                (0.8, "yes")
            } else {
                (0.5, "no")
            };
            let order = to(price, outcome);
            world
                .service
                .trade(&puppets[n % 2], &market.id, &order)
                .unwrap();
        }
        let view = world
            .service
            .manipulation(&world.operator, &market.id)
            .unwrap();
        let pair = view
            .flags
            .iter()
            .find(|flag| flag.kind == "back_and_forth")
            .unwrap();
        assert_eq!(
            (pair.accounts.len(), pair.count),
            (2, 19),
            "it is seen, too"
        );
        settle(&world, &market);
        let gain = own(&world) - before;
        assert!(gain <= 0, "{gain} at a trade fee of {trade_fee_bps}");
        // The same trades, paid a liquidity's worth of credits for each unit that they moved the
        // price, as a reward of volume would have it.
        let prices = world
            .service
            .prices(&world.operator, &market.id, None, 100)
            .unwrap();
        let moves = prices.items.windows(2);
        let moved: f64 = moves
            .map(|pair| (pair[1].probability - pair[0].probability).abs())
            .sum();
        let rewarded = gain as f64 + moved * market.liquidity_micro as f64;
        assert!(
            rewarded > 100.0 * CREDIT as f64,
            "{rewarded}: a reward of volume is an invitation"
        );
        assert_eq!(world.sum(), 0);
    }
}

/// Rounding is against the trader, so 10,000 trades of a hair's breadth lose on every one.
#[test]
fn ten_thousand_tiny_trades_farm_nothing() {
    let (mut maker, _) = Maker::open(Probability::HALF, Micro(50 * CREDIT)).unwrap();
    let mut position = Position::default();
    let (mut cash, schedule) = (0_i64, FeeSchedule::new(1, 1).unwrap());
    for n in 0..10_000 {
        let size = if n % 2 == 0 {
            Size::Shares(MicroShares(3))
        } else {
            Size::Shares(MicroShares(-3))
        };
        let order = Order {
            outcome: Outcome::Yes,
            size,
            limit: None,
        };
        let priced = quote_with_fees(&maker, &position, &order, &schedule).unwrap();
        cash -= priced.due().unwrap().get();
        (maker, position) = (priced.fill.maker, priced.fill.position);
    }
    let paid = position.payout(Pi::YES).unwrap().get();
    assert!(
        cash + paid <= -10_000,
        "each pays for its rounding: {}",
        cash + paid
    );
    // The same through the service, where each is a durable trade with its ledger entries.
    let world = World::new(true);
    let (market, ada) = (open(&world, 0, 0), world.person("ada"));
    let before = balance(&world, &ada);
    for n in 0..200 {
        let shares = if n % 2 == 0 { 3 } else { -3 };
        let order = TradeOrder {
            outcome: "yes".into(),
            shares_micro: Some(shares),
            ..TradeOrder::default()
        };
        world.service.trade(&ada, &market.id, &order).unwrap();
    }
    settle(&world, &market);
    assert!(balance(&world, &ada) <= before);
    assert_eq!(world.sum(), 0);
}

/// Ten accounts in turn get what one gets, less rounding: splitting gains nothing.
#[test]
fn sybils_get_what_one_account_gets() {
    let gain = |accounts: usize| {
        let world = World::new(true);
        let market = open(&world, 0, 0);
        let people: Vec<Context> = (0..accounts)
            .map(|n| world.person(&format!("sybil-{n}")))
            .collect();
        let before: i64 = people.iter().map(|who| balance(&world, who)).sum();
        for (n, who) in people.iter().enumerate() {
            let share = 0.5 + 0.4 * (n + 1) as f64 / accounts as f64;
            world
                .service
                .trade(who, &market.id, &to(share, "yes"))
                .unwrap();
        }
        settle(&world, &market);
        people.iter().map(|who| balance(&world, who)).sum::<i64>() - before
    };
    let (one, ten) = (gain(1), gain(10));
    assert!(ten <= one + 1, "{ten} against {one}");
    assert!(
        one - ten <= 20,
        "and loses no more than rounding: {}",
        one - ten
    );
}

/// Two orders race for the last credit: one is executed, the other is refused, nothing is overdrawn.
#[test]
fn the_last_credit_is_spent_once() {
    let world = World::new(true);
    let (market, ada) = (open(&world, 0, 0), world.person("ada"));
    let all = balance(&world, &ada);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let attempts: Vec<_> = ["trade", "order"]
            .into_iter()
            .map(|kind| {
                let (world, market, ada) = (&world, &market, &ada);
                scope.spawn(move || match kind {
                    "trade" => {
                        let trade = world.service.trade(ada, &market.id, &to(0.995, "yes"));
                        trade.map(|_| ()).map_err(|error| error.code())
                    }
                    _ => {
                        let order = PlaceOrder {
                            outcome: "no".into(),
                            limit_probability: 0.9999_f64.min(0.995),
                            spend_micro: Some(all),
                            ..PlaceOrder::default()
                        };
                        let placed = world.service.place_order(ada, &market.id, &order);
                        placed.map(|_| ()).map_err(|error| error.code())
                    }
                })
            })
            .collect();
        attempts
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
    assert!(
        outcomes.contains(&Err("insufficient-funds")),
        "{outcomes:?}"
    );
    assert!(balance(&world, &ada) >= 0);
    assert_eq!(world.sum(), 0);
}

/// Whoever pushes the price across a threshold loses b·KL in expectation, and the page says how much.
#[test]
fn pushing_the_price_costs_what_the_page_says() {
    let world = World::new(true);
    let market = open(&world, 0, 0);
    let view = world
        .service
        .manipulation(&world.operator, &market.id)
        .unwrap();
    let b = Micro(market.liquidity_micro);
    for threshold in &view.thresholds {
        let (truth, _) = (view.probability, ());
        let (maker, _) = Maker::open(Probability::new(truth).unwrap(), b).unwrap();
        let Ok(target) = Probability::new(threshold.probability) else {
            continue;
        };
        let up = threshold.probability > truth;
        let push = Order {
            outcome: if up { Outcome::Yes } else { Outcome::No },
            size: Size::Target(target),
            limit: None,
        };
        let Ok(fill) = quote(&maker, &Position::default(), &push) else {
            assert_eq!(threshold.from_price_micro, 0, "already there");
            continue;
        };
        // Over the truth: with probability p the claim holds.
        let expected = truth * fill.earnings_at(1.0) + (1.0 - truth) * fill.earnings_at(0.0);
        let stated = threshold.from_price_micro as f64;
        assert!(-expected >= stated - 2.0, "{expected} against {stated}");
        assert!(
            -expected <= stated + 4.0,
            "and not more than rounding above it"
        );
    }
    assert!(view.thresholds.iter().any(|row| row.from_high_micro > 0));
}

/// A spike just before the policy looks moves the price it reads by the spike's share of the window.
#[test]
fn a_spike_hardly_moves_what_the_policy_reads() {
    let policy = Policy::parse(Policy::default_toml()).unwrap();
    let settings = policy.document().price;
    let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
    let window = i64::try_from(settings.window_s).unwrap();
    let seen = |at, price| PriceObservation { at, price };
    let calm = [seen(at(0), 0.1)];
    let spiked = [seen(at(0), 0.1), seen(at(window - window / 100), 0.995)];
    let read = |observations: &[PriceObservation], settings| {
        let price = time_weighted_price(observations, settings, at(window)).unwrap();
        price.unwrap().price
    };
    let (before, after) = (read(&calm, &settings), read(&spiked, &settings));
    assert!(after - before < 0.01, "{before} to {after}");
    // Without the window the policy would have read the spike itself.
    let without = plumbline_governance::policy::PriceSettings {
        window_s: 1,
        ..settings
    };
    assert!(read(&spiked, &without) > 0.9);
}

/// A rival spikes the price of a run's market for a fiftieth of each second, around the moment
/// at which the policy looks, and takes the trade back. Gives back the run's share and what it cost.
fn spikes(price_window: bool) -> (i64, i64) {
    let world = World::with(true, |config| config.defences.price_window = price_window);
    let run = |name: &str| {
        let cmd = RegisterRun {
            name: name.into(),
            parameters: 0,
        };
        world.service.register_run(&world.operator, &cmd).unwrap()
    };
    let (victim, rival) = (run("victim"), run("rival"));
    let open = |run: &str| {
        let terms = OpenMarket {
            probability: 0.2,
            ..world.terms(run)
        };
        world.service.open_market(&world.operator, &terms).unwrap()
    };
    let (market, _) = (open(&victim.id), open(&rival.id));
    let eve = world.person("eve");
    for _ in 0..10 {
        world.pass(1_000);
        world.service.tick().unwrap();
    }
    for _ in 0..20 {
        world.pass(980);
        let push = world.service.trade(&eve, &market.id, &to(0.99, "yes"));
        let bought = push.unwrap().yes_micro;
        world.pass(20);
        world.service.tick().unwrap();
        let back = TradeOrder {
            outcome: "yes".into(),
            shares_micro: Some(-bought),
            ..TradeOrder::default()
        };
        world.service.trade(&eve, &market.id, &back).unwrap();
    }
    let run = world.service.run(&world.operator, &victim.id).unwrap();
    settle(&world, &market);
    let cost = 1_000 * CREDIT - balance(&world, &eve);
    (run.allocation.unwrap().share_bps, cost)
}

#[test]
fn a_spike_around_the_look_of_the_policy_throttles_nobody() {
    let ((share, _), (spiked, cost)) = (spikes(true), spikes(false));
    assert_eq!(share, 5_000, "half of the pool, as without the spikes");
    assert!(spiked <= 2_500, "{spiked}: the last price alone is enough");
    assert!(cost < 100, "{cost}: and costs rounding only");
}

/// Orders far from the price change nobody's trade; taking them back gives everything back.
#[test]
fn spoofed_orders_block_and_worsen_nobody() {
    let trades = |spoof: bool| {
        let world = World::new(true);
        let market = open(&world, 0, 0);
        let spoofers: Vec<Context> = ["eve", "mallory"].map(|name| world.person(name)).into();
        let bob = world.person("bob");
        let before: Vec<i64> = spoofers.iter().map(|who| balance(&world, who)).collect();
        let mut placed = Vec::new();
        if spoof {
            for (who, outcome, limit) in [(0, "yes", 0.05), (1, "no", 0.95)] {
                for _ in 0..20 {
                    let order = PlaceOrder {
                        outcome: outcome.into(),
                        limit_probability: limit,
                        spend_micro: Some(40 * CREDIT),
                        ..PlaceOrder::default()
                    };
                    let order = world
                        .service
                        .place_order(&spoofers[who], &market.id, &order)
                        .unwrap();
                    placed.push((who, order.id));
                }
            }
        }
        let costs: Vec<(i64, i64)> = ["yes", "no", "yes"]
            .into_iter()
            .map(|outcome| {
                let quote = world
                    .service
                    .quote(&bob, &market.id, &spend(outcome, 10 * CREDIT))
                    .unwrap();
                let trade = world
                    .service
                    .trade(&bob, &market.id, &spend(outcome, 10 * CREDIT))
                    .unwrap();
                assert_eq!(quote.cost_micro, trade.cost_micro);
                (trade.cost_micro, trade.yes_micro + trade.no_micro)
            })
            .collect();
        for (who, id) in placed {
            world.service.cancel_order(&spoofers[who], &id).unwrap();
        }
        let after: Vec<i64> = spoofers.iter().map(|who| balance(&world, who)).collect();
        assert_eq!(before, after, "bluffing is free of charge, and of effect");
        assert_eq!(world.sum(), 0);
        costs
    };
    assert_eq!(trades(false), trades(true));
}

/// Two accounts with crossing orders trade through the maker until one is spent: bounded work, and the
/// two together gain nothing.
#[test]
fn crossing_orders_end_and_gain_nothing() {
    let world = World::new(true);
    let market = open(&world, 0, 0);
    let people: Vec<Context> = ["ada", "bob"].map(|name| world.person(name)).into();
    let before: i64 = people.iter().map(|who| balance(&world, who)).sum();
    for (who, outcome, limit) in [(0, "yes", 0.6), (1, "no", 0.4)] {
        let order = PlaceOrder {
            outcome: outcome.into(),
            limit_probability: limit,
            spend_micro: Some(900 * CREDIT),
            ..PlaceOrder::default()
        };
        world
            .service
            .place_order(&people[who], &market.id, &order)
            .unwrap();
    }
    for _ in 0..4 {
        world.service.run_due_jobs().unwrap();
    }
    let trades = world
        .service
        .market(&world.operator, &market.id)
        .unwrap()
        .trades;
    assert!((40..400).contains(&trades), "{trades}");
    settle(&world, &market);
    let after: i64 = people.iter().map(|who| balance(&world, who)).sum();
    // Whoever moved the price last holds a view; the pair as a whole cannot beat that one move.
    let most = 50.0 * (0.6_f64 / 0.5).ln() * 1e6;
    assert!((after - before) as f64 <= most + 10.0, "{}", after - before);
    assert_eq!(world.sum(), 0);
}
