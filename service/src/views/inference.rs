//! What inference used and earned.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::commands::RevenueShare;

/// What an account used of a run on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// First instant of the day, UTC.
    pub day: String,
    /// The run that answered.
    pub run_id: String,
    /// Texts generated.
    pub texts: i64,
    /// Tokens of their prompts.
    pub prompt_tokens: i64,
    /// Tokens generated.
    pub completion_tokens: i64,
    /// What was charged, micro-credits.
    pub charged_micro: i64,
}

/// What an account contributed in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodContribution {
    /// Account.
    pub account_id: String,
    /// Handle.
    pub account: String,
    /// What its evidence had earned in all when the period was closed, micro-credits.
    pub evidence_total_micro: i64,
    /// What its evidence earned in the period, micro-credits; at least 0. Its weight in a split by evidence.
    pub evidence_micro: i64,
}

/// Verified training work of one node of a hosted run when a period was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodWork {
    /// Run.
    pub run_id: String,
    /// Node.
    pub node: String,
    /// Tokens in all.
    pub tokens: u64,
    /// Tokens that audits vouch for.
    pub verified_tokens: u64,
}

/// What an account put into a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeriodAmount {
    /// Account.
    pub account_id: String,
    /// Handle.
    pub account: String,
    /// How much, micro-credits.
    pub amount_micro: i64,
}

/// What a vote gave to an account of a period's revenue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevenueShareView {
    /// Share id.
    pub id: String,
    /// The proposal that was executed.
    pub proposal_id: String,
    /// Name of the period in it.
    pub period: String,
    /// Weight in the split.
    pub weight: i64,
    /// What it comes to, micro-credits.
    pub amount_micro: i64,
    /// When it was given.
    pub created_at: String,
    /// When it went to the balance; not yet where it is missing.
    pub claimed_at: Option<String>,
}

/// Who contributed what, as it was when a period was closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContributionSnapshot {
    /// By account, the largest totals first; at most 100.
    pub evidence: Vec<PeriodContribution>,
    /// What jurors were paid for seats of panels settled in the period, less what was taken from them; the most
    /// first, at most 100. Their weight in a suggested split.
    #[serde(default)]
    pub jurors: Vec<PeriodAmount>,
    /// Subsidies of markets opened in the period and not called off, by who opened them; the most first, at most 100.
    /// For voters to read: most of a subsidy may come back.
    #[serde(default)]
    pub subsidies: Vec<PeriodAmount>,
    /// By run and node. Nodes have no accounts, so this is for voters to read.
    pub training: Vec<PeriodWork>,
}

/// A closed period of revenue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevenuePeriodView {
    /// Counts up from 1.
    pub version: i64,
    /// Its name in a proposal to split the revenue.
    pub period: String,
    /// First instant.
    pub from: String,
    /// First instant after it.
    pub until: String,
    /// What inference earned, micro-credits; the treasury holds it.
    pub revenue_micro: i64,
    /// Who contributed what.
    pub snapshot: ContributionSnapshot,
    /// A split by what evidence earned and jurors were paid, ready to be proposed; empty where nobody earned
    /// anything.
    pub suggested: Vec<RevenueShare>,
    /// When it was closed.
    pub closed_at: String,
}

/// Revenue that is not yet in a closed period, and the periods that are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevenueView {
    /// Earned since the last period, micro-credits.
    pub open_micro: i64,
    /// Set aside for requests that are being answered, micro-credits.
    pub reserved_micro: i64,
    /// Closed periods, newest first; at most 100.
    pub periods: Vec<RevenuePeriodView>,
}
