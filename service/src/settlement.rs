//! Closing, freezing, settling and paying markets.
//!
//! Each stage is a step of the market's life in its own transaction, so that a
//! crash between two stages loses nothing: the next look at the deadlines, or
//! the queued job, goes on from the stage that was reached.

use plumbline_market::digest::Digest;
use plumbline_market::life::{Event, Freeze, Proposer, Status, Time, step};
use plumbline_market::money::Micro;
use plumbline_market::plan::{SettlementPlan, Trial};
use plumbline_market::probability::Pi;
use plumbline_market::settle::{ObjectiveOutcome, judge_objective, payouts, refunds};
use plumbline_market::statistics::Counts;
use plumbline_market::trade::Position;
use plumbline_store::checkpoints::{self, Checkpoint};
use plumbline_store::markets::{self, Market};
use plumbline_store::positions::Position as PositionRow;
use plumbline_store::{Tx, accounts, evidence, jobs, positions};
use serde_json::json;

use crate::context::{Context, Scope};
use crate::host::{FrozenCheckpoint, HostError, Sampling};
use crate::jobs::{CLOSE_ORDERS, PAY_MARKET, RELEASE_MARKET, SETTLE_MARKET};
use crate::ledger::{TREASURY, post};
use crate::markets::{announce, life_error, life_of, view_of, with_life};
use crate::outcomes;
use crate::outcomes::settle::settle_by_test;
use crate::time::Millis;
use crate::trades::position_from;
use crate::training::host_error;
use crate::views::MarketView;
use crate::{Result, Service, ServiceError};

/// Prompts handed to the host at once: enough to fill its batches, few enough
/// that training nodes get their turn in between.
const BATCH: usize = 32;
/// Positions paid in one transaction.
const PAYOUT_CHUNK: i64 = 500;

impl Service {
    /// Freezes a market whose close is due. Anybody may ask: the rules decide, not the caller.
    pub fn freeze_market(&self, ctx: &Context, market_id: &str) -> Result<MarketView> {
        self.allow(&ctx.actor, Scope::Trade)?;
        let id = market_id.to_owned();
        let market = self.read(move |tx| Ok(markets::get(tx, &id)?))?;
        let life = life_of(&market)?;
        if life.status == Status::Open
            && !life.close_is_due(self.reported_tokens(&market)?, Time(self.now()))
        {
            return Err(ServiceError::refused(
                "not-due",
                "the market's closing rules do not hold yet",
            ));
        }
        self.advance(&market)?;
        let id = market_id.to_owned();
        self.read(move |tx| {
            let market = markets::get(tx, &id)?;
            view_of(tx, market)
        })
    }

    /// Moves every market on whose next stage is due. Called on every tick.
    pub(crate) fn advance_markets(&self) -> Result<()> {
        let rows = self.read(|tx| {
            let mut rows = markets::in_status(tx, "open")?;
            rows.extend(markets::in_status(tx, "closing")?);
            Ok(rows)
        })?;
        for market in rows {
            if let Err(error) = self.advance(&market) {
                // One market that cannot go on must not hold up the others.
                tracing::warn!(market = %market.id, %error, "cannot move the market on");
            }
        }
        Ok(())
    }

    fn advance(&self, market: &Market) -> Result<()> {
        let (life, now) = (life_of(market)?, Time(self.now()));
        if life.status == Status::Open {
            let reported_tokens = self.reported_tokens(market)?;
            if !life.close_is_due(reported_tokens, now) {
                return Ok(());
            }
            self.close(market, reported_tokens)?;
        }
        self.freeze(&market.id)
    }

    /// Tokens that the run has reported: live ones if it is hosted here.
    fn reported_tokens(&self, market: &Market) -> Result<u64> {
        if let Some(training) = self.host.training(&market.run_id) {
            return Ok(training.tokens);
        }
        Ok(u64::try_from(self.run_row(&market.run_id)?.tokens).unwrap_or(0))
    }

    fn close(&self, market: &Market, reported_tokens: u64) -> Result<()> {
        let (id, now) = (market.id.clone(), self.now());
        self.write(move |tx| {
            let market = markets::get(tx, &id)?;
            let life = life_of(&market)?;
            if life.status != Status::Open {
                return Ok(());
            }
            let event = Event::Close {
                reported_tokens,
                draw: 0.0,
            };
            let (life, _) = step(&life, &event, Time(now)).map_err(life_error)?;
            let market = with_life(market, &life)?;
            markets::update(tx, &market)?;
            announce(tx, now, &market, "closing")
        })
    }

    /// Fixes checkpoint and exhibits, once all evidence that came in time is judged.
    fn freeze(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let (market, pending) = self.read(move |tx| {
            let pending = evidence::count_pending(tx, &id)?;
            Ok((markets::get(tx, &id)?, pending))
        })?;
        let life = life_of(&market)?;
        let stopped = life.stops_at.is_some_and(|stop| stop.0 <= self.now());
        if life.status != Status::Closing || !stopped || pending > 0 {
            return Ok(());
        }
        let checkpoint = match self.host.freeze(&market.run_id) {
            Ok(checkpoint) => checkpoint,
            // The run is gone for good; nobody's money waits for it.
            Err(HostError::UnknownModel(name)) => {
                return self.void_market(&market.id, &format!("{name} is no longer hosted here"));
            }
            Err(error) => return Err(host_error(error)),
        };
        let now = self.now();
        self.write(move |tx| book_freeze(tx, &market.id, &checkpoint, now))
    }

    /// The job: runs the committed test on the frozen checkpoint and settles.
    pub(crate) fn settle_market(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let market = self.read(move |tx| Ok(markets::get(tx, &id)?))?;
        if life_of(&market)?.status != Status::Settling {
            return Ok(());
        }
        let text = market
            .plan
            .as_deref()
            .ok_or_else(|| ServiceError::internal("the market has no plan"))?;
        let plan = SettlementPlan::from_canonical_json(text).map_err(ServiceError::internal)?;
        let checkpoint = market
            .frozen_checkpoint
            .as_deref()
            .ok_or_else(|| ServiceError::internal("nothing is frozen"))?;
        let counts = self.run_plan(&plan, checkpoint)?;
        let outcome = judge_objective(&plan, &counts).map_err(ServiceError::internal)?;
        let now = self.now();
        self.write(move |tx| book_settlement(tx, &market.id, &plan, &outcome, now))
    }

    /// Draws every completion of the plan and counts detections per candidate.
    fn run_plan(&self, plan: &SettlementPlan, checkpoint: &str) -> Result<Vec<Counts>> {
        let mut counts = vec![Counts { hits: 0, trials: 0 }; plan.candidates.len()];
        let trials: Vec<Trial> = plan.trials().collect();
        // Greedy completions do not depend on the seed and can share a batch.
        let batch = if plan.sampling.temperature_milli == 0 {
            BATCH
        } else {
            1
        };
        for chunk in trials.chunks(batch) {
            let prompts: Vec<String> = chunk.iter().map(|trial| trial.input.clone()).collect();
            let sampling = Sampling {
                max_tokens: plan.sampling.max_tokens as usize,
                temperature: f64::from(plan.sampling.temperature_milli) / 1000.0,
                top_p: 1.0,
                seed: chunk[0].seed,
                stop: Vec::new(),
                logprobs: None,
            };
            let texts = self
                .host
                .complete(checkpoint, &prompts, &sampling)
                .map_err(host_error)?;
            if texts.len() != chunk.len() {
                return Err(ServiceError::internal(
                    "the host answered another number of prompts",
                ));
            }
            for (trial, generated) in chunk.iter().zip(&texts) {
                counts[trial.candidate].trials += 1;
                counts[trial.candidate].hits += u64::from(plan.detector.detects(&generated.text));
            }
        }
        Ok(counts)
    }

    /// The job: pays a final market, or refunds a void one, chunk by chunk.
    /// Repeating it, from any row, pays nobody twice.
    pub(crate) fn pay_market(&self, market_id: &str) -> Result<()> {
        loop {
            let (id, ids, now) = (market_id.to_owned(), self.new_id(), self.now());
            let done = self.write(move |tx| pay_chunk(tx, &id, &ids, now))?;
            if done {
                return Ok(());
            }
        }
    }

    /// Calls off a market that cannot be settled; everybody gets back what they put in.
    pub(crate) fn void_market(&self, market_id: &str, why: &str) -> Result<()> {
        let (id, now) = (market_id.to_owned(), self.now());
        let statistics = json!({"void": why}).to_string();
        self.write(move |tx| {
            let market = markets::get(tx, &id)?;
            let life = life_of(&market)?;
            if !life.status.may_be_voided() {
                return Ok(());
            }
            let (life, _) = step(&life, &Event::Void, Time(now)).map_err(life_error)?;
            let market = Market {
                statistics: Some(statistics),
                ..with_life(market, &life)?
            };
            markets::update(tx, &market)?;
            enqueue(tx, PAY_MARKET, &market.id, now)?;
            enqueue(tx, RELEASE_MARKET, &market.id, now)?;
            announce(tx, now, &market, "void")
        })
    }
}

fn book_freeze(
    tx: &mut Tx,
    market_id: &str,
    checkpoint: &FrozenCheckpoint,
    now: Millis,
) -> Result<()> {
    let market = markets::get(tx, market_id)?;
    let life = life_of(&market)?;
    if life.status != Status::Closing || evidence::count_pending(tx, market_id)? > 0 {
        return Ok(());
    }
    let digest: Digest = checkpoint.id.parse().map_err(ServiceError::internal)?;
    let exhibits_root = exhibits_root(tx, market_id)?;
    let freeze = Freeze {
        checkpoint: Some(digest),
        exhibits_root,
        terms: None,
    };
    // The objective test is the strongest method there is, so the audit draw has nothing to add.
    let mut life = life;
    for event in [
        Event::Freeze(freeze),
        Event::Audit { audited: true },
        Event::Settle,
    ] {
        (life, _) = step(&life, &event, Time(now)).map_err(life_error)?;
    }
    checkpoints::upsert(
        tx,
        &Checkpoint {
            run_id: market.run_id.clone(),
            id: checkpoint.id.clone(),
            round: checkpoint.round as i64,
            tokens: checkpoint.tokens as i64,
            at: now,
            pinned: true,
        },
    )?;
    let market = Market {
        frozen_at: Some(now),
        frozen_checkpoint: Some(checkpoint.id.clone()),
        ..with_life(market, &life)?
    };
    markets::update(tx, &market)?;
    enqueue(tx, CLOSE_ORDERS, &market.id, now)?;
    enqueue(tx, SETTLE_MARKET, &market.id, now)?;
    announce(tx, now, &market, "frozen")
}

/// BLAKE3 over the content hashes of all judged evidence, in order of arrival,
/// one per line.
fn exhibits_root(tx: &mut Tx, market_id: &str) -> Result<Digest> {
    let hashes: Vec<String> = evidence::judged(tx, market_id)?
        .into_iter()
        .map(|row| row.content_hash)
        .collect();
    Ok(Digest::of(hashes.join("\n").as_bytes()))
}

fn book_settlement(
    tx: &mut Tx,
    market_id: &str,
    plan: &SettlementPlan,
    outcome: &ObjectiveOutcome,
    now: Millis,
) -> Result<()> {
    let market = markets::get(tx, market_id)?;
    let mut life = life_of(&market)?;
    if life.status != Status::Settling {
        return Ok(());
    }
    let pi = settle_by_test(tx, &market, plan, outcome)?;
    let commitment = plan.commitment().map_err(ServiceError::internal)?;
    let statistics = serde_json::to_string(outcome).map_err(ServiceError::internal)?;
    let by = Proposer::Test { commitment };
    for event in [Event::Propose { by, pi }, Event::Finalise] {
        (life, _) = step(&life, &event, Time(now)).map_err(life_error)?;
    }
    let market = Market {
        settlement: Some(pi.get()),
        settled_at: Some(now),
        statistics: Some(statistics),
        ..with_life(market, &life)?
    };
    markets::update(tx, &market)?;
    enqueue(tx, PAY_MARKET, &market.id, now)?;
    enqueue(tx, RELEASE_MARKET, &market.id, now)?;
    announce(tx, now, &market, "settled")
}

/// Pays up to [`PAYOUT_CHUNK`] positions; `true` when the market is paid out.
fn pay_chunk(tx: &mut Tx, market_id: &str, transfer_id: &str, now: Millis) -> Result<bool> {
    let market = markets::get(tx, market_id)?;
    let life = life_of(&market)?;
    let pi = match life.status {
        Status::Final => life.settlement(),
        Status::Void => None,
        _ => return Ok(true),
    };
    check_books(tx, &market, pi)?;
    let rows = positions::unpaid(tx, market_id, PAYOUT_CHUNK)?;
    if rows.is_empty() {
        finish_payout(tx, market, transfer_id, now)?;
        return Ok(true);
    }
    let kind = if pi.is_some() { "payout" } else { "refund" };
    let mut entries = Vec::with_capacity(rows.len() + 1);
    let mut total = 0_i64;
    let due = amounts_due(tx, &market, &rows, pi)?;
    for (row, amount) in rows.iter().zip(due) {
        let amount = amount.get();
        positions::mark_paid(tx, market_id, &row.account_id, amount, now)?;
        entries.push((row.account_id.clone(), amount));
        total += amount;
    }
    entries.push((market.escrow_id, -total));
    post(tx, transfer_id.to_owned(), now, kind, market_id, entries)?;
    Ok(false)
}

/// What the holders of `rows` are due, in their order.
fn amounts_due(
    tx: &mut Tx,
    market: &Market,
    rows: &[PositionRow],
    pi: Option<Pi>,
) -> Result<Vec<Micro>> {
    if let Some(amounts) = outcomes::settle::amounts_due(tx, market, rows, pi.is_some())? {
        return Ok(amounts);
    }
    let due = |row| amount_due(&position_from(row), pi);
    rows.iter().map(due).collect()
}

fn amount_due(position: &Position, pi: Option<Pi>) -> Result<Micro> {
    match pi {
        Some(pi) => position.payout(pi).map_err(ServiceError::internal),
        None => Ok(position.locked()),
    }
}

/// Before the first position is paid: collateral and subsidy are exactly what
/// escrow holds, and cover what is due. Nothing is paid out of wrong books.
fn check_books(tx: &mut Tx, market: &Market, pi: Option<Pi>) -> Result<()> {
    if positions::any_paid(tx, &market.id)? {
        return Ok(());
    }
    let rows = positions::unpaid(tx, &market.id, i64::MAX)?;
    // A void market with nobody in it may already have given its subsidy back.
    if pi.is_none() && rows.is_empty() {
        return Ok(());
    }
    let escrow = Micro(accounts::get(tx, &market.escrow_id)?.balance_micro);
    if outcomes::settle::check_books(tx, market, &rows, escrow, pi.is_some())? {
        return Ok(());
    }
    let subsidy = Micro(market.subsidy_micro);
    let holders: Vec<_> = rows
        .iter()
        .map(|row| (row.account_id.clone(), position_from(row)))
        .collect();
    let plan = match pi {
        Some(pi) => payouts(&holders, pi, subsidy, escrow),
        None => refunds(&holders, subsidy, escrow),
    };
    plan.map(|_| ()).map_err(ServiceError::internal)
}

/// What is left in escrow (unused subsidy, rounding) goes back to the treasury.
fn finish_payout(tx: &mut Tx, market: Market, transfer_id: &str, now: Millis) -> Result<()> {
    let left = accounts::get(tx, &market.escrow_id)?.balance_micro;
    post(
        tx,
        transfer_id.to_owned(),
        now,
        "remainder",
        &market.id,
        vec![
            (market.escrow_id.clone(), -left),
            (TREASURY.to_owned(), left),
        ],
    )?;
    let life = life_of(&market)?;
    if life.status != Status::Final {
        return Ok(());
    }
    let (life, _) = step(&life, &Event::Pay, Time(now)).map_err(life_error)?;
    let market = with_life(market, &life)?;
    markets::update(tx, &market)?;
    announce(tx, now, &market, "paid")
}

fn enqueue(tx: &mut Tx, kind: &str, market_id: &str, now: Millis) -> Result<()> {
    let payload = json!({"market_id": market_id}).to_string();
    jobs::enqueue(tx, kind, &format!("{kind}:{market_id}"), &payload, now)?;
    Ok(())
}
