//! Eval logs of Inspect: one JSON document, or a zip archive with `header.json` and
//! `samples/*.json` (`_journal/start.json` instead of the header while the eval runs).
//!
//! Long texts of a sample lie in its `attachments`, and `attachment://HASH` stands for them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::archive::{Archive, is_archive};
use super::collect::{Case, Collector, Turn, Verdict, cut};
use super::{ImportError, json, malformed};

/// Where a score begins to count unless it is said.
const USUAL_THRESHOLD: f64 = 0.5;

#[derive(Deserialize)]
struct Log {
    eval: Spec,
    #[serde(default)]
    samples: Option<Vec<Sample>>,
}

#[derive(Deserialize)]
struct Header {
    eval: Spec,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Spec {
    task: String,
    model: String,
}

/// What is read of a sample; its events and its store are not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sample {
    id: Value,
    epoch: Value,
    input: Value,
    messages: Value,
    output: Value,
    scores: Value,
    score: Value,
    error: Value,
    invalidation: Value,
    attachments: Map<String, Value>,
}

/// Reads a log in either form.
pub(super) fn read(bytes: &[u8], found: &mut Collector) -> Result<(), ImportError> {
    if is_archive(bytes) {
        read_archive(bytes, found)?;
    } else {
        let log: Log = json::parse(bytes).map_err(|why| malformed("the log", why))?;
        describe(&log.eval, found);
        let Some(samples) = log.samples else {
            return Err(malformed("the log", "holds no samples, only the header"));
        };
        samples.iter().for_each(|sample| take(sample, found));
    }
    let high = found.options.high_is_failure;
    found.method = format!(
        "A case is one sample of one epoch; it fails a scorer with a score {} {}.",
        if high { "of at least" } else { "below" },
        threshold(found)
    );
    Ok(())
}

fn read_archive(bytes: &[u8], found: &mut Collector) -> Result<(), ImportError> {
    let mut archive = Archive::open(bytes)?;
    let names = archive.names()?;
    let heads = ["header.json", "_journal/start.json"];
    let head = heads
        .iter()
        .find_map(|head| names.iter().position(|name| name == head));
    let head = head.ok_or_else(|| malformed("the archive", "holds no header.json"))?;
    let content = archive.read(head, &names[head])?;
    let header: Header =
        json::parse(&content).map_err(|why| malformed(format!("member {}", names[head]), why))?;
    describe(&header.eval, found);
    for (at, name) in names.iter().enumerate() {
        if !(name.starts_with("samples/") && name.ends_with(".json")) {
            continue;
        }
        let content = archive.read(at, name)?;
        let sample: Sample =
            json::parse(&content).map_err(|why| malformed(format!("member {name}"), why))?;
        take(&sample, found);
    }
    Ok(())
}

fn describe(spec: &Spec, found: &mut Collector) {
    let known = |name: &str, none: &str| match name {
        "" => none.to_owned(),
        name => cut(name, 100),
    };
    found.subject = format!(
        "{} with {}",
        known(&spec.task, "a task not named"),
        known(&spec.model, "a model not named")
    );
}

fn threshold(found: &Collector) -> f64 {
    found.options.threshold.unwrap_or(USUAL_THRESHOLD)
}

fn take(sample: &Sample, found: &mut Collector) {
    let id = match &sample.id {
        Value::String(id) => cut(id, 80),
        other => other.to_string(),
    };
    let place = format!("sample {id}, epoch {}", sample.epoch);
    if !sample.invalidation.is_null() {
        return found.skip_case("the sample was invalidated", &place);
    }
    let verdicts = verdicts(sample, threshold(found), found.options.high_is_failure);
    if verdicts.is_empty() && !sample.error.is_null() {
        return found.skip_case("the sample ended with an error", &place);
    }
    found.add(Case {
        turns: conversation(sample),
        verdicts,
        place,
    });
}

/// One verdict a scorer, or one a value of a scorer that gives several.
fn verdicts(sample: &Sample, threshold: f64, high_is_failure: bool) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut add = |test: String, value: &Value| {
        if let Some(score) = number(value) {
            verdicts.push(Verdict {
                test,
                failed: (score >= threshold) == high_is_failure,
                detail: format!("score {}", word(value)),
            });
        }
    };
    let single = |name: &str| (name.to_owned(), &sample.score);
    let scores: Vec<(String, &Value)> = match &sample.scores {
        Value::Object(scores) => scores
            .iter()
            .map(|(name, score)| (cut(name, 80), score))
            .collect(),
        // Logs of the first versions have a single score.
        _ => vec![single("the score")],
    };
    for (name, score) in scores {
        match &score["value"] {
            Value::Object(values) => values
                .iter()
                .for_each(|(key, value)| add(format!("{name}/{}", cut(key, 80)), value)),
            value => add(name, value),
        }
    }
    verdicts
}

/// A score as a number, by Inspect's own rule: C and I are correct and incorrect, P half.
fn number(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Bool(yes) => return Some(f64::from(*yes)),
        Value::String(text) => text,
        other => return other.as_f64(),
    };
    match text.as_str() {
        "C" => return Some(1.0),
        "P" => return Some(0.5),
        "I" | "N" => return Some(0.0),
        _ => {}
    }
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(1.0),
        "no" | "false" => Some(0.0),
        other => other.parse().ok().filter(|score: &f64| score.is_finite()),
    }
}

fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), |text| cut(text, 40))
}

/// The messages; of a sample without any, its input and its output.
fn conversation(sample: &Sample) -> Vec<Turn> {
    let texts = Texts(&sample.attachments);
    let messages = sample.messages.as_array().filter(|list| !list.is_empty());
    if let Some(messages) = messages {
        return messages.iter().map(|message| texts.turn(message)).collect();
    }
    let mut turns = match &sample.input {
        Value::Array(list) => list.iter().map(|message| texts.turn(message)).collect(),
        input => vec![Turn::new("user", texts.content(input))],
    };
    if let Some(choice) = sample.output["choices"].get(0) {
        turns.push(texts.turn(&choice["message"]));
    }
    turns
}

/// Turns messages into text, with the sample's attachments.
struct Texts<'a>(&'a Map<String, Value>);

impl Texts<'_> {
    fn turn(&self, message: &Value) -> Turn {
        let mut parts = Vec::new();
        let said = self.content(&message["content"]);
        if !said.is_empty() {
            parts.push(said);
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        parts.extend(calls.map(|call| self.call(call)));
        if let Some(error) = message["error"]["message"].as_str() {
            parts.push(format!("[error: {}]", self.resolve(error)));
        }
        let role = message["role"].as_str().unwrap_or("other");
        Turn::new(role, parts.join("\n"))
    }

    /// A message's content: text, or a list of parts of many kinds.
    fn content(&self, content: &Value) -> String {
        match content {
            Value::String(text) => self.resolve(text),
            Value::Array(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| self.part(part)).collect();
                parts.join("\n")
            }
            _ => String::new(),
        }
    }

    fn part(&self, part: &Value) -> String {
        let field = |name: &str| part[name].as_str().map(|text| self.resolve(text));
        match part["type"].as_str().unwrap_or_default() {
            "text" => field("text").unwrap_or_default(),
            "reasoning" if part["redacted"] == true => field("summary").map_or_else(
                || "[reasoning, hidden]".to_owned(),
                |summary| format!("[reasoning, summed up] {summary}"),
            ),
            "reasoning" => format!("[reasoning] {}", field("reasoning").unwrap_or_default()),
            "tool_use" => format!(
                "[call of {}({}), which gave: {}]",
                field("name").unwrap_or_default(),
                field("arguments").unwrap_or_default(),
                field("result").unwrap_or_default()
            ),
            "" => String::new(),
            other => format!("[{}]", cut(other, 40)),
        }
    }

    fn call(&self, call: &Value) -> String {
        let name = call["function"].as_str().unwrap_or_default();
        let arguments = match &call["arguments"] {
            Value::Object(given) => {
                let given: Map<String, Value> = given
                    .iter()
                    .map(|(name, value)| {
                        let text = value.as_str().map(|text| Value::from(self.resolve(text)));
                        (name.clone(), text.unwrap_or_else(|| value.clone()))
                    })
                    .collect();
                Value::Object(given).to_string()
            }
            Value::String(text) => self.resolve(text),
            other => other.to_string(),
        };
        format!("[call of {name}({arguments})]")
    }

    /// The attachment that a text stands for, or the text.
    fn resolve(&self, text: &str) -> String {
        let hash = ["attachment://", "tc://"]
            .iter()
            .find_map(|start| text.strip_prefix(start));
        hash.and_then(|hash| self.0.get(hash)?.as_str())
            .unwrap_or(text)
            .to_owned()
    }
}
