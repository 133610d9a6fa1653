//! The transparency log: what is in it, and one entry checked step by step.

use plumbline_service::context::Context;
use plumbline_service::views::{LogCheckpointView, LogEntryView, LogProofView};
use plumbline_service::{Service, ServiceError};
use serde::{Deserialize, Serialize};

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::extract::Params;
use crate::templates::Page;

/// Entries of one page.
const ENTRIES: u64 = 30;

/// Which entry to check, and up to which to list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    /// Index of an entry, or a decision's id.
    entry: Option<String>,
    /// Lists the entries before this index.
    before: Option<u64>,
}

/// An entry as a person reads it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EntryRow {
    /// Index in the log.
    pub(crate) index: u64,
    /// When it happened.
    pub(crate) at: Option<String>,
    /// What it is about.
    pub(crate) topic: String,
    /// What happened.
    pub(crate) kind: String,
    /// The details, JSON.
    pub(crate) details: String,
    /// Hash of the leaf.
    pub(crate) leaf: String,
}

impl From<LogEntryView> for EntryRow {
    fn from(view: LogEntryView) -> Self {
        // Format, number, time, topic, kind, details.
        let mut lines = view.entry.splitn(6, '\n').skip(2);
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let at = next();
        Self {
            index: view.index,
            at: at
                .parse()
                .ok()
                .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
                .map(|at| at.to_string()),
            topic: next(),
            kind: next(),
            details: next(),
            leaf: view.leaf,
        }
    }
}

/// The page's context.
#[derive(Debug, Serialize)]
pub(crate) struct LogPage {
    /// The log as it is now.
    pub(crate) checkpoint: LogCheckpointView,
    /// Entries, newest first.
    pub(crate) entries: Vec<EntryRow>,
    /// Where the next page ends.
    pub(crate) before: Option<u64>,
    /// What was asked for.
    pub(crate) asked: String,
    /// The entry that was asked for, with its proof.
    pub(crate) proof: Option<LogProofView>,
    /// Why there is none.
    pub(crate) problem: Option<String>,
    /// Checkpoints that were kept, newest first.
    pub(crate) kept: Vec<LogCheckpointView>,
}

impl Page for LogPage {
    const TEMPLATE: &'static str = "log.html";
}

/// `GET /log`
pub(crate) async fn show(state: State, visit: Visit, asked: Params<Asked>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let Asked { entry, before } = asked.0;
            let asked = entry.unwrap_or_default().trim().to_owned();
            let (proof, problem) = if asked.is_empty() {
                (None, None)
            } else {
                match prove(service, context, &asked) {
                    Ok(proof) => (Some(proof), None),
                    Err(error @ ServiceError::Internal(_)) => return Err(error),
                    Err(error) => (None, Some(error.to_string())),
                }
            };
            let checkpoint = service.log_checkpoint(context)?;
            let end = before.unwrap_or(checkpoint.size).min(checkpoint.size);
            let start = end.saturating_sub(ENTRIES);
            let mut entries = Vec::new();
            if end > start {
                let found = service.log_entries(context, start, (end - start) as usize)?;
                entries = found.items.into_iter().rev().map(EntryRow::from).collect();
            }
            Ok(LogPage {
                checkpoint,
                entries,
                before: (start > 0).then_some(start),
                asked,
                proof,
                problem,
                kept: service.log_checkpoints(context, None, 5)?.items,
            })
        })
        .await
}

/// The proof of an entry by its index, or of a decision by its id.
fn prove(service: &Service, context: &Context, asked: &str) -> Result<LogProofView, ServiceError> {
    if let Ok(index) = asked.parse() {
        return service.log_proof(context, index, None);
    }
    let decision = service.decision(context, asked)?;
    decision
        .proof
        .ok_or_else(|| ServiceError::refused("not-logged", "this decision is older than the log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_taken_apart_and_an_odd_one_is_no_panic() {
        let row = |entry: &str| {
            EntryRow::from(LogEntryView {
                index: 3,
                entry: entry.to_owned(),
                leaf: "x".to_owned(),
            })
        };
        let read = row("plumbline-log/v1\n4\n1790000000000\nmarket:m\nprice\n{\"a\":1}");
        assert_eq!(
            (
                read.topic.as_str(),
                read.kind.as_str(),
                read.details.as_str()
            ),
            ("market:m", "price", "{\"a\":1}")
        );
        assert_eq!(read.at.as_deref(), Some("2026-09-21T14:13:20Z"));
        let odd = row("");
        assert_eq!((odd.at, odd.topic.as_str()), (None, ""));
    }
}
