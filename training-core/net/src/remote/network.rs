//! The coordinator's process on the network: one endpoint for all its runs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::endpoint::{Connection, Incoming};
use iroh::{Endpoint, SecretKey};
use plumbline_training_core::digest::Digest;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::door::Door;
use super::error::PeerError;
use super::exchange::{Fetcher, Shelf, serve};
use super::gateway::{self, Gateway, Guests};
use super::peer::close;
use super::wire::{CONTROL_ALPN, PIECES_ALPN, Peer, Ticket, run_name};
use super::{Job, ListenOptions, addresses_of, open};
use crate::board::Control;
use crate::host::lock;
use crate::run::OutsideRules;
use crate::transport::LocalHub;

/// Connections at once, of all runs; more are refused before their handshake.
const CONNECTIONS_MAX: usize = 512;
/// Time for the last messages before connections are closed.
const FLUSH: Duration = Duration::from_millis(500);
/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// An endpoint that nodes elsewhere reach this process's runs by. Dropping it
/// closes every connection.
#[derive(Debug)]
pub struct Network {
    inner: Arc<Inner>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) endpoint: Endpoint,
    pub(super) key: SecretKey,
    pub(super) fetcher: Arc<Fetcher>,
    runs: Mutex<HashMap<Digest, Arc<Guests>>>,
    relay: Option<String>,
}

impl Network {
    /// Opens the endpoint.
    ///
    /// # Errors
    /// [`PeerError::Bind`].
    pub fn listen(key: SecretKey, options: &ListenOptions) -> Result<Self, PeerError> {
        let runtime = runtime().map_err(|cause| PeerError::Bind {
            address: options.address,
            cause,
        })?;
        let protocols = [CONTROL_ALPN, PIECES_ALPN];
        let endpoint = runtime.block_on(open(key.clone(), options, &protocols))?;
        let inner = Arc::new(Inner {
            fetcher: Arc::new(Fetcher::new(endpoint.clone())),
            endpoint,
            key,
            runs: Mutex::default(),
            relay: options.relay.clone(),
        });
        runtime.spawn(accept(Arc::clone(&inner)));
        Ok(Self {
            inner,
            runtime: Some(runtime),
        })
    }

    /// Lets go of every run at once, so that connections end as in a crash.
    #[cfg(test)]
    pub(crate) fn vanish(&self) {
        lock(&self.inner.runs).clear();
        if let Some(runtime) = &self.runtime {
            runtime.block_on(self.inner.endpoint.close());
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses_of(&self.inner.endpoint)
    }

    /// Lets nodes into a run until the gateway is dropped.
    ///
    /// # Errors
    /// [`PeerError::Job`] when the description is too long to be sent.
    pub fn open_run(
        &self,
        hub: LocalHub,
        job: Job,
        rules: OutsideRules,
        control: Arc<Control>,
    ) -> Result<Gateway, PeerError> {
        let name = run_name(&job.run);
        let secret = self.secret(&job.run);
        let fetcher = Arc::clone(&self.inner.fetcher);
        let guests = Guests::new(
            fetcher,
            hub,
            job,
            Door {
                rules,
                control,
                secret,
            },
        )?;
        let guests = Arc::new(guests);
        lock(&self.inner.runs).insert(name, Arc::clone(&guests));
        let inner = Arc::clone(&self.inner);
        let forget = move || {
            lock(&inner.runs).remove(&name);
        };
        Ok(Gateway::new(guests, self.handle(), Box::new(forget)))
    }

    /// What a node needs to join `run`; the same after a restart.
    pub fn ticket(&self, run: &str) -> Ticket {
        let (key, relay) = (self.inner.key.public(), self.inner.relay.clone());
        Ticket::new(run, key, self.secret(run), self.addresses(), relay)
    }

    fn secret(&self, run: &str) -> [u8; 16] {
        let key = self.inner.key.to_bytes();
        let all = Digest::derive(
            "plumbline 2026 training ticket secret v1",
            &[&key, run.as_bytes()],
        );
        let mut secret = [0; 16];
        secret.copy_from_slice(&all.0[..16]);
        secret
    }

    fn handle(&self) -> Option<Handle> {
        self.runtime
            .as_ref()
            .map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let endpoint = self.inner.endpoint.clone();
        // On a thread of its own: the dropper may be on an event loop itself.
        let closing = std::thread::spawn(move || {
            runtime.block_on(async move {
                // What was said last, that the run is over, shall still arrive.
                tokio::time::sleep(FLUSH).await;
                timeout(FLUSH * 2, endpoint.close()).await.ok();
            });
            runtime.shutdown_timeout(FLUSH);
        });
        closing.join().ok();
    }
}

/// One worker is enough: nothing here computes for long.
pub(super) fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("train-net")
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}

async fn accept(inner: Arc<Inner>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(incoming) = inner.endpoint.accept().await {
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            receive(inner, incoming).await;
            drop(permit);
        });
    }
}

async fn receive(inner: Arc<Inner>, incoming: Incoming) {
    let Ok(accepting) = incoming.accept() else {
        return;
    };
    // A handshake that fails has nobody to be told.
    let Ok(Ok(connection)) = timeout(HANDSHAKE, accepting).await else {
        return;
    };
    let result = if connection.alpn() == CONTROL_ALPN {
        gateway::control(&inner, &connection).await
    } else {
        pieces(&inner, &connection).await
    };
    if let Err(error) = result {
        let peer = connection.remote_id().fmt_short();
        tracing::warn!(%peer, name = error.name(), %error, "connection closed");
        close(&connection, &error);
    }
}

/// A node's other connection, used both ways: it asks for payloads, and shows
/// its own.
async fn pieces(inner: &Arc<Inner>, connection: &Connection) -> Result<(), PeerError> {
    let key = *connection.remote_id().as_bytes();
    let runs: Vec<Arc<Guests>> = lock(&inner.runs).values().cloned().collect();
    let mut welcome = false;
    for run in runs {
        welcome |= run.reached(&key, connection);
    }
    if !welcome {
        return Err(PeerError::NotAdmitted);
    }
    serve(connection.clone(), Arc::clone(inner) as Arc<dyn Shelf>).await;
    Ok(())
}

impl Inner {
    pub(super) fn run(&self, name: &Digest) -> Option<Arc<Guests>> {
        lock(&self.runs).get(name).cloned()
    }
}

/// A payload's hash is hard to guess: whoever knows it was told.
impl Shelf for Inner {
    fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let runs = lock(&self.runs);
        runs.values().find_map(|run| run.payload(digest))
    }

    fn holders(&self, digest: &Digest, asker: &[u8; 32]) -> Vec<Peer> {
        let runs: Vec<Arc<Guests>> = lock(&self.runs).values().cloned().collect();
        let all = runs.iter().flat_map(|run| run.holders(digest, asker));
        all.take(8).collect()
    }
}
