//! The rows of each market, together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ledger;
use crate::record::{
    Case, Claim, Commitment, Evidence, ExhibitChallenge, Export, Fee, FrozenExhibit, Market,
    MarketOutcome, Order, OutcomeHolding, OutcomeTrade, Position, Price, Trade,
};
use crate::report::Report;

/// A market with everything that belongs to it, in the order of the export.
pub(crate) struct Books<'a> {
    /// When the export was taken.
    pub(crate) exported_at: i64,
    /// Its own row.
    pub(crate) market: &'a Market,
    /// The state of its life.
    pub(crate) life: Value,
    /// Its trades.
    pub(crate) trades: Vec<&'a Trade>,
    /// Its prices.
    pub(crate) prices: Vec<&'a Price>,
    /// Its positions.
    pub(crate) positions: Vec<&'a Position>,
    /// Its evidence.
    pub(crate) evidence: Vec<&'a Evidence>,
    /// Its fees.
    pub(crate) fees: Vec<&'a Fee>,
    /// Its resting orders.
    pub(crate) orders: Vec<&'a Order>,
    /// Runs of orders: the order of each trade that is one.
    pub(crate) fills: BTreeMap<&'a str, &'a str>,
    /// Its case, if it is of the kind that has one.
    pub(crate) case: Option<&'a Case>,
    /// The record of the case.
    pub(crate) claims: Vec<&'a Claim>,
    /// What its freeze fixed.
    pub(crate) exhibits: Vec<&'a FrozenExhibit>,
    /// Its outcomes; none for a market with yes and no.
    pub(crate) outcomes: Vec<&'a MarketOutcome>,
    /// Trades of them.
    pub(crate) outcome_trades: Vec<&'a OutcomeTrade>,
    /// Holdings of them.
    pub(crate) outcome_holdings: Vec<&'a OutcomeHolding>,
    /// Commitments to evidence in it.
    pub(crate) commitments: Vec<&'a Commitment>,
    /// Disputes about its evidence.
    pub(crate) disputes: Vec<&'a ExhibitChallenge>,
}

impl Books<'_> {
    /// Where a finding about the market itself shows.
    pub(crate) fn place(&self) -> String {
        format!("markets {}", self.market.id)
    }

    /// Whether trading has stopped for good.
    pub(crate) fn is_frozen(&self) -> bool {
        self.market.frozen_at.is_some()
    }
}

/// Sorts the rows by their market, and checks that each has one.
pub(crate) fn markets<'a>(export: &'a Export, report: &mut Report) -> Vec<Books<'a>> {
    let (mut books, places) = empty(export, report);
    place_trading(export, &places, &mut books, report);
    place_settlement(export, &places, &mut books, report);
    place_outcomes_and_bonds(export, &places, &mut books, report);
    check_people(export, report);
    let trades = export.trades.iter().map(|row| row.seq);
    ledger::check_sequence(export, "trades", trades, report);
    let prices = export.prices.iter().map(|row| row.seq);
    ledger::check_sequence(export, "prices", prices, report);
    let mut orders: Vec<i64> = export.orders.iter().map(|row| row.seq).collect();
    orders.sort_unstable();
    ledger::check_sequence(export, "orders", orders.into_iter(), report);
    books
}

/// Where the books of each market are.
type Places<'a> = BTreeMap<&'a str, usize>;

/// Books without rows, one for each market.
fn empty<'a>(export: &'a Export, report: &mut Report) -> (Vec<Books<'a>>, Places<'a>) {
    let runs: BTreeSet<&str> = export.runs.iter().map(|run| run.id.as_str()).collect();
    report.require(runs.len() == export.runs.len(), "runs", || {
        "an id is there twice".to_owned()
    });
    let mut books: Vec<Books<'a>> = Vec::with_capacity(export.markets.len());
    let mut places = Places::new();
    for market in &export.markets {
        report.count("markets");
        let place = format!("markets {}", market.id);
        report.require(runs.contains(market.run_id.as_str()), &place, || {
            format!("is about the unknown run {}", market.run_id)
        });
        let life = serde_json::from_str(&market.life).unwrap_or(Value::Null);
        report.require(life.is_object(), &place, || {
            "its life cannot be read".to_owned()
        });
        let new = places.insert(&market.id, books.len()).is_none();
        report.require(new, &place, || "is there twice".to_owned());
        books.push(Books {
            exported_at: export.exported_at,
            market,
            life,
            trades: Vec::new(),
            prices: Vec::new(),
            positions: Vec::new(),
            evidence: Vec::new(),
            case: None,
            claims: Vec::new(),
            exhibits: Vec::new(),
            fees: Vec::new(),
            orders: Vec::new(),
            fills: BTreeMap::new(),
            outcomes: Vec::new(),
            outcome_trades: Vec::new(),
            outcome_holdings: Vec::new(),
            commitments: Vec::new(),
            disputes: Vec::new(),
        });
    }
    (books, places)
}

/// Where a row belongs; a violation if there is no such market.
fn find(places: &Places<'_>, market: &str, what: &str, report: &mut Report) -> Option<usize> {
    let found = places.get(market).copied();
    report.require(found.is_some(), what, || {
        format!("belongs to no market: {market}")
    });
    found
}

/// Trades, prices, positions, evidence, fees and orders.
fn place_trading<'a>(
    export: &'a Export,
    places: &Places<'a>,
    books: &mut [Books<'a>],
    report: &mut Report,
) {
    for row in &export.trades {
        if let Some(at) = find(places, &row.market_id, "a trade", report) {
            books[at].trades.push(row);
        }
    }
    for row in &export.prices {
        if let Some(at) = find(places, &row.market_id, "a price", report) {
            books[at].prices.push(row);
        }
    }
    for row in &export.positions {
        if let Some(at) = find(places, &row.market_id, "a position", report) {
            books[at].positions.push(row);
        }
    }
    for row in &export.evidence {
        if let Some(at) = find(places, &row.market_id, "evidence", report) {
            books[at].evidence.push(row);
        }
    }
    for row in &export.fees {
        if let Some(at) = find(places, &row.market_id, "a fee", report) {
            books[at].fees.push(row);
        }
    }
    let mut of_orders: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &export.orders {
        if let Some(at) = find(places, &row.market_id, "an order", report) {
            of_orders.insert(&row.id, at);
            books[at].orders.push(row);
        }
    }
    for row in &export.order_fills {
        match of_orders.get(row.order_id.as_str()) {
            Some(&at) => {
                let new = books[at].fills.insert(&row.trade_id, &row.order_id);
                report.require(new.is_none(), "order_fills", || {
                    format!("{} is there twice", row.trade_id)
                });
            }
            None => report.violation("order_fills", format!("{} is no order", row.order_id)),
        }
    }
}

/// What a settlement is made of.
fn place_settlement<'a>(
    export: &'a Export,
    places: &Places<'a>,
    books: &mut [Books<'a>],
    report: &mut Report,
) {
    for row in &export.cases {
        if let Some(at) = find(places, &row.market_id, "a case", report) {
            let new = books[at].case.replace(row).is_none();
            report.require(new, "settlement_cases", || {
                format!("{} is there twice", row.market_id)
            });
        }
    }
    for row in &export.claims {
        if let Some(at) = find(places, &row.market_id, "a claim", report) {
            books[at].claims.push(row);
        }
    }
    for row in &export.exhibits {
        if let Some(at) = find(places, &row.market_id, "an exhibit", report) {
            books[at].exhibits.push(row);
        }
    }
}

/// Several outcomes, commitments and disputes.
fn place_outcomes_and_bonds<'a>(
    export: &'a Export,
    places: &Places<'a>,
    books: &mut [Books<'a>],
    report: &mut Report,
) {
    for row in &export.outcomes {
        if let Some(at) = find(places, &row.market_id, "an outcome", report) {
            books[at].outcomes.push(row);
        }
    }
    for row in &export.outcome_trades {
        if let Some(at) = find(places, &row.market_id, "a trade", report) {
            books[at].outcome_trades.push(row);
        }
    }
    for row in &export.outcome_holdings {
        if let Some(at) = find(places, &row.market_id, "a holding", report) {
            books[at].outcome_holdings.push(row);
        }
    }
    for row in &export.commitments {
        if let Some(at) = find(places, &row.market_id, "a commitment", report) {
            books[at].commitments.push(row);
        }
    }
    for row in &export.exhibit_challenges {
        if let Some(at) = find(places, &row.market_id, "a dispute", report) {
            books[at].disputes.push(row);
        }
    }
}

/// Whoever acts is an account of a person.
fn check_people(export: &Export, report: &mut Report) {
    if export.market.is_some() {
        return;
    }
    let users: BTreeSet<&str> = export
        .accounts
        .iter()
        .filter(|account| account.kind == "user")
        .map(|account| account.id.as_str())
        .collect();
    let mut require = |account: &str, place: String| {
        report.require(users.contains(account), &place, || {
            format!("names {account}, who is nobody")
        });
    };
    for row in &export.trades {
        require(&row.account_id, format!("trades {}", row.seq));
    }
    for row in &export.outcome_trades {
        require(&row.account_id, format!("outcome_trades {}", row.seq));
    }
    for row in &export.evidence {
        require(&row.account_id, format!("evidence {}", row.id));
    }
    for row in &export.positions {
        require(
            &row.account_id,
            format!("positions {}/{}", row.market_id, row.account_id),
        );
    }
    for row in &export.markets {
        require(&row.creator_id, format!("markets {}", row.id));
    }
    for row in &export.runs {
        let known = row.owner_id == "treasury" || users.contains(row.owner_id.as_str());
        if !known {
            require(&row.owner_id, format!("runs {}", row.id));
        }
    }
}
