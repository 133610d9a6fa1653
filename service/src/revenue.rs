//! Revenue by periods: what inference earned goes to the treasury at the end of
//! a day, with a snapshot of who contributed what. Dividing it is a proposal.

use std::sync::atomic::Ordering;

use plumbline_access::Action;
use plumbline_governance::voting::split::largest_remainder;
use plumbline_store::inference::{self, RevenuePeriod, Usage};
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
    ContributionSnapshot, PeriodContribution, PeriodWork, RevenuePeriodView, RevenueView, UsageView,
};
use crate::{Result, Service, ServiceError};

/// Accounts in a snapshot; as many as a split takes.
const MOST_CONTRIBUTORS: i64 = 100;
/// Nodes in a snapshot.
const MOST_NODES: usize = 1_000;
/// Closed periods that are shown.
const MOST_PERIODS: i64 = 100;
/// Rows of usage in one answer.
const MOST_USAGE: i64 = 1_000;
/// Rows of usage in one statement.
const MOST_LINES: i64 = 50_000;

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

    /// The statement of a closed period as CSV: what was charged, and how a split by evidence would divide it, to
    /// the last micro-credit.
    ///
    /// # Errors
    /// `not-found`.
    pub fn revenue_statement(&self, ctx: &Context, version: i64) -> Result<String> {
        self.allow(&ctx.actor, Action::ReadLedger)?;
        self.read(|tx| {
            let row = inference::periods(tx, Some(version.saturating_add(1)), 1)?;
            let row = row.into_iter().find(|row| row.version == version);
            let row = row.ok_or_else(|| ServiceError::not_found("period", version.to_string()))?;
            let usage = inference::usage_between(tx, row.from_at, row.until_at, MOST_LINES)?;
            statement(&view(row)?, &usage)
        })
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
    let snapshot = ContributionSnapshot {
        evidence: contributions(tx, &earlier)?,
        training,
    };
    let period = RevenuePeriod {
        from_at: before.map_or(until - DAY, |row| row.until_at),
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

fn name(version: i64) -> String {
    format!("revenue-{version}")
}

fn snapshot_of(row: &RevenuePeriod) -> Result<ContributionSnapshot> {
    serde_json::from_str(&row.snapshot).map_err(ServiceError::internal)
}

fn view(row: RevenuePeriod) -> Result<RevenuePeriodView> {
    let snapshot = snapshot_of(&row)?;
    let share = |one: &PeriodContribution| RevenueShare {
        account: one.account.clone(),
        weight: u64::try_from(one.evidence_micro).unwrap_or(0),
    };
    let shares = snapshot.evidence.iter().map(share);
    Ok(RevenuePeriodView {
        version: row.version,
        period: name(row.version),
        from: rfc3339(row.from_at),
        until: rfc3339(row.until_at),
        revenue_micro: row.revenue_micro,
        suggested: shares.filter(|share| share.weight > 0).collect(),
        snapshot,
        closed_at: rfc3339(row.closed_at),
    })
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

/// Lines of one kind after the other; no field holds a comma or a quote: ids, handles, times and numbers.
fn statement(period: &RevenuePeriodView, usage: &[Usage]) -> Result<String> {
    let mut csv = String::from(
        "line,period,account,run,day,texts,prompt_tokens,completion_tokens,amount_micro,weight\n",
    );
    let name = &period.period;
    csv.push_str(&format!("revenue,{name},,,,,,,{},\n", period.revenue_micro));
    for row in usage {
        csv.push_str(&format!(
            "charge,{name},{},{},{},{},{},{},{},\n",
            row.account_id,
            row.run_id,
            rfc3339(row.period),
            row.texts,
            row.prompt_tokens,
            row.completion_tokens,
            row.charged_micro
        ));
    }
    let weights: Vec<u64> = period.suggested.iter().map(|share| share.weight).collect();
    let revenue = u64::try_from(period.revenue_micro).map_err(ServiceError::internal)?;
    let parts = largest_remainder(revenue, &weights);
    for (share, part) in period.suggested.iter().zip(parts) {
        let (account, weight) = (&share.account, share.weight);
        csv.push_str(&format!("share,{name},{account},,,,,,{part},{weight}\n"));
    }
    Ok(csv)
}
