#![allow(clippy::unwrap_used)]
use super::*;
use crate::lmsr;

const B: Micro = Micro(100_000_000);

fn market(p: f64) -> Maker {
    Maker::open(Probability::new(p).unwrap(), B).unwrap().0
}

fn order(outcome: Outcome, size: Size) -> Order {
    Order {
        outcome,
        size,
        limit: None,
    }
}

fn target(p: f64) -> Size {
    Size::Target(Probability::new(p).unwrap())
}

#[test]
fn spending_buys_the_published_shares() {
    // b = 14.4269504088 credits at ½: ten credits buy 15.849625 shares and reach ¾.
    let (maker, _) = Maker::open(Probability::HALF, Micro(14_426_950)).unwrap();
    let order = order(Outcome::Yes, Size::Spend(Micro(10_000_000)));
    let fill = quote(&maker, &Position::default(), &order).unwrap();
    assert!((fill.yes.get() - 15_849_625).abs() <= 1);
    assert!((fill.to.probability.get() - 0.75).abs() < 1e-7);
    assert_eq!(fill.cost, Micro(10_000_000));
    assert_eq!((fill.cash, fill.position.yes), (fill.cost, fill.yes));
}

#[test]
fn a_move_costs_its_collateral_and_earns_its_payoff() {
    for (p, q) in [(0.1, 0.9), (0.3, 0.4), (0.7, 0.4), (0.5, 0.01)] {
        let maker = market(p);
        let outcome = if q > p { Outcome::Yes } else { Outcome::No };
        let fill = quote(&maker, &Position::default(), &order(outcome, target(q))).unwrap();
        let exact = lmsr::collateral(p, q, B.to_f64());
        assert!(
            (0.0..2.0).contains(&(fill.cost.to_f64() - exact + 1.0)),
            "{p} to {q}"
        );
        for pi in [0.0, 0.3, 0.8, 1.0] {
            let payoff = lmsr::payoff(p, q, pi, B.to_f64());
            assert!(
                (fill.earnings_at(pi) - payoff).abs() < 3.0,
                "{p} to {q} at {pi}"
            );
        }
    }
}

#[test]
fn buying_the_other_side_is_selling() {
    let bought = quote(
        &market(0.5),
        &Position::default(),
        &order(Outcome::Yes, target(0.8)),
    )
    .unwrap();
    let half = MicroShares(bought.yes.get() / 2);
    let sell = order(Outcome::Yes, Size::Shares(half.checked_neg().unwrap()));
    let sold = quote(&bought.maker, &bought.position, &sell).unwrap();
    let other = order(Outcome::No, Size::Shares(half));
    let netted = quote(&bought.maker, &bought.position, &other).unwrap();
    assert_eq!(sold.maker, netted.maker);
    assert_eq!(sold.position.yes, netted.position.yes);
    assert_eq!(netted.position.no, MicroShares::ZERO);
    assert!((sold.cash.get() - netted.cash.get()).abs() <= 1);
    assert!(sold.cash.is_negative());
}

#[test]
fn realised_profit_stays_in_escrow() {
    let mine = quote(
        &market(0.5),
        &Position::default(),
        &order(Outcome::Yes, target(0.7)),
    )
    .unwrap();
    let theirs = quote(
        &mine.maker,
        &Position::default(),
        &order(Outcome::Yes, target(0.9)),
    )
    .unwrap();
    let all = Size::Shares(mine.yes.checked_neg().unwrap());
    let sale = quote(&theirs.maker, &mine.position, &order(Outcome::Yes, all)).unwrap();
    assert!(sale.position.net_cost.is_negative());
    assert_eq!(sale.cash, mine.cash.checked_neg().unwrap());
    let banked = sale.position.banked().unwrap();
    assert_eq!(
        banked,
        mine.cost
            .checked_add(sale.cost)
            .unwrap()
            .checked_neg()
            .unwrap()
    );
    assert_eq!(sale.position.payout(Pi::NO), Ok(banked));
    // The profit pays for the next trade in the same market.
    let next = order(Outcome::No, Size::Spend(banked));
    let again = quote(&sale.maker, &sale.position, &next).unwrap();
    assert_eq!(again.cash, Micro::ZERO);
}

#[test]
fn the_price_stops_at_its_bounds() {
    for outcome in [Outcome::Yes, Outcome::No] {
        for size in [Size::Spend(Micro::MAX), Size::Shares(MicroShares::MAX)] {
            let order = order(outcome, size);
            let fill = quote(&market(0.5), &Position::default(), &order).unwrap();
            assert!(fill.truncated);
            let bound = if outcome.is_yes() { 0.995 } else { 0.005 };
            assert!((fill.to.probability.get() - bound).abs() < 1e-9);
            let again = quote(&fill.maker, &fill.position, &order);
            assert_eq!(again, Err(TradeError::AtBound));
        }
    }
}

#[test]
fn refusals_are_typed() {
    let (maker, none) = (market(0.5), Position::default());
    let refused = |size| quote(&maker, &none, &order(Outcome::Yes, size)).unwrap_err();
    assert_eq!(refused(Size::Spend(Micro(0))), TradeError::ZeroSize);
    assert_eq!(refused(Size::Spend(Micro(-4))), TradeError::ZeroSize);
    assert_eq!(refused(Size::Shares(MicroShares(0))), TradeError::ZeroSize);
    assert_eq!(refused(target(0.5)), TradeError::TooSmall);
    let oversold = TradeError::InsufficientShares {
        needed: MicroShares(9),
        held: MicroShares::ZERO,
    };
    assert_eq!(refused(Size::Shares(MicroShares(-9))), oversold);
    assert!(matches!(
        refused(target(0.2)),
        TradeError::InsufficientShares { .. }
    ));
    let lowest = Size::Shares(MicroShares(i64::MIN));
    assert_eq!(refused(lowest), TradeError::Money(MoneyError::Overflow));
    let broken = Position {
        yes: MicroShares(-1),
        ..none
    };
    let any = order(Outcome::Yes, target(0.6));
    assert_eq!(
        quote(&maker, &broken, &any),
        Err(TradeError::InvalidPosition)
    );
    let fill = quote(&maker, &none, &any).unwrap();
    assert_eq!(fill.check_funds(fill.cash), Ok(()));
    let short = fill.cash.checked_sub(Micro(1)).unwrap();
    assert!(matches!(
        fill.check_funds(short),
        Err(TradeError::InsufficientFunds { .. })
    ));
}

#[test]
fn limits_hold_in_the_direction_of_the_trade() {
    let limit = |p| Some(Probability::new(p).unwrap());
    let run = |outcome, size, limit| {
        quote(
            &market(0.5),
            &Position::default(),
            &Order {
                outcome,
                size,
                limit,
            },
        )
    };
    assert!(run(Outcome::Yes, target(0.6), limit(0.6)).is_ok());
    assert!(run(Outcome::No, target(0.4), limit(0.4)).is_ok());
    let passed = run(Outcome::Yes, target(0.6), limit(0.59));
    assert!(matches!(passed, Err(TradeError::LimitExceeded { .. })));
    let passed = run(Outcome::No, target(0.4), limit(0.41));
    assert!(matches!(passed, Err(TradeError::LimitExceeded { .. })));
}
