//! What is answered about evidence, comments and disputes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One judge's view of one submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JudgementView {
    /// Judge.
    pub judge: String,
    /// Its probability with the exhibits, if it could judge.
    pub probability: Option<f64>,
    /// Change of its log-odds that the submission caused.
    pub shift: Option<f64>,
    /// Its own standard error, in log-odds.
    pub standard_error: Option<f64>,
    /// What it has to say, or why it could not judge.
    pub note: String,
    /// Milliseconds it took.
    pub latency_ms: u64,
    /// `judged`, `skipped` (nothing of a form that it reads), `missing` (its model is not installed) or `failed`; empty
    /// for judgements of earlier releases.
    #[serde(default)]
    pub outcome: String,
    /// What the judgement cost.
    #[serde(default)]
    pub cost_micro: i64,
    /// Standard deviations between it and what the other judges pool to; absent for a judge alone. Beyond 3 it is
    /// marked.
    #[serde(default)]
    pub deviation: Option<f64>,
}

/// `GET /evidence/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceView {
    /// Evidence id.
    pub id: String,
    /// Market.
    pub market_id: String,
    /// Submitter's handle.
    pub account: String,
    /// `transcript`, `measurement`, `report` or `log`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// Explanation.
    pub body: String,
    /// The exhibits as submitted.
    #[schema(value_type = Vec<Object>)]
    pub exhibits: Vec<serde_json::Value>,
    /// BLAKE3 of the exhibits' canonical form.
    pub content_hash: String,
    /// `pending`, `judged`, `duplicate`, `rejected` or `struck`.
    pub status: String,
    /// Why it was rejected, struck, or moved nothing.
    pub reason: Option<String>,
    /// Most it may lose.
    pub stake_micro: i64,
    /// Fee taken.
    pub fee_micro: i64,
    /// Collateral of the move.
    pub locked_micro: i64,
    /// Market's probability before the move.
    pub probability_before: Option<f64>,
    /// And after.
    pub probability_after: Option<f64>,
    /// Ensemble's shift in log-odds.
    pub shift: f64,
    /// Each judge's view.
    pub judgements: Vec<JudgementView>,
    /// Version of the oracle that judged it.
    #[serde(default)]
    pub oracle_version: Option<String>,
    /// What replaying the exhibit on the checkpoint gave.
    #[schema(value_type = Option<Object>)]
    pub replay: Option<serde_json::Value>,
    /// What the settlement made of it, once settled: payoff of the move.
    pub payoff_micro: Option<i64>,
    /// When it came.
    pub created_at: String,
    /// When it was judged.
    pub judged_at: Option<String>,
    /// Bond held until the market is over, that it is what it says.
    #[serde(default)]
    pub bond_micro: i64,
    /// Since when it claims its content: when it was committed to, else submitted.
    #[serde(default)]
    pub priority_at: String,
    /// Id of the commitment that it revealed.
    #[serde(default)]
    pub commitment: Option<String>,
    /// It is not judged before older commitments are revealed or lapse.
    #[serde(default)]
    pub held: bool,
    /// Files that came with it.
    #[serde(default)]
    pub attachments: Vec<AttachmentView>,
}

/// `GET /markets/{id}/evidence/fee`: what the caller's next submission costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceFeeView {
    /// Fee of the next submission, kept whatever it comes to.
    pub fee_micro: i64,
    /// How many the caller has made in this market.
    pub submitted: i64,
    /// Fee of a first submission.
    pub base_micro: i64,
    /// Factor from one fee to the next, basis points.
    pub growth_bps: i64,
    /// Bond that a submission is what it says, held until the market is over.
    pub bond_micro: i64,
    /// Bond of a commitment, back when it is revealed in time.
    pub commitment_bond_micro: i64,
    /// Seconds in which a commitment must be revealed.
    pub reveal_window_s: f64,
}

/// `POST /markets/{id}/commitments`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommitmentView {
    /// Commitment id.
    pub id: String,
    /// Market.
    pub market_id: String,
    /// Who committed.
    pub account: String,
    /// The hash.
    pub commitment: String,
    /// `open`, `revealed`, `expired` or `released`.
    pub status: String,
    /// Bond, lost unless it is revealed in time.
    pub bond_micro: i64,
    /// When it was made: the priority of what it reveals.
    pub created_at: String,
    /// Last moment to reveal it.
    pub reveal_by: String,
    /// The submission that revealed it.
    pub evidence_id: Option<String>,
}

/// `GET /evidence/{id}/challenges`: one dispute on whether a submission is what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExhibitChallengeView {
    /// Challenge id.
    pub id: String,
    /// The submission.
    pub evidence_id: String,
    /// Challenger's handle.
    pub account: String,
    /// Why.
    pub reason: String,
    /// Challenger's bond.
    pub bond_micro: i64,
    /// `open`, `upheld`, `rejected` or `undecided`.
    pub status: String,
    /// `replay` or `panel`, once decided.
    pub decided_by: Option<String>,
    /// The panel that decides, if one does.
    pub panel_id: Option<String>,
    /// What the decision rests on.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was decided.
    pub decided_at: Option<String>,
}

/// A comment. A removed one has no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommentView {
    /// Comment id.
    pub id: String,
    /// Market.
    pub market_id: String,
    /// Submission that it is about.
    pub evidence_id: Option<String>,
    /// Author's handle.
    pub account: String,
    /// Markdown; empty once removed.
    pub body: String,
    /// When it was written.
    pub created_at: String,
    /// When it was removed.
    pub deleted_at: Option<String>,
    /// `author` or `operator`, for a removed one.
    pub deleted_by: Option<String>,
}

/// A file by the hash of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttachmentView {
    /// BLAKE3 of the content; `GET /attachments/{hash}` answers with it.
    pub hash: String,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
}
