//! How nodes and the coordinator reach each other.
//!
//! A [`Transport`] is one participant's end of one run's channel. It carries
//! two kinds of things: small [`Message`]s announced to everybody, and large
//! payloads that are stored under their BLAKE3 hash and fetched by it.
//! Announcements may be lost and may come twice, so the node and coordinator
//! loops repeat and de-duplicate. A payload is checked against its hash by
//! whoever fetches it.
//!
//! [`LocalHub`] implements it inside one process. Messages really are encoded
//! and decoded, and payloads really are bounded and hashed there, so that
//! nothing works in-process which would not work over a network.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plumbline_training_core::digest::Digest;
use plumbline_training_core::round::NodeId;

use crate::message::{Envelope, Message, WIRE_VERSION};

/// Bounds of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportLimits {
    /// Longest encoded message, bytes.
    pub message_bytes: usize,
    /// Largest payload, bytes.
    pub payload_bytes: usize,
    /// All stored payloads together, bytes.
    pub store_bytes: usize,
    /// Messages that wait for one participant; the oldest gives way.
    pub mailbox: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 10,
            payload_bytes: 1 << 30,
            store_bytes: 8 << 30,
            mailbox: 4_096,
        }
    }
}

/// Why something could not be sent or fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// A message or payload exceeds its bound.
    #[error("{size} bytes exceed the limit of {limit}")]
    TooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The payload store is full.
    #[error("the payload store holds {held} bytes and has no room for {size} more")]
    StoreFull {
        /// Bytes stored.
        held: usize,
        /// Bytes given.
        size: usize,
    },
    /// Nobody has the payload.
    #[error("no payload {0}")]
    NotFound(Digest),
    /// Not a message.
    #[error("message codec: {0}")]
    Codec(String),
    /// A message of another version.
    #[error("message version {0} is not spoken here (only {WIRE_VERSION})")]
    Version(u16),
    /// The name is already taken in this channel.
    #[error("{0} is already connected")]
    NameTaken(NodeId),
}

/// One participant's end of a run's channel.
pub trait Transport: Send {
    /// The name that others see.
    fn id(&self) -> &NodeId;

    /// Sends `message` to every other participant, without waiting for them.
    ///
    /// # Errors
    /// [`TransportError::TooLarge`].
    fn announce(&self, message: &Message) -> Result<(), TransportError>;

    /// The next message from others, or `None` when none comes in `timeout`.
    ///
    /// # Errors
    /// [`TransportError::Codec`] and [`TransportError::Version`] for a message
    /// that cannot be read; it is gone and the next can be received.
    fn receive(&self, timeout: Duration) -> Result<Option<Envelope>, TransportError>;

    /// Makes a payload available under its hash.
    ///
    /// # Errors
    /// [`TransportError::TooLarge`], [`TransportError::StoreFull`].
    fn put(&self, bytes: Vec<u8>) -> Result<Digest, TransportError>;

    /// Fetches a payload; the bytes hash to `digest`.
    ///
    /// # Errors
    /// [`TransportError::NotFound`].
    fn get(&self, digest: &Digest) -> Result<Arc<Vec<u8>>, TransportError>;

    /// Stops making a payload available.
    fn forget(&self, digest: &Digest);
}

/// A channel inside this process.
#[derive(Debug, Clone)]
pub struct LocalHub {
    inner: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    limits: TransportLimits,
    mailboxes: Mutex<BTreeMap<NodeId, Arc<Mailbox>>>,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    payloads: HashMap<Digest, Arc<Vec<u8>>>,
    held: usize,
}

#[derive(Debug, Default)]
struct Mailbox {
    queue: Mutex<VecDeque<Arc<Vec<u8>>>>,
    arrived: Condvar,
}

/// A participant of a [`LocalHub`]; dropping it disconnects.
#[derive(Debug)]
pub struct LocalEndpoint {
    hub: Arc<Hub>,
    id: NodeId,
    mailbox: Arc<Mailbox>,
}

/// A poisoned lock only means that another thread died while it held plain
/// queues or maps, which are consistent after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LocalHub {
    /// An empty channel.
    pub fn new(limits: TransportLimits) -> Self {
        Self {
            inner: Arc::new(Hub {
                limits,
                mailboxes: Mutex::default(),
                store: Mutex::default(),
            }),
        }
    }

    /// Adds a participant.
    ///
    /// # Errors
    /// [`TransportError::NameTaken`].
    pub fn connect(&self, id: NodeId) -> Result<LocalEndpoint, TransportError> {
        let mut mailboxes = lock(&self.inner.mailboxes);
        if mailboxes.contains_key(&id) {
            return Err(TransportError::NameTaken(id));
        }
        let mailbox = Arc::new(Mailbox::default());
        mailboxes.insert(id.clone(), Arc::clone(&mailbox));
        Ok(LocalEndpoint {
            hub: Arc::clone(&self.inner),
            id,
            mailbox,
        })
    }

    /// Bytes of all stored payloads.
    pub fn stored_bytes(&self) -> usize {
        lock(&self.inner.store).held
    }
}

impl Drop for LocalEndpoint {
    fn drop(&mut self) {
        lock(&self.hub.mailboxes).remove(&self.id);
    }
}

impl Transport for LocalEndpoint {
    fn id(&self) -> &NodeId {
        &self.id
    }

    fn announce(&self, message: &Message) -> Result<(), TransportError> {
        let envelope = Envelope {
            version: WIRE_VERSION,
            from: self.id.clone(),
            message: message.clone(),
        };
        let bytes = Arc::new(envelope.encode(self.hub.limits.message_bytes)?);
        for (id, mailbox) in lock(&self.hub.mailboxes).iter() {
            if *id != self.id {
                let mut queue = lock(&mailbox.queue);
                if queue.len() >= self.hub.limits.mailbox {
                    queue.pop_front();
                }
                queue.push_back(Arc::clone(&bytes));
                mailbox.arrived.notify_one();
            }
        }
        Ok(())
    }

    fn receive(&self, timeout: Duration) -> Result<Option<Envelope>, TransportError> {
        let deadline = Instant::now() + timeout;
        let mut queue = lock(&self.mailbox.queue);
        loop {
            if let Some(bytes) = queue.pop_front() {
                drop(queue);
                return Envelope::decode(&bytes).map(Some);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            queue = self
                .mailbox
                .arrived
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn put(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        let limits = self.hub.limits;
        let size = bytes.len();
        if size > limits.payload_bytes {
            return Err(TransportError::TooLarge {
                size,
                limit: limits.payload_bytes,
            });
        }
        let digest = Digest::of(&bytes);
        let mut store = lock(&self.hub.store);
        if store.payloads.contains_key(&digest) {
            return Ok(digest);
        }
        if store.held + size > limits.store_bytes {
            return Err(TransportError::StoreFull {
                held: store.held,
                size,
            });
        }
        store.held += size;
        store.payloads.insert(digest, Arc::new(bytes));
        Ok(digest)
    }

    fn get(&self, digest: &Digest) -> Result<Arc<Vec<u8>>, TransportError> {
        // Stored under the hash computed in `put` and never changed since, so
        // there is nothing to check again here.
        lock(&self.hub.store)
            .payloads
            .get(digest)
            .cloned()
            .ok_or(TransportError::NotFound(*digest))
    }

    fn forget(&self, digest: &Digest) {
        let mut store = lock(&self.hub.store);
        if let Some(bytes) = store.payloads.remove(digest) {
            store.held -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn small() -> LocalHub {
        LocalHub::new(TransportLimits {
            message_bytes: 100,
            payload_bytes: 10,
            store_bytes: 15,
            mailbox: 2,
        })
    }

    #[test]
    fn announcements_reach_the_others_in_order_and_the_oldest_gives_way() {
        let hub = small();
        let (a, b) = (hub.connect(id("a")).unwrap(), hub.connect(id("b")).unwrap());
        for bps in 1..=3 {
            a.announce(&Message::Rate { bps }).unwrap();
        }
        let next = || b.receive(Duration::ZERO).unwrap().map(|e| e.message);
        assert_eq!(next(), Some(Message::Rate { bps: 2 }));
        assert_eq!(next(), Some(Message::Rate { bps: 3 }));
        assert_eq!(next(), None);
        assert!(a.receive(Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn a_waiting_receiver_wakes_up() {
        let hub = small();
        let (a, b) = (hub.connect(id("a")).unwrap(), hub.connect(id("b")).unwrap());
        let waiting = std::thread::spawn(move || b.receive(Duration::from_secs(20)).unwrap());
        a.announce(&Message::Hello).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap().from, id("a"));
    }

    #[test]
    fn payloads_are_content_addressed_and_bounded() {
        let hub = small();
        let (a, b) = (hub.connect(id("a")).unwrap(), hub.connect(id("b")).unwrap());
        let digest = a.put(vec![7; 10]).unwrap();
        assert_eq!(digest, Digest::of(&[7; 10]));
        assert_eq!(a.put(vec![7; 10]).unwrap(), digest);
        assert_eq!(*b.get(&digest).unwrap(), vec![7; 10]);
        assert!(matches!(
            a.put(vec![0; 11]),
            Err(TransportError::TooLarge { .. })
        ));
        assert!(matches!(
            a.put(vec![0; 6]),
            Err(TransportError::StoreFull { held: 10, size: 6 })
        ));
        b.forget(&digest);
        assert_eq!(hub.stored_bytes(), 0);
        assert_eq!(
            a.get(&digest).unwrap_err(),
            TransportError::NotFound(digest)
        );
    }

    #[test]
    fn names_are_unique_and_freed() {
        let hub = small();
        let first = hub.connect(id("a")).unwrap();
        assert_eq!(
            hub.connect(id("a")).unwrap_err(),
            TransportError::NameTaken(id("a"))
        );
        drop(first);
        assert!(hub.connect(id("a")).is_ok());
    }
}
