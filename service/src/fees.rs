//! Fees of trades: held beside the escrow while a market lives, then due to the treasury and to the
//! market's creator, or back to who paid them if the market is void.

use plumbline_market::fees::{FeeSchedule, Fees};
use plumbline_market::life::Status;
use plumbline_store::accounts;
use plumbline_store::markets::Market;
use plumbline_store::{Tx, fees};

use crate::error::if_found;
use crate::ledger::{TREASURY, ensure_holding, post};
use crate::markets::{life_error, life_of};
use crate::release::Progress;
use crate::time::Millis;
use crate::{Result, ServiceError};

/// Payers whose fees go back in one transaction.
const REFUND_CHUNK: i64 = 200;

/// The account that holds a market's fees.
pub(crate) fn fees_account(market_id: &str) -> String {
    format!("fees-{market_id}")
}

/// What a market's rules charge for a trade.
pub(crate) fn schedule_of(market: &Market) -> Result<FeeSchedule> {
    life_of(market)?.rules.fees().map_err(life_error)
}

/// Notes the fees of one trade; the entry that holds them belongs into the trade's transfer.
pub(crate) fn charge(
    tx: &mut Tx,
    market: &Market,
    account_id: &str,
    charged: &Fees,
    now: Millis,
) -> Result<Vec<(String, i64)>> {
    let total = charged.total().map_err(ServiceError::internal)?.get();
    if total == 0 {
        return Ok(Vec::new());
    }
    let holder = fees_account(&market.id);
    ensure_holding(tx, &holder, now)?;
    fees::add(
        tx,
        &market.id,
        account_id,
        charged.trade.get(),
        charged.creator.get(),
    )?;
    Ok(vec![(holder, total)])
}

/// The step of a market that is over: pays the fees out, or back. Repeating it pays nobody twice,
/// because a paid market's holder is then empty and a refund marks its row.
pub(crate) fn release(
    tx: &mut Tx,
    market: &Market,
    transfer_id: &str,
    now: Millis,
) -> Result<Progress> {
    let holder = fees_account(&market.id);
    let held = if_found(accounts::get(tx, &holder))?.map_or(0, |account| account.balance_micro);
    if held == 0 {
        return Ok(Progress::Done);
    }
    if life_of(market)?.status == Status::Void {
        return refund(tx, market, holder, transfer_id, now);
    }
    let (to_treasury, to_creator) = fees::totals(tx, &market.id)?;
    if to_treasury + to_creator != held {
        return Err(ServiceError::internal(format!(
            "{holder} holds {held}, its rows add up to {to_treasury} and {to_creator}"
        )));
    }
    let entries = vec![
        (holder, -held),
        (TREASURY.to_owned(), to_treasury),
        (market.creator_id.clone(), to_creator),
    ];
    post(
        tx,
        transfer_id.to_owned(),
        now,
        "trade-fees",
        &market.id,
        entries,
    )?;
    Ok(Progress::Done)
}

fn refund(
    tx: &mut Tx,
    market: &Market,
    holder: String,
    transfer_id: &str,
    now: Millis,
) -> Result<Progress> {
    let rows = fees::held(tx, &market.id, REFUND_CHUNK)?;
    if rows.is_empty() {
        return Ok(Progress::Done);
    }
    let mut entries = Vec::with_capacity(rows.len() + 1);
    let mut total = 0_i64;
    for row in rows {
        let paid = row.trade_micro + row.creator_micro;
        fees::mark_returned(tx, &market.id, &row.account_id, now)?;
        total += paid;
        entries.push((row.account_id, paid));
    }
    entries.push((holder, -total));
    post(
        tx,
        transfer_id.to_owned(),
        now,
        "fee-refund",
        &market.id,
        entries,
    )?;
    Ok(Progress::More)
}
