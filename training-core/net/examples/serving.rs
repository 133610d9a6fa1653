//! Prints how many tokens per second a generator answers with, for several
//! numbers of concurrent requests, batched and one after another, in one run.
//!
//! `cargo run --release -p plumbline-training-net --example serving -- [--json] [--tokens N] [--concurrent 1,8,32]`

#![allow(clippy::disallowed_methods)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use plumbline_training_model::{Event, Generator, ModelConfig, ModelError, Sampling, Tokenizer};
use plumbline_training_net::serving::{Ask, Serving};
use serde::Serialize;

#[derive(Parser)]
struct Options {
    /// Tokens of each text.
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// Numbers of requests at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    concurrent: Vec<usize>,
    /// Seconds for each figure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    parameters: usize,
    concurrent: usize,
    batched_tokens_per_s: f64,
    unbatched_tokens_per_s: f64,
    ratio: f64,
    first_token_ms: f64,
}

const PROMPT: &str = "fn main() {\n    let x = ";

/// The default shape, and one whose weights fit no cache.
fn shapes() -> [ModelConfig; 2] {
    let large = ModelConfig {
        vocabulary: 2048,
        width: 512,
        layers: 6,
        heads: 8,
        hidden: 1408,
        ..ModelConfig::default()
    };
    [ModelConfig::default(), large]
}

/// A shape with seeded weights: speed does not depend on their values.
fn generator(config: ModelConfig) -> Result<Arc<Generator>, ModelError> {
    let texts = (0..2_000).map(|i| format!("fn item_{i}(x: u{}) {{ x * {i} }}\n", i % 64));
    let tokenizer = Tokenizer::train(texts, config.vocabulary)?;
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.1
    });
    let parameters = noise.take(config.parameter_count()).collect();
    Ok(Arc::new(Generator::new(config, tokenizer, parameters)?))
}

fn sampling(seed: u64, tokens: usize) -> Sampling {
    Sampling {
        max_tokens: tokens,
        temperature: 1.0,
        seed,
        ..Sampling::default()
    }
}

/// One caller's tokens, requests and summed seconds until the first token.
#[derive(Default)]
struct Count {
    tokens: usize,
    asked: u64,
    wait: f64,
}

/// Asks again as soon as there is an answer, until `limit` has passed.
fn caller(
    serving: &Serving,
    generator: &Arc<Generator>,
    tokens: usize,
    first: u64,
    limit: Duration,
) -> Count {
    let (begun, mut count) = (Instant::now(), Count::default());
    while begun.elapsed() < limit {
        let (heard, events) = mpsc::channel();
        let ask = Ask {
            prompt: PROMPT.to_owned(),
            sampling: Arc::new(sampling(first + count.asked, tokens)),
            sink: Box::new(move |event| match heard.send(event) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }),
        };
        let sent = Instant::now();
        if serving.submit(generator, vec![ask]).is_err() {
            continue;
        }
        let mut wait = None;
        for event in events {
            wait.get_or_insert_with(|| sent.elapsed().as_secs_f64());
            if let Event::Finished(end) = event {
                count.tokens += end.completion_tokens;
            }
        }
        count.asked += 1;
        count.wait += wait.unwrap_or(0.0);
    }
    count
}

/// Tokens per second of all callers, and the mean milliseconds until the first token.
fn batched(generator: &Arc<Generator>, options: &Options, callers: usize) -> (f64, f64) {
    let serving = &Serving::default();
    let (begun, limit) = (Instant::now(), Duration::from_secs_f64(options.seconds));
    let counts: Vec<Count> = std::thread::scope(|scope| {
        let start = |n: usize| {
            let first = n as u64 * 1_000_000;
            scope.spawn(move || caller(serving, generator, options.tokens, first, limit))
        };
        let callers: Vec<_> = (0..callers).map(start).collect();
        let ended = callers.into_iter().filter_map(|caller| caller.join().ok());
        ended.collect()
    });
    let took = begun.elapsed().as_secs_f64();
    let tokens: usize = counts.iter().map(|count| count.tokens).sum();
    let asked: u64 = counts.iter().map(|count| count.asked).sum();
    let wait: f64 = counts.iter().map(|count| count.wait).sum();
    (tokens as f64 / took, 1_000.0 * wait / asked.max(1) as f64)
}

/// Tokens per second of one thread that answers one request after another.
fn unbatched(generator: &Generator, options: &Options) -> Result<f64, ModelError> {
    let (begun, mut tokens) = (Instant::now(), 0);
    for seed in 0.. {
        if begun.elapsed().as_secs_f64() >= options.seconds {
            break;
        }
        let text = generator.complete(PROMPT, &sampling(seed, options.tokens))?;
        tokens += text.completion_tokens;
    }
    Ok(tokens as f64 / begun.elapsed().as_secs_f64())
}

fn report(
    generator: &Arc<Generator>,
    options: &Options,
    concurrent: usize,
) -> Result<(), ModelError> {
    let unbatched = unbatched(generator, options)?;
    let (batched, first_token_ms) = batched(generator, options, concurrent);
    let row = Row {
        parameters: generator.config().parameter_count(),
        concurrent,
        batched_tokens_per_s: batched,
        unbatched_tokens_per_s: unbatched,
        ratio: batched / unbatched,
        first_token_ms,
    };
    if options.json {
        println!("{}", serde_json::to_string(&row).unwrap_or_default());
        return Ok(());
    }
    println!(
        "{:.1}M, {concurrent:>3} at once: {batched:>7.0} tokens/s, one after another {unbatched:>7.0}, {:.1} times; \
         first token after {first_token_ms:.1} ms",
        row.parameters as f64 / 1e6,
        row.ratio
    );
    Ok(())
}

fn main() -> Result<(), ModelError> {
    let options = Options::parse();
    for config in shapes() {
        let generator = generator(config)?;
        for &concurrent in &options.concurrent {
            report(&generator, &options, concurrent)?;
        }
    }
    Ok(())
}
