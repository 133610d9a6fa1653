//! `plumbline notifications`: what happened to what one follows.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::access::{Desk, block_on, plain, text};

#[derive(Debug, Subcommand)]
pub enum NotificationsCommand {
    /// Your notifications, newest first
    List(List),
    /// Mark one as read, or all of them
    Read(Read),
    /// What you follow
    Follows(Desk),
    /// Follow market:ID, run:ID, proposal:ID, or proposals
    Follow(Topic),
    /// Leave what you follow
    Leave(Topic),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    desk: Desk,
    /// Only those that were not read
    #[arg(long)]
    unread: bool,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
}

#[derive(Debug, Args)]
pub struct Read {
    #[command(flatten)]
    desk: Desk,
    /// The one with this id; all of them without it
    id: Option<i64>,
}

#[derive(Debug, Args)]
pub struct Topic {
    #[command(flatten)]
    desk: Desk,
    /// As in the list of what you follow
    topic: String,
}

impl NotificationsCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::List(list) => list.run().await,
                Self::Read(read) => read.run().await,
                Self::Follows(desk) => follows(&desk).await,
                Self::Follow(topic) => topic.follow().await,
                Self::Leave(topic) => topic.leave().await,
            }
        })
    }
}

/// The newest page.
async fn newest(desk: &Desk, unread: bool, limit: u16) -> Result<Vec<Value>> {
    let query = vec![("unread", unread.to_string()), ("limit", limit.to_string())];
    let page = desk
        .access
        .client()?
        .page(&["notifications"], query)
        .await?;
    match &page["items"] {
        Value::Array(items) => Ok(items.clone()),
        _ => bail!("the service answered with no list"),
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let items = newest(&self.desk, self.unread, self.limit).await?;
        self.desk.print_all(&items, "nothing", line)
    }
}

fn line(notice: &Value) -> String {
    let mark = if notice["read_at"].is_null() {
        "*"
    } else {
        " "
    };
    format!(
        "{mark} {}  {}  {:<9}  {}",
        notice["id"],
        text(notice, "at"),
        text(notice, "kind"),
        plain(text(notice, "title")),
    )
}

impl Read {
    async fn run(self) -> Result<()> {
        let body = match self.id {
            Some(id) => json!({"id": id}),
            None => match newest(&self.desk, false, 1).await?.first() {
                Some(newest) => json!({"up_to": newest["id"]}),
                None => json!({"up_to": 0}),
            },
        };
        let client = self.desk.access.client()?;
        let left = client.make(&["notifications", "read"], &body).await?;
        self.desk
            .print(&left, |left| format!("{} unread", left["unread"]))
    }
}

async fn follows(desk: &Desk) -> Result<()> {
    let client = desk.access.client()?;
    let all = client.documents(&["follows"], Vec::new()).await?;
    desk.print_all(&all, "nothing", followed)
}

fn followed(follow: &Value) -> String {
    format!("{}  {}", text(follow, "topic"), plain(text(follow, "name")))
}

impl Topic {
    async fn follow(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let body = json!({"topic": self.topic});
        let follow = client.make(&["follows"], &body).await?;
        self.desk.print(&follow, followed)
    }

    async fn leave(self) -> Result<()> {
        let client = self.desk.access.client()?;
        client.remove(&["follows", &self.topic]).await?;
        let left = json!({"topic": self.topic});
        self.desk
            .print(&left, |left| format!("left {}", text(left, "topic")))
    }
}
