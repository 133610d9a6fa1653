//! What the HTTP API answers. Times are RFC 3339 UTC, money is integer
//! micro-credits (`_micro`), shares of compute are basis points (`_bps`).

mod calibration;
mod enforcement;
mod evidence;
mod inference;
mod notices;
mod operations;
mod oracle;
mod orders;
mod outcomes;
mod panels;
mod passkeys;
mod people;
mod portfolio;
mod settlement;
mod training;
mod transparency;
mod voting;
mod webhooks;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use calibration::{
    BinView, CalibrationView, ConcentrationView, FlagView, KindView, ManipulationView, ScoresView,
    ThresholdView,
};
pub use enforcement::{EnforcementView, ReportTaken, TargetEnforcement};
pub use evidence::{
    AttachmentView, CommentView, CommitmentView, EvidenceFeeView, EvidenceView,
    ExhibitChallengeView, JudgementView,
};
pub use inference::*;
pub use notices::*;
pub use operations::*;
pub use oracle::*;
pub use orders::{BookView, LevelView, OrderView};
pub use outcomes::{OutcomeHolding, OutcomePrices, OutcomeView};
pub use panels::*;
pub use passkeys::*;
pub use people::*;
pub use portfolio::{HistoryView, HoldingView, PortfolioView, StandingView};
pub use settlement::{
    AuditView, ClaimView, ClosingView, InclusionView, LogView, SettlementRecord, SettlementView,
    WindowsView,
};
pub use training::*;
pub use transparency::{
    ConsistencyView, LogCheckpointView, LogEntriesView, LogEntryView, LogProofView,
};
pub use voting::*;
pub use webhooks::{DeliveryView, WebhookCreated, WebhookView};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass as `cursor` for the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// `GET /me`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MeView {
    /// Account id.
    pub id: String,
    /// Public name.
    pub handle: String,
    /// Free balance.
    pub balance_micro: i64,
    /// Locked in positions of markets that are not paid yet.
    pub locked_micro: i64,
    /// Roles held.
    pub roles: Vec<String>,
    /// When the account was made.
    pub created_at: String,
}

/// A session that was opened; the secret goes into a cookie, never into a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOpened {
    /// Cookie value.
    pub secret: String,
    /// Token that forms must carry.
    pub csrf: String,
    /// Seconds until it ends.
    pub max_age_s: i64,
}

/// An API token without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Token id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was last used.
    pub last_used_at: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<String>,
}

/// A token that was just made. `token` is shown this once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// Token id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<String>,
    /// The secret, `plb_…`.
    pub token: String,
}

/// Bounds of a credible interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IntervalView {
    /// Lower bound, in (0, 1).
    pub low: f64,
    /// Upper bound, in (0, 1).
    pub high: f64,
}

/// A run's risk as its latest market prices it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RiskView {
    /// Market that says so.
    pub market_id: String,
    /// Market's status.
    pub status: String,
    /// Posted probability.
    pub probability: f64,
    /// Credible bounds round it.
    pub interval: IntervalView,
    /// Settlement, when there is one.
    pub settlement: Option<f64>,
}

/// The allocation in force for a run, as far as schedulers acknowledged it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AllocationView {
    /// Decision id.
    pub decision_id: String,
    /// `allow`, `throttle`, `pause`, `drain` or `terminate`.
    pub action: String,
    /// Share of the pool that the run may use.
    pub share_bps: i64,
    /// Generation of the decision.
    pub generation: i64,
    /// Newest acknowledged phase, if any.
    pub phase: Option<String>,
    /// Share that the scheduler says is in force.
    pub actual_bps: Option<i64>,
    /// One sentence on why.
    pub reason: String,
    /// When the decision was made.
    pub created_at: String,
    /// When it lapses to its floor.
    pub expires_at: String,
}

/// `GET /runs/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Run id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// `embedded` or `external`.
    pub kind: String,
    /// `training`, `paused`, `finished`, `registered`, …
    pub status: String,
    /// Number of parameters.
    pub parameters: i64,
    /// Tokens trained on.
    pub tokens: i64,
    /// Value that the policy in force gives it.
    pub value_weight: f64,
    /// Severity that the policy in force gives it.
    pub severity: f64,
    /// When it was registered.
    pub created_at: String,
    /// What its latest market says.
    pub risk: Option<RiskView>,
    /// What it may use.
    pub allocation: Option<AllocationView>,
    /// Live training figures when the run is hosted here.
    pub training: Option<TrainingView>,
}

/// A checkpoint's identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointView {
    /// BLAKE3, hex.
    pub hash: String,
    /// Outer round.
    pub round: i64,
    /// Tokens.
    pub tokens: i64,
    /// When.
    pub at: String,
    /// Kept because a market is frozen on it.
    pub pinned: bool,
}

/// `GET /markets/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MarketView {
    /// Market id.
    pub id: String,
    /// Run that the claim is about.
    pub run_id: String,
    /// Its name.
    pub run_name: String,
    /// The claim.
    pub claim: String,
    /// Kind of misalignment.
    pub claim_kind: String,
    /// How a reviewer decides.
    pub rubric: String,
    /// Public terms of the trigger search, for claims about one.
    pub probe: Option<crate::commands::ProbeTerms>,
    /// `open`, `closing`, `frozen`, `auditing`, `settling`, `final`, `paid` or `void`.
    pub status: String,
    /// Posted probability.
    pub probability: f64,
    /// Probability at opening.
    pub opening_probability: f64,
    /// Credible bounds round the price.
    pub interval: IntervalView,
    /// LMSR liquidity b.
    pub liquidity_micro: i64,
    /// Most the market's sponsor can lose.
    pub subsidy_micro: i64,
    /// Settlement terms and result.
    pub settlement: SettlementView,
    /// When it opened.
    pub opened_at: String,
    /// When trading stops at the latest.
    pub closes_at: String,
    /// Trading also stops at this many tokens of the run.
    pub closes_after_tokens: Option<i64>,
    /// Number of trades, evidence moves included.
    pub trades: i64,
    /// Number of submissions of evidence.
    pub evidence: i64,
    /// Effective number of independent judges in the last assessment.
    pub n_eff: f64,
    /// b·KL: expected cost to push the price from here across one half; of several outcomes, to make the
    /// second look as likely as the first.
    pub manipulation_cost_micro: i64,
    /// Fee of trades to the treasury, basis points of their cost.
    #[serde(default)]
    pub trade_fee_bps: u16,
    /// Fee of trades to whoever opened the market, basis points of their cost.
    #[serde(default)]
    pub creator_fee_bps: u16,
    /// The outcomes of a market that has several. `probability` is the first one's then, and moves no allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<OutcomeView>>,
}

/// One point of `GET /markets/{id}/prices`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PricePoint {
    /// When.
    pub at: String,
    /// Probability after the move.
    pub probability: f64,
    /// `open`, `trade`, `evidence` or `oracle`.
    pub cause: String,
    /// Id of the trade or evidence.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// A trade that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TradeView {
    /// Trade id.
    pub id: String,
    /// Market.
    pub market_id: String,
    /// Trader's handle.
    pub account: String,
    /// When.
    pub at: String,
    /// `yes` or `no`; in a market of several outcomes, the name of one.
    pub outcome: String,
    /// Change of YES micro-shares; in a market of several outcomes, of shares of the outcome.
    pub yes_micro: i64,
    /// Change of NO micro-shares.
    pub no_micro: i64,
    /// Paid (positive) or received (negative).
    pub cost_micro: i64,
    /// Fee on top.
    #[serde(default)]
    pub fee_micro: i64,
    /// Probability before.
    pub probability_before: f64,
    /// Probability after.
    pub probability_after: f64,
    /// `trade` or `evidence`.
    pub cause: String,
}

/// A quote: the trade that would happen now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuoteView {
    /// `yes` or `no`.
    pub outcome: String,
    /// Change of micro-shares of that outcome.
    pub shares_micro: i64,
    /// Paid (positive) or received (negative), without the fee.
    pub cost_micro: i64,
    /// Fee on top.
    #[serde(default)]
    pub fee_micro: i64,
    /// Cost and fee together; negative are proceeds less the fee.
    #[serde(default)]
    pub total_micro: i64,
    /// Credits per share.
    pub average_price: f64,
    /// Probability before.
    pub probability_before: f64,
    /// Probability after.
    pub probability_after: f64,
    /// Less than asked, because the price reached its clamp.
    pub truncated: bool,
}

/// A holding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PositionView {
    /// Market.
    pub market_id: String,
    /// Claim, for lists.
    pub claim: String,
    /// Holder's handle.
    pub account: String,
    /// YES micro-shares.
    pub yes_micro: i64,
    /// NO micro-shares.
    pub no_micro: i64,
    /// Net amount paid for them.
    pub cost_micro: i64,
    /// Worth at the posted probability.
    pub value_micro: i64,
    /// What the settlement paid.
    pub paid_micro: Option<i64>,
    /// Shares by outcome, in a market of several outcomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<OutcomeHolding>>,
}

/// An acknowledgement by a scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AckView {
    /// Decision.
    pub decision_id: String,
    /// Scheduler.
    pub scheduler: String,
    /// Phase reached.
    pub phase: String,
    /// When.
    pub at: String,
    /// Generation seen.
    pub observed_generation: i64,
    /// Share really in force.
    pub actual_bps: Option<i64>,
    /// How, or why not.
    pub detail: Option<String>,
}

/// A decision on a run that changed what the one before gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareChange {
    /// When.
    pub at: String,
    /// The decision.
    pub decision_id: String,
    /// `allow`, `throttle`, `pause`, `drain` or `terminate`.
    pub action: String,
    /// Share of the pool, basis points.
    pub share_bps: i64,
}

/// One signed decision with its acknowledgements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// Position in the service's sequence of decisions.
    pub version: i64,
    /// The payload, decoded for reading. Act only on a verified envelope.
    #[schema(value_type = Object)]
    pub decision: serde_json::Value,
    /// DSSE envelope: `payloadType`, `payload` (base64), `signatures`.
    #[schema(value_type = Object)]
    pub envelope: serde_json::Value,
    /// Distinct signatures that it needs: what the policy asks for, or as many as there are keys that count.
    pub signatures_needed: usize,
    /// Name of the target run.
    pub target_name: String,
    /// What schedulers said.
    pub acks: Vec<AckView>,
    /// Where it stands in the transparency log; only with a single decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<LogProofView>,
}

/// `GET /allocations`: the full desired state of every target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AllocationsView {
    /// Pass as `since` to wait for the next change.
    pub version: i64,
    /// Newest decision of each target.
    pub items: Vec<DecisionView>,
}

/// A verification key, `GET /keys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Key id as in the envelopes' signatures.
    pub key_id: String,
    /// `ed25519`.
    pub algorithm: String,
    /// 32 bytes, standard base64.
    pub public_key: String,
    /// Valid from.
    pub not_before: String,
    /// Valid until; absent while in use.
    pub not_after: Option<String>,
    /// Handle of whose it is; absent for the service's own.
    pub owner: Option<String>,
    /// Epoch of decisions from which it signs.
    pub epoch: i64,
    /// DSSE envelope in which keys before it vouch for it; absent for the first.
    #[schema(value_type = Option<Object>)]
    pub statement: Option<serde_json::Value>,
}

/// `GET /policy`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Version number.
    pub version: i64,
    /// BLAKE3 of the text.
    pub hash: String,
    /// The document.
    pub toml: String,
    /// When it came into force.
    pub created_at: String,
    /// Whether it is the one in force.
    pub active: bool,
    /// Name of the document.
    pub name: String,
    /// Version under that name.
    pub document_version: u32,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// The vote that put it in force; absent for the first.
    pub proposal_id: Option<String>,
}

/// One line of an account's statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransferView {
    /// Transfer id.
    pub id: String,
    /// When.
    pub at: String,
    /// `grant`, `trade`, `stake`, `payout`, `fee`, `subsidy`, `refund`, …
    pub kind: String,
    /// What it belongs to.
    pub reference: String,
    /// Change of this account.
    pub amount_micro: i64,
}

/// Totals of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LedgerSummary {
    /// Sum over all accounts; always 0.
    pub sum_micro: i64,
    /// What the treasury holds; negative by what it issued.
    pub treasury_micro: i64,
    /// Held in markets' escrows.
    pub escrow_micro: i64,
    /// Held by people.
    pub users_micro: i64,
}

/// An event of the outbox, as SSE sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Increasing id; send it back as `Last-Event-ID`.
    pub id: i64,
    /// `market:ID`, `run:ID`, `training:RUN`, `allocations`, `oracle`.
    pub topic: String,
    /// What happened.
    pub kind: String,
    /// When.
    pub at: String,
    /// Details.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// A job of the service, for the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Kind.
    pub kind: String,
    /// Idempotency key.
    pub key: String,
    /// `queued`, `running`, `done` or `failed`.
    pub status: String,
    /// Times tried.
    pub attempts: i64,
    /// When it runs next.
    pub run_at: String,
    /// Last error.
    pub last_error: Option<String>,
}
