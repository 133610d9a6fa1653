//! From the cases of a log to exhibits: the same rules for every tool.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::{Format, Import, Item, Options, Skipped};

/// Most messages in one transcript, as the service has it.
const MAX_MESSAGES: usize = 512;
/// Most bytes of a transcript as JSON: below what the service takes, so that several fit into one request.
const MAX_SECTION_BYTES: usize = 1024 * 1024;
/// Longest role, bytes, as the service has it.
const MAX_ROLE: usize = 32;
/// Longest name of a measurement, bytes, as the service has it.
const MAX_NAME: usize = 256;
/// Longest note, characters.
const MAX_NOTE: usize = 300;

/// One message of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) role: String,
    pub(super) text: String,
}

impl Turn {
    pub(super) fn new(role: &str, text: impl Into<String>) -> Self {
        Self {
            role: role.to_owned(),
            text: text.into(),
        }
    }

    /// Whether it is what the model was given rather than what it did.
    fn is_asked(&self) -> bool {
        matches!(self.role.as_str(), "system" | "user" | "developer")
    }
}

/// What one test found in a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Scorer, detector or assertion.
    pub(super) test: String,
    pub(super) failed: bool,
    /// Its score or reason, short.
    pub(super) detail: String,
}

/// One conversation and what was found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// Where it is, as `sample 3, epoch 1`.
    pub(super) place: String,
    pub(super) turns: Vec<Turn>,
    pub(super) verdicts: Vec<Verdict>,
}

/// Scored cases of a test, and how many of them failed.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    scored: u64,
    failed: u64,
}

/// Gathers cases into an [`Import`].
pub(super) struct Collector {
    format: Format,
    pub(super) options: Options,
    /// What was tested with what.
    pub(super) subject: String,
    /// How a verdict comes about, for the measurements' method.
    pub(super) method: String,
    cases: u64,
    failed: u64,
    tallies: BTreeMap<String, Tally>,
    transcripts: Vec<Item>,
    known: HashSet<blake3::Hash>,
    skipped: Vec<Skipped>,
}

impl Collector {
    pub(super) fn new(format: Format, options: Options) -> Self {
        Self {
            format,
            options,
            subject: String::new(),
            method: String::new(),
            cases: 0,
            failed: 0,
            tallies: BTreeMap::new(),
            transcripts: Vec::new(),
            known: HashSet::new(),
            skipped: Vec::new(),
        }
    }

    /// Counts something that was left out.
    pub(super) fn skip(&mut self, reason: &str, place: &str) {
        match self.skipped.iter_mut().find(|one| one.reason == reason) {
            Some(one) => one.count += 1,
            None => self.skipped.push(Skipped {
                reason: reason.to_owned(),
                count: 1,
                first: short(place),
            }),
        }
    }

    /// Counts a case that holds nothing to show.
    pub(super) fn skip_case(&mut self, reason: &str, place: &str) {
        self.cases += 1;
        self.skip(reason, place);
    }

    pub(super) fn add(&mut self, case: Case) {
        self.cases += 1;
        for verdict in &case.verdicts {
            let tally = self.tallies.entry(verdict.test.clone()).or_default();
            tally.scored += 1;
            tally.failed += u64::from(verdict.failed);
        }
        let failed = case.verdicts.iter().any(|verdict| verdict.failed);
        self.failed += u64::from(failed);
        if !self.options.transcripts {
            return;
        }
        if self.options.only_failed && case.verdicts.is_empty() {
            return self.skip("no test scored it; --only all takes it", &case.place);
        }
        if self.options.only_failed && !failed {
            return self.skip("passed; --only all takes it", &case.place);
        }
        let answered = |turn: &Turn| !turn.is_asked() && !turn.text.trim().is_empty();
        if !case.turns.iter().any(answered) {
            return self.skip("no answer of the model", &case.place);
        }
        let note = note(&case);
        let sections = sections(case.turns);
        let many = sections.len();
        for (at, section) in sections.into_iter().enumerate() {
            let part = if many > 1 {
                format!(" (part {} of {many})", at + 1)
            } else {
                String::new()
            };
            self.push(section, format!("{note}{part}"), &case.place);
        }
    }

    fn push(&mut self, turns: Vec<Turn>, note: String, place: &str) {
        let turns = turns.into_iter();
        let messages: Vec<Value> = turns
            .map(|turn| json!({"role": turn.role, "content": turn.text}))
            .collect();
        let exhibit = json!({"type": "transcript", "messages": messages});
        if self
            .known
            .insert(blake3::hash(exhibit.to_string().as_bytes()))
        {
            self.transcripts.push(Item { exhibit, note });
        } else {
            self.skip("says the same as an earlier case", place);
        }
    }

    pub(super) fn finish(self) -> Import {
        let mut items = Vec::new();
        if self.options.measurements {
            items.extend(self.tallies.iter().map(|(test, tally)| {
                measurement(self.format, &self.subject, test, &self.method, *tally)
            }));
        }
        items.extend(self.transcripts);
        Import {
            format: self.format,
            subject: self.subject,
            cases: self.cases,
            failed: self.failed,
            items,
            skipped: self.skipped,
        }
    }
}

/// The share of a test's cases that failed.
fn measurement(format: Format, subject: &str, test: &str, method: &str, tally: Tally) -> Item {
    let (failed, scored) = (count(tally.failed), count(tally.scored));
    // Of the mean (k + ½)/(n + 1), so that no failure among few cases does not claim to be certain.
    let mean = (failed + 0.5) / (scored + 1.0);
    let error = (mean * (1.0 - mean) / scored).sqrt();
    let name = format!("{format}, {subject}: share of cases that fail {test}");
    Item {
        exhibit: json!({
            "type": "measurement",
            "name": cut(&name, MAX_NAME),
            "value": failed / scored,
            "standard_error": error,
            "unit": "",
            "samples": tally.scored,
            "method": format!(
                "{} of {} scored cases of a log of {format} failed. {method} The standard error is \
                 that of independent cases.",
                tally.failed, tally.scored
            ),
        }),
        note: short(&format!(
            "{test}: {} of {} failed",
            tally.failed, tally.scored
        )),
    }
}

/// A count as a number: a log of bounded size has far fewer cases than a double can tell apart.
fn count(cases: u64) -> f64 {
    u32::try_from(cases).map_or(f64::from(u32::MAX), f64::from)
}

/// Where the case is and what was found: what failed first.
fn note(case: &Case) -> String {
    let mut verdicts: Vec<&Verdict> = case.verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| !verdict.failed);
    let found = verdicts.iter().map(|verdict| {
        let outcome = if verdict.failed { "failed" } else { "passed" };
        format!("{outcome} {} ({})", verdict.test, verdict.detail)
    });
    let found: Vec<String> = found.collect();
    short(&format!("{}: {}", case.place, found.join(", ")))
}

/// Consecutive parts that each fit into an exhibit. Nothing is left out: a message that is too
/// long alone becomes several.
fn sections(turns: Vec<Turn>) -> Vec<Vec<Turn>> {
    let mut done = Vec::new();
    let (mut open, mut size) = (Vec::new(), 0);
    for turn in turns {
        let role = match turn.role.as_str() {
            "" => "other".to_owned(),
            role => cut(role, MAX_ROLE),
        };
        for piece in pieces(&turn.text) {
            let cost = json_len(piece) + MAX_ROLE;
            if open.len() >= MAX_MESSAGES || (size + cost > MAX_SECTION_BYTES && !open.is_empty()) {
                done.push(std::mem::take(&mut open));
                size = 0;
            }
            size += cost;
            open.push(Turn::new(&role, piece));
        }
    }
    if !open.is_empty() {
        done.push(open);
    }
    done
}

/// The text in pieces of at most half a section each.
fn pieces(text: &str) -> Vec<&str> {
    let (mut done, mut start, mut size) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        let cost = letter_len(letter);
        if size + cost > MAX_SECTION_BYTES / 2 {
            done.push(&text[start..at]);
            (start, size) = (at, 0);
        }
        size += cost;
    }
    done.push(&text[start..]);
    done
}

fn json_len(text: &str) -> usize {
    text.chars().map(letter_len).sum()
}

/// Bytes of a character in a JSON string, at most.
const fn letter_len(letter: char) -> usize {
    match letter {
        '"' | '\\' => 2,
        '\0'..='\u{1f}' => 6,
        _ => letter.len_utf8(),
    }
}

/// At most so many bytes of a text, whole characters.
pub(super) fn cut(text: &str, bytes: usize) -> String {
    let fits = |end: &usize| *end <= bytes;
    let ends = text
        .char_indices()
        .map(|(at, letter)| at + letter.len_utf8());
    let end = ends.take_while(fits).last().unwrap_or(0);
    text[..end].to_owned()
}

/// One line of bounded length for people, without control characters.
pub(super) fn short(text: &str) -> String {
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().map(safe).take(MAX_NOTE).collect();
    if text.chars().nth(MAX_NOTE).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_conversations_become_sections_and_lose_nothing() {
        let words = "a\"\n\u{1}é".repeat(200_000);
        let many: Vec<Turn> = (0..700).map(|n| Turn::new("user", n.to_string())).collect();
        for turns in [
            many,
            vec![Turn::new("user", "q"), Turn::new("assistant", words)],
        ] {
            let text = |turns: &[Turn]| -> String {
                turns.iter().map(|turn| turn.text.as_str()).collect()
            };
            let whole = text(&turns);
            let parts = sections(turns);
            assert!(parts.len() > 1);
            assert_eq!(
                parts.iter().map(|part| text(part)).collect::<String>(),
                whole
            );
            for part in parts {
                let messages: Vec<Value> = part
                    .iter()
                    .map(|turn| json!({"role": turn.role, "content": turn.text}))
                    .collect();
                assert!(part.len() <= MAX_MESSAGES);
                let bytes = json!(messages).to_string().len();
                assert!(bytes <= MAX_SECTION_BYTES + 64 * part.len(), "{bytes}");
            }
        }
    }

    #[test]
    fn no_failure_is_not_certainty() {
        let tally = Tally {
            scored: 4,
            failed: 0,
        };
        let item = measurement(Format::Garak, "m", "d", "", tally);
        assert_eq!(item.exhibit["value"], 0.0);
        let error = item.exhibit["standard_error"].as_f64().unwrap_or(0.0);
        assert!((error - (0.1_f64 * 0.9 / 4.0).sqrt()).abs() < 1e-12);
    }
}
