//! How each judge has been doing: what it answered lately, how fast, at what cost, and how right it was.

use std::collections::BTreeMap;

use plumbline_oracle::Ensemble;
use plumbline_oracle::learning::log_loss;
use plumbline_store::{Tx, evidence, settled_cases};

use super::cases::{record_of, standing_on};
use super::state::names_of;
use crate::oracle::about;
use crate::views::{JudgeView, JudgementView, PoolStateView};
use crate::{Result, Service, ServiceError};

/// Submissions looked at, the latest.
const MOST_SUBMISSIONS: i64 = 500;
/// Settled cases looked at, the latest.
const MOST_CASES: i64 = 1_000;
/// Turns in a row that a failing judge failed.
const FAILING: usize = 3;
/// Standard deviations from the others beyond which a judgement is an outlier.
const OUTLIER: f64 = 3.0;

/// What was found of one judge.
#[derive(Default)]
struct Tally {
    judged: usize,
    skipped: usize,
    failed: usize,
    /// Failures since the last judgement, as long as only failures came.
    failed_lately: usize,
    settled_down: bool,
    last_error: Option<String>,
    latencies: Vec<u64>,
    cost_micro: i64,
    outliers: usize,
    settled: usize,
    loss: f64,
}

impl Service {
    /// The judges that are loaded, then those that judged before, or belong to the version in force, and are not.
    pub(super) fn judge_views(
        &self,
        ensemble: &Ensemble,
        state: &PoolStateView,
        learned: Option<&PoolStateView>,
    ) -> Result<Vec<JudgeView>> {
        let (mut tallies, standing) = self.read(|tx| {
            let standing = standing_on(tx)?;
            Ok((tally(tx)?, standing))
        })?;
        let weight_in = |state: &PoolStateView, name: &str| {
            let place = state.judges.iter().position(|judge| judge == name);
            place.map(|place| state.weights[place])
        };
        let mut views = Vec::new();
        for (name, family, version) in ensemble.members() {
            let tally = tallies.remove(&name).unwrap_or_default();
            let missing = ensemble.missing().into_iter().find(|(n, _)| *n == name);
            let mut view = JudgeView {
                family,
                weight: weight_in(state, &name).unwrap_or(0.0),
                about: about(&name, &version),
                version: Some(version),
                learned_weight: learned.and_then(|state| weight_in(state, &name)),
                status: tally.status().to_owned(),
                ..tally.view(name)
            };
            if let Some((_, reason)) = missing {
                (view.status, view.weight) = ("missing".to_owned(), 0.0);
                (view.version, view.last_error) = (None, Some(reason));
            }
            views.push(view);
        }
        let loaded = names_of(ensemble);
        for member in standing.iter().filter(|m| !loaded.contains(&m.judge)) {
            let tally = tallies.remove(&member.judge).unwrap_or_default();
            views.push(JudgeView {
                family: member.family.clone(),
                about: about(&member.judge, &member.version),
                ..tally.view(member.judge.clone())
            });
        }
        // What is left judged once and is in no version any more.
        for (name, tally) in tallies {
            views.push(JudgeView {
                about: "a judge that is no longer part of the ensemble".to_owned(),
                ..tally.view(name)
            });
        }
        Ok(views)
    }
}

fn tally(tx: &mut Tx) -> Result<BTreeMap<String, Tally>> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (_, _, judgements) in evidence::newest_judgements(tx, MOST_SUBMISSIONS)? {
        let judgements: Vec<JudgementView> =
            serde_json::from_str(&judgements).map_err(ServiceError::internal)?;
        for judgement in judgements {
            tallies
                .entry(judgement.judge.clone())
                .or_default()
                .count(&judgement);
        }
    }
    for case in settled_cases::newest(tx, None, MOST_CASES)? {
        let record = record_of(&case)?;
        for reading in &record.readings {
            let tally = tallies.entry(reading.judge.clone()).or_default();
            tally.settled += 1;
            tally.loss += log_loss(reading.log_odds, record.pi);
        }
    }
    Ok(tallies)
}

impl Tally {
    /// Counts a judgement; they come latest first.
    fn count(&mut self, judgement: &JudgementView) {
        // Judgements of earlier releases do not say what became of them.
        let outcome = match (judgement.outcome.as_str(), judgement.probability) {
            ("", Some(_)) => "judged",
            ("", None) => "skipped",
            (outcome, _) => outcome,
        };
        match outcome {
            "judged" => {
                self.judged += 1;
                self.settled_down = true;
                self.latencies.push(judgement.latency_ms);
            }
            "failed" => {
                self.failed += 1;
                self.failed_lately += usize::from(!self.settled_down);
                if self.last_error.is_none() {
                    self.last_error = Some(judgement.note.clone());
                }
            }
            // Whether it is missing now is for the ensemble to say.
            "missing" => {}
            _ => self.skipped += 1,
        }
        self.cost_micro = self.cost_micro.saturating_add(judgement.cost_micro);
        self.outliers += usize::from(judgement.deviation.is_some_and(|d| d > OUTLIER));
    }

    fn status(&self) -> &'static str {
        if self.failed_lately >= FAILING {
            "failing"
        } else if self.judged + self.skipped + self.failed == 0 {
            "idle"
        } else {
            "ok"
        }
    }

    /// Without what only the ensemble knows; of a judge that is missing.
    fn view(mut self, name: String) -> JudgeView {
        self.latencies.sort_unstable();
        JudgeView {
            name,
            status: "missing".to_owned(),
            judged: self.judged,
            skipped: self.skipped,
            failed: self.failed,
            latency_p50_ms: quantile(&self.latencies, 50),
            latency_p99_ms: quantile(&self.latencies, 99),
            last_error: self.last_error,
            cost_micro: self.cost_micro,
            outliers: self.outliers,
            settled: self.settled,
            log_loss: (self.settled > 0).then(|| self.loss / self.settled as f64),
            ..JudgeView::default()
        }
    }
}

/// The least of the sorted values that so many per cent do not exceed.
fn quantile(sorted: &[u64], per_cent: usize) -> Option<u64> {
    let rank = (sorted.len() * per_cent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_values_that_were_seen() {
        assert_eq!(quantile(&[], 50), None);
        assert_eq!(quantile(&[7], 50), Some(7));
        assert_eq!(quantile(&[7], 99), Some(7));
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 50), Some(50));
        assert_eq!(quantile(&hundred, 99), Some(99));
    }
}
