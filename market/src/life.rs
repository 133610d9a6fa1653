//! The life cycle of a market as a pure machine.
//!
//! ```text
//! draft → open → closing → frozen → auditing → settling ⇄ challenged
//!                                                   └→ final → paid
//! void: from any state before final
//! ```
//!
//! [`step`] takes the state, an event and the time, and returns the next state with what has
//! to be done; it changes nothing itself. Rules are fixed in the draft and cannot change
//! after: a market can be voided, never edited.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::money::Micro;
use crate::probability::Pi;

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
}

/// What traders can rely on from the opening on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The market closes at this moment at the latest.
    pub closes_at: Time,
    /// The market closes earlier once the run reports this many training tokens. Published
    /// at the opening, so that nobody picks the moment.
    pub closes_after_tokens: Option<u64>,
    /// Length of the closing window in milliseconds. The last moment for orders is drawn
    /// inside it, so that no last move is safe; zero closes at once.
    pub closing_window_millis: i64,
    /// How long a proposed settlement can be challenged, in milliseconds.
    pub challenge_window_millis: i64,
    /// Bond of the first proposal; each challenge doubles it.
    pub bond: Micro,
    /// How the market is settled.
    pub method: Method,
}

/// Hashes that fix what is settled about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Hash of the frozen checkpoint.
    pub checkpoint: Digest,
    /// Root over the exhibits that had been submitted.
    pub exhibits_root: Digest,
}

/// A proposed settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The proposed settlement.
    pub pi: Pi,
    /// From this moment on it can be made final; until then it can be challenged.
    pub final_after: Time,
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
    /// The settlement proposed last.
    pub proposal: Option<Proposal>,
    /// Challenges so far.
    pub challenges: u8,
}

/// What can happen to a market.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Start trading.
    Open,
    /// A close condition holds. `draw` ∈ [0, 1) places the last moment in the window.
    Close {
        /// Training tokens that the run has reported.
        reported_tokens: u64,
        /// Where in the closing window orders stop.
        draw: f64,
    },
    /// Fix checkpoint and exhibits.
    Freeze(Freeze),
    /// The audit draw has come out.
    Audit {
        /// Whether the case goes to the strongest method whatever the cheap one says. An
        /// objective test is the strongest method, so for it this changes nothing.
        audited: bool,
    },
    /// Begin to find the settlement.
    Settle,
    /// The settlement method has come to a result.
    Propose {
        /// Commitment of the plan that was run; must be the one in the rules.
        commitment: Digest,
        /// The proposed settlement.
        pi: Pi,
    },
    /// Somebody disputes the proposal.
    Challenge {
        /// Bond that comes with it; see [`Life::challenge_bond`].
        bond: Micro,
    },
    /// The challenge has been decided: for an objective test, by running it again.
    Rule {
        /// The settlement that the ruling proposes.
        pi: Pi,
    },
    /// The window has passed without a challenge.
    Finalise,
    /// All payouts have been made.
    Pay,
    /// Call the market off.
    Void,
}

/// What has to be done after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Move the subsidy from the treasury to the market's escrow.
    LockSubsidy,
    /// Refuse orders from this moment on, then freeze.
    StopOrdersAt(Time),
    /// Make the audit draw.
    DrawAudit,
    /// Run the committed test plan on the frozen checkpoint.
    RunTest,
    /// Run the test again, independently, and rule.
    RepeatTest,
    /// Come back at this moment to make the proposal final.
    FinaliseAt(Time),
    /// Pay every position at this settlement.
    Payout(Pi),
    /// Give every account back what it put in.
    Refund,
}

/// Challenges after which a ruling cannot be challenged again.
pub const MAX_CHALLENGES: u8 = 3;

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
    /// The market would close before it opens, or a window or bond is negative.
    #[error("the rules of the market are not valid")]
    InvalidRules,
    /// `draw` is not within [0, 1).
    #[error("the draw is outside [0, 1)")]
    InvalidDraw,
    /// The plan is not the one that was committed at the opening.
    #[error("the test plan is not the one that was committed")]
    WrongPlan,
    /// The bond is below the one required.
    #[error("a bond of {0} micro-credits is required")]
    BondTooSmall(Micro),
    /// The stored name of a status is not known.
    #[error("unknown status")]
    UnknownStatus,
}

impl Life {
    /// A draft. Errors: negative window or bond.
    pub fn draft(rules: Rules, now: Time) -> Result<Self, LifeError> {
        let windows = rules
            .closing_window_millis
            .min(rules.challenge_window_millis);
        if windows < 0 || rules.bond.is_negative() {
            return Err(LifeError::InvalidRules);
        }
        Ok(Self {
            status: Status::Draft,
            rules,
            stepped_at: now,
            stops_at: None,
            freeze: None,
            audited: None,
            proposal: None,
            challenges: 0,
        })
    }

    /// Whether a close condition holds: the moment has come or the run has reported the tokens.
    pub fn close_is_due(&self, reported_tokens: u64, now: Time) -> bool {
        let enough = self
            .rules
            .closes_after_tokens
            .is_some_and(|limit| reported_tokens >= limit);
        enough || now >= self.rules.closes_at
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

    /// Bond that the next challenge must bring, `bond · 2^(challenges + 1)`; `None` when the
    /// ladder has ended or the amount would not fit.
    pub fn challenge_bond(&self) -> Option<Micro> {
        if self.challenges >= MAX_CHALLENGES {
            return None;
        }
        self.rules.bond.checked_mul(2 << self.challenges).ok()
    }

    /// The settlement, once it stands.
    pub fn settlement(&self) -> Option<Pi> {
        let stands = matches!(self.status, Status::Final | Status::Paid);
        self.proposal.filter(|_| stands).map(|proposal| proposal.pi)
    }
}

/// The next state of a market's life and what has to be done.
///
/// Errors: see [`LifeError`]. Deterministic in its arguments; draws come inside the event.
pub fn step(life: &Life, event: &Event, now: Time) -> Result<(Life, Vec<Effect>), LifeError> {
    if now < life.stepped_at {
        return Err(LifeError::Backwards);
    }
    let mut next = Life {
        stepped_at: now,
        ..life.clone()
    };
    let effects = match (life.status, *event) {
        (Status::Draft, Event::Open) => open(&mut next, now)?,
        (
            Status::Open,
            Event::Close {
                reported_tokens,
                draw,
            },
        ) => close(&mut next, reported_tokens, draw, now)?,
        (Status::Closing, Event::Freeze(freeze)) => {
            if life.stops_at.is_none_or(|stop| now < stop) {
                return Err(LifeError::TooEarly);
            }
            next.status = Status::Frozen;
            next.freeze = Some(freeze);
            vec![Effect::DrawAudit]
        }
        (Status::Frozen, Event::Audit { audited }) => {
            next.status = Status::Auditing;
            next.audited = Some(audited);
            vec![]
        }
        (Status::Auditing, Event::Settle) => {
            next.status = Status::Settling;
            vec![Effect::RunTest]
        }
        (Status::Settling, Event::Propose { commitment, pi }) if life.proposal.is_none() => {
            let Method::Objective {
                commitment: committed,
            } = life.rules.method;
            if commitment != committed {
                return Err(LifeError::WrongPlan);
            }
            propose(&mut next, pi, now)
        }
        (Status::Settling, Event::Challenge { bond }) => challenge(&mut next, bond, now)?,
        (Status::Challenged, Event::Rule { pi }) => {
            next.status = Status::Settling;
            propose(&mut next, pi, now)
        }
        (Status::Settling, Event::Finalise) => finalise(&mut next, now)?,
        (Status::Final, Event::Pay) => {
            next.status = Status::Paid;
            vec![]
        }
        (status, Event::Void) if status.may_be_voided() => {
            next.status = Status::Void;
            if status == Status::Draft {
                vec![]
            } else {
                vec![Effect::Refund]
            }
        }
        (status, _) => return Err(LifeError::NotAllowed(status)),
    };
    Ok((next, effects))
}

fn open(next: &mut Life, now: Time) -> Result<Vec<Effect>, LifeError> {
    if next.rules.closes_at <= now || next.rules.closes_after_tokens == Some(0) {
        return Err(LifeError::InvalidRules);
    }
    next.status = Status::Open;
    Ok(vec![Effect::LockSubsidy])
}

/// The window starts when the condition came true: at the published moment where that is
/// the reason, so a late step does not move it; now where the tokens are.
fn close(next: &mut Life, tokens: u64, draw: f64, now: Time) -> Result<Vec<Effect>, LifeError> {
    if !next.close_is_due(tokens, now) {
        return Err(LifeError::TooEarly);
    }
    if !(0.0..1.0).contains(&draw) {
        return Err(LifeError::InvalidDraw);
    }
    let start = now.min(next.rules.closes_at);
    let wait = (draw * next.rules.closing_window_millis as f64) as i64;
    let stop = start.plus_millis(wait);
    next.status = Status::Closing;
    next.stops_at = Some(stop);
    Ok(vec![Effect::StopOrdersAt(stop)])
}

/// A proposal opens a challenge window, unless the ladder has ended.
fn propose(next: &mut Life, pi: Pi, now: Time) -> Vec<Effect> {
    let last = next.challenges >= MAX_CHALLENGES;
    let window = if last {
        0
    } else {
        next.rules.challenge_window_millis
    };
    let final_after = now.plus_millis(window);
    next.proposal = Some(Proposal { pi, final_after });
    vec![Effect::FinaliseAt(final_after)]
}

fn challenge(next: &mut Life, bond: Micro, now: Time) -> Result<Vec<Effect>, LifeError> {
    let Some(proposal) = next.proposal else {
        return Err(LifeError::NotAllowed(next.status));
    };
    if now >= proposal.final_after {
        return Err(LifeError::TooLate);
    }
    let required = next.challenge_bond().ok_or(LifeError::TooLate)?;
    if bond < required {
        return Err(LifeError::BondTooSmall(required));
    }
    next.status = Status::Challenged;
    next.challenges += 1;
    Ok(vec![Effect::RepeatTest])
}

fn finalise(next: &mut Life, now: Time) -> Result<Vec<Effect>, LifeError> {
    let Some(proposal) = next.proposal else {
        return Err(LifeError::NotAllowed(next.status));
    };
    if now < proposal.final_after {
        return Err(LifeError::TooEarly);
    }
    next.status = Status::Final;
    Ok(vec![Effect::Payout(proposal.pi)])
}

#[cfg(test)]
mod tests;
