//! What everybody may see of how a market ends.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How and whether a market is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettlementView {
    /// `objective`, `panel`, `ensemble` or `self_resolving`.
    pub method: String,
    /// Only a signal: no decision is loosened on it.
    #[serde(default)]
    pub advisory: bool,
    /// BLAKE3 of the seed of the market's draws, published at opening.
    #[serde(default)]
    pub seed_commitment: Option<String>,
    /// When the closing window begins at the latest; orders stop at a secret moment inside it.
    #[serde(default)]
    pub closes_from: Option<String>,
    /// BLAKE3 of the plan's canonical form, published at opening.
    pub plan_commitment: Option<String>,
    /// The plan: what is asked of the frozen checkpoint and how answers are counted. Hidden until the freeze.
    #[schema(value_type = Option<Object>)]
    pub plan: Option<serde_json::Value>,
    /// Checkpoint that the claim is finally about.
    pub frozen_checkpoint: Option<String>,
    /// Root of the Merkle tree over the exhibits at the freeze (RFC 6962 with BLAKE3).
    pub exhibits_root: Option<String>,
    /// When trading stopped for good.
    pub frozen_at: Option<String>,
    /// Settlement π in [0, 1].
    pub pi: Option<f64>,
    /// Counts, p-value and bounds of the test.
    #[schema(value_type = Option<Object>)]
    pub statistics: Option<serde_json::Value>,
    /// When it was settled.
    pub settled_at: Option<String>,
}

/// `GET /markets/{id}/settlement`: the whole record of how a market ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettlementRecord {
    /// Terms and result.
    #[serde(flatten)]
    pub settlement: SettlementView,
    /// The market's status.
    pub status: String,
    /// What happens now: `trading`, `closing`, `test`, `ensemble`, `reference`, `proposals`, `panel`,
    /// `challengeable`, `final`, `paid` or `void`.
    pub stage: String,
    /// When the window for proposals or challenges ends, if one is open.
    pub deadline: Option<String>,
    /// Bond that a proposal or challenge must bring now, if one is taken.
    pub next_bond_micro: Option<i64>,
    /// What would decide about a challenge now: `test` or a panel, as `panel of 7`.
    pub next_decider: Option<String>,
    /// The settlement that stands unless it is challenged.
    pub proposed_pi: Option<f64>,
    /// Length of every window.
    pub windows: WindowsView,
    /// Bond of the first proposal.
    pub bond_micro: i64,
    /// Part of a lost bond that goes to the treasury.
    pub burn_bps: i64,
    /// Everything that was promised at the opening, the exact text that is hashed.
    pub terms: Option<String>,
    /// BLAKE3 of `terms`, fixed by the freeze.
    pub terms_hash: Option<String>,
    /// The seed of the draws, published after the freeze.
    pub seed: Option<String>,
    /// The closing window.
    pub closing: Option<ClosingView>,
    /// The audit draw.
    pub audit: Option<AuditView>,
    /// Proposals, challenges, juries and rulings, oldest first.
    pub record: Vec<ClaimView>,
    /// Why the market was called off.
    pub void_reason: Option<String>,
}

/// Lengths of a market's windows, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WindowsView {
    /// The closing window.
    pub closing_s: f64,
    /// For proposals.
    pub proposal_s: f64,
    /// For challenges.
    pub challenge_s: f64,
    /// For the jurors' commitments.
    pub jury_commit_s: f64,
    /// For their reveals.
    pub jury_reveal_s: f64,
}

/// The head of a market's log at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// Digest of its last entry.
    pub head: String,
    /// Trades in it: the first so many of `GET /markets/{id}/trades`, oldest first.
    pub trades: u64,
    /// Exhibits in it, in the order of the exhibit tree.
    pub exhibits: u64,
}

/// The closing window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosingView {
    /// When it began.
    pub began_at: String,
    /// The log then.
    pub log: LogView,
    /// The draw for `close`, shown after the freeze.
    pub draw: Option<String>,
    /// The draw as a number in [0, 1), shown after the freeze.
    pub unit: Option<f64>,
    /// When orders stopped, shown after the freeze.
    pub stopped_at: Option<String>,
}

/// The audit draw, made at the freeze.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// The log at the freeze.
    pub log: LogView,
    /// Posted price at the freeze.
    pub price: f64,
    /// Probability of an audit at that price.
    pub probability: f64,
    /// The draw for `audit`.
    pub draw: Option<String>,
    /// The draw as a number in [0, 1).
    pub unit: Option<f64>,
    /// Whether the case went to the strongest method.
    pub audited: bool,
}

/// One entry of the record of a settlement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
    /// Place in the record.
    pub round: i64,
    /// `search` (something set out to find the settlement), `proposal`, `challenge`, `ruling` or `no_ruling`.
    pub kind: String,
    /// `test`, `ensemble`, `reference`, `person`, `panel` or `proposals`.
    pub source: String,
    /// Who put the bond up.
    pub account: Option<String>,
    /// The settlement that it stands for.
    pub pi: Option<f64>,
    /// The bond.
    pub bond_micro: i64,
    /// What came back of the bonds.
    pub paid_micro: Option<i64>,
    /// Round that a challenge disputes.
    pub disputes: Option<i64>,
    /// Jurors of the panel.
    pub jurors: Option<i64>,
    /// The panel, once it is over.
    pub panel_id: Option<String>,
    /// What was said for it.
    pub reason: String,
    /// When.
    pub at: String,
}

/// `GET /evidence/{id}/inclusion`: shows that a submission is under its market's exhibits root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InclusionView {
    /// The submission.
    pub evidence_id: String,
    /// Its market.
    pub market_id: String,
    /// Hash of its content.
    pub content_hash: String,
    /// Place among the leaves, from zero.
    pub index: i64,
    /// Number of leaves.
    pub size: i64,
    /// BLAKE3(0x00 ‖ evidence id ‖ content hash).
    pub leaf: String,
    /// Siblings on the way up, nearest first.
    pub path: Vec<String>,
    /// The root.
    pub root: String,
}
