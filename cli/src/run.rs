//! `plumbline run`: runs that a service trains, and the stakes of nodes that join them.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use plumbline_service::commands::{BondNode, ModelShape, OutsideTerms, StartRun, bond_text};
use plumbline_training_net::remote::identity;
use serde_json::{Value, json};

use crate::access::{Desk, amount, block_on, micro, plain, text};
use crate::entropy::hex;

#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// All governed runs, oldest first
    List(List),
    /// Start a run that the service trains
    Start(Box<Start>),
    /// End the training of a run; what it has reached is kept
    Stop(Named),
    /// Go on with a run that was stopped
    Resume(Named),
    /// What a node elsewhere needs to join: a secret
    Ticket(Named),
    /// Lock a stake that answers for a node of yours, so that it is let in
    Stake(Stake),
    /// Send a node of yours away and have its stake back after a while
    Unstake(Unstake),
    /// Stakes of nodes in a run
    Stakes(Named),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    desk: Desk,
}

#[derive(Debug, Args)]
pub struct Named {
    #[command(flatten)]
    desk: Desk,
    /// Run id or name
    run: String,
}

#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    desk: Desk,
    /// Unique name
    name: String,
    /// Name of a file or folder among the service's corpora; the Rust sources on its machine unless given
    #[arg(long)]
    corpus: Option<String>,
    /// Tokens to train on in all
    #[arg(long, default_value_t = 2_000_000)]
    tokens: u64,
    /// Node threads of the service itself; 0 makes sense with --open
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Width of the model; its other sizes follow
    #[arg(long, default_value_t = 128)]
    width: u32,
    /// Blocks of the model
    #[arg(long, default_value_t = 3)]
    layers: u32,
    /// Token ids of the model
    #[arg(long, default_value_t = 1_024)]
    vocabulary: u32,
    /// Longest context in tokens
    #[arg(long, default_value_t = 96)]
    sequence: u32,
    /// Inner steps between two exchanges
    #[arg(long, default_value_t = 30)]
    inner_steps: u32,
    /// Rows of a batch
    #[arg(long, default_value_t = 16)]
    batch: u32,
    /// Highest inner learning rate
    #[arg(long, default_value_t = 4e-3)]
    learning_rate: f64,
    /// What nodes exchange: diloco or sparseloco
    #[arg(long, default_value = "sparseloco")]
    scheme: String,
    /// How contributions become one: mean, centered_clip, …
    #[arg(long, default_value = "mean")]
    aggregator: String,
    /// Part of contributions to recompute, basis points
    #[arg(long, default_value_t = 0)]
    audit_bps: u32,
    /// Seeds parameters, data and their order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes elsewhere may join
    #[arg(long)]
    open: bool,
    /// Fewest nodes that make a round
    #[arg(long, default_value_t = 1, requires = "open")]
    quorum: u32,
    /// Admit this node key only; may be given several times
    #[arg(long, value_name = "KEY", requires = "open")]
    admit: Vec<String>,
    /// Least stake of a node, credits; needs --audit-bps
    #[arg(long, value_name = "CREDITS", value_parser = micro, default_value = "0", requires = "open")]
    least_stake: i64,
    /// Do not wait for a node that has work and does nothing for so many seconds
    #[arg(long, default_value_t = 60, requires = "open")]
    stall_seconds: u32,
}

#[derive(Debug, Args)]
pub struct Stake {
    #[command(flatten)]
    desk: Desk,
    /// Run id or name
    run: String,
    /// What is locked, credits
    #[arg(long, value_name = "CREDITS", value_parser = micro)]
    amount: i64,
    /// Folder of the node, as `plumbline node --data-dir` has it; its key is made where there is none
    #[arg(long, default_value = "plumbline-node")]
    node_dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct Unstake {
    #[command(flatten)]
    desk: Desk,
    /// Run id or name
    run: String,
    /// Stake id
    stake: String,
}

impl RunCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::List(list) => list.run().await,
                Self::Start(start) => start.run().await,
                Self::Stop(named) => named.post("stop").await,
                Self::Resume(named) => named.post("resume").await,
                Self::Ticket(named) => named.ticket().await,
                Self::Stake(stake) => stake.run().await,
                Self::Unstake(unstake) => unstake.run().await,
                Self::Stakes(named) => named.stakes().await,
            }
        })
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let runs = client.documents(&["runs"], Vec::new()).await?;
        self.desk.print_all(&runs, "no run", line)
    }
}

impl Start {
    async fn run(self) -> Result<()> {
        let outside = self.open.then(|| OutsideTerms {
            quorum: self.quorum,
            admit: self.admit.clone(),
            least_stake_micro: self.least_stake,
            stall_s: self.stall_seconds,
        });
        let terms = StartRun {
            name: self.name,
            corpus: self.corpus,
            tokens: self.tokens,
            workers: self.workers,
            model: ModelShape {
                width: self.width,
                layers: self.layers,
                vocabulary: self.vocabulary,
                sequence: self.sequence,
            },
            inner_steps: self.inner_steps,
            batch: self.batch,
            learning_rate: self.learning_rate,
            scheme: self.scheme,
            aggregator: self.aggregator,
            audit_bps: self.audit_bps,
            outside,
            seed: self.seed,
        };
        let client = self.desk.access.client()?;
        let run = client.make(&["training", "runs"], &terms).await?;
        self.desk.print(&run, line)
    }
}

impl Named {
    async fn post(self, verb: &str) -> Result<()> {
        let client = self.desk.access.client()?;
        let path = ["training", "runs", &self.run, verb];
        let run = client.make(&path, &json!({})).await?;
        self.desk.print(&run, line)
    }

    async fn ticket(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let path = ["training", "runs", &self.run, "ticket"];
        let ticket = client.document(&path).await?;
        self.desk.print(&ticket, |ticket| {
            let least = ticket["least_stake_micro"].as_i64().unwrap_or(0);
            let stake = (least > 0).then(|| {
                let (run, credits) = (text(ticket, "run_id"), amount(ticket, "least_stake_micro"));
                format!("plumbline run stake {run} --amount {credits}\n")
            });
            format!("{}{}", stake.unwrap_or_default(), text(ticket, "command"))
        })
    }

    async fn stakes(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let path = ["training", "runs", &self.run, "stakes"];
        let stakes = client.documents(&path, Vec::new()).await?;
        self.desk.print_all(&stakes, "no stake", stake_line)
    }
}

impl Stake {
    async fn run(self) -> Result<()> {
        std::fs::create_dir_all(&self.node_dir)?;
        let key = identity(&self.node_dir.join("node.key"))?;
        let client = self.desk.access.client()?;
        // By their ids: a signature over names would be worth nothing once one changes.
        let run = client.document(&["runs", &self.run]).await?;
        let me = client.document(&["me"]).await?;
        let message = bond_text(text(&run, "id"), text(&me, "id"));
        let bond = BondNode {
            node_key: hex(key.public().as_bytes()),
            stake_micro: self.amount,
            signature: hex(&key.sign(message.as_bytes()).to_bytes()),
        };
        let path = ["training", "runs", text(&run, "id"), "stakes"];
        let stake = client.make(&path, &bond).await?;
        self.desk.print(&stake, stake_line)
    }
}

impl Unstake {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let path = ["training", "runs", &self.run, "stakes", &self.stake];
        let stake = client.take_back(&path).await?;
        self.desk.print(&stake, stake_line)
    }
}

fn line(run: &Value) -> String {
    let share = run["allocation"]["share_bps"].as_i64();
    let share = share.map_or_else(
        || "no decision".to_owned(),
        |bps| format!("{} %", bps as f64 / 100.0),
    );
    format!(
        "{}  {:<10}  {:<8}  {share:>11}  {}",
        text(run, "id"),
        text(run, "status"),
        text(run, "kind"),
        plain(text(run, "name"))
    )
}

fn stake_line(stake: &Value) -> String {
    format!(
        "{}  {:<8}  {} credits, {} taken  node {}  {}",
        text(stake, "id"),
        text(stake, "status"),
        amount(stake, "stake_micro"),
        amount(stake, "slashed_micro"),
        text(stake, "node_key"),
        plain(text(stake, "account"))
    )
}
