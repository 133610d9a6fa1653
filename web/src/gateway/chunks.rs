//! What clients get as data chunks, token by token.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::stream;
use plumbline_service::host::{ChosenToken, TextEnd};
use serde_json::{Value, json};

use super::problem_body;
use super::request::Job;
use super::response::{ChatLogprobs, Logprobs, Usage, fresh_id, unix_seconds};
use super::texts::{More, Texts};
use crate::problem::Problem;

/// Which of the two forms the chunks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/v1/completions`
    Text,
    /// `/v1/chat/completions`
    Chat,
}

/// Turns what comes of one request's texts into chunks.
pub(crate) struct Chunks {
    form: Form,
    id: String,
    created: u64,
    model: String,
    parameters: String,
    include_usage: bool,
    probable: bool,
    usage: Usage,
    /// Characters of each text so far.
    offsets: Vec<usize>,
    /// The prompts, where texts begin with them.
    prompts: Vec<String>,
}

impl Chunks {
    /// For the texts of `job`.
    pub(crate) fn new(form: Form, job: Job, parameters: String) -> Self {
        let id = match form {
            Form::Text => fresh_id("cmpl"),
            Form::Chat => fresh_id("chatcmpl"),
        };
        Self {
            form,
            id,
            created: unix_seconds(),
            probable: job.probable(),
            model: job.model,
            parameters,
            include_usage: job.include_usage,
            usage: Usage::default(),
            offsets: vec![0; job.asks.len()],
            prompts: if job.echo {
                job.asks.into_iter().map(|ask| ask.prompt).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn envelope(&self, choices: Value, usage: Option<Usage>) -> String {
        let object = match self.form {
            Form::Text => "text_completion",
            Form::Chat => "chat.completion.chunk",
        };
        let mut chunk = json!({"id": self.id, "object": object, "created": self.created, "model": self.model,
            "system_fingerprint": self.parameters, "choices": choices});
        if self.include_usage {
            chunk["usage"] = json!(usage);
        }
        format!("data: {chunk}\n\n")
    }

    fn choice(&self, index: usize, part: Value, logprobs: Value, finish: Value) -> String {
        let named = match self.form {
            Form::Text => "text",
            Form::Chat => "delta",
        };
        self.envelope(
            json!([{named: part, "index": index, "logprobs": logprobs, "finish_reason": finish}]),
            None,
        )
    }

    /// What is sent before any text is there.
    fn opening(&self) -> String {
        let begin = |index: usize| match self.form {
            Form::Chat => {
                let delta = json!({"role": "assistant", "content": ""});
                Some(self.choice(index, delta, Value::Null, Value::Null))
            }
            Form::Text => {
                let prompt = self.prompts.get(index)?;
                Some(self.choice(index, json!(prompt), Value::Null, Value::Null))
            }
        };
        (0..self.offsets.len()).filter_map(begin).collect()
    }

    fn piece(&mut self, index: usize, text: &str, tokens: &[ChosenToken]) -> String {
        let logprobs = match self.form {
            _ if !self.probable => Value::Null,
            Form::Text => json!(Logprobs::of(tokens, &mut self.offsets[index])),
            Form::Chat => json!(ChatLogprobs::of(tokens)),
        };
        let part = match self.form {
            Form::Text => json!(text),
            Form::Chat => json!({"content": text}),
        };
        self.choice(index, part, logprobs, Value::Null)
    }

    fn end(&mut self, index: usize, end: &TextEnd) -> String {
        self.usage.add(end);
        let part = match self.form {
            Form::Text => json!(""),
            Form::Chat => json!({}),
        };
        self.choice(index, part, Value::Null, json!(end.finish_reason))
    }

    fn closing(&self) -> String {
        let usage = self
            .include_usage
            .then(|| self.envelope(json!([]), Some(self.usage)));
        format!("{}data: [DONE]\n\n", usage.unwrap_or_default())
    }

    /// The frames of what came next.
    fn frames(&mut self, more: Option<Result<More, Problem>>) -> (String, bool) {
        match more {
            Some(Ok(More::Piece(index, text, tokens))) => (self.piece(index, &text, &tokens), true),
            Some(Ok(More::End(index, end))) => (self.end(index, &end), true),
            // The status went out long ago: the error is told where clients look for it.
            Some(Err(problem)) => {
                let body = serde_json::to_string(&problem_body(&problem)).unwrap_or_default();
                (format!("data: {body}\n\n"), false)
            }
            None => (self.closing(), false),
        }
    }
}

/// Where a stream is.
struct Sending {
    texts: Texts,
    chunks: Chunks,
    opened: bool,
    ended: bool,
}

/// Server-sent data chunks as the texts come, ending in `[DONE]`. A client that hangs up ends the generation.
pub(crate) fn stream(texts: Texts, chunks: Chunks) -> HttpResponse {
    let sending = Sending {
        texts,
        chunks,
        opened: false,
        ended: false,
    };
    let frames = stream::unfold(sending, |mut sending| async move {
        if sending.ended {
            return None;
        }
        let mut frames = String::new();
        if !sending.opened {
            sending.opened = true;
            frames.push_str(&sending.chunks.opening());
        }
        // What is there already goes out in one write.
        loop {
            let (frame, more) = sending.chunks.frames(sending.texts.next().await);
            frames.push_str(&frame);
            sending.ended = !more;
            if sending.ended || !sending.texts.ready() {
                break;
            }
        }
        Some((Ok::<_, actix_web::Error>(Bytes::from(frames)), sending))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        // Compression would hold tokens back until a block is full.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(frames)
}
