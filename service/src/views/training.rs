//! Training runs and what the gateway serves of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Live figures of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingView {
    /// Run id.
    pub run_id: String,
    /// Run name.
    pub name: String,
    /// `warming_up`, `training`, `paused`, `finished` or `failed`.
    pub status: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Outer rounds done.
    pub round: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Mean loss of the first round, nats per token.
    pub loss_first: Option<f64>,
    /// Mean loss of the last round.
    pub loss_last: Option<f64>,
    /// Over the last few seconds.
    pub tokens_per_second: f64,
    /// Share that is enforced.
    pub share_bps: u32,
    /// Bytes that nodes sent.
    pub bytes_sent: u64,
    /// Bytes that synchronising at every step would have sent.
    pub bytes_every_step: u64,
    /// Live members.
    pub members: u32,
    /// Newest checkpoint's hash.
    pub checkpoint: Option<String>,
}

/// One outer round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoundView {
    /// Number, from 1.
    pub round: u64,
    /// When it completed.
    pub at: String,
    /// Tokens of the run so far.
    pub tokens: u64,
    /// Token-weighted mean loss.
    pub loss: f64,
    /// `(node, loss)` of each member.
    pub node_losses: Vec<(String, f64)>,
    /// Seconds it took.
    pub seconds: f64,
    /// Bytes sent.
    pub bytes: u64,
    /// Share in force at its end.
    pub share_bps: u32,
}

/// A member of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Node id.
    pub id: String,
    /// `active`, `left`, `dead`, …
    pub status: String,
    /// Tokens it trained on.
    pub tokens: u64,
    /// Its speed while it may compute.
    pub tokens_per_second: f64,
    /// Last loss.
    pub loss: Option<f64>,
}

/// Verified work of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContributionView {
    /// Node id.
    pub node: String,
    /// Rounds it contributed to.
    pub rounds: u64,
    /// Tokens that counted.
    pub tokens: u64,
    /// Its part of the run's tokens.
    pub share: f64,
    /// Tokens × quality that a passed recomputation vouches for.
    #[serde(default)]
    pub verified_tokens: u64,
    /// Contributions of it that were recomputed and found right.
    #[serde(default)]
    pub audits: u64,
}

/// A node that was removed from a run for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BanView {
    /// Node id.
    pub node: String,
    /// The round that the evidence is about.
    pub round: u64,
    /// `recomputed`, `state`, `tokens`, `repeated` or `equivocation`.
    pub reason: String,
    /// Part of its stake that it loses.
    pub slash_bps: u32,
    /// The evidence, enough to check it again with the round's data.
    #[schema(value_type = Object)]
    pub evidence: serde_json::Value,
}

/// Something the gateway can serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelView {
    /// Name to ask for: run name, or `run@checkpoint`.
    pub id: String,
    /// Run.
    pub run_id: String,
    /// Checkpoint hash, when pinned.
    pub checkpoint: Option<String>,
    /// Unix seconds.
    pub created: i64,
}

/// What a node elsewhere needs to join a run. A secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TicketView {
    /// Run id.
    pub run_id: String,
    /// The ticket.
    pub ticket: String,
    /// What to run on the machine that joins.
    pub command: String,
    /// Stake that a node needs before it is let in, micro-credits; 0 for none.
    pub least_stake_micro: i64,
}

/// How the nodes of a run work together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SwarmView {
    /// Nodes elsewhere may join.
    pub open: bool,
    /// They need a stake.
    pub staked: bool,
    /// Seconds that the round under way may still take, where it has a deadline.
    pub deadline_s: Option<f64>,
    /// Contributions recomputed since the service started.
    pub audits: u64,
    /// Who came and went, newest first, the last hundred.
    pub changes: Vec<MemberChange>,
    /// Links to nodes elsewhere that are connected now.
    pub links: Vec<LinkView>,
}

/// A node came or went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemberChange {
    /// When, RFC 3339.
    pub at: String,
    /// Node id.
    pub node: String,
    /// `active`, `left`, `dead` or `banned`.
    pub status: String,
    /// What it said, or what was found, where something was.
    pub reason: Option<String>,
}

/// The link between the coordinator and a node elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    /// Node id.
    pub node: String,
    /// Round trip, milliseconds.
    pub rtt_ms: f64,
    /// Packets that were sent to it and lost, of all that were sent, 0 to 1.
    pub loss: f64,
    /// Bytes received from it on this connection.
    pub bytes_received: u64,
    /// Bytes sent to it on this connection.
    pub bytes_sent: u64,
}

/// A stake that answers for a node's work in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeStakeView {
    /// Stake id.
    pub id: String,
    /// Run id.
    pub run_id: String,
    /// The node's key, which is its name in the run.
    pub node_key: String,
    /// Handle of whoever answers for it.
    pub account: String,
    /// What was locked.
    pub stake_micro: i64,
    /// What a ban took of it, to the treasury.
    pub slashed_micro: i64,
    /// `bonded`, `leaving`, `returned` or `slashed`.
    pub status: String,
    /// When it was made.
    pub created_at: String,
    /// When a stake that is leaving goes back.
    pub free_at: Option<String>,
    /// When it was over.
    pub closed_at: Option<String>,
    /// The ban that cost it, with the evidence.
    #[schema(value_type = Option<Object>)]
    pub ban: Option<serde_json::Value>,
}
