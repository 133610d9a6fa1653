//! `plumbline enforce`: a scheduler's side of the decision contract, with ready-made hands.

mod bindings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use plumbline_agents::Client;
use plumbline_agents::enforce::{
    Consumer, ConsumerConfig, Enforcer, ExecEnforcer, Method, ProcessEnforcer, ProcessOptions,
    Resize, Selector, Signal, SlurmEnforcer, SlurmOptions, Targets, TrustedKeys,
};
use plumbline_governance::Workload;
use plumbline_governance::dsse::PublicKeyRecord;
use plumbline_governance::policy::Signatures;
use tokio::sync::watch;
use uuid::Uuid;

use self::bindings::{Bindings, StateFolder};
use crate::access::{block_on, read_json};
use crate::stop::told_to_stop;

/// Longest file of keys, bytes.
const MOST_KEYS: u64 = 64 * 1024;

/// Reads signed decisions, acts on them, and acknowledges what is in force
#[derive(Debug, Subcommand)]
pub enum Enforce {
    /// Run a program of your own for every order
    Exec(Exec),
    /// Hold processes of this machine to a share of its cores
    Process(Process),
    /// Hold the jobs of runs to a share of the nodes of a Slurm partition
    Slurm(Slurm),
}

/// What every enforcer needs.
#[derive(Debug, Args)]
struct Contract {
    /// Where the service is
    #[arg(long, default_value = "http://127.0.0.1:8600", env = "PLUMBLINE_URL")]
    url: String,
    /// API token with the scopes read and schedule
    #[arg(long, env = "PLUMBLINE_TOKEN", hide_env_values = true)]
    token: String,
    /// Stable name in the acknowledgements
    #[arg(long)]
    scheduler: String,
    /// Pool whose decisions are acted on
    #[arg(long, default_value = "default")]
    pool: String,
    /// Folder of its own, in which it remembers decisions, keys and runs over a restart
    #[arg(long, value_name = "FOLDER", default_value = "plumbline-enforce")]
    state: PathBuf,
    /// File with the service's public keys, as GET /api/v1/keys shows them; without it those of the first
    /// contact are kept
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Distinct signatures without which nothing that loosens or terminates is acted on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    signatures_to_loosen: u8,
    /// Seconds after which what is in force is looked at again
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
}

/// For every order, runs a program that brings the run to the order's share
#[derive(Debug, Args)]
pub struct Exec {
    #[command(flatten)]
    contract: Contract,
    /// Name or id of a run to control
    #[arg(long = "run", value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Seconds that the program may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    limit: u64,
    /// The program and its arguments; it gets the order on standard input and as PLUMBLINE_ variables
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Holds processes to a quota of processor time, and stops them for a share of 0
#[derive(Debug, Args)]
pub struct Process {
    #[command(flatten)]
    contract: Contract,
    /// A run and its processes: RUN=pid:N, RUN=pidfile:PATH, RUN=cgroup:PATH
    #[arg(long = "run", value_name = "RUN=PROCESSES", required = true)]
    runs: Vec<String>,
    /// Cores that the whole pool stands for; those of this machine by default
    #[arg(long)]
    cores: Option<f64>,
    /// How a share is held
    #[arg(long, value_enum, default_value = "auto")]
    method: HowProcess,
    /// Signal that tells a process to save its state before it is stopped
    #[arg(long, value_name = "SIGNAL")]
    checkpoint_signal: Option<Signal>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HowProcess {
    /// In a control group if one can be made, else by signals
    Auto,
    /// In a control group only
    Cgroup,
    /// By stopping and continuing the processes
    Signal,
}

/// Shrinks, requeues, holds and releases jobs; needs the rights of a Slurm operator
#[derive(Debug, Args)]
pub struct Slurm {
    #[command(flatten)]
    contract: Contract,
    /// A run and the name of its jobs: RUN=JOBNAME, or RUN where they are the same
    #[arg(long = "run", value_name = "RUN=JOBNAME", required = true)]
    runs: Vec<String>,
    /// Partition whose nodes are the pool
    #[arg(long)]
    partition: String,
    /// What is done about a running job that holds too many nodes
    #[arg(long, value_enum, default_value = "live")]
    resize: HowSlurm,
    /// Signal that tells a job to save its state before nodes are taken from it
    #[arg(long, value_name = "SIGNAL")]
    checkpoint_signal: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HowSlurm {
    /// Take nodes from it while it runs
    Live,
    /// Requeue it, and start it again with fewer nodes
    Restart,
    /// Requeue it, and start it when it fits
    Never,
}

impl Enforce {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::Exec(command) => command.run().await,
                Self::Process(command) => command.run().await,
                Self::Slurm(command) => command.run().await,
            }
        })
    }
}

impl Exec {
    async fn run(self) -> Result<()> {
        let (program, arguments) = self.program.split_first().context("name a program")?;
        let folder = StateFolder::open(&self.contract.state)?;
        let runs = self.runs.into_iter().map(|run| (run.clone(), run));
        let runs = self.contract.bind(&folder, runs.collect()).await?;
        let limit = Duration::from_secs(self.limit);
        let enforcer = ExecEnforcer::new(program.clone(), arguments.to_vec(), limit, runs);
        self.contract.consume(&folder, enforcer).await
    }
}

impl Process {
    async fn run(self) -> Result<()> {
        let cores = match self.cores {
            Some(cores) => cores,
            None => std::thread::available_parallelism()?.get() as f64,
        };
        ensure!(
            cores.is_finite() && (0.01..=100_000.0).contains(&cores),
            "--cores lies between 0.01 and 100,000"
        );
        let folder = StateFolder::open(&self.contract.state)?;
        let mut selected = BTreeMap::new();
        for entry in &self.runs {
            let (run, processes) = entry
                .split_once('=')
                .with_context(|| format!("`{entry}` is not RUN=PROCESSES"))?;
            let processes: Selector = processes.parse().map_err(anyhow::Error::msg)?;
            selected.insert(run.to_owned(), processes);
        }
        let runs = self.contract.bind(&folder, selected).await?;
        let options = ProcessOptions {
            cores,
            method: match self.method {
                HowProcess::Auto => Method::Auto,
                HowProcess::Cgroup => Method::Cgroup,
                HowProcess::Signal => Method::Signal,
            },
            checkpoint: self.checkpoint_signal,
        };
        let enforcer = ProcessEnforcer::new(options, runs);
        self.contract.consume(&folder, enforcer).await
    }
}

impl Slurm {
    async fn run(self) -> Result<()> {
        let folder = StateFolder::open(&self.contract.state)?;
        let named = self.runs.iter().map(|entry| {
            let (run, job) = entry.split_once('=').unwrap_or((entry, entry));
            (run.to_owned(), job.to_owned())
        });
        let runs = self.contract.bind(&folder, named.collect()).await?;
        let options = SlurmOptions {
            partition: self.partition,
            resize: match self.resize {
                HowSlurm::Live => Resize::Live,
                HowSlurm::Restart => Resize::Restart,
                HowSlurm::Never => Resize::Never,
            },
            checkpoint: self.checkpoint_signal,
            conf: None,
            folder: folder.path().to_owned(),
        };
        let enforcer = SlurmEnforcer::new(options, runs)?;
        self.contract.consume(&folder, enforcer).await
    }
}

impl Contract {
    fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.url, Some(self.token.clone()))?)
    }

    /// The ids of runs that were given by name. What was found once is kept: a name that is given to another
    /// run later does not move what is controlled.
    async fn bind<T>(
        &self,
        folder: &StateFolder,
        runs: BTreeMap<String, T>,
    ) -> Result<BTreeMap<Uuid, T>> {
        let mut bindings = Bindings::load(folder)?;
        let client = self.client()?;
        let mut bound = BTreeMap::new();
        for (name, value) in runs {
            let uid = bindings.find(&client, &name).await?;
            if bound.insert(uid, value).is_some() {
                bail!("run {name} is named twice");
            }
        }
        bindings.save(folder)?;
        Ok(bound)
    }

    fn trusted(&self) -> Result<TrustedKeys> {
        let Some(path) = &self.keys else {
            return Ok(TrustedKeys::FirstSeen);
        };
        let keys: Vec<PublicKeyRecord> = serde_json::from_value(read_json(path, MOST_KEYS)?)
            .with_context(|| format!("{} holds no list of keys", path.display()))?;
        Ok(TrustedKeys::Pinned(keys))
    }

    /// Acts on decisions until it is told to stop. Then everything stays as it is.
    async fn consume<E: Enforcer>(&self, folder: &StateFolder, enforcer: E) -> Result<()> {
        let every = Duration::from_secs(self.every);
        let config = ConsumerConfig {
            targets: Targets {
                uids: None,
                workload: Some(Workload::Training),
            },
            reapply: every,
            signatures: Signatures {
                tighten: 1,
                loosen: self.signatures_to_loosen,
            },
            ..ConsumerConfig::new(
                self.scheduler.as_str(),
                self.pool.as_str(),
                self.trusted()?,
                folder.state_file(),
            )
        };
        let mut consumer = Consumer::new(self.client()?, config, enforcer)?;
        let (stop, stopped) = watch::channel(false);
        let told = async {
            told_to_stop().await?;
            let _ = stop.send(true);
            std::future::pending::<Result<()>>().await
        };
        tracing::info!(scheduler = %self.scheduler, pool = %self.pool, "enforcing");
        tokio::select! {
            ended = consumer.run(stopped) => Ok(ended?),
            failed = told => failed,
        }
    }
}
