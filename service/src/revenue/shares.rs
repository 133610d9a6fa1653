//! Shares of revenue: what a vote gave to an account is set aside until the account claims it.

use plumbline_access::Action;
use plumbline_store::Tx;
use plumbline_store::accounts::{Account, AccountKind};
use plumbline_store::revenue_shares::{self, RevenueShare};
use serde_json::json;

use crate::accounts::account_of;
use crate::context::Context;
use crate::events::publish;
use crate::ledger::{TREASURY, post, system_account};
use crate::time::{Millis, rfc3339};
use crate::views::{Page, RevenueShareView};
use crate::{Result, Service, ServiceError, notices, page};

/// Holds what was given and not yet claimed.
const SHARES: &str = "revenue-shares";

/// Makes the account that holds shares.
pub(crate) fn ensure_account(tx: &mut Tx, now: Millis) -> Result<()> {
    let account = Account {
        handle: format!("system:{SHARES}"),
        ..system_account(SHARES, AccountKind::Escrow, now)
    };
    crate::ledger::ensure_account(tx, &account)
}

/// A vote's split: who gets which part by which weight.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    /// The proposal.
    pub(crate) proposal_id: &'a str,
    /// Name of the period.
    pub(crate) period: &'a str,
    /// What is divided, micro-credits.
    pub(crate) amount_micro: i64,
    /// Accounts with weight and part; the parts add up to the amount.
    pub(crate) parts: Vec<(Account, i64, i64)>,
}

/// Sets the parts of a split aside from the treasury in one transfer, and tells whom they were given to.
pub(crate) fn give(tx: &mut Tx, split: Split<'_>, now: Millis) -> Result<String> {
    let (id, amount) = (split.proposal_id, split.amount_micro);
    let transfer_id = format!("{id}-effect");
    let entries = vec![(TREASURY.to_owned(), -amount), (SHARES.to_owned(), amount)];
    post(tx, transfer_id.clone(), now, "revenue", id, entries)?;
    for (ordinal, (account, weight, amount_micro)) in split.parts.into_iter().enumerate() {
        // Too little of a sum for one unit of it.
        if amount_micro == 0 {
            continue;
        }
        let row = RevenueShare {
            id: format!("{id}-{ordinal:03}"),
            proposal_id: id.to_owned(),
            period: split.period.to_owned(),
            account_id: account.id,
            weight,
            amount_micro,
            created_at: now,
            claimed_at: None,
        };
        revenue_shares::insert(tx, &row)?;
        notices::tell_of_share(tx, &row, now)?;
    }
    Ok(transfer_id)
}

impl Service {
    /// The actor's shares of revenue, newest first.
    pub fn revenue_shares(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RevenueShareView>> {
        let account = account_of(&ctx.actor)?;
        self.allow(&ctx.actor, Action::ReadStatement)?;
        let (before, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        self.read(move |tx| {
            let rows =
                revenue_shares::of_account(tx, &account, before.as_deref(), (limit + 1) as i64)?;
            Ok(page::cut(rows, limit, |row| row.id.clone(), view))
        })
    }

    /// Moves one of the actor's shares to its balance.
    ///
    /// # Errors
    /// `not-found` for one that is none of the actor's; `claimed-already`.
    pub fn claim_revenue_share(&self, ctx: &Context, id: &str) -> Result<RevenueShareView> {
        self.allow(&ctx.actor, Action::ClaimRevenue)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        self.write_once(ctx, move |tx, now| {
            let row = revenue_shares::get(tx, &id)?;
            if row.account_id != account {
                return Err(ServiceError::not_found("share of revenue", &id));
            }
            if row.claimed_at.is_some() {
                return Err(ServiceError::refused(
                    "claimed-already",
                    "this share is on your balance",
                ));
            }
            revenue_shares::claim(tx, &id, now)?;
            let amount = row.amount_micro;
            let entries = vec![(SHARES.to_owned(), -amount), (account, amount)];
            post(
                tx,
                format!("{id}-claim"),
                now,
                "revenue-claim",
                &id,
                entries,
            )?;
            let told = json!({"share_id": id, "amount_micro": amount});
            publish(tx, now, "treasury", "share-claimed", &told)?;
            Ok(view(RevenueShare {
                claimed_at: Some(now),
                ..row
            }))
        })
    }
}

fn view(row: RevenueShare) -> RevenueShareView {
    RevenueShareView {
        id: row.id,
        proposal_id: row.proposal_id,
        period: row.period,
        weight: row.weight,
        amount_micro: row.amount_micro,
        created_at: rfc3339(row.created_at),
        claimed_at: row.claimed_at.map(rfc3339),
    }
}
