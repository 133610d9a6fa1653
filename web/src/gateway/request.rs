//! What clients send, checked and turned into one job.

use plumbline_service::host::{Ask, Sampling};
use serde::Deserialize;
use utoipa::ToSchema;

use super::options::{Neutral, Options};
use crate::problem::Problem;

/// Most prompts times copies of one request.
const MAX_TEXTS: usize = 256;
/// Most bytes of all prompts together.
const MAX_PROMPT_BYTES: usize = 2 * 1024 * 1024;
/// Most tokens per text.
const MAX_TOKENS: usize = 512;
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

/// What a stream tells beside the texts.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamOptions {
    /// Send a last chunk with the tokens used.
    include_usage: Option<bool>,
    /// Accepted and ignored: chunks are not padded.
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

/// Body of `POST /v1/completions`. Options of the OpenAI API that change nothing here are accepted with the values that
/// say so; with other values, and options that are not listed here, they are refused.
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
    /// The same seed, prompt and parameters (`system_fingerprint`) give the same text.
    seed: Option<i64>,
    /// Stop before any of these; at most 16.
    stop: Option<OneOrMany>,
    /// Texts per prompt; the i-th copy uses `seed + i`.
    n: Option<usize>,
    /// Report the log-probability of each generated token with this many alternatives; 0 to 5.
    logprobs: Option<u8>,
    /// Begin each text with its prompt; not together with `logprobs`.
    echo: Option<bool>,
    /// Send data chunks, token by token, instead of one document.
    stream: Option<bool>,
    /// What a stream tells beside the texts.
    stream_options: Option<StreamOptions>,
    /// Must be `n` where it is given: every text that is generated is returned.
    best_of: Option<usize>,
}

/// Part of a message's content.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ContentPart {
    /// Text; the only kind that a language model without eyes or ears reads.
    Text {
        /// The text.
        text: String,
    },
}

/// A message's text, whole or in parts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    /// Whole.
    Whole(String),
    /// In parts, which are joined.
    Parts(Vec<ContentPart>),
}

impl Content {
    fn text(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .map(|ContentPart::Text { text }| text.as_str())
                .collect(),
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatMessage {
    /// `system`, `developer`, `user` or `assistant`.
    role: String,
    /// Its text.
    content: Content,
    /// Accepted and ignored.
    #[serde(rename = "name")]
    _name: Option<String>,
}

/// Body of `POST /v1/chat/completions`. Options of the OpenAI API that change nothing here are accepted with the values
/// that say so; with other values, and options that are not listed here, they are refused.
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
    /// The same seed, conversation and parameters (`system_fingerprint`) give the same text.
    seed: Option<i64>,
    /// Stop before any of these; at most 16. A line that starts a new `user:` turn always stops.
    stop: Option<OneOrMany>,
    /// Answers to give; the i-th uses `seed + i`.
    n: Option<usize>,
    /// Report the log-probability of each generated token.
    logprobs: Option<bool>,
    /// With this many alternatives, 0 to 20; needs `logprobs`.
    top_logprobs: Option<u8>,
    /// Send data chunks, token by token, instead of one document.
    stream: Option<bool>,
    /// What a stream tells beside the texts.
    stream_options: Option<StreamOptions>,
}

impl Options for CompletionRequest {
    const NEUTRAL: &'static [(&'static str, Neutral)] = &[
        ("frequency_penalty", Neutral::Zero),
        ("presence_penalty", Neutral::Zero),
        ("logit_bias", Neutral::Empty),
        ("suffix", Neutral::Empty),
        ("user", Neutral::Any),
    ];
}

impl Options for ChatRequest {
    const NEUTRAL: &'static [(&'static str, Neutral)] = &[
        ("frequency_penalty", Neutral::Zero),
        ("presence_penalty", Neutral::Zero),
        ("logit_bias", Neutral::Empty),
        ("tools", Neutral::Empty),
        ("functions", Neutral::Empty),
        ("tool_choice", Neutral::OneOf(&["none", "auto"])),
        ("function_call", Neutral::OneOf(&["none", "auto"])),
        ("parallel_tool_calls", Neutral::Any),
        ("response_format", Neutral::Text),
        ("modalities", Neutral::Text),
        ("verbosity", Neutral::OneOf(&["medium"])),
        ("reasoning_effort", Neutral::OneOf(&["none"])),
        ("service_tier", Neutral::OneOf(&["auto", "default"])),
        ("store", Neutral::Off),
        ("metadata", Neutral::Any),
        ("user", Neutral::Any),
        ("safety_identifier", Neutral::Any),
        ("prompt_cache_key", Neutral::Any),
        ("prompt_cache_retention", Neutral::Any),
    ];
}

/// A request that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    /// Model asked for.
    pub(crate) model: String,
    /// Texts asked for: prompt by prompt, copy by copy.
    pub(crate) asks: Vec<Ask>,
    /// Whether each text begins with its prompt.
    pub(crate) echo: bool,
    /// Whether to answer in chunks.
    pub(crate) stream: bool,
    /// Whether a stream ends with the tokens used.
    pub(crate) include_usage: bool,
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(
        actix_web::http::StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-field",
        detail,
    )
}

/// A client's seed, or a fresh one. Negative seeds are as good as others.
fn seed_of(seed: Option<i64>) -> u64 {
    // The low half of a version 7 UUID is random.
    seed.map_or_else(
        || uuid::Uuid::now_v7().as_u64_pair().1,
        |seed| seed.cast_unsigned(),
    )
}

fn strings(stop: Option<OneOrMany>) -> Result<Vec<String>, Problem> {
    let stop = stop.map(OneOrMany::into_vec).unwrap_or_default();
    if stop.len() > MAX_STOPS || stop.iter().any(String::is_empty) {
        let detail = format!("stop must be at most {MAX_STOPS} strings, none of them empty");
        return Err(invalid(detail));
    }
    Ok(stop)
}

/// `n` copies of every prompt; the i-th copy has the seed plus i.
fn asks(prompts: Vec<String>, n: usize, sampling: &Sampling) -> Result<Vec<Ask>, Problem> {
    let bytes: usize = prompts.iter().map(String::len).sum();
    let texts = prompts.len().saturating_mul(n);
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
    ];
    if let Some((_, broken)) = rules.into_iter().find(|(holds, _)| !holds) {
        return Err(invalid(broken));
    }
    let copy = |prompt: &String, copy: usize| Ask {
        prompt: prompt.clone(),
        sampling: Sampling {
            seed: sampling.seed.wrapping_add(copy as u64),
            ..sampling.clone()
        },
    };
    let of = |prompt| (0..n).map(move |number| copy(prompt, number));
    Ok(prompts.iter().flat_map(of).collect())
}

/// Whether the last chunk tells the tokens used. Errors: 422 when options of a stream come without one.
fn usage_wanted(stream: bool, options: Option<StreamOptions>) -> Result<bool, Problem> {
    match options {
        Some(_) if !stream => Err(invalid("stream_options need stream: true")),
        options => Ok(options.is_some_and(|options| options.include_usage == Some(true))),
    }
}

impl Job {
    /// Whether probabilities were asked for.
    pub(crate) fn probable(&self) -> bool {
        self.asks.iter().any(|ask| ask.sampling.logprobs.is_some())
    }
}

impl CompletionRequest {
    /// Checks every bound. Errors: 422 naming the field.
    pub(crate) fn job(self) -> Result<Job, Problem> {
        let (n, echo) = (self.n.unwrap_or(1), self.echo.unwrap_or(false));
        if self.logprobs.is_some_and(|count| count > 5) {
            return Err(invalid("logprobs must be 0 to 5"));
        }
        if echo && self.logprobs.is_some() {
            return Err(invalid(
                "echo with logprobs cannot be honoured: prompts are read without keeping probabilities",
            ));
        }
        if self.best_of.is_some_and(|best_of| best_of != n) {
            return Err(invalid(
                "best_of must be n: every text that is generated is returned",
            ));
        }
        let sampling = Sampling {
            max_tokens: self.max_tokens.unwrap_or(16),
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: seed_of(self.seed),
            stop: strings(self.stop)?,
            logprobs: self.logprobs,
        };
        let stream = self.stream.unwrap_or(false);
        Ok(Job {
            model: self.model,
            asks: asks(self.prompt.into_vec(), n, &sampling)?,
            echo,
            stream,
            include_usage: usage_wanted(stream, self.stream_options)?,
        })
    }
}

impl ChatRequest {
    /// Flattens the conversation and checks every bound. Errors: 422 naming the field.
    ///
    /// The runs served here are base models without a chat format of their own, so the conversation becomes lines
    /// of `role: content` and a last line `assistant:` for the model to continue.
    pub(crate) fn job(self) -> Result<Job, Problem> {
        if self.messages.is_empty() {
            return Err(invalid("messages must not be empty"));
        }
        let logprobs = match (self.logprobs, self.top_logprobs) {
            (Some(true), top) => Some(top.unwrap_or(0)),
            (_, None) => None,
            _ => return Err(invalid("top_logprobs needs logprobs: true")),
        };
        if logprobs.is_some_and(|count| count > 20) {
            return Err(invalid("top_logprobs must be 0 to 20"));
        }
        let mut prompt = String::new();
        for message in &self.messages {
            prompt.push_str(&format!("{}: {}\n", message.role, message.content.text()));
        }
        prompt.push_str("assistant:");
        let mut stop = strings(self.stop)?;
        stop.push("\nuser:".to_owned());
        let sampling = Sampling {
            max_tokens: self
                .max_completion_tokens
                .or(self.max_tokens)
                .unwrap_or(128),
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: seed_of(self.seed),
            stop,
            logprobs,
        };
        let stream = self.stream.unwrap_or(false);
        Ok(Job {
            model: self.model,
            asks: asks(vec![prompt], self.n.unwrap_or(1), &sampling)?,
            echo: false,
            stream,
            include_usage: usage_wanted(stream, self.stream_options)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::options::Checked;
    use super::*;
    use crate::extract::parse_json;

    fn job(body: &str) -> Result<Job, Problem> {
        parse_json::<Checked<CompletionRequest>>(body.as_bytes())?
            .0
            .job()
    }

    fn chat(body: &str) -> Result<Job, Problem> {
        parse_json::<Checked<ChatRequest>>(body.as_bytes())?.0.job()
    }

    #[test]
    fn one_prompt_or_several() {
        let one = job(r#"{"model":"m","prompt":"a","temperature":0,"seed":-1}"#).unwrap();
        assert_eq!((one.asks.len(), one.asks[0].sampling.max_tokens), (1, 16));
        assert_eq!(one.asks[0].sampling.seed, u64::MAX);
        let many =
            job(r#"{"model":"m","prompt":["a","b"],"n":3,"seed":5,"stop":"\n","logprobs":0}"#)
                .unwrap();
        let seeds: Vec<(&str, u64)> = many
            .asks
            .iter()
            .map(|ask| (ask.prompt.as_str(), ask.sampling.seed))
            .collect();
        let expected = [("a", 5), ("a", 6), ("a", 7), ("b", 5), ("b", 6), ("b", 7)];
        assert_eq!(seeds, expected);
    }

    #[test]
    fn bounds_are_named() {
        for (rest, code) in [
            (r#""prompt":[]"#, "invalid-field"),
            (r#""prompt":"a","n":100000000000"#, "invalid-field"),
            (r#""prompt":"a","max_tokens":0"#, "invalid-field"),
            (r#""prompt":"a","temperature":-1"#, "invalid-field"),
            (r#""prompt":"a","top_p":0"#, "invalid-field"),
            (r#""prompt":"a","stop":[""]"#, "invalid-field"),
            (r#""prompt":"a","logprobs":6"#, "invalid-field"),
            (r#""prompt":[1,2]"#, "invalid-field"),
            (r#""prompt":"a","echo":true,"logprobs":1"#, "invalid-field"),
            (r#""prompt":"a","n":2,"best_of":3"#, "invalid-field"),
            (r#""prompt":"a","stream_options":{}"#, "invalid-field"),
            (r#""prompt":"a","suffix":"x""#, "invalid-field"),
            (r#""prompt":"a","presence_penalty":0.5"#, "invalid-field"),
            (r#""prompt":"a","invented":true"#, "unknown-field"),
            (r#""prompt":"a","top_p":NaN"#, "malformed-json"),
        ] {
            let body = format!(r#"{{"model":"m",{rest}}}"#);
            assert_eq!(job(&body).unwrap_err().code, code, "{body}");
        }
    }

    #[test]
    fn a_conversation_becomes_lines() {
        let job = chat(
            r#"{"model":"m","messages":[{"role":"system","content":"s"},
                {"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"v"}]}]}"#,
        )
        .unwrap();
        assert_eq!(job.asks[0].prompt, "system: s\nuser: uv\nassistant:");
        assert_eq!(job.asks[0].sampling.stop, ["\nuser:"]);
    }

    #[test]
    fn what_changes_nothing_is_accepted_and_what_cannot_be_honoured_is_named() {
        let with = |rest: &str| {
            chat(&format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"u"}}],{rest}}}"#
            ))
        };
        let fine = r#""user":"u","frequency_penalty":0,"logit_bias":{},"tools":[],"tool_choice":"auto",
            "response_format":{"type":"text"},"store":false,"metadata":{"a":"b"},"modalities":["text"],"stop":null,
            "service_tier":"auto","parallel_tool_calls":true,"stream":true,"stream_options":{"include_usage":true}"#;
        assert!(with(fine).unwrap().include_usage);
        for rest in [
            r#""tools":[{"type":"function"}]"#,
            r#""response_format":{"type":"json_object"}"#,
            r#""logit_bias":{"50256":-100}"#,
            r#""store":true"#,
            r#""top_logprobs":2"#,
            r#""modalities":["text","audio"]"#,
            r#""messages":[{"role":"user","content":[{"type":"image_url"}]}]"#,
        ] {
            let problem = with(rest).unwrap_err();
            assert_eq!(
                (problem.status, problem.code.as_str()),
                (422, "invalid-field"),
                "{rest}"
            );
        }
        let problem = with(r#""logit_bias":{"1":-1}"#).unwrap_err();
        assert!(problem.detail.contains("logit_bias"), "{problem}");
        assert_eq!(with(r#""wings":2"#).unwrap_err().code, "unknown-field");
    }
}
