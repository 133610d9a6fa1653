//! The transparency log.

use serde_json::json;

use super::Dress;
use crate::pages::log::{EntryRow, LogPage};
use crate::templates::samples::view;
use plumbline_service::views::{LogCheckpointView, LogEntryView, LogProofView};

const LEAF: &str = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";

pub(super) fn page(dress: Dress) -> LogPage {
    let note = "plumbline/6f1d20aa93c4\n128\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n\n— plumbline/6f1d20aa93c4 AAAA\n";
    let checkpoint = dress.one::<LogCheckpointView>(view(json!({
        "origin": "plumbline/6f1d20aa93c4", "size": 128, "root": LEAF, "note": note, "kept_at": "2026-11-22T10:04:01Z",
    })));
    let entry = "plumbline-log/v1\n18\n1790000000000\nmarket:m\nprice\n{\"probability\":0.5}";
    let rows = dress.many::<LogEntryView>(vec![view(
        json!({"index": 17, "entry": entry, "leaf": LEAF}),
    )]);
    let proof = dress.one::<LogProofView>(view(json!({
        "index": 17, "size": 128, "entry": entry, "leaf": LEAF, "hashes": [LEAF, LEAF], "checkpoint": note,
    })));
    let full = dress != Dress::Empty;
    LogPage {
        entries: rows.into_iter().map(EntryRow::from).collect(),
        before: full.then_some(3),
        asked: dress.text("17"),
        proof: full.then_some(proof),
        problem: full.then(|| dress.text("There is no such entry.")),
        kept: dress.many(vec![view(json!(checkpoint))]),
        checkpoint,
    }
}
