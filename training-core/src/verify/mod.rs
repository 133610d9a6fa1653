//! Finding out who lies: recomputation of drawn contributions, signs that
//! steer the draw, proofs, bans.
//!
//! A contribution is a function of committed facts ([`crate::local`]), so that
//! an auditor can do the work again and compare. That costs as much as the
//! work, and is done for a small drawn part of contributions ([`lottery`]).
//! Signs that cost little ([`screen`]) make a node likelier to be drawn; they
//! never ban, because noise could cause them.
//!
//! A node is banned on [`Evidence`] only: work that was recomputed and is not
//! what the node sent, a payload that an earlier round had already seen, or
//! two signed commitments for one round ([`statement`]). Each can be checked
//! again by anybody who has the round's data.

pub mod compare;
pub mod lottery;
pub mod screen;
pub mod statement;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use compare::{Claim, Comparison, examine};
pub use lottery::Lottery;
pub use screen::{Gain, Screen, Sign};
pub use statement::{Equivocation, Statement};

use crate::digest::Digest;
use crate::round::NodeId;

/// How closely contributions are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRules {
    /// Part of contributions that is recomputed, basis points.
    pub audit_bps: u32,
    /// A contribution whose norm is this many times the round's median, or
    /// that part of it, is not counted. `> 1`.
    pub norm_ratio: f64,
    /// Part of a node's stake that a ban costs, basis points.
    pub slash_bps: u32,
    /// Rows of a batch that gains are measured on; 0 measures none.
    pub gain_rows: usize,
}

impl Default for VerifyRules {
    /// One in ten recomputed, a factor of ten in norm, the whole stake.
    fn default() -> Self {
        Self {
            audit_bps: 1_000,
            norm_ratio: 10.0,
            slash_bps: 10_000,
            gain_rows: 8,
        }
    }
}

impl VerifyRules {
    /// What is out of its domain, if anything is.
    pub fn problem(&self) -> Option<&'static str> {
        let full = crate::pacing::FULL_BPS;
        if self.audit_bps > full || self.slash_bps > full {
            Some("audit and slash rates are 0 to 10000 basis points")
        } else if !(self.norm_ratio.is_finite() && self.norm_ratio > 1.0) {
            Some("the norm ratio must exceed 1")
        } else if self.gain_rows > 65_536 {
            Some("at most 65536 rows")
        } else {
            None
        }
    }
}

/// Why a node is banned: checkable again from the round's data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// The work was done again, and this is not what the node sent.
    Recomputed {
        /// Norm of what it sent over the norm of what it should have sent.
        norm_ratio: f64,
        /// Cosine of the two, `−1..=1`; 0 where one is zero.
        cosine: f64,
        /// What was committed.
        payload: Digest,
        /// What the work gives.
        recomputed: Digest,
    },
    /// The work is right, and the state shown with it is not what it leads to.
    State {
        /// What was committed.
        state: Digest,
        /// What the work gives.
        recomputed: Digest,
    },
    /// More tokens than the work holds.
    Tokens {
        /// Claimed.
        claimed: u64,
        /// Held.
        held: u64,
    },
    /// The very payload was seen in an earlier round.
    Repeated {
        /// The payload.
        payload: Digest,
        /// When it was seen first.
        round: u64,
        /// Whose it was.
        node: NodeId,
    },
    /// Two signed commitments for one round.
    Equivocation(Box<Equivocation>),
}

impl Evidence {
    /// Its name in figures and answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Recomputed { .. } => "recomputed",
            Self::State { .. } => "state",
            Self::Tokens { .. } => "tokens",
            Self::Repeated { .. } => "repeated",
            Self::Equivocation(_) => "equivocation",
        }
    }
}

/// A node's removal for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    pub node: NodeId,
    /// The round that the evidence is about.
    pub round: u64,
    /// Why.
    pub evidence: Evidence,
    /// Part of its stake that it loses, basis points. Whoever keeps the money
    /// books it.
    pub slash_bps: u32,
}
