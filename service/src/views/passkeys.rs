//! What requests about passkeys answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A passkey, for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyView {
    /// Identifier.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whether the device keeps a copy elsewhere, so that it outlives the device.
    pub synced: bool,
    /// When it was added.
    pub created_at: String,
    /// When it last signed in.
    pub last_used_at: Option<String>,
}

/// An account's passkeys, and whether they can be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeysView {
    /// Origin of the pages on which passkeys work; none where they cannot.
    pub origin: Option<String>,
    /// Why they cannot be used here, for people.
    pub unavailable: Option<String>,
    /// The account's passkeys, oldest first; at most ten.
    pub passkeys: Vec<PasskeyView>,
}

/// What a browser is to be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyChallenge {
    /// Goes back with the answer; good once, and for whoever has it alone.
    pub attempt: String,
    /// The `publicKey` of `navigator.credentials.create` or `get`, with bytes as base64url: what
    /// `parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON` read.
    #[schema(value_type = Object)]
    pub options: serde_json::Value,
    /// Seconds in which the answer must come.
    pub expires_in_s: i64,
}
