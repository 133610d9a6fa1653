//! Prices, costs and positions, recomputed trade by trade.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::books::Books;
use crate::facts::Facts;
use crate::orders;
use crate::pricing::Pricing;
use crate::record::Trade;
use crate::report::Report;

/// `logit(0.995) = ln 199`, and the room that doubles need around it.
const MOST_LOG_ODDS: f64 = 5.293_304_824_724_492 + 1e-9;

/// What an account holds, as its trades make it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// YES micro-shares.
    pub(crate) yes: i64,
    /// NO micro-shares.
    pub(crate) no: i64,
    /// Σ costs less one credit for every pair of a YES and a NO share.
    pub(crate) net_cost: i64,
}

impl Holding {
    /// `max(net_cost, 0)`: what the account has in escrow.
    pub(crate) fn locked(&self) -> i64 {
        self.net_cost.max(0)
    }

    /// `max(−net_cost, 0)`: profit that waits for the settlement.
    pub(crate) fn banked(&self) -> i64 {
        self.net_cost.saturating_neg().max(0)
    }

    /// The holding after a trade, pairs turned into credits. `None` when it sells what is not held.
    fn after(&self, trade: &Trade) -> Option<Self> {
        let yes = self.yes.checked_add(trade.yes_micro)?;
        let no = self.no.checked_add(trade.no_micro)?;
        let pairs = yes.min(no);
        (pairs >= 0).then_some(())?;
        Some(Self {
            yes: yes - pairs,
            no: no - pairs,
            net_cost: self
                .net_cost
                .checked_add(trade.cost_micro)?
                .checked_sub(pairs)?,
        })
    }
}

/// Holdings by account.
pub(crate) type Holdings = BTreeMap<String, Holding>;

/// Checks a market's opening, trades, prices and positions; gives back the recomputed holdings.
pub(crate) fn check(books: &Books<'_>, facts: &mut Facts, report: &mut Report) -> Holdings {
    check_opening(books, facts, report);
    let (net, mut holdings) = replay(books, facts, report);
    undo_last(books, &mut holdings, facts, report);
    check_prices(books, report);
    check_end(books, net, report);
    compare(books, &holdings, report);
    holdings
}

fn check_opening(books: &Books<'_>, facts: &mut Facts, report: &mut Report) {
    let market = books.market;
    let place = books.place();
    let pricing = Pricing::new(market.opening_log_odds, market.liquidity_micro);
    let open = market.opening_log_odds.abs() <= MOST_LOG_ODDS;
    report.require(open, &place, || {
        "opened outside of the price bounds".to_owned()
    });
    let in_range = (1_000..=100_000_000_000_000).contains(&market.liquidity_micro);
    report.require(in_range, &place, || {
        format!("its liquidity is {}", market.liquidity_micro)
    });
    let subsidy = pricing.subsidy();
    report.require(subsidy.admit(market.subsidy_micro), &place, || {
        format!(
            "the subsidy is {}, exactly {}",
            market.subsidy_micro,
            subsidy.exact()
        )
    });
    let escrow = format!("escrow-{}", market.id);
    report.agree(
        &place,
        "the escrow",
        market.escrow_id.as_str(),
        escrow.as_str(),
    );
    facts.due("subsidy", &market.id, "treasury", -market.subsidy_micro);
    facts.due(
        "subsidy",
        &market.id,
        &market.escrow_id,
        market.subsidy_micro,
    );
    facts.happened("subsidy", &market.id, market.opened_at);
}

/// Runs the trades in their order: price, cost, position and cash of each.
fn replay(books: &Books<'_>, facts: &mut Facts, report: &mut Report) -> (i64, Holdings) {
    let market = books.market;
    let pricing = Pricing::new(market.opening_log_odds, market.liquidity_micro);
    let mut holdings = Holdings::new();
    let (mut net, mut last_at, mut last_seq) = (0_i64, market.opened_at, i64::MIN);
    for trade in &books.trades {
        report.count("trades");
        let place = format!("trades {}", trade.seq);
        report.require(trade.seq > last_seq, &place, || {
            "is out of its place".to_owned()
        });
        report.require(trade.at >= last_at, &place, || {
            "is earlier than the one before".to_owned()
        });
        (last_at, last_seq) = (trade.at, trade.seq);
        net = check_trade(trade, &pricing, net, &place, report);
        let held = holdings.entry(trade.account_id.clone()).or_default();
        let Some(after) = held.after(trade) else {
            report.violation(place, "sells more than is held");
            continue;
        };
        let cash = after.locked() - held.locked();
        *held = after;
        if trade.cause == "trade" {
            orders::cash_of_trade(books, trade, cash, facts);
        } else {
            // The stake is in escrow already; judging gives back what the move does not need.
            facts.due("evidence", &trade.id, &trade.account_id, -cash);
            facts.due("evidence", &trade.id, &market.escrow_id, cash);
        }
    }
    (net, holdings)
}

/// A self-resolving market settles at its last price, takes its last trades back and pays whoever
/// made them a flat fee instead.
fn undo_last(books: &Books<'_>, holdings: &mut Holdings, facts: &mut Facts, report: &mut Report) {
    let (market, place) = (books.market, books.place());
    let text = market.statistics.as_deref().unwrap_or("null");
    let record: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let Some(reference) = record["reference"].as_f64() else {
        return;
    };
    let method = &books.life["rules"]["method"];
    let count = method["undone"].as_u64().unwrap_or(0) as usize;
    let fee = method["fee"].as_i64().unwrap_or(0);
    let (kept, undone) = books
        .trades
        .split_at(books.trades.len().saturating_sub(count));
    let ids: Vec<&str> = undone.iter().map(|trade| trade.id.as_str()).collect();
    let stated: Vec<&str> = record["undone"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    report.agree(&place, "the trades taken back", stated, ids);
    report.agree(
        &place,
        "the flat fee",
        record["fee_micro"].as_i64(),
        Some(fee),
    );
    let last = 1.0 / (1.0 + (-market.log_odds).exp());
    report.require((reference - last).abs() < 1e-12, &place, || {
        format!("the reference is {reference}, the last price {last}")
    });
    let mut before = Holdings::new();
    for trade in kept {
        let held = before.entry(trade.account_id.clone()).or_default();
        *held = held.after(trade).unwrap_or(*held);
    }
    let makers: BTreeSet<&str> = undone
        .iter()
        .map(|trade| trade.account_id.as_str())
        .collect();
    for account in makers {
        let (was, is) = (
            before.get(account).copied().unwrap_or_default(),
            holdings.get(account).copied().unwrap_or_default(),
        );
        let back = is.locked() - was.locked();
        facts.due("undo", &market.id, account, back + fee);
        facts.due("undo", &market.id, &market.escrow_id, -back);
        facts.due("undo", &market.id, "treasury", -fee);
        holdings.insert(account.to_owned(), was);
    }
}

/// One trade's own numbers; gives back the net shares after it.
fn check_trade(
    trade: &Trade,
    pricing: &Pricing,
    net: i64,
    place: &str,
    report: &mut Report,
) -> i64 {
    let known = matches!(trade.cause.as_str(), "trade" | "evidence");
    report.require(known, place, || format!("its cause is {}", trade.cause));
    let yes = trade.yes_micro != 0;
    report.require(yes != (trade.no_micro != 0), place, || {
        "moves shares of both outcomes or of none".to_owned()
    });
    let outcome = if yes { "yes" } else { "no" };
    report.agree(place, "the outcome", trade.outcome.as_str(), outcome);
    let after = net
        .saturating_add(trade.yes_micro)
        .saturating_sub(trade.no_micro);
    let before = pricing.stated_log_odds(net);
    report.agree(place, "the log-odds before", trade.log_odds_before, before);
    let stated = pricing.stated_log_odds(after);
    report.agree(place, "the log-odds after", trade.log_odds_after, stated);
    report.require(stated.abs() <= MOST_LOG_ODDS, place, || {
        format!("leaves the price outside of its bounds, at log-odds {stated}")
    });
    let cost = pricing.cost(yes, net, after);
    report.require(cost.admit(trade.cost_micro), place, || {
        format!("costs {}, exactly {}", trade.cost_micro, cost.exact())
    });
    after
}

/// The price history: the opening, then one point for every trade and no other.
fn check_prices(books: &Books<'_>, report: &mut Report) {
    let market = books.market;
    let mut prices = books.prices.iter();
    let place = books.place();
    match prices.next() {
        None => report.violation(place.clone(), "has no price"),
        Some(first) => {
            report.count("prices");
            let place = format!("prices {}", first.seq);
            report.agree(&place, "the cause", first.cause.as_str(), "open");
            report.agree(
                &place,
                "the log-odds",
                first.log_odds,
                market.opening_log_odds,
            );
            report.agree(&place, "the time", first.at, market.opened_at);
            report.agree(&place, "the reference", first.reference.as_deref(), None);
        }
    }
    let mut last = i64::MIN;
    for trade in &books.trades {
        let Some(price) = prices.next() else {
            report.violation(place, "has more trades than prices");
            return;
        };
        report.count("prices");
        let place = format!("prices {}", price.seq);
        report.require(price.seq > last, &place, || {
            "is out of its place".to_owned()
        });
        last = price.seq;
        report.agree(
            &place,
            "the reference",
            price.reference.as_deref(),
            Some(&*trade.id),
        );
        report.agree(&place, "the cause", &price.cause, &trade.cause);
        report.agree(&place, "the log-odds", price.log_odds, trade.log_odds_after);
        report.agree(&place, "the time", price.at, trade.at);
    }
    if let Some(price) = prices.next() {
        report.violation(format!("prices {}", price.seq), "has no trade");
    }
}

/// Where the market stands after its last trade.
fn check_end(books: &Books<'_>, net: i64, report: &mut Report) {
    let market = books.market;
    let place = books.place();
    let pricing = Pricing::new(market.opening_log_odds, market.liquidity_micro);
    report.agree(&place, "the net shares", market.net_shares_micro, net);
    report.agree(
        &place,
        "the log-odds",
        market.log_odds,
        pricing.stated_log_odds(net),
    );
    report.agree(
        &place,
        "the number of trades",
        market.trades,
        books.trades.len() as i64,
    );
    let mut ids = BTreeSet::new();
    for trade in &books.trades {
        let new = ids.insert(trade.id.as_str());
        report.require(new, &format!("trades {}", trade.seq), || {
            format!("the id {} is there twice", trade.id)
        });
    }
}

/// The stated positions are the recomputed holdings.
fn compare(books: &Books<'_>, holdings: &Holdings, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for position in &books.positions {
        report.count("positions");
        let place = format!("positions {}/{}", position.market_id, position.account_id);
        let stated = Holding {
            yes: position.yes_micro,
            no: position.no_micro,
            net_cost: position.cost_micro,
        };
        let held = holdings
            .get(&position.account_id)
            .copied()
            .unwrap_or_default();
        report.agree(&place, "the position", stated, held);
        let new = seen.insert(position.account_id.as_str());
        report.require(new, &place, || "is there twice".to_owned());
    }
    for account in holdings.keys() {
        report.require(seen.contains(account.as_str()), &books.place(), || {
            format!("{account} traded and has no position")
        });
    }
}
