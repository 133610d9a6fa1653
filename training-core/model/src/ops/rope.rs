//! Rotary position embedding (Su et al. 2021), in the half-split form.
//!
//! Within a head of size `2m`, the pair `(xᵢ, xᵢ₊ₘ)` is turned by the angle
//! `position · base^(−i/m)`. Queries are also multiplied by `1/√(2m)`, so that
//! attention scores come out scaled and no later pass has to do it.

/// Cosines and sines of the first positions of a context.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    head: usize,
    base: f32,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rope {
    /// Tables for `positions` positions and heads of even size `head`.
    pub(crate) fn new(positions: usize, head: usize, base: f32) -> Self {
        let mut rope = Self {
            head,
            base,
            cosines: Vec::with_capacity(positions * head / 2),
            sines: Vec::with_capacity(positions * head / 2),
        };
        for position in 0..positions {
            for i in 0..head / 2 {
                let (sine, cosine) = rope.angle(position, i).sin_cos();
                rope.cosines.push(cosine as f32);
                rope.sines.push(sine as f32);
            }
        }
        rope
    }

    /// The angle in double precision: positions may grow without bound.
    fn angle(&self, position: usize, i: usize) -> f64 {
        let exponent = -(2.0 * i as f64) / self.head as f64;
        position as f64 * f64::from(self.base).powf(exponent)
    }

    /// Turns the query and key parts of `[q, k, v]` rows (width `3d`) in place;
    /// row `i` has position `i`. Rows may not outnumber the tables.
    pub(crate) fn forward(&self, qkv: &mut [f32], d: usize) {
        let half = self.head / 2;
        let scale = 1.0 / (self.head as f32).sqrt();
        let tables = self
            .cosines
            .chunks_exact(half)
            .zip(self.sines.chunks_exact(half));
        for (row, (cosine, sine)) in qkv.chunks_exact_mut(3 * d).zip(tables) {
            let (q, rest) = row.split_at_mut(d);
            turn(q, cosine, sine, 1.0, scale);
            turn(&mut rest[..d], cosine, sine, 1.0, 1.0);
        }
    }

    /// Turns gradients of the rotated parts back: the transpose of [`Self::forward`].
    pub(crate) fn backward(&self, dqkv: &mut [f32], d: usize) {
        let half = self.head / 2;
        let scale = 1.0 / (self.head as f32).sqrt();
        let tables = self
            .cosines
            .chunks_exact(half)
            .zip(self.sines.chunks_exact(half));
        for (row, (cosine, sine)) in dqkv.chunks_exact_mut(3 * d).zip(tables) {
            let (q, rest) = row.split_at_mut(d);
            turn(q, cosine, sine, -1.0, scale);
            turn(&mut rest[..d], cosine, sine, -1.0, 1.0);
        }
    }

    /// Like [`Self::forward`] for one row at any position, in or past the tables.
    pub(crate) fn forward_at(&self, row: &mut [f32], d: usize, position: usize) {
        let half = self.head / 2;
        let scale = 1.0 / (self.head as f32).sqrt();
        let at = position * half..(position + 1) * half;
        let (q, rest) = row.split_at_mut(d);
        let mut both = |cosine: &[f32], sine: &[f32]| {
            turn(q, cosine, sine, 1.0, scale);
            turn(&mut rest[..d], cosine, sine, 1.0, 1.0);
        };
        match (self.cosines.get(at.clone()), self.sines.get(at)) {
            (Some(cosine), Some(sine)) => both(cosine, sine),
            _ => {
                let turned = (0..half).map(|i| self.angle(position, i).sin_cos());
                let (sine, cosine): (Vec<_>, Vec<_>) =
                    turned.map(|(s, c)| (s as f32, c as f32)).unzip();
                both(&cosine, &sine);
            }
        }
    }
}

/// Turns every head of `x` by the angles (times `direction`, ±1) and scales.
fn turn(x: &mut [f32], cosine: &[f32], sine: &[f32], direction: f32, scale: f32) {
    let half = cosine.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        turn_pairs(low, high, cosine, sine, direction, scale);
    }
}

/// Not inlined, so that the two halves are known to be apart.
#[inline(never)]
fn turn_pairs(
    low: &mut [f32],
    high: &mut [f32],
    cosine: &[f32],
    sine: &[f32],
    direction: f32,
    scale: f32,
) {
    let pairs = low.iter_mut().zip(high);
    for ((a, b), (c, s)) in pairs.zip(cosine.iter().zip(sine)) {
        let s = direction * s;
        let (x, y) = (*a * scale, *b * scale);
        *a = x * c - y * s;
        *b = y * c + x * s;
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, noise, weigh};
    use super::*;

    #[test]
    fn scores_depend_on_distance_only() {
        let (d, head) = (8, 8);
        let rope = Rope::new(40, head, 100.0);
        let row = noise(8, 3 * d);
        let score = |i: usize, j: usize| {
            let (mut a, mut b) = (row.clone(), row.clone());
            rope.forward_at(&mut a, d, i);
            rope.forward_at(&mut b, d, j);
            weigh(&a[..d], &b[d..2 * d])
        };
        assert!((score(5, 2) - score(39, 36)).abs() < 1e-5);
        assert!((score(5, 2) - score(100_005, 100_002)).abs() < 1e-5);
        let mut table = vec![0.0; 3 * d * 40];
        table[39 * 3 * d..].copy_from_slice(&row);
        rope.forward(&mut table, d);
        let mut single = row.clone();
        rope.forward_at(&mut single, d, 39);
        assert_eq!(&table[39 * 3 * d..], &single[..]);
    }

    #[test]
    fn backward_matches_finite_differences() {
        let (d, head, rows) = (8, 4, 3);
        let rope = Rope::new(rows, head, 10.0);
        let (x, w) = (noise(9, 3 * d * rows), noise(10, 3 * d * rows));
        let mut gradient = w.clone();
        rope.backward(&mut gradient, d);
        assert_gradient("qkv", &x, &gradient, 1e-2, 1e-3, |x| {
            let mut y = x.to_vec();
            rope.forward(&mut y, d);
            weigh(&y, &w)
        });
    }
}
