//! What clients send, checked and turned into one job.

use plumbline_service::host::Sampling;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Most prompts times copies of one request.
const MAX_TEXTS: usize = 256;
/// Most bytes of all prompts together.
const MAX_PROMPT_BYTES: usize = 2 * 1024 * 1024;
/// Most tokens per text.
const MAX_TOKENS: usize = 4_096;
/// Most stop strings.
const MAX_STOPS: usize = 16;

/// One string or several.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// Body of `POST /v1/completions`. Options of the OpenAI API that are not listed here are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompletionRequest {
    /// A run's name or id for its newest parameters, or a checkpoint from `/v1/models`.
    model: String,
    /// The text to continue, or several.
    prompt: OneOrMany,
    /// Most tokens to generate, 1 to 512; default 16.
    max_tokens: Option<usize>,
    /// 0 (greedy) to 2; default 1.
    temperature: Option<f64>,
    /// Nucleus mass in (0, 1]; default 1.
    top_p: Option<f64>,
    /// The same seed gives the same text.
    seed: Option<u64>,
    /// Stop before any of these; at most 16.
    stop: Option<OneOrMany>,
    /// Texts per prompt; the i-th copy uses `seed + i`.
    n: Option<usize>,
    /// Report the log-probability of each generated token; 0 to 5.
    logprobs: Option<u8>,
    /// Send data chunks instead of one document.
    stream: Option<bool>,
    /// Accepted and ignored.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// One message of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatMessage {
    /// `system`, `user`, `assistant`, …
    role: String,
    /// Its text.
    content: String,
}

/// Body of `POST /v1/chat/completions`. Options of the OpenAI API that are not listed here are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    /// A run's name or id for its newest parameters, or a checkpoint from `/v1/models`.
    model: String,
    /// The conversation, oldest message first.
    messages: Vec<ChatMessage>,
    /// Most tokens to generate, 1 to 512; default 128.
    max_tokens: Option<usize>,
    /// The newer name of `max_tokens`.
    max_completion_tokens: Option<usize>,
    /// 0 (greedy) to 2; default 1.
    temperature: Option<f64>,
    /// Nucleus mass in (0, 1]; default 1.
    top_p: Option<f64>,
    /// The same seed gives the same text.
    seed: Option<u64>,
    /// Stop before any of these; at most 16. A line that starts a new `user:` turn always stops.
    stop: Option<OneOrMany>,
    /// Answers to give; the i-th uses `seed + i`.
    n: Option<usize>,
    /// Send data chunks instead of one document.
    stream: Option<bool>,
    /// Accepted and ignored.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// A request that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// Model asked for.
    pub(crate) model: String,
    /// Prompts, at least one.
    pub(crate) prompts: Vec<String>,
    /// Sampling of the first copy.
    pub(crate) sampling: Sampling,
    /// Texts per prompt.
    pub(crate) copies: usize,
    /// Whether to answer in chunks.
    pub(crate) stream: bool,
}

fn invalid(detail: String) -> Problem {
    Problem::new(
        actix_web::http::StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-field",
        detail,
    )
}

fn fresh_seed() -> u64 {
    // The low half of a version 7 UUID is random.
    uuid::Uuid::now_v7().as_u64_pair().1
}

impl CompletionRequest {
    /// Checks every bound. Errors: 422 naming the field.
    pub(crate) fn job(self) -> Result<Job, Problem> {
        if self.logprobs.is_some_and(|count| count > 5) {
            return Err(invalid("logprobs must be 0 to 5".to_owned()));
        }
        let sampling = Sampling {
            max_tokens: self.max_tokens.unwrap_or(16),
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: self.seed.unwrap_or_else(fresh_seed),
            stop: self.stop.map(OneOrMany::into_vec).unwrap_or_default(),
            logprobs: self.logprobs,
        };
        let job = Job {
            model: self.model,
            prompts: self.prompt.into_vec(),
            sampling,
            copies: self.n.unwrap_or(1),
            stream: self.stream.unwrap_or(false),
        };
        job.check()
    }
}

impl ChatRequest {
    /// Flattens the conversation and checks every bound. Errors: 422 naming the field.
    ///
    /// The runs served here are base models without a chat format of their own, so the conversation becomes lines
    /// of `role: content` and a last line `assistant:` for the model to continue.
    pub(crate) fn job(self) -> Result<Job, Problem> {
        if self.messages.is_empty() {
            return Err(invalid("messages must not be empty".to_owned()));
        }
        let mut prompt = String::new();
        for message in &self.messages {
            prompt.push_str(&format!("{}: {}\n", message.role, message.content));
        }
        prompt.push_str("assistant:");
        let mut stop = self.stop.map(OneOrMany::into_vec).unwrap_or_default();
        stop.push("\nuser:".to_owned());
        let sampling = Sampling {
            max_tokens: self
                .max_completion_tokens
                .or(self.max_tokens)
                .unwrap_or(128),
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: self.seed.unwrap_or_else(fresh_seed),
            stop,
            logprobs: None,
        };
        let (copies, stream) = (self.n.unwrap_or(1), self.stream.unwrap_or(false));
        Job {
            model: self.model,
            prompts: vec![prompt],
            sampling,
            copies,
            stream,
        }
        .check()
    }
}

impl Job {
    fn check(self) -> Result<Self, Problem> {
        let texts = self.prompts.len().saturating_mul(self.copies);
        let bytes: usize = self.prompts.iter().map(String::len).sum();
        let sampling = &self.sampling;
        let rules = [
            (
                (1..=MAX_TEXTS).contains(&texts),
                format!("prompts times n must be 1 to {MAX_TEXTS}"),
            ),
            (
                bytes <= MAX_PROMPT_BYTES,
                format!("all prompts together may have {MAX_PROMPT_BYTES} bytes"),
            ),
            (
                (1..=MAX_TOKENS).contains(&sampling.max_tokens),
                format!("max_tokens must be 1 to {MAX_TOKENS}"),
            ),
            (
                (0.0..=2.0).contains(&sampling.temperature),
                "temperature must be 0 to 2".to_owned(),
            ),
            (
                sampling.top_p > 0.0 && sampling.top_p <= 1.0,
                "top_p must be above 0 and at most 1".to_owned(),
            ),
            (
                sampling.stop.len() <= MAX_STOPS + 1
                    && sampling.stop.iter().all(|stop| !stop.is_empty()),
                format!("stop must be at most {MAX_STOPS} strings, none of them empty"),
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(invalid(broken)),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::extract::parse_json;

    fn job(body: &str) -> Result<Job, Problem> {
        parse_json::<CompletionRequest>(body.as_bytes())?.job()
    }

    #[test]
    fn one_prompt_or_several() {
        let one = job(r#"{"model":"m","prompt":"a","temperature":0,"seed":1}"#).unwrap();
        assert_eq!(
            (one.prompts.len(), one.copies, one.sampling.max_tokens),
            (1, 1, 16)
        );
        let many =
            job(r#"{"model":"m","prompt":["a","b"],"n":3,"stop":"\n","logprobs":0}"#).unwrap();
        assert_eq!(
            (many.prompts.len(), many.copies, many.sampling.stop.len()),
            (2, 3, 1)
        );
    }

    #[test]
    fn bounds_are_named() {
        for (body, code) in [
            (r#"{"model":"m","prompt":[]}"#, "invalid-field"),
            (
                r#"{"model":"m","prompt":"a","n":100000000000}"#,
                "invalid-field",
            ),
            (
                r#"{"model":"m","prompt":"a","max_tokens":0}"#,
                "invalid-field",
            ),
            (
                r#"{"model":"m","prompt":"a","temperature":-1}"#,
                "invalid-field",
            ),
            (r#"{"model":"m","prompt":"a","top_p":0}"#, "invalid-field"),
            (r#"{"model":"m","prompt":"a","stop":[""]}"#, "invalid-field"),
            (
                r#"{"model":"m","prompt":"a","logprobs":6}"#,
                "invalid-field",
            ),
            (r#"{"model":"m","prompt":[1,2]}"#, "invalid-field"),
            (r#"{"model":"m","prompt":"a","echo":true}"#, "unknown-field"),
            (
                r#"{"model":"m","prompt":"a","top_p":NaN}"#,
                "malformed-json",
            ),
        ] {
            assert_eq!(job(body).unwrap_err().code, code, "{body}");
        }
    }

    #[test]
    fn a_conversation_becomes_lines() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#;
        let job = parse_json::<ChatRequest>(body.as_bytes())
            .unwrap()
            .job()
            .unwrap();
        assert_eq!(job.prompts, ["system: s\nuser: u\nassistant:"]);
        assert_eq!(job.sampling.stop, ["\nuser:"]);
    }
}
