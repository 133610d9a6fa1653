//! `plumbline proposal`, `delegate`, `stake` and `seal`: deciding together, over the public API only.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::access::{Desk, amount, block_on, micro, plain, read_json, text};

/// Largest action read from a file.
const MAX_ACTION: u64 = 512 * 1024;

#[derive(Debug, Subcommand)]
pub enum ProposalCommand {
    /// Proposals, newest first
    List(List),
    /// One proposal: what it would do, the count, its life so far
    Show(Show),
    /// Write a proposal from a JSON action, or from a policy
    Create(Create),
    /// Pay part of a proposal's deposit
    Pay(Pay),
    /// Vote, or vote otherwise than before
    Vote(Vote),
    /// Take an own proposal back before its vote begins
    Withdraw(Show),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    desk: Desk,
    /// Those in a state, e.g. voting
    #[arg(long)]
    state: Option<String>,
    /// Those of a track, e.g. policy-change
    #[arg(long)]
    track: Option<String>,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    desk: Desk,
    /// Proposal id
    id: String,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    desk: Desk,
    /// One line
    #[arg(long)]
    title: String,
    /// Why
    #[arg(long, default_value = "")]
    body: String,
    /// The action, JSON, e.g. {"kind": "tighten", "run": "sleeper", "cap_bps": 500, "term_s": 86400}; `-` for standard
    /// input
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "policy",
        conflicts_with = "policy"
    )]
    action: Option<PathBuf>,
    /// Propose this policy, TOML
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Track, where the action allows another than its own
    #[arg(long)]
    track: Option<String>,
    /// Part of the deposit to pay at once, in credits
    #[arg(long, value_parser = micro, default_value = "0")]
    deposit: i64,
    /// Only compute what it would do
    #[arg(long)]
    preview: bool,
}

#[derive(Debug, Args)]
pub struct Pay {
    #[command(flatten)]
    desk: Desk,
    /// Proposal id
    id: String,
    /// How much, in credits
    #[arg(value_parser = micro)]
    credits: i64,
}

#[derive(Debug, Args)]
pub struct Vote {
    #[command(flatten)]
    desk: Desk,
    /// Proposal id
    id: String,
    /// for, against or abstain
    side: String,
    /// Level of conviction: the weight of the stake, and how long it stays locked
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=6))]
    conviction: u8,
}

#[derive(Debug, Subcommand)]
pub enum StakeCommand {
    /// Your stake and delegations
    Show(Desk),
    /// Add to the stake
    Add(Amount),
    /// Take part of it back
    Withdraw(Amount),
}

#[derive(Debug, Args)]
pub struct Amount {
    #[command(flatten)]
    desk: Desk,
    /// How much, in credits
    #[arg(value_parser = micro)]
    credits: i64,
}

/// Have another account vote with your stake on a track, wherever you do not.
#[derive(Debug, Args)]
pub struct Delegate {
    #[command(flatten)]
    desk: Desk,
    /// Track, e.g. policy-change
    track: String,
    /// Handle of the delegate
    #[arg(required_unless_present = "end")]
    delegate: Option<String>,
    /// Level of conviction
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=6))]
    conviction: u8,
    /// End the delegation
    #[arg(long, conflicts_with = "delegate")]
    end: bool,
}

#[derive(Debug, Subcommand)]
pub enum SealCommand {
    /// Seals, newest first
    List(Desk),
    /// Sign the use of a seal on a run
    Use(UseSeal),
}

#[derive(Debug, Args)]
pub struct UseSeal {
    #[command(flatten)]
    desk: Desk,
    /// Seal id
    id: String,
    /// Id or name of the run to cap
    run: String,
}

impl ProposalCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::List(list) => list.run().await,
                Self::Show(show) => show.run().await,
                Self::Create(create) => create.run().await,
                Self::Pay(pay) => pay.run().await,
                Self::Vote(vote) => vote.run().await,
                Self::Withdraw(show) => show.withdraw().await,
            }
        })
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let filters = [("state", self.state), ("track", self.track)];
        let query = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let rows = client.documents(&["proposals"], query).await?;
        self.desk.print_all(&rows, "no proposal", line)
    }
}

fn line(proposal: &Value) -> String {
    format!(
        "{}  {:<10}  {:<18}  {}",
        text(proposal, "id"),
        text(proposal, "state"),
        text(proposal, "track"),
        plain(text(proposal, "title"))
    )
}

/// A proposal with its effect and its count.
fn whole(proposal: &Value) -> String {
    let mut out = line(proposal);
    let effect = &proposal["effect"];
    out.push_str(&format!("\n{}", plain(text(effect, "summary"))));
    for run in effect["runs"].as_array().into_iter().flatten() {
        out.push_str(&format!("\n  {}", change(run)));
    }
    for fact in effect["facts"].as_array().into_iter().flatten() {
        let (name, value) = (text(fact, "name"), text(fact, "value"));
        out.push_str(&format!("\n  {}: {}", plain(name), plain(value)));
    }
    let tally = &proposal["tally"];
    if tally.is_object() {
        out.push_str(&format!(
            "\nfor {}  against {}  abstain {}  approval {} of {} bps  turnout {} of {} bps",
            amount(tally, "for_micro"),
            amount(tally, "against_micro"),
            amount(tally, "abstain_micro"),
            tally["approval_bps"],
            tally["needed_bps"],
            tally["support_bps"],
            tally["quorum_bps"]
        ));
    }
    for step in proposal["steps"].as_array().into_iter().flatten() {
        let (state, at) = (text(step, "state"), text(step, "at"));
        out.push_str(&format!("\n{at}  {state}  {}", plain(text(step, "note"))));
    }
    out
}

/// What a run is granted and would be.
pub fn change(run: &Value) -> String {
    format!(
        "{}: {} {} bps, then {} {} bps, {} in time",
        plain(text(run, "name")),
        text(run, "action"),
        run["share_bps"],
        text(run, "then_action"),
        run["then_share_bps"],
        run["then_target_bps"]
    )
}

impl Show {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let proposal = client.document(&["proposals", &self.id]).await?;
        self.desk.print(&proposal, whole)
    }

    async fn withdraw(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let proposal = client.take_back(&["proposals", &self.id]).await?;
        self.desk.print(&proposal, line)
    }
}

impl Create {
    async fn run(self) -> Result<()> {
        let action = match (&self.action, &self.policy) {
            (_, Some(path)) => json!({"kind": "policy-change", "toml": policy_text(path)?}),
            (Some(path), None) => read_json(path, MAX_ACTION)?,
            (None, None) => anyhow::bail!("give --action or --policy"),
        };
        let mut body = json!({"title": self.title, "body": self.body, "action": action, "deposit_micro": self.deposit});
        if let Some(track) = &self.track {
            body["track"] = json!(track);
        }
        let client = self.desk.access.client()?;
        if self.preview {
            let effect = client.make(&["proposals", "preview"], &body).await?;
            return self
                .desk
                .print(&effect, |effect| plain(text(effect, "summary")));
        }
        let proposal = client.make(&["proposals"], &body).await?;
        self.desk.print(&proposal, whole)
    }
}

/// A policy document.
pub fn policy_text(path: &Path) -> Result<String> {
    let bytes = crate::access::read_bounded(path, MAX_ACTION)?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))
}

impl Pay {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let body = json!({"amount_micro": self.credits});
        let proposal = client
            .make(&["proposals", &self.id, "deposits"], &body)
            .await?;
        self.desk.print(&proposal, line)
    }
}

impl Vote {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let body = json!({"side": self.side, "conviction": self.conviction});
        let proposal = client
            .make(&["proposals", &self.id, "votes"], &body)
            .await?;
        self.desk.print(&proposal, whole)
    }
}

impl StakeCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let (desk, path, credits) = match self {
                Self::Show(desk) => {
                    let stake = desk.access.client()?.document(&["stakes"]).await?;
                    return desk.print(&stake, stake_line);
                }
                Self::Add(add) => (add.desk, &["stakes"][..], add.credits),
                Self::Withdraw(take) => (take.desk, &["stakes", "withdrawals"][..], take.credits),
            };
            let body = json!({"stake_micro": credits});
            let stake = desk.access.client()?.make(path, &body).await?;
            desk.print(&stake, stake_line)
        })
    }
}

fn stake_line(stake: &Value) -> String {
    let mut out = format!(
        "staked {}, of which {} give weight",
        amount(stake, "stake_micro"),
        amount(stake, "voting_micro")
    );
    if let Some(until) = stake["locked_until"].as_str() {
        out.push_str(&format!(", locked until {until}"));
    }
    for name in ["delegations", "delegators"] {
        for row in stake[name].as_array().into_iter().flatten() {
            let (from, to) = (text(row, "account"), text(row, "delegate"));
            out.push_str(&format!("\n{}: {from} -> {to}", text(row, "track")));
        }
    }
    out
}

impl Delegate {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let client = self.desk.access.client()?;
            let stake = match &self.delegate {
                Some(delegate) => {
                    let body = json!({
                        "track": self.track, "delegate": delegate, "conviction": self.conviction,
                    });
                    client.make(&["delegations"], &body).await?
                }
                None => client.take_back(&["delegations", &self.track]).await?,
            };
            self.desk.print(&stake, stake_line)
        })
    }
}

impl SealCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::List(desk) => {
                    let seals = desk
                        .access
                        .client()?
                        .documents(&["seals"], Vec::new())
                        .await?;
                    desk.print_all(&seals, "no seal", seal_line)
                }
                Self::Use(using) => {
                    let client = using.desk.access.client()?;
                    let body = json!({"run": using.run});
                    let seal = client.make(&["seals", &using.id, "use"], &body).await?;
                    using.desk.print(&seal, seal_line)
                }
            }
        })
    }
}

fn seal_line(seal: &Value) -> String {
    format!(
        "{}  {:<8}  {} bps for {} s  {}",
        text(seal, "id"),
        text(seal, "status"),
        seal["cap_bps"],
        seal["term_s"],
        plain(text(seal, "title"))
    )
}
