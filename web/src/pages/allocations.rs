//! Decisions: what is in force, what was, who obeys.

use actix_web::web;
use plumbline_service::views::{EnforcementView, KeyView};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::decision::{DecisionRow, row};
use crate::api::Answer;
use crate::auth::State;
use crate::extract::Params;
use crate::templates::Page;

/// Which page of the history.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// The list's context.
#[derive(Debug, Serialize)]
pub(crate) struct AllocationsPage {
    /// Version of the current state.
    pub(crate) version: i64,
    /// What is in force, one per target.
    pub(crate) current: Vec<DecisionRow>,
    /// Every decision, newest first.
    pub(crate) history: Vec<DecisionRow>,
    /// Where the next page starts.
    pub(crate) next_cursor: Option<String>,
    /// Who obeys.
    pub(crate) enforcement: EnforcementView,
    /// Keys that verify them.
    pub(crate) keys: Vec<KeyView>,
}

impl Page for AllocationsPage {
    const TEMPLATE: &'static str = "allocations.html";
    fn topics(&self) -> String {
        "allocations".to_owned()
    }
}

/// One decision's context.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionPage {
    /// The decision.
    pub(crate) row: DecisionRow,
    /// The payload, indented.
    pub(crate) payload: String,
    /// The signed envelope, indented.
    pub(crate) envelope: String,
    /// Its entry in the transparency log.
    pub(crate) log_index: Option<u64>,
}

impl Page for DecisionPage {
    const TEMPLATE: &'static str = "decision.html";
    fn topics(&self) -> String {
        "allocations".to_owned()
    }
}

/// `GET /allocations`
pub(crate) async fn list(state: State, visit: Visit, query: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let current = service.allocations(context)?;
            let history = service.decisions(context, query.0.cursor.as_deref(), 30)?;
            Ok(AllocationsPage {
                version: current.version,
                current: current.items.iter().map(row).collect(),
                history: history.items.iter().map(row).collect(),
                next_cursor: history.next_cursor,
                enforcement: service.enforcement(context)?,
                keys: service.keys()?,
            })
        })
        .await
}

/// `GET /allocations/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let view = service.decision(context, &id)?;
            let pretty = |value| serde_json::to_string_pretty(value).unwrap_or_default();
            Ok(DecisionPage {
                row: row(&view),
                payload: pretty(&view.decision),
                envelope: pretty(&view.envelope),
                log_index: view.proof.as_ref().map(|proof| proof.index),
            })
        })
        .await
}
