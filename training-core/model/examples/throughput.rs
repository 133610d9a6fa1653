//! Prints what one machine trains per second, for a few shapes and thread counts.
//!
//! `cargo run --release -p plumbline-training-model --example throughput -- [--json] [--seconds S] [--only SHAPE] [--threads N]`

use std::process::ExitCode;

use plumbline_training_model::bench::{SingleNodeReport, single_node};
use plumbline_training_model::{ModelConfig, ModelError};

/// The shapes: the default, a larger vocabulary, a wider model.
fn shapes() -> [(&'static str, ModelConfig); 3] {
    let default = ModelConfig::default();
    [
        ("d128-l3-v1024", default.clone()),
        (
            "d128-l4-v2048",
            ModelConfig {
                layers: 4,
                vocabulary: 2048,
                ..default.clone()
            },
        ),
        (
            "d256-l4-v512",
            ModelConfig {
                width: 256,
                layers: 4,
                hidden: 704,
                vocabulary: 512,
                ..default
            },
        ),
    ]
}

fn print(name: &str, report: &SingleNodeReport) {
    println!(
        "{name} ({:.2}M parameters), {} thread(s): {:.0} tokens/s, {:.1}x plain candle, \
         {:.0} % of {:.0} Gflop/s",
        report.parameters as f64 / 1e6,
        report.threads,
        report.tokens_per_second,
        report.ratio_to_plain,
        100.0 * report.share_of_peak,
        report.matmul_peak_flops / 1e9,
    );
    for part in &report.parts {
        println!(
            "  {:<13} {:5.1} % {:8.0} us/step",
            format!("{:?}", part.part),
            100.0 * part.share,
            part.microseconds_per_step
        );
    }
}

fn run(arguments: &[String]) -> Result<(), ModelError> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let json = arguments.iter().any(|argument| argument == "--json");
    let seconds = value("--seconds").and_then(|text| text.parse().ok());
    let threads = value("--threads").and_then(|text| text.parse().ok());
    let mut reports = Vec::new();
    for (name, config) in shapes() {
        if value("--only").is_some_and(|only| only != name) {
            continue;
        }
        for threads in threads.map_or(vec![1, 2], |threads| vec![threads]) {
            let report = single_node(&config, seconds.unwrap_or(4.0), threads)?;
            if json {
                reports.push(serde_json::json!({"shape": name, "report": report}));
            } else {
                print(name, &report);
            }
        }
    }
    if json {
        println!("{}", serde_json::Value::Array(reports));
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}
