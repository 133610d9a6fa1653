//! The decoder as a classifier: one verdict on a whole text.
//!
//! A text's verdict is `z = v·h`, the inner product of a vector with the mean of the text's normed states. `v` is the
//! embedding of the tokenizer's separator, which no text contains: the layout, its optimiser and its checkpoints are the
//! language model's own, without another head. The objective is logistic, `Σ w·[softplus(z) − y·z] / Σ w`.

use plumbline_training_core::trainer::{Batch, StepReport};

use crate::adamw::Update;
use crate::config::{AdamW, ModelConfig};
use crate::decoder::{Decoder, MICRO_BATCH_TOKENS, Share, Workspace};
use crate::error::{ModelError, Result};
use crate::init;
use crate::ops::lanes::{add_scaled, dot};

/// A text with what reviewers found.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledText {
    /// Token ids, 1 to the model's `sequence` of them.
    pub tokens: Vec<u32>,
    /// Share of reviewers who found the claim true, 0..=1.
    pub label: f32,
    /// How much it counts; ≥ 0.
    pub weight: f32,
}

/// Texts laid side by side, padded to one length.
struct Rows<'a> {
    batch: Batch,
    texts: Vec<&'a LabelledText>,
}

/// A decoder that learns to give verdicts, with AdamW. What a step computes depends on parameters and texts alone.
#[derive(Debug)]
pub struct VerdictTrainer {
    decoder: Decoder,
    hyper: AdamW,
    verdict: usize,
    parameters: Vec<f32>,
    moments: [Vec<f32>; 2],
    gradient: Vec<f32>,
    space: Workspace,
    steps: u64,
}

impl VerdictTrainer {
    /// A fresh model, its weights drawn from `seed`; `verdict` is the token whose embedding is the verdict's vector.
    ///
    /// # Errors
    /// [`ModelError::Config`] when a setting is out of its domain.
    pub fn new(config: ModelConfig, hyper: AdamW, verdict: u32, seed: u64) -> Result<Self> {
        config.validate()?;
        hyper.validate()?;
        let verdict = verdict_row(&config, verdict)?;
        let decoder = Decoder::new(config);
        let parameters = init::parameters(&decoder.config, &decoder.layout, seed);
        let n = parameters.len();
        Ok(Self {
            decoder,
            hyper,
            verdict,
            parameters,
            moments: [vec![0.0; n], vec![0.0; n]],
            gradient: vec![0.0; n],
            space: Workspace::default(),
            steps: 0,
        })
    }

    /// The parameters in canonical order.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// One forward, backward and AdamW update at learning rate `lr`. The report's loss is in nats per text.
    ///
    /// # Errors
    /// [`ModelError::Batch`] for no text, or one that the model cannot read; [`ModelError::Diverged`].
    pub fn step(&mut self, texts: &[LabelledText], lr: f32) -> Result<StepReport> {
        for text in texts {
            check(&self.decoder.config, &text.tokens)?;
        }
        let loss = self.gradient(texts)?;
        let squares: f64 = self.gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
        let norm = squares.sqrt();
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(ModelError::Diverged(format!(
                "loss {loss}, gradient norm {norm} after {} steps",
                self.steps
            )));
        }
        let update = Update::new(&self.hyper, self.steps + 1, lr, norm);
        let [m, v] = &mut self.moments;
        let layout = &self.decoder.layout;
        update.apply_all(layout, &mut self.parameters, m, v, &self.gradient);
        self.steps += 1;
        Ok(StepReport {
            loss: loss as f32,
            tokens: texts.iter().map(|text| text.tokens.len() as u64).sum(),
            gradient_norm: norm as f32,
        })
    }

    /// Mean loss of the texts in nats; leaves its gradient in `self.gradient`.
    fn gradient(&mut self, texts: &[LabelledText]) -> Result<f64> {
        let total: f32 = texts.iter().map(|text| text.weight).sum();
        if !(total.is_finite() && total > 0.0) {
            return Err(ModelError::Batch("its texts weigh nothing".into()));
        }
        self.decoder.clear_sums(&mut self.gradient);
        let mut sum = 0.0;
        for (i, rows) in rows(texts.iter().collect()).iter().enumerate() {
            sum += self.add_rows(rows, 1.0 / total, i > 0);
        }
        Ok(sum)
    }

    /// Adds one micro-batch to the gradient; returns its part of the loss.
    fn add_rows(&mut self, rows: &Rows<'_>, scale: f32, accumulate: bool) -> f64 {
        let (flat, space) = (&self.parameters, &mut self.space);
        let (d, length) = (self.decoder.config.width, rows.batch.length);
        let share = rows.share();
        self.decoder.reserve(&share, space);
        let sizes = self.decoder.forward(flat, &share, space);
        let t = sizes.tokens();
        let vector = &flat[self.verdict..self.verdict + d];
        let mut sum = 0.0;
        space.dnormed[..t * d].fill(0.0);
        for (i, text) in rows.texts.iter().enumerate() {
            let (count, start) = (text.tokens.len(), i * length * d);
            let pooled = mean_rows(&space.normed[start..start + count * d], d);
            let z = dot(vector, &pooled);
            let weight = scale * text.weight;
            sum += f64::from(weight) * f64::from(softplus(z) - text.label * z);
            let dz = weight * (1.0 / (1.0 + (-z).exp()) - text.label);
            let dvector = &mut self.gradient[self.verdict..self.verdict + d];
            add_scaled(dvector, dz, &pooled);
            for row in space.dnormed[start..start + count * d].chunks_exact_mut(d) {
                add_scaled(row, dz / count as f32, vector);
            }
        }
        self.decoder
            .final_norm_backward(flat, t, &mut self.gradient, space);
        self.decoder
            .backward(flat, &share, &sizes, accumulate, &mut self.gradient, space);
        sum
    }
}

/// A decoder that gives verdicts. It may be shared between threads.
#[derive(Debug)]
pub struct VerdictModel {
    decoder: Decoder,
    parameters: Vec<f32>,
    verdict: usize,
}

impl VerdictModel {
    /// The model of these parameters; `verdict` as in [`VerdictTrainer::new`].
    ///
    /// # Errors
    /// [`ModelError::Config`], [`ModelError::ParameterCount`].
    pub fn new(config: ModelConfig, parameters: Vec<f32>, verdict: u32) -> Result<Self> {
        config.validate()?;
        let verdict = verdict_row(&config, verdict)?;
        let decoder = Decoder::new(config);
        let (got, want) = (parameters.len(), decoder.layout.parameter_count());
        if got != want {
            return Err(ModelError::ParameterCount { got, want });
        }
        Ok(Self {
            decoder,
            parameters,
            verdict,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    /// For each text, the mean of its states and its verdict `z` in nats.
    ///
    /// # Errors
    /// [`ModelError::Batch`] for a text that the model cannot read.
    pub fn read(&self, texts: &[Vec<u32>]) -> Result<Vec<(Vec<f32>, f32)>> {
        let labelled = texts
            .iter()
            .map(|tokens| {
                check(&self.decoder.config, tokens)?;
                Ok(LabelledText {
                    tokens: tokens.clone(),
                    label: 0.0,
                    weight: 1.0,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut space = Workspace::default();
        let d = self.decoder.config.width;
        let vector = &self.parameters[self.verdict..self.verdict + d];
        let mut read = vec![(Vec::new(), 0.0); texts.len()];
        // One text at a time, so that what it is read as does not depend on its neighbours.
        for (slot, text) in read.iter_mut().zip(&labelled) {
            let rows = Rows::new(vec![text]);
            let share = rows.share();
            self.decoder.reserve(&share, &mut space);
            self.decoder.forward(&self.parameters, &share, &mut space);
            let pooled = mean_rows(&space.normed[..text.tokens.len() * d], d);
            let z = dot(vector, &pooled);
            *slot = (pooled, z);
        }
        Ok(read)
    }
}

impl<'a> Rows<'a> {
    fn new(texts: Vec<&'a LabelledText>) -> Self {
        let length = texts
            .iter()
            .map(|text| text.tokens.len())
            .max()
            .unwrap_or(1);
        let mut tokens = Vec::with_capacity(texts.len() * (length + 1));
        for text in &texts {
            tokens.extend(&text.tokens);
            // Later positions are never looked at by earlier ones, nor counted in the mean.
            tokens.extend(std::iter::repeat_n(0, length + 1 - text.tokens.len()));
        }
        let batch = Batch {
            sequences: texts.len(),
            length,
            tokens,
        };
        Self { batch, texts }
    }

    fn share(&self) -> Share<'_> {
        Share {
            batch: &self.batch,
            first: 0,
            last: self.batch.sequences,
        }
    }
}

/// Texts of like length together, at most about [`MICRO_BATCH_TOKENS`] tokens with their padding.
fn rows(mut texts: Vec<&LabelledText>) -> Vec<Rows<'_>> {
    texts.sort_by_key(|text| text.tokens.len());
    let mut all = Vec::new();
    let mut held: Vec<&LabelledText> = Vec::new();
    for text in texts {
        if !held.is_empty() && (held.len() + 1) * text.tokens.len() > MICRO_BATCH_TOKENS {
            all.push(Rows::new(std::mem::take(&mut held)));
        }
        held.push(text);
    }
    if !held.is_empty() {
        all.push(Rows::new(held));
    }
    all
}

/// Where the verdict's vector begins in the parameters: the embedding comes first.
fn verdict_row(config: &ModelConfig, verdict: u32) -> Result<usize> {
    let row = verdict as usize;
    if row >= config.vocabulary {
        return Err(ModelError::Config(format!(
            "token {verdict} of the verdict is outside the vocabulary of {}",
            config.vocabulary
        )));
    }
    Ok(row * config.width)
}

fn check(config: &ModelConfig, tokens: &[u32]) -> Result<()> {
    if tokens.is_empty() || tokens.len() > config.sequence {
        return Err(ModelError::Batch(format!(
            "a text of {} tokens is not 1 to {}",
            tokens.len(),
            config.sequence
        )));
    }
    match tokens.iter().find(|id| **id as usize >= config.vocabulary) {
        Some(id) => Err(ModelError::Batch(format!(
            "token {id} is outside the vocabulary of {}",
            config.vocabulary
        ))),
        None => Ok(()),
    }
}

fn mean_rows(rows: &[f32], d: usize) -> Vec<f32> {
    let mut mean = vec![0.0; d];
    let count = (rows.len() / d).max(1) as f32;
    for row in rows.chunks_exact(d) {
        add_scaled(&mut mean, 1.0 / count, row);
    }
    mean
}

fn softplus(z: f32) -> f32 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ops::check::assert_gradient;

    fn config() -> ModelConfig {
        ModelConfig {
            vocabulary: 19,
            width: 8,
            layers: 2,
            heads: 2,
            hidden: 12,
            sequence: 12,
            tied_head: true,
            ..ModelConfig::default()
        }
    }

    fn texts() -> Vec<LabelledText> {
        (0..9_u32)
            .map(|i| LabelledText {
                tokens: (0..1 + i % 7).map(|k| 1 + (i * 5 + k * 3) % 18).collect(),
                label: (i % 3) as f32 / 2.0,
                weight: 1.0 + (i % 2) as f32,
            })
            .collect()
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        let mut trainer = VerdictTrainer::new(config(), AdamW::default(), 0, 3).unwrap();
        for (i, value) in trainer.parameters.iter_mut().enumerate() {
            *value += 0.1 * ((i * 37 % 101) as f32 / 50.0 - 1.0);
        }
        let texts = texts();
        trainer.gradient(&texts).unwrap();
        let (start, gradient) = (trainer.parameters.clone(), trainer.gradient.clone());
        assert_gradient("parameters", &start, &gradient, 2e-3, 5e-3, |flat| {
            trainer.parameters.copy_from_slice(flat);
            trainer.gradient(&texts).unwrap()
        });
    }

    #[test]
    fn it_learns_which_token_matters_and_reads_texts_alone() {
        let config = config();
        let hyper = AdamW::default();
        let mut trainer = VerdictTrainer::new(config.clone(), hyper, 0, 5).unwrap();
        let texts: Vec<LabelledText> = (0..64_u32)
            .map(|i| {
                let label = (i % 2) as f32;
                let mut tokens: Vec<u32> =
                    (0..4 + i % 5).map(|k| 3 + (i * 7 + k * 5) % 16).collect();
                tokens.insert((i % 4) as usize, if label > 0.5 { 1 } else { 2 });
                LabelledText {
                    tokens,
                    label,
                    weight: 1.0,
                }
            })
            .collect();
        let first = trainer.step(&texts, 0.01).unwrap().loss;
        let mut last = first;
        for _ in 0..60 {
            last = trainer.step(&texts, 0.01).unwrap().loss;
        }
        assert!(first > 0.6 && last < 0.1, "{first} {last}");
        let model = VerdictModel::new(config, trainer.parameters().to_vec(), 0).unwrap();
        let read = |texts: &[LabelledText]| {
            let tokens: Vec<Vec<u32>> = texts.iter().map(|text| text.tokens.clone()).collect();
            model.read(&tokens).unwrap()
        };
        let all = read(&texts);
        for (text, (_, z)) in texts.iter().zip(&all) {
            assert_eq!(*z > 0.0, text.label > 0.5);
        }
        assert_eq!(read(&texts[7..8]), all[7..8]);
    }

    #[test]
    fn what_it_cannot_read_is_refused() {
        let mut trainer = VerdictTrainer::new(config(), AdamW::default(), 0, 1).unwrap();
        let text = |tokens| LabelledText {
            tokens,
            label: 1.0,
            weight: 1.0,
        };
        for tokens in [vec![], vec![19], vec![1; 13]] {
            assert!(trainer.step(&[text(tokens)], 0.1).is_err());
        }
        assert!(trainer.step(&[], 0.1).is_err());
        assert!(VerdictTrainer::new(config(), AdamW::default(), 19, 1).is_err());
        assert!(VerdictModel::new(config(), vec![0.0; 3], 0).is_err());
    }
}
