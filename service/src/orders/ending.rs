//! The end of orders: cancelled, expired, or closed with their market. Whatever is left of a reserve
//! goes back in the transaction that ends the order.

use plumbline_store::Tx;
use plumbline_store::markets::{self, Market};
use plumbline_store::orders::{self, Order};

use super::{matching::derived_id, orders_account, refresh};
use crate::ledger::post;
use crate::release::Progress;
use crate::time::Millis;
use crate::trades::check_open;
use crate::{Result, Service};

/// Orders that end in one transaction.
const CHUNK: i64 = 100;

impl Service {
    /// Ends the orders whose time is over. Called on every tick.
    pub(crate) fn expire_orders(&self) -> Result<()> {
        loop {
            let now = self.now();
            if self.read(|tx| Ok(orders::expired(tx, now, 1)?))?.is_empty() {
                return Ok(());
            }
            self.write_at(move |tx, now| {
                for order in orders::expired(tx, now, CHUNK)? {
                    let order = end(tx, order, "expired", None, now)?;
                    refresh(tx, &order.market_id)?;
                }
                Ok(())
            })?;
        }
    }

    /// The job: ends every order of a market that takes none any more.
    pub(crate) fn close_orders(&self, market_id: &str) -> Result<()> {
        loop {
            let id = market_id.to_owned();
            let progress = self.write_at(move |tx, now| {
                let market = markets::get(tx, &id)?;
                if check_open(&market, Some(now)).is_ok() {
                    return Ok(Progress::Done);
                }
                close_chunk(tx, &market, now)
            })?;
            if progress == Progress::Done {
                return Ok(());
            }
        }
    }
}

/// The step of a market that is over; see [`crate::release`].
pub(crate) fn release(tx: &mut Tx, market: &Market, _: &str, now: Millis) -> Result<Progress> {
    close_chunk(tx, market, now)
}

fn close_chunk(tx: &mut Tx, market: &Market, now: Millis) -> Result<Progress> {
    let open = orders::open_in_market(tx, &market.id, CHUNK)?;
    if open.is_empty() {
        return Ok(Progress::Done);
    }
    for order in open {
        end(tx, order, "closed", Some("trading has stopped"), now)?;
    }
    refresh(tx, &market.id)?;
    Ok(Progress::More)
}

/// Ends an open order and gives back what is left of its reserve.
pub(super) fn end(
    tx: &mut Tx,
    order: Order,
    status: &str,
    reason: Option<&str>,
    now: Millis,
) -> Result<Order> {
    post(
        tx,
        derived_id(&order.id, "refund", 0),
        now,
        "order-refund",
        &order.id,
        vec![
            (orders_account(&order.market_id), -order.reserved_micro),
            (order.account_id.clone(), order.reserved_micro),
        ],
    )?;
    let ended = Order {
        reserved_micro: 0,
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        ended_at: Some(now),
        ..order
    };
    orders::update(tx, &ended)?;
    Ok(ended)
}
