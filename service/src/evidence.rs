//! Evidence: submission, judging and the trade that it makes.
//!
//! Submitting takes the fee, holds the whole stake in the market's escrow and a bond in the
//! market's bonds, in one transaction with the job that will have it judged. Judging runs
//! outside of any transaction (it may replay prompts on a checkpoint); booking its result
//! gives the stake back except for the collateral of the move.
//!
//! Submissions are judged in the order of their claims to their content: that of the commitment
//! where there was one ([`commitments`]), else of the submission. One that comes while an older
//! commitment is open is held, so that whoever copies what is about to be revealed comes second.

mod challenges;
mod check;
mod commitments;
mod judging;
mod novelty;
mod queue;
mod reading;
mod release;
mod submission;
mod terms;

use plumbline_market::evidence::EvidenceError;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_store::evidence::Evidence;
use plumbline_store::markets::Market;
use plumbline_store::{Tx, jobs};
use serde_json::json;

use plumbline_market::probability::sigmoid;

use crate::events::publish;
use crate::jobs::JUDGE_EVIDENCE;
use crate::ledger::ensure_holding;
use crate::time::Millis;
use crate::{Result, ServiceError};

pub(crate) use challenges::exhibit_ruled;
pub use queue::JudgingQueue;
pub(crate) use release::release_evidence;
pub use terms::EvidenceTerms;

/// Whether a market still judges: evidence of others is given back.
fn is_live(market: &Market) -> bool {
    matches!(market.status.as_str(), "open" | "closing")
}

/// The account that holds a market's bonds; made when it is first needed.
fn bonds_account(tx: &mut Tx, market_id: &str, now: Millis) -> Result<String> {
    let id = format!("bonds-{market_id}");
    ensure_holding(tx, &id, now)?;
    Ok(id)
}

/// Queues the judging of a submission that waits for nobody.
fn queue_judging(tx: &mut Tx, evidence_id: &str, now: Millis) -> Result<()> {
    let payload = json!({"evidence_id": evidence_id}).to_string();
    jobs::enqueue(tx, JUDGE_EVIDENCE, evidence_id, &payload, now)?;
    Ok(())
}

fn announce(tx: &mut Tx, now: Millis, row: &Evidence, kind: &str) -> Result<()> {
    let payload = json!({
        "market_id": row.market_id,
        "evidence_id": row.id,
        "title": row.title,
        "status": row.status,
        "shift": row.shift,
        "probability_before": row.log_odds_before.map(sigmoid),
        "probability_after": row.log_odds_after.map(sigmoid),
    });
    publish(
        tx,
        now,
        &format!("market:{}", row.market_id),
        kind,
        &payload,
    )
}

fn stored_exhibits(row: &Evidence) -> Result<Vec<Exhibit>> {
    serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)
}

impl From<EvidenceError> for ServiceError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Trade(trade) => trade.into(),
            EvidenceError::Stake => Self::invalid("bad-stake", error.to_string()),
            EvidenceError::Shift | EvidenceError::Weight => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests;
