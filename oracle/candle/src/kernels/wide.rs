//! The inner loops in x86-64 vector instructions.
//!
//! Safety: the public functions check that every slice is as long as the loops reach, and are called only at a
//! [`Level`](super::Level) that the processor was seen to have; the loops inside then use plain pointers, because a
//! bounds check in them costs as much as their work.

use std::arch::x86_64::*;

use super::int8::{PANEL, Panel, QUAD};

/// Rows of codes multiplied side by side: 12 rows by 2 registers leave room for the operands among 32.
const ROWS: usize = 12;

/// Most rows of a float tile; with more, the compiler keeps sums on the stack.
pub(crate) const FLOAT_ROWS: usize = 8;

/// Calls `$call::<R>` with the const for `$rows` in 1..=12.
macro_rules! with_rows {
    ($rows:expr, $call:ident($($arg:expr),*)) => {
        match $rows {
            12 => $call::<12>($($arg),*),
            11 => $call::<11>($($arg),*),
            10 => $call::<10>($($arg),*),
            9 => $call::<9>($($arg),*),
            8 => $call::<8>($($arg),*),
            7 => $call::<7>($($arg),*),
            6 => $call::<6>($($arg),*),
            5 => $call::<5>($($arg),*),
            4 => $call::<4>($($arg),*),
            3 => $call::<3>($($arg),*),
            2 => $call::<2>($($arg),*),
            _ => $call::<1>($($arg),*),
        }
    };
}

/// 32 outputs of every row of `codes`; `out` has a row every `stride` values.
pub(crate) fn int8_panel(
    panel: &Panel<'_>,
    codes: &[u8],
    scales: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let width = check(panel, codes, scales, out, stride);
    let mut row = 0;
    while row < scales.len() {
        let rows = ROWS.min(scales.len() - row);
        // SAFETY: see the module; `check` covers `rows` rows from `row`.
        unsafe {
            let codes = codes.as_ptr().add(row * width);
            let scales = scales.as_ptr().add(row);
            let out = out.as_mut_ptr().add(row * stride);
            with_rows!(rows, int8_tile(panel, codes, width, scales, out, stride));
        }
        row += rows;
    }
}

/// Asserts that everything is long enough; returns the number of inputs.
fn check(panel: &Panel<'_>, codes: &[u8], scales: &[f32], out: &[f32], stride: usize) -> usize {
    let width = panel.weights.len() / PANEL;
    assert!(width.is_multiple_of(QUAD) && panel.weights.len() == PANEL * width);
    assert!(panel.scales.len() >= PANEL && panel.offsets.len() >= PANEL);
    assert!(panel.bias.len() >= PANEL && codes.len() >= scales.len() * width);
    assert!(scales.is_empty() || out.len() >= (scales.len() - 1) * stride + PANEL);
    width
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int8_tile<const R: usize>(
    panel: &Panel<'_>,
    codes: *const u8,
    width: usize,
    scales: *const f32,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller vouches for `R` rows of `width` codes and of 32 outputs.
    unsafe {
        let offsets = panel.offsets.as_ptr();
        let first = _mm512_loadu_si512(offsets.cast());
        let second = _mm512_loadu_si512(offsets.add(16).cast());
        let mut sums = [[first, second]; R];
        let mut weights = panel.weights.as_ptr();
        for quad in (0..width).step_by(QUAD) {
            let first = _mm512_loadu_si512(weights.cast());
            let second = _mm512_loadu_si512(weights.add(64).cast());
            weights = weights.add(PANEL * QUAD);
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = codes.add(row * width + quad).cast::<i32>().read_unaligned();
                let four = _mm512_set1_epi32(four);
                sums[0] = _mm512_dpbusd_epi32(sums[0], four, first);
                sums[1] = _mm512_dpbusd_epi32(sums[1], four, second);
            }
        }
        for half in 0..2 {
            let weight = _mm512_loadu_ps(panel.scales.as_ptr().add(16 * half));
            let bias = _mm512_loadu_ps(panel.bias.as_ptr().add(16 * half));
            for (row, sums) in sums.iter().enumerate() {
                let scale = _mm512_mul_ps(weight, _mm512_set1_ps(*scales.add(row)));
                let value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[half]), scale, bias);
                _mm512_storeu_ps(out.add(row * stride + 16 * half), value);
            }
        }
    }
}

/// As [`int8_panel`], for processors without 512-bit registers.
pub(crate) fn int8_panel_avx2(
    panel: &Panel<'_>,
    codes: &[u8],
    scales: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let width = check(panel, codes, scales, out, stride);
    for (row, scale) in scales.iter().enumerate() {
        for part in 0..PANEL / 8 {
            // SAFETY: see the module; `check` covers row `row`.
            unsafe {
                let codes = codes.as_ptr().add(row * width);
                let out = out.as_mut_ptr().add(row * stride + 8 * part);
                int8_eight_avx2(panel, part, codes, width, *scale, out);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn int8_eight_avx2(
    panel: &Panel<'_>,
    part: usize,
    codes: *const u8,
    width: usize,
    scale: f32,
    out: *mut f32,
) {
    // SAFETY: the caller vouches for `width` codes and eight outputs at `out`; `part` is below 4.
    unsafe {
        // Each lane holds the sum of two of a quad's four products.
        let mut low = _mm256_setzero_si256();
        let mut high = _mm256_setzero_si256();
        let mut weights = panel.weights.as_ptr().add(part * 8 * QUAD);
        for quad in (0..width).step_by(QUAD) {
            let four = codes.add(quad).cast::<i32>().read_unaligned();
            let four = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
            let first = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast()));
            let second = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(16).cast()));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(four, first));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(four, second));
            weights = weights.add(PANEL * QUAD);
        }
        // The horizontal sum interleaves 128-bit halves; the permutation puts the outputs in order.
        let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
        let offsets = _mm256_loadu_si256(panel.offsets.as_ptr().add(8 * part).cast());
        let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(sums, offsets));
        let weight = _mm256_loadu_ps(panel.scales.as_ptr().add(8 * part));
        let bias = _mm256_loadu_ps(panel.bias.as_ptr().add(8 * part));
        let scale = _mm256_mul_ps(weight, _mm256_set1_ps(scale));
        _mm256_storeu_ps(out, _mm256_fmadd_ps(sums, scale, bias));
    }
}

/// Views of one tile product; see [`tile`](super::attention::tile).
pub(crate) fn tile(
    rows: usize,
    depth: usize,
    a: (&[f32], usize),
    b: (&[f32], usize),
    c: (&mut [f32], usize),
) {
    assert!((1..=FLOAT_ROWS).contains(&rows) && depth > 0);
    assert!(a.0.len() >= (rows - 1) * a.1 + depth && b.0.len() >= (depth - 1) * b.1 + PANEL);
    assert!(c.0.len() >= (rows - 1) * c.1 + PANEL);
    let (pa, pb, pc) = (a.0.as_ptr(), b.0.as_ptr(), c.0.as_mut_ptr());
    // SAFETY: the assertions cover every row; see the module.
    unsafe { with_rows!(rows, float_tile(depth, pa, a.1, pb, b.1, pc, c.1)) }
}

#[target_feature(enable = "avx512f")]
unsafe fn float_tile<const R: usize>(
    depth: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
) {
    // SAFETY: the caller vouches for `R` rows of `a` and `c` and `depth` rows of `b`.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for k in 0..depth {
            let first = _mm512_loadu_ps(b.add(k * b_stride));
            let second = _mm512_loadu_ps(b.add(k * b_stride + 16));
            for (row, sums) in sums.iter_mut().enumerate() {
                let one = _mm512_set1_ps(*a.add(row * a_stride + k));
                sums[0] = _mm512_fmadd_ps(one, first, sums[0]);
                sums[1] = _mm512_fmadd_ps(one, second, sums[1]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            _mm512_storeu_ps(c.add(row * c_stride), sums[0]);
            _mm512_storeu_ps(c.add(row * c_stride + 16), sums[1]);
        }
    }
}

/// The Walsh–Hadamard transform of every 128 values; `x` is a whole number of them.
pub(crate) fn rotate_128(x: &mut [f32]) {
    for block in x.as_chunks_mut::<128>().0 {
        // SAFETY: see the module; a block is 128 values.
        unsafe { rotate_block(block) }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn rotate_block(block: &mut [f32; 128]) {
    /// 1 where the lane's bit `BIT` is clear, −1 where it is set.
    const fn signs(bit: usize) -> [f32; 16] {
        let mut signs = [1.0; 16];
        let mut lane = 0;
        while lane < 16 {
            if lane & bit != 0 {
                signs[lane] = -1.0;
            }
            lane += 1;
        }
        signs
    }
    const SIGNS: [[f32; 16]; 4] = [signs(8), signs(4), signs(2), signs(1)];
    let at = block.as_mut_ptr();
    // SAFETY: all loads and stores lie within the block and within `SIGNS`.
    unsafe {
        let mut x = [_mm512_setzero_ps(); 8];
        for (i, x) in x.iter_mut().enumerate() {
            *x = _mm512_loadu_ps(at.add(16 * i));
        }
        for half in [4, 2, 1] {
            for low in (0..8).filter(|i| i & half == 0) {
                let (a, b) = (x[low], x[low + half]);
                x[low] = _mm512_add_ps(a, b);
                x[low + half] = _mm512_sub_ps(a, b);
            }
        }
        let signs = SIGNS.map(|signs| _mm512_loadu_ps(signs.as_ptr()));
        for (i, x) in x.iter().enumerate() {
            // Each lane is added to its partner, the upper of the two with its sign turned.
            let x = _mm512_fmadd_ps(*x, signs[0], _mm512_shuffle_f32x4::<0b01_00_11_10>(*x, *x));
            let x = _mm512_fmadd_ps(x, signs[1], _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x));
            let x = _mm512_fmadd_ps(x, signs[2], _mm512_permute_ps::<0b01_00_11_10>(x));
            let x = _mm512_fmadd_ps(x, signs[3], _mm512_permute_ps::<0b10_11_00_01>(x));
            _mm512_storeu_ps(at.add(16 * i), x);
        }
    }
}
