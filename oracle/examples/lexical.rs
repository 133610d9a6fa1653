//! Trains the lexical judge, or measures it, from files of labelled cases.
//!
//! ```text
//! lexical train OUT.bin ATTRIBUTION.md FILE.jsonl …
//! lexical evaluate in-domain|leave-one-out|few-shot FILE.jsonl …
//! ```

use std::error::Error;
use std::path::Path;

use plumbline_oracle::{Dataset, EvaluateOptions, TrainOptions, evaluate, train};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["train", out, attribution, ref files @ ..] => {
            let options = TrainOptions {
                attribution: std::fs::read_to_string(attribution)?,
                ..TrainOptions::default()
            };
            let rows: Vec<_> = read(files)?.into_iter().flat_map(|set| set.rows).collect();
            let weights = train(&rows, &options)?;
            std::fs::write(out, weights.to_bytes())?;
            println!(
                "{out}: version {}, families {:?}",
                weights.version(),
                weights.families()
            );
            Ok(())
        }
        ["evaluate", protocol, ref files @ ..] => {
            let rows = evaluate(
                &read(files)?,
                protocol.parse()?,
                &EvaluateOptions::default(),
            )?;
            println!(
                "| set | protocol | cases | n | AUROC | Brier | base | log loss | ECE | prompt-only | length-only |"
            );
            println!("|---|---|---|---|---|---|---|---|---|---|---|");
            for row in rows {
                println!(
                    "| {} | {} | {} | {} | {:.3} | {:.4} | {:.4} | {:.3} | {:.3} | {:.3} | {:.3} |",
                    row.set,
                    row.protocol,
                    row.cases,
                    row.n,
                    row.auroc,
                    row.brier,
                    row.base_rate_brier,
                    row.log_loss,
                    row.ece,
                    row.prompt_only_auroc,
                    row.length_only_auroc
                );
            }
            Ok(())
        }
        _ => Err(
            "usage: lexical train OUT.bin ATTRIBUTION.md FILE… | lexical evaluate PROTOCOL FILE…"
                .into(),
        ),
    }
}

fn read(files: &[&str]) -> Result<Vec<Dataset>, Box<dyn Error>> {
    files
        .iter()
        .map(|file| {
            let name = Path::new(file)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            Dataset::from_jsonl(name, &text).map_err(|error| format!("{file}: {error}").into())
        })
        .collect()
}
