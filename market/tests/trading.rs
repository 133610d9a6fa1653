//! Fees, resting orders and costs of manipulation: against independent high-precision values
//! (`data/trading.py` makes them), the facts of public implementations, and laws on random histories.
#![allow(clippy::unwrap_used)]

use plumbline_market::fees::{FeeSchedule, quote_with_fees};
use plumbline_market::lmsr::{self, Maker};
use plumbline_market::orders::{Resting, Run, Side, Want, min_reach, next_side, rank, run};
use plumbline_market::settle::payouts;
use plumbline_market::trade::{Order, Outcome, Position, Size, quote};
use plumbline_market::{Micro, MicroShares, Pi, Probability};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    fees: Vec<FeeRow>,
    runs: Vec<RunRow>,
    costs: Vec<CostRow>,
}

#[derive(Deserialize)]
struct FeeRow {
    trade_bps: u16,
    creator_bps: u16,
    amount: i64,
    trade_fee: i64,
    creator_fee: i64,
    within: i64,
}

#[derive(Deserialize)]
struct RunRow {
    p: f64,
    limit: f64,
    liquidity: i64,
    shares: i64,
    reached: f64,
    buy_yes: i64,
    sell_no: i64,
}

#[derive(Deserialize)]
struct CostRow {
    p: f64,
    threshold: f64,
    liquidity: i64,
    cost: i64,
    expected_loss: f64,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("data/trading.json")).unwrap()
}

fn p(x: f64) -> Probability {
    Probability::new(x).unwrap()
}

#[test]
fn fees_match_exact_rationals() {
    for row in vectors().fees {
        let schedule = FeeSchedule::new(row.trade_bps, row.creator_bps).unwrap();
        for sign in [1, -1] {
            let fees = schedule.on(Micro(sign * row.amount)).unwrap();
            assert_eq!(
                (fees.trade.get(), fees.creator.get()),
                (row.trade_fee, row.creator_fee),
                "{} at {schedule:?}",
                row.amount
            );
        }
        let within = schedule.within(Micro(row.amount)).unwrap().get();
        assert_eq!(within, row.within, "{} at {schedule:?}", row.amount);
    }
}

#[test]
fn runs_to_a_limit_match_high_precision_values() {
    for row in vectors().runs {
        let (maker, _) = Maker::open(p(row.p), Micro(row.liquidity)).unwrap();
        let at = format!("{} to {} with {}", row.p, row.limit, row.liquidity);
        let holding = Position {
            yes: MicroShares(0),
            no: MicroShares(2 * row.shares),
            net_cost: Micro(1),
        };
        for (outcome, want, expected) in [
            (
                Outcome::Yes,
                Want::Spend(Micro(row.buy_yes * 2)),
                row.buy_yes,
            ),
            (
                Outcome::No,
                Want::Sell(MicroShares(2 * row.shares)),
                -row.sell_no,
            ),
        ] {
            let order = Resting::new(outcome, p(row.limit), want, &FeeSchedule::NONE).unwrap();
            let Ok(Run::Filled(fill)) = run(&maker, &holding, &order, &FeeSchedule::NONE) else {
                panic!("{at}: runs");
            };
            let shares = fill.fill.yes.get() + fill.fill.no.get();
            assert!((shares.abs() - row.shares).abs() <= 1, "{at}: {shares}");
            let cost = fill.fill.cost.get();
            assert!(
                (cost - expected).abs() <= 2,
                "{at}: {cost} is not {expected}"
            );
            assert!(cost >= expected - 1, "{at}: rounded against the trader");
            let reached = fill.fill.to.probability.get();
            assert!((reached - row.reached).abs() < 1e-7, "{at}: {reached}");
        }
    }
}

#[test]
fn costs_of_manipulation_match_high_precision_values() {
    for row in vectors().costs {
        let b = Micro(row.liquidity);
        let cost = lmsr::manipulation_cost(p(row.p), p(row.threshold), b).unwrap();
        let at = format!("{} to {} with {}", row.p, row.threshold, row.liquidity);
        assert!(
            (cost.get() - row.cost).abs() <= 1,
            "{at}: {cost} is not {}",
            row.cost
        );
        let (from, to) = (row.p, row.threshold);
        let loss = -lmsr::payoff(from, to, from, b.to_f64());
        let error = (loss - row.expected_loss).abs();
        assert!(
            error <= 1e-9 * b.to_f64(),
            "{at}: {loss} is not {}",
            row.expected_loss
        );
    }
}

/// The facts of public implementations, as trades of the integer market rather than formulas.
#[test]
fn published_cases_as_trades() {
    // b = 14.4269504088, two outcomes at one half, spend 10: 15.8496250072 shares, price 0.75.
    let (maker, _) = Maker::open(Probability::HALF, Micro(14_426_950)).unwrap();
    let order = |outcome, size| Order {
        outcome,
        size,
        limit: None,
    };
    let nothing = Position::default();
    let fill = quote(
        &maker,
        &nothing,
        &order(Outcome::Yes, Size::Spend(Micro(10_000_000))),
    )
    .unwrap();
    assert!((fill.yes.to_f64() / 1e6 - 15.849_625_007_2).abs() < 2e-6);
    assert!((fill.to.probability.get() - 0.75).abs() < 1e-7);
    // Moves at b = 10: .1 to .9 for 21.9722457734, .3 to .4 for 1.5415067983.
    for (from, to, cost) in [(0.1, 0.9, 21.972_245_773_4), (0.3, 0.4, 1.541_506_798_3)] {
        let (maker, _) = Maker::open(p(from), Micro(10_000_000)).unwrap();
        let fill = quote(&maker, &nothing, &order(Outcome::Yes, Size::Target(p(to)))).unwrap();
        assert!(
            (fill.cost.to_f64() / 1e6 - cost).abs() < 2e-6,
            "{from} to {to}"
        );
    }
    // Prices ¼ and ¾, b = 10/ln 4, sell 10 of the dearer: 5.9632253897; prices .5714 and .4286.
    let (maker, _) = Maker::open(p(0.75), Micro(7_213_475)).unwrap();
    let held = Position {
        yes: MicroShares(10_000_000),
        ..nothing
    };
    let sale = order(Outcome::Yes, Size::Shares(MicroShares(-10_000_000)));
    let fill = quote(&maker, &held, &sale).unwrap();
    assert!((-fill.cost.to_f64() / 1e6 - 5.963_225_389_7).abs() < 2e-6);
    assert!((fill.to.probability.get() - 0.428_571_428_6).abs() < 1e-6);
    // Log score moves at b = 1, settled at .8: +.1857426504 and −.3090631942 per unit.
    for (from, to, earned) in [(0.5, 0.75, 0.185_742_650_4), (0.7, 0.4, -0.309_063_194_2)] {
        let (maker, _) = Maker::open(p(from), Micro(1_000_000)).unwrap();
        let outcome = if to > from { Outcome::Yes } else { Outcome::No };
        let fill = quote(&maker, &nothing, &order(outcome, Size::Target(p(to)))).unwrap();
        assert!(
            (fill.earnings_at(0.8) / 1e6 - earned).abs() < 3e-6,
            "{from} to {to}"
        );
    }
}

/// A market with resting orders, kept the way a store would keep them.
struct Book {
    maker: Maker,
    schedule: FeeSchedule,
    subsidy: Micro,
    escrow: i64,
    fees: i64,
    cash: Vec<i64>,
    positions: Vec<Position>,
    resting: Vec<(Resting, i64, usize)>,
    placed: i64,
}

const TRADERS: usize = 4;
const CASH: i64 = 1_000_000_000_000;

impl Book {
    fn open(at: Probability, b: Micro, schedule: FeeSchedule) -> Self {
        let (maker, subsidy) = Maker::open(at, b).unwrap();
        Self {
            maker,
            schedule,
            subsidy,
            escrow: subsidy.get(),
            fees: 0,
            cash: vec![CASH; TRADERS],
            positions: vec![Position::default(); TRADERS],
            resting: Vec::new(),
            placed: 0,
        }
    }

    fn trade(&mut self, who: usize, order: &Order) {
        let Ok(priced) = quote_with_fees(&self.maker, &self.positions[who], order, &self.schedule)
        else {
            return;
        };
        self.cash[who] -= priced.due().unwrap().get();
        self.escrow += priced.fill.cash.get();
        self.fees += priced.fees.total().unwrap().get();
        self.maker = priced.fill.maker;
        self.positions[who] = priced.fill.position;
    }

    fn place(&mut self, who: usize, outcome: Outcome, limit: Probability, want: Want) {
        if let Ok(order) = Resting::new(outcome, limit, want, &self.schedule) {
            self.cash[who] -= order.reserve.get();
            self.placed += 1;
            self.resting.push((order, self.placed, who));
        }
    }

    fn best(&self, side: Side) -> Option<usize> {
        let of_side = (0..self.resting.len()).filter(|i| self.resting[*i].0.side() == side);
        of_side.min_by(|a, b| {
            let key = |i: usize| (&self.resting[i].0, self.resting[i].1);
            rank(key(*a), key(*b))
        })
    }

    /// Runs orders until none can; fails if that takes too long.
    fn follow(&mut self) {
        for _ in 0..20_000 {
            let key = |i: Option<usize>| i.map(|i| (&self.resting[i].0, self.resting[i].1));
            let (up, down) = (self.best(Side::Up), self.best(Side::Down));
            let Some(first) = next_side(&self.maker, key(up), key(down)) else {
                return;
            };
            let turns = if first == Side::Up {
                [up, down]
            } else {
                [down, up]
            };
            if !turns.into_iter().flatten().any(|i| self.run_one(i)) {
                return;
            }
        }
        panic!("orders run for ever");
    }

    /// Whether the order ran or ended.
    fn run_one(&mut self, i: usize) -> bool {
        let (order, seq, who) = self.resting[i];
        match run(&self.maker, &self.positions[who], &order, &self.schedule).unwrap() {
            Run::Waits => false,
            Run::Spent => {
                self.cash[who] += order.reserve.get();
                self.resting.remove(i);
                true
            }
            Run::Filled(filled) => {
                self.check_run(&order, &filled.fill.to.probability, filled.done);
                self.cash[who] += filled.to_account.get();
                self.escrow += filled.fill.cash.get();
                self.fees += filled.fees.total().unwrap().get();
                self.maker = filled.fill.maker;
                self.positions[who] = filled.fill.position;
                if filled.done {
                    self.cash[who] += filled.rest.reserve.get();
                    self.resting.remove(i);
                } else {
                    let left = self.maker;
                    let ahead = filled.rest.ahead(&left) * left.liquidity().to_f64();
                    assert!(ahead < 1.0, "not exhausted, and not at its limit: {ahead}");
                    self.resting[i] = (filled.rest, seq, who);
                }
                true
            }
        }
    }

    fn check_run(&self, order: &Resting, reached: &Probability, _done: bool) {
        let past = match order.side() {
            Side::Up => reached.get() - order.limit.get(),
            Side::Down => order.limit.get() - reached.get(),
        };
        assert!(past <= 1e-9, "past its limit by {past}");
    }

    fn check(&self) {
        let reserved: i64 = self
            .resting
            .iter()
            .map(|(order, ..)| order.reserve.get())
            .sum();
        let all = self.cash.iter().sum::<i64>() + reserved + self.escrow + self.fees;
        let begun = CASH * TRADERS as i64 + self.subsidy.get();
        assert_eq!(all, begun, "money is neither made nor lost");
        let holders: Vec<_> = self.positions.iter().copied().enumerate().collect();
        for pi in [Pi::NO, Pi::YES, Pi::new(0.37).unwrap()] {
            let plan = payouts(&holders, pi, self.subsidy, Micro(self.escrow)).unwrap();
            assert!(!plan.remainder.is_negative(), "the loss bound holds");
        }
        // After matching, no best order has a way left that is worth running for.
        for side in [Side::Up, Side::Down] {
            if let Some(i) = self.best(side) {
                let ahead = self.resting[i].0.ahead(&self.maker);
                let reach = ahead * self.maker.liquidity().to_f64();
                let room = match side {
                    Side::Up => Probability::MAX,
                    Side::Down => Probability::MIN,
                };
                let at_bound = (self.maker.probability().get() - room.get()).abs() < 1e-6;
                let least = min_reach(self.maker.liquidity()).get() as f64;
                assert!(
                    reach < least + 1.0 || at_bound,
                    "{reach} is left of an order"
                );
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Trade(usize, Order),
    Place(usize, Outcome, Probability, Want),
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Yes), Just(Outcome::No)]
}

fn any_probability() -> impl Strategy<Value = Probability> {
    (0.005f64..=0.995).prop_map(p)
}

fn any_act() -> impl Strategy<Value = Act> {
    let amount = || (3.0f64..8.7).prop_map(|x| 10f64.powf(x) as i64);
    let size = prop_oneof![
        amount().prop_map(|x| Size::Spend(Micro(x))),
        amount().prop_map(|x| Size::Shares(MicroShares(-x))),
        any_probability().prop_map(Size::Target),
    ];
    let want = prop_oneof![
        3 => amount().prop_map(|x| Want::Spend(Micro(x))),
        1 => amount().prop_map(|x| Want::Sell(MicroShares(x))),
    ];
    let trade = (0..TRADERS, any_outcome(), size).prop_map(|(who, outcome, size)| {
        Act::Trade(
            who,
            Order {
                outcome,
                size,
                limit: None,
            },
        )
    });
    let place = (0..TRADERS, any_outcome(), any_probability(), want)
        .prop_map(|(who, outcome, limit, want)| Act::Place(who, outcome, limit, want));
    prop_oneof![trade, place]
}

fn any_schedule() -> impl Strategy<Value = FeeSchedule> {
    prop_oneof![
        Just(FeeSchedule::NONE),
        (0u16..=500, 0u16..=500).prop_map(|(a, b)| FeeSchedule::new(a, b).unwrap())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn orders_keep_every_law(
        at in any_probability(),
        b in 1_000_000i64..400_000_000,
        schedule in any_schedule(),
        acts in prop::collection::vec(any_act(), 1..40),
    ) {
        let mut book = Book::open(at, Micro(b), schedule);
        for act in &acts {
            match act {
                Act::Trade(who, order) => book.trade(*who, order),
                Act::Place(who, outcome, limit, want) => book.place(*who, *outcome, *limit, *want),
            }
            book.follow();
            book.check();
        }
    }

    /// Whoever owns the market and all its traders makes nothing by trading in circles, whatever the
    /// fee that comes back to them.
    #[test]
    fn wash_trading_never_pays_the_creator(
        at in any_probability(),
        b in 1_000_000i64..400_000_000,
        schedule in any_schedule(),
        path in prop::collection::vec((0..TRADERS, any_probability()), 1..30),
        pi in 0.0f64..=1.0,
    ) {
        let mut book = Book::open(at, Micro(b), schedule);
        let target = |to: Probability, maker: &Maker| Order {
            outcome: if to > maker.probability() { Outcome::Yes } else { Outcome::No },
            size: Size::Target(to),
            limit: None,
        };
        let (mut creator_fees, mut moved) = (0, 0);
        for (who, to) in path.iter().copied().chain([(0, at)]) {
            let order = target(to, &book.maker);
            if let Ok(priced) =
                quote_with_fees(&book.maker, &book.positions[who], &order, &schedule)
            {
                creator_fees += priced.fees.creator.get();
                moved += 1;
            }
            book.trade(who, &order);
        }
        let pi = Pi::new(pi).unwrap();
        let paid: i64 = book.positions.iter().map(|one| one.payout(pi).unwrap().get()).sum();
        let gain = book.cash.iter().sum::<i64>() + paid + creator_fees - CASH * TRADERS as i64;
        // Back at the opening price up to one micro-share, whose worth is at most a micro-credit.
        prop_assert!(gain <= 1, "{gain} after {moved} trades");
    }
}
