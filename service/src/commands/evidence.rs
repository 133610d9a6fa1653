//! Bodies of the requests about evidence, comments and disputes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /markets/{id}/evidence`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitEvidence {
    /// `transcript`, `measurement`, `report` or `log`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// Explanation in plain text or markdown.
    #[serde(default)]
    pub body: String,
    /// Exhibits that the ensemble judges.
    #[schema(value_type = Vec<Object>)]
    pub exhibits: Vec<serde_json::Value>,
    /// The most that this submission may lose, micro-credits.
    pub stake_micro: i64,
    /// Id of the commitment that this reveals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<String>,
    /// The nonce inside that commitment, 16 to 128 visible ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Hashes of files that were attached before, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
}

/// `POST /markets/{id}/commitments`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitEvidence {
    /// BLAKE3, 64 lower-case hexadecimal digits, over `plumbline evidence commitment v1`, market id, account id,
    /// nonce and content hash, with single line feeds between them.
    pub commitment: String,
}

/// `POST /evidence/{id}/challenges`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeExhibit {
    /// Why the submission is not what it says, up to 4 KiB.
    pub reason: String,
    /// Bond, at least what the submission's own page asks for.
    pub bond_micro: i64,
}

/// `POST /markets/{id}/comments`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteComment {
    /// Plain text or markdown, up to 4 KiB.
    pub body: String,
    /// The submission that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_id: Option<String>,
}
