//! `plumbline oracle versions`, `adopt`: what was learnt, checked, and put in force.

use anyhow::{Result, bail};
use clap::Args;
use plumbline_oracle::versions::VersionRecord;
use serde_json::{Value, json};

use super::source::{Link, Listed, Source};
use crate::access::{Desk, block_on, plain, text};

#[derive(Debug, Args)]
pub struct Versions {
    #[command(flatten)]
    source: Source,
    /// Make every version again from the settled cases and compare; exit code 1 if one differs
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Adopt {
    #[command(flatten)]
    desk: Desk,
    /// Version id
    id: String,
}

impl Versions {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let versions = self.source.versions().await?;
            let found = if self.verify {
                verify(&self.source.cases().await?, &versions)
            } else {
                Vec::new()
            };
            if self.json {
                let listed: Vec<Value> = versions.iter().map(document).collect();
                let answer =
                    json!({"versions": listed, "verified": self.verify, "problems": found});
                println!("{answer}");
            } else {
                versions
                    .iter()
                    .for_each(|version| println!("{}", line(version)));
                found.iter().for_each(|problem| println!("{problem}"));
                if self.verify && found.is_empty() {
                    println!("all {} can be made again", versions.len());
                }
            }
            if found.is_empty() {
                Ok(())
            } else {
                bail!("{} of them cannot be made again", found.len())
            }
        })
    }
}

/// A sentence for each case or version that is not what it says.
fn verify(cases: &[Link], versions: &[Listed]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut previous = "";
    for (number, (hash, record)) in cases.iter().enumerate() {
        if record.chained(previous) != *hash {
            problems.push(format!(
                "case {}: its hash is not that of its record",
                number + 1
            ));
        }
        previous = hash;
    }
    let content = |id: &String| -> Option<&VersionRecord> {
        let found = versions.iter().find(|version| version.id == *id);
        found.map(|version| &version.content)
    };
    for version in versions {
        let parent = version.content.parent.as_ref().and_then(content);
        if let Err(why) = version.content.check(&version.id, parent, cases) {
            problems.push(format!("version {}: {why}", version.id));
        }
    }
    problems
}

fn document(version: &Listed) -> Value {
    let content = &version.content;
    json!({"id": version.id, "parent": content.parent, "origin": content.origin, "status": version.status,
        "cases": content.cases, "weights": content.start.weights})
}

fn line(version: &Listed) -> String {
    let content = &version.content;
    let score = content.score;
    let loss = |sum: f64| sum / score.cases.max(1) as f64;
    let scored = if score.cases == 0 {
        String::new()
    } else {
        format!(
            ", log loss {:.4} (untaught {:.4}, price {:.4})",
            loss(score.learned),
            loss(score.base),
            loss(score.price)
        )
    };
    format!(
        "{}  {:9} {:9} {} settled cases{scored}",
        plain(&version.id),
        plain(&content.origin),
        plain(&version.status),
        content.cases
    )
}

impl Adopt {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let client = self.desk.access.client()?;
            let path = ["oracle", "versions", self.id.as_str(), "adopt"];
            let version = client.make(&path, &json!({})).await?;
            self.desk.print(&version, |version| {
                format!("{} is in force", plain(text(version, "id")))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use plumbline_oracle::PoolConfig;
    use plumbline_oracle::versions::{Reading, SettledRecord, Start};

    fn record(number: usize) -> SettledRecord {
        let reading = |judge: &str, log_odds: f64| Reading {
            judge: judge.to_owned(),
            family: judge.to_owned(),
            log_odds,
            standard_error: 0.5,
        };
        let pi = (number % 2) as f64;
        SettledRecord {
            market_id: format!("m{number}"),
            claim_kind: "kind".to_owned(),
            at: number as i64,
            pi,
            closing_log_odds: pi - 0.5,
            pooled_log_odds: 0.1,
            pooled_low: -1.0,
            pooled_high: 1.0,
            ensemble: "e".to_owned(),
            readings: vec![reading("a", 2.0 * pi - 1.0), reading("b", 0.3)],
            failed: Vec::new(),
            misleading: 0,
            observed_effect: None,
            held_out_effect: None,
            exhibits: Vec::new(),
        }
    }

    fn listed(content: VersionRecord) -> Listed {
        Listed {
            id: content.id(),
            status: "candidate".to_owned(),
            content,
        }
    }

    #[test]
    fn what_was_learnt_is_made_again_and_what_was_changed_is_named() {
        let mut cases: Vec<Link> = Vec::new();
        for number in 0..12 {
            let record = record(number);
            let previous = cases.last().map_or("", |link| link.0.as_str());
            cases.push((record.chained(previous), record));
        }
        let start = Start {
            pool: PoolConfig::default(),
            judges: Vec::new(),
            weights: Default::default(),
        };
        let records: Vec<SettledRecord> = cases.iter().map(|link| link.1.clone()).collect();
        let shipped = VersionRecord::shipped(&start);
        let head = |n: usize| cases[n - 1].0.clone();
        let first = shipped.learned(&start, &records[..5], 5, &head(5)).unwrap();
        let second = first.learned(&start, &records, 12, &head(12)).unwrap();
        let mut versions = vec![listed(shipped), listed(first), listed(second)];
        assert_eq!(verify(&cases, &versions), Vec::<String>::new());
        let mut changed = cases.clone();
        changed[3].1.pi = 1.0 - changed[3].1.pi;
        let problems = verify(&changed, &versions);
        assert!(problems[0].starts_with("case 4:"), "{problems:?}");
        assert_eq!(
            problems.len(),
            3,
            "the case and both versions: {problems:?}"
        );
        versions[2]
            .content
            .parameters
            .factors
            .insert("a".to_owned(), 3.0);
        assert_eq!(verify(&cases, &versions).len(), 1);
    }
}
