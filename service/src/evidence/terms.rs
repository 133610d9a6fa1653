//! What evidence costs and how long it may stay secret.

use plumbline_market::money::Micro;
use plumbline_market::submission::escalating_fee;

use crate::Inner;
use crate::time::Millis;

/// Terms of evidence that an operator may set. The fee of a first submission is
/// [`crate::ServiceConfig::evidence_fee_micro`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceTerms {
    /// Factor from the fee of one submission to that of the next by the same account in the
    /// same market, basis points.
    pub fee_growth_bps: u32,
    /// Bond of a submission that it is what it says, held until the market is over.
    pub bond_micro: i64,
    /// Bond of a commitment, lost when it is not revealed in time.
    pub commitment_bond_micro: i64,
    /// Milliseconds in which a commitment must be revealed. Bounds how long others wait for it.
    pub reveal_window_ms: Millis,
    /// Milliseconds in which the panel of a dispute commits, and as many in which it reveals.
    pub panel_window_ms: Millis,
    /// Part of a losing bond of a dispute that goes to the treasury, basis points.
    pub burn_bps: u32,
}

impl Default for EvidenceTerms {
    fn default() -> Self {
        Self {
            fee_growth_bps: 12_500,
            bond_micro: 1_000_000,
            commitment_bond_micro: 500_000,
            reveal_window_ms: 120_000,
            panel_window_ms: 600_000,
            burn_bps: 2_500,
        }
    }
}

impl Inner {
    /// Fee of an account's next submission to a market, after so many.
    pub(super) fn evidence_fee_after(&self, submitted: i64) -> i64 {
        let base = Micro(self.config.evidence_fee_micro);
        if !self.config.defences.escalating_fees {
            return base.get();
        }
        let submitted = u64::try_from(submitted).unwrap_or(0);
        escalating_fee(base, self.config.evidence.fee_growth_bps, submitted).get()
    }
}
