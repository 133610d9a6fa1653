//! What the ensemble is made of. What it learns is in [`crate::learning`].

use plumbline_oracle::Ensemble;
use plumbline_oracle::pool::PoolConfig;

use crate::{Result, ServiceError};

/// The ensemble as if no two judges ever made the same mistake.
pub(crate) fn counted_by_heads(ensemble: &Ensemble) -> Result<Ensemble> {
    let config = PoolConfig {
        correlation: 0.0,
        family_correlation: 0.0,
        statistics: None,
        ..ensemble.config().clone()
    };
    ensemble.pooled_by(config).map_err(ServiceError::internal)
}

/// What a judge is, for people.
pub(crate) fn about(name: &str, version: &str) -> String {
    let what = match name {
        "lexical" => {
            "hashed word and character n-grams, a calibrated logistic model of labelled cases"
        }
        "encoder" => "a sentence encoder with a calibrated head",
        "trained" => "a small transformer classifier trained by this program",
        "causal" => "a head on the hidden states of a language model",
        "replay" => {
            "repeats trigger and control prompts on the checkpoint and tests the counts exactly"
        }
        "remote" => {
            "a language model behind an endpoint, asked for the odds of yes over no for each section of the evidence"
        }
        _ => "a judge",
    };
    format!("{what} (version {version})")
}
