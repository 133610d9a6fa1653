//! What a panel's end means for whoever asked.

use plumbline_store::Tx;
use plumbline_store::gold;

use super::rows::{Rows, pi_of};
use super::settle::settle_panel;
use super::{PanelOutcome, Subject};
use crate::settlement::settlement_ruled;
use crate::time::Millis;
use crate::{Result, ServiceConfig, ServiceError};

/// Hands a panel's outcome on, in the transaction that ends it. The outcome itself is on the
/// panel's row already.
pub(super) fn ruled(
    tx: &mut Tx,
    config: &ServiceConfig,
    rows: &mut Rows,
    outcome: PanelOutcome,
    now: Millis,
) -> Result<()> {
    match (subject_of(rows)?, outcome) {
        // The known answer is final, whatever the juror said.
        (Subject::Gold { case_id }, _) => {
            let answer = pi_of(gold::get(tx, &case_id)?.pi)?;
            settle_panel(tx, config, rows, Some(answer), now)
        }
        (Subject::Settlement { market_id, round }, _) => {
            settlement_ruled(tx, config, &market_id, round, outcome, now)
        }
        (Subject::Exhibit { challenge_id, .. }, outcome) => {
            let pi = crate::evidence::exhibit_ruled(tx, config, &challenge_id, outcome, now)?;
            settle_panel(tx, config, rows, pi, now)
        }
    }
}

/// The subject that a panel was convened for.
pub(super) fn subject_of(rows: &Rows) -> Result<Subject> {
    let panel = rows.panel.clone();
    let subject = match panel.subject.as_str() {
        "settlement" => panel
            .market_id
            .zip(panel.round.and_then(|round| u32::try_from(round).ok()))
            .map(|(market_id, round)| Subject::Settlement { market_id, round }),
        "exhibit" => {
            panel
                .evidence_id
                .zip(panel.challenge_id)
                .map(|(evidence_id, challenge_id)| Subject::Exhibit {
                    evidence_id,
                    challenge_id,
                })
        }
        "gold" => panel.case_id.map(|case_id| Subject::Gold { case_id }),
        _ => None,
    };
    subject.ok_or_else(|| ServiceError::internal(format!("panel {} has no subject", panel.id)))
}
