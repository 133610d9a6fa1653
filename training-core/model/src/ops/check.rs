//! Finite-difference checking, shared by the kernels' tests.

/// Deterministic values in `(-1, 1)`.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Asserts that `gradient` is the gradient of `f` at `x`, by central differences
/// with step `h` and an absolute-plus-relative tolerance.
pub(crate) fn assert_gradient(
    what: &str,
    x: &[f32],
    gradient: &[f32],
    h: f32,
    tolerance: f64,
    mut f: impl FnMut(&[f32]) -> f64,
) {
    assert_eq!(x.len(), gradient.len(), "{what}");
    let mut probe = x.to_vec();
    for i in 0..x.len() {
        probe[i] = x[i] + h;
        let above = f(&probe);
        probe[i] = x[i] - h;
        let below = f(&probe);
        probe[i] = x[i];
        let numeric = (above - below) / (2.0 * f64::from(h));
        let analytic = f64::from(gradient[i]);
        let slack = tolerance * (1.0 + numeric.abs().max(analytic.abs()));
        assert!(
            (numeric - analytic).abs() < slack,
            "{what}[{i}]: numeric {numeric}, analytic {analytic}"
        );
    }
}

/// `Σᵢ wᵢ·yᵢ` in double precision: a scalar loss whose gradient in `y` is `w`.
pub(crate) fn weigh(y: &[f32], w: &[f32]) -> f64 {
    y.iter()
        .zip(w)
        .map(|(y, w)| f64::from(*y) * f64::from(*w))
        .sum()
}
