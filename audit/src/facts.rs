//! Every transfer has a fact that caused it, and every fact has its transfers.
//!
//! The other checks say what each fact must have moved; here that is compared with what the
//! ledger says, by kind of transfer and the fact that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Export, Transfer};
use crate::report::Report;

/// Kind of a transfer and the id of the fact it names.
type Cause = (&'static str, String);

/// Amounts by account.
type Moves = BTreeMap<String, i128>;

/// What the facts must have moved.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    due: BTreeMap<Cause, Moves>,
    /// When the fact happened, where it says so.
    at: BTreeMap<Cause, i64>,
}

impl Facts {
    /// Adds what `account` receives (negative: pays) because of a fact.
    pub(crate) fn due(&mut self, kind: &'static str, reference: &str, account: &str, amount: i64) {
        let moves = self.due.entry((kind, reference.to_owned())).or_default();
        *moves.entry(account.to_owned()).or_default() += i128::from(amount);
    }

    /// States when the fact happened; its transfers have that time.
    pub(crate) fn happened(&mut self, kind: &'static str, reference: &str, at: i64) {
        self.at.insert((kind, reference.to_owned()), at);
    }
}

/// Kinds of transfers that the auditor knows.
const KINDS: [&str; 12] = [
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
];

/// Compares what was due with what was moved.
pub(crate) fn compare(export: &Export, facts: Facts, report: &mut Report) {
    let Facts { mut due, at } = facts;
    for moves in due.values_mut() {
        moves.retain(|_, amount| *amount != 0);
    }
    due.retain(|_, moves| !moves.is_empty());
    let moved = moved(export, &at, report);
    for (cause, moves) in &moved {
        if cause.0 == "grant" {
            check_grant(cause, moves, report);
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
        let is_here = export.market.is_none()
            || expected
                .keys()
                .any(|account| account.starts_with("escrow-"));
        if is_here && !moved.contains_key(&cause) {
            report.violation(
                format!("transfers of {} {}", cause.0, cause.1),
                format!("are missing; due was {expected:?}"),
            );
        }
    }
}

/// What the ledger says was moved for each cause.
fn moved(
    export: &Export,
    at: &BTreeMap<Cause, i64>,
    report: &mut Report,
) -> BTreeMap<Cause, Moves> {
    let mut causes: BTreeMap<i64, Cause> = BTreeMap::new();
    for transfer in &export.transfers {
        let Some(kind) = KINDS.into_iter().find(|kind| *kind == transfer.kind) else {
            report.violation(
                format!("transfers {}", transfer.seq),
                format!("is of the unknown kind {}", transfer.kind),
            );
            continue;
        };
        let cause = (kind, transfer.reference.clone());
        check_time(transfer, at.get(&cause).copied(), report);
        causes.insert(transfer.seq, cause);
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

fn check_time(transfer: &Transfer, at: Option<i64>, report: &mut Report) {
    if let Some(at) = at {
        let place = format!("transfers {}", transfer.seq);
        report.agree(&place, "the time", transfer.at, at);
    }
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
