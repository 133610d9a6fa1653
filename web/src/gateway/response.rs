//! What clients get as one document.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use plumbline_service::host::{ChosenToken, TextEnd, Token};
use plumbline_service::views::ModelView;
use serde::Serialize;
use utoipa::ToSchema;

use super::texts::Text;

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

impl From<ModelView> for Model {
    fn from(model: ModelView) -> Self {
        Self {
            id: model.id,
            object: "model",
            created: model.created,
            owned_by: "plumbline",
            run_id: model.run_id,
            checkpoint: model.checkpoint,
        }
    }
}

impl ModelList {
    /// The list in OpenAI's shape.
    pub(crate) fn of(models: Vec<ModelView>) -> Self {
        Self {
            object: "list",
            data: models.into_iter().map(Model::from).collect(),
        }
    }
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// In the prompts; a prompt counts once for each of its texts.
    prompt_tokens: u64,
    /// Generated.
    completion_tokens: u64,
    /// Their sum.
    total_tokens: u64,
}

impl Usage {
    /// Counts one more text.
    pub(crate) fn add(&mut self, end: &TextEnd) {
        self.prompt_tokens += end.prompt_tokens;
        self.completion_tokens += end.completion_tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }

    fn of(texts: &[Text]) -> Self {
        let mut usage = Self::default();
        texts
            .iter()
            .filter_map(|text| text.end.as_ref())
            .for_each(|end| usage.add(end));
        usage
    }
}

/// Log-probabilities of one text's tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logprobs {
    /// The tokens' text.
    tokens: Vec<String>,
    /// Natural logarithm of each token's probability.
    token_logprobs: Vec<f32>,
    /// Where each token starts in the text, characters.
    text_offset: Vec<usize>,
    /// The likeliest tokens at each place, and the one that was drawn.
    top_logprobs: Vec<BTreeMap<String, f32>>,
}

impl Logprobs {
    /// Those of tokens that begin `offset` characters into the text; moves it on.
    pub(crate) fn of(tokens: &[ChosenToken], offset: &mut usize) -> Self {
        let start = |token: &ChosenToken| {
            let start = *offset;
            *offset += token.chosen.token.chars().count();
            start
        };
        let text_offset = tokens.iter().map(start).collect();
        let named = |token: &Token| (token.token.clone(), finite(token.logprob));
        let top = |token: &ChosenToken| {
            let both = token.top.iter().chain([&token.chosen]);
            both.map(named).collect()
        };
        Self {
            tokens: tokens.iter().map(|t| t.chosen.token.clone()).collect(),
            token_logprobs: tokens.iter().map(|t| finite(t.chosen.logprob)).collect(),
            text_offset,
            top_logprobs: tokens.iter().map(top).collect(),
        }
    }
}

/// −∞ is not JSON; the smallest finite number stands for it.
fn finite(logprob: f32) -> f32 {
    logprob.max(f32::MIN)
}

/// A token of a chat answer with its probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatToken {
    /// Its text.
    token: String,
    /// Natural logarithm of its probability.
    logprob: f32,
    /// Its bytes.
    bytes: Vec<u8>,
    /// The likeliest tokens at its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    top_logprobs: Option<Vec<ChatToken>>,
}

impl ChatToken {
    fn of(token: &Token, top: Option<&[Token]>) -> Self {
        let alone = |token: &Token| Self::of(token, None);
        Self {
            token: token.token.clone(),
            logprob: finite(token.logprob),
            bytes: token.bytes.clone(),
            top_logprobs: top.map(|top| top.iter().map(alone).collect()),
        }
    }
}

/// Log-probabilities of a chat answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs {
    /// Its tokens.
    content: Vec<ChatToken>,
    /// Always null: a base model refuses nothing by itself.
    refusal: Option<bool>,
}

impl ChatLogprobs {
    /// Those of these tokens.
    pub(crate) fn of(tokens: &[ChosenToken]) -> Self {
        let token = |token: &ChosenToken| ChatToken::of(&token.chosen, Some(&token.top));
        Self {
            content: tokens.iter().map(token).collect(),
            refusal: None,
        }
    }
}

/// One text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    /// The continuation, without the prompt unless `echo` was asked for.
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
    /// Names the very parameters that answered: a checkpoint, or a run after a round.
    system_fingerprint: String,
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
    /// Always null: a base model refuses nothing by itself.
    refusal: Option<bool>,
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
    /// When asked for.
    logprobs: Option<ChatLogprobs>,
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
    /// Names the very parameters that answered: a checkpoint, or a run after a round.
    system_fingerprint: String,
    /// The answers.
    choices: Vec<ChatChoice>,
    /// Tokens used.
    usage: Usage,
}

pub(crate) fn fresh_id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

fn finish_reason(end: Option<TextEnd>) -> String {
    end.map_or_else(|| "stop".to_owned(), |end| end.finish_reason)
}

impl Completion {
    /// The document for these texts; `probable` when probabilities were asked for.
    pub(crate) fn of(model: &str, parameters: String, texts: Vec<Text>, probable: bool) -> Self {
        let usage = Usage::of(&texts);
        let choices = texts.into_iter().enumerate().map(|(index, text)| Choice {
            logprobs: probable.then(|| Logprobs::of(&text.tokens, &mut 0)),
            text: text.text,
            index,
            finish_reason: finish_reason(text.end),
        });
        Self {
            id: fresh_id("cmpl"),
            object: "text_completion",
            created: unix_seconds(),
            model: model.to_owned(),
            system_fingerprint: parameters,
            choices: choices.collect(),
            usage,
        }
    }
}

impl ChatCompletion {
    /// The document for these answers; `probable` when probabilities were asked for.
    pub(crate) fn of(model: &str, parameters: String, texts: Vec<Text>, probable: bool) -> Self {
        let usage = Usage::of(&texts);
        let choices = texts
            .into_iter()
            .enumerate()
            .map(|(index, text)| ChatChoice {
                index,
                logprobs: probable.then(|| ChatLogprobs::of(&text.tokens)),
                message: AnswerMessage {
                    role: "assistant",
                    content: text.text,
                    refusal: None,
                },
                finish_reason: finish_reason(text.end),
            });
        Self {
            id: fresh_id("chatcmpl"),
            object: "chat.completion",
            created: unix_seconds(),
            model: model.to_owned(),
            system_fingerprint: parameters,
            choices: choices.collect(),
            usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_logprobs_stay_json() {
        let token = |token: &str, logprob| Token {
            token: token.into(),
            bytes: token.as_bytes().to_vec(),
            logprob,
        };
        let chosen = |one| ChosenToken {
            chosen: token(one, f32::NEG_INFINITY),
            top: vec![token("x", -0.5)],
        };
        let text = Text {
            text: "é= 1".into(),
            tokens: vec![chosen("é="), chosen(" 1")],
            end: None,
        };
        let body =
            serde_json::to_string(&Completion::of("m", "p".into(), vec![text.clone()], true));
        let body = body.unwrap_or_default();
        assert!(body.contains("\"text_offset\":[0,2]"), "{body}");
        assert!(
            body.contains("\"x\":-0.5") && !body.contains("inf"),
            "{body}"
        );
        let chat = serde_json::to_string(&ChatCompletion::of("m", "p".into(), vec![text], true));
        let chat = chat.unwrap_or_default();
        assert!(
            chat.contains("\"bytes\":[195,169,61]") && !chat.contains("inf"),
            "{chat}"
        );
    }
}
