//! Shares of revenue: what votes set aside of the treasury, whose it is, and what was claimed of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::facts::Facts;
use crate::ledger::Balances;
use crate::record::{Export, Proposal, RevenueShare};
use crate::report::Report;

/// Holds what was given and not yet claimed.
pub(crate) const SHARES: &str = "revenue-shares";

/// Says what each claim must have moved, and checks that what is held is what is not claimed.
pub(crate) fn check(export: &Export, balances: &Balances, facts: &mut Facts, report: &mut Report) {
    let handle = format!("system:{SHARES}");
    for account in &export.accounts {
        if (account.handle == handle) != (account.id == SHARES) {
            let what = "is not the holder of shares of revenue that it is called";
            report.violation(format!("accounts {}", account.id), what);
        }
    }
    let mut held = 0_i128;
    for row in &export.revenue_shares {
        report.count("shares of revenue");
        let place = format!("revenue_shares {}", row.id);
        let vote = export
            .proposals
            .iter()
            .find(|one| one.id == row.proposal_id);
        report.require(vote.is_some_and(|vote| gives(vote, row)), &place, || {
            "no executed proposal gave it".to_owned()
        });
        let known = export.accounts.iter().any(|one| one.id == row.account_id);
        report.require(known, &place, || "its owner is missing".to_owned());
        facts.happened("revenue", &row.proposal_id, row.created_at);
        match row.claimed_at {
            None => held += i128::from(row.amount_micro),
            Some(at) => {
                facts.due("revenue-claim", &row.id, SHARES, -row.amount_micro);
                facts.due("revenue-claim", &row.id, &row.account_id, row.amount_micro);
                facts.happened("revenue-claim", &row.id, at);
            }
        }
    }
    // The export of one market has nothing of this.
    if export.market.is_none() {
        let stated = balances.get(SHARES).copied().unwrap_or(0);
        let place = format!("accounts {SHARES}");
        report.agree(&place, "what it holds", i128::from(stated), held);
    }
}

/// Whether a share bears the name that a proposal gave it, and is of its period.
fn gives(vote: &Proposal, row: &RevenueShare) -> bool {
    let action: Value = serde_json::from_str(&vote.action).unwrap_or(Value::Null);
    let shares = action["shares"].as_array().map_or(0, Vec::len);
    let named = (0..shares).any(|ordinal| row.id == format!("{}-{ordinal:03}", vote.id));
    let is_split = action["kind"] == "revenue-split" && action["period"] == row.period.as_str();
    is_split && named && vote.state == "executed"
}

/// The shares of a proposal by their place in it.
pub(crate) fn of_proposal<'a>(
    export: &'a Export,
    proposal_id: &str,
) -> BTreeMap<usize, &'a RevenueShare> {
    let rows = export.revenue_shares.iter();
    rows.filter(|row| row.proposal_id == proposal_id)
        .filter_map(|row| Some((row.id.rsplit('-').next()?.parse().ok()?, row)))
        .collect()
}
