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
    /// The connection is gone and did not come back.
    #[error("{0}")]
    Lost(String),
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

    /// Fetches several payloads, each made by the node beside it, at the same
    /// time where that is faster.
    ///
    /// # Errors
    /// As [`Transport::get`], for the first that cannot be had.
    fn get_all(&self, wanted: &[(NodeId, Digest)]) -> Result<Vec<Arc<Vec<u8>>>, TransportError> {
        wanted.iter().map(|(_, digest)| self.get(digest)).collect()
    }

    /// A payload that is here already, without asking anybody.
    fn peek(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        self.get(digest).ok()
    }

    /// Stops making a payload available.
    fn forget(&self, digest: &Digest);

    /// As [`Transport::put`], for a node's state after a round. Where a node can
    /// outlive its process, the state is kept in a file as well.
    ///
    /// # Errors
    /// As [`Transport::put`].
    fn put_state(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        self.put(bytes)
    }

    /// States that this participant keeps itself, perhaps from an earlier life.
    fn kept_states(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// Whether `node` is a process of its own, which keeps its own state and
    /// has cores of its own.
    fn is_outside(&self, _node: &NodeId) -> bool {
        false
    }
}

/// A channel inside this process.
#[derive(Debug, Clone)]
pub struct LocalHub {
    inner: Arc<Hub>,
}

/// Takes what is announced to a participant that is not a thread of this
/// process. It must not block.
pub type Sink = Box<dyn Fn(&Envelope) + Send + Sync>;

struct Hub {
    limits: TransportLimits,
    mailboxes: Mutex<BTreeMap<NodeId, Receiver>>,
    store: Mutex<Store>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// Where announcements to a participant go.
#[derive(Clone)]
enum Receiver {
    Inside(Arc<Mailbox>),
    Outside(Arc<Sink>),
}

#[derive(Debug, Default)]
struct Store {
    payloads: HashMap<Digest, Arc<Vec<u8>>>,
    held: usize,
}

/// Encoded messages that wait; bounded by whoever puts them in.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: Mutex<VecDeque<Arc<Vec<u8>>>>,
    arrived: Condvar,
}

impl Mailbox {
    /// Adds a message; with `most` waiting already, the oldest gives way.
    pub(crate) fn push(&self, bytes: Arc<Vec<u8>>, most: usize) {
        let mut queue = lock(&self.queue);
        if queue.len() >= most {
            queue.pop_front();
        }
        queue.push_back(bytes);
        self.arrived.notify_one();
    }

    /// The next message, or `None` when none comes in `timeout`.
    ///
    /// # Errors
    /// As [`Envelope::decode`].
    pub(crate) fn pop(&self, timeout: Duration) -> Result<Option<Envelope>, TransportError> {
        let deadline = Instant::now() + timeout;
        let mut queue = lock(&self.queue);
        loop {
            if let Some(bytes) = queue.pop_front() {
                drop(queue);
                return Envelope::decode(&bytes).map(Some);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.arrived.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
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
        let mailbox = Arc::new(Mailbox::default());
        let receiver = Receiver::Inside(Arc::clone(&mailbox));
        self.enter(id, receiver, mailbox)
    }

    /// Adds a participant elsewhere, whose announcements go to `sink`. Nothing
    /// can be received at this end.
    ///
    /// # Errors
    /// [`TransportError::NameTaken`].
    pub fn connect_outside(&self, id: NodeId, sink: Sink) -> Result<LocalEndpoint, TransportError> {
        self.enter(id, Receiver::Outside(Arc::new(sink)), Arc::default())
    }

    fn enter(
        &self,
        id: NodeId,
        receiver: Receiver,
        mailbox: Arc<Mailbox>,
    ) -> Result<LocalEndpoint, TransportError> {
        let mut mailboxes = lock(&self.inner.mailboxes);
        if mailboxes.contains_key(&id) {
            return Err(TransportError::NameTaken(id));
        }
        mailboxes.insert(id.clone(), receiver);
        drop(mailboxes);
        Ok(LocalEndpoint {
            hub: Arc::clone(&self.inner),
            id,
            mailbox,
        })
    }

    /// Makes a payload available under its hash.
    ///
    /// # Errors
    /// As [`Transport::put`].
    pub fn put(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        self.inner.put(bytes)
    }

    /// A payload that is stored here.
    pub fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        lock(&self.inner.store).payloads.get(digest).cloned()
    }

    /// Bytes of all stored payloads.
    pub fn stored_bytes(&self) -> usize {
        lock(&self.inner.store).held
    }
}

impl Hub {
    fn put(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        let limits = self.limits;
        let size = bytes.len();
        if size > limits.payload_bytes {
            return Err(TransportError::TooLarge {
                size,
                limit: limits.payload_bytes,
            });
        }
        let digest = Digest::of(&bytes);
        let mut store = lock(&self.store);
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
        let envelope = Envelope::new(self.id.clone(), message.clone());
        let bytes = Arc::new(envelope.encode(self.hub.limits.message_bytes)?);
        let others: Vec<Receiver> = lock(&self.hub.mailboxes)
            .iter()
            .filter(|(id, _)| **id != self.id)
            .map(|(_, receiver)| receiver.clone())
            .collect();
        for receiver in others {
            match receiver {
                Receiver::Inside(mailbox) => {
                    mailbox.push(Arc::clone(&bytes), self.hub.limits.mailbox);
                }
                Receiver::Outside(sink) => sink(&envelope),
            }
        }
        Ok(())
    }

    fn receive(&self, timeout: Duration) -> Result<Option<Envelope>, TransportError> {
        self.mailbox.pop(timeout)
    }

    fn put(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        self.hub.put(bytes)
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

    fn is_outside(&self, node: &NodeId) -> bool {
        // A node's name is its key where it comes from outside; it stays one
        // while its connection is away.
        match lock(&self.hub.mailboxes).get(node) {
            Some(receiver) => matches!(receiver, Receiver::Outside(_)),
            None => node.as_str().parse::<Digest>().is_ok(),
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
            a.announce(&Message::Rate {
                bps,
                outside_bps: bps,
            })
            .unwrap();
        }
        let next = || b.receive(Duration::ZERO).unwrap().map(|e| e.message);
        assert_eq!(
            next(),
            Some(Message::Rate {
                bps: 2,
                outside_bps: 2
            })
        );
        assert_eq!(
            next(),
            Some(Message::Rate {
                bps: 3,
                outside_bps: 3
            })
        );
        assert_eq!(next(), None);
        assert!(a.receive(Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn a_waiting_receiver_wakes_up() {
        let hub = small();
        let (a, b) = (hub.connect(id("a")).unwrap(), hub.connect(id("b")).unwrap());
        let waiting = std::thread::spawn(move || b.receive(Duration::from_secs(20)).unwrap());
        a.announce(&Message::hello()).unwrap();
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
