#![allow(clippy::unwrap_used)]
use super::*;
use crate::lmsr::{MAX_LIQUIDITY, Maker};
use crate::money::{Micro, MicroShares};
use crate::probability::Probability;
use crate::trade::{self, Order, Outcome, Position, Size};

fn order(outcome: usize, size: CategoricalSize) -> CategoricalOrder {
    CategoricalOrder {
        outcome,
        size,
        limit: None,
    }
}

fn spend(outcome: usize, micro: i64) -> CategoricalOrder {
    order(outcome, CategoricalSize::Spend(Micro(micro)))
}

fn shares(outcome: usize, micro: i64) -> CategoricalOrder {
    order(outcome, CategoricalSize::Shares(MicroShares(micro)))
}

fn even(outcomes: usize, credits: i64) -> CategoricalMaker {
    let prices = vec![1.0 / outcomes as f64; outcomes];
    let liquidity = Micro::from_credits(credits).unwrap();
    CategoricalMaker::open(&prices, liquidity).unwrap().0
}

fn close(actual: f64, expected: f64, relative: f64) {
    let error = (actual - expected).abs();
    assert!(
        error <= relative * expected.abs(),
        "{actual} is not {expected}"
    );
}

#[test]
fn published_values_of_two_outcomes() {
    // b = 14.4269504088 credits at one half, spend 10: in units of 10⁻⁶, so that micro-shares
    // are twelve decimals.
    let (maker, _) = CategoricalMaker::open(&[0.5, 0.5], Micro(14_426_950_408_800)).unwrap();
    let fill = quote(
        &maker,
        &CategoricalPosition::empty(2),
        &spend(0, 10_000_000_000_000),
    )
    .unwrap();
    close(fill.shares.to_f64() / 1e12, 15.8496250072, 1e-10);
    close(fill.price_after, 0.75, 1e-10);
    // Prices ¼ and ¾, b = 10/ln 4, sell 10 of the second.
    let (maker, _) = CategoricalMaker::open(&[0.25, 0.75], Micro(7_213_475_204_445)).unwrap();
    let mut held = CategoricalPosition::empty(2);
    held.shares[1] = MicroShares(10_000_000_000_000);
    let maker = CategoricalMaker::restore(
        // The shares are in the trader's hands, so the opening is where prices were before.
        reopened(&maker, &held.shares),
        maker.liquidity(),
        held.shares.clone(),
    )
    .unwrap();
    close(maker.prices()[1], 0.75, 1e-12);
    let fill = quote(&maker, &held, &shares(1, -10_000_000_000_000)).unwrap();
    close(-fill.cost.to_f64() / 1e12, 5.9632253897, 1e-10);
    close(fill.maker.prices()[0], 0.5714285714, 1e-9);
    close(fill.maker.prices()[1], 0.4285714286, 1e-9);
}

/// The opening prices from which `shares` lead to the prices of `maker`.
fn reopened(maker: &CategoricalMaker, shares: &[MicroShares]) -> Vec<f64> {
    let b = maker.liquidity().to_f64();
    let weights = maker.opening().iter().zip(shares);
    let weights: Vec<f64> = weights.map(|(p, s)| p * (-s.to_f64() / b).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[test]
fn two_outcomes_are_the_binary_market() {
    for p0 in [0.005, 0.1, 0.5, 0.83, 0.995] {
        let b = Micro::from_credits(250).unwrap();
        let p = Probability::new(p0).unwrap();
        let (mut binary, subsidy) = Maker::open(p, b).unwrap();
        let (mut several, other) = CategoricalMaker::open(&[p0, 1.0 - p0], b).unwrap();
        assert!((subsidy.get() - other.get()).abs() <= 1);
        let (mut held, mut holding) = (Position::default(), CategoricalPosition::empty(2));
        for (side, amount) in [
            (0, 40_000_000),
            (1, 25_000_000),
            (1, 300_000_000),
            (0, 1),
            (0, 7),
        ] {
            let outcome = if side == 0 { Outcome::Yes } else { Outcome::No };
            let asked = Order {
                outcome,
                size: Size::Shares(MicroShares(amount)),
                limit: None,
            };
            let one = trade::quote(&binary, &held, &asked);
            let two = quote(&several, &holding, &shares(side, amount));
            let (Ok(one), Ok(two)) = (&one, &two) else {
                assert_eq!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
                continue;
            };
            assert!(
                (one.cost.get() - two.cost.get()).abs() <= 1,
                "{p0} {side} {amount}"
            );
            assert_eq!(one.truncated, two.truncated);
            close(
                two.maker.prices()[0],
                one.maker.log_odds().probability().get(),
                1e-8,
            );
            (binary, held) = (one.maker, one.position);
            (several, holding) = (two.maker.clone(), two.position.clone());
            assert!((held.yes.get() - holding.shares[0].get()).abs() <= 2);
            assert!((held.no.get() - holding.shares[1].get()).abs() <= 2);
        }
    }
}

#[test]
fn openings_are_refused_with_a_reason() {
    let b = Micro(1_000_000);
    let open = |prices: &[f64]| CategoricalMaker::open(prices, b).unwrap_err();
    assert_eq!(open(&[1.0]), CategoricalError::Outcomes(1));
    assert_eq!(open(&[1.0 / 65.0; 65]), CategoricalError::Outcomes(65));
    assert!(matches!(open(&[0.5, 0.4, 0.2]), CategoricalError::Sum(_)));
    assert!(matches!(
        open(&[0.5, f64::NAN, 0.5]),
        CategoricalError::Sum(_)
    ));
    assert!(matches!(
        open(&[1.1, -0.1]),
        CategoricalError::OpeningPrice { .. }
    ));
    assert!(matches!(
        open(&[0.999, 0.0005, 0.0005]),
        CategoricalError::OpeningPrice { .. }
    ));
    let third = [1.0 / 3.0; 3];
    for b in [Micro(999), Micro::ZERO, Micro(-1), Micro::MAX] {
        assert_eq!(
            CategoricalMaker::open(&third, b),
            Err(CategoricalError::Liquidity(b))
        );
    }
    for bad in [[0, 0, -1], [i64::MAX, 0, 0]] {
        let stored = CategoricalMaker::restore(third.to_vec(), b, bad.map(MicroShares).to_vec());
        assert_eq!(stored, Err(CategoricalError::OutOfBounds));
    }
    for n in [2, 3, 64] {
        assert!(
            even(n, 10)
                .prices()
                .iter()
                .all(|p| (p * n as f64 - 1.0).abs() < 1e-12)
        );
    }
    let (_, subsidy) = CategoricalMaker::open(&third, Micro(1_000_000_000)).unwrap();
    assert_eq!(subsidy, Micro(1_098_612_289));
}

#[test]
fn orders_are_refused_with_a_reason() {
    use CategoricalTradeError as E;
    let (maker, none) = (even(3, 100), CategoricalPosition::empty(3));
    let refused = |asked: &CategoricalOrder| quote(&maker, &none, asked).unwrap_err();
    assert_eq!(refused(&spend(3, 1)), E::UnknownOutcome(3));
    assert_eq!(refused(&spend(0, 0)), E::ZeroSize);
    assert_eq!(refused(&spend(0, i64::MIN)), E::ZeroSize);
    assert_eq!(refused(&shares(0, 0)), E::ZeroSize);
    assert!(matches!(
        refused(&shares(0, -1)),
        E::InsufficientShares { .. }
    ));
    assert!(matches!(refused(&shares(0, i64::MIN)), E::Money(_)));
    for price in [f64::NAN, 0.0, 0.003, 0.9934, 1.0, -1.0, f64::INFINITY] {
        let target = order(1, CategoricalSize::Target(price));
        assert!(
            matches!(refused(&target), E::PriceOutOfRange { .. }),
            "{price}"
        );
        let limited = CategoricalOrder {
            limit: Some(price),
            ..spend(1, 1_000)
        };
        assert!(
            matches!(refused(&limited), E::PriceOutOfRange { .. }),
            "{price}"
        );
    }
    let here = order(1, CategoricalSize::Target(maker.prices()[1]));
    assert_eq!(refused(&here), E::TooSmall);
    let limited = CategoricalOrder {
        limit: Some(0.4),
        ..spend(1, 50_000_000)
    };
    assert!(matches!(refused(&limited), E::LimitExceeded { .. }));
    let mut odd = none.clone();
    odd.shares.pop();
    assert_eq!(
        quote(&maker, &odd, &spend(0, 9)).unwrap_err(),
        E::InvalidPosition
    );
    let fill = quote(&maker, &none, &spend(0, 10_000_000)).unwrap();
    assert!(matches!(
        fill.check_funds(Micro(9_999_998)),
        Err(E::InsufficientFunds { .. })
    ));
    assert_eq!(fill.check_funds(Micro(10_000_000)), Ok(()));
}

#[test]
fn the_largest_orders_stop_at_the_ceiling() {
    for maker in [even(3, 100), even(64, 100_000_000), even(2, 1)] {
        let none = CategoricalPosition::empty(maker.outcomes());
        for asked in [spend(0, i64::MAX), shares(0, i64::MAX)] {
            let fill = quote(&maker, &none, &asked).unwrap();
            assert!(fill.truncated);
            close(fill.price_after, price_ceiling(maker.outcomes()), 1e-7);
            let again = quote(&fill.maker, &fill.position, &asked);
            assert_eq!(again.unwrap_err(), CategoricalTradeError::AtBound);
        }
    }
    assert_eq!(even(64, 100_000_000).liquidity(), MAX_LIQUIDITY);
}

#[test]
fn an_outcome_at_its_floor_keeps_nobody_from_buying_another() {
    // Push the last outcome down by buying the others, as far as it goes.
    let mut maker = even(4, 100);
    let mut position = CategoricalPosition::empty(4);
    for round in 0..12 {
        let all = quote(&maker, &position, &shares(round % 3, i64::MAX));
        let Ok(fill) = all else { continue };
        (maker, position) = (fill.maker, fill.position);
    }
    let least = maker.prices()[3];
    assert!((LEAST_PRICE * 0.999..1e-6).contains(&least), "{least}");
    // A newcomer lifts it out of the way for next to nothing, and buys what they wanted.
    let none = CategoricalPosition::empty(4);
    let lift = quote(&maker, &none, &order(3, CategoricalSize::Target(0.01))).unwrap();
    assert!(lift.cost < Micro(1_100_000), "{}", lift.cost);
    let wanted = (0..3).min_by(|a, b| lift.maker.prices()[*a].total_cmp(&lift.maker.prices()[*b]));
    let bought = quote(
        &lift.maker,
        &lift.position,
        &order(wanted.unwrap(), CategoricalSize::Target(0.5)),
    );
    assert!(bought.unwrap().price_after > 0.499);
}

#[test]
fn complete_sets_become_credits() {
    let mut maker = even(3, 100);
    let mut position = CategoricalPosition::empty(3);
    for outcome in 0..3 {
        let fill = quote(&maker, &position, &shares(outcome, 5_000_000)).unwrap();
        assert_eq!(fill.sets.get(), if outcome == 2 { 5_000_000 } else { 0 });
        (maker, position) = (fill.maker, fill.position);
    }
    assert!(position.shares.iter().all(|shares| shares.is_zero()));
    assert!(maker.shares().iter().all(|shares| shares.is_zero()));
    // Three roundings against the trader are all that is left.
    assert!(
        (0..=3).contains(&position.net_cost.get()),
        "{}",
        position.net_cost
    );
    assert_eq!(maker, even(3, 100));
}

#[test]
fn settlements_are_on_the_simplex() {
    assert_eq!(
        PiVector::winner(3, 1).unwrap().billionths(),
        [0, 1_000_000_000, 0]
    );
    let thirds = PiVector::split(5, &[4, 0, 2]).unwrap();
    assert_eq!(
        thirds.billionths(),
        [333_333_333, 0, 333_333_333, 0, 333_333_334]
    );
    for bad in [&[][..], &[5], &[1, 1]] {
        assert_eq!(PiVector::split(5, bad), Err(PiVectorError::Winners));
    }
    assert_eq!(
        PiVector::new(vec![1_000_000_000]),
        Err(PiVectorError::Outcomes(1))
    );
    assert_eq!(
        PiVector::new(vec![0, 999_999_999]),
        Err(PiVectorError::Sum(999_999_999))
    );
    let wrap = PiVector::new(vec![u32::MAX; 64]);
    assert!(matches!(wrap, Err(PiVectorError::Sum(_))));
    let text = serde_json::to_string(&thirds).unwrap();
    assert_eq!(serde_json::from_str::<PiVector>(&text).unwrap(), thirds);
    assert!(serde_json::from_str::<PiVector>("[1,2]").is_err());
}

#[test]
fn the_decisive_arm_wins() {
    let names = ["none", "// b", "// a"].map(String::from);
    let verdict = |a, b| decisive_vector(&names, &[("// a", a), ("// b", b)]).unwrap();
    assert_eq!(verdict(false, false), PiVector::winner(3, 0).unwrap());
    assert_eq!(verdict(true, false), PiVector::winner(3, 2).unwrap());
    assert_eq!(verdict(false, true), PiVector::winner(3, 1).unwrap());
    assert_eq!(
        verdict(true, true).billionths(),
        [0, 500_000_000, 500_000_000]
    );
    for arms in [
        &[("// a", true)][..],
        &[("// a", true), ("// c", false)],
        &[("// a", true), ("none", true)],
    ] {
        assert_eq!(decisive_vector(&names, arms), Err(PiVectorError::Names));
    }
    let without = ["// a", "// b"].map(String::from);
    assert_eq!(
        decisive_vector(&without, &[("// a", true)]),
        Err(PiVectorError::Names)
    );
}

#[test]
fn serialises_and_checks_what_it_reads() {
    let fill = quote(
        &even(3, 5),
        &CategoricalPosition::empty(3),
        &spend(2, 1_000_000),
    )
    .unwrap();
    let text = serde_json::to_string(&fill.maker).unwrap();
    assert_eq!(
        serde_json::from_str::<CategoricalMaker>(&text).unwrap(),
        fill.maker
    );
    assert!(serde_json::from_str::<CategoricalMaker>(&text.replace("5000000", "5")).is_err());
}

#[test]
fn making_the_second_look_first_costs_the_divergence() {
    let (maker, _) = CategoricalMaker::open(&[0.2, 0.5, 0.3], Micro(1_000_000_000)).unwrap();
    // .5 ln(.5/.3) + .3 ln(.3/.5) = .2 ln(5/3)
    let cost = maker.manipulation_cost().unwrap();
    assert!(
        (cost.to_f64() - 1e9 * 0.102_165_124_753_198_13).abs() < 1.0,
        "{cost}"
    );
}
