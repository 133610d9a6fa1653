//! The test-bed's tiny model, with steps that take time.

use plumbline_training_core::testbed::toy;
pub(crate) use plumbline_training_core::testbed::toy::{Cycle, VOCABULARY};
use plumbline_training_core::trainer::{Batch, LocalTrainer, StepReport, TrainerError};

/// A bigram table whose steps take at least `delay` of CPU time.
#[derive(Default)]
pub(crate) struct Bigram {
    model: toy::Bigram,
    pub(crate) delay: std::time::Duration,
}

impl Bigram {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl LocalTrainer for Bigram {
    fn parameter_count(&self) -> usize {
        self.model.parameter_count()
    }

    fn parameters(&self) -> Result<Vec<f32>, TrainerError> {
        self.model.parameters()
    }

    fn set_parameters(&mut self, flat: &[f32]) -> Result<(), TrainerError> {
        self.model.set_parameters(flat)
    }

    fn step(&mut self, batch: &Batch, lr: f32) -> Result<StepReport, TrainerError> {
        let report = self.model.step(batch, lr);
        // Real work takes CPU time; spinning does, sleeping does not.
        let begun = std::time::Instant::now();
        while begun.elapsed() < self.delay {
            std::hint::spin_loop();
        }
        report
    }

    fn gradient(&mut self, batch: &Batch) -> Result<(StepReport, Vec<f32>), TrainerError> {
        self.model.gradient(batch)
    }

    fn apply(&mut self, gradient: &[f32], lr: f32) -> Result<(), TrainerError> {
        self.model.apply(gradient, lr)
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        self.model.shapes()
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<f32, TrainerError> {
        self.model.evaluate(batch)
    }

    fn optimizer_state(&self) -> Result<Vec<u8>, TrainerError> {
        self.model.optimizer_state()
    }

    fn restore_optimizer(&mut self, state: &[u8]) -> Result<(), TrainerError> {
        self.model.restore_optimizer(state)
    }

    fn reset_optimizer(&mut self) -> Result<(), TrainerError> {
        self.model.reset_optimizer()
    }
}
