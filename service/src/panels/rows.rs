//! Between stored rows and the machine of a panel.

use plumbline_market::Time;
use plumbline_market::panel::{Panel, Phase, Ruling, Seat, SeatState, Vote};
use plumbline_market::probability::Pi;
use plumbline_store::Tx;
use plumbline_store::panels::{self, Panel as PanelRow, Seat as SeatRow};

use crate::time::Millis;
use crate::{Result, ServiceError};

/// A panel with its seats, as stored.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) panel: PanelRow,
    pub(super) seats: Vec<SeatRow>,
}

impl Rows {
    pub(super) fn load(tx: &mut Tx, id: &str) -> Result<Self> {
        let panel = panels::get(tx, id)?;
        let seats = panels::seats(tx, id)?;
        Ok(Self { panel, seats })
    }

    pub(super) fn of(tx: &mut Tx, panel: PanelRow) -> Result<Self> {
        let seats = panels::seats(tx, &panel.id)?;
        Ok(Self { panel, seats })
    }

    pub(super) fn is_gold(&self) -> bool {
        self.panel.subject == "gold"
    }

    pub(super) fn seat(&self, account: &str) -> Option<&SeatRow> {
        self.seats.iter().find(|seat| seat.account_id == account)
    }

    pub(super) fn seat_mut(&mut self, account: &str) -> Result<&mut SeatRow> {
        self.seats
            .iter_mut()
            .find(|seat| seat.account_id == account)
            .ok_or_else(|| ServiceError::internal("a panel lost a seat"))
    }

    /// The machine's view of the rows.
    pub(super) fn machine(&self) -> Result<Panel> {
        Ok(Panel {
            id: self.panel.id.clone(),
            seats: self.seats.iter().map(seat_of).collect::<Result<_>>()?,
            phase: phase_of(&self.panel)?,
            commit_by: Time(self.panel.commit_by),
            reveal_by: Time(self.panel.reveal_by),
            reveal_millis: self.panel.reveal_ms,
        })
    }

    /// Takes over the machine's next state and stores what changed.
    pub(super) fn store(&mut self, tx: &mut Tx, next: &Panel, now: Millis) -> Result<()> {
        for seat in &next.seats {
            let row = self.seat_mut(&seat.account)?;
            if seat_of(row)?.state == seat.state {
                continue;
            }
            take_state(row, seat.state, now);
            panels::update_seat(tx, row)?;
        }
        let (status, pi) = status_of(next.phase);
        let over = next.is_over();
        let row = PanelRow {
            status: status.to_owned(),
            pi,
            reveal_by: next.reveal_by.0,
            ended_at: self.panel.ended_at.or(over.then_some(now)),
            listed: over && !self.is_gold(),
            ..self.panel.clone()
        };
        if row != self.panel {
            panels::update(tx, &row)?;
            self.panel = row;
        }
        Ok(())
    }
}

/// Billionths as a settlement.
pub(super) fn pi_of(billionths: i64) -> Result<Pi> {
    Pi::new(billionths as f64 / f64::from(Pi::SCALE)).map_err(ServiceError::internal)
}

fn status_of(phase: Phase) -> (&'static str, Option<i64>) {
    match phase {
        Phase::Committing => ("committing", None),
        Phase::Revealing => ("revealing", None),
        Phase::Ended(Ruling::Ruled { pi }) => ("ruled", Some(i64::from(pi.billionths()))),
        Phase::Ended(Ruling::Tie) => ("tie", None),
        Phase::Ended(Ruling::NoQuorum) => ("no_quorum", None),
        Phase::Withdrawn => ("withdrawn", None),
    }
}

fn phase_of(row: &PanelRow) -> Result<Phase> {
    Ok(match (row.status.as_str(), row.pi) {
        ("committing", _) => Phase::Committing,
        ("revealing", _) => Phase::Revealing,
        ("ruled", Some(pi)) => Phase::Ended(Ruling::Ruled { pi: pi_of(pi)? }),
        ("tie", _) => Phase::Ended(Ruling::Tie),
        ("no_quorum", _) => Phase::Ended(Ruling::NoQuorum),
        ("withdrawn", _) => Phase::Withdrawn,
        (other, _) => {
            return Err(ServiceError::internal(format!("a panel is '{other}'")));
        }
    })
}

fn seat_of(row: &SeatRow) -> Result<Seat> {
    let commitment = || {
        row.commitment
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(ServiceError::internal)
    };
    let state = match row.state.as_str() {
        "waiting" => SeatState::Waiting,
        "committed" => SeatState::Committed(commitment()?),
        "denounced" => SeatState::Denounced(commitment()?),
        "conflicted" => SeatState::Conflicted,
        "revealed" => SeatState::Revealed {
            commitment: commitment()?,
            vote: vote_of(row.vote_bps)?,
        },
        other => return Err(ServiceError::internal(format!("a seat is '{other}'"))),
    };
    Ok(Seat {
        account: row.account_id.clone(),
        state,
    })
}

/// The vote of a revealed seat.
pub(super) fn vote_of(bps: Option<i64>) -> Result<Vote> {
    match bps {
        Some(bps) => Vote::of_bps(bps).map_err(ServiceError::internal),
        None => Ok(Vote::CannotTell),
    }
}

/// Nonce and justification are written by whoever took them in.
fn take_state(row: &mut SeatRow, state: SeatState, now: Millis) {
    match state {
        SeatState::Waiting => "waiting".clone_into(&mut row.state),
        SeatState::Committed(commitment) => {
            "committed".clone_into(&mut row.state);
            row.commitment = Some(commitment.to_string());
            row.committed_at = Some(now);
        }
        SeatState::Revealed { vote, .. } => {
            "revealed".clone_into(&mut row.state);
            row.vote_bps = vote.bps().map(i64::from);
            row.revealed_at = Some(now);
        }
        SeatState::Denounced(_) => "denounced".clone_into(&mut row.state),
        SeatState::Conflicted => "conflicted".clone_into(&mut row.state),
    }
}
