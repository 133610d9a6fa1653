//! The newest events, read and encoded once for everybody who follows them.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use actix_web::web::Bytes;
use plumbline_service::Service;
use plumbline_service::views::EventView;
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::problem::Problem;
use crate::stream::{encode, notices_of, wanted};
use crate::waiters::{Waiter, Waiters};
use crate::wake::house_reader;

/// Events kept; whoever is further behind reads them from the database.
const KEPT: usize = 4_096;
/// Events read at once.
const BATCH: usize = 256;

/// The end of the outbox, and who waits for more of it.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    recent: RwLock<Recent>,
    waiters: Arc<Waiters>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Whether it is kept at the end: not while nobody waits.
    followed: bool,
    /// Every event after this one, up to the newest, is here.
    from: i64,
    newest: i64,
    events: VecDeque<(i64, String, Bytes)>,
}

impl Tail {
    /// Waits for topics or patterns of them.
    pub(crate) fn wait_for(&self, patterns: &[String]) -> Waiter {
        self.waiters.wait_for(patterns)
    }

    /// The frames of the events after `after` that are wanted, and the newest event of all that there are;
    /// nothing when not all of them are here.
    pub(crate) fn frames(&self, after: i64, patterns: &[String]) -> Option<(Bytes, i64)> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        if !recent.followed || after < recent.from || after > recent.newest {
            return None;
        }
        let first = recent.events.partition_point(|(id, ..)| *id <= after);
        let mut found = recent
            .events
            .range(first..)
            .filter(|(_, topic, _)| wanted(patterns, topic))
            .map(|(_, _, frame)| frame);
        let frames = match (found.next(), found.next()) {
            (None, _) => Bytes::new(),
            // Mostly there is one, which everybody shares.
            (Some(only), None) => only.clone(),
            (Some(one), Some(two)) => {
                let mut joined = [one.as_ref(), two.as_ref()].concat();
                found.for_each(|frame| joined.extend_from_slice(frame));
                joined.into()
            }
        };
        Some((frames, recent.newest))
    }

    /// Wakes whoever shows how many notifications an account has.
    pub(crate) fn wake_reader(&self, account: &str) {
        self.waiters.wake([notices_of(account).as_str()]);
    }

    fn newest(&self) -> i64 {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.newest
    }

    /// Adds what came after the newest, oldest first, and wakes whoever waits for it.
    fn add(&self, events: &[EventView]) {
        {
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                let frame = encode(event).into();
                recent.newest = event.id;
                let kept = (event.id, event.topic.clone(), frame);
                recent.events.push_back(kept);
            }
            while recent.events.len() > KEPT {
                let gone = recent.events.pop_front();
                recent.from = gone.map_or(recent.from, |(id, ..)| id);
            }
        }
        self.waiters
            .wake(events.iter().map(|event| event.topic.as_str()));
    }

    /// Nobody waits: what comes is not added, so whoever comes reads from the database first.
    fn rest(&self) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.followed = false;
    }

    /// Begins anew after `newest`. Everybody looks, because what is between was not kept.
    fn begin_after(&self, newest: i64) {
        let fresh = Recent {
            followed: true,
            from: newest,
            newest,
            events: VecDeque::new(),
        };
        *self.recent.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.waiters.wake_all();
    }
}

/// Keeps a tail at the end of the outbox while anybody waits for it.
pub(crate) async fn follow_events(
    service: Service,
    mut commits: watch::Receiver<u64>,
    mut stopping: watch::Receiver<bool>,
    tail: Arc<Tail>,
) {
    let mut is_behind = true;
    loop {
        commits.borrow_and_update();
        if tail.waiters.is_empty() {
            is_behind = true;
            tail.rest();
        } else if let Err(problem) = catch_up(&service, &tail, is_behind).await {
            // Who waits hears of it with the next commit, or reads from the database when it resumes.
            tracing::warn!(%problem, "events could not be followed");
        } else {
            is_behind = false;
        }
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return },
            _ = stopping.changed() => return,
        }
    }
}

async fn catch_up(service: &Service, tail: &Tail, is_behind: bool) -> Result<(), Problem> {
    if is_behind {
        let newest = blocking(service, Service::last_event_id).await?;
        tail.begin_after(newest);
        return Ok(());
    }
    loop {
        let after = tail.newest();
        let newer = blocking(service, move |service| {
            service.events_after(&house_reader(), after, &[], BATCH)
        });
        let newer = newer.await?;
        tail.add(&newer);
        if newer.len() < BATCH {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(id: i64, topic: &str) -> EventView {
        EventView {
            id,
            topic: topic.to_owned(),
            kind: "trade".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
            data: serde_json::json!({}),
        }
    }

    fn ids(tail: &Tail, after: i64, pattern: &str) -> Option<(Vec<i64>, i64)> {
        let (frames, newest) = tail.frames(after, &[pattern.to_owned()])?;
        let text = String::from_utf8(frames.to_vec()).unwrap();
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
        Some((ids.map(|id| id.parse().unwrap()).collect(), newest))
    }

    #[test]
    fn what_is_wanted_is_found_and_a_gap_is_admitted() {
        let tail = Tail::default();
        tail.begin_after(4);
        tail.add(&[
            event(5, "market:a"),
            event(6, "run:b"),
            event(9, "market:a"),
        ]);
        for (after, pattern, expected) in [
            (3, "market:a", None),
            (4, "market:a", Some((vec![5, 9], 9))),
            (5, "market:*", Some((vec![9], 9))),
            (4, "run:b", Some((vec![6], 9))),
            (9, "run:b", Some((vec![], 9))),
            (10, "run:b", None),
        ] {
            assert_eq!(ids(&tail, after, pattern), expected, "{after} {pattern}");
        }
        tail.rest();
        assert_eq!(ids(&tail, 9, "run:b"), None, "more may have come meanwhile");
        tail.begin_after(9);
        let many: Vec<EventView> = (10..10 + KEPT as i64).map(|id| event(id, "x")).collect();
        tail.add(&many);
        assert_eq!(ids(&tail, 8, "market:a"), None);
        assert_eq!(
            ids(&tail, 9, "market:a"),
            Some((vec![], many.last().unwrap().id))
        );
    }
}
