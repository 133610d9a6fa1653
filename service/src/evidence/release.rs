//! What evidence leaves in a market's bonds goes back when the market is over.

use plumbline_store::evidence::{self, Evidence};
use plumbline_store::exhibit_challenges::{self, ExhibitChallenge};
use plumbline_store::markets::Market;
use plumbline_store::{Tx, commitments};

use super::{bonds_account, commitments::release_held};
use crate::Result;
use crate::ledger::{TREASURY, post};
use crate::release::Progress;
use crate::time::Millis;

/// Rows given back in one transaction.
const CHUNK: i64 = 500;

/// The step of a market that is final, paid or void: bonds of undecided disputes, of open
/// commitments, and of submissions go back to who posted them; where the market was called off
/// the fees too. One chunk in at most one transfer; repeating it pays nobody twice.
pub(crate) fn release_evidence(
    tx: &mut Tx,
    market: &Market,
    transfer_id: &str,
    now: Millis,
) -> Result<Progress> {
    let mut entries = close_disputes(tx, market, now)?;
    if entries.is_empty() {
        entries = close_commitments(tx, market, now)?;
    }
    if entries.is_empty() {
        entries = release_submissions(tx, market, now)?;
    }
    if entries.is_empty() {
        return Ok(Progress::Done);
    }
    let bonds = bonds_account(tx, &market.id, now)?;
    let from_bonds: i64 = entries.iter().map(|entry| entry.bond_micro).sum();
    let fees: i64 = entries.iter().map(|entry| entry.fee_micro).sum();
    let mut moves = vec![(bonds, -from_bonds), (TREASURY.to_owned(), -fees)];
    moves.extend(
        entries
            .into_iter()
            .map(|entry| (entry.account_id, entry.bond_micro + entry.fee_micro)),
    );
    post(
        tx,
        transfer_id.to_owned(),
        now,
        "release",
        &market.id,
        moves,
    )?;
    Ok(Progress::More)
}

/// What one row gives back.
struct Back {
    account_id: String,
    bond_micro: i64,
    fee_micro: i64,
}

fn close_disputes(tx: &mut Tx, market: &Market, now: Millis) -> Result<Vec<Back>> {
    let mut entries = Vec::new();
    for row in exhibit_challenges::open_in(tx, &market.id, CHUNK)? {
        entries.push(Back {
            account_id: row.account_id.clone(),
            bond_micro: row.bond_micro,
            fee_micro: 0,
        });
        let row = ExhibitChallenge {
            status: "undecided".to_owned(),
            note: Some("the market was over before it was decided".to_owned()),
            decided_at: Some(now),
            ..row
        };
        exhibit_challenges::update(tx, &row)?;
    }
    Ok(entries)
}

fn close_commitments(tx: &mut Tx, market: &Market, now: Millis) -> Result<Vec<Back>> {
    let mut entries = Vec::new();
    for row in commitments::open(tx, &market.id, CHUNK)? {
        commitments::close(tx, &row.id, "released", None)?;
        entries.push(Back {
            account_id: row.account_id,
            bond_micro: row.bond_micro,
            fee_micro: 0,
        });
    }
    if !entries.is_empty() {
        release_held(tx, &market.id, now)?;
    }
    Ok(entries)
}

fn release_submissions(tx: &mut Tx, market: &Market, now: Millis) -> Result<Vec<Back>> {
    let void = market.status == "void";
    let mut entries = Vec::new();
    for row in evidence::unreleased(tx, &market.id, CHUNK)? {
        entries.push(Back {
            account_id: row.account_id.clone(),
            // Of the others it went back when they were decided, or was lost.
            bond_micro: if row.status == "judged" {
                row.bond_micro
            } else {
                0
            },
            fee_micro: if void { row.fee_micro } else { 0 },
        });
        let row = Evidence {
            released_at: Some(now),
            ..row
        };
        evidence::update(tx, &row)?;
    }
    Ok(entries)
}
