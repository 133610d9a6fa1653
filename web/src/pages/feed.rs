//! What changed lately, in sentences.

use plumbline_service::Service;
use plumbline_service::context::Context;
use plumbline_service::views::EventView;
use serde::Serialize;
use serde_json::Value;

use crate::templates::format::{bps, percent};

/// Events looked at; training reports are frequent and left out.
const LOOK_BACK: i64 = 400;
/// Lines shown.
const SHOWN: usize = 14;

/// One line of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FeedItem {
    /// When.
    pub(crate) at: String,
    /// `price`, `evidence`, `settlement`, `allocation`, `run` or `other`.
    pub(crate) kind: &'static str,
    /// What happened.
    pub(crate) text: String,
    /// Where to read more.
    pub(crate) href: Option<String>,
}

/// The newest changes, newest first.
pub(crate) fn recent(service: &Service, context: &Context) -> plumbline_service::Result<Vec<FeedItem>> {
    let after = service.last_event_id()?.saturating_sub(LOOK_BACK).max(0);
    let topics = ["market:*", "run:*", "allocations"].map(str::to_owned);
    let events = service.events_after(context, after, &topics, LOOK_BACK as usize)?;
    Ok(events.iter().rev().take(SHOWN).map(describe).collect())
}

/// A sentence for an event; an unknown kind is shown by its name, so that nothing is hidden.
pub(crate) fn describe(event: &EventView) -> FeedItem {
    let data = &event.data;
    let number = |name: &str| data.get(name).and_then(Value::as_f64);
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    let run = text("run_name").or_else(|| text("run")).or_else(|| text("target_name")).or_else(|| text("name"));
    let about = run.map_or(String::new(), |run| format!(" on {run}"));
    let moved = match (number("probability_before"), number("probability_after").or_else(|| number("probability"))) {
        (Some(before), Some(after)) => format!(": {} → {}", percent(before), percent(after)),
        (None, Some(after)) => format!(": now {}", percent(after)),
        _ => String::new(),
    };
    let (kind, sentence) = match event.kind.as_str() {
        kind if kind.contains("evidence") => ("evidence", format!("{}{about}{moved}", sentence_case(kind))),
        kind if kind.contains("settle") || kind.contains("paid") || kind.contains("frozen") => {
            let result = number("pi").or_else(|| number("settlement")).map_or(String::new(), |pi| format!(" at {}", percent(pi)));
            ("settlement", format!("{}{about}{result}", sentence_case(kind)))
        }
        kind if event.topic == "allocations" || kind.contains("decision") => {
            let share = number("share_bps").map_or(String::new(), |share| format!(": {} of the pool", bps(share)));
            let action = text("action").map_or(String::new(), |action| format!(" ({action})"));
            ("allocation", format!("{}{about}{share}{action}", sentence_case(kind)))
        }
        kind if event.topic.starts_with("market:") => ("price", format!("{}{about}{moved}", sentence_case(kind))),
        kind if event.topic.starts_with("run:") => ("run", format!("{}{about}", sentence_case(kind))),
        kind => ("other", format!("{}{about}", sentence_case(kind))),
    };
    FeedItem { at: event.at.clone(), kind, text: sentence, href: href(event, text("decision_id")) }
}

fn sentence_case(kind: &str) -> String {
    let words = kind.replace(['_', '-', '.'], " ");
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn href(event: &EventView, decision_id: Option<&str>) -> Option<String> {
    match event.topic.split_once(':') {
        Some(("market", id)) => Some(format!("/markets/{}", super::encode(id))),
        Some(("run" | "training", id)) => Some(format!("/runs/{}", super::encode(id))),
        _ => decision_id.map(|id| format!("/allocations/{}", super::encode(id))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(topic: &str, kind: &str, data: Value) -> EventView {
        EventView { id: 1, topic: topic.into(), kind: kind.into(), at: "2026-01-01T00:00:00Z".into(), data }
    }

    #[test]
    fn events_become_sentences() {
        let moved = json!({"run_name": "sleeper", "probability_before": 0.5, "probability_after": 0.92});
        let item = describe(&event("market:m 1", "evidence_judged", moved));
        assert_eq!((item.kind, item.text.as_str()), ("evidence", "Evidence judged on sleeper: 50.0% → 92.0%"));
        assert_eq!(item.href.as_deref(), Some("/markets/m+1"));
        let decided = json!({"decision_id": "d", "target_name": "clean", "share_bps": 9500, "action": "allow"});
        let item = describe(&event("allocations", "decision", decided));
        assert_eq!(item.text, "Decision on clean: 95% of the pool (allow)");
        let unknown = describe(&event("song:1", "sung", Value::Null));
        assert_eq!((unknown.kind, unknown.text.as_str(), unknown.href), ("other", "Sung", None));
    }
}
