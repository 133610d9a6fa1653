//! Bodies of requests about the oracle.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /oracle/versions`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterOracleVersion {
    /// Name of the judge that the weights are for.
    pub judge: String,
    /// The weights file, standard base64; at most 16 MiB, and no more than the server takes as a body.
    pub weights: String,
    /// How they did on cases that they were not fitted on, as `plumbline oracle train` prints it: an object with
    /// 1 to 200 `rows`, at most 64 KiB in all.
    #[schema(value_type = Object)]
    pub report: serde_json::Value,
}
