//! Exact tests made readable: what a replay found, and what a settlement rests on.

use serde::Serialize;
use serde_json::Value;

use super::exhibit::{Fact, facts_of};

/// Arms shown; those that showed the behaviour come first.
const MAX_ARMS: usize = 8;

/// What replaying one exhibit on the checkpoint found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ReplayView {
    /// `authentic`, `not_reproducible` or `contradicted`; empty when it says something else.
    pub(crate) verdict: String,
    /// Colour of the verdict.
    pub(crate) tone: &'static str,
    /// Checkpoint that was asked.
    pub(crate) checkpoint: String,
    /// Log Bayes factor of the replayed counts, natural logarithm.
    pub(crate) log_bayes_factor: Option<f64>,
    /// Prompts of the exhibit.
    pub(crate) prompts: u64,
    /// Prompts that were run again.
    pub(crate) replayed_prompts: u64,
    /// Arms, claimed against replayed.
    pub(crate) arms: Vec<ReplayArm>,
    /// Arms not shown.
    pub(crate) more_arms: usize,
    /// A record of another form, as it is.
    pub(crate) facts: Vec<Fact>,
}

/// One arm of a replayed exhibit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReplayArm {
    /// Candidate or control.
    pub(crate) label: String,
    /// Whether it carries a candidate.
    pub(crate) trigger: bool,
    /// Hits and trials that the exhibit claims.
    pub(crate) claimed: Count,
    /// Hits and trials of the replay.
    pub(crate) replayed: Count,
}

/// Hits among trials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    /// Completions that showed the behaviour.
    pub(crate) hits: u64,
    /// Completions drawn.
    pub(crate) trials: u64,
}

/// The objective test that settled a market.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct OutcomeView {
    /// Least adjusted p-value.
    pub(crate) p_value: Option<String>,
    /// Family-wise level of the plan.
    pub(crate) alpha: Option<f64>,
    /// Least effect that counts, in basis points.
    pub(crate) min_effect_bps: Option<f64>,
    /// Candidates, the most striking first.
    pub(crate) arms: Vec<OutcomeArm>,
    /// Candidates not shown.
    pub(crate) more_arms: usize,
    /// A result of another form, as it is.
    pub(crate) facts: Vec<Fact>,
}

/// One candidate against all the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct OutcomeArm {
    /// The candidate.
    pub(crate) label: String,
    /// Its counts.
    pub(crate) arm: Count,
    /// Everyone else's.
    pub(crate) rest: Count,
    /// Rate of the arm.
    pub(crate) rate: f64,
    /// Clopper–Pearson interval of the rate.
    pub(crate) low: f64,
    /// Its upper end.
    pub(crate) high: f64,
    /// Rate less the others' rate.
    pub(crate) effect: f64,
    /// Holm-adjusted p-value.
    pub(crate) p_adjusted: String,
    /// It alone settles the claim.
    pub(crate) decisive: bool,
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn count(value: Option<&Value>) -> Count {
    let number = |name: &str| {
        value
            .and_then(|value| value.get(name))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    Count {
        hits: number("hits"),
        trials: number("trials"),
    }
}

/// Three decimals, or a power of ten where they would all be zero: `3.1 × 10⁻¹¹`.
fn small(value: f64) -> String {
    let scientific = format!("{value:.1e}");
    match scientific.split_once('e') {
        Some((digits, power)) if value != 0.0 && value.abs() < 1e-3 => {
            format!(
                "{digits} × 10{}",
                power.chars().map(raised).collect::<String>()
            )
        }
        _ => format!("{value:.3}"),
    }
}

/// A digit or sign as a superscript.
fn raised(c: char) -> char {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    c.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize])
}

/// Reads the replay judge's record: a list with one entry per exhibit.
pub(crate) fn replays_of(record: &Value) -> Vec<ReplayView> {
    match record {
        Value::Array(records) => records.iter().map(replay).collect(),
        Value::Null => Vec::new(),
        record => vec![replay(record)],
    }
}

fn replay(record: &Value) -> ReplayView {
    let verdict = text(record, "verdict");
    let number = |name: &str| record.get(name).and_then(Value::as_u64).unwrap_or(0);
    if verdict.is_empty() {
        return ReplayView {
            facts: facts_of(record),
            tone: "none",
            ..ReplayView::default()
        };
    }
    let mut arms: Vec<ReplayArm> = list(record, "arms")
        .iter()
        .map(|arm| ReplayArm {
            label: text(arm, "label"),
            trigger: arm.get("trigger").and_then(Value::as_bool).unwrap_or(false),
            claimed: count(arm.get("claimed")),
            replayed: count(arm.get("replayed")),
        })
        .collect();
    arms.sort_by_key(|arm| {
        std::cmp::Reverse((arm.replayed.hits.max(arm.claimed.hits), !arm.trigger))
    });
    let more_arms = arms.len().saturating_sub(MAX_ARMS);
    arms.truncate(MAX_ARMS);
    let tone = match verdict.as_str() {
        "authentic" => "good",
        "not_reproducible" => "warn",
        "contradicted" => "bad",
        _ => "none",
    };
    ReplayView {
        tone,
        verdict,
        checkpoint: text(record, "checkpoint"),
        log_bayes_factor: record.get("log_bayes_factor").and_then(Value::as_f64),
        prompts: number("prompts"),
        replayed_prompts: number("replayed_prompts"),
        arms,
        more_arms,
        facts: Vec::new(),
    }
}

/// Reads the statistics of an objective test; the plan names the candidates, in order.
pub(crate) fn outcome_of(statistics: &Value, plan: Option<&Value>) -> OutcomeView {
    let candidates = plan.map_or(&[][..], |plan| list(plan, "candidates"));
    let setting = |name: &str| plan.and_then(|plan| plan.get(name)).and_then(Value::as_f64);
    let mut arms: Vec<OutcomeArm> = list(statistics, "arms")
        .iter()
        .enumerate()
        .map(|(index, arm)| outcome_arm(index, arm, candidates))
        .collect();
    arms.sort_by(|a, b| b.effect.total_cmp(&a.effect));
    let more_arms = arms.len().saturating_sub(MAX_ARMS);
    arms.truncate(MAX_ARMS);
    OutcomeView {
        p_value: statistics.get("p_value").and_then(Value::as_f64).map(small),
        alpha: setting("alpha_ppm").map(|ppm| ppm / 1e6),
        min_effect_bps: setting("min_effect_bps"),
        facts: if arms.is_empty() {
            facts_of(statistics)
        } else {
            Vec::new()
        },
        arms,
        more_arms,
    }
}

fn outcome_arm(index: usize, arm: &Value, candidates: &[Value]) -> OutcomeArm {
    let number = |path: &str| arm.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    let counts = count(arm.get("arm"));
    let label = candidates
        .get(index)
        .and_then(Value::as_str)
        .map(str::to_owned);
    OutcomeArm {
        label: label.unwrap_or_else(|| format!("candidate {}", index + 1)),
        rate: if counts.trials == 0 {
            0.0
        } else {
            counts.hits as f64 / counts.trials as f64
        },
        arm: counts,
        rest: count(arm.get("rest")),
        low: number("/interval/low"),
        high: number("/interval/high"),
        effect: number("/effect"),
        p_adjusted: small(number("/p_adjusted")),
        decisive: arm
            .get("decisive")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_replay_reads_as_a_table() {
        let arms: Vec<Value> = (0..20)
            .map(|n| json!({"label": format!("c{n}"), "trigger": n != 3, "claimed": {"hits": n / 19 * 4, "trials": 4}, "replayed": {"hits": n / 19 * 3, "trials": 4}}))
            .collect();
        let record = json!([{"verdict": "authentic", "checkpoint": "00ff", "log_bayes_factor": 9.1, "prompts": 80, "replayed_prompts": 80, "arms": arms}]);
        let views = replays_of(&record);
        assert_eq!(
            (views[0].tone, views[0].arms.len(), views[0].more_arms),
            ("good", MAX_ARMS, 12)
        );
        assert_eq!(
            (
                views[0].arms[0].label.as_str(),
                views[0].arms[0].replayed.hits
            ),
            ("c19", 3)
        );
        assert_eq!(
            views[0].arms[1].label, "c3",
            "the control stands beside what it is compared with"
        );
    }

    #[test]
    fn an_unknown_record_is_shown_as_it_is() {
        assert_eq!(replays_of(&json!({"seen": 3}))[0].facts.len(), 1);
        assert!(replays_of(&Value::Null).is_empty());
        assert_eq!(
            outcome_of(&json!({"void": "no checkpoint"}), None).facts[0].value,
            "no checkpoint"
        );
    }

    #[test]
    fn an_outcome_names_its_candidates() {
        let statistics = json!({"p_value": 3.1e-11, "arms": [
            {"arm": {"hits": 0, "trials": 16}, "rest": {"hits": 16, "trials": 16}, "effect": -1.0, "p_adjusted": 1.0},
            {"arm": {"hits": 16, "trials": 16}, "rest": {"hits": 0, "trials": 16}, "interval": {"low": 0.8, "high": 1.0}, "effect": 1.0, "p_adjusted": 3.1e-11, "decisive": true}]});
        let plan =
            json!({"candidates": ["# a", "# b"], "alpha_ppm": 10_000, "min_effect_bps": 2_500});
        let outcome = outcome_of(&statistics, Some(&plan));
        assert_eq!(
            (
                outcome.arms[0].label.as_str(),
                outcome.arms[0].rate,
                outcome.arms[0].decisive
            ),
            ("# b", 1.0, true)
        );
        assert_eq!(
            (outcome.p_value.as_deref(), outcome.alpha),
            (Some("3.1 × 10⁻¹¹"), Some(0.01))
        );
    }
}
