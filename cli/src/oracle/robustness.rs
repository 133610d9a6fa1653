//! `plumbline oracle robustness`: injected instructions, wrappers, paraphrase, padding, disguises, other languages.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use plumbline_oracle::Row;
use plumbline_oracle::robustness::{RobustnessRow, measure};

use super::contest::read_set;
use crate::judges::text_judges;
use crate::progress::spinner;

/// Each input is JSON lines of `{id, claim_type, prompt, response, label, group}`.
#[derive(Debug, Args)]
pub struct Robustness {
    /// Cases to attack, one file a set; labels are not used
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Cases taken of each set, spread over it; 0 for all
    #[arg(long, default_value_t = 100)]
    cases: usize,
    /// Judges of text to attack, with commas between: lexical, trained, encoder, causal
    #[arg(long, value_delimiter = ',', default_value = "lexical,trained")]
    judge: Vec<String>,
    /// Folder of optional models
    #[arg(
        long,
        value_name = "FOLDER",
        env = "PLUMBLINE_MODELS",
        default_value = "models"
    )]
    models: PathBuf,
    /// Seed of the attacks' choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

impl Robustness {
    pub fn run(self) -> Result<()> {
        let sets = self.data.iter().map(|file| read_set(file));
        let rows: Vec<Row> = sets
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flat_map(|set| spread(set.rows, self.cases))
            .collect();
        let spinner = spinner(&format!("attacking {} cases", rows.len()), self.json);
        let judges = text_judges(&self.models)?;
        let mut table = Vec::new();
        for name in &self.judge {
            let judge = judges.iter().find(|judge| judge.name() == name);
            let judge = judge.with_context(|| format!("there is no judge of text `{name}`"))?;
            let measured = measure(judge.as_ref(), &rows, self.seed)?;
            ensure!(
                measured.iter().any(|row| row.cases > 0),
                "the judge `{name}` cannot judge here: `make models` fetches what it needs"
            );
            table.extend(measured);
        }
        spinner.finish_and_clear();
        if self.json {
            println!("{}", serde_json::to_string(&table)?);
            return Ok(());
        }
        println!(
            "| judge | attack | cases | mean \\|Δℓ\\| | 95 % | largest | towards the attacker | flips |"
        );
        println!("|---|---|---:|---:|---:|---:|---:|---:|");
        table.iter().for_each(line);
        Ok(())
    }
}

fn line(row: &RobustnessRow) {
    println!(
        "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:+.2} | {:.1} % |",
        row.judge,
        row.attack,
        row.cases,
        row.mean_shift,
        row.p95_shift,
        row.max_shift,
        row.towards_aim,
        100.0 * row.flips,
    );
}

/// `count` rows at equal distances.
fn spread(rows: Vec<Row>, count: usize) -> Vec<Row> {
    if count == 0 || rows.len() <= count {
        return rows;
    }
    let total = rows.len();
    let chosen: std::collections::BTreeSet<usize> =
        (0..count).map(|at| at * total / count).collect();
    rows.into_iter()
        .enumerate()
        .filter(|(at, _)| chosen.contains(at))
        .map(|(_, row)| row)
        .collect()
}
