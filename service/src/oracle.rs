//! What the ensemble is made of.

use plumbline_oracle::Ensemble;
use plumbline_oracle::pool::{Opinion, PoolConfig, pool};

use crate::context::{Context, Scope};
use crate::views::{JudgeView, OracleView};
use crate::{Result, Service, ServiceError};

impl Service {
    /// The judges, how they are pooled, and how many independent votes they are worth.
    pub fn oracle(&self, ctx: &Context) -> Result<OracleView> {
        self.allow(&ctx.actor, Scope::Read)?;
        let config = self.ensemble.config();
        let members = self.ensemble.members();
        let opinions: Vec<Opinion> = members
            .iter()
            .map(|(judge, family, _)| Opinion {
                judge: judge.clone(),
                family: family.clone(),
                log_odds: config.base_log_odds,
                standard_error: 0.0,
            })
            .collect();
        // Equal opinions show the weights that the covariance alone gives.
        let pooled = pool(&opinions, 0, config);
        let judges =
            members
                .into_iter()
                .zip(&pooled.weights)
                .map(|((name, family, version), weight)| JudgeView {
                    about: about(&name, &version),
                    name,
                    family,
                    weight: *weight,
                });
        Ok(OracleView {
            version: self.ensemble.version().to_owned(),
            base_log_odds: config.base_log_odds,
            rho: config.correlation,
            n_eff: pooled.n_eff,
            kappa: self.config.kappa,
            judges: judges.collect(),
        })
    }
}

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

fn about(name: &str, version: &str) -> String {
    let what = match name {
        "lexical" => {
            "hashed word and character n-grams, a calibrated logistic model of labelled cases"
        }
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
