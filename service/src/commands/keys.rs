//! Bodies of requests about the keys of guardians.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /keys`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterKey {
    /// Ed25519 public key, 32 bytes as standard base64.
    pub public_key: String,
    /// Signature with it, 64 bytes as standard base64, over the lines `plumbline key possession v1`, pool,
    /// account id and public key, each with its end.
    pub proof: String,
}

/// `POST /allocations/{id}/signatures` and `POST /keys/{id}/signatures`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSignature {
    /// Your key.
    pub key_id: String,
    /// Signature with it over the envelope's pre-authentication encoding, 64 bytes as standard base64.
    pub signature: String,
}
