//! The step by tensor operations against the fused kernels, in f32 and bf16.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use plumbline_training_core::codec::{Geometry, Scheme, SparseOptions};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::local::{InnerPlan, LocalRound, NodeState, Task, Work};
use plumbline_training_core::schedule::LrSchedule;
use plumbline_training_core::trainer::{Batch, LocalTrainer};
use plumbline_training_core::verify::{Claim, Comparison, examine};

use super::Mixed;
use crate::config::{AdamW, ModelConfig};
use crate::device::Products;
use crate::layout::Layout;
use crate::ops::check::noise;
use crate::trainer::{Means, Trainer};

fn shape(width: usize, heads: usize, layers: usize, sequence: usize) -> ModelConfig {
    ModelConfig {
        vocabulary: 37,
        width,
        layers,
        heads,
        hidden: width + width / 2 + 1,
        sequence,
        ..ModelConfig::default()
    }
}

fn batch(sequences: usize, length: usize, vocabulary: usize, seed: u64) -> Batch {
    let tokens = noise(seed, sequences * (length + 1)).into_iter();
    let tokens = tokens.map(|x| ((x + 1.0) * 0.5 * vocabulary as f32) as u32);
    Batch {
        sequences,
        length,
        tokens: tokens.map(|id| id % vocabulary as u32).collect(),
    }
}

/// Parameters away from the initial point, where many gradients vanish.
fn stirred(config: &ModelConfig, seed: u64) -> Vec<f32> {
    let trainer = Trainer::new(config.clone(), AdamW::default(), seed).unwrap();
    let flat = trainer.parameters().unwrap();
    let pushes = noise(seed + 1, flat.len());
    flat.iter().zip(pushes).map(|(x, n)| x + 0.3 * n).collect()
}

/// Loss and gradient by the fused kernels.
fn fused(config: &ModelConfig, flat: &[f32], batch: &Batch) -> (f32, Vec<f32>) {
    let mut trainer = Trainer::new(config.clone(), AdamW::default(), 1).unwrap();
    trainer.set_parameters(flat).unwrap();
    trainer.gradient(batch).unwrap()
}

/// Loss, loss without a gradient, and gradient by tensor operations.
fn mixed(
    config: &ModelConfig,
    (work, queries, logits): (DType, usize, usize),
    flat: &[f32],
    batch: &Batch,
) -> (f32, f32, Vec<f32>) {
    let layout = Layout::new(config);
    let device = &Device::Cpu;
    let step = Mixed::in_pieces(config.clone(), layout, work, device, queries, logits).unwrap();
    let master = Tensor::new(flat, device).unwrap();
    // Every value must be written over.
    let gradient = Tensor::full(f32::NAN, flat.len(), device).unwrap();
    let report = step.gradient(&master, batch, &gradient).unwrap();
    let gradient = gradient.to_vec1::<f32>().unwrap();
    let square: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
    assert!((report.norm - square.sqrt()).abs() < 1e-4 * report.norm);
    let loss = step.loss(&master, batch).unwrap();
    (report.loss as f32, loss, gradient)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |x: &[f32], y: &[f32]| -> f64 {
        let pairs = x.iter().zip(y);
        pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

#[test]
fn f32_agrees_with_the_fused_kernels_on_every_shape() {
    let tied = ModelConfig {
        tied_head: true,
        ..shape(16, 2, 2, 12)
    };
    // Shape, sequences, their length, queries of a block, logits of a piece.
    let cases = [
        (shape(8, 1, 1, 1), 1, 1, 4, 1),
        (shape(8, 2, 2, 9), 5, 7, 100, 1 << 20),
        (shape(16, 4, 3, 12), 3, 12, 5, 37 * 4),
        (shape(24, 3, 2, 20), 2, 17, 4, 37 * 7),
        (shape(24, 3, 1, 20), 2, 20, 1, 1),
        (tied, 4, 12, 8, 37 * 5),
        (ModelConfig::default(), 6, 96, 32, 1 << 15),
        (ModelConfig::default(), 4, 50, 256, 1 << 24),
    ];
    for (seed, (config, sequences, length, queries, logits)) in cases.into_iter().enumerate() {
        let batch = batch(sequences, length, config.vocabulary, seed as u64);
        let flat = stirred(&config, 10 + seed as u64);
        let (loss, expected) = fused(&config, &flat, &batch);
        let (found_loss, alone, found) =
            mixed(&config, (DType::F32, queries, logits), &flat, &batch);
        assert!((loss - found_loss).abs() < 1e-5 * loss, "{config:?}");
        assert!((loss - alone).abs() < 1e-5 * loss, "{config:?}");
        for slot in Layout::new(&config).slots() {
            let (a, b) = (&expected[slot.range.clone()], &found[slot.range.clone()]);
            let scale = a.iter().fold(1e-6f32, |m, g| m.max(g.abs()));
            for (x, y) in a.iter().zip(b) {
                let apart = (x - y).abs();
                assert!(
                    apart < 2e-4 * scale,
                    "{}: {x}, {y} in {config:?}",
                    slot.name
                );
            }
        }
    }
}

#[test]
fn bf16_stays_near_the_fused_kernels() {
    let config = ModelConfig::default();
    let batch = batch(4, 96, config.vocabulary, 3);
    let flat = stirred(&config, 4);
    let flat: Vec<f32> = flat.iter().map(|x| 0.3 * x).collect();
    let (loss, expected) = fused(&config, &flat, &batch);
    let (found_loss, alone, found) = mixed(&config, (DType::BF16, 32, 1 << 24), &flat, &batch);
    assert!(
        (loss - found_loss).abs() < 2e-3 * loss,
        "{loss} {found_loss}"
    );
    assert_eq!(found_loss, alone);
    let alike = cosine(&expected, &found);
    assert!(alike > 0.999, "{alike}");
    assert!(alike < 1.0 - 1e-9, "bf16 rounds: {alike}");
}

#[test]
fn steps_agree_with_the_fused_trainer() {
    let (config, hyper) = (shape(16, 2, 2, 12), AdamW::default());
    for (means, apart) in [
        (Means::Mixed(DType::F32), 1e-4),
        (Means::Mixed(DType::BF16), 2e-2),
    ] {
        let mut fused = Trainer::new(config.clone(), hyper, 1).unwrap();
        let mut mixed = Trainer::by(means, config.clone(), hyper, 1, &Device::Cpu).unwrap();
        assert_eq!(fused.parameters().unwrap(), mixed.parameters().unwrap());
        for seed in 0..5 {
            let batch = batch(4, 12, config.vocabulary, seed);
            let a = fused.step(&batch, 1e-3).unwrap();
            let b = mixed.step(&batch, 1e-3).unwrap();
            assert!((a.loss - b.loss).abs() < apart, "{a:?} {b:?}");
            assert_eq!((a.tokens, fused.steps()), (b.tokens, mixed.steps()));
        }
        let held_out = batch(4, 12, config.vocabulary, 99);
        let (a, b) = (fused.evaluate(&held_out), mixed.evaluate(&held_out));
        assert!((a.unwrap() - b.unwrap()).abs() < apart);
        // What one optimiser kept the other goes on from.
        fused
            .restore_optimizer(&mixed.optimizer_state().unwrap())
            .unwrap();
        assert_eq!(fused.steps(), 5);
        mixed.reset_optimizer().unwrap();
        assert_eq!(mixed.steps(), 0);
    }
}

#[test]
fn a_diverged_model_is_reported() {
    let (config, hyper) = (shape(8, 2, 1, 9), AdamW::default());
    let means = Means::Mixed(DType::F32);
    let mut trainer = Trainer::by(means, config.clone(), hyper, 1, &Device::Cpu).unwrap();
    let mut flat = trainer.parameters().unwrap();
    flat.fill(f32::NAN);
    trainer.set_parameters(&flat).unwrap();
    let error = trainer.step(&batch(2, 9, 37, 1), 1e-3).unwrap_err();
    assert!(error.to_string().contains("diverged"), "{error}");
    assert_eq!(trainer.steps(), 0);
}

/// Rows of this crate's own text, one byte a token.
fn text_batch(first: usize, sequences: usize, length: usize) -> Batch {
    let text = include_bytes!("mod.rs");
    let row = |number: usize| {
        let start = (first + number) * length * 7 % (text.len() - length - 1);
        text[start..=start + length].iter().copied().map(u32::from)
    };
    Batch {
        sequences,
        length,
        tokens: (0..sequences).flat_map(row).collect(),
    }
}

/// A round's work by `means`, from the same start.
fn work_of(means: Means, config: &ModelConfig, plan: InnerPlan, task: &Task) -> (Work, u64) {
    let hyper = AdamW::default();
    let mut trainer = Trainer::by(means, config.clone(), hyper, 1, &Device::Cpu).unwrap();
    let geometry = Geometry::new(&trainer.shapes()).unwrap();
    let start = trainer.parameters().unwrap();
    let state = NodeState::default();
    let mut round = LocalRound::begin(&mut trainer, plan, task.clone(), start, state).unwrap();
    while !round.is_done() {
        let rows = text_batch(round.next_sequence() as usize, plan.batch, plan.length);
        round.step(&mut trainer, &rows).unwrap();
    }
    let work = round.finish(&trainer, &geometry).unwrap();
    (work, round.report().tokens)
}

#[test]
fn an_audit_on_the_cpu_passes_honest_work_in_f32() {
    let config = ModelConfig {
        vocabulary: 256,
        width: 64,
        layers: 2,
        heads: 2,
        hidden: 160,
        sequence: 48,
        ..ModelConfig::default()
    };
    let layout = Layout::new(&config);
    let shapes: Vec<[usize; 2]> = layout.slots().iter().map(|slot| slot.shape).collect();
    let geometry = Geometry::new(&shapes).unwrap();
    let sparse = Scheme::SparseLoCo(SparseOptions::over(1_000_000));
    for scheme in [Scheme::DiLoCo, sparse, Scheme::EveryStep] {
        let plan = InnerPlan {
            batch: 8,
            length: config.sequence,
            schedule: LrSchedule::flat(4e-3, 0),
            scheme,
        };
        let task = Task {
            round: 0,
            first: 5_000,
            steps: if scheme == Scheme::EveryStep { 1 } else { 30 },
            tokens_before: 0,
            members: 1,
        };
        let (ours, tokens) = work_of(Means::Fused, &config, plan, &task);
        let decoded = scheme.decode(&geometry, &ours.payload).unwrap();
        let compare = |products: Products| {
            let means = Means::Mixed(products.dtype());
            let (theirs, tokens) = work_of(means, &config, plan, &task);
            let payload = scheme.decode(&geometry, &theirs.payload).unwrap();
            let alike = Comparison::of(&payload, &decoded);
            (theirs, tokens, payload, alike)
        };
        let (theirs, claimed, payload, alike) = compare(Products::of_run(true));
        let claim = Claim {
            payload: &payload,
            digest: Digest::of(&theirs.payload),
            state: Some(Digest::of(&theirs.state.to_bytes())),
            tokens: claimed,
        };
        let honest = examine(&scheme, &geometry, &claim, (&ours, tokens), false);
        assert_eq!(honest, None, "{scheme:?}: {alike:?}");
        assert!(alike.cosine > 0.98, "{scheme:?}: {alike:?}");
        // Bits differ, so a node on a GPU may never be held to them.
        assert!(examine(&scheme, &geometry, &claim, (&ours, tokens), true).is_some());
        // Why a run that audits does not get bf16.
        if scheme == sparse {
            let (.., alike) = compare(Products::of_run(false));
            assert!(alike.cosine < 0.95, "{alike:?}");
        }
    }
}

/// On the first GPU: what was built for one is tested on one.
#[cfg(feature = "cuda")]
mod on_a_gpu {
    use super::*;
    use crate::device::DeviceName;

    const GPU: DeviceName = DeviceName::Cuda(0);

    fn of(config: &ModelConfig, products: Products, flat: &[f32]) -> Trainer {
        let hyper = AdamW::default();
        let mut trainer = Trainer::on(config.clone(), hyper, 1, (GPU, products)).unwrap();
        trainer.set_parameters(flat).unwrap();
        trainer
    }

    #[test]
    fn gradients_agree_with_the_fused_kernels() {
        for (config, sequences, length) in [
            (shape(8, 2, 2, 9), 5, 7),
            (shape(24, 3, 2, 20), 2, 20),
            (ModelConfig::default(), 6, 96),
        ] {
            let batch = batch(sequences, length, config.vocabulary, 3);
            let flat: Vec<f32> = stirred(&config, 4).iter().map(|x| 0.3 * x).collect();
            let (loss, expected) = fused(&config, &flat, &batch);
            for (products, apart, alike) in [
                (Products::F32, 1e-4, 0.999_999),
                (Products::Bf16, 5e-3, 0.995),
            ] {
                let mut gpu = of(&config, products, &flat);
                let (found_loss, found) = gpu.gradient(&batch).unwrap();
                assert!((loss - found_loss).abs() < apart * loss, "{products}");
                let cosine = cosine(&expected, &found);
                assert!(cosine > alike, "{products}: {cosine}");
                let alone = gpu.evaluate(&batch).unwrap();
                assert!((loss - alone).abs() < apart * loss, "{products}");
            }
        }
    }

    #[test]
    fn training_lowers_the_loss_and_survives_a_move_to_the_cpu() {
        let config = ModelConfig {
            vocabulary: 256,
            ..ModelConfig::default()
        };
        let mut cpu = Trainer::new(config.clone(), AdamW::default(), 1).unwrap();
        let mut gpu = of(&config, Products::Bf16, &cpu.parameters().unwrap());
        let rows = |number: usize| text_batch(16 * number, 16, 96);
        let first = gpu.step(&rows(0), 4e-3).unwrap().loss;
        for number in 1..60 {
            gpu.step(&rows(number), 4e-3).unwrap();
        }
        let last = gpu.evaluate(&rows(0)).unwrap();
        assert!(last < 0.7 * first, "{first} to {last}");
        cpu.set_parameters(&gpu.parameters().unwrap()).unwrap();
        cpu.restore_optimizer(&gpu.optimizer_state().unwrap())
            .unwrap();
        assert_eq!(cpu.steps(), 60);
        let here = cpu.evaluate(&rows(0)).unwrap();
        assert!((here - last).abs() < 0.02 * last, "{here} {last}");
    }
}
