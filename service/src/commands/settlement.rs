//! Bodies of the requests about how markets end.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Settlement method and its committed terms. Windows and bonds that are not given are the
/// service's defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettlementTerms {
    /// `objective`: a test plan that is hashed at opening and run on the frozen checkpoint.
    /// `panel`: anybody without a stake proposes, a jury decides. `ensemble`: the judges' pooled
    /// probability is proposed. `self_resolving`: the last price settles; advisory only.
    pub method: String,
    /// The test plan. Required for `objective`; for `panel` and `ensemble` it is what audited cases
    /// are tested by. Only its hash is public until the freeze.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub plan: serde_json::Value,
    /// How long anybody may propose after the freeze, seconds (`panel` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal_window_s: Option<i64>,
    /// How long a proposal or ruling can be challenged, seconds; 0 makes it final at once. At least 60
    /// for `panel` and `ensemble`, where nothing else stands between a wrong proposal and the payout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_window_s: Option<i64>,
    /// How long jurors may commit votes, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jury_commit_s: Option<i64>,
    /// How long jurors may then reveal them, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jury_reveal_s: Option<i64>,
    /// Bond of the first proposal, micro-credits; each challenge doubles it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond_micro: Option<i64>,
    /// Least probability of an audit, basis points, at least 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_floor_bps: Option<i64>,
    /// Probability of an audit at even odds, basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_peak_bps: Option<i64>,
    /// Probability in millionths that the market stops after a trade (`self_resolving` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_ppm: Option<i64>,
    /// The last trades, this many, are undone (`self_resolving` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<i64>,
    /// Flat fee of each account whose trades were undone, micro-credits (`self_resolving` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_micro: Option<i64>,
}

/// `POST /markets/{id}/settlement`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeSettlement {
    /// The settlement π ∈ [0, 1], rounded to billionths.
    pub pi: f64,
    /// The most that may be held as a bond, micro-credits; exactly the required bond is.
    pub bond_micro: i64,
    /// What speaks for it, plain text, at most 2,000 characters.
    #[serde(default)]
    pub reason: String,
}

/// `POST /markets/{id}/challenges`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeSettlement {
    /// The settlement that should stand instead.
    pub pi: f64,
    /// The most that may be held as a bond, micro-credits; exactly the required bond is.
    pub bond_micro: i64,
    /// Why the one that stands is wrong, plain text, 1 to 2,000 characters.
    pub reason: String,
}

/// `POST /markets/{id}/void`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidMarket {
    /// Why, shown to everybody; 1 to 500 characters.
    pub reason: String,
}
