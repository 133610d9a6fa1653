#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

mod reference;

fn bps(value: u16) -> Bps {
    Bps::new(value).unwrap()
}

fn request(id: u128, value: f64, upper: f64, floor: u16, cap: u16) -> Request {
    Request {
        run: Uuid::from_u128(id),
        value,
        severity: 1.0,
        upper,
        floor: bps(floor),
        cap: bps(cap),
        cap_reason: "test".into(),
    }
}

/// A run of value 1 without limits of its own.
fn plain(id: u128, upper: f64) -> Request {
    request(id, 1.0, upper, 0, 10_000)
}

fn pool(risk_budget: f64) -> Pool {
    Pool {
        capacity: Bps::FULL,
        risk_budget,
    }
}

fn shares(requests: &[Request], pool: &Pool) -> Vec<u16> {
    let allocation = allocate(requests, pool).unwrap();
    allocation.shares.iter().map(|s| s.share.get()).collect()
}

/// Name, requests, risk budget and the shares expected.
type Case = (&'static str, Vec<Request>, f64, Vec<u16>);

fn cases() -> Vec<Case> {
    let r = request;
    vec![
        ("nobody", vec![], 1.0, vec![]),
        ("alone", vec![plain(1, 0.5)], 1.0, vec![10_000]),
        (
            "equal runs, different risk within the budget",
            vec![plain(1, 0.1), plain(2, 0.7)],
            1.0,
            vec![5_000, 5_000],
        ),
        (
            "what a capped run leaves goes to the other",
            vec![plain(1, 0.1), r(2, 1.0, 1.0, 0, 500)],
            1.0,
            vec![9_500, 500],
        ),
        (
            "three equal runs stay equal; a point stays idle",
            vec![plain(1, 0.5), plain(2, 0.5), plain(3, 0.5)],
            1.0,
            vec![3_333, 3_333, 3_333],
        ),
        (
            "the more valuable run up to its cap",
            vec![r(1, 2.0, 0.5, 0, 7_000), r(2, 1.0, 0.5, 1_000, 10_000)],
            1.0,
            vec![7_000, 3_000],
        ),
        (
            "floors before value",
            vec![r(1, 2.0, 0.5, 0, 10_000), r(2, 1.0, 0.5, 1_500, 10_000)],
            1.0,
            vec![8_500, 1_500],
        ),
        (
            // Σx = 1 and .1x₁ + .9x₂ ≤ .3: the even point (.5, .5) has risk .5,
            // the most even optimum is x₂ = .25.
            "evenness gives way to the risk budget",
            vec![plain(1, 0.1), plain(2, 0.9)],
            0.3,
            vec![7_500, 2_500],
        ),
        (
            // Only risk binds: .5x₁ + .5x₂ ≤ .2.
            "risk budget below capacity",
            vec![plain(1, 0.5), plain(2, 0.5)],
            0.2,
            vec![2_000, 2_000],
        ),
        (
            "no risk budget: only riskless runs",
            vec![r(1, 1.0, 0.0, 0, 6_000), r(2, 9.0, 0.5, 2_000, 10_000)],
            0.0,
            vec![6_000, 0],
        ),
        (
            "floors that do not fit are scaled together",
            vec![r(1, 1.0, 0.1, 8_000, 10_000), r(2, 5.0, 0.1, 8_000, 10_000)],
            1.0,
            vec![5_000, 5_000],
        ),
        (
            "a cap beats a floor",
            vec![r(1, 1.0, 0.1, 5_000, 100), plain(2, 0.1)],
            1.0,
            vec![100, 9_900],
        ),
    ]
}

#[test]
fn cases_worked_by_hand() {
    for (name, requests, risk, expected) in cases() {
        assert_eq!(shares(&requests, &pool(risk)), expected, "{name}");
    }
}

#[test]
fn three_kinds_of_risk_on_one_line_are_shared_fairly() {
    // v = 1 + a for a = .1, .2, .3, .6: with Σx = .8 and Σax = .2 every run is
    // priced at λ = 1, μ = 1, and the optima form a plane.
    let requests: Vec<Request> = [0.1, 0.2, 0.3, 0.6]
        .iter()
        .zip(1..)
        .map(|(&a, id)| request(id, 1.0 + a, a, 0, 10_000))
        .collect();
    let pool = Pool {
        capacity: bps(8_000),
        risk_budget: 0.2,
    };
    let allocation = allocate(&requests, &pool).unwrap();
    let exact: Vec<f64> = allocation.shares.iter().map(|s| s.exact).collect();
    // Max–min: three runs at t, the least risky takes the rest:
    // .1(.8 − 3t) + 1.1t = .2 → t = .15, x₁ = .35.
    for (share, expected) in exact.iter().zip([0.35, 0.15, 0.15, 0.15]) {
        assert!((share - expected).abs() < 1e-6, "{exact:?}");
    }
}

#[test]
fn the_explanation_names_what_binds() {
    let requests = [
        request(1, 1.0, 0.1, 0, 10_000),
        request(2, 1.0, 1.0, 0, 500),
        request(3, 0.5, 0.1, 200, 10_000),
    ];
    let allocation = allocate(&requests, &pool(1.0)).unwrap();
    let bindings: Vec<Binding> = allocation.shares.iter().map(|s| s.binding).collect();
    assert_eq!(bindings, [Binding::Capacity, Binding::Cap, Binding::Floor]);
    assert!((allocation.capacity.shadow_price - 1.0).abs() < 1e-9);
    assert_eq!(allocation.risk.shadow_price, 0.0);
    assert!(
        allocation.shares[1]
            .explanation
            .contains("cap of 500 bps: test")
    );
    assert!(
        allocation.shares[2]
            .would_free
            .as_ref()
            .unwrap()
            .contains("A value above 1.0000")
    );

    let risky = [
        request(1, 1.0, 0.2, 0, 10_000),
        request(2, 1.0, 0.8, 0, 10_000),
    ];
    let allocation = allocate(&risky, &pool(0.1)).unwrap();
    // Value per risk: 5 for the first, 1.25 for the second.
    assert_eq!(allocation.shares[0].share.get(), 5_000);
    assert_eq!(allocation.shares[1].share.get(), 0);
    assert!((allocation.risk.shadow_price - 5.0).abs() < 1e-9);
    assert_eq!(allocation.shares[0].binding, Binding::RiskBudget);
    let free = allocation.shares[1].would_free.as_ref().unwrap();
    assert_eq!(free, "An upper bound below 0.2000 (now 0.8000).");
}

#[test]
fn bad_input_is_refused() {
    let good = request(1, 1.0, 0.5, 0, 10_000);
    let bad = |change: fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        allocate(&[request], &pool(1.0)).unwrap_err()
    };
    for error in [
        bad(|r| r.value = 0.0),
        bad(|r| r.value = f64::NAN),
        bad(|r| r.severity = -1.0),
        bad(|r| r.upper = 1.1),
    ] {
        assert!(matches!(error, AllocatorError::BadInput { .. }));
    }
    assert!(matches!(
        allocate(&[good.clone(), good.clone()], &pool(1.0)),
        Err(AllocatorError::Duplicate(_))
    ));
    assert!(allocate(&[good], &pool(f64::NAN)).is_err());
}

/// Runs of any value and risk, from a fixed sequence.
fn crowd(count: u128) -> Vec<Request> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    (0..count)
        .map(|id| {
            let value = 1.0 + draw(4) as f64 / 4.0;
            let upper = draw(1_001) as f64 / 1_000.0;
            request(id, value, upper, 0, 1 + draw(200) as u16)
        })
        .collect()
}

/// A general solver would not come to an end here.
#[test]
fn the_largest_pool_is_solved() {
    for values in [1.0, 4.0] {
        let mut requests = crowd(MAX_RUNS as u128);
        for request in &mut requests {
            request.value = request.value.min(values);
        }
        for budget in [0.0, 0.05, 0.3, 10.0] {
            let allocation = allocate(&requests, &pool(budget)).unwrap();
            assert!(allocation.risk.used <= budget + 1e-9);
            let exact: f64 = allocation.shares.iter().map(|s| s.exact).sum();
            assert!(exact > 0.9 || budget < 0.01, "{budget}: {exact}");
        }
    }
    let too_many = crowd(MAX_RUNS as u128 + 1);
    assert_eq!(
        allocate(&too_many, &pool(1.0)),
        Err(AllocatorError::TooMany(MAX_RUNS + 1))
    );
}

/// Best value on a grid of whole steps, by enumeration.
fn grid_best(requests: &[Request], risk: f64, steps: u32) -> f64 {
    fn search(rest: &[Request], left: f64, risk: f64, step: f64) -> f64 {
        let Some((first, rest)) = rest.split_first() else {
            return 0.0;
        };
        let mut best = f64::NEG_INFINITY;
        let mut x = first.floor.fraction();
        while x <= first.cap.fraction().min(left) + 1e-12 {
            let used = x * first.severity * first.upper;
            if used <= risk + 1e-12 {
                let value = first.value * x + search(rest, left - x, risk - used, step);
                best = best.max(value);
            }
            x += step;
        }
        best
    }
    search(requests, 1.0, risk, 1.0 / f64::from(steps))
}

fn any_requests() -> impl Strategy<Value = Vec<Request>> {
    let one = (1u8..4, 0u8..=4, 0u16..3, 0u16..=20, 1u8..3);
    prop::collection::vec(one, 1..5).prop_map(|runs| {
        runs.into_iter()
            .zip(1..)
            .map(|((value, upper, floor, cap, severity), id)| Request {
                severity: f64::from(severity),
                ..request(
                    id,
                    f64::from(value),
                    f64::from(upper) / 4.0,
                    floor * 500,
                    cap * 500,
                )
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_grid_point_is_better(requests in any_requests(), risk in 0u8..=8) {
        let risk = f64::from(risk) / 4.0;
        let allocation = allocate(&requests, &pool(risk)).unwrap();
        prop_assume!(allocation.floor_scale == 1.0 && allocation.notes.is_empty());
        let value: f64 = allocation.shares.iter().zip(&requests)
            .map(|(s, r)| s.exact * r.value).sum();
        prop_assert!(value >= grid_best(&requests, risk, 20) - 1e-6);
        // Strong duality: the shadow prices prove the optimum.
        let dual = allocation.capacity.shadow_price * allocation.capacity.limit
            + allocation.risk.shadow_price * allocation.risk.limit
            + allocation.shares.iter().zip(&requests).map(|(s, r)| {
                let at = if s.reduced_value > 0.0 { r.cap.fraction() } else { s.floor };
                s.reduced_value * at
            }).sum::<f64>();
        prop_assert!((dual - value).abs() < 1e-5, "primal {value}, dual {dual}");
    }

    #[test]
    fn shadow_prices_prove_the_optimum_of_larger_pools(
        runs in prop::collection::vec((0.01f64..100.0, 0.0f64..=1.0, 0.0f64..10.0, 0u16..300, 0u16..=10_000), 1..30),
        risk in 0.0f64..3.0
    ) {
        let requests: Vec<Request> = runs.into_iter().zip(1..)
            .map(|((value, upper, severity, floor, cap), id)| Request {
                severity,
                ..request(id, value, upper, floor.min(cap), cap)
            })
            .collect();
        let allocation = allocate(&requests, &pool(risk)).unwrap();
        let value: f64 = allocation.shares.iter().zip(&requests)
            .map(|(s, r)| s.exact * r.value).sum();
        let used: f64 = allocation.shares.iter().map(|s| s.exact * s.risk_rate).sum();
        prop_assert!(used <= risk + 1e-6 && allocation.risk.used <= risk + 1e-6);
        let dual = allocation.capacity.shadow_price * allocation.capacity.limit
            + allocation.risk.shadow_price * allocation.risk.limit
            + allocation.shares.iter().zip(&requests).map(|(s, r)| {
                let at = if s.reduced_value > 0.0 { r.cap.fraction() } else { s.floor };
                s.reduced_value * at
            }).sum::<f64>();
        prop_assert!((dual - value).abs() <= 1e-5 * dual.abs().max(1.0), "{value} {dual}");
    }

    /// Values that lie on a line of risk give faces of every kind: both budgets, one, none.
    #[test]
    fn general_programs_give_the_same_shares(
        runs in prop::collection::vec((0u8..=8, 0u8..3, 0u16..3, 1u16..=20, 0u8..2), 1..9),
        risk in 0u8..=16, capacity in 1u16..=20, line in (0u8..=2, 0u8..=4)
    ) {
        let requests: Vec<Request> = runs.into_iter().zip(1..)
            .map(|((upper, off, floor, cap, capped), id)| {
                let upper = f64::from(upper) / 8.0;
                let value = f64::from(line.0) + upper * f64::from(line.1) + f64::from(off / 2) + 1e-3;
                let cap = if capped == 1 { cap * 500 } else { 10_000 };
                request(id, value, upper, (floor * 300).min(cap), cap)
            })
            .collect();
        let pool = Pool { capacity: bps(capacity * 500), risk_budget: f64::from(risk) / 16.0 };
        let ordered: Vec<&Request> = requests.iter().collect();
        let program = program::Program::new(&ordered, &pool);
        let prices = program.shadow_prices().unwrap();
        let direct = fair::most_even(&program, &prices);
        let general = reference::most_even(&program);
        for (one, other) in direct.iter().zip(&general) {
            prop_assert!((one - other).abs() < 1e-5, "{direct:?} {general:?} {prices:?}");
        }
    }

    #[test]
    fn budgets_floors_and_caps_hold(requests in any_requests(), risk in 0.0f64..2.0) {
        let allocation = allocate(&requests, &pool(risk)).unwrap();
        let total: u32 = allocation.shares.iter().map(|s| u32::from(s.share.get())).sum();
        prop_assert!(total <= 10_000);
        prop_assert!(allocation.risk.used <= risk + 1e-6);
        for (share, request) in allocation.shares.iter().zip(&requests) {
            prop_assert!(share.share <= request.cap);
            prop_assert!(share.exact >= share.floor - 1e-6);
            prop_assert!((share.exact - share.share.fraction()).abs() < 1.1e-4);
        }
    }

    #[test]
    fn order_does_not_matter_and_equals_stay_equal(
        requests in any_requests(), risk in 0.0f64..2.0, twin in any::<prop::sample::Index>()
    ) {
        let mut requests = requests;
        let mut copy = requests[twin.index(requests.len())].clone();
        let original = copy.run;
        copy.run = Uuid::from_u128(99);
        requests.push(copy);
        let first = allocate(&requests, &pool(risk)).unwrap();
        requests.reverse();
        prop_assert_eq!(&first, &allocate(&requests, &pool(risk)).unwrap());
        let twin = first.share(Uuid::from_u128(99)).unwrap();
        prop_assert_eq!(first.share(original).unwrap().share, twin.share);
    }

    #[test]
    fn the_riskier_of_otherwise_equal_runs_never_gets_more(
        requests in any_requests(), risk in 0.0f64..2.0, more in 0.01f64..0.5
    ) {
        let mut requests = requests;
        requests[0].floor = Bps::ZERO;
        let mut riskier = requests[0].clone();
        riskier.run = Uuid::from_u128(99);
        riskier.upper = (riskier.upper + more).min(1.0);
        let safer = requests[0].run;
        requests.push(riskier);
        let allocation = allocate(&requests, &pool(risk)).unwrap();
        let exact = |run| allocation.share(run).unwrap().exact;
        prop_assert!(exact(Uuid::from_u128(99)) <= exact(safer) + 1e-6);
    }
}
