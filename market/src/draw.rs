//! Draws that nobody can choose and everybody can check.
//!
//! When a market opens, 32 random bytes (the seed) are drawn and only their commitment is
//! published. What is drawn later depends on the seed and on the head of the market's own
//! log at that moment, which the traders write:
//!
//! ```text
//! commitment = BLAKE3("plumbline/seed/v1" ‖ seed)
//! draw       = BLAKE3("plumbline/draw/v1" ‖ seed ‖ head ‖ purpose)
//! unit       = (first 8 bytes of the draw, big-endian, shifted right by 11) · 2⁻⁵³ ∈ [0, 1)
//! ```
//!
//! Whoever knows the seed cannot change it after the opening, and whoever writes the log does
//! not know the seed. After the freeze the seed is published and every draw can be recomputed.
//!
//! The log is a chain. Its first head is the digest of the opening terms, each entry hashes
//! the head before it:
//!
//! ```text
//! head₀ = BLAKE3("plumbline/log/v1" ‖ "o" ‖ terms)
//! trade:   headₙ = BLAKE3("plumbline/log/v1" ‖ "t" ‖ headₙ₋₁ ‖ bits of the log-odds after it ‖ trade id)
//! exhibit: headₙ = BLAKE3("plumbline/log/v1" ‖ "e" ‖ headₙ₋₁ ‖ content hash ‖ evidence id)
//! ```
//!
//! Bits are the eight big-endian bytes of the IEEE 754 double; texts are UTF-8. Everything
//! before the last field has a fixed length, so no two entries share an encoding.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const SEED_DOMAIN: &[u8] = b"plumbline/seed/v1";
const DRAW_DOMAIN: &[u8] = b"plumbline/draw/v1";
const LOG_DOMAIN: &[u8] = b"plumbline/log/v1";

/// Least audit probability that rules may promise, basis points.
pub const MIN_AUDIT_BPS: u16 = 500;
/// The whole, in basis points.
pub const ALL_BPS: u16 = 10_000;

/// Purpose of the draw that places the stop moment in the closing window.
pub const CLOSE: &str = "close";
/// Purpose of the draw that decides about the audit.
pub const AUDIT: &str = "audit";

/// Purpose of the draw of the jury that decides `round` of a case.
pub fn panel_purpose(round: u32) -> String {
    format!("panel/{round}")
}

/// Purpose of the draw that decides whether a self-resolving market stops after its `trade`-th
/// trade, counted from one.
pub fn stop_purpose(trade: u64) -> String {
    format!("stop/{trade}")
}

/// `BLAKE3(domain ‖ seed)`, published when the market opens.
pub fn seed_commitment(seed: &[u8; 32]) -> Digest {
    hash(SEED_DOMAIN, &[seed])
}

/// The draw for a purpose; see the module's documentation.
pub fn draw(seed: &[u8; 32], log_head: &Digest, purpose: &str) -> Digest {
    hash(DRAW_DOMAIN, &[seed, &log_head.0, purpose.as_bytes()])
}

/// The draw as a number in [0, 1): its first 53 bits, over 2⁵³. Exact.
pub fn unit_interval(draw: &Digest) -> f64 {
    let mut first = [0u8; 8];
    first.copy_from_slice(&draw.0[..8]);
    // 53 bits fit a double exactly, and so does the product with a power of two.
    (u64::from_be_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}

/// `φ(p) = floor + (peak − floor) · 4p(1−p)`: probability of an audit at the frozen price `p`,
/// largest where the cheap method is least sure and never below the floor.
///
/// Domain: `p ∈ [0, 1]`, `floor ≤ peak ≤ 10,000` basis points. The result is in [0, 1].
pub fn audit_probability(p: f64, floor_bps: u16, peak_bps: u16) -> f64 {
    let (floor, peak) = (f64::from(floor_bps) / 1e4, f64::from(peak_bps) / 1e4);
    (floor + (peak - floor) * 4.0 * p * (1.0 - p)).clamp(0.0, 1.0)
}

/// The head of a market's log, entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// Digest of the last entry.
    pub head: Digest,
    /// Trades in the log so far.
    pub trades: u64,
    /// Exhibits in the log so far.
    pub exhibits: u64,
}

impl LogHead {
    /// The log of a market that has just opened on these terms.
    pub fn open(terms: &str) -> Self {
        Self {
            head: hash(LOG_DOMAIN, &[b"o", terms.as_bytes()]),
            trades: 0,
            exhibits: 0,
        }
    }

    /// The log with one more trade.
    #[must_use]
    pub fn trade(self, id: &str, log_odds_after: f64) -> Self {
        let bits = log_odds_after.to_bits().to_be_bytes();
        Self {
            head: hash(LOG_DOMAIN, &[b"t", &self.head.0, &bits, id.as_bytes()]),
            trades: self.trades + 1,
            ..self
        }
    }

    /// The log with one more exhibit set. `content` is its hash.
    #[must_use]
    pub fn exhibit(self, id: &str, content: &Digest) -> Self {
        Self {
            head: hash(LOG_DOMAIN, &[b"e", &self.head.0, &content.0, id.as_bytes()]),
            exhibits: self.exhibits + 1,
            ..self
        }
    }
}

fn hash(domain: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_encodings_are_as_documented() {
        let (seed, head) = ([7; 32], Digest::of(b"head"));
        let by_hand = |parts: &[&[u8]]| Digest::of(&parts.concat());
        assert_eq!(
            seed_commitment(&seed),
            by_hand(&[b"plumbline/seed/v1", &seed])
        );
        assert_eq!(
            draw(&seed, &head, "close"),
            by_hand(&[b"plumbline/draw/v1", &seed, &head.0, b"close"])
        );
        let opened = LogHead::open("{}");
        assert_eq!(opened.head, by_hand(&[b"plumbline/log/v1", b"o", b"{}"]));
        let traded = opened.trade("t1", -0.5);
        let bits = (-0.5f64).to_bits().to_be_bytes();
        assert_eq!(
            traded.head,
            by_hand(&[b"plumbline/log/v1", b"t", &opened.head.0, &bits, b"t1"])
        );
        let shown = traded.exhibit("e1", &head);
        assert_eq!(
            shown.head,
            by_hand(&[b"plumbline/log/v1", b"e", &traded.head.0, &head.0, b"e1"])
        );
        assert_eq!((shown.trades, shown.exhibits), (1, 1));
    }

    #[test]
    fn any_change_of_seed_log_or_purpose_is_another_draw() {
        let (seed, head) = ([1; 32], LogHead::open("terms"));
        let first = draw(&seed, &head.head, AUDIT);
        let mut flipped = seed;
        flipped[31] ^= 1;
        assert_ne!(first, draw(&flipped, &head.head, AUDIT));
        assert_ne!(seed_commitment(&seed), seed_commitment(&flipped));
        assert_ne!(first, draw(&seed, &head.head, CLOSE));
        let logs = [
            LogHead::open("other"),
            head.trade("a", 0.0),
            head.trade("a", 0.0).trade("b", 0.0),
            head.trade("b", 0.0).trade("a", 0.0),
            head.trade("a", f64::MIN_POSITIVE),
            head.exhibit("a", &Digest::of(b"")),
        ];
        for (index, log) in logs.iter().enumerate() {
            assert_ne!(first, draw(&seed, &log.head, AUDIT));
            for other in &logs[..index] {
                assert_ne!(log.head, other.head);
            }
        }
    }

    #[test]
    fn units_are_in_the_half_open_interval_and_exact() {
        let with = |first: u64| {
            let mut bytes = [0xff; 32];
            bytes[..8].copy_from_slice(&first.to_be_bytes());
            unit_interval(&Digest(bytes))
        };
        assert_eq!(with(0), 0.0);
        assert_eq!(with(1 << 63), 0.5);
        assert_eq!(with(u64::MAX), 1.0 - f64::EPSILON / 2.0);
        assert_eq!(with((1 << 11) - 1), 0.0, "the low bits do not count");
    }

    #[test]
    fn units_are_spread_evenly() {
        let head = Digest::of(b"head");
        let mut bins = [0u32; 10];
        for n in 0..10_000u32 {
            let unit = unit_interval(&draw(&[3; 32], &head, &format!("{n}")));
            bins[(unit * 10.0) as usize] += 1;
        }
        // Chi-squared with 9 degrees of freedom: 27.9 is exceeded once in a thousand.
        let chi: f64 = bins
            .iter()
            .map(|&n| (f64::from(n) - 1e3).powi(2) / 1e3)
            .sum();
        assert!(chi < 27.9, "{bins:?}");
    }

    #[test]
    fn audits_are_likeliest_at_one_half_and_never_below_the_floor() {
        let phi = |p| audit_probability(p, 500, 2_500);
        assert_eq!(phi(0.5), 0.25);
        assert_eq!((phi(0.0), phi(1.0)), (0.05, 0.05));
        assert!((phi(0.1) - (0.05 + 0.2 * 0.36)).abs() < 1e-15);
        for step in 0..=1_000 {
            let p = f64::from(step) / 1_000.0;
            assert!((0.05..=0.25).contains(&phi(p)));
            assert!((phi(p) - phi(1.0 - p)).abs() < 1e-12);
        }
        assert_eq!(audit_probability(0.3, 10_000, 10_000), 1.0);
    }
}
