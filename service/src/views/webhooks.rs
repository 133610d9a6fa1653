//! What the HTTP API answers about webhooks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An address that is told of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookView {
    /// Identifier.
    pub id: String,
    /// Where notices go.
    pub url: String,
    /// Topics.
    pub topics: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// Failures since the last success.
    pub failures: i64,
    /// Since when it fails.
    pub failing_since: Option<String>,
    /// When it is tried again, where it fails.
    pub next_attempt_at: Option<String>,
    /// Why it ended; absent while it works.
    pub ended: Option<String>,
}

/// `POST /webhooks`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookCreated {
    /// The webhook.
    pub webhook: WebhookView,
    /// What its notices are signed with, `whsec_…`; shown this once.
    pub secret: String,
}

/// One attempt to deliver a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// The event.
    pub event_id: i64,
    /// When.
    pub at: String,
    /// Which attempt, from 1.
    pub attempt: i64,
    /// HTTP status of the answer.
    pub status: Option<i64>,
    /// Why there was none.
    pub error: Option<String>,
}
