//! The completion gateway's use case: who may ask what of which run.

mod decisions;

use plumbline_access::Action;

use crate::accounts::account_of;
use crate::context::Context;
use crate::host::{Ask, HostError, Sampling, TextSink};
use crate::metering::counted;
use crate::{Result, Service, ServiceError};

/// Most texts of one request.
pub(crate) const MAX_TEXTS: usize = 256;
/// Most tokens that one text may ask for.
pub(crate) const MAX_TOKENS: usize = 512;
/// Most stop strings: sixteen of a client and one that the chat template adds.
pub(crate) const MAX_STOPS: usize = 17;
/// Longest prompt, in bytes.
pub(crate) const MAX_PROMPT_BYTES: usize = 32 * 1024;
/// Most alternatives reported at one place.
pub(crate) const MAX_ALTERNATIVES: u8 = 20;

impl Service {
    /// Has texts generated; `sink` hears of each as it comes, perhaps before
    /// this returns. Returns what names the very parameters that answer: the
    /// same name, prompt and sampling give the same text.
    ///
    /// # Errors
    /// `Limited` when the run's allocation forbids serving, `Overloaded`,
    /// `insufficient-funds`, `not-found`, `model-not-ready`, `bad-sampling`, `too-many-prompts`,
    /// `prompt-too-long`.
    pub fn generate(
        &self,
        ctx: &Context,
        model: &str,
        asks: Vec<Ask>,
        sink: &TextSink,
    ) -> Result<String> {
        let account_id = account_of(&ctx.actor)?;
        self.allow(&ctx.actor, Action::AskModel)?;
        check_request(&asks)?;
        let run_id = self
            .host
            .run_of(model)
            .ok_or_else(|| unknown_model(model))?;
        self.check_served(&run_id)?;
        let meter = self.meter(&account_id, &run_id, &asks)?;
        self.counters.completions.add(asks.len() as u64);
        Ok(self.host.generate(model, asks, &counted(sink, meter))?)
    }

    /// Refuses when the newest decision about the run pauses it.
    fn check_served(&self, run_id: &str) -> Result<()> {
        let Some(allocation) = self.allocation_of(run_id)? else {
            return Ok(());
        };
        match allocation.action.as_str() {
            "allow" | "throttle" => Ok(()),
            _ => Err(ServiceError::Limited {
                decision_id: allocation.decision_id,
                paused: true,
                retry_after_s: 30,
            }),
        }
    }
}

fn check_request(asks: &[Ask]) -> Result<()> {
    if asks.is_empty() || asks.len() > MAX_TEXTS {
        return Err(ServiceError::invalid(
            "too-many-prompts",
            format!("ask for 1 to {MAX_TEXTS} texts"),
        ));
    }
    if asks.iter().any(|ask| ask.prompt.len() > MAX_PROMPT_BYTES) {
        return Err(ServiceError::invalid(
            "prompt-too-long",
            format!("a prompt has at most {MAX_PROMPT_BYTES} bytes"),
        ));
    }
    if asks.iter().all(|ask| is_fine(&ask.sampling)) {
        return Ok(());
    }
    Err(ServiceError::invalid(
        "bad-sampling",
        format!(
            "max_tokens is 1 to {MAX_TOKENS}, temperature 0 to 2, top_p in (0, 1], stop at most {MAX_STOPS} strings, \
             alternatives at most {MAX_ALTERNATIVES}"
        ),
    ))
}

fn is_fine(sampling: &Sampling) -> bool {
    (1..=MAX_TOKENS).contains(&sampling.max_tokens)
        && (0.0..=2.0).contains(&sampling.temperature)
        && sampling.top_p > 0.0
        && sampling.top_p <= 1.0
        && sampling.stop.len() <= MAX_STOPS
        && sampling
            .logprobs
            .is_none_or(|count| count <= MAX_ALTERNATIVES)
}

fn unknown_model(model: &str) -> ServiceError {
    ServiceError::not_found("model", model)
}

impl From<HostError> for ServiceError {
    /// What a host's failure means to a caller.
    fn from(error: HostError) -> Self {
        match error {
            HostError::UnknownModel(name) => unknown_model(&name),
            HostError::NotReady(name) => Self::refused(
                "model-not-ready",
                format!("{name} has no checkpoint yet; try again soon"),
            ),
            HostError::BadRequest(detail) => Self::invalid("bad-completion", detail),
            HostError::Limited {
                decision_id,
                paused,
                retry_after_s,
            } => Self::Limited {
                decision_id,
                paused,
                retry_after_s,
            },
            HostError::Overloaded => Self::Overloaded { retry_after_s: 2 },
            HostError::Failed(detail) => Self::internal(detail),
            other => crate::hosting::refusal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ask(spoil: fn(&mut Ask)) -> Vec<Ask> {
        let mut ask = Ask {
            prompt: "fn main".into(),
            sampling: Sampling {
                max_tokens: 8,
                temperature: 0.0,
                top_p: 1.0,
                seed: 0,
                stop: vec![],
                logprobs: None,
            },
        };
        spoil(&mut ask);
        vec![ask]
    }

    #[test]
    fn completion_requests_are_bounded() {
        assert!(check_request(&ask(|_| {})).is_ok());
        let code = |asks: &[Ask]| check_request(asks).unwrap_err().code();
        assert_eq!(code(&[]), "too-many-prompts");
        let long = ask(|ask| ask.prompt = "x".repeat(MAX_PROMPT_BYTES + 1));
        assert_eq!(code(&long), "prompt-too-long");
        let bad: [fn(&mut Ask); 5] = [
            |ask| ask.sampling.max_tokens = 0,
            |ask| ask.sampling.temperature = f64::NAN,
            |ask| ask.sampling.temperature = -1.0,
            |ask| ask.sampling.top_p = 0.0,
            |ask| ask.sampling.logprobs = Some(21),
        ];
        for spoil in bad {
            assert_eq!(code(&ask(spoil)), "bad-sampling");
        }
    }
}
