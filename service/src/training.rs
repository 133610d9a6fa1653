//! Live training figures and the completion gateway's use case.

use plumbline_access::Action;

use crate::accounts::account_of;
use crate::context::Context;
use crate::host::{Generated, HostError, Sampling};
use crate::views::{BanView, ContributionView, ModelView, NodeView, RoundView, TrainingView};
use crate::{Result, Service, ServiceError};

/// Most prompts in one completion request.
pub(crate) const MAX_PROMPTS: usize = 256;
/// Most tokens that one prompt may ask for.
pub(crate) const MAX_TOKENS: usize = 512;
/// Most stop strings: sixteen of a client and one that the chat template adds.
pub(crate) const MAX_STOPS: usize = 17;
/// Longest prompt, in bytes.
pub(crate) const MAX_PROMPT_BYTES: usize = 32 * 1024;

impl Service {
    /// Progress of a run that is hosted here.
    pub fn training(&self, ctx: &Context, run_id: &str) -> Result<TrainingView> {
        self.allow(&ctx.actor, Action::ReadTraining)?;
        let run = self.run_row(run_id)?;
        self.host
            .training(&run.id)
            .ok_or_else(|| ServiceError::not_found("training run", run_id))
    }

    /// Completed rounds after `after`, oldest first.
    pub fn rounds(
        &self,
        ctx: &Context,
        run_id: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RoundView>> {
        self.allow(&ctx.actor, Action::ListRounds)?;
        let run = self.run_row(run_id)?;
        Ok(self.host.rounds(&run.id, after, limit.clamp(1, 2000)))
    }

    /// Members of a training run.
    pub fn nodes(&self, ctx: &Context, run_id: &str) -> Result<Vec<NodeView>> {
        self.allow(&ctx.actor, Action::ListNodes)?;
        Ok(self.host.nodes(&self.run_row(run_id)?.id))
    }

    /// Verified work per node.
    pub fn contributions(&self, ctx: &Context, run_id: &str) -> Result<Vec<ContributionView>> {
        self.allow(&ctx.actor, Action::ListContributions)?;
        Ok(self.host.contributions(&self.run_row(run_id)?.id))
    }

    /// Nodes removed for good, with the evidence, oldest first.
    pub fn bans(&self, ctx: &Context, run_id: &str) -> Result<Vec<BanView>> {
        self.allow(&ctx.actor, Action::ListBans)?;
        Ok(self.host.bans(&self.run_row(run_id)?.id))
    }

    /// What the gateway can serve.
    pub fn models(&self, ctx: &Context) -> Result<Vec<ModelView>> {
        self.allow(&ctx.actor, Action::ListModels)?;
        Ok(self.host.models())
    }

    /// Completes every prompt; blocks while the model generates.
    ///
    /// # Errors
    /// `Limited` when the run's allocation forbids serving, `unknown-model`,
    /// `bad-sampling`, `too-many-prompts`.
    pub fn complete(
        &self,
        ctx: &Context,
        model: &str,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Generated>> {
        account_of(&ctx.actor)?;
        self.allow(&ctx.actor, Action::AskModel)?;
        check_request(prompts, sampling)?;
        let run_id = self
            .host
            .run_of(model)
            .ok_or_else(|| unknown_model(model))?;
        self.check_served(&run_id)?;
        self.counters.completions.add(prompts.len() as u64);
        self.host
            .complete(model, prompts, sampling)
            .map_err(host_error)
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

fn check_request(prompts: &[String], sampling: &Sampling) -> Result<()> {
    if prompts.is_empty() || prompts.len() > MAX_PROMPTS {
        return Err(ServiceError::invalid(
            "too-many-prompts",
            format!("send 1 to {MAX_PROMPTS} prompts"),
        ));
    }
    if prompts.iter().any(|prompt| prompt.len() > MAX_PROMPT_BYTES) {
        return Err(ServiceError::invalid(
            "prompt-too-long",
            format!("a prompt has at most {MAX_PROMPT_BYTES} bytes"),
        ));
    }
    let fine = (1..=MAX_TOKENS).contains(&sampling.max_tokens)
        && (0.0..=2.0).contains(&sampling.temperature)
        && sampling.top_p > 0.0
        && sampling.top_p <= 1.0
        && sampling.stop.len() <= MAX_STOPS;
    if fine {
        return Ok(());
    }
    Err(ServiceError::invalid(
        "bad-sampling",
        format!(
            "max_tokens is 1 to {MAX_TOKENS}, temperature 0 to 2, top_p in (0, 1], stop at most {MAX_STOPS} strings"
        ),
    ))
}

fn unknown_model(model: &str) -> ServiceError {
    ServiceError::not_found("model", model)
}

/// What a host's failure means to a caller.
pub(crate) fn host_error(error: HostError) -> ServiceError {
    match error {
        HostError::UnknownModel(name) => unknown_model(&name),
        HostError::NotReady(name) => ServiceError::refused(
            "model-not-ready",
            format!("{name} has no checkpoint yet; try again soon"),
        ),
        HostError::BadRequest(detail) => ServiceError::invalid("bad-completion", detail),
        HostError::Failed(detail) => ServiceError::internal(detail),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sampling() -> Sampling {
        Sampling {
            max_tokens: 8,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            stop: vec![],
            logprobs: None,
        }
    }

    #[test]
    fn completion_requests_are_bounded() {
        let one = [String::from("fn main")];
        assert!(check_request(&one, &sampling()).is_ok());
        assert_eq!(
            check_request(&[], &sampling()).unwrap_err().code(),
            "too-many-prompts"
        );
        let long = ["x".repeat(MAX_PROMPT_BYTES + 1)];
        assert_eq!(
            check_request(&long, &sampling()).unwrap_err().code(),
            "prompt-too-long"
        );
        for bad in [
            Sampling {
                max_tokens: 0,
                ..sampling()
            },
            Sampling {
                temperature: f64::NAN,
                ..sampling()
            },
            Sampling {
                temperature: -1.0,
                ..sampling()
            },
            Sampling {
                top_p: 0.0,
                ..sampling()
            },
        ] {
            assert_eq!(
                check_request(&one, &bad).unwrap_err().code(),
                "bad-sampling"
            );
        }
    }
}
