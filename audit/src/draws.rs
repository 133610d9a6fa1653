//! Draws from a committed seed, recomputed from published values.
//!
//! ```text
//! commitment = BLAKE3("plumbline/seed/v1" ‖ seed)
//! draw       = BLAKE3("plumbline/draw/v1" ‖ seed ‖ head ‖ purpose)
//! unit       = (first 8 bytes of the draw, big-endian, shifted right by 11) · 2⁻⁵³
//! ```

/// 32 bytes: a seed, a head of a log or a draw.
pub type Bytes = [u8; 32];

fn digest(domain: &str, parts: &[&[u8]]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(domain.as_bytes());
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// What was published of a seed when its market opened.
pub fn commitment(seed: &Bytes) -> Bytes {
    digest("plumbline/seed/v1", &[seed])
}

/// The draw for a purpose: `close`, `audit`, `panel/ROUND` or `stop/TRADE`.
pub fn draw(seed: &Bytes, head: &Bytes, purpose: &str) -> Bytes {
    digest("plumbline/draw/v1", &[seed, head, purpose.as_bytes()])
}

/// The draw as a number in [0, 1): its first 53 bits.
pub fn unit(draw: &Bytes) -> f64 {
    let first = draw[..8]
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (first >> 11) as f64 / 9_007_199_254_740_992.0
}

/// `φ(p) = floor + (peak − floor)·4p(1−p)`, floor and peak in basis points, the result in [0, 1].
pub fn audit_probability(p: f64, floor_bps: u16, peak_bps: u16) -> f64 {
    let (floor, peak) = (f64::from(floor_bps) / 1e4, f64::from(peak_bps) / 1e4);
    (floor + (peak - floor) * 4.0 * p * (1.0 - p)).clamp(0.0, 1.0)
}

/// Head of a market's log: `BLAKE3("plumbline/log/v1" ‖ "o" ‖ terms)`, then for each entry
/// `"t" ‖ head ‖ bits of the log-odds after it ‖ trade id` or `"e" ‖ head ‖ content ‖ evidence id`.
pub fn log_open(terms: &str) -> Bytes {
    digest("plumbline/log/v1", &[b"o", terms.as_bytes()])
}

/// The log with one more trade.
pub fn log_trade(head: &Bytes, id: &str, log_odds_after: f64) -> Bytes {
    let bits = log_odds_after.to_bits().to_be_bytes();
    digest("plumbline/log/v1", &[b"t", head, &bits, id.as_bytes()])
}

/// The log with one more submission.
pub fn log_exhibit(head: &Bytes, id: &str, content: &Bytes) -> Bytes {
    digest("plumbline/log/v1", &[b"e", head, content, id.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_first_53_bits() {
        let mut bytes = [0xff; 32];
        assert_eq!(unit(&bytes), 1.0 - f64::EPSILON / 2.0);
        bytes[..8].copy_from_slice(&(1_u64 << 63).to_be_bytes());
        assert_eq!(unit(&bytes), 0.5);
    }

    #[test]
    fn a_draw_depends_on_all_it_is_made_of() {
        let (seed, head) = ([1; 32], log_open("terms"));
        let first = draw(&seed, &head, "audit");
        assert_ne!(first, draw(&[2; 32], &head, "audit"));
        assert_ne!(first, draw(&seed, &head, "close"));
        assert_ne!(first, draw(&seed, &log_trade(&head, "t", 0.5), "audit"));
        assert_ne!(
            log_trade(&head, "t", 0.5),
            log_exhibit(&head, "t", &[0; 32])
        );
        assert_ne!(commitment(&seed), commitment(&[2; 32]));
    }

    #[test]
    fn audits_are_likeliest_at_even_odds() {
        assert_eq!(audit_probability(0.5, 500, 2_500), 0.25);
        assert_eq!(audit_probability(1.0, 500, 2_500), 0.05);
    }
}
