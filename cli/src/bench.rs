//! `plumbline bench`: figures with a peer measured in the same run.

mod decisions;
mod depth;
mod floor;
mod links;
mod load_process;
mod organisms;
mod seed;
mod trades;
mod training;
mod web;
mod work_folder;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Durable trades per second over HTTP, beside SQLite's own ceiling for the same rows
    Trades(trades::Trades),
    /// Quotes per second over HTTP, beside a handler that returns a constant
    Quotes(trades::Quotes),
    /// A market with a long history and many positions: quotes, lists, cost of a trade, payout
    Depth(depth::Depth),
    /// From a price that crosses a bound to a signed decision at everybody who waits for it
    Decisions(decisions::Decisions),
    /// Pages and endpoints beside a handler that returns a constant, and idle event streams
    Web(web::Web),
    /// The followers of `bench web`, which starts them itself
    #[command(hide = true)]
    FollowEvents(web::Follow),
    /// The subscribers of `bench decisions`, which starts them itself
    #[command(hide = true)]
    WaitForDecisions(decisions::Wait),
    /// Training speed of one node, beside a plain candle graph of the same model
    Training(training::Training),
    /// Runs with known truth, half of them poisoned: what prices, payouts and shares do about them
    Organisms(organisms::Organisms),
}

impl Bench {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Trades(command) => command.run(),
            Self::Quotes(command) => command.run(),
            Self::Depth(command) => command.run(),
            Self::Decisions(command) => command.run(),
            Self::Web(command) => command.run(),
            Self::FollowEvents(command) => command.run(),
            Self::WaitForDecisions(command) => command.run(),
            Self::Training(command) => command.run(),
            Self::Organisms(command) => command.run(),
        }
    }
}
