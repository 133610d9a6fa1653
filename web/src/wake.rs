//! Turns the service's "something was committed" into values that any number
//! of waiting requests can await without holding a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plumbline_service::Service;
use plumbline_service::context::{Actor, Context, Scope};
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::news::{SharedNews, uid_of};
use crate::waiters::Waiters;

/// A reader on the server's own behalf, for shared feeds. It has a name so that it may read where visitors may not.
pub(crate) fn house_reader() -> Context {
    Context::of(Actor {
        account_id: Some("web-server".to_owned()),
        scopes: vec![Scope::Read],
        ..Actor::visitor()
    })
}

/// Counts commits that added events. The receiver changes after each.
pub(crate) fn commits(service: &Service) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0_u64);
    service.on_events(move || {
        sender.send_modify(|count| *count = count.wrapping_add(1));
        !sender.is_closed()
    });
    receiver
}

/// Decisions read at once.
const BATCH: usize = 1_000;

/// Follows the allocations for everyone who waits for a new one.
///
/// One query per commit of anything but trades serves all of them: the waiting requests take what is
/// published here and ask the service nothing.
pub(crate) async fn follow_allocations(
    service: Service,
    mut commits: watch::Receiver<u64>,
    mut stopping: watch::Receiver<bool>,
    news: watch::Sender<SharedNews>,
    waiters: Arc<Waiters>,
    followed: Arc<AtomicU64>,
) {
    let mut looked_at = None;
    loop {
        // Trades commit hundreds of times a second and change no decision.
        let epoch = service.epoch();
        if looked_at != Some(epoch) {
            looked_at = look(&service, &news, &waiters).await.map(|()| epoch);
            if looked_at.is_some() {
                followed.store(epoch, Ordering::Release);
            }
        }
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return },
            _ = stopping.changed() => return,
        }
    }
}

/// Publishes the decisions that are new; `None` when they could not be read.
async fn look(
    service: &Service,
    news: &watch::Sender<SharedNews>,
    waiters: &Waiters,
) -> Option<()> {
    loop {
        let since = news.borrow().version;
        let newer = blocking(service, move |service| {
            service.decided_since(&house_reader(), since, BATCH)
        });
        let newer = match newer.await {
            Ok(newer) => newer,
            Err(problem) => {
                // The next commit asks again; a waiting client times out and relists meanwhile.
                tracing::warn!(%problem, "allocations could not be followed");
                return None;
            }
        };
        if newer.is_empty() {
            return Some(());
        }
        let next = news.borrow().and(&newer);
        match next {
            Ok(next) => {
                news.send_replace(Arc::new(next));
                waiters.wake(newer.iter().map(uid_of));
            }
            Err(error) => {
                tracing::error!(%error, "a decision cannot be written");
                return None;
            }
        }
        if newer.len() < BATCH {
            return Some(());
        }
    }
}
