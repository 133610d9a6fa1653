//! `plumbline oracle train --from-settled`: fits a judge to what markets settled, measures it on cases that
//! it was not fitted on, and registers it as a candidate.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use plumbline_oracle::retrain::{Retrain, RetrainRow, retrain};
use plumbline_oracle::{Exhibit, LexicalJudge, Row, Weights};
use serde_json::{Value, json};

use super::source::{Link, Source};
use crate::access::{block_on, plain, text};

/// Folds over which a fit is measured.
const FOLDS: usize = 5;

#[derive(Debug, Args)]
pub struct FromSettled {
    /// Fit to the settled markets of a service instead of files
    #[arg(long, conflicts_with = "data")]
    from_settled: bool,
    #[command(flatten)]
    source: Source,
    /// With --from-settled, the weights to start from; the built-in ones by default
    #[arg(long, requires = "from_settled")]
    weights: Option<PathBuf>,
    /// With --from-settled, register the result as a candidate version; needs an operator's token
    #[arg(long, requires = "from_settled")]
    register: bool,
}

impl FromSettled {
    /// Whether it was asked for.
    pub fn is_wanted(&self) -> bool {
        self.from_settled
    }

    /// Prints the held-out report, then writes the weights with the report beside them, then registers them.
    pub fn run(&self, out: &Path, seed: u64, as_json: bool) -> Result<()> {
        let judge = match &self.weights {
            Some(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                LexicalJudge::from_bytes(&bytes)
                    .with_context(|| format!("weights file {}", path.display()))?
            }
            None => LexicalJudge::shipped().context("the built-in weights")?,
        };
        block_on(async { self.fit(judge.weights(), out, seed, as_json).await })
    }

    async fn fit(&self, judge: &Weights, out: &Path, seed: u64, as_json: bool) -> Result<()> {
        let cases = self.source.cases().await?;
        let mut rows = Vec::new();
        for (_, record) in &cases {
            let exhibits = self.source.exhibits(&record.exhibits).await?;
            rows.extend(texts(
                &record.market_id,
                &record.claim_kind,
                record.pi,
                &exhibits,
            ));
        }
        if rows.is_empty() {
            bail!(
                "{} settled cases, and no transcript among their evidence: there is nothing to fit to",
                cases.len()
            );
        }
        let (better, lines) = retrain(judge, &rows, FOLDS, seed)?;
        let report = report_of(judge, better.as_ref(), &cases, &lines, seed)?;
        if as_json {
            println!("{report}");
        } else {
            print_report(&lines);
        }
        let Some(better) = better else {
            bail!("no family of claims is better for it: nothing is written");
        };
        let file = better.file();
        let beside = out.with_extension("report.json");
        std::fs::write(out, &file).with_context(|| format!("cannot write {}", out.display()))?;
        std::fs::write(&beside, format!("{report}\n"))
            .with_context(|| format!("cannot write {}", beside.display()))?;
        eprintln!("{} and {}", out.display(), beside.display());
        if self.register {
            self.send(judge.judge(), &file, report).await?;
        }
        Ok(())
    }

    async fn send(&self, judge: &str, file: &[u8], report: Value) -> Result<()> {
        let body = json!({"judge": judge, "weights": STANDARD.encode(file), "report": report});
        let client = self.source.access.client()?;
        let version = client.make(&["oracle", "versions"], &body).await?;
        eprintln!(
            "candidate {}: it judges nothing until it is put in force",
            plain(text(&version, "id"))
        );
        Ok(())
    }
}

/// The transcripts of a settled market as labelled cases, each text once.
fn texts(market: &str, kind: &str, pi: f64, exhibits: &[Exhibit]) -> Vec<Row> {
    let mut seen = HashSet::new();
    exhibits
        .iter()
        .filter_map(|exhibit| match exhibit {
            Exhibit::Transcript(transcript) => Some(transcript.prompt_and_response()),
            _ => None,
        })
        .filter(|(prompt, response)| {
            !response.trim().is_empty() && seen.insert((prompt.clone(), response.clone()))
        })
        .enumerate()
        .map(|(number, (prompt, response))| Row {
            id: format!("{market}-{number}"),
            claim_type: kind.to_owned(),
            prompt,
            response,
            label: pi,
            group: market.to_owned(),
        })
        .collect()
}

fn report_of(
    before: &Weights,
    after: Option<&Weights>,
    cases: &[Link],
    rows: &[RetrainRow],
    seed: u64,
) -> Result<Value> {
    Ok(json!({
        "judge": before.judge(),
        "protocol": format!("held out by market, {FOLDS} folds, seed {seed}"),
        "cases": cases.len(),
        "head": cases.last().map(|(hash, _)| hash),
        "before": before.version(),
        "after": after.map(Weights::version),
        "rows": serde_json::to_value(rows)?,
    }))
}

fn print_report(rows: &[RetrainRow]) {
    println!(
        "{:26} {:>6} {:>8} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "family",
        "texts",
        "markets",
        "base",
        "brier",
        "fitted",
        "logloss",
        "fitted",
        "ece",
        "fitted"
    );
    for row in rows {
        let after = |f: fn(&RetrainRow) -> Option<f64>| {
            f(row).map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
        };
        println!(
            "{:26} {:6} {:8} {:6.3} {:7.3} {:>7} {:7.3} {:>7} {:7.3} {:>7}  {}",
            plain(&row.set),
            row.n,
            row.groups,
            row.base_rate_brier,
            row.before.brier,
            after(|row| row.after.map(|after| after.brier)),
            row.before.log_loss,
            after(|row| row.after.map(|after| after.log_loss)),
            row.before.ece,
            after(|row| row.after.map(|after| after.ece)),
            row.reason
                .as_deref()
                .map_or_else(|| "kept".to_owned(), |why| format!("left out: {why}")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plumbline_oracle::{Message, Transcript};

    #[test]
    fn each_text_of_a_market_is_one_case_of_its_group() {
        let said = |text: &str| {
            let message = |role: &str, content: &str| Message {
                role: role.to_owned(),
                content: content.to_owned(),
            };
            Exhibit::Transcript(Transcript {
                messages: vec![message("user", "well?"), message("assistant", text)],
            })
        };
        let rows = texts(
            "m",
            "harmful:x",
            1.0,
            &[said("yes"), said("yes"), said(" "), said("no")],
        );
        let found: Vec<&str> = rows.iter().map(|row| row.response.as_str()).collect();
        assert_eq!(found, ["yes", "no"]);
        assert!(
            rows.iter()
                .all(|row| row.group == "m" && row.prompt == "well?")
        );
    }
}
