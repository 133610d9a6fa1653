//! Votes: what is committed, how it is opened, and what a set of them says.

use serde::{Deserialize, Serialize};

use super::{PanelError, Ruling};
use crate::digest::Digest;
use crate::probability::Pi;

const DOMAIN: &[u8] = b"plumbline panel vote v1";
/// Basis points in the whole.
const WHOLE: u16 = 10_000;
/// Written for a juror who cannot tell; no number of basis points.
const CANNOT_TELL: u16 = u16::MAX;
/// Middle votes further apart than this, in basis points, rule nothing.
const GULF_BPS: u16 = 1_000;
/// Billionths in one basis point.
const BILLIONTHS_PER_BPS: u32 = Pi::SCALE / WHOLE as u32;
/// A vote within this of the settlement, in billionths, is coherent with it: 2,500 basis points.
const COHERENT_WITHIN: u32 = 2_500 * BILLIONTHS_PER_BPS;

/// One juror's vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// The settlement that the juror holds right, in basis points, 0 to 10,000.
    Bps(u16),
    /// The case does not say. Counts against the quorum, and is neither paid nor punished.
    CannotTell,
}

impl Vote {
    /// A vote of that many basis points. Errors: outside 0 to 10,000.
    pub fn of_bps(bps: i64) -> Result<Self, PanelError> {
        u16::try_from(bps)
            .ok()
            .filter(|bps| *bps <= WHOLE)
            .map(Self::Bps)
            .ok_or(PanelError::Vote)
    }

    /// The basis points, if the juror could tell.
    pub fn bps(self) -> Option<u16> {
        match self {
            Self::Bps(bps) => Some(bps),
            Self::CannotTell => None,
        }
    }
}

/// What a commitment is the hash of, beside panel and juror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The vote.
    pub vote: Vote,
    /// 32 bytes of the juror's own choice, so that the few possible votes cannot be tried.
    pub nonce: Digest,
    /// BLAKE3 of the justification's UTF-8 bytes.
    pub justification: Digest,
}

impl Opening {
    /// `BLAKE3("plumbline panel vote v1" ‖ len ‖ panel id ‖ len ‖ account id ‖ vote ‖ nonce ‖
    /// BLAKE3(justification))`, with lengths as four bytes and the vote as two, big-endian;
    /// `FF FF` for "cannot tell". Bound to panel and account, so that no juror can copy
    /// another's commitment and open it with the other's opening.
    pub fn commitment(&self, panel_id: &str, account: &str) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DOMAIN);
        for text in [panel_id, account] {
            // Identifiers are short; a length beyond four bytes cannot be stored.
            hasher.update(&(text.len() as u32).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        let vote = self.vote.bps().unwrap_or(CANNOT_TELL);
        hasher.update(&vote.to_be_bytes());
        hasher.update(&self.nonce.0);
        hasher.update(&self.justification.0);
        Digest(*hasher.finalize().as_bytes())
    }
}

/// Votes needed for a ruling: `⌈2/3 · seats⌉`.
pub fn quorum(seats: usize) -> usize {
    (2 * seats).div_ceil(3)
}

/// What votes in basis points say on a panel of `seats`: their median when they make the
/// quorum. With an even number it is the mean of the middle two, unless these are more than
/// 1,000 basis points apart: then it is a tie, since no juror holds what lies between.
pub fn median(votes: &[u16], seats: usize) -> Ruling {
    let mut votes = votes.to_vec();
    votes.sort_unstable();
    let count = votes.len();
    if count == 0 || count < quorum(seats) {
        return Ruling::NoQuorum;
    }
    let (low, high) = (votes[(count - 1) / 2], votes[count / 2]);
    if high - low > GULF_BPS {
        return Ruling::Tie;
    }
    let billionths = (u32::from(low) + u32::from(high)) * (BILLIONTHS_PER_BPS / 2);
    match Pi::new(f64::from(billionths) / f64::from(Pi::SCALE)) {
        Ok(pi) => Ruling::Ruled { pi },
        // Votes are at most the whole, so their mean is one too.
        Err(_) => Ruling::Tie,
    }
}

/// Whether a vote lies within 2,500 basis points of the settlement, bounds included.
pub fn is_coherent(bps: u16, settlement: Pi) -> bool {
    let vote = u32::from(bps.min(WHOLE)) * BILLIONTHS_PER_BPS;
    vote.abs_diff(settlement.billionths()) <= COHERENT_WITHIN
}
