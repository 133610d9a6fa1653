//! What a run is, how it is going, and what happened to it: plain data for
//! those who start runs and those who show them.

use std::time::Duration;

use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::Scheme;
use plumbline_training_core::contribution::Account;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::OuterOptions;
use plumbline_training_core::round::NodeId;
use plumbline_training_core::schedule::LrSchedule;
use plumbline_training_core::verify::{Ban, VerifyRules};
use plumbline_training_model::{AdamW, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::corpus::SourceSpec;

/// Everything that determines a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Names the run and its folder: 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// Shape of the model. Its `vocabulary` is what the tokenizer aims at.
    pub model: ModelConfig,
    /// Node threads, `1..=64`; 0 where nodes elsewhere may join.
    pub nodes: usize,
    /// Inner steps H per round, `≥ 1`.
    pub inner_steps: u64,
    /// Rows of a batch, `≥ 1`.
    pub batch: usize,
    /// Inner learning rate by tokens.
    pub schedule: LrSchedule,
    /// The inner optimiser.
    #[serde(default)]
    pub optimizer: AdamW,
    /// The outer optimiser.
    #[serde(default)]
    pub outer: OuterOptions,
    /// What nodes exchange.
    #[serde(default)]
    pub scheme: Scheme,
    /// How contributions become one.
    #[serde(default)]
    pub aggregator: AggregatorSpec,
    /// How closely contributions are looked at; without, they are trusted.
    #[serde(default)]
    pub verify: Option<VerifyRules>,
    /// Whether nodes elsewhere may join, and on what terms.
    #[serde(default)]
    pub outside: Option<OutsideRules>,
    /// Seeds the initial parameters, the corpus sample and the data order.
    pub seed: u64,
    /// A model to begin with, as [`plumbline_training_model::Model::import`] reads it, instead of fresh parameters and a
    /// tokenizer of its own. Its shape must be `model`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<std::path::PathBuf>,
    /// The data contributors.
    pub sources: Vec<SourceSpec>,
    /// The run finishes when this many tokens are counted.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// Compute share to begin with, basis points of the machine.
    #[serde(default = "full_share")]
    pub share_bps: u32,
    /// A checkpoint is written every this many rounds; 0 only on request.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: u64,
    /// How many checkpoints that are not pinned are kept, `≥ 1`.
    #[serde(default = "default_keep")]
    pub keep_checkpoints: usize,
}

/// Terms for nodes that are processes of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideRules {
    /// Fewest members, of both kinds, that make a round, `1..=64`.
    pub quorum: usize,
    /// Keys that are let in, 64 hex digits each; empty lets in whoever has the
    /// ticket. At most 1,024.
    #[serde(default)]
    pub admit: Vec<Digest>,
    /// Of those, only keys that [`Host::admit`](crate::host::Host::admit) names.
    #[serde(default)]
    pub staked: bool,
    /// A node that neither steps nor promises for so long while it has work is
    /// not waited for, milliseconds, `≥ 100`.
    #[serde(default = "default_stall_ms")]
    pub stall_ms: u64,
}

const fn default_stall_ms() -> u64 {
    60_000
}

impl Default for OutsideRules {
    fn default() -> Self {
        Self {
            quorum: 1,
            admit: Vec::new(),
            staked: false,
            stall_ms: default_stall_ms(),
        }
    }
}

impl OutsideRules {
    fn problem(&self) -> Option<String> {
        if !(1..=64).contains(&self.quorum) {
            return Some(format!("quorum is {}, must be 1 to 64", self.quorum));
        }
        if self.admit.len() > 1_024 {
            return Some("more than 1,024 keys are admitted".into());
        }
        (self.stall_ms < 100).then(|| "stall_ms must be at least 100".into())
    }
}

const fn full_share() -> u32 {
    plumbline_training_core::pacing::FULL_BPS
}

const fn default_checkpoint_every() -> u64 {
    10
}

const fn default_keep() -> usize {
    3
}

impl RunSpec {
    /// A run of the default model on the default corpus: two nodes, 10 inner
    /// steps of 16 rows per round.
    pub fn new(id: impl Into<String>, name: impl Into<String>, seed: u64) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            model: ModelConfig::default(),
            nodes: 2,
            inner_steps: 10,
            batch: 16,
            schedule: LrSchedule::flat(4e-3, 20_000),
            optimizer: AdamW::default(),
            outer: OuterOptions::default(),
            scheme: Scheme::default(),
            aggregator: AggregatorSpec::default(),
            verify: None,
            outside: None,
            seed,
            from: None,
            sources: vec![SourceSpec::registry()],
            max_tokens: None,
            share_bps: full_share(),
            checkpoint_every: default_checkpoint_every(),
            keep_checkpoints: default_keep(),
        }
    }

    /// What is wrong with the numbers, if anything. Sources and the model's
    /// shape are checked when they are loaded and built.
    pub fn problem(&self) -> Option<String> {
        if NodeId::new(self.id.clone()).is_err() || self.id.starts_with('.') {
            return Some(format!("{:?} cannot name a run's folder", self.id));
        }
        let within = |value: u64, least: u64, most: u64, name: &str| {
            let outside = value < least || value > most;
            outside.then(|| format!("{name} is {value}, must be {least} to {most}"))
        };
        let rate = self.schedule.peak;
        let nodes = u64::from(self.outside.is_none());
        within(self.nodes as u64, nodes, 64, "nodes")
            .or_else(|| within(self.inner_steps, 1, 100_000, "inner_steps"))
            .or_else(|| within(self.batch as u64, 1, 65_536, "batch"))
            .or_else(|| within(self.keep_checkpoints as u64, 1, 1_000, "keep_checkpoints"))
            .or_else(|| within(u64::from(self.share_bps), 0, 10_000, "share_bps"))
            .or_else(|| {
                let bad = !(rate.is_finite() && rate > 0.0);
                bad.then(|| "the peak learning rate must be positive".into())
            })
            .or_else(|| {
                let OuterOptions { rate, momentum } = self.outer;
                let fine = rate.is_finite() && rate > 0.0 && (0.0..1.0).contains(&momentum);
                (!fine).then(|| "outer rate must be positive and momentum in [0, 1)".into())
            })
            .or_else(|| {
                let rules = self.verify.as_ref();
                let problem = (self.scheme.problem())
                    .or_else(|| self.aggregator.problem())
                    .or_else(|| rules.and_then(VerifyRules::problem));
                problem.map(str::to_owned)
            })
            .or_else(|| self.outside.as_ref().and_then(OutsideRules::problem))
            .or_else(|| {
                let odd = self.scheme == Scheme::EveryStep && self.inner_steps != 1;
                odd.then(|| "every_step exchanges after one inner step".into())
            })
    }
}

/// What a run is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", content = "reason", rename_all = "snake_case")]
pub enum RunStatus {
    /// Reading and tokenising its data.
    Preparing,
    /// Waiting for nodes.
    WarmingUp,
    /// Training.
    Training,
    /// Its share is zero or it was paused by hand; its state is kept.
    Paused,
    /// It reached its token limit.
    Finished,
    /// It was stopped, and can be started again.
    Stopped,
    /// It cannot go on.
    Failed(String),
}

impl RunStatus {
    /// `preparing`, `warming_up`, `training`, `paused`, `finished`, `stopped` or `failed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::WarmingUp => "warming_up",
            Self::Training => "training",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether nothing more will happen unless the run is started again.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Finished | Self::Stopped | Self::Failed(_))
    }
}

/// What a node is doing, as the coordinator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// A member.
    Active,
    /// It said goodbye.
    Left,
    /// It was silent for too many rounds.
    Dead,
    /// It was removed for good.
    Banned,
}

impl NodeStatus {
    /// `active`, `left`, `dead` or `banned`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Left => "left",
            Self::Dead => "dead",
            Self::Banned => "banned",
        }
    }
}

/// One node's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStats {
    /// Its name.
    pub id: NodeId,
    /// What it is doing.
    pub status: NodeStatus,
    /// Inner steps seen since this process started.
    pub steps: u64,
    /// Tokens of contributions that were counted.
    pub tokens: u64,
    /// Rounds that counted one.
    pub rounds: u64,
    /// Rounds that closed without its contribution.
    pub missed: u64,
    /// Tokens × quality that a passed recomputation vouches for.
    #[serde(default)]
    pub verified: u64,
    /// Recomputations that it passed.
    #[serde(default)]
    pub audits: u64,
    /// Loss of its last inner step, nats per token.
    pub loss: Option<f64>,
    /// Tokens per second of its own CPU time in its last counted round: its
    /// speed while it may compute, whatever its share.
    pub tokens_per_cpu_second: f64,
}

impl NodeStats {
    /// Takes over what an account says.
    pub(crate) fn credit(&mut self, account: &Account) {
        (self.tokens, self.rounds) = (account.tokens, account.rounds);
        (self.missed, self.verified) = (account.missed, account.verified);
        self.audits = account.audits;
    }
}

/// A run's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStats {
    /// The run's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is doing.
    #[serde(flatten)]
    pub status: RunStatus,
    /// Number of trainable parameters.
    pub parameters: u64,
    /// Outer rounds closed.
    pub round: u64,
    /// Inner steps over all nodes seen since this process started.
    pub step: u64,
    /// Tokens counted.
    pub tokens: u64,
    /// Loss of the very first inner steps, nats per token.
    pub loss_first: Option<f64>,
    /// Token-weighted mean loss over the last closed round.
    pub loss_last: Option<f64>,
    /// Inner-step tokens per second over the last ten seconds.
    pub tokens_per_second: f64,
    /// The share that is enforced, basis points of the machine; 0 while paused.
    pub share_bps: u32,
    /// Bytes of contributions since the run began.
    pub bytes_sent: u64,
    /// Bytes that synchronising at every inner step would have sent.
    pub bytes_every_step: u64,
    /// Its nodes, by name.
    pub nodes: Vec<NodeStats>,
    /// Nodes removed for good, with the evidence, oldest first.
    #[serde(default)]
    pub bans: Vec<Ban>,
    /// Contributions recomputed since this process started.
    #[serde(default)]
    pub audits: u64,
    /// What is left of the round's time at the full share, while nodes train.
    #[serde(default)]
    pub deadline: Option<Duration>,
    /// Hash of the newest checkpoint.
    pub checkpoint: Option<String>,
}

/// One closed round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// Rounds closed, so from 1.
    pub round: u64,
    /// When it closed, milliseconds since 1970.
    pub at_ms: u64,
    /// Tokens of the run so far.
    pub tokens: u64,
    /// Token-weighted mean loss, nats per token.
    pub loss: f64,
    /// Mean loss of each node that was counted.
    pub node_losses: Vec<(NodeId, f64)>,
    /// Assigned nodes that did not deliver.
    pub missed: Vec<NodeId>,
    /// Bytes of the contributions.
    pub bytes: u64,
    /// Bytes that synchronising at every inner step would have sent.
    pub bytes_every_step: u64,
    /// Wall time since the round was opened, seconds.
    pub seconds: f64,
    /// Share in force at its end.
    pub share_bps: u32,
    /// `‖Δ‖₂` of the aggregated pseudo-gradient.
    pub update_norm: f64,
}

/// A checkpoint on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRef {
    /// BLAKE3 of its content, hex.
    pub id: String,
    /// Where it is.
    pub path: std::path::PathBuf,
    /// Rounds closed when it was taken.
    pub round: u64,
    /// Tokens counted when it was taken.
    pub tokens: u64,
    /// Never deleted.
    pub pinned: bool,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunEvent {
    /// A round closed.
    RoundClosed {
        /// The run.
        run: String,
        /// The round.
        point: HistoryPoint,
    },
    /// A round ended without new parameters.
    RoundVoided {
        /// The run.
        run: String,
        /// Its number.
        round: u64,
        /// Why.
        reason: String,
    },
    /// A node joined, left or was evicted.
    NodeChanged {
        /// The run.
        run: String,
        /// The node.
        node: NodeId,
        /// What it is now.
        status: NodeStatus,
        /// What it said when it left because of a failure.
        failure: Option<String>,
    },
    /// A node was removed for good.
    NodeBanned {
        /// The run.
        run: String,
        /// Who and why.
        ban: Ban,
    },
    /// The run's status changed.
    StatusChanged {
        /// The run.
        run: String,
        /// The new one.
        #[serde(flatten)]
        status: RunStatus,
    },
    /// The enforced share changed.
    ShareChanged {
        /// The run.
        run: String,
        /// Basis points of the machine.
        share_bps: u32,
    },
    /// A checkpoint was written.
    CheckpointSaved {
        /// The run.
        run: String,
        /// The checkpoint.
        checkpoint: CheckpointRef,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_checked() {
        let good = RunSpec::new("clean", "clean", 1);
        assert_eq!(good.problem(), None);
        let bad: [fn(&mut RunSpec); 11] = [
            |s| s.aggregator = AggregatorSpec::Krum { faulty: 0.7 },
            |s| s.scheme = Scheme::EveryStep,
            |s| {
                s.verify = Some(VerifyRules {
                    audit_bps: 10_001,
                    ..VerifyRules::default()
                });
            },
            |s| s.id = "../x".into(),
            |s| s.id = "..".into(),
            |s| s.nodes = 0,
            |s| s.inner_steps = 0,
            |s| s.batch = 0,
            |s| s.share_bps = 10_001,
            |s| s.schedule.peak = f32::NAN,
            |s| s.outer.momentum = 1.0,
        ];
        for spoil in bad {
            let mut spec = good.clone();
            spoil(&mut spec);
            assert!(spec.problem().is_some(), "{spec:?}");
        }
    }
}
