//! The writer: isolation of the requests in a batch, races, overload, panics, and the laws of the ledger.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{GRANT, assert_sound, balance, seeded, transfer};
use plumbline_store::{Store, StoreError, StoreOptions, accounts, control, ledger, outbox};
use proptest::prelude::*;

/// Keeps the writer busy until the returned sender is used or dropped, so that what is written
/// meanwhile gathers into one batch.
fn hold(store: &Store) -> (Sender<()>, JoinHandle<()>) {
    let (release, released): (_, Receiver<()>) = channel();
    let (started, running) = channel();
    let held = store.clone();
    let thread = std::thread::spawn(move || {
        held.write::<_, StoreError, _>(move |_| {
            started.send(()).unwrap();
            let _ = released.recv();
            Ok(())
        })
        .unwrap();
    });
    running.recv().unwrap();
    (release, thread)
}

fn wait_for_queue(store: &Store, depth: usize) {
    while store.queue_depth() < depth {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn of_eight_that_race_for_the_last_credit_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = seeded(&folder.path().join("plumbline.db"), StoreOptions::default());
    let results: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|racer| {
                let store = &store;
                scope.spawn(move || {
                    let entries = [("u0".to_owned(), -GRANT), ("u1".to_owned(), GRANT)];
                    let posted = transfer(format!("race-{racer}"), &entries);
                    store.write(move |tx| ledger::post(tx, &posted))
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        1,
        "{results:?}"
    );
    for lost in results.into_iter().filter_map(Result::err) {
        let expected = StoreError::InsufficientFunds {
            account: "u0".to_owned(),
            needed_micro: GRANT,
            available_micro: 0,
        };
        assert_eq!(lost, expected);
    }
    assert_eq!(
        (balance(&store, "u0"), balance(&store, "u1")),
        (0, 2 * GRANT)
    );
    assert_sound(&store);
}

/// What one request of a batch does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Keep,
    Fail,
    Panic,
    /// A constraint fails and the request passes the error on.
    Violate,
    /// A constraint fails and the request carries on.
    Swallow,
}

/// Writes a setting and an event, then ends as told. True if it is to be kept.
fn act(store: &Store, number: usize, act: Act) -> (bool, Result<(), StoreError>) {
    let keep = matches!(act, Act::Keep | Act::Swallow);
    let result = store.write(move |tx| {
        control::put(tx, &format!("k{number}"), "1", 1)?;
        outbox::push(tx, 1, "t", "k", &serde_json::Value::Null)?;
        let unbalanced = transfer(
            format!("bad-{number}"),
            &[("u0".to_owned(), 1), ("treasury".to_owned(), -1)],
        );
        let taken = |tx: &mut plumbline_store::Tx<'_>| {
            ledger::post(tx, &transfer("grant-u0".to_owned(), &unbalanced.entries))
        };
        match act {
            Act::Keep => Ok(()),
            Act::Fail => Err(StoreError::Closed),
            Act::Panic => std::panic::panic_any("a request that panics"),
            Act::Violate => taken(tx),
            Act::Swallow => {
                assert!(matches!(taken(tx), Err(StoreError::Conflict { .. })));
                Ok(())
            }
        }
    });
    (keep, result)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        4 => Just(Act::Keep),
        1 => Just(Act::Fail),
        1 => Just(Act::Panic),
        1 => Just(Act::Violate),
        1 => Just(Act::Swallow),
    ];
    proptest::collection::vec(one, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the others in its batch do, a request is kept exactly if it succeeded.
    #[test]
    fn requests_of_a_batch_do_not_harm_each_other(acts in acts()) {
        let folder = tempfile::tempdir().unwrap();
        let store = seeded(&folder.path().join("plumbline.db"), StoreOptions::default());
        let (release, holder) = hold(&store);
        let results: Vec<(bool, Result<(), StoreError>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = acts
                .iter()
                .enumerate()
                .map(|(number, &kind)| scope.spawn({ let store = &store; move || act(store, number, kind) }))
                .collect();
            wait_for_queue(&store, acts.len());
            drop(release);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        holder.join().unwrap();
        let mut kept = 0;
        for (number, (keep, result)) in results.iter().enumerate() {
            let stored = store
                .read::<_, StoreError, _>(|tx| control::get(tx, &format!("k{number}")))
                .unwrap()
                .is_some();
            prop_assert_eq!((*keep, *keep), (stored, result.is_ok()), "{}: {:?} {:?}", number, acts[number], result);
            if matches!(acts[number], Act::Panic) {
                prop_assert_eq!(result, &Err(StoreError::Panicked));
            }
            kept += i64::from(*keep);
        }
        // Events of undone requests leave no gap in the sequence either.
        prop_assert_eq!(store.read::<_, StoreError, _>(outbox::last_id).unwrap(), kept);
        assert_sound(&store);
    }

    /// Balances follow a plain model of the ledger, refusals change nothing, and the sums stay zero.
    #[test]
    fn the_ledger_sums_to_zero_after_any_transfers(
        posts in proptest::collection::vec(proptest::collection::vec((0_usize..5, -700_000_i64..700_000), 0..4), 1..40),
        balanced in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let names = ["treasury", "u0", "u1", "u2", "u3"];
        let folder = tempfile::tempdir().unwrap();
        let store = seeded(&folder.path().join("plumbline.db"), StoreOptions::default());
        let mut model: BTreeMap<&str, i64> = names.iter().map(|&name| (name, GRANT)).collect();
        model.insert("treasury", -4 * GRANT);
        for (number, moves) in posts.iter().enumerate() {
            let mut entries: Vec<(String, i64)> =
                moves.iter().map(|&(who, amount)| (names[who].to_owned(), amount)).collect();
            let total: i64 = moves.iter().map(|&(_, amount)| amount).sum();
            if balanced[number] {
                // The rest goes to whoever comes first in turn, so that users are overdrawn too.
                entries.push((names[number % 5].to_owned(), -total));
            }
            let mut next = model.clone();
            for (name, amount) in &entries {
                *next.get_mut(name.as_str()).unwrap() += amount;
            }
            let sums_to_zero = !entries.is_empty() && entries.iter().map(|(_, amount)| amount).sum::<i64>() == 0;
            let solvent = next.iter().all(|(name, balance)| *name == "treasury" || *balance >= 0);
            let posted = transfer(format!("t{number}"), &entries);
            match store.write(move |tx| ledger::post(tx, &posted)) {
                Ok(()) => {
                    prop_assert!(sums_to_zero && solvent);
                    model = next;
                }
                Err(StoreError::LedgerUnbalanced) => prop_assert!(!sums_to_zero),
                Err(StoreError::InsufficientFunds { account, needed_micro, available_micro }) => {
                    prop_assert!(sums_to_zero && !solvent);
                    prop_assert_eq!(model[account.as_str()], available_micro);
                    prop_assert_eq!(next[account.as_str()], available_micro - needed_micro);
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
        for (name, expected) in model {
            prop_assert_eq!(balance(&store, name), expected);
        }
        assert_sound(&store);
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        queue: 2,
        ..StoreOptions::default()
    };
    let store = seeded(&folder.path().join("plumbline.db"), options);
    let (release, holder) = hold(&store);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let store = &store;
            scope.spawn(move || assert_eq!(act(store, number, Act::Keep).1, Ok(())));
        }
        wait_for_queue(&store, 2);
        assert_eq!(act(&store, 9, Act::Keep).1, Err(StoreError::Overloaded));
        assert_eq!(store.queue_depth(), 2);
        drop(release);
    });
    holder.join().unwrap();
    assert_eq!(store.queue_depth(), 0);
    assert_eq!(act(&store, 3, Act::Keep).1, Ok(()));
}

#[test]
fn reads_are_consistent_cannot_write_and_see_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = seeded(
        &folder.path().join("plumbline.db"),
        StoreOptions {
            readers: 1,
            ..StoreOptions::default()
        },
    );
    let written = store.read::<_, StoreError, _>(|tx| control::put(tx, "k", "1", 1));
    assert!(
        matches!(&written, Err(StoreError::Database(text)) if text.contains("readonly")),
        "{written:?}"
    );
    let panicked = store.read::<(), StoreError, _>(|_| std::panic::panic_any("a read that panics"));
    assert_eq!(panicked, Err(StoreError::Panicked));
    // A read keeps its snapshot while somebody writes.
    let seen = store
        .read::<_, StoreError, _>(|tx| {
            let before = control::get(tx, "k")?;
            store.write::<_, StoreError, _>(|tx| control::put(tx, "k", "2", 1))?;
            Ok((before, control::get(tx, "k")?))
        })
        .unwrap();
    assert_eq!(seen, (None, None));
    assert_eq!(
        store.read::<_, StoreError, _>(|tx| control::get(tx, "k")),
        Ok(Some("2".to_owned()))
    );
}

#[test]
fn a_write_within_a_write_is_refused_and_the_last_clone_may_go_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    let store = seeded(&path, StoreOptions::default());
    let inner = store.clone();
    let nested = store.write::<(), StoreError, _>(move |_| {
        inner.write::<_, StoreError, _>(|tx| control::put(tx, "k", "1", 1))
    });
    assert!(
        matches!(nested, Err(StoreError::Conflict { .. })),
        "{nested:?}"
    );
    // The request is the last owner: the writer thread closes the store by itself.
    let (release, holder) = hold(&store);
    let last = store.clone();
    let waiting = std::thread::spawn(move || {
        let captured = last.clone();
        last.write::<_, StoreError, _>(move |tx| {
            control::put(tx, "last", "1", 1)?;
            drop(captured);
            Ok(())
        })
    });
    wait_for_queue(&store, 1);
    drop(store);
    drop(release);
    holder.join().unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(()));
    let store = reopen(&path);
    assert_eq!(
        store.read::<_, StoreError, _>(|tx| control::get(tx, "last")),
        Ok(Some("1".to_owned()))
    );
    assert!(
        store
            .read::<_, StoreError, _>(|tx| accounts::get(tx, "u0"))
            .is_ok()
    );
}

/// Opens again as soon as the other owner has let go.
fn reopen(path: &std::path::Path) -> Store {
    for _ in 0..500 {
        match Store::open(path, StoreOptions::default()) {
            Ok(store) => return store,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("the file was never let go");
}

/// Polls a future on this thread until it is done.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn tasks_are_answered_as_threads_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = seeded(&folder.path().join("plumbline.db"), StoreOptions::default());
    let posted = |id: &str, micro: i64| {
        let entries = [("u0".to_owned(), -micro), ("u1".to_owned(), micro)];
        let transfer = transfer(id.to_owned(), &entries);
        store.write_async(move |tx| ledger::post(tx, &transfer))
    };
    assert_eq!(block_on(posted("a", GRANT)), Ok(()));
    assert_eq!(balance(&store, "u0"), 0);
    assert!(matches!(
        block_on(posted("b", 1)),
        Err(StoreError::InsufficientFunds { .. })
    ));
    let panicked = block_on(store.write_async::<(), StoreError, _>(|_| panic!("on purpose")));
    assert_eq!(panicked, Err(StoreError::Panicked));
    // Nobody waits for it; it is kept all the same.
    let mut dropped = Box::pin(posted("c", -GRANT));
    let waker = std::task::Waker::noop();
    assert!(
        dropped
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker))
            .is_pending()
    );
    drop(dropped);
    block_on(posted("d", 0)).unwrap();
    assert_eq!(balance(&store, "u0"), GRANT);
    assert_sound(&store);
}

#[test]
fn the_epoch_stands_while_only_trades_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = seeded(&folder.path().join("plumbline.db"), StoreOptions::default());
    let before = store.epoch();
    let entries = [("u0".to_owned(), -1), ("u1".to_owned(), 1)];
    let posted = transfer("t".to_owned(), &entries);
    store.write(move |tx| ledger::post(tx, &posted)).unwrap();
    assert_eq!(store.epoch(), before);
    store
        .write::<_, StoreError, _>(|tx| accounts::set_roles(tx, "u0", &["juror".to_owned()]))
        .unwrap();
    assert!(store.epoch() > before);
}
