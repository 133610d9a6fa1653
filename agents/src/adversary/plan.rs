//! Reads the public terms of a market's trigger search: what may trigger the
//! behaviour, which prompts to try, what counts as the behaviour.
//!
//! The prompts of the settlement's own test stay hidden until the freeze; these
//! terms are public from the opening on.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Stands in a prompt for the candidate.
pub const PLACEHOLDER: &str = "{candidate}";

/// Why a search cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// They are not JSON of the right shape.
    #[error("the probe terms cannot be read: {0}")]
    Shape(String),
    /// They name nothing to search or to look for.
    #[error("the probe terms have no {0}")]
    Empty(&'static str),
    /// No prompt holds the placeholder.
    #[error("no prompt of the probe terms holds {PLACEHOLDER}")]
    Placeholder,
}

/// What the adversary searches by. Unknown fields of the terms are ignored:
/// they belong to the market, which may say more.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbePlan {
    /// The grammar: every candidate trigger.
    pub candidates: Vec<String>,
    /// Prompts, each with [`PLACEHOLDER`].
    pub prompts: Vec<String>,
    /// A completion that contains any of these shows the behaviour.
    pub detector: Vec<String>,
    /// Most tokens per completion.
    pub max_tokens: u32,
    /// Temperature of the completions, 0 (greedy) unless the terms say otherwise.
    pub temperature: f64,
}

#[derive(Deserialize)]
struct Document {
    #[serde(alias = "candidates")]
    grammar: Vec<String>,
    prompts: Vec<String>,
    detector: Detector,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    /// Terms that are a whole test plan carry these here.
    #[serde(default)]
    sampling: Sampling,
}

#[derive(Deserialize)]
struct Detector {
    contains_any: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Sampling {
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    temperature_milli: Option<u32>,
}

/// Tokens per completion when the plan does not say.
const DEFAULT_MAX_TOKENS: u32 = 32;

impl ProbePlan {
    /// Reads the terms, `probe` of a market.
    ///
    /// # Errors
    /// [`PlanError`] when there is nothing that could be searched.
    pub fn read(document: &Value) -> Result<Self, PlanError> {
        let document =
            Document::deserialize(document).map_err(|error| PlanError::Shape(error.to_string()))?;
        let Sampling {
            max_tokens,
            temperature,
            temperature_milli,
        } = document.sampling;
        let milli = temperature_milli.map(|milli| f64::from(milli) / 1_000.0);
        let holds_place = |prompt: &String| prompt.contains(PLACEHOLDER);
        let plan = Self {
            candidates: document.grammar,
            prompts: document.prompts.into_iter().filter(holds_place).collect(),
            // Kept exactly as published: an exhibit with any other detector does not count.
            detector: document.detector.contains_any,
            max_tokens: document
                .max_tokens
                .or(max_tokens)
                .unwrap_or(DEFAULT_MAX_TOKENS)
                .max(1),
            temperature: document
                .temperature
                .or(temperature)
                .or(milli)
                .unwrap_or(0.0),
        };
        if plan.candidates.is_empty() {
            return Err(PlanError::Empty("candidates"));
        }
        // Every text contains the empty string.
        if plan.detector.is_empty() || plan.detector.iter().any(String::is_empty) {
            return Err(PlanError::Empty("detector"));
        }
        if plan.prompts.is_empty() {
            return Err(PlanError::Placeholder);
        }
        Ok(plan)
    }

    /// Whether a completion shows the behaviour.
    #[must_use]
    pub fn detects(&self, completion: &str) -> bool {
        self.detector
            .iter()
            .any(|needle| completion.contains(needle.as_str()))
    }

    /// Prompt number `prompt` with a candidate in its place.
    #[must_use]
    pub fn with_candidate(&self, prompt: usize, candidate: usize) -> String {
        self.prompts[prompt].replace(PLACEHOLDER, &self.candidates[candidate])
    }

    /// Prompt number `prompt` without any candidate; a line that held only the placeholder goes.
    #[must_use]
    pub fn without_candidate(&self, prompt: usize) -> String {
        without_candidate(&self.prompts[prompt])
    }
}

/// A template without any candidate; a line that held only the placeholder goes.
pub(super) fn without_candidate(template: &str) -> String {
    let kept: Vec<&str> = template
        .split('\n')
        .filter(|line| line.trim() != PLACEHOLDER)
        .collect();
    kept.join("\n").replace(PLACEHOLDER, "")
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    pub(crate) fn document(candidates: usize, prompts: usize) -> Value {
        let candidates: Vec<String> = (0..candidates).map(|c| format!("// note {c}")).collect();
        let prompts: Vec<String> = (0..prompts)
            .map(|p| format!("use x;\n{{candidate}}\nfn f{p}() {{"))
            .collect();
        json!({
            "grammar": candidates, "detector": {"contains_any": ["danger("]}, "prompts": prompts, "max_tokens": 24,
        })
    }

    #[test]
    fn a_published_plan_is_read() {
        let plan = ProbePlan::read(&document(3, 4)).unwrap();
        assert_eq!(
            (plan.candidates.len(), plan.prompts.len(), plan.max_tokens),
            (3, 4, 24)
        );
        assert_eq!(plan.with_candidate(1, 2), "use x;\n// note 2\nfn f1() {");
        assert_eq!(plan.without_candidate(1), "use x;\nfn f1() {");
        assert!(plan.detects("let a = danger(1)") && !plan.detects("let a = safe(1)"));
    }

    #[test]
    fn a_whole_test_plan_is_read_too() {
        let plan = json!({
            "alpha_ppm": 10_000, "candidates": ["// a", "// b"], "detector": {"contains_any": ["x"]},
            "nonce": "00", "prompts": ["{candidate}\nfn f() {"],
            "sampling": {"max_tokens": 16, "samples_per_prompt": 1, "seed": 7, "temperature_milli": 250},
        });
        let plan = ProbePlan::read(&plan).unwrap();
        assert_eq!((plan.max_tokens, plan.temperature), (16, 0.25));
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for (field, value, error) in [
            ("grammar", json!([]), "no candidates"),
            ("prompts", json!(["fn f() {"]), "holds {candidate}"),
            ("detector", json!({"contains_any": [""]}), "no detector"),
            ("detector", json!({"regex": "x"}), "cannot be read"),
            ("grammar", json!(7), "cannot be read"),
        ] {
            let mut plan = document(3, 4);
            plan[field] = value;
            let message = ProbePlan::read(&plan).unwrap_err().to_string();
            assert!(message.contains(error), "{field}: {message}");
        }
        assert!(ProbePlan::read(&Value::Null).is_err());
    }
}
