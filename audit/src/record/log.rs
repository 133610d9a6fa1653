//! Rows of the transparency log, and of what is signed.

use serde::Deserialize;

/// An event: entry `id - 1` of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Event {
    pub id: i64,
    pub at: i64,
    pub topic: String,
    pub kind: String,
    pub payload: String,
}

/// A signed note about the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct LogCheckpoint {
    pub size: i64,
    pub note: String,
}

/// A key that verifies decisions; without an owner, also checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct SigningKey {
    pub key_id: String,
    pub public_key: String,
    pub owner_id: Option<String>,
    pub epoch: i64,
    pub not_before: i64,
    pub not_after: Option<i64>,
    pub statement: Option<String>,
}

/// A signed decision.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Decision {
    pub version: i64,
    pub decision_id: String,
    pub target_uid: String,
    pub epoch: i64,
    pub generation: i64,
    pub share_bps: i64,
    pub action: String,
    pub created_at: i64,
    pub payload: String,
    pub envelope: String,
}

/// A signature beside the service's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct DecisionSignature {
    pub decision_id: String,
    pub key_id: String,
    pub signature: String,
    pub at: i64,
}

/// The rows of these tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRows {
    /// Events, in order.
    pub events: Vec<Event>,
    /// Checkpoints, smallest first.
    pub checkpoints: Vec<LogCheckpoint>,
    /// Keys.
    pub keys: Vec<SigningKey>,
    /// Decisions, in order.
    pub decisions: Vec<Decision>,
    /// Their further signatures.
    pub signatures: Vec<DecisionSignature>,
}
