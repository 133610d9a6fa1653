//! What traders can rely on from the opening on.

use serde::{Deserialize, Serialize};

use super::{LifeError, Time};
use crate::digest::Digest;
use crate::draw::{ALL_BPS, MIN_AUDIT_BPS};
use crate::fees::FeeSchedule;
use crate::money::Micro;

/// How the market is settled, chosen when it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method")]
pub enum Method {
    /// A test plan, committed by its hash, is run on the frozen checkpoint
    /// (see [`crate::plan::SettlementPlan`]).
    Objective {
        /// [`crate::plan::SettlementPlan::commitment`].
        commitment: Digest,
    },
    /// Anybody without a stake proposes; a jury decides when nobody does, or on a challenge.
    Panel,
    /// The pooled probability of the judges is proposed, and may be challenged.
    Ensemble,
    /// The market's own last price settles it (see [`crate::self_resolving`]). A signal only:
    /// no decision may be loosened on it.
    SelfResolving {
        /// Probability, in millionths, with which the market stops after a trade.
        stop_ppm: u32,
        /// The last trades, this many, are undone.
        undone: u16,
        /// What each account whose trades were undone gets instead.
        fee: Micro,
    },
}

impl Method {
    /// The name under which the method is stored.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Objective { .. } => "objective",
            Self::Panel => "panel",
            Self::Ensemble => "ensemble",
            Self::SelfResolving { .. } => "self_resolving",
        }
    }

    /// Whether the settlement is only a signal, on which nothing may be loosened.
    pub const fn is_advisory(&self) -> bool {
        matches!(self, Self::SelfResolving { .. })
    }
}

/// What traders can rely on from the opening on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Orders stop at this moment at the latest.
    pub closes_at: Time,
    /// The market closes earlier once the run reports this many training tokens. Published
    /// at the opening, so that nobody picks the moment.
    pub closes_after_tokens: Option<u64>,
    /// Length of the closing window in milliseconds. It ends at `closes_at`, or begins when
    /// the tokens are reached. The last moment for orders is drawn inside it, so that no last
    /// move is safe; zero stops them at once.
    pub closing_window_millis: i64,
    /// How long a proposed settlement can be challenged, in milliseconds.
    pub challenge_window_millis: i64,
    /// How long a panel market waits for a proposal before it calls a jury, in milliseconds.
    #[serde(default)]
    pub proposal_window_millis: i64,
    /// Bond of the first proposal; each challenge doubles it.
    pub bond: Micro,
    /// How the market is settled.
    pub method: Method,
    /// Plan of the objective test that audited cases get; the method's own for an objective
    /// market.
    #[serde(default)]
    pub audit_plan: Option<Digest>,
    /// Least probability of an audit, basis points.
    #[serde(default = "least_audit")]
    pub audit_floor_bps: u16,
    /// Probability of an audit at even odds, basis points.
    #[serde(default = "least_audit")]
    pub audit_peak_bps: u16,
    /// [`crate::draw::seed_commitment`] of the seed of the stop moment and of the audit draw,
    /// which is published after the freeze.
    #[serde(default)]
    pub seed_commitment: Option<Digest>,
    /// Fee of trades that goes to the treasury, basis points of their cost.
    #[serde(default)]
    pub trade_fee_bps: u16,
    /// Fee of trades that goes to the market's creator, basis points of their cost.
    #[serde(default)]
    pub creator_fee_bps: u16,
}

const fn least_audit() -> u16 {
    MIN_AUDIT_BPS
}

impl Rules {
    /// The start of the closing window when nothing but the clock closes the market.
    pub const fn window_begins_at(&self) -> Time {
        Time(self.closes_at.0.saturating_sub(self.closing_window_millis))
    }

    /// Commitment of the objective test that this market may be settled by, if there is one.
    pub const fn plan(&self) -> Option<Digest> {
        match self.method {
            Method::Objective { commitment } => Some(commitment),
            _ => self.audit_plan,
        }
    }

    /// The fees of trades. Errors: a rate above [`crate::fees::MAX_FEE_BPS`].
    pub fn fees(&self) -> Result<FeeSchedule, LifeError> {
        FeeSchedule::new(self.trade_fee_bps, self.creator_fee_bps)
            .map_err(|_| LifeError::InvalidRules)
    }

    /// Errors: [`LifeError::InvalidRules`] for a negative window or bond, a fee out of
    /// range, an audit probability below the least one or above certainty, or a stop probability outside
    /// (0, 1].
    pub(super) fn check(&self) -> Result<(), LifeError> {
        let windows = self
            .closing_window_millis
            .min(self.challenge_window_millis)
            .min(self.proposal_window_millis);
        let audit = self.audit_floor_bps >= MIN_AUDIT_BPS
            && self.audit_floor_bps <= self.audit_peak_bps
            && self.audit_peak_bps <= ALL_BPS;
        let method = match self.method {
            Method::SelfResolving { stop_ppm, fee, .. } => {
                (1..=1_000_000).contains(&stop_ppm) && !fee.is_negative()
            }
            _ => true,
        };
        if windows < 0 || self.bond.is_negative() || !audit || !method {
            return Err(LifeError::InvalidRules);
        }
        self.fees().map(|_| ())
    }
}
