//! How good prices were, and what it takes to mislead them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BinView {
    /// Least forecast.
    pub low: f64,
    /// Greatest forecast.
    pub high: f64,
    /// Cases in it.
    pub cases: usize,
    /// Mean forecast.
    pub forecast: f64,
    /// Mean settlement; absent for no cases.
    pub outcome: Option<f64>,
    /// Wilson interval of the mean settlement at 95 %, lower end.
    pub outcome_low: f64,
    /// Upper end.
    pub outcome_high: f64,
}

/// Scores of one kind of forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoresView {
    /// Mean squared error; lower is better.
    pub brier: f64,
    /// Mean negative log likelihood, nats; lower is better.
    pub log_loss: f64,
    /// Reliability diagram.
    pub bins: Vec<BinView>,
}

/// Scores of the closing prices of one kind of claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KindView {
    /// The kind.
    pub claim_kind: String,
    /// Cases.
    pub cases: usize,
    /// Mean settlement.
    pub base_rate: f64,
    /// Brier score.
    pub brier: f64,
    /// Brier score of always saying the base rate.
    pub base_rate_brier: f64,
    /// Log loss, nats.
    pub log_loss: f64,
}

/// `GET /calibration`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CalibrationView {
    /// Paid markets counted, the latest ones.
    pub cases: usize,
    /// Whether they are enough to say anything: 30 or more.
    pub enough: bool,
    /// Mean settlement; absent for no cases, like the scores.
    pub base_rate: Option<f64>,
    /// Brier score of always saying the base rate.
    pub base_rate_brier: Option<f64>,
    /// Scores of the last price.
    pub closing: Option<ScoresView>,
    /// Scores of the average over the last window, in log-odds by time.
    pub average: Option<ScoresView>,
    /// Length of that window, seconds; shorter in markets that lived shorter.
    pub window_s: i64,
    /// By kind of claim.
    pub kinds: Vec<KindView>,
}

/// What it costs to hold a price at a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThresholdView {
    /// What the threshold is: `trip`, `clear` (of the policy in force) or `half`.
    pub name: String,
    /// The threshold.
    pub probability: f64,
    /// b·KL if the truth is the posted price.
    pub from_price_micro: i64,
    /// b·KL if the truth is the lower end of the interval.
    pub from_low_micro: i64,
    /// b·KL if the truth is the upper end.
    pub from_high_micro: i64,
}

/// How unevenly something is spread over accounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConcentrationView {
    /// Accounts that have any.
    pub holders: usize,
    /// Herfindahl index: 1 for one holder, 1/n for n equal ones.
    pub herfindahl: f64,
    /// Share of the largest.
    pub top1: f64,
    /// Share of the three largest.
    pub top3: f64,
}

/// A pattern of trades worth a look, with its numbers. It accuses nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlagView {
    /// `round_trips`, `back_and_forth` or `churn`.
    pub kind: String,
    /// Handles.
    pub accounts: Vec<String>,
    /// Reversals; trades for `churn`.
    pub count: u32,
    /// Sum of the amounts of those trades.
    pub volume_micro: i64,
    /// Net shares as a part of all shares that they traded.
    pub net: f64,
}

/// `GET /markets/{id}/manipulation`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ManipulationView {
    /// Market.
    pub market_id: String,
    /// Posted probability.
    pub probability: f64,
    /// Liquidity b.
    pub liquidity_micro: i64,
    /// Cost of holding the price at each threshold.
    pub thresholds: Vec<ThresholdView>,
    /// Of what is locked.
    pub locked: ConcentrationView,
    /// Of net exposure: the magnitude of YES less NO shares.
    pub exposure: ConcentrationView,
    /// Latest trades looked at for the flags.
    pub trades: usize,
    /// Flags, the largest volume first.
    pub flags: Vec<FlagView>,
    /// When this was computed; up to a few seconds ago.
    pub at: String,
}
