//! Laws of the market, checked on random histories of trades and evidence.
#![allow(clippy::unwrap_used)]

use plumbline_market::lmsr::{self, MAX_LIQUIDITY, Maker};
use plumbline_market::settle::{PayoutPlan, payouts, refunds};
use plumbline_market::trade::{Fill, Order, Outcome, Position, Size, TradeError, quote};
use plumbline_market::{Micro, MicroShares, Pi, Probability, apply_evidence};
use proptest::prelude::*;

const TRADERS: usize = 4;

/// What one actor tries to do; refusals are part of a history.
#[derive(Debug, Clone)]
enum Action {
    Order(Order),
    Evidence {
        shift: f64,
        kappa: f64,
        stake: Micro,
    },
    SellAll(Outcome),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Yes), Just(Outcome::No)]
}

fn probability() -> impl Strategy<Value = Probability> {
    (0.005f64..=0.995).prop_map(|p| Probability::new(p).unwrap())
}

/// Liquidity over the whole allowed range, evenly in its logarithm.
fn liquidity() -> impl Strategy<Value = Micro> {
    (3.0f64..14.0).prop_map(|x| {
        Micro::floor_from_f64(10f64.powf(x))
            .unwrap()
            .max(Micro(1_000))
    })
}

/// A size relative to the liquidity, from single micro-shares to more than the market.
fn size(b: Micro) -> impl Strategy<Value = Size> {
    let amount = (0.0f64..1.1).prop_map(move |x| (b.to_f64() * 8.0).powf(x) as i64);
    prop_oneof![
        amount.clone().prop_map(|x| Size::Spend(Micro(x))),
        amount.clone().prop_map(|x| Size::Shares(MicroShares(x))),
        amount.prop_map(|x| Size::Shares(MicroShares(-x))),
        probability().prop_map(Size::Target),
    ]
}

fn action(b: Micro) -> impl Strategy<Value = Action> {
    let order = (outcome(), size(b)).prop_map(|(outcome, size)| {
        Action::Order(Order {
            outcome,
            size,
            limit: None,
        })
    });
    let stake = (0.0f64..1.0).prop_map(move |x| Micro((b.to_f64() * 4.0).powf(x) as i64));
    let evidence =
        (-8.0f64..8.0, 0.0f64..=1.0, stake).prop_map(|(shift, kappa, stake)| Action::Evidence {
            shift,
            kappa,
            stake,
        });
    prop_oneof![6 => order, 2 => evidence, 1 => outcome().prop_map(Action::SellAll)]
}

/// Opening price, liquidity and a history of who does what.
fn history() -> impl Strategy<Value = (Probability, Micro, Vec<(usize, Action)>)> {
    (probability(), liquidity()).prop_flat_map(|(p, b)| {
        let steps = prop::collection::vec((0..TRADERS, action(b)), 1..60);
        (Just(p), Just(b), steps)
    })
}

/// A market with its books, kept the way a store would keep them.
struct Market {
    maker: Maker,
    subsidy: Micro,
    escrow: Micro,
    positions: [Position; TRADERS],
}

impl Market {
    fn open(p: Probability, b: Micro) -> Self {
        let (maker, subsidy) = Maker::open(p, b).unwrap();
        Self {
            maker,
            subsidy,
            escrow: subsidy,
            positions: Default::default(),
        }
    }

    /// Applies the action if it is allowed; says whether anything was booked.
    fn act(&mut self, who: usize, action: &Action) -> bool {
        let position = self.positions[who];
        let (maker, after, cash) = match action {
            Action::Order(order) => match quote(&self.maker, &position, order) {
                Ok(fill) => (fill.maker, fill.position, fill.cash),
                Err(_) => return false,
            },
            Action::Evidence {
                shift,
                kappa,
                stake,
            } => match apply_evidence(&self.maker, &position, *shift, *kappa, *stake) {
                Ok(fill) => {
                    assert!(!fill.locked.is_negative() && fill.locked <= *stake);
                    (fill.maker, fill.position, fill.cash)
                }
                Err(_) => return false,
            },
            Action::SellAll(outcome) => {
                let size = Size::Shares(position.held(*outcome).checked_neg().unwrap());
                match quote(&self.maker, &position, &order(*outcome, size)) {
                    Ok(fill) => (fill.maker, fill.position, fill.cash),
                    Err(_) => return false,
                }
            }
        };
        self.maker = maker;
        self.positions[who] = after;
        self.escrow = self.escrow.checked_add(cash).unwrap();
        true
    }

    fn holders(&self) -> Vec<(usize, Position)> {
        self.positions.iter().copied().enumerate().collect()
    }

    fn settle(&self, pi: Pi) -> PayoutPlan<usize> {
        payouts(&self.holders(), pi, self.subsidy, self.escrow).unwrap()
    }
}

fn order(outcome: Outcome, size: Size) -> Order {
    Order {
        outcome,
        size,
        limit: None,
    }
}

fn total(plan: &PayoutPlan<usize>) -> i64 {
    plan.payouts.iter().map(|row| row.amount.get()).sum::<i64>() + plan.remainder.get()
}

/// A buy that reaches `q`, or `None` where the price is already there.
fn buy_to(maker: &Maker, q: Probability) -> Option<Fill> {
    let outcome = if q > maker.probability() {
        Outcome::Yes
    } else {
        Outcome::No
    };
    match quote(
        maker,
        &Position::default(),
        &order(outcome, Size::Target(q)),
    ) {
        Ok(fill) => Some(fill),
        Err(TradeError::TooSmall | TradeError::AtBound) => None,
        // A target a few ulps away can round to the other side of the price.
        Err(TradeError::InsufficientShares { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn escrow_covers_every_payout_after_every_step((p, b, steps) in history(), pi in 0.0f64..=1.0) {
        let mut market = Market::open(p, b);
        for (who, action) in &steps {
            market.act(*who, action);
            let price = market.maker.probability().get();
            prop_assert!((0.005..=0.995).contains(&price));
            for pi in [Pi::NO, Pi::YES, Pi::new(pi).unwrap()] {
                let plan = market.settle(pi);
                prop_assert!(!plan.remainder.is_negative());
                prop_assert_eq!(total(&plan), market.escrow.get());
            }
            let refund = refunds(&market.holders(), market.subsidy, market.escrow).unwrap();
            prop_assert_eq!(refund.remainder, market.subsidy);
        }
    }

    #[test]
    fn positions_are_netted_and_add_up_to_the_makers((p, b, steps) in history()) {
        let mut market = Market::open(p, b);
        for (who, action) in &steps {
            market.act(*who, action);
        }
        let mut net = 0;
        for position in &market.positions {
            prop_assert!(!position.yes.is_negative() && !position.no.is_negative());
            prop_assert!(position.yes.is_zero() || position.no.is_zero());
            net += position.yes.get() - position.no.get();
        }
        prop_assert_eq!(net, market.maker.net_shares().get());
    }

    #[test]
    fn losses_are_bounded_by_the_subsidy((p, b, steps) in history()) {
        let mut market = Market::open(p, b);
        for (who, action) in &steps {
            market.act(*who, action);
        }
        let bound = lmsr::subsidy(p, b).unwrap();
        for pi in [Pi::NO, Pi::YES] {
            let loss = market.subsidy.get() - market.settle(pi).remainder.get();
            prop_assert!(loss <= bound.get());
        }
    }

    #[test]
    fn a_round_trip_never_profits(p in probability(), b in liquidity(), side in outcome(), x in 0.0f64..1.0) {
        let (maker, _) = Maker::open(p, b).unwrap();
        let shares = MicroShares((b.to_f64() * 4.0).powf(x) as i64);
        let Ok(bought) = quote(&maker, &Position::default(), &order(side, Size::Shares(shares)))
            else { return Ok(()) };
        let back = Size::Shares(bought.position.held(side).checked_neg().unwrap());
        let sold = quote(&bought.maker, &bought.position, &order(side, back)).unwrap();
        prop_assert!(!sold.position.net_cost.is_negative());
        // And it costs no more than the declared rounding: a micro-credit and the guard a trade.
        let rounding = 2.0 + 1e-13 * bought.cost.to_f64();
        prop_assert!(sold.position.net_cost.to_f64() <= rounding);
        prop_assert_eq!(sold.maker, maker);
    }

    #[test]
    fn splitting_changes_only_rounding(
        p in probability(),
        b in liquidity(),
        side in outcome(),
        parts in prop::collection::vec(0.0f64..0.6, 2..20),
    ) {
        let (maker, _) = Maker::open(p, b).unwrap();
        let (mut split, mut cost, mut sum, mut count) = (maker, 0, 0, 0);
        for part in parts {
            let shares = MicroShares(b.to_f64().powf(part) as i64);
            let asked = order(side, Size::Shares(shares));
            let Ok(fill) = quote(&split, &Position::default(), &asked) else { break };
            split = fill.maker;
            cost += fill.cost.get();
            sum += fill.position.held(side).get();
            count += 1;
        }
        prop_assume!(count > 0);
        let whole = order(side, Size::Shares(MicroShares(sum)));
        let whole = quote(&maker, &Position::default(), &whole).unwrap();
        prop_assert_eq!(whole.maker, split);
        let extra = (cost - whole.cost.get()) as f64;
        // Against the trader (but for the guard on the whole), a micro-credit a part at most.
        let guard = 1e-13 * cost as f64;
        prop_assert!(extra >= -1.0 - guard && extra <= f64::from(count) + guard, "{}", extra);
    }

    #[test]
    fn payoffs_telescope(
        b in 1e3f64..1e14,
        path in prop::collection::vec(0.005f64..=0.995, 2..12),
        pi in 0.0f64..=1.0,
    ) {
        let steps: f64 = path.windows(2).map(|pair| lmsr::payoff(pair[0], pair[1], pi, b)).sum();
        let whole = lmsr::payoff(path[0], path[path.len() - 1], pi, b);
        prop_assert!((steps - whole).abs() <= 1e-12 * b * path.len() as f64);
        for pair in path.windows(2) {
            let worst = [0.0, 1.0].map(|pi| lmsr::payoff(pair[0], pair[1], pi, b));
            let collateral = lmsr::collateral(pair[0], pair[1], b);
            prop_assert!((worst[0].min(worst[1]) + collateral).abs() <= 1e-12 * b);
        }
    }

    #[test]
    fn shares_less_cost_are_the_payoff(
        p in probability(), q in probability(), b in liquidity(), pi in 0.0f64..=1.0,
    ) {
        let (maker, _) = Maker::open(p, b).unwrap();
        let Some(fill) = buy_to(&maker, q) else { return Ok(()) };
        let (from, to) = (maker.log_odds().get(), fill.maker.log_odds().get());
        let b = b.to_f64();
        let moved = lmsr::payoff(from.exp() / (1.0 + from.exp()), to.exp() / (1.0 + to.exp()), pi, b);
        let error = moved - fill.earnings_at(pi);
        prop_assert!((-1e-11 * b..=1.0 + 1e-11 * b).contains(&error), "{}", error);
    }

    #[test]
    fn evidence_is_the_trade_of_the_same_move(
        p in probability(), b in liquidity(), shift in -6.0f64..6.0, kappa in 0.0f64..=1.0,
    ) {
        let (maker, _) = Maker::open(p, b).unwrap();
        let none = Position::default();
        let evidence = apply_evidence(&maker, &none, shift, kappa, Micro::MAX).unwrap();
        let side = if shift > 0.0 { Outcome::Yes } else { Outcome::No };
        let shares = MicroShares(evidence.yes.get() + evidence.no.get());
        prop_assume!(!shares.is_zero());
        let trade = quote(&maker, &none, &order(side, Size::Shares(shares))).unwrap();
        prop_assert_eq!(trade.maker, evidence.maker);
        prop_assert_eq!(trade.position, evidence.position);
        prop_assert_eq!(trade.cost, evidence.locked);
    }

    #[test]
    fn spending_stays_within_the_budget_and_uses_it(
        p in probability(), b in liquidity(), side in outcome(), x in 0.0f64..1.0,
    ) {
        let (maker, _) = Maker::open(p, b).unwrap();
        let budget = Micro((b.to_f64() * 4.0).powf(x) as i64);
        let asked = order(side, Size::Spend(budget));
        let Ok(fill) = quote(&maker, &Position::default(), &asked) else { return Ok(()) };
        prop_assert!(fill.cost <= budget);
        if !fill.truncated {
            // One more micro-share would not have fitted.
            let more = MicroShares(fill.position.held(side).get() + 1);
            if let Ok(next) = quote(&maker, &Position::default(), &order(side, Size::Shares(more))) {
                prop_assert!(next.truncated || next.cost > budget);
            }
        }
    }
}

#[test]
fn ten_thousand_tiny_trades_farm_nothing() {
    for shares in [1, 2, 3, 7] {
        let (mut maker, _) =
            Maker::open(Probability::new(0.37).unwrap(), Micro(50_000_000)).unwrap();
        let mut position = Position::default();
        for trade in 0..10_000 {
            // Buys and sales, and buys of the other side, which net.
            let (side, shares) = match trade % 4 {
                0 => (Outcome::Yes, shares),
                1 => (Outcome::Yes, -shares),
                2 => (Outcome::No, shares),
                _ => (Outcome::Yes, shares),
            };
            let asked = order(side, Size::Shares(MicroShares(shares)));
            let fill = quote(&maker, &position, &asked).unwrap();
            (maker, position) = (fill.maker, fill.position);
            assert!(!position.net_cost.is_negative());
        }
        for pi in [Pi::NO, Pi::YES] {
            assert!(position.payout(pi).unwrap() <= position.net_cost);
        }
    }
}

#[test]
fn the_largest_market_is_exact_at_its_bounds() {
    let mut market = Market::open(Probability::HALF, MAX_LIQUIDITY);
    for step in 0..200 {
        let side = if step % 2 == 0 {
            Outcome::Yes
        } else {
            Outcome::No
        };
        let all = Action::Order(order(side, Size::Shares(MicroShares::MAX)));
        assert!(market.act(step % TRADERS, &all));
        for pi in [Pi::NO, Pi::YES] {
            assert_eq!(total(&market.settle(pi)), market.escrow.get());
        }
    }
}

#[test]
fn manipulation_costs_the_divergence() {
    let p = |p| Probability::new(p).unwrap();
    let b = Micro(1_000_000_000);
    let cost = lmsr::manipulation_cost(p(0.9), p(0.2), b).unwrap();
    // Selling the truth .9 down to .2 earns minus b·KL(.9‖.2) in expectation.
    let expected = 0.9 * lmsr::payoff(0.9, 0.2, 1.0, b.to_f64())
        + 0.1 * lmsr::payoff(0.9, 0.2, 0.0, b.to_f64());
    assert!((cost.to_f64() + expected).abs() <= 1.0);
    assert_eq!(lmsr::manipulation_cost(p(0.4), p(0.4), b), Ok(Micro::ZERO));
}
