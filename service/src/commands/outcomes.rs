//! What a market of several outcomes adds to the body of `POST /markets`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One of 3 to 64 outcomes, of which exactly one happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeTerms {
    /// Name, 1 to 120 bytes, unique in the market; not `yes` or `no`. With a test plan: one of its
    /// candidates, verbatim, or `none`.
    pub name: String,
    /// Opening probability, at least 0.01/n. Outcomes without one share equally what the others leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}
