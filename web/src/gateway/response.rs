//! What clients get, as one document or as chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::stream;
use plumbline_service::host::Generated;
use plumbline_service::views::ModelView;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// `GET /v1/models`
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// `list`
    object: &'static str,
    /// The models.
    data: Vec<Model>,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// Name to ask for.
    id: String,
    /// `model`
    object: &'static str,
    /// Unix seconds.
    created: i64,
    /// `plumbline`
    owned_by: &'static str,
    /// Run that it belongs to.
    run_id: String,
    /// Checkpoint hash when the parameters are pinned.
    checkpoint: Option<String>,
}

impl ModelList {
    /// The list in OpenAI's shape.
    pub(crate) fn of(models: Vec<ModelView>) -> Self {
        let data = models.into_iter().map(|model| Model {
            id: model.id,
            object: "model",
            created: model.created,
            owned_by: "plumbline",
            run_id: model.run_id,
            checkpoint: model.checkpoint,
        });
        Self {
            object: "list",
            data: data.collect(),
        }
    }
}

/// Tokens of a request.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// In the prompts.
    prompt_tokens: u64,
    /// Generated.
    completion_tokens: u64,
    /// Their sum.
    total_tokens: u64,
}

impl Usage {
    fn of(texts: &[Generated]) -> Self {
        let prompt_tokens = texts.iter().map(|text| text.prompt_tokens).sum();
        let completion_tokens = texts.iter().map(|text| text.completion_tokens).sum();
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
        }
    }
}

/// Log-probabilities of one text's tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logprobs {
    /// The tokens' text.
    tokens: Vec<String>,
    /// Natural logarithm of each token's probability.
    token_logprobs: Vec<f32>,
    /// Where each token starts in the text, bytes.
    text_offset: Vec<usize>,
    /// Always null: only the chosen token is reported.
    top_logprobs: Option<bool>,
}

impl Logprobs {
    fn of(tokens: Vec<(String, f32)>) -> Self {
        let mut offset = 0;
        let text_offset = tokens
            .iter()
            .map(|(token, _)| {
                let start = offset;
                offset += token.len();
                start
            })
            .collect();
        // −∞ is not JSON; the smallest finite number stands for it.
        let token_logprobs = tokens
            .iter()
            .map(|(_, logprob)| logprob.max(f32::MIN))
            .collect();
        Self {
            tokens: tokens.into_iter().map(|(token, _)| token).collect(),
            token_logprobs,
            text_offset,
            top_logprobs: None,
        }
    }
}

/// One text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    /// The continuation, without the prompt.
    text: String,
    /// Position: prompt by prompt, copy by copy.
    index: usize,
    /// `stop` or `length`.
    finish_reason: String,
    /// When asked for.
    logprobs: Option<Logprobs>,
}

/// `POST /v1/completions`
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Completion {
    /// Id of the answer.
    id: String,
    /// `text_completion`
    object: &'static str,
    /// Unix seconds.
    created: u64,
    /// Model that was asked.
    model: String,
    /// The texts.
    choices: Vec<Choice>,
    /// Tokens used.
    usage: Usage,
}

/// The message of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerMessage {
    /// `assistant`
    role: &'static str,
    /// The answer.
    content: String,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    /// Position.
    index: usize,
    /// The answer.
    message: AnswerMessage,
    /// `stop` or `length`.
    finish_reason: String,
}

/// `POST /v1/chat/completions`
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    /// Id of the answer.
    id: String,
    /// `chat.completion`
    object: &'static str,
    /// Unix seconds.
    created: u64,
    /// Model that was asked.
    model: String,
    /// The answers.
    choices: Vec<ChatChoice>,
    /// Tokens used.
    usage: Usage,
}

fn fresh_id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

impl Completion {
    /// The document for these texts.
    pub(crate) fn of(model: &str, texts: Vec<Generated>) -> Self {
        let usage = Usage::of(&texts);
        let choices = texts.into_iter().enumerate().map(|(index, text)| Choice {
            text: text.text,
            index,
            finish_reason: text.finish_reason,
            logprobs: text.logprobs.map(Logprobs::of),
        });
        Self {
            id: fresh_id("cmpl"),
            object: "text_completion",
            created: unix_seconds(),
            model: model.to_owned(),
            choices: choices.collect(),
            usage,
        }
    }

    /// The same as chunks, word by word.
    pub(crate) fn chunks(self) -> Vec<Value> {
        let envelope = |choices: Value| json!({"id": self.id, "object": self.object, "created": self.created, "model": self.model, "choices": choices});
        let mut chunks = Vec::new();
        for choice in &self.choices {
            for piece in words(&choice.text) {
                let part = json!([{"text": piece, "index": choice.index, "finish_reason": null, "logprobs": null}]);
                chunks.push(envelope(part));
            }
            let last = json!([{"text": "", "index": choice.index, "finish_reason": choice.finish_reason, "logprobs": choice.logprobs}]);
            chunks.push(envelope(last));
        }
        chunks
    }
}

impl ChatCompletion {
    /// The document for these answers.
    pub(crate) fn of(model: &str, texts: Vec<Generated>) -> Self {
        let usage = Usage::of(&texts);
        let choices = texts
            .into_iter()
            .enumerate()
            .map(|(index, text)| ChatChoice {
                index,
                message: AnswerMessage {
                    role: "assistant",
                    content: text.text,
                },
                finish_reason: text.finish_reason,
            });
        Self {
            id: fresh_id("chatcmpl"),
            object: "chat.completion",
            created: unix_seconds(),
            model: model.to_owned(),
            choices: choices.collect(),
            usage,
        }
    }

    /// The same as chunks, word by word.
    pub(crate) fn chunks(self) -> Vec<Value> {
        let envelope = |index: usize, delta: Value, finish: Value| {
            json!({"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
                "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})
        };
        let mut chunks = Vec::new();
        for choice in &self.choices {
            chunks.push(envelope(
                choice.index,
                json!({"role": "assistant", "content": ""}),
                Value::Null,
            ));
            for piece in words(&choice.message.content) {
                chunks.push(envelope(
                    choice.index,
                    json!({"content": piece}),
                    Value::Null,
                ));
            }
            chunks.push(envelope(
                choice.index,
                json!({}),
                json!(choice.finish_reason),
            ));
        }
        chunks
    }
}

/// Pieces that concatenate to the text, split after white space.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

/// Server-sent data chunks, ending in `[DONE]`.
pub(crate) fn stream(chunks: Vec<Value>) -> HttpResponse {
    let frames = chunks.into_iter().map(|chunk| format!("data: {chunk}\n\n"));
    let frames = frames.chain(std::iter::once("data: [DONE]\n\n".to_owned()));
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .streaming(stream::iter(
            frames.map(|frame| Ok::<_, actix_web::Error>(Bytes::from(frame))),
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Generated {
        Generated {
            text: "let x =\n 1;".into(),
            finish_reason: "length".into(),
            prompt_tokens: 3,
            completion_tokens: 5,
            logprobs: Some(vec![("let".into(), -0.5), (" x".into(), f32::NEG_INFINITY)]),
        }
    }

    #[test]
    fn chunks_concatenate_to_the_text() {
        let chunks = Completion::of("m", vec![text(), text()]).chunks();
        let joined: String = chunks
            .iter()
            .filter(|chunk| chunk["choices"][0]["index"] == 0)
            .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
            .collect();
        assert_eq!(joined, text().text);
        assert_eq!(
            chunks
                .last()
                .map(|chunk| chunk["choices"][0]["finish_reason"].clone()),
            Some(json!("length"))
        );
    }

    #[test]
    fn infinite_logprobs_stay_json() {
        let body = serde_json::to_string(&Completion::of("m", vec![text()])).unwrap_or_default();
        assert!(body.contains("\"text_offset\":[0,3]"));
        assert!(
            !body.contains("inf") && !body.contains("token_logprobs\":[-0.5,null]"),
            "{body}"
        );
    }
}
