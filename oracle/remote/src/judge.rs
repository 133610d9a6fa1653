//! The judge: sections, calibration, memory, bounds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use plumbline_oracle::breaker::{Bounds, Breaker};
use plumbline_oracle::{Claim, Exhibit, InvalidInput, Judge, JudgeContext, JudgeError, Judgement};

use crate::answer::Answer;
use crate::endpoint::Endpoint;
use crate::options::RemoteOptions;
use crate::prompt::{self, question, sections};

/// Judgements that are remembered.
const REMEMBERED: usize = 4_096;

/// A language model behind an OpenAI-compatible endpoint.
///
/// ```text
/// ℓ = ℓ₀ + clamp( ln( mean over sections of e^(s_i − s_0) ), ±bound ),   s = ln(P(Yes)/P(No))
/// ```
///
/// s_0 is what the model says of the claim with no evidence at all: its habit of saying yes (Zhao et al. 2021,
/// "Calibrate before use", contextual calibration). The mean of odds over sections, because what shows the claim may be
/// in any one of them, and a long text should not have more tries than a short one.
pub struct RemoteJudge {
    options: RemoteOptions,
    endpoint: Endpoint,
    breaker: Mutex<Breaker>,
    memory: Mutex<Memory>,
}

/// Answers by what was asked, the oldest first to go.
#[derive(Default)]
struct Memory {
    answers: HashMap<blake3::Hash, Answer>,
    order: VecDeque<blake3::Hash>,
}

impl RemoteJudge {
    /// A judge that asks the endpoint of the options. Nothing is sent before the first exhibit.
    ///
    /// # Errors
    /// [`InvalidInput`] naming the option that is outside its domain.
    pub fn new(options: RemoteOptions) -> Result<Self, InvalidInput> {
        options.validate()?;
        Ok(Self {
            endpoint: Endpoint::new(&options),
            breaker: Mutex::new(Breaker::new(Instant::now())),
            memory: Mutex::default(),
            options,
        })
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            failures_to_open: self.options.failures_to_open.max(1),
            open_for: self.options.open_for,
            budget_micro: self.options.budget_per_day_micro,
            requests: self.options.requests_per_day,
        }
    }

    fn price(&self, tokens: u64) -> i64 {
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        // Rounded up: a budget is not overdrawn by fractions.
        tokens
            .saturating_mul(self.options.price_per_1k_tokens_micro)
            .saturating_add(999)
            / 1_000
    }

    /// The answer to one question, from memory or from the endpoint, and what it cost.
    fn ask(&self, claim: &Claim, section: Option<&str>) -> Result<(Answer, i64), JudgeError> {
        let question = question(claim, section);
        let asked = blake3::hash(question.user.as_bytes());
        if let Some(answer) = locked(&self.memory).answers.get(&asked) {
            return Ok((*answer, 0));
        }
        let bounds = self.bounds();
        locked(&self.breaker)
            .admit(Instant::now(), &bounds)
            .map_err(JudgeError::Unavailable)?;
        match self.endpoint.ask(&self.options, &question) {
            Ok(answer) => {
                let cost = self.price(answer.tokens);
                locked(&self.breaker).succeeded(cost);
                locked(&self.memory).keep(asked, answer);
                Ok((answer, cost))
            }
            Err(why) => {
                locked(&self.breaker).failed(Instant::now(), &bounds);
                Err(JudgeError::Failed(why))
            }
        }
    }
}

impl Memory {
    fn keep(&mut self, asked: blake3::Hash, answer: Answer) {
        if self.answers.insert(asked, answer).is_none() {
            self.order.push_back(asked);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

/// What a panicked holder left is whole: every change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// ln of the mean of e^x.
fn log_mean_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - most).exp()).sum();
    most + (sum / values.len() as f64).ln()
}

impl Judge for RemoteJudge {
    fn name(&self) -> &str {
        "remote"
    }

    fn family(&self) -> &str {
        "language-model"
    }

    fn version(&self) -> String {
        let identity = format!(
            "{}\n{}\n{}\n{}\n{}",
            self.options.url,
            self.options.model,
            self.options.section_chars,
            self.options.log_odds_bound,
            prompt::VERSION
        );
        blake3::hash(identity.as_bytes()).to_hex()[..16].to_owned()
    }

    fn judge(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let (sections, left_out) = sections(exhibits, self.options.section_chars);
        if sections.is_empty() {
            return Err(JudgeError::NothingToJudge);
        }
        let (habit, mut cost_micro) = self.ask(claim, None)?;
        let (mut shifts, mut graded) = (Vec::with_capacity(sections.len()), habit.graded);
        for section in &sections {
            let (answer, cost) = self.ask(claim, Some(section))?;
            graded &= answer.graded;
            cost_micro += cost;
            shifts.push(answer.log_odds - habit.log_odds);
        }
        let bound = self.options.log_odds_bound;
        let shift = log_mean_exp(&shifts).clamp(-bound, bound);
        let doubt = if graded { 1.0 } else { 2.0 } * if left_out { 2.0 } else { 1.0 };
        let rest = if left_out {
            "; the rest was too long to read"
        } else {
            ""
        };
        let grades = if graded {
            "with log-probabilities"
        } else {
            "by plain answers, as it offers no log-probabilities"
        };
        Ok(Judgement {
            judge: self.name().to_owned(),
            log_odds: context.base_log_odds + shift,
            standard_error: self.options.standard_error * doubt,
            cost_micro,
            latency_ms: 0,
            note: format!(
                "{} read {} sections {grades}{rest}; without evidence it says yes at {:+.2} nats, which is taken off.",
                self.options.model,
                sections.len(),
                habit.log_odds
            ),
            detail: None,
        })
    }
}
