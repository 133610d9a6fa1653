//! Versions of the oracle, as far as a vote can put one in force.
//!
//! This release keeps one ensemble and no versions of it, so every version is unknown: such a proposal is
//! refused when it is written, and again if one had got through.

use plumbline_store::Tx;
use serde_json::Value;

use crate::time::Millis;
use crate::{Result, ServiceError};

/// Refuses a version that is not kept.
pub(super) fn check_version(_tx: &mut Tx, version_id: &str) -> Result<()> {
    Err(ServiceError::refused(
        "unknown-oracle-version",
        format!("no version of the oracle has the id {version_id}"),
    ))
}

/// Puts a version in force; what was done comes back.
pub(super) fn adopt_version(
    tx: &mut Tx,
    version_id: &str,
    _proposal_id: &str,
    _now: Millis,
) -> Result<Value> {
    check_version(tx, version_id)?;
    Ok(Value::Null)
}
