//! Teaching the decoder: every family of claims as often, texts in random parts, a few words left out each time.

use std::collections::BTreeMap;

use plumbline_oracle::{Row, claim::family_of, rows::fold_of};
use plumbline_training_model::{
    AdamW, Checkpoint, LabelledText, ModelConfig, Tokenizer, VerdictTrainer,
};

use super::sections;
use crate::error::{ModelError, Result};

/// How the decoder is taught.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnOptions {
    /// Shape of the model; its vocabulary is an upper bound.
    pub model: ModelConfig,
    /// Passes over the cases.
    pub epochs: usize,
    /// Most cases of one family in a pass; others have their turn in the next.
    pub family_cases: usize,
    /// Cases of one step.
    pub batch: usize,
    /// Largest learning rate; it rises over the first twentieth of the steps and falls along a cosine.
    pub rate: f32,
    /// Share of tokens left out of a text, another draw in each pass.
    pub left_out: f64,
    /// Decay of matrices.
    pub decay: f32,
    /// Seed of the weights, of the order and of what is left out.
    pub seed: u64,
}

impl Default for LearnOptions {
    fn default() -> Self {
        Self {
            model: ModelConfig {
                vocabulary: 4096,
                width: 96,
                layers: 2,
                heads: 4,
                hidden: 256,
                sequence: 160,
                tied_head: true,
                ..ModelConfig::default()
            },
            epochs: 6,
            family_cases: 3_000,
            batch: 48,
            rate: 3e-3,
            left_out: 0.1,
            decay: 0.1,
            seed: 1,
        }
    }
}

/// Teaches a decoder verdicts on labelled cases. `progress` is told the share of steps done and the loss of late.
///
/// Errors: [`ModelError::Trained`] for settings out of their domain or a diverging run.
pub fn learn(
    rows: &[&Row],
    options: &LearnOptions,
    progress: &mut dyn FnMut(f64, f32),
) -> Result<Checkpoint> {
    let tokenizer = vocabulary(rows, options.model.vocabulary)?;
    let config = ModelConfig {
        vocabulary: tokenizer.vocabulary(),
        ..options.model.clone()
    };
    let hyper = AdamW {
        weight_decay: options.decay,
        ..AdamW::default()
    };
    let verdict = tokenizer.separator();
    let mut trainer = VerdictTrainer::new(config.clone(), hyper, verdict, options.seed)?;
    let texts: Vec<Vec<Vec<u32>>> = rows
        .iter()
        .map(|row| {
            let parts = sections(&tokenizer, &row.passage(), config.sequence);
            parts.into_iter().map(|(tokens, _)| tokens).collect()
        })
        .collect();
    let mut draw = Draw(options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let passes: Vec<Vec<usize>> = (0..options.epochs)
        .map(|epoch| pass(rows, epoch, options, &mut draw))
        .collect();
    let steps: usize = passes.iter().map(|p| p.len().div_ceil(options.batch)).sum();
    let (mut step, mut recent) = (0, 0.7);
    for order in &passes {
        for batch in order.chunks(options.batch) {
            let batch: Vec<LabelledText> = batch
                .iter()
                .map(|i| labelled(rows[*i], &texts[*i], options.left_out, &mut draw))
                .collect();
            let loss = trainer.step(&batch, rate(options.rate, step, steps))?.loss;
            recent += 0.02 * (loss - recent);
            step += 1;
            progress(step as f64 / steps as f64, recent);
        }
    }
    Ok(Checkpoint {
        config,
        parameters: trainer.parameters().to_vec(),
        progress: serde_json::json!({"cases": rows.len(), "steps": steps, "seed": options.seed}),
        tokenizer,
        sections: BTreeMap::new(),
    })
}

/// A tokenizer of the cases' own words.
fn vocabulary(rows: &[&Row], size: usize) -> Result<Tokenizer> {
    let texts: Vec<String> = rows
        .iter()
        .flat_map(|row| {
            [
                row.prompt.clone(),
                row.response.clone(),
                row.claim_type.clone(),
            ]
        })
        .collect();
    Tokenizer::train(texts.into_iter(), size).map_err(ModelError::from)
}

/// The cases of one pass in their order: at most so many of a family, which are other ones in the next pass.
fn pass(rows: &[&Row], epoch: usize, options: &LearnOptions, draw: &mut Draw) -> Vec<usize> {
    let mut families: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let members = families.entry(family_of(&row.claim_type)).or_default();
        members.push(at);
    }
    let mut order = Vec::new();
    for members in families.values_mut() {
        members.sort_by_cached_key(|at| fold_of(&rows[*at].id, options.seed, usize::MAX));
        let (n, most) = (members.len(), options.family_cases.min(members.len()));
        order.extend((0..most).map(|k| members[(epoch * most + k) % n]));
    }
    for i in (1..order.len()).rev() {
        order.swap(i, draw.below(i + 1));
    }
    order
}

/// One of the text's sections, with some tokens left out; never all of them.
fn labelled(row: &Row, sections: &[Vec<u32>], left_out: f64, draw: &mut Draw) -> LabelledText {
    let section = &sections[draw.below(sections.len())];
    let mut tokens: Vec<u32> = section
        .iter()
        .filter(|_| draw.unit() >= left_out)
        .copied()
        .collect();
    if tokens.is_empty() {
        tokens.clone_from(section);
    }
    LabelledText {
        tokens,
        label: row.label as f32,
        weight: 1.0,
    }
}

/// Linear warm-up over a twentieth of the steps, then a cosine to a hundredth.
fn rate(largest: f32, step: usize, steps: usize) -> f32 {
    let warm = (steps / 20).max(1);
    if step < warm {
        return largest * (step + 1) as f32 / warm as f32;
    }
    let done = (step - warm) as f32 / (steps - warm).max(1) as f32;
    largest * (0.01 + 0.99 * 0.5 * (1.0 + (std::f32::consts::PI * done).cos()))
}

/// A xorshift generator: the draws are the seed's.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
