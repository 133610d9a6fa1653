//! Seals: their use, and what everybody may see of them.

use plumbline_access::Action;
use plumbline_governance::Bps;
use plumbline_governance::orders::OrderEffect;
use plumbline_governance::voting::proposal::at_once;
use plumbline_governance::voting::seal::Seal;
use plumbline_governance::voting::tracks::Track;
use plumbline_store::standing::{self, StandingOrder};
use plumbline_store::{Tx, accounts, decisions, runs};
use serde_json::json;
use uuid::Uuid;

use super::motion::as_json;
use super::proposals::{Written, insert};
use super::{TOPIC, ballots};
use crate::accounts::account_of;
use crate::commands::{ProposedAction, UseSeal};
use crate::context::Context;
use crate::events::publish;
use crate::policy::timestamp;
use crate::runs::find_run;
use crate::time::{Millis, rfc3339};
use crate::views::{EffectView, OrderInForce, Page, SealSignature, SealView};
use crate::{Result, Service, ServiceConfig, ServiceError, page};

impl Service {
    /// Signs the use of a seal. The last signature that is needed caps the run at once, and opens a vote
    /// about it.
    ///
    /// # Errors
    /// `no-guardian`, `seal-used`, `seal-expired`, `signed-already`, `seal-out-of-scope`.
    pub fn use_seal(&self, ctx: &Context, id: &str, cmd: &UseSeal) -> Result<SealView> {
        self.allow(&ctx.actor, Action::UseSeal)?;
        let (account, id, run) = (account_of(&ctx.actor)?, id.to_owned(), cmd.run.clone());
        let (config, vote_id) = (self.config.clone(), self.new_id());
        self.write_once(ctx, move |tx, now| {
            let mut row = standing::seal(tx, &id)?;
            let seal: Seal = serde_json::from_str(&row.seal).map_err(ServiceError::internal)?;
            let run = find_run(tx, &run)?;
            let uid: Uuid = run.id.parse().map_err(ServiceError::internal)?;
            let signed = seal
                .sign(&account, uid, timestamp(now)?)
                .map_err(|error| ServiceError::refused(error.code(), error.to_string()))?;
            row.seal = as_json(&signed)?;
            if signed.used_at.is_some() {
                let order = cap(tx, &row, &signed, &run.id, now)?;
                let vote = open_vote(tx, &config, &row, &order, vote_id, account, now)?;
                row.used_at = Some(now);
                row.order_id = Some(order.id);
                row.vote_id = Some(vote);
            }
            standing::update_seal(tx, &row)?;
            let told = json!({"seal_id": row.id, "status": signed.status(timestamp(now)?)});
            publish(tx, now, TOPIC, "seal", &told)?;
            seal_view(tx, row, now)
        })
    }

    /// Seals, newest first.
    pub fn seals(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<SealView>> {
        self.allow(&ctx.actor, Action::ListSeals)?;
        let (before, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        let now = self.now();
        self.read(move |tx| {
            let rows = standing::seals(tx, before.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let items = page.items.into_iter().map(|row| seal_view(tx, row, now));
            Ok(Page {
                items: items.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One seal.
    pub fn seal(&self, ctx: &Context, id: &str) -> Result<SealView> {
        self.allow(&ctx.actor, Action::ReadSeal)?;
        let (id, now) = (id.to_owned(), self.now());
        self.read(move |tx| {
            let row = standing::seal(tx, &id)?;
            seal_view(tx, row, now)
        })
    }

    /// What votes and seals have put on runs and is in force.
    pub fn orders_in_force(&self, ctx: &Context) -> Result<Vec<OrderInForce>> {
        self.allow(&ctx.actor, Action::ListStandingOrders)?;
        let now = self.now();
        self.read(move |tx| {
            let rows = standing::ending_after(tx, now)?;
            rows.into_iter().map(|row| order_view(tx, row)).collect()
        })
    }
}

/// Puts the cap of a used seal in force, and notes what the run had before.
fn cap(
    tx: &mut Tx,
    row: &standing::Seal,
    seal: &Seal,
    run_id: &str,
    now: Millis,
) -> Result<StandingOrder> {
    let before = decisions::latest(tx, run_id, "training")?;
    let effect = OrderEffect::Cap {
        bps: seal.terms.cap_bps,
    };
    let term = i64::try_from(seal.terms.term_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let order = StandingOrder {
        id: format!("{}-use", row.id),
        run_id: run_id.to_owned(),
        source_kind: "seal".to_owned(),
        source_id: row.id.clone(),
        effect: as_json(&effect)?,
        from_at: now,
        until_at: now.saturating_add(term),
        before_bps: Some(before.map_or(i64::from(Bps::FULL.get()), |row| row.share_bps)),
        created_at: now,
    };
    standing::insert(tx, &order)?;
    let told = json!({"run_id": run_id, "seal_id": row.id, "order": effect});
    publish(tx, now, TOPIC, "order", &told)?;
    Ok(order)
}

/// Opens the vote about the use of a seal, without a deposit: the guardians answer for it.
fn open_vote(
    tx: &mut Tx,
    config: &ServiceConfig,
    row: &standing::Seal,
    order: &StandingOrder,
    id: String,
    author: String,
    now: Millis,
) -> Result<String> {
    let run = runs::get(tx, &order.run_id)?.name;
    let keep_s = u64::try_from((order.until_at - order.from_at) / 1_000).unwrap_or(0);
    let written = Written {
        id: id.clone(),
        track: Track::EmergencyTighten,
        title: format!("Keep what the seal did to {run}"),
        body: format!(
            "The guardians of the seal \"{}\" capped {run}. For: the cap stays for {keep_s} seconds more. Against: it \
             ends with this vote.",
            row.title
        ),
        author,
        action: ProposedAction::Ratify {
            seal_id: row.id.clone(),
            run: order.run_id.clone(),
            keep_s,
        },
        effect: EffectView {
            at: rfc3339(now),
            summary: format!(
                "The cap on {run} is kept for {keep_s} seconds more; otherwise it ends."
            ),
            ..EffectView::default()
        },
    };
    let mut motion = insert(tx, config, written, now)?;
    motion.state = at_once(&motion.terms, timestamp(now)?);
    motion.row.voting_at = Some(now);
    ballots::fix_electorate(tx, config, &motion.row)?;
    motion.tally = ballots::count(tx, config, &id)?;
    motion.note(tx, "opened by the use of a seal", now)?;
    motion.save(tx, now)?;
    Ok(id)
}

fn seal_view(tx: &mut Tx, row: standing::Seal, now: Millis) -> Result<SealView> {
    let seal: Seal = serde_json::from_str(&row.seal).map_err(ServiceError::internal)?;
    let mut guardians = Vec::new();
    for id in &seal.terms.guardians {
        guardians.push(accounts::get(tx, id)?.handle);
    }
    let mut signed = Vec::new();
    for (id, run) in &seal.signed {
        signed.push(SealSignature {
            guardian: accounts::get(tx, id)?.handle,
            run: runs::get(tx, &run.to_string())?.name,
        });
    }
    let mut covered = Vec::new();
    for run in &seal.terms.runs {
        covered.push(runs::get(tx, &run.to_string())?.name);
    }
    let order = match &row.order_id {
        Some(id) => {
            let order = standing::get(tx, id)?;
            Some(order_view(tx, order)?)
        }
        None => None,
    };
    Ok(SealView {
        status: seal.status(timestamp(now)?).to_owned(),
        id: row.id,
        title: row.title,
        proposal_id: row.proposal_id,
        guardians,
        threshold: seal.terms.threshold,
        signed,
        runs: covered,
        cap_bps: seal.terms.cap_bps.get(),
        term_s: seal.terms.term_s,
        expires_at: rfc3339(row.expires_at),
        used_at: row.used_at.map(rfc3339),
        vote_id: row.vote_id,
        order,
    })
}

fn order_view(tx: &mut Tx, row: StandingOrder) -> Result<OrderInForce> {
    let effect: OrderEffect = serde_json::from_str(&row.effect).map_err(ServiceError::internal)?;
    let (kind, bps) = match effect {
        OrderEffect::Cap { bps } => ("cap", Some(bps.get())),
        OrderEffect::Pause => ("pause", None),
        OrderEffect::Permit { bps } => ("permit", Some(bps.get())),
    };
    Ok(OrderInForce {
        run: runs::get(tx, &row.run_id)?.name,
        kind: kind.to_owned(),
        bps,
        source: row.source_kind,
        source_id: row.source_id,
        from: rfc3339(row.from_at),
        until: rfc3339(row.until_at),
    })
}
