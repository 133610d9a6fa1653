//! A run of eight threads of which half are killed and replaced, beside the
//! same run left alone.

use std::time::{Duration, Instant};

use plumbline_training_core::draw::Draw;
use plumbline_training_core::trainer::{LocalTrainer, SequenceSource};
use plumbline_training_model::{AdamW, Checkpoint, ModelConfig, Trainer};
use serde::Serialize;

use super::{BenchError, BenchOptions, OUTER, Stage, schedule};
use crate::corpus::SourceSpec;
use crate::host::{Host, HostOptions};
use crate::run::{NodeStatus, RunEvent, RunSpec, RunStatus};

const NODES: usize = 8;
const KILLS: usize = NODES / 2;
/// Longest that one run may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Disturbed against undisturbed at equal tokens.
#[derive(Debug, Clone, Serialize)]
pub struct ChurnReport {
    /// Held-out loss of the disturbed run over that of the other.
    pub loss_ratio: f64,
    /// Rounds that came to nothing in the disturbed run.
    pub rounds_lost: u64,
    /// Rounds that the disturbed run closed.
    pub rounds: u64,
    /// Nodes.
    pub nodes: usize,
    /// Nodes killed, each replaced.
    pub kills: usize,
    /// Tokens of each run, at least.
    pub tokens: u64,
    /// Held-out loss left alone, nats per token.
    pub loss_undisturbed: f64,
    /// Held-out loss disturbed.
    pub loss_disturbed: f64,
    /// The seed.
    pub seed: u64,
}

/// Trains one model twice on a host.
///
/// # Errors
/// [`BenchError`].
pub fn churn(options: &BenchOptions) -> Result<ChurnReport, BenchError> {
    let model = ModelConfig {
        vocabulary: 512,
        width: 64,
        layers: 2,
        heads: 4,
        hidden: 176,
        sequence: 64,
        ..ModelConfig::default()
    };
    let rounds = if options.quick { 30 } else { 80 };
    let (steps, batch) = (5, 4);
    let tokens = rounds * steps * (NODES * batch * model.sequence) as u64;
    let stage = Stage::new(options, model.clone())?;
    let spec = |id: &str| RunSpec {
        model: model.clone(),
        nodes: NODES,
        inner_steps: steps,
        batch,
        schedule: schedule(6e-3, tokens),
        outer: OUTER,
        sources: vec![SourceSpec {
            max_bytes: super::TEXT_BYTES,
            data: options.text.clone(),
            ..SourceSpec::registry()
        }],
        max_tokens: Some(tokens),
        checkpoint_every: 0,
        ..RunSpec::new(id, id, options.seed)
    };
    let calm = train(options, spec("calm"), 0)?;
    let rough = train(options, spec("rough"), KILLS)?;
    let loss_undisturbed = held_out(&stage, &calm)?;
    let loss_disturbed = held_out(&stage, &rough)?;
    Ok(ChurnReport {
        loss_ratio: loss_disturbed / loss_undisturbed,
        rounds_lost: rough.voided,
        rounds: rough.rounds,
        nodes: NODES,
        kills: KILLS,
        tokens,
        loss_undisturbed,
        loss_disturbed,
        seed: options.seed,
    })
}

/// A finished run.
struct Finished {
    checkpoint: std::path::PathBuf,
    rounds: u64,
    voided: u64,
}

/// Trains `spec` to its end and kills nodes at drawn progress on the way.
fn train(options: &BenchOptions, spec: RunSpec, kills: usize) -> Result<Finished, BenchError> {
    let host = Host::start(HostOptions {
        data_dir: options.folder.join(&spec.id),
        cores: 0,
        ..HostOptions::default()
    })?;
    let voided = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = std::sync::Arc::clone(&voided);
    host.subscribe(move |event| {
        if matches!(event, RunEvent::RoundVoided { .. }) {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let (id, whole) = (spec.id.clone(), spec.max_tokens.unwrap_or(1));
    let mut draw = Draw::new("plumbline 2026 bench churn v1", &[&spec.seed.to_le_bytes()]);
    let mut points: Vec<u64> = (0..kills)
        .map(|_| (whole as f64 * (0.1 + 0.7 * draw.unit())) as u64)
        .collect();
    points.sort_unstable_by(|a, b| b.cmp(a));
    host.start_run(spec)?;
    let begun = Instant::now();
    loop {
        let stats = host.stats(&id)?;
        match &stats.status {
            RunStatus::Finished => break,
            RunStatus::Failed(reason) => return Err(BenchError::Run(reason.clone())),
            _ if begun.elapsed() > PATIENCE => return Err(BenchError::Run("too slow".into())),
            _ => {}
        }
        if points.last().is_some_and(|point| stats.tokens >= *point) {
            points.pop();
            let alive = stats
                .nodes
                .iter()
                .filter(|n| n.status == NodeStatus::Active);
            let alive: Vec<&str> = alive.map(|n| n.id.as_str()).collect();
            if !alive.is_empty() {
                let victim = alive[draw.below(alive.len() as u64) as usize];
                host.kill_node(&id, victim)?;
                host.add_node(&id)?;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let checkpoint = host.checkpoint_now(&id)?;
    Ok(Finished {
        rounds: checkpoint.round,
        checkpoint: checkpoint.path,
        voided: voided.load(std::sync::atomic::Ordering::Relaxed),
    })
}

fn held_out(stage: &Stage, run: &Finished) -> Result<f64, BenchError> {
    let checkpoint = Checkpoint::load(&run.checkpoint)?;
    let mut trainer = Trainer::new(checkpoint.config.clone(), AdamW::default(), 0)?;
    trainer.set_parameters(&checkpoint.parameters)?;
    // Both runs have the tokenizer and the corpus of the stage's seed.
    let batch = stage.corpus.batch(1 << 40, 256, stage.model.sequence);
    Ok(f64::from(trainer.evaluate(&batch)?))
}
