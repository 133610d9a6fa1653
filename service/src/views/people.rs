//! What requests about accounts of people answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MeView;

/// A session, for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// What the session is called; no secret.
    pub id: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// What the browser called itself at sign-in.
    pub agent: String,
    /// When it was opened.
    pub created_at: String,
    /// When it was last used, to ten minutes.
    pub last_seen_at: String,
    /// When it ends.
    pub expires_at: String,
}

/// An invitation, without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationView {
    /// Identifier.
    pub id: String,
    /// `open`, `used`, `expired` or `revoked`.
    pub state: String,
    /// Whom it is for.
    pub note: String,
    /// Roles that the account will have; where empty, those of anybody who signs up.
    pub roles: Vec<String>,
    /// Handle of the operator who made it.
    pub created_by: String,
    /// When.
    pub created_at: String,
    /// Until when it can be used.
    pub expires_at: String,
    /// Handle of the account that was made with it.
    pub used_by: Option<String>,
    /// When.
    pub used_at: Option<String>,
}

/// An invitation that was just made. `code` is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationMade {
    /// The invitation.
    pub invitation: InvitationView,
    /// The code, `plbi_…`.
    pub code: String,
}

/// Whether an account asks for one-time codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecondFactorView {
    /// Whether it does.
    pub enabled: bool,
    /// Whether a key was made and waits for its first code.
    pub pending: bool,
    /// Since when.
    pub since: Option<String>,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: i64,
}

/// A key for one-time codes that was just made. It is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecondFactorKey {
    /// The key in base 32, to be typed.
    pub secret: String,
    /// The same as an `otpauth://` address, which authenticators read from a picture.
    pub address: String,
}

/// Codes for the day on which the authenticator is lost, each good once. They are shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// The codes.
    pub codes: Vec<String>,
}

/// Everything that the service has about an account, secrets left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccountExport {
    /// When it was made.
    pub exported_at: String,
    /// The account.
    pub account: MeView,
    /// Whether it asks for one-time codes.
    pub second_factor: SecondFactorView,
    /// Its passkeys.
    pub passkeys: Vec<super::PasskeyView>,
    /// Its sessions.
    pub sessions: Vec<SessionInfo>,
    /// Its tokens, revoked ones too.
    #[schema(value_type = Vec<Object>)]
    pub tokens: Vec<serde_json::Value>,
    /// What it holds in markets.
    #[schema(value_type = Vec<Object>)]
    pub positions: serde_json::Value,
    /// What it is as a juror, if it is or was one.
    #[schema(value_type = Option<Object>)]
    pub juror: serde_json::Value,
    /// Every entry of its ledger, newest first.
    #[schema(value_type = Vec<Object>)]
    pub transfers: Vec<serde_json::Value>,
    /// Its orders, newest first.
    #[schema(value_type = Vec<Object>)]
    pub orders: Vec<serde_json::Value>,
    /// Its trades, moves of evidence and payouts, newest first.
    #[schema(value_type = Vec<Object>)]
    pub history: Vec<serde_json::Value>,
    /// Its comments.
    #[schema(value_type = Vec<Object>)]
    pub comments: Vec<serde_json::Value>,
    /// What it follows.
    #[schema(value_type = Vec<Object>)]
    pub follows: Vec<serde_json::Value>,
    /// What it was told, newest first.
    #[schema(value_type = Vec<Object>)]
    pub notifications: Vec<serde_json::Value>,
    /// Where that is mailed.
    pub mail: super::MailView,
    /// Whether nothing was left out for its length.
    pub complete: bool,
}
