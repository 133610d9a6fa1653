//! Evidence: submission, judging and the trade that it makes.
//!
//! Submitting takes the fee and holds the whole stake in the market's escrow,
//! in one transaction with the job that will have it judged. Judging runs
//! outside of any transaction (it may replay prompts on a checkpoint); booking
//! its result gives the stake back except for the collateral of the move.

use plumbline_market::evidence::{EvidenceError, EvidenceFill, apply_evidence};
use plumbline_market::money::Micro;
use plumbline_market::probability::sigmoid;
use plumbline_oracle::claim::Claim;
use plumbline_oracle::ensemble::Assessment;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_oracle::judge::JudgeOutcome;
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::markets::{self, Market};
use plumbline_store::trades::Trade;
use plumbline_store::{Tx, accounts, jobs};
use serde_json::{Value, json};

use crate::accounts::account_of;
use crate::commands::SubmitEvidence;
use crate::context::{Context, Scope};
use crate::events::publish;
use crate::jobs::JUDGE_EVIDENCE;
use crate::ledger::{TREASURY, post};
use crate::markets::claim_of;
use crate::outcomes::require_binary;
use crate::settlement::refuse_evidence;
use crate::time::{Millis, rfc3339};
use crate::trades::{book, check_open, maker_of, position_of};
use crate::views::{EvidenceView, JudgementView, Page};
use crate::{Result, Service, ServiceError, page};

const KINDS: [&str; 4] = ["transcript", "measurement", "report", "log"];
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 64 * 1024;
const MAX_EXHIBITS: usize = 16;

impl Service {
    /// Takes evidence in: charges the fee, holds the stake, queues the judging.
    pub fn submit_evidence(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &SubmitEvidence,
    ) -> Result<EvidenceView> {
        self.allow(&ctx.actor, Scope::Evidence)?;
        let exhibits = parse_exhibits(cmd)?;
        let row = self.evidence_row(ctx, market_id, cmd, &exhibits)?;
        let (handle, transfer_id) = (ctx.actor.handle.clone(), self.new_id());
        let view = self.write_once(ctx, move |tx, now| {
            let market = markets::get(tx, &row.market_id)?;
            require_binary(&market)?;
            check_open(&market, Some(now))?;
            refuse_evidence(&market)?;
            let known = evidence::by_hash(tx, &market.id, &row.content_hash)?;
            let row = Evidence {
                created_at: now,
                ..row
            };
            let row = match known {
                Some(first) => as_duplicate(row, &first),
                None => row,
            };
            charge(tx, transfer_id, &market, &row)?;
            evidence::insert(tx, &row)?;
            if row.status == "pending" {
                jobs::enqueue(
                    tx,
                    JUDGE_EVIDENCE,
                    &row.id,
                    &json!({"evidence_id": row.id}).to_string(),
                    now,
                )?;
            }
            announce(tx, now, &row, "evidence-submitted")?;
            markets::update(
                tx,
                &Market {
                    evidence: market.evidence + 1,
                    ..market
                },
            )?;
            view_of(row, handle, None)
        })?;
        self.counters.evidence.add(1);
        Ok(view)
    }

    fn evidence_row(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &SubmitEvidence,
        exhibits: &[Exhibit],
    ) -> Result<Evidence> {
        Ok(Evidence {
            id: self.new_id(),
            market_id: market_id.to_owned(),
            account_id: account_of(&ctx.actor)?,
            kind: cmd.kind.clone(),
            title: cmd.title.trim().to_owned(),
            body: cmd.body.clone(),
            exhibits: serde_json::to_string(exhibits).map_err(ServiceError::internal)?,
            content_hash: content_hash(exhibits),
            stake_micro: cmd.stake_micro,
            fee_micro: self.config.evidence_fee_micro,
            status: "pending".to_owned(),
            shift: 0.0,
            log_odds_before: None,
            log_odds_after: None,
            locked_micro: 0,
            yes_micro: 0,
            no_micro: 0,
            judgements: "[]".to_owned(),
            replay: None,
            reason: None,
            created_at: 0,
            judged_at: None,
        })
    }

    /// A market's evidence, oldest first.
    pub fn evidence_list(
        &self,
        ctx: &Context,
        market_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<EvidenceView>> {
        self.allow(&ctx.actor, Scope::Read)?;
        let (market_id, after, limit) = (
            market_id.to_owned(),
            cursor.map(str::to_owned),
            page::bounded(limit),
        );
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            let rows = evidence::list(tx, &market_id, after.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                items.push(view_of(row, handle, market.settlement)?);
            }
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One submission.
    pub fn evidence(&self, ctx: &Context, id: &str) -> Result<EvidenceView> {
        self.allow(&ctx.actor, Scope::Read)?;
        let id = id.to_owned();
        self.read(move |tx| {
            let row = evidence::get(tx, &id)?;
            let settlement = markets::get(tx, &row.market_id)?.settlement;
            let handle = accounts::get(tx, &row.account_id)?.handle;
            view_of(row, handle, settlement)
        })
    }

    /// The job: judges one submission and books its move. Repeating it is harmless.
    pub(crate) fn judge_evidence(&self, evidence_id: &str) -> Result<()> {
        let id = evidence_id.to_owned();
        let (row, claim, earlier) = self.read(move |tx| {
            let row = evidence::get(tx, &id)?;
            let market = markets::get(tx, &row.market_id)?;
            let earlier: Vec<Evidence> = evidence::judged(tx, &row.market_id)?
                .into_iter()
                .filter(|other| other.id != row.id)
                .collect();
            Ok((row, claim_of(&market)?, earlier))
        })?;
        if row.status != "pending" {
            return Ok(());
        }
        let (before, after) = self.assess_both(&claim, &earlier, &row)?;
        let (transfer_id, kappa) = (self.new_id(), self.config.kappa);
        let now = self.now();
        self.write(move |tx| settle_submission(tx, transfer_id, now, &row, &before, &after, kappa))
    }

    /// Gives up on a submission that could not be judged; the whole stake goes back.
    pub(crate) fn reject_evidence(&self, evidence_id: &str, why: &str) -> Result<()> {
        let (id, why, transfer_id, now) = (
            evidence_id.to_owned(),
            why.to_owned(),
            self.new_id(),
            self.now(),
        );
        self.write(move |tx| {
            let row = evidence::get(tx, &id)?;
            if row.status != "pending" {
                return Ok(());
            }
            let market = markets::get(tx, &row.market_id)?;
            post(
                tx,
                transfer_id,
                now,
                "refund",
                &row.id,
                vec![
                    (market.escrow_id, -row.stake_micro),
                    (row.account_id.clone(), row.stake_micro),
                ],
            )?;
            let reason = Some(format!("could not be judged: {why}"));
            let row = Evidence {
                status: "rejected".to_owned(),
                reason,
                judged_at: Some(now),
                ..row
            };
            evidence::update(tx, &row)?;
            announce(tx, now, &row, "evidence-judged")
        })
    }

    /// The ensemble's view without and with the new exhibits.
    fn assess_both(
        &self,
        claim: &Claim,
        earlier: &[Evidence],
        row: &Evidence,
    ) -> Result<(Assessment, Assessment)> {
        let mut exhibits = Vec::new();
        for other in earlier {
            exhibits.extend(stored_exhibits(other)?);
        }
        let before = self.ensemble.assess(claim, &exhibits);
        exhibits.extend(stored_exhibits(row)?);
        Ok((before, self.ensemble.assess(claim, &exhibits)))
    }
}

/// Books a judged submission: gives the stake back, takes the collateral of
/// the move, moves the price. One transaction, only from `pending`.
fn settle_submission(
    tx: &mut Tx,
    transfer_id: String,
    now: Millis,
    row: &Evidence,
    before: &Assessment,
    after: &Assessment,
    kappa: f64,
) -> Result<()> {
    let row = evidence::get(tx, &row.id)?;
    if row.status != "pending" {
        return Ok(());
    }
    let market = markets::get(tx, &row.market_id)?;
    let held = position_of(tx, &market.id, &row.account_id)?;
    let shift = after.shift_from(before);
    let fill = apply_evidence(
        &maker_of(&market)?,
        &held,
        shift,
        kappa,
        Micro(row.stake_micro),
    )?;
    let back = row.stake_micro - fill.cash.get();
    post(
        tx,
        transfer_id,
        now,
        "evidence",
        &row.id,
        vec![
            (market.escrow_id.clone(), -back),
            (row.account_id.clone(), back),
        ],
    )?;
    let judged = judged_row(&row, now, before, after, &fill)?;
    evidence::update(tx, &judged)?;
    let (low, high) = interval_round(fill.to.log_odds.get(), after);
    let market = Market {
        interval_low: low,
        interval_high: high,
        n_eff: after.n_eff,
        assessment: Some(serde_json::to_string(after).map_err(ServiceError::internal)?),
        ..market
    };
    let moved = fill.yes.get() != 0 || fill.no.get() != 0;
    if moved {
        book(
            tx,
            market,
            &evidence_trade(&judged, &fill, now),
            fill.maker,
            fill.position,
        )?;
    } else {
        markets::update(tx, &market)?;
    }
    announce(tx, now, &judged, "evidence-judged")
}

fn judged_row(
    row: &Evidence,
    now: Millis,
    before: &Assessment,
    after: &Assessment,
    fill: &EvidenceFill,
) -> Result<Evidence> {
    let judgements = judgement_views(before, after);
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
fn judgement_views(before: &Assessment, after: &Assessment) -> Vec<JudgementView> {
    let earlier = |name: &str| {
        before.judgements.iter().find_map(|outcome| match outcome {
            JudgeOutcome::Judged { judgement, .. } if judgement.judge == name => {
                Some(judgement.log_odds)
            }
            _ => None,
        })
    };
    let view = |outcome: &JudgeOutcome| match outcome {
        JudgeOutcome::Judged { judgement, .. } => JudgementView {
            judge: judgement.judge.clone(),
            probability: Some(sigmoid(judgement.log_odds)),
            shift: Some(judgement.log_odds - earlier(&judgement.judge).unwrap_or(0.0)),
            standard_error: Some(judgement.standard_error),
            note: judgement.note.clone(),
            latency_ms: judgement.latency_ms,
        },
        JudgeOutcome::Skipped { judge } => {
            silent(judge, "nothing here is of a form that this judge reads")
        }
        JudgeOutcome::Failed { judge, error } => silent(judge, error),
    };
    after.judgements.iter().map(view).collect()
}

fn silent(judge: &str, note: &str) -> JudgementView {
    JudgementView {
        judge: judge.to_owned(),
        probability: None,
        shift: None,
        standard_error: None,
        note: note.to_owned(),
        latency_ms: 0,
    }
}

/// The replay judge's record, if it judged.
fn replay_of(assessment: &Assessment) -> Option<Value> {
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

fn charge(tx: &mut Tx, transfer_id: String, market: &Market, row: &Evidence) -> Result<()> {
    let held = if row.status == "pending" {
        row.stake_micro
    } else {
        0
    };
    let available = accounts::get(tx, &row.account_id)?.balance_micro;
    let needed = held.saturating_add(row.fee_micro);
    if needed > available {
        return Err(ServiceError::refused(
            "insufficient-funds",
            format!("stake and fee are {needed} micro-credits, {available} are available"),
        ));
    }
    post(
        tx,
        transfer_id,
        row.created_at,
        "stake",
        &row.id,
        vec![
            (row.account_id.clone(), -needed),
            (market.escrow_id.clone(), held),
            (TREASURY.to_owned(), row.fee_micro),
        ],
    )
}

fn as_duplicate(row: Evidence, first: &Evidence) -> Evidence {
    Evidence {
        status: "duplicate".to_owned(),
        stake_micro: 0,
        reason: Some(format!("the same exhibits came before, as {}", first.id)),
        ..row
    }
}

fn announce(tx: &mut Tx, now: Millis, row: &Evidence, kind: &str) -> Result<()> {
    let payload = json!({
        "market_id": row.market_id,
        "evidence_id": row.id,
        "title": row.title,
        "status": row.status,
        "shift": row.shift,
        "probability_before": row.log_odds_before.map(sigmoid),
        "probability_after": row.log_odds_after.map(sigmoid),
    });
    publish(
        tx,
        now,
        &format!("market:{}", row.market_id),
        kind,
        &payload,
    )
}

fn parse_exhibits(cmd: &SubmitEvidence) -> Result<Vec<Exhibit>> {
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
    let parse = |value: &Value| {
        serde_json::from_value(value.clone())
            .map_err(|error| ServiceError::invalid("bad-exhibit", error.to_string()))
    };
    cmd.exhibits.iter().map(parse).collect()
}

fn stored_exhibits(row: &Evidence) -> Result<Vec<Exhibit>> {
    serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)
}

/// BLAKE3 over the exhibits' own hashes, sorted: their order says nothing.
pub(crate) fn content_hash(exhibits: &[Exhibit]) -> String {
    let mut hashes: Vec<String> = exhibits.iter().map(Exhibit::content_hash).collect();
    hashes.sort();
    blake3::hash(hashes.join("\n").as_bytes())
        .to_hex()
        .to_string()
}

fn view_of(row: Evidence, handle: String, settlement: Option<f64>) -> Result<EvidenceView> {
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(ServiceError::internal);
    let judged = row.status == "judged";
    let payoff = |pi: f64| {
        let value = row.yes_micro as f64 * pi + row.no_micro as f64 * (1.0 - pi);
        value.floor() as i64 - row.locked_micro
    };
    Ok(EvidenceView {
        exhibits: serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)?,
        judgements: serde_json::from_str(&row.judgements).map_err(ServiceError::internal)?,
        replay: row.replay.as_deref().map(read).transpose()?,
        payoff_micro: settlement.filter(|_| judged).map(payoff),
        id: row.id,
        market_id: row.market_id,
        account: handle,
        kind: row.kind,
        title: row.title,
        body: row.body,
        content_hash: row.content_hash,
        status: row.status,
        reason: row.reason,
        stake_micro: row.stake_micro,
        fee_micro: row.fee_micro,
        locked_micro: row.locked_micro,
        probability_before: row.log_odds_before.map(sigmoid),
        probability_after: row.log_odds_after.map(sigmoid),
        shift: row.shift,
        created_at: rfc3339(row.created_at),
        judged_at: row.judged_at.map(rfc3339),
    })
}

impl From<EvidenceError> for ServiceError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Trade(trade) => trade.into(),
            EvidenceError::Stake => Self::invalid("bad-stake", error.to_string()),
            EvidenceError::Shift | EvidenceError::Weight => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests;
