//! Payloads between processes: giving them out, and fetching them in verified
//! pieces from several participants.
//!
//! Who fetches first learns the manifest, which is right or wrong by itself,
//! and from the coordinator also who holds the payload. The pieces then come
//! from the holders, two at a time from each; a holder that stalls or sends
//! anything wrong is not asked again, and the coordinator is asked for what
//! nobody else gave.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::pieces::{Manifest, PIECE};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::PeerError;
use super::wire::{ABSENT, ASK_BYTES_MAX, Ask, HERE, PIECES_ALPN, Peer};
use crate::host::lock;
use crate::message::WIRE_VERSION;

/// Longest wait for a connection to another participant.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for a request, a manifest, or a piece: at 256 KiB a piece even
/// half a megabit per second is enough.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pieces asked of one participant at once.
const AT_ONCE: usize = 2;
/// Participants asked at once.
const SOURCES_MAX: usize = 8;
/// Longest head, bytes: 16,384 pieces and eight holders.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Connections to others that are kept.
const POOL_MAX: usize = 128;

/// Where payloads come from that others ask for.
pub(super) trait Shelf: Send + Sync {
    /// A payload that is here whole.
    fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>>;

    /// Others that hold it, as far as is known here.
    fn holders(&self, _digest: &Digest, _asker: &[u8; 32]) -> Vec<Peer> {
        Vec::new()
    }
}

/// What is said of a payload before its pieces.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    manifest: Manifest,
    holders: Vec<Peer>,
}

/// Answers requests on `connection` until it ends.
pub(super) async fn serve(connection: Connection, shelf: Arc<dyn Shelf>) {
    let asker = *connection.remote_id().as_bytes();
    // The transport bounds how many streams the other side may have open.
    while let Ok((send, receive)) = connection.accept_bi().await {
        let shelf = Arc::clone(&shelf);
        tokio::spawn(async move {
            // Whoever asks wrongly or stops listening gets nothing; the stream's end says so.
            timeout(PATIENCE * 4, answer(send, receive, &*shelf, &asker))
                .await
                .ok();
        });
    }
}

async fn answer(
    mut send: SendStream,
    mut receive: RecvStream,
    shelf: &dyn Shelf,
    asker: &[u8; 32],
) -> Option<()> {
    let request = timeout(PATIENCE, receive.read_to_end(ASK_BYTES_MAX)).await;
    let ask: Ask = postcard::from_bytes(&request.ok()?.ok()?).ok()?;
    let payload = shelf
        .payload(&ask.digest)
        .filter(|_| ask.version == WIRE_VERSION);
    let Some(payload) = payload else {
        send.write_all(&[ABSENT]).await.ok()?;
        return send.finish().ok();
    };
    match ask.piece {
        Some(index) => {
            let start = usize::try_from(index.checked_mul(PIECE as u64)?).ok()?;
            let piece = payload.get(start..payload.len().min(start + PIECE))?;
            send.write_all(&[HERE]).await.ok()?;
            send.write_all(piece).await.ok()?;
        }
        None => {
            let head = Head {
                manifest: Manifest::of(&payload),
                holders: shelf.holders(&ask.digest, asker),
            };
            let bytes = postcard::to_stdvec(&head).ok()?;
            let mut front = vec![HERE];
            front.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            front.extend_from_slice(&bytes);
            send.write_all(&front).await.ok()?;
            // A payload of one piece needs no second question.
            if head.manifest.pieces() == 1 {
                send.write_all(&payload).await.ok()?;
            }
        }
    }
    send.finish().ok()
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// By a connection that is open.
    Open(Connection),
    /// By one to be made or found among those kept.
    At(Peer),
}

/// Fetches payloads; one for a process.
#[derive(Debug)]
pub(super) struct Fetcher {
    endpoint: Endpoint,
    pool: Mutex<HashMap<[u8; 32], Connection>>,
    from_peers: AtomicU64,
    from_coordinator: AtomicU64,
}

impl Fetcher {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            pool: Mutex::default(),
            from_peers: AtomicU64::new(0),
            from_coordinator: AtomicU64::new(0),
        }
    }

    /// Pieces that came from other nodes and from the coordinator so far.
    pub(super) fn pieces(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.from_peers), read(&self.from_coordinator))
    }

    async fn open(&self, source: &Source) -> Result<Connection, PeerError> {
        let peer = match source {
            Source::Open(connection) => return Ok(connection.clone()),
            Source::At(peer) => peer,
        };
        let kept = lock(&self.pool).get(&peer.key).cloned();
        if let Some(connection) = kept.filter(|kept| kept.close_reason().is_none()) {
            return Ok(connection);
        }
        let address = peer.address().ok_or(PeerError::Unreadable)?;
        let connecting = self.endpoint.connect(address, PIECES_ALPN);
        let connection = timeout(CONNECT, connecting)
            .await
            .map_err(|_| PeerError::Stalled("a connection"))?
            .map_err(|error| PeerError::Gone(error.to_string()))?;
        let mut pool = lock(&self.pool);
        if pool.len() >= POOL_MAX {
            pool.retain(|_, kept| kept.close_reason().is_none());
        }
        if pool.len() < POOL_MAX {
            pool.insert(peer.key, connection.clone());
        }
        Ok(connection)
    }

    /// Fetches `digest`, at most `most` bytes long, from `sources` and those
    /// that the `coordinator` names, else from it.
    ///
    /// # Errors
    /// [`PeerError::Missing`] when nobody has it; else what the last one did wrong.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        digest: Digest,
        most: u64,
        sources: Vec<Source>,
        coordinator: Option<Connection>,
    ) -> Result<Vec<u8>, PeerError> {
        let mut trouble = PeerError::Missing(digest);
        let mut open = Vec::new();
        for source in sources.iter().take(SOURCES_MAX) {
            match self.open(source).await {
                Ok(connection) => open.push(connection),
                Err(error) => trouble = error,
            }
        }
        let mut head = None;
        for connection in open.iter().chain(&coordinator) {
            match ask_head(connection, digest, most).await {
                Ok((found, Some(whole))) => {
                    self.note(connection, coordinator.as_ref());
                    drop(found);
                    return Ok(whole);
                }
                Ok(found) => {
                    head = Some(found.0);
                    break;
                }
                Err(error) => trouble = error,
            }
        }
        let Some(head) = head else {
            return Err(trouble);
        };
        for holder in head.holders.iter().take(SOURCES_MAX) {
            let known = |open: &Connection| *open.remote_id().as_bytes() == holder.key;
            if !open.iter().any(known)
                && let Ok(connection) = self.open(&Source::At(holder.clone())).await
            {
                open.push(connection);
            }
        }
        let work = Arc::new(Work::new(digest, head.manifest));
        self.pull(&work, open, false).await;
        self.pull(&work, coordinator.into_iter().collect(), true)
            .await;
        work.whole().map_err(|error| error.unwrap_or(trouble))
    }

    fn note(&self, connection: &Connection, coordinator: Option<&Connection>) {
        let by_coordinator =
            coordinator.is_some_and(|known| known.stable_id() == connection.stable_id());
        let counter = if by_coordinator {
            &self.from_coordinator
        } else {
            &self.from_peers
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets every source take pieces until none is left or it fails.
    async fn pull(self: &Arc<Self>, work: &Arc<Work>, sources: Vec<Connection>, central: bool) {
        let mut workers = JoinSet::new();
        for connection in sources {
            for _ in 0..AT_ONCE {
                let (this, work) = (Arc::clone(self), Arc::clone(work));
                let connection = connection.clone();
                workers.spawn(async move {
                    while let Some(index) = work.take() {
                        match ask_piece(&connection, &work, index).await {
                            Ok(piece) => {
                                let coordinator = central.then_some(&connection);
                                this.note(&connection, coordinator);
                                work.give(index, piece);
                            }
                            Err(error) => return work.put_back(index, error),
                        }
                    }
                });
            }
        }
        while workers.join_next().await.is_some() {}
    }
}

/// A payload under way.
#[derive(Debug)]
struct Work {
    digest: Digest,
    manifest: Manifest,
    state: Mutex<WorkState>,
}

#[derive(Debug, Default)]
struct WorkState {
    todo: VecDeque<u64>,
    pieces: HashMap<u64, Vec<u8>>,
    trouble: Option<PeerError>,
}

impl Work {
    fn new(digest: Digest, manifest: Manifest) -> Self {
        let state = WorkState {
            todo: (0..manifest.pieces()).collect(),
            ..WorkState::default()
        };
        Self {
            digest,
            manifest,
            state: Mutex::new(state),
        }
    }

    fn take(&self) -> Option<u64> {
        lock(&self.state).todo.pop_front()
    }

    fn give(&self, index: u64, piece: Vec<u8>) {
        lock(&self.state).pieces.insert(index, piece);
    }

    fn put_back(&self, index: u64, error: PeerError) {
        let mut state = lock(&self.state);
        state.todo.push_front(index);
        state.trouble = Some(error);
    }

    fn whole(&self) -> Result<Vec<u8>, Option<PeerError>> {
        let mut state = lock(&self.state);
        if state.pieces.len() as u64 != self.manifest.pieces() {
            return Err(state.trouble.take());
        }
        let mut whole = Vec::with_capacity(self.manifest.length as usize);
        for index in 0..self.manifest.pieces() {
            if let Some(piece) = state.pieces.remove(&index) {
                whole.extend_from_slice(&piece);
            }
        }
        Ok(whole)
    }
}

/// Asks and gives the stream behind the answer's first byte.
async fn ask(
    connection: &Connection,
    digest: Digest,
    piece: Option<u64>,
) -> Result<RecvStream, PeerError> {
    let gone = |error: String| PeerError::Gone(error);
    let (mut send, mut receive) = connection
        .open_bi()
        .await
        .map_err(|error| gone(error.to_string()))?;
    let request = Ask {
        version: WIRE_VERSION,
        digest,
        piece,
    };
    let bytes = postcard::to_stdvec(&request).map_err(|_| PeerError::Unreadable)?;
    send.write_all(&bytes)
        .await
        .map_err(|error| gone(error.to_string()))?;
    send.finish().map_err(|error| gone(error.to_string()))?;
    let mut first = [0];
    receive
        .read_exact(&mut first)
        .await
        .map_err(|error| gone(error.to_string()))?;
    match first[0] {
        HERE => Ok(receive),
        ABSENT => Err(PeerError::Missing(digest)),
        _ => Err(PeerError::Unreadable),
    }
}

/// The manifest, with the payload itself where that is one piece.
async fn ask_head(
    connection: &Connection,
    digest: Digest,
    most: u64,
) -> Result<(Head, Option<Vec<u8>>), PeerError> {
    let reading = async {
        let mut receive = ask(connection, digest, None).await?;
        let mut length = [0; 4];
        read_exact(&mut receive, &mut length).await?;
        let length = u64::from(u32::from_le_bytes(length));
        if length > HEAD_BYTES_MAX {
            return Err(PeerError::TooLong(length));
        }
        let mut bytes = vec![0; length as usize];
        read_exact(&mut receive, &mut bytes).await?;
        let head: Head = postcard::from_bytes(&bytes).map_err(|_| PeerError::Unreadable)?;
        let wrong = |problem| PeerError::Payload { digest, problem };
        head.manifest.check(&digest, most).map_err(wrong)?;
        if head.manifest.pieces() > 1 {
            return Ok((head, None));
        }
        let whole = read_piece(&mut receive, &head.manifest, digest, 0).await?;
        Ok((head, Some(whole)))
    };
    timeout(PATIENCE, reading)
        .await
        .unwrap_or(Err(PeerError::Stalled("a manifest")))
}

async fn ask_piece(connection: &Connection, work: &Work, index: u64) -> Result<Vec<u8>, PeerError> {
    let reading = async {
        let mut receive = ask(connection, work.digest, Some(index)).await?;
        read_piece(&mut receive, &work.manifest, work.digest, index).await
    };
    timeout(PATIENCE, reading)
        .await
        .unwrap_or(Err(PeerError::Stalled("a piece")))
}

async fn read_piece(
    receive: &mut RecvStream,
    manifest: &Manifest,
    digest: Digest,
    index: u64,
) -> Result<Vec<u8>, PeerError> {
    let bytes = receive
        .read_to_end(manifest.piece_bytes(index))
        .await
        .map_err(|error| PeerError::Gone(error.to_string()))?;
    let wrong = |problem| PeerError::Payload { digest, problem };
    manifest
        .check_piece(&digest, index, &bytes)
        .map_err(wrong)?;
    Ok(bytes)
}

async fn read_exact(receive: &mut RecvStream, buffer: &mut [u8]) -> Result<(), PeerError> {
    receive
        .read_exact(buffer)
        .await
        .map_err(|error| PeerError::Gone(error.to_string()))
}
