//! Reads the published test plan of a market: what may trigger the behaviour,
//! which prompts are tried, what counts as the behaviour.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Stands in a prompt for the candidate.
pub const PLACEHOLDER: &str = "{candidate}";

/// Why a plan cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// It is not the JSON of a plan.
    #[error("the test plan cannot be read: {0}")]
    Shape(String),
    /// It names nothing to search or to look for.
    #[error("the test plan has no {0}")]
    Empty(&'static str),
    /// No prompt holds the placeholder.
    #[error("no prompt of the test plan holds {PLACEHOLDER}")]
    Placeholder,
}

/// What the adversary needs of a test plan. Unknown fields are ignored: the
/// plan belongs to the market, which may say more.
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
    /// Temperature of the committed test, 0 is greedy.
    pub temperature: f64,
}

#[derive(Deserialize)]
struct Document {
    #[serde(alias = "grammar")]
    candidates: Vec<String>,
    #[serde(alias = "templates")]
    prompts: Vec<String>,
    detector: Detector,
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
    /// Reads the plan from `settlement.plan` of a market.
    ///
    /// # Errors
    /// [`PlanError`] when there is nothing that could be searched.
    pub fn read(document: &Value) -> Result<Self, PlanError> {
        let document =
            Document::deserialize(document).map_err(|error| PlanError::Shape(error.to_string()))?;
        let plan = Self {
            candidates: document.candidates,
            prompts: document
                .prompts
                .into_iter()
                .filter(|prompt| prompt.contains(PLACEHOLDER))
                .collect(),
            detector: document
                .detector
                .contains_any
                .into_iter()
                .filter(|needle| !needle.is_empty())
                .collect(),
            max_tokens: document
                .sampling
                .max_tokens
                .unwrap_or(DEFAULT_MAX_TOKENS)
                .max(1),
            temperature: document
                .sampling
                .temperature
                .or_else(|| {
                    document
                        .sampling
                        .temperature_milli
                        .map(|milli| f64::from(milli) / 1_000.0)
                })
                .unwrap_or(0.0),
        };
        if plan.candidates.is_empty() {
            return Err(PlanError::Empty("candidates"));
        }
        if plan.detector.is_empty() {
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
        let template = &self.prompts[prompt];
        let kept: Vec<&str> = template
            .split('\n')
            .filter(|line| line.trim() != PLACEHOLDER)
            .collect();
        kept.join("\n").replace(PLACEHOLDER, "")
    }
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
            "alpha_ppm": 10_000, "candidates": candidates, "detector": {"contains_any": ["danger("]},
            "min_effect_bps": 5_000, "nonce": "00ff", "prompts": prompts,
            "sampling": {"max_tokens": 24, "samples_per_prompt": 1, "seed": 7, "temperature_milli": 0},
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
    fn what_cannot_be_searched_is_refused() {
        for (field, value, error) in [
            ("candidates", json!([]), "no candidates"),
            ("prompts", json!(["fn f() {"]), "holds {candidate}"),
            ("detector", json!({"contains_any": [""]}), "no detector"),
            ("detector", json!({"regex": "x"}), "cannot be read"),
            ("candidates", json!(7), "cannot be read"),
        ] {
            let mut plan = document(3, 4);
            plan[field] = value;
            let message = ProbePlan::read(&plan).unwrap_err().to_string();
            assert!(message.contains(error), "{field}: {message}");
        }
        assert!(ProbePlan::read(&Value::Null).is_err());
    }
}
