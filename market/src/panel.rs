//! A panel of jurors as a pure machine: commit a vote, then reveal it.
//!
//! ```text
//! drawn → committing ── commit_by ──→ revealing ── reveal_by ──→ ruled π | tie | no quorum
//!              └──────────────────────────┴──→ withdrawn (its case was called off)
//! ```
//!
//! A juror first publishes the hash of a vote ([`Opening::commitment`]) and opens it when nobody
//! can commit any more, so that nobody votes with the majority for having seen it. Whoever
//! shows the opening of a juror's commitment while votes are still secret ends that seat
//! (a denouncement). [`step`] takes state, event and time and returns the next state;
//! [`settle`] says who is paid and who loses what once the case is final.

mod settle;
#[cfg(test)]
mod tests;
mod vote;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::life::Time;
use crate::money::MoneyError;
use crate::probability::Pi;
pub use settle::{Bill, Line, Terms, Verdict, settle};
pub use vote::{Opening, Vote, is_coherent, median, quorum};

/// Most seats of a panel.
pub const MAX_SEATS: usize = 31;

/// Why an event was refused. The panel is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PanelError {
    /// A panel has 1 to [`MAX_SEATS`] seats, of different accounts.
    #[error("a panel has 1 to 31 seats, each of another account")]
    Seats,
    /// A window must last.
    #[error("the windows for commits and reveals must be longer than nothing")]
    Window,
    /// The account has no seat on this panel.
    #[error("no seat on this panel")]
    NoSeat,
    /// Commits are over.
    #[error("votes could be committed until the panel's first deadline, which has passed")]
    CommitsOver,
    /// Reveals have not begun.
    #[error("votes are revealed after the panel's first deadline")]
    RevealsNotOpen,
    /// The panel has ended.
    #[error("the panel has ended")]
    Over,
    /// The seat has a commitment.
    #[error("this seat has committed its vote; a commitment stands")]
    CommittedAlready,
    /// The seat never committed.
    #[error("this seat has committed no vote that could be revealed")]
    NothingCommitted,
    /// The seat has been revealed.
    #[error("this seat's vote is revealed already")]
    RevealedAlready,
    /// Vote, nonce or justification are not those committed.
    #[error("vote, nonce and justification do not match the commitment")]
    BadOpening,
    /// The seat was lost, by a denouncement or a conflict.
    #[error("this seat was lost")]
    SeatLost,
    /// A vote is 0 to 10,000 basis points.
    #[error("a vote is 0 to 10000 basis points")]
    Vote,
    /// The panel must have ended before its jurors are paid.
    #[error("the panel has not ended")]
    Running,
    /// A sum left the range of the type.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What a seat has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeatState {
    /// Nothing yet.
    Waiting,
    /// Published the hash of a vote.
    Committed(Digest),
    /// Opened it.
    Revealed {
        /// The hash.
        commitment: Digest,
        /// The vote inside.
        vote: Vote,
    },
    /// Somebody else showed the vote while it was to be secret.
    Denounced(Digest),
    /// The juror took a side in the case after the draw.
    Conflicted,
}

/// One seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Who sits.
    pub account: String,
    /// What the seat has done.
    pub state: SeatState,
}

/// What the panel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// The median of the votes.
    Ruled {
        /// The settlement.
        pi: Pi,
    },
    /// An even number of votes with a gulf between the middle two.
    Tie,
    /// Too few votes.
    NoQuorum,
}

/// Where a panel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Takes commitments.
    Committing,
    /// Takes reveals.
    Revealing,
    /// Over, with a ruling or without.
    Ended(Ruling),
    /// Its case was called off.
    Withdrawn,
}

/// A panel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panel {
    /// Identifier; part of every commitment.
    pub id: String,
    /// The seats, in the order drawn.
    pub seats: Vec<Seat>,
    /// Where it stands.
    pub phase: Phase,
    /// Commitments are taken before this moment.
    pub commit_by: Time,
    /// Reveals are taken before this moment. Until reveals open, the earliest it can be.
    pub reveal_by: Time,
    /// Length of the window for reveals.
    pub reveal_millis: i64,
}

/// What happens to a panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A juror commits.
    Commit {
        /// Who.
        account: String,
        /// The hash of the vote.
        commitment: Digest,
    },
    /// A juror opens the commitment.
    Reveal {
        /// Who.
        account: String,
        /// What the hash is of.
        opening: Opening,
    },
    /// Somebody shows a juror's opening while votes are secret.
    Denounce {
        /// The juror.
        account: String,
        /// What the hash is of.
        opening: Opening,
    },
    /// A juror has taken a side in the case.
    Conflict {
        /// The juror.
        account: String,
    },
    /// Time has passed.
    Tick,
    /// The case was called off.
    Withdraw,
}

impl Panel {
    /// A panel of the accounts drawn, taking commitments for `commit_millis` and then reveals
    /// for `reveal_millis`. Errors: no seats or too many, one account twice, an empty window.
    pub fn drawn(
        id: String,
        accounts: Vec<String>,
        now: Time,
        commit_millis: i64,
        reveal_millis: i64,
    ) -> Result<Self, PanelError> {
        let mut names: Vec<&str> = accounts.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != accounts.len() || !(1..=MAX_SEATS).contains(&accounts.len()) {
            return Err(PanelError::Seats);
        }
        if commit_millis <= 0 || reveal_millis <= 0 {
            return Err(PanelError::Window);
        }
        let commit_by = now.plus_millis(commit_millis);
        let seat = |account| Seat {
            account,
            state: SeatState::Waiting,
        };
        Ok(Self {
            id,
            seats: accounts.into_iter().map(seat).collect(),
            phase: Phase::Committing,
            commit_by,
            reveal_by: commit_by.plus_millis(reveal_millis),
            reveal_millis,
        })
    }

    /// Whether the panel is over.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_) | Phase::Withdrawn)
    }

    /// The ruling, once there is one.
    pub fn ruling(&self) -> Option<Ruling> {
        match self.phase {
            Phase::Ended(ruling) => Some(ruling),
            _ => None,
        }
    }

    /// The seat of an account.
    pub fn seat(&self, account: &str) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.account == account)
    }

    fn seat_mut(&mut self, account: &str) -> Result<&mut Seat, PanelError> {
        self.seats
            .iter_mut()
            .find(|seat| seat.account == account)
            .ok_or(PanelError::NoSeat)
    }

    /// Takes the deadlines that have passed. Reveals last their full window from the moment
    /// they open, so that time in which nobody could reveal costs no juror a deposit.
    fn advance(&mut self, now: Time) {
        if self.phase == Phase::Committing && now >= self.commit_by {
            self.phase = Phase::Revealing;
            self.reveal_by = self.reveal_by.max(now.plus_millis(self.reveal_millis));
        }
        if self.phase == Phase::Revealing && now >= self.reveal_by {
            self.phase = Phase::Ended(self.count());
        }
    }

    fn count(&self) -> Ruling {
        let votes = self.seats.iter().filter_map(|seat| match seat.state {
            SeatState::Revealed { vote, .. } => vote.bps(),
            _ => None,
        });
        median(&votes.collect::<Vec<_>>(), self.seats.len())
    }
}

/// The next state of `panel` when `event` happens at `now`.
///
/// Deadlines that have passed are taken first, so an event is judged by the time at which it
/// comes, not by when somebody last looked. Errors: see [`PanelError`].
pub fn step(panel: &Panel, event: &Event, now: Time) -> Result<Panel, PanelError> {
    let mut next = panel.clone();
    next.advance(now);
    match event {
        Event::Tick => return Ok(next),
        Event::Withdraw if next.is_over() => return Err(PanelError::Over),
        Event::Withdraw => next.phase = Phase::Withdrawn,
        Event::Commit {
            account,
            commitment,
        } => commit(&mut next, account, *commitment)?,
        Event::Reveal { account, opening } => reveal(&mut next, account, opening)?,
        Event::Denounce { account, opening } => denounce(&mut next, account, opening)?,
        Event::Conflict { account } => conflict(&mut next, account)?,
    }
    Ok(next)
}

fn commit(panel: &mut Panel, account: &str, commitment: Digest) -> Result<(), PanelError> {
    let phase = panel.phase;
    let seat = panel.seat_mut(account)?;
    match (phase, seat.state) {
        (Phase::Ended(_) | Phase::Withdrawn, _) => Err(PanelError::Over),
        (_, SeatState::Denounced(_) | SeatState::Conflicted) => Err(PanelError::SeatLost),
        (Phase::Revealing, _) => Err(PanelError::CommitsOver),
        (Phase::Committing, SeatState::Waiting) => {
            seat.state = SeatState::Committed(commitment);
            Ok(())
        }
        (Phase::Committing, _) => Err(PanelError::CommittedAlready),
    }
}

fn reveal(panel: &mut Panel, account: &str, opening: &Opening) -> Result<(), PanelError> {
    let (phase, id) = (panel.phase, panel.id.clone());
    let seat = panel.seat_mut(account)?;
    match (phase, seat.state) {
        (Phase::Ended(_) | Phase::Withdrawn, _) => Err(PanelError::Over),
        (_, SeatState::Denounced(_) | SeatState::Conflicted) => Err(PanelError::SeatLost),
        (Phase::Committing, _) => Err(PanelError::RevealsNotOpen),
        (Phase::Revealing, SeatState::Waiting) => Err(PanelError::NothingCommitted),
        (Phase::Revealing, SeatState::Revealed { .. }) => Err(PanelError::RevealedAlready),
        (Phase::Revealing, SeatState::Committed(commitment)) => {
            if opening.commitment(&id, account) != commitment {
                return Err(PanelError::BadOpening);
            }
            let vote = opening.vote;
            seat.state = SeatState::Revealed { commitment, vote };
            Ok(())
        }
    }
}

/// Every failure but a late one looks alike: a denouncement must not be a way to ask who sits.
fn denounce(panel: &mut Panel, account: &str, opening: &Opening) -> Result<(), PanelError> {
    match panel.phase {
        Phase::Committing => {}
        Phase::Revealing => return Err(PanelError::CommitsOver),
        Phase::Ended(_) | Phase::Withdrawn => return Err(PanelError::Over),
    }
    let expected = opening.commitment(&panel.id, account);
    let seat = panel
        .seat_mut(account)
        .map_err(|_| PanelError::BadOpening)?;
    if seat.state != SeatState::Committed(expected) {
        return Err(PanelError::BadOpening);
    }
    seat.state = SeatState::Denounced(expected);
    Ok(())
}

fn conflict(panel: &mut Panel, account: &str) -> Result<(), PanelError> {
    if panel.is_over() {
        return Err(PanelError::Over);
    }
    let seat = panel.seat_mut(account)?;
    match seat.state {
        SeatState::Denounced(_) | SeatState::Conflicted => Err(PanelError::SeatLost),
        _ => {
            seat.state = SeatState::Conflicted;
            Ok(())
        }
    }
}
