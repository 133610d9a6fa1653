//! Risk in the worst scenarios, instead of on average: the conditional value at risk of a pool.
//!
//! Judges and traders share blind spots, so they are wrong about many runs at once. A scenario is how far
//! all log-odds are off together; the same shock moves every run, each run's probability is right on
//! average over the scenarios, and the loss of a scenario is `Σ s_r p_r(scenario) x_r`. Rockafellar and
//! Uryasev's constraint on the mean of the worst part of the losses,
//!
//! ```text
//! min_η  η + 1/(part·N) Σ_k max(0, Σ_r s_r p_rk x_r − η)  ≤  R
//! ```
//!
//! needs a variable and a row for each scenario in general. Here every run is worse in the same scenarios,
//! so the worst part is the same for all shares, and the mean over it is linear in them: the constraint is
//! `Σ s_r ū_r x_r ≤ R` with ū the run's own mean over the worst scenarios. It stays one row at any number
//! of runs and scenarios. R. T. Rockafellar, S. Uryasev, "Optimization of conditional value-at-risk",
//! Journal of Risk 2 (2000).

use serde::{Deserialize, Serialize};

use crate::bound::{logit, sigmoid};

/// Scenarios that the shock is cut into, equally likely.
const SCENARIOS: u32 = 100;
/// Steps of the search for the middle of the scenarios; each halves what is left at least.
const STEPS: u32 = 60;
/// The search ends when the mean is this close.
const CLOSE: f64 = 1e-12;

/// How the worst scenarios are counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailSettings {
    /// The part of the scenarios that counts, the worst ones, in hundredths: 1 to 100.
    pub worst_percent: u32,
    /// Standard deviation of the shock that all runs share, log-odds, in (0, 20].
    pub sigma_common: f64,
}

impl TailSettings {
    /// The mean probability of misalignment in the worst scenarios of a run whose probability is `upper`
    /// on average over all of them. Never below `upper`; rises with it; 0 and 1 are certain in every
    /// scenario.
    #[must_use]
    pub fn of(&self, upper: f64) -> f64 {
        if !(upper > 0.0 && upper < 1.0) {
            return upper;
        }
        let worst = self.worst_percent.clamp(1, SCENARIOS);
        let middle = self.middle(upper);
        let tail: f64 = (SCENARIOS - worst..SCENARIOS)
            .map(|scenario| sigmoid(middle + self.shock(scenario)))
            .sum();
        (tail / f64::from(worst)).clamp(upper, 1.0)
    }

    /// The shock of a scenario: quantiles of a logistic distribution, the worst last.
    fn shock(&self, scenario: u32) -> f64 {
        let quantile = (f64::from(scenario) + 0.5) / f64::from(SCENARIOS);
        self.sigma_common * 3.0_f64.sqrt() / std::f64::consts::PI * logit(quantile)
    }

    /// Log-odds without a shock at which the mean over all scenarios is `upper`. Newton's step where it
    /// stays between the bounds, else their middle.
    fn middle(&self, upper: f64) -> f64 {
        let widest = self.shock(SCENARIOS - 1);
        let (mut low, mut high) = (logit(upper) - widest, logit(upper) + widest);
        let mut middle = logit(upper);
        for _ in 0..STEPS {
            let (mut mean, mut slope) = (0.0, 0.0);
            for scenario in 0..SCENARIOS {
                let p = sigmoid(middle + self.shock(scenario));
                mean += p / f64::from(SCENARIOS);
                slope += p * (1.0 - p) / f64::from(SCENARIOS);
            }
            let off = mean - upper;
            if off.abs() < CLOSE {
                break;
            }
            if off > 0.0 {
                high = middle;
            } else {
                low = middle;
            }
            let newton = middle - off / slope;
            middle = if newton > low && newton < high {
                newton
            } else {
                f64::midpoint(low, high)
            };
        }
        middle
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Bps;
    use crate::allocator::{Pool, Request, allocate};
    use good_lp::{
        Expression, ProblemVariables, Solution, SolverModel, constraint, microlp, variable,
    };
    use proptest::prelude::*;
    use uuid::Uuid;

    fn tail(worst_percent: u32, sigma_common: f64) -> TailSettings {
        TailSettings {
            worst_percent,
            sigma_common,
        }
    }

    #[test]
    fn all_scenarios_together_are_the_average() {
        for upper in [0.0, 1e-6, 0.1, 0.5, 0.97, 1.0] {
            assert!((tail(100, 1.5).of(upper) - upper).abs() < 1e-9, "{upper}");
        }
        // A small shock moves log-odds of one half by its own mean over the worst tenth:
        // σ·√3/π·mean logit(.905 … .995) ≈ .1 · .5513 · 3.22.
        let small = logit(tail(10, 0.1).of(0.5));
        assert!((small - 0.177).abs() < 2e-3, "{small}");
    }

    /// The best value of shares by Rockafellar and Uryasev's own program, with every scenario in it.
    fn by_scenarios(runs: &[(f64, f64)], settings: &TailSettings, budget: f64) -> f64 {
        let mut variables = ProblemVariables::new();
        let shares: Vec<_> = runs
            .iter()
            .map(|_| variables.add(variable().min(0.0).max(1.0)))
            .collect();
        let eta = variables.add(variable());
        let over = variables.add_vector(variable().min(0.0), SCENARIOS as usize);
        let value: Expression = runs.iter().zip(&shares).map(|((v, _), &x)| *v * x).sum();
        let all: Expression = shares.iter().sum();
        let excess: Expression = over.iter().sum();
        let middles: Vec<f64> = runs.iter().map(|(_, u)| settings.middle(*u)).collect();
        let mut model = variables.maximise(value.clone()).using(microlp);
        model.add_constraint(constraint!(all <= 1.0));
        let worst = f64::from(settings.worst_percent);
        model.add_constraint(constraint!(eta + excess / worst <= budget));
        for (scenario, &over) in (0..SCENARIOS).zip(&over) {
            let mut loss = Expression::default();
            for (middle, &x) in middles.iter().zip(&shares) {
                loss.add_mul(sigmoid(middle + settings.shock(scenario)), x);
            }
            model.add_constraint(constraint!(loss - eta <= over));
        }
        model.solve().unwrap().eval(&value)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn worse_scenarios_are_worse_and_rise_with_the_bound(
            upper in 0.0f64..=1.0, more in 0.0f64..1.0, worst in 1u32..=99, sigma in 0.01f64..5.0
        ) {
            let settings = tail(worst, sigma);
            let counted = settings.of(upper);
            prop_assert!((upper..=1.0).contains(&counted));
            prop_assert!(settings.of((upper + more).min(1.0)) >= counted - 1e-9);
            prop_assert!(tail(worst + 1, sigma).of(upper) <= counted + 1e-9);
            prop_assert!(tail(worst, sigma + 0.1).of(upper) >= counted - 1e-9);
        }

        #[test]
        fn one_row_says_what_all_scenarios_say(
            runs in prop::collection::vec((0.1f64..3.0, 0.01f64..0.99), 1..6),
            worst in 1u32..60, sigma in 0.1f64..3.0, budget in 0.05f64..0.9
        ) {
            let settings = tail(worst, sigma);
            let requests: Vec<Request> = runs.iter().zip(1u128..).map(|((value, upper), id)| Request {
                run: Uuid::from_u128(id),
                value: *value,
                severity: 1.0,
                upper: settings.of(*upper),
                floor: Bps::ZERO,
                cap: Bps::FULL,
                cap_reason: "test".to_owned(),
            }).collect();
            let pool = Pool { capacity: Bps::FULL, risk_budget: budget };
            let allocation = allocate(&requests, &pool).unwrap();
            let value: f64 = allocation.shares.iter().zip(&runs).map(|(s, r)| s.exact * r.0).sum();
            prop_assert!((value - by_scenarios(&runs, &settings, budget)).abs() < 1e-5);
        }
    }
}
