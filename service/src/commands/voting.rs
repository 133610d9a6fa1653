//! Bodies of requests about stakes, proposals, delegations and seals, and of policy simulations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /stakes` and `POST /stakes/withdrawals`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeStake {
    /// Added to the stake, or taken back; micro-credits, above zero.
    pub stake_micro: i64,
}

/// `POST /delegations`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// Track, e.g. `policy-change`.
    pub track: String,
    /// Handle of the delegate.
    pub delegate: String,
    /// Level of conviction, 0 to 6.
    #[serde(default)]
    pub conviction: u8,
}

/// `POST /proposals`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProposal {
    /// One line, 1 to 120 characters.
    pub title: String,
    /// Why; at most 16 KiB.
    #[serde(default)]
    pub body: String,
    /// Track; follows from the action unless given. A `tighten` may go on `emergency-tighten`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// What it does when it is executed.
    pub action: ProposedAction,
    /// Part of the deposit to pay at once, micro-credits; none leaves a draft.
    #[serde(default)]
    pub deposit_micro: i64,
}

/// What a proposal does. Never free text: each kind is one typed effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProposedAction {
    /// Permit a run up to a share whatever rules say, and lift its pause, for a term.
    Loosen {
        /// Id or name of the run.
        run: String,
        /// The share, basis points, above 0.
        cap_bps: u16,
        /// The term, seconds, at most 90 days.
        term_s: u64,
    },
    /// Cap a run for a term, or pause it until a vote lifts the pause.
    Tighten {
        /// Id or name of the run.
        run: String,
        /// The cap, basis points; none with `pause`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cap_bps: Option<u16>,
        /// Pause it.
        #[serde(default)]
        pause: bool,
        /// The term, seconds, at most 90 days, 3 on the track of emergencies.
        term_s: u64,
    },
    /// Put another policy in force.
    PolicyChange {
        /// The document, TOML.
        toml: String,
    },
    /// Put another version of the oracle in force.
    OracleChange {
        /// The version.
        version_id: String,
    },
    /// Call off a market whose settlement is about to become final: everybody gets back what they put in.
    SettlementDispute {
        /// The market.
        market_id: String,
    },
    /// Pay from the treasury.
    Treasury {
        /// Handle of the payee.
        account: String,
        /// How much, micro-credits.
        amount_micro: i64,
        /// For what, 1 to 200 characters.
        memo: String,
    },
    /// Give and take roles.
    Membership {
        /// Handle.
        account: String,
        /// Roles to give.
        #[serde(default)]
        grant: Vec<String>,
        /// Roles to take.
        #[serde(default)]
        revoke: Vec<String>,
    },
    /// Stop another proposal.
    Cancel {
        /// The proposal.
        proposal_id: String,
    },
    /// Divide a sum from the treasury over those who contributed, by largest remainder.
    RevenueSplit {
        /// What is divided, micro-credits.
        amount_micro: i64,
        /// Name of the period, 1 to 64 characters.
        period: String,
        /// The snapshot of contributions, 1 to 100 accounts.
        shares: Vec<RevenueShare>,
    },
    /// Give guardians a seal.
    SealCreation {
        /// Name of the seal, 1 to 120 characters.
        title: String,
        /// Handles of the guardians, 1 to 15.
        guardians: Vec<String>,
        /// How many of them use it together.
        threshold: u8,
        /// Ids or names of the runs that it covers; all where there are none.
        #[serde(default)]
        runs: Vec<String>,
        /// The cap that its use puts in force, basis points.
        cap_bps: u16,
        /// For how long, seconds, at most 14 days.
        term_s: u64,
        /// How long it can be used, seconds, at most a year.
        valid_s: u64,
    },
    /// Keep what the use of a seal put in force. The use of a seal proposes this by itself; a rejection ends
    /// it.
    Ratify {
        /// The seal.
        seal_id: String,
        /// The run.
        run: String,
        /// For how much longer, seconds.
        keep_s: u64,
    },
}

/// One contributor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevenueShare {
    /// Handle.
    pub account: String,
    /// Weight of the contribution.
    pub weight: u64,
}

/// `POST /proposals/{id}/deposits`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayDeposit {
    /// Part of the deposit, micro-credits.
    pub amount_micro: i64,
}

/// `POST /proposals/{id}/votes`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CastVote {
    /// `for`, `against` or `abstain`.
    pub side: String,
    /// Level of conviction, 0 to 6: how long the stake stays locked after the vote, and its weight.
    #[serde(default)]
    pub conviction: u8,
}

/// `POST /seals/{id}/use`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UseSeal {
    /// Id or name of the run to cap.
    pub run: String,
}

/// `POST /policy/simulate`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulatePolicy {
    /// The candidate, TOML; the policy in force unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toml: Option<String>,
    /// A version that was in force before, instead of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Replay from here; a week back unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Replay to here; now unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Prices to assume instead of those that there are, at most 16.
    #[serde(default)]
    pub prices: Vec<AssumedPrice>,
}

/// A price to assume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssumedPrice {
    /// Id or name of the run.
    pub run: String,
    /// Probability of misalignment, in (0, 1).
    pub probability: f64,
}
