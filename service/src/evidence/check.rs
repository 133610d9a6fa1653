//! What is checked of a submission before anything is charged.

use plumbline_market::submission::nonce_is_valid;
use plumbline_oracle::exhibit::Exhibit;
use serde_json::Value;

use crate::commands::SubmitEvidence;
use crate::{Result, ServiceError};

const KINDS: [&str; 4] = ["transcript", "measurement", "report", "log"];
const MAX_TITLE: usize = 200;
pub(super) const MAX_BODY: usize = 64 * 1024;
const MAX_EXHIBITS: usize = 16;
const MAX_ATTACHMENTS: usize = 8;

/// A commitment that a submission reveals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reveal {
    pub(super) commitment_id: String,
    pub(super) nonce: String,
}

/// The exhibits of a well-formed submission.
pub(super) fn exhibits(cmd: &SubmitEvidence) -> Result<Vec<Exhibit>> {
    if !KINDS.contains(&cmd.kind.as_str()) {
        return Err(ServiceError::invalid(
            "bad-kind",
            format!("kind is one of {}", KINDS.join(", ")),
        ));
    }
    let title = cmd.title.trim();
    if title.is_empty() || title.chars().count() > MAX_TITLE {
        return Err(ServiceError::invalid(
            "bad-title",
            format!("a title has 1 to {MAX_TITLE} characters"),
        ));
    }
    if cmd.body.len() > MAX_BODY {
        return Err(ServiceError::invalid(
            "body-too-long",
            format!("the body has at most {MAX_BODY} bytes"),
        ));
    }
    if cmd.stake_micro <= 0 {
        return Err(ServiceError::invalid(
            "bad-stake",
            "stake_micro is above zero",
        ));
    }
    if cmd.exhibits.is_empty() || cmd.exhibits.len() > MAX_EXHIBITS {
        return Err(ServiceError::invalid(
            "bad-exhibits",
            format!("bring 1 to {MAX_EXHIBITS} exhibits"),
        ));
    }
    if cmd.attachments.len() > MAX_ATTACHMENTS {
        return Err(ServiceError::invalid(
            "too-many-attachments",
            format!("attach at most {MAX_ATTACHMENTS} files"),
        ));
    }
    let parse = |value: &Value| {
        serde_json::from_value(value.clone())
            .map_err(|error| ServiceError::invalid("bad-exhibit", error.to_string()))
    };
    cmd.exhibits.iter().map(parse).collect()
}

pub(super) fn bad_nonce() -> ServiceError {
    ServiceError::invalid(
        "bad-nonce",
        "a nonce has 16 to 128 visible ASCII characters",
    )
}

/// The commitment that a submission reveals, if it reveals one.
pub(super) fn reveal(cmd: &SubmitEvidence) -> Result<Option<Reveal>> {
    match (&cmd.commitment, &cmd.nonce) {
        (None, None) => Ok(None),
        (Some(commitment_id), Some(nonce)) if nonce_is_valid(nonce) => Ok(Some(Reveal {
            commitment_id: commitment_id.clone(),
            nonce: nonce.clone(),
        })),
        (Some(_), Some(_)) => Err(bad_nonce()),
        _ => Err(ServiceError::invalid(
            "bad-reveal",
            "a reveal names both its commitment and its nonce",
        )),
    }
}
