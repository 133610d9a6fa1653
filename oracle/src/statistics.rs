//! The judges' errors measured on settled cases that not every judge judged.

use crate::error::DataError;
use crate::linear::is_positive_definite;
use crate::pool::{ErrorStatistics, SettledCase};

/// Halvings of the distance to independence when correlations do not fit together.
const HALVINGS: u32 = 30;

impl ErrorStatistics {
    /// As [`ErrorStatistics::fit`], entry by entry: each variance from the cases of that judge, each correlation from
    /// the cases that both judged, and each shrunk by the cases behind it.
    ///
    /// Errors: [`DataError::TooFew`] when no judge has three cases, [`DataError::Option`] for a bad `prior_cases`.
    pub fn fit_pairwise(
        judges: &[String],
        cases: &[SettledCase],
        prior_cases: f64,
    ) -> Result<Self, DataError> {
        if !(prior_cases.is_finite() && prior_cases > 0.0) {
            return Err(DataError::Option {
                name: "prior_cases",
                reason: "is not a finite number > 0",
            });
        }
        let n = judges.len();
        let columns: Vec<Vec<Option<f64>>> = judges
            .iter()
            .map(|judge| {
                let finite = |case: &SettledCase| {
                    let said = case.log_odds.get(judge).copied();
                    said.filter(|log_odds| log_odds.is_finite())
                };
                cases.iter().map(finite).collect()
            })
            .collect();
        let mut scatters = vec![vec![Scatter::default(); n]; n];
        for i in 0..n {
            for j in 0..=i {
                let scatter = Scatter::of(&columns[i], &columns[j], cases);
                scatters[i][j] = scatter;
                scatters[j][i] = scatter;
            }
        }
        let most = (0..n).map(|i| scatters[i][i].cases).max().unwrap_or(0);
        if most < 3 {
            return Err(DataError::TooFew {
                what: "settled cases",
                have: most,
                need: 3,
            });
        }
        let covariance = |i: usize, j: usize| {
            let own = (scatters[i][i].variance_x() * scatters[j][j].variance_x()).sqrt();
            if i == j {
                own
            } else {
                scatters[i][j].correlation() * own
            }
        };
        let square = |entry: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            (0..n)
                .map(|i| (0..n).map(|j| entry(i, j)).collect())
                .collect()
        };
        Ok(Self {
            judges: judges.to_vec(),
            covariance: square(&covariance),
            cases: most,
            prior_cases,
            counts: (0..n)
                .map(|i| (0..n).map(|j| scatters[i][j].cases).collect())
                .collect(),
        })
    }
}

/// Sums of squares and products about the mean of each outcome, over the cases that two judges judged.
#[derive(Debug, Clone, Copy, Default)]
struct Scatter {
    cases: usize,
    outcomes: usize,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Scatter {
    fn of(x: &[Option<f64>], y: &[Option<f64>], cases: &[SettledCase]) -> Self {
        let mut total = Self::default();
        for outcome in [false, true] {
            let pairs: Vec<(f64, f64)> = cases
                .iter()
                .zip(x.iter().zip(y))
                .filter(|(case, _)| (case.settlement >= 0.5) == outcome)
                .filter_map(|(_, (x, y))| Some(((*x)?, (*y)?)))
                .collect();
            let n = pairs.len() as f64;
            let mean_x = pairs.iter().map(|pair| pair.0).sum::<f64>() / n;
            let mean_y = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
            for (x, y) in &pairs {
                total.xx += (x - mean_x) * (x - mean_x);
                total.xy += (x - mean_x) * (y - mean_y);
                total.yy += (y - mean_y) * (y - mean_y);
            }
            total.cases += pairs.len();
            total.outcomes += usize::from(!pairs.is_empty());
        }
        total
    }

    fn variance_x(&self) -> f64 {
        let degrees = self.cases.saturating_sub(self.outcomes);
        if degrees == 0 {
            0.0
        } else {
            self.xx / degrees as f64
        }
    }

    /// 0 where either never varied.
    fn correlation(&self) -> f64 {
        let scale = (self.xx * self.yy).sqrt();
        if scale > 0.0 {
            (self.xy / scale).clamp(-1.0, 1.0)
        } else {
            0.0
        }
    }
}

/// The correlation matrix nearest to `raw` on the way to independence that is positive definite, give or take a ridge.
pub(crate) fn consistent(raw: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let towards_independence = |t: f64| -> Vec<Vec<f64>> {
        let entry = |i: usize, j: usize, value: f64| if i == j { 1.0 } else { (1.0 - t) * value };
        raw.iter()
            .enumerate()
            .map(|(i, row)| {
                let row = row.iter().enumerate();
                row.map(|(j, value)| entry(i, j, *value)).collect()
            })
            .collect()
    };
    if is_positive_definite(&raw) {
        return raw;
    }
    let (mut bad, mut good) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (bad + good);
        if is_positive_definite(&towards_independence(middle)) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    towards_independence(good)
}
