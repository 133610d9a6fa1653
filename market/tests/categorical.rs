//! Markets of several outcomes: laws on random histories, and independent high-precision
//! values that `data/categorical.py` makes.
#![allow(clippy::unwrap_used)]

use plumbline_market::categorical::{
    CategoricalFill, CategoricalMaker, CategoricalOrder, CategoricalPosition, CategoricalSize,
    CategoricalTradeError, LEAST_PRICE, PiVector, payouts, price_ceiling, price_floor, quote,
    refunds,
};
use plumbline_market::settle::PayoutPlan;
use plumbline_market::{Micro, MicroShares};
use proptest::prelude::*;
use serde::Deserialize;

const TRADERS: usize = 3;

/// What one actor tries; refusals are part of a history. Outcomes count modulo the market's.
#[derive(Debug, Clone)]
enum Action {
    Order(CategoricalOrder),
    SellAll(usize),
}

fn liquidity() -> impl Strategy<Value = Micro> {
    (3.0f64..14.0).prop_map(|x| {
        Micro::floor_from_f64(10f64.powf(x))
            .unwrap()
            .max(Micro(1_000))
    })
}

/// Opening prices from weights, with everything at or above the floor.
fn opening() -> impl Strategy<Value = Vec<f64>> {
    let weights = prop_oneof![2..=6usize, Just(64usize),]
        .prop_flat_map(|n| prop::collection::vec(0.05f64..1.0, n));
    weights.prop_map(|weights| {
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    })
}

fn action(b: Micro) -> impl Strategy<Value = Action> {
    let amount = (0.0f64..1.1).prop_map(move |x| (b.to_f64() * 8.0).powf(x) as i64);
    let size = prop_oneof![
        amount
            .clone()
            .prop_map(|x| CategoricalSize::Spend(Micro(x))),
        amount
            .clone()
            .prop_map(|x| CategoricalSize::Shares(MicroShares(x))),
        amount.prop_map(|x| CategoricalSize::Shares(MicroShares(-x))),
        (0.005f64..=0.99).prop_map(CategoricalSize::Target),
    ];
    let order = (0..64usize, size).prop_map(|(outcome, size)| {
        Action::Order(CategoricalOrder {
            outcome,
            size,
            limit: None,
        })
    });
    prop_oneof![6 => order, 1 => (0..64usize).prop_map(Action::SellAll)]
}

fn history() -> impl Strategy<Value = (Vec<f64>, Micro, Vec<(usize, Action)>)> {
    (opening(), liquidity()).prop_flat_map(|(p, b)| {
        let steps = prop::collection::vec((0..TRADERS, action(b)), 1..50);
        (Just(p), Just(b), steps)
    })
}

/// A market with its books, kept the way a store would keep them.
struct Market {
    maker: CategoricalMaker,
    subsidy: Micro,
    escrow: Micro,
    positions: Vec<CategoricalPosition>,
}

impl Market {
    fn open(p: &[f64], b: Micro) -> Self {
        let (maker, subsidy) = CategoricalMaker::open(p, b).unwrap();
        Self {
            positions: vec![CategoricalPosition::empty(p.len()); TRADERS],
            maker,
            subsidy,
            escrow: subsidy,
        }
    }

    fn act(&mut self, who: usize, action: &Action) {
        let n = self.maker.outcomes();
        let position = &self.positions[who];
        let asked = match action {
            Action::Order(order) => CategoricalOrder {
                outcome: order.outcome % n,
                ..*order
            },
            Action::SellAll(outcome) => {
                let held = position.shares[outcome % n];
                let size = CategoricalSize::Shares(held.checked_neg().unwrap());
                order(outcome % n, size)
            }
        };
        if let Ok(fill) = quote(&self.maker, position, &asked) {
            self.escrow = self.escrow.checked_add(fill.cash).unwrap();
            self.maker = fill.maker;
            self.positions[who] = fill.position;
        }
    }

    fn holders(&self) -> Vec<(usize, CategoricalPosition)> {
        self.positions.iter().cloned().enumerate().collect()
    }

    fn settle(&self, pi: &PiVector) -> PayoutPlan<usize> {
        payouts(&self.holders(), pi, self.subsidy, self.escrow).unwrap()
    }
}

fn order(outcome: usize, size: CategoricalSize) -> CategoricalOrder {
    CategoricalOrder {
        outcome,
        size,
        limit: None,
    }
}

fn buy(maker: &CategoricalMaker, outcome: usize, shares: i64) -> Option<CategoricalFill> {
    let asked = order(outcome, CategoricalSize::Shares(MicroShares(shares)));
    quote(maker, &CategoricalPosition::empty(maker.outcomes()), &asked).ok()
}

fn total(plan: &PayoutPlan<usize>) -> i64 {
    plan.payouts.iter().map(|row| row.amount.get()).sum::<i64>() + plan.remainder.get()
}

/// Billionths in the proportions of `weights`, the rest to the first.
fn simplex(weights: &[u32]) -> PiVector {
    let sum: u64 = weights.iter().map(|w| u64::from(*w) + 1).sum();
    let mut parts: Vec<u32> = weights
        .iter()
        .map(|w| ((u64::from(*w) + 1) * 1_000_000_000 / sum) as u32)
        .collect();
    parts[0] += 1_000_000_000 - parts.iter().sum::<u32>();
    PiVector::new(parts).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn escrow_covers_every_settlement_after_every_step(
        (p, b, steps) in history(), weights in prop::collection::vec(0u32..1_000_000, 64),
    ) {
        let n = p.len();
        let mut market = Market::open(&p, b);
        let mixed = simplex(&weights[..n]);
        for (who, action) in &steps {
            market.act(*who, action);
            let prices = market.maker.prices();
            prop_assert!((prices.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            prop_assert!(prices.iter().all(|p| *p >= LEAST_PRICE * (1.0 - 1e-9)));
            // No trade leaves less than the floor for the others.
            prop_assert!(prices.iter().all(|p| *p <= 1.0 - price_floor(n) * (1.0 - 1e-6)));
            for winner in 0..n.min(8) {
                let pi = PiVector::winner(n, winner).unwrap();
                let plan = market.settle(&pi);
                // The market maker loses at most the declared subsidy.
                prop_assert!(!plan.remainder.is_negative());
                prop_assert_eq!(total(&plan), market.escrow.get());
            }
            prop_assert_eq!(total(&market.settle(&mixed)), market.escrow.get());
            let refund = refunds(&market.holders(), market.subsidy, market.escrow).unwrap();
            prop_assert_eq!(refund.remainder, market.subsidy);
        }
    }

    #[test]
    fn positions_are_netted_and_add_up_to_the_makers((p, b, steps) in history()) {
        let mut market = Market::open(&p, b);
        for (who, action) in &steps {
            market.act(*who, action);
        }
        for outcome in 0..p.len() {
            let held: i64 = market.positions.iter().map(|row| row.shares[outcome].get()).sum();
            prop_assert_eq!(held, market.maker.shares()[outcome].get());
        }
        for position in &market.positions {
            prop_assert!(position.shares.iter().any(|shares| shares.is_zero()));
            prop_assert!(position.shares.iter().all(|shares| !shares.is_negative()));
        }
        let stored = CategoricalMaker::restore(
            market.maker.opening().to_vec(), b, market.maker.shares().to_vec(),
        );
        prop_assert_eq!(stored.unwrap(), market.maker);
    }

    #[test]
    fn a_round_trip_never_profits(p in opening(), b in liquidity(), side in 0..64usize, x in 0.0f64..1.0) {
        let (maker, _) = CategoricalMaker::open(&p, b).unwrap();
        let side = side % p.len();
        let Some(bought) = buy(&maker, side, (b.to_f64() * 4.0).powf(x) as i64)
            else { return Ok(()) };
        let back = CategoricalSize::Shares(bought.shares.checked_neg().unwrap());
        let sold = quote(&bought.maker, &bought.position, &order(side, back)).unwrap();
        let lost = sold.position.net_cost;
        prop_assert!(!lost.is_negative());
        prop_assert!(lost.to_f64() <= 2.0 + 4e-13 * bought.cost.to_f64(), "{}", lost);
        prop_assert_eq!(sold.maker, maker);
    }

    #[test]
    fn splitting_changes_only_rounding(
        p in opening(), b in liquidity(), side in 0..64usize,
        parts in prop::collection::vec(0.0f64..0.6, 2..12),
    ) {
        let (maker, _) = CategoricalMaker::open(&p, b).unwrap();
        let side = side % p.len();
        let (mut split, mut cost, mut sum, mut count) = (maker.clone(), 0, 0, 0);
        for part in parts {
            let Some(fill) = buy(&split, side, b.to_f64().powf(part) as i64) else { break };
            split = fill.maker;
            cost += fill.cost.get();
            sum += fill.shares.get();
            count += 1;
        }
        prop_assume!(count > 0);
        let whole = buy(&maker, side, sum).unwrap();
        prop_assert_eq!(whole.maker, split);
        let (extra, guard) = ((cost - whole.cost.get()) as f64, 4e-13 * cost as f64);
        prop_assert!(extra >= -1.0 - guard && extra <= f64::from(count) + guard, "{}", extra);
    }

    #[test]
    fn the_order_of_trades_does_not_matter(
        p in opening(), b in liquidity(),
        trades in prop::collection::vec((0..64usize, 0.0f64..0.9), 2..8),
    ) {
        let (maker, _) = CategoricalMaker::open(&p, b).unwrap();
        let run = |order: &mut dyn Iterator<Item = &(usize, f64)>| {
            let (mut maker, mut cost) = (maker.clone(), 0);
            for (outcome, x) in order {
                let fill = buy(&maker, outcome % p.len(), b.to_f64().powf(*x) as i64)?;
                if fill.truncated { return None }
                maker = fill.maker;
                cost += fill.cost.get();
            }
            Some((maker, cost))
        };
        let (Some(there), Some(back)) = (run(&mut trades.iter()), run(&mut trades.iter().rev()))
            else { return Ok(()) };
        prop_assert_eq!(&there.0, &back.0);
        let slack = trades.len() as f64 + 1e-12 * there.1 as f64;
        prop_assert!(((there.1 - back.1) as f64).abs() <= slack);
    }

    #[test]
    fn spending_stays_within_the_budget_and_uses_it(
        p in opening(), b in liquidity(), side in 0..64usize, x in 0.0f64..1.2,
    ) {
        let (maker, _) = CategoricalMaker::open(&p, b).unwrap();
        let side = side % p.len();
        let budget = Micro((b.to_f64() * 4.0).powf(x) as i64);
        let none = CategoricalPosition::empty(p.len());
        let Ok(fill) = quote(&maker, &none, &order(side, CategoricalSize::Spend(budget)))
            else { return Ok(()) };
        prop_assert!(fill.cost <= budget);
        if !fill.truncated && let Some(next) = buy(&maker, side, fill.shares.get() + 1) {
            prop_assert!(next.truncated || next.cost > budget);
        }
    }

    #[test]
    fn targets_are_reached_within_a_share(
        p in opening(), b in liquidity(), side in 0..64usize, t in 0.0f64..=1.0,
    ) {
        let (maker, _) = CategoricalMaker::open(&p, b).unwrap();
        let (n, side) = (p.len(), side % p.len());
        let goal = price_floor(n) + t * (price_ceiling(n) - price_floor(n));
        let none = CategoricalPosition::empty(n);
        match quote(&maker, &none, &order(side, CategoricalSize::Target(goal))) {
            Ok(fill) => {
                // One micro-share moves the price by p(1−p)/b, at most a quarter over b.
                prop_assert!(fill.price_after <= goal + 1e-12);
                prop_assert!(goal - fill.price_after <= 1.0 / b.to_f64() + 1e-12);
            }
            // Nothing is held, so a lower target cannot be sold to.
            Err(CategoricalTradeError::InsufficientShares { .. }) => {
                prop_assert!(goal <= maker.prices()[side] + 1e-12);
            }
            Err(CategoricalTradeError::TooSmall | CategoricalTradeError::AtBound) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

#[test]
fn ten_thousand_tiny_trades_farm_nothing() {
    let prices = [0.2, 0.3, 0.5];
    for shares in [1, 2, 3, 7] {
        let (mut maker, _) = CategoricalMaker::open(&prices, Micro(50_000_000)).unwrap();
        let mut position = CategoricalPosition::empty(3);
        for trade in 0..10_000i64 {
            let (side, shares) = match trade % 5 {
                0 | 3 => (0, shares),
                1 => (1, shares),
                2 => (0, -shares),
                _ => (2, shares),
            };
            let asked = order(side, CategoricalSize::Shares(MicroShares(shares)));
            let fill = quote(&maker, &position, &asked).unwrap();
            (maker, position) = (fill.maker, fill.position);
            assert!(!position.net_cost.is_negative());
        }
        for winner in 0..3 {
            let pi = PiVector::winner(3, winner).unwrap();
            assert!(position.payout(&pi).unwrap() <= position.net_cost);
        }
    }
}

#[derive(Deserialize)]
struct Vectors {
    published: std::collections::BTreeMap<String, f64>,
    states: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    opening: Vec<f64>,
    b: i64,
    shares: Vec<i64>,
    prices: Vec<f64>,
    subsidy: i64,
    trades: Vec<Trade>,
}

#[derive(Deserialize)]
struct Trade {
    outcome: usize,
    shares: i64,
    charge: i64,
    price_after: f64,
    spend: Option<i64>,
    bought: Option<f64>,
}

/// `actual` is the exact `charge`, or above it by the guard at most.
fn charged(what: &str, actual: i64, charge: i64) {
    let guard = 1 + (charge.abs() as f64 * 2e-13) as i64;
    assert!(
        (charge..=charge + guard).contains(&actual),
        "{what}: {actual} for {charge}"
    );
}

#[test]
fn prices_costs_and_spends_match_high_precision_values() {
    let vectors: Vectors = serde_json::from_str(include_str!("data/categorical.json")).unwrap();
    assert_eq!(vectors.states.len(), 60);
    let mut trades = 0;
    for state in vectors.states {
        let shares = state.shares.iter().copied().map(MicroShares).collect();
        let maker = CategoricalMaker::restore(state.opening.clone(), Micro(state.b), shares);
        let maker = maker.unwrap();
        for (price, expected) in maker.prices().iter().zip(&state.prices) {
            assert!(
                (price - expected).abs() <= 2e-14 * expected,
                "{price} {expected}"
            );
        }
        let (_, subsidy) = CategoricalMaker::open(&state.opening, Micro(state.b)).unwrap();
        charged("subsidy", subsidy.get(), state.subsidy);
        let held = CategoricalPosition {
            shares: maker.shares().to_vec(),
            net_cost: Micro::ZERO,
        };
        for trade in state.trades {
            let what = format!(
                "{} of {} at {:?}",
                trade.shares, trade.outcome, state.prices
            );
            let size = CategoricalSize::Shares(MicroShares(trade.shares));
            let fill = match quote(&maker, &held, &order(trade.outcome, size)) {
                Ok(fill) if !fill.truncated => fill,
                Ok(_) | Err(CategoricalTradeError::AtBound) => continue,
                Err(error) => panic!("{what}: {error}"),
            };
            trades += 1;
            charged(&what, fill.cost.get(), trade.charge);
            let error = (fill.price_after - trade.price_after).abs();
            assert!(error <= 5e-14 * trade.price_after, "{what}");
            let (Some(spend), Some(bought)) = (trade.spend, trade.bought) else {
                continue;
            };
            let asked = order(trade.outcome, CategoricalSize::Spend(Micro(spend)));
            let fill = quote(&maker, &held, &asked).unwrap();
            // Rounded down to a micro-share, and less what the guard on the charge takes.
            let (missing, guard) = (bought - fill.shares.to_f64(), 1e-12 * bought);
            assert!(
                (-guard..=2.0 + guard).contains(&missing),
                "{what}: {missing}"
            );
        }
    }
    assert!(trades > 200, "{trades}");
    let published = &vectors.published;
    assert!((published["spend_10_at_half_shares"] - 15.8496250072).abs() < 1e-9);
    assert!((published["sell_10_of_three_quarters"] - 5.9632253897).abs() < 1e-9);
}
