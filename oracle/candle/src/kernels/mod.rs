//! The arithmetic of the models: products in 8-bit integers, attention, and the row functions between them.
//!
//! Everything runs on the calling thread; how work is spread over threads is for the callers. The instructions are
//! chosen at run time ([`Level::detect`]), so one binary is fast on a machine with AVX-512 VNNI and right on any other.
//! Unsafe code is in `wide` (vector instructions), in the choice of a level, and in one call of the crate `gemm`.

pub(crate) mod attention;
pub(crate) mod int8;
pub(crate) mod linear;
pub(crate) mod rows;
#[cfg(target_arch = "x86_64")]
pub(crate) mod wide;

/// Which instructions the kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor has.
    Portable,
    /// x86-64 with AVX2 and fused multiply-add.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL) and its 8-bit dot products (VNNI).
    Avx512Vnni,
}

impl Level {
    /// The best level that this processor has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f")
                && has!("avx512bw")
                && has!("avx512dq")
                && has!("avx512vl")
                && has!("avx512vnni")
            {
                return Self::Avx512Vnni;
            }
            if has!("avx2") && has!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// This level, or the best that the processor has if that is less: a level asked for is never beyond the machine.
    pub(crate) fn available(self) -> Self {
        self.min(Self::detect())
    }
}

/// Compiles a plain function once for every level and calls the one asked for.
///
/// `$body` is generic over `const FMA: bool`, because a fused multiply-add without the instruction is a slow library
/// call. Callers pass a level that came through [`Level::available`].
macro_rules! for_level {
    ($(#[$meta:meta])* pub(crate) fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$meta])*
        pub(crate) fn $name(level: $crate::kernels::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn widest($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                match level {
                    // SAFETY: a level above `Portable` was detected on this processor.
                    $crate::kernels::Level::Avx512Vnni => return unsafe { widest($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::Level::Avx2 => return unsafe { wide($($arg),*) },
                    $crate::kernels::Level::Portable => {}
                }
            }
            let _ = level;
            $body::<false>($($arg),*)
        }
    };
}
pub(crate) use for_level;

#[cfg(test)]
pub(crate) mod check {
    use super::Level;

    /// The levels that this machine can run.
    pub(crate) fn levels() -> Vec<Level> {
        let all = [Level::Portable, Level::Avx2, Level::Avx512Vnni];
        all.into_iter()
            .filter(|level| *level <= Level::detect())
            .collect()
    }

    /// Repeatable numbers, about normal with deviation 1.
    pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u32 << 24) as f32
        };
        (0..count)
            .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
            .collect()
    }
}
