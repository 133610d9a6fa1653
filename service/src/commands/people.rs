//! Bodies of requests about accounts of people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /invitations`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Whom it is for; only operators see it. At most 120 characters.
    #[serde(default)]
    pub note: String,
    /// Days that it is good for, 1 to 90.
    #[serde(default = "a_week")]
    pub valid_days: u32,
    /// Roles that the account will have; never `operator`. Without any: `participant` and `researcher`.
    #[serde(default)]
    pub roles: Vec<String>,
}

fn a_week() -> u32 {
    7
}

/// `POST /me/password`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The present password.
    pub current: String,
    /// The new one; 12 to 256 characters that are not soon guessed.
    pub new: String,
}

/// `POST /me/second-factor`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivePassword {
    /// The account's password.
    pub password: String,
}

/// `POST /me/second-factor/confirmation`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmSecondFactor {
    /// What the authenticator shows now.
    pub code: String,
}

/// `POST /me/second-factor/removal`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveSecondFactor {
    /// The account's password.
    pub password: String,
    /// A one-time code, or a recovery code.
    pub code: String,
}

/// `POST /me/closure`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseAccount {
    /// The account's password.
    pub password: String,
    /// A one-time code, where the account asks for one.
    #[serde(default)]
    pub code: Option<String>,
    /// What is left of the balance goes to the treasury. Without it, a balance keeps the account open.
    #[serde(default)]
    pub surrender: bool,
}
