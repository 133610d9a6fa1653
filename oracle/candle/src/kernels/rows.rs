//! Functions of one row: what happens to a token's vector between two products.
//!
//! They are plain loops over whole groups of 16, which the compiler turns into vector instructions at each
//! [`Level`](super::Level). Widths are multiples of 16, which the model readers check.

use super::for_level;

/// Values that are summed or compared side by side; one 512-bit register.
const LANES: usize = 16;

/// `a·b + c`.
#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` with a relative error below 3e-7 on `[-87, 88]`, clamped outside; `x` must not be NaN.
///
/// `x = n·ln 2 + r`, the Taylor polynomial of degree 7 for `eʳ`, and `n` put into the exponent. No branch, so loops
/// over it vectorise.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = fma::<FMA>(n, 2.121_944_4e-4, fma::<FMA>(n, -0.693_359_4, x));
    let mut p = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = fma::<FMA>(p, r, factor);
    }
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) << 23;
    p * f32::from_bits(exponent.wrapping_add(1.0f32.to_bits()))
}

/// Combines 16 partial results pairwise, always in the same order.
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

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn layer_norm_body<const FMA: bool>(x: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let count = x.len() as f32;
    let mut partial = [0f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            partial[lane] += chunk[lane];
        }
    }
    let mean = fold(partial, |a, b| a + b) / count;
    let mut partial = [0f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let from_mean = chunk[lane] - mean;
            partial[lane] = fma::<FMA>(from_mean, from_mean, partial[lane]);
        }
    }
    let variance = fold(partial, |a, b| a + b) / count;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for ((x, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
        *x = fma::<FMA>((*x - mean) * factor, *gain, *bias);
    }
}

for_level! {
    /// `x ← (x − mean x)/√(var x + ε)·gain + bias`.
    pub(crate) fn layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) = layer_norm_body
}

#[inline(always)]
fn rms_norm_body<const FMA: bool>(x: &[f32], gain: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut partial = [0f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            partial[lane] = fma::<FMA>(chunk[lane], chunk[lane], partial[lane]);
        }
    }
    let mean = fold(partial, |a, b| a + b) / x.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = x * factor * gain;
    }
}

for_level! {
    /// `out ← x/√(mean x² + ε)·gain`.
    pub(crate) fn rms_norm(x: &[f32], gain: &[f32], epsilon: f32, out: &mut [f32]) = rms_norm_body
}

#[inline(always)]
fn add_body<const FMA: bool>(x: &mut [f32], more: &[f32]) {
    for (x, more) in x.iter_mut().zip(more) {
        *x += more;
    }
}

for_level! {
    /// `x ← x + more`.
    pub(crate) fn add(x: &mut [f32], more: &[f32]) = add_body
}

/// `x·Φ(x)`, with Φ from formula 7.1.26 of Abramowitz and Stegun for erf (error below 1.5e-7).
#[inline(always)]
fn gelu_one<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(0.327_591_1, z, 1.0);
    let mut p = 1.061_405_4;
    for factor in [-1.453_152_1, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        p = fma::<FMA>(p, t, factor);
    }
    // The upper tail 1 − Φ(|x|) is half of this.
    let tail = p * t * exp::<FMA>(-z * z);
    let above = if x > 0.0 { x } else { 0.0 };
    fma::<FMA>(-0.5 * x.abs(), tail, above)
}

#[inline(always)]
fn gelu_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x = gelu_one::<FMA>(*x);
    }
}

for_level! {
    /// `x ← x·Φ(x)`, the Gaussian error linear unit.
    pub(crate) fn gelu(x: &mut [f32]) = gelu_body
}

#[inline(always)]
fn gated_gelu_body<const FMA: bool>(gate: &mut [f32], up: &[f32]) {
    // 2·√(2/π): tanh(y) = 1 − 2/(1 + e^{2y}).
    const TWICE: f32 = 1.595_769;
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        let doubled = TWICE * x * fma::<FMA>(0.044_715 * x, x, 1.0);
        // x·½(1 + tanh y) = x·σ(2y)
        *gate = x / (1.0 + exp::<FMA>(-doubled)) * up;
    }
}

for_level! {
    /// `gate ← gelu(gate)·up` with the tanh form of the unit, as Gemma has it.
    pub(crate) fn gated_gelu(gate: &mut [f32], up: &[f32]) = gated_gelu_body
}

#[inline(always)]
fn exp_sum_body<const FMA: bool>(x: &mut [f32]) -> f32 {
    let mut partial = [f32::NEG_INFINITY; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            partial[lane] = larger(chunk[lane], partial[lane]);
        }
    }
    let most = fold(partial, larger);
    let mut partial = [0f32; LANES];
    for chunk in x.as_chunks_mut::<LANES>().0 {
        for lane in 0..LANES {
            chunk[lane] = exp::<FMA>(chunk[lane] - most);
            partial[lane] += chunk[lane];
        }
    }
    fold(partial, |a, b| a + b)
}

for_level! {
    /// `x ← e^{x − max x}`; returns their sum. The length is a multiple of 16: what is to count as zero is −∞ (it
    /// becomes about 1e-38, which no sum of at least 1 sees).
    pub(crate) fn exp_sum(x: &mut [f32]) -> f32 = exp_sum_body
}

#[inline(always)]
fn scale_body<const FMA: bool>(x: &mut [f32], factor: f32) {
    for x in x {
        *x *= factor;
    }
}

for_level! {
    /// `x ← factor·x`.
    pub(crate) fn scale(x: &mut [f32], factor: f32) = scale_body
}

/// The longest block that [`rotate`] mixes.
const MOST_MIXED: usize = 128;

/// Length of the blocks that [`rotate`] mixes in rows of `width`: the largest power of two up to 128 that divides it.
pub(crate) fn rotation_block(width: usize) -> usize {
    (1usize << width.trailing_zeros().min(31)).min(MOST_MIXED)
}

/// Sums and differences of neighbours at distance `HALF`, in one group of 16.
#[inline(always)]
fn butterfly<const HALF: usize>(group: &mut [f32; LANES]) {
    for start in (0..LANES).step_by(2 * HALF) {
        for i in start..start + HALF {
            let (a, b) = (group[i], group[i + HALF]);
            group[i] = a + b;
            group[i + HALF] = a - b;
        }
    }
}

#[inline(always)]
fn rotate_body<const FMA: bool>(x: &mut [f32], block: usize) {
    for block in x.chunks_exact_mut(block) {
        let mut half = block.len() / 2;
        while half >= LANES {
            for pair in block.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half /= 2;
        }
        for group in block.as_chunks_mut::<LANES>().0 {
            butterfly::<8>(group);
            butterfly::<4>(group);
            butterfly::<2>(group);
            butterfly::<1>(group);
        }
    }
}

for_level! {
    pub(crate) fn rotate_plain(x: &mut [f32], block: usize) = rotate_body
}

/// Replaces every block of `block` values by its Walsh–Hadamard transform (not normalised: applying it twice
/// multiplies by `block`).
///
/// The transform spreads an outlier over its whole block, so that eight bits hold what is left with a fraction of
/// the error; a weight transformed in the same way and divided by `block` gives the same products.
pub(crate) fn rotate(level: super::Level, x: &mut [f32], block: usize) {
    #[cfg(target_arch = "x86_64")]
    if level == super::Level::Avx512Vnni && block == MOST_MIXED {
        return super::wide::rotate_128(x);
    }
    rotate_plain(level, x, block);
}

#[inline(always)]
fn quantise_body<const FMA: bool>(x: &[f32], codes: &mut [u8]) -> f32 {
    // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits, in two's complement.
    const SHIFT: f32 = 12_582_912.0;
    let mut partial = [0f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            partial[lane] = larger(chunk[lane].abs(), partial[lane]);
        }
    }
    let most = fold(partial, larger);
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(x) {
        // Flipping the top bit adds 128 to a signed byte.
        *code = (fma::<FMA>(*x, inverse, SHIFT).to_bits() as u8) ^ 0x80;
    }
    most / 127.0
}

for_level! {
    /// Writes `x` as codes with `x ≈ scale·(code − 128)`; returns the scale, `max|x|/127`.
    pub(crate) fn quantise(x: &[f32], codes: &mut [u8]) -> f32 = quantise_body
}

#[cfg(test)]
mod tests {
    use super::super::check::{levels, noise};
    use super::*;

    fn close(a: f32, b: f64, tolerance: f64) {
        assert!((f64::from(a) - b).abs() <= tolerance, "{a} is not {b}");
    }

    #[test]
    fn exp_is_within_its_stated_error() {
        for i in 0..175_000 {
            let x = -87.0 + i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp::<true>(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "e^{x}: {error:e}");
        }
    }

    #[test]
    fn units_match_double_precision_at_every_level() {
        for level in levels() {
            let x: Vec<f32> = (-800..800).map(|i| i as f32 / 100.0).collect();
            let mut y = x.clone();
            gelu(level, &mut y);
            for (x, y) in x.iter().zip(&y) {
                close(*y, f64::from(*x) * normal(f64::from(*x)), 1e-6);
            }
            let (mut y, up) = (x.clone(), vec![2.0; x.len()]);
            gated_gelu(level, &mut y, &up);
            for (x, y) in x.iter().map(|x| f64::from(*x)).zip(&y) {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                close(*y, x * (1.0 + inner.tanh()), 4e-6);
            }
        }
    }

    /// Φ by Simpson's rule.
    fn normal(x: f64) -> f64 {
        let steps = 2000;
        let width = x / f64::from(steps);
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let sum: f64 = (0..steps)
            .map(|i| {
                let at = f64::from(i) * width;
                density(at) + 4.0 * density(at + width / 2.0) + density(at + width)
            })
            .sum();
        0.5 + sum * width / 6.0
    }

    #[test]
    fn norms_match_double_precision() {
        let (x, gain, bias) = (noise(1, 384), noise(2, 384), noise(3, 384));
        let exact: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let mean = exact.iter().sum::<f64>() / 384.0;
        let spread = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 384.0;
        let power = exact.iter().map(|x| x * x).sum::<f64>() / 384.0;
        for level in levels() {
            let mut y = x.clone();
            layer_norm(level, &mut y, &gain, &bias, 1e-12);
            let mut z = vec![0.0; 384];
            rms_norm(level, &x, &gain, 1e-6, &mut z);
            for i in 0..384 {
                let (gain, bias) = (f64::from(gain[i]), f64::from(bias[i]));
                close(y[i], (exact[i] - mean) / spread.sqrt() * gain + bias, 1e-5);
                close(z[i], exact[i] / (power + 1e-6).sqrt() * gain, 1e-5);
            }
        }
    }

    #[test]
    fn a_softmax_ignores_what_is_masked() {
        for level in levels() {
            let mut x = noise(4, 32);
            x[20..].fill(f32::NEG_INFINITY);
            let exact: Vec<f64> = x[..20].iter().map(|x| f64::from(*x).exp()).collect();
            let total = exp_sum(level, &mut x);
            for (x, exact_one) in x.iter().zip(&exact) {
                close(*x / total, exact_one / exact.iter().sum::<f64>(), 1e-6);
            }
            assert!(x[20..].iter().all(|x| *x < 1e-37));
        }
    }

    #[test]
    fn a_rotation_keeps_products_and_undoes_itself() {
        assert_eq!(
            [384, 1536, 640, 1024, 48, 2048].map(rotation_block),
            [128, 128, 128, 128, 16, 128]
        );
        for level in levels() {
            for (width, block) in [(384, 128), (48, 16), (64, 64)] {
                let (a, b) = (noise(5, width), noise(6, width));
                let (mut ra, mut rb) = (a.clone(), b.clone());
                rotate(level, &mut ra, block);
                rotate(level, &mut rb, block);
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
                };
                close(dot(&ra, &rb) as f32 / block as f32, dot(&a, &b), 1e-3);
                rotate(level, &mut ra, block);
                for (a, ra) in a.iter().zip(&ra) {
                    close(ra / block as f32, f64::from(*a), 1e-5);
                }
            }
        }
    }

    #[test]
    fn codes_are_within_half_a_step_and_alike_at_every_level() {
        let x = noise(7, 256);
        let mut first = None;
        for level in levels() {
            let mut codes = vec![0; 256];
            let scale = quantise(level, &x, &mut codes);
            for (x, code) in x.iter().zip(&codes) {
                let back = scale * (f32::from(*code) - 128.0);
                assert!((x - back).abs() <= 0.501 * scale);
            }
            let all = *first.get_or_insert_with(|| codes.clone()) == codes;
            assert!(all, "{level:?} differs");
        }
        let mut codes = vec![0; 16];
        assert_eq!(quantise(Level::Portable, &[0.0; 16], &mut codes), 0.0);
        assert_eq!(codes, [128; 16]);
    }

    use super::super::Level;
}
