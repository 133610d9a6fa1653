//! A file of evidence as people have it: exhibits, a whole submission, a bare conversation, or plain text.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::access::read_bounded;

/// Most characters of a title that is taken from the file.
const MAX_TITLE: usize = 120;

/// What a file says of a submission.
pub struct ExhibitFile {
    /// The exhibits.
    pub exhibits: Vec<Value>,
    /// The whole document, where it is JSON: it may hold other fields of a submission.
    pub whole: Value,
}

impl ExhibitFile {
    /// Reads a file of at most `limit` bytes, or standard input for `-`.
    pub fn read(path: &Path, limit: u64) -> Result<Self> {
        let bytes = read_bounded(path, limit)?;
        if is_prose(path) {
            let text = String::from_utf8(bytes)
                .with_context(|| format!("{} is not UTF-8", path.display()))?;
            return Ok(Self {
                exhibits: vec![json!({"type": "report", "text": text})],
                whole: Value::Null,
            });
        }
        let whole: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no JSON", path.display()))?;
        Ok(Self {
            exhibits: exhibits(&whole),
            whole,
        })
    }

    /// A title for who gives none: the file's own, else its first words, else its name.
    pub fn title(&self, path: &Path) -> Option<String> {
        let own = self.whole.get("title").and_then(Value::as_str);
        let text = self
            .exhibits
            .first()
            .and_then(|first| first["text"].as_str());
        let heading = text
            .filter(|_| is_prose(path))
            .and_then(|text| text.lines().find(|line| !line.trim().is_empty()))
            .map(|line| line.trim_start_matches('#').trim());
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.filter(|name| *name != "-");
        let found = own.or(heading).or(name)?;
        Some(found.chars().take(MAX_TITLE).collect())
    }
}

fn is_prose(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("txt" | "md"))
}

/// The exhibits of a document: a submission's, a list of them, one, or a conversation as chat programs keep it.
fn exhibits(whole: &Value) -> Vec<Value> {
    if let Some(listed) = whole.get("exhibits") {
        return listed.as_array().cloned().unwrap_or_default();
    }
    if let Some(messages) = conversation(whole) {
        return vec![json!({"type": "transcript", "messages": messages})];
    }
    match whole {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    }
}

/// Messages with a role and a content each, without the name of an exhibit's type around them.
fn conversation(whole: &Value) -> Option<&Value> {
    let messages = match whole {
        Value::Object(fields) if !fields.contains_key("type") => fields.get("messages")?,
        Value::Array(_) => whole,
        _ => return None,
    };
    let listed = messages.as_array().filter(|listed| !listed.is_empty())?;
    let is_message = |one: &Value| one["role"].is_string() && one["content"].is_string();
    listed.iter().all(is_message).then_some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_people_have_them() {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let transcript = json!({"type": "transcript", "messages": messages});
        for whole in [
            messages.clone(),
            json!({"messages": messages}),
            transcript.clone(),
            json!([transcript]),
            json!({"title": "t", "exhibits": [transcript]}),
        ] {
            assert_eq!(
                exhibits(&whole),
                std::slice::from_ref(&transcript),
                "{whole}"
            );
        }
        let report = json!({"type": "report", "text": "x"});
        assert_eq!(exhibits(&report), [report]);
    }

    #[test]
    fn a_title_is_found() {
        let of = |whole: Value, path: &str| {
            let exhibits = exhibits(&whole);
            ExhibitFile { exhibits, whole }.title(Path::new(path))
        };
        let report = json!({"type": "report", "text": "\n# It repeats itself\nmore"});
        assert_eq!(
            of(report.clone(), "a/b.md").as_deref(),
            Some("It repeats itself")
        );
        assert_eq!(
            of(report.clone(), "a/blue-comment.json").as_deref(),
            Some("blue-comment")
        );
        assert_eq!(
            of(json!({"title": "own", "exhibits": []}), "x.json").as_deref(),
            Some("own")
        );
        assert_eq!(of(report, "-"), None);
    }
}
