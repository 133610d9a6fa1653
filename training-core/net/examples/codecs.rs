//! Trains one small model under each scheme and prints the held-out losses: to
//! find settings, not to report figures.
//!
//! `cargo run --release -p plumbline-training-net --example codecs -- --rounds 60 --alpha 2`

#![allow(clippy::disallowed_methods)]

use clap::Parser;
use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::{Scheme, SparseOptions};
use plumbline_training_core::local::InnerPlan;
use plumbline_training_core::outer::OuterOptions;
use plumbline_training_core::schedule::{Decay, LrSchedule};
use plumbline_training_core::testbed::{Arena, ArenaSpec};
use plumbline_training_model::{AdamW, ModelConfig, Tokenizer, Trainer};
use plumbline_training_net::corpus::{Corpus, SourceSpec, load_sources};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 40)]
    rounds: u64,
    #[arg(long, default_value_t = 30)]
    steps: u64,
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    #[arg(long, default_value_t = 32)]
    width: usize,
    #[arg(long, default_value_t = 1)]
    layers: usize,
    #[arg(long, default_value_t = 4)]
    batch: usize,
    #[arg(long, default_value_t = 1e-2)]
    lr: f32,
    #[arg(long, value_delimiter = ',', default_value = "0.7")]
    outer: Vec<f32>,
    #[arg(long, default_value_t = 0.6)]
    momentum: f32,
    /// Outer rates of SparseLoCo.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    alpha: Vec<f32>,
    /// Feedback of SparseLoCo.
    #[arg(long, value_delimiter = ',', default_value = "0.95")]
    beta: Vec<f32>,
    /// Also the baseline of every step.
    #[arg(long)]
    every_step: bool,
    #[arg(long)]
    no_diloco: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let model = ModelConfig {
        vocabulary: 300,
        width: options.width,
        layers: options.layers,
        heads: 2,
        hidden: options.width * 11 / 4,
        sequence: 32,
        ..ModelConfig::default()
    };
    let sources = load_sources(&[SourceSpec::registry()], options.seed)?;
    let texts: Vec<String> = sources[0]
        .documents
        .iter()
        .take(100)
        .map(|d| d.text.clone())
        .collect();
    let tokenizer = Tokenizer::train(texts.into_iter(), model.vocabulary)?;
    let encode = |text: &str| tokenizer.encode(text);
    let corpus = Corpus::tokenise(sources, options.seed, tokenizer.separator(), &encode)?;
    let tokens =
        options.rounds * options.steps * (options.nodes * options.batch * model.sequence) as u64;
    let cosine = |peak, floor| LrSchedule {
        peak,
        warm_up: 0,
        decay: Decay::Cosine {
            until: tokens,
            floor,
        },
    };
    let run = |scheme, outer| -> Result<f64, Box<dyn std::error::Error>> {
        let every_step = scheme == Scheme::EveryStep;
        let spec = ArenaSpec {
            nodes: options.nodes,
            hostility: None,
            inner_steps: if every_step { 1 } else { options.steps },
            rounds: if every_step {
                options.rounds * options.steps
            } else {
                options.rounds
            },
            plan: InnerPlan {
                batch: options.batch,
                length: model.sequence,
                schedule: LrSchedule {
                    warm_up: tokens / 20,
                    ..cosine(options.lr, 0.1)
                },
                scheme,
            },
            outer,
            aggregator: AggregatorSpec::Mean,
            verify: None,
            vocabulary: 300,
            held_out_rows: 256,
            measure_every: u64::MAX,
            seed: options.seed,
        };
        let mut trainer = Trainer::new(model.clone(), AdamW::default(), options.seed)?;
        Ok(Arena::new(spec, &mut trainer, &corpus)?.run()?.final_loss())
    };
    let outer = |rate| OuterOptions {
        rate,
        momentum: options.momentum,
    };
    if options.every_step {
        println!(
            "every step        {:.4}",
            run(Scheme::EveryStep, outer(1.0))?
        );
    }
    if !options.no_diloco {
        for &rate in &options.outer {
            println!(
                "diloco {rate:5}      {:.4}",
                run(Scheme::DiLoCo, outer(rate))?
            );
        }
    }
    for &alpha in &options.alpha {
        for &beta in &options.beta {
            let scheme = Scheme::SparseLoCo(SparseOptions {
                feedback: beta,
                rate: cosine(alpha, 0.65),
            });
            println!("sparse {alpha:4} {beta:5} {:.4}", run(scheme, outer(1.0))?);
        }
    }
    Ok(())
}
