//! One's own holdings and history, and how everybody has done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{OrderView, OutcomeHolding};

/// An open position, marked to market.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HoldingView {
    /// Market.
    pub market_id: String,
    /// Its claim.
    pub claim: String,
    /// Its status.
    pub status: String,
    /// Posted probability, or the settlement once there is one.
    pub probability: f64,
    /// YES micro-shares.
    pub yes_micro: i64,
    /// NO micro-shares.
    pub no_micro: i64,
    /// Shares of each outcome, where the market has several.
    #[serde(default)]
    pub outcomes: Option<Vec<OutcomeHolding>>,
    /// Net amount paid for them; negative: sales brought in more, which is paid with the settlement.
    pub cost_micro: i64,
    /// What is locked: the most that can be lost.
    pub locked_micro: i64,
    /// What the settlement would pay at the posted probability.
    pub value_micro: i64,
    /// Value less what is locked.
    pub unrealised_micro: i64,
    /// Fees paid in this market.
    pub fee_micro: i64,
}

/// `GET /portfolio`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PortfolioView {
    /// Handle.
    pub account: String,
    /// Free balance.
    pub balance_micro: i64,
    /// Set aside for resting orders.
    pub reserved_micro: i64,
    /// Stakes of evidence that is not judged yet.
    pub staked_micro: i64,
    /// Locked in open positions.
    pub locked_micro: i64,
    /// What open positions are worth at posted probabilities.
    pub value_micro: i64,
    /// Free balance, reserves, stakes and value together.
    pub equity_micro: i64,
    /// Value of open positions less what is locked in them.
    pub unrealised_micro: i64,
    /// Profit of paid markets, less fees.
    pub realised_micro: i64,
    /// Paid markets with a position.
    pub markets: i64,
    /// Those of them with a profit.
    pub hits: i64,
    /// Open positions.
    pub positions: Vec<HoldingView>,
    /// Open orders, oldest first.
    pub orders: Vec<OrderView>,
    /// Whether every open position and order is in the lists and the sums.
    pub complete: bool,
}

/// One line of `GET /portfolio/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// When.
    pub at: String,
    /// `trade`, `evidence`, or the kind of transfer: `payout`, `refund`, `order`, `stake`, `grant`, …
    pub kind: String,
    /// Trade, evidence, order or market that it belongs to.
    pub reference: String,
    /// Market that it belongs to, if any.
    pub market_id: Option<String>,
    /// Its claim.
    pub claim: Option<String>,
    /// `yes` or `no`, for trades.
    pub outcome: Option<String>,
    /// Micro-shares received; negative: sold.
    pub shares_micro: Option<i64>,
    /// For trades, what was received (negative: paid), fees included; for transfers, the change of the balance.
    pub amount_micro: i64,
    /// Fee in it.
    pub fee_micro: i64,
    /// Probability before the move.
    pub probability_before: Option<f64>,
    /// And after.
    pub probability_after: Option<f64>,
}

/// One line of `GET /leaderboard`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StandingView {
    /// Place, from 1.
    pub rank: i64,
    /// Handle.
    pub account: String,
    /// Paid markets with a position.
    pub markets: i64,
    /// Those of them with a profit.
    pub hits: i64,
    /// Hits per market.
    pub hit_rate: f64,
    /// Profit of trades, less fees.
    pub trading_micro: i64,
    /// Profit of evidence.
    pub evidence_micro: i64,
    /// Both together.
    pub total_micro: i64,
}
