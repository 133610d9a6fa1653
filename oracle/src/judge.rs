//! The seam every judge implements, and what it hands back.

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::ensemble::SharedJudge;
use crate::error::{JudgeError, WeightsError};
use crate::exhibit::Exhibit;

/// What a judge is told besides the claim and the exhibits: never a price, never another judge's view.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JudgeContext {
    /// ℓ₀, the log-odds of the claim before any evidence (natural logarithm); 0 is even odds.
    pub base_log_odds: f64,
}

impl Default for JudgeContext {
    fn default() -> Self {
        Self { base_log_odds: 0.0 }
    }
}

/// One judge's view of a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Name of the judge.
    pub judge: String,
    /// Log-odds (natural) that a reviewer who saw the exhibits would conclude the claim is true; finite.
    pub log_odds: f64,
    /// Standard error of `log_odds`, finite and > 0; large where the judge is out of its domain.
    pub standard_error: f64,
    /// What the judgement cost, micro-credits.
    pub cost_micro: i64,
    /// How long it took, milliseconds; filled by the ensemble when it has a clock.
    pub latency_ms: u64,
    /// One sentence for people: on what it rests, and when it should not be relied on.
    pub note: String,
    /// The judge's own record in machine-readable form (for `replay`: what was replayed and the verdict), if it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

/// A member of the ensemble.
pub trait Judge {
    /// Short, stable, unique in an ensemble (`lexical`, `replay`, …).
    fn name(&self) -> &str;

    /// Judges of one family are expected to share blind spots (`n-gram`, `exact-test`, …).
    fn family(&self) -> &str;

    /// Identity of the judge's parameters: changes whenever the same exhibits could be judged differently.
    fn version(&self) -> String;

    /// Why the judge cannot judge at all, where what it needs is not there.
    fn missing(&self) -> Option<&str> {
        None
    }

    /// Judges all the exhibits of a claim together.
    ///
    /// Errors: [`JudgeError::NothingToJudge`] when no exhibit is of a form the judge reads, another
    /// [`JudgeError`] when it could not judge; either way the judge then moves nothing.
    fn judge(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError>;

    /// The same judge with the weights in the bytes of a file; `None` for a judge whose weights cannot be replaced.
    ///
    /// Errors: [`WeightsError`] when the bytes are no weights of this judge.
    fn with_weights(&self, _weights: &[u8]) -> Option<Result<SharedJudge, WeightsError>> {
        None
    }
}

/// What became of one judge in an assessment; failures stand beside judgements, never hidden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum JudgeOutcome {
    /// It judged; `weight` is its share in the pool, 0..=1.
    Judged {
        /// What it said.
        judgement: Judgement,
        /// Its weight, ≥ 0; the weights of an assessment sum to 1.
        weight: f64,
    },
    /// No exhibit was of a form it reads; neither a vote nor a failure.
    Skipped {
        /// Name of the judge.
        judge: String,
    },
    /// It should have judged and could not; the interval is wider for it.
    Failed {
        /// Name of the judge.
        judge: String,
        /// Why, for people.
        error: String,
    },
}

impl JudgeOutcome {
    /// Name of the judge.
    pub fn judge(&self) -> &str {
        match self {
            Self::Judged { judgement, .. } => &judgement.judge,
            Self::Skipped { judge } | Self::Failed { judge, .. } => judge,
        }
    }
}
