#![allow(clippy::unwrap_used)]

use diesel::connection::SimpleConnection;
use serde_json::json;

use super::*;
use crate::testing::empty;
use crate::{Store, open, outbox};

fn push(store: &Store, count: usize) {
    store
        .write::<_, StoreError, _>(move |tx| {
            for n in 0..count {
                outbox::push(tx, 5, "market:m", "price", &json!({ "n": n }))?;
            }
            Ok(())
        })
        .unwrap();
}

/// The leaves as a reader who does not trust the tiles computes them.
fn leaves(store: &Store) -> Vec<Hash> {
    let entries = store
        .read::<_, StoreError, _>(|tx| {
            let size = size(tx)?;
            entries(tx, 0, i64::MAX, size)
        })
        .unwrap();
    entries
        .iter()
        .map(|entry| leaf(entry.text.as_bytes()))
        .collect()
}

fn agrees(store: &Store, count: usize) {
    let all = leaves(store);
    assert_eq!(all.len(), count);
    let mut tree = all.as_slice();
    let size = count as u64;
    store
        .read::<_, StoreError, _>(|tx| {
            assert_eq!(root(tx, size)?, tree::root(&mut tree, size).unwrap());
            for index in (0..size).step_by(7) {
                let path = inclusion(tx, index, size)?;
                let of = all[index as usize];
                let top = root(tx, size)?;
                assert!(tree::verify_inclusion(&top, &of, index, size, &path));
                let old = root(tx, index)?;
                let path = consistency(tx, index, size)?;
                assert!(tree::verify_consistency(index, &old, size, &top, &path));
            }
            assert!(matches!(
                inclusion(tx, size, size),
                Err(StoreError::Conflict { .. })
            ));
            assert!(matches!(root(tx, size + 1), Err(StoreError::Corrupt(_))));
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_event_is_a_leaf_from_its_commit_on() {
    let (_folder, store) = empty();
    agrees(&store, 0);
    for (count, sum) in [(1, 1), (30, 31), (1, 32), (1, 33), (1_000, 1_033)] {
        push(&store, count);
        agrees(&store, sum);
    }
    let undone = store.write::<(), StoreError, _>(|tx| {
        outbox::push(tx, 5, "t", "k", &json!({}))?;
        Err(StoreError::Closed)
    });
    assert_eq!(undone, Err(StoreError::Closed));
    agrees(&store, 1_033);
    push(&store, 1);
    agrees(&store, 1_034);
}

#[test]
fn what_was_logged_stays_over_a_restart() {
    let (folder, store) = empty();
    push(&store, 40);
    drop(store);
    let store = Store::open(&folder.path().join("plumbline.db"), Default::default()).unwrap();
    push(&store, 2);
    agrees(&store, 42);
}

#[test]
fn a_file_without_a_log_gets_one_with_its_gaps() {
    let (folder, store) = empty();
    push(&store, 100);
    drop(store);
    let path = folder.path().join("plumbline.db");
    let mut conn = open::writer(&path).unwrap();
    conn.batch_execute(
        "DELETE FROM log_tiles; DROP TRIGGER events_are_kept; \
         DELETE FROM outbox WHERE id IN (1, 50, 51);",
    )
    .unwrap();
    drop(conn);
    let store = Store::open(&path, Default::default()).unwrap();
    agrees(&store, 100);
    let all = leaves(&store);
    assert_eq!(
        (all[0], all[49], all[50]),
        (leaf(b""), leaf(b""), leaf(b""))
    );
    assert_ne!(all[1], leaf(b""));
}

#[test]
fn events_are_never_changed() {
    let (_folder, store) = empty();
    push(&store, 1);
    for statement in ["UPDATE outbox SET kind = 'x'", "DELETE FROM outbox"] {
        let refused = store.write::<_, StoreError, _>(move |tx| {
            tx.run(|conn| diesel::sql_query(statement).execute(conn))
        });
        assert!(
            matches!(&refused, Err(StoreError::Database(text)) if text.contains("never")),
            "{refused:?}"
        );
    }
}

#[test]
fn facts_and_checkpoints_are_found() {
    let (_folder, store) = empty();
    store
        .write::<_, StoreError, _>(|tx| {
            place(tx, "decision", 7)?;
            assert!(matches!(
                place(tx, "decision", 8),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(
                (index_of(tx, "decision")?, index_of(tx, "other")?),
                (Some(6), None)
            );
            let signed = |size| SignedCheckpoint {
                size,
                note: format!("note {size}"),
                at: 5,
            };
            for size in [1, 9, 4] {
                keep_checkpoint(tx, &signed(size))?;
            }
            assert!(keep_checkpoint(tx, &signed(4)).is_err());
            assert_eq!(checkpoints(tx, None, 2)?, [signed(9), signed(4)]);
            assert_eq!(checkpoints(tx, Some(4), 9)?, [signed(1)]);
            Ok(())
        })
        .unwrap();
}
