//! Events: what happened, in order, written together with the facts.

use diesel::prelude::*;

use crate::hot::Counted;
use crate::hot::append::{self, Append};
use crate::schema::outbox;
use crate::{StoreError, Tx};

/// An event.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = outbox)]
pub struct Event {
    /// Position; grows, and is never used twice.
    pub id: i64,
    /// When, unix ms.
    pub at: i64,
    /// What it is about, for those who follow one thing.
    pub topic: String,
    /// What happened.
    pub kind: String,
    /// The details, JSON.
    pub payload: String,
}

/// Adds an event to the caller's transaction; its id comes back.
///
/// # Errors
/// Those of the database.
pub fn push(
    tx: &mut Tx<'_>,
    at: i64,
    topic: &str,
    kind: &str,
    payload: &serde_json::Value,
) -> Result<i64, StoreError> {
    let id = tx.next_key(Counted::Outbox)?;
    tx.append(Append::Event(append::Event {
        id,
        at,
        topic: topic.to_owned(),
        kind: kind.to_owned(),
        payload: payload.to_string(),
    }))?;
    tx.note_event(id);
    Ok(id)
}

/// Up to `limit` events after `id`, in order.
///
/// # Errors
/// Those of the database.
pub fn after(tx: &mut Tx<'_>, id: i64, limit: i64) -> Result<Vec<Event>, StoreError> {
    tx.run(|conn| {
        outbox::table
            .filter(outbox::id.gt(id))
            .order(outbox::id)
            .limit(limit)
            .select(Event::as_select())
            .load(conn)
    })
}

/// Up to `limit` events after `id` on any of these topics, in order; none for no topics.
///
/// # Errors
/// Those of the database.
pub fn after_topics(
    tx: &mut Tx<'_>,
    id: i64,
    topics: &[String],
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    // One walk along the index per topic, merged: a single query would scan all topics or sort.
    for (position, topic) in topics.iter().enumerate() {
        if topics.iter().take(position).any(|earlier| earlier == topic) {
            continue;
        }
        let rows: Vec<Event> = tx.run(|conn| {
            outbox::table
                .filter(outbox::topic.eq(topic))
                .filter(outbox::id.gt(id))
                .order(outbox::id)
                .limit(limit)
                .select(Event::as_select())
                .load(conn)
        })?;
        events.extend(rows);
    }
    events.sort_by_key(|event| event.id);
    events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(events)
}

/// Id of the newest event; 0 before the first.
///
/// # Errors
/// Those of the database.
pub fn last_id(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.run(|conn| {
        let newest: Option<i64> = outbox::table
            .select(diesel::dsl::max(outbox::id))
            .get_result(conn)?;
        Ok(newest.unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{empty, within};

    #[test]
    fn events_are_read_in_order_by_topic_or_all() {
        within(|tx| {
            assert_eq!(last_id(tx)?, 0);
            for (id, topic) in (1..).zip(["a", "b", "a", "c", "b"]) {
                assert_eq!(
                    push(tx, 9, topic, "kind", &serde_json::json!({ "n": id }))?,
                    id
                );
            }
            let ids = |rows: Vec<Event>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
            assert_eq!(ids(after(tx, 1, 3)?), [2, 3, 4]);
            let topics = |names: &[&str]| {
                names
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                ids(after_topics(tx, 0, &topics(&["b", "a", "b"]), 3)?),
                [1, 2, 3]
            );
            assert_eq!(ids(after_topics(tx, 3, &topics(&["a", "b"]), 3)?), [5]);
            assert_eq!(after_topics(tx, 0, &[], 3)?, []);
            assert_eq!(last_id(tx)?, 5);
            assert_eq!(after(tx, 4, 1)?[0].payload, r#"{"n":5}"#);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn listeners_hear_of_commits_with_events_only() {
        let (_folder, store) = empty();
        let (heard, ears) = std::sync::mpsc::channel();
        store.on_commit(|_| panic!("a listener that fails"));
        store.on_commit(move |id| heard.send(id).unwrap());
        let push_one = |keep: bool| {
            store.write::<_, StoreError, _>(move |tx| {
                push(tx, 1, "t", "k", &serde_json::Value::Null)?;
                if keep {
                    Ok(())
                } else {
                    Err(StoreError::Closed)
                }
            })
        };
        assert_eq!(push_one(false), Err(StoreError::Closed));
        store
            .write::<_, StoreError, _>(|tx| crate::control::put(tx, "k", "1", 1))
            .unwrap();
        for id in 1..=2 {
            assert_eq!(push_one(true), Ok(()));
            assert_eq!(ears.recv_timeout(std::time::Duration::from_secs(5)), Ok(id));
        }
        assert!(ears.try_recv().is_err());
    }
}
