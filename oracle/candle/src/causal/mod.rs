//! A language model that reads: hidden states for a trained head, and how much more likely it finds a yes than a no.
//!
//! The weights come out of a GGUF file in any quantisation and are kept in 8 bits, after the same rotation as the
//! encoder's. The beginning that prompts share is read once and its keys and values are kept.

mod gguf;
mod network;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{ModelError, Result};
use crate::kernels::Level;
use gguf::Gguf;
use network::{Network, State};
use tokenizer::Tokenizer;

/// How a [`Causal`] model works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CausalOptions {
    /// Instructions used, at most; lowered to what the processor has.
    pub level: Level,
    /// Threads that work on one call; ≥ 1.
    pub threads: usize,
    /// Tokens of a text read together after a prefix; a longer text is read in sections. ≥ 16.
    pub window: usize,
    /// Tokens that neighbouring sections share; below half of `window`.
    pub overlap: usize,
    /// Most bytes of one text, prefix or suffix.
    pub most_bytes: usize,
    /// Prefixes whose keys and values are kept.
    pub prefixes: usize,
}

impl Default for CausalOptions {
    fn default() -> Self {
        Self {
            level: Level::Avx512Vnni,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            window: 1024,
            overlap: 128,
            most_bytes: 200_000,
            prefixes: 8,
        }
    }
}

/// What the model makes of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Hidden {
    /// Mean of the last layer's normalised states over the text's tokens; `width` values.
    pub mean: Vec<f32>,
    /// State after the last token, averaged over sections; `width` values.
    pub last: Vec<f32>,
    /// Tokens of the text.
    pub tokens: usize,
    /// Sections read; ≥ 1.
    pub sections: usize,
}

/// A question's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct YesNo {
    /// For each section of the text: log of how much likelier some spelling of yes is as the next token than one of
    /// no, less the same for texts without content; nats.
    pub log_odds: Vec<f64>,
    /// What was taken off: the mean over texts without content, nats.
    pub prior: f64,
}

/// Texts that say nothing, by whose answers a model's leaning is known (Zhao et al. 2021).
const EMPTY: [&str; 3] = ["N/A", "", "[MASK]"];

/// A language model, ready to run. It may be shared between threads.
pub struct Causal {
    network: Network,
    tokenizer: Tokenizer,
    options: CausalOptions,
    pool: rayon::ThreadPool,
    /// States after prefixes, the one used last at the end.
    prefixes: Mutex<VecDeque<(Vec<u32>, Arc<State>)>>,
    /// Leanings by prefix and suffix.
    priors: Mutex<VecDeque<((String, String), f64)>>,
    answers: [Vec<u32>; 2],
    version: String,
}

impl Causal {
    /// Loads a GGUF file.
    ///
    /// Errors: [`ModelError::File`] or [`ModelError::Invalid`] naming the file (an architecture other than `gemma3` or a
    /// tokenizer other than SentencePiece's among them), [`ModelError::Option`].
    pub fn load(path: &Path, options: CausalOptions) -> Result<Self> {
        let checks = [
            ("threads", options.threads >= 1, "is not at least 1"),
            ("window", options.window >= 16, "is not at least 16"),
            (
                "overlap",
                2 * options.overlap < options.window,
                "is not below half of the window",
            ),
            ("prefixes", options.prefixes >= 1, "is not at least 1"),
        ];
        if let Some((name, _, reason)) = checks.into_iter().find(|(_, holds, _)| !holds) {
            return Err(ModelError::Option { name, reason });
        }
        let mut gguf = Gguf::open(path)?;
        let tokenizer = Tokenizer::read(&gguf)?;
        let network = Network::read(&mut gguf, tokenizer.len(), options.level.available())?;
        let spelt = |words: [&str; 3]| -> Vec<u32> {
            let spellings = words
                .iter()
                .flat_map(|word| [(*word).to_owned(), format!(" {word}")]);
            spellings
                .filter_map(|word| tokenizer.token(&word))
                .collect()
        };
        let answers = [spelt(["yes", "Yes", "YES"]), spelt(["no", "No", "NO"])];
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|index| format!("causal-{index}"))
            .build()
            .map_err(|error| ModelError::file(path, error))?;
        Ok(Self {
            version: version(path, &options)?,
            network,
            tokenizer,
            options,
            pool,
            prefixes: Mutex::default(),
            priors: Mutex::default(),
            answers,
        })
    }

    /// Values in a hidden state.
    pub fn width(&self) -> usize {
        self.network.config.width
    }

    /// Identity of the model and of the options that change what it answers: 16 hexadecimal digits of a BLAKE3 hash.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The tokens of `text`, without the mark that starts a document. Errors: [`ModelError::TooLarge`].
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let (value, most) = (text.len(), self.options.most_bytes);
        if value > most {
            let what = "a text's length in bytes";
            return Err(ModelError::TooLarge { what, value, most });
        }
        Ok(self.tokenizer.encode(text))
    }

    /// Reads `text` after `prefix` (which may be empty) and returns the hidden states of the text's tokens, summarised.
    ///
    /// Errors: [`ModelError::TooLarge`] for a text or prefix beyond the bounds.
    pub fn hidden(&self, prefix: &str, text: &str) -> Result<Hidden> {
        let (state, tokens) = (self.prefix(prefix)?, self.tokens(text)?);
        let width = self.width();
        let (mut mean, mut last) = (vec![0.0; width], vec![0.0; width]);
        let mut read = 0;
        let sections = self.sections(&tokens);
        for section in &sections {
            let mut state = State::clone(&state);
            let hidden = self
                .pool
                .install(|| self.network.read_on(section, &mut state));
            for row in hidden.chunks_exact(width) {
                mean.iter_mut()
                    .zip(row)
                    .for_each(|(mean, value)| *mean += value);
            }
            read += section.len();
            let end = hidden.chunks_exact(width).next_back();
            if let Some(end) = end {
                last.iter_mut()
                    .zip(end)
                    .for_each(|(last, value)| *last += value);
            }
        }
        mean.iter_mut()
            .for_each(|value| *value /= read.max(1) as f32);
        last.iter_mut()
            .for_each(|value| *value /= sections.len() as f32);
        Ok(Hidden {
            mean,
            last,
            tokens: tokens.len(),
            sections: sections.len(),
        })
    }

    /// Reads `prefix`, each section of `text`, and `suffix`, and compares yes with no as the next token.
    ///
    /// Errors: [`ModelError::TooLarge`]; [`ModelError::Tokenizer`] when the vocabulary has no token for an answer.
    pub fn yes_no(&self, prefix: &str, text: &str, suffix: &str) -> Result<YesNo> {
        if self.answers.iter().any(Vec::is_empty) {
            return Err(ModelError::Tokenizer(
                "has no token for yes or for no".to_owned(),
            ));
        }
        let prior = self.prior(prefix, suffix)?;
        let tokens = self.tokens(text)?;
        let answers = self
            .sections(&tokens)
            .into_iter()
            .map(|section| Ok(self.lean(prefix, section, suffix)? - prior))
            .collect::<Result<_>>()?;
        Ok(YesNo {
            log_odds: answers,
            prior,
        })
    }

    /// The likeliest continuation of `prompt`, token by token, up to `most` tokens or the end mark.
    ///
    /// Errors: [`ModelError::TooLarge`] for a prompt that with its continuation exceeds the model's positions.
    pub fn complete(&self, prompt: &str, most: usize) -> Result<String> {
        let mut tokens: Vec<u32> = self.tokenizer.start.into_iter().collect();
        tokens.extend(self.tokens(prompt)?);
        let end = self.tokenizer.end;
        let found = self.complete_tokens(&tokens, most, Some(end))?;
        Ok(self.tokenizer.decode(&found))
    }

    /// As [`Causal::complete`], on tokens, up to and without `end`.
    pub fn complete_tokens(
        &self,
        prompt: &[u32],
        most: usize,
        end: Option<u32>,
    ) -> Result<Vec<u32>> {
        self.check_tokens(prompt, most)?;
        let mut found = Vec::new();
        let mut state = self.network.start();
        let mut hidden = self
            .pool
            .install(|| self.network.read_on(prompt, &mut state));
        while found.len() < most {
            let last = hidden.split_off(hidden.len().saturating_sub(self.width()));
            let next = self.pool.install(|| largest(&self.network.scores(&last)));
            if Some(next) == end {
                break;
            }
            found.push(next);
            hidden = self
                .pool
                .install(|| self.network.read_on(&[next], &mut state));
        }
        Ok(found)
    }

    /// Scores of every token of the vocabulary as the one after `tokens`, not normalised. Errors: [`ModelError::TooLarge`].
    pub fn next_scores(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.check_tokens(tokens, 0)?;
        let mut state = self.network.start();
        let hidden = self
            .pool
            .install(|| self.network.read_on(tokens, &mut state));
        let last = &hidden[hidden.len() - self.width()..];
        Ok(self.pool.install(|| self.network.scores(last)))
    }

    /// Refuses what would exceed the vocabulary or, with `more` tokens to come, the model's positions.
    fn check_tokens(&self, tokens: &[u32], more: usize) -> Result<()> {
        let config = &self.network.config;
        let largest = tokens.iter().copied().max().unwrap_or(0) as usize;
        for (what, value, most) in [
            (
                "a sequence's length",
                tokens.len().saturating_add(more),
                config.context,
            ),
            ("a token", largest, config.vocabulary - 1),
        ] {
            if value > most {
                return Err(ModelError::TooLarge { what, value, most });
            }
        }
        if tokens.is_empty() {
            return Err(ModelError::Tokenizer(
                "there is no token to read".to_owned(),
            ));
        }
        Ok(())
    }

    /// `tokens` in overlapping sections; always at least one.
    fn sections<'a>(&self, tokens: &'a [u32]) -> Vec<&'a [u32]> {
        let (room, overlap) = (self.options.window, self.options.overlap);
        let mut sections = Vec::new();
        let mut start = 0;
        loop {
            let end = (start + room).min(tokens.len());
            sections.push(&tokens[start..end]);
            if end == tokens.len() {
                return sections;
            }
            start = (end - overlap).min(tokens.len() - room);
        }
    }

    /// Reads `prefix` and keeps its state, so that a longer one that begins with it goes on from there.
    ///
    /// Errors: [`ModelError::TooLarge`].
    pub fn keep(&self, prefix: &str) -> Result<()> {
        self.prefix(prefix).map(|_| ())
    }

    /// The state after the start mark and `prefix`, from memory where it or its beginning was read before.
    fn prefix(&self, prefix: &str) -> Result<Arc<State>> {
        let mut tokens: Vec<u32> = self.tokenizer.start.into_iter().collect();
        tokens.extend(self.tokens(prefix)?);
        self.check_tokens(&tokens, 3 * self.options.window)?;
        let lock = || self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = {
            let mut kept = lock();
            if let Some(at) = kept.iter().position(|(key, _)| *key == tokens)
                && let Some(found) = kept.remove(at)
            {
                let state = Arc::clone(&found.1);
                kept.push_back(found);
                return Ok(state);
            }
            let begins = kept.iter().filter(|(key, _)| tokens.starts_with(key));
            let longest = begins.max_by_key(|(key, _)| key.len());
            longest.map(|(key, state)| (key.len(), Arc::clone(state)))
        };
        let (read, mut state) = match longest {
            Some((read, state)) => (read, State::clone(&state)),
            None => (0, self.network.start()),
        };
        self.pool
            .install(|| self.network.read_on(&tokens[read..], &mut state));
        let state = Arc::new(state);
        let mut kept = lock();
        kept.push_back((tokens, Arc::clone(&state)));
        while kept.len() > self.options.prefixes {
            kept.pop_front();
        }
        Ok(state)
    }

    /// Log of how much likelier yes is than no, as the model gives it.
    fn lean(&self, prefix: &str, section: &[u32], suffix: &str) -> Result<f64> {
        let mut state = State::clone(&*self.prefix(prefix)?);
        let mut tokens = section.to_vec();
        tokens.extend(self.tokens(suffix)?);
        if tokens.is_empty() {
            // Nothing follows the prefix; its own end is what is asked after.
            tokens.extend(self.tokenizer.start);
        }
        self.check_tokens(&tokens, state.count())?;
        let hidden = self
            .pool
            .install(|| self.network.read_on(&tokens, &mut state));
        let last = &hidden[hidden.len() - self.width()..];
        let [yes, no] = [0, 1].map(|answer: usize| {
            let scores = self.network.scores_of(last, &self.answers[answer]);
            log_sum_exp(&scores)
        });
        Ok(yes - no)
    }

    fn prior(&self, prefix: &str, suffix: &str) -> Result<f64> {
        let key = (prefix.to_owned(), suffix.to_owned());
        let lock = || self.priors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, prior)) = lock().iter().find(|(known, _)| *known == key) {
            return Ok(*prior);
        }
        let mut sum = 0.0;
        for text in EMPTY {
            sum += self.lean(prefix, &self.tokens(text)?, suffix)?;
        }
        let prior = sum / EMPTY.len() as f64;
        let mut kept = lock();
        kept.push_back((key, prior));
        while kept.len() > self.options.prefixes {
            kept.pop_front();
        }
        Ok(prior)
    }
}

/// Index of the largest score, the first of equals.
fn largest(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best as u32
}

fn log_sum_exp(scores: &[f32]) -> f64 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores
        .iter()
        .map(|score| f64::from(score - most).exp())
        .sum();
    f64::from(most) + sum.ln()
}

/// Hash of the file and of what else decides the answers.
fn version(path: &Path, options: &CausalOptions) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(path).map_err(|error| ModelError::file(path, error))?;
    hasher
        .update_reader(&mut file)
        .map_err(|error| ModelError::file(path, error))?;
    hasher.update(format!("{} {}", options.window, options.overlap).as_bytes());
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
