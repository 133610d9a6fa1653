//! `plumbline node`: one node of a run that trains elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use plumbline_training_model::DeviceName;
use plumbline_training_net::remote::{ListenOptions, MemberOptions, Ticket, Worker, identity};
use serde_json::json;

use crate::stop::told_to_stop;

/// How often the node is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a node may take to say goodbye before the process ends without it.
const FAREWELL: Duration = Duration::from_secs(20);

/// Joins a run as a node. It trains with one thread; start one for each core
/// that the run shall have. Started again on the same folder it is the same
/// node and goes on from its state.
#[derive(Debug, Args)]
pub struct Node {
    /// What the run's operator gave out
    #[arg(long, value_name = "TICKET", env = "PLUMBLINE_TICKET")]
    join: String,
    /// What to compute on: cpu, cuda, or cuda:N for the GPU of that number
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Most of a core, or of the GPU, to give, 0 to 1
    #[arg(long, default_value_t = 1.0)]
    max_share: f64,
    /// Train on this folder, text file or JSONL instead of the run's corpus
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder for the node's key and state
    #[arg(long, default_value = "plumbline-node")]
    data_dir: PathBuf,
    /// Address to listen on; unless given, loopback where the coordinator is on
    /// loopback, and every address else
    #[arg(long)]
    bind: Option<SocketAddr>,
    /// A relay to be reached through as well; none unless given
    #[arg(long)]
    relay: Option<String>,
    /// Seconds to look for the coordinator at first
    #[arg(long, default_value_t = 30)]
    connect_seconds: u64,
    /// Seconds to look for it when the connection was lost
    #[arg(long, default_value_t = 600)]
    patience_seconds: u64,
    /// Print one JSON object when joined, and one at the end
    #[arg(long)]
    json: bool,
}

impl Node {
    pub fn run(self) -> Result<()> {
        // First, and before the ticket is looked at: most that is wrong with a GPU shows here.
        self.device.describe()?;
        if !(self.max_share > 0.0 && self.max_share <= 1.0) {
            bail!(
                "--max-share is {}, must be above 0 and at most 1",
                self.max_share
            );
        }
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| format!("cannot make {}", self.data_dir.display()))?;
        let _only = self.lock()?;
        let worker = Worker::start(self.member()?, self.data.as_deref(), self.device)?;
        self.tell_joined(&worker);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let left = runtime.block_on(watch(&worker))?;
        if left && worker.is_alive() {
            bail!("the inner step in progress does not end; the run's coordinator will notice");
        }
        let meter = (worker.meter().rounds(), worker.meter().computing_share());
        worker.finish()?;
        self.tell_end(left, meter);
        Ok(())
    }

    /// Two processes with one key would take each other's place again and again.
    fn lock(&self) -> Result<std::fs::File> {
        let path = self.data_dir.join("lock");
        let file = std::fs::File::create(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!(
                "another node works in {}; give each a --data-dir of its own",
                self.data_dir.display()
            );
        }
        Ok(file)
    }

    fn member(&self) -> Result<MemberOptions> {
        let ticket: Ticket = self.join.parse()?;
        let near = ticket
            .addresses
            .iter()
            .all(|address| address.ip().is_loopback());
        let bind = self.bind.unwrap_or_else(|| {
            let ip = if near { [127, 0, 0, 1] } else { [0, 0, 0, 0] };
            SocketAddr::from((ip, 0))
        });
        Ok(MemberOptions {
            key: identity(&self.data_dir.join("node.key"))?,
            listen: ListenOptions {
                address: bind,
                relay: self.relay.clone().or_else(|| ticket.relay.clone()),
            },
            folder: self.data_dir.clone(),
            connect: Duration::from_secs(self.connect_seconds),
            patience: Duration::from_secs(self.patience_seconds),
            max_share_bps: (self.max_share * 10_000.0).round().max(1.0) as u32,
            ticket,
        })
    }

    fn tell_joined(&self, worker: &Worker) {
        let (job, speed) = (worker.job(), worker.tokens_per_second());
        let (device, mfu) = (worker.device(), worker.utilisation());
        if self.json {
            let line = json!({"status": "joined", "node": worker.id(), "run": job.run,
                "tokens_per_second": speed, "device": device.name.to_string(),
                "device_model": device.model, "products": worker.products(), "mfu": mfu});
            println!("{line}");
            return;
        }
        println!("node {} joined run {:?}", worker.id(), job.run);
        let products = worker.products();
        println!(
            "{speed:.0} tokens per second by its own measure on {device} with {products} products"
        );
        if let Some(mfu) = mfu {
            println!("{:.1} % model FLOPs utilisation", 100.0 * mfu);
        }
    }

    fn tell_end(&self, left: bool, (rounds, computing): (u64, f64)) {
        let status = if left { "left" } else { "over" };
        if self.json {
            println!(
                "{}",
                json!({"status": status, "rounds": rounds,
                "computing_share": computing})
            );
            return;
        }
        let percent = 100.0 * computing;
        println!("{status}; {rounds} rounds, with work to do {percent:.0} % of the time");
    }
}

/// Waits for the end; `true` when told to stop.
async fn watch(worker: &Worker) -> Result<bool> {
    let stop = told_to_stop();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            result = &mut stop => {
                result?;
                worker.leave();
                let begun = std::time::Instant::now();
                while worker.is_alive() && begun.elapsed() < FAREWELL {
                    tokio::time::sleep(LOOK).await;
                }
                return Ok(true);
            }
            () = tokio::time::sleep(LOOK) => {
                if !worker.is_alive() {
                    return Ok(false);
                }
            }
        }
    }
}
