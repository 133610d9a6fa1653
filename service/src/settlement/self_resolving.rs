//! Markets that settle at their own last price (see [`plumbline_market::self_resolving`]).

use plumbline_market::draw::{draw, stop_purpose, unit_interval};
use plumbline_market::life::{Event, Method, Proposer, Search, Status};
use plumbline_market::money::{Micro, MicroShares};
use plumbline_market::probability::{Pi, sigmoid};
use plumbline_market::self_resolving::{Report, Undone, keeps_cash, undo};
use plumbline_market::trade::{Fill, Position};
use plumbline_store::cases;
use plumbline_store::markets::Market;
use plumbline_store::positions::{self, Position as PositionRow};
use plumbline_store::{Tx, trades::Trade};
use serde_json::json;
use std::collections::BTreeMap;

use super::closing::seed_of;
use super::finding::by_treasury;
use super::log::Log;
use super::matter::Matter;
use crate::ledger::{TREASURY, post};
use crate::time::Millis;
use crate::trades::position_of;
use crate::{Result, Service, ServiceError};

/// The method's name on market rows.
pub(crate) const SELF_RESOLVING: &str = "self_resolving";

/// In a self-resolving market what was paid in stays until the settlement.
pub(crate) fn check_fill(market: &Market, fill: &Fill) -> Result<()> {
    if market.settlement_method != SELF_RESOLVING || keeps_cash(fill) {
        return Ok(());
    }
    Err(ServiceError::refused(
        "held-until-settled",
        "a self-resolving market pays nothing out before its settlement, because trades may be undone",
    ))
}

/// A self-resolving market is settled by what its traders report, and by nothing else.
pub(crate) fn refuse_evidence(market: &Market) -> Result<()> {
    if market.settlement_method == SELF_RESOLVING {
        return Err(ServiceError::refused(
            "no-evidence",
            "a self-resolving market takes trades only",
        ));
    }
    Ok(())
}

/// An order that rests would trade after its maker has seen what the others report.
pub(crate) fn refuse_orders(market: &Market) -> Result<()> {
    if market.settlement_method == SELF_RESOLVING {
        return Err(ServiceError::refused(
            "no-orders",
            "a self-resolving market takes trades only, and no orders that rest",
        ));
    }
    Ok(())
}

/// After a trade of a self-resolving market: whether the draw says that it was the last.
pub(crate) fn after_trade(tx: &mut Tx, market_id: &str, now: Millis) -> Result<()> {
    let mut matter = Matter::load(tx, market_id)?;
    let Method::SelfResolving { stop_ppm, .. } = matter.life.rules.method else {
        return Ok(());
    };
    let Some(seed) = seed_of(tx, market_id)? else {
        return Ok(());
    };
    // The head of the opening: one digest, whatever the length of the history.
    let head = Log::open(&matter.case.terms).head.head;
    let number = u64::try_from(matter.market.trades).unwrap_or(0);
    let unit = unit_interval(&draw(&seed, &head, &stop_purpose(number)));
    if matter.life.status != Status::Open || unit >= f64::from(stop_ppm) / 1e6 {
        return Ok(());
    }
    matter.step(&Event::Stop, now)?;
    matter.tell(tx, "closing", now)?;
    matter.save(tx).map(drop)
}

impl Service {
    /// The job: undoes the last trades and settles at the last price.
    pub(super) fn settle_by_reference(&self, market_id: &str) -> Result<()> {
        let ids = [self.new_id(), self.new_id()];
        let (id, config) = (market_id.to_owned(), self.config.clone());
        self.write_at(move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            let Method::SelfResolving { undone, fee, .. } = matter.life.rules.method else {
                return Ok(());
            };
            if matter.life.search != Some(Search::Reference) {
                return Ok(());
            }
            let price = sigmoid(matter.market.log_odds);
            let pi = Pi::new(price).map_err(ServiceError::internal)?;
            let [undo_id, claim_id] = ids;
            let last = undo_last(tx, &matter.market, i64::from(undone), fee, undo_id, now)?;
            let statistics = json!({"reference": price, "undone": last, "fee_micro": fee.get()});
            matter.market.statistics = Some(statistics.to_string());
            let claim = by_treasury(pi, claim_id, "the last price");
            matter.propose(tx, &config, &claim, Proposer::Reference, now)?;
            matter.save(tx).map(drop)
        })
    }
}

/// Undoes the last `count` trades; their ids come back, the oldest first.
fn undo_last(
    tx: &mut Tx,
    market: &Market,
    count: i64,
    fee: Micro,
    transfer_id: String,
    now: Millis,
) -> Result<Vec<String>> {
    let mut last = cases::last_trades(tx, &market.id, count)?;
    last.reverse();
    let reports: Vec<Report<String>> = last.iter().map(report_of).collect();
    let mut held: BTreeMap<String, Position> = BTreeMap::new();
    for report in &reports {
        if !held.contains_key(&report.holder) {
            let position = position_of(tx, &market.id, &report.holder)?;
            held.insert(report.holder.clone(), position);
        }
    }
    let stored = |holder: &String| held.get(holder).copied().unwrap_or_default();
    let rows = undo(&reports, stored, fee).map_err(ServiceError::internal)?;
    let mut entries = Vec::with_capacity(rows.len() + 2);
    for row in rows {
        entries.push((market.escrow_id.clone(), -row.back.get()));
        entries.push((TREASURY.to_owned(), -row.fee.get()));
        entries.push((row.holder.clone(), row.back.get() + row.fee.get()));
        positions::upsert(tx, &position_row(&market.id, row))?;
    }
    post(tx, transfer_id, now, "undo", &market.id, entries)?;
    Ok(last.into_iter().map(|trade| trade.id).collect())
}

fn report_of(trade: &Trade) -> Report<String> {
    Report {
        holder: trade.account_id.clone(),
        yes: MicroShares(trade.yes_micro),
        no: MicroShares(trade.no_micro),
        cost: Micro(trade.cost_micro),
    }
}

fn position_row(market_id: &str, row: Undone<String>) -> PositionRow {
    PositionRow {
        market_id: market_id.to_owned(),
        account_id: row.holder,
        yes_micro: row.position.yes.get(),
        no_micro: row.position.no.get(),
        cost_micro: row.position.net_cost.get(),
        paid_micro: None,
        paid_at: None,
    }
}
