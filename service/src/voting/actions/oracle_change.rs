//! Putting a version of the oracle in force by vote.

use plumbline_store::{Tx, oracle_versions};
use serde_json::{Value, json};

use crate::error::if_found;
use crate::learning;
use crate::time::Millis;
use crate::views::EffectFact;
use crate::{Result, Service, ServiceError};

impl Service {
    /// Refuses a version that is not kept, or that the judges of this process cannot be set to.
    pub(super) fn check_version(&self, version_id: &str) -> Result<()> {
        match self.check_oracle_version(version_id) {
            Err(ServiceError::NotFound { .. }) => Err(unknown(version_id)),
            other => other,
        }
    }
}

fn unknown(version_id: &str) -> ServiceError {
    ServiceError::refused(
        "unknown-oracle-version",
        format!("no version of the oracle has the id {version_id}"),
    )
}

/// What is known of a version and of the one in force.
pub(super) fn facts(tx: &mut Tx, version_id: &str) -> Result<Vec<EffectFact>> {
    let wanted = if_found(oracle_versions::get(tx, version_id))?;
    let wanted = wanted.ok_or_else(|| unknown(version_id))?;
    let fact = |name: &str, value: String| EffectFact {
        name: name.to_owned(),
        value,
    };
    let mut facts = vec![
        fact("version", wanted.number.to_string()),
        fact("origin", wanted.origin),
        fact("settled cases it learnt from", wanted.cases.to_string()),
    ];
    if let Some(current) = oracle_versions::in_force(tx)? {
        facts.push(fact("version in force", current.number.to_string()));
        facts.push(fact("its cases", current.cases.to_string()));
    }
    Ok(facts)
}

/// Puts a version in force; what was done comes back.
pub(super) fn adopt_version(
    tx: &mut Tx,
    version_id: &str,
    proposal_id: &str,
    now: Millis,
) -> Result<Value> {
    let by = format!("proposal {proposal_id}");
    let changed = match learning::adopt(tx, version_id, &by, now) {
        Err(ServiceError::NotFound { .. }) => return Err(unknown(version_id)),
        other => other?,
    };
    Ok(json!({"version_id": version_id, "changed": changed}))
}
