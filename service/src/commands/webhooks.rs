//! Bodies of requests about webhooks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /webhooks`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// Where notices go: an `https` address that is not private.
    pub url: String,
    /// Topics as for `/events`: `allocations`, `market:ID`, `market:*`, …; 1 to 16.
    pub topics: Vec<String>,
}
