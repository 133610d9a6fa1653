//! Votes: stakes and deposits against the ledger, every count again, and what proposals paid.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::ledger::Balances;
use crate::record::{Account, Ballot, Elector, Export, Proposal, RevenueShare};
use crate::report::Report;
use crate::revenue;

/// Account that holds stakes; what transfers of stakes name.
const STAKES: &str = "votes";
/// Account that holds deposits.
const DEPOSITS: &str = "proposals";
/// Account that forfeited deposits go to and payments come from.
const TREASURY: &str = "treasury";
/// Delegations that are followed from one elector.
const CHAIN: usize = 8;

/// What transfers moved, by kind and the fact that they name.
type Moved = BTreeMap<(&'static str, String), BTreeMap<String, i128>>;

/// A count as it is stored.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    for_weight: u128,
    against_weight: u128,
    for_stake_micro: i64,
    against_stake_micro: i64,
    abstain_stake_micro: i64,
    electorate_micro: i64,
    counted: u32,
    delegated: u32,
}

/// What the terms of a track say about approval.
#[derive(Debug, Deserialize)]
struct Terms {
    quorum_bps: u128,
    approval: Curve,
}

#[derive(Debug, Deserialize)]
struct Curve {
    end_bps: u128,
}

/// The service makes both holders at once, before anybody votes.
fn check_holders(export: &Export, report: &mut Report) {
    let there = |id| export.accounts.iter().any(|account| account.id == id);
    report.require(there(STAKES) == there(DEPOSITS), "accounts", || {
        format!("of {STAKES} and {DEPOSITS} one is missing")
    });
}

/// Checks stakes, deposits, counts and payments.
pub(crate) fn check(export: &Export, moved: &Moved, balances: &Balances, report: &mut Report) {
    // The export of one market has nothing of this.
    if export.market.is_some() {
        return;
    }
    check_holders(export, report);
    check_stakes(export, moved, balances, report);
    let mut held = 0;
    for proposal in &export.proposals {
        report.count("proposals");
        held += check_deposits(export, proposal, moved, report);
        check_count(export, proposal, report);
        check_payment(export, proposal, moved, report);
    }
    let stated = balances.get(DEPOSITS).copied().unwrap_or(0);
    report.agree(
        "accounts proposals",
        "the deposits held",
        i128::from(stated),
        held,
    );
}

fn check_stakes(export: &Export, moved: &Moved, balances: &Balances, report: &mut Report) {
    let mut put_in: BTreeMap<&str, i128> = BTreeMap::new();
    if let Some(moves) = moved.get(&("vote-stake", STAKES.to_owned())) {
        for (account, amount) in moves.iter().filter(|(account, _)| *account != STAKES) {
            put_in.insert(account, -amount);
        }
    }
    let mut sum = 0;
    for stake in &export.stakes {
        report.count("stakes");
        let place = format!("stakes {}", stake.account_id);
        let due = put_in.remove(stake.account_id.as_str()).unwrap_or(0);
        report.agree(&place, "the stake", i128::from(stake.stake_micro), due);
        report.require(
            (0..=stake.stake_micro).contains(&stake.earned_micro),
            &place,
            || "more was earned than is staked".to_owned(),
        );
        sum += i128::from(stake.stake_micro);
    }
    for (account, stake) in put_in.into_iter().filter(|(_, stake)| *stake != 0) {
        report.violation(format!("stakes {account}"), format!("lacks {stake}"));
    }
    let held = balances.get(STAKES).copied().unwrap_or(0);
    report.agree("accounts votes", "the stakes held", i128::from(held), sum);
}

/// What was paid for a proposal, and where it went; what is still held comes back.
fn check_deposits(
    export: &Export,
    proposal: &Proposal,
    moved: &Moved,
    report: &mut Report,
) -> i128 {
    let place = format!("proposals {}", proposal.id);
    let of = |kind| {
        moved
            .get(&(kind, proposal.id.clone()))
            .cloned()
            .unwrap_or_default()
    };
    let mut paid = of("proposal-deposit");
    let mut gone = of("deposit-returned");
    for (account, amount) in of("deposit-forfeited") {
        *gone.entry(account).or_default() += amount;
    }
    let (mut held, mut left) = (0, BTreeMap::new());
    for row in export
        .deposits
        .iter()
        .filter(|row| row.proposal_id == proposal.id)
    {
        let amount = i128::from(row.amount_micro);
        let moved = -paid.remove(&row.account_id).unwrap_or(0);
        report.agree(&place, "a deposit", amount, moved);
        let to = match row.status.as_str() {
            "held" => {
                held += amount;
                continue;
            }
            "returned" => row.account_id.as_str(),
            _ => TREASURY,
        };
        *left.entry(to.to_owned()).or_default() += amount;
        *left.entry(DEPOSITS.to_owned()).or_default() -= amount;
    }
    paid.remove(DEPOSITS);
    report.require(paid.is_empty(), &place, || {
        format!("took {paid:?} for no deposit")
    });
    report.agree(&place, "what became of its deposits", gone, left);
    let over = ["executed", "expired", "rejected", "cancelled"];
    let open = !over.contains(&proposal.state.as_str()) && proposal.state != "queued";
    report.require(open || held == 0, &place, || {
        format!("is over and holds {held}")
    });
    held
}

/// The count again, and whether it is enough for what the proposal became.
fn check_count(export: &Export, proposal: &Proposal, report: &mut Report) {
    let place = format!("proposals {}", proposal.id);
    let Some(began) = proposal.voting_at else {
        return;
    };
    let electors: BTreeMap<&str, &Elector> = export
        .electors
        .iter()
        .filter(|row| row.proposal_id == proposal.id)
        .map(|row| (row.account_id.as_str(), row))
        .collect();
    let ballots: BTreeMap<&str, &Ballot> = export
        .ballots
        .iter()
        .filter(|row| row.proposal_id == proposal.id)
        .map(|row| (row.account_id.as_str(), row))
        .collect();
    let late = ballots.values().any(|ballot| ballot.at < began);
    report.require(!late, &place, || "a ballot came before the vote".to_owned());
    let count = recount(&electors, &ballots);
    match serde_json::from_str::<Count>(&proposal.tally) {
        Ok(stated) => report.agree(&place, "the count", &stated, &count),
        Err(error) => report.violation(&place, format!("its count cannot be read: {error}")),
    }
    let approved = ["queued", "executed"].contains(&proposal.state.as_str());
    if approved {
        let enough = serde_json::from_str::<Terms>(&proposal.terms)
            .is_ok_and(|terms| passes(&count, &terms));
        report.require(enough, &place, || {
            "is approved without enough votes".to_owned()
        });
    }
    report.count("counts of votes");
}

fn tenths(conviction: i64) -> u128 {
    match u128::try_from(conviction) {
        Ok(level @ 1..=6) => level * 10,
        _ => 1,
    }
}

fn recount(electors: &BTreeMap<&str, &Elector>, ballots: &BTreeMap<&str, &Ballot>) -> Count {
    let mut count = Count::default();
    for (account, elector) in electors {
        let stake = elector.stake_micro;
        count.electorate_micro += stake;
        if stake <= 0 {
            continue;
        }
        let own = ballots.get(account);
        let (side, conviction) = match own {
            Some(ballot) => (Some(ballot.side.as_str()), ballot.conviction),
            None => (carried(electors, ballots, elector), elector.conviction),
        };
        let weight = u128::try_from(stake).unwrap_or(0) * tenths(conviction);
        match side {
            Some("for") => {
                count.for_weight += weight;
                count.for_stake_micro += stake;
            }
            Some("against") => {
                count.against_weight += weight;
                count.against_stake_micro += stake;
            }
            Some(_) => count.abstain_stake_micro += stake,
            None => continue,
        }
        count.counted += 1;
        count.delegated += u32::from(own.is_none());
    }
    count
}

/// The ballot of the first delegate on the way who has one.
fn carried<'a>(
    electors: &BTreeMap<&str, &'a Elector>,
    ballots: &BTreeMap<&str, &'a Ballot>,
    elector: &'a Elector,
) -> Option<&'a str> {
    let mut at = elector.delegate_id.as_deref();
    for _ in 0..CHAIN {
        let delegate = at?;
        if let Some(ballot) = ballots.get(delegate) {
            return Some(&ballot.side);
        }
        at = electors.get(delegate)?.delegate_id.as_deref();
    }
    None
}

/// Whether a count is enough at the end of a vote.
fn passes(count: &Count, terms: &Terms) -> bool {
    let decided = count.for_weight + count.against_weight;
    let turned_out = count.for_stake_micro + count.abstain_stake_micro;
    let positive = |stake: i64| u128::try_from(stake).unwrap_or(0);
    count.for_weight > count.against_weight
        && count.for_weight * 10_000 / decided.max(1) >= terms.approval.end_bps
        && positive(turned_out) * 10_000 / positive(count.electorate_micro).max(1)
            >= terms.quorum_bps
}

/// What an executed proposal paid: the sum by weights, to the last unit.
fn check_payment(export: &Export, proposal: &Proposal, moved: &Moved, report: &mut Report) {
    let place = format!("proposals {}", proposal.id);
    let action: Value = serde_json::from_str(&proposal.action).unwrap_or(Value::Null);
    let kind = match action["kind"].as_str() {
        Some("treasury") => "treasury-payment",
        Some("revenue-split") => "revenue",
        _ => return,
    };
    let is = moved
        .get(&(kind, proposal.id.clone()))
        .cloned()
        .unwrap_or_default();
    if proposal.state != "executed" {
        report.require(is.is_empty(), &place, || {
            format!("paid {is:?} and was not executed")
        });
        return;
    }
    let single = [serde_json::json!({"account": action["account"], "weight": 1})];
    let shares = action["shares"]
        .as_array()
        .map_or(&single[..], Vec::as_slice);
    let weights: Vec<u128> = shares
        .iter()
        .map(|share| u128::from(share["weight"].as_u64().unwrap_or(0)))
        .collect();
    let total = action["amount_micro"].as_i64().unwrap_or(0);
    let parts = divide(total, &weights);
    let mut due = BTreeMap::from([(TREASURY.to_owned(), -i128::from(total))]);
    let given = revenue::of_proposal(export, &proposal.id);
    if given.is_empty() {
        // A payment, or shares of before they could be claimed: paid at once.
        for (share, part) in shares.iter().zip(&parts) {
            let handle = share["account"].as_str().unwrap_or_default();
            match payee(export, handle, *part, &is) {
                Some(account) => *due.entry(account).or_default() += *part,
                None => report.violation(&place, format!("pays {handle}, who is not there")),
            }
        }
    } else {
        due.insert(revenue::SHARES.to_owned(), parts.iter().sum());
        check_given(export, &given, (shares, &parts), &place, report);
    }
    due.retain(|_, amount| *amount != 0);
    report.agree(&place, "what it paid", is, due);
}

/// What a proposal gave, by its place in it, is each share's part of the sum, and there is no more.
fn check_given(
    export: &Export,
    given: &BTreeMap<usize, &RevenueShare>,
    (shares, parts): (&[Value], &[i128]),
    place: &str,
    report: &mut Report,
) {
    for (ordinal, (share, part)) in shares.iter().zip(parts).enumerate() {
        let handle = share["account"].as_str().unwrap_or_default();
        let row = given.get(&ordinal);
        let right = row.map_or(*part == 0, |row| {
            let owner = export.accounts.iter().find(|one| one.id == row.account_id);
            i128::from(row.amount_micro) == *part
                && share["weight"] == row.weight
                && owner.is_some_and(|owner| has_handle(owner, handle) || is_closed(owner))
        });
        report.require(right, place, || {
            format!("gave {handle} {row:?}, which should be {part}")
        });
    }
    let named = given.keys().all(|ordinal| *ordinal < shares.len());
    report.require(named, place, || "gave more shares than it names".to_owned());
}

fn has_handle(account: &Account, handle: &str) -> bool {
    account.handle.eq_ignore_ascii_case(handle)
}

/// Whether an account was closed, and so lost the handle that it had.
fn is_closed(account: &Account) -> bool {
    account.handle.starts_with("closed:")
}

/// The account with a handle; where it was closed since, a closed one that was paid the same.
fn payee(
    export: &Export,
    handle: &str,
    part: i128,
    paid: &BTreeMap<String, i128>,
) -> Option<String> {
    let accounts = || export.accounts.iter();
    let was_paid = |one: &&Account| is_closed(one) && paid.get(&one.id) == Some(&part);
    let found = accounts().find(|one| has_handle(one, handle));
    let found = found.or_else(|| accounts().find(was_paid));
    found.map(|account| account.id.clone())
}

/// `total` by `weights`: whole parts first, then one each by the largest remainder, the earlier of equals.
fn divide(total: i64, weights: &[u128]) -> Vec<i128> {
    let (total, sum) = (
        u128::try_from(total).unwrap_or(0),
        weights.iter().sum::<u128>().max(1),
    );
    let mut parts: Vec<u128> = weights.iter().map(|weight| total * weight / sum).collect();
    let mut left = total.saturating_sub(parts.iter().sum());
    let mut taken = BTreeSet::new();
    while left > 0 && taken.len() < weights.len() {
        let open = (0..weights.len()).filter(|index| !taken.contains(index));
        let largest = open.rev().max_by_key(|index| total * weights[*index] % sum);
        let Some(index) = largest else { break };
        taken.insert(index);
        parts[index] += 1;
        left -= 1;
    }
    parts
        .into_iter()
        .map(|part| i128::try_from(part).unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_divided_to_the_last_unit() {
        assert_eq!(divide(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(divide(5, &[0, 7, 7]), [0, 3, 2]);
        assert_eq!(divide(7, &[3]), [7]);
    }
}
