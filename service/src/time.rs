//! The service's clock and its way of writing times.

pub use crate::steady::{SteadyClock, high_water};
use crate::{Result, ServiceError};

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// Where the time comes from; tests bring their own.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Millis;

    /// Times that the clock behind this one jumped.
    fn jumps(&self) -> u64 {
        0
    }

    /// How far the clock behind this one is ahead, milliseconds.
    fn offset(&self) -> Millis {
        0
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        jiff::Timestamp::now().as_millisecond()
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-22T17:12:54.000Z`.
pub fn rfc3339(at: Millis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(time) => format!("{time:.3}"),
        // Outside the years ±9999: only a corrupt row can hold this.
        Err(_) => String::from("invalid"),
    }
}

/// Reads an RFC 3339 time.
///
/// # Errors
/// `bad-time` with the offending text.
pub fn parse_rfc3339(text: &str) -> Result<Millis> {
    text.parse::<jiff::Timestamp>()
        .map(|time| time.as_millisecond())
        .map_err(|_| {
            ServiceError::invalid(
                "bad-time",
                format!("'{text}' is not an RFC 3339 time such as 2030-01-31T12:00:00Z"),
            )
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_round_trip_to_the_millisecond() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            parse_rfc3339(&rfc3339(1_790_000_000_123)).unwrap(),
            1_790_000_000_123
        );
        assert_eq!(parse_rfc3339("yesterday").unwrap_err().code(), "bad-time");
    }
}
