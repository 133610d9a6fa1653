//! Revenue by periods: what inference earned goes to the treasury at the end of
//! a day, with a snapshot of who contributed what. Dividing it is a proposal,
//! and what a vote gave to an account is its to claim.

mod shares;
mod statement;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use plumbline_access::Action;
use plumbline_store::inference::{self, RevenuePeriod, Usage};
use plumbline_store::revenue_shares::{self, Contribution};
use plumbline_store::standings::{self, By};
use plumbline_store::{Tx, accounts, runs};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::RevenueShare;
use crate::context::Context;
use crate::error::if_found;
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::metering::{DAY, INFERENCE, REVENUE};
use crate::time::{Millis, rfc3339};
use crate::views::{
    ContributionSnapshot, PeriodAmount, PeriodContribution, PeriodWork, RevenuePeriodView,
    RevenueView, UsageView,
};
use crate::{Result, Service, ServiceError};

pub(crate) use shares::{Split, ensure_account, give};

/// Accounts in a snapshot; as many as a split takes.
const MOST_CONTRIBUTORS: i64 = 100;
/// Nodes in a snapshot.
const MOST_NODES: usize = 1_000;
/// Closed periods that are shown.
const MOST_PERIODS: i64 = 100;
/// Rows of usage in one answer.
const MOST_USAGE: i64 = 1_000;

impl Service {
    /// Closes the period that ended with the last day, if anything was earned in it.
    pub(crate) fn close_revenue(&self) -> Result<()> {
        let now = self.now();
        let until = now - now.rem_euclid(DAY);
        if self.revenue_closed.load(Ordering::Acquire) >= until {
            return Ok(());
        }
        let earned = self.read(|tx| held(tx, REVENUE))?;
        if earned > 0 {
            let training = self.verified_work()?;
            self.write_at(move |tx, now| close(tx, until, training, now))?;
        }
        self.revenue_closed.store(until, Ordering::Release);
        Ok(())
    }

    /// Verified work of the nodes of hosted runs so far.
    fn verified_work(&self) -> Result<Vec<PeriodWork>> {
        let runs = self.read(|tx| Ok(runs::list(tx)?))?;
        let of_run = |run: plumbline_store::runs::Run| {
            let contributions = self.host.contributions(&run.id);
            contributions.into_iter().map(move |one| PeriodWork {
                run_id: run.id.clone(),
                node: one.node,
                tokens: one.tokens,
                verified_tokens: one.verified_tokens,
            })
        };
        Ok(runs.into_iter().flat_map(of_run).take(MOST_NODES).collect())
    }

    /// What inference earned, and the periods that are closed.
    pub fn revenue(&self, ctx: &Context) -> Result<RevenueView> {
        self.allow(&ctx.actor, Action::ReadLedger)?;
        self.read(|tx| {
            let rows = inference::periods(tx, None, MOST_PERIODS)?;
            Ok(RevenueView {
                open_micro: held(tx, REVENUE)?,
                reserved_micro: held(tx, INFERENCE)?,
                periods: rows.into_iter().map(view).collect::<Result<_>>()?,
            })
        })
    }

    /// What one has used, from the day of `from` (unix milliseconds) on, oldest first.
    pub fn usage(&self, ctx: &Context, from: Millis) -> Result<Vec<UsageView>> {
        let account = account_of(&ctx.actor)?;
        self.allow(&ctx.actor, Action::ReadStatement)?;
        let rows = self.read(|tx| Ok(inference::usage_of(tx, &account, from, MOST_USAGE)?))?;
        Ok(rows.into_iter().map(usage_view).collect())
    }
}

fn held(tx: &mut Tx, account: &str) -> Result<i64> {
    Ok(if_found(accounts::get(tx, account))?.map_or(0, |account| account.balance_micro))
}

/// Moves what was earned to the treasury and keeps who contributed what.
fn close(tx: &mut Tx, until: Millis, training: Vec<PeriodWork>, now: Millis) -> Result<()> {
    let earned = held(tx, REVENUE)?;
    let before = inference::periods(tx, None, 1)?.pop();
    if earned == 0 || before.as_ref().is_some_and(|row| row.until_at >= until) {
        return Ok(());
    }
    let earlier = match &before {
        Some(row) => snapshot_of(row)?,
        None => ContributionSnapshot::default(),
    };
    let from = before.map_or(until - DAY, |row| row.until_at);
    let jurors = revenue_shares::juror_pay(tx, from, until, MOST_CONTRIBUTORS)?;
    let subsidies = revenue_shares::subsidies(tx, from, until, MOST_CONTRIBUTORS)?;
    let snapshot = ContributionSnapshot {
        evidence: contributions(tx, &earlier)?,
        jurors: named(tx, jurors)?,
        subsidies: named(tx, subsidies)?,
        training,
    };
    let period = RevenuePeriod {
        from_at: from,
        until_at: until,
        revenue_micro: earned,
        snapshot: serde_json::to_string(&snapshot).map_err(ServiceError::internal)?,
        closed_at: now,
        version: 0,
    };
    let version = inference::close(tx, &period)?;
    let entries = vec![(REVENUE.to_owned(), -earned), (TREASURY.to_owned(), earned)];
    let reference = name(version);
    let transfer_id = format!("{reference}-close");
    post(tx, transfer_id, now, "revenue-close", &reference, entries)?;
    let told = json!({"version": version, "revenue_micro": earned});
    publish(tx, now, "treasury", "revenue-closed", &told)
}

/// What evidence earned since the snapshot before.
fn contributions(tx: &mut Tx, before: &ContributionSnapshot) -> Result<Vec<PeriodContribution>> {
    let rows = standings::list(tx, By::Evidence, None, MOST_CONTRIBUTORS)?;
    let mut contributions = Vec::with_capacity(rows.len());
    for row in rows {
        let mut earlier = before.evidence.iter();
        let earlier = earlier.find(|one| one.account_id == row.account_id);
        let since = row.evidence_micro - earlier.map_or(0, |one| one.evidence_total_micro);
        contributions.push(PeriodContribution {
            account: accounts::get(tx, &row.account_id)?.handle,
            account_id: row.account_id,
            evidence_total_micro: row.evidence_micro,
            evidence_micro: since.max(0),
        });
    }
    Ok(contributions)
}

fn named(tx: &mut Tx, rows: Vec<Contribution>) -> Result<Vec<PeriodAmount>> {
    let of = |row: Contribution| {
        Ok(PeriodAmount {
            account: accounts::get(tx, &row.account_id)?.handle,
            account_id: row.account_id,
            amount_micro: row.amount_micro,
        })
    };
    rows.into_iter().map(of).collect()
}

fn name(version: i64) -> String {
    format!("revenue-{version}")
}

fn snapshot_of(row: &RevenuePeriod) -> Result<ContributionSnapshot> {
    serde_json::from_str(&row.snapshot).map_err(ServiceError::internal)
}

fn view(row: RevenuePeriod) -> Result<RevenuePeriodView> {
    let snapshot = snapshot_of(&row)?;
    Ok(RevenuePeriodView {
        version: row.version,
        period: name(row.version),
        from: rfc3339(row.from_at),
        until: rfc3339(row.until_at),
        revenue_micro: row.revenue_micro,
        suggested: suggested(&snapshot),
        snapshot,
        closed_at: rfc3339(row.closed_at),
    })
}

/// What evidence earned and jurors were paid: what each of them has given for the price to be right.
fn suggested(snapshot: &ContributionSnapshot) -> Vec<RevenueShare> {
    let evidence = snapshot.evidence.iter();
    let evidence = evidence.map(|one| (&one.account, one.evidence_micro));
    let jurors = snapshot.jurors.iter();
    let jurors = jurors.map(|one| (&one.account, one.amount_micro));
    let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
    for (account, micro) in evidence.chain(jurors) {
        let weight = weights.entry(account).or_default();
        *weight = weight.saturating_add(u64::try_from(micro).unwrap_or(0));
    }
    let mut shares: Vec<RevenueShare> = weights
        .into_iter()
        .filter(|(_, weight)| *weight > 0)
        .map(|(account, weight)| RevenueShare {
            account: account.to_owned(),
            weight,
        })
        .collect();
    shares.sort_by_key(|share| Reverse(share.weight));
    shares.truncate(MOST_CONTRIBUTORS as usize);
    shares
}

fn usage_view(row: Usage) -> UsageView {
    UsageView {
        day: rfc3339(row.period),
        run_id: row.run_id,
        texts: row.texts,
        prompt_tokens: row.prompt_tokens,
        completion_tokens: row.completion_tokens,
        charged_micro: row.charged_micro,
    }
}
