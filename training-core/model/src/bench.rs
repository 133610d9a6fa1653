//! Training throughput on this machine, with its peer and its ceiling.
//!
//! A figure in tokens per second says little on a shared machine, so every report
//! carries the plain candle graph's figure and the matrix-product peak measured in
//! between. Rates come from the fastest steps: other processes only ever add time.

use plumbline_training_core::trainer::{Batch, LocalTrainer};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::{AdamW, ModelConfig};
use crate::device::{DeviceName, Products};
use crate::error::{ModelError, Result};
use crate::matmul::matmul_peak;
use crate::profile::{Part, now};
use crate::trainer::Trainer;

/// Sequences per batch in every benchmark.
pub const SEQUENCES: usize = 16;

/// Steps between switches from the fused trainer to the plain one and back.
const ROUND_STEPS: usize = 6;

/// Share of one part in the time of a training step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartShare {
    /// Which part.
    pub part: Part,
    /// Its share of all attributed time, 0 to 1.
    pub share: f64,
    /// Mean thread time per step in microseconds.
    pub microseconds_per_step: f64,
}

/// What [`single_node`] measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SingleNodeReport {
    /// Shape of the model.
    pub config: ModelConfig,
    /// Its parameter count.
    pub parameters: usize,
    /// Sequences per batch.
    pub sequences: usize,
    /// Threads of the pool that steps ran in.
    pub threads: usize,
    /// Fused steps that were timed.
    pub steps: usize,
    /// Predicted tokens per second in the fastest step.
    pub tokens_per_second: f64,
    /// Predicted tokens per second over all fused steps.
    pub tokens_per_second_mean: f64,
    /// The plain candle graph's fastest step in the same run.
    pub plain_tokens_per_second: f64,
    /// `tokens_per_second / plain_tokens_per_second`.
    pub ratio_to_plain: f64,
    /// Floating-point operations of one step per token.
    pub flops_per_token: f64,
    /// Measured matrix-product peak of `threads` threads in flop/s.
    pub matmul_peak_flops: f64,
    /// `tokens_per_second · flops_per_token / matmul_peak_flops`.
    pub share_of_peak: f64,
    /// Where the fused trainer's time went, in the order of a step.
    pub parts: Vec<PartShare>,
}

/// A batch of uniformly random tokens: what a step costs does not depend on them.
fn random_batch(config: &ModelConfig, sequences: usize, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = sequences * (config.sequence + 1);
    let vocabulary = u32::try_from(config.vocabulary).unwrap_or(u32::MAX);
    Batch {
        sequences,
        length: config.sequence,
        tokens: (0..count)
            .map(|_| rng.random_range(0..vocabulary))
            .collect(),
    }
}

/// Step times of one trainer.
#[derive(Debug)]
struct Timing {
    fastest: f64,
    total: f64,
    steps: usize,
}

impl Timing {
    fn new() -> Self {
        Self {
            fastest: f64::INFINITY,
            total: 0.0,
            steps: 0,
        }
    }

    /// Times `steps` steps; the step before them warms caches and allocators.
    fn round(&mut self, trainer: &mut Trainer, batch: &Batch, steps: usize) -> Result<()> {
        let step = |trainer: &mut Trainer| {
            let report = trainer.step(batch, 1e-4);
            report.map_err(|error| ModelError::Diverged(error.to_string()))
        };
        step(trainer)?;
        for _ in 0..steps {
            let start = now();
            step(trainer)?;
            let seconds = start.elapsed().as_secs_f64();
            self.fastest = self.fastest.min(seconds);
            self.total += seconds;
            self.steps += 1;
        }
        Ok(())
    }
}

/// Trains a fresh model on random tokens for about `seconds` in a pool of
/// `threads` threads, alternating with the plain candle graph.
///
/// # Errors
/// [`ModelError::Config`], or a back end failure.
pub fn single_node(config: &ModelConfig, seconds: f64, threads: usize) -> Result<SingleNodeReport> {
    let threads = threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| ModelError::Config(error.to_string()))?;
    pool.install(|| measure(config, seconds, threads))
}

fn measure(config: &ModelConfig, seconds: f64, threads: usize) -> Result<SingleNodeReport> {
    let hyper = AdamW::default();
    let batch = random_batch(config, SEQUENCES, 1);
    let mut fused = Trainer::new(config.clone(), hyper, 1)?;
    let mut plain = Trainer::unfused(config.clone(), hyper, 1)?;
    let (mut fused_time, mut plain_time) = (Timing::new(), Timing::new());
    let mut peak = 0f64;
    let start = now();
    while fused_time.steps == 0 || start.elapsed().as_secs_f64() < seconds {
        peak = peak.max(matmul_peak(threads));
        fused_time.round(&mut fused, &batch, 3 * ROUND_STEPS)?;
        plain_time.round(&mut plain, &batch, ROUND_STEPS)?;
    }
    let tokens = batch.predicted_tokens() as f64;
    let tokens_per_second = tokens / fused_time.fastest;
    let plain_tokens_per_second = tokens / plain_time.fastest;
    let flops_per_token = config.training_flops_per_token();
    Ok(SingleNodeReport {
        parameters: config.parameter_count(),
        sequences: SEQUENCES,
        threads,
        steps: fused_time.steps,
        tokens_per_second,
        tokens_per_second_mean: tokens * fused_time.steps as f64 / fused_time.total,
        plain_tokens_per_second,
        ratio_to_plain: tokens_per_second / plain_tokens_per_second,
        flops_per_token,
        matmul_peak_flops: peak,
        share_of_peak: tokens_per_second * flops_per_token / peak,
        parts: parts(&fused),
        config: config.clone(),
    })
}

/// 110 million parameters that count in products, sequences of 1,024.
pub fn gpu_configuration() -> ModelConfig {
    ModelConfig {
        vocabulary: 32_768,
        width: 768,
        layers: 12,
        heads: 12,
        hidden: 2_048,
        sequence: 1_024,
        ..ModelConfig::default()
    }
}

/// What [`on_device`] measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Shape of the model.
    pub config: ModelConfig,
    /// Its parameter count.
    pub parameters: usize,
    /// Sequences per batch.
    pub sequences: usize,
    /// Steps that were timed.
    pub steps: usize,
    /// Name of the device.
    pub device: String,
    /// What its driver calls it.
    pub device_model: Option<String>,
    /// Type of the matrix products.
    pub products: Products,
    /// Predicted tokens per second in the fastest step.
    pub tokens_per_second: f64,
    /// Predicted tokens per second over all steps.
    pub tokens_per_second_mean: f64,
    /// Peak of the device in flop/s, from its maker's data sheet; none where it is not known.
    pub peak_flops: Option<f64>,
    /// Model FLOPs utilisation over all steps; none without a known peak.
    pub mfu: Option<f64>,
}

/// Trains a fresh model on random tokens on `device` for about `seconds`. Each step waits for its loss, so its time is
/// the device's and not that of handing over the work.
///
/// # Errors
/// [`ModelError::Config`]; [`ModelError::NoCuda`] and [`ModelError::NoDevice`]; a back end failure.
pub fn on_device(
    config: &ModelConfig,
    sequences: usize,
    seconds: f64,
    (device, products): (DeviceName, Products),
) -> Result<DeviceReport> {
    let found = device.describe()?;
    let products = products.on(device);
    let batch = random_batch(config, sequences.max(1), 1);
    let place = (device, products);
    let mut trainer = Trainer::on(config.clone(), AdamW::default(), 1, place)?;
    let mut time = Timing::new();
    let start = now();
    while time.steps == 0 || start.elapsed().as_secs_f64() < seconds {
        time.round(&mut trainer, &batch, ROUND_STEPS)?;
    }
    let tokens = batch.predicted_tokens() as f64;
    let mean = tokens * time.steps as f64 / time.total;
    Ok(DeviceReport {
        parameters: config.parameter_count(),
        sequences: batch.sequences,
        steps: time.steps,
        device: device.to_string(),
        products,
        tokens_per_second: tokens / time.fastest,
        tokens_per_second_mean: mean,
        mfu: found.utilisation(config, mean),
        peak_flops: found.peak_flops,
        device_model: found.model,
        config: config.clone(),
    })
}

/// The trainer's profile as shares of its total.
fn parts(trainer: &Trainer) -> Vec<PartShare> {
    let profile = trainer.profile();
    let seconds = |part: Part| profile.spent(part).as_secs_f64();
    let total: f64 = Part::ALL.into_iter().map(seconds).sum();
    let steps = trainer.steps().max(1) as f64;
    Part::ALL
        .into_iter()
        .map(|part| PartShare {
            part,
            share: seconds(part) / total,
            microseconds_per_step: seconds(part) * 1e6 / steps,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tiny() -> ModelConfig {
        ModelConfig {
            vocabulary: 64,
            width: 16,
            layers: 1,
            hidden: 16,
            sequence: 16,
            ..ModelConfig::default()
        }
    }

    #[test]
    fn a_device_is_reported_by_name() {
        let place = (DeviceName::Cpu, Products::Bf16);
        let report = on_device(&tiny(), 3, 0.0, place).unwrap();
        assert_eq!((report.device.as_str(), report.sequences), ("cpu", 3));
        // The kernels of the processor have f32 products only, and no peak is stated for it.
        assert_eq!(report.products, Products::F32);
        assert_eq!((report.mfu, report.peak_flops), (None, None));
        assert!(report.tokens_per_second >= report.tokens_per_second_mean);
        assert!(report.tokens_per_second_mean > 0.0);
    }

    #[test]
    fn a_report_is_consistent() {
        let report = single_node(&tiny(), 0.0, 2).unwrap();
        let shares: f64 = report.parts.iter().map(|part| part.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        assert!(report.tokens_per_second > 0.0 && report.share_of_peak > 0.0);
        assert_eq!((report.threads, report.steps), (2, 3 * ROUND_STEPS));
    }
}
