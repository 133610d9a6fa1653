//! Attention of one head over one sequence, tile by tile: scores, softmax and the weighted sum of values never leave
//! the cache.

use super::Level;
use super::rows::{exp_sum, scale};

/// Queries handled together.
pub(crate) const TILE: usize = 8;

/// Columns of one tile product; also what lengths of scores are rounded up to.
pub(crate) const COLUMNS: usize = 32;

/// `c[r][0..32] ← Σ_k a[r][k]·b[k][0..32]` for `rows` ≤ 8 rows and `depth` ≥ 1 terms; each operand comes with the
/// distance between its rows.
pub(crate) fn tile(
    level: Level,
    rows: usize,
    depth: usize,
    a: (&[f32], usize),
    b: (&[f32], usize),
    c: (&mut [f32], usize),
) {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512Vnni {
        return super::wide::tile(rows, depth, a, b, c);
    }
    plain_tile(level, rows, depth, a, b, c);
}

#[inline(always)]
fn plain_tile_body<const FMA: bool>(
    rows: usize,
    depth: usize,
    a: (&[f32], usize),
    b: (&[f32], usize),
    c: (&mut [f32], usize),
) {
    for row in 0..rows {
        let mut sums = [0f32; COLUMNS];
        for k in 0..depth {
            let one = a.0[row * a.1 + k];
            for (sum, b) in sums.iter_mut().zip(&b.0[k * b.1..][..COLUMNS]) {
                *sum = if FMA {
                    one.mul_add(*b, *sum)
                } else {
                    one * b + *sum
                };
            }
        }
        c.0[row * c.1..][..COLUMNS].copy_from_slice(&sums);
    }
}

super::for_level! {
    pub(crate) fn plain_tile(rows: usize, depth: usize, a: (&[f32], usize), b: (&[f32], usize), c: (&mut [f32], usize)) = plain_tile_body
}

/// What one head needs beside its inputs; reused from call to call.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Keys of the head, transposed: `head × keys rounded up`.
    keys: Vec<f32>,
    /// Values of the head, one after the other: `keys × head`. In place they lie a power of two apart, which the
    /// cache holds badly.
    values: Vec<f32>,
    scores: Vec<f32>,
}

/// Where the vectors of one head lie: the first value of row 0, and the distance between rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
}

/// Which keys a query sees.
#[derive(Clone, Copy)]
pub(crate) enum Mask {
    /// All of them.
    None,
    /// Query `i` is position `first + i` and sees keys at positions up to its own, the last `window` of them.
    Causal { first: usize, window: usize },
}

impl Mask {
    /// The keys, as a range, that query `query` sees of `count`.
    fn visible(self, query: usize, count: usize) -> (usize, usize) {
        match self {
            Self::None => (0, count),
            Self::Causal { first, window } => {
                let end = (first + query + 1).min(count);
                (end.saturating_sub(window), end)
            }
        }
    }
}

impl Scratch {
    /// Takes the `count` keys and values of one head, `head` numbers each (a multiple of 32).
    pub(crate) fn set(&mut self, keys: Rows<'_>, values: Rows<'_>, count: usize, head: usize) {
        let padded = count.next_multiple_of(COLUMNS);
        self.keys.clear();
        self.keys.resize(head * padded, 0.0);
        for key in 0..count {
            let row = &keys.values[key * keys.stride..][..head];
            for (at, value) in row.iter().enumerate() {
                self.keys[at * padded + key] = *value;
            }
        }
        self.values.clear();
        for key in 0..count {
            let row = &values.values[key * values.stride..][..head];
            self.values.extend_from_slice(row);
        }
    }

    /// `out[i] ← Σ_j softmax_j(q[i]·k[j])·v[j]` for the keys of the last [`Scratch::set`]; `queries` carry the
    /// factor 1/√head. Rows of `out` are `out_stride` apart.
    pub(crate) fn attend(
        &mut self,
        level: Level,
        queries: (Rows<'_>, usize),
        head: usize,
        mask: Mask,
        out: &mut [f32],
        out_stride: usize,
    ) {
        let (queries, query_count) = queries;
        let count = self.values.len() / head;
        let padded = count.next_multiple_of(COLUMNS);
        self.scores.resize(TILE * padded, 0.0);
        let mut totals = [0f32; TILE];
        for first in (0..query_count).step_by(TILE) {
            let rows = TILE.min(query_count - first);
            let from = mask.visible(first, count).0 / COLUMNS * COLUMNS;
            let to = mask.visible(first + rows - 1, count).1;
            let end = to.next_multiple_of(COLUMNS);
            let queries = (&queries.values[first * queries.stride..], queries.stride);
            for column in (from..end).step_by(COLUMNS) {
                let keys = (&self.keys[column..], padded);
                let scores = (&mut self.scores[column..], padded);
                tile(level, rows, head, queries, keys, scores);
            }
            for (row, total) in totals.iter_mut().enumerate().take(rows) {
                let (low, high) = mask.visible(first + row, count);
                let scores = &mut self.scores[row * padded..][from..end];
                scores[..low - from].fill(f32::NEG_INFINITY);
                scores[high - from..].fill(f32::NEG_INFINITY);
                *total = exp_sum(level, scores);
            }
            for column in (0..head).step_by(COLUMNS) {
                let scores = (&self.scores[from..], padded);
                let values = (&self.values[from * head + column..], head);
                let out = (&mut out[first * out_stride + column..], out_stride);
                tile(level, rows, to - from, scores, values, out);
            }
            for (row, total) in totals.iter().enumerate().take(rows) {
                let out = &mut out[(first + row) * out_stride..][..head];
                scale(level, out, 1.0 / total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{levels, noise};
    use super::*;

    fn exact(q: &[f32], k: &[f32], v: &[f32], head: usize, seen: (usize, usize)) -> Vec<f64> {
        let dot = |j: usize| -> f64 {
            (0..head)
                .map(|d| f64::from(q[d]) * f64::from(k[j * head + d]))
                .sum()
        };
        let weights: Vec<f64> = (seen.0..seen.1).map(|j| dot(j).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..head)
            .map(|d| {
                let values = (seen.0..seen.1).map(|j| f64::from(v[j * head + d]));
                values.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / total
            })
            .collect()
    }

    #[test]
    fn attention_matches_double_precision_under_every_mask() {
        let head = 32;
        let masks = [
            (Mask::None, 45, 45),
            (
                Mask::Causal {
                    first: 0,
                    window: 1000,
                },
                45,
                45,
            ),
            (
                Mask::Causal {
                    first: 30,
                    window: 7,
                },
                20,
                50,
            ),
            (
                Mask::Causal {
                    first: 69,
                    window: 1000,
                },
                1,
                70,
            ),
        ];
        for level in levels() {
            for (mask, queries, keys) in masks {
                let mut q = noise(1, queries * head);
                q.iter_mut().for_each(|q| *q *= 0.3);
                let (k, v) = (noise(2, keys * head), noise(3, keys * head));
                let rows = |values| Rows {
                    values,
                    stride: head,
                };
                let mut scratch = Scratch::default();
                let mut out = vec![f32::NAN; queries * head];
                scratch.set(rows(&k), rows(&v), keys, head);
                scratch.attend(level, (rows(&q), queries), head, mask, &mut out, head);
                for i in 0..queries {
                    let expected = exact(&q[i * head..], &k, &v, head, mask.visible(i, keys));
                    for (a, b) in out[i * head..][..head].iter().zip(expected) {
                        assert!(
                            (f64::from(*a) - b).abs() < 1e-5,
                            "{level:?}: {a} is not {b}"
                        );
                    }
                }
            }
        }
    }
}
