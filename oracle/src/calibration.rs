//! From pooled to calibrated log-odds: a map for all claims, one for each kind that has settled cases, and how little
//! either is known.
//!
//! ```text
//! ℓ' = ℓ₀ + (a + bℓ₀ − ℓ₀) / √(1 + πv₀/8) + b x',   x' = x / √(1 + πC_bb x²/8),   x = ℓ − ℓ₀
//! sd'² = b² sd² + v,   v = (1 ℓ) C (1 ℓ)ᵀ,   v₀ = v at ℓ₀
//! ```
//!
//! (a, b) is the kind's map or, for a kind never settled, that of all claims, and C the covariance of its
//! estimate: small after many cases, that of the prior between kinds before any. So far from everything that was
//! settled the interval is wide, and the log-odds are drawn to the base rate as averaging over (a, b) draws the
//! probability (D. MacKay, The Evidence Framework Applied to Classification Networks, 1992). Intercept and slope are
//! drawn each by its own variance, so that more evidence never lowers ℓ'.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::linear::{logit, sigmoid};
use crate::logistic::fit_dense;
use crate::pool::{Opinion, PoolConfig, Pooled, pool};

/// Cases of a block of the isotonic map, before neighbours are merged.
const BLOCK: usize = 20;
/// Cases that the straight map is worth against a block's own mean.
const BLOCK_PRIOR: f64 = 10.0;

/// The maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolCalibration {
    /// For all claims.
    pub global: Map,
    /// For the kinds of claim with settled cases, shrunk to `global`.
    pub kinds: BTreeMap<String, Map>,
    /// Variance of a kind's (a, b) about the global ones before it has cases; ≥ 0.
    pub kind_variance: [f64; 2],
}

/// One map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// a, nats.
    pub intercept: f64,
    /// b ≥ 0.
    pub slope: f64,
    /// Covariance of the estimates of a and b: var a, cov, var b.
    pub covariance: [f64; 3],
    /// Settled cases behind it.
    pub cases: usize,
    /// Isotonic map as (ℓ, ℓ') with both increasing, where cases are enough; empty for the straight line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knots: Vec<(f64, f64)>,
}

/// How maps are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationOptions {
    /// Precision of the prior that a is 0; > 0.
    pub intercept_precision: f64,
    /// Precision of the prior that b is 1; > 0.
    pub slope_precision: f64,
    /// Precision of the prior that a kind's a is the global one; > 0.
    pub kind_intercept_precision: f64,
    /// Precision of the prior that a kind's b is the global one; > 0.
    pub kind_slope_precision: f64,
    /// Cases from which on a map is isotonic instead of straight.
    pub isotonic_cases: usize,
}

impl Default for CalibrationOptions {
    fn default() -> Self {
        Self {
            intercept_precision: 4.0,
            slope_precision: 8.0,
            kind_intercept_precision: 4.0,
            kind_slope_precision: 8.0,
            isotonic_cases: 200,
        }
    }
}

/// A settled case as a calibration sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// Kind of the claim.
    pub kind: &'a str,
    /// Pooled log-odds, not calibrated.
    pub log_odds: f64,
    /// π, 0..=1.
    pub settlement: f64,
}

impl Map {
    /// ℓ with nothing known: itself.
    const IDENTITY: Self = Self {
        intercept: 0.0,
        slope: 1.0,
        covariance: [0.0; 3],
        cases: 0,
        knots: Vec::new(),
    };

    fn fit(cases: &[Scored<'_>], prior: [(f64, f64); 2], isotonic_cases: usize) -> Self {
        let data: Vec<(Vec<f64>, f64, f64)> = cases
            .iter()
            .map(|case| (vec![1.0, case.log_odds], case.settlement, 1.0))
            .collect();
        let beta = fit_dense(&data, &prior);
        // Judges that were wrong more often than right are not believed the other way round.
        let (intercept, slope) = (beta[0], beta[1].max(0.0));
        let mut information = [prior[0].1, 0.0, prior[1].1];
        for case in cases {
            let p = sigmoid(intercept + slope * case.log_odds);
            let weight = p * (1.0 - p);
            information[0] += weight;
            information[1] += weight * case.log_odds;
            information[2] += weight * case.log_odds * case.log_odds;
        }
        let determinant = information[0] * information[2] - information[1] * information[1];
        let straight = Self {
            intercept,
            slope,
            covariance: [
                information[2] / determinant,
                -information[1] / determinant,
                information[0] / determinant,
            ],
            cases: cases.len(),
            knots: Vec::new(),
        };
        if cases.len() < isotonic_cases.max(2 * BLOCK) {
            return straight;
        }
        Self {
            knots: isotonic(cases, &straight),
            ..straight
        }
    }

    fn line(&self, log_odds: f64) -> f64 {
        self.intercept + self.slope * log_odds
    }

    /// The map's value: between knots straight, beyond them as steep as the line.
    fn apply(&self, log_odds: f64) -> f64 {
        let (Some(first), Some(last)) = (self.knots.first(), self.knots.last()) else {
            return self.line(log_odds);
        };
        if log_odds <= first.0 {
            return first.1 + self.slope * (log_odds - first.0);
        }
        if log_odds >= last.0 {
            return last.1 + self.slope * (log_odds - last.0);
        }
        let above = self.knots.partition_point(|knot| knot.0 < log_odds).max(1);
        let ((x0, y0), (x1, y1)) = (self.knots[above - 1], self.knots[above]);
        y0 + (y1 - y0) * (log_odds - x0) / (x1 - x0)
    }

    /// Variance of the map's value.
    fn variance(&self, log_odds: f64) -> f64 {
        let [aa, ab, bb] = self.covariance;
        (aa + 2.0 * ab * log_odds + bb * log_odds * log_odds).max(0.0)
    }

    fn is_sound(&self) -> bool {
        let numbers = [self.intercept, self.slope];
        let finite = numbers
            .iter()
            .chain(&self.covariance)
            .all(|v| v.is_finite());
        let rising = self
            .knots
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let knots = self
            .knots
            .iter()
            .all(|knot| knot.0.is_finite() && knot.1.is_finite());
        finite && rising && knots && self.slope >= 0.0
    }
}

/// Pool-adjacent-violators over blocks of cases, each mean drawn to the straight map's.
fn isotonic(cases: &[Scored<'_>], straight: &Map) -> Vec<(f64, f64)> {
    struct Block {
        log_odds: f64,
        settled: f64,
        cases: f64,
    }
    impl Block {
        fn mean(&self) -> f64 {
            self.settled / self.cases
        }
    }
    let mut sorted = cases.to_vec();
    sorted.sort_by(|a, b| {
        a.log_odds
            .total_cmp(&b.log_odds)
            .then(a.settlement.total_cmp(&b.settlement))
    });
    let blocks = sorted.len() / BLOCK;
    let mut merged: Vec<Block> = Vec::new();
    for index in 0..blocks {
        let part = &sorted[index * sorted.len() / blocks..(index + 1) * sorted.len() / blocks];
        let n = part.len() as f64;
        let expected = part
            .iter()
            .map(|case| sigmoid(straight.line(case.log_odds)))
            .sum::<f64>()
            / n;
        let settled: f64 = part.iter().map(|case| case.settlement).sum();
        merged.push(Block {
            log_odds: part.iter().map(|case| case.log_odds).sum::<f64>(),
            settled: (settled + BLOCK_PRIOR * expected) * n / (n + BLOCK_PRIOR),
            cases: n,
        });
        while let [.., before, last] = merged.as_mut_slice() {
            // Of equal log-odds one knot is made: a map has one value there.
            let tied = last.log_odds / last.cases - before.log_odds / before.cases < 1e-6;
            if before.mean() < last.mean() && !tied {
                break;
            }
            before.log_odds += last.log_odds;
            before.settled += last.settled;
            before.cases += last.cases;
            merged.pop();
        }
    }
    merged
        .iter()
        .map(|block| (block.log_odds / block.cases, logit(block.mean())))
        .collect()
}

impl PoolCalibration {
    /// Fits the maps: the global one shrunk to the identity, each kind's to the global one.
    pub fn fit(cases: &[Scored<'_>], options: &CalibrationOptions) -> Self {
        let prior = [
            (0.0, options.intercept_precision),
            (1.0, options.slope_precision),
        ];
        let global = Map::fit(cases, prior, options.isotonic_cases);
        let mut by_kind: BTreeMap<&str, Vec<Scored<'_>>> = BTreeMap::new();
        for case in cases {
            by_kind.entry(case.kind).or_default().push(*case);
        }
        let near = [
            (global.intercept, options.kind_intercept_precision),
            (global.slope, options.kind_slope_precision),
        ];
        let kinds = by_kind
            .into_iter()
            .map(|(kind, cases)| {
                let map = Map::fit(&cases, near, options.isotonic_cases);
                (kind.to_owned(), map)
            })
            .collect();
        Self {
            global,
            kinds,
            kind_variance: [
                1.0 / options.kind_intercept_precision,
                1.0 / options.kind_slope_precision,
            ],
        }
    }

    /// The map of a kind; of one never settled the global one, with all that may differ between kinds.
    fn map_of(&self, kind: &str) -> Map {
        if let Some(map) = self.kinds.get(kind) {
            return map.clone();
        }
        let [aa, ab, bb] = self.global.covariance;
        Map {
            covariance: [aa + self.kind_variance[0], ab, bb + self.kind_variance[1]],
            ..self.global.clone()
        }
    }

    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let variance = self
            .kind_variance
            .iter()
            .all(|v| v.is_finite() && *v >= 0.0);
        let maps = self.kinds.values().chain([&self.global]);
        if variance && maps.into_iter().all(Map::is_sound) {
            Ok(())
        } else {
            Err(DataError::Option {
                name: "calibration",
                reason: "has a map that is not finite and rising",
            })
        }
    }
}

impl Default for PoolCalibration {
    /// The identity, taken for certain.
    fn default() -> Self {
        Self {
            global: Map::IDENTITY,
            kinds: BTreeMap::new(),
            kind_variance: [0.0; 2],
        }
    }
}

/// Pools opinions about a claim of this kind and calibrates the result; `failed` as in [`pool`].
pub fn posterior(kind: &str, opinions: &[Opinion], failed: usize, config: &PoolConfig) -> Pooled {
    let pooled = pool(opinions, failed, config);
    let Some(calibration) = &config.calibration else {
        return pooled;
    };
    let map = calibration.map_of(kind);
    let base = config.base_log_odds;
    let drawn = |value: f64, variance: f64| value / (1.0 + PI * variance / 8.0).sqrt();
    let distance = pooled.log_odds - base;
    let near = drawn(distance, map.covariance[2] * distance * distance);
    let start = map.apply(base);
    let moved = drawn(start - base, map.variance(base)) + map.apply(base + near) - start;
    let log_odds = base + moved.clamp(-config.log_odds_bound, config.log_odds_bound);
    let variance = map.variance(pooled.log_odds);
    let spread = map.slope * pooled.standard_deviation;
    let standard_deviation = (spread * spread + variance).sqrt();
    let half = config.interval_z * standard_deviation;
    Pooled {
        log_odds,
        standard_deviation,
        low: log_odds - half,
        high: log_odds + half,
        ..pooled
    }
}
