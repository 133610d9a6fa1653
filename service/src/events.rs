//! The outbox as a stream: what SSE, long polls and the jobs feed from.

use plumbline_access::Action;
use plumbline_store::{Tx, outbox};
use serde_json::Value;

use crate::context::Context;
use crate::time::{Millis, rfc3339};
use crate::views::EventView;
use crate::{Result, Service};

/// Most events in one answer.
const MAX_EVENTS: usize = 500;

/// Adds an event to the transaction that made it true.
pub(crate) fn publish(
    tx: &mut Tx,
    at: Millis,
    topic: &str,
    kind: &str,
    payload: &Value,
) -> Result<()> {
    outbox::push(tx, at, topic, kind, payload)?;
    Ok(())
}

impl Service {
    /// Events after `after` on any of `topics`, oldest first. `prefix:*` stands
    /// for every topic with that prefix, no topic at all for everything.
    pub fn events_after(
        &self,
        ctx: &Context,
        after: i64,
        topics: &[String],
        limit: usize,
    ) -> Result<Vec<EventView>> {
        self.allow(&ctx.actor, Action::FollowEvents)?;
        let (topics, limit) = (topics.to_vec(), limit.clamp(1, MAX_EVENTS));
        let rows = self.read(move |tx| {
            let found = if topics.is_empty() {
                outbox::after(tx, after, limit as i64)?
            } else {
                outbox::after_topics(tx, after, &topics, limit as i64)?
            };
            Ok(found)
        })?;
        Ok(rows.into_iter().map(event_view).collect())
    }

    /// Id of the newest event.
    pub fn last_event_id(&self) -> Result<i64> {
        self.read(|tx| Ok(outbox::last_id(tx)?))
    }

    /// A number that has grown when anything but trades may have changed something: see
    /// [`plumbline_store::Store::epoch`].
    pub fn epoch(&self) -> u64 {
        self.store.epoch()
    }

    /// Calls `wake` after every commit that added events, until it returns false.
    pub fn on_events(&self, wake: impl Fn() -> bool + Send + Sync + 'static) {
        self.wakers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(Box::new(wake));
    }
}

fn event_view(row: outbox::Event) -> EventView {
    let data = serde_json::from_str(&row.payload).unwrap_or(Value::Null);
    EventView {
        id: row.id,
        topic: row.topic,
        kind: row.kind,
        at: rfc3339(row.at),
        data,
    }
}
