//! Looking for the next event of a webhook, and posting it until it is taken.

use std::sync::{Arc, PoisonError};

use plumbline_store::outbox::Event;
use plumbline_store::webhooks::{self, Delivery, Webhook};
use plumbline_store::{StoreError, Tx, decisions, outbox};
use serde_json::{Value, json};

use super::signature::sign;
use super::{Courier, Notice};
use crate::time::{Millis, rfc3339};
use crate::{Result, Service, ServiceError, allocations};

/// Webhooks that are looked at in one turn.
const TURN: i64 = 10_000;
/// Notices that are under way at the same time.
const TOGETHER: usize = 8;
/// Events that are read at a time.
const READ: i64 = 500;
/// Pause after the first failure; doubled with each further one.
const PAUSE_MS: Millis = 5_000;
/// Longest pause.
const LONGEST_PAUSE_MS: Millis = 6 * 3_600_000;
/// A webhook that failed for so long ends.
const GIVE_UP_MS: Millis = 5 * 86_400_000;
/// Longest note on a failure, bytes.
const LONGEST_ERROR: usize = 300;

/// A notice with the webhook and event that it is of.
struct Due {
    webhook: Webhook,
    event: Event,
    notice: Notice,
}

impl Service {
    /// Posts the next notice of every webhook that is due; again, until none is left.
    pub(crate) fn deliver_webhooks(&self) -> Result<()> {
        let Some(courier) = self.webhooks.courier.get().cloned() else {
            return Ok(());
        };
        loop {
            let now = self.now();
            let (rows, last) =
                self.read(|tx| Ok((webhooks::due(tx, now, TURN)?, outbox::last_id(tx)?)))?;
            let mut due = Vec::new();
            for webhook in rows {
                // Most of them wait for events that have not happened.
                if self.searched(&webhook.id).is_some_and(|to| to >= last) {
                    continue;
                }
                due.extend(self.next_notice(webhook)?);
            }
            if due.is_empty() {
                return Ok(());
            }
            for some in due.chunks(TOGETHER) {
                for (one, answer) in some.iter().zip(post_all(&courier, some)) {
                    self.book_delivery(one, answer)?;
                }
            }
        }
    }

    /// The next event on a webhook's topics, as a notice; `None` where there is none yet.
    fn next_notice(&self, webhook: Webhook) -> Result<Option<Due>> {
        let searched = self.searched(&webhook.id).unwrap_or(0);
        let after = webhook.event_id.max(searched);
        let (found, seen, version) = self.read(|tx| {
            let (found, seen) = next_event(tx, &webhook.topics, after)?;
            Ok((found, seen, decisions::last_version(tx)?))
        })?;
        let Some(event) = found else {
            self.remember(&webhook.id, seen);
            return Ok(None);
        };
        let notice = notice(&webhook, &event, version, self.now())?;
        Ok(Some(Due {
            webhook,
            event,
            notice,
        }))
    }

    fn searched(&self, id: &str) -> Option<i64> {
        let searched = self.webhooks.searched.lock();
        searched
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .copied()
    }

    fn remember(&self, id: &str, event: i64) {
        let searched = self.webhooks.searched.lock();
        searched
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned(), event);
    }

    /// Keeps how an attempt went: the next event after a success, a pause after a failure, the end after
    /// 410 or days of failures.
    fn book_delivery(&self, due: &Due, answer: std::result::Result<u16, String>) -> Result<()> {
        let now = self.now();
        let delivery = Delivery {
            webhook_id: due.webhook.id.clone(),
            event_id: due.event.id,
            at: now,
            attempt: due.webhook.failures + 1,
            status: answer.as_ref().ok().map(|status| i64::from(*status)),
            error: answer.as_ref().err().map(|error| cut(error)),
        };
        let row = after_answer(due.webhook.clone(), due.event.id, &answer, now);
        let kept = self.write(move |tx| {
            webhooks::update(tx, &row)?;
            Ok(webhooks::note(tx, &delivery)?)
        });
        match kept {
            // Its owner took it back while the notice was under way.
            Err(ServiceError::NotFound { .. }) => Ok(()),
            kept => kept,
        }
    }
}

/// The webhook after an attempt to post the notice of `event_id`.
fn after_answer(
    row: Webhook,
    event_id: i64,
    answer: &std::result::Result<u16, String>,
    now: Millis,
) -> Webhook {
    if matches!(answer, Ok(200..=299)) {
        return Webhook {
            event_id,
            failures: 0,
            failing_since: None,
            due_at: Some(now),
            ..row
        };
    }
    let since = row.failing_since.unwrap_or(now);
    let why = match answer {
        Ok(410) => Some("the receiver answered 410: it wants no more"),
        _ if now - since >= GIVE_UP_MS => Some("it failed for five days"),
        _ => None,
    };
    let failures = row.failures + 1;
    Webhook {
        failures,
        failing_since: Some(since),
        due_at: why.is_none().then(|| now + pause(&row.id, failures)),
        ended_why: why.map(str::to_owned),
        ..row
    }
}

/// The pause after so many failures: doubled each time, and up to a fifth longer or shorter, so that receivers
/// that come back are not met by all at once.
fn pause(id: &str, failures: i64) -> Millis {
    let doublings = failures.saturating_sub(1).clamp(0, 20);
    let pause = (PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
    let drawn = blake3::hash(format!("{id}/{failures}").as_bytes());
    let part = i64::from(drawn.as_bytes()[0]) - 128;
    pause + pause * part / 640
}

fn cut(text: &str) -> String {
    let mut text = text.replace(char::is_control, " ");
    let end = (0..=LONGEST_ERROR)
        .rev()
        .find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

/// Posts notices at the same time; their answers in order.
fn post_all(courier: &Arc<dyn Courier>, due: &[Due]) -> Vec<std::result::Result<u16, String>> {
    std::thread::scope(|scope| {
        let posting: Vec<_> = due
            .iter()
            .map(|one| scope.spawn(|| courier.post(&one.notice)))
            .collect();
        let lost = || Err("the attempt ended without an answer".to_owned());
        posting
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| lost()))
            .collect()
    })
}

/// The first event after `after` on any of the topics, and how far was looked.
fn next_event(
    tx: &mut Tx,
    topics: &[String],
    after: i64,
) -> std::result::Result<(Option<Event>, i64), StoreError> {
    let last = outbox::last_id(tx)?;
    if topics.iter().all(|topic| !topic.ends_with('*')) {
        let found = outbox::after_topics(tx, after, topics, 1)?.pop();
        return Ok((found, last));
    }
    let mut at = after;
    while at < last {
        let events = outbox::after(tx, at, READ)?;
        at = events.last().map_or(last, |event| event.id);
        let found = events
            .into_iter()
            .find(|event| matches(topics, &event.topic));
        if found.is_some() {
            return Ok((found, at));
        }
    }
    Ok((None, last))
}

fn matches(topics: &[String], topic: &str) -> bool {
    topics.iter().any(|asked| match asked.strip_suffix('*') {
        Some(start) => topic.starts_with(start),
        None => asked == topic,
    })
}

fn notice(webhook: &Webhook, event: &Event, version: i64, now: Millis) -> Result<Notice> {
    let data: Value = if event.topic == allocations::TOPIC {
        json!({ "version": version })
    } else {
        serde_json::from_str(&event.payload).map_err(ServiceError::internal)?
    };
    let body = json!({
        "type": format!("{}.{}", event.topic.split(':').next().unwrap_or_default(), event.kind),
        "timestamp": rfc3339(event.at),
        "data": {"event_id": event.id, "topic": event.topic, "details": data},
    })
    .to_string();
    // The same for every attempt, so that a receiver knows a repetition.
    let id = format!("msg_{}_{}", webhook.id, event.id);
    let seconds = now / 1_000;
    let signature = sign(&webhook.secret, &id, seconds, &body)
        .ok_or_else(|| ServiceError::internal("a webhook's secret is none"))?;
    Ok(Notice {
        url: webhook.url.clone(),
        headers: [
            ("webhook-id", id),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ],
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Webhook {
        Webhook {
            id: "w".to_owned(),
            account_id: "a".to_owned(),
            url: "https://example.org/".to_owned(),
            topics: vec!["allocations".to_owned()],
            secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            created_at: 0,
            event_id: 3,
            failures: 0,
            failing_since: None,
            due_at: Some(0),
            ended_why: None,
        }
    }

    #[test]
    fn pauses_double_and_are_bounded() {
        for (failures, least, most) in [
            (1, 4_000, 6_000),
            (2, 8_000, 12_000),
            (5, 64_000, 96_000),
            (40, LONGEST_PAUSE_MS * 4 / 5, LONGEST_PAUSE_MS * 6 / 5),
        ] {
            for id in ["a", "b", "c"] {
                let pause = pause(id, failures);
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
        assert_ne!(pause("a", 9), pause("b", 9));
    }

    #[test]
    fn a_success_goes_on_and_failures_wait_and_end() {
        let taken = after_answer(row(), 9, &Ok(204), 50);
        assert_eq!(
            (taken.event_id, taken.due_at, taken.failures),
            (9, Some(50), 0)
        );
        let failed = after_answer(row(), 9, &Ok(500), 50);
        assert_eq!((failed.event_id, failed.failing_since), (3, Some(50)));
        assert!(failed.due_at.is_some_and(|at| at > 50));
        // A redirect is not followed, so it is a failure.
        assert_eq!(after_answer(row(), 9, &Ok(302), 50).failures, 1);
        let again = after_answer(failed.clone(), 9, &Err("no contact".to_owned()), 60);
        assert_eq!((again.failures, again.failing_since), (2, Some(50)));
        let late = after_answer(failed, 9, &Ok(500), 50 + GIVE_UP_MS);
        assert!(late.due_at.is_none() && late.ended_why.is_some());
        let gone = after_answer(row(), 9, &Ok(410), 50);
        assert!(gone.due_at.is_none() && gone.ended_why.is_some());
    }

    #[test]
    fn a_notice_of_a_decision_says_only_that_a_version_exists() {
        let event = Event {
            id: 12,
            at: 1_790_000_000_000,
            topic: "allocations".to_owned(),
            kind: "decided".to_owned(),
            payload: "{\"share_bps\":500}".to_owned(),
        };
        let told = notice(&row(), &event, 7, 1_790_000_001_000);
        let told = told.unwrap_or_else(|error| panic!("{error}"));
        assert!(told.body.contains("\"version\":7") && !told.body.contains("share_bps"));
        assert_eq!(told.headers[0].1, "msg_w_12");
        assert!(told.headers[2].1.starts_with("v1,"));
    }

    #[test]
    fn patterns_stand_for_topics_that_start_so() {
        let topics = ["market:*".to_owned(), "allocations".to_owned()];
        assert!(matches(&topics, "market:m") && matches(&topics, "allocations"));
        assert!(!matches(&topics, "markets") && !matches(&topics, "allocations:x"));
    }
}
