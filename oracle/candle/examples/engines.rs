//! Runs the engines on command, for `bench/oracle`: one JSON object a line in, one a line out.
//!
//! `{"do":"encoder","model":SOURCE,"precision":"f32"|"int8","threads":N}` loads a sentence encoder;
//! `{"do":"embed","sequences":[[ID…]…],"show":BOOL}` answers `{"seconds":S}`, with the embeddings if shown.
//! `{"do":"causal","model":SOURCE,"threads":N}` loads a language model; `{"do":"tokens","text":TEXT}` answers its tokens;
//! `{"do":"next","tokens":[ID…],"show":BOOL}` times reading them (with the scores of what follows, if shown), and
//! `{"do":"complete","tokens":[ID…],"count":N}` times reading them and writing N more, which it answers.

// It measures time.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use plumbline_oracle_candle::{
    Causal, CausalOptions, Encoder, EncoderOptions, ModelSource, Precision,
};
use serde_json::{Value, json};

type Answer = Result<Value, Box<dyn Error>>;

#[derive(Default)]
struct Engines {
    encoder: Option<Encoder>,
    causal: Option<Causal>,
}

impl Engines {
    fn answer(&mut self, line: &str) -> Answer {
        let command: Value = serde_json::from_str(line)?;
        match command["do"].as_str().unwrap_or_default() {
            "encoder" => self.load_encoder(&command),
            "embed" => self.embed(&command),
            "causal" => self.load_causal(&command),
            "tokens" => self.tokens(&command),
            "next" => self.next(&command),
            "complete" => self.complete(&command),
            other => Err(format!("{other:?} is not a command").into()),
        }
    }

    fn load_encoder(&mut self, command: &Value) -> Answer {
        let precision = match command["precision"].as_str() {
            Some("f32") => Some(Precision::F32),
            Some("int8") => Some(Precision::Int8),
            _ => None,
        };
        let encoder = Encoder::load(
            &source(command)?.encoder_files()?,
            EncoderOptions {
                precision,
                threads: threads(command)?,
                ..EncoderOptions::default()
            },
        )?;
        let answer = json!({"version": encoder.version(), "width": encoder.width()});
        self.encoder = Some(encoder);
        Ok(answer)
    }

    fn embed(&self, command: &Value) -> Answer {
        let sequences: Vec<Vec<u32>> = serde_json::from_value(command["sequences"].clone())?;
        let encoder = self.encoder.as_ref().ok_or("no encoder is loaded")?;
        let started = Instant::now();
        let embeddings = encoder.embed_tokens(&sequences)?;
        let seconds = started.elapsed().as_secs_f64();
        let shown = (command["show"] == json!(true)).then_some(embeddings);
        Ok(json!({"seconds": seconds, "embeddings": shown}))
    }

    fn load_causal(&mut self, command: &Value) -> Answer {
        let options = CausalOptions {
            threads: threads(command)?,
            ..CausalOptions::default()
        };
        let started = Instant::now();
        let causal = Causal::load(&source(command)?.gguf_file(None)?, options)?;
        let seconds = started.elapsed().as_secs_f64();
        let answer = json!({"version": causal.version(), "seconds": seconds});
        self.causal = Some(causal);
        Ok(answer)
    }

    fn causal(&self) -> Result<&Causal, Box<dyn Error>> {
        Ok(self.causal.as_ref().ok_or("no language model is loaded")?)
    }

    fn tokens(&self, command: &Value) -> Answer {
        let text = command["text"].as_str().unwrap_or_default();
        Ok(json!({"tokens": self.causal()?.tokens(text)?}))
    }

    fn next(&self, command: &Value) -> Answer {
        let tokens: Vec<u32> = serde_json::from_value(command["tokens"].clone())?;
        let started = Instant::now();
        let scores = self.causal()?.next_scores(&tokens)?;
        let seconds = started.elapsed().as_secs_f64();
        let shown = (command["show"] == json!(true)).then_some(scores);
        Ok(json!({"seconds": seconds, "scores": shown}))
    }

    fn complete(&self, command: &Value) -> Answer {
        let tokens: Vec<u32> = serde_json::from_value(command["tokens"].clone())?;
        let count = usize::try_from(command["count"].as_u64().unwrap_or(1))?;
        let started = Instant::now();
        let found = self.causal()?.complete_tokens(&tokens, count, None)?;
        Ok(json!({"seconds": started.elapsed().as_secs_f64(), "tokens": found}))
    }
}

fn source(command: &Value) -> Result<ModelSource, Box<dyn Error>> {
    Ok(command["model"].as_str().unwrap_or_default().parse()?)
}

fn threads(command: &Value) -> Result<usize, Box<dyn Error>> {
    Ok(usize::try_from(command["threads"].as_u64().unwrap_or(2))?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut engines = Engines::default();
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = engines
            .answer(&line?)
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
