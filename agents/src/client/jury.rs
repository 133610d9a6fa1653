//! Jury duty: seats, secret votes and their openings.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Client;
use crate::error::ClientError;

/// A panel, as far as its jurors act on it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Panel {
    /// Panel id.
    pub id: String,
    /// `committing`, `revealing`, `ruled`, `tie`, `no_quorum`, `withdrawn`; `closed` for others.
    pub status: String,
    /// Seats.
    pub size: i64,
    /// Commitments are taken before this.
    pub commit_by: String,
    /// Reveals are taken before this.
    pub reveal_by: String,
    /// Ruling, once there is one.
    #[serde(default)]
    pub pi: Option<f64>,
    /// Own seat.
    #[serde(default)]
    pub seat: Option<Seat>,
    /// The case, for those who may see it.
    #[serde(default)]
    pub case: Option<serde_json::Value>,
}

/// A seat.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Seat {
    /// Account id, as it goes into the commitment.
    pub account_id: String,
    /// `waiting`, `committed`, `revealed`, `denounced` or `conflicted`.
    pub state: String,
    /// What became of it.
    #[serde(default)]
    pub verdict: Option<String>,
}

/// What a commitment is the hash of. Keep it until it is revealed, and show it to nobody before:
/// whoever has it can take the seat's deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The vote, basis points; none for "cannot tell".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_bps: Option<u16>,
    /// The case does not say.
    #[serde(default)]
    pub cannot_tell: bool,
    /// 64 hex digits.
    pub nonce: String,
    /// Why; published with the ruling.
    #[serde(default)]
    pub justification: String,
}

impl Opening {
    /// An opening with a fresh nonce; no vote is "cannot tell".
    #[must_use]
    pub fn new(vote_bps: Option<u16>, justification: String) -> Self {
        let nonce: [u8; 32] = rand::random();
        Self {
            vote_bps,
            cannot_tell: vote_bps.is_none(),
            nonce: nonce.iter().map(|byte| format!("{byte:02x}")).collect(),
            justification,
        }
    }

    /// `BLAKE3("plumbline panel vote v1" ‖ len ‖ panel id ‖ len ‖ account id ‖ vote ‖ nonce ‖
    /// BLAKE3(justification))`, hex; lengths take four bytes, the vote two, big-endian, `FF FF`
    /// for "cannot tell". `None` when the nonce is not 64 hex digits.
    #[must_use]
    pub fn commitment(&self, panel_id: &str, account_id: &str) -> Option<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"plumbline panel vote v1");
        for text in [panel_id, account_id] {
            hasher.update(&u32::try_from(text.len()).ok()?.to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&self.vote_bps.unwrap_or(u16::MAX).to_be_bytes());
        hasher.update(blake3::Hash::from_hex(&self.nonce).ok()?.as_bytes());
        hasher.update(blake3::hash(self.justification.as_bytes()).as_bytes());
        Some(hasher.finalize().to_hex().to_string())
    }
}

impl Client {
    /// Panels with a seat of the token's account, following pages; newest first.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn own_panels(&self) -> Result<Vec<Panel>, ClientError> {
        self.list(&["api", "v1", "panels"], vec![("mine", "true".to_owned())])
            .await
    }

    /// One panel.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn panel(&self, id: &str) -> Result<Panel, ClientError> {
        self.get(&["api", "v1", "panels", id], Vec::new()).await
    }

    /// Adds to the account's stake as a juror.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn join_jury(&self, stake_micro: i64) -> Result<(), ClientError> {
        let path = ["api", "v1", "jurors"];
        let _: serde_json::Value = self
            .post(&path, &json!({"stake_micro": stake_micro}))
            .await?;
        Ok(())
    }

    /// Commits a vote by its hash.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn commit_vote(&self, id: &str, commitment: &str) -> Result<Panel, ClientError> {
        let path = ["api", "v1", "panels", id, "commits"];
        self.post(&path, &json!({"commitment": commitment})).await
    }

    /// Reveals a committed vote.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn reveal_vote(&self, id: &str, opening: &Opening) -> Result<Panel, ClientError> {
        self.post(&["api", "v1", "panels", id, "reveals"], opening)
            .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The numbers of the service's own tests, made by a third program.
    #[test]
    fn commitments_are_those_that_the_service_checks() {
        let text = include_str!("../../../market/tests/data/sortition.json");
        let data: serde_json::Value = serde_json::from_str(text).unwrap();
        for one in data["commitments"].as_array().unwrap() {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            let opening = Opening {
                vote_bps: one["vote"].as_u64().map(|bps| bps as u16),
                cannot_tell: one["vote"].is_null(),
                nonce: text("nonce"),
                justification: text("justification"),
            };
            assert_eq!(
                opening.commitment(&text("panel"), &text("account")),
                Some(text("commitment"))
            );
        }
        let fresh = [
            Opening::new(Some(1), String::new()),
            Opening::new(None, String::new()),
        ];
        assert_ne!(fresh[0].nonce, fresh[1].nonce);
        assert_eq!(fresh[0].nonce.len(), 64);
        assert!(fresh[1].cannot_tell);
    }
}
