//! `plumbline order`: resting orders.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::access::{Desk, amount, block_on, micro, plain, price, text};

#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Place an order that runs while the price is better than its limit
    Place(Place),
    /// Your open orders of a market
    List(List),
    /// Take an order back; what was set aside for it returns
    Cancel(Cancel),
}

#[derive(Debug, Args)]
pub struct Place {
    #[command(flatten)]
    desk: Desk,
    /// Market id
    market: String,
    /// `yes` or `no`
    outcome: String,
    /// Probability of YES up to which, or down to which, it moves the price
    #[arg(long)]
    limit: f64,
    #[command(flatten)]
    size: Size,
    /// When it ends by itself, as 2030-01-31T12:00:00Z; with the market unless given
    #[arg(long)]
    expires: Option<String>,
}

/// Exactly one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Size {
    /// Buy for at most this much, fees included, in credits; it is set aside
    #[arg(long, value_parser = micro)]
    spend: Option<i64>,
    /// Sell so many shares
    #[arg(long, value_parser = micro)]
    sell: Option<i64>,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    desk: Desk,
    /// Market id
    market: String,
    /// Those that have ended, too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    desk: Desk,
    /// Order id
    id: String,
}

impl OrderCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::Place(place) => place.run().await,
                Self::List(list) => list.run().await,
                Self::Cancel(cancel) => cancel.run().await,
            }
        })
    }
}

impl Place {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let mut body = json!({"outcome": self.outcome, "limit_probability": self.limit});
        if let Some(spend) = self.size.spend {
            body["spend_micro"] = json!(spend);
        }
        if let Some(shares) = self.size.sell {
            body["shares_micro"] = json!(-shares);
        }
        if let Some(expires) = self.expires {
            body["expires_at"] = json!(expires);
        }
        let path = ["markets", &self.market, "orders"];
        let order = client.make(&path, &body).await?;
        self.desk.print(&order, line)
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let path = ["markets", &self.market, "orders"];
        let mut orders = client.documents(&path, Vec::new()).await?;
        orders.retain(|order| self.all || text(order, "status") == "open");
        self.desk.print_all(&orders, "no order", line)
    }
}

impl Cancel {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let order = client.take_back(&["orders", &self.id]).await?;
        self.desk.print(&order, line)
    }
}

fn line(order: &Value) -> String {
    let rest = if order["shares_micro"].is_null() {
        format!("{} credits left", amount(order, "remaining_micro"))
    } else {
        format!("{} shares left to sell", amount(order, "remaining_micro"))
    };
    format!(
        "{}  {:<9}  {} {} to {}  {rest}; {} shares for {} credits so far",
        text(order, "id"),
        text(order, "status"),
        plain(text(order, "outcome")),
        text(order, "side"),
        price(order, "limit_probability"),
        amount(order, "filled_shares_micro"),
        amount(order, "cost_micro"),
    )
}
