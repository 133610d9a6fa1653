//! RMSNorm (Zhang and Sennrich 2019): `y = g ∘ x / √(mean(x²) + ε)`.

use super::lanes::{dot, fma, sum_squares};

/// Forward over rows of width `gain.len()`: writes `y` and, per row, the factor
/// `1/√(mean(x²) + ε)` that the backward pass needs.
#[inline(never)]
pub(crate) fn forward(x: &[f32], gain: &[f32], epsilon: f32, y: &mut [f32], factors: &mut [f32]) {
    let d = gain.len();
    let rows = x.chunks_exact(d).zip(y.chunks_exact_mut(d));
    for ((x, y), factor) in rows.zip(factors) {
        *factor = 1.0 / (sum_squares(x) / d as f32 + epsilon).sqrt();
        for ((y, x), g) in y.iter_mut().zip(x).zip(gain) {
            *y = x * *factor * g;
        }
    }
}

/// Recomputes the forward result from the saved factors.
#[inline(never)]
pub(crate) fn recompute(x: &[f32], gain: &[f32], factors: &[f32], y: &mut [f32]) {
    let d = gain.len();
    let rows = x.chunks_exact(d).zip(y.chunks_exact_mut(d));
    for ((x, y), factor) in rows.zip(factors) {
        for ((y, x), g) in y.iter_mut().zip(x).zip(gain) {
            *y = x * factor * g;
        }
    }
}

/// Backward, adding to both gradients. With `r` the row's factor and `x̂ = r·x`:
/// `dx += r·(g∘dy − x̂·mean(g∘dy∘x̂))`, `dg += Σ_rows dy∘x̂`.
pub(crate) fn backward(
    dy: &[f32],
    x: &[f32],
    gain: &[f32],
    factors: &[f32],
    dx: &mut [f32],
    dgain: &mut [f32],
    scratch: &mut [f32],
) {
    let d = gain.len();
    let scratch = &mut scratch[..d];
    let rows = dy.chunks_exact(d).zip(x.chunks_exact(d));
    for (((dy, x), dx), r) in rows.zip(dx.chunks_exact_mut(d)).zip(factors) {
        backward_row(dy, x, gain, *r, dx, dgain, scratch);
    }
}

/// Not inlined, so that the rows are known to be apart.
#[inline(never)]
fn backward_row(
    dy: &[f32],
    x: &[f32],
    gain: &[f32],
    r: f32,
    dx: &mut [f32],
    dgain: &mut [f32],
    scratch: &mut [f32],
) {
    for ((s, dy), g) in scratch.iter_mut().zip(dy).zip(gain) {
        *s = dy * g;
    }
    let shrink = dot(scratch, x) * r * r * r / x.len() as f32;
    for ((dx, s), x) in dx.iter_mut().zip(scratch.iter()).zip(x) {
        *dx += fma(r, *s, -shrink * x);
    }
    for ((dg, dy), x) in dgain.iter_mut().zip(dy).zip(x) {
        *dg = fma(dy * r, *x, *dg);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, noise, weigh};
    use super::*;

    const EPSILON: f32 = 1e-5;

    fn run(x: &[f32], gain: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        let mut factors = vec![0.0; x.len() / gain.len()];
        forward(x, gain, EPSILON, &mut y, &mut factors);
        let mut again = vec![0.0; x.len()];
        recompute(x, gain, &factors, &mut again);
        assert_eq!(y, again);
        y
    }

    #[test]
    fn unit_gain_gives_unit_mean_square() {
        let y = run(&noise(1, 48), &[1.0; 24]);
        for row in y.chunks_exact(24) {
            assert!((sum_squares(row) / 24.0 - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn backward_matches_finite_differences() {
        let (d, rows) = (20, 3);
        let (x, w) = (noise(1, d * rows), noise(2, d * rows));
        let gain: Vec<f32> = noise(3, d).iter().map(|g| 1.0 + 0.3 * g).collect();
        let mut y = vec![0.0; x.len()];
        let mut factors = vec![0.0; rows];
        forward(&x, &gain, EPSILON, &mut y, &mut factors);
        let (mut dx, mut dgain) = (vec![0.0; x.len()], vec![0.0; d]);
        backward(
            &w,
            &x,
            &gain,
            &factors,
            &mut dx,
            &mut dgain,
            &mut vec![0.0; d],
        );
        assert_gradient("dx", &x, &dx, 1e-2, 1e-3, |x| weigh(&run(x, &gain), &w));
        assert_gradient("dgain", &gain, &dgain, 1e-2, 1e-3, |g| {
            weigh(&run(&x, g), &w)
        });
    }
}
