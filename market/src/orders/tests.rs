#![allow(clippy::unwrap_used)]
use super::*;
use crate::probability::MAX_LOG_ODDS;

const B: Micro = Micro(100_000_000);

fn market(p: f64) -> Maker {
    Maker::open(Probability::new(p).unwrap(), B).unwrap().0
}

fn order(outcome: Outcome, limit: f64, want: Want) -> Resting {
    Resting::new(
        outcome,
        Probability::new(limit).unwrap(),
        want,
        &FeeSchedule::NONE,
    )
    .unwrap()
}

fn spend(outcome: Outcome, limit: f64, micro: i64) -> Resting {
    order(outcome, limit, Want::Spend(Micro(micro)))
}

fn filled(maker: &Maker, position: &Position, order: &Resting) -> OrderFill {
    match run(maker, position, order, &FeeSchedule::NONE).unwrap() {
        Run::Filled(fill) => fill,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_pushes_its_way_up_to_its_limit() {
    let rich = Position {
        yes: MicroShares(900_000_000),
        no: MicroShares(0),
        net_cost: Micro(1),
    };
    let poor = Position {
        yes: MicroShares(0),
        no: MicroShares(900_000_000),
        net_cost: Micro(1),
    };
    let shares = MicroShares(800_000_000);
    for (outcome, want, held, side, limit) in [
        (
            Outcome::Yes,
            Want::Spend(Micro(500_000_000)),
            rich,
            Side::Up,
            0.7,
        ),
        (Outcome::No, Want::Sell(shares), poor, Side::Up, 0.7),
        (
            Outcome::No,
            Want::Spend(Micro(500_000_000)),
            poor,
            Side::Down,
            0.3,
        ),
        (Outcome::Yes, Want::Sell(shares), rich, Side::Down, 0.3),
    ] {
        let resting = order(outcome, limit, want);
        assert_eq!(resting.side(), side);
        let fill = filled(&market(0.5), &held, &resting);
        let reached = fill.fill.to.probability.get();
        assert!((reached - limit).abs() < 1e-7, "{outcome:?} {reached}");
        let past = if side == Side::Up {
            reached - limit
        } else {
            limit - reached
        };
        assert!(past <= 1e-12, "never past the limit: {past}");
        assert!(!fill.done);
        // At its limit and beyond it waits.
        for p in [limit, 1.0 - (1.0 - limit) * 0.9, limit * 0.9] {
            let better = order(outcome, limit, want).ahead(&market(p)) > 0.0;
            let waits = run(&market(p), &held, &resting, &FeeSchedule::NONE) == Ok(Run::Waits);
            assert_eq!(waits, !better, "{outcome:?} at {p}");
        }
    }
}

#[test]
fn a_budget_ends_an_order_before_its_limit() {
    let fill = filled(
        &market(0.5),
        &Position::default(),
        &spend(Outcome::Yes, 0.9, 10_000_000),
    );
    assert!(fill.done);
    assert!(fill.fill.cost.get() > 9_999_990 && fill.fill.cost.get() <= 10_000_000);
    assert_eq!(fill.rest.reserve.get(), 10_000_000 - fill.fill.cost.get());
    assert!(fill.fill.to.probability.get() < 0.6);
}

#[test]
fn a_sale_sells_what_is_still_held() {
    let held = Position {
        yes: MicroShares(30_000),
        no: MicroShares(0),
        net_cost: Micro(10_000),
    };
    let sale = order(Outcome::Yes, 0.3, Want::Sell(MicroShares(5_000_000)));
    let fill = filled(&market(0.5), &held, &sale);
    assert_eq!(fill.fill.yes, MicroShares(-30_000));
    assert!(fill.done, "the rest of the shares is gone");
    assert_eq!(fill.to_account.get(), -fill.fill.cash.get());
    let none = run(
        &market(0.5),
        &Position::default(),
        &sale,
        &FeeSchedule::NONE,
    );
    assert_eq!(none, Ok(Run::Spent));
}

#[test]
fn netted_pairs_come_back_in_cash() {
    // Holding NO, buying YES: pairs turn into credits at once.
    let held = Position {
        yes: MicroShares(0),
        no: MicroShares(50_000_000),
        net_cost: Micro(25_000_000),
    };
    let fill = filled(&market(0.5), &held, &spend(Outcome::Yes, 0.8, 20_000_000));
    assert!(fill.fill.cash < fill.fill.cost);
    let spent = 20_000_000 - fill.rest.reserve.get();
    assert_eq!(spent - fill.to_account.get(), fill.fill.cash.get());
}

#[test]
fn short_ways_are_left_for_later() {
    let waits = |p: f64, limit: f64| {
        let order = spend(Outcome::Yes, limit, 10_000_000);
        run(&market(p), &Position::default(), &order, &FeeSchedule::NONE) == Ok(Run::Waits)
    };
    assert!(waits(0.5, 0.5002), "0.0008 nats");
    assert!(!waits(0.5, 0.5003), "0.0012 nats");
    assert_eq!(min_reach(B), MicroShares(100_000));
    assert_eq!(min_reach(Micro(1_000)), MicroShares(20_000));
}

#[test]
fn best_limit_first_then_oldest() {
    let (high, low) = (
        spend(Outcome::Yes, 0.7, 20_000),
        spend(Outcome::Yes, 0.6, 20_000),
    );
    assert_eq!(rank((&high, 9), (&low, 1)), Ordering::Less);
    assert_eq!(rank((&high, 2), (&high, 1)), Ordering::Greater);
    let (high, low) = (
        spend(Outcome::No, 0.4, 20_000),
        spend(Outcome::No, 0.3, 20_000),
    );
    assert_eq!(rank((&high, 9), (&low, 1)), Ordering::Greater);
    let (up, down) = (
        spend(Outcome::Yes, 0.7, 20_000),
        spend(Outcome::No, 0.3, 20_000),
    );
    let maker = market(0.5);
    assert_eq!(
        next_side(&maker, Some((&up, 1)), Some((&down, 2))),
        Some(Side::Up)
    );
    assert_eq!(
        next_side(&maker, Some((&up, 3)), Some((&down, 2))),
        Some(Side::Down)
    );
    assert_eq!(
        next_side(&market(0.8), Some((&up, 1)), Some((&down, 2))),
        Some(Side::Down)
    );
    assert_eq!(
        next_side(&market(0.2), Some((&up, 3)), Some((&down, 2))),
        Some(Side::Up)
    );
    assert_eq!(next_side(&maker, None, None), None);
}

#[test]
fn small_orders_are_refused_and_large_ones_are_harmless() {
    let new = |want| Resting::new(Outcome::Yes, Probability::HALF, want, &FeeSchedule::NONE);
    for want in [
        Want::Spend(Micro(9_999)),
        Want::Spend(Micro(i64::MIN)),
        Want::Sell(MicroShares(19_999)),
        Want::Sell(MicroShares(-5)),
    ] {
        assert_eq!(new(want).unwrap_err(), OrderError::TooSmall);
    }
    let schedule = FeeSchedule::new(500, 500).unwrap();
    let huge = Resting::new(
        Outcome::Yes,
        Probability::MAX,
        Want::Spend(Micro::MAX),
        &schedule,
    )
    .unwrap();
    let Run::Filled(fill) = run(&market(0.5), &Position::default(), &huge, &schedule).unwrap()
    else {
        panic!("a huge order runs to its limit");
    };
    assert!(fill.fill.maker.log_odds_nats() <= MAX_LOG_ODDS);
    assert!(!fill.done);
    assert!(
        Resting::new(
            Outcome::Yes,
            Probability::HALF,
            Want::Sell(MicroShares::MAX),
            &schedule
        )
        .is_ok()
    );
}
