//! `plumbline simulate`: many seeded worlds, checked by the auditor.

use anyhow::{Result, bail};
use clap::Args;
use plumbline_service::defences::Defences;
use plumbline_simulation::{Options, Scale, Summary, simulate};

/// Simulates thousands of actors on hundreds of markets per seed, with deaths of the process at
/// any write, and has an independent auditor check what is left.
#[derive(Debug, Args)]
pub struct Simulate {
    /// How many seeds
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Seeds at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Actors of each seed
    #[arg(long)]
    actors: Option<usize>,
    /// Markets of each seed
    #[arg(long)]
    markets: Option<usize>,
    /// Print a table of what each kind of actor made
    #[arg(long)]
    profits: bool,
    /// Switch off a defence of the service by its name, to see what it is for; may be repeated
    #[arg(long, value_name = "DEFENCE")]
    without: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Simulate {
    pub fn run(self) -> Result<()> {
        let scale = Scale::default();
        let options = Options {
            from: self.from,
            seeds: self.seeds,
            jobs: self.jobs,
            scale: Scale {
                actors: self.actors.unwrap_or(scale.actors).max(1),
                markets: self.markets.unwrap_or(scale.markets),
                ..scale
            },
            defences: self.defences()?,
        };
        let summary = simulate(&options, |seed, findings| {
            for finding in findings {
                eprintln!("seed {seed}: {}", finding.what);
            }
        })?;
        if self.json {
            println!("{}", serde_json::to_string(&summary)?);
        } else {
            print(&summary);
        }
        if self.profits && !self.json {
            print_profits(&summary);
        }
        match summary.violations.len() {
            0 => Ok(()),
            count => bail!("{count} violations"),
        }
    }

    fn defences(&self) -> Result<Defences> {
        let mut defences = Defences::default();
        for name in &self.without {
            if !defences.switch_off(name) {
                bail!(
                    "there is no defence '{name}': {}",
                    Defences::NAMES.join(", ")
                );
            }
        }
        Ok(defences)
    }
}

fn print(summary: &Summary) {
    println!(
        "{} seeds, {} actors, {} markets, {} deaths, {} violations",
        summary.seeds,
        summary.actors,
        summary.markets,
        summary.crashes,
        summary.violations.len()
    );
    let points = &summary.write_points;
    println!(
        "died at {} of {} kinds of write points",
        points.struck, points.seen
    );
    for (what, count) in &summary.requests {
        println!("{count:>12} requests {what}");
    }
    for (what, count) in &summary.checked {
        println!("{count:>12} {what} recomputed");
    }
}

fn print_profits(summary: &Summary) {
    println!(
        "{:<20} {:>8} {:>14} {:>9} {:>16}",
        "kind", "actors", "mean, credits", "± 95 %", "seeds with gain"
    );
    for (kind, profit) in &summary.profits {
        println!(
            "{kind:<20} {:>8} {:>14.2} {:>9} {:>15.0}%",
            profit.actors,
            profit.mean_credits,
            profit
                .within_credits
                .map_or_else(String::new, |within| format!("{within:.2}")),
            100.0 * profit.seeds_with_gain as f64 / profit.seeds.max(1) as f64
        );
    }
}
