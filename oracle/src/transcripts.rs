//! What judges of text share: which transcripts they read, and what several opinions on one claim come to.

use std::collections::HashSet;

use crate::error::JudgeError;
use crate::exhibit::Exhibit;
use crate::judge::{JudgeContext, Judgement};
use crate::lexical::OUT_OF_DOMAIN_ERROR;
use crate::topic::on_topic;
use crate::weights::{Familiarity, Opinion};

/// Correlation taken between a judge's errors on two transcripts of one claim.
const TRANSCRIPT_CORRELATION: f64 = 0.5;
/// Most transcripts of a claim that are read; the rest are counted in the note.
const MAX_TRANSCRIPTS: usize = 256;

/// (prompt, response) of the distinct transcripts among the exhibits, in order, at most [`MAX_TRANSCRIPTS`]; of a
/// response what has to do with its prompt.
///
/// Errors: [`JudgeError::NothingToJudge`] without exhibits. Exhibits that are no transcripts give an empty list.
pub(crate) fn read(exhibits: &[Exhibit]) -> Result<Vec<(String, String)>, JudgeError> {
    if exhibits.is_empty() {
        return Err(JudgeError::NothingToJudge);
    }
    let mut seen = HashSet::new();
    let pairs = exhibits.iter().filter_map(|exhibit| match exhibit {
        Exhibit::Transcript(transcript) => Some(transcript.prompt_and_response()),
        _ => None,
    });
    Ok(pairs
        // The same text again is not a second piece of evidence.
        .filter(|pair| !pair.1.trim().is_empty() && seen.insert(pair.clone()))
        .take(MAX_TRANSCRIPTS)
        .map(|(prompt, response)| {
            let read = on_topic(&prompt, &response).into_owned();
            (prompt, read)
        })
        .collect())
}

/// The judgement of `judge`, from its opinions on the transcripts of one claim.
pub(crate) fn judgement(judge: &str, opinions: &[Opinion], context: &JudgeContext) -> Judgement {
    let (evidence, standard_error, note) = match opinions.first() {
        None => {
            let note =
                "Out of domain: reads transcripts only, and there is none; stays at the base rate.";
            (0.0, OUT_OF_DOMAIN_ERROR, note.to_owned())
        }
        Some(first) => {
            let (evidence, standard_error) = combine(opinions);
            let trust = crate::metrics::mean(opinions.iter().map(|opinion| opinion.trust));
            let familiarity = match first.familiarity {
                Familiarity::KnownKind => "claims of this kind were trained on",
                Familiarity::KnownFamily => {
                    "this family of claims was trained on, this kind was not"
                }
                Familiarity::Unknown => "out of domain: no claims of this family were trained on",
            };
            let read = opinions.len();
            let plural = if read == 1 { "" } else { "s" };
            let note = format!(
                "Read {read} transcript{plural}; {familiarity}; likeness of the text to the training texts {trust:.2}."
            );
            (evidence, standard_error, note)
        }
    };
    Judgement {
        judge: judge.to_owned(),
        log_odds: context.base_log_odds + evidence,
        standard_error,
        cost_micro: 0,
        latency_ms: 0,
        note,
        detail: None,
    }
}

/// (evidence, standard error) of several opinions on one claim, nats:
///
/// ```text
/// e = n_eff · Σ w_i (ℓ_i − ℓ_i⁰),   w_i ∝ 1/se_i²,   n_eff = 1 / (ρ + (1−ρ) Σ w_i²),   se² = Σ w_i se_i²
/// ```
///
/// The error does not fall with the number of texts: what the judge gets wrong it gets wrong in all of them.
fn combine(opinions: &[Opinion]) -> (f64, f64) {
    let precision: f64 = opinions.iter().map(|o| o.standard_error.powi(-2)).sum();
    let weights: Vec<f64> = opinions
        .iter()
        .map(|o| o.standard_error.powi(-2) / precision)
        .collect();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    let n_eff = 1.0 / (TRANSCRIPT_CORRELATION + (1.0 - TRANSCRIPT_CORRELATION) * squares);
    let mean: f64 = weights
        .iter()
        .zip(opinions)
        .map(|(w, o)| w * (o.log_odds - o.prior_log_odds))
        .sum();
    let variance: f64 = weights
        .iter()
        .zip(opinions)
        .map(|(w, o)| w * o.standard_error.powi(2))
        .sum();
    (n_eff * mean, variance.sqrt())
}
