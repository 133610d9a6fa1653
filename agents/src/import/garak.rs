//! garak's report: a JSON object a line. What counts are lines with `entry_type` `attempt` and
//! `status` 2, which garak writes once its detectors have looked; an earlier line of the same
//! attempt has status 1.
//!
//! Prompts and outputs are strings up to 0.10, then messages `{"text", "lang"}`, then prompts
//! are conversations `{"turns": [{"role", "content"}]}`; all three are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::collect::{Case, Collector, Turn, Verdict, cut};
use super::{ImportError, json, malformed};

/// garak's own bound unless the report names another.
const USUAL_THRESHOLD: f64 = 0.5;

/// What is read of a line, whatever its kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    entry_type: String,
    // start_run setup
    #[serde(rename = "run.eval_threshold")]
    threshold: Option<f64>,
    #[serde(rename = "plugins.target_type", alias = "plugins.model_type")]
    target_type: Value,
    #[serde(rename = "plugins.target_name", alias = "plugins.model_name")]
    target_name: Value,
    // init
    garak_version: Value,
    // attempt
    uuid: Value,
    seq: Value,
    status: Value,
    probe_classname: Value,
    prompt: Value,
    outputs: Value,
    #[serde(alias = "messages")]
    conversations: Value,
    detector_results: Value,
}

/// Reads a report.
pub(super) fn read(bytes: &[u8], found: &mut Collector) -> Result<(), ImportError> {
    let mut report = Report::default();
    let end = bytes.trim_ascii_end().len();
    let lines = bytes[..end].split(|&byte| byte == b'\n');
    let last = lines.clone().count();
    for (at, line) in lines.enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let place = format!("line {}", at + 1);
        match json::parse::<Line>(line) {
            Ok(line) => report.take(line, &place, found),
            // A run that was killed leaves half a line.
            Err(_) if at + 1 == last && last > 1 => found.skip("the last line is cut off", &place),
            Err(why) => return Err(malformed(place, why)),
        }
    }
    report.close(found);
    Ok(())
}

/// What earlier lines say about the run.
#[derive(Default)]
struct Report {
    target: String,
    version: String,
    threshold: Option<f64>,
    unfinished: BTreeMap<String, String>,
}

impl Report {
    fn take(&mut self, line: Line, place: &str, found: &mut Collector) {
        match line.entry_type.as_str() {
            "start_run setup" => {
                self.threshold = line.threshold.or(self.threshold);
                let names = [&line.target_type, &line.target_name];
                let names = names.iter().filter_map(|name| name.as_str());
                self.target = names.collect::<Vec<_>>().join(" ");
            }
            "init" => self.version = format!(" {}", cut(&word(&line.garak_version), 40)),
            "attempt" => {
                let threshold = found.options.threshold.or(self.threshold);
                self.attempt(line, place, threshold.unwrap_or(USUAL_THRESHOLD), found);
            }
            _ => {}
        }
    }

    fn attempt(&mut self, line: Line, place: &str, threshold: f64, found: &mut Collector) {
        let id = word(&line.uuid);
        if line.status != 2 {
            self.unfinished.insert(id, place.to_owned());
            return;
        }
        self.unfinished.remove(&id);
        let Some(outputs) = line.outputs.as_array().filter(|list| !list.is_empty()) else {
            return found.skip_case("the attempt has no outputs", place);
        };
        let probe = word(&line.probe_classname);
        for (at, output) in outputs.iter().enumerate() {
            let place = format!(
                "{place}, {probe}, attempt {}, output {}",
                word(&line.seq),
                at + 1
            );
            let Some(answer) = text(output) else {
                found.skip_case("the model gave no output", &place);
                continue;
            };
            found.add(Case {
                turns: conversation(&line, outputs.len(), at, &answer),
                verdicts: verdicts(&line.detector_results, &probe, at, threshold),
                place,
            });
        }
    }

    fn close(self, found: &mut Collector) {
        for place in self.unfinished.values() {
            found.skip_case("the attempt was not finished", place);
        }
        found.subject = if self.target.is_empty() {
            "a model not named".to_owned()
        } else {
            self.target
        };
        let threshold = found.options.threshold.or(self.threshold);
        found.method = format!(
            "A case is one output; it fails a detector that scores it at {} or more (garak{}).",
            threshold.unwrap_or(USUAL_THRESHOLD),
            self.version
        );
    }
}

/// A detector's scores stand in the order of the outputs; one that could not tell has none.
fn verdicts(results: &Value, probe: &str, output: usize, threshold: f64) -> Vec<Verdict> {
    let Some(results) = results.as_object() else {
        return Vec::new();
    };
    let scored = results.iter().filter_map(|(detector, scores)| {
        let score = scores.get(output)?;
        let score = score.as_f64().or_else(|| score.as_bool().map(f64::from))?;
        Some(Verdict {
            test: format!("{detector} on {probe}"),
            failed: score >= threshold,
            detail: format!("score {score}"),
        })
    });
    scored.collect()
}

/// What led to the output: its whole history where the report has one, else the prompt.
fn conversation(line: &Line, outputs: usize, at: usize, answer: &str) -> Vec<Turn> {
    let histories = line.conversations.as_array();
    let history = histories
        .filter(|list| list.len() == outputs)
        .map(|list| turns(&list[at]))
        .filter(|turns| turns.last().is_some_and(|last| last.text == answer));
    history.unwrap_or_else(|| {
        let mut whole = turns(&line.prompt);
        whole.push(Turn::new("assistant", answer));
        whole
    })
}

/// The turns of a prompt or a history in any of its forms.
fn turns(value: &Value) -> Vec<Turn> {
    let list = value.as_array().or_else(|| value["turns"].as_array());
    let Some(list) = list else {
        return text(value)
            .map(|text| Turn::new("user", text))
            .into_iter()
            .collect();
    };
    let turn = |turn: &Value| Some(Turn::new(turn["role"].as_str()?, text(&turn["content"])?));
    list.iter().filter_map(turn).collect()
}

/// The text of a message in either form; what else it carried is named.
fn text(message: &Value) -> Option<String> {
    let said = message.as_str().or_else(|| message["text"].as_str());
    let attached = message["data_path"]
        .as_str()
        .map(|_| "[an attached file]".to_owned());
    match (said, attached) {
        (Some(said), Some(attached)) => Some(format!("{said}\n{attached}")),
        (said, attached) => said.map(str::to_owned).or(attached),
    }
}

/// A string or a number, for people.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
