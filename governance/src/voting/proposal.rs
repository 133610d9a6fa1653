//! The life of a proposal as a pure machine.
//!
//! ```text
//! draft → deposit → voting ⇄ confirming → queued (time lock) → executed
//!                      └→ rejected             └→ expired
//! expired: a deposit that is not paid in time, an approval that is not executed in time
//! cancelled: withdrawn by its author before the vote, or stopped by a vote before its execution
//! ```
//!
//! [`step`] takes the state, an event and the time, and returns the next state with what has to be done;
//! it changes nothing itself. A proposal confirms while it is approved, and is queued once it stayed
//! approved for the confirmation time. An approval that is lost on the way goes back to voting, or is a
//! rejection when the voting period is over. A ballot that turns the outcome round shortly before the
//! end extends the vote, so that nobody wins by being last.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::tally::Tally;
use super::tracks::TrackTerms;
use crate::control::after;

/// Why an event was refused. The proposal is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// Deposits are over.
    #[error("this proposal takes no deposit any more")]
    DepositOver,
    /// A deposit of nothing.
    #[error("a deposit is above zero")]
    NoDeposit,
    /// More than is missing.
    #[error("{missing_micro} micro-credits of the deposit are missing; pay no more than that")]
    TooMuch {
        /// What is missing.
        missing_micro: u64,
    },
    /// Voting has not begun.
    #[error("the vote begins when the deposit is complete")]
    VotingNotOpen,
    /// Voting has ended.
    #[error("the vote is over")]
    VotingOver,
    /// Only what is not voted about yet can be withdrawn.
    #[error("a proposal can be withdrawn until its vote begins; from then on only a vote stops it")]
    NotWithdrawable,
    /// Not approved yet.
    #[error("only an approved proposal is executed")]
    NotQueued,
    /// The time lock is not over.
    #[error("locked until {until}")]
    TimeLocked {
        /// When it is over.
        until: Timestamp,
    },
    /// It was executed before.
    #[error("this proposal was executed already")]
    ExecutedAlready,
    /// It has ended.
    #[error("this proposal has ended")]
    Over,
}

impl ProposalError {
    /// Stable problem code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::DepositOver => "deposit-over",
            Self::NoDeposit => "bad-deposit",
            Self::TooMuch { .. } => "deposit-too-large",
            Self::VotingNotOpen => "voting-not-open",
            Self::VotingOver => "voting-over",
            Self::NotWithdrawable => "not-withdrawable",
            Self::NotQueued => "not-approved",
            Self::TimeLocked { .. } => "time-locked",
            Self::ExecutedAlready => "executed-already",
            Self::Over => "proposal-over",
        }
    }
}

/// A vote under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// When it began: the electorate is as it was then.
    pub since: Timestamp,
    /// When it ends, unless the proposal confirms then or it is extended.
    pub until: Timestamp,
    /// Extensions so far.
    pub extensions: u8,
    /// Whether it would be approved if it ended with the ballots there are.
    pub leading: bool,
}

/// Why a proposal was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Too few took part. The deposit is forfeit: attention is not free.
    NoQuorum,
    /// Too few were for it.
    NotApproved,
}

/// Why a proposal expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// The deposit was not complete in time.
    Deposit,
    /// It was approved and could not be executed in time.
    Execution,
}

/// Who ended a proposal before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancellation {
    /// Its author.
    Author,
    /// A vote.
    Vote,
    /// What it was about has ended by itself.
    Moot,
}

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Written; no deposit yet.
    Draft {
        /// It expires then.
        until: Timestamp,
    },
    /// Part of the deposit is there.
    Deposit {
        /// How much, micro-credits.
        paid_micro: u64,
        /// It expires then.
        until: Timestamp,
    },
    /// Takes ballots.
    Voting(Vote),
    /// Takes ballots, and is approved.
    Confirming {
        /// The vote.
        vote: Vote,
        /// When it is queued if it stays approved.
        confirmed_at: Timestamp,
    },
    /// Waits for its time lock.
    Queued {
        /// When it can be executed.
        not_before: Timestamp,
        /// It expires then.
        expires_at: Timestamp,
    },
    /// Done.
    Executed {
        /// When.
        at: Timestamp,
    },
    /// Too late.
    Expired {
        /// When.
        at: Timestamp,
        /// For what.
        what: Expiry,
    },
    /// Voted down.
    Rejected {
        /// When.
        at: Timestamp,
        /// Why.
        why: Rejection,
    },
    /// Stopped.
    Cancelled {
        /// When.
        at: Timestamp,
        /// By whom.
        by: Cancellation,
    },
}

impl State {
    /// The name under which the state is stored and shown.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Draft { .. } => "draft",
            Self::Deposit { .. } => "deposit",
            Self::Voting(_) => "voting",
            Self::Confirming { .. } => "confirming",
            Self::Queued { .. } => "queued",
            Self::Executed { .. } => "executed",
            Self::Expired { .. } => "expired",
            Self::Rejected { .. } => "rejected",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Executed { .. }
                | Self::Expired { .. }
                | Self::Rejected { .. }
                | Self::Cancelled { .. }
        )
    }

    /// The vote under way.
    #[must_use]
    pub const fn vote(&self) -> Option<&Vote> {
        match self {
            Self::Voting(vote) | Self::Confirming { vote, .. } => Some(vote),
            _ => None,
        }
    }

    /// The next moment at which something may change by itself, voting aside: there the needed agreement
    /// falls all the time.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Draft { until } | Self::Deposit { until, .. } => Some(*until),
            Self::Voting(vote) => Some(vote.until),
            Self::Confirming { confirmed_at, .. } => Some(*confirmed_at),
            Self::Queued { not_before, .. } => Some(*not_before),
            _ => None,
        }
    }
}

/// What happens to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody pays part of the deposit.
    Deposit {
        /// How much, micro-credits.
        amount_micro: u64,
    },
    /// Somebody wants to vote; nothing changes, but it is refused when no ballot is taken.
    Ballot,
    /// A ballot has been counted.
    Counted(Tally),
    /// Time has passed; the count as it stands.
    Look(Tally),
    /// The author takes it back.
    Withdraw,
    /// A vote stops it.
    Cancel,
    /// What it is about has ended by itself.
    Moot,
    /// Its effect is being made.
    Execute,
}

/// What has to be done after a step, in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The vote begins: fix the electorate.
    FixElectorate,
    /// Give all deposits back.
    ReturnDeposits,
    /// Move all deposits to the treasury.
    ForfeitDeposits,
    /// Make the effect of the proposal.
    Execute,
}

/// A new proposal.
#[must_use]
pub fn draft(terms: &TrackTerms, now: Timestamp) -> State {
    State::Draft {
        until: after(now, terms.deposit_s),
    }
}

/// A vote that begins at once and without a deposit: the one about a seal that was used.
#[must_use]
pub fn at_once(terms: &TrackTerms, now: Timestamp) -> State {
    State::Voting(begin(terms, now))
}

fn begin(terms: &TrackTerms, now: Timestamp) -> Vote {
    Vote {
        since: now,
        until: after(now, terms.voting_s),
        extensions: 0,
        leading: false,
    }
}

/// One step; see the module's documentation.
///
/// # Errors
/// Says why the event is refused; nothing is changed then.
pub fn step(
    state: &State,
    event: &Event,
    terms: &TrackTerms,
    now: Timestamp,
) -> Result<(State, Vec<Effect>), ProposalError> {
    if let State::Executed { .. } = state
        && *event == Event::Execute
    {
        return Err(ProposalError::ExecutedAlready);
    }
    match event {
        Event::Deposit { amount_micro } => deposit(state, *amount_micro, terms, now),
        Event::Ballot => ballot(state, now).map(|()| (*state, Vec::new())),
        Event::Counted(tally) => {
            ballot(state, now)?;
            let counted = counted(state, tally, terms, now);
            Ok(look(&counted, tally, terms, now))
        }
        Event::Look(tally) => Ok(look(state, tally, terms, now)),
        Event::Withdraw => withdraw(state, now),
        Event::Cancel => end(state, now, Cancellation::Vote),
        Event::Moot => end(state, now, Cancellation::Moot),
        Event::Execute => execute(state, now),
    }
}

fn deposit(
    state: &State,
    amount_micro: u64,
    terms: &TrackTerms,
    now: Timestamp,
) -> Result<(State, Vec<Effect>), ProposalError> {
    let (paid, until) = match state {
        State::Draft { until } => (0, *until),
        State::Deposit { paid_micro, until } => (*paid_micro, *until),
        state if state.is_over() => return Err(ProposalError::Over),
        _ => return Err(ProposalError::DepositOver),
    };
    let missing_micro = terms.deposit_micro.saturating_sub(paid);
    if now >= until {
        return Err(ProposalError::DepositOver);
    } else if amount_micro == 0 {
        return Err(ProposalError::NoDeposit);
    } else if amount_micro > missing_micro {
        return Err(ProposalError::TooMuch { missing_micro });
    }
    if amount_micro == missing_micro {
        let next = State::Voting(begin(terms, now));
        return Ok((next, vec![Effect::FixElectorate]));
    }
    let next = State::Deposit {
        paid_micro: paid + amount_micro,
        until,
    };
    Ok((next, Vec::new()))
}

/// Whether a ballot is taken now.
fn ballot(state: &State, now: Timestamp) -> Result<(), ProposalError> {
    match state {
        State::Draft { .. } | State::Deposit { .. } => Err(ProposalError::VotingNotOpen),
        State::Voting(vote) if now < vote.until => Ok(()),
        State::Confirming { vote, confirmed_at } if now < vote.until.max(*confirmed_at) => Ok(()),
        _ => Err(ProposalError::VotingOver),
    }
}

/// Whether a vote with this count would be approved if it ended so.
fn leads(tally: &Tally, terms: &TrackTerms) -> bool {
    tally.passes(terms, terms.voting_s)
}

/// Takes note of the count, and extends the vote when a late ballot turned the outcome round.
fn counted(state: &State, tally: &Tally, terms: &TrackTerms, now: Timestamp) -> State {
    let leading = leads(tally, terms);
    let (mut vote, end) = match state {
        State::Voting(vote) => (*vote, vote.until),
        State::Confirming { vote, confirmed_at } => (*vote, vote.until.max(*confirmed_at)),
        other => return *other,
    };
    let turned = leading != vote.leading;
    let late = after(now, terms.swing_s) > end;
    vote.leading = leading;
    if turned && late && vote.extensions < terms.extensions {
        vote.extensions += 1;
        vote.until = vote.until.max(after(now, terms.swing_s));
    }
    match state {
        State::Confirming { confirmed_at, .. } => State::Confirming {
            vote,
            confirmed_at: *confirmed_at,
        },
        _ => State::Voting(vote),
    }
}

/// What time alone changes, as often as there is something.
fn look(state: &State, tally: &Tally, terms: &TrackTerms, now: Timestamp) -> (State, Vec<Effect>) {
    let (mut state, mut effects) = (*state, Vec::new());
    // Voting → confirming → queued is the longest way, and a time lock of nothing ends it.
    for _ in 0..3 {
        let (next, more) = look_once(&state, tally, terms, now);
        effects.extend(more);
        if next == state {
            break;
        }
        state = next;
    }
    (state, effects)
}

fn look_once(
    state: &State,
    tally: &Tally,
    terms: &TrackTerms,
    now: Timestamp,
) -> (State, Vec<Effect>) {
    match state {
        State::Draft { until } | State::Deposit { until, .. } if now >= *until => {
            let next = State::Expired {
                at: now,
                what: Expiry::Deposit,
            };
            (next, vec![Effect::ReturnDeposits])
        }
        State::Voting(vote) => look_at_vote(vote, tally, terms, now),
        State::Confirming { vote, confirmed_at } => {
            look_at_confirmation(vote, *confirmed_at, tally, terms, now)
        }
        State::Queued {
            expires_at,
            not_before,
        } => {
            if now >= *expires_at {
                let next = State::Expired {
                    at: now,
                    what: Expiry::Execution,
                };
                return (next, Vec::new());
            }
            let due = now >= *not_before;
            (
                *state,
                if due {
                    vec![Effect::Execute]
                } else {
                    Vec::new()
                },
            )
        }
        other => (*other, Vec::new()),
    }
}

fn look_at_vote(
    vote: &Vote,
    tally: &Tally,
    terms: &TrackTerms,
    now: Timestamp,
) -> (State, Vec<Effect>) {
    if approved(vote, tally, terms, now) {
        let next = State::Confirming {
            vote: *vote,
            confirmed_at: after(now, terms.confirm_s),
        };
        return (next, Vec::new());
    }
    if now < vote.until {
        return (State::Voting(*vote), Vec::new());
    }
    reject(tally, terms, now)
}

fn look_at_confirmation(
    vote: &Vote,
    confirmed_at: Timestamp,
    tally: &Tally,
    terms: &TrackTerms,
    now: Timestamp,
) -> (State, Vec<Effect>) {
    if !approved(vote, tally, terms, now) {
        return if now < vote.until {
            (State::Voting(*vote), Vec::new())
        } else {
            reject(tally, terms, now)
        };
    }
    // A vote that a late swing extended goes on to its end.
    let extended = vote.extensions > 0 && now < vote.until;
    if now < confirmed_at || extended {
        let next = State::Confirming {
            vote: *vote,
            confirmed_at,
        };
        return (next, Vec::new());
    }
    let not_before = after(now, terms.delay_s);
    let next = State::Queued {
        not_before,
        expires_at: after(not_before, terms.expiry_s),
    };
    (next, vec![Effect::ReturnDeposits])
}

fn approved(vote: &Vote, tally: &Tally, terms: &TrackTerms, now: Timestamp) -> bool {
    let elapsed = now.duration_since(vote.since).as_secs();
    tally.passes(terms, u64::try_from(elapsed).unwrap_or(0))
}

fn reject(tally: &Tally, terms: &TrackTerms, now: Timestamp) -> (State, Vec<Effect>) {
    let (why, effect) = if tally.has_quorum(terms) {
        (Rejection::NotApproved, Effect::ReturnDeposits)
    } else {
        (Rejection::NoQuorum, Effect::ForfeitDeposits)
    };
    (State::Rejected { at: now, why }, vec![effect])
}

fn withdraw(state: &State, now: Timestamp) -> Result<(State, Vec<Effect>), ProposalError> {
    match state {
        State::Draft { .. } | State::Deposit { .. } => {
            let next = State::Cancelled {
                at: now,
                by: Cancellation::Author,
            };
            Ok((next, vec![Effect::ReturnDeposits]))
        }
        state if state.is_over() => Err(ProposalError::Over),
        _ => Err(ProposalError::NotWithdrawable),
    }
}

/// Ends a proposal from outside. What was paid for one that a vote stops is forfeit; an approved one
/// has its deposit back already.
fn end(
    state: &State,
    now: Timestamp,
    by: Cancellation,
) -> Result<(State, Vec<Effect>), ProposalError> {
    let effects = match state {
        state if state.is_over() => return Err(ProposalError::Over),
        State::Queued { .. } => Vec::new(),
        _ if by == Cancellation::Vote => vec![Effect::ForfeitDeposits],
        _ => vec![Effect::ReturnDeposits],
    };
    Ok((State::Cancelled { at: now, by }, effects))
}

fn execute(state: &State, now: Timestamp) -> Result<(State, Vec<Effect>), ProposalError> {
    match state {
        State::Queued { not_before, .. } if now < *not_before => {
            Err(ProposalError::TimeLocked { until: *not_before })
        }
        State::Queued { expires_at, .. } if now >= *expires_at => Err(ProposalError::Over),
        State::Queued { .. } => Ok((State::Executed { at: now }, vec![Effect::Execute])),
        state if state.is_over() => Err(ProposalError::Over),
        _ => Err(ProposalError::NotQueued),
    }
}

#[cfg(test)]
mod tests;
