//! The rows of votes.

use serde::Deserialize;

/// A stake.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Stake {
    pub account_id: String,
    pub stake_micro: i64,
    pub earned_micro: i64,
}

/// A stake that answers for a node's work in a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct NodeStake {
    pub id: String,
    pub run_id: String,
    pub node_key: String,
    pub account_id: String,
    pub stake_micro: i64,
    pub slashed_micro: i64,
    pub status: String,
    pub created_at: i64,
    pub closed_at: Option<i64>,
    pub ban: Option<String>,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Proposal {
    pub id: String,
    pub track: String,
    pub author_id: String,
    pub action: String,
    pub terms: String,
    pub state: String,
    pub tally: String,
    pub created_at: i64,
    pub voting_at: Option<i64>,
    pub ended_at: Option<i64>,
}

/// What somebody paid for a proposal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Deposit {
    pub proposal_id: String,
    pub account_id: String,
    pub amount_micro: i64,
    pub status: String,
}

/// What a vote gave to an account of a period's revenue.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct RevenueShare {
    pub id: String,
    pub proposal_id: String,
    pub period: String,
    pub account_id: String,
    pub weight: i64,
    pub amount_micro: i64,
    pub created_at: i64,
    pub claimed_at: Option<i64>,
}

/// Somebody with a stake or a delegate when a vote began.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Elector {
    pub proposal_id: String,
    pub account_id: String,
    pub stake_micro: i64,
    pub delegate_id: Option<String>,
    pub conviction: i64,
}

/// A ballot.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Ballot {
    pub proposal_id: String,
    pub account_id: String,
    pub side: String,
    pub conviction: i64,
    pub at: i64,
}
