//! Making the effect of an approved proposal, in the transaction that marks it executed.

use plumbline_governance::Bps;
use plumbline_governance::orders::OrderEffect;
use plumbline_governance::voting::proposal::Event;
use plumbline_governance::voting::seal::Seal;
use plumbline_store::standing::{self, StandingOrder};
use plumbline_store::{Tx, policies};
use serde_json::{Value, json};

use super::super::TOPIC;
use super::super::motion::{Motion, as_json, person};
use super::{oracle_change, parse_policy, parts, seal_terms};
use crate::commands::{ProposedAction, RevenueShare};
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::policy::timestamp;
use crate::revenue::Split;
use crate::time::Millis;
use crate::{Result, ServiceConfig, ServiceError, revenue, roles, settlement};

/// Makes the effect of `motion`; what was done comes back, for the record. Identifiers that it makes
/// follow from the proposal's, so that nothing can be made twice.
pub(in crate::voting) fn execute(
    tx: &mut Tx,
    config: &ServiceConfig,
    motion: &Motion,
    now: Millis,
) -> Result<Value> {
    let id = &motion.row.id;
    match motion.action()? {
        ProposedAction::Loosen {
            run,
            cap_bps,
            term_s,
        } => order(
            tx,
            id,
            &run,
            OrderEffect::Permit { bps: bps(cap_bps)? },
            term_s,
            now,
        ),
        ProposedAction::Tighten {
            run,
            cap_bps,
            term_s,
            ..
        } => {
            let effect = match cap_bps {
                Some(cap) => OrderEffect::Cap { bps: bps(cap)? },
                None => OrderEffect::Pause,
            };
            order(tx, id, &run, effect, term_s, now)
        }
        ProposedAction::PolicyChange { toml } => adopt_policy(tx, motion, &toml, now),
        ProposedAction::OracleChange { version_id } => {
            oracle_change::adopt_version(tx, &version_id, id, now)
        }
        ProposedAction::SettlementDispute { market_id } => {
            let why = format!("called off by a vote, proposal {id}");
            settlement::call_off(tx, &market_id, &why, now)?;
            Ok(json!({"market_id": market_id, "status": "void"}))
        }
        ProposedAction::Treasury {
            account,
            amount_micro,
            ..
        } => pay(tx, motion, &account, amount_micro, now),
        ProposedAction::Membership {
            account,
            grant,
            revoke,
        } => {
            let held = roles::by_vote(tx, &account, &grant, &revoke, id, now)?;
            Ok(json!({"account": held.account, "roles": held.roles}))
        }
        ProposedAction::Cancel { proposal_id } => cancel(tx, config, &proposal_id, now),
        ProposedAction::RevenueSplit {
            amount_micro,
            shares,
            period,
        } => divide(tx, motion, &period, amount_micro, &shares, now),
        action @ ProposedAction::SealCreation { .. } => make_seal(tx, motion, action, now),
        ProposedAction::Ratify {
            seal_id, keep_s, ..
        } => keep(tx, &seal_id, keep_s, now),
    }
}

/// What follows from a rejection: an order that a seal put in force is not kept.
pub(in crate::voting) fn rejected(tx: &mut Tx, motion: &Motion, now: Millis) -> Result<()> {
    let ProposedAction::Ratify { seal_id, .. } = motion.action()? else {
        return Ok(());
    };
    let order = order_of_seal(tx, &seal_id)?;
    if order.until_at > now {
        let until_at = now.max(order.from_at);
        standing::update(tx, &StandingOrder { until_at, ..order })?;
        publish(tx, now, TOPIC, "order-ended", &json!({"seal_id": seal_id}))?;
    }
    Ok(())
}

fn bps(share: u16) -> Result<Bps> {
    Bps::new(share).map_err(ServiceError::internal)
}

fn seconds(term_s: u64) -> Millis {
    i64::try_from(term_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

fn order(
    tx: &mut Tx,
    proposal_id: &str,
    run_id: &str,
    effect: OrderEffect,
    term_s: u64,
    now: Millis,
) -> Result<Value> {
    let row = StandingOrder {
        id: proposal_id.to_owned(),
        run_id: run_id.to_owned(),
        source_kind: "proposal".to_owned(),
        source_id: proposal_id.to_owned(),
        effect: as_json(&effect)?,
        from_at: now,
        until_at: now.saturating_add(seconds(term_s)),
        before_bps: None,
        created_at: now,
    };
    standing::insert(tx, &row)?;
    let told = json!({"run_id": run_id, "proposal_id": proposal_id, "order": effect});
    publish(tx, now, TOPIC, "order", &told)?;
    Ok(json!({
        "run_id": run_id,
        "order": effect,
        "until": crate::time::rfc3339(row.until_at),
    }))
}

fn adopt_policy(tx: &mut Tx, motion: &Motion, toml: &str, now: Millis) -> Result<Value> {
    let policy = parse_policy(toml)?;
    let (author, id) = (&motion.row.author_id, &motion.row.id);
    let version = policies::insert_active(tx, policy.hash(), toml, author, Some(id), now)?;
    let told = json!({"version": version, "hash": policy.hash(), "proposal_id": id});
    publish(tx, now, "policy", "in-force", &told)?;
    Ok(told)
}

/// Pays out of the treasury.
fn pay(
    tx: &mut Tx,
    motion: &Motion,
    account: &str,
    amount_micro: i64,
    now: Millis,
) -> Result<Value> {
    let (id, payee) = (&motion.row.id, person(tx, account)?);
    let entries = vec![
        (TREASURY.to_owned(), -amount_micro),
        (payee.id, amount_micro),
    ];
    let transfer_id = format!("{id}-effect");
    post(
        tx,
        transfer_id.clone(),
        now,
        "treasury-payment",
        id,
        entries,
    )?;
    let lines = json!([{"account": account, "paid_micro": amount_micro}]);
    Ok(json!({"transfer_id": transfer_id, "paid_micro": amount_micro, "lines": lines}))
}

/// Divides a sum, to the last micro-credit, into shares to claim.
fn divide(
    tx: &mut Tx,
    motion: &Motion,
    period: &str,
    amount_micro: i64,
    shares: &[RevenueShare],
    now: Millis,
) -> Result<Value> {
    let mut lines = Vec::with_capacity(shares.len());
    let mut to = Vec::with_capacity(shares.len());
    for (share, part) in parts(amount_micro, shares)? {
        let weight = i64::try_from(share.weight).map_err(ServiceError::internal)?;
        to.push((person(tx, &share.account)?, weight, part));
        lines.push(json!({"account": share.account, "weight": weight, "given_micro": part}));
    }
    let split = Split {
        proposal_id: &motion.row.id,
        period,
        amount_micro,
        parts: to,
    };
    let transfer_id = revenue::give(tx, split, now)?;
    Ok(json!({"transfer_id": transfer_id, "given_micro": amount_micro, "lines": lines}))
}

fn cancel(tx: &mut Tx, config: &ServiceConfig, proposal_id: &str, now: Millis) -> Result<Value> {
    let mut target = Motion::load(tx, proposal_id)?;
    target.step(tx, config, &Event::Cancel, now)?;
    rejected(tx, &target, now)?;
    target.save(tx, now)?;
    Ok(json!({"proposal_id": proposal_id, "state": "cancelled"}))
}

fn make_seal(tx: &mut Tx, motion: &Motion, action: ProposedAction, now: Millis) -> Result<Value> {
    let terms = seal_terms(tx, &action)?;
    let ProposedAction::SealCreation { title, valid_s, .. } = action else {
        return Err(ServiceError::internal("not a seal"));
    };
    let expires_at = now.saturating_add(seconds(valid_s));
    let seal = Seal::new(terms, timestamp(expires_at)?).map_err(ServiceError::internal)?;
    let row = standing::Seal {
        id: motion.row.id.clone(),
        proposal_id: motion.row.id.clone(),
        title,
        seal: as_json(&seal)?,
        created_at: now,
        expires_at,
        used_at: None,
        order_id: None,
        vote_id: None,
    };
    standing::insert_seal(tx, &row)?;
    publish(
        tx,
        now,
        TOPIC,
        "seal",
        &json!({"seal_id": row.id, "status": "ready"}),
    )?;
    Ok(json!({"seal_id": row.id, "expires_at": crate::time::rfc3339(expires_at)}))
}

fn order_of_seal(tx: &mut Tx, seal_id: &str) -> Result<StandingOrder> {
    let seal = standing::seal(tx, seal_id)?;
    let order = seal
        .order_id
        .ok_or_else(|| ServiceError::internal("a used seal without an order"))?;
    Ok(standing::get(tx, &order)?)
}

fn keep(tx: &mut Tx, seal_id: &str, keep_s: u64, now: Millis) -> Result<Value> {
    let order = order_of_seal(tx, seal_id)?;
    let until_at = order.until_at.max(now.saturating_add(seconds(keep_s)));
    standing::update(tx, &StandingOrder { until_at, ..order })?;
    publish(tx, now, TOPIC, "order-kept", &json!({"seal_id": seal_id}))?;
    Ok(json!({"seal_id": seal_id, "until": crate::time::rfc3339(until_at)}))
}
