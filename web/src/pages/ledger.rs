//! Totals of the ledger, and the service's jobs for operators.

use actix_web::web;
use plumbline_service::views::{JobView, LedgerSummary, RevenueShareView, RevenueView};
use serde::Serialize;

use super::Visit;
use super::form::Form;
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::templates::Page;
use crate::templates::format::credits;

/// Shares on the page.
const SHOWN: usize = 50;

/// The ledger page's context.
#[derive(Debug, Serialize)]
pub(crate) struct LedgerPage {
    /// The totals.
    pub(crate) ledger: LedgerSummary,
    /// What inference earned.
    pub(crate) revenue: RevenueView,
    /// Shares of it that the viewer was given, newest first.
    pub(crate) shares: Vec<RevenueShareView>,
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
            let shares = match &context.actor.account_id {
                Some(_) => service.revenue_shares(context, None, SHOWN)?.items,
                None => Vec::new(),
            };
            Ok(LedgerPage {
                ledger: service.ledger_summary(context)?,
                revenue: service.revenue(context)?,
                shares,
            })
        })
        .await
}

/// `POST /treasury/shares/{id}/claim`
pub(crate) async fn claim(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let claimed = blocking(&state.service, move |service| {
        service.claim_revenue_share(&context, &id)
    })
    .await;
    match claimed {
        Ok(share) => {
            let told = format!("{} are on your balance.", credits(share.amount_micro));
            Ok(redirect_with("/ledger", "done", &told))
        }
        Err(problem) if problem.status == 409 => {
            Ok(redirect_with("/ledger", "error", &problem.detail))
        }
        Err(problem) => Err(problem),
    }
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
