//! Resting orders, what they ran for, and the best limits of each market.

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::prepared::Prepared;
use crate::schema::{order_books, order_fills, orders};
use crate::{StoreError, Tx, changed, found};

/// A resting order, or one that has ended.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = orders)]
pub struct Order {
    /// Place in the sequence of orders. Given by the store: [`insert`] ignores it.
    #[diesel(skip_insertion)]
    pub seq: i64,
    /// Identifier.
    pub id: String,
    /// The market.
    pub market_id: String,
    /// Who placed it.
    pub account_id: String,
    /// `yes` or `no`.
    pub outcome: String,
    /// Which way it moves the price: `up` or `down`.
    pub side: String,
    /// Probability of YES up to which, or down to which, it moves the price.
    pub limit_probability: f64,
    /// Budget of a purchase, micro-credits; zero for a sale.
    pub budget_micro: i64,
    /// Micro-shares to sell; zero for a purchase.
    pub shares_micro: i64,
    /// What is left of the budget or of the shares.
    pub remaining_micro: i64,
    /// Cash set aside for it, micro-credits.
    pub reserved_micro: i64,
    /// Micro-shares bought or sold so far.
    pub filled_micro: i64,
    /// What they cost (negative: brought in), micro-credits, without fees.
    pub cost_micro: i64,
    /// Fees so far, micro-credits.
    pub fees_micro: i64,
    /// `open`, `filled`, `cancelled`, `expired` or `closed`.
    pub status: String,
    /// Why it ended, where that is not plain.
    pub reason: Option<String>,
    /// When it was placed, unix ms.
    pub created_at: i64,
    /// When it ends by itself, unix ms.
    pub expires_at: Option<i64>,
    /// When it ended, unix ms.
    pub ended_at: Option<i64>,
}

/// Best limits of a market's open orders, as log-odds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BestLimits {
    /// Highest limit of the orders that push the price up.
    pub bid: Option<f64>,
    /// Lowest limit of the orders that push it down.
    pub ask: Option<f64>,
}

/// All open orders of one side with one limit, added up.
#[derive(Debug, Clone, PartialEq, Queryable)]
pub struct Level {
    /// The limit, a probability of YES.
    pub limit_probability: f64,
    /// Budgets left of the purchases among them, micro-credits.
    pub spend_micro: i64,
    /// Micro-shares left of the sales among them.
    pub shares_micro: i64,
    /// Number of orders.
    pub orders: i64,
}

/// Adds an order; its `seq` comes back.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the market or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, order: &Order) -> Result<i64, StoreError> {
    tx.run(|conn| {
        diesel::insert_into(orders::table)
            .values(order)
            .execute(conn)
    })?;
    tx.last_key()
}

/// The order with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Order, StoreError> {
    let row = tx.run(|conn| {
        orders::table
            .filter(orders::id.eq(id))
            .select(Order::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "order", id)
}

/// Writes back what an open order has left, what it ran for, and how it ended.
///
/// # Errors
/// [`StoreError::NotFound`] if there is no such order or it has ended.
pub fn update(tx: &mut Tx<'_>, order: &Order) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(
            orders::table
                .find(order.seq)
                .filter(orders::status.eq("open")),
        )
        .set((
            orders::remaining_micro.eq(order.remaining_micro),
            orders::reserved_micro.eq(order.reserved_micro),
            orders::filled_micro.eq(order.filled_micro),
            orders::cost_micro.eq(order.cost_micro),
            orders::fees_micro.eq(order.fees_micro),
            orders::status.eq(&order.status),
            orders::reason.eq(&order.reason),
            orders::ended_at.eq(order.ended_at),
        ))
        .execute(conn)
    })?;
    changed(rows, "open order", &order.id)
}

/// The open order of a side that runs first: the best limit, and of equal ones the oldest.
///
/// # Errors
/// Those of the database.
pub fn best(tx: &mut Tx<'_>, market_id: &str, side: &str) -> Result<Option<Order>, StoreError> {
    let open = orders::table
        .filter(orders::market_id.eq(market_id.to_owned()))
        .filter(orders::status.eq("open"))
        .filter(orders::side.eq(side.to_owned()))
        .select(Order::as_select());
    if side == "down" {
        let first = open.order((orders::limit_probability, orders::seq));
        return tx.run(|conn| first.get_result(conn).optional());
    }
    // The highest limit first, then the oldest at that limit: two walks along the index.
    let highest = open.clone().order(orders::limit_probability.desc());
    let Some(found) = tx.run(|conn| highest.first::<Order>(conn).optional())? else {
        return Ok(None);
    };
    let oldest = open
        .filter(orders::limit_probability.eq(found.limit_probability))
        .order(orders::seq);
    tx.run(|conn| oldest.get_result(conn).optional())
}

/// Best limits of a market's open orders; none where it never had any.
///
/// # Errors
/// Those of the database.
pub fn best_limits(tx: &mut Tx<'_>, market_id: &str) -> Result<BestLimits, StoreError> {
    if let Some(limits) = tx.hot().and_then(|hot| hot.best_limits(market_id)) {
        return Ok(limits);
    }
    let row: Option<(Option<f64>, Option<f64>)> = tx.look(|conn| {
        order_books::table
            .find(market_id)
            .select((order_books::best_bid, order_books::best_ask))
            .get_result(conn)
            .optional()
    })?;
    let (bid, ask) = row.unwrap_or_default();
    let limits = BestLimits { bid, ask };
    if let Some(hot) = tx.hot() {
        hot.note_best_limits(market_id, limits);
    }
    Ok(limits)
}

/// Notes the best limits of a market.
///
/// # Errors
/// [`StoreError::Conflict`] if the market does not exist.
pub fn set_best_limits(
    tx: &mut Tx<'_>,
    market_id: &str,
    limits: BestLimits,
) -> Result<(), StoreError> {
    tx.run(|conn| {
        Prepared {
            pieces: &[
                (
                    "INSERT INTO order_books (market_id, best_bid, best_ask) VALUES (",
                    market_id.into(),
                ),
                (", ", limits.bid.into()),
                (", ", limits.ask.into()),
            ],
            rest: ") ON CONFLICT (market_id) DO UPDATE SET best_bid = excluded.best_bid, \
                   best_ask = excluded.best_ask",
        }
        .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` open orders of a market, oldest first of each side.
///
/// # Errors
/// Those of the database.
pub fn open_in_market(
    tx: &mut Tx<'_>,
    market_id: &str,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    tx.run(|conn| {
        orders::table
            .filter(orders::market_id.eq(market_id))
            .filter(orders::status.eq("open"))
            .limit(limit)
            .select(Order::as_select())
            .load(conn)
    })
}

/// An account's open orders in a market, oldest first.
///
/// # Errors
/// Those of the database.
pub fn open_of_owner(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
) -> Result<Vec<Order>, StoreError> {
    tx.run(|conn| {
        orders::table
            .filter(orders::market_id.eq(market_id))
            .filter(orders::account_id.eq(account_id))
            .filter(orders::status.eq("open"))
            .order(orders::seq)
            .select(Order::as_select())
            .load(conn)
    })
}

/// Up to `limit` open orders of an account in all markets, oldest first.
///
/// # Errors
/// Those of the database.
pub fn open_of_account(
    tx: &mut Tx<'_>,
    account_id: &str,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    tx.run(|conn| {
        orders::table
            .filter(orders::account_id.eq(account_id))
            .filter(orders::status.eq("open"))
            .order(orders::seq)
            .limit(limit)
            .select(Order::as_select())
            .load(conn)
    })
}

/// Up to `limit` orders of an account, newest first, with `seq < before` if given; only those of a
/// market, if given.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    account_id: &str,
    market_id: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    let mut query = orders::table
        .filter(orders::account_id.eq(account_id))
        .filter(orders::seq.lt(before.unwrap_or(i64::MAX)))
        .order(orders::seq.desc())
        .limit(limit)
        .select(Order::as_select())
        .into_boxed();
    if let Some(market_id) = market_id {
        query = query.filter(orders::market_id.eq(market_id));
    }
    tx.run(|conn| query.load(conn))
}

/// Up to `limit` open orders whose time is over at `now`, the longest overdue first.
///
/// # Errors
/// Those of the database.
pub fn expired(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<Order>, StoreError> {
    tx.run(|conn| {
        orders::table
            .filter(orders::status.eq("open"))
            .filter(orders::expires_at.le(now))
            .order(orders::expires_at)
            .limit(limit)
            .select(Order::as_select())
            .load(conn)
    })
}

/// Up to `limit` levels of one side of a market's book, the best limit first.
///
/// # Errors
/// Those of the database.
pub fn levels(
    tx: &mut Tx<'_>,
    market_id: &str,
    side: &str,
    limit: i64,
) -> Result<Vec<Level>, StoreError> {
    let query = orders::table
        .filter(orders::market_id.eq(market_id))
        .filter(orders::status.eq("open"))
        .filter(orders::side.eq(side))
        .group_by(orders::limit_probability)
        .select((
            orders::limit_probability,
            sql::<BigInt>("SUM(iif(budget_micro > 0, remaining_micro, 0))"),
            sql::<BigInt>("SUM(iif(budget_micro > 0, 0, remaining_micro))"),
            count_star(),
        ))
        .limit(limit);
    if side == "down" {
        tx.run(|conn| query.order(orders::limit_probability).load(conn))
    } else {
        tx.run(|conn| query.order(orders::limit_probability.desc()).load(conn))
    }
}

/// Notes that a trade was a run of an order.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such order or trade.
pub fn insert_fill(tx: &mut Tx<'_>, order_id: &str, trade_id: &str) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(order_fills::table)
            .values((
                order_fills::order_id.eq(order_id),
                order_fills::trade_id.eq(trade_id),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// How often an order ran.
///
/// # Errors
/// Those of the database.
pub fn count_fills(tx: &mut Tx<'_>, order_id: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        order_fills::table
            .filter(order_fills::order_id.eq(order_id))
            .count()
            .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn order(id: &str, side: &str, limit_probability: f64) -> Order {
        Order {
            seq: 0,
            id: id.to_owned(),
            market_id: "m1".to_owned(),
            account_id: "ada".to_owned(),
            outcome: "yes".to_owned(),
            side: side.to_owned(),
            limit_probability,
            budget_micro: if side == "up" { 100 } else { 0 },
            shares_micro: if side == "up" { 0 } else { 100 },
            remaining_micro: 100,
            reserved_micro: 100,
            filled_micro: 0,
            cost_micro: 0,
            fees_micro: 0,
            status: "open".to_owned(),
            reason: None,
            created_at: 1,
            expires_at: None,
            ended_at: None,
        }
    }

    fn ids(rows: Vec<Order>) -> Vec<String> {
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn the_best_limit_comes_first_and_then_the_oldest() {
        within(|tx| {
            for (id, side, limit) in [
                ("a", "up", 0.6),
                ("b", "up", 0.7),
                ("c", "up", 0.7),
                ("d", "down", 0.8),
                ("e", "down", 0.75),
                ("f", "down", 0.75),
            ] {
                insert(tx, &order(id, side, limit))?;
            }
            assert_eq!(best(tx, "m1", "up")?.unwrap().id, "b");
            assert_eq!(best(tx, "m1", "down")?.unwrap().id, "e");
            let ended = Order {
                status: "filled".to_owned(),
                reserved_micro: 0,
                ended_at: Some(3),
                ..best(tx, "m1", "up")?.unwrap()
            };
            update(tx, &ended)?;
            assert_eq!(best(tx, "m1", "up")?.unwrap().id, "c");
            assert_eq!(
                update(tx, &ended),
                Err(StoreError::not_found("open order", "b"))
            );
            let of = |rows: Vec<Level>| -> Vec<(f64, i64, i64, i64)> {
                rows.into_iter()
                    .map(|row| {
                        (
                            row.limit_probability,
                            row.spend_micro,
                            row.shares_micro,
                            row.orders,
                        )
                    })
                    .collect()
            };
            assert_eq!(
                of(levels(tx, "m1", "up", 9)?),
                [(0.7, 100, 0, 1), (0.6, 100, 0, 1)]
            );
            assert_eq!(
                of(levels(tx, "m1", "down", 9)?),
                [(0.75, 0, 200, 2), (0.8, 0, 100, 1)]
            );
            assert_eq!(best(tx, "m2", "up")?, None);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn orders_are_listed_by_owner_and_by_deadline() {
        within(|tx| {
            let late = Order {
                expires_at: Some(50),
                ..order("a", "up", 0.6)
            };
            insert(tx, &late)?;
            insert(tx, &order("b", "down", 0.7))?;
            assert_eq!(ids(open_of_owner(tx, "m1", "ada")?), ["a", "b"]);
            assert_eq!(ids(open_of_account(tx, "ada", 1)?), ["a"]);
            assert_eq!(ids(list(tx, "ada", Some("m1"), None, 9)?), ["b", "a"]);
            assert_eq!(ids(list(tx, "ada", None, Some(2), 9)?), ["a"]);
            assert!(list(tx, "ada", Some("m2"), None, 9)?.is_empty());
            assert_eq!(ids(expired(tx, 50, 9)?), ["a"]);
            assert!(expired(tx, 49, 9)?.is_empty());
            assert_eq!(ids(open_in_market(tx, "m1", 9)?).len(), 2);
            assert_eq!(best_limits(tx, "m1")?, BestLimits::default());
            for bid in [Some(0.5), None] {
                let limits = BestLimits {
                    bid,
                    ask: Some(1.0),
                };
                set_best_limits(tx, "m1", limits)?;
                assert_eq!(best_limits(tx, "m1")?, limits);
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_table_refuses_what_makes_no_sense() {
        for wrong in [
            Order {
                reserved_micro: -1,
                ..order("a", "up", 0.6)
            },
            Order {
                limit_probability: 0.004,
                ..order("a", "up", 0.6)
            },
            Order {
                shares_micro: 5,
                ..order("a", "up", 0.6)
            },
            Order {
                ended_at: Some(1),
                ..order("a", "up", 0.6)
            },
            Order {
                status: "filled".to_owned(),
                ended_at: Some(1),
                ..order("a", "up", 0.6)
            },
        ] {
            let refused = within(move |tx| insert(tx, &wrong));
            assert!(
                matches!(refused, Err(StoreError::Database(_))),
                "{refused:?}"
            );
        }
    }
}
