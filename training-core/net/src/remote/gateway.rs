//! A run's nodes elsewhere, as its coordinator's process sees them.
//!
//! Each has a place in the run's hub under the name of its key. What it says is
//! bounded and checked before it goes there; what it shows is fetched first, in
//! the background, so that nobody waits for a slow link. A node whose
//! connection ends, or which has work and does nothing, is reported lost.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, RecvStream};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::round::NodeId;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::Job;
use super::door::{Door, Link};
use super::error::PeerError;
use super::exchange::{Fetcher, Source};
use super::network::Inner;
use super::peer::{OUTGOING, close, read_frame, write_frames};
use super::wire::{
    ADDRESSES_MAX, Opener, Peer, Said, Sealer, Told, name_of, proof, run_in, run_name, session_of,
};
use crate::coordinator::COORDINATOR;
use crate::host::lock;
use crate::message::{Envelope, Message, RoundReport, bounded_reason};
use crate::transport::{LocalEndpoint, LocalHub, Transport};

/// Nodes elsewhere in one run.
const GUESTS_MAX: usize = 64;
/// Longest wait for the greeting, and for the connection for payloads.
const GREETING: Duration = Duration::from_secs(10);
/// Messages that a node may send in a second; more wait in its own buffers.
const MESSAGES_PER_SECOND: u32 = 400;
/// Payloads fetched at once.
const FETCHES: usize = 8;
/// Payloads whose holders are remembered, and holders of one.
const KNOWN: usize = 512;
const HOLDERS: usize = 16;
/// States that a node may say it holds.
const HOLDS_MAX: usize = 4;
/// How often stalled nodes are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Keeps a run open to nodes elsewhere; dropping it sends them away.
pub struct Gateway {
    guests: Arc<Guests>,
    handle: Option<Handle>,
    forget: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    pub(super) fn new(
        guests: Arc<Guests>,
        handle: Option<Handle>,
        forget: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            guests,
            handle,
            forget,
        }
    }

    /// The links to the nodes that are connected now, by name.
    pub fn links(&self) -> Vec<Link> {
        let all = lock(&self.guests.all);
        let mut links: Vec<Link> = all.values().map(|guest| guest.link()).collect();
        links.sort_by(|a, b| a.node.cmp(&b.node));
        links
    }

    /// Pieces fetched from nodes so far.
    pub fn pieces(&self) -> u64 {
        self.guests.fetcher.pieces().0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        (self.forget)();
        let guests: Vec<Arc<Guest>> = lock(&self.guests.all).values().cloned().collect();
        let Some(handle) = &self.handle else {
            return;
        };
        handle.spawn(async move {
            // What was announced last, that the run is over, shall still arrive.
            tokio::time::sleep(Duration::from_millis(300)).await;
            for guest in guests {
                guest.end(&PeerError::Gone("the run is over here".into()));
            }
        });
    }
}

/// The nodes elsewhere of one run.
pub(super) struct Guests {
    name: Digest,
    job: Job,
    description: String,
    hub: LocalHub,
    door: Door,
    fetcher: Arc<Fetcher>,
    fetches: Semaphore,
    all: Mutex<BTreeMap<[u8; 32], Arc<Guest>>>,
    banned: Arc<Mutex<BTreeSet<NodeId>>>,
    held: Mutex<Held>,
    parameters: Arc<Mutex<Option<Digest>>>,
}

impl fmt::Debug for Guests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.job.run;
        out.debug_struct("Guests")
            .field("run", run)
            .finish_non_exhaustive()
    }
}

/// Who has said to hold what; the oldest entries give way.
#[derive(Debug, Default)]
struct Held {
    by: HashMap<Digest, Vec<[u8; 32]>>,
    order: VecDeque<Digest>,
}

/// One node elsewhere.
struct Guest {
    id: NodeId,
    peer: Peer,
    control: Connection,
    outgoing: mpsc::Sender<Told>,
    place: Mutex<Option<LocalEndpoint>>,
    pieces: watch::Sender<Option<Connection>>,
    duty: Arc<Mutex<Duty>>,
}

/// What a node is expected to do.
#[derive(Debug, Default)]
struct Duty {
    /// It has work, and this is when it last did something about it.
    since: Option<Instant>,
    /// It may show its contribution to this round.
    reveal: Option<u64>,
    paused: bool,
}

impl Guests {
    pub(super) fn new(
        fetcher: Arc<Fetcher>,
        hub: LocalHub,
        job: Job,
        door: Door,
    ) -> Result<Self, PeerError> {
        let description =
            serde_json::to_string(&job).map_err(|error| PeerError::Job(error.to_string()))?;
        if description.len() > super::wire::BODY_BYTES_MAX / 2 {
            return Err(PeerError::Job("it is too long to be sent".into()));
        }
        Ok(Self {
            name: run_name(&job.run),
            description,
            hub,
            job,
            door,
            fetcher,
            fetches: Semaphore::new(FETCHES),
            all: Mutex::default(),
            banned: Arc::default(),
            held: Mutex::default(),
            parameters: Arc::default(),
        })
    }

    pub(super) fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        self.hub.payload(digest)
    }

    pub(super) fn holders(&self, digest: &Digest, asker: &[u8; 32]) -> Vec<Peer> {
        let held = lock(&self.held);
        let keys = held.by.get(digest).into_iter().flatten();
        let all = lock(&self.all);
        keys.filter(|key| *key != asker)
            .filter_map(|key| all.get(key).map(|guest| guest.peer.clone()))
            .collect()
    }

    /// Notes a node's connection for payloads; `false` when it is no node here.
    pub(super) fn reached(&self, key: &[u8; 32], connection: &Connection) -> bool {
        let guest = lock(&self.all).get(key).cloned();
        guest.is_some_and(|guest| {
            guest.pieces.send_replace(Some(connection.clone()));
            true
        })
    }

    fn note_holder(&self, digest: Digest, key: [u8; 32]) {
        let mut held = lock(&self.held);
        if !held.by.contains_key(&digest) {
            held.order.push_back(digest);
        }
        let holders = held.by.entry(digest).or_default();
        if !holders.contains(&key) && holders.len() < HOLDERS {
            holders.push(key);
        }
        while held.order.len() > KNOWN {
            if let Some(oldest) = held.order.pop_front() {
                held.by.remove(&oldest);
            }
        }
    }

    /// Checks a greeting.
    fn admit(&self, key: &[u8; 32], shown: &Digest, session: &Digest) -> Result<NodeId, PeerError> {
        let known = *shown == proof(&self.door.secret, session, key);
        let admit = &self.door.rules.admit;
        let listed = admit.is_empty() || admit.contains(&Digest(*key));
        let id = name_of(key).ok_or(PeerError::NotAdmitted)?;
        if !known || !listed {
            return Err(PeerError::NotAdmitted);
        }
        if lock(&self.banned).contains(&id) {
            return Err(PeerError::Refused("banned from this run".into()));
        }
        self.door.check_stake(key)?;
        let all = lock(&self.all);
        if all.len() >= GUESTS_MAX && !all.contains_key(key) {
            return Err(PeerError::Full);
        }
        Ok(id)
    }

    /// Gives a node its place in the hub. One of the same key loses it without
    /// the coordinator's noticing: a process that was killed is back at once.
    fn enter(&self, guest: &Arc<Guest>) -> Result<(), PeerError> {
        let mut all = lock(&self.all);
        if let Some(before) = all.remove(&guest.peer.key) {
            before.leave_place();
            close(&before.control, &PeerError::Replaced);
        }
        let sink = self.sink(guest);
        let place = self
            .hub
            .connect_outside(guest.id.clone(), sink)
            .map_err(|_| PeerError::NotAdmitted)?;
        *lock(&guest.place) = Some(place);
        all.insert(guest.peer.key, Arc::clone(guest));
        Ok(())
    }

    /// Hands on what the coordinator announces, as far as it concerns the node.
    fn sink(&self, guest: &Arc<Guest>) -> crate::transport::Sink {
        let (me, outgoing) = (guest.id.clone(), guest.outgoing.clone());
        let (duty, banned) = (Arc::clone(&guest.duty), Arc::clone(&self.banned));
        let parameters = Arc::clone(&self.parameters);
        Box::new(move |envelope| {
            if envelope.from.as_str() != COORDINATOR {
                return;
            }
            let concerns = match &envelope.message {
                Message::Welcome { node } => *node == me,
                Message::Banned { node, .. } => {
                    lock(&banned).insert(node.clone());
                    *node == me
                }
                Message::Open(open) => {
                    *lock(&parameters) = Some(open.parameters);
                    true
                }
                Message::RequestReveals { nodes, .. } => nodes.contains(&me),
                Message::Rate { .. } | Message::Stop => true,
                _ => false,
            };
            if concerns {
                lock(&duty).note(&envelope.message, &me);
                if let Ok(bytes) = envelope.encode(super::wire::BODY_BYTES_MAX - 16) {
                    // A full queue is a node that does not listen: it is lost soon.
                    outgoing.try_send(Told::Message(bytes)).ok();
                }
            }
        })
    }

    /// Takes a node's place away and tells the coordinator why.
    fn lose(&self, guest: &Guest, error: &PeerError) {
        let mut all = lock(&self.all);
        let current = all.get(&guest.peer.key);
        if current.is_some_and(|now| now.control.stable_id() == guest.control.stable_id()) {
            all.remove(&guest.peer.key);
        }
        drop(all);
        if let Some(place) = guest.leave_place() {
            let reason = bounded_reason(&format!("{}: {error}", error.name()));
            place.announce(&Message::Lost { reason }).ok();
        }
        self.tell_peers();
    }

    fn tell_peers(&self) {
        let guests: Vec<Arc<Guest>> = lock(&self.all).values().cloned().collect();
        for guest in &guests {
            let others = guests.iter().filter(|other| other.id != guest.id);
            let peers = others.map(|other| other.peer.clone()).collect();
            guest.outgoing.try_send(Told::Peers(peers)).ok();
        }
    }
}

impl Duty {
    /// What an announcement asks of the node.
    fn note(&mut self, message: &Message, me: &NodeId) {
        match message {
            Message::Open(open) => {
                let mine = open.assignments.iter().any(|a| a.node == *me);
                self.since = mine.then(Instant::now);
                self.reveal = None;
            }
            Message::RequestReveals { round, .. } => {
                self.reveal = Some(*round);
                self.since = Some(Instant::now());
            }
            Message::Rate { outside_bps, .. } => {
                self.paused = *outside_bps == 0;
                self.since = self.since.map(|_| Instant::now());
            }
            _ => {}
        }
    }
}

impl Guest {
    fn leave_place(&self) -> Option<LocalEndpoint> {
        lock(&self.place).take()
    }

    fn link(&self) -> Link {
        let pieces = self.pieces.borrow().clone();
        Link::new(self.id.clone(), &self.control, pieces.as_ref())
    }

    fn end(&self, error: &PeerError) {
        close(&self.control, error);
    }

    fn announce(&self, message: &Message) {
        if let Some(place) = &*lock(&self.place) {
            place.announce(message).ok();
        }
    }

    fn stalled(&self, stall: Duration) -> bool {
        let duty = lock(&self.duty);
        let since = duty.since.filter(|_| !duty.paused);
        since.is_some_and(|since| since.elapsed() > stall)
    }
}

/// Serves one control connection until it ends.
pub(super) async fn control(inner: &Arc<Inner>, connection: &Connection) -> Result<(), PeerError> {
    let opening = timeout(GREETING, connection.accept_bi()).await;
    let (send, mut receive) = opening
        .map_err(|_| PeerError::Stalled("a stream"))?
        .map_err(|error| PeerError::Gone(error.to_string()))?;
    let first = timeout(GREETING, read_frame(&mut receive)).await;
    let first = first.map_err(|_| PeerError::Stalled("a greeting"))??;
    let guests = inner.run(&run_in(&first)?).ok_or(PeerError::Run)?;
    let session = session_of(connection, &guests.name)?;
    let key = connection.remote_id();
    let mut opener = Opener::new(key, session, guests.name);
    let Said::Greeting { proof, addresses } = opener.open(&first)? else {
        return Err(PeerError::Unexpected("no greeting"));
    };
    if addresses.len() > ADDRESSES_MAX {
        return Err(PeerError::Unexpected("too many addresses"));
    }
    let id = guests.admit(key.as_bytes(), &proof, &session)?;
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    let accepted = Told::Accepted {
        job: guests.description.clone(),
        parameters: *lock(&guests.parameters),
    };
    outgoing.try_send(accepted).ok();
    let guest = Arc::new(Guest {
        id,
        peer: Peer {
            key: *key.as_bytes(),
            addresses,
            relay: None,
        },
        control: connection.clone(),
        outgoing,
        place: Mutex::default(),
        pieces: watch::Sender::new(None),
        duty: Arc::default(),
    });
    guests.enter(&guest)?;
    guests.tell_peers();
    let sealer = Sealer::new(inner.key.clone(), session, guests.name);
    let result = tokio::select! {
        result = listen(&guests, &guest, &mut receive, &mut opener) => result,
        result = write_frames(send, queue, sealer) => result,
        () = stall(&guest, Duration::from_millis(guests.door.rules.stall_ms)) => {
            Err(PeerError::Stalled("it has work and does nothing"))
        }
        () = guests.door.stake_gone(key.as_bytes()) => Err(PeerError::NoStake),
    };
    let error = match &result {
        Ok(()) => PeerError::Gone("it left".into()),
        Err(error) => error.clone(),
    };
    guests.lose(&guest, &error);
    // Whoever took over has closed the connection with its own words.
    match result {
        Err(PeerError::Gone(_)) => Ok(()),
        other => other,
    }
}

async fn stall(guest: &Guest, most: Duration) {
    while !guest.stalled(most) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Hands on what the node says. Ends without an error when it says goodbye.
async fn listen(
    guests: &Arc<Guests>,
    guest: &Arc<Guest>,
    receive: &mut RecvStream,
    opener: &mut Opener,
) -> Result<(), PeerError> {
    let (mut window, mut count) = (Instant::now(), 0);
    loop {
        let frame = read_frame(receive).await?;
        match opener.open(&frame)? {
            Said::Greeting { .. } => return Err(PeerError::Unexpected("a second greeting")),
            Said::Have(digest) => {
                if guests.payload(&digest).is_some() {
                    guests.note_holder(digest, guest.peer.key);
                }
            }
            Said::Message(bytes) => {
                if said(guests, guest, &bytes)? {
                    return Ok(());
                }
            }
        }
        count += 1;
        if count >= MESSAGES_PER_SECOND {
            let rest = Duration::from_secs(1).saturating_sub(window.elapsed());
            tokio::time::sleep(rest).await;
            (window, count) = (Instant::now(), 0);
        }
    }
}

/// `true` for a goodbye.
fn said(guests: &Arc<Guests>, guest: &Arc<Guest>, bytes: &[u8]) -> Result<bool, PeerError> {
    let envelope = Envelope::decode(bytes).map_err(|_| PeerError::Unreadable)?;
    if envelope.from != guest.id {
        return Err(PeerError::Unexpected("in another's name"));
    }
    let message = envelope.message;
    match &message {
        Message::Hello { holds, .. } if holds.len() <= HOLDS_MAX => {}
        Message::Progress { .. } => touch(guest, Some(Instant::now())),
        Message::Commit { .. } => touch(guest, None),
        Message::Reveal {
            round,
            payload,
            report,
            state,
        } => {
            check_report(report)?;
            if lock(&guest.duty).reveal.take() != Some(*round) {
                // Too late, or nobody asked: not worth ending the connection.
                return Ok(false);
            }
            let (guests, guest) = (Arc::clone(guests), Arc::clone(guest));
            let shown = (*payload, *state);
            tokio::spawn(async move { show(&guests, &guest, shown, message).await });
            return Ok(false);
        }
        Message::Bye { failure } => {
            let failure = failure.as_deref().map(bounded_reason);
            guest.announce(&Message::Bye { failure });
            guest.leave_place();
            return Ok(true);
        }
        _ => return Err(PeerError::Unexpected("what nodes do not say")),
    }
    guest.announce(&message);
    Ok(false)
}

fn touch(guest: &Guest, to: Option<Instant>) {
    let mut duty = lock(&guest.duty);
    if duty.since.is_some() {
        duty.since = to;
    }
}

/// Figures go into the history: they must be numbers, and not absurd.
fn check_report(report: &RoundReport) -> Result<(), PeerError> {
    let finite = report.loss.is_finite() && report.loss_first.is_finite();
    let small = report.steps <= 1_000_000 && report.cpu_us <= 1 << 50 && report.bytes <= 1 << 40;
    (finite && small)
        .then_some(())
        .ok_or(PeerError::Unexpected("figures that make no sense"))
}

/// Fetches what a node shows, then tells the coordinator of it. A node that
/// does not deliver what it promised is let go at once, so that the round does
/// not wait for it.
async fn show(
    guests: &Arc<Guests>,
    guest: &Arc<Guest>,
    shown: (Digest, Option<Digest>),
    message: Message,
) {
    match fetch(guests, guest, shown).await {
        Ok(()) => {
            touch(guest, None);
            guest.announce(&message);
        }
        Err(error) => {
            tracing::warn!(node = %guest.id, name = error.name(), %error, "nothing could be fetched");
            guests.lose(guest, &error);
            guest.end(&error);
        }
    }
}

async fn fetch(
    guests: &Arc<Guests>,
    guest: &Arc<Guest>,
    (payload, state): (Digest, Option<Digest>),
) -> Result<(), PeerError> {
    let _permit = guests.fetches.acquire().await.ok();
    let mut pieces = guest.pieces.subscribe();
    let connection = timeout(GREETING, pieces.wait_for(Option::is_some))
        .await
        .map_err(|_| PeerError::Stalled("a connection for payloads"))?
        .ok()
        .and_then(|found| found.clone())
        .ok_or(PeerError::Stalled("a connection for payloads"))?;
    let source = || vec![Source::Open(connection.clone())];
    let most = guests.job.payload_most();
    let bytes = guests.fetcher.fetch(payload, most, source(), None).await?;
    keep(guest, bytes, payload)?;
    guests.note_holder(payload, guest.peer.key);
    // Only who does work again needs the state that it began from.
    if let Some(state) = state.filter(|_| guests.job.verified) {
        let most = guests.job.state_most();
        let bytes = guests.fetcher.fetch(state, most, source(), None).await?;
        keep(guest, bytes, state)?;
    }
    Ok(())
}

fn keep(guest: &Guest, bytes: Vec<u8>, digest: Digest) -> Result<(), PeerError> {
    let place = lock(&guest.place);
    let place = place.as_ref().ok_or(PeerError::Replaced)?;
    place
        .put(bytes)
        .map(|_| ())
        .map_err(|_| PeerError::Missing(digest))
}
