//! Runs resting orders after a move of the price, in the transaction of that move.

use plumbline_market::lmsr::Maker;
use plumbline_market::money::{Micro, MicroShares};
use plumbline_market::orders::{OrderFill, Resting, Run, Side, Want, next_side, run};
use plumbline_store::markets::{self, Market};
use plumbline_store::orders::{self, BestLimits, Order};
use plumbline_store::trades::Trade;
use plumbline_store::{Tx, jobs};
use serde_json::json;
use uuid::Builder;

use super::{ending::end, orders_account, refresh};
use crate::fees::{charge, schedule_of};
use crate::jobs::MATCH_ORDERS;
use crate::ledger::post;
use crate::time::Millis;
use crate::trades::{book_move, check_open, maker_of, outcome_named, position_of, probability};
use crate::{Result, Service, ServiceError};

/// Orders that run in the transaction of one move; the rest go on in a job, so that one trade never
/// holds up the others for long.
const RUNS_PER_MOVE: usize = 8;
/// Orders that run in one transaction of the job.
const RUNS_PER_CHUNK: usize = 64;

/// What became of a look at an order.
enum Look {
    /// It waits, and so does every other order of its side.
    Waits,
    /// It ran or ended; the market may have moved.
    Went(Box<Market>),
}

impl Service {
    /// The job: goes on where [`follow`] stopped.
    pub(crate) fn match_orders(&self, market_id: &str) -> Result<()> {
        loop {
            let id = market_id.to_owned();
            let more = self.write_at(move |tx, now| {
                let market = markets::get(tx, &id)?;
                run_some(tx, market, RUNS_PER_CHUNK, now)
            })?;
            if more.is_none() {
                return Ok(());
            }
        }
    }
}

/// Runs the orders that a move has reached. `market` is the row as it was just stored.
pub(crate) fn follow(tx: &mut Tx, market: Market, now: Millis) -> Result<()> {
    if let Some(market) = run_some(tx, market, RUNS_PER_MOVE, now)? {
        let payload = json!({"market_id": market.id}).to_string();
        // The version makes the key new whenever the market has moved.
        let key = format!("{MATCH_ORDERS}:{}:{}", market.id, market.version);
        jobs::enqueue(tx, MATCH_ORDERS, &key, &payload, now)?;
    }
    Ok(())
}

/// Runs up to `most` orders; the market comes back when there may be more.
fn run_some(tx: &mut Tx, mut market: Market, most: usize, now: Millis) -> Result<Option<Market>> {
    let limits = orders::best_limits(tx, &market.id)?;
    if !reaches(&market, &limits) || check_open(&market, Some(now)).is_err() {
        return Ok(None);
    }
    for _ in 0..most {
        market = match run_next(tx, market, now)? {
            Some(market) => market,
            None => return Ok(None),
        };
    }
    Ok(Some(market))
}

/// Whether the price is beyond the best limit of either side.
fn reaches(market: &Market, limits: &BestLimits) -> bool {
    limits.bid.is_some_and(|bid| market.log_odds < bid)
        || limits.ask.is_some_and(|ask| market.log_odds > ask)
}

/// Runs the order whose turn it is; `None` when every order waits.
fn run_next(tx: &mut Tx, market: Market, now: Millis) -> Result<Option<Market>> {
    let maker = maker_of(&market)?;
    let mut best = |side: Side| -> Result<Option<(Resting, Order)>> {
        let order = orders::best(tx, &market.id, side.as_str())?;
        order
            .map(|order| Ok((resting_of(&order)?, order)))
            .transpose()
    };
    let (up, down) = (best(Side::Up)?, best(Side::Down)?);
    fn key(best: &Option<(Resting, Order)>) -> Option<(&Resting, i64)> {
        best.as_ref().map(|(resting, order)| (resting, order.seq))
    }
    let Some(first) = next_side(&maker, key(&up), key(&down)) else {
        return Ok(None);
    };
    let turns = match first {
        Side::Up => [up, down],
        Side::Down => [down, up],
    };
    let mut market = market;
    for (resting, order) in turns.into_iter().flatten() {
        if resting.ahead(&maker) <= 0.0 {
            continue;
        }
        match look_at(tx, market.clone(), &maker, &resting, order, now)? {
            Look::Waits => {}
            Look::Went(after) => {
                market = *after;
                return Ok(Some(market));
            }
        }
    }
    Ok(None)
}

fn look_at(
    tx: &mut Tx,
    market: Market,
    maker: &Maker,
    resting: &Resting,
    order: Order,
    now: Millis,
) -> Result<Look> {
    if order.expires_at.is_some_and(|at| at <= now) {
        end(tx, order, "expired", None, now)?;
        refresh(tx, &market.id)?;
        return Ok(Look::Went(Box::new(market)));
    }
    let held = position_of(tx, &market.id, &order.account_id)?;
    let schedule = schedule_of(&market)?;
    match run(maker, &held, resting, &schedule)? {
        Run::Waits => Ok(Look::Waits),
        Run::Spent => {
            let (status, reason) = if order.filled_micro > 0 {
                ("filled", None)
            } else {
                ("cancelled", Some("nothing is left to sell"))
            };
            end(tx, order, status, reason, now)?;
            refresh(tx, &market.id)?;
            Ok(Look::Went(Box::new(market)))
        }
        Run::Filled(fill) => {
            book_run(tx, market, order, &fill, now).map(|market| Look::Went(Box::new(market)))
        }
    }
}

/// Books one run: the trade with its money, the order's rest, the moved market.
fn book_run(
    tx: &mut Tx,
    market: Market,
    order: Order,
    filled: &OrderFill,
    now: Millis,
) -> Result<Market> {
    let fill = &filled.fill;
    // The shares filled so far only grow, so they number the runs.
    let trade_id = derived_id(&order.id, "trade", order.filled_micro);
    let used = order.reserved_micro - filled.rest.reserve.get();
    let back = if filled.done {
        filled.rest.reserve.get()
    } else {
        0
    };
    let mut entries = vec![
        (orders_account(&market.id), -used - back),
        (order.account_id.clone(), filled.to_account.get() + back),
        (market.escrow_id.clone(), fill.cash.get()),
    ];
    entries.extend(charge(tx, &market, &order.account_id, &filled.fees, now)?);
    let transfer_id = derived_id(&order.id, "transfer", order.filled_micro);
    post(tx, transfer_id, now, "order-fill", &trade_id, entries)?;
    let trade = Trade {
        id: trade_id,
        market_id: market.id.clone(),
        account_id: order.account_id.clone(),
        at: now,
        outcome: order.outcome.clone(),
        yes_micro: fill.yes.get(),
        no_micro: fill.no.get(),
        cost_micro: fill.cost.get(),
        log_odds_before: fill.from.log_odds.get(),
        log_odds_after: fill.to.log_odds.get(),
        cause: "trade".to_owned(),
    };
    let market = book_move(tx, market, &trade, fill.maker, fill.position)?;
    orders::insert_fill(tx, &order.id, &trade.id)?;
    orders::update(tx, &after(order, filled, now)?)?;
    if filled.done {
        refresh(tx, &market.id)?;
    }
    Ok(market)
}

/// The order's row after a run.
fn after(order: Order, filled: &OrderFill, now: Millis) -> Result<Order> {
    let shares = filled.fill.yes.get() + filled.fill.no.get();
    let fees = filled.fees.total().map_err(ServiceError::internal)?.get();
    Ok(Order {
        remaining_micro: rest_of(&filled.rest),
        reserved_micro: if filled.done {
            0
        } else {
            filled.rest.reserve.get()
        },
        filled_micro: order.filled_micro + shares.abs(),
        cost_micro: order.cost_micro + filled.fill.cost.get(),
        fees_micro: order.fees_micro + fees,
        status: if filled.done { "filled" } else { "open" }.to_owned(),
        ended_at: filled.done.then_some(now),
        ..order
    })
}

/// What an order still wants, as it is stored.
fn rest_of(resting: &Resting) -> i64 {
    match resting.want {
        Want::Spend(budget) => budget.get(),
        Want::Sell(shares) => shares.get(),
    }
}

/// A stored order as the market crate knows it.
fn resting_of(order: &Order) -> Result<Resting> {
    let want = if order.shares_micro > 0 {
        Want::Sell(MicroShares(order.remaining_micro))
    } else {
        Want::Spend(Micro(order.remaining_micro))
    };
    Ok(Resting {
        outcome: outcome_named(&order.outcome)?,
        limit: probability(order.limit_probability)?,
        want,
        reserve: Micro(order.reserved_micro),
    })
}

/// An identifier that follows from an order and a number: what an order does happens in the
/// transactions of others, where nothing may depend on anything but what is stored.
pub(super) fn derived_id(order_id: &str, what: &str, number: i64) -> String {
    let hash = blake3::hash(format!("plumbline order {order_id} {what} {number}").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
