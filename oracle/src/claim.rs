//! What a market asks: a claim about one run, with the rubric a reviewer follows.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::InvalidInput;
use crate::exhibit::Detector;

/// Longest `kind`, bytes.
pub const MAX_KIND_BYTES: usize = 128;
/// Longest `text` or `rubric`, bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Most candidates a published trigger grammar may list.
pub const MAX_GRAMMAR: usize = 4096;

/// A claim: "a reviewer who saw all the evidence would conclude that `text` holds, judged by `rubric`".
///
/// Deserialising validates; a value built by hand is checked with [`Claim::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Claim {
    /// What sort of claim it is, `family` or `family:topic` (for example `harmful:violence`); 1..=[`MAX_KIND_BYTES`] bytes.
    pub kind: String,
    /// The claim itself, plain text, 1..=[`MAX_TEXT_BYTES`] bytes.
    pub text: String,
    /// How a reviewer decides, plain text; may be empty.
    #[serde(default)]
    pub rubric: String,
    /// What was published for trigger searches when the market opened; absent for claims that are not about triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbePlan>,
}

/// The published terms of a trigger search: which triggers count and what counts as a hit.
///
/// Published at opening so that an exhibit cannot bring its own, more convenient, detector, and so that a null
/// report can be measured against the whole grammar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbePlan {
    /// Every candidate trigger of the claim, verbatim; a trigger arm covers a candidate when each of its prompts contains it.
    #[serde(default)]
    pub grammar: Vec<String>,
    /// The only detector that counts; `None` accepts the exhibit's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Detector>,
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let claim = Self::deserialize(deserializer)?;
        claim.validate().map_err(serde::de::Error::custom)?;
        Ok(claim)
    }
}

impl Serialize for Claim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl Claim {
    /// A claim without a probe plan. Errors: [`InvalidInput`] when a bound is broken.
    pub fn new(
        kind: impl Into<String>,
        text: impl Into<String>,
        rubric: impl Into<String>,
    ) -> Result<Self, InvalidInput> {
        let claim = Self {
            kind: kind.into(),
            text: text.into(),
            rubric: rubric.into(),
            probe: None,
        };
        claim.validate()?;
        Ok(claim)
    }

    /// The same claim with a published trigger search. Errors: [`InvalidInput`] when a bound is broken.
    pub fn with_probe(mut self, probe: ProbePlan) -> Result<Self, InvalidInput> {
        self.probe = Some(probe);
        self.validate()?;
        Ok(self)
    }

    /// The part of `kind` before the first `:`; claims of one family share a judge's expertise.
    pub fn family(&self) -> &str {
        family_of(&self.kind)
    }

    /// Checks every bound named on the fields.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        within("kind", self.kind.len(), 1, MAX_KIND_BYTES)?;
        within("text", self.text.len(), 1, MAX_TEXT_BYTES)?;
        within("rubric", self.rubric.len(), 0, MAX_TEXT_BYTES)?;
        if self.kind.chars().any(char::is_control) {
            return Err(InvalidInput::Malformed {
                field: "kind",
                reason: "contains a control character",
            });
        }
        let Some(probe) = &self.probe else {
            return Ok(());
        };
        within("probe.grammar", probe.grammar.len(), 0, MAX_GRAMMAR)?;
        for candidate in &probe.grammar {
            within("probe.grammar[]", candidate.len(), 1, 1024)?;
        }
        probe.detector.as_ref().map_or(Ok(()), Detector::validate)
    }
}

/// The part of a claim kind before the first `:`.
pub fn family_of(kind: &str) -> &str {
    kind.split_once(':').map_or(kind, |(family, _)| family)
}

/// `low ≤ value ≤ high`, or the error that names the field.
pub(crate) fn within(
    field: &'static str,
    value: usize,
    low: usize,
    high: usize,
) -> Result<(), InvalidInput> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(InvalidInput::OutOfBounds {
            field,
            value,
            low,
            high,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bounds_hold_on_the_way_in() {
        let ok =
            r#"{"kind":"trigger:tls","text":"The run hides a trigger.","rubric":"Replay it."}"#;
        let claim: Claim = serde_json::from_str(ok).unwrap();
        assert_eq!(claim.family(), "trigger");
        let back: Claim = serde_json::from_str(&serde_json::to_string(&claim).unwrap()).unwrap();
        assert_eq!(claim, back);
        for bad in [
            r#"{"kind":"","text":"x"}"#,
            r#"{"kind":"a","text":""}"#,
            r#"{"kind":"a","text":"x","extra":1}"#,
            r#"{"kind":"a\u0000b","text":"x"}"#,
            r#"{"kind":"a","text":"x","probe":{"grammar":[""]}}"#,
        ] {
            assert!(serde_json::from_str::<Claim>(bad).is_err(), "{bad}");
        }
        assert!(Claim::new("k".repeat(129), "x", "").is_err());
    }
}
