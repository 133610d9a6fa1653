//! Output head and cross-entropy in one pass.
//!
//! Logits exist only for a chunk of rows at a time and become their own
//! gradient in place, so nothing of size `tokens × vocabulary` is ever kept:
//! `∂loss/∂z = w·(softmax(z) − onehot(target))`.

use super::lanes::{exp_sum, max, scale};
use crate::matmul::{Mat, MatMut, matmul};

/// Logit values that one chunk may hold; small enough to stay in a core's
/// second-level cache between the three products that touch it.
const CHUNK_VALUES: usize = 96 * 1024;

/// Rows of logits that are processed together for a vocabulary.
pub(crate) fn chunk_rows(vocabulary: usize) -> usize {
    (CHUNK_VALUES / vocabulary).clamp(16, 256)
}

/// Turns one row of logits into `w·(softmax − onehot)`; returns its loss in nats.
#[inline(never)]
fn row_gradient(row: &mut [f32], target: usize, weight: f32) -> f64 {
    let chosen = row[target];
    let largest = max(row);
    let total = exp_sum(row, largest);
    scale(row, weight / total);
    row[target] -= weight;
    f64::from(total).ln() + f64::from(largest) - f64::from(chosen)
}

/// Inputs of the head: normalised states `h` (`rows × d`), the head matrix
/// (`vocabulary × d`) and the width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) states: &'a [f32],
    pub(crate) weights: &'a [f32],
    pub(crate) width: usize,
}

impl Head<'_> {
    fn vocabulary(&self) -> usize {
        self.weights.len() / self.width
    }

    /// Writes the logits of `states[first..first + rows]`.
    fn logits(&self, first: usize, rows: usize, logits: &mut [f32]) {
        let (d, v) = (self.width, self.vocabulary());
        let states = &self.states[first * d..(first + rows) * d];
        matmul(
            MatMut::new(logits, rows, v),
            Mat::new(states, rows, d),
            Mat::new(self.weights, v, d).t(),
            false,
        );
    }

    /// Sum of the rows' losses in nats; no gradient. `logits` is scratch of
    /// [`chunk_rows`] rows.
    pub(crate) fn loss(&self, targets: &[u32], logits: &mut [f32]) -> f64 {
        let v = self.vocabulary();
        let mut sum = 0.0;
        let mut first = 0;
        for targets in targets.chunks(chunk_rows(v)) {
            self.logits(first, targets.len(), logits);
            for (row, target) in logits.chunks_exact_mut(v).zip(targets) {
                sum += row_gradient(row, *target as usize, 1.0);
            }
            first += targets.len();
        }
        sum
    }

    /// Sum of the rows' losses, each row's gradient weighed by `weight`: writes
    /// `dstates`, and writes or (when `accumulate`) adds to `dweights`.
    pub(crate) fn loss_and_gradient(
        &self,
        targets: &[u32],
        weight: f32,
        logits: &mut [f32],
        dstates: &mut [f32],
        dweights: &mut [f32],
        accumulate: bool,
    ) -> f64 {
        let (d, v) = (self.width, self.vocabulary());
        let mut sum = 0.0;
        let mut first = 0;
        for targets in targets.chunks(chunk_rows(v)) {
            let rows = targets.len();
            self.logits(first, rows, logits);
            for (row, target) in logits.chunks_exact_mut(v).zip(targets) {
                sum += row_gradient(row, *target as usize, weight);
            }
            let dlogits = Mat::new(logits, rows, v);
            let span = first * d..(first + rows) * d;
            matmul(
                MatMut::new(&mut dstates[span.clone()], rows, d),
                dlogits,
                Mat::new(self.weights, v, d),
                false,
            );
            matmul(
                MatMut::new(dweights, v, d),
                dlogits.t(),
                Mat::new(&self.states[span], rows, d),
                accumulate || first > 0,
            );
            first += rows;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, noise};
    use super::*;

    #[test]
    fn uniform_logits_cost_the_log_of_the_vocabulary() {
        let (d, v) = (4, 7);
        let (states, weights) = (vec![0.0; 2 * d], noise(1, v * d));
        let head = Head {
            states: &states,
            weights: &weights,
            width: d,
        };
        let loss = head.loss(&[3, 6], &mut vec![0.0; chunk_rows(v) * v]);
        assert!((loss - 2.0 * 7f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn backward_matches_finite_differences_over_several_chunks() {
        // A vocabulary this large makes a chunk smaller than the rows.
        let (d, v, rows) = (3, 40, 300);
        let targets: Vec<u32> = (0..rows).map(|i| (i * 7 % v) as u32).collect();
        let (states, weights) = (noise(11, rows * d), noise(12, v * d));
        let mut logits = vec![0.0; chunk_rows(v) * v];
        let (mut dstates, mut dweights) = (vec![0.0; rows * d], vec![0.0; v * d]);
        assert!(chunk_rows(v) < rows);
        let weight = 0.5;
        fn head<'a>(states: &'a [f32], weights: &'a [f32]) -> Head<'a> {
            Head {
                states,
                weights,
                width: 3,
            }
        }
        let sum = head(&states, &weights).loss_and_gradient(
            &targets,
            weight,
            &mut logits,
            &mut dstates,
            &mut dweights,
            false,
        );
        assert!((sum - head(&states, &weights).loss(&targets, &mut logits)).abs() < 1e-6);
        let mut f =
            |s: &[f32], w: &[f32]| f64::from(weight) * head(s, w).loss(&targets, &mut logits);
        assert_gradient("states", &states, &dstates, 1e-2, 1e-3, |s| f(s, &weights));
        assert_gradient("weights", &weights, &dweights, 1e-2, 1e-3, |w| {
            f(&states, w)
        });
    }
}
