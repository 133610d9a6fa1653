//! What the oracle is made of, what it learnt, and how good it was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScoresView;

/// One judge of the ensemble.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JudgeView {
    /// Name.
    pub name: String,
    /// Family; judges of one family share blind spots.
    pub family: String,
    /// Weight in the pool of the version in force.
    pub weight: f64,
    /// What it is.
    pub about: String,
    /// Identity of its parameters; absent for a judge that is missing.
    pub version: Option<String>,
    /// `ok`, `failing` (its last three turns failed), `idle` (not asked lately) or `missing` (it judged before, or
    /// belongs to the version in force, and is not loaded).
    pub status: String,
    /// Weight in the latest learnt version; absent before there is one.
    pub learned_weight: Option<f64>,
    /// Submissions that it judged, of the latest ones.
    pub judged: usize,
    /// Submissions with nothing of a form that it reads.
    pub skipped: usize,
    /// Submissions that it should have judged and could not.
    pub failed: usize,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// Milliseconds within which half of its judgements came.
    pub latency_p50_ms: Option<u64>,
    /// Milliseconds within which 99 % of them came.
    pub latency_p99_ms: Option<u64>,
    /// What its judgements cost.
    pub cost_micro: i64,
    /// Judgements more than three standard deviations from what the other judges pooled to.
    pub outliers: usize,
    /// Settled cases that it had judged, of the latest ones.
    pub settled: usize,
    /// Mean log loss on those, nats.
    pub log_loss: Option<f64>,
}

/// How judges hang together, in one version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolStateView {
    /// The version.
    pub version: String,
    /// Settled cases behind it.
    pub cases: i64,
    /// Mean correlation between the errors of two judges.
    pub rho: f64,
    /// Effective number of judges when all answer.
    pub n_eff: f64,
    /// Judges, in the order of the matrices.
    pub judges: Vec<String>,
    /// Their weights when all answer; they sum to 1.
    pub weights: Vec<f64>,
    /// Correlation of their errors.
    pub correlation: Vec<Vec<f64>>,
    /// Covariance of their errors, nats².
    pub covariance: Vec<Vec<f64>>,
}

/// A point in the line of learnt versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolPointView {
    /// When the version was made.
    pub at: String,
    /// Settled cases behind it.
    pub cases: i64,
    /// Effective number of judges.
    pub n_eff: f64,
    /// Mean correlation.
    pub rho: f64,
    /// Weights, by judge.
    pub weights: BTreeMap<String, f64>,
}

/// `GET /oracle`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OracleView {
    /// Identity of judges, weights and pooling together.
    pub version: String,
    /// Base rate in log-odds.
    pub base_log_odds: f64,
    /// Mean correlation of the judges' errors, in force.
    pub rho: f64,
    /// Effective number of judges when all answer, in force.
    pub n_eff: f64,
    /// Weight κ with which a shift moves a price.
    pub kappa: f64,
    /// The judges.
    pub judges: Vec<JudgeView>,
    /// The version in force.
    pub in_force: OracleVersionView,
    /// How its judges hang together.
    pub state: PoolStateView,
    /// What was learnt from the settled cases so far; absent before the first. It judges nothing until it is adopted.
    pub learned: Option<PoolStateView>,
    /// Candidates that could be put in force, the latest first: the latest learnt one, and trained ones.
    pub candidates: Vec<OracleVersionView>,
    /// The line of learnt versions, oldest first, thinned.
    pub history: Vec<PoolPointView>,
    /// Submissions that wait for the judges.
    pub waiting: i64,
    /// How many may wait at most, in all markets.
    pub waiting_limit: i64,
}

/// How well the line of learnt versions predicted: each case by the version that had not seen it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PrequentialView {
    /// Cases.
    pub cases: usize,
    /// Mean log loss of the learnt versions, nats.
    pub learned_log_loss: f64,
    /// That of the pool that learns nothing.
    pub untaught_log_loss: f64,
    /// That of the last prices.
    pub price_log_loss: f64,
}

/// A version of the oracle.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OracleVersionView {
    /// Order of making.
    pub number: i64,
    /// Hash of its content: BLAKE3 of the JSON of `content`.
    pub id: String,
    /// The version before it.
    pub parent: Option<String>,
    /// `shipped`, `learned` or `trained`.
    pub origin: String,
    /// `candidate`, `in_force` or `retired`.
    pub status: String,
    /// Settled cases seen.
    pub cases: i64,
    /// When it was made.
    pub created_at: String,
    /// Who registered it; absent for what the service made.
    pub created_by: Option<String>,
    /// When it last came into force.
    pub adopted_at: Option<String>,
    /// By what it last came into force.
    pub adopted_by: Option<String>,
    /// By judge, the hash of the weights that it brings.
    pub weights: BTreeMap<String, String>,
    /// How well its line predicted.
    pub score: Option<PrequentialView>,
    /// The held-out report that came with it.
    #[schema(value_type = Option<Object>)]
    pub report: Option<serde_json::Value>,
    /// The version as it was hashed.
    #[schema(value_type = Object)]
    pub content: serde_json::Value,
}

/// What a judge had said of a settled case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CaseReadingView {
    /// Judge.
    pub judge: String,
    /// Its log-odds on all the evidence.
    pub log_odds: f64,
    /// The same as a probability.
    pub probability: f64,
    /// Its standard error, in log-odds.
    pub standard_error: f64,
}

/// A settled case, `GET /oracle/cases`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OracleCaseView {
    /// Place in the chain, from 1.
    pub number: i64,
    /// BLAKE3 of the JSON `[hash of the case before, record]`.
    pub hash: String,
    /// The market.
    pub market_id: String,
    /// Kind of its claim.
    pub claim_kind: String,
    /// When it was settled.
    pub settled_at: String,
    /// How, 0 to 1.
    pub pi: f64,
    /// Last price.
    pub closing_probability: f64,
    /// What the judges in force made of the evidence.
    pub pooled_probability: f64,
    /// What each judge said.
    pub readings: Vec<CaseReadingView>,
    /// Judges that failed.
    pub failed: Vec<String>,
    /// Submissions that moved the price away from the settlement.
    pub misleading: u32,
    /// What the learnt version that had not seen it would have said.
    pub learned_probability: Option<f64>,
    /// What the untaught pool would have said.
    pub untaught_probability: Option<f64>,
    /// The case as it was hashed, with its exhibits by reference.
    #[schema(value_type = Object)]
    pub record: serde_json::Value,
}

/// Scores of one judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JudgeScoresView {
    /// Judge.
    pub judge: String,
    /// Settled cases that it had judged.
    pub cases: usize,
    /// Scores.
    pub scores: ScoresView,
}

/// Whether the last price was better than the judges' pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComparisonView {
    /// `all` cases, or those in which somebody submitted evidence that misled: `misled`.
    pub cases_of: String,
    /// Cases.
    pub cases: usize,
    /// Mean log loss of the last price, nats.
    pub price_log_loss: f64,
    /// Mean log loss of the pool alone, nats.
    pub pool_log_loss: f64,
    /// Price less pool; below zero, the price was better.
    pub difference: f64,
    /// 95 % interval of the difference, lower end; absent below two cases.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// Mean log losses over the first so many cases of a kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurvePointView {
    /// Cases of the kind.
    pub cases: usize,
    /// Of the learnt versions, each case by the one that had not seen it.
    pub learned_log_loss: f64,
    /// Of the untaught pool.
    pub untaught_log_loss: f64,
    /// Of the last prices.
    pub price_log_loss: f64,
}

/// How a kind of claim was learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KindCurveView {
    /// The kind.
    pub claim_kind: String,
    /// Cases.
    pub cases: usize,
    /// The curve, thinned.
    pub points: Vec<CurvePointView>,
}

/// Effects on prompts that were seen beside those on prompts that were not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GapRowView {
    /// The market.
    pub market_id: String,
    /// Largest effect of a trigger that submitted searches report.
    pub observed: f64,
    /// Largest effect that the settlement's test found.
    pub held_out: f64,
}

/// The gap between observed and held-out probes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GapView {
    /// Cases with both.
    pub cases: usize,
    /// Mean effect observed.
    pub observed: f64,
    /// Mean effect held out.
    pub held_out: f64,
    /// The latest of them.
    pub rows: Vec<GapRowView>,
}

/// `GET /oracle/calibration`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OracleCalibrationView {
    /// Settled cases counted, the latest ones.
    pub cases: usize,
    /// Whether they are enough to say anything: 30 or more.
    pub enough: bool,
    /// The judges' pool as it was in force.
    pub pool: Option<ScoresView>,
    /// The last prices of the same cases.
    pub price: Option<ScoresView>,
    /// Each judge.
    pub judges: Vec<JudgeScoresView>,
    /// Whether the price beats the pool.
    pub comparisons: Vec<ComparisonView>,
    /// How well learning predicted.
    pub learning: Option<PrequentialView>,
    /// Learning curves by kind of claim, those with most cases first.
    pub kinds: Vec<KindCurveView>,
    /// Observed and held-out probes.
    pub gap: GapView,
}
