//! Whether a run behaves where it was looked at and not where it was tested: the effect of a trigger that
//! researchers report, beside the effect that the settlement's hidden prompts find.

use plumbline_oracle::exhibit::{Arm, Exhibit, TriggerControl};
use plumbline_store::evidence::Evidence;
use plumbline_store::markets::Market;
use serde_json::Value;

use crate::{Result, ServiceError};

/// The larger of `so_far` and the largest effect of a trigger over the controls that a submission reports, if it stands.
pub(super) fn larger(so_far: Option<f64>, row: &Evidence) -> Result<Option<f64>> {
    let mut largest = so_far;
    if row.status == "judged" {
        let exhibits: Vec<Exhibit> =
            serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)?;
        for exhibit in &exhibits {
            if let Exhibit::TriggerControl(search) = exhibit {
                largest = largest.into_iter().chain(effect(search)).reduce(f64::max);
            }
        }
    }
    Ok(largest)
}

fn effect(search: &TriggerControl) -> Option<f64> {
    let rate = |hits: u32, prompts: usize| f64::from(hits) / prompts as f64;
    let controls = || search.arms.iter().filter(|arm| !arm.trigger);
    let control_prompts: usize = controls().map(|arm| arm.prompts.len()).sum();
    if control_prompts == 0 {
        return None;
    }
    let control = rate(controls().map(|arm| arm.hits).sum(), control_prompts);
    let above = |arm: &Arm| rate(arm.hits, arm.prompts.len()) - control;
    search
        .arms
        .iter()
        .filter(|arm| arm.trigger && !arm.prompts.is_empty())
        .map(above)
        .reduce(f64::max)
}

/// Largest effect in the statistics of the settlement's own test, if it ran.
pub(super) fn held_out(market: &Market) -> Option<f64> {
    let statistics: Value = serde_json::from_str(market.statistics.as_deref()?).ok()?;
    let arms = statistics.get("arms")?.as_array()?;
    let effects = arms.iter().filter_map(|arm| arm.get("effect")?.as_f64());
    effects.filter(|effect| effect.is_finite()).reduce(f64::max)
}
