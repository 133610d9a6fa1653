//! What changed lately, in sentences.

use std::collections::HashMap;

use plumbline_service::Service;
use plumbline_service::context::Context;
use plumbline_service::views::{EventView, RunView};
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

/// Names that events do not carry.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Run's name by its id.
    pub(crate) runs: HashMap<String, String>,
    /// Run's name by a market's id.
    pub(crate) markets: HashMap<String, String>,
}

impl Names {
    fn load(
        service: &Service,
        context: &Context,
        runs: &[RunView],
    ) -> plumbline_service::Result<Self> {
        let markets = service.markets(context, None, None, None, 100)?.items;
        Ok(Self {
            runs: runs
                .iter()
                .map(|run| (run.id.clone(), run.name.clone()))
                .collect(),
            markets: markets
                .into_iter()
                .map(|market| (market.id, market.run_name))
                .collect(),
        })
    }

    fn of(&self, event: &EventView) -> Option<&str> {
        let field = |name: &str| event.data.get(name).and_then(Value::as_str);
        let (kind, id) = event.topic.split_once(':').unwrap_or(("", ""));
        let market = if kind == "market" {
            Some(id)
        } else {
            field("market_id")
        };
        let run = if kind == "market" {
            field("run_id")
        } else {
            field("run_id").or(Some(id))
        };
        let by_market = market.and_then(|id| self.markets.get(id));
        by_market
            .or_else(|| run.and_then(|id| self.runs.get(id)))
            .map(String::as_str)
    }
}

/// The newest changes, newest first.
pub(crate) fn recent(
    service: &Service,
    context: &Context,
    runs: &[RunView],
) -> plumbline_service::Result<Vec<FeedItem>> {
    let after = service.last_event_id()?.saturating_sub(LOOK_BACK).max(0);
    let topics = ["market:*", "run:*", "allocations"].map(str::to_owned);
    let events = service.events_after(context, after, &topics, LOOK_BACK as usize)?;
    let names = Names::load(service, context, runs)?;
    Ok(events
        .iter()
        .rev()
        .filter_map(|event| describe(event, &names))
        .take(SHOWN)
        .collect())
}

/// A sentence for an event; `None` for one that another event tells better. An unknown kind is shown by its name.
pub(crate) fn describe(event: &EventView, names: &Names) -> Option<FeedItem> {
    let number = |name: &str| event.data.get(name).and_then(Value::as_f64);
    let text = |name: &str| {
        event
            .data
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let run = names.of(event).unwrap_or("a run");
    let pair = (number("probability_before"), number("probability_after"));
    let (kind, sentence) = match (
        event.topic.split(':').next().unwrap_or_default(),
        event.kind.as_str(),
    ) {
        // The evidence's own event says more.
        ("market", "price") if text("cause") == "evidence" => return None,
        ("market", "price") => {
            let price = number("probability")
                .map_or_else(|| "moved".to_owned(), |p| format!("now {}", percent(p)));
            ("price", format!("{run}: {price} after a {}", text("cause")))
        }
        ("market", "opened") => ("price", format!("{run}: a market opened")),
        ("market", "frozen") => (
            "settlement",
            format!("{run}: trading ended, checkpoint frozen"),
        ),
        ("market", "settled") => {
            let pi =
                number("settlement").map_or(String::new(), |pi| format!(" at {}", percent(pi)));
            ("settlement", format!("{run}: settled{pi}"))
        }
        ("market", "paid") => ("settlement", format!("{run}: every position is paid")),
        ("market", kind) if kind.contains("evidence") || !text("evidence_id").is_empty() => {
            let what = match pair {
                (Some(before), Some(after)) => {
                    format!("evidence moved {} → {}", percent(before), percent(after))
                }
                _ if text("status") == "pending" => "evidence submitted".to_owned(),
                _ => format!("evidence {}", text("status")),
            };
            ("evidence", format!("{run}: {what}"))
        }
        ("allocations", "decided") => {
            let share = number("share_bps").map_or(String::new(), |share| {
                format!(", {} of the pool", bps(share))
            });
            ("allocation", format!("{run}: {}{share}", text("action")))
        }
        ("allocations", "acknowledged")
            if !matches!(
                text("phase"),
                "enforced" | "partial" | "failed" | "rejected"
            ) =>
        {
            return None;
        }
        ("allocations", "acknowledged") => {
            let share =
                number("actual_bps").map_or(String::new(), |share| format!(" at {}", bps(share)));
            (
                "allocation",
                format!("{run}: {}{share} by {}", text("phase"), text("scheduler")),
            )
        }
        ("run", "checkpoint") => return None,
        ("run", kind) => ("run", format!("{run}: {}", kind.replace('_', " "))),
        (_, kind) => ("other", format!("{run}: {}", kind.replace(['_', '.'], " "))),
    };
    Some(FeedItem {
        at: event.at.clone(),
        kind,
        text: sentence,
        href: href(event, text("decision_id")),
    })
}

fn href(event: &EventView, decision_id: &str) -> Option<String> {
    match event.topic.split_once(':') {
        Some(("market", id)) => Some(format!("/markets/{}", super::encode(id))),
        Some(("run" | "training", id)) => Some(format!("/runs/{}", super::encode(id))),
        _ if decision_id.is_empty() => None,
        _ => Some(format!("/allocations/{}", super::encode(decision_id))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(topic: &str, kind: &str, data: Value) -> EventView {
        EventView {
            id: 1,
            topic: topic.into(),
            kind: kind.into(),
            at: "2026-01-01T00:00:00Z".into(),
            data,
        }
    }

    #[test]
    fn events_become_sentences() {
        let names = Names {
            runs: HashMap::from([("r".to_owned(), "clean".to_owned())]),
            markets: HashMap::from([("m".to_owned(), "sleeper".to_owned())]),
        };
        let told = |topic: &str, kind: &str, data: Value| {
            describe(&event(topic, kind, data), &names).map(|item| item.text)
        };
        let moved =
            json!({"evidence_id": "e", "probability_before": 0.5, "probability_after": 0.92});
        let table = [
            (
                told("market:m", "evidence_judged", moved),
                Some("sleeper: evidence moved 50.0% → 92.0%"),
            ),
            (
                told(
                    "market:m",
                    "price",
                    json!({"cause": "trade", "probability": 0.6}),
                ),
                Some("sleeper: now 60.0% after a trade"),
            ),
            (
                told("market:m", "price", json!({"cause": "evidence"})),
                None,
            ),
            (
                told("market:m", "settled", json!({"settlement": 1.0})),
                Some("sleeper: settled at 100.0%"),
            ),
            (
                told(
                    "allocations",
                    "decided",
                    json!({"run_id": "r", "action": "allow", "share_bps": 9_500}),
                ),
                Some("clean: allow, 95% of the pool"),
            ),
            (
                told(
                    "allocations",
                    "acknowledged",
                    json!({"run_id": "r", "phase": "received"}),
                ),
                None,
            ),
            (
                told(
                    "allocations",
                    "acknowledged",
                    json!({"run_id": "r", "phase": "enforced", "actual_bps": 500, "scheduler": "s"}),
                ),
                Some("clean: enforced at 5% by s"),
            ),
            (
                told("run:x", "registered", Value::Null),
                Some("a run: registered"),
            ),
            (
                told("song:1", "sung.aloud", Value::Null),
                Some("a run: sung aloud"),
            ),
        ];
        for (got, expected) in table {
            assert_eq!(got.as_deref(), expected);
        }
    }

    #[test]
    fn links_lead_to_what_happened() {
        let item = describe(
            &event("market:m 1", "opened", Value::Null),
            &Names::default(),
        );
        assert_eq!(
            item.and_then(|item| item.href).as_deref(),
            Some("/markets/m+1")
        );
        let item = describe(
            &event("allocations", "decided", json!({"decision_id": "d"})),
            &Names::default(),
        );
        assert_eq!(
            item.and_then(|item| item.href).as_deref(),
            Some("/allocations/d")
        );
    }
}
