//! Bodies of requests about runs that are trained here and about the nodes that work in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /training/runs`: a run that this service trains itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// Unique name, 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub name: String,
    /// Name of a folder, text or JSONL file among the operator's corpora; the Rust sources on the machine unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<String>,
    /// Tokens to train on in all, 1 to 10¹².
    pub tokens: u64,
    /// Node threads of the service itself, 0 to 64; 0 only where nodes elsewhere may join.
    #[serde(default = "two")]
    pub workers: u32,
    /// Shape of the model.
    #[serde(default)]
    pub model: ModelShape,
    /// Inner steps between two exchanges, 1 to 1,000.
    #[serde(default = "thirty")]
    pub inner_steps: u32,
    /// Rows of a batch, 1 to 256.
    #[serde(default = "sixteen")]
    pub batch: u32,
    /// Highest inner learning rate, above 0, at most 1.
    #[serde(default = "rate")]
    pub learning_rate: f64,
    /// What nodes exchange: `diloco` or `sparseloco`.
    #[serde(default = "sparse")]
    pub scheme: String,
    /// How contributions become one: `mean`, `norm_clipped_mean`, `coordinate_median`, `trimmed_mean`, `krum` or
    /// `centered_clip`.
    #[serde(default = "mean")]
    pub aggregator: String,
    /// Part of contributions that is recomputed, basis points; 0 trusts every node.
    #[serde(default)]
    pub audit_bps: u32,
    /// Terms on which nodes elsewhere may join; none may unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideTerms>,
    /// Seeds parameters, data and their order.
    #[serde(default = "one")]
    pub seed: u64,
}

/// Shape of a model; at most 50 million parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelShape {
    /// Width of the residual stream, 8 to 1,024; a multiple of 8.
    pub width: u32,
    /// Blocks, 1 to 32.
    pub layers: u32,
    /// Token ids, 260 to 16,384.
    pub vocabulary: u32,
    /// Longest context in tokens, 16 to 1,024.
    pub sequence: u32,
}

impl Default for ModelShape {
    /// About 0.9 million parameters.
    fn default() -> Self {
        Self {
            width: 128,
            layers: 3,
            vocabulary: 1_024,
            sequence: 96,
        }
    }
}

/// Terms for nodes that are processes of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutsideTerms {
    /// Fewest members, of both kinds, that make a round, 1 to 64.
    #[serde(default = "one_node")]
    pub quorum: u32,
    /// Keys that are let in, 64 hexadecimal digits each, at most 1,024; empty lets in whoever has the ticket.
    #[serde(default)]
    pub admit: Vec<String>,
    /// Least stake of a node, micro-credits; 0 asks for none. Needs `audit_bps` above 0: a stake that nothing can cost
    /// answers for nothing.
    #[serde(default)]
    pub least_stake_micro: i64,
    /// Seconds after which a node that has work and does nothing is not waited for, 1 to 3,600.
    #[serde(default = "a_minute")]
    pub stall_s: u32,
}

/// `POST /training/runs/{id}/stakes`: a stake that answers for a node's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BondNode {
    /// The node's public key, 64 hexadecimal digits.
    pub node_key: String,
    /// What is locked, micro-credits; at least what the run asks for.
    pub stake_micro: i64,
    /// The node's Ed25519 signature over its bond, 128 hexadecimal digits: see `docs/nodes.md`.
    pub signature: String,
}

/// What a node signs, so that nobody can answer for a node that is not theirs, or take its place.
pub fn bond_text(run_id: &str, account_id: &str) -> String {
    format!("plumbline 2026 node bond v1\n{run_id}\n{account_id}")
}

const fn one() -> u64 {
    1
}

const fn one_node() -> u32 {
    1
}

const fn two() -> u32 {
    2
}

const fn sixteen() -> u32 {
    16
}

const fn thirty() -> u32 {
    30
}

const fn a_minute() -> u32 {
    60
}

const fn rate() -> f64 {
    4e-3
}

fn sparse() -> String {
    "sparseloco".to_owned()
}

fn mean() -> String {
    "mean".to_owned()
}
