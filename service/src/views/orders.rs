//! Resting orders and the book.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A resting order of one's own, or one that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// Order id.
    pub id: String,
    /// Market.
    pub market_id: String,
    /// `yes` or `no`.
    pub outcome: String,
    /// Which way it moves the price: `up` or `down`.
    pub side: String,
    /// Probability of YES up to which, or down to which, it moves the price.
    pub limit_probability: f64,
    /// Budget of a purchase.
    pub spend_micro: Option<i64>,
    /// Micro-shares of a sale, negative.
    pub shares_micro: Option<i64>,
    /// What is left of the budget, or of the shares.
    pub remaining_micro: i64,
    /// Cash that is set aside for it.
    pub reserved_micro: i64,
    /// Micro-shares bought so far; negative: sold.
    pub filled_shares_micro: i64,
    /// What they cost, without fees; negative: brought in.
    pub cost_micro: i64,
    /// Fees so far.
    pub fee_micro: i64,
    /// How often it ran.
    pub fills: i64,
    /// `open`, `filled`, `cancelled`, `expired` or `closed` (with the market).
    pub status: String,
    /// Why it ended, where that is not plain.
    pub reason: Option<String>,
    /// When it was placed.
    pub created_at: String,
    /// When it ends by itself.
    pub expires_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
}

/// All open orders of one side with one limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LevelView {
    /// The limit, a probability of YES.
    pub probability: f64,
    /// Budgets of the purchases among them, micro-credits.
    pub spend_micro: i64,
    /// Micro-shares of the sales among them.
    pub shares_micro: i64,
    /// Number of orders.
    pub orders: i64,
}

/// `GET /markets/{id}/book`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BookView {
    /// Market.
    pub market_id: String,
    /// Posted probability.
    pub probability: f64,
    /// Orders that push the price up when it falls below their limit, the highest limit first.
    pub up: Vec<LevelView>,
    /// Orders that push the price down when it rises above their limit, the lowest limit first.
    pub down: Vec<LevelView>,
}
