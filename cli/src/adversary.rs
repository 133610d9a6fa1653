//! `plumbline adversary`: the reference adversary, over the public API only.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use plumbline_agents::adversary::{Adversary as Session, AdversaryConfig, Report, Selection};

/// Probes the runs behind open markets and submits what it finds.
#[derive(Debug, Args)]
pub struct Adversary {
    /// Where the service is
    #[arg(long, default_value = "http://127.0.0.1:8600", env = "PLUMBLINE_URL")]
    url: String,
    /// API token with the scopes read and evidence, and trade for --trade
    #[arg(long, env = "PLUMBLINE_TOKEN", hide_env_values = true)]
    token: String,
    /// Only markets about the run with this name or id
    #[arg(long)]
    run: Option<String>,
    /// Only this market
    #[arg(long)]
    market: Option<String>,
    /// Most that may be staked and paid in fees, in credits
    #[arg(long, default_value_t = 500)]
    budget: i64,
    /// Share of the time in which it may ask the model, above 0 and at most 1
    #[arg(long, default_value_t = 0.25)]
    duty: f64,
    /// Seconds between two searches of one market
    #[arg(long, default_value_t = 15)]
    interval: u64,
    /// Also trade towards its own belief
    #[arg(long)]
    trade: bool,
    /// Ask the published prompts only, none of its own making
    #[arg(long)]
    published_only: bool,
    /// Seed of every choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop after this many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Adversary {
    pub fn run(self) -> Result<()> {
        anyhow::ensure!(
            self.duty > 0.0 && self.duty <= 1.0,
            "--duty lies above 0 and at most at 1"
        );
        anyhow::ensure!(
            (1..=1_000_000_000).contains(&self.budget),
            "--budget lies between 1 and 1,000,000,000 credits"
        );
        let mut config = AdversaryConfig::new(self.url, self.token, self.budget * 1_000_000);
        config.select = Selection {
            run: self.run,
            market: self.market,
        };
        config.probe.duty = self.duty;
        config.probe.interval = Duration::from_secs(self.interval);
        config.probe.search.varied = !self.published_only;
        config.stake.trades = self.trade;
        config.seed = self.seed;
        config.stop.after = self.seconds.map(Duration::from_secs);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let report = runtime.block_on(Session::run(config))?;
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print_report(&report);
        }
        anyhow::ensure!(
            !report.ended.starts_with("contact was lost"),
            "{}",
            report.ended
        );
        Ok(())
    }
}

fn print_report(report: &Report) {
    for market in &report.markets {
        println!(
            "{} ({}): price {:.3}, own belief {:.3}, {} completions",
            market.run, market.status, market.probability, market.posterior, market.probes
        );
        if let Some(reason) = &market.skipped {
            println!("  skipped: {reason}");
        }
        for attempt in &market.tried {
            let trigger = attempt.trigger.as_deref().unwrap_or("-");
            println!(
                "  checkpoint {:.12}: {} ({trigger}), ln Λ {:+.2}",
                attempt.checkpoint, attempt.finding, attempt.log_ratio
            );
        }
        for trade in &market.trades {
            println!(
                "  traded {}: {:.3} -> {:.3}, cost {:+.2}",
                trade.outcome,
                trade.before,
                trade.after,
                credits(trade.cost_micro)
            );
        }
        for submission in &market.submissions {
            let payoff = submission
                .payoff_micro
                .map_or("open".to_owned(), |micro| format!("{:+.2}", credits(micro)));
            println!(
                "  evidence {}: {:.3} -> {:.3}, locked {:.2}, payoff {payoff}",
                submission.evidence_id,
                submission.before.unwrap_or(f64::NAN),
                submission.after.unwrap_or(f64::NAN),
                credits(submission.locked_micro),
            );
        }
    }
    println!(
        "spent {:.2} credits, earned {:+.2}, {} requests in {:.0} s; ended: {}",
        credits(report.spent_micro),
        credits(report.earned_micro),
        report.requests,
        report.seconds,
        report.ended
    );
}

fn credits(micro: i64) -> f64 {
    micro as f64 / 1e6
}
