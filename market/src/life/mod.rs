//! The life cycle of a market as a pure machine.
//!
//! ```text
//! draft → open → closing → frozen → auditing → settling ⇄ challenged
//!                                                   └→ final → paid
//! void: from any state before final
//! ```
//!
//! Settling begins with a [`Search`]: the committed test, the judges, the market's own price,
//! a window for bonded proposals, or a jury. What it finds stands as a [`Proposal`] for the
//! challenge window. A challenge with a doubled bond sends the case to the next [`Search`]:
//! the test once more, then panels of 3, 7 and 15. Whatever that rules stands as the next
//! proposal, until one goes unchallenged or the largest panel has ruled.
//!
//! [`step`] takes the state, an event and the time, and returns the next state with what has
//! to be done; it changes nothing itself. Rules are fixed in the draft and cannot change
//! after: a market can be voided, never edited.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::Micro;
use crate::probability::Pi;

mod case;
mod rules;
mod step;

pub use case::{AUDIT_PANEL, Freeze, PANEL_SIZES, Proposal, Search, Source, next_panel};
pub use rules::{Method, Rules};
pub use step::{Effect, Event, Proposer, Ruler, step};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// `self + millis`; a moment out of range becomes the last one there is.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// Where a market stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being written; its rules may still change.
    Draft,
    /// Takes orders and evidence.
    Open,
    /// The announced closing window; the last moment for orders has been drawn.
    Closing,
    /// Checkpoint and exhibits are fixed by their hashes.
    Frozen,
    /// The audit draw has been made.
    Auditing,
    /// A settlement is being found, or is proposed and may be challenged.
    Settling,
    /// The proposal is challenged and waits for a ruling.
    Challenged,
    /// The settlement stands.
    Final,
    /// Everybody has been paid.
    Paid,
    /// Called off; everybody is refunded.
    Void,
}

impl Status {
    /// Every status, in order of life.
    pub const ALL: [Self; 10] = [
        Self::Draft,
        Self::Open,
        Self::Closing,
        Self::Frozen,
        Self::Auditing,
        Self::Settling,
        Self::Challenged,
        Self::Final,
        Self::Paid,
        Self::Void,
    ];

    /// The name under which the status is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Frozen => "frozen",
            Self::Auditing => "auditing",
            Self::Settling => "settling",
            Self::Challenged => "challenged",
            Self::Final => "final",
            Self::Paid => "paid",
            Self::Void => "void",
        }
    }

    /// Whether a market in this status can still be voided.
    pub const fn may_be_voided(self) -> bool {
        !matches!(self, Self::Final | Self::Paid | Self::Void)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = LifeError;

    fn from_str(text: &str) -> Result<Self, LifeError> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or(LifeError::UnknownStatus)
    }
}

/// The state of a market's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// Where it stands.
    pub status: Status,
    /// What was promised.
    pub rules: Rules,
    /// Time of the last step; time never runs backwards in a market's life.
    pub stepped_at: Time,
    /// Orders stop at this moment; set when closing begins.
    pub stops_at: Option<Time>,
    /// Set by the freeze.
    pub freeze: Option<Freeze>,
    /// Whether the audit draw sent the case to the strongest method.
    pub audited: Option<bool>,
    /// What is looking for the settlement now.
    #[serde(default)]
    pub search: Option<Search>,
    /// The settlement proposed last.
    pub proposal: Option<Proposal>,
    /// Challenges so far.
    pub challenges: u8,
    /// Times that the committed test was run.
    #[serde(default)]
    pub tests: u8,
    /// Jurors of the last panel called; zero when none was.
    #[serde(default)]
    pub last_panel: u8,
}

/// Why a step was refused. The state has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// The event does not fit the status.
    #[error("a market that is {0} does not allow this")]
    NotAllowed(Status),
    /// The condition does not hold yet.
    #[error("too early")]
    TooEarly,
    /// The challenge came after its window.
    #[error("too late")]
    TooLate,
    /// `now` is before the last step.
    #[error("time ran backwards")]
    Backwards,
    /// The market would close before it opens, a window, bond or fee is negative, or a
    /// probability is out of its range.
    #[error("the rules of the market are not valid")]
    InvalidRules,
    /// `draw` is not within [0, 1).
    #[error("the draw is outside [0, 1)")]
    InvalidDraw,
    /// The plan is not the one that was committed at the opening.
    #[error("the test plan is not the one that was committed")]
    WrongPlan,
    /// A challenge that wants what was proposed.
    #[error("the challenge wants the settlement that stands")]
    SameSettlement,
    /// The bond is below the one required.
    #[error("a bond of {0} micro-credits is required")]
    BondTooSmall(Micro),
    /// The stored name of a status is not known.
    #[error("unknown status")]
    UnknownStatus,
}

impl Life {
    /// A draft. Errors: rules that contradict themselves; see [`LifeError::InvalidRules`].
    pub fn draft(rules: Rules, now: Time) -> Result<Self, LifeError> {
        rules.check()?;
        Ok(Self {
            status: Status::Draft,
            rules,
            stepped_at: now,
            stops_at: None,
            freeze: None,
            audited: None,
            search: None,
            proposal: None,
            challenges: 0,
            tests: 0,
            last_panel: 0,
        })
    }

    /// Whether a close condition holds: the closing window has begun or the run has reported
    /// the tokens.
    pub fn close_is_due(&self, reported_tokens: u64, now: Time) -> bool {
        let enough = self
            .rules
            .closes_after_tokens
            .is_some_and(|limit| reported_tokens >= limit);
        enough || now >= self.rules.window_begins_at()
    }

    /// Whether orders and evidence are taken now. An open market whose close is due takes
    /// none, even before the step to closing has been made.
    pub fn accepts_orders(&self, reported_tokens: u64, now: Time) -> bool {
        match self.status {
            Status::Open => !self.close_is_due(reported_tokens, now),
            Status::Closing => self.stops_at.is_some_and(|stop| now < stop),
            _ => false,
        }
    }

    /// Whether the committed test can be run: there is a plan and a checkpoint to run it on.
    pub fn can_test(&self) -> bool {
        let checkpoint = self.freeze.and_then(|freeze| freeze.checkpoint);
        self.rules.plan().is_some() && checkpoint.is_some()
    }

    /// What would decide about a challenge of the standing proposal: the test once more where
    /// it ran once, else the next larger panel. `None` when nothing stands, when the last
    /// panel has ruled, or when the market settles by its own price.
    pub fn appeal(&self) -> Option<Search> {
        let proposal = self.proposal?;
        match proposal.source {
            Source::Reference => None,
            Source::Test if self.tests == 1 && self.challenges == 0 && self.can_test() => {
                Some(Search::Test)
            }
            _ => next_panel(self.last_panel).map(|size| Search::Panel { size }),
        }
    }

    /// Bond that the next challenge must bring, `bond · 2^(challenges + 1)`; `None` when the
    /// ladder has ended or the amount would not fit.
    pub fn challenge_bond(&self) -> Option<Micro> {
        self.appeal()?;
        self.rules.bond.checked_mul(2 << self.challenges).ok()
    }

    /// When something is due by the clock alone: the end of trading, of the window for
    /// proposals, or of the window for challenges. Nothing is while an open market trades
    /// (see [`Rules::closes_at`]) or while a test, the judges or a jury are at work.
    pub fn due_at(&self) -> Option<Time> {
        match (self.status, self.search, self.proposal) {
            (Status::Closing, _, _) => self.stops_at,
            (Status::Settling, Some(Search::Proposals { until }), _) => Some(until),
            (Status::Settling, None, Some(proposal)) => Some(proposal.final_after),
            _ => None,
        }
    }

    /// The settlement, once it stands.
    pub fn settlement(&self) -> Option<Pi> {
        let stands = matches!(self.status, Status::Final | Status::Paid);
        self.proposal.filter(|_| stands).map(|proposal| proposal.pi)
    }
}

#[cfg(test)]
mod tests;
