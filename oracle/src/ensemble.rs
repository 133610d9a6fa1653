//! The ensemble: every judge is asked, every answer and every failure is kept, and the pool says what it comes to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::calibration::posterior;
use crate::claim::{Claim, family_of};
use crate::error::{DataError, JudgeError};
use crate::exhibit::Exhibit;
use crate::judge::{Judge, JudgeContext, JudgeOutcome, Judgement};
use crate::linear::sigmoid;
use crate::pool::{Opinion, PoolConfig, Pooled, deviations};
use crate::pooling::{LEAST_CASES, Reference};

/// A judge that may be shared between threads.
pub type SharedJudge = Arc<dyn Judge + Send + Sync>;

/// A monotonic clock: milliseconds since any fixed moment. The crate has none of its own.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the ensemble makes of a claim and its exhibits. All log-odds are natural.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// ℓ, the pooled log-odds, calibrated; exactly ℓ₀ (calibrated) without exhibits.
    pub log_odds: f64,
    /// Lower end of the interval, log-odds.
    pub low: f64,
    /// Upper end of the interval, log-odds.
    pub high: f64,
    /// Number of independent judges the judgements are worth; 0 when none judged.
    pub n_eff: f64,
    /// What became of every judge, in the ensemble's order; empty without exhibits.
    pub judgements: Vec<JudgeOutcome>,
    /// Identity of the ensemble (judges, their parameters, the pool): assessments of different versions do not compare.
    pub version: String,
}

impl Assessment {
    /// σ(ℓ).
    pub fn probability(&self) -> f64 {
        sigmoid(self.log_odds)
    }

    /// (σ(low), σ(high)).
    pub fn probability_interval(&self) -> (f64, f64) {
        (sigmoid(self.low), sigmoid(self.high))
    }

    /// δ = ℓ_after − ℓ_before, the evidence shift between two assessments of one claim.
    pub fn shift_from(&self, before: &Self) -> f64 {
        self.log_odds - before.log_odds
    }
}

/// Judges and how they are pooled.
#[derive(Clone)]
pub struct Ensemble {
    judges: Vec<SharedJudge>,
    config: PoolConfig,
    /// What labelled cases said of the judges before there were settled ones.
    reference: Option<Arc<Reference>>,
    clock: Option<Clock>,
    version: String,
}

impl Ensemble {
    /// An ensemble of `judges`. Errors: [`DataError::Option`] for a pool parameter outside its domain or two judges of one name.
    pub fn new(judges: Vec<SharedJudge>, config: PoolConfig) -> Result<Self, DataError> {
        config.validate()?;
        let mut names: Vec<&str> = judges.iter().map(|judge| judge.name()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DataError::Option {
                name: "judges",
                reason: "has two judges of one name",
            });
        }
        let version = version_of(&judges, &config);
        Ok(Self {
            judges,
            config,
            reference: None,
            clock: None,
            version,
        })
    }

    /// The same ensemble, measuring each judge's latency with `clock`.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The same ensemble, which pools as labelled cases of a claim's family suggest, where there were any, until as many
    /// cases of the family are settled as a pool is fitted on. Errors: [`DataError::Option`] for a reference that is not sound.
    pub fn with_reference(mut self, reference: Reference) -> Result<Self, DataError> {
        reference.validate()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.version.as_bytes());
        hasher.update(&serde_json::to_vec(&reference).unwrap_or_default());
        self.version = hasher.finalize().to_hex()[..16].to_owned();
        self.reference = Some(Arc::new(reference));
        Ok(self)
    }

    /// The same judges, pooled otherwise. Errors: as [`Ensemble::new`].
    pub fn pooled_by(&self, config: PoolConfig) -> Result<Self, DataError> {
        let pooled = Self::new(self.judges.clone(), config)?;
        self.handed_on(pooled)
    }

    /// The same ensemble with other weights for the judge of this name.
    /// Errors: [`DataError::Option`] if there is no such judge, it takes no weights, or not these.
    pub fn reweighted(&self, judge: &str, weights: &[u8]) -> Result<Self, DataError> {
        let refused = |reason| DataError::Option {
            name: "weights",
            reason,
        };
        let at = self.judges.iter().position(|member| member.name() == judge);
        let at = at.ok_or_else(|| refused("are for a judge that is not in the ensemble"))?;
        let changed = self.judges[at]
            .with_weights(weights)
            .ok_or_else(|| refused("are for a judge whose weights cannot be replaced"))?;
        let mut judges = self.judges.clone();
        judges[at] = changed.map_err(|_| refused("are not a weights file of that judge"))?;
        self.handed_on(Self::new(judges, self.config.clone())?)
    }

    /// `other` with this one's clock and reference.
    fn handed_on(&self, other: Self) -> Result<Self, DataError> {
        let other = Self {
            clock: self.clock.clone(),
            ..other
        };
        match &self.reference {
            Some(reference) => other.with_reference(Reference::clone(reference)),
            None => Ok(other),
        }
    }

    /// Identity of the ensemble, as in [`Assessment::version`].
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How opinions are pooled.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// (name, family, version) of every judge, in order.
    pub fn members(&self) -> Vec<(String, String, String)> {
        self.judges
            .iter()
            .map(|judge| {
                (
                    judge.name().to_owned(),
                    judge.family().to_owned(),
                    judge.version(),
                )
            })
            .collect()
    }

    /// Names of judges that cannot judge, and why.
    pub fn missing(&self) -> Vec<(String, String)> {
        let judges = self.judges.iter();
        judges
            .filter_map(|judge| Some((judge.name().to_owned(), judge.missing()?.to_owned())))
            .collect()
    }

    /// Assesses a claim on all its exhibits together.
    ///
    /// Without exhibits the answer is ℓ₀ exactly, as calibrated for the kind of claim where that was learnt, and no
    /// judge is asked. A judge that fails is reported in `judgements` and widens the interval; if none can judge,
    /// ℓ is that of no exhibits.
    pub fn assess(&self, claim: &Claim, exhibits: &[Exhibit]) -> Assessment {
        if exhibits.is_empty() {
            return self.assessment(&posterior(&claim.kind, &[], 0, &self.config), Vec::new());
        }
        let context = JudgeContext {
            base_log_odds: self.config.base_log_odds,
        };
        let mut outcomes: Vec<JudgeOutcome> = self
            .judges
            .iter()
            .map(|judge| self.ask(judge, claim, exhibits, &context))
            .collect();
        let opinions = self.opinions(&outcomes);
        let failed = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, JudgeOutcome::Failed { .. }))
            .count();
        let settled = self.config.settled_cases(family_of(&claim.kind));
        let pooled = self
            .reference
            .as_ref()
            .filter(|_| settled < LEAST_CASES)
            .and_then(|reference| reference.pool(&claim.kind, &opinions, failed, &self.config))
            .unwrap_or_else(|| posterior(&claim.kind, &opinions, failed, &self.config));
        let judged = outcomes.iter_mut().filter_map(|outcome| match outcome {
            JudgeOutcome::Judged { weight, .. } => Some(weight),
            _ => None,
        });
        for (slot, weight) in judged.zip(&pooled.weights) {
            *slot = *weight;
        }
        self.assessment(&pooled, outcomes)
    }

    /// By judge, how far it lies from the others in an assessment; see [`deviations`].
    pub fn deviations(&self, assessment: &Assessment) -> Vec<(String, f64)> {
        let opinions = self.opinions(&assessment.judgements);
        let found = deviations(&opinions, &self.config);
        opinions
            .into_iter()
            .zip(found)
            .filter_map(|(opinion, deviation)| Some((opinion.judge, deviation?)))
            .collect()
    }

    /// The shift δ that the last `added` exhibits of `exhibits` make, with the assessments before and after.
    pub fn shift(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        added: usize,
    ) -> (f64, Assessment, Assessment) {
        let before = self.assess(claim, &exhibits[..exhibits.len().saturating_sub(added)]);
        let after = self.assess(claim, exhibits);
        (after.shift_from(&before), before, after)
    }

    fn ask(
        &self,
        judge: &SharedJudge,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> JudgeOutcome {
        let started = self.clock.as_ref().map(|clock| clock());
        let answer = judge.judge(claim, exhibits, context).and_then(sane);
        let name = judge.name().to_owned();
        match answer {
            Ok(mut judgement) => {
                if let (Some(clock), Some(started)) = (&self.clock, started) {
                    judgement.latency_ms = clock().saturating_sub(started);
                }
                judgement.judge = name;
                JudgeOutcome::Judged {
                    judgement,
                    weight: 0.0,
                }
            }
            Err(JudgeError::NothingToJudge) => JudgeOutcome::Skipped { judge: name },
            Err(error) => JudgeOutcome::Failed {
                judge: name,
                error: error.to_string(),
            },
        }
    }

    fn opinions(&self, outcomes: &[JudgeOutcome]) -> Vec<Opinion> {
        outcomes
            .iter()
            .zip(&self.judges)
            .filter_map(|(outcome, judge)| match outcome {
                JudgeOutcome::Judged { judgement, .. } => Some(Opinion {
                    judge: judgement.judge.clone(),
                    family: judge.family().to_owned(),
                    log_odds: judgement.log_odds,
                    standard_error: judgement.standard_error,
                }),
                _ => None,
            })
            .collect()
    }

    fn assessment(&self, pooled: &Pooled, judgements: Vec<JudgeOutcome>) -> Assessment {
        Assessment {
            log_odds: pooled.log_odds,
            low: pooled.low,
            high: pooled.high,
            n_eff: pooled.n_eff,
            judgements,
            version: self.version.clone(),
        }
    }
}

/// Refuses a judgement whose numbers are not numbers: it must not reach a price.
fn sane(judgement: Judgement) -> Result<Judgement, JudgeError> {
    let error = judgement.standard_error;
    if judgement.log_odds.is_finite() && error.is_finite() && error >= 0.0 {
        Ok(judgement)
    } else {
        Err(JudgeError::Failed(
            "returned a number that is not finite".to_owned(),
        ))
    }
}

/// First 16 hexadecimal digits of the BLAKE3 of the judges' identities and the pool's parameters.
fn version_of(judges: &[SharedJudge], config: &PoolConfig) -> String {
    let mut hasher = blake3::Hasher::new();
    for judge in judges {
        for part in [judge.name(), judge.family(), &judge.version()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.update(&serde_json::to_vec(config).unwrap_or_default());
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::exhibit::Report;

    struct Says(&'static str, Result<f64, JudgeError>);

    impl Judge for Says {
        fn name(&self) -> &str {
            self.0
        }
        fn family(&self) -> &str {
            self.0
        }
        fn version(&self) -> String {
            "1".to_owned()
        }
        fn judge(
            &self,
            _: &Claim,
            _: &[Exhibit],
            context: &JudgeContext,
        ) -> Result<Judgement, JudgeError> {
            let shift = self.1.clone()?;
            Ok(Judgement {
                judge: String::new(),
                log_odds: context.base_log_odds + shift,
                standard_error: 0.5,
                cost_micro: 0,
                latency_ms: 0,
                note: String::new(),
                detail: None,
            })
        }
    }

    fn ensemble(judges: Vec<Says>, base_log_odds: f64) -> Ensemble {
        let config = PoolConfig {
            base_log_odds,
            ..PoolConfig::default()
        };
        let judges = judges
            .into_iter()
            .map(|judge| Arc::new(judge) as SharedJudge)
            .collect();
        Ensemble::new(judges, config).unwrap()
    }

    fn exhibits() -> Vec<Exhibit> {
        vec![Exhibit::Report(Report {
            text: "seen".to_owned(),
        })]
    }

    #[test]
    fn no_exhibit_is_the_base_rate_exactly() {
        let ensemble = ensemble(vec![Says("a", Ok(3.0))], -0.7);
        let claim = Claim::new("k", "t", "").unwrap();
        let assessment = ensemble.assess(&claim, &[]);
        assert_eq!(assessment.log_odds, -0.7);
        assert!(assessment.judgements.is_empty());
        let (shift, before, after) = ensemble.shift(&claim, &exhibits(), 1);
        assert_eq!(before, assessment);
        assert!((shift - 3.0).abs() < 1e-9);
        assert!((after.log_odds - 2.3).abs() < 1e-9);
    }

    #[test]
    fn failures_are_reported_and_widen_but_skips_do_not() {
        let claim = Claim::new("k", "t", "").unwrap();
        let alone = ensemble(vec![Says("a", Ok(1.0))], 0.0).assess(&claim, &exhibits());
        let skipped = ensemble(
            vec![
                Says("a", Ok(1.0)),
                Says("b", Err(JudgeError::NothingToJudge)),
            ],
            0.0,
        )
        .assess(&claim, &exhibits());
        let gone = JudgeError::Unavailable("checkpoint not here".to_owned());
        let failed = ensemble(
            vec![
                Says("a", Ok(1.0)),
                Says("b", Err(gone)),
                Says("c", Ok(f64::NAN)),
            ],
            0.0,
        )
        .assess(&claim, &exhibits());
        assert_eq!(skipped.log_odds, alone.log_odds);
        assert_eq!(skipped.high, alone.high);
        assert_eq!(failed.log_odds, alone.log_odds);
        assert!(failed.high > alone.high);
        assert!(
            matches!(&failed.judgements[1], JudgeOutcome::Failed { judge, error } if judge == "b" && error.contains("checkpoint"))
        );
        assert!(matches!(&failed.judgements[2], JudgeOutcome::Failed { .. }));
        assert!(
            matches!(&failed.judgements[0], JudgeOutcome::Judged { weight, .. } if (*weight - 1.0).abs() < 1e-12)
        );
    }

    #[test]
    fn versions_name_the_parameters_and_names_are_unique() {
        let one = ensemble(vec![Says("a", Ok(1.0))], 0.0);
        let other_base = ensemble(vec![Says("a", Ok(1.0))], 0.5);
        assert_ne!(one.version(), other_base.version());
        let twice: Vec<SharedJudge> =
            vec![Arc::new(Says("a", Ok(1.0))), Arc::new(Says("a", Ok(1.0)))];
        assert!(Ensemble::new(twice, PoolConfig::default()).is_err());
    }

    #[test]
    fn latency_comes_from_the_clock_given() {
        let ticks = std::sync::atomic::AtomicU64::new(0);
        let clock: Clock =
            Arc::new(move || ticks.fetch_add(7, std::sync::atomic::Ordering::Relaxed));
        let claim = Claim::new("k", "t", "").unwrap();
        let assessment = ensemble(vec![Says("a", Ok(1.0))], 0.0)
            .with_clock(clock)
            .assess(&claim, &exhibits());
        assert!(
            matches!(&assessment.judgements[0], JudgeOutcome::Judged { judgement, .. } if judgement.latency_ms == 7)
        );
    }
}
