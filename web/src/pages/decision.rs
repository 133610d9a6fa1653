//! A decision made readable: what it says, why, who signed, who obeys.

use plumbline_service::views::{AckView, DecisionView};
use serde::Serialize;
use serde_json::Value;

use super::exhibit::{Fact, facts_of};

/// A decision as a person reads it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DecisionRow {
    /// Decision id.
    pub(crate) id: String,
    /// Position in the sequence.
    pub(crate) version: i64,
    /// Run's name.
    pub(crate) target_name: String,
    /// Run's id.
    pub(crate) target_uid: String,
    /// `training` or `inference`.
    pub(crate) workload: String,
    /// `allow`, `throttle`, `pause`, `drain` or `terminate`.
    pub(crate) action: String,
    /// Colour of the action.
    pub(crate) tone: &'static str,
    /// Share of the pool.
    pub(crate) share_bps: i64,
    /// Order among the target's decisions.
    pub(crate) generation: i64,
    /// `enforce` or `shadow`.
    pub(crate) mode: String,
    /// When it came into force.
    pub(crate) not_before: Option<String>,
    /// When it lapses.
    pub(crate) expires_at: Option<String>,
    /// Why, in a sentence.
    pub(crate) explanation: String,
    /// Why, as a code.
    pub(crate) reason_code: String,
    /// On what it rests.
    pub(crate) basis: Vec<Fact>,
    /// Ids of the keys that signed it.
    pub(crate) key_ids: Vec<String>,
    /// How many distinct signatures it needs.
    pub(crate) signatures_needed: usize,
    /// What schedulers said.
    pub(crate) acks: Vec<AckView>,
    /// Newest phase, if any.
    pub(crate) phase: Option<String>,
    /// Share that is really in force, if a scheduler said so.
    pub(crate) actual_bps: Option<i64>,
    /// The scheduler holds more than the decision gives.
    pub(crate) diverges: bool,
}

fn text(value: &Value, path: &str) -> Option<String> {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn number(value: &Value, path: &str) -> Option<i64> {
    value.pointer(path).and_then(Value::as_i64)
}

/// Reads a decision's payload and its acknowledgements.
pub(crate) fn row(view: &DecisionView) -> DecisionRow {
    let decision = &view.decision;
    let action = text(decision, "/action").unwrap_or_default();
    let share_bps = number(decision, "/share_bps").unwrap_or(0);
    let last = view.acks.iter().max_by(|a, b| a.at.cmp(&b.at));
    let actual_bps = view
        .acks
        .iter()
        .filter(|ack| ack.actual_bps.is_some())
        .max_by(|a, b| a.at.cmp(&b.at));
    let actual_bps = actual_bps.and_then(|ack| ack.actual_bps);
    let signatures = view.envelope.get("signatures").and_then(Value::as_array);
    let key_ids = signatures.map_or(Vec::new(), |signatures| {
        signatures
            .iter()
            .filter_map(|signature| text(signature, "/keyid"))
            .collect()
    });
    let explanation = ["/basis/explanation", "/explanation", "/reason"]
        .iter()
        .find_map(|path| text(decision, path));
    let code = ["/basis/reason_code", "/reason_code"]
        .iter()
        .find_map(|path| text(decision, path));
    DecisionRow {
        id: text(decision, "/decision_id").unwrap_or_default(),
        version: view.version,
        target_name: view.target_name.clone(),
        target_uid: text(decision, "/target/uid").unwrap_or_default(),
        workload: text(decision, "/target/workload").unwrap_or_default(),
        tone: tone(&action),
        action,
        share_bps,
        generation: number(decision, "/generation").unwrap_or(0),
        mode: text(decision, "/mode").unwrap_or_default(),
        not_before: text(decision, "/not_before"),
        expires_at: text(decision, "/expires_at"),
        explanation: explanation.unwrap_or_default(),
        reason_code: code.unwrap_or_default(),
        basis: decision.get("basis").map(facts_of).unwrap_or_default(),
        key_ids,
        signatures_needed: view.signatures_needed,
        phase: last.map(|ack| ack.phase.clone()),
        diverges: actual_bps.is_some_and(|actual| actual > share_bps),
        actual_bps,
        acks: view.acks.clone(),
    }
}

/// Colour of an action.
pub(crate) fn tone(action: &str) -> &'static str {
    match action {
        "allow" => "good",
        "throttle" => "warn",
        "pause" | "drain" | "terminate" => "bad",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::samples;

    #[test]
    fn a_decision_is_readable_and_divergence_shows() {
        let mut view = samples::decision();
        let read = row(&view);
        assert_eq!(
            (read.action.as_str(), read.share_bps, read.tone),
            ("throttle", 500, "warn")
        );
        assert!(!read.key_ids.is_empty() && !read.explanation.is_empty());
        assert!(!read.diverges);
        if let Some(ack) = view.acks.last_mut() {
            ack.actual_bps = Some(9_000);
        }
        assert!(row(&view).diverges);
    }

    #[test]
    fn an_empty_payload_is_not_a_panic() {
        let mut view = samples::decision();
        view.decision = Value::Null;
        view.envelope = Value::Null;
        view.acks.clear();
        let read = row(&view);
        assert_eq!(
            (read.id.as_str(), read.share_bps, read.phase),
            ("", 0, None)
        );
    }
}
