//! Weights that somebody trained, registered as a candidate with the report that speaks for them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plumbline_access::Action;
use plumbline_store::oracle_versions;
use serde_json::Value;

use super::force::{build, content_of, insert};
use super::versions::named;
use crate::accounts::account_of;
use crate::commands::RegisterOracleVersion;
use crate::context::Context;
use crate::views::OracleVersionView;
use crate::{Result, Service, ServiceError};

/// Largest weights file.
const MAX_WEIGHTS: usize = 16 * 1024 * 1024;
/// Largest report.
const MAX_REPORT: usize = 64 * 1024;
/// Rows of a report at most.
const MAX_ROWS: usize = 200;

impl Service {
    /// Keeps weights for a judge as a candidate: the version in force with these weights.
    ///
    /// Its `report` is the held-out report that `oracle train` printed, as JSON: an object whose `rows` say, set by set,
    /// how the weights did on cases that they were not fitted on. Without rows it is refused: nothing may be proposed
    /// that was not measured. Registering the same again changes nothing.
    /// Errors: `bad-report`, `bad-weights`, `weights-too-large`, `unfit-version`.
    pub fn register_oracle_version(
        &self,
        ctx: &Context,
        cmd: &RegisterOracleVersion,
    ) -> Result<OracleVersionView> {
        self.allow(&ctx.actor, Action::RegisterVersion)?;
        let weights = STANDARD
            .decode(&cmd.weights)
            .map_err(|error| ServiceError::invalid("bad-weights", format!("weights: {error}")))?;
        let judge = cmd.judge.as_str();
        if weights.is_empty() || weights.len() > MAX_WEIGHTS {
            return Err(ServiceError::invalid(
                "weights-too-large",
                format!("weights have 1 to {MAX_WEIGHTS} bytes"),
            ));
        }
        let report = check_report(&cmd.report)?;
        let account = account_of(&ctx.actor)?;
        build(
            &self.ensemble,
            self.ensemble.config(),
            &[(judge.to_owned(), weights.clone())],
        )
        .map_err(|error| ServiceError::refused("unfit-version", error.to_string()))?;
        if !self
            .ensemble
            .members()
            .iter()
            .any(|member| member.0 == judge)
        {
            return Err(ServiceError::refused(
                "unfit-version",
                format!("no judge is called {judge}"),
            ));
        }
        let hash = blake3::hash(&weights).to_hex().to_string();
        let judge = judge.to_owned();
        self.write_once(ctx, move |tx, now| {
            let in_force = oracle_versions::in_force(tx)?
                .ok_or_else(|| ServiceError::internal("no version is in force"))?;
            let version = content_of(&in_force.content)?.trained(&judge, &hash);
            oracle_versions::put_weights(tx, &hash, &judge, &weights, now)?;
            let id = insert(tx, &version, Some(report), Some(account), now)?;
            let row = oracle_versions::get(tx, &id)?;
            named(tx, &row)
        })
    }
}

fn check_report(report: &Value) -> Result<String> {
    let bad = |why: &str| ServiceError::invalid("bad-report", format!("the report {why}"));
    let rows = report.get("rows").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| bad("is an object with held-out rows"))?;
    if rows.is_empty() || rows.len() > MAX_ROWS || !rows.iter().all(Value::is_object) {
        return Err(bad(&format!("has 1 to {MAX_ROWS} held-out rows")));
    }
    let text = report.to_string();
    if text.len() > MAX_REPORT {
        return Err(bad(&format!("has at most {MAX_REPORT} bytes")));
    }
    Ok(text)
}
