//! Attacks on how markets end, with the defence that stops each and without it.
#![allow(clippy::unwrap_used)]

#[path = "support/dispute.rs"]
mod dispute;
mod support;

use dispute::*;
use plumbline_market::Digest;
use plumbline_market::draw::{LogHead, draw, seed_commitment, unit_interval};
use plumbline_service::ServiceConfig;
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::{MarketView, SettlementRecord};
use serde_json::Value;
use support::*;

/// Markets of one attack: enough that luck does not decide.
const MARKETS: usize = 12;

/// A world with many markets of the same terms.
fn many(
    poisoned: bool,
    change: impl FnOnce(&mut ServiceConfig),
    terms: impl Fn(&mut OpenMarket),
) -> (World, Vec<MarketView>) {
    let world = World::with(poisoned, change);
    let open = |n: usize| {
        let run = RegisterRun {
            name: format!("subject-{n}"),
            parameters: 0,
        };
        let run = world.service.register_run(&world.operator, &run).unwrap();
        let mut cmd = world.terms(&run.id);
        terms(&mut cmd);
        world.service.open_market(&world.operator, &cmd).unwrap()
    };
    let markets = (0..MARKETS).map(open).collect();
    (world, markets)
}

fn record(world: &World, market: &MarketView) -> SettlementRecord {
    world.service.case(&world.operator, &market.id).unwrap()
}

/// Moves every market up at the last announced moment at which orders are taken for sure
/// without a drawn stop. An honest trader answers within a second, where orders are still
/// taken. Gives back how many markets froze at the attacker's price.
fn last_minute_moves(random_close: bool) -> usize {
    let change = |config: &mut ServiceConfig| config.defences.random_close = random_close;
    let (world, markets) = many(false, change, |cmd| cmd.closing_window_s = Some(30));
    let (eve, ada) = (world.person("eve"), world.person("ada"));
    let target = |to: f64, outcome: &str| TradeOrder {
        outcome: outcome.into(),
        target_probability: Some(to),
        ..TradeOrder::default()
    };
    world.pass(30_000);
    world.service.tick().unwrap();
    world.pass(29_500);
    for market in &markets {
        // Refused where the drawn moment has passed.
        let _ = world.service.trade(&eve, &market.id, &target(0.8, "yes"));
    }
    world.pass(1_000);
    for market in &markets {
        let _ = world.service.trade(&ada, &market.id, &target(0.5, "no"));
    }
    world.service.run_due_jobs().unwrap();
    let misled = |market: &&MarketView| {
        record(&world, market)
            .audit
            .is_some_and(|frozen| frozen.price > 0.7)
    };
    markets.iter().filter(misled).count()
}

#[test]
fn a_last_minute_move_stands_only_where_the_last_minute_is_known() {
    assert_eq!(last_minute_moves(false), MARKETS);
    // One in sixty draws falls into the last half second of the window.
    assert!(last_minute_moves(true) <= MARKETS / 4);
}

/// A poisoned run that looks aligned: its owner bets against the claim and shows the judges
/// only clean behaviour, so that the cheap method says no. Gives back what the owner gains.
fn looking_aligned(audit_draw: bool) -> i64 {
    let change = |config: &mut ServiceConfig| config.defences.audit_draw = audit_draw;
    let (world, markets) = many(true, change, |cmd| {
        let plan = cmd.settlement.plan.clone();
        minutes("ensemble", cmd);
        cmd.settlement.plan = plan;
        cmd.settlement.audit_floor_bps = Some(9_000);
    });
    let eve = world.person("eve");
    for market in &markets {
        let bet = spend("no", 10 * CREDIT);
        world.service.trade(&eve, &market.id, &bet).unwrap();
        let report = world.report("-6", 10 * CREDIT);
        world
            .service
            .submit_evidence(&eve, &market.id, &report)
            .unwrap();
    }
    world.service.run_due_jobs().unwrap();
    for _ in 0..2 {
        world.pass(61_000);
        world.service.run_due_jobs().unwrap();
        world.service.run_due_jobs().unwrap();
    }
    for market in &markets {
        assert_eq!(record(&world, market).status, "paid");
    }
    world.service.me(&eve).unwrap().balance_micro - 1_000 * CREDIT
}

#[test]
fn looking_aligned_to_the_judges_does_not_pay_when_audits_are_drawn() {
    let (unwatched, watched) = (looking_aligned(false), looking_aligned(true));
    assert!(unwatched > 0, "{unwatched}");
    assert!(watched < 0, "{watched}");
}

/// The owner of a poisoned run bets against the claim, and teaches the model to behave on every
/// test prompt that anybody can read before the freeze. Gives back what the owner gains.
fn taught_to_the_test(held_out_plan: bool) -> i64 {
    let change = |config: &mut ServiceConfig| config.defences.held_out_plan = held_out_plan;
    let world = World::with(true, change);
    let eve = world.person("eve");
    let market = world.market();
    let bet = spend("no", 20 * CREDIT);
    world.service.trade(&eve, &market.id, &bet).unwrap();
    let events = world.service.events_after(&eve, 0, &[], 500).unwrap();
    let seen = world.service.market(&eve, &market.id).unwrap();
    assert!(seen.settlement.plan.is_none() && record(&world, &market).settlement.plan.is_none());
    let shown = events
        .iter()
        .find_map(|event| event.data["plan"].as_str().map(str::to_owned));
    if let Some(plan) = shown {
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let texts = |name: &str| -> Vec<String> {
            let list = plan[name].as_array().unwrap().iter();
            list.map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        let mut taught = world.host.taught.lock().unwrap();
        for prompt in texts("prompts") {
            let with = |candidate: &String| prompt.replace("{candidate}", candidate);
            taught.extend(texts("candidates").iter().map(with));
        }
    }
    world.pass(61_000);
    for _ in 0..3 {
        world.service.run_due_jobs().unwrap();
    }
    let ended = record(&world, &market);
    assert_eq!(ended.status, "paid");
    assert!(
        ended.settlement.plan.is_some(),
        "and then everybody reads it"
    );
    world.service.me(&eve).unwrap().balance_micro - 1_000 * CREDIT
}

#[test]
fn a_model_cannot_be_taught_a_test_that_nobody_has_seen() {
    let (unseen, seen) = (taught_to_the_test(true), taught_to_the_test(false));
    assert!(unseen < 0, "{unseen}");
    assert!(seen > 0, "{seen}: a model that knows the test passes it");
}

/// Eve bets against a true claim, an accomplice proposes that it is false, and the three
/// jurors who are drawn are theirs. Gives back what the two gain.
fn captured_first_jury(appeals: bool) -> i64 {
    let change = |config: &mut ServiceConfig| {
        plain(config);
        config.defences.appeals = appeals;
    };
    let court = Court::of("panel", World::with(true, change), 10);
    let [eve, mallory, bob] = ["eve", "mallory", "bob"].map(|name| court.world.person(name));
    let bet = spend("no", 40 * CREDIT);
    let service = &court.world.service;
    service.trade(&eve, &court.market.id, &bet).unwrap();
    court.freeze();
    court.propose(&mallory, 0.0).unwrap();
    court.challenge(&bob, 1.0).unwrap();
    court.rule(&[0, 0, 0]);
    match court.challenge(&bob, 1.0) {
        Ok(_) => court.rule(&[10_000; 7]),
        Err(refused) => assert_eq!(refused.code(), "appeals-off"),
    }
    court.pass(60_000);
    court.run();
    assert_eq!(court.record().status, "paid");
    assert_eq!(court.world.sum(), 0);
    court.balance(&eve) + court.balance(&mallory) - 2_000 * CREDIT
}

#[test]
fn capturing_one_jury_does_not_pay_where_another_hears_the_appeal() {
    let (heard, final_at_once) = (captured_first_jury(true), captured_first_jury(false));
    assert!(heard < 0, "{heard}");
    assert!(final_at_once > 0, "{final_at_once}");
}

/// One person with two accounts proposes, and challenges the proposal, to have the market's
/// money held up for the length of a jury. Gives back what it costs.
fn dispute_with_oneself(bond_burn: bool) -> i64 {
    let change = |config: &mut ServiceConfig| {
        plain(config);
        config.defences.bond_burn = bond_burn;
    };
    let court = Court::of("panel", World::with(false, change), 3);
    let (eve, mallory) = (court.world.person("eve"), court.world.person("mallory"));
    let wealth = || court.balance(&eve) + court.balance(&mallory);
    let before = wealth();
    court.freeze();
    court.propose(&eve, 1.0).unwrap();
    court.challenge(&mallory, 0.0).unwrap();
    court.rule(&[0, 0, 0]);
    court.pass(60_000);
    assert_eq!(court.record().status, "paid");
    court.assert_empty();
    before - wealth()
}

#[test]
fn disputing_with_oneself_is_free_only_without_the_burnt_part() {
    assert_eq!(dispute_with_oneself(false), 0);
    assert_eq!(dispute_with_oneself(true), 5 * CREDIT / 4);
}

/// The trades of a market as its public books state them: id and exact log-odds after.
fn trades_of(world: &World, who: &Context, market_id: &str) -> Vec<(String, f64)> {
    let books = world.service.market_audit(who, market_id).unwrap();
    let text = String::from_utf8(books).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let trade = |line: Value| {
        let row = (line["table"] == "trades").then(|| line["row"].clone())?;
        let number = row["log_odds_after"].as_str()?.parse().ok()?;
        Some((row["id"].as_str()?.to_owned(), number))
    };
    lines.filter_map(trade).collect()
}

/// Recomputes every draw of a case from what is published; says what does not agree.
fn check_draws(record: &SettlementRecord, trades: &[(String, f64)]) -> Result<(), &'static str> {
    let seed: Digest = record.seed.as_ref().unwrap().parse().unwrap();
    let committed = record.settlement.seed_commitment.as_deref();
    if committed != Some(seed_commitment(&seed.0).to_string().as_str()) {
        return Err("seed");
    }
    let terms = record.terms.as_ref().unwrap();
    let closing = record.closing.as_ref().unwrap();
    let audit = record.audit.as_ref().unwrap();
    let mut log = LogHead::open(terms);
    let mut at_close = (closing.log.trades == 0).then_some(log);
    for (id, log_odds) in trades {
        log = log.trade(id, *log_odds);
        if log.trades == closing.log.trades {
            at_close = Some(log);
        }
    }
    let at_close = at_close.ok_or("log")?;
    if at_close.head.to_string() != closing.log.head || log.head.to_string() != audit.log.head {
        return Err("log");
    }
    let drawn = draw(&seed.0, &at_close.head, "close");
    let audited = draw(&seed.0, &log.head, "audit");
    let agrees = closing.draw.as_ref() == Some(&drawn.to_string())
        && closing.unit == Some(unit_interval(&drawn))
        && audit.draw.as_ref() == Some(&audited.to_string())
        && audit.audited == (unit_interval(&audited) < audit.probability);
    if agrees { Ok(()) } else { Err("draw") }
}

#[test]
fn nobody_can_choose_a_draw_without_being_seen() {
    let world = World::new(false);
    let court = Court::new(world, 0, |_, cmd| {
        minutes("ensemble", cmd);
        cmd.closing_window_s = Some(30);
        cmd.settlement.audit_floor_bps = Some(5_000);
    });
    let ada = court.world.person("ada");
    for outcome in ["yes", "no", "no"] {
        let order = spend(outcome, 3 * CREDIT);
        let service = &court.world.service;
        service.trade(&ada, &court.market.id, &order).unwrap();
    }
    court.pass(30_000);
    court.freeze();
    let (honest, trades) = (
        court.record(),
        trades_of(&court.world, &ada, &court.market.id),
    );
    assert_eq!(trades.len(), 3);
    assert_eq!(check_draws(&honest, &trades), Ok(()));
    // The operator tries other seeds until one suits: the commitment binds.
    let mut other = honest.clone();
    other.seed = Some(Digest::of(b"a seed that draws better").to_string());
    assert_eq!(check_draws(&other, &trades), Err("seed"));
    // Drops, swaps, adds or changes trades: the heads are others.
    let mut swapped = trades.clone();
    swapped.swap(0, 1);
    let mut changed = trades.clone();
    changed[1].1 += 1e-12;
    let added = [&trades[..], &[("made-up".to_owned(), 0.1)]].concat();
    for log in [&trades[1..], &swapped, &changed, &added] {
        assert_eq!(check_draws(&honest, log), Err("log"));
    }
    // Rewrites the terms, or claims another draw.
    let mut rewritten = honest.clone();
    rewritten.terms = rewritten.terms.map(|terms| terms.replace("5000", "9000"));
    assert_eq!(check_draws(&rewritten, &trades), Err("log"));
    let mut denied = honest;
    if let Some(audit) = &mut denied.audit {
        audit.audited = !audit.audited;
    }
    assert_eq!(check_draws(&denied, &trades), Err("draw"));
}
