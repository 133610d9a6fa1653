//! What the HTTP API answers about markets of several outcomes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One outcome of a market.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeView {
    /// Its name.
    pub name: String,
    /// Posted price: the probability that this is the outcome. The prices of a market sum to one.
    pub probability: f64,
    /// Price at opening.
    pub opening_probability: f64,
    /// Micro-shares in the hands of traders.
    pub shares_micro: i64,
    /// What a share paid, in [0, 1], once the market is settled.
    pub settlement: Option<f64>,
}

/// What an account holds of one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeHolding {
    /// The outcome's name.
    pub outcome: String,
    /// Micro-shares, above zero.
    pub shares_micro: i64,
}

/// The prices of all outcomes after one trade, or at the opening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutcomePrices {
    /// When.
    pub at: String,
    /// Outcome that was traded; absent at the opening.
    pub outcome: Option<String>,
    /// Id of the trade; absent at the opening.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Prices in the order of the market's `outcomes`.
    pub probabilities: Vec<f64>,
}
