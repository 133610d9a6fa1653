//! Turns the service's "something was committed" into values that any number
//! of waiting requests can await without holding a thread.

use std::time::Duration;

use plumbline_service::Service;
use plumbline_service::context::{Actor, Context, Scope};
use tokio::sync::watch;

use crate::blocking::blocking;

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

/// Follows the version of the allocations for everyone who waits for a new one.
///
/// One query per commit of anything but trades serves all long polls: the waiting requests look at
/// the published number and only ask the service once it has grown.
pub(crate) async fn follow_allocations(
    service: Service,
    mut commits: watch::Receiver<u64>,
    mut stopping: watch::Receiver<bool>,
    version: watch::Sender<i64>,
) {
    let mut looked_at = None;
    loop {
        // Trades commit hundreds of times a second and change no decision.
        let epoch = Some(service.epoch());
        if looked_at != epoch {
            looked_at = look(&service, &version).await.and(epoch);
        }
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return },
            _ = stopping.changed() => return,
        }
    }
}

/// Publishes the version of the newest allocations; `None` when it could not be read.
async fn look(service: &Service, version: &watch::Sender<i64>) -> Option<()> {
    let since = *version.borrow();
    let newer = blocking(service, move |service| {
        service.wait_allocations(&house_reader(), since, Duration::ZERO)
    });
    match newer.await {
        Ok(Some(view)) if view.version != since => {
            version.send_replace(view.version);
        }
        Ok(_) => {}
        Err(problem) => {
            // The next commit asks again; a waiting client times out and relists meanwhile.
            tracing::warn!(%problem, "allocations could not be followed");
            return None;
        }
    }
    Some(())
}
