//! `plumbline bench trades` and `plumbline bench quotes`.
//!
//! The measurements take turns (service, bare writer, constant handler, and again), because a machine is
//! not equally fast all the time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use plumbline_agents::bench::{Load, TradesReport};
use plumbline_store::bench::Rate;
use plumbline_web::bench::Constant;
use plumbline_web::{RunningServer, WebConfig};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::floor::{quiet_options, trading_floor};
use super::work_folder::WorkFolder;
use crate::data_dir::DataDir;
use crate::wiring::{self, Running};

/// Turns that each measurement takes.
const TURNS: u32 = 3;

#[derive(Debug, Args)]
pub struct Trades {
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub struct Quotes {
    #[command(flatten)]
    settings: Settings,
}

/// What both have in common.
#[derive(Debug, Args)]
struct Settings {
    /// Numbers of connections to measure
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    connections: Vec<usize>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Folder for the measured databases; a temporary one by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
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
    constant_handler_per_s: f64,
}

/// One line of `bench quotes --json`.
#[derive(Debug, Serialize)]
struct QuotesRow {
    connections: usize,
    quotes_per_s: f64,
    constant_handler_per_s: f64,
    ratio: f64,
    p50_ms: f64,
    p99_ms: f64,
    errors: u64,
}

impl Trades {
    pub fn run(self) -> Result<()> {
        let rows = self.settings.measure(|bench, connections| {
            let (mut http, mut bare, mut constant) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..TURNS {
                http.push(bench.load(Load::Trades, connections)?);
                bare.push(bench.bare_writer(connections, turn)?);
                constant.push(bench.constant(connections)?);
            }
            let (http, bare) = (together(http)?, per_second(&bare));
            Ok(TradesRow {
                connections,
                durable_trades_per_s: http.durable_trades_per_s,
                bare_writer_per_s: bare,
                ratio: http.durable_trades_per_s / bare,
                p50_ms: http.p50_ms,
                p99_ms: http.p99_ms,
                errors: http.errors,
                constant_handler_per_s: together(constant)?.durable_trades_per_s,
            })
        })?;
        if self.settings.json {
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(());
        }
        println!(
            "connections  durable trades/s  bare writer/s  ratio  p50 ms  p99 ms  errors  constant handler/s"
        );
        for row in &rows {
            println!(
                "{:11} {:17.0} {:14.0} {:6.2} {:7.2} {:7.2} {:7} {:19.0}",
                row.connections,
                row.durable_trades_per_s,
                row.bare_writer_per_s,
                row.ratio,
                row.p50_ms,
                row.p99_ms,
                row.errors,
                row.constant_handler_per_s
            );
        }
        Ok(())
    }
}

impl Quotes {
    pub fn run(self) -> Result<()> {
        let rows = self.settings.measure(|bench, connections| {
            let (mut quotes, mut constant) = (Vec::new(), Vec::new());
            for _ in 0..TURNS {
                quotes.push(bench.load(Load::Quotes, connections)?);
                constant.push(bench.constant(connections)?);
            }
            let (quotes, constant) = (together(quotes)?, together(constant)?);
            Ok(QuotesRow {
                connections,
                quotes_per_s: quotes.durable_trades_per_s,
                constant_handler_per_s: constant.durable_trades_per_s,
                ratio: quotes.durable_trades_per_s / constant.durable_trades_per_s,
                p50_ms: quotes.p50_ms,
                p99_ms: quotes.p99_ms,
                errors: quotes.errors,
            })
        })?;
        if self.settings.json {
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(());
        }
        println!("connections  quotes/s  constant handler/s  ratio  p50 ms  p99 ms  errors");
        for row in &rows {
            println!(
                "{:11} {:9.0} {:19.0} {:6.2} {:7.2} {:7.2} {:7}",
                row.connections,
                row.quotes_per_s,
                row.constant_handler_per_s,
                row.ratio,
                row.p50_ms,
                row.p99_ms,
                row.errors
            );
        }
        Ok(())
    }
}

/// A service with a market, and its peers.
struct Measuring<'a> {
    folder: &'a Path,
    runtime: Runtime,
    running: &'a Running,
    constant: &'a RunningServer,
    market: String,
    tokens: Vec<String>,
    /// Seconds of one turn.
    seconds: f64,
}

impl Settings {
    fn measure<T>(
        &self,
        mut row: impl FnMut(&Measuring<'_>, usize) -> Result<T>,
    ) -> Result<Vec<T>> {
        let work = WorkFolder::of(self.data_dir.as_deref())?;
        let folder = work.path();
        let data = DataDir::open(&folder.join("service"))?;
        let running = wiring::start(&data, quiet_options())?;
        let constant =
            plumbline_web::bench::serve_constant(&WebConfig::default(), Constant::trade())?;
        let most = self.connections.iter().copied().max().unwrap_or(1);
        let (market, tokens) = trading_floor(&running, most)?;
        let bench = Measuring {
            folder,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            running: &running,
            constant: &constant,
            market,
            tokens,
            seconds: self.seconds / f64::from(TURNS),
        };
        let rows: Result<Vec<T>> = self
            .connections
            .iter()
            .map(|connections| row(&bench, *connections))
            .collect();
        constant.stop()?;
        running.stop()?;
        rows
    }
}

impl Measuring<'_> {
    fn load(&self, load: Load, connections: usize) -> Result<TradesReport> {
        let url = self.running.server.url();
        self.load_on(&url, load, connections)
    }

    /// The same requests to a server that does nothing with them.
    fn constant(&self, connections: usize) -> Result<TradesReport> {
        self.load_on(&self.constant.url(), Load::Trades, connections)
    }

    fn load_on(&self, url: &str, load: Load, connections: usize) -> Result<TradesReport> {
        Ok(self.runtime.block_on(plumbline_agents::bench::load(
            url,
            &self.tokens,
            &self.market,
            load,
            connections,
            self.seconds,
        ))?)
    }

    /// The same rows by one thread in plain SQLite, as many to a commit as there
    /// are connections: with n clients waiting, no commit can hold more.
    fn bare_writer(&self, group: usize, turn: u32) -> Result<Rate> {
        let path = self.folder.join(format!("bare-{group}-{turn}.db"));
        let window = Duration::from_secs_f64(self.seconds);
        Ok(plumbline_store::bench::bare_writer(&path, group, window)?)
    }
}

fn together(turns: Vec<TradesReport>) -> Result<TradesReport> {
    let mut turns = turns.into_iter();
    let first = turns
        .next()
        .ok_or_else(|| anyhow::anyhow!("nothing was measured"))?;
    Ok(first.and(turns))
}

fn per_second(turns: &[Rate]) -> f64 {
    let trades: u64 = turns.iter().map(|turn| turn.trades).sum();
    let elapsed: f64 = turns.iter().map(|turn| turn.elapsed.as_secs_f64()).sum();
    trades as f64 / elapsed.max(f64::MIN_POSITIVE)
}
