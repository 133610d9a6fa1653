//! The `plumbline` binary: wiring and subcommands, nothing else.
//!
//! Each subcommand has a file of its own. What goes wrong is reported as one
//! line that says what to do, and exit code 1 (2 for a command line that makes
//! no sense).

// In a binary nothing is reachable from outside; `pub` marks what other modules use.
#![allow(unreachable_pub)]

mod access;
mod admin;
mod adversary;
mod audit;
mod bench;
mod claims;
mod completions;
mod courier;
mod data_dir;
mod demo;
mod embedded;
mod enforce;
mod entropy;
mod evidence;
mod exhibit_file;
mod import;
mod job;
mod judges;
mod keep;
mod keys;
mod manual;
mod market;
mod mcp;
mod node;
mod notifications;
mod oracle;
mod order;
mod panel;
mod policy;
mod postman;
mod progress;
mod proposal;
mod remote;
mod run;
mod scheduler;
mod serve;
mod settings;
mod settlement;
mod simulate;
mod stop;
mod trade;
mod train;
mod treasury;
mod wiring;

use std::io::IsTerminal;

use clap::{Parser, Subcommand};

/// Prices the probability that an AI run is misaligned, pays for evidence, and
/// turns prices into signed compute allocations.
#[derive(Debug, Parser)]
#[command(name = "plumbline", version, propagate_version = true)]
struct Cli {
    /// Settings in place of options that are not given; $PLUMBLINE_CONFIG or ~/.config/plumbline/plumbline.toml unless
    /// named
    #[arg(long, global = true, value_name = "FILE")]
    // Read by `settings`, before the rest of the line can be.
    #[allow(dead_code)]
    config: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Serve),
    /// Run the service with two governed training runs, one of them poisoned, and an adversary
    Demo(demo::Demo),
    /// Probe open markets' runs and submit what is found as evidence
    Adversary(adversary::Adversary),
    /// Act on signed decisions as a scheduler: a program of yours, processes, or Slurm
    #[command(subcommand)]
    Enforce(enforce::Enforce),
    /// Train and evaluate the lexical judge
    #[command(subcommand)]
    Oracle(oracle::Oracle),
    /// Check an allocation policy, replay it on the record, list its versions
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Proposals: list, show, write, pay for, vote
    #[command(subcommand)]
    Proposal(proposal::ProposalCommand),
    /// Your stake in votes
    #[command(subcommand)]
    Stake(proposal::StakeCommand),
    /// Have another account vote with your stake on a track
    Delegate(proposal::Delegate),
    /// Seals: list them, sign their use
    #[command(subcommand)]
    Seal(proposal::SealCommand),
    /// The operator's tasks on the service's machine: backup, restore, lost and stolen credentials
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Export the books, check an export with independent code, recompute draws
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Keys that verify decisions: list, register, retire, rotate; sign beside the service
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// List markets, or show one
    #[command(subcommand)]
    Market(market::MarketCommand),
    /// Say what a trade would do now, and do nothing
    Quote(trade::Quote),
    /// Trade with the market maker
    Trade(trade::Trade),
    /// Resting orders: place, list, cancel
    #[command(subcommand)]
    Order(order::OrderCommand),
    /// Evidence: submit, commit and reveal, fees, disputes
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Serve agents: a Model Context Protocol server on standard input and output
    Mcp(mcp::Mcp),
    /// How a market ends: show the record, propose, challenge
    #[command(subcommand)]
    Settlement(settlement::SettlementCommand),
    /// Jury duty: list seats, commit and reveal votes
    #[command(subcommand)]
    Panel(panel::PanelCommand),
    /// Runs that a service trains: start, stop, tickets and stakes of nodes
    #[command(subcommand)]
    Run(run::RunCommand),
    /// What happened to what you follow: list, mark as read, follow, leave
    #[command(subcommand)]
    Notifications(notifications::NotificationsCommand),
    /// What inference earned, statements of it, and your shares: list, claim
    #[command(subcommand)]
    Treasury(treasury::TreasuryCommand),
    /// Train a model on nodes of this machine and others, without a service
    Train(train::Train),
    /// Take part in a run that trains elsewhere
    Node(node::Node),
    /// Simulate many worlds with crashes and have the auditor check each
    Simulate(simulate::Simulate),
    /// Reproducible benchmarks, each beside a peer measured in the same run
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Print what makes a shell complete commands and options
    Completions(manual::Completions),
    /// Write manual pages, one for each command
    Man(manual::Man),
}

fn main() -> std::process::ExitCode {
    let cli: Cli = settings::parse();
    start_log();
    match dispatch(cli.command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // The chain on one line: what failed, then why.
            eprintln!("plumbline: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Adversary(command) => command.run(),
        Command::Enforce(command) => command.run(),
        Command::Oracle(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Proposal(command) => command.run(),
        Command::Stake(command) => command.run(),
        Command::Delegate(command) => command.run(),
        Command::Seal(command) => command.run(),
        Command::Admin(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Market(command) => command.run(),
        Command::Quote(command) => command.run(),
        Command::Trade(command) => command.run(),
        Command::Order(command) => command.run(),
        Command::Evidence(command) => command.run(),
        Command::Mcp(command) => command.run(),
        Command::Settlement(command) => command.run(),
        Command::Panel(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Notifications(command) => command.run(),
        Command::Treasury(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Node(command) => command.run(),
        Command::Simulate(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

/// Logs go to standard error, so that `--json` output stays clean; `RUST_LOG` chooses what.
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Colours would be noise in a file or a journal.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
}
