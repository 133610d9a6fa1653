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

type Failure = Box<dyn std::error::Error>;

/// A model with its text, and how long it is trained.
struct Stage {
    options: Options,
    model: ModelConfig,
    corpus: Corpus,
    tokens: u64,
}

impl Stage {
    fn load(options: Options) -> Result<Self, Failure> {
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
        let documents = sources[0].documents.iter().take(100);
        let texts: Vec<String> = documents.map(|document| document.text.clone()).collect();
        let tokenizer = Tokenizer::train(texts.into_iter(), model.vocabulary)?;
        let encode = |text: &str| tokenizer.encode(text);
        let corpus = Corpus::tokenise(sources, options.seed, tokenizer.separator(), &encode)?;
        let step = (options.nodes * options.batch * model.sequence) as u64;
        Ok(Self {
            tokens: options.rounds * options.steps * step,
            options,
            model,
            corpus,
        })
    }

    fn cosine(&self, peak: f32, floor: f32, warm_up: u64) -> LrSchedule {
        let until = self.tokens;
        LrSchedule {
            peak,
            warm_up,
            decay: Decay::Cosine { until, floor },
        }
    }

    /// The held-out loss under `scheme`.
    fn run(&self, scheme: Scheme, rate: f32) -> Result<f64, Failure> {
        let options = &self.options;
        let (mut rounds, mut inner_steps) = (options.rounds, options.steps);
        if scheme == Scheme::EveryStep {
            (rounds, inner_steps) = (rounds * inner_steps, 1);
        }
        let spec = ArenaSpec {
            nodes: options.nodes,
            hostility: None,
            inner_steps,
            rounds,
            plan: InnerPlan {
                batch: options.batch,
                length: self.model.sequence,
                schedule: self.cosine(options.lr, 0.1, self.tokens / 20),
                scheme,
            },
            outer: OuterOptions {
                rate,
                momentum: options.momentum,
            },
            aggregator: AggregatorSpec::Mean,
            verify: None,
            vocabulary: 300,
            held_out_rows: 256,
            measure_every: u64::MAX,
            seed: options.seed,
        };
        let mut trainer = Trainer::new(self.model.clone(), AdamW::default(), options.seed)?;
        let arena = Arena::new(spec, &mut trainer, &self.corpus)?;
        Ok(arena.run()?.final_loss())
    }
}

fn main() -> Result<(), Failure> {
    let stage = Stage::load(Options::parse())?;
    let options = &stage.options;
    if options.every_step {
        println!(
            "every step        {:.4}",
            stage.run(Scheme::EveryStep, 1.0)?
        );
    }
    for &rate in options.outer.iter().filter(|_| !options.no_diloco) {
        println!(
            "diloco {rate:5}      {:.4}",
            stage.run(Scheme::DiLoCo, rate)?
        );
    }
    for &alpha in &options.alpha {
        for &feedback in &options.beta {
            let rate = stage.cosine(alpha, 0.65, 0);
            let scheme = Scheme::SparseLoCo(SparseOptions { feedback, rate });
            println!(
                "sparse {alpha:4} {feedback:5} {:.4}",
                stage.run(scheme, 1.0)?
            );
        }
    }
    Ok(())
}
