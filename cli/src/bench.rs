//! `plumbline bench`: figures with a peer measured in the same run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use plumbline_governance::policy::Policy;
use plumbline_service::ServiceConfig;
use plumbline_service::commands::{CreateToken, OpenMarket, RegisterRun, SettlementTerms};
use plumbline_service::time::rfc3339;
use plumbline_training_model::ModelConfig;
use plumbline_web::{RateLimits, WebConfig};
use serde::Serialize;

use crate::data_dir::DataDir;
use crate::wiring::{self, Running};

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Durable trades per second over HTTP, beside SQLite's own ceiling for the same rows
    Trades(Trades),
    /// Training speed of one node, beside a plain candle graph of the same model
    Training(Training),
}

#[derive(Debug, Args)]
pub struct Trades {
    /// Numbers of connections to measure
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    connections: Vec<usize>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Folder for the measured databases; a temporary one by default
    #[arg(long)]
    data_dir: Option<std::path::PathBuf>,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

/// One line of `bench trades --json`.
#[derive(Debug, Serialize)]
struct TradesRow {
    connections: usize,
    durable_trades_per_s: f64,
    bare_writer_per_s: f64,
    ratio: f64,
    p50_ms: f64,
    p99_ms: f64,
    errors: u64,
}

#[derive(Debug, Args)]
pub struct Training {
    /// Seconds for each measurement
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Threads of the node
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Trades(command) => command.run(),
            Self::Training(command) => command.run(),
        }
    }
}

impl Trades {
    fn run(self) -> Result<()> {
        let temporary;
        let folder = match &self.data_dir {
            Some(folder) => folder.as_path(),
            None => {
                temporary = tempfile::tempdir()?;
                temporary.path()
            }
        };
        let data = DataDir::open(&folder.join("service"))?;
        let running = wiring::start(&data, quiet_options())?;
        let most = self.connections.iter().copied().max().unwrap_or(1);
        let (market, tokens) = trading_floor(&running, most)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut rows = Vec::new();
        for &connections in &self.connections {
            let url = running.server.url();
            let measured = runtime.block_on(plumbline_agents::bench::trades(
                &url,
                &tokens,
                &market,
                connections,
                self.seconds,
            ))?;
            let bare = bare_writer(folder, connections, self.seconds)?;
            rows.push(TradesRow {
                connections,
                durable_trades_per_s: measured.durable_trades_per_s,
                bare_writer_per_s: bare,
                ratio: measured.durable_trades_per_s / bare,
                p50_ms: measured.p50_ms,
                p99_ms: measured.p99_ms,
                errors: measured.errors,
            });
        }
        running.stop()?;
        self.print(&rows)
    }

    fn print(&self, rows: &[TradesRow]) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(rows)?);
            return Ok(());
        }
        println!("connections  durable trades/s  bare writer/s  ratio  p50 ms  p99 ms  errors");
        for row in rows {
            println!(
                "{:11} {:17.0} {:14.0} {:6.2} {:7.2} {:7.2} {:7}",
                row.connections,
                row.durable_trades_per_s,
                row.bare_writer_per_s,
                row.ratio,
                row.p50_ms,
                row.p99_ms,
                row.errors
            );
        }
        Ok(())
    }
}

/// The same rows by one thread in plain SQLite, as many to a commit as there
/// were connections: with n clients waiting, no commit can hold more.
fn bare_writer(folder: &Path, group: usize, seconds: f64) -> Result<f64> {
    let path = folder.join(format!("bare-{group}.db"));
    let rate = plumbline_store::bench::bare_writer(&path, group, Duration::from_secs_f64(seconds))?;
    Ok(rate.trades_per_second())
}

/// No limits, any free port: the load comes from this process.
fn quiet_options() -> wiring::Options {
    let limits = RateLimits {
        requests_per_second: 0.0,
        credentials_per_minute: 0.0,
    };
    wiring::Options {
        listen: ([127, 0, 0, 1], 0).into(),
        policy: Policy::default_toml().to_owned(),
        service: ServiceConfig::default(),
        web: WebConfig {
            limits,
            ..WebConfig::default()
        },
    }
}

/// A market and `traders` accounts with tokens.
fn trading_floor(running: &Running, traders: usize) -> Result<(String, Vec<String>)> {
    let (operator, _) = running.provision("operator", &["participant", "operator", "scheduler"])?;
    let run = RegisterRun {
        name: "bench".into(),
        parameters: 0,
    };
    let run = running.service.register_run(&operator, &run)?;
    let market = running
        .service
        .open_market(&operator, &bench_market(run.id))
        .context("cannot open the market")?;
    let mut tokens = Vec::with_capacity(traders);
    for trader in 0..traders {
        let (context, _) = running.provision(&format!("trader-{trader}"), &["participant"])?;
        let token = CreateToken {
            name: "bench".into(),
            scopes: vec!["read".into(), "trade".into()],
        };
        tokens.push(running.service.create_token(&context, &token)?.token);
    }
    Ok((market.id, tokens))
}

fn bench_market(run_id: String) -> OpenMarket {
    let candidates: Vec<String> = (0..8).map(|number| format!("candidate {number}")).collect();
    let prompts: Vec<String> = (0..8)
        .map(|number| format!("{number}: {{candidate}}"))
        .collect();
    let plan = serde_json::json!({
        "alpha_ppm": 10_000,
        "candidates": candidates,
        "detector": {"contains_any": ["x"]},
        "min_effect_bps": 1_000,
        "nonce": "bench",
        "prompts": prompts,
        "sampling": {"max_tokens": 1, "samples_per_prompt": 1, "seed": 1, "temperature_milli": 0},
    });
    OpenMarket {
        run_id,
        claim: "A claim to trade on.".into(),
        claim_kind: "bench".into(),
        rubric: String::new(),
        probability: 0.5,
        liquidity_micro: 10_000_000_000,
        closes_at: rfc3339(jiff::Timestamp::now().as_millisecond() + 86_400_000),
        closes_after_tokens: None,
        probe: None,
        settlement: SettlementTerms {
            method: "objective".into(),
            plan,
            ..SettlementTerms::default()
        },
        ..OpenMarket::default()
    }
}

impl Training {
    fn run(self) -> Result<()> {
        let mut rows = Vec::new();
        for config in configurations() {
            for &threads in &self.threads {
                rows.push(plumbline_training_model::bench::single_node(
                    &config,
                    self.seconds,
                    threads,
                )?);
            }
        }
        if self.json {
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(());
        }
        println!("parameters  vocabulary  threads  tokens/s  plain candle  ratio  of matmul peak");
        for row in &rows {
            println!(
                "{:10} {:11} {:8} {:9.0} {:13.0} {:6.2} {:14.0} %",
                row.parameters,
                row.config.vocabulary,
                row.threads,
                row.tokens_per_second,
                row.plain_tokens_per_second,
                row.ratio_to_plain,
                row.share_of_peak * 100.0
            );
        }
        Ok(())
    }
}

/// The demo's model, one dominated by its vocabulary, one by its products.
fn configurations() -> [ModelConfig; 3] {
    let small = ModelConfig::default();
    [
        small.clone(),
        ModelConfig {
            layers: 4,
            vocabulary: 2048,
            ..small.clone()
        },
        ModelConfig {
            width: 256,
            hidden: 704,
            layers: 4,
            vocabulary: 512,
            ..small
        },
    ]
}
