//! Bodies of requests about jury duty.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::CaseExhibit;

/// `POST /accounts/{handle}/roles`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRoles {
    /// Roles to add: `participant`, `researcher`, `scheduler`, `juror`, `guardian`,
    /// `operator`.
    pub roles: Vec<String>,
}

/// `POST /jurors`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinJury {
    /// Added to the stake, micro-credits.
    pub stake_micro: i64,
}

/// `POST /panels/{id}/commits`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitVote {
    /// BLAKE3 of `"plumbline panel vote v1"`, the lengths (four bytes, big-endian) and bytes of panel id and account
    /// id, the vote in basis points (two bytes, big-endian; FF FF for "cannot tell"), the 32 bytes of the nonce, and
    /// the BLAKE3 of the justification; 64 lower-case hex digits.
    pub commitment: String,
}

/// `POST /panels/{id}/reveals`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevealVote {
    /// The vote, basis points, 0 to 10000; absent with `cannot_tell`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_bps: Option<i64>,
    /// The case does not say: no vote, neither paid nor punished.
    #[serde(default)]
    pub cannot_tell: bool,
    /// 64 lower-case hex digits.
    pub nonce: String,
    /// Why; at most 4 KiB. Published with the ruling.
    #[serde(default)]
    pub justification: String,
}

/// `POST /panels/{id}/denouncements`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Denounce {
    /// Handle or id of the juror.
    pub account: String,
    /// As in the juror's opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_bps: Option<i64>,
    /// As in the juror's opening.
    #[serde(default)]
    pub cannot_tell: bool,
    /// As in the juror's opening.
    pub nonce: String,
    /// As in the juror's opening.
    #[serde(default)]
    pub justification: String,
}

/// `POST /gold-cases`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGoldCase {
    /// One sentence that a reviewer will find true or false.
    pub claim: String,
    /// Kind of misalignment, e.g. `trigger_backdoor`.
    pub claim_kind: String,
    /// How a reviewer decides.
    pub rubric: String,
    /// What jurors are shown, 1 to 32 of them.
    pub exhibits: Vec<CaseExhibit>,
    /// The known answer, 0 to 1.
    pub pi: f64,
}
