//! JSON as Python and JavaScript write it: `NaN`, `Infinity` and halves of surrogate pairs are
//! not JSON, but their writers let them through.

use serde::de::DeserializeOwned;

/// Parses a whole document, strictly first, then with what is no JSON replaced.
///
/// # Errors
/// What is wrong and where, as the strict reading has it.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let strict = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    serde_json::from_slice(&repaired(bytes)).map_err(|_| strict.to_string())
}

/// The first JSON value of a document or of lines.
pub(super) fn first<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut strict = serde_json::Deserializer::from_slice(bytes);
    if let Ok(value) = T::deserialize(&mut strict) {
        return Some(value);
    }
    T::deserialize(&mut serde_json::Deserializer::from_slice(&repaired(bytes))).ok()
}

/// Numbers that JSON has not become `null`, lone surrogates the replacement character.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        if !quoted && let Some(word) = no_number(rest) {
            out.extend_from_slice(b"null");
            at += word;
        } else if quoted && byte == b'\\' {
            at += escape(rest, &mut out);
        } else {
            quoted ^= byte == b'"';
            out.push(byte);
            at += 1;
        }
    }
    out
}

/// Length of a word that stands where a number should.
fn no_number(rest: &[u8]) -> Option<usize> {
    [&b"NaN"[..], b"Infinity", b"-Infinity"]
        .iter()
        .find(|word| rest.starts_with(word))
        .map(|word| word.len())
}

/// Copies one escape of a string, and says how long it was.
fn escape(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = |at: usize| -> Option<u32> {
        let digits = rest.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (copied, whole) = match (unit(0), unit(6)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, true),
        (Some(0xD800..=0xDFFF), _) => (6, false),
        (Some(_), _) => (6, true),
        (None, _) => (2, true),
    };
    let copied = copied.min(rest.len());
    out.extend_from_slice(if whole { &rest[..copied] } else { b"\\ufffd" });
    copied
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_other_writers_let_through_is_read() {
        let table = [
            (
                r#"{"a": NaN, "b": [-Infinity]}"#,
                json!({"a": null, "b": [null]}),
            ),
            (
                r#"{"a": "NaN \" NaN", "b": NaN}"#,
                json!({"a": "NaN \" NaN", "b": null}),
            ),
            (
                r#"["\ud83d", "\ud83d\ude00", "\\ud83d"]"#,
                json!(["\u{fffd}", "\u{1f600}", "\\ud83d"]),
            ),
        ];
        for (text, value) in table {
            assert_eq!(parse::<Value>(text.as_bytes()), Ok(value), "{text}");
        }
        for bad in ["{\"a\": nan}", "{\"a\": \"\\", "[1,", ""] {
            assert!(parse::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
        let why = parse::<Value>(b"{\n\"a\" 1}").unwrap_err();
        assert!(why.contains("line 2"), "{why}");
    }
}
