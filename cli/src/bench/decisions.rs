//! `plumbline bench decisions`: from a settlement, or a price that crosses a bound, to a signed decision at
//! everybody who waits for it, and what solving for shares takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use plumbline_agents::bench::{Arrivals, Subscribers, percentile};
use plumbline_governance::Bps;
use plumbline_governance::allocator::{Pool, Request, allocate};
use serde::Serialize;
use uuid::Uuid;

use super::load_process::{self, LoadProcess};
use super::work_folder::WorkFolder;
use site::Site;

mod site;

/// Between two causes, so that everybody waits again.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// Times that a program is solved for one figure.
const SOLVED: usize = 5;

#[derive(Debug, Args)]
pub struct Decisions {
    /// Runs that share the pool
    #[arg(long, default_value_t = 1_000)]
    runs: usize,
    /// Numbers of subscribers to measure, half by long poll and half by stream; each follows one run in turn, then all
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    subscribers: Vec<usize>,
    /// Settlements and crossings of a bound, by turns, for each of them
    #[arg(long, default_value_t = 20)]
    causes: usize,
    /// Numbers of runs to solve for besides
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    solve: Vec<usize>,
    /// Folder for the measured database; a temporary one by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

/// The other side of `bench decisions`; started by it.
#[derive(Debug, Args)]
pub struct Wait {
    #[arg(long)]
    url: String,
    #[arg(long)]
    count: usize,
    #[arg(long)]
    since: i64,
}

/// One line of `bench decisions --json`.
#[derive(Debug, Serialize)]
struct Row {
    runs: usize,
    subscribers: usize,
    /// `one`: each waits for the decisions on one run. `all`: each for those on every run.
    following: Option<&'static str>,
    /// Subscribers times causes that were read.
    read: usize,
    /// From before the transaction that is the cause to the decision read by one subscriber.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
    /// From the same moment to the first who read it.
    first_p50_ms: Option<f64>,
    /// Shares of all runs from the allocator, median.
    solve_ms: f64,
    /// Subscribers that gave up.
    lost: u64,
}

impl Decisions {
    pub fn run(self) -> Result<()> {
        let mut rows = Vec::new();
        if !self.subscribers.is_empty() {
            let most = self.subscribers.iter().copied().max().unwrap_or(0);
            let work = WorkFolder::of(self.data_dir.as_deref())?;
            let site = Site::start(work.path(), self.runs, most)?;
            for &count in &self.subscribers {
                for following in ["one", "all"] {
                    rows.push(measure(&site, count, self.causes, following)?);
                }
            }
            site.stop()?;
        }
        for &runs in &self.solve {
            rows.push(Row {
                runs,
                subscribers: 0,
                following: None,
                read: 0,
                p50_ms: None,
                p99_ms: None,
                max_ms: None,
                first_p50_ms: None,
                solve_ms: solve_ms(runs)?,
                lost: 0,
            });
        }
        if self.json {
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(());
        }
        println!(
            "   runs  subscribers  following  first ms  p50 ms  p99 ms  max ms  solve ms  lost"
        );
        let figure = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.1}"));
        for row in &rows {
            println!(
                "{:7} {:12} {:>10} {:>9} {:>7} {:>7} {:>7} {:9.2} {:5}",
                row.runs,
                row.subscribers,
                row.following.unwrap_or("–"),
                figure(row.first_p50_ms),
                figure(row.p50_ms),
                figure(row.p99_ms),
                figure(row.max_ms),
                row.solve_ms,
                row.lost
            );
        }
        Ok(())
    }
}

/// Measures the service with so many subscribers.
fn measure(site: &Site, subscribers: usize, causes: usize, following: &'static str) -> Result<Row> {
    // From the next run on, so that what happens next concerns somebody however few there are.
    let runs = if following == "one" {
        site.next_runs()
    } else {
        Vec::new()
    };
    let (mut expected, followed) = (0, runs.len().max(1));
    let waiting = subscribe(site, subscribers, &runs)?;
    let mut caused = BTreeMap::new();
    for number in 0..causes {
        let (since, before) = (site.version()?, unix_micros());
        // By turns, so that neither is measured in a quieter moment.
        let run = if number % 2 == 0 {
            site.cross_a_bound()?
        } else {
            site.settle_against()?
        };
        let first = runs.iter().position(|uid| *uid == run).unwrap_or(0);
        expected += (subscribers + followed - 1 - first) / followed;
        caused.insert(site.throttled_since(since, &run)?, before);
        std::thread::sleep(BETWEEN);
    }
    let (arrivals, lost): (Arrivals, u64) =
        serde_json::from_str(&waiting.end()?).context("the subscribers said nothing")?;
    let mut all: Vec<u32> = Vec::new();
    let mut first: Vec<u32> = Vec::new();
    for (version, before) in &caused {
        let times = arrivals.get(version).map_or(&[][..], Vec::as_slice);
        let late = |time: &u64| u32::try_from(time.saturating_sub(*before)).unwrap_or(u32::MAX);
        first.extend(times.first().map(late));
        all.extend(times.iter().map(late));
    }
    anyhow::ensure!(
        all.len() as u64 + lost * causes as u64 >= expected as u64,
        "only {} of {expected} decisions were read",
        all.len(),
    );
    all.sort_unstable();
    first.sort_unstable();
    Ok(Row {
        runs: site.runs(),
        subscribers,
        following: Some(following),
        read: all.len(),
        p50_ms: Some(percentile(&all, 0.5)),
        p99_ms: Some(percentile(&all, 0.99)),
        max_ms: Some(percentile(&all, 1.0)),
        first_p50_ms: Some(percentile(&first, 0.5)),
        solve_ms: solve_ms(site.runs())?,
        lost,
    })
}

fn unix_micros() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    })
}

/// Median time of the allocator on a pool of many kinds of runs, milliseconds.
fn solve_ms(runs: usize) -> Result<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let requests: Vec<Request> = (0..runs)
        .map(|n| Request {
            run: Uuid::from_u128(n as u128),
            value: 1.0 + draw(4) as f64 / 4.0,
            severity: 1.0,
            upper: draw(1_001) as f64 / 1_000.0,
            floor: Bps::ZERO,
            cap: Bps::saturating(1 + draw(200) as u32),
            cap_reason: "the most that the policy gives one run".to_owned(),
        })
        .collect();
    let pool = Pool {
        capacity: Bps::FULL,
        risk_budget: 0.3,
    };
    let mut times = Vec::with_capacity(SOLVED);
    for _ in 0..SOLVED {
        let began = Instant::now();
        allocate(&requests, &pool)?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[SOLVED / 2])
}

/// Starts subscribers of these runs in turn, or of all when there are none.
fn subscribe(site: &Site, count: usize, runs: &[String]) -> Result<LoadProcess> {
    let (url, count, since) = (site.url(), count.to_string(), site.version()?.to_string());
    let command = ["bench", "wait-for-decisions", "--url", &url];
    let args = [&command[..], &["--count", &count, "--since", &since]].concat();
    LoadProcess::start(&args, site.token(), &runs.join(" "))
}

impl Wait {
    pub fn run(self) -> Result<()> {
        let (token, runs) = load_process::token_and_input()?;
        let subscribers = Subscribers {
            runs: runs.split_whitespace().map(str::to_owned).collect(),
            base_url: self.url,
            token,
            count: self.count,
            since: self.since,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = load_process::told_to_stop();
        let found = runtime.block_on(subscribers.wait(load_process::say_ready, stop))?;
        println!("{}", serde_json::to_string(&found)?);
        Ok(())
    }
}
