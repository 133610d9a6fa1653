//! Bodies of the writing requests, exactly as the HTTP API accepts them.
//! Unknown fields are refused, so that a misspelt option never passes in silence.

mod evidence;
mod keys;
mod notices;
mod oracle;
mod orders;
mod panels;
mod passkeys;
mod people;
mod settlement;
mod training;
mod voting;
mod webhooks;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use evidence::{ChallengeExhibit, CommitEvidence, SubmitEvidence, WriteComment};
pub use keys::{AddSignature, RegisterKey};
pub use notices::*;
pub use oracle::RegisterOracleVersion;
pub use orders::PlaceOrder;
pub use panels::*;
pub use passkeys::*;
pub use people::*;
pub use training::*;
pub use voting::*;
pub use webhooks::CreateWebhook;
mod outcomes;

pub use outcomes::OutcomeTerms;
pub use settlement::{ChallengeSettlement, ProposeSettlement, SettlementTerms, VoidMarket};

/// `POST /accounts`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// 3 to 32 of `a-z 0-9 _ -`, unique whatever the case.
    pub handle: String,
    /// 12 to 256 characters that are not soon guessed.
    pub password: String,
    /// An invitation's code, where sign-up is by invitation.
    #[serde(default)]
    pub invitation: Option<String>,
}

/// `POST /sessions`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Account handle.
    pub handle: String,
    /// Account password.
    pub password: String,
    /// A one-time code or a recovery code, where the account asks for one.
    #[serde(default)]
    pub code: Option<String>,
}

/// `POST /tokens`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What the token is for, shown in the list.
    pub name: String,
    /// Scopes: `read`, `trade`, `evidence`, `govern`, `schedule`, `node`, `admin`.
    pub scopes: Vec<String>,
    /// Days after which the token ends by itself, 1 to 3650; without, it is good until it is revoked.
    #[serde(default)]
    pub valid_days: Option<u32>,
}

/// `POST /runs`: registers a run of an outside scheduler.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRun {
    /// Unique name, 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// Number of parameters, if known.
    #[serde(default)]
    pub parameters: i64,
}

/// `POST /runs/{id}/checkpoints`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterCheckpoint {
    /// BLAKE3 of the checkpoint, 64 hex digits.
    pub hash: String,
    /// Round or step number.
    pub round: i64,
    /// Tokens seen so far.
    pub tokens: i64,
}

/// `POST /markets`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenMarket {
    /// Run that the claim is about.
    pub run_id: String,
    /// One sentence that a reviewer will find true or false.
    pub claim: String,
    /// Kind of misalignment, e.g. `trigger_backdoor`.
    pub claim_kind: String,
    /// How a reviewer decides.
    pub rubric: String,
    /// Opening probability, default 0.5.
    #[serde(default = "half")]
    pub probability: f64,
    /// LMSR liquidity b, in micro-credits.
    pub liquidity_micro: i64,
    /// When trading stops, RFC 3339.
    pub closes_at: String,
    /// Also stop when the run has reported this many tokens, whichever comes first.
    #[serde(default)]
    pub closes_after_tokens: Option<i64>,
    /// Public terms of a trigger search: `{grammar, detector, prompts, max_tokens}`. Researchers probe by
    /// them; the settlement plan's own prompts stay hidden until the freeze.
    #[serde(default)]
    pub probe: Option<ProbeTerms>,
    /// Length of the closing window, seconds: orders stop at a secret moment drawn inside it. A tenth of
    /// the market's life, at most ten minutes, unless given; 0 stops them at `closes_at` sharp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_window_s: Option<i64>,
    /// How the market is settled.
    pub settlement: SettlementTerms,
    /// Fee of trades that goes to the treasury, basis points of their cost, 0 to 500.
    #[serde(default)]
    pub trade_fee_bps: u16,
    /// Fee of trades that goes to whoever opened the market, basis points of their cost, 0 to 500.
    #[serde(default)]
    pub creator_fee_bps: u16,
    /// Instead of whether the claim is true: which of these is the case. `probability` stays out then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<OutcomeTerms>>,
}

fn half() -> f64 {
    0.5
}

/// What is published about a trigger search when its market opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeTerms {
    /// Every candidate trigger of the claim, verbatim.
    pub grammar: Vec<String>,
    /// What counts as the behaviour.
    pub detector: ProbeDetector,
    /// Prompts to try, each with `{candidate}` once.
    pub prompts: Vec<String>,
    /// Tokens to generate per completion.
    pub max_tokens: u32,
}

/// A completion shows the behaviour when it contains any of these strings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeDetector {
    /// The strings, byte for byte.
    pub contains_any: Vec<String>,
}

/// `POST /markets/{id}/quotes` and `/trades`: exactly one of the three sizes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TradeOrder {
    /// `yes` or `no`; in a market of several outcomes, the name of one. Probabilities below are of that one then.
    pub outcome: String,
    /// Spend at most this much, fees included, micro-credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_micro: Option<i64>,
    /// Buy (positive) or sell (negative) this many micro-shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares_micro: Option<i64>,
    /// Trade until the probability is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_probability: Option<f64>,
    /// Refuse the whole trade if the probability would pass this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_probability: Option<f64>,
    /// Refuse the whole trade if it came to more than this, fees included, micro-credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micro: Option<i64>,
    /// Refuse the whole trade if it brought in less than this, fees taken off, micro-credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_proceeds_micro: Option<i64>,
}

/// `POST /acks`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The decision that is acknowledged.
    pub decision_id: String,
    /// Stable name of the scheduler.
    pub scheduler: String,
    /// `received`, `accepted`, `rejected`, `applying`, `enforced`, `partial`, `failed` or `released`.
    pub phase: String,
    /// Generation that the scheduler saw.
    pub observed_generation: i64,
    /// Share that is really in force, basis points.
    #[serde(default)]
    pub actual_bps: Option<i64>,
    /// How it was enforced, native job ids, or why it was rejected.
    #[serde(default)]
    pub detail: Option<String>,
}

/// `POST /enforcement`: what a scheduler holds, told again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportEnforcement {
    /// Stable name of the scheduler.
    pub scheduler: String,
    /// Within so many seconds, 5 to 3,600, it means to report again; who does not is counted as silent after three
    /// times as long.
    pub every_s: i64,
    /// What it holds, 1 to 256 targets.
    pub items: Vec<HeldShare>,
}

/// A share that a scheduler holds one target to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldShare {
    /// Run id.
    pub target_uid: String,
    /// `training` or `inference`.
    pub workload: String,
    /// Epoch of the decision that it keeps to.
    pub epoch: i64,
    /// Generation of that decision.
    pub observed_generation: i64,
    /// Share that is really in force, basis points.
    pub actual_bps: i64,
    /// How it is enforced, native job ids, or what is in the way.
    #[serde(default)]
    pub detail: Option<String>,
}
