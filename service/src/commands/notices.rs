//! Bodies of requests about following and notifications.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /follows`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowTopic {
    /// `market:ID`, `run:ID`, `proposal:ID`, or `proposals` for all of them.
    pub topic: String,
}

/// `POST /notifications/read`: one of the two
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// The one with this id.
    #[serde(default)]
    pub id: Option<i64>,
    /// All up to and including the one with this id.
    #[serde(default)]
    pub up_to: Option<i64>,
}

/// Which way notices of a kind come.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChooseKind {
    /// The kind: `price`, `evidence`, `challenge`, `settled`, `market`, `decision`, `proposal`, `seat`, `security`.
    pub kind: String,
    /// Whether they are listed in the application.
    pub app: bool,
    /// Whether they are mailed.
    pub mail: bool,
}

/// `PUT /notifications/preferences`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChooseNotices {
    /// Kinds to change; those that are not named stay as they are.
    pub choices: Vec<ChooseKind>,
}

/// `PUT /me/mail`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMailAddress {
    /// Where notices are mailed, once a code that is mailed there was shown.
    pub address: String,
    /// `once`: soon after something happened; `daily`: one mail a day.
    pub pace: String,
}

/// `POST /me/mail/verification`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyMailAddress {
    /// The eight digits from the mail.
    pub code: String,
}
