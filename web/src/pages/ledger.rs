//! Totals of the ledger, and the service's jobs for operators.

use plumbline_service::views::{JobView, LedgerSummary, RevenueView};
use serde::Serialize;

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::templates::Page;

/// The ledger page's context.
#[derive(Debug, Serialize)]
pub(crate) struct LedgerPage {
    /// The totals.
    pub(crate) ledger: LedgerSummary,
    /// What inference earned.
    pub(crate) revenue: RevenueView,
}

impl Page for LedgerPage {
    const TEMPLATE: &'static str = "ledger.html";
    fn topics(&self) -> String {
        "market:*".to_owned()
    }
}

/// The jobs page's context.
#[derive(Debug, Serialize)]
pub(crate) struct JobsPage {
    /// The jobs, newest first.
    pub(crate) jobs: Vec<JobView>,
}

impl Page for JobsPage {
    const TEMPLATE: &'static str = "jobs.html";
}

/// `GET /ledger`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| {
            Ok(LedgerPage {
                ledger: service.ledger_summary(context)?,
                revenue: service.revenue(context)?,
            })
        })
        .await
}

/// `GET /jobs`
pub(crate) async fn jobs(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| {
            Ok(JobsPage {
                jobs: service.jobs(context, 200)?,
            })
        })
        .await
}
