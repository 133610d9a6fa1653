//! `plumbline mcp`: the market's tools for agents that speak the Model Context Protocol.

use anyhow::Result;
use clap::Args;
use plumbline_agents::mcp;

use crate::access::{Access, block_on};

#[derive(Debug, Args)]
pub struct Mcp {
    #[command(flatten)]
    access: Access,
    /// Offer no tool that spends anything
    #[arg(long)]
    read_only: bool,
}

impl Mcp {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let client = self.access.client()?;
            Ok(mcp::serve(client, self.read_only).await?)
        })
    }
}
