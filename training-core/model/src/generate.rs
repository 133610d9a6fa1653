//! Text completion from a checkpoint.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::inference::Cache;
use crate::sampling::{Sampler, Sampling, log_softmax, ranked};
use crate::tokenizer::Tokenizer;

/// Most sequences decoded side by side; more prompts are taken in turns, so the
/// caches' memory is bounded.
const BATCH_MAX: usize = 64;

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// A stop string or the end of a document.
    Stop,
    /// The token limit.
    Length,
    /// The caller's callback asked to end.
    Cancelled,
}

/// A generated token with its log-probability before temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Token id.
    pub id: u32,
    /// Its text; bytes that are not UTF-8 by themselves show as U+FFFD.
    pub token: String,
    /// Natural log of its probability.
    pub logprob: f32,
    /// The likeliest tokens at this place with their log-probabilities.
    pub top: Vec<(String, f32)>,
}

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
    /// One entry per generated token, if asked for.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// Answers prompts with one fixed set of weights. Shared freely between threads;
/// each call runs on its caller's thread and does not use the ambient pool.
///
/// A prompt longer than the context is cut to its last tokens. Generation past
/// the context goes on: attention slides over the last `sequence` positions.
#[derive(Debug)]
pub struct Generator {
    decoder: Decoder,
    tokenizer: Tokenizer,
    parameters: Vec<f32>,
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
            decoder: Decoder::new(config),
            tokenizer,
            parameters,
        })
    }

    /// The tokenizer in use.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
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
        let mut session = self.start(prompt, sampling, 0)?;
        loop {
            let piece = session.take_piece(sampling);
            if !piece.is_empty() && on_piece(&piece).is_break() {
                session.finish.get_or_insert(FinishReason::Cancelled);
            }
            if session.finish.is_some() {
                return Ok(session.into_completion());
            }
            self.step(&mut [&mut session], sampling)?;
        }
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
        let mut completions = Vec::with_capacity(prompts.len());
        for (turn, prompts) in prompts.chunks(BATCH_MAX).enumerate() {
            let mut sessions = Vec::with_capacity(prompts.len());
            for (i, prompt) in prompts.iter().enumerate() {
                sessions.push(self.start(prompt, sampling, turn * BATCH_MAX + i)?);
            }
            loop {
                let open = |session: &&mut Session| session.finish.is_none();
                let mut active: Vec<_> = sessions.iter_mut().filter(open).collect();
                if active.is_empty() {
                    break;
                }
                self.step(&mut active, sampling)?;
            }
            completions.extend(sessions.into_iter().map(Session::into_completion));
        }
        Ok(completions)
    }

    /// Reads the prompt and chooses the first token.
    fn start(&self, prompt: &str, sampling: &Sampling, index: usize) -> Result<Session> {
        let config = self.config();
        let mut ids = self.tokenizer.encode(prompt);
        if ids.is_empty() {
            ids.push(self.tokenizer.separator());
        }
        let ids = &ids[ids.len().saturating_sub(config.sequence)..];
        let mut logits = vec![0.0; config.vocabulary];
        let cache = self.decoder.read(&self.parameters, ids, &mut logits);
        let mut session = Session {
            cache,
            sampler: Sampler::new(sampling, index),
            last: 0,
            bytes: Vec::new(),
            emitted: 0,
            prompt_tokens: ids.len(),
            completion_tokens: 0,
            logprobs: sampling.logprobs.map(|_| Vec::new()),
            finish: None,
        };
        if sampling.max_tokens == 0 {
            session.finish = Some(FinishReason::Length);
        } else {
            session.accept(&self.tokenizer, sampling, &mut logits)?;
        }
        Ok(session)
    }

    /// Advances every session by one token.
    fn step(&self, sessions: &mut [&mut Session], sampling: &Sampling) -> Result<()> {
        let vocabulary = self.config().vocabulary;
        let tokens: Vec<u32> = sessions.iter().map(|session| session.last).collect();
        let mut logits = vec![0.0; tokens.len() * vocabulary];
        let mut caches: Vec<_> = sessions.iter_mut().map(|s| &mut s.cache).collect();
        self.decoder
            .advance(&self.parameters, &tokens, &mut caches, &mut logits);
        for (session, logits) in sessions.iter_mut().zip(logits.chunks_exact_mut(vocabulary)) {
            session.accept(&self.tokenizer, sampling, logits)?;
        }
        Ok(())
    }
}

/// One completion under way.
#[derive(Debug)]
struct Session {
    cache: Cache,
    sampler: Sampler,
    last: u32,
    /// Generated bytes; cut where a stop string begins.
    bytes: Vec<u8>,
    /// How many of them were handed out.
    emitted: usize,
    prompt_tokens: usize,
    completion_tokens: usize,
    logprobs: Option<Vec<TokenLogprob>>,
    finish: Option<FinishReason>,
}

impl Session {
    /// Chooses a token from `logits` (turned into log-probabilities in place).
    fn accept(
        &mut self,
        tokenizer: &Tokenizer,
        sampling: &Sampling,
        logits: &mut [f32],
    ) -> Result<()> {
        // A model may have more ids than its tokenizer; those have no text.
        let known = &mut logits[..tokenizer.vocabulary()];
        log_softmax(known)?;
        self.last = self.sampler.choose(known);
        self.completion_tokens += 1;
        if let Some(logprobs) = &mut self.logprobs {
            let text = |id: u32| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
            let top = ranked(known, usize::from(sampling.logprobs.unwrap_or(0)));
            logprobs.push(TokenLogprob {
                id: self.last,
                token: text(self.last),
                logprob: known[self.last as usize],
                top: top
                    .into_iter()
                    .map(|id| (text(id), known[id as usize]))
                    .collect(),
            });
        }
        let searched = self.bytes.len();
        self.bytes
            .extend_from_slice(tokenizer.token_bytes(self.last));
        if self.last == tokenizer.separator() {
            self.finish = Some(FinishReason::Stop);
        } else if let Some(at) = first_stop(&self.bytes, searched, &sampling.stop) {
            self.bytes.truncate(at);
            self.finish = Some(FinishReason::Stop);
        } else if self.completion_tokens >= sampling.max_tokens {
            self.finish = Some(FinishReason::Length);
        }
        Ok(())
    }

    /// The text that has become certain since the last call.
    fn take_piece(&mut self, sampling: &Sampling) -> String {
        let mut end = self.bytes.len();
        if self.finish.is_none() {
            end -= held_back(&self.bytes[self.emitted..], &sampling.stop);
            end = self.emitted + whole_characters(&self.bytes[self.emitted..end]);
        }
        let piece = String::from_utf8_lossy(&self.bytes[self.emitted..end]).into_owned();
        self.emitted = end;
        piece
    }

    fn into_completion(self) -> Completion {
        let cancelled = self.finish == Some(FinishReason::Cancelled);
        let end = if cancelled {
            self.emitted
        } else {
            self.bytes.len()
        };
        Completion {
            text: String::from_utf8_lossy(&self.bytes[..end]).into_owned(),
            finish_reason: self.finish.unwrap_or(FinishReason::Length),
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            logprobs: self.logprobs,
        }
    }
}

/// Where the earliest stop string begins that ends after `searched`.
fn first_stop(bytes: &[u8], searched: usize, stops: &[String]) -> Option<usize> {
    let find = |stop: &String| {
        let from = (searched + 1).saturating_sub(stop.len());
        let windows = bytes[from.min(bytes.len())..].windows(stop.len());
        let at = windows
            .into_iter()
            .position(|window| window == stop.as_bytes())?;
        Some(from + at)
    };
    stops.iter().filter_map(find).min()
}

/// Length of the longest ending of `bytes` that begins a stop string.
fn held_back(bytes: &[u8], stops: &[String]) -> usize {
    let partial = |stop: &String| {
        (1..stop.len().min(bytes.len() + 1))
            .rev()
            .find(|n| bytes.ends_with(&stop.as_bytes()[..*n]))
            .unwrap_or(0)
    };
    stops.iter().map(partial).max().unwrap_or(0)
}

/// Length of `bytes` without an unfinished character at its end.
fn whole_characters(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                None => return bytes.len() - rest.len() + error.valid_up_to(),
                Some(bad) => rest = &rest[error.valid_up_to() + bad..],
            },
        }
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
