//! Juries: drawing panels, secret votes, rulings, and what jurors are paid.
//!
//! [`convene`] draws a panel inside the caller's transaction. Jurors commit votes and reveal
//! them ([`voting`]); deadlines are found by an index on every tick ([`deadlines`]); a ruling
//! goes to whoever asked for it through [`dispatch`]; and once the case is final
//! [`settle_jurors`] pays and slashes. Between real cases jurors are given cases with a known
//! answer ([`gold`]), which look the same and decide how often a juror is drawn.
//!
//! Who sits is nobody's business until the ruling: deposits are locked inside the jury's own
//! account, events about running panels name nothing, and a running panel shows others its
//! deadlines only. So do not publish a panel's id before it has ended.

mod convene;
mod deadlines;
mod dispatch;
mod gold;
mod jurors;
mod rows;
mod settle;
mod snapshot;
mod view;
mod voting;

use plumbline_market::panel::{PanelError, Ruling, Terms};
use plumbline_market::probability::Pi;
use plumbline_market::{Micro, Time};

pub use convene::StudyPanel;
#[allow(unused_imports, reason = "for whatever has a case decided")]
pub(crate) use convene::{Convene, convene};
pub(crate) use jurors::ensure_jury;
pub(crate) use settle::release;
#[allow(unused_imports, reason = "for cases that end before their market")]
pub(crate) use settle::settle_jurors;

use crate::time::Millis;
use crate::{ServiceConfig, ServiceError};

/// The account that holds all jurors' stakes.
pub(crate) const JURY: &str = "jury";
/// Topic of every event about panels.
pub(crate) const TOPIC: &str = "panels";

/// Prices and odds of jury duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelConfig {
    /// Any account with a stake may sit, not only those with the role `juror`.
    pub open_juries: bool,
    /// Locked from a juror's stake for each seat. A juror needs two to be drawn: one for the
    /// panel, one for the known case that may come with it.
    pub seat_deposit_micro: i64,
    /// Stake above this adds no weight to the draw.
    pub stake_cap_micro: i64,
    /// Paid by the treasury for each vote that is coherent with the settlement.
    pub juror_fee_micro: i64,
    /// Part of the deposit that an incoherent vote costs, basis points.
    pub incoherent_slash_bps: u32,
    /// The same on a case with a known answer. High, so that fees for voting with the crowd
    /// never make up for it: see `docs/juries.md` for the arithmetic.
    pub gold_slash_bps: u32,
    /// Part of the deposit that a seat without a revealed vote costs, basis points.
    pub silent_slash_bps: u32,
    /// How often a seat comes with a case with a known answer, parts per million.
    pub gold_probability_ppm: u32,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self {
            open_juries: false,
            seat_deposit_micro: 20_000_000,
            stake_cap_micro: 100_000_000,
            juror_fee_micro: 1_000_000,
            incoherent_slash_bps: 1_000,
            gold_slash_bps: 5_000,
            silent_slash_bps: 2_000,
            gold_probability_ppm: 250_000,
        }
    }
}

impl PanelConfig {
    /// Least stake with which a juror is drawn, micro-credits.
    fn least_stake(&self) -> i64 {
        self.seat_deposit_micro.saturating_mul(2)
    }
}

/// What a panel is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The settlement of a market; a vote is π.
    Settlement {
        /// The market.
        market_id: String,
        /// Round of its ladder of challenges.
        round: u32,
    },
    /// Whether a challenged exhibit is to be struck; a vote is the probability that it is not
    /// authentic, so one means strike.
    Exhibit {
        /// The evidence.
        evidence_id: String,
        /// Its challenge.
        challenge_id: String,
    },
    /// A case with a known answer.
    Gold {
        /// The case.
        case_id: String,
    },
}

impl Subject {
    fn kind(&self) -> &'static str {
        match self {
            Self::Settlement { .. } => "settlement",
            Self::Exhibit { .. } => "exhibit",
            Self::Gold { .. } => "gold",
        }
    }

    /// Goes into the seed of the draw, so that no two cases share one.
    fn label(&self) -> String {
        match self {
            Self::Settlement { market_id, round } => format!("settlement:{market_id}:{round}"),
            Self::Exhibit {
                evidence_id,
                challenge_id,
            } => format!("exhibit:{evidence_id}:{challenge_id}"),
            Self::Gold { case_id } => format!("gold:{case_id}"),
        }
    }
}

/// What a panel said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PanelOutcome {
    /// The median vote.
    Ruled {
        /// The ruling.
        pi: Pi,
    },
    /// An even split; escalate.
    Tie,
    /// Too few votes; escalate.
    NoQuorum,
}

impl From<Ruling> for PanelOutcome {
    fn from(ruling: Ruling) -> Self {
        match ruling {
            Ruling::Ruled { pi } => Self::Ruled { pi },
            Ruling::Tie => Self::Tie,
            Ruling::NoQuorum => Self::NoQuorum,
        }
    }
}

/// Prices of a seat with this deposit.
fn terms(config: &ServiceConfig, deposit_micro: i64, gold: bool) -> Terms {
    let prices = &config.panels;
    let silent_bps = if config.defences.reveal_slash {
        prices.silent_slash_bps
    } else {
        0
    };
    Terms {
        deposit: Micro(deposit_micro),
        fee: Micro(prices.juror_fee_micro),
        incoherent_bps: if gold {
            prices.gold_slash_bps
        } else {
            prices.incoherent_slash_bps
        },
        silent_bps,
    }
}

fn time(at: Millis) -> Time {
    Time(at)
}

/// A refused event as the caller sees it.
fn panel_error(error: PanelError) -> ServiceError {
    let detail = error.to_string();
    match error {
        PanelError::NoSeat => ServiceError::refused("no-seat", detail),
        PanelError::CommitsOver => ServiceError::refused("commits-over", detail),
        PanelError::RevealsNotOpen => ServiceError::refused("reveals-not-open", detail),
        PanelError::Over => ServiceError::refused("panel-over", detail),
        PanelError::CommittedAlready => ServiceError::refused("already-committed", detail),
        PanelError::NothingCommitted => ServiceError::refused("nothing-committed", detail),
        PanelError::RevealedAlready => ServiceError::refused("already-revealed", detail),
        PanelError::SeatLost => ServiceError::refused("seat-lost", detail),
        PanelError::BadOpening => ServiceError::invalid("bad-opening", detail),
        PanelError::Vote => ServiceError::invalid("bad-vote", detail),
        other => ServiceError::internal(other),
    }
}
