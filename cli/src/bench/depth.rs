//! `plumbline bench depth`: what a long history and many positions cost.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use plumbline_agents::bench::{Load, percentile};
use plumbline_service::commands::{TradeOrder, VoidMarket};
use plumbline_store::{Store, StoreError, StoreOptions};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::floor::{quiet_options, trading_floor};
use super::seed::{Seed, audit, holder};
use super::work_folder::WorkFolder;
use crate::data_dir::DataDir;
use crate::wiring::{self, Running};

/// Quotes and lists measured at each depth.
const SAMPLES: usize = 300;
/// Longest wait for a payout.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest wait until a stopped service lets go of its database.
const RELEASE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Depth {
    /// Trades in the market's history at the end
    #[arg(long, default_value_t = 1_000_000)]
    trades: u64,
    /// Accounts that hold a position
    #[arg(long, default_value_t = 100_000)]
    positions: u64,
    /// Seconds of trading at each depth
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections that trade
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Folder for the measured database; a temporary one by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `bench depth --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// At no history, a tenth of it, and all of it.
    depths: Vec<At>,
    /// Positions that were paid out.
    positions: u64,
    /// From the order to call the market off to the last position paid.
    payout_s: f64,
}

/// One depth.
#[derive(Debug, Serialize)]
struct At {
    trades: u64,
    durable_trades_per_s: f64,
    trade_p50_ms: f64,
    trade_p99_ms: f64,
    /// Inside the service, without HTTP.
    quote_p50_us: f64,
    quote_p99_us: f64,
    /// Over HTTP, one after the other.
    lists: Vec<List>,
}

/// One list or page.
#[derive(Debug, Serialize)]
struct List {
    path: &'static str,
    p50_ms: f64,
    p99_ms: f64,
}

/// What is asked for, in a market.
const LISTS: [&str; 7] = [
    "/api/v1/markets/{id}",
    "/api/v1/markets/{id}/trades?limit=50",
    "/api/v1/markets/{id}/positions?limit=50",
    "/api/v1/markets/{id}/prices?limit=50",
    "/api/v1/portfolio/history?limit=50",
    "/api/v1/ledger",
    "/markets/{id}",
];

impl Depth {
    pub fn run(self) -> Result<()> {
        let folder = WorkFolder::of(self.data_dir.as_deref())?;
        let report = self.measure(folder.path())?;
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
            return Ok(());
        }
        for depth in &report.depths {
            println!(
                "{} trades: {:.0} durable trades/s (p50 {:.2} ms, p99 {:.2} ms), a quote {:.0} µs (p99 {:.0} µs)",
                depth.trades,
                depth.durable_trades_per_s,
                depth.trade_p50_ms,
                depth.trade_p99_ms,
                depth.quote_p50_us,
                depth.quote_p99_us
            );
            for list in &depth.lists {
                println!(
                    "  {:42} p50 {:7.2} ms  p99 {:7.2} ms",
                    list.path, list.p50_ms, list.p99_ms
                );
            }
        }
        println!(
            "{} positions paid in {:.1} s",
            report.positions, report.payout_s
        );
        Ok(())
    }

    fn measure(&self, folder: &Path) -> Result<Report> {
        anyhow::ensure!(
            self.positions > 0 && self.trades >= self.positions,
            "each position needs a trade: --trades must be at least --positions, and that at least 1"
        );
        let data = DataDir::open(&folder.join("service"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let running = wiring::start(&data, quiet_options())?;
        let (market_id, tokens) = trading_floor(&running, self.connections)?;
        let bench = Measuring {
            runtime,
            tokens,
            market_id: market_id.clone(),
            settings: self,
        };
        let mut depths = vec![bench.at(&running, 0)?];
        running.stop()?;
        let seed = Seed {
            market_id,
            holders: self.positions,
            // So far back that all of it lies in the past.
            began_at: jiff::Timestamp::now().as_millisecond() - 30 * 86_400_000,
        };
        let mut written = 0;
        for trades in [self.trades / 10, self.trades] {
            let store = reopened(&data)?;
            if written == 0 {
                seed.open_accounts(&store)?;
            }
            seed.trade(&store, written..trades)?;
            drop(store);
            written = trades;
            let running = wiring::start(&data, quiet_options())?;
            depths.push(bench.at(&running, trades)?);
            running.stop()?;
        }
        drop(reopened(&data)?);
        let running = wiring::start(&data, quiet_options())?;
        let payout_s = bench.payout(&running)?;
        running.stop()?;
        audit(&reopened(&data)?)?;
        Ok(Report {
            depths,
            positions: self.positions,
            payout_s,
        })
    }
}

/// The database of a service that was just stopped: what it still answers may hold it for a moment.
pub(super) fn reopened(data: &DataDir) -> Result<Store> {
    let until = Instant::now() + RELEASE;
    loop {
        match Store::open(&data.database(), StoreOptions::default()) {
            Err(StoreError::Open { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return Ok(opened?),
        }
    }
}

/// What every depth has in common.
struct Measuring<'a> {
    runtime: Runtime,
    tokens: Vec<String>,
    market_id: String,
    settings: &'a Depth,
}

impl Measuring<'_> {
    fn at(&self, running: &Running, trades: u64) -> Result<At> {
        let url = running.server.url();
        let (connections, seconds) = (self.settings.connections, self.settings.seconds);
        let load = plumbline_agents::bench::load(
            &url,
            &self.tokens,
            &self.market_id,
            Load::Trades,
            connections,
            seconds,
        );
        let traded = self.runtime.block_on(load)?;
        let quotes = self.quotes(running)?;
        let mut lists = Vec::new();
        for path in LISTS {
            let asked = path.replace("{id}", &self.market_id);
            let gets = plumbline_agents::bench::gets(&url, &self.tokens[0], &asked, SAMPLES);
            let latencies = self.runtime.block_on(gets).context(path)?;
            lists.push(List {
                path,
                p50_ms: percentile(&latencies, 0.50),
                p99_ms: percentile(&latencies, 0.99),
            });
        }
        Ok(At {
            trades,
            durable_trades_per_s: traded.durable_trades_per_s,
            trade_p50_ms: traded.p50_ms,
            trade_p99_ms: traded.p99_ms,
            quote_p50_us: percentile(&quotes, 0.50) * 1_000.0,
            quote_p99_us: percentile(&quotes, 0.99) * 1_000.0,
            lists,
        })
    }

    /// Microseconds of quotes, ascending.
    fn quotes(&self, running: &Running) -> Result<Vec<u32>> {
        let actor = running.service.actor_of_token(&self.tokens[0])?;
        let context = plumbline_service::context::Context::of(actor);
        let order = TradeOrder {
            outcome: "yes".to_owned(),
            shares_micro: Some(10_000),
            ..TradeOrder::default()
        };
        let mut latencies = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let asked = Instant::now();
            running.service.quote(&context, &self.market_id, &order)?;
            latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        latencies.sort_unstable();
        Ok(latencies)
    }

    /// Calls the market off and waits until the last holder has their money back; seconds.
    fn payout(&self, running: &Running) -> Result<f64> {
        let (operator, _) = running.provision("payer", &["participant", "operator"])?;
        let reason = "the measurement is over".to_owned();
        let last_but_one = self.settings.positions.checked_sub(2).map(holder);
        let started = Instant::now();
        running
            .service
            .void(&operator, &self.market_id, &VoidMarket { reason })?;
        while started.elapsed() < PATIENCE {
            let page = running.service.positions(
                &operator,
                &self.market_id,
                last_but_one.as_deref(),
                1,
            )?;
            // By account id, and so paid in this order.
            if page
                .items
                .last()
                .is_some_and(|held| held.paid_micro.is_some())
            {
                return Ok(started.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        anyhow::bail!("the positions were not paid in ten minutes")
    }
}
