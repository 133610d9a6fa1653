//! Bonds of evidence: what commitments, submissions and disputes put into a market's bonds, and
//! who had it back.

use crate::books::Books;
use crate::facts::Facts;
use crate::record::{Commitment, Evidence, ExhibitChallenge};
use crate::report::Report;

const TREASURY: &str = "treasury";

/// The account that holds a market's bonds.
fn account(books: &Books<'_>) -> String {
    format!("bonds-{}", books.market.id)
}

/// What a submission must have moved besides the trade that it became: stake, fee and bond with
/// it, the bond of the commitment that it revealed back, and all but the fee back where it was not
/// judged. A market that was called off gives the fee back, too.
pub(crate) fn submission(
    books: &Books<'_>,
    row: &Evidence,
    facts: &mut Facts,
    report: &mut Report,
) {
    let (escrow, bonds) = (&books.market.escrow_id, account(books));
    let place = format!("evidence {}", row.id);
    let revealed = row.commitment_id.as_ref().map(|id| {
        let found = books.commitments.iter().find(|one| one.id == *id);
        let fits = found.is_some_and(|one| {
            one.evidence_id.as_deref() == Some(row.id.as_str())
                && one.account_id == row.account_id
                && one.created_at == row.priority_at
                && row.created_at <= one.reveal_by
        });
        report.require(fits, &place, || {
            "does not reveal its commitment in time".to_owned()
        });
        found.map_or(0, |one| one.bond_micro)
    });
    if revealed.is_none() {
        report.agree(&place, "the claim's time", row.priority_at, row.created_at);
    }
    let promise = revealed.unwrap_or(0);
    let paid = row.stake_micro + row.fee_micro + row.bond_micro - promise;
    facts.due("stake", &row.id, &row.account_id, -paid);
    facts.due("stake", &row.id, escrow, row.stake_micro);
    facts.due("stake", &row.id, &bonds, row.bond_micro - promise);
    facts.due("stake", &row.id, TREASURY, row.fee_micro);
    facts.happened("stake", &row.id, row.created_at);
    decided(books, row, facts);
    released(books, row, facts, report);
}

/// What went back when it was judged, or found to need no judging.
fn decided(books: &Books<'_>, row: &Evidence, facts: &mut Facts) {
    let Some(at) = row.judged_at else { return };
    let escrow = &books.market.escrow_id;
    if matches!(row.status.as_str(), "judged" | "struck") {
        facts.due("evidence", &row.id, escrow, -row.stake_micro);
        facts.due("evidence", &row.id, &row.account_id, row.stake_micro);
        facts.happened("evidence", &row.id, at);
        return;
    }
    let fee = if with_its_refund(row) {
        row.fee_micro
    } else {
        0
    };
    let back = row.stake_micro + row.bond_micro + fee;
    facts.due("refund", &row.id, escrow, -row.stake_micro);
    facts.due("refund", &row.id, &account(books), -row.bond_micro);
    facts.due("refund", &row.id, TREASURY, -fee);
    facts.due("refund", &row.id, &row.account_id, back);
    facts.happened("refund", &row.id, at);
}

/// Whether everything went back at once: the market had been called off before it was judged. A
/// copy that was found out in the same moment as the market ended is released apart.
fn with_its_refund(row: &Evidence) -> bool {
    row.status == "rejected" && row.released_at == row.judged_at
}

/// What went back when the market was over.
fn released(books: &Books<'_>, row: &Evidence, facts: &mut Facts, report: &mut Report) {
    let Some(at) = row.released_at.filter(|_| !with_its_refund(row)) else {
        return;
    };
    let place = format!("evidence {}", row.id);
    let over = matches!(books.market.status.as_str(), "final" | "paid" | "void");
    let ended = books.market.settled_at.unwrap_or(row.created_at);
    let in_time = (ended..=books.exported_at).contains(&at);
    report.require(over && in_time, &place, || {
        format!("was released at {at}, not after its market's end")
    });
    let bond = if row.status == "judged" {
        row.bond_micro
    } else {
        0
    };
    let fee = if books.market.status == "void" {
        row.fee_micro
    } else {
        0
    };
    let market = &books.market.id;
    facts.due("release", market, &account(books), -bond);
    facts.due("release", market, TREASURY, -fee);
    facts.due("release", market, &row.account_id, bond + fee);
    if bond + fee != 0 {
        facts.happened_in_part("release", market, at);
    }
}

/// The bond of a commitment: in with it, back with its reveal (see [`submission`]) or when the
/// market is over, to the treasury when it was not revealed.
pub(crate) fn commitment(
    books: &Books<'_>,
    row: &Commitment,
    facts: &mut Facts,
    report: &mut Report,
) {
    report.count("commitments");
    let (place, bonds) = (format!("commitments {}", row.id), account(books));
    facts.due("bond", &row.id, &row.account_id, -row.bond_micro);
    facts.due("bond", &row.id, &bonds, row.bond_micro);
    facts.happened("bond", &row.id, row.created_at);
    let known = ["open", "revealed", "expired", "released"];
    report.require(known.contains(&row.status.as_str()), &place, || {
        format!("its status is {}", row.status)
    });
    let (kind, reference, to) = match row.status.as_str() {
        "expired" => ("forfeit", &row.id, TREASURY),
        "released" => ("release", &books.market.id, row.account_id.as_str()),
        _ => return,
    };
    facts.due(kind, reference, &bonds, -row.bond_micro);
    facts.due(kind, reference, to, row.bond_micro);
}

/// The bonds of a dispute: the loser's goes to the winner except for what is burnt.
pub(crate) fn dispute(
    books: &Books<'_>,
    row: &ExhibitChallenge,
    facts: &mut Facts,
    report: &mut Report,
) {
    report.count("disputes");
    let (place, bonds) = (format!("disputes {}", row.id), account(books));
    facts.due("bond", &row.id, &row.account_id, -row.bond_micro);
    facts.due("bond", &row.id, &bonds, row.bond_micro);
    facts.happened("bond", &row.id, row.created_at);
    let exhibit = books.evidence.iter().find(|one| one.id == row.evidence_id);
    let Some(exhibit) = exhibit else {
        report.violation(place, "is about unknown evidence");
        return;
    };
    let struck = exhibit.struck_at.is_some() && exhibit.struck_at == row.decided_at;
    report.require(struck == (row.status == "upheld"), &place, || {
        "the exhibit was not treated as ruled".to_owned()
    });
    let (lost, winner, own) = match (row.status.as_str(), row.decided_by.as_deref()) {
        ("open", _) => return,
        ("upheld", Some(_)) => (exhibit.bond_micro, &row.account_id, row.bond_micro),
        ("rejected", Some(_)) => (row.bond_micro, &exhibit.account_id, 0),
        ("undecided", by) => {
            let (kind, reference) = match by {
                Some(_) => ("refund", &row.id),
                None => ("release", &books.market.id),
            };
            facts.due(kind, reference, &bonds, -row.bond_micro);
            facts.due(kind, reference, &row.account_id, row.bond_micro);
            return;
        }
        (other, _) => {
            report.violation(place, format!("its status is {other}"));
            return;
        }
    };
    let burnt = row.burnt_micro.unwrap_or(-1);
    report.require((0..=lost).contains(&burnt), &place, || {
        format!("burns {burnt} of a bond of {lost}")
    });
    facts.due("dispute", &row.id, &bonds, -lost - own);
    facts.due("dispute", &row.id, winner, lost - burnt);
    facts.due("dispute", &row.id, &row.account_id, own);
    facts.due("dispute", &row.id, TREASURY, burnt);
    if let Some(at) = row.decided_at {
        facts.happened("dispute", &row.id, at);
    }
}
