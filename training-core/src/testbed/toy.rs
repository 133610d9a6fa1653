//! A tiny real model with tiny real data, for everything around the model.

use crate::draw::Draw;
use crate::trainer::{Batch, LocalTrainer, SequenceSource, StepReport, TrainerError};

/// Token ids below this.
pub const VOCABULARY: usize = 16;

/// A bigram table, `logits[previous][next]`, trained by gradient descent with
/// momentum as the optimiser's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Bigram {
    table: Vec<f32>,
    momentum: Vec<f32>,
}

impl Default for Bigram {
    fn default() -> Self {
        Self {
            table: vec![0.0; VOCABULARY * VOCABULARY],
            momentum: vec![0.0; VOCABULARY * VOCABULARY],
        }
    }
}

impl Bigram {
    fn slope(&self, batch: &Batch) -> (f32, Vec<f32>) {
        let mut gradient = vec![0.0; self.table.len()];
        let (mut loss, mut count) = (0.0, 0.0);
        for row in batch.tokens.chunks(batch.length + 1) {
            for pair in row.windows(2) {
                let (from, to) = (pair[0] as usize, pair[1] as usize);
                let logits = &self.table[from * VOCABULARY..(from + 1) * VOCABULARY];
                let top = logits.iter().copied().fold(f32::MIN, f32::max);
                let total: f32 = logits.iter().map(|l| (l - top).exp()).sum();
                for (next, logit) in logits.iter().enumerate() {
                    let probability = (logit - top).exp() / total;
                    let target = f32::from(u8::from(next == to));
                    gradient[from * VOCABULARY + next] += probability - target;
                }
                loss += total.ln() - (logits[to] - top);
                count += 1.0;
            }
        }
        gradient.iter_mut().for_each(|value| *value /= count);
        (loss / count, gradient)
    }

    fn report(batch: &Batch, loss: f32, gradient: &[f32]) -> StepReport {
        StepReport {
            loss,
            tokens: batch.predicted_tokens(),
            gradient_norm: crate::outer::norm(gradient) as f32,
        }
    }
}

fn check(got: usize) -> Result<(), TrainerError> {
    let want = VOCABULARY * VOCABULARY;
    if got == want {
        Ok(())
    } else {
        Err(TrainerError::ParameterCount { got, want })
    }
}

impl LocalTrainer for Bigram {
    fn parameter_count(&self) -> usize {
        self.table.len()
    }

    fn parameters(&self) -> Result<Vec<f32>, TrainerError> {
        Ok(self.table.clone())
    }

    fn set_parameters(&mut self, flat: &[f32]) -> Result<(), TrainerError> {
        check(flat.len())?;
        self.table = flat.to_vec();
        Ok(())
    }

    fn step(&mut self, batch: &Batch, lr: f32) -> Result<StepReport, TrainerError> {
        let (report, gradient) = LocalTrainer::gradient(self, batch)?;
        self.apply(&gradient, lr)?;
        Ok(report)
    }

    fn gradient(&mut self, batch: &Batch) -> Result<(StepReport, Vec<f32>), TrainerError> {
        let (loss, gradient) = self.slope(batch);
        Ok((Self::report(batch, loss, &gradient), gradient))
    }

    fn apply(&mut self, gradient: &[f32], lr: f32) -> Result<(), TrainerError> {
        check(gradient.len())?;
        let state = self.table.iter_mut().zip(&mut self.momentum);
        for ((value, momentum), slope) in state.zip(gradient) {
            *momentum = 0.5 * *momentum + slope;
            *value -= lr * *momentum;
        }
        Ok(())
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        vec![[VOCABULARY, VOCABULARY]]
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<f32, TrainerError> {
        Ok(self.slope(batch).0)
    }

    fn optimizer_state(&self) -> Result<Vec<u8>, TrainerError> {
        Ok(self.momentum.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn restore_optimizer(&mut self, state: &[u8]) -> Result<(), TrainerError> {
        check(state.len() / 4)?;
        self.momentum = state
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        Ok(())
    }

    fn reset_optimizer(&mut self) -> Result<(), TrainerError> {
        self.momentum.fill(0.0);
        Ok(())
    }
}

/// Text whose next token depends on the previous one: `k` is followed by
/// `3k + 2` or, one time in four, by `k`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cycle;

impl SequenceSource for Cycle {
    fn batch(&self, start: u64, count: usize, length: usize) -> Batch {
        let mut tokens = Vec::with_capacity(count * (length + 1));
        for index in (0..count as u64).map(|row| start.wrapping_add(row)) {
            let mut draw = Draw::new("test", &[&index.to_le_bytes()]);
            let mut token = draw.below(VOCABULARY as u64);
            for _ in 0..=length {
                tokens.push(token as u32);
                if draw.below(4) != 0 {
                    token = (3 * token + 2) % VOCABULARY as u64;
                }
            }
        }
        Batch {
            sequences: count,
            length,
            tokens,
        }
    }
}
