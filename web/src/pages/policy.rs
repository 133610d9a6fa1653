//! The rules that turn prices into decisions.

use plumbline_service::views::PolicyView;
use serde::Serialize;

use super::Visit;
use crate::api::Answer;
use crate::auth::{Reader, State};
use crate::templates::Page;

/// Versions on the page.
const SHOWN: usize = 50;

/// The policy page's context.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyPage {
    /// In force.
    pub(crate) policy: PolicyView,
    /// All versions, newest first.
    pub(crate) versions: Vec<PolicyView>,
}

impl Page for PolicyPage {
    const TEMPLATE: &'static str = "policy.html";
}

/// `GET /policy`
pub(crate) async fn show(state: State, visit: Visit<Reader>) -> Answer {
    visit
        .page(&state, |service, context| {
            Ok(PolicyPage {
                policy: service.policy(context)?,
                versions: service.policy_versions(context, None, SHOWN)?.items,
            })
        })
        .await
}
