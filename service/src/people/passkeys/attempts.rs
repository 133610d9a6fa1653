//! What was asked of a browser and not answered yet: each challenge is kept here, for one answer, for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::secrets::fingerprint;
use crate::time::Millis;

/// How long an answer may take.
pub(super) const LIFE: Millis = 5 * 60_000;
/// Attempts that are open at once; past it the oldest is forgotten. Each takes a few hundred bytes.
const MOST: usize = 4_096;
/// Attempts of one holder that are open at once, so that nobody crowds the others out alone. Behind a proxy all
/// visitors are one holder; as many as may begin within [`LIFE`] under the limit on attempts have room.
const MOST_OF_HOLDER: usize = 512;

#[derive(Debug)]
struct Attempt<T> {
    holder: String,
    until: Millis,
    /// Counts up, because many begin in the same millisecond.
    nth: u64,
    asked: T,
}

#[derive(Debug)]
struct Open<T> {
    by_name: HashMap<String, Attempt<T>>,
    nth: u64,
}

/// The open attempts, by the hash of the secret that whoever began has.
#[derive(Debug)]
pub(super) struct Attempts<T>(Mutex<Open<T>>);

impl<T> Default for Attempts<T> {
    fn default() -> Self {
        Self(Mutex::new(Open {
            by_name: HashMap::new(),
            nth: 0,
        }))
    }
}

impl<T> Attempts<T> {
    /// Keeps what was asked until [`LIFE`] has passed. `holder` is whose attempts make room for it first.
    pub(super) fn begin(&self, secret: &str, holder: &str, now: Millis, asked: T) {
        let mut open = self.lock();
        open.by_name.retain(|_, attempt| attempt.until > now);
        let of_holder = |attempt: &Attempt<T>| attempt.holder == holder;
        if open.by_name.values().filter(|one| of_holder(one)).count() >= MOST_OF_HOLDER {
            open.forget_oldest(of_holder);
        }
        if open.by_name.len() >= MOST {
            open.forget_oldest(|_| true);
        }
        open.nth += 1;
        let attempt = Attempt {
            holder: holder.to_owned(),
            until: now + LIFE,
            nth: open.nth,
            asked,
        };
        open.by_name.insert(fingerprint(secret), attempt);
    }

    /// What was asked, once: whether or not the answer is right, there is no second one.
    pub(super) fn take(&self, secret: &str, now: Millis) -> Option<T> {
        let attempt = self.lock().by_name.remove(&fingerprint(secret))?;
        (attempt.until > now).then_some(attempt.asked)
    }

    fn lock(&self) -> MutexGuard<'_, Open<T>> {
        // A panic cannot leave an attempt half written, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Open<T> {
    fn forget_oldest(&mut self, of: impl Fn(&Attempt<T>) -> bool) {
        let some = self.by_name.iter().filter(|(_, attempt)| of(attempt));
        let oldest = some.min_by_key(|(_, attempt)| attempt.nth);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.by_name.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_answered_once_and_in_time() {
        let attempts = Attempts::default();
        attempts.begin("a", "ada", 0, 1);
        assert_eq!(attempts.take("b", 0), None);
        assert_eq!(attempts.take("a", LIFE - 1), Some(1));
        assert_eq!(attempts.take("a", LIFE - 1), None, "answered already");
        attempts.begin("a", "ada", 0, 2);
        assert_eq!(attempts.take("a", LIFE), None, "too late");
    }

    #[test]
    fn whoever_begins_often_loses_their_own_attempts_first() {
        let attempts = Attempts::default();
        attempts.begin("bob's", "bob", 0, 0);
        for n in 0..1_000 {
            attempts.begin(&format!("ada's {n}"), "ada", 0, n);
        }
        assert_eq!(attempts.lock().by_name.len(), MOST_OF_HOLDER + 1);
        assert_eq!(attempts.take("bob's", 1), Some(0));
        assert_eq!(attempts.take("ada's 487", 1), None);
        assert_eq!(attempts.take("ada's 488", 1), Some(488));
    }

    #[test]
    fn memory_is_bounded_whoever_asks() {
        let attempts = Attempts::default();
        for n in 0..MOST + 500 {
            attempts.begin(&n.to_string(), &n.to_string(), 0, n);
        }
        assert_eq!(attempts.lock().by_name.len(), MOST);
        assert_eq!(attempts.take("499", 1), None);
        assert_eq!(attempts.take("500", 1), Some(500));
        attempts.begin("late", "somebody", LIFE, 0);
        assert_eq!(attempts.lock().by_name.len(), 1, "what is too old goes");
    }
}
