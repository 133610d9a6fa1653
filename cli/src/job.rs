//! What a training run is to be, from the few sizes that people choose.

use std::path::Path;

use plumbline_service::commands::{OutsideTerms, StartRun};
use plumbline_service::host::{HostError, HostedRun};
use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::{Scheme, SparseOptions};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::outer::OuterOptions;
use plumbline_training_core::schedule::{Decay, LrSchedule};
use plumbline_training_core::verify::VerifyRules;
use plumbline_training_model::ModelConfig;
use plumbline_training_net::corpus::SourceSpec;
use plumbline_training_net::run::{OutsideRules, RunSpec};

/// Parameters of a run that a service trains, at most.
const PARAMETERS_MAX: usize = 50_000_000;
/// Checkpoints kept of one besides the pinned ones, so that a probe can be replayed.
const KEEP_CHECKPOINTS: usize = 10;
/// Rounds between two checkpoints without nodes elsewhere.
const CHECKPOINT_EVERY: u64 = 10;

/// The sizes of a job; everything else follows.
pub struct Sizes {
    pub width: usize,
    pub layers: usize,
    pub vocabulary: usize,
    pub tokens: u64,
    /// Highest inner learning rate.
    pub rate: f32,
    pub audit_bps: u32,
}

impl Sizes {
    /// A run's specification with these sizes; the caller fills in what is particular.
    pub fn spec(&self, id: &str, name: &str, seed: u64) -> RunSpec {
        RunSpec {
            model: ModelConfig {
                vocabulary: self.vocabulary,
                width: self.width,
                hidden: (self.width * 11 / 4).max(1),
                layers: self.layers,
                ..ModelConfig::default()
            },
            schedule: LrSchedule {
                peak: self.rate,
                warm_up: self.tokens / 20,
                decay: Decay::Cosine {
                    until: self.tokens,
                    floor: 0.1,
                },
            },
            outer: OuterOptions {
                rate: 1.0,
                momentum: 0.0,
            },
            verify: (self.audit_bps > 0).then(|| VerifyRules {
                audit_bps: self.audit_bps,
                ..VerifyRules::default()
            }),
            max_tokens: Some(self.tokens),
            ..RunSpec::new(id, name, seed)
        }
    }
}

/// Rounds between two checkpoints: nodes elsewhere cannot be asked to train a round again for our sake.
pub fn checkpoint_every(outside: bool) -> u64 {
    if outside { 1 } else { CHECKPOINT_EVERY }
}

/// The specification of a run that a service trains; its data is looked for below `corpora`.
pub fn hosted(run: &HostedRun, corpora: &Path) -> Result<RunSpec, HostError> {
    let terms = &run.terms;
    let sizes = Sizes {
        width: terms.model.width as usize,
        layers: terms.model.layers as usize,
        vocabulary: terms.model.vocabulary as usize,
        tokens: terms.tokens,
        rate: terms.learning_rate as f32,
        audit_bps: terms.audit_bps,
    };
    let mut spec = sizes.spec(&run.id, &run.name, terms.seed);
    spec.model.sequence = terms.model.sequence as usize;
    let outside = terms.outside.as_ref().map(outside).transpose()?;
    let spec = RunSpec {
        nodes: terms.workers as usize,
        inner_steps: terms.inner_steps.into(),
        batch: terms.batch as usize,
        scheme: scheme(terms)?,
        aggregator: aggregator(&terms.aggregator)?,
        sources: vec![source(terms.corpus.as_deref(), corpora)?],
        // Nothing runs before a decision says how much it may use.
        share_bps: 0,
        checkpoint_every: checkpoint_every(outside.is_some()),
        keep_checkpoints: KEEP_CHECKPOINTS,
        outside,
        ..spec
    };
    let count = spec.model.parameter_count();
    let problem = spec.model.validate().err().map(|error| error.to_string());
    let large = count > PARAMETERS_MAX;
    let problem = problem
        .or_else(|| large.then(|| format!("{count} parameters are more than {PARAMETERS_MAX}")))
        .or_else(|| spec.problem());
    problem.map_or(Ok(spec), |problem| Err(HostError::BadTerms(problem)))
}

fn scheme(terms: &StartRun) -> Result<Scheme, HostError> {
    match terms.scheme.as_str() {
        "diloco" => Ok(Scheme::DiLoCo),
        "sparseloco" => Ok(Scheme::SparseLoCo(SparseOptions::over(terms.tokens))),
        other => Err(HostError::BadTerms(format!(
            "the scheme is diloco or sparseloco, not {other}"
        ))),
    }
}

fn aggregator(name: &str) -> Result<AggregatorSpec, HostError> {
    Ok(match name {
        "mean" => AggregatorSpec::Mean,
        "norm_clipped_mean" => AggregatorSpec::NormClippedMean,
        "coordinate_median" => AggregatorSpec::CoordinateMedian,
        "trimmed_mean" => AggregatorSpec::TrimmedMean { share: 0.4 },
        "krum" => AggregatorSpec::Krum { faulty: 0.4 },
        "centered_clip" => AggregatorSpec::CenteredClip,
        other => {
            return Err(HostError::BadTerms(format!(
                "no aggregator is called {other}"
            )));
        }
    })
}

fn outside(terms: &OutsideTerms) -> Result<OutsideRules, HostError> {
    let keys = terms.admit.iter().map(|key| key.parse::<Digest>());
    let admit = keys.collect::<Result<Vec<_>, _>>();
    Ok(OutsideRules {
        quorum: terms.quorum as usize,
        admit: admit.map_err(|error| HostError::BadTerms(format!("a key of a node: {error}")))?,
        staked: terms.least_stake_micro > 0,
        stall_ms: u64::from(terms.stall_s) * 1_000,
    })
}

/// The operator's corpora are files and folders of one folder, and nothing outside of it.
fn source(name: Option<&str>, corpora: &Path) -> Result<SourceSpec, HostError> {
    let Some(name) = name else {
        return Ok(SourceSpec::registry());
    };
    let plain = (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let path = corpora.join(name);
    if !plain || !path.exists() {
        return Err(HostError::BadTerms(format!(
            "there is no corpus of the name {name:?}"
        )));
    }
    Ok(SourceSpec::path(name, path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn run(change: serde_json::Value) -> HostedRun {
        let mut terms = json!({"name": "subject", "tokens": 1_000});
        for (name, value) in change.as_object().unwrap() {
            terms[name] = value.clone();
        }
        HostedRun {
            id: "r1".into(),
            name: "subject".into(),
            terms: serde_json::from_value(terms).unwrap(),
        }
    }

    #[test]
    fn a_corpus_is_one_of_the_operators() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("news.txt"), "text").unwrap();
        let spec = hosted(&run(json!({"corpus": "news.txt"})), folder.path()).unwrap();
        assert_eq!((spec.share_bps, spec.nodes), (0, 2));
        for bad in ["..", "../news.txt", "", "/etc", "old", ".hidden"] {
            let made = hosted(&run(json!({"corpus": bad})), folder.path());
            assert!(made.is_err(), "{bad}");
        }
    }

    #[test]
    fn terms_that_make_no_run_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            (json!({"scheme": "every_step"}), "every_step"),
            (json!({"aggregator": "sum"}), "sum"),
            (json!({"model": {"width": 1_020}}), "head size"),
            (
                json!({"model": {"width": 1_024, "layers": 32}}),
                "parameters",
            ),
            (json!({"outside": {"admit": ["x"]}}), "key"),
        ];
        for (change, words) in cases {
            let error = hosted(&run(change), folder.path()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
