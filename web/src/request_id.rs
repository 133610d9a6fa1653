//! Names of requests, for people who look for one in a log.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{Builder, Uuid};

thread_local! {
    /// Where this thread's count stands. It begins at random, so that threads and restarts do not meet:
    /// a name has to be unique and not secret, and randomness for each would cost more than its request's
    /// headers.
    static COUNT: Cell<u128> = Cell::new(Uuid::now_v7().as_u128());
}

/// A fresh UUIDv7.
pub(crate) fn next() -> Uuid {
    let count = COUNT.get().wrapping_add(1);
    COUNT.set(count);
    // The low 80 bits; the maker overwrites those of version and variant, which lie above 2^61.
    let [_, _, _, _, _, _, tail @ ..] = count.to_be_bytes();
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = elapsed.map_or(0, |elapsed| elapsed.as_millis());
    Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_requests_share_a_name() {
        let some = || (0..10_000).map(|_| next()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(some)).collect();
        let names: HashSet<Uuid> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(names.len(), 40_000);
        assert!(names.iter().all(|name| name.get_version_num() == 7));
    }
}
