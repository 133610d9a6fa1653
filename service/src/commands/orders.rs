//! Bodies of requests about resting orders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /markets/{id}/orders`: exactly one of the two sizes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// `yes` or `no`.
    pub outcome: String,
    /// Probability of YES up to which, or down to which, the order moves the price: it runs while
    /// the price is better than this.
    pub limit_probability: f64,
    /// Buy for at most this much, fees included, micro-credits. It is set aside until the order ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_micro: Option<i64>,
    /// Sell this many micro-shares: a negative number. Shares are not set aside; the order sells
    /// what is still held when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares_micro: Option<i64>,
    /// When it ends by itself, RFC 3339; with the market unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}
