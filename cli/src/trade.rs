//! `plumbline quote` and `plumbline trade`: the same order, asked about or executed.

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value};

use crate::access::{Desk, amount, block_on, credits, micro, plain, price, text};

#[derive(Debug, Args)]
pub struct Quote {
    #[command(flatten)]
    desk: Desk,
    #[command(flatten)]
    order: Order,
}

#[derive(Debug, Args)]
pub struct Trade {
    #[command(flatten)]
    desk: Desk,
    #[command(flatten)]
    order: Order,
    /// Refuse the trade if it came to more than this, fees included, in credits
    #[arg(long, value_parser = micro)]
    max_cost: Option<i64>,
    /// Refuse the sale if it brought in less than this, fees taken off, in credits
    #[arg(long, value_parser = micro)]
    min_proceeds: Option<i64>,
}

/// What to trade.
#[derive(Debug, Args)]
pub struct Order {
    /// Market id
    market: String,
    /// `yes` or `no`, or an outcome's name where there are several
    outcome: String,
    #[command(flatten)]
    size: Size,
    /// Refuse the whole trade if the probability would pass this
    #[arg(long)]
    limit: Option<f64>,
}

/// Exactly one of the four.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Size {
    /// Buy for at most this much, fees included, in credits
    #[arg(long, value_parser = micro)]
    spend: Option<i64>,
    /// Buy so many shares
    #[arg(long, value_parser = micro)]
    shares: Option<i64>,
    /// Sell so many shares
    #[arg(long, value_parser = micro)]
    sell: Option<i64>,
    /// Trade until the probability is this
    #[arg(long)]
    to: Option<f64>,
}

impl Order {
    fn body(&self) -> Map<String, Value> {
        let shares = self.size.shares.or(self.size.sell.map(|shares| -shares));
        let fields = [
            ("outcome", Some(Value::from(self.outcome.as_str()))),
            ("spend_micro", self.size.spend.map(Value::from)),
            ("shares_micro", shares.map(Value::from)),
            ("target_probability", self.size.to.map(Value::from)),
            ("limit_probability", self.limit.map(Value::from)),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }
}

impl Quote {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let client = self.desk.access.client()?;
            let path = ["markets", &self.order.market, "quotes"];
            let quote = client.make(&path, &self.order.body()).await?;
            self.desk.print(&quote, quoted)
        })
    }
}

impl Trade {
    pub fn run(self) -> Result<()> {
        block_on(async {
            let mut body = self.order.body();
            for (name, value) in [
                ("max_cost_micro", self.max_cost),
                ("min_proceeds_micro", self.min_proceeds),
            ] {
                body.extend(value.map(|value| (name.to_owned(), Value::from(value))));
            }
            let client = self.desk.access.client()?;
            let path = ["markets", &self.order.market, "trades"];
            let trade = client.make(&path, &body).await?;
            self.desk.print(&trade, traded)
        })
    }
}

fn quoted(quote: &Value) -> String {
    let shares = quote["shares_micro"].as_i64().unwrap_or(0);
    let total = quote["total_micro"].as_i64().unwrap_or(0);
    let cut = if quote["truncated"] == true {
        "; less than asked, as the price reaches its bound"
    } else {
        ""
    };
    format!(
        "{} {} {} for {} credits, {} of it fees; the price goes from {} to {}{cut}",
        if shares < 0 { "sells" } else { "buys" },
        credits(shares.saturating_abs()),
        plain(text(quote, "outcome")),
        credits(total.saturating_abs()),
        amount(quote, "fee_micro"),
        price(quote, "probability_before"),
        price(quote, "probability_after"),
    )
}

fn traded(trade: &Value) -> String {
    let cost = trade["cost_micro"].as_i64().unwrap_or(0);
    format!(
        "trade {}: {} {} credits, fees {}; the price went from {} to {}",
        text(trade, "id"),
        if cost < 0 { "received" } else { "paid" },
        credits(cost.saturating_abs()),
        amount(trade, "fee_micro"),
        price(trade, "probability_before"),
        price(trade, "probability_after"),
    )
}
