//! Text completion from a checkpoint.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Event};
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::inference::Weights;
use crate::sampling::Sampling;
use crate::session::{FinishReason, Session, TokenLogprob};
use crate::tokenizer::Tokenizer;

/// A finished completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Generated text, without any stop string.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Prompt tokens that the model read.
    pub prompt_tokens: usize,
    /// Tokens that were generated, including one that ended the text.
    pub completion_tokens: usize,
    /// One entry per generated token that begins in the text, if asked for.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// Answers prompts with one fixed set of weights. Shared freely between threads;
/// each call runs on its caller's thread and does not use the ambient pool.
///
/// A prompt longer than the context is cut to its last tokens. Generation past
/// the context goes on: attention slides over the last `sequence` positions.
#[derive(Debug)]
pub struct Generator {
    pub(crate) weights: Weights,
    tokenizer: Tokenizer,
}

impl Generator {
    /// A generator for the weights and tokenizer of `checkpoint`.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let Checkpoint {
            config,
            tokenizer,
            parameters,
            ..
        } = checkpoint;
        Self::new(config.clone(), tokenizer.clone(), parameters.clone())
    }

    /// A generator for `parameters` in canonical order.
    ///
    /// # Errors
    /// [`ModelError::Config`], [`ModelError::ParameterCount`], or
    /// [`ModelError::Tokenizer`] when it has more tokens than the model.
    pub fn new(config: ModelConfig, tokenizer: Tokenizer, parameters: Vec<f32>) -> Result<Self> {
        config.validate()?;
        let (got, want) = (parameters.len(), config.parameter_count());
        if got != want {
            return Err(ModelError::ParameterCount { got, want });
        }
        if tokenizer.vocabulary() > config.vocabulary {
            return Err(ModelError::Tokenizer(format!(
                "{} tokens exceed the model's {}",
                tokenizer.vocabulary(),
                config.vocabulary
            )));
        }
        Ok(Self {
            weights: Weights::new(Decoder::new(config), parameters),
            tokenizer,
        })
    }

    /// The tokenizer in use.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.weights.decoder.config
    }

    /// The tokens of a prompt, cut to the context, and the logits after the last of them, one for each token id.
    pub fn logits(&self, prompt: &str) -> (Vec<u32>, Vec<f32>) {
        let ids = self.prompt_ids(prompt);
        let mut logits = vec![0.0; self.config().vocabulary];
        self.weights.read(&ids, &mut logits);
        (ids, logits)
    }

    /// An empty prompt begins a new document.
    fn prompt_ids(&self, prompt: &str) -> Vec<u32> {
        let mut ids = self.tokenizer.encode(prompt);
        if ids.is_empty() {
            ids.push(self.tokenizer.separator());
        }
        ids.split_off(ids.len().saturating_sub(self.config().sequence))
    }

    /// Completes one prompt. An empty prompt starts a new document.
    ///
    /// # Errors
    /// [`ModelError::Sampling`], or [`ModelError::Diverged`] when the weights
    /// give no finite logits.
    pub fn complete(&self, prompt: &str, sampling: &Sampling) -> Result<Completion> {
        self.complete_streaming(prompt, sampling, |_| ControlFlow::Continue(()))
    }

    /// Completes one prompt, handing each piece of text to `on_piece` as soon as
    /// no stop string can take it back. The pieces joined are the completion's
    /// text. Breaking ends the generation.
    ///
    /// # Errors
    /// As [`Generator::complete`].
    pub fn complete_streaming(
        &self,
        prompt: &str,
        sampling: &Sampling,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Completion> {
        sampling.validate()?;
        let mut batch = Batch::new(self);
        batch
            .admit(Under::default(), prompt, &Arc::new(sampling.clone()))
            .map_err(|(_, error)| error)?;
        let mut done = None;
        while !batch.is_empty() {
            batch.step(|under, event| {
                let more = match &event {
                    Event::Piece { text, .. } if !text.is_empty() => on_piece(text),
                    _ => ControlFlow::Continue(()),
                };
                done = under.take(event, sampling).or(done.take());
                more
            });
        }
        done.unwrap_or_else(never_finished)
    }

    /// Completes prompts side by side. Each result is what [`Generator::complete`]
    /// gives for that prompt with `seed + index`.
    ///
    /// # Errors
    /// As [`Generator::complete`]; one failure fails the batch.
    pub fn complete_batch(
        &self,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>> {
        sampling.validate()?;
        let mut batch = Batch::new(self);
        let mut done: Vec<Option<Result<Completion>>> = prompts.iter().map(|_| None).collect();
        let mut waiting = prompts.iter().enumerate();
        loop {
            for (index, prompt) in waiting.by_ref().take(batch.free()) {
                let mut sampling = sampling.clone();
                sampling.seed = sampling.seed.wrapping_add(index as u64);
                batch
                    .admit((index, Under::default()), prompt, &Arc::new(sampling))
                    .map_err(|(_, error)| error)?;
            }
            if batch.is_empty() {
                break;
            }
            batch.step(|(index, under), event| {
                if let Some(end) = under.take(event, sampling) {
                    done[*index] = Some(end);
                }
                ControlFlow::Continue(())
            });
        }
        let ended = |end: Option<_>| end.unwrap_or_else(never_finished);
        done.into_iter().map(ended).collect()
    }

    /// Reads the prompt and chooses the first token. `sampling` must be valid.
    pub(crate) fn start(&self, prompt: &str, sampling: &Arc<Sampling>) -> Result<Session> {
        let ids = self.prompt_ids(prompt);
        let mut logits = vec![0.0; self.config().vocabulary];
        let cache = self.weights.read(&ids, &mut logits);
        let mut session = Session::new(cache, Arc::clone(sampling), ids.len());
        if session.finish.is_none() {
            session.accept(&self.tokenizer, &mut logits)?;
        }
        Ok(session)
    }
}

/// The parts of a completion that have come so far.
#[derive(Debug, Default)]
struct Under {
    text: String,
    tokens: Vec<TokenLogprob>,
}

impl Under {
    /// The completion, or what went wrong, once `event` is the last.
    fn take(&mut self, event: Event, sampling: &Sampling) -> Option<Result<Completion>> {
        match event {
            Event::Piece { text, tokens } => {
                self.text.push_str(&text);
                self.tokens.extend(tokens);
                None
            }
            Event::Failed(error) => Some(Err(error)),
            Event::Finished(end) => Some(Ok(Completion {
                text: std::mem::take(&mut self.text),
                finish_reason: end.reason,
                prompt_tokens: end.prompt_tokens,
                completion_tokens: end.completion_tokens,
                logprobs: sampling.logprobs.map(|_| std::mem::take(&mut self.tokens)),
            })),
        }
    }
}

/// A batch tells the end of every text before it lets go of it.
fn never_finished() -> Result<Completion> {
    Err(ModelError::Diverged("a text never ended".into()))
}

#[cfg(test)]
#[path = "generate_tests.rs"]
pub(crate) mod tests;
