//! Markets of several outcomes: prices, costs, holdings and what each outcome pays, recomputed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::books::Books;
use crate::double::Double;
use crate::facts::Facts;
use crate::pricing::Bounds;
use crate::record::OutcomeTrade;
use crate::report::Report;
use crate::settlement::Claims;

/// What an engine's cost may exceed the exact one by, as a part of it: its guard of 10⁻¹³ and the
/// error of its doubles.
const ENGINE_ERROR: f64 = 2e-13;
/// What a stated price may differ from the exact one by, as a part of it.
const PRICE_ERROR: f64 = 1e-12;
/// Price below which no outcome falls, and the room that doubles need below it.
const LEAST_PRICE: f64 = 1e-9 * (1.0 - 1e-6);
/// `logit(0.995)`: the market's row holds the first outcome's log-odds within it.
const MOST_LOG_ODDS: f64 = 5.293_304_824_724_492;
/// Parts of the whole in which a settlement is held.
const BILLION: i128 = 1_000_000_000;

/// What an account holds, as its trades make it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    shares: Vec<i64>,
    net_cost: i64,
}

impl Holding {
    fn locked(&self) -> i64 {
        self.net_cost.max(0)
    }

    fn banked(&self) -> i64 {
        self.net_cost.saturating_neg().max(0)
    }
}

/// The exact prices and costs of a market: opening prices, liquidity, shares sold.
struct Pricing {
    opening: Vec<f64>,
    liquidity: i64,
    shares: Vec<i64>,
}

impl Pricing {
    /// `p⁰_i e^((q_i−q_min)/b)`, and their sum.
    fn weights(&self) -> (Vec<Double>, Double) {
        let least = self.shares.iter().copied().min().unwrap_or(0);
        let b = Double::of_integer(self.liquidity);
        let weight = |(price, shares): (&f64, &i64)| {
            Double::of(*price) * (Double::of_integer(shares - least) / b).exp()
        };
        let weights: Vec<Double> = self.opening.iter().zip(&self.shares).map(weight).collect();
        let sum = weights.iter().fold(Double::ZERO, |sum, one| sum + *one);
        (weights, sum)
    }

    /// `price_i = p⁰_i e^(q_i/b) / Σ p⁰_j e^(q_j/b)`.
    fn prices(&self) -> Vec<f64> {
        let (weights, sum) = self.weights();
        weights
            .into_iter()
            .map(|one| (one / sum).to_f64())
            .collect()
    }

    /// `b ln(1 + p_i (e^(s/b) − 1))`: the cost of `shares` of an outcome.
    fn cost(&self, outcome: usize, shares: i64) -> Bounds {
        let (weights, sum) = self.weights();
        let b = Double::of_integer(self.liquidity);
        let price = weights[outcome] / sum;
        let grown = (Double::of_integer(shares) / b).exp() - Double::ONE;
        Bounds::new(b * (Double::ONE + price * grown).ln(), ENGINE_ERROR)
    }

    /// `b ln(Σ p⁰ / min p⁰)`: the most the market can lose.
    fn subsidy(&self) -> Bounds {
        let sum = self
            .opening
            .iter()
            .fold(Double::ZERO, |sum, p| sum + Double::of(*p));
        let least = self.opening.iter().copied().fold(1.0, f64::min);
        let b = Double::of_integer(self.liquidity);
        Bounds::new(b * (sum / Double::of(least)).ln(), ENGINE_ERROR)
    }
}

/// Checks a market of several outcomes up to its settlement; gives back what everybody is due.
pub(crate) fn check(books: &Books<'_>, facts: &mut Facts, report: &mut Report) -> Claims {
    let market = books.market;
    let mut pricing = Pricing {
        opening: books.outcomes.iter().map(|row| row.opening_price).collect(),
        liquidity: market.liquidity_micro.max(1),
        shares: vec![0; books.outcomes.len()],
    };
    check_opening(books, &pricing, facts, report);
    let holdings = replay(books, &mut pricing, facts, report);
    check_end(books, &pricing, report);
    compare(books, &holdings, report);
    let pi = check_settlement(books, report);
    let mut claims = Claims::default();
    for (account, held) in holdings {
        let paid = pi.as_ref().map(|pi| {
            let parts = held.shares.iter().zip(pi);
            let value: i128 = parts.map(|(s, part)| i128::from(*s) * part).sum();
            value.div_euclid(BILLION) + i128::from(held.banked())
        });
        claims.add(account, held.locked(), paid);
    }
    claims
}

fn check_opening(books: &Books<'_>, pricing: &Pricing, facts: &mut Facts, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    let n = books.outcomes.len();
    report.require((3..=64).contains(&n), &place, || {
        format!("has {n} outcomes")
    });
    let places: Vec<i64> = books.outcomes.iter().map(|row| row.ordinal).collect();
    report.require(places.iter().copied().eq(0..n as i64), &place, || {
        format!("its outcomes have the places {places:?}")
    });
    let names: BTreeSet<&str> = books.outcomes.iter().map(|row| row.name.as_str()).collect();
    report.require(names.len() == n, &place, || "has a name twice".to_owned());
    let sum: f64 = pricing.opening.iter().sum();
    report.require((sum - 1.0).abs() <= 1e-6, &place, || {
        format!("its opening prices sum to {sum}")
    });
    let floor = 0.01 / n.max(1) as f64 * (1.0 - 1e-9);
    let open = pricing.opening.iter().all(|price| *price >= floor);
    report.require(open, &place, || "opened below its floor".to_owned());
    let in_range = (1_000..=100_000_000_000_000).contains(&market.liquidity_micro);
    report.require(in_range, &place, || {
        format!("its liquidity is {}", market.liquidity_micro)
    });
    let subsidy = pricing.subsidy();
    report.require(subsidy.admit(market.subsidy_micro), &place, || {
        let (stated, exact) = (market.subsidy_micro, subsidy.exact());
        format!("the subsidy is {stated}, exactly {exact}")
    });
    let escrow = format!("escrow-{}", market.id);
    report.agree(&place, "the escrow", &market.escrow_id, &escrow);
    let binary = books.trades.len() + books.evidence.len();
    report.require(binary == 0, &place, || {
        "has trades or evidence of a market with yes and no".to_owned()
    });
    facts.due("subsidy", &market.id, "treasury", -market.subsidy_micro);
    facts.due("subsidy", &market.id, &escrow, market.subsidy_micro);
    facts.happened("subsidy", &market.id, market.opened_at);
}

/// Runs the trades in their order: prices, cost, holding and cash of each.
fn replay(
    books: &Books<'_>,
    pricing: &mut Pricing,
    facts: &mut Facts,
    report: &mut Report,
) -> BTreeMap<String, Holding> {
    let market = books.market;
    let mut holdings: BTreeMap<String, Holding> = BTreeMap::new();
    let mut points = books.prices.iter();
    check_point(
        books,
        points.next().copied(),
        None,
        &pricing.opening,
        report,
    );
    let (mut last_at, mut last_seq) = (market.opened_at, i64::MIN);
    for trade in &books.outcome_trades {
        report.count("trades");
        let place = format!("outcome_trades {}", trade.seq);
        let in_order = trade.seq > last_seq && trade.at >= last_at;
        report.require(in_order, &place, || "is out of its place".to_owned());
        (last_at, last_seq) = (trade.at, trade.seq);
        let Some(outcome) = usize::try_from(trade.ordinal)
            .ok()
            .filter(|n| *n < pricing.shares.len())
        else {
            report.violation(place, "is of an outcome that there is not");
            continue;
        };
        let empty = || Holding {
            shares: vec![0; pricing.shares.len()],
            net_cost: 0,
        };
        let held = holdings
            .entry(trade.account_id.clone())
            .or_insert_with(empty);
        let before = held.locked();
        check_trade(trade, outcome, pricing, held, &place, report);
        let cash = held.locked() - before;
        facts.due("trade", &trade.id, &trade.account_id, -cash);
        facts.due("trade", &trade.id, &market.escrow_id, cash);
        facts.happened("trade", &trade.id, trade.at);
        check_point(
            books,
            points.next().copied(),
            Some(trade),
            &pricing.prices(),
            report,
        );
    }
    report.require(points.next().is_none(), &books.place(), || {
        "has more prices than trades".to_owned()
    });
    holdings
}

/// One trade's own numbers; moves the market and the holding.
fn check_trade(
    trade: &OutcomeTrade,
    outcome: usize,
    pricing: &mut Pricing,
    held: &mut Holding,
    place: &str,
    report: &mut Report,
) {
    let close = |stated: f64, exact: f64| (stated - exact).abs() <= PRICE_ERROR * exact;
    let before = pricing.prices()[outcome];
    report.require(close(trade.price_before, before), place, || {
        format!(
            "the price before is {}, exactly {before}",
            trade.price_before
        )
    });
    let cost = pricing.cost(outcome, trade.shares_micro);
    report.require(cost.admit(trade.cost_micro), place, || {
        format!("costs {}, exactly {}", trade.cost_micro, cost.exact())
    });
    held.shares[outcome] = held.shares[outcome].saturating_add(trade.shares_micro);
    report.require(held.shares[outcome] >= 0, place, || {
        "sells more than is held".to_owned()
    });
    let sets = held.shares.iter().copied().min().unwrap_or(0).max(0);
    report.agree(place, "the complete sets", trade.sets_micro, sets);
    held.shares.iter_mut().for_each(|shares| *shares -= sets);
    let paid = held.net_cost.saturating_add(trade.cost_micro);
    held.net_cost = paid.saturating_sub(sets);
    pricing.shares[outcome] = pricing.shares[outcome].saturating_add(trade.shares_micro);
    pricing.shares.iter_mut().for_each(|shares| *shares -= sets);
    let after = pricing.prices();
    report.require(close(trade.price_after, after[outcome]), place, || {
        format!(
            "the price after is {}, exactly {}",
            trade.price_after, after[outcome]
        )
    });
    let stated: Vec<f64> = serde_json::from_str(&trade.prices).unwrap_or_default();
    let all = stated.len() == after.len()
        && stated
            .iter()
            .zip(&after)
            .all(|(stated, exact)| close(*stated, *exact));
    report.require(all, place, || {
        format!("the prices are {stated:?}, exactly {after:?}")
    });
    report.require(
        after.iter().all(|price| *price >= LEAST_PRICE),
        place,
        || format!("leaves a price out of bounds: {after:?}"),
    );
}

/// A point of the price history: the first outcome's log-odds, within the bounds of a row.
fn check_point(
    books: &Books<'_>,
    point: Option<&crate::record::Price>,
    trade: Option<&OutcomeTrade>,
    prices: &[f64],
    report: &mut Report,
) {
    let Some(point) = point else {
        report.violation(books.place(), "has fewer prices than trades");
        return;
    };
    report.count("prices");
    let place = format!("prices {}", point.seq);
    let id = trade.map(|trade| trade.id.as_str());
    report.agree(&place, "the reference", point.reference.as_deref(), id);
    let at = trade.map_or(books.market.opened_at, |trade| trade.at);
    report.agree(&place, "the time", point.at, at);
    let exact = first_log_odds(prices);
    report.require((point.log_odds - exact).abs() <= 1e-9, &place, || {
        format!("the log-odds are {}, exactly {exact}", point.log_odds)
    });
}

fn first_log_odds(prices: &[f64]) -> f64 {
    let first = prices.first().copied().unwrap_or(0.5);
    (first.ln() - (-first).ln_1p()).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)
}

/// Where the market stands after its last trade.
fn check_end(books: &Books<'_>, pricing: &Pricing, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    for (row, shares) in books.outcomes.iter().zip(&pricing.shares) {
        report.count("outcomes");
        let place = format!("market_outcomes {}/{}", row.market_id, row.ordinal);
        report.agree(&place, "the shares sold", row.shares_micro, *shares);
    }
    let exact = first_log_odds(&pricing.prices());
    report.require((market.log_odds - exact).abs() <= 1e-9, &place, || {
        format!("the log-odds are {}, exactly {exact}", market.log_odds)
    });
    let trades = books.outcome_trades.len() as i64;
    report.agree(&place, "the number of trades", market.trades, trades);
    report.agree(&place, "the net shares", market.net_shares_micro, 0);
}

/// The stated positions and holdings are the recomputed ones.
fn compare(books: &Books<'_>, holdings: &BTreeMap<String, Holding>, report: &mut Report) {
    let mut stated: BTreeMap<&str, Holding> = BTreeMap::new();
    for row in &books.positions {
        report.count("positions");
        let place = format!("positions {}/{}", row.market_id, row.account_id);
        let none = row.yes_micro == 0 && row.no_micro == 0;
        report.require(none, &place, || "has shares of yes or no".to_owned());
        let holding = Holding {
            shares: vec![0; books.outcomes.len()],
            net_cost: row.cost_micro,
        };
        let new = stated.insert(&row.account_id, holding).is_none();
        report.require(new, &place, || "is there twice".to_owned());
    }
    for row in &books.outcome_holdings {
        let place = format!(
            "outcome_holdings {}/{}/{}",
            row.market_id, row.account_id, row.ordinal
        );
        let holding = stated.get_mut(row.account_id.as_str());
        let slot = holding.and_then(|held| held.shares.get_mut(usize::try_from(row.ordinal).ok()?));
        match slot {
            Some(slot) => *slot = row.shares_micro,
            None => report.violation(place, "is of no position or no outcome"),
        }
    }
    for (account, held) in holdings {
        let place = format!("positions {}/{account}", books.market.id);
        report.agree(
            &place,
            "the position",
            stated.remove(account.as_str()).as_ref(),
            Some(held),
        );
    }
    for account in stated.keys() {
        report.violation(
            format!("positions {}/{account}", books.market.id),
            "never traded",
        );
    }
}

/// What the outcomes pay, in billionths, once the settlement stands: on the simplex, the first one
/// as the market's row says, and as the verdict of the test gives it.
fn check_settlement(books: &Books<'_>, report: &mut Report) -> Option<Vec<i128>> {
    let (market, place) = (books.market, books.place());
    let first = market.settlement?;
    let parts: Vec<i64> = books
        .outcomes
        .iter()
        .map(|row| row.pi_billionths.unwrap_or(-1))
        .collect();
    let sum: i128 = parts.iter().map(|part| i128::from(*part)).sum();
    let whole = parts.iter().all(|part| *part >= 0) && sum == BILLION;
    report.require(whole, &place, || format!("its outcomes pay {parts:?}"));
    let stated = (first * 1e9).round() as i64;
    report.agree(
        &place,
        "what the first outcome pays",
        parts.first(),
        Some(&stated),
    );
    if let Some(winners) = winners(books) {
        let share = BILLION / winners.len().max(1) as i128;
        for (row, part) in books.outcomes.iter().zip(&parts) {
            let won = winners.contains(row.name.as_str());
            let due = if won { share } else { 0 };
            // Billionths that do not divide go to the first winners, one each.
            let extra = i128::from(*part) - due;
            let right = extra == 0 || (won && extra == 1);
            report.require(right, &place, || {
                format!("'{}' pays {part}, due is {due}", row.name)
            });
        }
    }
    Some(parts.into_iter().map(i128::from).collect())
}

/// The outcomes that won by the stated verdict: the decisive candidates, or `none`.
fn winners(books: &Books<'_>) -> Option<BTreeSet<String>> {
    let read = |text: Option<&String>| -> Option<Value> { serde_json::from_str(text?).ok() };
    let statistics = read(books.market.statistics.as_ref())?;
    let plan = read(books.market.plan.as_ref())?;
    let (arms, candidates) = (
        statistics["arms"].as_array()?,
        plan["candidates"].as_array()?,
    );
    let mut winners: BTreeSet<String> = arms
        .iter()
        .zip(candidates)
        .filter(|(arm, _)| arm["decisive"] == true)
        .filter_map(|(_, candidate)| candidate.as_str().map(str::to_owned))
        .collect();
    if winners.is_empty() {
        winners.insert("none".to_owned());
    }
    Some(winners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_values() {
        // Four outcomes at ¼, b = 100: the first to ½ costs 100 ln 1.5 for 100 ln 3 shares.
        let mut pricing = Pricing {
            opening: vec![0.25; 4],
            liquidity: 100_000_000,
            shares: vec![0; 4],
        };
        assert!((pricing.subsidy().exact() - 1e8 * 4f64.ln()).abs() < 1e-6);
        let cost = pricing.cost(0, 109_861_229);
        assert!(
            (cost.exact() - 40_546_511.0).abs() < 1.0,
            "{}",
            cost.exact()
        );
        let up = cost.exact().ceil() as i64;
        assert!(cost.admit(up) && !cost.admit(up - 1) && !cost.admit(up + 2));
        pricing.shares[0] = 109_861_229;
        let prices = pricing.prices();
        assert!((prices[0] - 0.5).abs() < 1e-8 && (prices[3] - 1.0 / 6.0).abs() < 1e-8);
    }
}
