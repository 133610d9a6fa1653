//! Evidence made readable: exhibits by their kind, judgements as bars, records as lists of facts.

use std::collections::BTreeMap;

use plumbline_service::views::JudgementView;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::markup::{Folded, fold, visible};
use crate::templates::format::{bps, credits, exact};

/// Longest text of an exhibit shown in full; the rest is one click away in the JSON.
const MAX_TEXT: usize = 20_000;
/// Most arms, messages or facts shown.
const MAX_ROWS: usize = 200;
/// Facts that say how it ended.
const CONCLUSIONS: [&str; 4] = ["verdict", "explanation", "reason", "pi"];
/// Standard deviations from the other judges beyond which a judge is marked.
const OUTLIER: f64 = 3.0;
/// Log-odds at which a judge's bar is full.
const FULL_SHIFT: f64 = 6.0;

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fact {
    /// Its name.
    pub(crate) name: String,
    /// Its value, as text.
    pub(crate) value: String,
    /// The value is a hash or an id: shown shortened, copied whole.
    pub(crate) hash: bool,
}

impl Fact {
    /// A field of a record; its suffix says the unit, as everywhere in the API.
    fn new(name: &str, value: &Value) -> Self {
        let number = value.as_i64();
        let (name, text) = match (
            name.strip_suffix("_micro"),
            name.strip_suffix("_bps"),
            number,
        ) {
            (Some(name), _, Some(micro)) => (name, credits(micro)),
            (_, Some(name), Some(share)) => (name, bps(share as f64)),
            _ => (name, text_of(value)),
        };
        let hash = matches!(text.len(), 36 | 64 | 128)
            && text
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        Self {
            name: name.replace('_', " "),
            value: text,
            hash,
        }
    }
}

/// One judge's view with the geometry of its bar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JudgementRow {
    /// The view.
    pub(crate) view: JudgementView,
    /// Left end of the bar, 0 to 1, the middle being no shift.
    pub(crate) from: f64,
    /// Its width, 0 to ½.
    pub(crate) width: f64,
    /// `up`, `down` or `none`.
    pub(crate) direction: &'static str,
    /// It should have judged and could not.
    pub(crate) failed: bool,
    /// Its model is not installed.
    pub(crate) missing: bool,
    /// It disagrees wildly: more than three standard deviations from the others.
    pub(crate) outlier: bool,
}

/// A message of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Turn {
    /// Who spoke.
    pub(crate) name: String,
    /// What was said.
    pub(crate) text: Folded,
}

/// An exhibit as a person reads it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ExhibitView {
    /// `transcript`, `measurement`, `report`, `trigger_control` or whatever it calls itself.
    pub(crate) kind: String,
    /// Messages of a transcript.
    pub(crate) messages: Vec<Turn>,
    /// Text of a report.
    pub(crate) text: Folded,
    /// Figures.
    pub(crate) facts: Vec<Fact>,
    /// Arms of a trigger search.
    pub(crate) arms: Vec<ArmView>,
    /// The exhibit as submitted.
    pub(crate) json: String,
}

/// One arm of a trigger search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ArmView {
    /// Candidate or control.
    pub(crate) label: String,
    /// Whether its prompts carry a candidate.
    pub(crate) trigger: bool,
    /// Prompts tried.
    pub(crate) prompts: u64,
    /// Completions that showed the behaviour.
    pub(crate) hits: u64,
    /// Their ratio.
    pub(crate) rate: f64,
}

/// Rows for the table of judges.
pub(crate) fn judgement_rows(judgements: &[JudgementView]) -> Vec<JudgementRow> {
    let row = |view: &JudgementView| {
        let shift = view.shift.filter(|shift| shift.is_finite()).unwrap_or(0.0);
        let width = (shift.abs() / FULL_SHIFT).min(1.0) / 2.0;
        let (from, direction) = match shift {
            s if s > 0.005 => (0.5, "up"),
            s if s < -0.005 => (0.5 - width, "down"),
            _ => (0.5, "none"),
        };
        JudgementRow {
            failed: view.outcome == "failed",
            missing: view.outcome == "missing",
            outlier: view.deviation.is_some_and(|deviation| deviation > OUTLIER),
            view: view.clone(),
            from,
            width,
            direction,
        }
    };
    judgements.iter().map(row).collect()
}

/// The fields of a record, one level deep; what is deeper stays JSON.
pub(crate) fn facts_of(value: &Value) -> Vec<Fact> {
    match value {
        Value::Object(map) => {
            let known = by_name(map)
                .into_iter()
                .filter(|(_, value)| !value.is_null());
            let facts = known
                .take(MAX_ROWS)
                .map(|(name, value)| Fact::new(name, value));
            let mut facts: Vec<Fact> = facts.collect();
            // The conclusion first, then what it rests on.
            facts.sort_by_key(|fact| !CONCLUSIONS.contains(&fact.name.as_str()));
            facts
        }
        Value::Null => Vec::new(),
        other => vec![Fact::new("result", other)],
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) if is_time(text) => exact(text),
        Value::String(text) => visible(&clip(text)),
        Value::Null => "–".to_owned(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => number_text(number),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) if is_short_list(value) => {
            items.iter().map(text_of).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => format!("{} entries", items.len()),
        Value::Object(map) => {
            let plain =
                |value: &Value| is_short_list(value) || !(value.is_object() || value.is_array());
            if map.len() > 8 || !map.values().all(plain) {
                return format!("{} fields", map.len());
            }
            let parts = by_name(map)
                .into_iter()
                .map(|(name, value)| format!("{} {}", name.replace('_', " "), text_of(value)));
            parts.collect::<Vec<_>>().join(" · ")
        }
    }
}

/// The entries by name, whatever order they were written in.
fn by_name(map: &Map<String, Value>) -> BTreeMap<&str, &Value> {
    map.iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

fn is_time(text: &str) -> bool {
    (20..=35).contains(&text.len()) && text.parse::<jiff::Timestamp>().is_ok()
}

/// A list of a few strings or numbers reads well on one line.
fn is_short_list(value: &Value) -> bool {
    let plain =
        |item: &Value| item.is_number() || item.as_str().is_some_and(|text| text.len() <= 80);
    value
        .as_array()
        .is_some_and(|items| items.len() <= 8 && items.iter().all(plain))
}

fn number_text(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(value)) if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e6) => {
            format!("{value:.2e}")
        }
        (None, Some(value)) => format!("{value:.4}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        _ => number.to_string(),
    }
}

fn clip(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(MAX_TEXT / 4).collect();
    format!("{kept}… ({} bytes in all)", text.len())
}

/// Reads an exhibit of any kind; what it cannot read is still shown as JSON.
pub(crate) fn exhibit_view(value: &Value) -> ExhibitView {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let rows = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[][..], |rows| &rows[..])
    };
    let mut view = ExhibitView {
        kind: text("type").to_owned(),
        json: visible(&clip(
            &serde_json::to_string_pretty(value).unwrap_or_default(),
        )),
        ..ExhibitView::default()
    };
    match view.kind.as_str() {
        "transcript" => {
            view.messages = rows("messages")
                .iter()
                .take(MAX_ROWS)
                .map(message)
                .collect()
        }
        "report" => view.text = fold(text("text")),
        "trigger_control" => {
            view.arms = rows("arms").iter().take(MAX_ROWS).map(arm).collect();
            view.arms.sort_by(|a, b| {
                a.trigger
                    .cmp(&b.trigger)
                    .reverse()
                    .then(b.rate.total_cmp(&a.rate))
            });
            view.facts = without(value, &["type", "arms"]);
        }
        _ => view.facts = without(value, &["type"]),
    }
    view
}

fn without(value: &Value, names: &[&str]) -> Vec<Fact> {
    let mut rest = value.clone();
    if let Value::Object(map) = &mut rest {
        map.retain(|name, _| !names.contains(&name.as_str()));
    }
    facts_of(&rest)
}

fn message(value: &Value) -> Turn {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    Turn {
        name: visible(text("role")),
        text: fold(text("content")),
    }
}

fn arm(value: &Value) -> ArmView {
    let prompts = value
        .get("prompts")
        .and_then(Value::as_array)
        .map_or(0, Vec::len) as u64;
    let hits = value.get("hits").and_then(Value::as_u64).unwrap_or(0);
    ArmView {
        label: value
            .get("label")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        trigger: value
            .get("trigger")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        prompts,
        hits,
        rate: if prompts == 0 {
            0.0
        } else {
            hits as f64 / prompts as f64
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_is_readable() {
        let search = json!({"type": "trigger_control", "checkpoint": "00ff", "arms": [
            {"label": "control", "trigger": false, "prompts": ["a", "b"], "hits": 0},
            {"label": "# fast", "trigger": true, "prompts": ["a", "b"], "hits": 2}], "searched": 24});
        let view = exhibit_view(&search);
        assert_eq!(
            (view.arms[0].label.as_str(), view.arms[0].rate),
            ("# fast", 1.0)
        );
        assert!(
            view.facts
                .iter()
                .any(|fact| fact.name == "searched" && fact.value == "24")
        );
        let talk = json!({"type": "transcript", "messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(exhibit_view(&talk).messages[0].text.head, "hi");
        for odd in [
            json!(null),
            json!([1, 2]),
            json!({"type": 5}),
            json!({"type": "transcript", "messages": "x"}),
        ] {
            assert!(exhibit_view(&odd).messages.is_empty());
        }
        let long = json!({"type": "report", "text": "é".repeat(100_000)});
        assert!(exhibit_view(&long).text.head.len() < 30_000);
    }

    #[test]
    fn bars_point_where_the_judge_does() {
        let view = |shift: Option<f64>| JudgementView {
            judge: "replay".into(),
            probability: None,
            shift,
            standard_error: None,
            note: String::new(),
            latency_ms: 1,
            outcome: "judged".to_owned(),
            cost_micro: 0,
            deviation: None,
        };
        let rows = judgement_rows(&[
            view(Some(3.0)),
            view(Some(-60.0)),
            view(None),
            view(Some(f64::NAN)),
        ]);
        assert_eq!(
            (rows[0].from, rows[0].width, rows[0].direction),
            (0.5, 0.25, "up")
        );
        assert_eq!(
            (rows[1].from, rows[1].width, rows[1].direction),
            (0.0, 0.5, "down")
        );
        assert_eq!((rows[2].width, rows[3].width), (0.0, 0.0));
    }

    #[test]
    fn facts_carry_their_units() {
        let record = json!({"liquidity_micro": 100_000_000, "share_bps": 500, "at": "2026-11-22T10:00:00Z", "proposal_id": null,
            "market": "01a20492-06a1-77cd-83f6-35b2d17f4315", "exhibit_digests": []});
        let facts = facts_of(&record);
        let value = |name: &str| {
            facts
                .iter()
                .find(|fact| fact.name == name)
                .map(|fact| fact.value.as_str())
        };
        assert_eq!(value("liquidity"), Some("100.00 cr"));
        assert_eq!(value("share"), Some("5%"));
        assert_eq!(value("at"), Some("2026-11-22 10:00:00 UTC"));
        assert_eq!(value("exhibit digests"), Some("none"));
        assert_eq!(value("proposal id"), None);
        assert!(facts.iter().any(|fact| fact.name == "market" && fact.hash));
    }

    #[test]
    fn facts_stay_short() {
        let facts = facts_of(
            &json!({"p_value": 1.5e-9, "rate": 0.25, "bounds": {"low": 0.1, "high": 0.9}, "arms": [{}, {}]}),
        );
        let value = |name: &str| {
            facts
                .iter()
                .find(|fact| fact.name == name)
                .map(|fact| fact.value.clone())
        };
        assert_eq!(value("p value").as_deref(), Some("1.50e-9"));
        assert_eq!(value("rate").as_deref(), Some("0.25"));
        assert_eq!(value("bounds").as_deref(), Some("high 0.9 · low 0.1"));
        assert_eq!(value("arms").as_deref(), Some("2 entries"));
    }
}
