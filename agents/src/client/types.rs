//! The few parts of the API's documents that programs act on.
//!
//! Unknown fields are ignored and missing optional ones take their default, so
//! that a newer service does not break an older program. Times are RFC 3339,
//! money integer micro-credits (`_micro`), shares of compute basis points.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; absent at the end.
    #[serde(default = "none")]
    pub next_cursor: Option<String>,
}

fn none<T>() -> Option<T> {
    None
}

/// The caller's own account.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Me {
    /// Account id.
    pub id: String,
    /// Public name.
    pub handle: String,
    /// Free balance.
    pub balance_micro: i64,
    /// Locked in positions that are not paid yet.
    #[serde(default)]
    pub locked_micro: i64,
    /// Roles held.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NewToken {
    /// Token id.
    pub id: String,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The secret, shown this once.
    pub token: String,
}

/// A governed run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Run {
    /// Run id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// `embedded` or `external`.
    #[serde(default)]
    pub kind: String,
    /// `training`, `paused`, `finished`, …
    #[serde(default)]
    pub status: String,
    /// Tokens trained on.
    #[serde(default)]
    pub tokens: i64,
}

/// A fixed state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Checkpoint {
    /// BLAKE3, hex.
    pub hash: String,
    /// Outer round.
    #[serde(default)]
    pub round: i64,
    /// Tokens the run had seen.
    #[serde(default)]
    pub tokens: i64,
}

/// Live figures of a training run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Training {
    /// Run id.
    pub run_id: String,
    /// `warming_up`, `training`, `paused`, `finished` or `failed`.
    #[serde(default)]
    pub status: String,
    /// Outer rounds done.
    #[serde(default)]
    pub round: u64,
    /// Tokens trained on.
    #[serde(default)]
    pub tokens: u64,
    /// Over the last few seconds.
    #[serde(default)]
    pub tokens_per_second: f64,
    /// Share that is enforced.
    #[serde(default)]
    pub share_bps: u32,
    /// Newest checkpoint's hash.
    #[serde(default)]
    pub checkpoint: Option<String>,
}

/// Settlement terms and result of a market.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Settlement {
    /// `objective`, …
    #[serde(default)]
    pub method: String,
    /// The committed test plan, once it is public.
    #[serde(default)]
    pub plan: Option<Value>,
    /// Checkpoint that the claim is finally about.
    #[serde(default)]
    pub frozen_checkpoint: Option<String>,
    /// Settlement π in [0, 1].
    #[serde(default)]
    pub pi: Option<f64>,
}

/// A market.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Market {
    /// Market id.
    pub id: String,
    /// Run that the claim is about.
    pub run_id: String,
    /// Its name.
    #[serde(default)]
    pub run_name: String,
    /// The claim.
    #[serde(default)]
    pub claim: String,
    /// Kind of misalignment.
    #[serde(default)]
    pub claim_kind: String,
    /// Public terms of the trigger search, for claims about one.
    #[serde(default)]
    pub probe: Option<Value>,
    /// `open`, `closing`, `frozen`, `settling`, `final`, `paid` or `void`.
    pub status: String,
    /// Posted probability.
    pub probability: f64,
    /// Probability at opening.
    #[serde(default = "half")]
    pub opening_probability: f64,
    /// LMSR liquidity b.
    pub liquidity_micro: i64,
    /// Settlement terms and result.
    #[serde(default)]
    pub settlement: Settlement,
    /// When it opened.
    #[serde(default)]
    pub opened_at: String,
    /// When trading stops at the latest.
    #[serde(default)]
    pub closes_at: String,
    /// Trading also stops at this many tokens of the run.
    #[serde(default)]
    pub closes_after_tokens: Option<i64>,
    /// The outcomes, for a market of several; it takes no evidence.
    #[serde(default)]
    pub outcomes: Vec<Outcome>,
}

/// One outcome of a market that has several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Outcome {
    /// Its name, as orders give it.
    pub name: String,
    /// Its price.
    pub probability: f64,
}

fn half() -> f64 {
    0.5
}

impl Market {
    /// Whether trades and evidence are still taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "open" | "closing")
    }

    /// Whether nothing about it will change any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "paid" | "void")
    }
}

/// One point of a price history.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Price {
    /// When.
    pub at: String,
    /// Probability after the move.
    pub probability: f64,
    /// `open`, `trade`, `evidence` or `oracle`.
    pub cause: String,
    /// Id of the trade or evidence.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

/// An order: exactly one of the three sizes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Order {
    /// `yes` or `no`.
    pub outcome: String,
    /// Spend at most this much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_micro: Option<i64>,
    /// Buy (positive) or sell (negative) this many micro-shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares_micro: Option<i64>,
    /// Trade until the probability is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_probability: Option<f64>,
    /// Refuse the whole trade if the probability would pass this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_probability: Option<f64>,
}

/// What an order would do now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Quote {
    /// `yes` or `no`.
    pub outcome: String,
    /// Change of micro-shares of that outcome.
    pub shares_micro: i64,
    /// Paid (positive) or received (negative).
    pub cost_micro: i64,
    /// Probability before.
    pub probability_before: f64,
    /// Probability after.
    pub probability_after: f64,
}

/// A trade that happened.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trade {
    /// Trade id.
    pub id: String,
    /// Change of YES micro-shares.
    #[serde(default)]
    pub yes_micro: i64,
    /// Change of NO micro-shares.
    #[serde(default)]
    pub no_micro: i64,
    /// Paid (positive) or received (negative).
    pub cost_micro: i64,
    /// Probability before.
    pub probability_before: f64,
    /// Probability after.
    pub probability_after: f64,
}

/// Evidence to submit.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewEvidence {
    /// `transcript`, `measurement`, `report` or `log`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// Explanation, plain text or markdown.
    pub body: String,
    /// The exhibits.
    pub exhibits: Vec<Value>,
    /// The most that the submission may lose.
    pub stake_micro: i64,
    /// Id of the commitment that this reveals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commitment: Option<String>,
    /// The nonce inside that commitment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Hashes of files that were attached before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
}

/// What the caller's next submission to a market costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EvidenceFee {
    /// Fee, kept whatever it comes to.
    pub fee_micro: i64,
    /// Submissions of the caller to this market so far.
    #[serde(default)]
    pub submitted: i64,
    /// Bond held until the market is over.
    #[serde(default)]
    pub bond_micro: i64,
    /// Bond of a commitment, back with its reveal.
    #[serde(default)]
    pub commitment_bond_micro: i64,
    /// Seconds in which a commitment must be revealed.
    #[serde(default)]
    pub reveal_window_s: f64,
}

/// A commitment to evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Commitment {
    /// Commitment id, for the reveal.
    pub id: String,
    /// The hash.
    pub commitment: String,
    /// Last moment to reveal it.
    pub reveal_by: String,
    /// Bond, lost unless it is revealed in time.
    #[serde(default)]
    pub bond_micro: i64,
}

/// A dispute about a submission.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dispute {
    /// Dispute id.
    pub id: String,
    /// `open`, `upheld`, `rejected` or `undecided`.
    pub status: String,
    /// What the decision rests on.
    #[serde(default)]
    pub note: Option<String>,
}

/// The hash by which evidence is committed to: BLAKE3 of the words
/// `plumbline evidence commitment v1`, market id, account id, nonce (16 to 128 visible ASCII
/// characters) and the submission's content hash, with single line feeds between them.
#[must_use]
pub fn evidence_commitment(
    market_id: &str,
    account_id: &str,
    nonce: &str,
    content_hash: &str,
) -> String {
    let text = [
        "plumbline evidence commitment v1",
        market_id,
        account_id,
        nonce,
        content_hash,
    ]
    .join("\n");
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// One judge's view of a submission.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Judgement {
    /// Judge.
    pub judge: String,
    /// Its probability with the exhibits, if it could judge.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Change of its log-odds.
    #[serde(default)]
    pub shift: Option<f64>,
}

/// A submission of evidence.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Evidence {
    /// Evidence id.
    pub id: String,
    /// Market.
    #[serde(default)]
    pub market_id: String,
    /// `pending`, `judged`, `duplicate`, `rejected` or `struck`.
    pub status: String,
    /// Why it was rejected or moved nothing.
    #[serde(default)]
    pub reason: Option<String>,
    /// Most it may lose.
    #[serde(default)]
    pub stake_micro: i64,
    /// Fee taken.
    #[serde(default)]
    pub fee_micro: i64,
    /// Collateral of the move.
    #[serde(default)]
    pub locked_micro: i64,
    /// Market's probability before the move.
    #[serde(default)]
    pub probability_before: Option<f64>,
    /// And after.
    #[serde(default)]
    pub probability_after: Option<f64>,
    /// Each judge's view.
    #[serde(default)]
    pub judgements: Vec<Judgement>,
    /// What replaying the exhibit gave.
    #[serde(default)]
    pub replay: Option<Value>,
    /// Payoff of the move, once settled.
    #[serde(default)]
    pub payoff_micro: Option<i64>,
}

/// One signed decision as the service publishes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decision {
    /// Position in the service's sequence of decisions.
    #[serde(default)]
    pub version: i64,
    /// The DSSE envelope; the only part to act on, once verified.
    pub envelope: Value,
    /// Name of the target run, for people.
    #[serde(default)]
    pub target_name: String,
}

/// The full desired state of every target.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Allocations {
    /// Pass as `since` to wait for the next change.
    pub version: i64,
    /// Newest decision of each target.
    pub items: Vec<Decision>,
}

/// What a long poll brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// A newer state.
    Changed(Allocations),
    /// Nothing newer within the wait.
    Unchanged,
    /// `since` is too old or from another history: list in full.
    Relist,
}

/// An acknowledgement of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The decision.
    pub decision_id: String,
    /// Stable name of the scheduler.
    pub scheduler: String,
    /// Phase reached.
    pub phase: String,
    /// Generation that the scheduler saw.
    pub observed_generation: i64,
    /// Share that is really in force, basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_bps: Option<i64>,
    /// How it was enforced, or why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a scheduler holds, told again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcementReport {
    /// Stable name of the scheduler.
    pub scheduler: String,
    /// Within so many seconds it means to report again.
    pub every_s: u64,
    /// What it holds.
    pub items: Vec<HeldShare>,
}

/// A share that a scheduler holds one target to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldShare {
    /// Run id.
    pub target_uid: String,
    /// `training` or `inference`.
    pub workload: String,
    /// Epoch of the decision that it keeps to.
    pub epoch: u64,
    /// Generation of that decision.
    pub observed_generation: u64,
    /// Share that is really in force, basis points.
    pub actual_bps: i64,
}

/// A verification key of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Key id as in the envelopes' signatures.
    pub key_id: String,
    /// `ed25519`.
    pub algorithm: String,
    /// 32 bytes, standard base64.
    pub public_key: String,
    /// Valid from.
    pub not_before: String,
    /// Valid until; absent while in use.
    #[serde(default)]
    pub not_after: Option<String>,
    /// DSSE envelope in which keys before it vouch for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Value>,
}
