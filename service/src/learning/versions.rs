//! Making versions of settled cases, and listing them.

use plumbline_access::Action;
use plumbline_oracle::versions::{SettledRecord, VersionRecord, WINDOW};
use plumbline_store::oracle_versions::{self, OracleVersion};
use plumbline_store::settled_cases::{self, SettledCase};
use plumbline_store::{Tx, accounts};
use serde_json::json;

use super::cases::record_of;
use super::force::{TOPIC, content_of, insert, latest_of_line, start_of};
use crate::context::Context;
use crate::error::if_found;
use crate::events::publish;
use crate::time::{Millis, rfc3339};
use crate::views::{OracleVersionView, Page, PrequentialView};
use crate::{Result, Service, ServiceError, page};

/// What a round of learning starts from.
struct Material {
    parent: VersionRecord,
    weights: std::collections::BTreeMap<String, String>,
    /// The latest cases, in order.
    recent: Vec<SettledCase>,
}

/// What would have been said of a case before it was learnt from.
struct Prediction {
    number: i64,
    learned: f64,
    untaught: f64,
}

impl Service {
    /// The job: makes a version of all settled cases there are. Repeating it, or doing it when one job before has seen
    /// them all, is harmless.
    pub(crate) fn learn_from_cases(&self) -> Result<()> {
        let Some(material) = self.read(material)? else {
            return Ok(());
        };
        let mut start = start_of(&self.ensemble);
        start.weights = material.weights;
        let Some(last) = material.recent.last() else {
            return Ok(());
        };
        let cases = usize::try_from(last.number).map_err(ServiceError::internal)?;
        let records: Vec<SettledRecord> = material
            .recent
            .iter()
            .map(record_of)
            .collect::<Result<_>>()?;
        let version = material
            .parent
            .learned(&start, &records, cases, &last.hash)
            .map_err(ServiceError::internal)?;
        let fresh = material.parent.fresh(&records, cases);
        let seen = records.len() - fresh.len();
        let predictions: Vec<Prediction> = fresh
            .iter()
            .zip(&material.recent[seen..])
            .map(|(record, case)| {
                let (learned, untaught) = material.parent.predictions(&start, record);
                Prediction {
                    number: case.number,
                    learned,
                    untaught,
                }
            })
            .collect();
        let parent = material.parent.id();
        self.write_at(move |tx, now| keep(tx, &parent, &version, &predictions, now))
    }

    /// Versions, the latest first.
    pub fn oracle_versions(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<OracleVersionView>> {
        self.allow(&ctx.actor, Action::ListVersions)?;
        let (before, limit) = (page::parse_cursor(cursor)?, page::bounded(limit));
        self.read(move |tx| {
            let rows = oracle_versions::list(tx, before, (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.number.to_string(), |row| row);
            let mut items = Vec::with_capacity(page.items.len());
            for row in &page.items {
                items.push(named(tx, row)?);
            }
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One version.
    pub fn oracle_version(&self, ctx: &Context, id: &str) -> Result<OracleVersionView> {
        self.allow(&ctx.actor, Action::ReadVersion)?;
        let id = id.to_owned();
        self.read(move |tx| {
            let row = oracle_versions::get(tx, &id)?;
            named(tx, &row)
        })
    }
}

/// `None` when the latest version has seen every case.
fn material(tx: &mut Tx) -> Result<Option<Material>> {
    let parent = latest_of_line(tx)?
        .ok_or_else(|| ServiceError::internal("the shipped version is missing"))?;
    let parent = content_of(&parent.content)?;
    let mut recent = settled_cases::newest(tx, None, WINDOW as i64)?;
    recent.reverse();
    let all = recent.last().map_or(0, |case| case.number);
    if all <= i64::try_from(parent.cases).unwrap_or(i64::MAX) {
        return Ok(None);
    }
    let in_force = oracle_versions::in_force(tx)?;
    let weights = match in_force {
        Some(version) => content_of(&version.content)?.start.weights,
        None => std::collections::BTreeMap::new(),
    };
    Ok(Some(Material {
        parent,
        weights,
        recent,
    }))
}

fn keep(
    tx: &mut Tx,
    parent: &str,
    version: &VersionRecord,
    predictions: &[Prediction],
    now: Millis,
) -> Result<()> {
    // Somebody else may have learnt meanwhile; then this version is not the next one of the line.
    if latest_of_line(tx)?.is_none_or(|latest| latest.id != parent) {
        return Ok(());
    }
    for prediction in predictions {
        settled_cases::predicted(
            tx,
            prediction.number,
            prediction.learned,
            prediction.untaught,
        )?;
    }
    let id = insert(tx, version, None, None, now)?;
    let payload = json!({"version": id, "cases": version.cases});
    publish(tx, now, TOPIC, "oracle-learned", &payload)
}

/// With the handle of whoever registered it.
pub(super) fn named(tx: &mut Tx, row: &OracleVersion) -> Result<OracleVersionView> {
    let handle = match &row.created_by {
        Some(account) => if_found(accounts::get(tx, account))?.map(|account| account.handle),
        None => None,
    };
    Ok(OracleVersionView {
        created_by: handle,
        ..view_of(row)?
    })
}

pub(super) fn view_of(row: &OracleVersion) -> Result<OracleVersionView> {
    let content = content_of(&row.content)?;
    let report = row.report.as_deref().map(serde_json::from_str).transpose();
    Ok(OracleVersionView {
        number: row.number,
        id: row.id.clone(),
        parent: content.parent.clone(),
        origin: row.origin.clone(),
        status: row.status.clone(),
        cases: row.cases,
        created_at: rfc3339(row.created_at),
        created_by: None,
        adopted_at: row.adopted_at.map(rfc3339),
        adopted_by: row.adopted_by.clone(),
        weights: content.start.weights.clone(),
        score: score_of(&content),
        report: report.map_err(ServiceError::internal)?,
        content: serde_json::from_str(&row.content).map_err(ServiceError::internal)?,
    })
}

fn score_of(content: &VersionRecord) -> Option<PrequentialView> {
    let score = content.score;
    let mean = |sum: f64| sum / score.cases as f64;
    (score.cases > 0).then(|| PrequentialView {
        cases: score.cases,
        learned_log_loss: mean(score.learned),
        untaught_log_loss: mean(score.base),
        price_log_loss: mean(score.price),
    })
}
