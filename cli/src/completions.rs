//! Completions of the embedded training host in the service's words.

use std::sync::Arc;
use std::time::Instant;

use plumbline_agents::enforce::{Gateway, Place};
use plumbline_service::host::{
    Ask, ChosenToken, Generated, HostError, Sampling, TextEnd, TextEvent, TextSink, Token,
};
use plumbline_training_model::{
    self as model, Alternative, Completion, Event, FinishReason, Generator, TokenLogprob,
};
use plumbline_training_net::serving::{self, Serving};

/// Lets a request in under the decision in force, with all the tokens that it may take; `None` where no decision limits
/// the run's inference.
pub fn admit(gateway: &Gateway, run: &str, asks: &[Ask]) -> Result<Option<Place>, HostError> {
    let Ok(run) = run.parse() else {
        return Ok(None);
    };
    let tokens = asks.iter().map(|ask| ask.sampling.max_tokens as u64).sum();
    gateway
        .admit(run, tokens, Instant::now())
        .map_err(|refusal| HostError::Limited {
            decision_id: refusal.decision_id.to_string(),
            paused: refusal.stopped,
            retry_after_s: refusal.retry_after_s,
        })
}

/// Hands texts to the generator's running batch. The place is given up with the last of them.
pub fn generate(
    serving: &Serving,
    generator: &Arc<Generator>,
    asks: Vec<Ask>,
    sink: &TextSink,
    place: Option<Place>,
) -> Result<(), HostError> {
    let place = place.map(Arc::new);
    let seat = |(number, ask): (usize, Ask)| {
        let (sink, place) = (Arc::clone(sink), place.clone());
        serving::Ask {
            sampling: Arc::new(options(&ask.sampling)),
            prompt: ask.prompt,
            sink: Box::new(move |event| {
                if let (Some(place), Event::Finished(end)) = (&place, &event) {
                    place.used((end.prompt_tokens + end.completion_tokens) as u64);
                }
                sink(number, text_event(event))
            }),
        }
    };
    let asks = asks.into_iter().enumerate().map(seat).collect();
    serving
        .submit(generator, asks)
        .map_err(|_| HostError::Overloaded)
}

/// What a model writes after each prompt, for whoever waits for all of it.
pub fn completions(
    generator: &Generator,
    prompts: &[String],
    sampling: &Sampling,
) -> Result<Vec<Generated>, HostError> {
    let texts = generator
        .complete_batch(prompts, &options(sampling))
        .map_err(refused)?;
    Ok(texts.into_iter().map(generated).collect())
}

fn options(sampling: &Sampling) -> model::Sampling {
    model::Sampling {
        max_tokens: sampling.max_tokens,
        temperature: sampling.temperature as f32,
        top_p: sampling.top_p as f32,
        seed: sampling.seed,
        stop: sampling.stop.clone(),
        logprobs: sampling.logprobs,
    }
}

fn refused(error: model::ModelError) -> HostError {
    HostError::BadRequest(error.to_string())
}

fn text_event(event: Event) -> TextEvent {
    match event {
        Event::Piece { text, tokens } => TextEvent::Piece {
            text,
            tokens: tokens.into_iter().map(chosen).collect(),
        },
        Event::Finished(end) => TextEvent::Finished(TextEnd {
            finish_reason: finish_reason(end.reason),
            prompt_tokens: end.prompt_tokens as u64,
            completion_tokens: end.completion_tokens as u64,
        }),
        Event::Failed(error) => TextEvent::Failed(refused(error)),
    }
}

fn generated(completion: Completion) -> Generated {
    let tokens = |tokens: Vec<TokenLogprob>| tokens.into_iter().map(chosen).collect();
    Generated {
        text: completion.text,
        finish_reason: finish_reason(completion.finish_reason),
        prompt_tokens: completion.prompt_tokens as u64,
        completion_tokens: completion.completion_tokens as u64,
        logprobs: completion.logprobs.map(tokens),
    }
}

fn chosen(token: TokenLogprob) -> ChosenToken {
    ChosenToken {
        chosen: alternative(token.chosen),
        top: token.top.into_iter().map(alternative).collect(),
    }
}

fn alternative(one: Alternative) -> Token {
    Token {
        token: one.token,
        bytes: one.bytes,
        logprob: one.logprob,
    }
}

fn finish_reason(reason: FinishReason) -> String {
    match reason {
        FinishReason::Length => "length",
        FinishReason::Stop => "stop",
        FinishReason::Cancelled => "cancelled",
    }
    .to_owned()
}
