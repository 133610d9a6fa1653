//! Double entry: every transfer sums to zero, every balance is the sum of its entries, and nobody
//! but the treasury ever owes.

use std::collections::BTreeMap;

use crate::facts;
use crate::record::{Entry, Export};
use crate::report::Report;

/// Balances recomputed from the entries, by account.
pub(crate) type Balances = BTreeMap<String, i64>;

/// The one account that may be below zero.
const TREASURY: &str = "treasury";

/// In the whole books no number of a sequence is missing: rows are never deleted, and a write
/// that was undone gives its numbers back.
pub(crate) fn check_sequence(
    export: &Export,
    table: &'static str,
    numbers: impl Iterator<Item = i64>,
    report: &mut Report,
) {
    if export.market.is_some() {
        return;
    }
    for (expected, number) in (1..).zip(numbers) {
        if expected != number {
            report.violation(
                format!("{table} {number}"),
                format!("is where {expected} should be"),
            );
            return;
        }
    }
}

/// Checks transfers and entries, and gives back the balances that follow from them.
pub(crate) fn check(export: &Export, report: &mut Report) -> Balances {
    check_transfers(export, report);
    let balances = run(export, report);
    if export.market.is_none() {
        compare(export, &balances, report);
    }
    balances
}

/// How much earlier than the one before it a transfer may be dated, ms. Transfers are dated when they are written, but
/// versions before 0.1.0 dated some when the work began that led to them, and others could be written meanwhile.
const WAITED_MS: i64 = 60_000;

fn check_transfers(export: &Export, report: &mut Report) {
    let numbers = export.transfers.iter().map(|row| row.seq);
    check_sequence(export, "transfers", numbers, report);
    let mut ids = std::collections::BTreeSet::new();
    for pair in export.transfers.windows(2) {
        let place = format!("transfers {}", pair[1].seq);
        report.require(pair[0].seq < pair[1].seq, &place, || {
            "the sequence does not grow".to_owned()
        });
        report.require(pair[0].at <= pair[1].at + WAITED_MS, &place, || {
            format!("is dated {} after one of {}", pair[1].at, pair[0].at)
        });
    }
    for transfer in &export.transfers {
        report.count("transfers");
        let place = format!("transfers {}", transfer.seq);
        report.require(transfer.at <= export.exported_at, &place, || {
            format!("is dated {}, after the export", transfer.at)
        });
        report.require(ids.insert(&transfer.id), &place, || {
            format!("the id {} is there twice", transfer.id)
        });
    }
}

/// Goes through the entries in their order, transfer by transfer.
fn run(export: &Export, report: &mut Report) -> Balances {
    let mut balances = Balances::new();
    let mut entries = export.entries.iter().peekable();
    for transfer in &export.transfers {
        let place = format!("transfers {}", transfer.seq);
        let mut of_this: Vec<&Entry> = Vec::new();
        while let Some(entry) = entries.next_if(|entry| entry.transfer_seq <= transfer.seq) {
            of_this.push(entry);
        }
        let sum: i128 = of_this
            .iter()
            .map(|entry| i128::from(entry.amount_micro))
            .sum();
        report.require(sum == 0 && !of_this.is_empty(), &place, || {
            format!("{} entries sum to {sum}", of_this.len())
        });
        for (ordinal, entry) in (0..).zip(&of_this) {
            report.count("entries");
            let place = format!("entries {}/{}", entry.transfer_seq, entry.ordinal);
            let in_place = entry.transfer_seq == transfer.seq && entry.ordinal == ordinal;
            report.require(in_place, &place, || "is out of its place".to_owned());
            report.require(entry.amount_micro != 0, &place, || {
                "moves nothing".to_owned()
            });
            let balance = balances.entry(entry.account_id.clone()).or_default();
            *balance = balance.saturating_add(entry.amount_micro);
        }
        for entry in of_this {
            let balance = balances.get(&entry.account_id).copied().unwrap_or(0);
            // Only the market's own accounts are whole in its export.
            let whole = export.market.is_none() || facts::is_of_market(&entry.account_id);
            let owes = whole && balance < 0 && entry.account_id != TREASURY;
            report.require(!owes, &place, || {
                format!("leaves {} at {balance}", entry.account_id)
            });
        }
    }
    for entry in entries {
        let place = format!("entries {}/{}", entry.transfer_seq, entry.ordinal);
        report.violation(place, "belongs to no transfer");
    }
    balances
}

/// The stated balances are the recomputed ones, and sum to zero.
fn compare(export: &Export, balances: &Balances, report: &mut Report) {
    let mut stated = BTreeMap::new();
    let mut handles = std::collections::BTreeSet::new();
    for account in &export.accounts {
        report.count("accounts");
        let place = format!("accounts {}", account.id);
        let balance = balances.get(&account.id).copied().unwrap_or(0);
        report.agree(&place, "the balance", account.balance_micro, balance);
        let treasury = account.kind == "treasury";
        report.require(treasury == (account.id == TREASURY), &place, || {
            format!("is of kind {}", account.kind)
        });
        let known = ["user", "treasury", "escrow", "burn"].contains(&account.kind.as_str());
        report.require(known, &place, || format!("is of kind {}", account.kind));
        report.require(
            handles.insert(account.handle.to_lowercase()),
            &place,
            || format!("the handle {} is there twice", account.handle),
        );
        let new = stated
            .insert(account.id.as_str(), account.balance_micro)
            .is_none();
        report.require(new, &place, || "is there twice".to_owned());
    }
    for account in balances.keys() {
        report.require(stated.contains_key(account.as_str()), account, || {
            "has entries and is no account".to_owned()
        });
    }
    let sum: i128 = stated.values().map(|balance| i128::from(*balance)).sum();
    report.require(sum == 0, "accounts", || {
        format!("the balances sum to {sum}")
    });
}
