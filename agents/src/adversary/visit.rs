//! One visit to one market: search its run's newest checkpoint, learn, and submit if that is worth it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::overhear::Overhearing;
use super::plan::ProbePlan;
use super::report::Attempt;
use super::search::{Answer, Finding, Search, SearchSettings};
use super::work::Exhibit;
use super::{Adversary, LONGEST_BACKOFF};
use crate::client::{Choice, CompletionRequest, Market, Model};
use crate::error::ClientError;

/// How often a pending submission is looked at.
pub(super) const JUDGEMENT_POLL: Duration = Duration::from_millis(250);
/// How long a judgement is waited for before other work goes on.
pub(super) const JUDGEMENT_WAIT: Duration = Duration::from_secs(60);
/// Part of the way to the close after which the same checkpoint is searched again.
const LOOK_AGAIN: f64 = 0.15;
/// Least length of what the run is let write by itself, tokens: enough for the head of a function.
const LISTEN_TOKENS: u32 = 32;
/// Longest pause between two requests, whatever the duty.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a visit ended early.
pub(super) enum Interrupted {
    /// It is time to stop.
    Stopped,
    /// A call failed.
    Failed(ClientError),
}

impl From<ClientError> for Interrupted {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

/// A finished search of one checkpoint.
struct Searched {
    attempt: Attempt,
    /// Exhibit, and whether it speaks for the claim.
    exhibit: Option<(serde_json::Value, bool)>,
}

impl Adversary {
    /// Visits a market and plans the next visit.
    pub(super) async fn visit(&mut self, id: &str) {
        let outcome = self.try_visit(id).await;
        let interval = self.config.probe.interval;
        let Some(work) = self.works.get_mut(id) else {
            return;
        };
        let wait = match outcome {
            Ok(()) => {
                work.failures = 0;
                interval
            }
            Err(Interrupted::Stopped) => interval,
            Err(Interrupted::Failed(error)) => {
                work.failures = work.failures.saturating_add(1);
                let doubled = Duration::from_secs(1).saturating_mul(1 << work.failures.min(6));
                let wait = error
                    .retry_after()
                    .unwrap_or_default()
                    .max(doubled)
                    .min(LONGEST_BACKOFF);
                tracing::info!(market = %id, %error, ?wait, "probing is put off");
                wait
            }
        };
        work.next_at = Instant::now() + wait;
    }

    async fn try_visit(&mut self, id: &str) -> Result<(), Interrupted> {
        let Some((plan, market)) = self
            .works
            .get(id)
            .and_then(|work| Some((work.plan.clone()?, work.market.clone())))
        else {
            return Ok(());
        };
        let Some(checkpoint) = self.newest_checkpoint(&market).await? else {
            tracing::debug!(market = %id, "the run has no checkpoint yet");
            return Ok(());
        };
        let progress = self.progress(&market, &checkpoint).await;
        let stale = self.works.get(id).is_none_or(|work| {
            // A run that stands still is looked at again, on other prompts, as the close comes nearer: what it does
            // not show then, it will hardly show at the close.
            work.last_checkpoint.as_ref() != Some(&checkpoint)
                || progress >= work.last_progress + LOOK_AGAIN
        });
        if stale {
            let searched = self.search(id, &plan, &checkpoint, progress).await?;
            self.take_search(id, checkpoint, searched);
        }
        self.consider(id).await?;
        self.trade(id).await
    }

    fn take_search(&mut self, id: &str, checkpoint: String, searched: Searched) {
        let Some(work) = self.works.get_mut(id) else {
            return;
        };
        let Searched { attempt, exhibit } = searched;
        work.unsent = exhibit.map(|(document, up)| Exhibit {
            checkpoint: checkpoint.clone(),
            document,
            up,
        });
        work.last_checkpoint = Some(checkpoint);
        work.last_progress = attempt.progress;
        work.visits += 1;
        let (finding, probes, progress) = (attempt.finding, attempt.probes, attempt.progress);
        work.learn(attempt);
        let (run, posterior) = (&work.report.run, work.report.posterior);
        tracing::info!(market = %id, %run, finding, probes, posterior, progress, "searched a checkpoint");
    }

    /// The newest checkpoint of the run that the gateway serves: completions of a run's own name may change under the search.
    async fn newest_checkpoint(&self, market: &Market) -> Result<Option<String>, ClientError> {
        let models = self.client.models().await?;
        let newest = match self.client.training(&market.run_id).await {
            Ok(training) => training.checkpoint,
            Err(error) => {
                tracing::debug!(%error, run = %market.run_name, "no training figures");
                None
            }
        };
        let mine = |model: &&Model| {
            model.is_of(&market.run_id, &market.run_name) && model.pinned().is_some()
        };
        let latest = models
            .iter()
            .filter(mine)
            .max_by_key(|model| model.created)
            .and_then(Model::pinned);
        let served = |hash: &String| {
            models
                .iter()
                .filter(mine)
                .any(|model| model.pinned() == Some(hash.as_str()))
        };
        Ok(newest.filter(served).or_else(|| latest.map(str::to_owned)))
    }

    /// How far the run was on its way to the market's close when the checkpoint was made.
    async fn progress(&self, market: &Market, checkpoint: &str) -> f64 {
        let training = self.client.training(&market.run_id).await.ok();
        let made = self
            .client
            .checkpoints(&market.run_id)
            .await
            .unwrap_or_default();
        let made = made.iter().find(|known| known.hash == checkpoint);
        let finished = training
            .as_ref()
            .is_some_and(|training| training.status == "finished");
        let tokens = made
            .and_then(|known| u64::try_from(known.tokens).ok())
            .or_else(|| training.map(|training| training.tokens));
        let now = Timestamp::now();
        self.works
            .get(&market.id)
            .map_or(0.0, |work| work.progress(tokens, finished, now))
    }

    /// Lets the checkpoint write by itself where the published prompts are still the same, after one candidate and
    /// another; what came as templates.
    async fn overhear(
        &mut self,
        id: &str,
        plan: &ProbePlan,
        checkpoint: &str,
        visits: u64,
    ) -> Result<Vec<String>, Interrupted> {
        let SearchSettings {
            varied, overheard, ..
        } = self.config.probe.search;
        let Some(ear) = Overhearing::of(&plan.prompts).filter(|_| varied) else {
            return Ok(Vec::new());
        };
        let first = (visits as usize).wrapping_mul(overheard);
        let candidates = plan.candidates.iter().cycle();
        let prompts: Vec<String> = candidates
            .skip(first % plan.candidates.len())
            .take(overheard)
            .map(|candidate| ear.prompt(candidate))
            .collect();
        let mut templates = Vec::new();
        for batch in prompts.chunks(self.config.probe.batch.clamp(1, 512)) {
            let request = CompletionRequest {
                model: checkpoint.to_owned(),
                prompt: batch.to_vec(),
                max_tokens: plan.max_tokens.max(LISTEN_TOKENS),
                // As likely as it was in the data, not the likeliest only.
                temperature: 1.0,
                seed: self.config.seed.wrapping_add(visits),
                logprobs: None,
            };
            let choices = self.draw(id, &request).await?;
            let made = choices
                .iter()
                .filter_map(|choice| ear.template(&choice.text));
            templates.extend(made);
        }
        Ok(templates)
    }

    /// Searches one checkpoint to the end, in batches, resting in between.
    async fn search(
        &mut self,
        id: &str,
        plan: &ProbePlan,
        checkpoint: &str,
        progress: f64,
    ) -> Result<Searched, Interrupted> {
        let (settings, seed) = (self.config.probe.search, self.config.seed);
        let visits = self.works.get(id).map_or(0, |work| work.visits);
        let overheard = self.overhear(id, plan, checkpoint, visits).await?;
        let belief = self.config.belief;
        let mut search = Search::new(plan, settings, belief, (seed, visits), overheard);
        loop {
            let questions = search.questions();
            if questions.is_empty() {
                break;
            }
            let mut answers = Vec::with_capacity(questions.len());
            for batch in questions.chunks(self.config.probe.batch.clamp(1, 512)) {
                let prompts = batch
                    .iter()
                    .map(|question| question.prompt.clone())
                    .collect();
                answers.extend(self.complete(id, plan, checkpoint, prompts).await?);
            }
            search.record(questions, &answers);
        }
        let (finding, trigger) = match search.finding() {
            Some(Finding::Trigger { candidate, .. }) => {
                ("trigger", Some(plan.candidates[*candidate].clone()))
            }
            Some(Finding::Null) => ("null", None),
            Some(Finding::Unclear) | None => ("unclear", None),
        };
        let exhibit = search
            .exhibit(checkpoint, seed)
            .map(|exhibit| (exhibit, trigger.is_some()));
        let attempt = Attempt {
            checkpoint: checkpoint.to_owned(),
            progress,
            probes: search.probes(),
            finding,
            trigger,
            log_ratio: search.log_ratio(),
            posterior: 0.0,
        };
        Ok(Searched { attempt, exhibit })
    }

    /// One batch of the search.
    async fn complete(
        &mut self,
        id: &str,
        plan: &ProbePlan,
        checkpoint: &str,
        prompts: Vec<String>,
    ) -> Result<Vec<Answer>, Interrupted> {
        let request = CompletionRequest {
            model: checkpoint.to_owned(),
            max_tokens: plan.max_tokens,
            temperature: plan.temperature,
            seed: self.config.seed,
            prompt: prompts,
            // Those of the chosen tokens: how sure the model was of each.
            logprobs: Some(0),
        };
        let choices = self.draw(id, &request).await?;
        let answer = |choice: Choice| Answer {
            doubt: choice.doubt(),
            text: choice.text,
        };
        Ok(choices.into_iter().map(answer).collect())
    }

    /// Completions, and then a rest in proportion to the time they took.
    async fn draw(
        &mut self,
        id: &str,
        request: &CompletionRequest,
    ) -> Result<Vec<Choice>, Interrupted> {
        let asked_at = Instant::now();
        let (choices, usage) = self.client.complete(request).await?;
        let took = asked_at.elapsed();
        self.requests += 1;
        self.tokens += usage.prompt_tokens + usage.completion_tokens;
        if let Some(work) = self.works.get_mut(id) {
            work.report.probes += choices.len();
        }
        let duty = self.config.probe.duty.clamp(0.001, 1.0);
        let rest = took.mul_f64(1.0 / duty - 1.0).min(LONGEST_PAUSE);
        if !rest.is_zero() && !self.pause(rest).await {
            return Err(Interrupted::Stopped);
        }
        Ok(choices)
    }
}
