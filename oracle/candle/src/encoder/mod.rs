//! A sentence encoder: text in, a direction out.
//!
//! A BERT-class model (MiniLM and its kin), mean-pooled and normalised. Sequences of any lengths are laid end to end
//! without padding, batches go to threads longest first, and a text longer than the model's window is read in
//! overlapping sections, so nothing is cut off.

mod bert;
mod sections;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokenizers::Tokenizer;

use crate::error::{ModelError, Result};
use crate::kernels::Level;
use crate::kernels::linear::Precision;
use crate::models::EncoderFiles;
use bert::{Bert, Workspace, normalise};
use sections::{Section, sections};

/// How an [`Encoder`] works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderOptions {
    /// How weights are kept; `None` takes 8 bits where the processor multiplies them quickly, else 32.
    pub precision: Option<Precision>,
    /// Instructions used, at most; lowered to what the processor has.
    pub level: Level,
    /// Threads of one call; ≥ 1.
    pub threads: usize,
    /// Tokens read together, with the two marks round them; 16 to the model's positions.
    pub window: usize,
    /// Tokens that neighbouring sections share; below half of `window`.
    pub overlap: usize,
    /// Most bytes of one text.
    pub most_bytes: usize,
    /// Most texts of one call.
    pub most_texts: usize,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self {
            precision: None,
            level: Level::Avx512Vnni,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            window: 256,
            overlap: 64,
            most_bytes: 200_000,
            most_texts: 100_000,
        }
    }
}

/// What an encoder makes of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Mean of the sections' directions, weighted by the tokens each adds, scaled to length 1; `width` values. For a
    /// text of one section this is the model's embedding.
    pub mean: Vec<f32>,
    /// Largest value of each coordinate over the sections; `width` values, not normalised.
    pub max: Vec<f32>,
    /// Sections read; ≥ 1.
    pub sections: usize,
}

/// A sentence encoder, ready to run. It may be shared between threads.
pub struct Encoder {
    network: Bert,
    tokenizer: Tokenizer,
    /// The marks put before and after every section.
    marks: (u32, u32),
    options: EncoderOptions,
    precision: Precision,
    version: String,
}

impl Encoder {
    /// Loads a model.
    ///
    /// Errors: [`ModelError::File`] or [`ModelError::Invalid`] naming the file, [`ModelError::Option`].
    pub fn load(files: &EncoderFiles, options: EncoderOptions) -> Result<Self> {
        let options = EncoderOptions {
            level: options.level.available(),
            ..options
        };
        let fast = options.level == Level::Avx512Vnni;
        let otherwise = if fast {
            Precision::Int8
        } else {
            Precision::F32
        };
        let precision = options.precision.unwrap_or(otherwise);
        let network = Bert::load(files, (precision, options.level))?;
        check(&options, network.config.max_position_embeddings)?;
        let path = files.tokenizer.as_path();
        let mut tokenizer =
            Tokenizer::from_file(path).map_err(|error| ModelError::invalid(path, error))?;
        // Sections are cut here, from all of a text's tokens.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| ModelError::invalid(path, error))?;
        let mark = |token: &str| {
            tokenizer
                .token_to_id(token)
                .ok_or_else(|| ModelError::invalid(path, format!("has no token {token}")))
        };
        let marks = (mark("[CLS]")?, mark("[SEP]")?);
        if tokenizer.get_vocab_size(true) > network.config.vocab_size {
            return Err(ModelError::invalid(path, "has more tokens than the model"));
        }
        Ok(Self {
            version: version(files, &options)?,
            network,
            tokenizer,
            marks,
            options,
            precision,
        })
    }

    /// Values in an embedding.
    pub fn width(&self) -> usize {
        self.network.config.hidden_size
    }

    /// How the weights are kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Identity of the model and of the options that change what it reads: 16 hexadecimal digits of a BLAKE3 hash. The
    /// precision, which changes the last digits, is not part of it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// [`Embedding::mean`] of every text, in order.
    ///
    /// Errors: as [`Encoder::read`].
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let read = self.read(texts)?;
        Ok(read.into_iter().map(|embedding| embedding.mean).collect())
    }

    /// Reads every text in full, in order.
    ///
    /// Errors: [`ModelError::TooLarge`] for too many or too long texts, [`ModelError::Tokenizer`].
    pub fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>> {
        let most = |what, value: usize, most: usize| {
            if value > most {
                return Err(ModelError::TooLarge { what, value, most });
            }
            Ok(())
        };
        most("the number of texts", texts.len(), self.options.most_texts)?;
        for text in texts {
            most(
                "a text's length in bytes",
                text.len(),
                self.options.most_bytes,
            )?;
        }
        let (mut distinct, mut seen) = (Vec::new(), HashMap::new());
        let mut parts: Vec<Vec<(usize, usize)>> = Vec::with_capacity(texts.len());
        for tokens in self.tokenize(texts)? {
            let cut = sections(
                &tokens,
                self.marks,
                self.options.window,
                self.options.overlap,
            );
            let mut own = Vec::with_capacity(cut.len());
            for Section { tokens, fresh } in cut {
                // What repeats is read once: padding a text with copies costs its author more than us.
                let index = *seen.entry(tokens).or_insert_with_key(|tokens| {
                    distinct.push(tokens.clone());
                    distinct.len() - 1
                });
                own.push((index, fresh));
            }
            parts.push(own);
        }
        drop(seen);
        let directions = self.directions(&distinct);
        Ok(parts
            .iter()
            .map(|parts| self.merge(parts, &directions))
            .collect())
    }

    /// The direction of every sequence of tokens, in order: `width` values of length 1.
    ///
    /// Sequences are complete, with their marks; ids are below the model's vocabulary and a sequence has 1 to as many
    /// tokens as the model has positions. Errors: [`ModelError::TooLarge`] for one that has more, or a larger id.
    pub fn embed_tokens(&self, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let config = &self.network.config;
        for sequence in sequences {
            let largest = sequence.iter().copied().max().unwrap_or(0) as usize;
            for (what, value, most) in [
                (
                    "a sequence's length",
                    sequence.len(),
                    config.max_position_embeddings,
                ),
                ("a token", largest, config.vocab_size - 1),
            ] {
                if value > most {
                    return Err(ModelError::TooLarge { what, value, most });
                }
            }
        }
        Ok(self.directions(sequences))
    }

    /// All tokens of every text, without marks.
    fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        let chunk = texts.len().div_ceil(self.options.threads).max(1);
        let encode = |texts: &[&str]| -> Result<Vec<Vec<u32>>> {
            texts
                .iter()
                .map(|text| {
                    let encoding = self.tokenizer.encode_fast(*text, false);
                    let encoding =
                        encoding.map_err(|error| ModelError::Tokenizer(error.to_string()))?;
                    Ok(encoding.get_ids().to_vec())
                })
                .collect()
        };
        let done: Vec<Result<Vec<Vec<u32>>>> = std::thread::scope(|scope| {
            let handles: Vec<_> = texts
                .chunks(chunk)
                .map(|texts| scope.spawn(move || encode(texts)))
                .collect();
            handles.into_iter().map(join).collect()
        });
        let mut all = Vec::with_capacity(texts.len());
        for part in done {
            all.extend(part?);
        }
        Ok(all)
    }

    /// Runs the network over `sequences` on the encoder's threads.
    fn directions(&self, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let batches = batches(sequences, self.options.threads);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut workspace = Workspace::default();
            let mut done: Vec<(usize, Vec<f32>)> = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let own: Vec<&[u32]> = batch.iter().map(|&at| sequences[at].as_slice()).collect();
                let embedded = self.network.embed(self.options.level, &own, &mut workspace);
                done.extend(batch.iter().copied().zip(embedded));
            }
            done
        };
        let threads = self.options.threads.min(batches.len());
        let mut all = vec![Vec::new(); sequences.len()];
        let done: Vec<Vec<(usize, Vec<f32>)>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = vec![work()];
            done.extend(others.into_iter().map(join));
            done
        });
        for (at, direction) in done.into_iter().flatten() {
            all[at] = direction;
        }
        all
    }

    fn merge(&self, parts: &[(usize, usize)], directions: &[Vec<f32>]) -> Embedding {
        let mut mean = vec![0.0; self.width()];
        let mut max = vec![f32::NEG_INFINITY; self.width()];
        for &(index, fresh) in parts {
            let weight = fresh.max(1) as f32;
            for ((mean, max), value) in mean.iter_mut().zip(&mut max).zip(&directions[index]) {
                *mean += weight * value;
                *max = max.max(*value);
            }
        }
        match parts {
            // Scaling a direction again would only round it.
            [(only, _)] => mean.copy_from_slice(&directions[*only]),
            _ => normalise(&mut mean),
        }
        Embedding {
            mean,
            max,
            sections: parts.len(),
        }
    }
}

/// The thread's result; a panic there goes on here.
fn join<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn check(options: &EncoderOptions, positions: usize) -> Result<()> {
    let checks = [
        ("threads", options.threads >= 1, "is not at least 1"),
        (
            "window",
            (16..=positions).contains(&options.window),
            "is not 16 to the model's positions",
        ),
        (
            "overlap",
            2 * options.overlap < options.window,
            "is not below half of the window",
        ),
    ];
    match checks.into_iter().find(|(_, holds, _)| !holds) {
        Some((name, _, reason)) => Err(ModelError::Option { name, reason }),
        None => Ok(()),
    }
}

/// Most tokens of one batch: enough rows to use each weight many times, few enough to stay in the cache.
const BATCH_TOKENS: usize = 256;

/// Least tokens worth a batch of their own.
const LEAST_TOKENS: usize = 48;

/// Indices of `sequences` in batches of at most about [`BATCH_TOKENS`] tokens, longest sequences first, and small
/// enough that every thread has one.
fn batches(sequences: &[Vec<u32>], threads: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len())
        .filter(|&at| !sequences[at].is_empty())
        .collect();
    order.sort_by_key(|&at| std::cmp::Reverse(sequences[at].len()));
    let total: usize = sequences.iter().map(Vec::len).sum();
    let most = total.div_ceil(threads).clamp(LEAST_TOKENS, BATCH_TOKENS);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut held = usize::MAX;
    for at in order {
        let length = sequences[at].len();
        match batches.last_mut() {
            Some(batch) if held + length <= most => {
                batch.push(at);
                held += length;
            }
            _ => {
                batches.push(vec![at]);
                held = length;
            }
        }
    }
    batches
}

/// Hash of the files and of the options that decide what is read.
fn version(files: &EncoderFiles, options: &EncoderOptions) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in [&files.config, &files.weights, &files.tokenizer] {
        let bytes = std::fs::read(path).map_err(|error| ModelError::file(path, error))?;
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    let how = format!("{} {}", options.window, options.overlap);
    hasher.update(how.as_bytes());
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
