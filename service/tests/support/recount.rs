//! A replay judge on the test host: draws every prompt of a trigger search again and applies the
//! oracle's own statistics and verdict.

use std::sync::Arc;

use plumbline_oracle::claim::Claim;
use plumbline_oracle::error::JudgeError;
use plumbline_oracle::exhibit::{Exhibit, TriggerControl};
use plumbline_oracle::judge::{Judge, JudgeContext, Judgement};
use plumbline_oracle::replay::*;
use plumbline_service::host::{RunHost, Sampling};

use super::TestHost;

pub struct Recount(pub Arc<TestHost>);

impl Recount {
    fn hits(&self, search: &TriggerControl, prompts: &[String]) -> u32 {
        let sampling = Sampling {
            max_tokens: 8,
            temperature: 0.0,
            top_p: 1.0,
            seed: 1,
            stop: Vec::new(),
            logprobs: None,
        };
        let texts = self
            .0
            .complete(&search.checkpoint, prompts, &sampling)
            .unwrap();
        texts
            .iter()
            .filter(|one| search.detector.hits(&one.text))
            .count() as u32
    }

    fn replay(&self, exhibit: &Exhibit, search: &TriggerControl) -> ReplayVerdict {
        let arms: Vec<ReplayedArm> = search
            .arms
            .iter()
            .map(|arm| {
                let trials = arm.prompts.len() as u32;
                ReplayedArm {
                    label: arm.label.clone(),
                    trigger: arm.trigger,
                    claimed: Counts {
                        hits: arm.hits,
                        trials,
                    },
                    replayed: Counts {
                        hits: self.hits(search, &arm.prompts),
                        trials,
                    },
                }
            })
            .collect();
        let factor = |counts: fn(&ReplayedArm) -> Counts| {
            let mut trials = Trials::default();
            for arm in &arms {
                trials.add(arm.trigger.then_some(arm.label.as_str()), counts(arm));
            }
            let space = SearchSpace {
                searched: search.searched,
                grammar: &[],
            };
            log_bayes_factor(&[trials], space, &ReplayPrior::default())
        };
        let (claimed, replayed) = (factor(|arm| arm.claimed), factor(|arm| arm.replayed));
        let (verdict, discrepancy) = verdict(&arms, claimed, replayed);
        let prompts = search.arms.iter().map(|arm| arm.prompts.len()).sum();
        ReplayVerdict {
            exhibit: exhibit.content_hash(),
            checkpoint: search.checkpoint.clone(),
            verdict,
            arms,
            discrepancy,
            log_bayes_factor: replayed,
            prompts,
            replayed_prompts: prompts,
        }
    }
}

impl Judge for Recount {
    fn name(&self) -> &str {
        "replay"
    }
    fn family(&self) -> &str {
        "exact-test"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn judge(
        &self,
        _: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let records: Vec<ReplayVerdict> = exhibits
            .iter()
            .filter_map(|exhibit| match exhibit {
                Exhibit::TriggerControl(search) => Some(self.replay(exhibit, search)),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Err(JudgeError::NothingToJudge);
        }
        let factor: f64 = records.iter().map(|record| record.log_bayes_factor).sum();
        Ok(Judgement {
            judge: "replay".to_owned(),
            log_odds: context.base_log_odds + factor,
            standard_error: 0.5,
            cost_micro: 0,
            latency_ms: 0,
            note: String::new(),
            detail: serde_json::to_value(&records).ok(),
        })
    }
}
