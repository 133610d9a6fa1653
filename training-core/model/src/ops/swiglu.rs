//! SwiGLU gate (Shazeer 2020): `a = silu(g) ∘ u`, `silu(g) = g·σ(g)`.
//!
//! Rows of `gate_up` hold `[g, u]`, as the one fused product leaves them.

use super::lanes::exp;

/// Forward over rows: `gate_up` is `rows × 2h`, `a` is `rows × h`.
#[inline(never)]
pub(crate) fn forward(gate_up: &[f32], h: usize, a: &mut [f32]) {
    for (row, a) in gate_up.chunks_exact(2 * h).zip(a.chunks_exact_mut(h)) {
        let (gate, up) = row.split_at(h);
        for ((a, g), u) in a.iter_mut().zip(gate).zip(up) {
            *a = g * u / (1.0 + exp(-g));
        }
    }
}

/// Backward: overwrites `gate_up` by its gradient and `da` by the recomputed
/// activation, which the weight gradient of the next product needs.
///
/// `dg = da∘u∘σ(g)·(1 + g·(1 − σ(g)))`, `du = da∘silu(g)`.
pub(crate) fn backward(gate_up: &mut [f32], h: usize, da: &mut [f32]) {
    for (row, da) in gate_up.chunks_exact_mut(2 * h).zip(da.chunks_exact_mut(h)) {
        let (gate, up) = row.split_at_mut(h);
        backward_row(gate, up, da);
    }
}

/// Not inlined: as arguments the three rows are known to be apart. Seen inside
/// the loop over rows they are interleaved parts of one buffer, and the compiler
/// falls back to one value at a time, twelve times slower.
#[inline(never)]
fn backward_row(gate: &mut [f32], up: &mut [f32], da: &mut [f32]) {
    for ((da, g), u) in da.iter_mut().zip(gate).zip(up) {
        let sigma = 1.0 / (1.0 + exp(-*g));
        let silu = *g * sigma;
        let (value, upstream) = (silu * *u, *da);
        *g = upstream * *u * (sigma + silu * (1.0 - sigma));
        *u = upstream * silu;
        *da = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, noise, weigh};
    use super::*;

    #[test]
    fn known_values() {
        let mut a = [0.0; 2];
        forward(&[1.0, -2.0, 3.0, 0.5], 2, &mut a);
        assert!((a[0] - 2.193_175_7).abs() < 1e-6);
        assert!((a[1] + 0.119_202_92).abs() < 1e-6);
    }

    #[test]
    fn backward_matches_finite_differences() {
        let (h, rows) = (18, 2);
        let gate_up: Vec<f32> = noise(4, 2 * h * rows).iter().map(|x| 3.0 * x).collect();
        let w = noise(5, h * rows);
        let run = |x: &[f32]| {
            let mut a = vec![0.0; h * rows];
            forward(x, h, &mut a);
            a
        };
        let (mut gradient, mut da) = (gate_up.clone(), w.clone());
        backward(&mut gradient, h, &mut da);
        for (again, direct) in da.iter().zip(run(&gate_up)) {
            assert!((again - direct).abs() < 1e-5);
        }
        assert_gradient("gate_up", &gate_up, &gradient, 1e-2, 1e-3, |x| {
            weigh(&run(x), &w)
        });
    }
}
