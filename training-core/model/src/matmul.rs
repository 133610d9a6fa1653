//! Matrix products on strided slices, and the machine's measured peak.
//!
//! A thin bounds-checked wrapper over the `gemm` crate, always single-threaded:
//! parallelism in this crate is over sequences, which needs no barrier per product.

use std::time::Duration;

use crate::profile::now;

/// Read-only strided matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A contiguous row-major `rows × cols` matrix.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A row-major matrix whose rows start `row_stride` values apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(reach(rows, cols, row_stride) <= data.len());
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// The transposed view of the same values.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Columns `first..first + count` of the same rows.
    pub(crate) fn columns(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.cols);
        Self {
            data: &self.data[first * self.col_stride..],
            cols: count,
            ..self
        }
    }
}

/// Writable row-major matrix.
#[derive(Debug)]
pub(crate) struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> MatMut<'a> {
    /// A contiguous row-major `rows × cols` matrix.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A row-major matrix whose rows start `row_stride` values apart.
    pub(crate) fn strided(
        data: &'a mut [f32],
        rows: usize,
        cols: usize,
        row_stride: usize,
    ) -> Self {
        assert!(row_stride >= cols && reach(rows, cols, row_stride) <= data.len());
        Self {
            data,
            rows,
            cols,
            row_stride,
        }
    }
}

/// Values from the first element to one past the last.
fn reach(rows: usize, cols: usize, row_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows - 1) * row_stride + cols
}

/// `C ← A·B`, or `C ← C + A·B` when `accumulate`.
///
/// Shapes: `A` is `m × k`, `B` is `k × n`, `C` is `m × n`; they are asserted,
/// since every caller derives them from one validated configuration.
pub(crate) fn matmul(c: MatMut<'_>, a: Mat<'_>, b: Mat<'_>, accumulate: bool) {
    assert!(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows);
    // SAFETY: each view was checked at construction to stay inside its slice for
    // its rows, columns and strides (transposing keeps the reach), the shapes
    // agree, and `c` cannot alias `a` or `b` because it borrows mutably.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.data.as_mut_ptr(),
            1,
            c.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Best observed rate of a large square `f32` product in flop/s, summed over
/// `threads` threads that run one product each at the same time.
///
/// This is the denominator of every "share of peak" that the crate reports. It
/// takes about a third of a second; on a busy machine it is an underestimate.
pub fn matmul_peak(threads: usize) -> f64 {
    const SIZE: usize = 768;
    let one = || {
        let a = vec![0.5f32; SIZE * SIZE];
        let b = vec![0.25f32; SIZE * SIZE];
        let mut c = vec![0f32; SIZE * SIZE];
        let mut best = 0f64;
        let start = now();
        while start.elapsed() < Duration::from_millis(300) {
            let begin = now();
            let (a, b) = (Mat::new(&a, SIZE, SIZE), Mat::new(&b, SIZE, SIZE));
            matmul(MatMut::new(&mut c, SIZE, SIZE), a, b, false);
            let flops = 2.0 * (SIZE * SIZE * SIZE) as f64;
            best = best.max(flops / begin.elapsed().as_secs_f64());
        }
        best
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(one)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or(0.0))
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_strides_and_transposes() {
        // A (2×3, stride 4) times the transpose of B (2×3).
        let a = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 0.0, 1.0, -1.0];
        let mut c = [10.0f32; 5];
        let (a, b) = (Mat::strided(&a, 2, 3, 4), Mat::new(&b, 2, 3));
        matmul(MatMut::strided(&mut c, 2, 2, 3), a, b.t(), true);
        assert_eq!(c, [17.0, 9.0, 10.0, 26.0, 9.0]);
        matmul(MatMut::strided(&mut c, 2, 2, 3), a, b.t(), false);
        assert_eq!(c, [7.0, -1.0, 10.0, 16.0, -1.0]);
    }
}
