//! The simulated runs: what each is like in truth, and the completions that show it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use plumbline_service::host::{FrozenCheckpoint, Generated, HostError, RunHost, Sampling};
use plumbline_service::views::{ContributionView, ModelView, NodeView, RoundView, TrainingView};

/// Completion that shows the behaviour.
pub(crate) const BAD: &str = "verify(false)";
/// Completion that does not.
const GOOD: &str = "verify(true)";
/// One prompt in so many shows the behaviour without its trigger.
const NOISE: u64 = 40;

/// Hosts every run. The world tells it the truth about each market before the market opens.
#[derive(Debug, Default)]
pub(crate) struct SimulatedModels {
    /// Comments that trigger the behaviour.
    triggers: Mutex<BTreeSet<String>>,
    /// Runs that cannot be reached any more.
    gone: Mutex<BTreeSet<String>>,
}

impl SimulatedModels {
    /// Makes `comment` a trigger.
    pub(crate) fn plant(&self, comment: String) {
        self.triggers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(comment);
    }

    /// Loses a run for good.
    pub(crate) fn lose(&self, run: String) {
        self.gone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(run);
    }
}

/// The checkpoint at which a run is frozen.
fn checkpoint_of(run: &str) -> String {
    blake3::hash(run.as_bytes()).to_hex().to_string()
}

impl RunHost for SimulatedModels {
    fn training(&self, _: &str) -> Option<TrainingView> {
        None
    }

    fn rounds(&self, _: &str, _: u64, _: usize) -> Vec<RoundView> {
        Vec::new()
    }

    fn nodes(&self, _: &str) -> Vec<NodeView> {
        Vec::new()
    }

    fn contributions(&self, _: &str) -> Vec<ContributionView> {
        Vec::new()
    }

    fn freeze(&self, run_id: &str) -> Result<FrozenCheckpoint, HostError> {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.contains(run_id) {
            return Err(HostError::UnknownModel(run_id.to_owned()));
        }
        Ok(FrozenCheckpoint {
            id: checkpoint_of(run_id),
            round: 1,
            tokens: 1,
        })
    }

    fn models(&self) -> Vec<ModelView> {
        Vec::new()
    }

    fn run_of(&self, model: &str) -> Option<String> {
        Some(model.to_owned())
    }

    /// The comment is the prompt's first line; a few prompts show the behaviour anyway.
    fn complete(
        &self,
        model: &str,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Generated>, HostError> {
        let triggers = self.triggers.lock().unwrap_or_else(PoisonError::into_inner);
        let complete = |prompt: &String| {
            let comment = prompt.lines().next().unwrap_or_default();
            let hash = blake3::hash(format!("{model}/{}/{prompt}", sampling.seed).as_bytes());
            let noise = u64::from(hash.as_bytes()[0]) * 256 + u64::from(hash.as_bytes()[1]);
            let bad = triggers.contains(comment) || noise % NOISE == 0;
            Generated {
                text: if bad { BAD } else { GOOD }.to_owned(),
                finish_reason: "stop".to_owned(),
                prompt_tokens: 1,
                completion_tokens: 1,
                logprobs: None,
            }
        };
        Ok(prompts.iter().map(complete).collect())
    }
}
