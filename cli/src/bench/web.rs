//! `plumbline bench web`: what pages and endpoints take beside a server that only answers, and what streams hold.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use plumbline_agents::bench::{Answered, gets, gets_for, hold_streams, percentile};
use plumbline_web::bench::{Constant, serve_constant};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::depth::reopened;
use super::floor::{quiet_options, trading_floor};
use super::load_process::{self, LoadProcess};
use super::seed::Seed;
use super::work_folder::WorkFolder;
use crate::data_dir::DataDir;
use crate::wiring::{self, Running};

/// Times that each page is asked for.
const SAMPLES: usize = 200;
/// Turns of each side: what disturbs the machine disturbs both.
const TURNS: u32 = 4;
/// What an event takes to get to the last follower, at most.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct Web {
    /// Trades in the market's history
    #[arg(long, default_value_t = 100_000)]
    trades: u64,
    /// Accounts that hold a position
    #[arg(long, default_value_t = 10_000)]
    positions: u64,
    /// Numbers of connections to measure throughput with
    #[arg(long, value_delimiter = ',', default_value = "1,32")]
    connections: Vec<usize>,
    /// Seconds of one row of throughput
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Event streams that are held open
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// Folder for the measured database; a temporary one by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The followers of `bench web`; started by it.
#[derive(Debug, Args)]
pub struct Follow {
    #[arg(long)]
    url: String,
    #[arg(long)]
    path: String,
    #[arg(long)]
    count: usize,
}

/// What `bench web --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    trades: u64,
    pages: Vec<Page>,
    throughput: Vec<Throughput>,
    streams: Streams,
}

/// One page or endpoint, asked for over and over on one connection.
#[derive(Debug, Serialize)]
struct Page {
    path: &'static str,
    bytes: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

/// Answers per second, beside a handler that returns the same bytes.
#[derive(Debug, Serialize)]
struct Throughput {
    path: &'static str,
    connections: usize,
    per_s: f64,
    constant_per_s: f64,
    ratio: f64,
    p99_ms: f64,
}

/// Event streams that hear nothing.
#[derive(Debug, Serialize)]
struct Streams {
    count: usize,
    /// Resident memory of the service without and with them, MB.
    without_mb: f64,
    with_mb: f64,
    /// From a trade to when the service had nothing left to do for it, processor seconds.
    idle_cpu_s: f64,
    /// Still open at the end.
    open: usize,
}

/// What is asked for; `{id}` is the market, `{run}` its run.
const PAGES: [&str; 20] = [
    "/",
    "/markets",
    "/markets/{id}",
    "/runs/{run}",
    "/allocations",
    "/leaderboard",
    "/calibration",
    "/ledger",
    "/policy",
    "/proposals",
    "/panels",
    "/oracle",
    "/training",
    "/log",
    "/portfolio",
    "/portfolio/history",
    "/api/v1/markets",
    "/api/v1/markets/{id}",
    "/api/v1/markets/{id}/trades?limit=50",
    "/api/v1/markets/{id}/positions?limit=50",
];
/// What throughput is measured with.
const ASKED: [&str; 2] = ["/markets/{id}", "/api/v1/markets/{id}"];

impl Web {
    pub fn run(self) -> Result<()> {
        anyhow::ensure!(
            self.positions > 0 && self.trades >= self.positions,
            "each position needs a trade: --trades must be at least --positions, and that at least 1"
        );
        let work = WorkFolder::of(self.data_dir.as_deref())?;
        let report = self.measure(work.path())?;
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
            return Ok(());
        }
        println!("{} trades; a page, one after the other:", report.trades);
        println!("   p50 ms  p95 ms  p99 ms    bytes");
        for page in &report.pages {
            println!(
                "  {:7.2} {:7.2} {:7.2} {:8}  {}",
                page.p50_ms, page.p95_ms, page.p99_ms, page.bytes, page.path
            );
        }
        println!("answers/s, a constant of the same size, ratio, p99 ms, connections:");
        for row in &report.throughput {
            println!(
                "  {:8.0} {:8.0} {:5.2} {:7.1} {:5}  {}",
                row.per_s, row.constant_per_s, row.ratio, row.p99_ms, row.connections, row.path
            );
        }
        let streams = &report.streams;
        println!(
            "{} idle streams ({} open at the end): {:.0} MB, {:.0} MB without; {:.2} s of processor time for an event of none of them",
            streams.count, streams.open, streams.with_mb, streams.without_mb, streams.idle_cpu_s
        );
        Ok(())
    }

    fn measure(&self, folder: &Path) -> Result<Report> {
        let data = DataDir::open(&folder.join("service"))?;
        let running = wiring::start(&data, self.options())?;
        let (market_id, tokens) = trading_floor(&running, 1)?;
        running.stop()?;
        let seed = Seed {
            market_id: market_id.clone(),
            holders: self.positions,
            began_at: jiff::Timestamp::now().as_millisecond() - 30 * 86_400_000,
        };
        let store = reopened(&data)?;
        seed.open_accounts(&store)?;
        seed.trade(&store, 0..self.trades)?;
        drop(store);
        let running = wiring::start(&data, self.options())?;
        let bench = Measuring {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            run_id: run_of(&running, &tokens[0], &market_id)?,
            running: &running,
            token: &tokens[0],
            market_id,
            settings: self,
        };
        let pages = PAGES.iter().map(|path| bench.page(path)).collect();
        let mut throughput = Vec::new();
        for path in ASKED {
            for &connections in &self.connections {
                throughput.push(bench.throughput(path, connections)?);
            }
        }
        let report = Report {
            trades: self.trades,
            pages: Result::<_>::from_iter::<Vec<_>>(pages)?,
            throughput,
            streams: bench.streams()?,
        };
        running.stop()?;
        Ok(report)
    }

    fn options(&self) -> wiring::Options {
        let mut options = quiet_options();
        options.web.max_streams = self.streams + 16;
        options
    }
}

fn run_of(running: &Running, token: &str, market_id: &str) -> Result<String> {
    let actor = running.service.actor_of_token(token)?;
    let context = plumbline_service::context::Context::of(actor);
    Ok(running.service.market(&context, market_id)?.run_id)
}

/// What all measurements have in common.
struct Measuring<'a> {
    runtime: Runtime,
    running: &'a Running,
    token: &'a str,
    market_id: String,
    run_id: String,
    settings: &'a Web,
}

impl Measuring<'_> {
    fn path(&self, path: &str) -> String {
        path.replace("{id}", &self.market_id)
            .replace("{run}", &self.run_id)
    }

    /// The bytes of one answer.
    fn body(&self, path: &str) -> Result<Vec<u8>> {
        let url = format!("{}{}", self.running.server.url(), self.path(path));
        let asked = async {
            let request = reqwest::Client::new().get(url).bearer_auth(self.token);
            let answer = request.send().await?.error_for_status()?;
            answer.bytes().await
        };
        Ok(self.runtime.block_on(asked)?.to_vec())
    }

    fn page(&self, path: &'static str) -> Result<Page> {
        let url = self.running.server.url();
        let asked = self.path(path);
        let latencies = gets(&url, self.token, &asked, SAMPLES);
        let latencies = self.runtime.block_on(latencies).context(path)?;
        Ok(Page {
            path,
            bytes: self.body(path)?.len(),
            p50_ms: percentile(&latencies, 0.50),
            p95_ms: percentile(&latencies, 0.95),
            p99_ms: percentile(&latencies, 0.99),
        })
    }

    fn throughput(&self, path: &'static str, connections: usize) -> Result<Throughput> {
        let constant = serve_constant(
            &self.settings.options().web,
            Constant {
                status: 200,
                content_type: "text/html; charset=utf-8",
                body: self.body(path)?,
            },
        )?;
        let asked = self.path(path);
        let seconds = self.settings.seconds / f64::from(2 * TURNS);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            for (server, turns) in [(&self.running.server, &mut ours), (&constant, &mut theirs)] {
                let url = server.url();
                let read = gets_for(&url, self.token, &asked, connections, seconds);
                turns.push(self.runtime.block_on(read).context(path)?);
            }
        }
        constant.stop()?;
        let rate = |turns: &[Answered]| {
            turns.iter().map(|turn| turn.per_s).sum::<f64>() / turns.len() as f64
        };
        let mut latencies: Vec<u32> = ours
            .iter()
            .flat_map(|turn| turn.latencies_us.iter().copied())
            .collect();
        latencies.sort_unstable();
        Ok(Throughput {
            path,
            connections,
            per_s: rate(&ours),
            constant_per_s: rate(&theirs),
            ratio: rate(&ours) / rate(&theirs),
            p99_ms: percentile(&latencies, 0.99),
        })
    }

    fn streams(&self) -> Result<Streams> {
        let without_mb = resident_mb()?;
        let followers = follow(self)?;
        let with_mb = resident_mb()?;
        // What concerns none of them should cost the same as without them.
        let before = cpu_time();
        self.running.provision("newcomer", &["participant"])?;
        let run = plumbline_service::commands::RegisterRun {
            name: "another".into(),
            parameters: 0,
        };
        let (operator, _) = self.running.provision("another", &["scheduler"])?;
        self.running.service.register_run(&operator, &run)?;
        let until = Instant::now() + SETTLED;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let idle_cpu_s = cpu_time() - before;
        Ok(Streams {
            count: self.settings.streams,
            without_mb,
            with_mb,
            idle_cpu_s,
            open: followers
                .end()?
                .parse()
                .context("the followers said nothing")?,
        })
    }
}

/// Resident memory of this process.
fn resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(kib.context("the system does not say how much memory this process has")? / 1_024.0)
}

/// Processor seconds that this process has used.
fn cpu_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Starts followers of the market.
fn follow(bench: &Measuring<'_>) -> Result<LoadProcess> {
    let path = format!("/api/v1/events?topics=market:{}", bench.market_id);
    let (url, count) = (
        bench.running.server.url(),
        bench.settings.streams.to_string(),
    );
    let command = ["bench", "follow-events", "--url", &url, "--path", &path];
    LoadProcess::start(
        &[&command[..], &["--count", &count]].concat(),
        bench.token,
        "",
    )
}

impl Follow {
    pub fn run(self) -> Result<()> {
        let (token, _) = load_process::token_and_input()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (ready, stop) = (load_process::say_ready, load_process::told_to_stop());
        let held = hold_streams(&self.url, &token, &self.path, self.count, ready, stop);
        let (open, _) = runtime.block_on(held)?;
        println!("{open}");
        Ok(())
    }
}
