//! What the adversary tried and what it earned, for people and programs.

use serde::Serialize;

/// One checkpoint that was searched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// Checkpoint, hex.
    pub checkpoint: String,
    /// How far the run was on its way to the market's close, 0 to 1.
    pub progress: f64,
    /// Completions drawn.
    pub probes: usize,
    /// `trigger`, `null` or `unclear`.
    pub finding: &'static str,
    /// The candidate that triggers the behaviour, if one does.
    pub trigger: Option<String>,
    /// ln Λ: how much the counts favour "present" over "absent".
    pub log_ratio: f64,
    /// Posterior after it.
    pub posterior: f64,
}

/// One submission of evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Submission {
    /// Evidence id.
    pub evidence_id: String,
    /// Checkpoint that it is about.
    pub checkpoint: String,
    /// The adversary's probability when it submitted.
    pub belief: f64,
    /// Most that it could lose.
    pub stake_micro: i64,
    /// What the service made of it: `pending`, `judged`, `duplicate` or `rejected`.
    pub status: String,
    /// Price before the move.
    pub before: Option<f64>,
    /// Price after it.
    pub after: Option<f64>,
    /// Collateral of the move.
    pub locked_micro: i64,
    /// Fee taken.
    pub fee_micro: i64,
    /// Payoff of the move, once the market is settled; negative when it misled.
    pub payoff_micro: Option<i64>,
    /// Why it moved nothing, if so.
    pub reason: Option<String>,
    /// Whether it was committed to before it was revealed.
    pub committed: bool,
}

/// One trade towards the belief.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TradeMade {
    /// `yes` or `no`.
    pub outcome: String,
    /// The adversary's probability when it traded.
    pub belief: f64,
    /// Price before.
    pub before: f64,
    /// Price after.
    pub after: f64,
    /// Paid (positive) or received (negative).
    pub cost_micro: i64,
}

/// What happened on one market.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MarketReport {
    /// Market id.
    pub id: String,
    /// Name of its run.
    pub run: String,
    /// Kind of claim.
    pub claim_kind: String,
    /// Status when last seen.
    pub status: String,
    /// Price when last seen.
    pub probability: f64,
    /// Completions drawn for it.
    pub probes: usize,
    /// The adversary's own probability at the end.
    pub posterior: f64,
    /// Settlement π, once known.
    pub settlement: Option<f64>,
    /// Why it was left alone, if it was.
    pub skipped: Option<String>,
    /// Every checkpoint searched, oldest first.
    pub tried: Vec<Attempt>,
    /// Every submission, oldest first.
    pub submissions: Vec<Submission>,
    /// Every trade, oldest first.
    pub trades: Vec<TradeMade>,
}

/// The whole session.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Every market seen that was selected.
    pub markets: Vec<MarketReport>,
    /// Requests to the completion gateway.
    pub requests: u64,
    /// Tokens read and generated for it.
    pub tokens: u64,
    /// Fees taken, collateral locked and paid for trades.
    pub spent_micro: i64,
    /// Fees taken.
    pub fees_micro: i64,
    /// Sum of the evidence's payoffs known so far, fees not deducted; what trades earn is in the account's history.
    pub earned_micro: i64,
    /// Seconds the session lasted.
    pub seconds: f64,
    /// Why it ended.
    pub ended: String,
}
