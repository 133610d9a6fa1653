//! Token buckets per client, bounded in number.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const SHARDS: usize = 16;
/// Most clients remembered per shard; past it, the idle ones are forgotten.
const PER_SHARD: usize = 4_096;

/// A bucket of `burst` tokens that refills at `per_second`; each request takes one.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Who is limited.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// An address; see [`Client::at`].
    Address(IpAddr),
    /// An account, by its id or handle.
    Account(String),
}

impl Client {
    /// The address that counts as one client: an IPv6 host owns its whole /64.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(block_of(address))
    }
}

/// What a client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests at once.
    pub(crate) burst: u32,
    /// Seconds in which an empty bucket is full again.
    pub(crate) window_s: u32,
    /// Requests that may come now.
    pub(crate) left: u32,
    /// Seconds until the bucket is full again.
    pub(crate) full_in_s: u32,
}

/// Limits how often each client may do something.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_second: f64,
    burst: f64,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<Client, Bucket>>>,
}

impl Limiter {
    /// `per_second` sustained and `burst` at once; a rate of 0 or less lets everything through.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self {
            per_second,
            burst: burst.max(1.0),
            hasher: RandomState::new(),
            shards,
        }
    }

    /// Takes one token and says what is left, if anything is limited; or how many seconds until there is one.
    pub(crate) fn take(&self, client: Client, now: Instant) -> Result<Option<Quota>, u32> {
        if self.per_second <= 0.0 {
            return Ok(None);
        }
        let index = (self.hasher.hash_one(&client) as usize) % SHARDS;
        // A panic cannot leave a bucket half written, so a poisoned lock is still good.
        let mut shard = self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= PER_SHARD && !shard.contains_key(&client) {
            self.forget_idle(&mut shard, now);
        }
        let bucket = shard.entry(client).or_insert(Bucket {
            tokens: self.burst,
            at: now,
        });
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * self.per_second).min(self.burst);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            let seconds =
                |tokens: f64| (tokens / self.per_second).ceil().clamp(1.0, 3_600.0) as u32;
            return Ok(Some(Quota {
                burst: self.burst as u32,
                window_s: seconds(self.burst),
                left: bucket.tokens as u32,
                full_in_s: seconds(self.burst - bucket.tokens),
            }));
        }
        let wait = (1.0 - bucket.tokens) / self.per_second;
        Err(wait.ceil().clamp(1.0, 3_600.0) as u32)
    }

    /// Drops buckets that have refilled: forgetting them changes no answer. If none has, drops all,
    /// because memory must stay bounded whatever the number of addresses.
    fn forget_idle(&self, shard: &mut HashMap<Client, Bucket>, now: Instant) {
        shard.retain(|_, bucket| {
            let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
            bucket.tokens + elapsed * self.per_second < self.burst
        });
        if shard.len() >= PER_SHARD {
            shard.clear();
        }
    }
}

/// The addresses that count as one client.
pub(crate) fn block_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::from(segments)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn a() -> Client {
        Client::at(IpAddr::from([10, 0, 0, 1]))
    }

    fn b() -> Client {
        Client::Account("b".to_owned())
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limiter = Limiter::new(2.0, 3.0);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(limiter.take(a(), start).is_ok());
        }
        assert_eq!(limiter.take(a(), start), Err(1));
        assert!(
            limiter.take(b(), start).is_ok(),
            "clients do not share a bucket"
        );
        assert!(
            limiter
                .take(a(), start + Duration::from_millis(600))
                .is_ok()
        );
        assert_eq!(
            limiter.take(a(), start + Duration::from_millis(700)),
            Err(1)
        );
    }

    #[test]
    fn a_rate_of_zero_is_off() {
        let limiter = Limiter::new(0.0, 1.0);
        let now = Instant::now();
        assert!((0..1_000).all(|_| limiter.take(a(), now).is_ok()));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let limiter = Limiter::new(0.001, 1.0);
        let now = Instant::now();
        let host = |last: u16| Client::at(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
        assert!(limiter.take(host(1), now).is_ok());
        assert!(limiter.take(host(2), now).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(0.001, 1.0);
        let now = Instant::now();
        for n in 0..200_000_u32 {
            let _ = limiter.take(Client::at(IpAddr::from(n.to_be_bytes())), now);
        }
        let held: usize = limiter
            .shards
            .iter()
            .map(|shard| shard.lock().map_or(0, |shard| shard.len()))
            .sum();
        assert!(held <= SHARDS * PER_SHARD);
    }
}
