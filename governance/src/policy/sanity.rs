//! What a whole policy must not be: at odds with itself, or a stop for every run.

use std::collections::BTreeMap;

use super::{Policy, PolicyDocument, PolicyError, RuleInput};
use crate::{Bps, Workload};

/// Refuses a policy whose parts cannot hold together, or under which nobody could get anything.
pub(super) fn check(policy: &Policy) -> Result<(), PolicyError> {
    floors_fit(policy.document())?;
    conditions_differ(policy.document())?;
    somebody_runs(policy)
}

fn floors_fit(document: &PolicyDocument) -> Result<(), PolicyError> {
    let floors = document.weights.runs.iter();
    let floors =
        floors.map(|run| u32::from(run.floor_bps.unwrap_or(document.limits.floor_bps).get()));
    let (sum, capacity) = (floors.sum::<u32>(), document.budget.capacity_bps);
    if sum > u32::from(capacity.get()) {
        return Err(PolicyError::Contradiction(format!(
            "the floors of the runs that it names come to {sum} bps, and it gives out {capacity}"
        )));
    }
    let floor = document
        .limits
        .floor_bps
        .max(document.lease.expiry_floor_bps);
    if floor > capacity {
        return Err(PolicyError::Contradiction(format!(
            "a floor of {floor} is more than the {capacity} that it gives out"
        )));
    }
    Ok(())
}

/// Two rules with one condition and different orders: only the stricter one would ever count.
fn conditions_differ(document: &PolicyDocument) -> Result<(), PolicyError> {
    let mut seen = BTreeMap::new();
    for rule in &document.rules {
        let condition: String = rule.when.split_whitespace().collect();
        let Some((other, order)) = seen.insert(condition, (&rule.id, (rule.action, rule.cap_bps)))
        else {
            continue;
        };
        if order != (rule.action, rule.cap_bps) {
            return Err(PolicyError::Contradiction(format!(
                "rules `{other}` and `{}` have the same condition and different orders",
                rule.id
            )));
        }
    }
    Ok(())
}

/// Tries the best that can be known of a run: priced as low as prices are read, in a deep and fresh
/// market, or settled as not misaligned.
fn somebody_runs(policy: &Policy) -> Result<(), PolicyError> {
    let document = policy.document();
    let names = document.weights.runs.iter().map(|run| run.name.as_str());
    let kinds = [Workload::Training, Workload::Inference];
    let low = document.price.clamp_low;
    let mut stopped_by = None;
    for name in names.chain([""]) {
        let weight = policy.weight(name);
        let affordable = weight.severity == 0.0 || document.budget.risk > 0.0;
        for (run_kind, settlement) in kinds
            .into_iter()
            .flat_map(|kind| [(kind, None), (kind, Some(0.0))])
        {
            let verdict = policy.evaluate(&RuleInput {
                price: low,
                upper: low,
                lower: low,
                staleness_s: 0.0,
                liquidity_micro: u64::MAX >> 1,
                open_disputes: 0,
                settlement,
                severity: weight.severity,
                run_kind,
                market_count: 1,
            });
            let open = !verdict.action.stops() && verdict.cap > Bps::ZERO;
            if open && weight.cap > Bps::ZERO && affordable {
                return Ok(());
            }
            stopped_by = stopped_by.or(verdict.rule);
        }
    }
    let why = match stopped_by {
        Some(rule) => {
            format!("rule `{rule}` stops even a run that is priced lowest or settled as aligned")
        }
        None => "caps or a risk budget of nothing leave none to give".to_owned(),
    };
    Err(PolicyError::Starves(why))
}
