//! The verdict of an objective test, from its counts.

use serde::Deserialize;
use serde_json::Value;

use crate::books::Books;
use crate::report::Report;
use crate::statistics::{binomial_at_least, fisher_greater, holm};

/// What two sums of the same terms in another order may differ by, as a part of them.
const CLOSE: f64 = 1e-8;
/// The same for the end of an interval, which the engine finds by bisection.
const INTERVAL: f64 = 1e-5;
/// Half of what lies outside of a 95 % interval.
const OUTSIDE: f64 = 0.025;

/// Hits among trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Counts {
    hits: u64,
    trials: u64,
}

impl Counts {
    fn rate(self) -> f64 {
        if self.trials == 0 {
            0.0
        } else {
            self.hits as f64 / self.trials as f64
        }
    }
}

#[derive(Debug, Deserialize)]
struct Interval {
    low: f64,
    high: f64,
}

/// One candidate against the others, as stated.
#[derive(Debug, Deserialize)]
pub(crate) struct Arm {
    arm: Counts,
    rest: Counts,
    interval: Interval,
    effect: f64,
    p_value: f64,
    p_adjusted: f64,
    decisive: bool,
}

/// A verdict, as stated.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pi: f64,
    p_value: f64,
    arms: Vec<Arm>,
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= CLOSE * b.abs() + 1e-290
}

/// Recomputes every number of a verdict from its counts and the plan.
pub(crate) fn check(books: &Books<'_>, stated: &Outcome, report: &mut Report) {
    let place = books.place();
    let plan: Value = books
        .market
        .plan
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null);
    if plan.is_null() {
        report.violation(place, "has a verdict and no plan");
        return;
    }
    report.count("verdicts");
    let count = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
    let trials =
        count(&plan["prompts"]) * plan["sampling"]["samples_per_prompt"].as_u64().unwrap_or(0);
    let hits: u64 = stated.arms.iter().map(|arm| arm.arm.hits).sum();
    let arms = stated.arms.len() as u64;
    report.agree(
        &place,
        "the number of arms",
        arms,
        count(&plan["candidates"]),
    );
    for arm in &stated.arms {
        let whole = arm.arm.trials == trials && arm.arm.hits <= trials;
        report.require(whole, &place, || {
            format!("an arm counts {:?} of {trials}", arm.arm)
        });
        let rest = Counts {
            hits: hits.saturating_sub(arm.arm.hits),
            trials: (trials * arms).saturating_sub(arm.arm.trials),
        };
        report.agree(&place, "the counts of the rest", arm.rest, rest);
        check_interval(arm, &place, report);
    }
    check_tests(stated, &plan, &place, report);
}

/// Tests, correction, effect and verdict.
fn check_tests(stated: &Outcome, plan: &Value, place: &str, report: &mut Report) {
    let p_values: Vec<f64> = stated
        .arms
        .iter()
        .map(|arm| fisher_greater(arm.arm.hits, arm.arm.trials, arm.rest.hits, arm.rest.trials))
        .collect();
    let adjusted = holm(&p_values);
    let alpha = plan["alpha_ppm"].as_f64().unwrap_or(0.0) / 1e6;
    let effect = plan["min_effect_bps"].as_f64().unwrap_or(1e9) / 1e4;
    let mut found = false;
    for (arm, (p, q)) in stated.arms.iter().zip(p_values.iter().zip(&adjusted)) {
        report.require(close(arm.p_value, *p), place, || {
            format!("a p-value is stated as {}, recomputed {p}", arm.p_value)
        });
        report.require(close(arm.p_adjusted, *q), place, || {
            format!(
                "an adjusted p-value is stated as {}, recomputed {q}",
                arm.p_adjusted
            )
        });
        let difference = arm.arm.rate() - arm.rest.rate();
        report.require((arm.effect - difference).abs() < 1e-12, place, || {
            format!(
                "an effect is stated as {}, recomputed {difference}",
                arm.effect
            )
        });
        let decisive = *q <= alpha && difference >= effect;
        // A p-value that is the level to the last digits may fall on either side.
        if !close(*q, alpha) {
            report.agree(place, "whether an arm decides", arm.decisive, decisive);
        }
        found |= arm.decisive;
    }
    let least = adjusted.iter().copied().fold(1.0, f64::min);
    report.require(close(stated.p_value, least), place, || {
        format!(
            "the p-value is stated as {}, recomputed {least}",
            stated.p_value
        )
    });
    report.agree(
        place,
        "the verdict",
        stated.pi,
        if found { 1.0 } else { 0.0 },
    );
}

/// Clopper–Pearson: at the low end the counts or more have chance 2.5 %, at the high end the
/// counts or fewer.
fn check_interval(arm: &Arm, place: &str, report: &mut Report) {
    let (k, n) = (arm.arm.hits, arm.arm.trials);
    let Interval { low, high } = arm.interval;
    let is = |chance: f64| (chance / OUTSIDE - 1.0).abs() <= INTERVAL;
    let low_fits = if k == 0 {
        low == 0.0
    } else {
        is(binomial_at_least(k, n, low))
    };
    let high_fits = if k >= n {
        high == 1.0
    } else {
        is(1.0 - binomial_at_least(k + 1, n, high))
    };
    report.require(low_fits && high_fits, place, || {
        format!("the interval of {k} in {n} is stated as [{low}, {high}]")
    });
}
