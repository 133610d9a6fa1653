//! Every transfer has a fact that caused it, and every fact has its transfers.
//!
//! The other checks say what each fact must have moved; here that is compared with what the
//! ledger says, by kind of transfer and the fact that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::inference;
use crate::juries;
use crate::ledger::Balances;
use crate::orders;
use crate::record::Export;
use crate::report::Report;
use crate::votes;

/// Kind of a transfer and the id of the fact it names.
type Cause = (&'static str, String);

/// Amounts by account.
type Moves = BTreeMap<String, i128>;

/// What an order says of the money that it holds.
#[derive(Debug)]
pub(crate) struct OrderHeld {
    /// Whose order it is.
    pub(crate) owner: String,
    /// Account that holds its money.
    pub(crate) holder: String,
    /// What it still holds.
    pub(crate) reserved: i64,
    /// What was set aside for it, where the order says so.
    pub(crate) budget: Option<i64>,
}

/// Orders by id.
pub(crate) type OrderFacts = BTreeMap<String, OrderHeld>;

/// What the facts must have moved.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Resting orders.
    pub(crate) orders: OrderFacts,
    due: BTreeMap<Cause, Moves>,
    /// When the fact happened, where it says so; a payout happens in parts.
    at: BTreeMap<Cause, BTreeSet<i64>>,
    /// Times among those of a fact that is also of others, who do not all say when.
    parts: BTreeMap<Cause, BTreeSet<i64>>,
}

impl Facts {
    /// Stands for an order's owner and the account that holds its money, together.
    pub(crate) const PAYERS: &'static str = "owner and order";

    /// Adds what `account` receives (negative: pays) because of a fact.
    pub(crate) fn due(&mut self, kind: &'static str, reference: &str, account: &str, amount: i64) {
        let moves = self.due.entry((kind, reference.to_owned())).or_default();
        *moves.entry(account.to_owned()).or_default() += i128::from(amount);
    }

    /// States when the fact happened; its transfers have these times and no others.
    pub(crate) fn happened(&mut self, kind: &'static str, reference: &str, at: i64) {
        let times = self.at.entry((kind, reference.to_owned())).or_default();
        times.insert(at);
    }

    /// States when a part of the fact happened; one of its transfers has this time.
    pub(crate) fn happened_in_part(&mut self, kind: &'static str, reference: &str, at: i64) {
        let times = self.parts.entry((kind, reference.to_owned())).or_default();
        times.insert(at);
    }
}

/// Kinds of transfers that the auditor knows.
const KINDS: &[&str] = &[
    "grant",
    "subsidy",
    "trade",
    "stake",
    "evidence",
    "bond",
    "forfeit",
    "dispute",
    "release",
    "refund",
    "payout",
    "remainder",
    "order",
    "order-fill",
    "order-refund",
    "trade-fees",
    "fee-refund",
    "bond-release",
    "undo",
    "juror-stake",
    "jury",
    "denouncement",
    "vote-stake",
    "proposal-deposit",
    "deposit-returned",
    "deposit-forfeited",
    "treasury-payment",
    "revenue",
    "inference-reserve",
    "inference-settle",
    "revenue-close",
    "revenue-claim",
    "node-stake",
    "node-return",
    "node-slash",
];

/// Kinds whose amounts follow from more than the fact that they name.
const CHECKED_ELSEWHERE: [&str; 14] = [
    "order",
    "order-refund",
    "juror-stake",
    "jury",
    "denouncement",
    "vote-stake",
    "proposal-deposit",
    "deposit-returned",
    "deposit-forfeited",
    "treasury-payment",
    "revenue",
    "inference-reserve",
    "inference-settle",
    "revenue-close",
];

/// Compares what was due with what was moved.
pub(crate) fn compare(export: &Export, facts: Facts, balances: &Balances, report: &mut Report) {
    let Facts {
        mut due,
        at,
        parts,
        orders: of_orders,
    } = facts;
    for moves in due.values_mut() {
        moves.retain(|_, amount| *amount != 0);
    }
    due.retain(|_, moves| !moves.is_empty());
    let mut moved = moved(export, &at, &parts, report);
    orders::compare(export, &of_orders, &moved, report);
    juries::check(export, &moved, balances, report);
    votes::check(export, &moved, balances, report);
    inference::check(export, &moved, balances, report);
    moved.iter_mut().for_each(join_payers);
    // A run that came to nothing only gives the order's rest back to its owner.
    moved.retain(|cause, moves| cause.0 != "order-fill" || !moves.is_empty());
    for (cause, moves) in &moved {
        if cause.0 == "grant" {
            check_grant(cause, moves, report);
            continue;
        }
        // Checked by the order, the juror, the proposal, and the request.
        if CHECKED_ELSEWHERE.contains(&cause.0) {
            continue;
        }
        report.count("causes of transfers");
        let place = format!("transfers of {} {}", cause.0, cause.1);
        match due.get(cause) {
            None => report.violation(place, "no fact caused this"),
            Some(expected) => report.agree(&place, "what moved", moves, expected),
        }
    }
    for (cause, expected) in due {
        // The export of one market has only what touched its escrow.
        let is_here =
            export.market.is_none() || expected.keys().any(|account| is_of_market(account));
        if is_here && !moved.contains_key(&cause) {
            report.violation(
                format!("transfers of {} {}", cause.0, cause.1),
                format!("are missing; due was {expected:?}"),
            );
        }
    }
}

/// Whether an account holds money of one market, and is whole in its export.
pub(crate) fn is_of_market(account: &str) -> bool {
    ["escrow-", "fees-", "orders-", "bonds-"]
        .iter()
        .any(|prefix| account.starts_with(prefix))
}

/// Adds up what an order and its owner paid for a run: how it is split follows from the order.
fn join_payers((cause, moves): (&Cause, &mut Moves)) {
    if cause.0 != "order-fill" {
        return;
    }
    let is_payer = |account: &String| account.starts_with("orders-") || !is_of_market(account);
    let sum: i128 = moves
        .iter()
        .filter(|(account, _)| is_payer(account))
        .map(|(_, amount)| amount)
        .sum();
    moves.retain(|account, _| !is_payer(account));
    if sum != 0 {
        moves.insert(Facts::PAYERS.to_owned(), sum);
    }
}

/// What the ledger says was moved for each cause.
fn moved(
    export: &Export,
    at: &BTreeMap<Cause, BTreeSet<i64>>,
    parts: &BTreeMap<Cause, BTreeSet<i64>>,
    report: &mut Report,
) -> BTreeMap<Cause, Moves> {
    let mut causes: BTreeMap<i64, Cause> = BTreeMap::new();
    let mut times: BTreeMap<Cause, BTreeSet<i64>> = BTreeMap::new();
    for transfer in &export.transfers {
        let Some(kind) = KINDS.iter().copied().find(|kind| *kind == transfer.kind) else {
            report.violation(
                format!("transfers {}", transfer.seq),
                format!("is of the unknown kind {}", transfer.kind),
            );
            continue;
        };
        let cause = (kind, transfer.reference.clone());
        times.entry(cause.clone()).or_default().insert(transfer.at);
        causes.insert(transfer.seq, cause);
    }
    for (cause, times) in &times {
        if let Some(due) = at.get(cause) {
            let place = format!("transfers of {} {}", cause.0, cause.1);
            report.agree(&place, "when they happened", times, due);
        }
        let part = parts.get(cause).into_iter().flatten();
        for at in part.filter(|at| !times.contains(at)) {
            let place = format!("transfers of {} {}", cause.0, cause.1);
            report.violation(place, format!("none happened at {at}"));
        }
    }
    let mut moved: BTreeMap<Cause, Moves> = BTreeMap::new();
    for entry in &export.entries {
        let Some(cause) = causes.get(&entry.transfer_seq) else {
            continue;
        };
        let moves = moved.entry(cause.clone()).or_default();
        *moves.entry(entry.account_id.clone()).or_default() += i128::from(entry.amount_micro);
    }
    for moves in moved.values_mut() {
        moves.retain(|_, amount| *amount != 0);
    }
    moved
}

/// A grant goes from the treasury to the account that it names.
fn check_grant(cause: &Cause, moves: &Moves, report: &mut Report) {
    report.count("grants");
    let accounts: BTreeSet<&str> = moves.keys().map(String::as_str).collect();
    let given = moves.get(&cause.1).copied().unwrap_or(0);
    let right = accounts == BTreeSet::from(["treasury", cause.1.as_str()]) && given > 0;
    report.require(right, &format!("transfers of grant {}", cause.1), || {
        format!("moved {moves:?}")
    });
}
