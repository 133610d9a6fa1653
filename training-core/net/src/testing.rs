//! A tiny real model for tests of everything around the model: a bigram table
//! trained by gradient descent with momentum.

use plumbline_training_core::trainer::{Batch, LocalTrainer, StepReport, TrainerError};

/// Token ids below this.
pub(crate) const VOCABULARY: usize = 16;

/// `logits[previous][next]`, with momentum as the optimiser state.
pub(crate) struct Bigram {
    table: Vec<f32>,
    momentum: Vec<f32>,
    pub(crate) delay: std::time::Duration,
}

impl Bigram {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![0.0; VOCABULARY * VOCABULARY],
            momentum: vec![0.0; VOCABULARY * VOCABULARY],
            delay: std::time::Duration::ZERO,
        }
    }

    fn gradient(&self, batch: &Batch) -> (f32, Vec<f32>) {
        let mut gradient = vec![0.0; self.table.len()];
        let (mut loss, mut count) = (0.0, 0.0);
        for row in batch.tokens.chunks(batch.length + 1) {
            for pair in row.windows(2) {
                let (from, to) = (pair[0] as usize, pair[1] as usize);
                let logits = &self.table[from * VOCABULARY..(from + 1) * VOCABULARY];
                let total: f32 = logits.iter().map(|l| l.exp()).sum();
                for (next, logit) in logits.iter().enumerate() {
                    let probability = logit.exp() / total;
                    let target = f32::from(u8::from(next == to));
                    gradient[from * VOCABULARY + next] += probability - target;
                }
                loss += total.ln() - logits[to];
                count += 1.0;
            }
        }
        gradient.iter_mut().for_each(|value| *value /= count);
        (loss / count, gradient)
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
        self.table = flat.to_vec();
        Ok(())
    }

    fn step(&mut self, batch: &Batch, lr: f32) -> Result<StepReport, TrainerError> {
        let (loss, gradient) = self.gradient(batch);
        for ((value, momentum), slope) in
            self.table.iter_mut().zip(&mut self.momentum).zip(&gradient)
        {
            *momentum = 0.5 * *momentum + slope;
            *value -= lr * *momentum;
        }
        // Real work takes CPU time; spinning does, sleeping does not.
        let begun = std::time::Instant::now();
        while begun.elapsed() < self.delay {
            std::hint::spin_loop();
        }
        Ok(StepReport {
            loss,
            tokens: batch.predicted_tokens(),
            gradient_norm: 0.0,
        })
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<f32, TrainerError> {
        Ok(self.gradient(batch).0)
    }

    fn optimizer_state(&self) -> Result<Vec<u8>, TrainerError> {
        Ok(self.momentum.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn restore_optimizer(&mut self, state: &[u8]) -> Result<(), TrainerError> {
        self.momentum = state
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        Ok(())
    }
}

/// Text whose next token depends on the previous one: `k` is followed by
/// `3k + 1` or, one time in four, by `k`.
pub(crate) struct Cycle;

impl crate::corpus::SequenceSource for Cycle {
    fn batch(&self, start: u64, count: usize, length: usize) -> Batch {
        let mut tokens = Vec::new();
        for index in start..start + count as u64 {
            let mut draw =
                plumbline_training_core::draw::Draw::new("test", &[&index.to_le_bytes()]);
            let mut token = draw.below(VOCABULARY as u64);
            for _ in 0..=length {
                tokens.push(token as u32);
                if draw.below(4) != 0 {
                    token = (3 * token + 1) % VOCABULARY as u64;
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
