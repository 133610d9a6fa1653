//! The rows of juries.

use serde::Deserialize;

/// A juror.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Juror {
    pub account_id: String,
    pub stake_micro: i64,
}

/// A panel of jurors. What is secret while it sits is absent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Panel {
    pub id: String,
    pub subject: String,
    pub market_id: Option<String>,
    pub round: Option<i64>,
    pub evidence_id: Option<String>,
    pub challenge_id: Option<String>,
    pub case_id: Option<String>,
    pub status: String,
    pub pi: Option<i64>,
    pub final_pi: Option<i64>,
    pub public_seed: String,
    pub secret_number: Option<i64>,
    pub candidates: String,
    pub listed: i64,
}

/// A seat of a panel.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Seat {
    pub panel_id: String,
    pub account_id: String,
    pub ordinal: i64,
    pub deposit_micro: i64,
    pub state: String,
    pub commitment: Option<String>,
    pub vote_bps: Option<i64>,
    pub nonce: Option<String>,
    pub justification: Option<String>,
    pub denounced_by: Option<String>,
    pub verdict: Option<String>,
    pub paid_micro: i64,
    pub slashed_micro: i64,
}

/// A committed secret of a draw; the secret itself once its panel is published.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct DrawSecret {
    pub number: i64,
    pub commitment: String,
    pub secret: Option<String>,
}
