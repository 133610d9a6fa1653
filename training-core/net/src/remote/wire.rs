//! What travels between processes: tickets, signed frames, requests for pieces.
//!
//! Everything is postcard with a version in front, bounded before it is read.
//! A frame is signed by its sender over the run, the connection and its place
//! in the connection, so that none can be repeated, moved or made for another
//! run.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iroh::endpoint::Connection;
use iroh::{EndpointAddr, PublicKey, RelayUrl, SecretKey, Signature, TransportAddr};
use plumbline_training_core::digest::Digest;
use plumbline_training_core::round::NodeId;
use serde::{Deserialize, Serialize};

use super::error::PeerError;
use crate::message::WIRE_VERSION;

/// Protocol of announcements and promises.
pub(super) const CONTROL_ALPN: &[u8] = b"plumbline/training/control";
/// Protocol of payloads.
pub(super) const PIECES_ALPN: &[u8] = b"plumbline/training/pieces";

/// Longest body of a frame, bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest frame: its body, names and signature.
pub(super) const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + 256;
/// Most addresses of one participant.
pub(super) const ADDRESSES_MAX: usize = 8;
/// Longest ticket, characters.
const TICKET_CHARS_MAX: usize = 2_000;
const TICKET_PREFIX: &str = "plumbline-node-";
const TICKET_VERSION: u8 = 1;

/// What lets a node find a run and join it. Whoever has it may join, unless
/// the run admits certain keys only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    version: u8,
    /// The run's id.
    pub run: String,
    /// The coordinator's public key.
    pub coordinator: [u8; 32],
    /// Proves that the ticket is known.
    pub secret: [u8; 16],
    /// Where the coordinator listens.
    pub addresses: Vec<SocketAddr>,
    /// A relay that reaches it too.
    pub relay: Option<String>,
}

impl Ticket {
    pub(super) fn new(
        run: &str,
        coordinator: PublicKey,
        secret: [u8; 16],
        addresses: Vec<SocketAddr>,
        relay: Option<String>,
    ) -> Self {
        Self {
            version: TICKET_VERSION,
            run: run.to_owned(),
            coordinator: *coordinator.as_bytes(),
            secret,
            addresses,
            relay,
        }
    }

    /// The coordinator as iroh knows it.
    ///
    /// # Errors
    /// [`PeerError::Ticket`] when the key or the relay is none.
    pub(super) fn coordinator(&self) -> Result<EndpointAddr, PeerError> {
        let peer = Peer {
            key: self.coordinator,
            addresses: self.addresses.clone(),
            relay: self.relay.clone(),
        };
        peer.address()
            .ok_or(PeerError::Ticket("its key or its relay is none"))
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = postcard::to_stdvec(self).map_err(|_| fmt::Error)?;
        write!(out, "{TICKET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Ticket {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        let text = text.trim();
        let body = text
            .strip_prefix(TICKET_PREFIX)
            .filter(|body| body.len() <= TICKET_CHARS_MAX)
            .ok_or(PeerError::Ticket("it does not begin with plumbline-node-"))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| PeerError::Ticket("it is not base64"))?;
        if bytes.first() != Some(&TICKET_VERSION) {
            return Err(PeerError::Ticket("it is of another version"));
        }
        let ticket: Self =
            postcard::from_bytes(&bytes).map_err(|_| PeerError::Ticket("it is cut or changed"))?;
        if ticket.addresses.len() > ADDRESSES_MAX {
            return Err(PeerError::Ticket("it names too many addresses"));
        }
        Ok(ticket)
    }
}

/// A participant and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Public key.
    pub key: [u8; 32],
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// A relay that reaches it too.
    pub relay: Option<String>,
}

impl Peer {
    /// As iroh knows it; none where key or relay make no sense.
    pub(super) fn address(&self) -> Option<EndpointAddr> {
        let key = PublicKey::from_bytes(&self.key).ok()?;
        let ips = self.addresses.iter().take(ADDRESSES_MAX);
        let mut all: Vec<TransportAddr> = ips.map(|ip| TransportAddr::Ip(*ip)).collect();
        if let Some(relay) = &self.relay {
            all.push(TransportAddr::Relay(relay.parse::<RelayUrl>().ok()?));
        }
        Some(EndpointAddr::from_parts(key, all))
    }
}

/// The name of the node with this key.
pub(super) fn name_of(key: &[u8; 32]) -> Option<NodeId> {
    NodeId::new(Digest(*key).to_string()).ok()
}

/// The hash that stands for a run.
pub(super) fn run_name(run: &str) -> Digest {
    Digest::derive("plumbline 2026 training run name v1", &[run.as_bytes()])
}

/// What a node says to the coordinator's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Said {
    /// First of all.
    Greeting {
        /// See [`proof`].
        proof: Digest,
        /// Where others can reach the node.
        addresses: Vec<SocketAddr>,
    },
    /// A message of the run, an encoded [`Envelope`](crate::message::Envelope).
    Message(Vec<u8>),
    /// I have this payload whole and give it to others.
    Have(Digest),
}

/// What the coordinator's process says to a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Told {
    /// You are let in.
    Accepted {
        /// What the run is about: a [`Job`](super::Job) as JSON.
        job: String,
        /// The newest round's parameters, to be fetched before taking part.
        parameters: Option<Digest>,
    },
    /// A message of the run, an encoded [`Envelope`](crate::message::Envelope).
    Message(Vec<u8>),
    /// The other nodes.
    Peers(Vec<Peer>),
}

/// A body with what makes it one sender's, one run's, one connection's.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Frame {
    version: u16,
    run: Digest,
    sequence: u64,
    body: Vec<u8>,
    signature: (Digest, Digest),
}

fn signed(session: &Digest, run: &Digest, sequence: u64, body: &[u8]) -> Digest {
    Digest::derive(
        "plumbline 2026 training frame v1",
        &[&session.0, &run.0, &sequence.to_le_bytes(), body],
    )
}

/// What both ends of a connection know and nobody else.
pub(super) fn session_of(connection: &Connection, run: &Digest) -> Result<Digest, PeerError> {
    let mut session = [0; 32];
    connection
        .export_keying_material(&mut session, b"EXPORTER-plumbline-training", &run.0)
        .map_err(|_| PeerError::Stalled("the handshake"))?;
    Ok(Digest(session))
}

/// Shows that the ticket's secret is known, on this connection and for this key.
pub(super) fn proof(secret: &[u8; 16], session: &Digest, key: &[u8; 32]) -> Digest {
    Digest::derive(
        "plumbline 2026 training admission v1",
        &[secret, &session.0, key],
    )
}

/// Writes one side's frames of a connection.
#[derive(Debug)]
pub(super) struct Sealer {
    key: SecretKey,
    session: Digest,
    run: Digest,
    next: u64,
}

impl Sealer {
    /// For the holder of `key` on the connection `session`.
    pub(super) fn new(key: SecretKey, session: Digest, run: Digest) -> Self {
        Self {
            key,
            session,
            run,
            next: 0,
        }
    }

    /// The next frame, with its length in front.
    ///
    /// # Errors
    /// [`PeerError::TooLong`].
    pub(super) fn seal<T: Serialize>(&mut self, content: &T) -> Result<Vec<u8>, PeerError> {
        let body = postcard::to_stdvec(content).map_err(|_| PeerError::Unreadable)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(PeerError::TooLong(body.len() as u64));
        }
        let message = signed(&self.session, &self.run, self.next, &body);
        let signature = self.key.sign(&message.0).to_bytes();
        let (mut left, mut right) = ([0; 32], [0; 32]);
        left.copy_from_slice(&signature[..32]);
        right.copy_from_slice(&signature[32..]);
        let frame = Frame {
            version: WIRE_VERSION,
            run: self.run,
            sequence: self.next,
            body,
            signature: (Digest(left), Digest(right)),
        };
        self.next += 1;
        let bytes = postcard::to_stdvec(&frame).map_err(|_| PeerError::Unreadable)?;
        let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        Ok(framed)
    }
}

/// Reads the other side's frames of a connection.
#[derive(Debug)]
pub(super) struct Opener {
    key: PublicKey,
    session: Digest,
    run: Digest,
    next: u64,
}

impl Opener {
    /// For frames of the holder of `key` on the connection `session`.
    pub(super) fn new(key: PublicKey, session: Digest, run: Digest) -> Self {
        Self {
            key,
            session,
            run,
            next: 0,
        }
    }

    /// What a frame (without its length) says.
    ///
    /// # Errors
    /// [`PeerError::Version`], [`PeerError::Run`], [`PeerError::Replayed`],
    /// [`PeerError::Signature`], [`PeerError::Unreadable`].
    pub(super) fn open<T: for<'a> Deserialize<'a>>(
        &mut self,
        bytes: &[u8],
    ) -> Result<T, PeerError> {
        let frame = parse(bytes)?;
        if frame.run != self.run {
            return Err(PeerError::Run);
        }
        if frame.sequence != self.next {
            return Err(PeerError::Replayed {
                got: frame.sequence,
                want: self.next,
            });
        }
        let message = signed(&self.session, &self.run, frame.sequence, &frame.body);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&frame.signature.0.0);
        signature[32..].copy_from_slice(&frame.signature.1.0);
        self.key
            .verify(&message.0, &Signature::from_bytes(&signature))
            .map_err(|_| PeerError::Signature)?;
        self.next += 1;
        postcard::from_bytes(&frame.body).map_err(|_| PeerError::Unreadable)
    }
}

/// The version is read alone first, because another's rest may not parse.
fn parse(bytes: &[u8]) -> Result<Frame, PeerError> {
    let (version, _) =
        postcard::take_from_bytes::<u16>(bytes).map_err(|_| PeerError::Unreadable)?;
    if version != WIRE_VERSION {
        return Err(PeerError::Version(version));
    }
    postcard::from_bytes(bytes).map_err(|_| PeerError::Unreadable)
}

/// The run that a frame claims to be of.
pub(super) fn run_in(bytes: &[u8]) -> Result<Digest, PeerError> {
    parse(bytes).map(|frame| frame.run)
}

/// A request for a payload's manifest, or for one piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// [`WIRE_VERSION`].
    pub version: u16,
    /// The payload.
    pub digest: Digest,
    /// Which piece; none for the manifest.
    pub piece: Option<u64>,
}

/// Longest request, bytes.
pub(super) const ASK_BYTES_MAX: usize = 64;

/// Answer: what was asked for follows.
pub(super) const HERE: u8 = 0;
/// Answer: not here.
pub(super) const ABSENT: u8 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sides() -> (Sealer, Opener) {
        let key = SecretKey::from_bytes(&[7; 32]);
        let (session, run) = (Digest::of(b"session"), run_name("run"));
        let opener = Opener::new(key.public(), session, run);
        (Sealer::new(key, session, run), opener)
    }

    #[test]
    fn tickets_round_trip_and_rubbish_is_named() {
        let key = SecretKey::from_bytes(&[7; 32]).public();
        let addresses = vec!["127.0.0.1:4000".parse().unwrap()];
        let ticket = Ticket::new("job", key, [3; 16], addresses, None);
        let text = ticket.to_string();
        assert_eq!(text.parse::<Ticket>().unwrap(), ticket);
        assert!(ticket.coordinator().is_ok());
        for bad in [
            "",
            "job",
            "plumbline-node-!",
            "plumbline-node-AAAA",
            &text[..40],
        ] {
            assert!(
                matches!(bad.parse::<Ticket>(), Err(PeerError::Ticket(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn frames_are_one_senders_one_runs_and_come_once() {
        let (mut sealer, mut opener) = sides();
        let first = sealer.seal(&Said::Have(Digest::of(b"x"))).unwrap();
        let second = sealer.seal(&Said::Have(Digest::of(b"y"))).unwrap();
        let open = |opener: &mut Opener, framed: &[u8]| opener.open::<Said>(&framed[4..]);
        assert_eq!(open(&mut opener, &first), Ok(Said::Have(Digest::of(b"x"))));
        let again = open(&mut opener, &first);
        assert_eq!(again, Err(PeerError::Replayed { got: 0, want: 1 }));
        let mut changed = second.clone();
        let middle = changed.len() - 70;
        changed[middle] ^= 1;
        assert_eq!(open(&mut opener, &changed), Err(PeerError::Signature));
        assert!(open(&mut opener, &second).is_ok());
        let (mut other, _) = sides();
        other.run = run_name("other");
        assert_eq!(
            open(
                &mut opener,
                &other.seal(&Said::Have(Digest::of(b"x"))).unwrap()
            ),
            Err(PeerError::Run)
        );
        let (mut stranger, mut opener) = sides();
        stranger.session = Digest::of(b"another session");
        let frame = stranger.seal(&Said::Have(Digest::of(b"x"))).unwrap();
        assert_eq!(open(&mut opener, &frame), Err(PeerError::Signature));
        assert_eq!(opener.open::<Said>(&[9]), Err(PeerError::Version(9)));
        assert_eq!(opener.open::<Said>(&[]), Err(PeerError::Unreadable));
        let long = Said::Message(vec![0; BODY_BYTES_MAX]);
        assert!(matches!(stranger.seal(&long), Err(PeerError::TooLong(_))));
    }
}
