//! The transparency log and webhooks.

use serde_json::json;

use super::Dress;
use crate::pages::log::{EntryRow, LogPage};
use crate::pages::webhooks::{WebhookRow, WebhooksPage};
use crate::templates::samples::view;
use plumbline_service::views::{
    DeliveryView, LogCheckpointView, LogEntryView, LogProofView, WebhookCreated, WebhookView,
};

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

pub(super) fn webhooks(dress: Dress) -> WebhooksPage {
    let hook = |id: &str, failures: i64, ended: Option<&str>| {
        view(json!({
            "id": id, "url": "https://example.org/plumbline", "topics": ["allocations", "market:*"],
            "created_at": "2026-11-22T09:59:59Z", "failures": failures, "failing_since": null,
            "next_attempt_at": (failures > 0).then_some("2026-11-22T10:10:00Z"), "ended": ended,
        }))
    };
    let hooks: Vec<WebhookView> = vec![
        hook("w1", 0, None),
        hook("w2", 3, None),
        hook("w3", 1, Some("the receiver answered 410: it wants no more")),
    ];
    let deliveries: Vec<DeliveryView> = view(json!([
        {"event_id": 812, "at": "2026-11-22T10:04:01Z", "attempt": 2, "status": 204, "error": null},
        {"event_id": 812, "at": "2026-11-22T10:03:51Z", "attempt": 1, "status": null, "error": "no contact"}]));
    let row = |view: WebhookView| WebhookRow {
        view,
        deliveries: dress.many(deliveries.clone()),
    };
    let made = WebhookCreated {
        webhook: dress.one(hook("w1", 0, None)),
        secret: dress.text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    };
    let full = dress != Dress::Empty;
    WebhooksPage {
        webhooks: dress.many(hooks).into_iter().map(row).collect(),
        created: full.then_some(made),
        error: full.then(|| dress.text("The address is private.")),
        url: dress.text("https://10.0.0.1/"),
        key: "k".to_owned(),
    }
}
