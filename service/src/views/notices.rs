//! What the HTTP API answers about following and notifications.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that concerns the person who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// Identifier; grows.
    pub id: i64,
    /// `price`, `evidence`, `challenge`, `settled`, `market`, `decision`, `proposal`, `seat` or `security`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The rest, plain text.
    pub body: String,
    /// Path of the page about it.
    pub link: String,
    /// When it happened.
    pub at: String,
    /// When it was marked as read.
    pub read_at: Option<String>,
}

/// `GET /notifications`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticesPage {
    /// Newest first.
    pub items: Vec<NoticeView>,
    /// Ask with this for the next page; absent on the last one.
    pub next_cursor: Option<String>,
    /// Unread ones, on whatever page.
    pub unread: u64,
}

/// `POST /notifications/read`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnreadView {
    /// Those that are still unread.
    pub unread: u64,
}

/// Which way notices of a kind come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChoiceView {
    /// The kind.
    pub kind: String,
    /// What it tells of.
    pub what: String,
    /// Listed in the application.
    pub app: bool,
    /// Mailed, once an address is verified.
    pub mail: bool,
    /// It cannot be taken off the list.
    pub app_fixed: bool,
}

/// Something that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowView {
    /// `market:ID`, `run:ID`, `proposal:ID`, `panel:ID` or `proposals`.
    pub topic: String,
    /// Its name or claim.
    pub name: String,
    /// Path of its page.
    pub link: String,
    /// Followed since one took part, and not because one asked.
    pub by_taking_part: bool,
    /// Told of what happened after this.
    pub since: String,
}

/// `GET /me/mail`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailView {
    /// Whether this service sends mail.
    pub offered: bool,
    /// Where it goes.
    pub address: Option<String>,
    /// `once` or `daily`.
    pub pace: Option<String>,
    /// When its owner proved to read it; nothing is mailed before.
    pub verified_at: Option<String>,
}
