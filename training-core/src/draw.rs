//! Reproducible randomness: a BLAKE3 stream named by a seed.
//!
//! The same seed gives the same numbers on every machine and in every
//! release, which a general-purpose generator crate does not promise.

use crate::digest::Digest;

/// A stream of uniform numbers determined by its seed.
#[derive(Debug, Clone)]
pub struct Draw {
    stream: blake3::OutputReader,
    block: [u8; 64],
    used: usize,
}

impl Draw {
    /// The stream of `(purpose, parts)`; see [`Digest::derive`].
    pub fn new(purpose: &str, parts: &[&[u8]]) -> Self {
        let seed = Digest::derive(purpose, parts);
        let stream = blake3::Hasher::new_keyed(&seed.0).finalize_xof();
        // An exhausted block makes the first draw fetch a fresh one.
        Self {
            stream,
            block: [0; 64],
            used: 64,
        }
    }

    /// The next 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.stream.fill(&mut self.block);
            self.used = 0;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(word)
    }

    /// A uniform integer in `0..bound`; 0 when `bound` is 0.
    ///
    /// Multiply-shift with rejection, so without modulo bias (Lemire, "Fast
    /// Random Integer Generation in an Interval", 2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniform number in `[0, 1)` with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform random permutation in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_stream_other_seed_other_stream() {
        let take = |parts: &[&[u8]]| {
            let mut draw = Draw::new("test", parts);
            (0..20).map(|_| draw.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(take(&[b"1"]), take(&[b"1"]));
        assert_ne!(take(&[b"1"]), take(&[b"2"]));
    }

    #[test]
    fn below_is_uniform_within_chance() {
        let mut draw = Draw::new("test", &[b"uniform"]);
        let mut counts = [0_u32; 6];
        for _ in 0..6_000 {
            counts[draw.below(6) as usize] += 1;
        }
        // Chi-square with 5 degrees of freedom: 20.5 is its 99.9 % point.
        let chi: f64 = counts
            .iter()
            .map(|&count| (f64::from(count) - 1_000.0).powi(2) / 1_000.0)
            .sum();
        assert!(chi < 20.5, "chi-square {chi}, counts {counts:?}");
    }

    #[test]
    fn shuffle_permutes() {
        let mut items: Vec<u32> = (0..50).collect();
        Draw::new("test", &[b"s"]).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
