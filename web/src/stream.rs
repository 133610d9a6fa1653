//! Server-sent events from the outbox, and of decisions: resumable, bounded, ending with the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_util::stream::{self, Stream};
use plumbline_service::Service;
use plumbline_service::context::Context;
use plumbline_service::views::EventView;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::blocking::blocking;
use crate::news::{SharedNews, TargetFilter};
use crate::problem::Problem;
use crate::state::AppState;
use crate::tail::Tail;
use crate::waiters::Waiter;

/// Events per query; a client that is behind catches up in several.
const BATCH: usize = 256;
/// A comment is sent this often, so that proxies and clients notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream ends after this long; the client resumes with its last id, perhaps with newer rights.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Says that the reader's own notifications changed. It has no id: it is no event, and is not sent again.
const TOLD: &str = "data: {\"topic\":\"notices\",\"kind\":\"changed\",\"data\":{}}\n\n";

/// One client's place in the outbox.
struct Feed {
    service: Service,
    context: Context,
    topics: Vec<String>,
    after: i64,
    tail: Arc<Tail>,
    waiter: Waiter,
    stopping: watch::Receiver<bool>,
    until: Instant,
    greeted: bool,
    /// Whoever reads it in a browser, and how often their notifications had changed.
    reader: Option<(String, u64)>,
    _permit: OwnedSemaphorePermit,
}

/// Streams events on `topics` after `after`.
///
/// Errors: 503 when as many streams are open as the server allows.
pub(crate) fn open(
    state: &web::Data<AppState>,
    context: Context,
    topics: Vec<String>,
    after: i64,
) -> Result<HttpResponse, Problem> {
    let permit = permit(state)?;
    // Programs read events and nothing else; a page shows a count beside its bell.
    let reader = context
        .actor
        .account_id
        .clone()
        .filter(|_| context.actor.session);
    let reader = reader.map(|account| {
        let changes = state.service.notice_changes(&account);
        (account, changes)
    });
    let mut awaited = topics.clone();
    awaited.extend(reader.iter().map(|(account, _)| notices_of(account)));
    let feed = Feed {
        service: state.service.clone(),
        reader,
        context,
        waiter: state.tail.wait_for(&awaited),
        topics,
        after,
        tail: Arc::clone(&state.tail),
        stopping: state.stopping.clone(),
        until: Instant::now() + LIFETIME,
        greeted: false,
        _permit: permit,
    };
    let chunks = stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<_, actix_web::Error>(chunk), feed))
    });
    Ok(event_stream(chunks))
}

/// A place among the streams that may be open.
fn permit(state: &AppState) -> Result<OwnedSemaphorePermit, Problem> {
    let streams = state.streams.clone();
    streams
        .try_acquire_owned()
        .map_err(|_| Problem::overloaded("event streams"))
}

fn event_stream(
    chunks: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static,
) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        // Compression would hold events back until a block is full.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(chunks)
}

/// One client's place among the decisions.
struct Decisions {
    news: watch::Receiver<SharedNews>,
    of: TargetFilter,
    waiter: Waiter,
    stopping: watch::Receiver<bool>,
    after: i64,
    until: Instant,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

/// Streams decisions after `since`, or from now on, on the targets asked for.
///
/// Errors: 503 when as many streams are open as the server allows.
pub(crate) fn decisions(
    state: &web::Data<AppState>,
    since: Option<i64>,
    of: TargetFilter,
) -> Result<HttpResponse, Problem> {
    let permit = permit(state)?;
    let waiter = state.concerned.wait_for(&of.topics());
    let news = state.allocations.clone();
    let newest = news.borrow().version;
    let place = Decisions {
        news,
        of,
        waiter,
        stopping: state.stopping.clone(),
        after: since.unwrap_or(newest),
        until: Instant::now() + LIFETIME,
        greeted: false,
        _permit: permit,
    };
    let chunks = stream::unfold(place, |mut place| async move {
        let chunk = place.next().await?;
        Some((Ok::<_, actix_web::Error>(chunk), place))
    });
    Ok(event_stream(chunks))
}

impl Decisions {
    /// The next piece to send; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b"retry: 2000\n: connected\n\n"));
        }
        loop {
            if *self.stopping.borrow() || Instant::now() >= self.until {
                return None;
            }
            let news = self.news.borrow().clone();
            let after = std::mem::replace(&mut self.after, news.version);
            let relist = || format!("id: {}\nevent: relist\ndata: {{}}\n\n", news.version);
            let frames = news.frames(after, &self.of);
            let frames = frames.unwrap_or_else(|| relist().into());
            if !frames.is_empty() {
                return Some(frames);
            }
            tokio::select! {
                () = self.waiter.woken() => {}
                _ = self.stopping.changed() => return None,
                () = tokio::time::sleep(HEARTBEAT) => {
                    return Some(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
    }
}

impl Feed {
    /// The next piece to send; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b"retry: 2000\n: connected\n\n"));
        }
        loop {
            if *self.stopping.borrow() || Instant::now() >= self.until {
                return None;
            }
            let frames = self.newer().await?;
            if !frames.is_empty() {
                return Some(frames);
            }
            if self.has_new_notices() {
                return Some(Bytes::from_static(TOLD.as_bytes()));
            }
            tokio::select! {
                () = self.waiter.woken() => {}
                _ = self.stopping.changed() => return None,
                () = tokio::time::sleep(HEARTBEAT) => {
                    return Some(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
    }

    /// What is new: from memory, or from the database for a client that is behind what is kept there.
    async fn newer(&mut self) -> Option<Bytes> {
        if let Some((frames, newest)) = self.tail.frames(self.after, &self.topics) {
            self.after = newest;
            return Some(frames);
        }
        let events = self.query().await?;
        Some(events.iter().map(encode).collect::<String>().into())
    }

    /// Whether the reader's notifications changed since it was asked last.
    fn has_new_notices(&mut self) -> bool {
        let Some((account, seen)) = &mut self.reader else {
            return false;
        };
        let changes = self.service.notice_changes(account);
        std::mem::replace(seen, changes) != changes
    }

    async fn query(&mut self) -> Option<Vec<EventView>> {
        let (context, after) = (self.context.clone(), self.after);
        let topics = narrow(&self.topics);
        let found = blocking(&self.service, move |service| {
            service.events_after(&context, after, &topics, BATCH)
        });
        match found.await {
            Ok(mut events) => {
                // Also past what is left out below, so that it is not read again.
                self.after = events.last().map_or(self.after, |event| event.id);
                let full = events.len() == BATCH;
                events.retain(|event| wanted(&self.topics, &event.topic));
                if events.is_empty() && full {
                    return Box::pin(self.query()).await;
                }
                Some(events)
            }
            Err(problem) => {
                // The client resumes from its last id, so ending the stream loses nothing.
                tracing::warn!(%problem, "an event stream ended early");
                None
            }
        }
    }
}

/// The topics to ask the service for: all of them when a pattern is among them, to be narrowed by [`wanted`].
pub(crate) fn narrow(topics: &[String]) -> Vec<String> {
    if topics.iter().any(|topic| topic.ends_with('*')) {
        return Vec::new();
    }
    topics.to_vec()
}

/// What a reader waits for whose notifications may change. No event has such a topic.
pub(crate) fn notices_of(account: &str) -> String {
    format!("notices:{account}")
}

/// Whether `topic` is among `patterns`; a pattern that ends in `*` stands for all topics that start so.
pub(crate) fn wanted(patterns: &[String], topic: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => topic == pattern,
        })
}

/// One event in the wire format; JSON has no raw newlines, so one `data` line is enough. There is no `event` line,
/// because a browser would then need a listener per kind; the kind is in the data.
pub(crate) fn encode(event: &EventView) -> String {
    let data = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
    format!("id: {}\ndata: {data}\n\n", event.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_all_topics_that_start_so() {
        let patterns = ["market:*".to_owned(), "allocations".to_owned()];
        for (topic, expected) in [
            ("market:1", true),
            ("markets", false),
            ("allocations", true),
            ("run:1", false),
        ] {
            assert_eq!(wanted(&patterns, topic), expected, "{topic}");
        }
        assert!(narrow(&patterns).is_empty());
        assert_eq!(narrow(&patterns[1..]), ["allocations"]);
    }

    #[test]
    fn an_event_cannot_break_out_of_its_frame() {
        let event = EventView {
            id: 7,
            topic: "market:m".into(),
            kind: "trade\ndata: forged".into(),
            at: "2026-01-01T00:00:00Z".into(),
            data: serde_json::json!({"text": "a\n\nid: 9"}),
        };
        let frame = encode(&event);
        assert!(frame.starts_with("id: 7\ndata: {"));
        assert_eq!(frame.matches('\n').count(), 3);
        assert!(frame.ends_with("\n\n"));
    }
}
