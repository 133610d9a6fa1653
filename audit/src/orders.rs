//! Fees of trades and resting orders: what they held, and where it went.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::Books;
use crate::facts::{Facts, OrderFacts, OrderHeld};
use crate::ledger::Balances;
use crate::record::{Export, Order, Trade};
use crate::report::Report;

/// `⌈|c|·rate/10⁴⌉`.
fn fee(cost: i64, bps: i128) -> i128 {
    (i128::from(cost).abs() * bps + 9_999).div_euclid(10_000)
}

/// The two rates of a market, basis points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    trade: i128,
    creator: i128,
}

impl Rates {
    /// As the market's rules say; absent is zero.
    pub(crate) fn of(books: &Books<'_>) -> Self {
        let bps = |name: &str| i128::from(books.life["rules"][name].as_i64().unwrap_or(0));
        Self {
            trade: bps("trade_fee_bps"),
            creator: bps("creator_fee_bps"),
        }
    }

    /// Fees of a trade: to the treasury and to the market's creator.
    fn on(&self, cost: i64) -> (i128, i128) {
        (fee(cost, self.trade), fee(cost, self.creator))
    }
}

/// Account that holds a market's fees.
fn fees_account(market: &str) -> String {
    format!("fees-{market}")
}

/// Account that holds what resting orders have set aside.
fn orders_account(market: &str) -> String {
    format!("orders-{market}")
}

fn narrow(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// What a trade moved besides shares: its cash and its fees, from the trader or from an order.
pub(crate) fn cash_of_trade(books: &Books<'_>, trade: &Trade, cash: i64, facts: &mut Facts) {
    let (to_treasury, to_creator) = Rates::of(books).on(trade.cost_micro);
    let fees = narrow(to_treasury + to_creator);
    let (kind, payer) = if books.fills.contains_key(trade.id.as_str()) {
        // The order pays out of what was set aside, and proceeds go to its owner: together.
        ("order-fill", Facts::PAYERS)
    } else {
        ("trade", trade.account_id.as_str())
    };
    facts.due(kind, &trade.id, payer, -cash - fees);
    facts.due(kind, &trade.id, &books.market.escrow_id, cash);
    facts.due(kind, &trade.id, &fees_account(&books.market.id), fees);
    facts.happened(kind, &trade.id, trade.at);
}

/// Checks the fees and the orders of a market.
pub(crate) fn check(
    books: &Books<'_>,
    balances: &Balances,
    facts: &mut Facts,
    report: &mut Report,
) {
    check_fees(books, balances, facts, report);
    check_orders(books, facts, report);
}

/// What each account paid in fees, and what became of it.
fn check_fees(books: &Books<'_>, balances: &Balances, facts: &mut Facts, report: &mut Report) {
    let (market, rates) = (books.market, Rates::of(books));
    let mut paid: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for trade in books.trades.iter().filter(|trade| trade.cause == "trade") {
        let (to_treasury, to_creator) = rates.on(trade.cost_micro);
        if to_treasury + to_creator > 0 {
            let sum = paid.entry(&trade.account_id).or_default();
            *sum = (sum.0 + to_treasury, sum.1 + to_creator);
        }
    }
    let holder = fees_account(&market.id);
    let mut seen = BTreeSet::new();
    let (mut all, mut back) = ((0, 0), 0);
    for row in &books.fees {
        report.count("fees");
        let place = format!("fees {}/{}", row.market_id, row.account_id);
        let stated = (i128::from(row.trade_micro), i128::from(row.creator_micro));
        let due = paid
            .get(row.account_id.as_str())
            .copied()
            .unwrap_or_default();
        report.agree(&place, "the fees", stated, due);
        report.require(seen.insert(row.account_id.as_str()), &place, || {
            "is there twice".to_owned()
        });
        all = (all.0 + due.0, all.1 + due.1);
        let returned = row.returned_at.is_some();
        report.require(!returned || market.status == "void", &place, || {
            "went back although the market is not void".to_owned()
        });
        if let Some(at) = row.returned_at {
            back += due.0 + due.1;
            facts.due(
                "fee-refund",
                &market.id,
                &row.account_id,
                narrow(due.0 + due.1),
            );
            facts.due("fee-refund", &market.id, &holder, -narrow(due.0 + due.1));
            facts.happened("fee-refund", &market.id, at);
        }
    }
    for account in paid.keys().filter(|account| !seen.contains(*account)) {
        report.violation(books.place(), format!("{account} paid fees and has no row"));
    }
    let held = i128::from(balances.get(&holder).copied().unwrap_or(0));
    let over = matches!(market.status.as_str(), "final" | "paid") && held == 0;
    if over {
        facts.due("trade-fees", &market.id, &holder, -narrow(all.0 + all.1));
        facts.due("trade-fees", &market.id, "treasury", narrow(all.0));
        facts.due("trade-fees", &market.id, &market.creator_id, narrow(all.1));
    }
    let left = if over { 0 } else { all.0 + all.1 - back };
    report.agree(&books.place(), "the fees held", held, left);
}

/// Which way an order moves the price; true for up.
fn check_side(order: &Order, place: &str, report: &mut Report) -> bool {
    let known = ["yes", "no"].contains(&order.outcome.as_str());
    report.require(known, place, || {
        format!("is for the outcome {}", order.outcome)
    });
    let up = (order.outcome == "yes") != (order.shares_micro > 0);
    let due = if up { "up" } else { "down" };
    report.agree(place, "the side", order.side.as_str(), due);
    up
}

/// What each order set aside, ran and got back.
fn check_orders(books: &Books<'_>, facts: &mut Facts, report: &mut Report) {
    let rates = Rates::of(books);
    let trades: BTreeMap<&str, &Trade> = books
        .trades
        .iter()
        .map(|row| (row.id.as_str(), *row))
        .collect();
    let mut runs: BTreeMap<&str, Vec<&Trade>> = BTreeMap::new();
    for (trade, order) in &books.fills {
        match trades.get(trade) {
            Some(trade) => runs.entry(order).or_default().push(trade),
            None => report.violation(books.place(), format!("the run {trade} is no trade")),
        }
    }
    for order in &books.orders {
        report.count("orders");
        let place = format!("orders {}", order.seq);
        let mut of_this = runs.remove(order.id.as_str()).unwrap_or_default();
        of_this.sort_by_key(|trade| trade.seq);
        let sells = order.shares_micro > 0;
        let up = check_side(order, &place, report);
        let mut sums = (0_i128, 0_i128, 0_i128);
        for trade in &of_this {
            check_run(order, trade, up, &place, report);
            let (to_treasury, to_creator) = rates.on(trade.cost_micro);
            let shares = i128::from(trade.yes_micro) + i128::from(trade.no_micro);
            sums.0 += shares.abs();
            sums.1 += i128::from(trade.cost_micro);
            sums.2 += to_treasury + to_creator;
        }
        let stated = [order.filled_micro, order.cost_micro, order.fees_micro].map(i128::from);
        report.agree(&place, "what ran", stated, [sums.0, sums.1, sums.2]);
        let spent = if sells { sums.0 } else { sums.1 + sums.2 };
        let wanted = i128::from(order.budget_micro) + i128::from(order.shares_micro);
        report.agree(
            &place,
            "what remains",
            i128::from(order.remaining_micro),
            wanted - spent,
        );
        let open = order.status == "open";
        check_end(books, order, &of_this, &place, report);
        report.require(open || order.reserved_micro == 0, &place, || {
            "ended and holds money".to_owned()
        });
        facts.happened("order", &order.id, order.created_at);
        let held = OrderHeld {
            owner: order.account_id.clone(),
            holder: orders_account(&books.market.id),
            reserved: order.reserved_micro,
            budget: (!sells).then_some(order.budget_micro),
        };
        let new = facts.orders.insert(order.id.clone(), held).is_none();
        report.require(new, &place, || "is there twice".to_owned());
        if let Some(at) = order.ended_at {
            facts.happened("order-refund", &order.id, at);
        }
    }
    for order in runs.keys() {
        let what = format!("the order {order} ran and is not there");
        report.violation(books.place(), what);
    }
}

/// When an order ended, and how.
fn check_end(books: &Books<'_>, order: &Order, runs: &[&Trade], place: &str, report: &mut Report) {
    let known = ["open", "filled", "cancelled", "expired", "closed"];
    let known = known.contains(&order.status.as_str());
    let ended = order.ended_at.is_some() == (order.status != "open");
    report.require(known && ended, place, || {
        format!("is {} and ended at {:?}", order.status, order.ended_at)
    });
    let Some(at) = order.ended_at else { return };
    let last = runs.last().map_or(order.created_at, |trade| trade.at);
    report.require((last..=books.exported_at).contains(&at), place, || {
        format!("ended at {at}, its last run was at {last}")
    });
    let expired = order.expires_at.is_some_and(|expiry| expiry <= at);
    report.require(order.status != "expired" || expired, place, || {
        format!("expired at {at}, before {:?}", order.expires_at)
    });
}

/// One run: by the order's owner, of its outcome, no further than its limit.
fn check_run(order: &Order, trade: &Trade, up: bool, place: &str, report: &mut Report) {
    report.agree(
        place,
        "whose run it is",
        &trade.account_id,
        &order.account_id,
    );
    report.agree(
        place,
        "the outcome that ran",
        &trade.outcome,
        &order.outcome,
    );
    let limit = (order.limit_probability / (1.0 - order.limit_probability)).ln();
    let past = if up {
        trade.log_odds_after - limit
    } else {
        limit - trade.log_odds_after
    };
    report.require(past < 1e-9, place, || {
        format!(
            "ran to log-odds {}, past its limit {limit}",
            trade.log_odds_after
        )
    });
    let moved_up = trade.log_odds_after > trade.log_odds_before;
    report.require(moved_up == up, place, || "ran the wrong way".to_owned());
    report.require(trade.at >= order.created_at, place, || {
        "ran before it was placed".to_owned()
    });
}

/// What went in and out of the accounts that hold money for orders, by order: set aside, less what
/// runs used, less what came back, is what the order still holds.
pub(crate) fn compare(
    export: &Export,
    facts: &OrderFacts,
    moved: &BTreeMap<(&'static str, String), BTreeMap<String, i128>>,
    report: &mut Report,
) {
    let fills: BTreeMap<&str, &str> = export
        .order_fills
        .iter()
        .map(|fill| (fill.trade_id.as_str(), fill.order_id.as_str()))
        .collect();
    let mut held: BTreeMap<&str, i128> = BTreeMap::new();
    for ((kind, reference), moves) in moved {
        let order = match *kind {
            "order" | "order-refund" => reference.as_str(),
            "order-fill" => match fills.get(reference.as_str()) {
                Some(order) => order,
                None => {
                    report.violation(
                        format!("transfers of order-fill {reference}"),
                        "no order ran",
                    );
                    continue;
                }
            },
            _ => continue,
        };
        let place = format!("transfers of {kind} {reference}");
        let Some(known) = facts.get(order) else {
            report.violation(place, "no such order");
            continue;
        };
        let inflow = moves.get(&known.holder).copied().unwrap_or(0);
        *held.entry(order).or_default() += inflow;
        if *kind != "order-fill" {
            let owner = moves.get(&known.owner).copied().unwrap_or(0);
            let right = moves.len() == 2 && owner == -inflow && (*kind == "order") == (inflow > 0);
            report.require(right, &place, || format!("moved {moves:?}"));
        }
        if *kind == "order"
            && let Some(budget) = known.budget
        {
            report.agree(&place, "what was set aside", inflow, i128::from(budget));
        }
    }
    for (order, known) in facts {
        let stated = i128::from(known.reserved);
        let now = held.get(order.as_str()).copied().unwrap_or(0);
        report.agree(&format!("orders {order}"), "what is set aside", stated, now);
    }
}
