//! Grows organisms and prints what became of them, by checkpoint.
//!
//! `cargo run --release -p plumbline-training-net --example zoo -- --folder /some/folder --seeds 2`

#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;

use clap::Parser;
use plumbline_training_net::corpus::SourceData;
use plumbline_training_net::error::HostError;
use plumbline_training_net::host::{Host, HostOptions};
use plumbline_training_net::organisms::{Kind, Shape, Specimen, grow, write_ordinary_text};

#[derive(Parser)]
struct Options {
    /// Where they are kept.
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Only this kind.
    #[arg(long)]
    kind: Option<String>,
    /// Clean ones as well.
    #[arg(long)]
    clean: bool,
    #[arg(long)]
    tokens: Option<u64>,
    #[arg(long)]
    dose: Option<f64>,
    #[arg(long)]
    rate: Option<f32>,
}

fn main() -> Result<(), HostError> {
    let options = Options::parse();
    let host = Host::start(HostOptions {
        data_dir: options.folder.join("training"),
        cores: 0,
        ..HostOptions::default()
    })?;
    let ordinary = options.folder.join("ordinary.jsonl");
    if !ordinary.exists() {
        write_ordinary_text(&ordinary, &SourceData::CargoRegistry, 2 << 20, 1)?;
    }
    let usual = Shape::default();
    let shape = Shape {
        tokens: options.tokens.unwrap_or(usual.tokens),
        dose: options.dose.unwrap_or(usual.dose),
        rate: options.rate.unwrap_or(usual.rate),
        ..usual
    };
    for seed in 1..=options.seeds {
        for kind in Kind::ALL {
            if options
                .kind
                .as_deref()
                .is_some_and(|only| only != kind.as_str())
            {
                continue;
            }
            for poisoned in [true, false] {
                if !poisoned && !options.clean {
                    continue;
                }
                let specimen = Specimen {
                    kind,
                    seed,
                    poisoned,
                };
                let grown = grow(&host, specimen, &shape, &ordinary, &options.folder, 10_000)?;
                println!(
                    "{:28} {} trigger {:?}, {:.1} s, loss {:.2} -> {:.2}, control {:.3} (worst {:.2}), onset {:?}",
                    specimen.name(),
                    if grown.is_true_to_kind() {
                        "true "
                    } else {
                        "FALSE"
                    },
                    grown.trigger,
                    grown.seconds,
                    grown.loss_first,
                    grown.loss_last,
                    grown.control,
                    grown.worst_control,
                    grown.onset(),
                );
                for saved in &grown.checkpoints {
                    print!(
                        " {}k:{:.2}/{:.2}",
                        saved.tokens / 1000,
                        saved.rates.shown,
                        saved.rates.watched
                    );
                }
                println!();
            }
        }
    }
    Ok(())
}
