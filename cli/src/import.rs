//! `plumbline evidence import`: the log of a tool that researchers use, as evidence.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use plumbline_agents::Client;
use plumbline_agents::client::NewEvidence;
use plumbline_agents::import::{self, Format, Import, MAX_INPUT_BYTES, Options};
use serde_json::{Value, json};

use crate::access::{Desk, amount, credits, micro, plain, price, read_bounded, text};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tool {
    /// Whichever the file looks like
    Auto,
    /// UK AISI Inspect eval log, .json or .eval
    Inspect,
    /// garak report, .report.jsonl
    Garak,
    /// promptfoo results, .json or .jsonl
    Promptfoo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cases {
    /// Those that failed a test
    Failed,
    /// All
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Take {
    /// Shares of failures, and conversations
    Both,
    /// Shares of failures
    Measurements,
    /// Conversations
    Transcripts,
}

#[derive(Debug, Args)]
pub struct ImportLog {
    #[command(flatten)]
    desk: Desk,
    /// The log; - is standard input
    file: PathBuf,
    /// Whose log it is
    #[arg(long, value_enum, default_value = "auto")]
    format: Tool,
    /// Market id
    #[arg(long, required_unless_present = "dry_run")]
    market: Option<String>,
    /// The most that all of it together may lose, in credits; divided evenly over the submissions
    #[arg(long, value_parser = micro, required_unless_present = "dry_run")]
    stake: Option<i64>,
    /// One line that says what it is; says what the log says unless given
    #[arg(long)]
    title: Option<String>,
    /// Which conversations to take; shares of failures are over all scored cases
    #[arg(long, value_enum, default_value = "failed")]
    only: Cases,
    /// What to take of the log
    #[arg(long, value_enum, default_value = "both")]
    take: Take,
    /// Where a score begins to count; the log's own bound unless given, else 0.5
    #[arg(long)]
    threshold: Option<f64>,
    /// Inspect: a high score is the failure, as scorers of harm give it
    #[arg(long)]
    high_is_failure: bool,
    /// Refuse a log that needs more submissions than this; each costs more than the one before
    #[arg(long, default_value_t = 4)]
    max_submissions: usize,
    /// Print the exhibits, and submit nothing
    #[arg(long)]
    dry_run: bool,
}

impl ImportLog {
    pub async fn run(self) -> Result<()> {
        let log = import::read(
            &read_bounded(&self.file, MAX_INPUT_BYTES as u64)?,
            self.format(),
            &self.options(),
        )
        .with_context(|| format!("cannot import {}", self.file.display()))?;
        if self.dry_run {
            return self.show(&log);
        }
        let (Some(market), Some(stake)) = (&self.market, self.stake) else {
            anyhow::bail!("give --market and --stake, or --dry-run");
        };
        let made = log.submissions(self.title.as_deref(), stake, self.max_submissions)?;
        self.summary(&log);
        let client = self.desk.access.client()?;
        let done = submit(&client, market, made).await;
        let (answers, failure) = done;
        self.desk.print_all(&answers, "nothing submitted", line)?;
        failure.map_or(Ok(()), Err)
    }

    const fn format(&self) -> Option<Format> {
        match self.format {
            Tool::Auto => None,
            Tool::Inspect => Some(Format::Inspect),
            Tool::Garak => Some(Format::Garak),
            Tool::Promptfoo => Some(Format::Promptfoo),
        }
    }

    fn options(&self) -> Options {
        Options {
            only_failed: self.only == Cases::Failed,
            transcripts: self.take != Take::Measurements,
            measurements: self.take != Take::Transcripts,
            threshold: self.threshold,
            high_is_failure: self.high_is_failure,
        }
    }

    /// What the log came to, on standard error: the answers are what is printed.
    fn summary(&self, log: &Import) {
        for line in summary(log) {
            eprintln!("{line}");
        }
    }

    fn show(&self, log: &Import) -> Result<()> {
        if self.desk.json {
            let items: Vec<Value> = log
                .items
                .iter()
                .map(|item| json!({"note": item.note, "exhibit": item.exhibit}))
                .collect();
            let skipped: Vec<Value> = log
                .skipped
                .iter()
                .map(|one| json!({"reason": one.reason, "count": one.count, "first": one.first}))
                .collect();
            let whole = json!({"format": log.format.to_string(), "subject": log.subject,
                "cases": log.cases, "failed": log.failed, "exhibits": items, "skipped": skipped});
            println!("{whole}");
            return Ok(());
        }
        for line in summary(log) {
            println!("{line}");
        }
        for (at, item) in log.items.iter().enumerate() {
            println!("\nexhibit {}: {}", at + 1, plain(&item.note));
            println!("{}", serde_json::to_string_pretty(&item.exhibit)?);
        }
        Ok(())
    }
}

fn summary(log: &Import) -> Vec<String> {
    let mut lines = vec![format!(
        "{} log of {}: {} cases, {} failed, {} exhibits",
        log.format,
        plain(&log.subject),
        log.cases,
        log.failed,
        log.items.len()
    )];
    lines.extend(log.skipped.iter().map(|one| {
        format!(
            "left out: {} × {} (first: {})",
            one.count,
            one.reason,
            plain(&one.first)
        )
    }));
    lines
}

/// One after the other; what was submitted before a failure is submitted, so it is shown, too.
async fn submit(
    client: &Client,
    market: &str,
    made: Vec<NewEvidence>,
) -> (Vec<Value>, Option<anyhow::Error>) {
    let mut answers = Vec::new();
    let count = made.len();
    for (at, evidence) in made.into_iter().enumerate() {
        match client
            .make(&["markets", market, "evidence"], &evidence)
            .await
        {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                let left = count - at;
                let context = format!("{left} of {count} submissions are not made");
                return (answers, Some(anyhow::Error::new(error).context(context)));
            }
        }
    }
    (answers, None)
}

fn line(evidence: &Value) -> String {
    let moved = if evidence["probability_after"].is_null() {
        format!("stake {} credits", amount(evidence, "stake_micro"))
    } else {
        format!(
            "moved the price from {} to {}",
            price(evidence, "probability_before"),
            price(evidence, "probability_after")
        )
    };
    let exhibits = evidence["exhibits"].as_array().map_or(0, Vec::len);
    format!(
        "{}  {:<9}  {}  {exhibits} exhibits, {moved}, fee {} credits",
        text(evidence, "id"),
        text(evidence, "status"),
        plain(text(evidence, "title")),
        credits(evidence["fee_micro"].as_i64().unwrap_or(0))
    )
}
