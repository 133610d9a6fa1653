//! Judging a submission and booking its move.

use plumbline_market::evidence::{EvidenceFill, apply_evidence};
use plumbline_market::money::Micro;
use plumbline_market::probability::sigmoid;
use plumbline_oracle::Ensemble;
use plumbline_oracle::claim::Claim;
use plumbline_oracle::ensemble::Assessment;
use plumbline_oracle::judge::JudgeOutcome;
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::markets::{self, Market};
use plumbline_store::trades::Trade;
use plumbline_store::{Tx, fingerprints};
use serde_json::Value;

use super::submission::{displace, give_back};
use super::{announce, is_live, novelty, stored_exhibits};
use crate::ledger::post;
use crate::markets::claim_of;
use crate::time::Millis;
use crate::trades::{book, maker_of, position_of};
use crate::views::JudgementView;
use crate::{Result, Service, ServiceError};

/// What the judges made of a submission.
struct Judged {
    before: Assessment,
    after: Assessment,
    fingerprint: Vec<u8>,
    kappa: f64,
    /// Version of the oracle.
    version: String,
    /// By judge, standard deviations between it and the others.
    deviations: Vec<(String, f64)>,
    /// Judges that lack what they need, with why.
    missing: Vec<(String, String)>,
}

impl Service {
    /// The job: judges one submission and books its move. Repeating it is harmless.
    pub(crate) fn judge_evidence(&self, evidence_id: &str) -> Result<()> {
        let id = evidence_id.to_owned();
        let (row, market, earlier) = self.read(move |tx| {
            let row = evidence::get(tx, &id)?;
            let market = markets::get(tx, &row.market_id)?;
            let earlier: Vec<Evidence> = evidence::judged(tx, &row.market_id)?
                .into_iter()
                .filter(|other| other.id != row.id)
                .collect();
            Ok((row, market, earlier))
        })?;
        if row.status != "pending" || row.held {
            return Ok(());
        }
        if !is_live(&market) {
            return self.reject_evidence(evidence_id, "the market was called off");
        }
        let transfer_id = self.new_id();
        let probe = novelty::probe_of(&row, &market)?;
        if let Some(copy) = self.near_copy(&probe, &row)? {
            return self.write_at(move |tx, now| {
                let row = evidence::get(tx, &row.id)?;
                if row.status != "pending" {
                    return Ok(());
                }
                displace(tx, &transfer_id, row, now, copy.reason())
            });
        }
        // Both sides of the shift by one version, whichever comes into force meanwhile.
        let judges = self.judges()?;
        let (before, after) = assess_both(&judges.ensemble, &claim_of(&market)?, &earlier, &row)?;
        let judged = Judged {
            version: judges.version,
            deviations: judges.ensemble.deviations(&after),
            missing: judges.ensemble.missing(),
            before,
            after,
            fingerprint: probe.fingerprint().to_bytes(),
            kappa: self.config.kappa,
        };
        self.write_at(move |tx, now| settle_submission(tx, transfer_id, now, &row.id, &judged))
    }

    /// Gives up on a submission that could not be judged; stake and bond go back, and the fee
    /// too where the market was called off.
    pub(crate) fn reject_evidence(&self, evidence_id: &str, why: &str) -> Result<()> {
        let (id, why, transfer_id) = (evidence_id.to_owned(), why.to_owned(), self.new_id());
        self.write_at(move |tx, now| reject(tx, &transfer_id, now, &id, &why))
    }
}

/// The ensemble's view without and with the new exhibits.
fn assess_both(
    ensemble: &Ensemble,
    claim: &Claim,
    earlier: &[Evidence],
    row: &Evidence,
) -> Result<(Assessment, Assessment)> {
    let mut exhibits = Vec::new();
    for other in earlier {
        exhibits.extend(stored_exhibits(other)?);
    }
    let before = ensemble.assess(claim, &exhibits);
    exhibits.extend(stored_exhibits(row)?);
    Ok((before, ensemble.assess(claim, &exhibits)))
}

fn reject(tx: &mut Tx, transfer_id: &str, now: Millis, id: &str, why: &str) -> Result<()> {
    let row = evidence::get(tx, id)?;
    if row.status != "pending" {
        return Ok(());
    }
    let void = markets::get(tx, &row.market_id)?.status == "void";
    let fee = if void { row.fee_micro } else { 0 };
    give_back(tx, transfer_id, &row, fee, now)?;
    let row = Evidence {
        status: "rejected".to_owned(),
        held: false,
        reason: Some(format!("could not be judged: {why}")),
        judged_at: Some(now),
        released_at: void.then_some(now),
        ..row
    };
    evidence::update(tx, &row)?;
    announce(tx, now, &row, "evidence-judged")
}

/// Books a judged submission: gives the stake back, takes the collateral of
/// the move, moves the price. One transaction, only from `pending`.
fn settle_submission(
    tx: &mut Tx,
    transfer_id: String,
    now: Millis,
    evidence_id: &str,
    judged: &Judged,
) -> Result<()> {
    let row = evidence::get(tx, evidence_id)?;
    if row.status != "pending" {
        return Ok(());
    }
    let market = markets::get(tx, &row.market_id)?;
    if !is_live(&market) {
        return reject(
            tx,
            &transfer_id,
            now,
            evidence_id,
            "the market was called off",
        );
    }
    let held = position_of(tx, &market.id, &row.account_id)?;
    let shift = judged.after.shift_from(&judged.before);
    let stake = Micro(row.stake_micro);
    let fill = apply_evidence(&maker_of(&market)?, &held, shift, judged.kappa, stake)?;
    let back = row.stake_micro - fill.cash.get();
    let entries = vec![
        (market.escrow_id.clone(), -back),
        (row.account_id.clone(), back),
    ];
    post(tx, transfer_id, now, "evidence", &row.id, entries)?;
    let row = judged_row(&row, now, judged, &fill)?;
    evidence::update(tx, &row)?;
    fingerprints::put(tx, &row.id, &row.market_id, &judged.fingerprint)?;
    let market = assessed(market, &judged.after, fill.to.log_odds.get())?;
    let moved = fill.yes.get() != 0 || fill.no.get() != 0;
    if moved {
        let trade = evidence_trade(&row, &fill, now);
        book(tx, market, &trade, fill.maker, fill.position)?;
    } else {
        markets::update(tx, &market)?;
    }
    announce(tx, now, &row, "evidence-judged")
}

/// The market with what the ensemble makes of its exhibits, round the price `log_odds`.
pub(super) fn assessed(market: Market, assessment: &Assessment, log_odds: f64) -> Result<Market> {
    let (interval_low, interval_high) = interval_round(log_odds, assessment);
    Ok(Market {
        interval_low,
        interval_high,
        n_eff: assessment.n_eff,
        assessment: Some(serde_json::to_string(assessment).map_err(ServiceError::internal)?),
        ..market
    })
}

fn judged_row(
    row: &Evidence,
    now: Millis,
    judged: &Judged,
    fill: &EvidenceFill,
) -> Result<Evidence> {
    let (before, after) = (&judged.before, &judged.after);
    let judgements = judgement_views(judged);
    let moved = fill.yes.get() != 0 || fill.no.get() != 0;
    Ok(Evidence {
        status: "judged".to_owned(),
        shift: after.shift_from(before),
        log_odds_before: Some(fill.from.log_odds.get()),
        log_odds_after: Some(fill.to.log_odds.get()),
        locked_micro: fill.locked.get(),
        yes_micro: fill.yes.get(),
        no_micro: fill.no.get(),
        judgements: serde_json::to_string(&judgements).map_err(ServiceError::internal)?,
        replay: replay_of(after).map(|detail| detail.to_string()),
        reason: (!moved)
            .then(|| "the judges' view did not change enough to move the price".to_owned()),
        judged_at: Some(now),
        oracle_version: Some(judged.version.clone()),
        ..row.clone()
    })
}

fn evidence_trade(row: &Evidence, fill: &EvidenceFill, now: Millis) -> Trade {
    Trade {
        id: row.id.clone(),
        market_id: row.market_id.clone(),
        account_id: row.account_id.clone(),
        at: now,
        outcome: if fill.yes.get() > 0 { "yes" } else { "no" }.to_owned(),
        yes_micro: fill.yes.get(),
        no_micro: fill.no.get(),
        cost_micro: fill.locked.get(),
        log_odds_before: fill.from.log_odds.get(),
        log_odds_after: fill.to.log_odds.get(),
        cause: "evidence".to_owned(),
    }
}

/// The market's interval: the ensemble's half-widths, laid round the posted price.
fn interval_round(log_odds: f64, assessment: &Assessment) -> (f64, f64) {
    (
        sigmoid(log_odds - (assessment.log_odds - assessment.low)),
        sigmoid(log_odds + (assessment.high - assessment.log_odds)),
    )
}

/// What each judge said, and how the new exhibits changed it. A judge that
/// said nothing before started from the ensemble's base.
fn judgement_views(judged: &Judged) -> Vec<JudgementView> {
    let Judged { before, after, .. } = judged;
    let earlier = |name: &str| {
        before.judgements.iter().find_map(|outcome| match outcome {
            JudgeOutcome::Judged { judgement, .. } if judgement.judge == name => {
                Some(judgement.log_odds)
            }
            _ => None,
        })
    };
    let deviation = |name: &str| {
        let found = judged.deviations.iter().find(|(judge, _)| judge == name);
        found.map(|(_, deviation)| *deviation)
    };
    let view = |outcome: &JudgeOutcome| match outcome {
        JudgeOutcome::Judged { judgement, .. } => JudgementView {
            judge: judgement.judge.clone(),
            probability: Some(sigmoid(judgement.log_odds)),
            shift: Some(judgement.log_odds - earlier(&judgement.judge).unwrap_or(0.0)),
            standard_error: Some(judgement.standard_error),
            note: judgement.note.clone(),
            latency_ms: judgement.latency_ms,
            outcome: "judged".to_owned(),
            cost_micro: judgement.cost_micro,
            deviation: deviation(&judgement.judge),
        },
        JudgeOutcome::Skipped { judge } => silent(
            judge,
            "skipped",
            "nothing here is of a form that this judge reads",
        ),
        JudgeOutcome::Failed { judge, error } => {
            let is_missing = judged.missing.iter().any(|(name, _)| name == judge);
            silent(judge, if is_missing { "missing" } else { "failed" }, error)
        }
    };
    after.judgements.iter().map(view).collect()
}

fn silent(judge: &str, outcome: &str, note: &str) -> JudgementView {
    JudgementView {
        judge: judge.to_owned(),
        probability: None,
        shift: None,
        standard_error: None,
        note: note.to_owned(),
        latency_ms: 0,
        outcome: outcome.to_owned(),
        cost_micro: 0,
        deviation: None,
    }
}

/// The replay judge's record, if it judged.
pub(super) fn replay_of(assessment: &Assessment) -> Option<Value> {
    assessment
        .judgements
        .iter()
        .find_map(|outcome| match outcome {
            JudgeOutcome::Judged { judgement, .. } if judgement.judge == "replay" => {
                judgement.detail.clone()
            }
            _ => None,
        })
}
