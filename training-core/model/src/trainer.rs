//! The [`LocalTrainer`] over this crate's decoder.

use candle_core::{DType, Device, Tensor};
use plumbline_training_core::trainer::{Batch, LocalTrainer, StepReport, TrainerError};

use crate::adamw::{self, Update, UpdateOp};
use crate::config::{AdamW, ModelConfig};
use crate::decoder::Decoder;
use crate::device::{DeviceName, Products};
use crate::engine::{Engine, GradientOp, GradientReport};
use crate::error::{ModelError, Result};
use crate::graph::Graph;
use crate::init;
use crate::layout::Layout;
use crate::mixed::Mixed;
use crate::profile::{Part, Profile};

/// How gradients are computed.
#[derive(Debug)]
enum Compute {
    /// Hand-written kernels, CPU only.
    Fused(Box<Engine>),
    /// Mixed precision by tensor operations, any device.
    Mixed(Box<Mixed>),
    /// Plain candle graph, any device.
    Graph(Box<Graph>),
}

/// [`Compute`] by name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Means {
    /// Hand-written kernels, CPU only.
    Fused,
    /// Tensor operations whose products are of this type.
    Mixed(DType),
    /// Plain candle graph.
    Graph,
}

/// One replica of the decoder with AdamW.
///
/// A step uses the rayon pool that it is called in: run it inside
/// `pool.install` to bound its threads. Its results do not depend on how many
/// there are.
#[derive(Debug)]
pub struct Trainer {
    config: ModelConfig,
    hyper: AdamW,
    layout: Layout,
    /// `3 × n`: parameters, first moment, second moment.
    state: Tensor,
    gradient: Tensor,
    compute: Compute,
    steps: u64,
}

impl Trainer {
    /// A fresh model on the CPU, its weights drawn from `seed`.
    ///
    /// # Errors
    /// [`ModelError::Config`] when a setting is out of its domain.
    pub fn new(config: ModelConfig, hyper: AdamW, seed: u64) -> Result<Self> {
        Self::by(Means::Fused, config, hyper, seed, &Device::Cpu)
    }

    /// Like [`Trainer::new`] on the device of that name: fused kernels on the CPU, tensor operations with `products` on a
    /// GPU. Both draw the same weights; what they train differs by rounding.
    ///
    /// # Errors
    /// [`ModelError::Config`]; [`ModelError::NoCuda`] and [`ModelError::NoDevice`] where there is no such device;
    /// [`ModelError::Backend`] from it.
    pub fn on(
        config: ModelConfig,
        hyper: AdamW,
        seed: u64,
        (device, products): (DeviceName, Products),
    ) -> Result<Self> {
        let means = match device {
            DeviceName::Cpu => Means::Fused,
            DeviceName::Cuda(_) => Means::Mixed(products.dtype()),
        };
        Self::by(means, config, hyper, seed, &device.open()?)
    }

    /// The same model without fused kernels: the yardstick for tests and benchmarks.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn unfused(config: ModelConfig, hyper: AdamW, seed: u64) -> Result<Self> {
        Self::by(Means::Graph, config, hyper, seed, &Device::Cpu)
    }

    /// The model by `means`, which must be able to use `device`.
    pub(crate) fn by(
        means: Means,
        config: ModelConfig,
        hyper: AdamW,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        hyper.validate()?;
        let decoder = Decoder::new(config.clone());
        let layout = decoder.layout.clone();
        let n = layout.parameter_count();
        let mut state = init::parameters(&config, &layout, seed);
        state.resize(3 * n, 0.0);
        let compute = match means {
            Means::Fused => Compute::Fused(Box::new(Engine::new(decoder))),
            Means::Mixed(work) => {
                let (config, layout) = (config.clone(), layout.clone());
                Compute::Mixed(Box::new(Mixed::new(config, layout, work, device)?))
            }
            Means::Graph => Compute::Graph(Box::new(Graph::new(decoder, device)?)),
        };
        Ok(Self {
            state: Tensor::from_vec(state, (3, n), device)?,
            gradient: Tensor::from_vec(vec![0f32; n], n, device)?,
            compute,
            config,
            hyper,
            layout,
            steps: 0,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Updates done so far, including those of a restored optimiser state.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Time spent so far per part, summed over threads; all zero without fused kernels.
    pub fn profile(&self) -> Profile {
        match &self.compute {
            Compute::Fused(engine) => engine.profile(),
            Compute::Mixed(_) | Compute::Graph(_) => Profile::default(),
        }
    }

    /// Loss and gradient of `batch` in canonical order, without an update.
    ///
    /// # Errors
    /// [`ModelError::Batch`] or [`ModelError::Backend`].
    pub fn gradient(&mut self, batch: &Batch) -> Result<(f32, Vec<f32>)> {
        let report = self.compute_gradient(batch)?;
        Ok((report.loss as f32, self.gradient.to_vec1()?))
    }

    fn compute_gradient(&mut self, batch: &Batch) -> Result<GradientReport> {
        check_batch(&self.config, batch)?;
        let parameters = self.state.get(0)?;
        match &mut self.compute {
            Compute::Fused(engine) => {
                let op = GradientOp::new(engine, batch);
                self.gradient.inplace_op2(&parameters, &op)?;
                Ok(op.report())
            }
            Compute::Mixed(mixed) => Ok(mixed.gradient(&parameters, batch, &self.gradient)?),
            Compute::Graph(graph) => Ok(graph.gradient(&parameters, batch, &self.gradient)?),
        }
    }

    fn update(&mut self, update: Update) -> Result<()> {
        let op = UpdateOp {
            layout: &self.layout,
            update,
        };
        let (state, gradient) = (&self.state, &self.gradient);
        match &mut self.compute {
            Compute::Fused(engine) => engine
                .profile_mut()
                .time(Part::AdamW, || state.inplace_op2(gradient, &op))?,
            Compute::Mixed(mixed) => update.apply_by_operations(state, gradient, &mixed.decayed)?,
            Compute::Graph(graph) => update.apply_by_operations(state, gradient, &graph.decayed)?,
        }
        Ok(())
    }

    fn try_step(&mut self, batch: &Batch, lr: f32) -> Result<StepReport> {
        if !(lr.is_finite() && lr >= 0.0) {
            return Err(ModelError::Config(format!("learning rate {lr}")));
        }
        let report = self.compute_gradient(batch)?;
        if !(report.loss.is_finite() && report.norm.is_finite()) {
            return Err(ModelError::Diverged(format!(
                "loss {}, gradient norm {} after {} steps",
                report.loss, report.norm, self.steps
            )));
        }
        self.update(Update::new(&self.hyper, self.steps + 1, lr, report.norm))?;
        self.steps += 1;
        Ok(StepReport {
            loss: report.loss as f32,
            tokens: batch.predicted_tokens(),
            gradient_norm: report.norm as f32,
        })
    }

    fn try_apply(&mut self, gradient: &[f32], lr: f32) -> Result<()> {
        let (got, want) = (gradient.len(), self.layout.parameter_count());
        if got != want {
            return Err(ModelError::ParameterCount { got, want });
        }
        let square: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
        if !(square.is_finite() && lr.is_finite() && lr >= 0.0) {
            return Err(ModelError::Diverged(format!(
                "gradient of norm {} at learning rate {lr}",
                square.sqrt()
            )));
        }
        let given = Tensor::from_slice(gradient, want, self.state.device())?;
        self.gradient.slice_set(&given, 0, 0)?;
        self.update(Update::new(&self.hyper, self.steps + 1, lr, square.sqrt()))?;
        self.steps += 1;
        Ok(())
    }

    fn try_reset(&mut self) -> Result<()> {
        let want = self.layout.parameter_count();
        let rest = Tensor::zeros((2, want), candle_core::DType::F32, self.state.device())?;
        self.state.slice_set(&rest, 0, 1)?;
        self.steps = 0;
        Ok(())
    }

    fn try_evaluate(&mut self, batch: &Batch) -> Result<f32> {
        check_batch(&self.config, batch)?;
        let parameters = self.state.get(0)?;
        match &self.compute {
            Compute::Fused(engine) => {
                let (storage, layout) = parameters.storage_and_layout();
                let candle_core::Storage::Cpu(storage) = &*storage else {
                    return Err(ModelError::Backend(candle_core::Error::Msg(
                        "fused kernels run on the CPU".into(),
                    )));
                };
                Ok(engine.loss(crate::engine::values(storage, layout)?, batch) as f32)
            }
            Compute::Mixed(mixed) => Ok(mixed.loss(&parameters, batch)?),
            Compute::Graph(graph) => Ok(graph.loss(&parameters, batch)?.to_scalar()?),
        }
    }

    fn try_set_parameters(&mut self, flat: &[f32]) -> Result<()> {
        let want = self.layout.parameter_count();
        if flat.len() != want {
            let got = flat.len();
            return Err(ModelError::ParameterCount { got, want });
        }
        let row = Tensor::from_slice(flat, (1, want), self.state.device())?;
        Ok(self.state.slice_set(&row, 0, 0)?)
    }
}

/// Refuses what the kernels could not index.
fn check_batch(config: &ModelConfig, batch: &Batch) -> Result<()> {
    let refuse = |reason: String| Err(ModelError::Batch(reason));
    if batch.sequences == 0 || batch.length == 0 {
        return refuse("it is empty".into());
    }
    if batch.length > config.sequence {
        return refuse(format!(
            "{} positions exceed the model's {}",
            batch.length, config.sequence
        ));
    }
    let want = batch.sequences.checked_mul(batch.length + 1);
    if want != Some(batch.tokens.len()) {
        return refuse(format!(
            "{} tokens for {} rows of {} + 1",
            batch.tokens.len(),
            batch.sequences,
            batch.length
        ));
    }
    match batch
        .tokens
        .iter()
        .find(|id| **id as usize >= config.vocabulary)
    {
        Some(id) => refuse(format!(
            "token {id} is outside the vocabulary of {}",
            config.vocabulary
        )),
        None => Ok(()),
    }
}

impl LocalTrainer for Trainer {
    fn parameter_count(&self) -> usize {
        self.layout.parameter_count()
    }

    fn parameters(&self) -> std::result::Result<Vec<f32>, TrainerError> {
        let read = || self.state.get(0)?.to_vec1::<f32>();
        Ok(read().map_err(ModelError::from)?)
    }

    fn set_parameters(&mut self, flat: &[f32]) -> std::result::Result<(), TrainerError> {
        Ok(self.try_set_parameters(flat)?)
    }

    fn step(&mut self, batch: &Batch, lr: f32) -> std::result::Result<StepReport, TrainerError> {
        Ok(self.try_step(batch, lr)?)
    }

    fn gradient(
        &mut self,
        batch: &Batch,
    ) -> std::result::Result<(StepReport, Vec<f32>), TrainerError> {
        let report = self.compute_gradient(batch)?;
        let step = StepReport {
            loss: report.loss as f32,
            tokens: batch.predicted_tokens(),
            gradient_norm: report.norm as f32,
        };
        let gradient = self.gradient.to_vec1().map_err(ModelError::from)?;
        Ok((step, gradient))
    }

    fn apply(&mut self, gradient: &[f32], lr: f32) -> std::result::Result<(), TrainerError> {
        Ok(self.try_apply(gradient, lr)?)
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        self.layout.slots().iter().map(|slot| slot.shape).collect()
    }

    fn evaluate(&mut self, batch: &Batch) -> std::result::Result<f32, TrainerError> {
        Ok(self.try_evaluate(batch)?)
    }

    fn optimizer_state(&self) -> std::result::Result<Vec<u8>, TrainerError> {
        Ok(adamw::state_to_bytes(&self.state, self.steps)?)
    }

    fn restore_optimizer(&mut self, state: &[u8]) -> std::result::Result<(), TrainerError> {
        self.steps = adamw::state_from_bytes(&self.state, state)?;
        Ok(())
    }

    fn reset_optimizer(&mut self) -> std::result::Result<(), TrainerError> {
        Ok(self.try_reset()?)
    }
}

#[cfg(test)]
#[path = "trainer_tests.rs"]
mod tests;
