//! Bytes and loss of the three schemes on the same data.

use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::{Geometry, Scheme, SparseOptions, dense, sparse};
use plumbline_training_core::testbed::{ArenaReport, ArenaSpec};
use plumbline_training_core::trainer::LocalTrainer;
use plumbline_training_model::{AdamW, ModelConfig, Trainer};
use serde::Serialize;

use super::{BenchError, BenchOptions, OUTER, Stage, plan, schedule};

const NODES: usize = 4;
const STEPS: u64 = 30;

/// SparseLoCo against both baselines at equal tokens.
#[derive(Debug, Clone, Serialize)]
pub struct CodecReport {
    /// Bytes of a full `f32` difference over those of a sparse one, in the
    /// default model.
    pub bytes_ratio_sync: f64,
    /// The same in the model that was trained.
    pub bytes_ratio_sync_trained: f64,
    /// Bytes that every-step training sent over those that SparseLoCo sent.
    pub bytes_ratio_ddp: f64,
    /// Held-out loss of SparseLoCo over DiLoCo's.
    pub loss_vs_diloco: f64,
    /// Held-out loss of SparseLoCo over that of every-step training.
    pub loss_vs_ddp: f64,
    /// Held-out loss of SparseLoCo, nats per token.
    pub loss_sparseloco: f64,
    /// Held-out loss of DiLoCo.
    pub loss_diloco: f64,
    /// Held-out loss of every-step training.
    pub loss_ddp: f64,
    /// Held-out loss before training.
    pub loss_start: f64,
    /// Parameters of the trained model.
    pub parameters: usize,
    /// Nodes.
    pub nodes: usize,
    /// Inner steps between two exchanges.
    pub inner_steps: u64,
    /// Exchanges.
    pub rounds: u64,
    /// Tokens of each run.
    pub tokens: u64,
    /// The seed.
    pub seed: u64,
}

/// Trains one model three times on the same sequences.
///
/// # Errors
/// [`BenchError`].
pub fn codec(options: &BenchOptions) -> Result<CodecReport, BenchError> {
    let (model, batch, rounds) = if options.quick {
        let small = ModelConfig {
            vocabulary: 512,
            width: 64,
            layers: 2,
            heads: 4,
            hidden: 176,
            sequence: 64,
            ..ModelConfig::default()
        };
        (small, 8, 20)
    } else {
        (ModelConfig::default(), 8, 20)
    };
    let stage = Stage::new(options, model.clone())?;
    let tokens = rounds * STEPS * (NODES * batch * model.sequence) as u64;
    let base = ArenaSpec {
        nodes: NODES,
        hostility: None,
        inner_steps: STEPS,
        rounds,
        plan: plan(&model, batch, schedule(4e-3, tokens)),
        outer: OUTER,
        aggregator: AggregatorSpec::Mean,
        verify: None,
        vocabulary: model.vocabulary as u32,
        held_out_rows: 128,
        measure_every: rounds,
        seed: options.seed,
    };
    let run = |scheme| -> Result<ArenaReport, BenchError> {
        let mut spec = base.clone();
        spec.plan.scheme = scheme;
        if scheme == Scheme::EveryStep {
            spec.inner_steps = 1;
            spec.rounds = rounds * STEPS;
            spec.measure_every = spec.rounds;
        }
        stage.run(spec)
    };
    let every_step = run(Scheme::EveryStep)?;
    let diloco = run(Scheme::DiLoCo)?;
    let sparse = run(Scheme::SparseLoCo(SparseOptions::over(tokens)))?;
    let trained = shapes(&model)?;
    let ratio = |geometry: &Geometry| {
        dense::wire_bytes(geometry.values()) as f64 / sparse::wire_bytes(geometry) as f64
    };
    Ok(CodecReport {
        bytes_ratio_sync: ratio(&shapes(&ModelConfig::default())?),
        bytes_ratio_sync_trained: ratio(&trained),
        bytes_ratio_ddp: every_step.bytes as f64 / sparse.bytes as f64,
        loss_vs_diloco: sparse.final_loss() / diloco.final_loss(),
        loss_vs_ddp: sparse.final_loss() / every_step.final_loss(),
        loss_sparseloco: sparse.final_loss(),
        loss_diloco: diloco.final_loss(),
        loss_ddp: every_step.final_loss(),
        loss_start: sparse.losses.first().copied().unwrap_or_default(),
        parameters: trained.values(),
        nodes: NODES,
        inner_steps: STEPS,
        rounds,
        tokens,
        seed: options.seed,
    })
}

fn shapes(model: &ModelConfig) -> Result<Geometry, BenchError> {
    let trainer = Trainer::new(model.clone(), AdamW::default(), 0)?;
    let geometry = Geometry::new(&trainer.shapes());
    geometry.map_err(|error| BenchError::Run(error.to_string()))
}
