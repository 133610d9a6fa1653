//! Inference: what was set aside is charged or goes back, once, and revenue is what was charged.

use std::collections::BTreeMap;

use crate::ledger::Balances;
use crate::record::Export;
use crate::report::Report;

/// Account that holds what is set aside.
const INFERENCE: &str = "inference";
/// Account that holds what was charged until a period is closed.
const REVENUE: &str = "revenue";
/// Account that revenue goes to.
const TREASURY: &str = "treasury";

/// What transfers moved, by kind and the fact that they name.
type Moved = BTreeMap<(&'static str, String), BTreeMap<String, i128>>;

/// Checks reservations, charges and closed periods.
pub(crate) fn check(export: &Export, moved: &Moved, balances: &Balances, report: &mut Report) {
    let there = |id| export.accounts.iter().any(|account| account.id == id);
    report.require(there(INFERENCE) == there(REVENUE), "accounts", || {
        format!("of {INFERENCE} and {REVENUE} one is missing")
    });
    // The export of one market has nothing of this.
    if export.market.is_some() {
        return;
    }
    let (mut held, mut earned) = (0_i128, 0_i128);
    for ((kind, reference), moves) in moved {
        let place = format!("transfers of {kind} {reference}");
        let of = |account: &str| moves.get(account).copied().unwrap_or(0);
        match *kind {
            "inference-reserve" => {
                let aside = of(INFERENCE);
                held += aside;
                let right = aside > 0 && of(REVENUE) == 0 && payer(moves).is_some();
                report.require(right, &place, || format!("set aside {moves:?}"));
            }
            "inference-settle" => {
                let (aside, charged) = (-of(INFERENCE), of(REVENUE));
                held -= aside;
                earned += charged;
                report.count("charges of inference");
                report.require(settles(moved, reference, moves), &place, || {
                    format!("does not settle what was set aside: {moves:?}")
                });
            }
            "revenue-close" => {
                earned += of(REVENUE);
                let right = of(TREASURY) > 0 && of(REVENUE) == -of(TREASURY) && moves.len() == 2;
                report.require(right, &place, || format!("moved {moves:?}"));
            }
            _ => {}
        }
    }
    for (account, sum) in [(INFERENCE, held), (REVENUE, earned)] {
        let stated = balances.get(account).copied().unwrap_or(0);
        let place = format!("accounts {account}");
        report.agree(&place, "what it holds", i128::from(stated), sum);
    }
}

/// Who asked: the one account beside the holders.
fn payer(moves: &BTreeMap<String, i128>) -> Option<&str> {
    let mut others = moves
        .keys()
        .map(String::as_str)
        .filter(|account| ![INFERENCE, REVENUE].contains(account));
    let one = others.next()?;
    others.next().is_none().then_some(one)
}

/// All that was set aside leaves its holder, and what is not charged goes back to who paid it.
fn settles(moved: &Moved, reference: &str, moves: &BTreeMap<String, i128>) -> bool {
    let Some(reserved) = moved.get(&("inference-reserve", reference.to_owned())) else {
        return false;
    };
    let of = |moves: &BTreeMap<String, i128>, account| moves.get(account).copied().unwrap_or(0);
    let (aside, charged) = (of(reserved, INFERENCE), of(moves, REVENUE));
    let back = aside - charged;
    let asked = payer(reserved);
    let goes_back = match payer(moves) {
        Some(account) => Some(account) == asked && of(moves, account) == back,
        // All of it was charged.
        None => back == 0,
    };
    of(moves, INFERENCE) == -aside && (0..=aside).contains(&charged) && goes_back
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(entries: &[(&str, i128)]) -> BTreeMap<String, i128> {
        let own = |(account, amount): &(&str, i128)| ((*account).to_owned(), *amount);
        entries.iter().map(own).collect()
    }

    #[test]
    fn what_was_set_aside_is_charged_or_goes_back() {
        let mut moved = Moved::new();
        let aside = moves(&[("ada", -10), (INFERENCE, 10)]);
        moved.insert(("inference-reserve", "q".to_owned()), aside);
        let table: [(&[(&str, i128)], bool); 7] = [
            (&[(INFERENCE, -10), ("ada", 7), (REVENUE, 3)], true),
            (&[(INFERENCE, -10), ("ada", 10)], true),
            (&[(INFERENCE, -10), (REVENUE, 10)], true),
            (&[(INFERENCE, -9), ("ada", 7), (REVENUE, 2)], false),
            (&[(INFERENCE, -10), ("bob", 7), (REVENUE, 3)], false),
            (&[(INFERENCE, -10), ("ada", 11), (REVENUE, -1)], false),
            (
                &[(INFERENCE, -10), ("ada", 3), ("bob", 4), (REVENUE, 3)],
                false,
            ),
        ];
        for (entries, right) in table {
            assert_eq!(settles(&moved, "q", &moves(entries)), right, "{entries:?}");
        }
        assert!(!settles(&moved, "other", &moves(table[0].0)));
    }
}
