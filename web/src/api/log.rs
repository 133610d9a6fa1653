//! The transparency log: entries, proofs, signed checkpoints.

use plumbline_service::views::{
    ConsistencyView, LogCheckpointView, LogEntriesView, LogProofView, Page,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::{Paging, Params};
use crate::problem::Problem;

/// Most entries in one answer.
const MAX_ENTRIES: usize = 500;

/// From where, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Range {
    /// Index of the first entry; 0 by default.
    start: Option<u64>,
    /// How many, 1 to 500; 100 by default.
    limit: Option<usize>,
}

/// Which entry, in which tree.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Entry {
    /// Index of the entry, from 0.
    index: u64,
    /// Number of entries of the tree; all that there are by default.
    size: Option<u64>,
}

/// Which two trees.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Trees {
    /// Number of entries of the older tree.
    from: u64,
    /// Number of entries of the newer one; all that there are by default.
    to: Option<u64>,
}

/// The log as it is now: a signed checkpoint in the form of a C2SP signed note
#[utoipa::path(get, path = "/api/v1/log/checkpoint", tag = "log",
    responses((status = 200, description = "Size, root and note", body = LogCheckpointView)))]
pub(crate) async fn checkpoint(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.log_checkpoint(&caller.context())
    })
    .await?)
}

/// Checkpoints that were kept, newest first
#[utoipa::path(get, path = "/api/v1/log/checkpoints", tag = "log", params(Paging),
    responses((status = 200, description = "A page of checkpoints", body = Page<LogCheckpointView>)))]
pub(crate) async fn checkpoints(state: State, caller: Caller, paging: Params<Paging>) -> Answer {
    let (cursor, limit) = paging.0.read()?;
    ok(&blocking(&state.service, move |service| {
        service.log_checkpoints(&caller.context(), cursor.as_deref(), limit)
    })
    .await?)
}

/// Entries in their order
#[utoipa::path(get, path = "/api/v1/log/entries", tag = "log", params(Range),
    responses((status = 200, description = "Entries with the hashes of their leaves", body = LogEntriesView)))]
pub(crate) async fn entries(state: State, caller: Caller, range: Params<Range>) -> Answer {
    let (start, limit) = (range.0.start.unwrap_or(0), range.0.limit.unwrap_or(100));
    if !(1..=MAX_ENTRIES).contains(&limit) {
        return Err(Problem::bad_request(
            "invalid-parameter",
            format!("limit must be 1 to {MAX_ENTRIES}"),
        ));
    }
    ok(&blocking(&state.service, move |service| {
        service.log_entries(&caller.context(), start, limit)
    })
    .await?)
}

/// That an entry is in the log: an inclusion proof with the checkpoint that it leads to
#[utoipa::path(get, path = "/api/v1/log/proof", tag = "log", params(Entry),
    responses((status = 200, description = "The entry, its siblings, the checkpoint", body = LogProofView)))]
pub(crate) async fn proof(state: State, caller: Caller, entry: Params<Entry>) -> Answer {
    let Entry { index, size } = entry.0;
    ok(&blocking(&state.service, move |service| {
        service.log_proof(&caller.context(), index, size)
    })
    .await?)
}

/// That nothing was taken out or changed since an earlier checkpoint: a consistency proof
#[utoipa::path(get, path = "/api/v1/log/consistency", tag = "log", params(Trees),
    responses((status = 200, description = "The proof and the newer checkpoint", body = ConsistencyView)))]
pub(crate) async fn consistency(state: State, caller: Caller, trees: Params<Trees>) -> Answer {
    let Trees { from, to } = trees.0;
    ok(&blocking(&state.service, move |service| {
        service.log_consistency(&caller.context(), from, to)
    })
    .await?)
}
