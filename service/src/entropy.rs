//! Where randomness comes from, and the identifiers made of it.
//!
//! Beside the clock this is the only thing that makes two runs of the service differ: with a
//! clock and an entropy of the caller's, everything that happens is a function of the requests.

use std::sync::{Mutex, PoisonError};

use uuid::{Builder, Uuid};

use crate::time::Millis;
use crate::{Result, ServiceError};

/// A source of random bytes; simulations bring their own.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// `internal` when the source gives none.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(ServiceError::internal)
    }
}

/// Bits of the counter inside an identifier: RFC 9562's method 1 with `rand_a` and the first
/// 30 bits of `rand_b`.
const COUNTER_BITS: u32 = 42;
/// A millisecond begins its count below a half, so that it never runs over within it.
const FIRST_COUNT: u64 = (1 << (COUNTER_BITS - 1)) - 1;
/// What fits the timestamp of an identifier.
const LAST_MILLIS: u64 = (1 << 48) - 1;

/// The last identifier that was made.
#[derive(Debug, Default)]
struct Last {
    millis: u64,
    count: u64,
    /// Random bytes that the identifiers of this millisecond have in common.
    tail: [u8; 4],
}

/// Makes UUIDs of version 7 that sort by the order in which they were made, also within a
/// millisecond and when the clock steps back. An identifier has to be unique, not secret, so
/// randomness is drawn once for all of a millisecond.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    last: Mutex<Last>,
}

impl Ids {
    /// The next identifier, at `now`.
    pub(crate) fn next(&self, now: Millis, entropy: &dyn Entropy) -> Uuid {
        let now = u64::try_from(now).unwrap_or(0).min(LAST_MILLIS);
        let (millis, count, tail) = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if now > last.millis {
                *last = first_of(now, entropy);
            } else {
                last.count += 1;
            }
            (last.millis, last.count, last.tail)
        };
        let mut bytes = [0u8; 10];
        // 12 bits in `rand_a`, whose upper four hold the version; 30 after the two of the variant.
        bytes[..2].copy_from_slice(&((count >> 30) as u16).to_be_bytes());
        bytes[2..6].copy_from_slice(&((count & 0x3fff_ffff) as u32).to_be_bytes());
        bytes[6..].copy_from_slice(&tail);
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// Where a millisecond begins.
fn first_of(millis: u64, entropy: &dyn Entropy) -> Last {
    let mut random = [0u8; 10];
    // Without randomness the count alone makes identifiers unique.
    if let Err(error) = entropy.fill(&mut random) {
        tracing::error!(%error, "no randomness for identifiers");
    }
    let [a, b, c, d, e, f, tail @ ..] = random;
    Last {
        millis,
        count: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) & FIRST_COUNT,
        tail,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) -> Result<()> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn identifiers_sort_by_their_making_whatever_the_clock_does() {
        let ids = Ids::default();
        let times = [5, 5, 5, 7, 6, 3, 7, 8, -1];
        let made: Vec<Uuid> = times
            .iter()
            .map(|&at| ids.next(at, &Constant(0xff)))
            .collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
        for id in made {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn the_same_entropy_makes_the_same_identifiers() {
        let make = || Ids::default().next(1_790_000_000_000, &Constant(9));
        assert_eq!(make(), make());
        assert_ne!(
            make(),
            Ids::default().next(1_790_000_000_000, &Constant(10))
        );
    }

    #[test]
    fn the_system_gives_different_bytes() {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        OsEntropy.fill(&mut a).unwrap();
        OsEntropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
