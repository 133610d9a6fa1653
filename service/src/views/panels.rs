//! Panels, jurors and cases as the API gives them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A juror.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JurorView {
    /// Handle.
    pub account: String,
    /// Stake.
    pub stake_micro: i64,
    /// Part of the stake locked in open seats; shown to the juror only.
    pub locked_micro: Option<i64>,
    /// Gets the stake back as seats end; shown to the juror only.
    pub leaving: Option<bool>,
    /// Cases with a known answer that were judged.
    pub known_cases: i64,
    /// Those judged right.
    pub known_right: i64,
    /// Mean of the Beta(1, 1) posterior over them, in (0, 1).
    pub accuracy: f64,
    /// Weight in a draw.
    pub weight: u64,
    /// Seats held to the end.
    pub seats: i64,
    /// Those whose vote was coherent with the settlement.
    pub coherent: i64,
    /// When the account first joined.
    pub joined_at: String,
}

/// A secret for a draw to come, as committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrawCommitment {
    /// Secrets are used in this order.
    pub number: i64,
    /// BLAKE3 of the secret's 32 bytes.
    pub commitment: String,
    /// When.
    pub committed_at: String,
}

/// One submission as jurors see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseExhibit {
    /// `transcript`, `measurement`, `report` or `log`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// Explanation.
    #[serde(default)]
    pub body: String,
    /// The exhibits.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub exhibits: Vec<serde_json::Value>,
}

/// The case before a panel, without market, price or names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CaseView {
    /// What is asked; the vote is the answer, 0 to 10000.
    pub question: String,
    /// The claim.
    pub claim: String,
    /// Kind of misalignment.
    pub claim_kind: String,
    /// How a reviewer decides.
    pub rubric: String,
    /// What is contested, and why.
    pub note: Option<String>,
    /// The evidence.
    pub exhibits: Vec<CaseExhibit>,
    /// Submissions left out because the case is too large.
    pub omitted: usize,
}

/// What a panel was asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PanelSubject {
    /// `settlement` or `exhibit`.
    pub kind: String,
    /// The market.
    pub market_id: Option<String>,
    /// Round of its ladder.
    pub round: Option<i64>,
    /// The challenged evidence.
    pub evidence_id: Option<String>,
    /// Its challenge.
    pub challenge_id: Option<String>,
}

/// One seat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeatView {
    /// Handle of the juror.
    pub account: String,
    /// Account id, as it goes into the commitment.
    pub account_id: String,
    /// Locked from the stake.
    pub deposit_micro: i64,
    /// `waiting`, `committed`, `revealed`, `denounced` or `conflicted`.
    pub state: String,
    /// Hash of the vote.
    pub commitment: Option<String>,
    /// The vote.
    pub vote_bps: Option<i64>,
    /// The juror could not tell.
    pub cannot_tell: bool,
    /// Nonce of the commitment.
    pub nonce: Option<String>,
    /// Why.
    pub justification: Option<String>,
    /// Who denounced it.
    pub denounced_by: Option<String>,
    /// `coherent`, `incoherent`, `abstained`, `silent`, `denounced`, `conflicted` or `unjudged`, once the case is final.
    pub verdict: Option<String>,
    /// Paid to the juror.
    pub paid_micro: i64,
    /// Taken from the deposit.
    pub slashed_micro: i64,
}

/// Somebody who could be drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CandidateView {
    /// Account id.
    pub account_id: String,
    /// Weight.
    pub weight: u64,
}

/// Everything that drawing the panel again needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrawView {
    /// Seed of the draw: of public seed, secret and label.
    pub seed: String,
    /// Public part, fixed by the case.
    pub public_seed: String,
    /// Number of the secret; secrets are used in order.
    pub secret_number: i64,
    /// Its commitment, published before the case was known.
    pub secret_commitment: String,
    /// When.
    pub secret_committed_at: String,
    /// The secret.
    pub secret: String,
    /// What was drawn for.
    pub label: String,
    /// Who could be drawn, in order.
    pub candidates: Vec<CandidateView>,
}

/// `GET /panels/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PanelView {
    /// Panel id.
    pub id: String,
    /// `committing`, `revealing`, `ruled`, `tie`, `no_quorum` or `withdrawn`; `closed` for those who may not know.
    pub status: String,
    /// Seats.
    pub size: i64,
    /// Votes needed.
    pub quorum: i64,
    /// When it was drawn.
    pub drawn_at: String,
    /// Commitments are taken before this.
    pub commit_by: String,
    /// Reveals are taken before this.
    pub reveal_by: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// When its jurors were paid.
    pub settled_at: Option<String>,
    /// Its ruling.
    pub pi: Option<f64>,
    /// The settlement by which its jurors were paid.
    pub final_pi: Option<f64>,
    /// What it was asked about, once it is over.
    pub subject: Option<PanelSubject>,
    /// The reader's own seat.
    pub seat: Option<SeatView>,
    /// The case: for its jurors, and for everybody once it is over.
    pub case: Option<CaseView>,
    /// The seats, once it is over.
    pub seats: Vec<SeatView>,
    /// How it was drawn, once it is over.
    pub draw: Option<DrawView>,
}

/// A case with a known answer, for the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GoldCaseView {
    /// Case id.
    pub id: String,
    /// The claim.
    pub claim: String,
    /// The answer.
    pub pi: f64,
    /// Settled market that it was made from.
    pub market_id: Option<String>,
    /// Not drawn any more.
    pub retired: bool,
    /// When it was made.
    pub created_at: String,
}

/// An account's roles, for the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolesView {
    /// Handle.
    pub account: String,
    /// Its roles now.
    pub roles: Vec<String>,
}
