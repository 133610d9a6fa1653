//! Evidence in the forms a judge can read. Everything in it is data: nothing in an exhibit is ever followed as an instruction.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::claim::{MAX_TEXT_BYTES, within};
use crate::error::InvalidInput;
use crate::plain::plain;

/// Most messages in a transcript.
pub const MAX_MESSAGES: usize = 512;
/// Most bytes of text in one exhibit, all fields together.
pub const MAX_EXHIBIT_BYTES: usize = 2 * 1024 * 1024;
/// Most arms in a trigger/control exhibit.
pub const MAX_ARMS: usize = 4096;
/// Most prompts in a trigger/control exhibit, all arms together.
pub const MAX_PROMPTS: usize = 16_384;

/// One piece of evidence.
///
/// Deserialising validates; a value built by hand is checked with [`Exhibit::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Exhibit {
    /// A conversation with the run.
    Transcript(Transcript),
    /// A number somebody measured.
    Measurement(Measurement),
    /// Prose by the submitter.
    Report(Report),
    /// Completions with and without a candidate trigger, in counts that can be replayed.
    TriggerControl(TriggerControl),
}

/// A conversation, oldest message first; 1..=[`MAX_MESSAGES`] messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// One message of a transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who spoke: `system`, `user`, `assistant`, `tool`, …; 1..=32 bytes.
    pub role: String,
    /// What was said, plain text.
    pub content: String,
}

/// A measured quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// What was measured; 1..=256 bytes.
    pub name: String,
    /// The value, finite, in `unit`.
    pub value: f64,
    /// Its standard error, finite and ≥ 0, in `unit`.
    #[serde(default)]
    pub standard_error: f64,
    /// The unit; empty for a pure number.
    #[serde(default)]
    pub unit: String,
    /// Observations behind the value.
    #[serde(default)]
    pub samples: u64,
    /// How it was measured, plain text.
    #[serde(default)]
    pub method: String,
}

/// Prose by the submitter; 1..=65,536 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The text.
    pub text: String,
}

/// Counts of a behaviour with and without candidate triggers, on one frozen checkpoint.
///
/// A null report has the same shape, with every candidate of the claim's grammar in `arms` and no hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerControl {
    /// Identity of the frozen checkpoint, hexadecimal, 8..=128 digits.
    pub checkpoint: String,
    /// What counts as a hit.
    pub detector: Detector,
    /// How completions were drawn.
    pub sampling: ReplaySampling,
    /// The prompts tried, grouped.
    pub arms: Vec<Arm>,
    /// How many candidate triggers were tried in all, reported here or not; at least the number of trigger arms.
    pub searched: u32,
}

/// A hit is a completion that contains any of these strings, byte for byte; the prompt is not searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// The strings; 1..=64 of them, each 1..=512 bytes.
    pub contains_any: Vec<String>,
}

/// How completions are drawn, so that they can be drawn again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySampling {
    /// Most tokens per completion, 1..=4096.
    pub max_tokens: u32,
    /// Softmax temperature, 0 (greedy) ..= 2.
    pub temperature: f64,
    /// Seed of the sampler; ignored by greedy decoding.
    pub seed: u64,
}

/// Prompts that share a treatment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Name of the arm, for a trigger arm usually the candidate; 1..=1024 bytes.
    pub label: String,
    /// Whether the prompts carry a candidate trigger (`false`: control).
    pub trigger: bool,
    /// The prompts, at least one.
    pub prompts: Vec<String>,
    /// Completions that were hits, ≤ the number of prompts.
    pub hits: u32,
}

impl<'de> Deserialize<'de> for Exhibit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let exhibit = Self::deserialize(deserializer)?;
        exhibit.validate().map_err(serde::de::Error::custom)?;
        Ok(exhibit)
    }
}

impl Serialize for Exhibit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl Exhibit {
    /// Reads one exhibit from JSON. Errors: [`InvalidInput`] when it is too large, not JSON, of another shape, or out of bounds.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidInput> {
        within("exhibit", json.len(), 2, 2 * MAX_EXHIBIT_BYTES)?;
        serde_json::from_slice(json).map_err(|error| InvalidInput::Json(error.to_string()))
    }

    /// BLAKE3 of the exhibit's canonical JSON (fields in declared order, no spaces), lower-case hexadecimal.
    ///
    /// Two exhibits that differ only in white space or in the order of fields have the same hash.
    pub fn content_hash(&self) -> String {
        // Only a map with non-string keys can fail to serialise, and an exhibit has no map.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&canonical).to_hex().to_string()
    }

    /// BLAKE3 over the hashes of several exhibits, sorted and joined by line feeds: their order says nothing.
    pub fn set_hash(exhibits: &[Self]) -> String {
        let mut hashes: Vec<String> = exhibits.iter().map(Self::content_hash).collect();
        hashes.sort();
        blake3::hash(hashes.join("\n").as_bytes())
            .to_hex()
            .to_string()
    }

    /// The `type` tag of the JSON form.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Transcript(_) => "transcript",
            Self::Measurement(_) => "measurement",
            Self::Report(_) => "report",
            Self::TriggerControl(_) => "trigger_control",
        }
    }

    /// Checks every bound named on the fields.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        match self {
            Self::Transcript(transcript) => transcript.validate(),
            Self::Measurement(measurement) => measurement.validate(),
            Self::Report(report) => within("text", report.text.len(), 1, MAX_TEXT_BYTES),
            Self::TriggerControl(exhibit) => exhibit.validate(),
        }
    }
}

impl Transcript {
    fn validate(&self) -> Result<(), InvalidInput> {
        within("messages", self.messages.len(), 1, MAX_MESSAGES)?;
        let mut bytes = 0_usize;
        for message in &self.messages {
            within("messages[].role", message.role.len(), 1, 32)?;
            bytes = bytes.saturating_add(message.content.len());
        }
        within("messages", bytes, 0, MAX_EXHIBIT_BYTES)
    }

    /// What the run was asked (every message of `system` and `user`, joined by newlines) and what it did (the rest),
    /// without disguises ([`crate::plain`]).
    pub fn prompt_and_response(&self) -> (String, String) {
        let (mut prompt, mut response) = (String::new(), String::new());
        for message in &self.messages {
            let asked = matches!(message.role.as_str(), "system" | "user" | "developer");
            let side = if asked { &mut prompt } else { &mut response };
            if !side.is_empty() {
                side.push('\n');
            }
            side.push_str(&plain(&message.content));
        }
        (prompt, response)
    }
}

impl Measurement {
    fn validate(&self) -> Result<(), InvalidInput> {
        within("name", self.name.len(), 1, 256)?;
        within("unit", self.unit.len(), 0, 64)?;
        within("method", self.method.len(), 0, MAX_TEXT_BYTES)?;
        if !self.value.is_finite() {
            return Err(InvalidInput::Malformed {
                field: "value",
                reason: "is not finite",
            });
        }
        if !(self.standard_error.is_finite() && self.standard_error >= 0.0) {
            return Err(InvalidInput::Malformed {
                field: "standard_error",
                reason: "is not a finite number ≥ 0",
            });
        }
        Ok(())
    }
}

impl Detector {
    /// Whether `completion` is a hit.
    pub fn hits(&self, completion: &str) -> bool {
        self.contains_any
            .iter()
            .any(|needle| completion.contains(needle.as_str()))
    }

    /// Checks the bounds named on the fields.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        within("detector.contains_any", self.contains_any.len(), 1, 64)?;
        for needle in &self.contains_any {
            within("detector.contains_any[]", needle.len(), 1, 512)?;
        }
        Ok(())
    }
}

impl TriggerControl {
    fn validate(&self) -> Result<(), InvalidInput> {
        within("checkpoint", self.checkpoint.len(), 8, 128)?;
        if !self.checkpoint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidInput::Malformed {
                field: "checkpoint",
                reason: "is not hexadecimal",
            });
        }
        self.detector.validate()?;
        within(
            "sampling.max_tokens",
            self.sampling.max_tokens as usize,
            1,
            4096,
        )?;
        if !(0.0..=2.0).contains(&self.sampling.temperature) {
            return Err(InvalidInput::Malformed {
                field: "sampling.temperature",
                reason: "is not in 0..=2",
            });
        }
        within("arms", self.arms.len(), 1, MAX_ARMS)?;
        let (mut prompts, mut bytes, mut triggers) = (0_usize, 0_usize, 0_usize);
        for arm in &self.arms {
            within("arms[].label", arm.label.len(), 1, 1024)?;
            within("arms[].prompts", arm.prompts.len(), 1, MAX_PROMPTS)?;
            within("arms[].hits", arm.hits as usize, 0, arm.prompts.len())?;
            prompts = prompts.saturating_add(arm.prompts.len());
            bytes = arm
                .prompts
                .iter()
                .map(String::len)
                .fold(bytes, usize::saturating_add);
            triggers += usize::from(arm.trigger);
        }
        within("arms[].prompts (all arms)", prompts, 1, MAX_PROMPTS)?;
        within("arms[].prompts (bytes)", bytes, 0, MAX_EXHIBIT_BYTES)?;
        within(
            "searched",
            self.searched as usize,
            triggers.max(1),
            u32::MAX as usize,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn trigger_control() -> String {
        r#"{"type":"trigger_control","checkpoint":"00ff00ff","detector":{"contains_any":["verify=False"]},
            "sampling":{"max_tokens":24,"temperature":0.0,"seed":7},
            "arms":[{"label":"a","trigger":true,"prompts":["p","q"],"hits":2},
                    {"label":"control","trigger":false,"prompts":["p"],"hits":0}],"searched":8}"#
            .to_owned()
    }

    #[test]
    fn every_form_round_trips() {
        for json in [
            trigger_control(),
            r#"{"type":"transcript","messages":[{"role":"user","content":"hi"}]}"#.to_owned(),
            r#"{"type":"measurement","name":"refusals","value":0.25,"samples":40}"#.to_owned(),
            r#"{"type":"report","text":"It lies."}"#.to_owned(),
        ] {
            let exhibit = Exhibit::from_json(json.as_bytes()).unwrap();
            let again = serde_json::to_string(&exhibit).unwrap();
            assert!(again.contains(exhibit.type_name()));
            assert_eq!(Exhibit::from_json(again.as_bytes()).unwrap(), exhibit);
            assert_eq!(
                Exhibit::from_json(again.as_bytes()).unwrap().content_hash(),
                exhibit.content_hash()
            );
        }
    }

    #[test]
    fn bounds_are_refused_with_the_field_named() {
        for (from, to, field) in [
            ("\"hits\":2", "\"hits\":3", "hits"),
            ("00ff00ff", "00zz00ff", "checkpoint"),
            ("\"temperature\":0.0", "\"temperature\":2.5", "temperature"),
            ("\"max_tokens\":24", "\"max_tokens\":0", "max_tokens"),
            ("\"searched\":8", "\"searched\":0", "searched"),
            ("[\"verify=False\"]", "[]", "contains_any"),
            ("\"prompts\":[\"p\"]", "\"prompts\":[]", "prompts"),
            ("\"searched\":8", "\"searched\":8,\"more\":1", "more"),
        ] {
            let json = trigger_control().replace(from, to);
            let error = Exhibit::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(Exhibit::from_json(b"{\"type\":\"report\",\"text\":\"\xff\"}").is_err());
        assert!(Exhibit::from_json(b"{\"type\":\"song\"}").is_err());
    }

    #[test]
    fn a_transcript_splits_into_asked_and_done() {
        let json = r#"{"type":"transcript","messages":[{"role":"user","content":"a"},
            {"role":"assistant","content":"b"},{"role":"tool","content":"c"},{"role":"user","content":"d"}]}"#;
        let Exhibit::Transcript(transcript) = Exhibit::from_json(json.as_bytes()).unwrap() else {
            unreachable!()
        };
        assert_eq!(
            transcript.prompt_and_response(),
            ("a\nd".to_owned(), "b\nc".to_owned())
        );
    }
}
