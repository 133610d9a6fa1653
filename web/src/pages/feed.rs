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
    let mut events = service.events_after(context, after, &[], LOOK_BACK as usize)?;
    events.retain(|event| !event.topic.starts_with("training:"));
    let names = Names::load(service, context, runs)?;
    Ok(digest(&events, &names))
}

/// The lines for a run of events, newest first: renewed decisions that change nothing are left out, and a burst of
/// trades is one line with the newest price.
pub(crate) fn digest(events: &[EventView], names: &Names) -> Vec<FeedItem> {
    let mut said: HashMap<(&str, String), String> = HashMap::new();
    let mut lines: Vec<FeedItem> = Vec::new();
    for event in events {
        let Some(item) = describe(event, names) else {
            continue;
        };
        if item.kind == "allocation" {
            let run = names.of(event).unwrap_or_default().to_owned();
            let before = said.insert((&event.kind, run), item.text.clone());
            if before.as_ref() == Some(&item.text) {
                continue;
            }
        }
        let last = lines.last();
        if last.is_some_and(|last| (last.kind, &last.href) == ("price", &item.href))
            && item.kind == "price"
        {
            lines.pop();
        }
        lines.push(item);
    }
    lines.into_iter().rev().take(SHOWN).collect()
}

/// A sentence for an event; `None` for one that another event tells better. An unknown kind is shown by its name.
pub(crate) fn describe(event: &EventView, names: &Names) -> Option<FeedItem> {
    let topic = event.topic.split(':').next().unwrap_or_default();
    if let Some(text) = of_people(topic, event)? {
        return Some(
            FeedItem {
                at: event.at.clone(),
                kind: "other",
                text,
                href: Some(format!(
                    "/{}",
                    if topic == "panels" {
                        "panels"
                    } else {
                        "proposals"
                    }
                )),
            }
            .about(event),
        );
    }
    let run = names.of(event).unwrap_or("a run");
    let (kind, text) = match topic {
        "market" => of_market(event)?,
        "allocations" => of_allocations(event)?,
        "run" if event.kind == "checkpoint" => return None,
        "run" => ("run", event.kind.replace('_', " ")),
        _ => ("other", event.kind.replace(['_', '.'], " ")),
    };
    Some(FeedItem {
        at: event.at.clone(),
        kind,
        text: format!("{run}: {text}"),
        href: href(event, text_of(event, "decision_id")),
    })
}

impl FeedItem {
    /// With the page of the proposal that the event is about, if it is about one.
    fn about(self, event: &EventView) -> Self {
        match text_of(event, "proposal_id") {
            "" => self,
            id => Self {
                href: Some(format!("/proposals/{}", super::encode(id))),
                ..self
            },
        }
    }
}

/// What people decided together: the sentence of a proposal or a panel; `Some(None)` for an event of another topic and
/// `None` for one that says nothing by itself.
fn of_people(topic: &str, event: &EventView) -> Option<Option<String>> {
    let state = text_of(event, "state").replace('_', " ");
    let track = text_of(event, "track").replace(['_', '-'], " ");
    Some(Some(match (topic, event.kind.as_str()) {
        ("proposals", "proposal") => match state.as_str() {
            "draft" | "deposit" => format!("a proposal on {track} waits for its deposit"),
            "voting" => format!("a vote on {track} began"),
            _ => format!("a proposal on {track}: {state}"),
        },
        ("proposals", "seal" | "order-kept" | "order-ended") => {
            format!("emergency measures: {}", event.kind.replace('-', " "))
        }
        ("panels", "panel-convened") => "a panel of jurors was drawn".to_owned(),
        ("panels", "panel-ended") => "a panel of jurors has ended".to_owned(),
        ("proposals" | "panels" | "accounts" | "keys", _) => return None,
        _ => return Some(None),
    }))
}

fn text_of<'a>(event: &'a EventView, name: &str) -> &'a str {
    event
        .data
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number_of(event: &EventView, name: &str) -> Option<f64> {
    event.data.get(name).and_then(Value::as_f64)
}

fn of_market(event: &EventView) -> Option<(&'static str, String)> {
    let at = |name: &str| {
        number_of(event, name).map_or(String::new(), |p| format!(" at {}", percent(p)))
    };
    Some(match event.kind.as_str() {
        // The evidence's own event says more.
        "price" if text_of(event, "cause") == "evidence" => return None,
        "price" => {
            let price = number_of(event, "probability")
                .map_or_else(|| "moved".to_owned(), |p| format!("now {}", percent(p)));
            let price = match text_of(event, "outcome") {
                "" => price,
                outcome => format!("{outcome} {price}"),
            };
            (
                "price",
                format!("{price} after a {}", text_of(event, "cause")),
            )
        }
        "opened" => ("settlement", "a market opened".to_owned()),
        "frozen" => ("settlement", "trading ended, checkpoint frozen".to_owned()),
        "settled" => match text_of(event, "settled_as") {
            "" => ("settlement", format!("settled{}", at("settlement"))),
            outcome => ("settlement", format!("settled: {outcome}")),
        },
        "paid" => ("settlement", "every position is paid".to_owned()),
        kind if kind.contains("evidence") || !text_of(event, "evidence_id").is_empty() => {
            let moved = (
                number_of(event, "probability_before"),
                number_of(event, "probability_after"),
            );
            let what = match moved {
                (Some(before), Some(after)) => {
                    format!("evidence moved {} → {}", percent(before), percent(after))
                }
                _ if text_of(event, "status") == "pending" => "evidence submitted".to_owned(),
                _ => format!("evidence {}", text_of(event, "status")),
            };
            ("evidence", what)
        }
        kind => ("settlement", kind.replace(['_', '.'], " ")),
    })
}

fn of_allocations(event: &EventView) -> Option<(&'static str, String)> {
    let share = |name: &str| number_of(event, name).map(bps);
    Some(match event.kind.as_str() {
        "decided" => {
            let share =
                share("share_bps").map_or(String::new(), |share| format!(", {share} of the pool"));
            ("allocation", format!("{}{share}", text_of(event, "action")))
        }
        "acknowledged" => {
            let phase = text_of(event, "phase");
            if !matches!(phase, "enforced" | "partial" | "failed" | "rejected") {
                return None;
            }
            let share = share("actual_bps").map_or(String::new(), |share| format!(" at {share}"));
            (
                "allocation",
                format!("{phase}{share} by {}", text_of(event, "scheduler")),
            )
        }
        kind => ("allocation", kind.replace(['_', '.'], " ")),
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
    fn renewals_and_bursts_are_one_line() {
        let decided = |share: i64| {
            event(
                "allocations",
                "decided",
                json!({"run_id": "r", "action": "allow", "share_bps": share}),
            )
        };
        let price = |p: f64| {
            event(
                "market:m",
                "price",
                json!({"cause": "trade", "probability": p}),
            )
        };
        let events = [
            decided(5_000),
            decided(5_000),
            price(0.4),
            price(0.5),
            decided(5_000),
            price(0.6),
            decided(9_500),
        ];
        let names = Names {
            runs: HashMap::from([("r".to_owned(), "clean".to_owned())]),
            ..Names::default()
        };
        let told: Vec<String> = digest(&events, &names)
            .into_iter()
            .map(|item| item.text)
            .collect();
        assert_eq!(
            told,
            [
                "clean: allow, 95% of the pool",
                "a run: now 60.0% after a trade",
                "clean: allow, 50% of the pool"
            ]
        );
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
