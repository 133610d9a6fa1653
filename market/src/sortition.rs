//! Sortition: who sits, drawn by weight from a published list, so that anyone can draw again.
//!
//! # The draw
//! Given a 32-byte seed and candidates in strictly ascending order of their names (by bytes),
//! each with an integer weight, seats are filled one after the other:
//!
//! 1. The stream of words: word `i = 0, 1, 2, …` is the first eight bytes, little-endian, of
//!    `BLAKE3("plumbline sortition v1" ‖ seed ‖ i as eight bytes little-endian)`.
//! 2. `T` is the sum of the weights of those who do not sit yet. A word `w` is skipped while
//!    `w ≥ 2⁶⁴ − (2⁶⁴ mod T)`, so that every remainder is equally likely.
//! 3. `x = w mod T`. Walking the list in order, whoever's weight reaches past `x` sits and
//!    leaves the list: the first `k` with `weight₁ + … + weight_k > x`.
//! 4. The stream goes on, never back, for the next seat.
//!
//! Integers only: two programs that follow this text agree on every seat.
//!
//! # Weight
//! `min(stake, cap) · accuracy`, with accuracy the mean of a Beta(1, 1) posterior over cases
//! with a known answer, `(1 + right) / (2 + cases)`. Below the cap the weight is linear in the
//! stake, so dividing a stake over accounts adds nothing; the cap keeps one rich account from
//! owning panels.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const WORDS: &[u8] = b"plumbline sortition v1";
const SUBSEED: &[u8] = b"plumbline subseed v1";
/// Parts per million in the whole.
pub const PPM: u64 = 1_000_000;

/// Somebody who may be drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Account id.
    pub account: String,
    /// Weight; zero is never drawn.
    pub weight: u64,
}

/// Why nobody was drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SortitionError {
    /// The list must be in strictly ascending order, so that there is one list only.
    #[error("the candidates are not in strictly ascending order at '{0}'")]
    Order(String),
    /// Fewer candidates with a weight than seats.
    #[error("{candidates} candidates for {seats} seats")]
    TooFew {
        /// Seats to fill.
        seats: usize,
        /// Candidates with a weight above zero.
        candidates: usize,
    },
    /// The weights do not fit 64 bits together.
    #[error("the weights sum to more than 64 bits hold")]
    Overflow,
}

/// `min(stake, cap) · (1 + right) / (2 + cases)`, in whole units of the stake, rounded down.
/// A negative stake weighs nothing; more right answers than cases count as all right.
pub fn weight(stake: i64, cap: i64, right: u64, cases: u64) -> u64 {
    let capped = u128::try_from(stake.min(cap)).unwrap_or(0);
    let weight = capped * u128::from(accuracy_ppm(right, cases)) / u128::from(PPM);
    u64::try_from(weight).unwrap_or(u64::MAX)
}

/// The mean of the Beta(1, 1) posterior, `(1 + right) / (2 + cases)`, in parts per million,
/// rounded down.
pub fn accuracy_ppm(right: u64, cases: u64) -> u64 {
    let (right, cases) = (u128::from(right.min(cases)), u128::from(cases));
    let ppm = (1 + right) * u128::from(PPM) / (2 + cases);
    // At most the whole, so it fits.
    u64::try_from(ppm).unwrap_or(PPM)
}

/// A seed for one purpose, `BLAKE3("plumbline subseed v1" ‖ n ‖ seed₁ ‖ … ‖ seed_n ‖ purpose)`,
/// with `n` as one byte: what is drawn for one purpose says nothing about another.
pub fn subseed(seeds: &[[u8; 32]], purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(SUBSEED);
    hasher.update(&[seeds.len() as u8]);
    for seed in seeds {
        hasher.update(seed);
    }
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The commitment to a secret seed: its BLAKE3.
pub fn commitment(seed: &[u8; 32]) -> Digest {
    Digest::of(seed)
}

/// The stream of words of a seed.
#[derive(Debug, Clone)]
pub struct Words {
    seed: [u8; 32],
    next: u64,
}

impl Words {
    /// The stream from its start.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, next: 0 }
    }

    fn word(&mut self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(WORDS);
        hasher.update(&self.seed);
        hasher.update(&self.next.to_le_bytes());
        self.next += 1;
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// An integer in `[0, total)`, every one equally likely. Zero for a `total` of zero.
    pub fn below(&mut self, total: u64) -> u64 {
        if total == 0 {
            return 0;
        }
        // 2⁶⁴ mod total, without 2⁶⁴.
        let rest = (u64::MAX % total + 1) % total;
        loop {
            let word = self.word();
            // word ≥ 2⁶⁴ − rest; at least half of all words pass whatever the total.
            if rest == 0 || word <= u64::MAX - rest {
                return word % total;
            }
        }
    }
}

/// Draws `seats` of the candidates without replacement, by weight; their positions in the
/// list, in the order drawn. Errors: a list out of order, too few candidates, an overflow.
pub fn draw(
    seed: &[u8; 32],
    candidates: &[Candidate],
    seats: usize,
) -> Result<Vec<usize>, SortitionError> {
    if let Some(pair) = candidates
        .windows(2)
        .find(|pair| pair[0].account.as_bytes() >= pair[1].account.as_bytes())
    {
        return Err(SortitionError::Order(pair[1].account.clone()));
    }
    let able = candidates.iter().filter(|one| one.weight > 0).count();
    if able < seats {
        return Err(SortitionError::TooFew {
            seats,
            candidates: able,
        });
    }
    let mut total = candidates
        .iter()
        .try_fold(0_u64, |sum, one| sum.checked_add(one.weight))
        .ok_or(SortitionError::Overflow)?;
    let mut left: Vec<u64> = candidates.iter().map(|one| one.weight).collect();
    let mut words = Words::new(*seed);
    let mut drawn = Vec::with_capacity(seats);
    for _ in 0..seats {
        let position = holder_of(&left, words.below(total));
        total -= left[position];
        left[position] = 0;
        drawn.push(position);
    }
    Ok(drawn)
}

/// The first position whose weights up to there sum to more than `x < Σ weights`.
fn holder_of(weights: &[u64], x: u64) -> usize {
    let mut sum = 0_u64;
    weights
        .iter()
        .position(|weight| {
            sum += weight;
            sum > x
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(weights: &[u64]) -> Vec<Candidate> {
        let named = |(n, weight): (usize, &u64)| Candidate {
            account: format!("a{n:03}"),
            weight: *weight,
        };
        weights.iter().enumerate().map(named).collect()
    }

    #[test]
    fn accuracy_and_weight_are_as_documented() {
        assert_eq!(accuracy_ppm(0, 0), 500_000);
        assert_eq!(accuracy_ppm(8, 8), 900_000);
        assert_eq!(accuracy_ppm(0, 8), 100_000);
        assert_eq!(
            accuracy_ppm(9, 8),
            900_000,
            "never more right than there were"
        );
        assert_eq!(accuracy_ppm(u64::MAX, u64::MAX), 999_999);
        assert_eq!(weight(40, 100, 0, 0), 20);
        assert_eq!(weight(1_000, 100, 0, 0), 50);
        assert_eq!(weight(-5, 100, 0, 0), 0);
        assert_eq!(weight(i64::MAX, i64::MAX, 0, 0), i64::MAX as u64 / 2);
    }

    #[test]
    fn lists_that_could_be_written_twice_are_refused() {
        let mut candidates = list(&[1, 1]);
        candidates.swap(0, 1);
        assert_eq!(
            draw(&[0; 32], &candidates, 1),
            Err(SortitionError::Order("a000".into()))
        );
        let twice = vec![candidates[0].clone(), candidates[0].clone()];
        assert!(matches!(
            draw(&[0; 32], &twice, 1),
            Err(SortitionError::Order(_))
        ));
    }

    #[test]
    fn nobody_sits_twice_and_no_weight_is_no_seat() {
        let candidates = list(&[5, 0, 7, 0, 1]);
        let mut drawn = draw(&[3; 32], &candidates, 3).unwrap();
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 2, 4]);
        assert_eq!(
            draw(&[3; 32], &candidates, 4),
            Err(SortitionError::TooFew {
                seats: 4,
                candidates: 3
            })
        );
        assert_eq!(draw(&[3; 32], &[], 0), Ok(vec![]));
        assert_eq!(
            draw(&[3; 32], &list(&[u64::MAX, 1]), 1),
            Err(SortitionError::Overflow)
        );
    }

    #[test]
    fn the_first_seat_follows_the_weights() {
        let candidates = list(&[10, 30, 60]);
        let mut counts = [0_u32; 3];
        for n in 0..4_000_u32 {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&n.to_le_bytes());
            counts[draw(&seed, &candidates, 1).unwrap()[0]] += 1;
        }
        // Five standard deviations of a binomial of 4,000.
        for (count, expected) in counts.iter().zip([400.0_f64, 1_200.0, 2_400.0]) {
            let sigma = (expected * (1.0 - expected / 4_000.0)).sqrt();
            assert!(
                (f64::from(*count) - expected).abs() < 5.0 * sigma,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn integers_below_a_bound_stay_below_it() {
        let mut words = Words::new([9; 32]);
        for total in [1, 2, 3, 7, 1 << 63, (1 << 63) + 1, u64::MAX] {
            for _ in 0..50 {
                assert!(words.below(total) < total);
            }
        }
        assert_eq!(words.below(0), 0);
    }
}
