//! Near-copies: what an exhibit says is compared with what was judged before it.

use plumbline_oracle::novelty::{Fingerprint, NEAR_COPY, Probe};
use plumbline_store::evidence::Evidence;
use plumbline_store::fingerprints;
use plumbline_store::markets::Market;

use super::stored_exhibits;
use crate::{Result, Service};

/// Most earlier submissions that one is compared with, the newest first.
const MOST_COMPARED: usize = 10_000;
/// Fingerprints read at once.
const CHUNK: i64 = 500;

/// An earlier submission that says what a new one says.
pub(super) struct Copy {
    first: String,
    similarity: f64,
}

impl Copy {
    /// The reason shown to people.
    pub(super) fn reason(&self) -> String {
        format!(
            "an exhibit is a near-copy of one in {} ({:.0} % alike)",
            self.first,
            self.similarity * 100.0
        )
    }
}

/// The submission's exhibits, to be compared; the words of the claim are everybody's.
pub(super) fn probe_of(row: &Evidence, market: &Market) -> Result<Probe> {
    let public = format!("{}\n{}", market.claim, market.rubric);
    Ok(Probe::new(&stored_exhibits(row)?, &public))
}

impl Service {
    /// The likest earlier submission, if it is so like that this one says nothing new.
    ///
    /// Submissions are judged in the order of their claims, so that what has a fingerprint came
    /// before. One whose fingerprint another version wrote is not compared.
    pub(super) fn near_copy(&self, probe: &Probe, row: &Evidence) -> Result<Option<Copy>> {
        if !self.config.defences.novelty {
            return Ok(None);
        }
        let mut best: Option<Copy> = None;
        let (mut before, mut compared) = (None::<String>, 0);
        while compared < MOST_COMPARED {
            let (market_id, last) = (row.market_id.clone(), before.take());
            let rows = self
                .read(move |tx| Ok(fingerprints::list(tx, &market_id, last.as_deref(), CHUNK)?))?;
            let more = rows.len() as i64 == CHUNK;
            compared += rows.len();
            before = rows.last().map(|(id, _)| id.clone());
            for (id, data) in rows {
                let Some(earlier) = Fingerprint::from_bytes(&data).filter(|_| id != row.id) else {
                    continue;
                };
                let similarity = probe.similarity(&earlier);
                if similarity > best.as_ref().map_or(0.0, |best| best.similarity) {
                    best = Some(Copy {
                        first: id,
                        similarity,
                    });
                }
            }
            if !more {
                break;
            }
        }
        Ok(best.filter(|best| best.similarity >= NEAR_COPY))
    }
}
