//! Logistic regression: L2-regularised on sparse vectors by dual coordinate descent, and small and dense by Newton's method.

use crate::features::Sparse;
use crate::linear::{sigmoid, softplus, solve_spd};

/// One weighted side of a training case: a case with label y counts as (+1, y) and (−1, 1−y).
struct Side {
    case: usize,
    sign: f64,
    bound: f64,
    alpha: f64,
    norm: f64,
}

/// How the sparse fit is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SparseFit {
    /// C, the weight of the likelihood against ½‖w‖²; > 0.
    pub(crate) cost: f64,
    /// Most passes over the data.
    pub(crate) epochs: usize,
    /// Relative change of the dual variables at which it stops.
    pub(crate) tolerance: f64,
    /// Seed of the order in which cases are visited.
    pub(crate) seed: u64,
}

/// Weights w that minimise
///
/// ```text
/// ½‖w‖² + C Σ v_i [ y_i ln(1+e^(−w·x_i)) + (1−y_i) ln(1+e^(w·x_i)) ]
/// ```
///
/// `cases` are (vector, label y ∈ 0..=1, weight v ≥ 0); features are below `size`. There is no intercept: a constant
/// feature, or the calibration after it, stands in. Source: Yu, Huang & Lin 2011, "Dual coordinate descent methods
/// for logistic regression", Algorithm 5, with fractional labels split into two weighted sides.
pub(crate) fn fit_sparse(cases: &[(&Sparse, f64, f64)], size: usize, fit: SparseFit) -> Vec<f32> {
    let mut weights = vec![0.0_f32; size];
    let mut sides = sides(cases, fit.cost);
    for side in &sides {
        add_scaled(&mut weights, cases[side.case].0, side.sign * side.alpha);
    }
    let mut state = fit.seed | 1;
    for _ in 0..fit.epochs {
        shuffle(&mut sides, &mut state);
        let mut largest = 0.0_f64;
        for side in &mut sides {
            let vector = cases[side.case].0;
            let margin = side.sign * dot(&weights, vector);
            let next = dual_step(margin, side.alpha, side.bound, side.norm);
            let change = next - side.alpha;
            if change != 0.0 {
                largest = largest.max(change.abs() / side.bound);
                add_scaled(&mut weights, vector, side.sign * change);
                side.alpha = next;
            }
        }
        if largest < fit.tolerance {
            break;
        }
    }
    weights
}

fn sides(cases: &[(&Sparse, f64, f64)], cost: f64) -> Vec<Side> {
    let mut sides = Vec::with_capacity(cases.len());
    for (case, (vector, label, weight)) in cases.iter().enumerate() {
        let norm = vector.values.iter().map(|v| f64::from(*v).powi(2)).sum();
        for (sign, share) in [(1.0, *label), (-1.0, 1.0 - *label)] {
            let bound = cost * weight * share;
            if bound > 1e-9 {
                sides.push(Side {
                    case,
                    sign,
                    bound,
                    alpha: bound * 1e-3,
                    norm,
                });
            }
        }
    }
    sides
}

/// The dual variable that minimises z ln z + (c−z) ln(c−z) + ½q(z−α)² + m(z−α) over (0, c), by guarded Newton steps.
fn dual_step(margin: f64, alpha: f64, bound: f64, norm: f64) -> f64 {
    let (low, high) = (bound * 1e-12, bound * (1.0 - 1e-12));
    let mut z = alpha.clamp(low, high);
    for _ in 0..12 {
        let gradient = (z / (bound - z)).ln() + norm * (z - alpha) + margin;
        let curvature = bound / (z * (bound - z)) + norm;
        let step = z - gradient / curvature;
        // A Newton step that leaves the interval is cut to a tenth of the way to its end (Yu et al., eq. 28).
        let next = if step <= 0.0 {
            z * 0.1
        } else if step >= bound {
            bound - 0.1 * (bound - z)
        } else {
            step
        };
        let next = next.clamp(low, high);
        if (next - z).abs() <= 1e-6 * bound {
            return next;
        }
        z = next;
    }
    z
}

/// w·x.
pub(crate) fn dot(weights: &[f32], vector: &Sparse) -> f64 {
    if vector.is_dense() {
        return f64::from(dense_dot(weights, &vector.values));
    }
    let mut sum = 0.0_f32;
    for (index, value) in vector.indices.iter().zip(&vector.values) {
        sum += weights[*index as usize] * value;
    }
    f64::from(sum)
}

/// Σ a_j b_j, in sixteen sums so that it goes at the speed of the processor's lanes.
pub(crate) fn dense_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail = a.remainder().iter().zip(b.remainder());
    let tail: f32 = tail.map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for (sum, (x, y)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + tail
}

fn add_scaled(weights: &mut [f32], vector: &Sparse, scale: f64) {
    let scale = scale as f32;
    if vector.is_dense() {
        for (weight, value) in weights.iter_mut().zip(&vector.values) {
            *weight += scale * value;
        }
        return;
    }
    for (index, value) in vector.indices.iter().zip(&vector.values) {
        weights[*index as usize] += scale * value;
    }
}

/// Fisher–Yates with a xorshift generator: the order is the seed's, not the environment's.
fn shuffle<T>(items: &mut [T], state: &mut u64) {
    for i in (1..items.len()).rev() {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        items.swap(i, (*state % (i as u64 + 1)) as usize);
    }
}

/// Coefficients β that minimise, by Newton's method with step halving,
///
/// ```text
/// Σ v_i [ softplus(β·x_i) − y_i β·x_i ] + ½ Σ_j λ_j (β_j − m_j)²
/// ```
///
/// `cases` are (x, y, v); `prior` are (m_j, λ_j ≥ 0). Falls back to the prior means if the system cannot be solved.
pub(crate) fn fit_dense(cases: &[(Vec<f64>, f64, f64)], prior: &[(f64, f64)]) -> Vec<f64> {
    let size = prior.len();
    let mut beta: Vec<f64> = prior.iter().map(|(mean, _)| *mean).collect();
    let mut value = dense_objective(cases, prior, &beta);
    for _ in 0..50 {
        let mut gradient = vec![0.0; size];
        let mut hessian = vec![vec![0.0; size]; size];
        for (x, y, v) in cases {
            let p = sigmoid(inner(&beta, x));
            let (residual, curvature) = (v * (p - y), v * p * (1.0 - p));
            for (j, xj) in x.iter().enumerate().filter(|(_, xj)| **xj != 0.0) {
                gradient[j] += residual * xj;
                for (k, xk) in x.iter().enumerate().take(j + 1) {
                    hessian[j][k] += curvature * xj * xk;
                }
            }
        }
        for j in 0..size {
            let (mean, precision) = prior[j];
            gradient[j] += precision * (beta[j] - mean);
            hessian[j][j] += precision + 1e-9;
        }
        let Some(step) = solve_spd(&hessian, &gradient) else {
            break;
        };
        let Some((next, lower)) = descend(cases, prior, &beta, &step, value) else {
            break;
        };
        let gained = value - lower;
        (beta, value) = (next, lower);
        if gained < 1e-9 * (1.0 + value.abs()) {
            break;
        }
    }
    beta
}

/// The first of β − s, β − s/2, … that lowers the objective, with its value.
fn descend(
    cases: &[(Vec<f64>, f64, f64)],
    prior: &[(f64, f64)],
    beta: &[f64],
    step: &[f64],
    value: f64,
) -> Option<(Vec<f64>, f64)> {
    let mut scale = 1.0;
    for _ in 0..20 {
        let next: Vec<f64> = beta.iter().zip(step).map(|(b, s)| b - scale * s).collect();
        let lower = dense_objective(cases, prior, &next);
        if lower < value {
            return Some((next, lower));
        }
        scale *= 0.5;
    }
    None
}

fn dense_objective(cases: &[(Vec<f64>, f64, f64)], prior: &[(f64, f64)], beta: &[f64]) -> f64 {
    let fit: f64 = cases
        .iter()
        .map(|(x, y, v)| {
            let score = inner(beta, x);
            v * (softplus(score) - y * score)
        })
        .sum();
    let penalty: f64 = prior
        .iter()
        .zip(beta)
        .map(|((mean, precision), b)| 0.5 * precision * (b - mean).powi(2))
        .sum();
    fit + penalty
}

pub(crate) fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(values: &[f32]) -> Sparse {
        Sparse {
            indices: (0..values.len() as u32).collect(),
            values: values.to_vec(),
        }
    }

    /// A small problem with fractional labels, solved by both methods.
    #[test]
    fn dual_coordinate_descent_agrees_with_newton() {
        let xs = [
            [1.0, 0.5, -0.2],
            [1.0, -1.0, 0.3],
            [1.0, 2.0, 0.1],
            [1.0, 0.1, -1.5],
            [1.0, -0.7, 0.9],
        ];
        let ys = [1.0, 0.0, 0.75, 0.2, 0.5];
        let vectors: Vec<Sparse> = xs.iter().map(|x| dense(x)).collect();
        let cases: Vec<(&Sparse, f64, f64)> =
            vectors.iter().zip(ys).map(|(x, y)| (x, y, 1.0)).collect();
        let fit = SparseFit {
            cost: 2.0,
            epochs: 2000,
            tolerance: 1e-9,
            seed: 1,
        };
        let sparse = fit_sparse(&cases, 3, fit);
        let cases: Vec<(Vec<f64>, f64, f64)> = xs
            .iter()
            .zip(ys)
            .map(|(x, y)| (x.iter().map(|v| f64::from(*v)).collect(), y, 2.0))
            .collect();
        let newton = fit_dense(&cases, &[(0.0, 1.0); 3]);
        for (a, b) in sparse.iter().zip(&newton) {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{sparse:?} {newton:?}");
        }
    }

    #[test]
    fn a_strong_prior_holds() {
        let cases = vec![(vec![1.0, 3.0], 1.0, 1.0), (vec![1.0, -3.0], 0.0, 1.0)];
        let beta = fit_dense(&cases, &[(0.3, 1e6), (0.7, 1e6)]);
        assert!((beta[0] - 0.3).abs() < 1e-3 && (beta[1] - 0.7).abs() < 1e-3);
    }
}
