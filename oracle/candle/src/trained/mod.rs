//! The reader that the project trains itself: a small decoder from the training core that learnt verdicts from labelled
//! cases, with weights small enough to travel with the program.

mod learn;
mod stages;

pub use learn::{LearnOptions, learn};
pub use stages::{TrainedStages, left_to_heads};

use plumbline_oracle::{
    Features, HeadJudge, JudgeError, Passage, Reader, Weights, WeightsError, Widths,
};
use plumbline_training_model::{Checkpoint, ModelConfig, Tokenizer, VerdictModel};
use std::sync::Arc;

use crate::error::{ModelError, Result};
use crate::readers::bounded;

/// Most tokens of the kind of claim and of the request together; of a longer request the end is read.
const MOST_ASKED: usize = 56;
/// Tokens of the response that neighbouring sections share.
const OVERLAP: usize = 16;
/// Most bytes of the response; of a longer one the two ends are read.
const MOST_BYTES: usize = 200_000;
/// How a passage is put into tokens; part of the version.
const FORM: &str = "kind, request, response, 1";

/// The shipped model, as `plumbline oracle train --judge trained` writes it.
const MODEL: &[u8] = include_bytes!("../../../weights/trained.safetensors");
/// The shipped heads on what it reads.
const HEADS: &[u8] = include_bytes!("../../../weights/trained.bin");

/// A decoder of the training core, read as a sentence encoder: `content` is the mean of its states over a passage,
/// `extra` its verdict, the mean and the largest over the response's sections.
///
/// Why a classifier and not a language model with a token for the verdict: with a few megabytes, predicting every word
/// of the cases would take most of the parameters and of the time, and the verdict is one word in a hundred.
pub struct TrainedReader {
    model: VerdictModel,
    tokenizer: Tokenizer,
    version: String,
}

impl TrainedReader {
    /// A reader of this model.
    ///
    /// Errors: [`ModelError::Trained`].
    pub fn new(checkpoint: Checkpoint) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(FORM.as_bytes());
        hasher.update(checkpoint.tokenizer.to_json().as_bytes());
        for value in &checkpoint.parameters {
            hasher.update(&value.to_le_bytes());
        }
        let verdict = checkpoint.tokenizer.separator();
        Ok(Self {
            model: VerdictModel::new(checkpoint.config, checkpoint.parameters, verdict)?,
            tokenizer: checkpoint.tokenizer,
            version: hasher.finalize().to_hex()[..16].to_owned(),
        })
    }

    /// The model that comes with the program.
    ///
    /// Errors: [`ModelError::Trained`] when it was damaged.
    pub fn shipped() -> Result<Self> {
        Self::new(Checkpoint::from_memory("trained.safetensors", MODEL)?)
    }

    /// The judge that comes with the program.
    ///
    /// Errors: [`JudgeError::Unavailable`] when its model or its heads were damaged.
    pub fn judge() -> std::result::Result<HeadJudge, JudgeError> {
        let damaged = |error: WeightsError| JudgeError::Unavailable(error.to_string());
        let weights = Weights::from_bytes(HEADS).map_err(damaged)?;
        HeadJudge::new(Arc::new(Self::shipped()?), weights).map_err(damaged)
    }
}

impl Reader for TrainedReader {
    fn name(&self) -> &str {
        "trained"
    }

    fn family(&self) -> &str {
        "small-transformer"
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn widths(&self) -> Widths {
        widths(self.model.config())
    }

    fn read(&self, passages: &[Passage<'_>]) -> std::result::Result<Vec<Features>, JudgeError> {
        let mut read = Vec::with_capacity(passages.len());
        for passage in passages {
            let sections = sections(&self.tokenizer, passage, self.model.config().sequence);
            let (texts, fresh): (Vec<Vec<u32>>, Vec<usize>) = sections.into_iter().unzip();
            let states = self.model.read(&texts).map_err(ModelError::from)?;
            read.push(merge(&states, &fresh));
        }
        Ok(read)
    }
}

fn widths(config: &ModelConfig) -> Widths {
    Widths {
        content: config.width,
        context: 0,
        extra: 2,
    }
}

/// Mean over sections, weighted by the tokens each adds; the verdict's mean and its largest.
fn merge(states: &[(Vec<f32>, f32)], fresh: &[usize]) -> Features {
    let total = fresh.iter().sum::<usize>().max(1) as f32;
    let mut content = vec![0.0; states.first().map_or(0, |(mean, _)| mean.len())];
    let (mut verdict, mut largest) = (0.0, f32::NEG_INFINITY);
    for ((state, z), fresh) in states.iter().zip(fresh) {
        let share = *fresh as f32 / total;
        for (sum, value) in content.iter_mut().zip(state) {
            *sum += share * value;
        }
        verdict += share * z;
        largest = largest.max(*z);
    }
    Features {
        content,
        context: Vec::new(),
        extra: vec![verdict, largest],
    }
}

/// A passage in sections of at most `room` tokens, each with the kind of claim and the end of the request before its
/// part of the response, and how many tokens of the response no earlier section had (at least 1).
fn sections(tokenizer: &Tokenizer, passage: &Passage<'_>, room: usize) -> Vec<(Vec<u32>, usize)> {
    let mut asked = tokenizer.encode(&format!("{}\n", passage.kind));
    asked.truncate(MOST_ASKED / 4);
    let request = tokenizer.encode(&format!("{}\n\n", bounded(passage.prompt, 4_000)));
    let left = MOST_ASKED - asked.len();
    asked.extend(&request[request.len().saturating_sub(left)..]);
    let response = tokenizer.encode(&bounded(passage.response, MOST_BYTES));
    let own = room - asked.len();
    let (mut sections, mut covered) = (Vec::new(), 0);
    loop {
        let start = if covered == 0 { 0 } else { covered - OVERLAP };
        let end = (start + own).min(response.len());
        let mut tokens = asked.clone();
        tokens.extend(&response[start..end]);
        sections.push((tokens, (end - covered).max(1)));
        covered = end;
        if covered >= response.len() {
            return sections;
        }
    }
}
