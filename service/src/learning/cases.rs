//! Settled cases: written where a market becomes final, read by whoever wants to learn from them.

use plumbline_access::Action;
use plumbline_market::probability::sigmoid;
use plumbline_oracle::ensemble::Assessment;
use plumbline_oracle::judge::JudgeOutcome;
use plumbline_oracle::versions::{ExhibitRef, Member, Reading, SettledRecord, VersionRecord};
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::markets::Market;
use plumbline_store::settled_cases::{self, SettledCase};
use plumbline_store::{Tx, jobs, oracle_versions};
use serde_json::json;

use super::gap;
use crate::context::Context;
use crate::jobs::LEARN_ORACLE;
use crate::markets::life_of;
use crate::outcomes::has_several;
use crate::time::{Millis, rfc3339};
use crate::views::{CaseReadingView, OracleCaseView, Page};
use crate::{Result, Service, ServiceError, page};

/// Submissions of a market that a case refers to at most, the earliest.
const MOST_EXHIBITS: usize = 500;
/// Submissions read at once: each may be a megabyte.
const CHUNK: i64 = 25;

/// Keeps what the judges had said of a market that is final, and queues the learning from it.
///
/// Left out are markets of several outcomes, those settled by their own price, and those settled by the judges
/// themselves without a test or jury after them (`by_judges`): from these nobody could learn anything. A market that
/// was recorded before stays as it is.
pub(crate) fn record(tx: &mut Tx, market: &Market, by_judges: bool, now: Millis) -> Result<()> {
    let teaches =
        !by_judges && !has_several(market) && !life_of(market)?.rules.method.is_advisory();
    let (Some(pi), Some(text), true) = (market.settlement, &market.assessment, teaches) else {
        return Ok(());
    };
    let assessment: Assessment = serde_json::from_str(text).map_err(ServiceError::internal)?;
    let readings = readings_of(tx, &assessment)?;
    if readings.is_empty() || settled_cases::of_market(tx, &market.id)?.is_some() {
        return Ok(());
    }
    let seen = submissions_of(tx, &market.id, pi)?;
    let record = SettledRecord {
        market_id: market.id.clone(),
        claim_kind: market.claim_kind.clone(),
        at: now,
        pi,
        closing_log_odds: market.log_odds,
        pooled_log_odds: assessment.log_odds,
        pooled_low: assessment.low,
        pooled_high: assessment.high,
        ensemble: assessment.version.clone(),
        readings,
        failed: failed_of(&assessment),
        misleading: seen.misleading,
        observed_effect: seen.observed,
        held_out_effect: gap::held_out(market),
        exhibits: seen.exhibits,
    }
    .rounded();
    append(tx, &record, now)
}

/// Adds a case to the chain, with the job that learns from it.
fn append(tx: &mut Tx, record: &SettledRecord, now: Millis) -> Result<()> {
    let last = settled_cases::last(tx)?;
    let (number, previous) = last.map_or((1, String::new()), |last| (last.number + 1, last.hash));
    let case = SettledCase {
        number,
        market_id: record.market_id.clone(),
        claim_kind: record.claim_kind.clone(),
        at: record.at,
        record: serde_json::to_string(record).map_err(ServiceError::internal)?,
        hash: record.chained(&previous),
        learned: None,
        untaught: None,
    };
    settled_cases::insert(tx, &case)?;
    let payload = json!({"number": number}).to_string();
    jobs::enqueue(
        tx,
        LEARN_ORACLE,
        &format!("{LEARN_ORACLE}:{number}"),
        &payload,
        now,
    )?;
    Ok(())
}

/// What a case keeps of a market's submissions.
#[derive(Default)]
struct Submissions {
    exhibits: Vec<ExhibitRef>,
    misleading: u32,
    observed: Option<f64>,
}

fn submissions_of(tx: &mut Tx, market_id: &str, pi: f64) -> Result<Submissions> {
    let (mut seen, mut after) = (Submissions::default(), None::<String>);
    loop {
        let rows = evidence::list(tx, market_id, after.as_deref(), CHUNK)?;
        for row in &rows {
            seen.misleading += u32::from(misled(row, pi));
            seen.observed = gap::larger(seen.observed, row)?;
            seen.exhibits.extend(reference(row));
        }
        after = rows.last().map(|row| row.id.clone());
        if (rows.len() as i64) < CHUNK || seen.exhibits.len() >= MOST_EXHIBITS {
            seen.exhibits.truncate(MOST_EXHIBITS);
            return Ok(seen);
        }
    }
}

/// The judges of the version in force; none before the first.
pub(crate) fn standing_on(tx: &mut Tx) -> Result<Vec<Member>> {
    let Some(version) = oracle_versions::in_force(tx)? else {
        return Ok(Vec::new());
    };
    let content: VersionRecord =
        serde_json::from_str(&version.content).map_err(ServiceError::internal)?;
    Ok(content.start.judges)
}

fn readings_of(tx: &mut Tx, assessment: &Assessment) -> Result<Vec<Reading>> {
    let members = standing_on(tx)?;
    let family = |judge: &str| {
        let member = members.iter().find(|member| member.judge == judge);
        member.map_or_else(|| judge.to_owned(), |member| member.family.clone())
    };
    let reading = |outcome: &JudgeOutcome| match outcome {
        JudgeOutcome::Judged { judgement, .. } => Some(Reading {
            family: family(&judgement.judge),
            judge: judgement.judge.clone(),
            log_odds: judgement.log_odds,
            standard_error: judgement.standard_error,
        }),
        _ => None,
    };
    Ok(assessment.judgements.iter().filter_map(reading).collect())
}

fn failed_of(assessment: &Assessment) -> Vec<String> {
    let failed = |outcome: &JudgeOutcome| match outcome {
        JudgeOutcome::Failed { judge, .. } => Some(judge.clone()),
        _ => None,
    };
    assessment.judgements.iter().filter_map(failed).collect()
}

/// Whether a submission moved the price away from how the market was settled.
fn misled(row: &Evidence, pi: f64) -> bool {
    match (row.log_odds_before, row.log_odds_after) {
        (Some(before), Some(after)) => {
            (sigmoid(after) - pi).abs() > (sigmoid(before) - pi).abs() + 1e-9
        }
        _ => false,
    }
}

fn reference(row: &Evidence) -> Option<ExhibitRef> {
    matches!(row.status.as_str(), "judged" | "struck").then(|| ExhibitRef {
        evidence_id: row.id.clone(),
        content_hash: row.content_hash.clone(),
        standing: row.status.clone(),
    })
}

pub(super) fn record_of(case: &SettledCase) -> Result<SettledRecord> {
    serde_json::from_str(&case.record).map_err(ServiceError::internal)
}

impl Service {
    /// Settled cases in the order of their chain.
    pub fn oracle_cases(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<OracleCaseView>> {
        self.allow(&ctx.actor, Action::ListCases)?;
        let (after, limit) = (
            page::parse_cursor(cursor)?.unwrap_or(0),
            page::bounded(limit),
        );
        let rows = self.read(move |tx| Ok(settled_cases::after(tx, after, (limit + 1) as i64)?))?;
        let page = page::cut(rows, limit, |row| row.number.to_string(), |row| row);
        Ok(Page {
            items: page.items.iter().map(view_of).collect::<Result<_>>()?,
            next_cursor: page.next_cursor,
        })
    }
}

fn view_of(row: &SettledCase) -> Result<OracleCaseView> {
    let record = record_of(row)?;
    let reading = |reading: &Reading| CaseReadingView {
        judge: reading.judge.clone(),
        log_odds: reading.log_odds,
        probability: sigmoid(reading.log_odds),
        standard_error: reading.standard_error,
    };
    Ok(OracleCaseView {
        number: row.number,
        hash: row.hash.clone(),
        market_id: row.market_id.clone(),
        claim_kind: row.claim_kind.clone(),
        settled_at: rfc3339(row.at),
        pi: record.pi,
        closing_probability: sigmoid(record.closing_log_odds),
        pooled_probability: sigmoid(record.pooled_log_odds),
        readings: record.readings.iter().map(reading).collect(),
        failed: record.failed.clone(),
        misleading: record.misleading,
        learned_probability: row.learned.map(sigmoid),
        untaught_probability: row.untaught.map(sigmoid),
        record: serde_json::from_str(&row.record).map_err(ServiceError::internal)?,
    })
}
