//! When to try again: bounded exponential backoff with full jitter.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

/// How often and how patiently a request is tried again.
///
/// The wait before retry `k` (from 0) is drawn uniformly from
/// `[0, min(longest, base · 2ᵏ)]` ("full jitter"), and is never shorter than
/// what the service's `Retry-After` asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Upper end of the first wait.
    pub base: Duration,
    /// Upper end of any wait.
    pub longest: Duration,
    /// A `Retry-After` above this is not waited for: the error goes to the caller, who knows better what to do meanwhile.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(200),
            longest: Duration::from_secs(5),
            patience: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// One try, no retry.
    #[must_use]
    pub const fn once() -> Self {
        Self {
            attempts: 1,
            base: Duration::ZERO,
            longest: Duration::ZERO,
            patience: Duration::ZERO,
        }
    }

    /// The wait after `failed` failed tries, or `None` when it is time to give up.
    ///
    /// `unit` is a uniform draw from [0, 1).
    #[must_use]
    pub fn wait(&self, failed: u32, retry_after: Option<Duration>, unit: f64) -> Option<Duration> {
        if failed >= self.attempts.max(1) {
            return None;
        }
        let doubled = self
            .base
            .saturating_mul(1_u32.checked_shl(failed - 1).unwrap_or(u32::MAX));
        let ceiling = doubled.min(self.longest);
        let drawn = ceiling.mul_f64(unit.clamp(0.0, 1.0));
        match retry_after {
            Some(asked) if asked > self.patience => None,
            Some(asked) => Some(asked.saturating_add(drawn)),
            None => Some(drawn),
        }
    }
}

/// A uniform draw from [0, 1) for jitter, from the random bits of a fresh UUID.
pub(crate) fn jitter() -> f64 {
    let bits = Uuid::now_v7().as_u128() as u64 & ((1 << 53) - 1);
    bits as f64 / (1_u64 << 53) as f64
}

/// Reads a `Retry-After` header: whole seconds, or an HTTP date relative to `now`.
pub(crate) fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_end() {
        let policy = RetryPolicy::default();
        let cases = [
            (1, None, 1.0, Some(200)),
            (1, None, 0.0, Some(0)),
            (2, None, 0.5, Some(200)),
            (4, None, 1.0, Some(1_600)),
            (5, None, 1.0, None),
            (1, Some(2_000), 1.0, Some(2_200)),
            (1, Some(60_000), 0.0, None),
        ];
        for (failed, asked, unit, wait) in cases {
            assert_eq!(
                policy.wait(failed, asked.map(Duration::from_millis), unit),
                wait.map(Duration::from_millis),
                "{failed} {asked:?} {unit}"
            );
        }
        let patient = RetryPolicy {
            attempts: u32::MAX,
            ..policy
        };
        assert_eq!(patient.wait(4_000, None, 1.0), Some(policy.longest));
        assert_eq!(RetryPolicy::once().wait(1, None, 0.5), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
        ] {
            assert_eq!(
                parse_retry_after(text, now),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn jitter_is_in_the_unit_interval_and_varies() {
        let draws: Vec<f64> = (0..64).map(|_| jitter()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        assert!(draws.iter().any(|draw| *draw != draws[0]));
    }
}
