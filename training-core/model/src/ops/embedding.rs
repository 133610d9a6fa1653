//! Token embedding: gather rows forward, scatter-add rows backward.

/// Copies row `tokens[i]` of `table` (`vocabulary × d`) to row `i` of `x`.
pub(crate) fn forward(tokens: impl Iterator<Item = u32>, table: &[f32], d: usize, x: &mut [f32]) {
    for (token, row) in tokens.zip(x.chunks_exact_mut(d)) {
        let at = token as usize * d;
        row.copy_from_slice(&table[at..at + d]);
    }
}

/// Adds row `i` of `dx` to row `tokens[i]` of `dtable`.
pub(crate) fn backward(
    tokens: impl Iterator<Item = u32>,
    dx: &[f32],
    d: usize,
    dtable: &mut [f32],
) {
    for (token, row) in tokens.zip(dx.chunks_exact(d)) {
        let at = token as usize * d;
        for (sum, dx) in dtable[at..at + d].iter_mut().zip(row) {
            *sum += dx;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, noise, weigh};
    use super::*;

    #[test]
    fn backward_matches_finite_differences() {
        let (vocabulary, d, tokens) = (5, 3, [4u32, 0, 4, 2]);
        let (table, w) = (noise(6, vocabulary * d), noise(7, tokens.len() * d));
        let mut gradient = vec![0.0; table.len()];
        backward(tokens.into_iter(), &w, d, &mut gradient);
        assert_gradient("table", &table, &gradient, 1e-2, 1e-4, |table| {
            let mut x = vec![0.0; w.len()];
            forward(tokens.into_iter(), table, d, &mut x);
            weigh(&x, &w)
        });
    }
}
