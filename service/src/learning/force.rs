//! Which version judges, and how another comes into its place.

use std::sync::{Arc, Mutex, PoisonError};

use plumbline_access::Action;
use plumbline_oracle::Ensemble;
use plumbline_oracle::pool::PoolConfig;
use plumbline_oracle::versions::{Member, Start, VersionRecord};
use plumbline_store::oracle_versions::{self, NewVersion};
use plumbline_store::{StoreError, Tx};
use serde_json::json;

use crate::context::Context;
use crate::defences::Defences;
use crate::events::publish;
use crate::time::Millis;
use crate::views::OracleVersionView;
use crate::{Inner, Result, Service, ServiceError, oracle};

/// Topic of what happens to the oracle.
pub(super) const TOPIC: &str = "oracle";
/// What puts a version in force when the service starts.
const BY_START: &str = "start";

/// The ensemble of the version in force, made anew when another one is.
#[derive(Default)]
pub(crate) struct InForce(Mutex<Option<Judges>>);

/// Weights files, by judge.
type Files = Vec<(String, Vec<u8>)>;

/// The judges as one version has them.
#[derive(Clone)]
pub(crate) struct Judges {
    /// Id of the version.
    pub(crate) version: String,
    /// Its ensemble.
    pub(crate) ensemble: Arc<Ensemble>,
}

impl Inner {
    /// The judges in force.
    pub(crate) fn judges(&self) -> Result<Judges> {
        let id = self.read(|tx| Ok(oracle_versions::in_force_id(tx)?))?;
        let id =
            id.ok_or_else(|| ServiceError::internal("no version of the oracle is in force"))?;
        let mut known = self
            .in_force
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(judges) = known.as_ref().filter(|judges| judges.version == id) {
            return Ok(judges.clone());
        }
        let wanted = id.clone();
        let (content, weights) = self.read(move |tx| load(tx, &wanted))?;
        let ensemble = build(&self.ensemble, &content.parameters, &weights)?;
        let judges = Judges {
            version: id,
            ensemble: Arc::new(counted(ensemble, &self.config.defences)?),
        };
        *known = Some(judges.clone());
        Ok(judges)
    }
}

/// The ensemble, or one that counts judges by heads where that defence is off.
fn counted(ensemble: Ensemble, defences: &Defences) -> Result<Ensemble> {
    if defences.effective_judges {
        Ok(ensemble)
    } else {
        oracle::counted_by_heads(&ensemble)
    }
}

/// A version with the weights that it brings, by judge.
fn load(tx: &mut Tx, id: &str) -> Result<(VersionRecord, Files)> {
    let content = content_of(&oracle_versions::get(tx, id)?.content)?;
    let mut weights = Vec::new();
    for (judge, hash) in &content.start.weights {
        weights.push((judge.clone(), oracle_versions::weights(tx, hash)?));
    }
    Ok((content, weights))
}

pub(super) fn content_of(text: &str) -> Result<VersionRecord> {
    serde_json::from_str(text).map_err(ServiceError::internal)
}

/// The shipped judges with other parameters and weights. Weights of a judge that is not there now wait for it.
pub(super) fn build(
    shipped: &Ensemble,
    parameters: &PoolConfig,
    weights: &[(String, Vec<u8>)],
) -> Result<Ensemble> {
    let mut ensemble = shipped
        .pooled_by(parameters.clone())
        .map_err(ServiceError::internal)?;
    for (judge, data) in weights {
        if shipped.members().iter().any(|member| member.0 == *judge) {
            ensemble = ensemble
                .reweighted(judge, data)
                .map_err(ServiceError::internal)?;
        }
    }
    Ok(ensemble)
}

/// Where learning starts: the judges at hand, and the weights of the version in force.
pub(super) fn start_of(ensemble: &Ensemble) -> Start {
    let member = |(judge, family, version)| Member {
        judge,
        family,
        version,
    };
    Start {
        pool: ensemble.config().clone(),
        judges: ensemble.members().into_iter().map(member).collect(),
        weights: std::collections::BTreeMap::new(),
    }
}

/// Keeps the shipped version, and puts it in force where nothing or an earlier shipped one is. What was adopted stays.
pub(crate) fn start(tx: &mut Tx, ensemble: &Ensemble, now: Millis) -> Result<()> {
    let shipped = VersionRecord::shipped(&start_of(ensemble));
    let id = insert(tx, &shipped, None, None, now)?;
    let current = oracle_versions::in_force(tx)?;
    if current.is_none_or(|current| current.origin == "shipped") {
        adopt(tx, &id, BY_START, now)?;
    }
    Ok(())
}

/// Adds a version as a candidate; its id comes back.
pub(super) fn insert(
    tx: &mut Tx,
    version: &VersionRecord,
    report: Option<String>,
    by: Option<String>,
    now: Millis,
) -> Result<String> {
    let row = NewVersion {
        id: version.id(),
        origin: version.origin.clone(),
        content: serde_json::to_string(version).map_err(ServiceError::internal)?,
        report,
        cases: i64::try_from(version.cases).unwrap_or(i64::MAX),
        created_at: now,
        created_by: by,
    };
    oracle_versions::insert(tx, &row)?;
    Ok(row.id)
}

/// Puts a version in force, inside the transaction of whatever decided it; `by` names that.
///
/// Doing it again changes nothing; whether it changed anything comes back. Submissions judged after the transaction
/// are judged by this version. Errors: `not-found`.
pub(crate) fn adopt(tx: &mut Tx, version_id: &str, by: &str, now: Millis) -> Result<bool> {
    let row = oracle_versions::get(tx, version_id)?;
    // A version that does not read must not take the place of one that does.
    content_of(&row.content)?;
    let changed = oracle_versions::adopt(tx, version_id, by, now)?;
    if changed {
        let payload = json!({"version": version_id, "origin": row.origin, "by": by});
        publish(tx, now, TOPIC, "oracle-changed", &payload)?;
    }
    Ok(changed)
}

impl Service {
    /// Whether the judges of this process can be set to a version.
    ///
    /// Errors: `not-found`; `unfit-version`.
    pub(crate) fn check_oracle_version(&self, id: &str) -> Result<()> {
        let wanted = id.to_owned();
        let (content, weights) = self.read(move |tx| load(tx, &wanted))?;
        build(&self.ensemble, &content.parameters, &weights)
            .map(drop)
            .map_err(|error| ServiceError::refused("unfit-version", error.to_string()))
    }

    /// Puts a version in force at the operator's word. A decision by vote calls `adopt` in its own transaction.
    ///
    /// Errors: `not-found`; `unfit-version` for one that the judges of this process cannot be set to.
    pub fn adopt_oracle_version(&self, ctx: &Context, id: &str) -> Result<OracleVersionView> {
        self.allow(&ctx.actor, Action::AdoptVersion)?;
        self.check_oracle_version(id)?;
        let (id, by) = (id.to_owned(), ctx.actor.handle.clone());
        self.write_once(ctx, move |tx, now| {
            adopt(tx, &id, &by, now)?;
            super::versions::view_of(&oracle_versions::get(tx, &id)?)
        })
    }
}

/// The last version of the line of learnt ones; the shipped one before the first.
pub(super) fn latest_of_line(
    tx: &mut Tx,
) -> std::result::Result<Option<oracle_versions::OracleVersion>, StoreError> {
    match oracle_versions::latest(tx, "learned")? {
        Some(version) => Ok(Some(version)),
        None => oracle_versions::latest(tx, "shipped"),
    }
}
