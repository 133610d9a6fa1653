//! Statements of closed periods, as CSV.

use plumbline_access::Action;
use plumbline_governance::voting::split::largest_remainder;
use plumbline_store::accounts;
use plumbline_store::inference::{self, Usage};
use plumbline_store::revenue_shares::{self, RevenueShare};

use super::{name, view};
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::RevenuePeriodView;
use crate::{Result, Service, ServiceError};

/// Rows of usage in one statement.
const MOST_LINES: i64 = 50_000;
/// Shares in one statement.
const MOST_SHARES: i64 = 1_000;

impl Service {
    /// The statement of a closed period as CSV: what was charged, how the suggested split would divide it, and what
    /// votes gave and who has claimed it, to the last micro-credit.
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
            let mut given = Vec::new();
            for share in revenue_shares::of_period(tx, &name(version), MOST_SHARES)? {
                given.push((accounts::get(tx, &share.account_id)?.handle, share));
            }
            statement(&view(row)?, &usage, &given)
        })
    }
}

/// Lines of one kind after the other; no field holds a comma or a quote: ids, handles, times and numbers.
fn statement(
    period: &RevenuePeriodView,
    usage: &[Usage],
    given: &[(String, RevenueShare)],
) -> Result<String> {
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
    for (account, share) in given {
        let (at, line) = match share.claimed_at {
            Some(at) => (at, "claimed"),
            None => (share.created_at, "given"),
        };
        csv.push_str(&format!(
            "{line},{name},{account},,{},,,,{},{}\n",
            rfc3339(at),
            share.amount_micro,
            share.weight
        ));
    }
    Ok(csv)
}
