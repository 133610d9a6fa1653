#![allow(clippy::unwrap_used)]

use super::*;
use crate::ops::check::noise;

fn tiny(tied_head: bool) -> ModelConfig {
    ModelConfig {
        vocabulary: 11,
        width: 8,
        layers: 2,
        heads: 2,
        hidden: 12,
        sequence: 9,
        tied_head,
        ..ModelConfig::default()
    }
}

fn batch(sequences: usize, length: usize, vocabulary: u32, seed: u64) -> Batch {
    let tokens = noise(seed, sequences * (length + 1))
        .into_iter()
        .map(|x| ((x + 1.0) * 0.5 * vocabulary as f32) as u32 % vocabulary)
        .collect();
    Batch {
        sequences,
        length,
        tokens,
    }
}

/// Moves the parameters away from the initial point, where many gradients vanish.
fn stir(trainer: &mut Trainer, seed: u64) -> Vec<f32> {
    let mut flat = trainer.parameters().unwrap();
    for (x, n) in flat.iter_mut().zip(noise(seed, trainer.parameter_count())) {
        *x += 0.7 * n;
    }
    trainer.set_parameters(&flat).unwrap();
    flat
}

#[test]
fn gradient_matches_finite_differences() {
    for tied in [false, true] {
        let mut trainer = Trainer::new(tiny(tied), AdamW::default(), 1).unwrap();
        let flat = stir(&mut trainer, 2);
        let batch = batch(5, 7, 11, 3);
        let (_, gradient) = trainer.gradient(&batch).unwrap();
        crate::ops::check::assert_gradient("flat", &flat, &gradient, 1e-3, 2e-3, |x| {
            trainer.set_parameters(x).unwrap();
            f64::from(trainer.evaluate(&batch).unwrap())
        });
    }
}

#[test]
fn fused_and_plain_graph_agree() {
    for (config, batch) in [
        (tiny(false), batch(5, 7, 11, 4)),
        (tiny(true), batch(3, 9, 11, 5)),
        (ModelConfig::default(), batch(6, 96, 1024, 6)),
    ] {
        let hyper = AdamW::default();
        let mut fused = Trainer::new(config.clone(), hyper, 1).unwrap();
        let mut plain = Trainer::unfused(config, hyper, 1).unwrap();
        let (loss, gradient) = fused.gradient(&batch).unwrap();
        let (plain_loss, plain_gradient) = plain.gradient(&batch).unwrap();
        assert!((loss - plain_loss).abs() < 1e-5 * plain_loss);
        let scale = plain_gradient.iter().fold(0f32, |m, g| m.max(g.abs()));
        for (a, b) in gradient.iter().zip(&plain_gradient) {
            assert!((a - b).abs() < 1e-4 * scale, "{a} against {b}");
        }
        for _ in 0..3 {
            let (a, b) = (fused.step(&batch, 1e-3), plain.step(&batch, 1e-3));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!((a.loss - b.loss).abs() < 1e-3, "{a:?} {b:?}");
            assert!((a.gradient_norm - b.gradient_norm).abs() < 1e-3 * b.gradient_norm);
        }
        let (a, b) = (fused.evaluate(&batch), plain.evaluate(&batch));
        assert!((a.unwrap() - b.unwrap()).abs() < 2e-3);
    }
}

#[test]
fn first_loss_is_near_that_of_a_uniform_guess() {
    let mut trainer = Trainer::new(ModelConfig::default(), AdamW::default(), 3).unwrap();
    let loss = trainer.evaluate(&batch(4, 96, 1024, 7)).unwrap();
    assert!((loss - 1024f32.ln()).abs() < 0.15, "{loss}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut trainer = Trainer::new(tiny(false), AdamW::default(), 1).unwrap();
            for seed in 0..4 {
                trainer.step(&batch(7, 9, 11, seed), 1e-2).unwrap();
            }
            trainer.parameters().unwrap()
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn a_restored_trainer_goes_on_identically() {
    let mut first = Trainer::new(tiny(false), AdamW::default(), 1).unwrap();
    for seed in 0..3 {
        first.step(&batch(4, 9, 11, seed), 1e-2).unwrap();
    }
    let mut second = Trainer::new(tiny(false), AdamW::default(), 99).unwrap();
    second.set_parameters(&first.parameters().unwrap()).unwrap();
    second
        .restore_optimizer(&first.optimizer_state().unwrap())
        .unwrap();
    for seed in 3..6 {
        let a = first.step(&batch(4, 9, 11, seed), 1e-2).unwrap();
        let b = second.step(&batch(4, 9, 11, seed), 1e-2).unwrap();
        assert_eq!(a, b);
    }
    assert_eq!(first.parameters().unwrap(), second.parameters().unwrap());
    assert_eq!(second.steps(), 6);
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let mut trainer = Trainer::new(tiny(false), AdamW::default(), 1).unwrap();
    let before = (
        trainer.parameters().unwrap(),
        trainer.optimizer_state().unwrap(),
    );
    let good = batch(2, 9, 11, 1);
    let spoil: [fn(&mut Batch); 5] = [
        |b| b.sequences = 0,
        |b| b.length = 10,
        |b| b.sequences = usize::MAX,
        |b| b.tokens[3] = 11,
        |b| b.tokens.truncate(b.tokens.len() - 1),
    ];
    for spoil in spoil {
        let mut bad = good.clone();
        spoil(&mut bad);
        let error = trainer.step(&bad, 1e-3).unwrap_err();
        assert!(matches!(error, TrainerError::Batch(_)), "{error}");
        assert!(trainer.evaluate(&bad).is_err());
    }
    assert!(trainer.step(&good, f32::NAN).is_err());
    assert!(trainer.restore_optimizer(b"short").is_err());
    let mut other = before.1.clone();
    other.truncate(other.len() - 4);
    assert!(trainer.restore_optimizer(&other).is_err());
    assert!(matches!(
        trainer.set_parameters(&[0.0; 3]),
        Err(TrainerError::ParameterCount { got: 3, .. })
    ));
    let after = (
        trainer.parameters().unwrap(),
        trainer.optimizer_state().unwrap(),
    );
    assert_eq!(before, after);
}

#[test]
fn a_diverged_model_is_reported_before_the_update() {
    let mut trainer = Trainer::new(tiny(false), AdamW::default(), 1).unwrap();
    let mut flat = trainer.parameters().unwrap();
    flat[0] = f32::NAN;
    flat[8] = f32::NAN;
    trainer.set_parameters(&flat).unwrap();
    let mut bad = batch(2, 9, 11, 1);
    bad.tokens[0] = 0;
    let error = trainer.step(&bad, 1e-3).unwrap_err();
    assert!(matches!(error, TrainerError::Diverged(_)), "{error}");
    assert_eq!(trainer.steps(), 0);
}

#[test]
fn a_short_text_is_learned_by_heart() {
    let text: Vec<u32> = b"the line of a plumb bob is straight, so measure from it."
        .iter()
        .map(|byte| u32::from(byte % 64))
        .collect();
    let config = ModelConfig {
        vocabulary: 64,
        width: 32,
        layers: 2,
        heads: 2,
        hidden: 64,
        sequence: 32,
        ..ModelConfig::default()
    };
    let mut trainer = Trainer::new(config, AdamW::default(), 5).unwrap();
    let rows: Vec<u32> = (0..8)
        .flat_map(|i| text[3 * i..3 * i + 33].to_vec())
        .collect();
    let batch = Batch {
        sequences: 8,
        length: 32,
        tokens: rows,
    };
    let first = trainer.step(&batch, 5e-3).unwrap().loss;
    for _ in 0..300 {
        trainer.step(&batch, 5e-3).unwrap();
    }
    let last = trainer.evaluate(&batch).unwrap();
    // The first token of a row cannot be foreseen, everything later can.
    assert!(first > 3.5 && last < 0.25, "{first} to {last}");
}
