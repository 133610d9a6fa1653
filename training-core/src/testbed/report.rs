//! Settings of a run and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use super::Attack;
use crate::aggregate::AggregatorSpec;
use crate::codec::{CodecError, PayloadError};
use crate::contribution::Accounts;
use crate::local::{InnerPlan, LocalError};
use crate::outer::{OuterError, OuterOptions};
use crate::round::{NodeId, RoundError};
use crate::trainer::TrainerError;
use crate::verify::{Ban, VerifyRules};

/// Who is hostile, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hostility {
    /// What they do.
    pub attack: Attack,
    /// How many of the nodes do it.
    pub nodes: usize,
}

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct ArenaSpec {
    /// Nodes, hostile ones included.
    pub nodes: usize,
    /// The hostile ones.
    pub hostility: Option<Hostility>,
    /// Inner steps of a round.
    pub inner_steps: u64,
    /// Rounds.
    pub rounds: u64,
    /// What nodes do in a round.
    pub plan: InnerPlan,
    /// Outer optimiser of DiLoCo.
    pub outer: OuterOptions,
    /// How contributions become one.
    pub aggregator: AggregatorSpec,
    /// How closely they are looked at; not at all without.
    pub verify: Option<VerifyRules>,
    /// Token ids, for attacks that need them.
    pub vocabulary: u32,
    /// Held-out rows that the loss is measured on.
    pub held_out_rows: usize,
    /// The loss is measured every so many rounds, and at the end.
    pub measure_every: u64,
    /// Seeds data order, keys and draws.
    pub seed: u64,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// The machine refused an event of the driver.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// A node's work failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The replica failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The outer step failed.
    #[error(transparent)]
    Outer(#[from] OuterError),
    /// The model's shapes cannot be cut.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The driver's own payload could not be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct ArenaReport {
    /// Held-out loss before the first round and after every measured one, nats
    /// per token; infinite once it is no number.
    pub losses: Vec<f64>,
    /// Rounds that closed.
    pub rounds: u64,
    /// Tokens counted.
    pub tokens: u64,
    /// Bytes of contributions.
    pub bytes: u64,
    /// Contributions that were shown.
    pub contributions: u64,
    /// Of these, recomputed.
    pub audits: u64,
    /// Bans, in order.
    pub bans: Vec<Ban>,
    /// Hostile nodes that were dropped for missing rounds, with the round.
    pub evicted: Vec<(NodeId, u64)>,
    /// Hostile nodes.
    pub hostile: BTreeSet<NodeId>,
    /// The first round in which they were.
    pub hostile_from: u64,
    /// Rounds that came to nothing.
    pub voided: u64,
    /// Accounts.
    pub accounts: Accounts,
}

impl ArenaReport {
    /// The last loss.
    pub fn final_loss(&self) -> f64 {
        self.losses.last().copied().unwrap_or(f64::INFINITY)
    }

    /// Honest nodes that were banned.
    pub fn honest_bans(&self) -> usize {
        let honest = |ban: &&Ban| !self.hostile.contains(&ban.node);
        self.bans.iter().filter(honest).count()
    }

    /// Rounds from the first hostile one until the last hostile node was out;
    /// `None` when some stayed.
    pub fn rounds_to_ban(&self) -> Option<u64> {
        let out: BTreeMap<&NodeId, u64> = self
            .bans
            .iter()
            .map(|ban| (&ban.node, ban.round + 1))
            .chain(self.evicted.iter().map(|(node, round)| (node, round + 1)))
            .collect();
        let rounds = self.hostile.iter().map(|node| out.get(node).copied());
        let last = rounds.collect::<Option<Vec<_>>>()?.into_iter().max()?;
        Some(last.saturating_sub(self.hostile_from))
    }
}
