//! What jurors are shown: claim, rubric and exhibits, without market, price or names.

use plumbline_store::Tx;
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::markets::{self, Market};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Subject;
use crate::views::{CaseExhibit, CaseView};
use crate::{Result, ServiceError};

/// Most submissions of one case.
const MAX_SUBMISSIONS: usize = 200;
/// Most bytes of exhibits in one answer; what is left out is counted.
const MAX_BYTES: usize = 1 << 20;

const ASK_SETTLEMENT: &str = "How probable is it that the claim is true, by its rubric?";
const ASK_EXHIBIT: &str =
    "Should this exhibit be struck? Vote 10000 if it is not what it claims to be, 0 if it is.";

/// A case as stored. Submissions are never edited, so their ids are enough.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) question: String,
    pub(super) claim: String,
    pub(super) claim_kind: String,
    pub(super) rubric: String,
    pub(super) note: Option<String>,
    /// Ids of evidence.
    pub(super) evidence: Vec<String>,
    /// Exhibits of a case that was written by hand.
    pub(super) exhibits: Vec<CaseExhibit>,
}

impl Snapshot {
    /// The case of a market.
    pub(super) fn of_market(tx: &mut Tx, market: &Market) -> Result<Self> {
        let judged = evidence::judged(tx, &market.id)?;
        let ids = judged.into_iter().map(|row| row.id);
        Ok(Self {
            evidence: ids.take(MAX_SUBMISSIONS).collect(),
            ..Self::bare(market, ASK_SETTLEMENT)
        })
    }

    /// The case of one exhibit.
    fn of_exhibit(market: &Market, evidence_id: &str) -> Self {
        Self {
            evidence: vec![evidence_id.to_owned()],
            ..Self::bare(market, ASK_EXHIBIT)
        }
    }

    fn bare(market: &Market, question: &str) -> Self {
        Self {
            question: question.to_owned(),
            claim: market.claim.clone(),
            claim_kind: market.claim_kind.clone(),
            rubric: market.rubric.clone(),
            note: None,
            evidence: Vec::new(),
            exhibits: Vec::new(),
        }
    }

    /// A case that was written by hand.
    pub(super) fn by_hand(
        claim: String,
        claim_kind: String,
        rubric: String,
        exhibits: Vec<CaseExhibit>,
    ) -> Self {
        Self {
            question: ASK_SETTLEMENT.to_owned(),
            claim,
            claim_kind,
            rubric,
            note: None,
            evidence: Vec::new(),
            exhibits,
        }
    }

    pub(super) fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(ServiceError::internal)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(ServiceError::internal)
    }

    /// The case with the content of its exhibits.
    pub(super) fn view(self, tx: &mut Tx) -> Result<CaseView> {
        let (mut exhibits, mut omitted, mut bytes) = (self.exhibits, 0, 0);
        for id in &self.evidence {
            let row = evidence::get(tx, id)?;
            bytes += row.body.len() + row.exhibits.len();
            if bytes > MAX_BYTES {
                omitted += 1;
            } else {
                exhibits.push(exhibit_of(row)?);
            }
        }
        Ok(CaseView {
            question: self.question,
            claim: self.claim,
            claim_kind: self.claim_kind,
            rubric: self.rubric,
            note: self.note,
            exhibits,
            omitted,
        })
    }
}

/// The market of a subject with the case to show.
pub(super) fn case_of(
    tx: &mut Tx,
    subject: &Subject,
    note: Option<&str>,
) -> Result<(Market, Snapshot)> {
    let (market, snapshot) = match subject {
        Subject::Settlement { market_id, .. } => {
            let market = markets::get(tx, market_id)?;
            let snapshot = Snapshot::of_market(tx, &market)?;
            (market, snapshot)
        }
        Subject::Exhibit { evidence_id, .. } => {
            let row = evidence::get(tx, evidence_id)?;
            let market = markets::get(tx, &row.market_id)?;
            let snapshot = Snapshot::of_exhibit(&market, evidence_id);
            (market, snapshot)
        }
        Subject::Gold { .. } => {
            return Err(ServiceError::internal(
                "a known case is given, not convened",
            ));
        }
    };
    let note = note.map(str::to_owned);
    Ok((market, Snapshot { note, ..snapshot }))
}

fn exhibit_of(row: Evidence) -> Result<CaseExhibit> {
    let exhibits: Vec<Value> =
        serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)?;
    Ok(CaseExhibit {
        kind: row.kind,
        title: row.title,
        body: row.body,
        exhibits,
    })
}
