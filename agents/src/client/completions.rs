//! What the completion gateway takes and answers, as far as clients here use it.

use serde::{Deserialize, Serialize};

/// Something that the completion gateway serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Model {
    /// Name to ask for: a run's name, or `run@checkpoint`.
    pub id: String,
    /// Run it belongs to, when the gateway says so.
    #[serde(default)]
    pub run_id: Option<String>,
    /// Checkpoint hash, when pinned or known.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// Unix seconds.
    #[serde(default)]
    pub created: i64,
}

impl Model {
    /// The checkpoint that the model is, from its field or from `run@checkpoint`.
    #[must_use]
    pub fn pinned(&self) -> Option<&str> {
        self.checkpoint
            .as_deref()
            .or_else(|| self.id.split_once('@').map(|(_, hash)| hash))
    }

    /// Whether it belongs to the run with this id or name.
    #[must_use]
    pub fn is_of(&self, run_id: &str, run_name: &str) -> bool {
        self.run_id.as_deref() == Some(run_id)
            || self.id == run_name
            || self
                .id
                .split_once('@')
                .is_some_and(|(name, _)| name == run_name)
    }
}

/// What to complete, and how.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompletionRequest {
    /// Run name, `run@checkpoint` or checkpoint hash.
    pub model: String,
    /// The prompts.
    pub prompt: Vec<String>,
    /// Most tokens per completion.
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: f64,
    /// Seed of the sampler.
    pub seed: u64,
    /// Ask for the log-probability of each generated token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
}

/// One completion.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Choice {
    /// Which prompt it belongs to.
    #[serde(default)]
    pub index: usize,
    /// The continuation, without the prompt.
    pub text: String,
    /// When they were asked for and the gateway gives them.
    #[serde(default)]
    pub logprobs: Option<Logprobs>,
}

/// Log-probabilities of one completion.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Logprobs {
    /// Of each generated token, natural.
    #[serde(default)]
    pub token_logprobs: Vec<Option<f64>>,
}

impl Choice {
    /// −ln p of the token of which the model was least sure, where that is known.
    #[must_use]
    pub fn doubt(&self) -> Option<f64> {
        let known = self.logprobs.as_ref()?.token_logprobs.iter().flatten();
        known.map(|logprob| -logprob).max_by(f64::total_cmp)
    }
}

/// Tokens that a request cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens generated.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// The gateway's answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Completions {
    /// One per prompt.
    pub choices: Vec<Choice>,
    /// What it cost.
    #[serde(default)]
    pub usage: Usage,
}
