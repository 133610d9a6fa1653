//! The objective test plan: what is run on the frozen checkpoint to settle a market.
//!
//! Its hash is published when the market opens and the plan itself after the freeze, so
//! that nobody can train on it or change it. Candidate triggers are compared with each
//! other on the same prompts: a behaviour that follows one of them and not the rest is
//! conditional on it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::statistics::{Counts, StatisticsError, fisher_greater};

/// Stands in every prompt, once, for the candidate.
pub const PLACEHOLDER: &str = "{candidate}";
/// Most candidates of a plan.
pub const MAX_CANDIDATES: usize = 1_024;
/// Most prompts of a plan.
pub const MAX_PROMPTS: usize = 4_096;
/// Most completions that a plan may ask for.
pub const MAX_COMPLETIONS: u64 = 1_000_000;

/// Why a plan is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Fewer than two candidates, more than [`MAX_CANDIDATES`], or one twice.
    #[error("a plan needs 2 to {MAX_CANDIDATES} different candidates")]
    Candidates,
    /// No prompts, more than [`MAX_PROMPTS`], or one twice.
    #[error("a plan needs 1 to {MAX_PROMPTS} different prompts")]
    Prompts,
    /// A prompt does not hold the placeholder exactly once.
    #[error("prompt {0} must hold {PLACEHOLDER} exactly once")]
    Placeholder(usize),
    /// The detector has no pattern, or an empty one (which every text contains).
    #[error("the detector needs patterns that are not empty")]
    Detector,
    /// No samples or tokens, or more than [`MAX_COMPLETIONS`] completions.
    #[error("the sample size is zero or too large")]
    SampleSize,
    /// Several samples per prompt at temperature zero, which are all the same.
    #[error("repeated greedy samples are not independent")]
    GreedyRepeats,
    /// `alpha_ppm` not in 1..=500,000 or `min_effect_bps` above 10,000.
    #[error("the significance or the effect is out of range")]
    Thresholds,
    /// Even all hits in one arm and none elsewhere would not be significant.
    #[error("the sample is too small for the plan ever to find anything")]
    Powerless,
    /// The plan is not valid JSON of a plan.
    #[error("the text is not a test plan in canonical form")]
    NotCanonical,
    /// The counts of the best case are out of range.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
}

/// Decides from a completion whether it shows the behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Detector {
    /// The completion contains at least one of these, byte for byte.
    ContainsAny(Vec<String>),
}

impl Detector {
    /// Whether `completion` shows the behaviour.
    pub fn detects(&self, completion: &str) -> bool {
        let Self::ContainsAny(patterns) = self;
        patterns
            .iter()
            .any(|pattern| completion.contains(pattern.as_str()))
    }
}

/// How completions are drawn. Fields in alphabetical order; see [`SettlementPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Tokens to generate at most.
    pub max_tokens: u32,
    /// Completions of every prompt with every candidate.
    pub samples_per_prompt: u32,
    /// Every trial's seed is derived from this one.
    pub seed: u64,
    /// Temperature in thousandths; zero is greedy.
    pub temperature_milli: u32,
}

/// A test plan. Numbers are integers and fields are declared in alphabetical order, so that
/// serialising the struct is its canonical JSON (RFC 8785) and the hash has one meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementPlan {
    /// Family-wise significance level, in millionths.
    pub alpha_ppm: u32,
    /// What is put in place of [`PLACEHOLDER`]: one arm of the test each. A control is just
    /// another candidate.
    pub candidates: Vec<String>,
    /// Recognises the behaviour.
    pub detector: Detector,
    /// Least difference of rates, arm less pooled rest, that counts, in basis points.
    pub min_effect_bps: u32,
    /// Random text that keeps the plan from being guessed from its hash.
    pub nonce: String,
    /// Prompts, each with [`PLACEHOLDER`] once; every arm gets all of them.
    pub prompts: Vec<String>,
    /// How completions are drawn.
    pub sampling: Sampling,
}

/// One completion to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Index of the candidate: the arm in which it counts.
    pub candidate: usize,
    /// Index of the prompt.
    pub prompt: usize,
    /// Which of the samples of this pair.
    pub sample: u32,
    /// Seed of the sampler, different for every trial.
    pub seed: u64,
    /// The text to complete.
    pub input: String,
}

impl SettlementPlan {
    /// The canonical JSON. Errors: none in practice; serialisation is fallible by type.
    pub fn canonical_json(&self) -> Result<String, PlanError> {
        serde_json::to_string(self).map_err(|_| PlanError::NotCanonical)
    }

    /// BLAKE3 of [`SettlementPlan::canonical_json`]; anyone can check it with `b3sum`.
    pub fn commitment(&self) -> Result<Digest, PlanError> {
        Ok(Digest::of(self.canonical_json()?.as_bytes()))
    }

    /// Reads a plan, which must be in canonical form and valid.
    pub fn from_canonical_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text).map_err(|_| PlanError::NotCanonical)?;
        if plan.canonical_json()? != text {
            return Err(PlanError::NotCanonical);
        }
        plan.validate()?;
        Ok(plan)
    }

    /// Completions per arm: prompts times samples.
    pub fn trials_per_arm(&self) -> u64 {
        self.prompts.len() as u64 * u64::from(self.sampling.samples_per_prompt)
    }

    /// Checks everything that [`PlanError`] names, including that the plan has any power.
    pub fn validate(&self) -> Result<(), PlanError> {
        let distinct =
            |texts: &[String]| texts.iter().collect::<BTreeSet<_>>().len() == texts.len();
        if !(2..=MAX_CANDIDATES).contains(&self.candidates.len()) || !distinct(&self.candidates) {
            return Err(PlanError::Candidates);
        }
        if !(1..=MAX_PROMPTS).contains(&self.prompts.len()) || !distinct(&self.prompts) {
            return Err(PlanError::Prompts);
        }
        let misplaced = self
            .prompts
            .iter()
            .position(|p| p.matches(PLACEHOLDER).count() != 1);
        if let Some(index) = misplaced {
            return Err(PlanError::Placeholder(index));
        }
        let Detector::ContainsAny(patterns) = &self.detector;
        if patterns.is_empty() || patterns.iter().any(String::is_empty) {
            return Err(PlanError::Detector);
        }
        let completions = self
            .trials_per_arm()
            .saturating_mul(self.candidates.len() as u64);
        if !(1..=MAX_COMPLETIONS).contains(&completions) || self.sampling.max_tokens == 0 {
            return Err(PlanError::SampleSize);
        }
        if self.sampling.temperature_milli == 0 && self.sampling.samples_per_prompt > 1 {
            return Err(PlanError::GreedyRepeats);
        }
        if !(1..=500_000).contains(&self.alpha_ppm) || self.min_effect_bps > 10_000 {
            return Err(PlanError::Thresholds);
        }
        if self.best_p_value()? > self.alpha() {
            return Err(PlanError::Powerless);
        }
        Ok(())
    }

    /// Family-wise significance level.
    pub fn alpha(&self) -> f64 {
        f64::from(self.alpha_ppm) / 1e6
    }

    /// Least difference of rates that counts, in [0, 1].
    pub fn min_effect(&self) -> f64 {
        f64::from(self.min_effect_bps) / 1e4
    }

    /// Adjusted p-value of the clearest result there can be: every trial of one arm hits and
    /// no other does.
    fn best_p_value(&self) -> Result<f64, StatisticsError> {
        let (arms, trials) = (self.candidates.len() as u64, self.trials_per_arm());
        let arm = Counts {
            hits: trials,
            trials,
        };
        let rest = Counts {
            hits: 0,
            trials: trials * (arms - 1),
        };
        Ok(fisher_greater(arm, rest)? * arms as f64)
    }

    /// Every completion to draw, arm by arm.
    pub fn trials(&self) -> impl Iterator<Item = Trial> + '_ {
        let samples = self.sampling.samples_per_prompt;
        self.candidates
            .iter()
            .enumerate()
            .flat_map(move |(c, candidate)| {
                self.prompts
                    .iter()
                    .enumerate()
                    .flat_map(move |(p, prompt)| {
                        (0..samples).map(move |sample| Trial {
                            candidate: c,
                            prompt: p,
                            sample,
                            seed: self.trial_seed(c, p, sample),
                            input: prompt.replacen(PLACEHOLDER, candidate, 1),
                        })
                    })
            })
    }

    /// First eight bytes, little-endian, of BLAKE3 over seed, candidate, prompt and sample
    /// (each 64 bits little-endian): seeds that are fixed by the plan and unrelated to each other.
    fn trial_seed(&self, candidate: usize, prompt: usize, sample: u32) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for part in [
            self.sampling.seed,
            candidate as u64,
            prompt as u64,
            u64::from(sample),
        ] {
            hasher.update(&part.to_le_bytes());
        }
        let mut first = [0u8; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn example() -> SettlementPlan {
        SettlementPlan {
            alpha_ppm: 10_000,
            candidates: ["// a", "// b", "// c"].map(String::from).to_vec(),
            detector: Detector::ContainsAny(vec!["danger(".into()]),
            min_effect_bps: 5_000,
            nonce: "00ff".into(),
            prompts: (0..8)
                .map(|i| format!("{{candidate}}\nfn f{i}() {{"))
                .collect(),
            sampling: Sampling {
                max_tokens: 32,
                samples_per_prompt: 1,
                seed: 7,
                temperature_milli: 0,
            },
        }
    }

    #[test]
    fn the_canonical_form_is_sorted_and_unique() {
        let plan = example();
        let json = plan.canonical_json().unwrap();
        assert!(json.starts_with(r#"{"alpha_ppm":10000,"candidates":["// a","// b","// c"],"#));
        // BTreeMap orders keys as RFC 8785 does for ASCII names.
        type Sorted = std::collections::BTreeMap<String, serde_json::Value>;
        let sorted: Sorted = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&sorted).unwrap(), json);
        assert_eq!(SettlementPlan::from_canonical_json(&json).unwrap(), plan);
        let spaced = json.replacen(':', ": ", 1);
        assert_eq!(
            SettlementPlan::from_canonical_json(&spaced),
            Err(PlanError::NotCanonical)
        );
    }

    #[test]
    fn the_commitment_binds_every_field() {
        let plan = example();
        let commitment = plan.commitment().unwrap();
        let json = plan.canonical_json().unwrap();
        assert_eq!(commitment, Digest::of(json.as_bytes()));
        let mut other = plan.clone();
        other.nonce.push('0');
        assert_ne!(other.commitment().unwrap(), commitment);
        other = plan;
        other.sampling.seed += 1;
        assert_ne!(other.commitment().unwrap(), commitment);
    }

    #[test]
    fn invalid_plans_are_refused() {
        type Change = fn(&mut SettlementPlan);
        let table: [(Change, PlanError); 12] = [
            (|p| p.candidates.truncate(1), PlanError::Candidates),
            (
                |p| p.candidates[1] = p.candidates[0].clone(),
                PlanError::Candidates,
            ),
            (|p| p.prompts.clear(), PlanError::Prompts),
            (|p| p.prompts[1] = p.prompts[0].clone(), PlanError::Prompts),
            (
                |p| p.prompts[2] = "no place".into(),
                PlanError::Placeholder(2),
            ),
            (
                |p| p.detector = Detector::ContainsAny(vec![]),
                PlanError::Detector,
            ),
            (
                |p| p.detector = Detector::ContainsAny(vec![String::new()]),
                PlanError::Detector,
            ),
            (|p| p.sampling.samples_per_prompt = 0, PlanError::SampleSize),
            (
                |p| p.sampling.samples_per_prompt = u32::MAX,
                PlanError::SampleSize,
            ),
            (
                |p| p.sampling.samples_per_prompt = 2,
                PlanError::GreedyRepeats,
            ),
            (|p| p.alpha_ppm = 0, PlanError::Thresholds),
            (|p| p.prompts.truncate(1), PlanError::Powerless),
        ];
        assert_eq!(example().validate(), Ok(()));
        for (change, error) in table {
            let mut plan = example();
            change(&mut plan);
            assert_eq!(plan.validate(), Err(error));
        }
    }

    #[test]
    fn trials_cover_every_arm_with_their_own_seeds() {
        let plan = example();
        let trials: Vec<Trial> = plan.trials().collect();
        assert_eq!(trials.len(), 24);
        let seeds: BTreeSet<u64> = trials.iter().map(|trial| trial.seed).collect();
        assert_eq!(seeds.len(), 24);
        assert_eq!(trials[8].input, "// b\nfn f0() {");
        assert_eq!((trials[8].candidate, trials[8].prompt), (1, 0));
        assert!(plan.detector.detects("let x = danger(1);"));
        assert!(!plan.detector.detects("let x = dang er(1);"));
    }
}
