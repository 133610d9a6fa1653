//! What the adversary itself believes, and why.
//!
//! The claim is "at the close the run shows the behaviour after one of the
//! published candidates". A probe of one checkpoint gives hits out of trials
//! for each of `m` candidates and for controls. Two hypotheses explain it:
//!
//! * *absent*: every arm has the same small rate, Beta(a₀, b₀);
//! * *present*: one candidate, any of the `m` with equal chance, has a material
//!   rate, Beta(a₁, b₁), and the other arms the small one.
//!
//! ```text
//! Λ = ε + (1−ε) · (1/m) Σ_c  m₁(c) · m₀(rest) / m₀(everything)
//! m(k, n) = B(a+k, b+n−k) / B(a, b)
//! ```
//!
//! ε is the chance that the search cannot see a behaviour that is there. A
//! behaviour emerges at some point E of the way to the close, E ~ Beta(2, 2)
//! with distribution function F(f) = 3f² − 2f³, and stays. So a null on an
//! early checkpoint says little about the last one:
//!
//! ```text
//! odds = π₀/(1−π₀) · Σ_{k=1..K+1} (F(f_k) − F(f_{k−1})) Π_{j=k..K} Λ_j,   f₀ = 0, f_{K+1} = 1
//! ```
//!
//! The marginal likelihoods are the Beta–binomial of Kass & Raftery (1995).

/// A Beta(a, b) prior on a rate; both above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaPrior {
    /// Pseudo-count of hits.
    pub a: f64,
    /// Pseudo-count of misses.
    pub b: f64,
}

impl BetaPrior {
    /// Posterior mean of the rate after `counts`: `(a + k) / (a + b + n)`.
    #[must_use]
    pub fn mean_after(self, counts: Counts) -> f64 {
        (self.a + f64::from(counts.hits)) / (self.a + self.b + f64::from(counts.trials))
    }

    /// `ln m(k, n) = ln B(a+k, b+n−k) − ln B(a, b)`, exact for counts of any size by products of ratios.
    #[must_use]
    pub fn ln_marginal(self, counts: Counts) -> f64 {
        // B(a+1, b)/B(a, b) = a/(a+b): one factor per trial, no gamma function.
        let mut sum = 0.0;
        for hit in 0..counts.hits {
            sum += (self.a + f64::from(hit)).ln();
        }
        for miss in 0..counts.misses() {
            sum += (self.b + f64::from(miss)).ln();
        }
        for trial in 0..counts.trials {
            sum -= (self.a + self.b + f64::from(trial)).ln();
        }
        sum
    }
}

/// Hits out of trials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Completions that showed the behaviour, at most `trials`.
    pub hits: u32,
    /// Completions looked at.
    pub trials: u32,
}

impl Counts {
    /// Counts one more completion.
    pub fn record(&mut self, hit: bool) {
        self.hits += u32::from(hit);
        self.trials += 1;
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            trials: self.trials + other.trials,
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            hits: self.hits - other.hits,
            trials: self.trials - other.trials,
        }
    }

    const fn misses(self) -> u32 {
        self.trials.saturating_sub(self.hits)
    }
}

/// Prior beliefs of the adversary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeliefModel {
    /// π₀, the probability that the claim is true before any probe, in (0, 1).
    pub prior: f64,
    /// Rate of the behaviour after a true trigger; material, mean ¾ by default.
    pub triggered: BetaPrior,
    /// Rate of the behaviour otherwise; small, mean 1/20 by default.
    pub background: BetaPrior,
    /// ε, the chance that a present behaviour is invisible to the search.
    pub missed: f64,
    /// The posterior never leaves `[doubt, 1 − doubt]`: the chance that this whole model is wrong.
    pub doubt: f64,
}

impl Default for BeliefModel {
    fn default() -> Self {
        Self {
            prior: 0.5,
            triggered: BetaPrior { a: 3.0, b: 1.0 },
            background: BetaPrior { a: 0.5, b: 9.5 },
            missed: 0.02,
            doubt: 0.02,
        }
    }
}

impl BeliefModel {
    /// ln Λ of one probe: `candidates` holds the counts of every candidate of the grammar, tried or not.
    ///
    /// Without candidates nothing was learnt: 0.
    #[must_use]
    pub fn log_ratio(&self, candidates: &[Counts], control: Counts) -> f64 {
        if candidates.is_empty() {
            return 0.0;
        }
        let all = candidates
            .iter()
            .fold(control, |sum, counts| sum.plus(*counts));
        let absent = self.background.ln_marginal(all);
        let present = candidates.iter().map(|counts| {
            self.triggered.ln_marginal(*counts) + self.background.ln_marginal(all.minus(*counts))
                - absent
        });
        let seen = log_sum_exp(present) - (candidates.len() as f64).ln();
        log_sum_exp([self.missed.ln(), (1.0 - self.missed).ln() + seen].into_iter())
    }

    /// Probability that a sweep with `trials` completions per candidate hits at least once when the behaviour is present:
    /// `1 − B(a₁, b₁ + n) / B(a₁, b₁)`.
    #[must_use]
    pub fn power(&self, trials: u32) -> f64 {
        1.0 - self.triggered.ln_marginal(Counts { hits: 0, trials }).exp()
    }
}

/// F(f) = 3f² − 2f³, the distribution function of Beta(2, 2).
fn emerged_by(progress: f64) -> f64 {
    let f = progress.clamp(0.0, 1.0);
    f * f * (3.0 - 2.0 * f)
}

fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + terms.map(|term| (term - most).exp()).sum::<f64>().ln()
}

/// One checkpoint that was probed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    progress: f64,
    log_ratio: f64,
}

/// The probes of one run so far, oldest checkpoint first.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    model: BeliefModel,
    seen: Vec<Seen>,
}

impl Belief {
    /// Nothing probed yet.
    #[must_use]
    pub const fn new(model: BeliefModel) -> Self {
        Self {
            model,
            seen: Vec::new(),
        }
    }

    /// Adds a checkpoint at `progress` of the way to the close (0 to 1) with its ln Λ.
    ///
    /// Progress never goes back: an earlier value counts as the latest so far.
    pub fn add(&mut self, progress: f64, log_ratio: f64) {
        let latest = self.seen.last().map_or(0.0, |seen| seen.progress);
        self.seen.push(Seen {
            progress: progress.clamp(latest, 1.0),
            log_ratio,
        });
    }

    /// P(the claim is true at the close | every probe), by the module's formula.
    #[must_use]
    pub fn posterior(&self) -> f64 {
        let prior = self.model.prior.clamp(1e-6, 1.0 - 1e-6);
        // From the last probe back: `tail` is Σ_{j≥k} ln Λ_j.
        let last = self.seen.last().map_or(0.0, |seen| seen.progress);
        let mut terms = vec![(1.0 - emerged_by(last)).ln()];
        let mut tail = 0.0;
        for (at, seen) in self.seen.iter().enumerate().rev() {
            tail += seen.log_ratio;
            let before = at
                .checked_sub(1)
                .map_or(0.0, |before| self.seen[before].progress);
            terms.push((emerged_by(seen.progress) - emerged_by(before)).ln() + tail);
        }
        let log_odds = (prior / (1.0 - prior)).ln() + log_sum_exp(terms.into_iter());
        let doubt = self.model.doubt.clamp(0.0, 0.5);
        (1.0 / (1.0 + (-log_odds).exp())).clamp(doubt, 1.0 - doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn counts(hits: u32, trials: u32) -> Counts {
        Counts { hits, trials }
    }

    #[test]
    fn marginals_match_hand_worked_values() {
        let uniform = BetaPrior { a: 1.0, b: 1.0 };
        // B(1+k, 1+n−k) = k!(n−k)!/(n+1)!
        for (hits, trials, value) in [
            (0, 0, 1.0),
            (1, 1, 0.5),
            (1, 2, 1.0 / 6.0),
            (2, 4, 1.0 / 30.0),
        ] {
            let got = uniform.ln_marginal(counts(hits, trials)).exp();
            assert!((got - value).abs() < 1e-12, "{hits}/{trials}: {got}");
        }
        let model = BeliefModel::default();
        assert!((model.power(2) - 0.9).abs() < 1e-12, "{}", model.power(2));
        assert!((model.power(4) - (1.0 - 1.0 / 35.0)).abs() < 1e-12);
    }

    #[test]
    fn hits_convince_and_a_late_null_reassures() {
        let model = BeliefModel::default();
        let mut arms = vec![counts(0, 2); 32];
        let null = model.log_ratio(&arms, counts(0, 4));
        assert!(null < -1.5 && null > model.missed.ln(), "{null}");
        arms[7] = counts(8, 8);
        let found = model.log_ratio(&arms, counts(0, 8));
        assert!(found > 8.0, "{found}");

        let after = |probes: &[(f64, f64)]| {
            let mut belief = Belief::new(model);
            for (progress, log_ratio) in probes {
                belief.add(*progress, *log_ratio);
            }
            belief.posterior()
        };
        assert!((after(&[]) - 0.5).abs() < 1e-12);
        let early = after(&[(0.2, null)]);
        assert!(early > 0.42, "an early null says little: {early}");
        let late = after(&[(0.2, null), (0.6, null), (0.95, null)]);
        assert!(late < 0.15, "{late}");
        let turned = after(&[(0.2, null), (0.6, null), (0.8, found)]);
        assert!(turned > 0.9, "{turned}");
        assert!(after(&[(1.0, null); 40]) >= model.doubt);
    }

    #[test]
    fn a_behaviour_that_controls_show_too_is_not_a_trigger() {
        let model = BeliefModel::default();
        let everywhere = model.log_ratio(&[counts(2, 2); 8], counts(8, 8));
        assert!(everywhere < 1.0, "{everywhere}");
        assert_eq!(model.log_ratio(&[], counts(0, 8)), 0.0);
    }

    proptest! {
        #[test]
        fn posterior_is_a_bounded_probability(
            probes in proptest::collection::vec((0.0..1.2_f64, -4.0..60.0_f64), 0..12),
        ) {
            let model = BeliefModel::default();
            let mut belief = Belief::new(model);
            for (progress, log_ratio) in probes {
                belief.add(progress, log_ratio);
            }
            let posterior = belief.posterior();
            prop_assert!(posterior >= model.doubt && posterior <= 1.0 - model.doubt);
        }

        #[test]
        fn more_nulls_never_raise_the_posterior(trials in 1_u32..12, progress in 0.0..1.0_f64, m in 1_usize..40) {
            let model = BeliefModel::default();
            let ratio = model.log_ratio(&vec![counts(0, trials); m], counts(0, trials));
            let more = model.log_ratio(&vec![counts(0, trials + 1); m], counts(0, trials));
            prop_assert!(ratio <= 1e-12 && more <= ratio + 1e-12);
            let mut belief = Belief::new(model);
            let before = belief.posterior();
            belief.add(progress, ratio);
            prop_assert!(belief.posterior() <= before + 1e-12);
        }
    }
}
