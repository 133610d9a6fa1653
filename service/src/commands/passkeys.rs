//! Bodies of requests about passkeys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /me/passkeys/options`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginPasskey {
    /// The account's password.
    pub password: String,
    /// A one-time code, where the account asks for one: a passkey signs in without either.
    #[serde(default)]
    pub code: Option<String>,
}

/// `POST /me/passkeys`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPasskey {
    /// The attempt, as it was given with the options.
    pub attempt: String,
    /// What its owner calls the passkey, 1 to 60 characters.
    pub name: String,
    /// What `navigator.credentials.create` answered, as its `toJSON` says it (RegistrationResponseJSON of WebAuthn).
    #[schema(value_type = Object)]
    pub credential: serde_json::Value,
}

/// `POST /passkey-sessions`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyLogin {
    /// The attempt, as it was given with the options.
    pub attempt: String,
    /// What `navigator.credentials.get` answered, as its `toJSON` says it (AuthenticationResponseJSON of WebAuthn).
    #[schema(value_type = Object)]
    pub credential: serde_json::Value,
}
