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

/// Keys and values of one head, in the order of positions.
#[derive(Clone)]
pub(crate) struct KeyValues {
    head: usize,
    count: usize,
    /// By block of 32 positions: `head × 32`, so that a tile of scores reads one block from end to end.
    keys: Vec<f32>,
    /// `count × head`.
    values: Vec<f32>,
}

impl KeyValues {
    /// Of no positions; vectors have `head` values, a multiple of 32.
    pub(crate) fn new(head: usize) -> Self {
        Self {
            head,
            count: 0,
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Positions held.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Forgets all positions from `count` on.
    pub(crate) fn truncate(&mut self, count: usize) {
        let count = count.min(self.count);
        self.count = count;
        self.values.truncate(count * self.head);
        let blocks = count.div_ceil(COLUMNS);
        self.keys.truncate(blocks * COLUMNS * self.head);
    }

    /// Takes the next positions: `count` rows of `head` values each.
    pub(crate) fn extend(&mut self, keys: Rows<'_>, values: Rows<'_>, count: usize) {
        let head = self.head;
        let blocks = (self.count + count).div_ceil(COLUMNS);
        self.keys.resize(blocks * COLUMNS * head, 0.0);
        for new in 0..count {
            let at = self.count + new;
            let block = &mut self.keys[at / COLUMNS * COLUMNS * head..][..COLUMNS * head];
            let key = &keys.values[new * keys.stride..][..head];
            for (lanes, value) in block.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(key) {
                lanes[at % COLUMNS] = *value;
            }
            self.values
                .extend_from_slice(&values.values[new * values.stride..][..head]);
        }
        self.count += count;
    }
}

/// Vectors that lie at a fixed distance: the first value of row 0, and the distance between rows.
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
    /// `group` queries follow each other for every position, the first of them for position `first`; each sees the
    /// positions up to its own, the last `window` of them.
    Causal {
        first: usize,
        group: usize,
        window: usize,
    },
}

impl Mask {
    /// The keys, as a range, that query `query` sees of `count`.
    fn visible(self, query: usize, count: usize) -> (usize, usize) {
        match self {
            Self::None => (0, count),
            Self::Causal {
                first,
                group,
                window,
            } => {
                let end = (first + query / group + 1).min(count);
                (end.saturating_sub(window), end)
            }
        }
    }
}

/// `out[i] ← Σ_j softmax_j(q[i]·k[j])·v[j]` for `count` queries, which carry the factor 1/√head. Rows of `out` are
/// `out_stride` apart; `scores` is scratch.
pub(crate) fn attend(
    level: Level,
    (queries, count): (Rows<'_>, usize),
    seen: &KeyValues,
    mask: Mask,
    (out, out_stride): (&mut [f32], usize),
    scores: &mut Vec<f32>,
) {
    let head = seen.head;
    let padded = seen.count.next_multiple_of(COLUMNS);
    scores.resize(TILE * padded, 0.0);
    let mut totals = [0f32; TILE];
    for first in (0..count).step_by(TILE) {
        let rows = TILE.min(count - first);
        let from = mask.visible(first, seen.count).0 / COLUMNS * COLUMNS;
        let to = mask.visible(first + rows - 1, seen.count).1;
        let end = to.next_multiple_of(COLUMNS);
        let queries = (&queries.values[first * queries.stride..], queries.stride);
        for column in (from..end).step_by(COLUMNS) {
            let keys = (&seen.keys[column * head..], COLUMNS);
            let scores = (&mut scores[column..], padded);
            tile(level, rows, head, queries, keys, scores);
        }
        for (row, total) in totals.iter_mut().enumerate().take(rows) {
            let (low, high) = mask.visible(first + row, seen.count);
            let scores = &mut scores[row * padded..][from..end];
            scores[..low - from].fill(f32::NEG_INFINITY);
            scores[high - from..].fill(f32::NEG_INFINITY);
            *total = exp_sum(level, scores);
        }
        for column in (0..head).step_by(COLUMNS) {
            let scores = (&scores[from..], padded);
            let values = (&seen.values[from * head + column..], head);
            let out = (&mut out[first * out_stride + column..], out_stride);
            tile(level, rows, to - from, scores, values, out);
        }
        for (row, total) in totals.iter().enumerate().take(rows) {
            let out = &mut out[(first + row) * out_stride..][..head];
            scale(level, out, 1.0 / total);
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
        let causal = |first, group, window| Mask::Causal {
            first,
            group,
            window,
        };
        let masks = [
            (Mask::None, 45, 45),
            (causal(0, 1, 1000), 45, 45),
            (causal(30, 1, 7), 20, 50),
            (causal(17, 4, 20), 12, 20),
            (causal(69, 4, 1000), 4, 70),
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
                // In two parts, the second in the middle of a block, after more were forgotten.
                let mut seen = KeyValues::new(head);
                seen.extend(rows(&k), rows(&v), keys - 3);
                seen.truncate(11);
                let after = 11 * head;
                seen.extend(rows(&k[after..]), rows(&v[after..]), keys - 11);
                assert_eq!(seen.count(), keys);
                let mut out = vec![f32::NAN; queries * head];
                let (given, to) = ((rows(&q), queries), (out.as_mut_slice(), head));
                attend(level, given, &seen, mask, to, &mut Vec::new());
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
