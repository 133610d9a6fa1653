//! The lexical judge: counts words, and knows how little that is worth where it was not trained.

use std::collections::HashSet;
use std::sync::Arc;

use crate::claim::Claim;
use crate::ensemble::SharedJudge;
use crate::error::{JudgeError, WeightsError};
use crate::exhibit::Exhibit;
use crate::judge::{Judge, JudgeContext, Judgement};
use crate::sections::read_in_sections;
use crate::topic::on_topic;
use crate::weights::{Familiarity, Opinion, Weights};

/// Standard error, nats, stated for what the judge cannot read: the pool then gives it next to no weight.
pub const OUT_OF_DOMAIN_ERROR: f64 = 4.0;
/// Correlation taken between the judge's errors on two transcripts of one claim.
const TRANSCRIPT_CORRELATION: f64 = 0.5;
/// Most transcripts of a claim that are read; the rest are counted in the note.
const MAX_TRANSCRIPTS: usize = 256;
/// How texts are brought to the weights: without disguises and padding, in sections. Part of the judge's version.
const READING: &str = "reading-2";
/// The weights shipped with the program.
const SHIPPED: &[u8] = include_bytes!("../weights/lexical.bin");

/// N-grams and logistic regression on transcripts.
#[derive(Debug, Clone)]
pub struct LexicalJudge {
    weights: Weights,
    version: String,
}

impl LexicalJudge {
    /// A judge with these weights.
    pub fn new(weights: Weights) -> Self {
        let version = format!("{}-{READING}", weights.version());
        Self { weights, version }
    }

    /// A judge with the weights in the bytes of a file. Errors: [`WeightsError`]; the caller should name the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        Weights::from_bytes(bytes).map(Self::new)
    }

    /// The judge with the weights shipped in the program.
    pub fn shipped() -> Result<Self, WeightsError> {
        Self::from_bytes(SHIPPED)
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Opinions on the distinct transcripts among the exhibits, in order, at most [`MAX_TRANSCRIPTS`].
    fn opinions(&self, claim: &Claim, exhibits: &[Exhibit]) -> Vec<Opinion> {
        let mut seen = HashSet::new();
        exhibits
            .iter()
            .filter_map(|exhibit| match exhibit {
                Exhibit::Transcript(transcript) => Some(transcript.prompt_and_response()),
                _ => None,
            })
            // The same text again is not a second piece of evidence.
            .filter(|pair| !pair.1.trim().is_empty() && seen.insert(pair.clone()))
            .take(MAX_TRANSCRIPTS)
            .map(|(prompt, response)| {
                let read = |section: &str| self.weights.opinion(&claim.kind, &prompt, section);
                read_in_sections(&on_topic(&prompt, &response), read)
            })
            .collect()
    }

    fn judgement(&self, log_odds: f64, standard_error: f64, note: String) -> Judgement {
        Judgement {
            judge: self.name().to_owned(),
            log_odds,
            standard_error,
            cost_micro: 0,
            latency_ms: 0,
            note,
            detail: None,
        }
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

impl Judge for LexicalJudge {
    fn name(&self) -> &str {
        "lexical"
    }

    fn family(&self) -> &str {
        "n-gram"
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn with_weights(&self, weights: &[u8]) -> Option<Result<SharedJudge, WeightsError>> {
        Some(Self::from_bytes(weights).map(|judge| Arc::new(judge) as SharedJudge))
    }

    fn judge(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        if exhibits.is_empty() {
            return Err(JudgeError::NothingToJudge);
        }
        let opinions = self.opinions(claim, exhibits);
        let base = context.base_log_odds;
        if opinions.is_empty() {
            let note =
                "Out of domain: reads transcripts only, and there is none; stays at the base rate.";
            return Ok(self.judgement(base, OUT_OF_DOMAIN_ERROR, note.to_owned()));
        }
        let (evidence, standard_error) = combine(&opinions);
        let read = opinions.len();
        let trust = crate::metrics::mean(opinions.iter().map(|opinion| opinion.trust));
        let familiarity = match opinions[0].familiarity {
            Familiarity::KnownKind => "claims of this kind were trained on",
            Familiarity::KnownFamily => "this family of claims was trained on, this kind was not",
            Familiarity::Unknown => "out of domain: no claims of this family were trained on",
        };
        let plural = if read == 1 { "" } else { "s" };
        let note = format!(
            "Read {read} transcript{plural}; {familiarity}; likeness of the text to the training texts {trust:.2}."
        );
        Ok(self.judgement(base + evidence, standard_error, note))
    }
}
