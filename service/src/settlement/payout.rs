//! Payouts and refunds: chunk by chunk, resumable at any row.

use plumbline_market::life::{Event, Status, Time, step};
use plumbline_market::money::Micro;
use plumbline_market::probability::Pi;
use plumbline_market::settle::{payouts, refunds};
use plumbline_market::trade::Position;
use plumbline_store::markets::{self, Market};
use plumbline_store::positions::Position as PositionRow;
use plumbline_store::{Tx, accounts, cases, positions};

use crate::ledger::{TREASURY, post};
use crate::markets::{announce, life_error, life_of, with_life};
use crate::outcomes;
use crate::time::Millis;
use crate::trades::position_from;
use crate::{Result, Service, ServiceError, calibration, standings};

/// Submissions given back at once before a refund.
const PENDING_CHUNK: i64 = 100;

/// Whether a payout has more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paid {
    All,
    Chunk,
    /// Evidence still waits for its judges; its stake is in escrow.
    Waits,
}

impl Service {
    /// The job: pays a final market, or refunds a void one, chunk by chunk.
    /// Repeating it, from any row, pays nobody twice.
    pub(crate) fn pay_market(&self, market_id: &str) -> Result<()> {
        loop {
            let (id, ids) = (market_id.to_owned(), self.new_id());
            let chunk = self.config.payout_chunk.max(1);
            match self.write_at(move |tx, now| pay_chunk(tx, &id, &ids, chunk, now))? {
                Paid::All => return Ok(()),
                Paid::Chunk => {}
                Paid::Waits => self.give_pending_back(market_id)?,
            }
        }
    }

    /// A market that is called off judges nothing any more: stakes go back first.
    fn give_pending_back(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let pending = self.read(move |tx| Ok(cases::pending(tx, &id, PENDING_CHUNK)?))?;
        for evidence_id in pending {
            self.reject_evidence(&evidence_id, "the market was called off")?;
        }
        Ok(())
    }
}

/// Pays up to `chunk` positions.
fn pay_chunk(
    tx: &mut Tx,
    market_id: &str,
    transfer_id: &str,
    chunk: i64,
    now: Millis,
) -> Result<Paid> {
    let market = markets::get(tx, market_id)?;
    let life = life_of(&market)?;
    let pi = match life.status {
        Status::Final => life.settlement(),
        Status::Void => None,
        _ => return Ok(Paid::All),
    };
    // Only stakes are in escrow; the bonds of open commitments are given back by themselves.
    if !cases::pending(tx, market_id, 1)?.is_empty() {
        return Ok(Paid::Waits);
    }
    check_books(tx, &market, pi)?;
    let rows = positions::unpaid(tx, market_id, chunk)?;
    if rows.is_empty() {
        finish_payout(tx, market, transfer_id, now)?;
        return Ok(Paid::All);
    }
    let kind = if pi.is_some() { "payout" } else { "refund" };
    let mut entries = Vec::with_capacity(rows.len() + 1);
    let mut total = 0_i64;
    let due = amounts_due(tx, &market, &rows, pi)?;
    if let Some(pi) = pi {
        standings::book_paid(tx, &market, &rows, &due, pi, now)?;
    }
    for (row, amount) in rows.iter().zip(due) {
        let amount = amount.get();
        positions::mark_paid(tx, market_id, &row.account_id, amount, now)?;
        entries.push((row.account_id.clone(), amount));
        total += amount;
    }
    entries.push((market.escrow_id, -total));
    post(tx, transfer_id.to_owned(), now, kind, market_id, entries)?;
    Ok(Paid::Chunk)
}

/// What the holders of `rows` are due, in their order.
fn amounts_due(
    tx: &mut Tx,
    market: &Market,
    rows: &[PositionRow],
    pi: Option<Pi>,
) -> Result<Vec<Micro>> {
    if let Some(amounts) = outcomes::settle::amounts_due(tx, market, rows, pi.is_some())? {
        return Ok(amounts);
    }
    let due = |row| amount_due(&position_from(row), pi);
    rows.iter().map(due).collect()
}

fn amount_due(position: &Position, pi: Option<Pi>) -> Result<Micro> {
    match pi {
        Some(pi) => position.payout(pi).map_err(ServiceError::internal),
        None => Ok(position.locked()),
    }
}

/// Before the first position is paid: collateral and subsidy are exactly what
/// escrow holds, and cover what is due. Nothing is paid out of wrong books.
fn check_books(tx: &mut Tx, market: &Market, pi: Option<Pi>) -> Result<()> {
    if positions::any_paid(tx, &market.id)? {
        return Ok(());
    }
    let rows = positions::unpaid(tx, &market.id, i64::MAX)?;
    // A void market with nobody in it may already have given its subsidy back.
    if pi.is_none() && rows.is_empty() {
        return Ok(());
    }
    let escrow = Micro(accounts::get(tx, &market.escrow_id)?.balance_micro);
    if outcomes::settle::check_books(tx, market, &rows, escrow, pi.is_some())? {
        return Ok(());
    }
    let subsidy = Micro(market.subsidy_micro);
    let holders: Vec<_> = rows
        .iter()
        .map(|row| (row.account_id.clone(), position_from(row)))
        .collect();
    let plan = match pi {
        Some(pi) => payouts(&holders, pi, subsidy, escrow),
        None => refunds(&holders, subsidy, escrow),
    };
    plan.map(|_| ()).map_err(ServiceError::internal)
}

/// What is left in escrow (unused subsidy, rounding) goes back to the treasury.
fn finish_payout(tx: &mut Tx, market: Market, transfer_id: &str, now: Millis) -> Result<()> {
    let left = accounts::get(tx, &market.escrow_id)?.balance_micro;
    post(
        tx,
        transfer_id.to_owned(),
        now,
        "remainder",
        &market.id,
        vec![
            (market.escrow_id.clone(), -left),
            (TREASURY.to_owned(), left),
        ],
    )?;
    let life = life_of(&market)?;
    if life.status != Status::Final {
        return Ok(());
    }
    let (life, _) = step(&life, &Event::Pay, Time(now)).map_err(life_error)?;
    let market = with_life(market, &life)?;
    markets::update(tx, &market)?;
    calibration::record(tx, &market, now)?;
    announce(tx, now, &market, "paid")
}
