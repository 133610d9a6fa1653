//! Stakes that answer for nodes' work: locked to be let in, taken on a proven offence, returned after it can be proven
//! no more.
//!
//! What proves an offence is the training core's: two signed commitments, or work that was done again. Its bans are
//! read from the run itself, so a stake is taken once, whoever dies in between.

use plumbline_access::Action;
use plumbline_governance::dsse::verify_text;
use plumbline_store::hosted::{self, NodeStake};
use plumbline_store::{Tx, accounts};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::{BondNode, bond_text};
use crate::context::Context;
use crate::events::publish;
use crate::hosting::hosted_row;
use crate::keys::unhex;
use crate::ledger::{TREASURY, ensure_holding, post};
use crate::time::{Millis, rfc3339};
use crate::views::{BanView, NodeStakeView, Page};
use crate::{Result, Service, ServiceError, page};

/// Largest stake of one node: a thousand million credits.
pub(crate) const MOST_STAKE: i64 = 1_000_000_000_000_000;
/// Stakes that are held in one run, at most.
const MOST_HELD: i64 = 1_024;
/// A whole, in basis points.
const FULL_BPS: i128 = 10_000;

/// Terms of nodes' stakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTerms {
    /// How long a stake is held after its node left, so that work already done can still be looked at. Milliseconds.
    pub unbond_ms: i64,
}

impl Default for NodeTerms {
    fn default() -> Self {
        Self { unbond_ms: 600_000 }
    }
}

/// The account that holds a run's stakes.
fn holder(run_id: &str) -> String {
    format!("nodes-{run_id}")
}

impl Service {
    /// Locks a stake of the actor's that answers for a node in a run, and lets the node in.
    ///
    /// # Errors
    /// `bad-node-key`, `bad-stake`, `bad-signature`, `node-bonded`, `node-banned`, `no-stakes` where the run asks for
    /// none, `insufficient-funds`.
    pub fn bond_node(&self, ctx: &Context, run_id: &str, cmd: &BondNode) -> Result<NodeStakeView> {
        self.allow(&ctx.actor, Action::BondNode)?;
        let (run, account) = (self.run_row(run_id)?, account_of(&ctx.actor)?);
        let key = check_bond(&run.id, &account, cmd)?;
        let banned = self.host.bans(&run.id);
        if banned.iter().any(|ban| ban.node == key) {
            return Err(ServiceError::refused(
                "node-banned",
                "this node was removed from the run for good",
            ));
        }
        let row = NodeStake {
            id: self.new_id(),
            run_id: run.id.clone(),
            node_key: key,
            account_id: account,
            stake_micro: cmd.stake_micro,
            slashed_micro: 0,
            status: "bonded".to_owned(),
            created_at: 0,
            free_at: None,
            closed_at: None,
            ban: None,
        };
        let transfer_id = self.new_id();
        let view = self.write_once(ctx, move |tx, now| {
            let row = NodeStake {
                created_at: now,
                ..row
            };
            check_room(tx, &row)?;
            let holder = holder(&row.run_id);
            ensure_holding(tx, &holder, now)?;
            let stake = row.stake_micro;
            let entries = vec![(row.account_id.clone(), -stake), (holder, stake)];
            post(tx, transfer_id, now, "node-stake", &row.id, entries)?;
            hosted::stake(tx, &row)?;
            tell(tx, now, &row)?;
            view(tx, row)
        })?;
        self.open_door(&run.id)?;
        Ok(view)
    }

    /// Sends a node away and gives its stake back once its work can be proven wrong no more.
    ///
    /// # Errors
    /// `not-found` for a stake that is somebody else's, too; `stake-over`.
    pub fn release_node(&self, ctx: &Context, run_id: &str, id: &str) -> Result<NodeStakeView> {
        self.allow(&ctx.actor, Action::ReleaseNode)?;
        let (run, account) = (self.run_row(run_id)?, account_of(&ctx.actor)?);
        let (run_id, id) = (run.id.clone(), id.to_owned());
        // Without the defence a node takes its stake along in the moment in which it leaves.
        let held = self.config.defences.node_unbonding;
        let wait = if held { self.config.nodes.unbond_ms } else { 0 };
        let view = self.write_once(ctx, move |tx, now| {
            let row = hosted::stake_row(tx, &id)?;
            if row.account_id != account || row.run_id != run_id {
                return Err(ServiceError::not_found("node's stake", &id));
            }
            if row.status != "bonded" {
                return Err(ServiceError::refused(
                    "stake-over",
                    format!("the stake is {} already", row.status),
                ));
            }
            let row = NodeStake {
                status: "leaving".to_owned(),
                free_at: Some(now.saturating_add(wait)),
                ..row
            };
            hosted::update_stake(tx, &row)?;
            tell(tx, now, &row)?;
            view(tx, row)
        })?;
        self.open_door(&run.id)?;
        Ok(view)
    }

    /// Stakes in a run, oldest first.
    pub fn node_stakes(
        &self,
        ctx: &Context,
        run_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<NodeStakeView>> {
        self.allow(&ctx.actor, Action::ListNodeStakes)?;
        let run = self.run_row(run_id)?;
        let (after, limit) = (cursor.unwrap_or_default().to_owned(), page::bounded(limit));
        self.read(move |tx| {
            let rows = hosted::stakes_of(tx, &run.id, &after, (limit + 1) as i64)?;
            let views = rows
                .into_iter()
                .map(|row| view(tx, row))
                .collect::<Result<Vec<_>>>()?;
            Ok(page::cut(views, limit, |one| one.id.clone(), |one| one))
        })
    }

    /// Tells whatever trains which nodes have a stake.
    pub(crate) fn open_door(&self, run_id: &str) -> Result<()> {
        let id = run_id.to_owned();
        let held = self.read(move |tx| Ok(hosted::held(tx, &id, MOST_HELD)?))?;
        let bonded = held.into_iter().filter(|row| row.status == "bonded");
        let keys: Vec<String> = bonded.map(|row| row.node_key).collect();
        self.host.admit(run_id, &keys);
        Ok(())
    }

    /// Takes what bans cost, and returns stakes whose time is over or whose run has ended.
    pub(crate) fn settle_node_stakes(&self) -> Result<()> {
        let runs = self.read(|tx| Ok(hosted::runs_with_stakes(tx)?))?;
        for run_id in runs {
            let id = run_id.clone();
            let held = self.read(move |tx| Ok(hosted::held(tx, &id, MOST_HELD)?))?;
            let bans = self.host.bans(&run_id);
            let ended = self
                .host
                .training(&run_id)
                .is_some_and(|live| matches!(live.status.as_str(), "finished" | "stopped"));
            let now = self.now();
            let due: Vec<(NodeStake, Option<BanView>)> = held
                .into_iter()
                .filter_map(|row| {
                    let ban = bans.iter().find(|ban| ban.node == row.node_key).cloned();
                    let free = row.free_at.is_some_and(|at| at <= now) || ended;
                    (ban.is_some() || free).then_some((row, ban))
                })
                .collect();
            if due.is_empty() {
                continue;
            }
            let ids: Vec<String> = due.iter().map(|_| self.new_id()).collect();
            self.write_at(move |tx, now| {
                for ((row, ban), transfer_id) in due.into_iter().zip(ids) {
                    close(tx, row, ban, transfer_id, now)?;
                }
                Ok(())
            })?;
            self.open_door(&run_id)?;
        }
        Ok(())
    }
}

/// The key of a bond that makes sense and that its node signed.
fn check_bond(run_id: &str, account: &str, cmd: &BondNode) -> Result<String> {
    let key = cmd.node_key.to_lowercase();
    let bytes = unhex::<32>(&key).ok_or_else(|| {
        ServiceError::invalid("bad-node-key", "node_key is 64 hexadecimal digits")
    })?;
    if !(1..=MOST_STAKE).contains(&cmd.stake_micro) {
        return Err(ServiceError::invalid(
            "bad-stake",
            "stake_micro is above zero, and at most a thousand million credits",
        ));
    }
    let signed = unhex::<64>(&cmd.signature)
        .is_some_and(|signature| verify_text(&bytes, &bond_text(run_id, account), &signature));
    if !signed {
        return Err(ServiceError::invalid(
            "bad-signature",
            "the node did not sign its bond for this run and account",
        ));
    }
    Ok(key)
}

/// Refuses a stake that the run does not take.
fn check_room(tx: &mut Tx, row: &NodeStake) -> Result<()> {
    let least = hosted_row(tx, &row.run_id)?.least_stake_micro;
    if least == 0 {
        return Err(ServiceError::refused(
            "no-stakes",
            "this run lets nodes in without a stake",
        ));
    }
    if row.stake_micro < least {
        return Err(ServiceError::invalid(
            "bad-stake",
            format!("the run asks for at least {least} micro-credits"),
        ));
    }
    let held = hosted::held(tx, &row.run_id, MOST_HELD)?;
    if held.iter().any(|other| other.node_key == row.node_key) {
        return Err(ServiceError::refused(
            "node-bonded",
            "this node has a stake in the run already",
        ));
    }
    if held.len() as i64 >= MOST_HELD {
        return Err(ServiceError::refused(
            "no-stakes",
            "as many nodes as the run takes have a stake",
        ));
    }
    Ok(())
}

/// Ends a stake that is held: what the ban costs goes to the treasury, the rest back to whoever staked it.
fn close(
    tx: &mut Tx,
    row: NodeStake,
    ban: Option<BanView>,
    transfer_id: String,
    now: Millis,
) -> Result<()> {
    // Somebody may have been here since it was read.
    let row = hosted::stake_row(tx, &row.id)?;
    if row.closed_at.is_some() {
        return Ok(());
    }
    let bps = ban.as_ref().map_or(0, |ban| i128::from(ban.slash_bps));
    let slashed = i128::from(row.stake_micro) * bps.clamp(0, FULL_BPS) / FULL_BPS;
    let slashed = i64::try_from(slashed).map_err(ServiceError::internal)?;
    let (status, kind) = match &ban {
        Some(_) => ("slashed", "node-slash"),
        None => ("returned", "node-return"),
    };
    let entries = vec![
        (holder(&row.run_id), -row.stake_micro),
        (TREASURY.to_owned(), slashed),
        (row.account_id.clone(), row.stake_micro - slashed),
    ];
    post(tx, transfer_id, now, kind, &row.id, entries)?;
    let ban = ban.map(|ban| serde_json::to_string(&ban)).transpose();
    let row = NodeStake {
        status: status.to_owned(),
        slashed_micro: slashed,
        closed_at: Some(now),
        ban: ban.map_err(ServiceError::internal)?,
        ..row
    };
    hosted::update_stake(tx, &row)?;
    tell(tx, now, &row)
}

fn tell(tx: &mut Tx, now: Millis, row: &NodeStake) -> Result<()> {
    let topic = format!("training:{}", row.run_id);
    let detail = json!({"id": row.id, "node": row.node_key, "status": row.status,
        "stake_micro": row.stake_micro, "slashed_micro": row.slashed_micro,
        // So that the log pins the evidence.
        "ban": row.ban.as_ref().map(|ban| blake3::hash(ban.as_bytes()).to_hex().to_string())});
    publish(tx, now, &topic, "stake", &detail)
}

fn view(tx: &mut Tx, row: NodeStake) -> Result<NodeStakeView> {
    let ban = row.ban.as_deref().map(serde_json::from_str).transpose();
    Ok(NodeStakeView {
        account: accounts::get(tx, &row.account_id)?.handle,
        id: row.id,
        run_id: row.run_id,
        node_key: row.node_key,
        stake_micro: row.stake_micro,
        slashed_micro: row.slashed_micro,
        status: row.status,
        created_at: rfc3339(row.created_at),
        free_at: row.free_at.map(rfc3339),
        closed_at: row.closed_at.map(rfc3339),
        ban: ban.map_err(ServiceError::internal)?,
    })
}
