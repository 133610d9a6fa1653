//! `plumbline policy`: checks a policy document before anybody votes on it, replays it on a service's record, and
//! lists the versions that were in force.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use plumbline_governance::policy::Policy;
use serde_json::{Value, json};

use crate::access::{Desk, block_on, plain, text};
use crate::proposal::{change, policy_text};

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Parse a policy, compile every rule and try each on sample inputs
    Check(Check),
    /// Print the policy that a new service starts with
    Show,
    /// What a policy would grant now, and which recorded decisions would have been others
    // `--version` is the policy's here.
    #[command(disable_version_flag = true)]
    Simulate(Simulate),
    /// The versions that were in force, newest first
    Versions(Desk),
}

#[derive(Debug, Args)]
pub struct Simulate {
    #[command(flatten)]
    desk: Desk,
    /// The candidate, TOML; the policy in force unless given
    #[arg(conflicts_with = "version")]
    file: Option<PathBuf>,
    /// A version that was in force, instead of a file
    #[arg(long)]
    version: Option<i64>,
    /// Replay from here, RFC 3339; a week back unless given
    #[arg(long)]
    from: Option<String>,
    /// Replay to here, RFC 3339
    #[arg(long)]
    to: Option<String>,
    /// Assume a price instead of replaying: a run and a probability, e.g. sleeper=0.9
    #[arg(long = "price", value_name = "RUN=P")]
    prices: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The TOML document
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl PolicyCommand {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Check(check) => check.run(),
            Self::Show => {
                print!("{}", Policy::default_toml());
                Ok(())
            }
            Self::Simulate(simulate) => block_on(simulate.run()),
            Self::Versions(desk) => block_on(versions(desk)),
        }
    }
}

impl Simulate {
    async fn run(self) -> Result<()> {
        let mut body = json!({});
        if let Some(path) = &self.file {
            body["toml"] = json!(policy_text(path)?);
        }
        let given = [
            ("version", self.version.map(Value::from)),
            ("from", self.from.map(Value::from)),
            ("to", self.to.map(Value::from)),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let prices = self
            .prices
            .iter()
            .map(|price| {
                let (run, p) = price.rsplit_once('=').context("a price is RUN=P")?;
                let probability: f64 = p.parse().with_context(|| format!("'{p}' is no number"))?;
                Ok(json!({"run": run, "probability": probability}))
            })
            .collect::<Result<Vec<Value>>>()?;
        body["prices"] = Value::from(prices);
        let client = self.desk.access.client()?;
        let answer = client.make(&["policy", "simulate"], &body).await?;
        self.desk.print(&answer, simulated)
    }
}

fn simulated(answer: &Value) -> String {
    let mut out = format!(
        "{} version {}",
        plain(text(answer, "name")),
        answer["version"]
    );
    for run in answer["runs"].as_array().into_iter().flatten() {
        out.push_str(&format!("\n  {}", change(run)));
    }
    let replay = &answer["replay"];
    if replay.is_object() {
        out.push_str(&format!(
            "\nof {} recorded decisions {} would have been others",
            replay["compared"], replay["different"]
        ));
        for one in replay["differences"].as_array().into_iter().flatten() {
            out.push_str(&format!(
                "\n  {}  {}: {} {} bps, would have been {} {} bps ({})",
                text(one, "at"),
                plain(text(one, "run")),
                text(one, "action"),
                one["share_bps"],
                text(one, "then_action"),
                one["then_share_bps"],
                text(one, "reason")
            ));
        }
    }
    out
}

async fn versions(desk: Desk) -> Result<()> {
    let client = desk.access.client()?;
    let rows = client
        .documents(&["policy", "versions"], Vec::new())
        .await?;
    desk.print_all(&rows, "no version", |row| {
        let force = if row["active"] == true {
            "  in force"
        } else {
            ""
        };
        format!(
            "{}  {} {}  {}  since {}{force}",
            row["version"],
            plain(text(row, "name")),
            row["document_version"],
            text(row, "hash"),
            text(row, "created_at")
        )
    })
}

impl Check {
    fn run(self) -> Result<()> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let policy = Policy::parse(&text).with_context(|| self.file.display().to_string())?;
        let document = policy.document();
        if self.json {
            let answer = serde_json::json!({
                "name": document.name,
                "version": document.version,
                "rules": document.rules.len(),
                "hash": policy.hash(),
            });
            println!("{answer}");
        } else {
            println!(
                "{} version {}: {} rules, all sound",
                document.name,
                document.version,
                document.rules.len()
            );
            println!("BLAKE3 {}", policy.hash());
        }
        Ok(())
    }
}
