//! Stakes of nodes: what was locked, what a ban took, what went back.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::facts::Facts;
use crate::record::{Export, NodeStake};
use crate::report::Report;

/// Where what bans take goes.
const TREASURY: &str = "treasury";
/// A whole, in basis points.
const FULL_BPS: i128 = 10_000;

/// Says what each stake must have moved, and checks what bans took.
pub(crate) fn check(export: &Export, facts: &mut Facts, report: &mut Report) {
    let mut held = BTreeSet::new();
    for row in &export.node_stakes {
        report.count("node stakes");
        let place = format!("node_stakes {}", row.id);
        let known = export.runs.iter().any(|run| run.id == row.run_id);
        report.require(known, &place, || "its run is missing".to_owned());
        report.require(row.stake_micro > 0, &place, || {
            "nothing is staked".to_owned()
        });
        let over = matches!(row.status.as_str(), "returned" | "slashed");
        let open = matches!(row.status.as_str(), "bonded" | "leaving");
        report.require(over || open, &place, || {
            format!("its status is {}", row.status)
        });
        report.agree(&place, "whether it is over", row.closed_at.is_some(), over);
        let first = over || held.insert((&row.run_id, &row.node_key));
        report.require(first, &place, || {
            "its node has another stake in the run".to_owned()
        });
        let slashed = taken(row);
        report.agree(
            &place,
            "what the ban took",
            Some(row.slashed_micro),
            slashed,
        );
        moves(row, facts);
        let told = told(export, row);
        report.require(told, &place, || {
            "is not what its last event says".to_owned()
        });
    }
}

/// What the ban of a stake takes; `None` where the ban is not its node's, or there is one without being slashed.
fn taken(row: &NodeStake) -> Option<i64> {
    let Some(ban) = &row.ban else {
        return (row.status != "slashed").then_some(0);
    };
    let ban: Value = serde_json::from_str(ban).ok()?;
    let of_node = ban["node"] == row.node_key.as_str() && row.status == "slashed";
    let proven = ban["evidence"].is_object() && ban["reason"].is_string();
    let bps = i128::from(ban["slash_bps"].as_u64()?);
    let amount = i128::from(row.stake_micro) * bps.min(FULL_BPS) / FULL_BPS;
    i64::try_from(amount).ok().filter(|_| of_node && proven)
}

/// Whether the last event about a stake, which the log has, says of it what the row says.
fn told(export: &Export, row: &NodeStake) -> bool {
    let topic = format!("training:{}", row.run_id);
    let of_row = export.log.events.iter().rev().filter_map(|event| {
        let is_of_run = event.topic == topic && event.kind == "stake";
        let payload: Value = serde_json::from_str(&event.payload).ok()?;
        (is_of_run && payload["id"] == row.id.as_str()).then_some(payload)
    });
    let ban = (row.ban.as_ref()).map(|ban| blake3::hash(ban.as_bytes()).to_hex().to_string());
    of_row.take(1).any(|last| {
        last["node"] == row.node_key.as_str()
            && last["status"] == row.status.as_str()
            && last["stake_micro"] == row.stake_micro
            && last["slashed_micro"] == row.slashed_micro
            && last["ban"].as_str() == ban.as_deref()
    })
}

fn moves(row: &NodeStake, facts: &mut Facts) {
    let (holder, id) = (format!("nodes-{}", row.run_id), &row.id);
    facts.due("node-stake", id, &row.account_id, -row.stake_micro);
    facts.due("node-stake", id, &holder, row.stake_micro);
    facts.happened("node-stake", id, row.created_at);
    let Some(at) = row.closed_at else { return };
    let kind = if row.status == "slashed" {
        "node-slash"
    } else {
        "node-return"
    };
    let back = row.stake_micro.saturating_sub(row.slashed_micro);
    facts.due(kind, id, &holder, -row.stake_micro);
    facts.due(kind, id, TREASURY, row.slashed_micro);
    facts.due(kind, id, &row.account_id, back);
    facts.happened(kind, id, at);
}
