//! What jurors are paid and lose once their case is final.

use serde::{Deserialize, Serialize};

use super::{Panel, PanelError, Phase, SeatState, is_coherent};
use crate::money::Micro;
use crate::probability::Pi;

/// Prices of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Locked from the juror's stake for the seat.
    pub deposit: Micro,
    /// Paid to each juror whose vote is coherent with the settlement.
    pub fee: Micro,
    /// Part of the deposit that a vote incoherent with the settlement costs, basis points.
    pub incoherent_bps: u32,
    /// Part of the deposit that a seat without a revealed vote costs, basis points.
    pub silent_bps: u32,
}

/// What became of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The vote is close to the settlement.
    Coherent,
    /// The vote is far from it.
    Incoherent,
    /// The juror could not tell.
    Abstained,
    /// No vote was revealed.
    Silent,
    /// The vote was shown before its time; the deposit is gone.
    Denounced,
    /// The juror took a side after the draw.
    Conflicted,
    /// There is no settlement to compare with.
    Unjudged,
}

impl Verdict {
    /// The name under which it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coherent => "coherent",
            Self::Incoherent => "incoherent",
            Self::Abstained => "abstained",
            Self::Silent => "silent",
            Self::Denounced => "denounced",
            Self::Conflicted => "conflicted",
            Self::Unjudged => "unjudged",
        }
    }
}

/// One juror's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The juror.
    pub account: String,
    /// What became of the seat.
    pub verdict: Verdict,
    /// Taken from the deposit.
    pub slashed: Micro,
    /// Fee, from the treasury.
    pub fee: Micro,
    /// Share of what incoherent jurors lose.
    pub share: Micro,
}

/// The whole panel's bill: `Σ slashed = Σ share + burnt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// One line per seat, in the order of the seats.
    pub lines: Vec<Line>,
    /// What nobody gets; it goes to the treasury.
    pub burnt: Micro,
}

/// The bill of a panel that is over.
///
/// With a settlement: coherent votes are paid the fee, and share equally what incoherent votes
/// lose; what does not divide, and all of it where nobody was coherent, is burnt. What silent
/// and conflicted seats lose is always burnt, so that nobody gains by another's silence. Without
/// a settlement (`None`: the case was called off) only silence costs; a panel that was withdrawn
/// before it could vote costs nobody anything. Errors: the panel runs; an overflow.
pub fn settle(panel: &Panel, settlement: Option<Pi>, terms: &Terms) -> Result<Bill, PanelError> {
    if !panel.is_over() {
        return Err(PanelError::Running);
    }
    let withdrawn = panel.phase == Phase::Withdrawn;
    let verdicts: Vec<Verdict> = panel
        .seats
        .iter()
        .map(|seat| verdict(seat.state, settlement, withdrawn))
        .collect();
    let incoherent = part(terms.deposit, terms.incoherent_bps)?;
    let silent = part(terms.deposit, terms.silent_bps)?;
    let count = |wanted: Verdict| {
        let many = verdicts
            .iter()
            .filter(|verdict| **verdict == wanted)
            .count();
        i64::try_from(many).unwrap_or(i64::MAX)
    };
    let pool = incoherent.checked_mul(count(Verdict::Incoherent))?;
    let share = Micro(
        pool.get()
            .checked_div(count(Verdict::Coherent))
            .unwrap_or(0),
    );
    let line = |(seat, verdict): (&super::Seat, &Verdict)| {
        let (slashed, fee, share) = match verdict {
            Verdict::Coherent => (Micro::ZERO, terms.fee, share),
            Verdict::Incoherent => (incoherent, Micro::ZERO, Micro::ZERO),
            Verdict::Silent | Verdict::Conflicted => (silent, Micro::ZERO, Micro::ZERO),
            Verdict::Abstained | Verdict::Denounced | Verdict::Unjudged => Default::default(),
        };
        Line {
            account: seat.account.clone(),
            verdict: *verdict,
            slashed,
            fee,
            share,
        }
    };
    let lines: Vec<Line> = panel.seats.iter().zip(&verdicts).map(line).collect();
    let lost = Micro::checked_sum(lines.iter().map(|line| line.slashed))?;
    let shared = Micro::checked_sum(lines.iter().map(|line| line.share))?;
    Ok(Bill {
        burnt: lost.checked_sub(shared)?,
        lines,
    })
}

fn verdict(state: SeatState, settlement: Option<Pi>, withdrawn: bool) -> Verdict {
    match (state, settlement) {
        (SeatState::Denounced(_), _) => Verdict::Denounced,
        (SeatState::Conflicted, _) => Verdict::Conflicted,
        (_, _) if withdrawn => Verdict::Unjudged,
        (SeatState::Waiting | SeatState::Committed(_), _) => Verdict::Silent,
        (SeatState::Revealed { vote, .. }, settlement) => match (vote.bps(), settlement) {
            (None, _) => Verdict::Abstained,
            (Some(_), None) => Verdict::Unjudged,
            (Some(bps), Some(pi)) if is_coherent(bps, pi) => Verdict::Coherent,
            (Some(_), Some(_)) => Verdict::Incoherent,
        },
    }
}

/// `⌊amount · bps / 10,000⌋`, at most the amount.
fn part(amount: Micro, bps: u32) -> Result<Micro, PanelError> {
    let part = i128::from(amount.get()) * i128::from(bps.min(10_000)) / 10_000;
    Micro::checked_sum([Micro(i64::try_from(part).unwrap_or(i64::MAX))]).map_err(PanelError::Money)
}
