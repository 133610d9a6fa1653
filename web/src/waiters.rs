//! Who waits for which topic, so that what is new wakes only those whom it concerns.
//!
//! Waking ten thousand requests to find that nine of ten thousand are concerned costs more than telling the nine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Waiters by what they wait for: a topic, or all topics that start as a pattern does that ends in `*`.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    next: AtomicU64,
    by_pattern: Mutex<HashMap<String, HashMap<u64, Arc<Notify>>>>,
}

/// One waiter; it is taken off when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    all: Arc<Waiters>,
    patterns: Vec<String>,
    number: u64,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Waits for `patterns` from now on. Whatever comes before [`Waiter::woken`] is awaited is not lost.
    pub(crate) fn wait_for(self: &Arc<Self>, patterns: &[String]) -> Waiter {
        let waiter = Waiter {
            all: Arc::clone(self),
            patterns: patterns.to_vec(),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            notify: Arc::new(Notify::new()),
        };
        let mut by_pattern = self.lock();
        for pattern in patterns {
            let waiting = by_pattern.entry(pattern.clone()).or_default();
            waiting.insert(waiter.number, Arc::clone(&waiter.notify));
        }
        drop(by_pattern);
        waiter
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Wakes whoever waits for one of `topics`.
    pub(crate) fn wake<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        let by_pattern = self.lock();
        let prefixes: Vec<(&str, &HashMap<u64, Arc<Notify>>)> = by_pattern
            .iter()
            .filter_map(|(pattern, waiting)| Some((pattern.strip_suffix('*')?, waiting)))
            .collect();
        for topic in topics {
            let exact = by_pattern.get(topic);
            let starting = prefixes
                .iter()
                .filter(|(prefix, _)| topic.starts_with(prefix))
                .map(|(_, waiting)| *waiting);
            for notify in exact.into_iter().chain(starting).flat_map(HashMap::values) {
                notify.notify_one();
            }
        }
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&self) {
        for notify in self.lock().values().flat_map(HashMap::values) {
            notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, HashMap<u64, Arc<Notify>>>> {
        self.by_pattern
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Returns once something concerned it since the last call; at once if that was before.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_pattern = self.all.lock();
        for pattern in &self.patterns {
            if let Some(waiting) = by_pattern.get_mut(pattern) {
                waiting.remove(&self.number);
                if waiting.is_empty() {
                    by_pattern.remove(pattern);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn is_woken(waiter: &Waiter) -> bool {
        let soon = Duration::from_millis(5);
        tokio::time::timeout(soon, waiter.woken()).await.is_ok()
    }

    #[actix_web::test]
    async fn only_those_whom_it_concerns_are_woken_and_nothing_is_lost() {
        let all = Arc::new(Waiters::default());
        let one = all.wait_for(&["market:1".to_owned(), "market:2".to_owned()]);
        let prefix = all.wait_for(&["market:*".to_owned()]);
        let everything = all.wait_for(&["*".to_owned()]);
        let other = all.wait_for(&["run:1".to_owned()]);
        all.wake(["market:2", "market:7"]);
        assert!(is_woken(&one).await);
        assert!(!is_woken(&one).await, "once is enough");
        assert!(is_woken(&prefix).await);
        assert!(is_woken(&everything).await);
        assert!(!is_woken(&other).await);
        all.wake(["market:7"]);
        assert!(!is_woken(&one).await);
        all.wake_all();
        assert!(is_woken(&other).await && is_woken(&one).await);
        drop((one, prefix, everything));
        assert!(!all.is_empty());
        drop(other);
        assert!(all.is_empty());
    }
}
