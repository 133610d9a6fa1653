//! Loops written so that the compiler turns them into vector instructions.
//!
//! Sums are kept in a fixed number of partial sums: floating-point addition is
//! not associative, so the compiler may not do that by itself. The order is
//! fixed by the length alone, hence results do not depend on the machine's
//! vector width.

/// Number of partial sums; two 512-bit or four 256-bit registers.
const LANES: usize = 32;

/// `a·b + c`, as one instruction where the target has it.
///
/// Without the guard a target lacking fused multiply-add would call a software
/// routine for every element.
#[inline(always)]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// `eˣ` with a relative error below 2e-7 on `[-87, 88]`; outside it is clamped
/// to the values at the ends (about 1.6e-38 and 1.7e38). `x` must not be NaN.
///
/// Cody–Waite reduction `x = n·ln 2 + r`, `|r| ≤ ln 2 / 2`, the Taylor polynomial
/// of degree 7 for `e^r` and an exponent shift for `2ⁿ`. Branch-free, so loops
/// over it vectorise.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = fma(x, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    p = fma(p, r, 1.0 / 720.0);
    p = fma(p, r, 1.0 / 120.0);
    p = fma(p, r, 1.0 / 24.0);
    p = fma(p, r, 1.0 / 6.0);
    p = fma(p, r, 0.5);
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    let bits = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) << 23;
    p * f32::from_bits(bits.wrapping_add(1.0f32.to_bits()))
}

/// `Σᵢ f(aᵢ, bᵢ)` in the fixed partial-sum order.
#[inline(always)]
fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut partial = [0f32; LANES];
    let (mut a_chunks, mut b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (x, y) in a_chunks.by_ref().zip(b_chunks.by_ref()) {
        for lane in 0..LANES {
            partial[lane] = f(x[lane], y[lane], partial[lane]);
        }
    }
    let tail = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (lane, (x, y)) in tail.enumerate() {
        partial[lane] = f(*x, *y, partial[lane]);
    }
    fold(partial, |x, y| x + y)
}

/// Combines the partial results pairwise.
#[inline(always)]
fn fold(mut partial: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            partial[lane] = f(partial[lane], partial[lane + half]);
        }
        half /= 2;
    }
    partial[0]
}

/// `Σᵢ aᵢ·bᵢ` of equally long slices.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_pairs(a, b, fma)
}

/// `Σᵢ aᵢ²`.
#[inline(always)]
pub(crate) fn sum_squares(a: &[f32]) -> f32 {
    dot(a, a)
}

/// `maxᵢ aᵢ`, or minus infinity for an empty slice.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let larger = |x: f32, y: f32| if x > y { x } else { y };
    let mut partial = [f32::NEG_INFINITY; LANES];
    let mut chunks = a.chunks_exact(LANES);
    for x in chunks.by_ref() {
        for lane in 0..LANES {
            partial[lane] = larger(x[lane], partial[lane]);
        }
    }
    for (lane, x) in chunks.remainder().iter().enumerate() {
        partial[lane] = larger(*x, partial[lane]);
    }
    fold(partial, larger)
}

/// Replaces each `aᵢ` by `e^(aᵢ − shift)` and returns their sum.
#[inline(always)]
pub(crate) fn exp_sum(a: &mut [f32], shift: f32) -> f32 {
    let mut partial = [0f32; LANES];
    let mut chunks = a.chunks_exact_mut(LANES);
    for x in chunks.by_ref() {
        for lane in 0..LANES {
            x[lane] = exp(x[lane] - shift);
            partial[lane] += x[lane];
        }
    }
    for (lane, x) in chunks.into_remainder().iter_mut().enumerate() {
        *x = exp(*x - shift);
        partial[lane] += *x;
    }
    fold(partial, |x, y| x + y)
}

/// `yᵢ ← yᵢ + k·xᵢ`.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], k: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = fma(k, *x, *y);
    }
}

/// `yᵢ ← k·yᵢ`.
#[inline(always)]
pub(crate) fn scale(y: &mut [f32], k: f32) {
    for y in y {
        *y *= k;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_stated_error() {
        let mut worst = 0f64;
        for i in 0..=1_750_000 {
            let x = -87.0 + i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2e-7, "relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 2e-38 && exp(-1e30) >= 0.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn reductions_match_plain_loops() {
        for n in [0usize, 1, 31, 32, 33, 100] {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.3).cos()).collect();
            let plain: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert!((dot(&a, &b) - plain).abs() < 1e-5);
            let largest = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&a), largest);
            let mut e = a.clone();
            let total: f32 = a.iter().map(|x| (x - 0.5).exp()).sum();
            assert!((exp_sum(&mut e, 0.5) - total).abs() <= 1e-5 * total.max(1.0));
        }
    }
}
