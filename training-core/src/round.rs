//! The round machine: `step(state, event, now) -> (state, effects)`.
//!
//! ```text
//!            quorum                first commit        all, or deadline + quorum
//! WarmUp ───────────▶ Train ───────────▶ Commit ───────────▶ Reveal
//!   ▲  ▲                │ void              │ void             │ all, or time
//!   │  └────────────────┴───────────────────┘                  ▼
//!   │                                       Cooldown ◀─ Aggregate ◀─ Audit
//!   └── too few members ───────────────────────┘ (else Train again)
//! ```
//!
//! Nodes commit to a payload by its BLAKE3 hash before anybody may see it, and
//! reveal it only when committing is over, so no node can copy another's work.
//! A round closes with whoever is there above the quorum once its deadline
//! passed; the deadline adapts to how long rounds have taken. Nobody is
//! counted twice in a round, and a node that keeps missing rounds is evicted.
//!
//! **Two clocks.** Warm-up, reveal and cooldown run on wall time. The training
//! deadline runs on *allotted* time: wall time × the share of compute that the
//! run has at that moment. A throttled run therefore gets proportionally
//! longer, and a paused one (rate 0) never times out.

mod deadline;
mod machine;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::digest::Digest;
use crate::time::Micros;

pub use deadline::DeadlineRule;
pub use machine::step;

/// Name of a node: 1 to 64 characters of `a-z A-Z 0-9 . _ -` (long enough for
/// a public key in hex).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

impl NodeId {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`RoundError::NodeName`] when it is empty, too long or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, RoundError> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            return Err(RoundError::NodeName(name.chars().take(80).collect()));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeId {
    type Error = RoundError;

    fn try_from(name: String) -> Result<Self, RoundError> {
        Self::new(name)
    }
}

impl From<NodeId> for String {
    fn from(node: NodeId) -> Self {
        node.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The fixed rules of a run's rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRules {
    /// Fewest contributions that make a round, `≥ 1`.
    pub quorum: usize,
    /// Most members, `≥ quorum`; further joins are refused.
    pub max_members: usize,
    /// Wall time between reaching the quorum and the first round, for others to arrive.
    pub warm_up: Micros,
    /// Wall time given to committed nodes to reveal.
    pub reveal: Micros,
    /// Wall time between a closed round and the next.
    pub cooldown: Micros,
    /// How long training may take.
    pub deadline: DeadlineRule,
    /// A contribution to a round this many rounds ago is still counted (in the
    /// present round); older ones are refused. 0 counts the present round only.
    pub max_age: u64,
    /// Rounds in a row that a member may miss; one more evicts it.
    pub max_missed: u32,
    /// Sequences handed to each node per round, `≥ 1`.
    pub sequences_per_node: u64,
    /// Most tokens one contribution may claim, `≥ 1`: what its sequences hold.
    pub tokens_per_node: u64,
    /// With a unit, sequences are handed out in multiples of it and by the speed
    /// that nodes were measured at ([`shares`](crate::assignment::shares)), the
    /// mean being `sequences_per_node`; 0 hands every node the same.
    #[serde(default)]
    pub unit: u64,
}

impl RoundRules {
    /// Checks the domains stated at the fields.
    ///
    /// # Errors
    /// [`RoundError::Rules`] naming the first rule that is out of its domain.
    pub fn validate(&self) -> Result<(), RoundError> {
        let wrong = if self.quorum == 0 {
            Some("quorum must be at least 1")
        } else if self.max_members < self.quorum {
            Some("max_members must be at least the quorum")
        } else if self.sequences_per_node == 0 || self.tokens_per_node == 0 {
            Some("sequences and tokens per node must be at least 1")
        } else {
            self.deadline.problem()
        };
        wrong.map_or(Ok(()), |problem| Err(RoundError::Rules(problem)))
    }
}

/// Where a round stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Too few members, or the quorum was reached at `quorum_since`.
    WarmUp {
        /// When the quorum was reached, if it is.
        quorum_since: Option<Micros>,
    },
    /// Nodes train; nobody has committed.
    Train,
    /// At least one node has committed.
    Commit,
    /// Committing is over; payloads are shown until `until`.
    Reveal {
        /// End of the phase on the wall clock.
        until: Micros,
    },
    /// The coordinator checks the revealed contributions.
    Audit,
    /// The coordinator takes the outer step.
    Aggregate,
    /// Nodes fetch the new parameters until `until`.
    Cooldown {
        /// End of the phase on the wall clock.
        until: Micros,
    },
}

/// A member of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Round during which it joined.
    pub joined: u64,
    /// Rounds missed in a row.
    pub missed: u32,
    /// Sequences that it trains in 1,000 seconds of allotted time; 0 for unknown.
    #[serde(default)]
    pub speed: u64,
}

/// A node's promise of a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// BLAKE3 hash of the payload.
    pub digest: Digest,
    /// Tokens it stands for.
    pub tokens: u64,
    /// Rounds between the start parameters it was computed from and now.
    pub age: u64,
    /// Whether the payload was shown and hashes to `digest`.
    pub revealed: bool,
}

/// A contribution that was committed and revealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Who made it.
    pub node: NodeId,
    /// Content hash of the payload.
    pub digest: Digest,
    /// Weight in the aggregate: tokens trained on.
    pub tokens: u64,
    /// Rounds since its start parameters were current.
    pub age: u64,
}

/// The round in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRound {
    /// Seed that the assignments were drawn from.
    pub seed: Digest,
    /// Who trains on what.
    pub assignments: Vec<Assignment>,
    /// Commitments by node; at most one each.
    pub commitments: BTreeMap<NodeId, Commitment>,
    /// Nodes that were assigned data and did not deliver.
    pub missed: Vec<NodeId>,
    /// Allotted time at the opening.
    pub opened: Micros,
    /// Allotted time at which training must be over.
    pub deadline: Micros,
    /// How often the deadline was extended for want of a quorum.
    pub extensions: u32,
    /// Wall time at the opening.
    pub opened_at: Micros,
}

/// The whole state of a run's rounds: plain data, equal after equal events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundState {
    pub(crate) rules: RoundRules,
    pub(crate) run_seed: u64,
    pub(crate) phase: Phase,
    pub(crate) round: u64,
    pub(crate) parameters: Digest,
    pub(crate) cursor: u64,
    pub(crate) tokens: u64,
    pub(crate) members: BTreeMap<NodeId, Member>,
    #[serde(default)]
    pub(crate) banned: BTreeSet<NodeId>,
    pub(crate) open: Option<OpenRound>,
    pub(crate) now: Micros,
    /// Allotted time in µs × 10,000, kept exact.
    pub(crate) allotted: u128,
    pub(crate) rate_bps: u32,
    pub(crate) durations: VecDeque<u64>,
}

/// Where a run begins or goes on: the part of the state that a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Seed of the run.
    pub run_seed: u64,
    /// Number of the next round to open.
    pub round: u64,
    /// Hash of the parameters it starts from.
    pub parameters: Digest,
    /// First sequence number not handed out yet.
    pub cursor: u64,
    /// Tokens counted so far.
    pub tokens: u64,
}

impl RoundState {
    /// A run without members that goes on from `origin`.
    ///
    /// # Errors
    /// [`RoundError::Rules`] when the rules are out of their domains.
    pub fn new(rules: RoundRules, origin: Origin, now: Micros) -> Result<Self, RoundError> {
        rules.validate()?;
        Ok(Self {
            rules,
            run_seed: origin.run_seed,
            phase: Phase::WarmUp { quorum_since: None },
            round: origin.round,
            parameters: origin.parameters,
            cursor: origin.cursor,
            tokens: origin.tokens,
            members: BTreeMap::new(),
            banned: BTreeSet::new(),
            open: None,
            now,
            allotted: 0,
            rate_bps: crate::pacing::FULL_BPS,
            durations: VecDeque::new(),
        })
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Number of the round in progress, or of the next one.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Hash of the parameters that the round starts from.
    pub fn parameters(&self) -> Digest {
        self.parameters
    }

    /// Tokens of all counted contributions.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Members by name.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// Nodes that may not join any more.
    pub fn banned(&self) -> &BTreeSet<NodeId> {
        &self.banned
    }

    /// The round in progress, if one is open.
    pub fn open(&self) -> Option<&OpenRound> {
        self.open.as_ref()
    }

    /// Meaningful between rounds only: a round in progress is not part of it.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            run_seed: self.run_seed,
            round: self.round,
            parameters: self.parameters,
            cursor: self.cursor,
            tokens: self.tokens,
        }
    }

    pub(crate) fn allotted_time(&self) -> Micros {
        let full = u128::from(crate::pacing::FULL_BPS);
        Micros(u64::try_from(self.allotted / full).unwrap_or(u64::MAX))
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A node wants to take part from the next round on. Idempotent.
    Join {
        /// The node.
        node: NodeId,
    },
    /// A node says goodbye or is known to be dead. Idempotent.
    Leave {
        /// The node.
        node: NodeId,
    },
    /// A node is removed for good, with what it has promised in this round.
    /// Idempotent.
    Ban {
        /// The node.
        node: NodeId,
    },
    /// How fast a new member says that it is. What it then takes for its work
    /// counts instead.
    Measured {
        /// The node.
        node: NodeId,
        /// Sequences in 1,000 seconds.
        speed: u64,
    },
    /// A node promises a payload. Repeating the same promise changes nothing.
    Commit {
        /// The node.
        node: NodeId,
        /// Round whose parameters it started from.
        round: u64,
        /// Hash of the payload.
        digest: Digest,
        /// Tokens it trained on.
        tokens: u64,
    },
    /// A payload was fetched; `digest` is the hash of the bytes that came.
    Reveal {
        /// The node.
        node: NodeId,
        /// Hash computed from the bytes.
        digest: Digest,
    },
    /// The coordinator has checked the revealed contributions.
    Audited {
        /// Nodes whose contribution must not be counted.
        rejected: Vec<NodeId>,
    },
    /// The coordinator has taken the outer step.
    Aggregated {
        /// Hash of the new parameters.
        parameters: Digest,
    },
    /// The compute rate of one node changed (basis points of a core).
    Rate {
        /// `0..=10000`; 0 pauses.
        bps: u32,
    },
    /// Time passed.
    Tick,
}

/// What the coordinator must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Announce a round.
    Opened {
        /// Its number.
        round: u64,
        /// Its seed.
        seed: Digest,
        /// Hash of the start parameters.
        parameters: Digest,
        /// Who trains on what.
        assignments: Vec<Assignment>,
        /// Tokens of the run before it.
        tokens: u64,
    },
    /// Ask these nodes to show their payloads.
    RequestReveals {
        /// The round.
        round: u64,
        /// Nodes that have committed.
        nodes: Vec<NodeId>,
    },
    /// Check these contributions, then answer [`Event::Audited`].
    Audit {
        /// The round.
        round: u64,
        /// Revealed contributions, by node.
        contributions: Vec<Contribution>,
    },
    /// Take the outer step over these, then answer [`Event::Aggregated`].
    Aggregate {
        /// The round.
        round: u64,
        /// Contributions to count, by node.
        contributions: Vec<Contribution>,
    },
    /// A round is over and its parameters are current.
    Closed {
        /// The round.
        round: u64,
        /// Where the run stands now: what a checkpoint must keep to go on.
        next: Origin,
        /// What was counted.
        contributions: Vec<Contribution>,
        /// Assigned nodes that did not deliver.
        missed: Vec<NodeId>,
        /// Wall time since it was opened.
        duration: Micros,
    },
    /// A round ended without a change of parameters.
    Voided {
        /// The round.
        round: u64,
        /// Why.
        reason: VoidReason,
    },
    /// A member was removed for missing too many rounds.
    Evicted {
        /// The node.
        node: NodeId,
    },
}

/// Why a round came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// Members left until the quorum could not be reached any more.
    MembersLeft,
    /// Too few of the committed payloads were shown.
    Withheld,
    /// The audit rejected too many contributions.
    Rejected,
}

/// Why an event was refused. The state is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// A rule is out of its domain.
    #[error("round rules: {0}")]
    Rules(&'static str),
    /// Not a node name.
    #[error("not a node name (1 to 64 of a-z A-Z 0-9 . _ -): {0:?}")]
    NodeName(String),
    /// The run has as many members as it may.
    #[error("the run already has {0} members")]
    Full(usize),
    /// The node was removed for good.
    #[error("{0} is banned from this run")]
    Banned(NodeId),
    /// The node is not a member.
    #[error("{0} is not a member")]
    NotMember(NodeId),
    /// The node joined after the round was opened, or has no data in it.
    #[error("{0} has no assignment in this round")]
    NotAssigned(NodeId),
    /// The event does not fit the phase.
    #[error("not possible in this phase: {0}")]
    WrongPhase(&'static str),
    /// The contribution is from a round too long ago, or from the future.
    #[error("contribution to round {round} while round {current} is open")]
    Stale {
        /// Round of the contribution.
        round: u64,
        /// Round in progress.
        current: u64,
    },
    /// The node has already promised another payload.
    #[error("{0} has already committed to another payload in this round")]
    AlreadyCommitted(NodeId),
    /// The node claims no tokens, or more than it was given.
    #[error("{claimed} tokens claimed, 1 to {most} are possible")]
    Tokens {
        /// Tokens claimed.
        claimed: u64,
        /// Most that an assignment holds.
        most: u64,
    },
    /// The node has promised nothing in this round.
    #[error("{0} has not committed in this round")]
    NotCommitted(NodeId),
    /// The payload is not the promised one.
    #[error("{node} revealed {got}, committed {want}")]
    RevealMismatch {
        /// The node.
        node: NodeId,
        /// Hash of what came.
        got: Digest,
        /// Hash that was promised.
        want: Digest,
    },
}
