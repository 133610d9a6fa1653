//! Evidence: what its move may cost, and where its stake went.

use std::collections::BTreeMap;

use crate::bonds;
use crate::books::Books;
use crate::facts::Facts;
use crate::record::{Evidence, Trade};
use crate::report::Report;

/// Checks every submission of a market.
pub(crate) fn check(books: &Books<'_>, facts: &mut Facts, report: &mut Report) {
    let moves: BTreeMap<&str, &Trade> = books
        .trades
        .iter()
        .filter(|trade| trade.cause == "evidence")
        .map(|trade| (trade.id.as_str(), *trade))
        .collect();
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for row in &books.evidence {
        report.count("evidence");
        let place = format!("evidence {}", row.id);
        bonds::submission(books, row, facts, report);
        match row.status.as_str() {
            "pending" | "duplicate" | "rejected" => {
                let still = (row.locked_micro, row.yes_micro, row.no_micro) == (0, 0, 0);
                report.require(still && !moves.contains_key(&*row.id), &place, || {
                    format!("is {} and moved something", row.status)
                });
                let unmoved = row.log_odds_before.is_none() && row.log_odds_after.is_none();
                report.require(unmoved && row.shift == 0.0, &place, || {
                    format!("is {} and has a shift", row.status)
                });
            }
            "judged" | "struck" => check_judged(books, row, moves.get(&*row.id).copied(), report),
            other => report.violation(place.clone(), format!("its status is {other}")),
        }
        let waits = row.judged_at.is_none();
        // A duplicate is one at once, or when what it copies has been revealed or judged.
        let decided = row.status != "pending";
        report.require(
            waits != decided || row.status == "duplicate",
            &place,
            || "when it was judged is wrong".to_owned(),
        );
        report.require(
            row.struck_at.is_some() == (row.status == "struck"),
            &place,
            || "when it was struck is wrong".to_owned(),
        );
        if !matches!(row.status.as_str(), "duplicate" | "rejected")
            && let Some(other) = first.insert(&row.content_hash, &row.id)
        {
            report.violation(place, format!("has the content of {other}"));
        }
    }
    for row in &books.commitments {
        bonds::commitment(books, row, facts, report);
    }
    for row in &books.disputes {
        bonds::dispute(books, row, facts, report);
    }
    for id in moves.keys() {
        let known = books.evidence.iter().any(|row| row.id == **id);
        report.require(known, &books.place(), || {
            format!("the move {id} has no evidence")
        });
    }
    let count = books.evidence.len() as i64;
    report.agree(
        &books.place(),
        "the number of submissions",
        books.market.evidence,
        count,
    );
}

/// The move is the trade's, goes the way of the shift and no further, and its collateral is
/// covered by the stake.
fn check_judged(books: &Books<'_>, row: &Evidence, trade: Option<&Trade>, report: &mut Report) {
    let place = format!("evidence {}", row.id);
    let in_time = row.judged_at.is_some_and(|at| at >= row.created_at);
    report.require(in_time, &place, || "was judged before it came".to_owned());
    report.require(row.locked_micro <= row.stake_micro, &place, || {
        format!(
            "locks {} of a stake of {}",
            row.locked_micro, row.stake_micro
        )
    });
    let (Some(before), Some(after)) = (row.log_odds_before, row.log_odds_after) else {
        report.violation(place, "is judged and has no prices");
        return;
    };
    let moved = (row.yes_micro, row.no_micro) != (0, 0);
    report.require(moved == trade.is_some(), &place, || {
        "its move is not a trade".to_owned()
    });
    if let Some(trade) = trade {
        let stated = (row.yes_micro, row.no_micro, row.locked_micro, before, after);
        let booked = (
            trade.yes_micro,
            trade.no_micro,
            trade.cost_micro,
            trade.log_odds_before,
            trade.log_odds_after,
        );
        report.agree(&place, "the move", stated, booked);
        report.agree(&place, "who moved", &row.account_id, &trade.account_id);
        report.agree(&place, "the time", row.judged_at, Some(trade.at));
    } else {
        report.agree(&place, "the price", after, before);
        report.agree(&place, "the collateral", row.locked_micro, 0);
    }
    // κ ≤ 1, and a share more is the most that rounding can add.
    let slack = 2.0 / books.market.liquidity_micro as f64 + 1e-12;
    let went = after - before;
    let right = went == 0.0 || (went > 0.0) == (row.shift > 0.0);
    report.require(
        right && went.abs() <= row.shift.abs() + slack,
        &place,
        || format!("a shift of {} moved the log-odds by {went}", row.shift),
    );
}
