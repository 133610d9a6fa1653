//! A node's end: the run's channel over the network.
//!
//! The connection to the coordinator is made again when it ends, for as long as
//! patience lasts; the node trains on meanwhile and says hello when it is back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, RecvStream, SendStream};
use iroh::{Endpoint, SecretKey};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::pacing::FULL_BPS;
use plumbline_training_core::pieces::PIECE;
use plumbline_training_core::round::NodeId;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::PeerError;
use super::exchange::{Fetcher, Shelf, Source, serve};
use super::network::runtime;
use super::peer::{OUTGOING, close, ended, read_frame, write_frames};
use super::shelf::NodeShelf;
use super::wire::{
    CONTROL_ALPN, Opener, PIECES_ALPN, Peer, Said, Sealer, Ticket, Told, name_of, proof, run_name,
    session_of,
};
use super::{Job, ListenOptions, addresses_of, open};
use crate::host::lock;
use crate::message::{Envelope, Message};
use crate::transport::{Mailbox, Transport, TransportError};

/// Messages that wait for the node.
const MAILBOX: usize = 4_096;
/// Longest pause between two attempts to be back.
const PAUSE_MOST: Duration = Duration::from_secs(5);
/// Payloads of a round or two that are given to others, in vectors of parameters.
const VECTORS: u64 = 16;
/// Longest farewell.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a node joins.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// What it was given.
    pub ticket: Ticket,
    /// Its identity.
    pub key: SecretKey,
    /// Where it listens.
    pub listen: ListenOptions,
    /// Folder for its state; made by whoever calls.
    pub folder: PathBuf,
    /// How long to try at first.
    pub connect: Duration,
    /// How long to try when the connection was lost.
    pub patience: Duration,
    /// Most of one core that it gives, basis points.
    pub max_share_bps: u32,
}

/// A member of a run over the network. Dropping it says what is still to be
/// said, and leaves.
pub struct Member {
    id: NodeId,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    payload_most: u64,
    state_most: u64,
    max_share_bps: u32,
}

struct Shared {
    options: MemberOptions,
    endpoint: Endpoint,
    fetcher: Arc<Fetcher>,
    shelf: NodeShelf,
    inbox: Mailbox,
    outgoing: Mutex<Option<mpsc::Sender<Said>>>,
    hello: Mutex<Option<Said>>,
    coordinator: Mutex<Option<Connection>>,
    peers: Mutex<Vec<Peer>>,
    lost: Mutex<Option<PeerError>>,
}

/// A control connection that was accepted.
struct Channel {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    sealer: Sealer,
    opener: Opener,
    job: String,
    parameters: Option<Digest>,
}

impl Member {
    /// Joins the run of the ticket: connects, is admitted, and learns what the
    /// run is about and which parameters to fetch before saying hello.
    ///
    /// # Errors
    /// [`PeerError::Unreachable`], [`PeerError::Refused`] with the coordinator's
    /// words, [`PeerError::Bind`], [`PeerError::Ticket`], [`PeerError::Job`].
    pub fn join(options: MemberOptions) -> Result<(Self, Job, Option<Digest>), PeerError> {
        let runtime = runtime().map_err(PeerError::Job)?;
        options.ticket.coordinator()?;
        let key = options.key.clone();
        let id = name_of(key.public().as_bytes()).ok_or(PeerError::NotAdmitted)?;
        let endpoint = runtime.block_on(open(key, &options.listen, &[PIECES_ALPN]))?;
        let limit = options.connect;
        let (endpoint_, options_) = (endpoint.clone(), options.clone());
        let channel = runtime.block_on(async move {
            reach(&endpoint_, &options_, Instant::now() + limit, true).await
        })?;
        let job: Job = serde_json::from_str(&channel.job)
            .map_err(|error| PeerError::Job(error.to_string()))?;
        let problem = job.model.validate().err().map(|error| error.to_string());
        if let Some(problem) = problem {
            return Err(PeerError::Job(problem));
        }
        let parameters = channel.parameters;
        let most =
            usize::try_from(job.payload_most().saturating_mul(VECTORS)).unwrap_or(usize::MAX);
        let max_share_bps = options.max_share_bps;
        let shared = Arc::new(Shared {
            fetcher: Arc::new(Fetcher::new(endpoint.clone())),
            shelf: NodeShelf::open(options.folder.clone(), most),
            options,
            endpoint,
            inbox: Mailbox::default(),
            outgoing: Mutex::default(),
            hello: Mutex::default(),
            coordinator: Mutex::default(),
            peers: Mutex::default(),
            lost: Mutex::default(),
        });
        runtime.spawn(accept(Arc::clone(&shared)));
        runtime.spawn(stay(Arc::clone(&shared), channel));
        let member = Self {
            id,
            shared,
            runtime: Some(runtime),
            payload_most: job.payload_most(),
            state_most: job.state_most(),
            max_share_bps: max_share_bps.min(FULL_BPS),
        };
        Ok((member, job, parameters))
    }

    /// Fetches a payload of at most `most` bytes and keeps it for others.
    ///
    /// # Errors
    /// [`PeerError::Missing`] when nobody has it, or what the last asked did wrong.
    pub fn fetch(&self, digest: &Digest, most: u64) -> Result<Arc<Vec<u8>>, PeerError> {
        self.fetch_from(digest, most, Vec::new(), false)
    }

    /// As [`Member::fetch`], and keeps it until the end.
    ///
    /// # Errors
    /// As [`Member::fetch`].
    pub fn fetch_for_good(&self, digest: &Digest, most: u64) -> Result<Arc<Vec<u8>>, PeerError> {
        self.fetch_from(digest, most, Vec::new(), true)
    }

    fn fetch_from(
        &self,
        digest: &Digest,
        most: u64,
        sources: Vec<Source>,
        pin: bool,
    ) -> Result<Arc<Vec<u8>>, PeerError> {
        if let Some(here) = self.shared.shelf.payload(digest) {
            return Ok(here);
        }
        let Some(runtime) = &self.runtime else {
            return Err(PeerError::Missing(*digest));
        };
        let shared = &self.shared;
        let bytes = runtime.block_on(async {
            let coordinator = shared.coordinator().await;
            let fetching = shared.fetcher.fetch(*digest, most, sources, coordinator);
            fetching.await
        })?;
        let large = bytes.len() > PIECE;
        let bytes = if pin {
            let digest = self.shared.shelf.pin(bytes);
            self.shared.shelf.payload(&digest).unwrap_or_default()
        } else {
            self.shared.shelf.add(bytes).1
        };
        if large {
            self.shared.say(Said::Have(*digest));
        }
        Ok(bytes)
    }

    /// Holds a payload from an earlier life, for others too.
    pub(super) fn hold(&self, bytes: Vec<u8>) {
        let digest = self.shared.shelf.pin(bytes);
        self.shared.say(Said::Have(digest));
    }

    /// Fetches from each maker at the same time, and from the coordinator what
    /// a maker does not give.
    async fn gather(
        &self,
        wanted: &[(NodeId, Digest)],
    ) -> Result<Vec<Arc<Vec<u8>>>, TransportError> {
        let coordinator = self.shared.coordinator().await;
        let mut fetching = JoinSet::new();
        for (place, (maker, digest)) in wanted.iter().enumerate() {
            let (shared, digest) = (Arc::clone(&self.shared), *digest);
            let peers = lock(&self.shared.peers).clone();
            let known = peers
                .into_iter()
                .find(|peer| name_of(&peer.key).as_ref() == Some(maker));
            let sources = known.map(Source::At).into_iter().collect();
            let (coordinator, most) = (coordinator.clone(), self.payload_most);
            fetching.spawn(async move {
                if let Some(here) = shared.shelf.payload(&digest) {
                    return (place, Ok(here));
                }
                let fetched = shared
                    .fetcher
                    .fetch(digest, most, sources, coordinator)
                    .await;
                (place, fetched.map(|bytes| shared.shelf.add(bytes).1))
            });
        }
        let mut payloads = vec![Arc::default(); wanted.len()];
        while let Some(done) = fetching.join_next().await {
            let (place, fetched) = done.map_err(|error| TransportError::Lost(error.to_string()))?;
            payloads[place] = fetched.map_err(|_| TransportError::NotFound(wanted[place].1))?;
        }
        Ok(payloads)
    }

    /// Pieces fetched so far from other nodes and from the coordinator.
    pub fn pieces(&self) -> (u64, u64) {
        self.shared.fetcher.pieces()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses_of(&self.shared.endpoint)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Closing the queue ends the stream once all that waits is sent.
        lock(&self.shared.outgoing).take();
        lock(&self.shared.lost).get_or_insert(PeerError::Gone("it left".into()));
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        runtime.block_on(async move {
            let ending = async {
                while lock(&shared.coordinator).is_some() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                shared.endpoint.close().await;
            };
            timeout(FAREWELL, ending).await.ok();
        });
        runtime.shutdown_timeout(Duration::from_millis(200));
    }
}

impl Transport for Member {
    fn id(&self) -> &NodeId {
        &self.id
    }

    fn announce(&self, message: &Message) -> Result<(), TransportError> {
        let envelope = Envelope::new(self.id.clone(), message.clone());
        let said = Said::Message(envelope.encode(super::wire::BODY_BYTES_MAX - 16)?);
        if matches!(message, Message::Hello { .. }) {
            *lock(&self.shared.hello) = Some(said.clone());
        }
        self.shared.say(said);
        Ok(())
    }

    fn receive(&self, wait: Duration) -> Result<Option<Envelope>, TransportError> {
        let received = self.shared.inbox.pop(wait)?;
        let Some(mut envelope) = received else {
            let lost = lock(&self.shared.lost).clone();
            return lost.map_or(Ok(None), |error| {
                Err(TransportError::Lost(error.to_string()))
            });
        };
        if let Message::Rate { bps, outside_bps } = &mut envelope.message {
            // The run's share of this machine, and no more than its owner gives.
            *bps = (*outside_bps).min(self.max_share_bps);
        }
        Ok(Some(envelope))
    }

    fn put(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        let limit = self.payload_most.max(self.state_most) as usize;
        if bytes.len() > limit {
            let size = bytes.len();
            return Err(TransportError::TooLarge { size, limit });
        }
        Ok(self.shared.shelf.add(bytes).0)
    }

    fn get(&self, digest: &Digest) -> Result<Arc<Vec<u8>>, TransportError> {
        let most = self.payload_most.max(self.state_most);
        self.fetch(digest, most).map_err(|error| {
            tracing::warn!(%digest, name = error.name(), %error, "not fetched");
            TransportError::NotFound(*digest)
        })
    }

    fn get_all(&self, wanted: &[(NodeId, Digest)]) -> Result<Vec<Arc<Vec<u8>>>, TransportError> {
        let Some(runtime) = &self.runtime else {
            return Err(TransportError::Lost("it left".into()));
        };
        runtime.block_on(self.gather(wanted))
    }

    fn peek(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        self.shared.shelf.payload(digest)
    }

    /// The store lets the oldest go by itself.
    fn forget(&self, _digest: &Digest) {}

    fn put_state(&self, bytes: Vec<u8>) -> Result<Digest, TransportError> {
        Ok(self.shared.shelf.add_state(bytes))
    }

    fn kept_states(&self) -> Vec<Digest> {
        self.shared.shelf.states()
    }
}

impl Shared {
    /// Says something, if there is anybody to say it to.
    fn say(&self, said: Said) {
        if let Some(outgoing) = &*lock(&self.outgoing) {
            outgoing.try_send(said).ok();
        }
    }

    /// The connection for payloads, which may be under way.
    async fn coordinator(&self) -> Option<Connection> {
        for _ in 0..100 {
            if let Some(connection) = lock(&self.coordinator).clone() {
                return Some(connection);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

impl Shelf for Shared {
    fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        self.shelf.payload(digest)
    }
}

/// Lets other members of the run ask for payloads.
async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(accepting) = incoming.accept() else {
                return;
            };
            let Ok(Ok(connection)) = timeout(Duration::from_secs(10), accepting).await else {
                return;
            };
            let key = *connection.remote_id().as_bytes();
            let known = lock(&shared.peers).iter().any(|peer| peer.key == key);
            if known {
                serve(connection, shared as Arc<dyn Shelf>).await;
            } else {
                close(&connection, &PeerError::NotAdmitted);
            }
        });
    }
}

/// Tries to be let in until `deadline`. At `first` whatever the coordinator
/// says counts; later only what waiting cannot change.
async fn reach(
    endpoint: &Endpoint,
    options: &MemberOptions,
    deadline: Instant,
    first: bool,
) -> Result<Channel, PeerError> {
    let mut pause = Duration::from_millis(200);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let trying = timeout(
            left.max(Duration::from_millis(100)),
            greet(endpoint, options),
        )
        .await;
        let error = match trying {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(error)) => error,
            Err(_) => PeerError::Gone("no answer".into()),
        };
        let refused = match &error {
            PeerError::Refused(words) => first || !can_change(words),
            other => other.is_final(),
        };
        if refused {
            return Err(error);
        }
        if Instant::now() + pause >= deadline {
            return Err(PeerError::Unreachable {
                key: Digest(options.ticket.coordinator),
                addresses: options.ticket.addresses.clone(),
                cause: error.to_string(),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

/// Whether the coordinator may think otherwise of a node that comes again.
fn can_change(words: &str) -> bool {
    let lasting = [
        "not-admitted",
        "no-stake",
        "wrong-version",
        "replaced",
        "refused",
    ];
    !lasting.iter().any(|name| words.starts_with(name))
}

async fn greet(endpoint: &Endpoint, options: &MemberOptions) -> Result<Channel, PeerError> {
    let gone = |error: String| PeerError::Gone(error);
    let ticket = &options.ticket;
    let connection = endpoint
        .connect(ticket.coordinator()?, CONTROL_ALPN)
        .await
        .map_err(|error| gone(error.to_string()))?;
    let run = run_name(&ticket.run);
    let session = session_of(&connection, &run)?;
    let mut sealer = Sealer::new(options.key.clone(), session, run);
    let mut opener = Opener::new(connection.remote_id(), session, run);
    let key = options.key.public();
    let greeting = Said::Greeting {
        proof: proof(&ticket.secret, &session, key.as_bytes()),
        addresses: addresses_of(endpoint),
    };
    let frame = sealer.seal(&greeting)?;
    let exchange = async {
        let (mut send, mut receive) = connection
            .open_bi()
            .await
            .map_err(|error| gone(error.to_string()))?;
        send.write_all(&frame)
            .await
            .map_err(|error| gone(error.to_string()))?;
        let answer = read_frame(&mut receive).await?;
        Ok((send, receive, opener.open::<Told>(&answer)?))
    };
    let (send, receive, told) = exchange
        .await
        .map_err(|error: PeerError| ended(&connection, error))?;
    let Told::Accepted { job, parameters } = told else {
        return Err(PeerError::Unexpected("no answer to the greeting"));
    };
    Ok(Channel {
        connection,
        send,
        receive,
        sealer,
        opener,
        job,
        parameters,
    })
}

/// Keeps the connection to the coordinator, until leaving or out of patience.
async fn stay(shared: Arc<Shared>, mut channel: Channel) {
    let error = loop {
        let error = converse(&shared, channel).await;
        lock(&shared.outgoing).take();
        lock(&shared.coordinator).take();
        let refused = matches!(&error, PeerError::Refused(words) if !can_change(words));
        if refused || lock(&shared.lost).is_some() {
            break error;
        }
        tracing::warn!(%error, "connection to the coordinator lost");
        let deadline = Instant::now() + shared.options.patience;
        match reach(&shared.endpoint, &shared.options, deadline, false).await {
            Ok(again) => channel = again,
            Err(error) => break error,
        }
    };
    lock(&shared.lost).get_or_insert(error);
}

/// Speaks over one connection until it ends.
async fn converse(shared: &Arc<Shared>, channel: Channel) -> PeerError {
    let Channel {
        connection,
        send,
        mut receive,
        sealer,
        mut opener,
        ..
    } = channel;
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    // A node that was here before says hello again by itself.
    if let Some(hello) = lock(&shared.hello).clone() {
        outgoing.try_send(hello).ok();
    }
    if lock(&shared.lost).is_none() {
        *lock(&shared.outgoing) = Some(outgoing);
    }
    let listening = async {
        loop {
            let frame = read_frame(&mut receive).await?;
            match opener.open(&frame)? {
                Told::Message(bytes) => shared.inbox.push(Arc::new(bytes), MAILBOX),
                Told::Peers(peers) => *lock(&shared.peers) = peers,
                Told::Accepted { .. } => {
                    return Err::<(), PeerError>(PeerError::Unexpected("accepted twice"));
                }
            }
        }
    };
    let error = tokio::select! {
        result = listening => result.err(),
        result = write_frames(send, queue, sealer) => result.err(),
        () = exchange_payloads(shared) => None,
    };
    let error = error.unwrap_or_else(|| PeerError::Gone("it left".into()));
    let error = ended(&connection, error);
    close(&connection, &error);
    error
}

/// Keeps a connection for payloads open; the coordinator asks over it too.
async fn exchange_payloads(shared: &Arc<Shared>) {
    let Ok(coordinator) = shared.options.ticket.coordinator() else {
        return;
    };
    loop {
        let connecting = shared.endpoint.connect(coordinator.clone(), PIECES_ALPN);
        match connecting.await {
            Ok(connection) => {
                *lock(&shared.coordinator) = Some(connection.clone());
                serve(connection, Arc::clone(shared) as Arc<dyn Shelf>).await;
                lock(&shared.coordinator).take();
            }
            Err(error) => tracing::warn!(%error, "no connection for payloads"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
