//! The lexical judge: counts words, and knows how little that is worth where it was not trained.

use std::sync::Arc;

use crate::claim::Claim;
use crate::ensemble::SharedJudge;
use crate::error::{JudgeError, WeightsError};
use crate::exhibit::Exhibit;
use crate::judge::{Judge, JudgeContext, Judgement};
use crate::sections::read_in_sections;
use crate::transcripts;
use crate::weights::Weights;

/// Standard error, nats, stated for what the judge cannot read: the pool then gives it next to no weight.
pub const OUT_OF_DOMAIN_ERROR: f64 = 4.0;
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
        let weights = Weights::from_bytes(bytes)?;
        match weights.reader() {
            None => Ok(Self::new(weights)),
            Some((name, version)) => Err(WeightsError::WrongModel {
                found: "none".to_owned(),
                expected: format!("{name} {version}"),
            }),
        }
    }

    /// The judge with the weights shipped in the program.
    pub fn shipped() -> Result<Self, WeightsError> {
        Self::from_bytes(SHIPPED)
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }
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
        let opinions = transcripts::read(exhibits)?
            .iter()
            .map(|(prompt, response)| {
                let read = |section: &str| self.weights.opinion(&claim.kind, prompt, section);
                read_in_sections(response, read)
            })
            .collect::<Vec<_>>();
        Ok(transcripts::judgement(self.name(), &opinions, context))
    }
}
