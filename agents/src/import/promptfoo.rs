//! promptfoo's results: `{"results": {"results": [row, …]}}` as its versions 2 and 3 write it, or
//! the rows alone, one a line.

use serde::Deserialize;
use serde_json::Value;

use super::collect::{Case, Collector, Turn, Verdict, cut};
use super::{ImportError, json, malformed};

/// `failureReason` of a row whose provider or assertions broke down.
const BROKE_DOWN: u64 = 2;
/// Most characters of a grader's reason.
const MAX_REASON: usize = 160;

#[derive(Deserialize)]
struct File {
    results: Summary,
    #[serde(default)]
    config: Value,
}

#[derive(Deserialize)]
struct Summary {
    results: Vec<Row>,
}

/// What is read of a row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Row {
    test_idx: Value,
    prompt_idx: Value,
    provider: Value,
    prompt: Value,
    vars: Value,
    response: Value,
    success: Option<bool>,
    failure_reason: Value,
    grading_result: Value,
    metadata: Value,
    test_case: Value,
}

/// Reads results.
pub(super) fn read(bytes: &[u8], found: &mut Collector) -> Result<(), ImportError> {
    let (rows, title) = match json::parse::<File>(bytes) {
        Ok(file) => {
            let title = file.config["description"].as_str().map(str::to_owned);
            (file.results.results, title)
        }
        Err(why) => (
            lines(bytes).ok_or_else(|| malformed("the results", why))??,
            None,
        ),
    };
    let mut providers: Vec<String> = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let provider = provider(&row.provider);
        if !providers.contains(&provider) {
            providers.push(provider);
        }
        take(at, &row, found);
    }
    let with = cut(&providers.join(", "), 120);
    found.subject = match title.filter(|title| !title.is_empty()) {
        Some(title) => format!("{} with {with}", cut(&title, 80)),
        None => with,
    };
    found.method = "A case is one row; it fails where promptfoo's assertions did.".to_owned();
    Ok(())
}

/// Rows one a line; none if the first line is none.
fn lines(bytes: &[u8]) -> Option<Result<Vec<Row>, ImportError>> {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let row = |(at, line)| -> Result<Row, ImportError> {
        json::parse(line).map_err(|why| malformed(format!("line {}", at + 1), why))
    };
    let mut rows = lines.map(row);
    let first = rows.next()?.ok().filter(|row| row.success.is_some())?;
    Some(std::iter::once(Ok(first)).chain(rows).collect())
}

fn take(at: usize, row: &Row, found: &mut Collector) {
    let place = format!(
        "row {} (test {}, prompt {})",
        at + 1,
        row.test_idx,
        row.prompt_idx
    );
    if row.failure_reason.as_u64() == Some(BROKE_DOWN) {
        return found.skip_case("the provider or an assertion broke down", &place);
    }
    let Some(answer) = output(&row.response["output"]) else {
        return found.skip_case("the model gave no output", &place);
    };
    found.add(Case {
        turns: conversation(row, answer),
        verdicts: verdict(row).into_iter().collect(),
        place,
    });
}

/// What the row's assertions came to; a row without any says nothing.
fn verdict(row: &Row) -> Option<Verdict> {
    let passed = row.success?;
    let grading = &row.grading_result;
    let reason = grading["reason"].as_str().unwrap_or_default();
    if reason == "No assertions" {
        return None;
    }
    let reason = match (grading["score"].as_f64(), reason) {
        (Some(score), "") => format!("score {score}"),
        (Some(score), reason) => format!("score {score}; {}", cut(reason, MAX_REASON)),
        (None, reason) => cut(reason, MAX_REASON),
    };
    Some(Verdict {
        test: format!("{} on {}", test(row), provider(&row.provider)),
        failed: !passed,
        detail: reason,
    })
}

/// What a row tests: a red team's plugin, else the kinds of its assertions.
fn test(row: &Row) -> String {
    let plugin = [
        &row.metadata["pluginId"],
        &row.test_case["metadata"]["pluginId"],
        &row.grading_result["metadata"]["pluginId"],
    ];
    if let Some(plugin) = plugin.iter().find_map(|name| name.as_str()) {
        return cut(plugin, 80);
    }
    let parts = row.grading_result["componentResults"].as_array();
    let mut kinds: Vec<&str> = parts
        .into_iter()
        .flatten()
        .filter_map(|part| {
            let assertion = &part["assertion"];
            assertion["metric"].as_str().or(assertion["type"].as_str())
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        "its assertions".to_owned()
    } else {
        cut(&kinds.join(" and "), 80)
    }
}

/// What was asked and answered: a red team's whole history where there is one, else the prompt as
/// it was sent.
fn conversation(row: &Row, answer: String) -> Vec<Turn> {
    let holders = [&row.metadata, &row.response["metadata"]];
    let mut turns = holders
        .iter()
        .find_map(|holder| chat(&holder["messages"]))
        .or_else(|| {
            holders
                .iter()
                .find_map(|holder| attempts(&holder["redteamHistory"]))
        })
        .unwrap_or_else(|| prompt(row));
    let said = turns.last();
    if said.is_none_or(|last| last.role != "assistant" || last.text != answer) {
        turns.push(Turn::new("assistant", answer));
    }
    turns
}

fn prompt(row: &Row) -> Vec<Turn> {
    let sent = [
        &row.response["prompt"],
        &row.response["metadata"]["redteamFinalPrompt"],
        &row.metadata["redteamFinalPrompt"],
        &row.prompt["raw"],
        &row.prompt,
    ];
    let sent = sent.iter().find_map(|form| match form {
        Value::String(text) => Some(written(text)),
        list => chat(list),
    });
    // Results without prompts still say what was filled in.
    sent.unwrap_or_else(|| match &row.vars {
        Value::Null => Vec::new(),
        vars => vec![Turn::new("user", vars.to_string())],
    })
}

/// A prompt is text, or a chat written as JSON.
fn written(text: &str) -> Vec<Turn> {
    let list = text.trim_start().starts_with('[');
    let parsed = list.then(|| serde_json::from_str::<Value>(text).ok());
    let turns = parsed.flatten().as_ref().and_then(chat);
    turns.unwrap_or_else(|| vec![Turn::new("user", text)])
}

/// A list of messages with roles, if it is one and all of it is.
fn chat(value: &Value) -> Option<Vec<Turn>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    let turn = |turn: &Value| Some(Turn::new(turn["role"].as_str()?, output(&turn["content"])?));
    list.iter().map(turn).collect()
}

/// A red team's tries in order, as prompts and outputs.
fn attempts(value: &Value) -> Option<Vec<Turn>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    let pair = |one: &Value| {
        Some([
            Turn::new("user", one["prompt"].as_str()?),
            Turn::new("assistant", output(&one["output"])?),
        ])
    };
    let pairs: Option<Vec<[Turn; 2]>> = list.iter().map(pair).collect();
    Some(pairs?.into_iter().flatten().collect())
}

/// An output as text: providers may also give structures, shown as JSON.
fn output(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn provider(value: &Value) -> String {
    let names = [&value["label"], &value["id"], value];
    let name = names.iter().find_map(|name| name.as_str());
    cut(
        name.filter(|name| !name.is_empty())
            .unwrap_or("a provider not named"),
        80,
    )
}
