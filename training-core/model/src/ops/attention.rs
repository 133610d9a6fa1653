//! Causal multi-head attention for one sequence, recomputed in the backward pass.
//!
//! `o = softmax(q·kᵀ)·v` per head, where position `i` sees keys `0..=i` and `q`
//! already carries the `1/√head` factor. Queries are taken a tile at a time and
//! products stop at the tile's last visible key, so most of the masked half is
//! never computed; probabilities live only in the tile's scratch. The forward
//! pass keeps one number per row, `log Σ exp`, from which the backward pass
//! rebuilds them (as FlashAttention does, Dao et al. 2022).

use super::lanes::{dot, exp, exp_sum, max, scale};
use crate::matmul::{Mat, MatMut, matmul};

/// Queries per tile. Smaller tiles skip more of the mask, larger ones make
/// better products.
const TILE: usize = 96;

/// Score rows are processed in groups of this many values, whatever their
/// causal length, so that the vector loops have no ragged ends.
const GROUP: usize = 32;

/// Sizes of one attention call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Positions in the sequence.
    pub(crate) length: usize,
    /// Heads.
    pub(crate) heads: usize,
    /// Width of the residual stream, a multiple of `heads`.
    pub(crate) width: usize,
}

/// Distance between score rows for up to `keys` keys.
fn score_stride(keys: usize) -> usize {
    keys.next_multiple_of(GROUP)
}

/// Values of scratch that either pass needs for sequences up to `length`.
pub(crate) fn scratch_values(length: usize) -> usize {
    2 * TILE.min(length) * score_stride(length) + TILE
}

impl Shape {
    fn head(&self) -> usize {
        self.width / self.heads
    }

    /// Head `h` of part `part` (0 query, 1 key, 2 value), rows `first..first + rows`.
    fn part<'a>(
        &self,
        qkv: &'a [f32],
        part: usize,
        h: usize,
        first: usize,
        rows: usize,
    ) -> Mat<'a> {
        let at = first * 3 * self.width + part * self.width + h * self.head();
        Mat::strided(&qkv[at..], rows, self.head(), 3 * self.width)
    }

    fn part_mut<'a>(
        &self,
        qkv: &'a mut [f32],
        part: usize,
        h: usize,
        first: usize,
        rows: usize,
    ) -> MatMut<'a> {
        let at = first * 3 * self.width + part * self.width + h * self.head();
        MatMut::strided(&mut qkv[at..], rows, self.head(), 3 * self.width)
    }

    /// Tiles as `(first query, queries, visible keys)`.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let length = self.length;
        (0..length).step_by(TILE).map(move |first| {
            let rows = TILE.min(length - first);
            (first, rows, first + rows)
        })
    }

    /// Writes `o` (`length × width`) and `lse` (`heads × length`) from rotated
    /// `qkv` (`length × 3·width`).
    pub(crate) fn forward(&self, qkv: &[f32], o: &mut [f32], lse: &mut [f32], scratch: &mut [f32]) {
        let (d, size) = (self.width, self.head());
        for h in 0..self.heads {
            for (first, rows, keys) in self.tiles() {
                let stride = score_stride(keys);
                let scores = &mut scratch[..rows * stride];
                matmul(
                    MatMut::strided(scores, rows, keys, stride),
                    self.part(qkv, 0, h, first, rows),
                    self.part(qkv, 1, h, 0, keys).t(),
                    false,
                );
                let lse = &mut lse[h * self.length + first..][..rows];
                for (i, (row, lse)) in scores.chunks_exact_mut(stride).zip(lse).enumerate() {
                    *lse = softmax_row(row, first + i + 1);
                }
                matmul(
                    MatMut::strided(&mut o[first * d + h * size..], rows, size, d),
                    Mat::strided(scores, rows, keys, stride),
                    self.part(qkv, 2, h, 0, keys),
                    false,
                );
            }
        }
    }

    /// Overwrites `dqkv` by the gradient in the rotated `qkv`, from the gradient
    /// `dout` of the output `o`. With `P` the probabilities:
    /// `dV = Pᵀ·dO`, `dS = P∘(dO·Vᵀ − rowsum(dO∘O))`, `dQ = dS·K`, `dK = dSᵀ·Q`.
    pub(crate) fn backward(
        &self,
        qkv: &[f32],
        o: &[f32],
        lse: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (d, size) = (self.width, self.head());
        let half = (scratch.len() - TILE) / 2;
        let (p, rest) = scratch.split_at_mut(half);
        let (ds, shares) = rest.split_at_mut(half);
        for h in 0..self.heads {
            for (first, rows, keys) in self.tiles() {
                let stride = score_stride(keys);
                let (p, ds) = (&mut p[..rows * stride], &mut ds[..rows * stride]);
                let query = self.part(qkv, 0, h, first, rows);
                let dout_tile = Mat::strided(&dout[first * d + h * size..], rows, size, d);
                matmul(
                    MatMut::strided(p, rows, keys, stride),
                    query,
                    self.part(qkv, 1, h, 0, keys).t(),
                    false,
                );
                matmul(
                    MatMut::strided(ds, rows, keys, stride),
                    dout_tile,
                    self.part(qkv, 2, h, 0, keys).t(),
                    false,
                );
                for (i, share) in shares[..rows].iter_mut().enumerate() {
                    let at = (first + i) * d + h * size;
                    *share = dot(&dout[at..at + size], &o[at..at + size]);
                }
                let lse = &lse[h * self.length + first..][..rows];
                score_gradient(p, ds, stride, first, lse, shares);
                let (p, ds) = (
                    Mat::strided(p, rows, keys, stride),
                    Mat::strided(ds, rows, keys, stride),
                );
                let key = self.part(qkv, 1, h, 0, keys);
                matmul(self.part_mut(dqkv, 0, h, first, rows), ds, key, false);
                // Later tiles see all earlier keys plus their own: accumulate
                // over what earlier tiles wrote, write the rest.
                for (part, left, right) in [(1, ds, query), (2, p, dout_tile)] {
                    self.spread(dqkv, part, h, first, rows, left, right);
                }
            }
        }
    }

    /// `part ← leftᵀ·right` over a tile's visible keys, where keys before `first`
    /// already hold a sum.
    #[allow(clippy::too_many_arguments)]
    fn spread(
        &self,
        dqkv: &mut [f32],
        part: usize,
        h: usize,
        first: usize,
        rows: usize,
        left: Mat<'_>,
        right: Mat<'_>,
    ) {
        if first > 0 {
            let earlier = self.part_mut(dqkv, part, h, 0, first);
            matmul(earlier, left.columns(0, first).t(), right, true);
        }
        let own = self.part_mut(dqkv, part, h, first, rows);
        matmul(own, left.columns(first, rows).t(), right, false);
    }
}

/// Softmax over the first `visible` scores; the rest of the row becomes zero.
/// Returns `log Σ exp`.
#[inline(never)]
fn softmax_row(row: &mut [f32], visible: usize) -> f32 {
    let padded = visible.next_multiple_of(GROUP);
    row[visible..padded].fill(f32::NEG_INFINITY);
    let active = &mut row[..padded];
    let largest = max(active);
    let total = exp_sum(active, largest);
    scale(active, 1.0 / total);
    row[visible..].fill(0.0);
    largest + total.ln()
}

/// Turns raw scores `p` into probabilities and `ds` from `dO·Vᵀ` into the score
/// gradient; masked entries become zero in both.
fn score_gradient(
    p: &mut [f32],
    ds: &mut [f32],
    stride: usize,
    first: usize,
    lse: &[f32],
    shares: &[f32],
) {
    let rows = p.chunks_exact_mut(stride).zip(ds.chunks_exact_mut(stride));
    for (i, ((p, ds), (lse, share))) in rows.zip(lse.iter().zip(shares)).enumerate() {
        let visible = first + i + 1;
        let padded = visible.next_multiple_of(GROUP);
        score_gradient_row(&mut p[..padded], &mut ds[..padded], *lse, *share);
        p[visible..].fill(0.0);
        ds[visible..].fill(0.0);
    }
}

/// Not inlined, so that the two rows are known to be apart.
#[inline(never)]
fn score_gradient_row(p: &mut [f32], ds: &mut [f32], lse: f32, share: f32) {
    for (p, ds) in p.iter_mut().zip(ds) {
        *p = exp(*p - lse);
        *ds = *p * (*ds - share);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, noise, weigh};
    use super::*;

    fn run(shape: Shape, qkv: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut o = vec![0.0; shape.length * shape.width];
        let mut lse = vec![0.0; shape.heads * shape.length];
        let mut scratch = vec![f32::NAN; scratch_values(shape.length)];
        shape.forward(qkv, &mut o, &mut lse, &mut scratch);
        (o, lse)
    }

    /// Plain double-precision attention.
    fn plain(shape: Shape, qkv: &[f32]) -> Vec<f32> {
        let (d, size) = (shape.width, shape.head());
        let at = |i: usize, part: usize, h: usize, c: usize| {
            f64::from(qkv[i * 3 * d + part * d + h * size + c])
        };
        let mut o = vec![0.0; shape.length * d];
        for h in 0..shape.heads {
            for i in 0..shape.length {
                let weights: Vec<f64> = (0..=i)
                    .map(|j| {
                        (0..size)
                            .map(|c| at(i, 0, h, c) * at(j, 1, h, c))
                            .sum::<f64>()
                    })
                    .map(f64::exp)
                    .collect();
                let total: f64 = weights.iter().sum();
                for c in 0..size {
                    let sum: f64 = (0..=i).map(|j| weights[j] * at(j, 2, h, c)).sum();
                    o[i * d + h * size + c] = (sum / total) as f32;
                }
            }
        }
        o
    }

    #[test]
    fn forward_matches_plain_attention() {
        for length in [1, 5, 32, 96, 97, 200] {
            let shape = Shape {
                length,
                heads: 2,
                width: 8,
            };
            let qkv = noise(13, length * 24);
            let (o, _) = run(shape, &qkv);
            for (fast, slow) in o.iter().zip(plain(shape, &qkv)) {
                assert!((fast - slow).abs() < 1e-5, "length {length}");
            }
        }
    }

    #[test]
    fn backward_matches_finite_differences() {
        for length in [7, 101] {
            let shape = Shape {
                length,
                heads: 2,
                width: 4,
            };
            let (qkv, w) = (noise(14, length * 12), noise(15, length * 4));
            let (o, lse) = run(shape, &qkv);
            let mut dqkv = vec![f32::NAN; qkv.len()];
            let mut scratch = vec![f32::NAN; scratch_values(length)];
            shape.backward(&qkv, &o, &lse, &w, &mut dqkv, &mut scratch);
            assert_gradient("qkv", &qkv, &dqkv, 1e-2, 2e-3, |x| {
                weigh(&run(shape, x).0, &w)
            });
        }
    }
}
