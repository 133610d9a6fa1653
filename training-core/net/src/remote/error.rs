//! What can be wrong with somebody on the network.

use std::net::SocketAddr;

use iroh::endpoint::VarInt;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::pieces::PieceError;

use crate::message::WIRE_VERSION;

/// Why a participant is refused, let go, or cannot be reached. The name goes
/// with a closed connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not a ticket.
    #[error("not a ticket: {0}")]
    Ticket(&'static str),
    /// A frame or request of another version.
    #[error("version {0} is not spoken here (only {WIRE_VERSION})")]
    Version(u16),
    /// A frame of another run, or of none that is here.
    #[error("it is about another run")]
    Run,
    /// A frame that came before, or out of its turn.
    #[error("frame {got} where {want} was due")]
    Replayed {
        /// Number that came.
        got: u64,
        /// Number that was due.
        want: u64,
    },
    /// The signature does not hold.
    #[error("the signature is not the sender's")]
    Signature,
    /// Rubbish, or cut off.
    #[error("it cannot be read")]
    Unreadable,
    /// Something longer than allowed.
    #[error("{0} bytes are more than allowed")]
    TooLong(u64),
    /// The ticket's secret is not known, or the key is not admitted.
    #[error("not admitted")]
    NotAdmitted,
    /// The run asks for a stake, and nobody holds one for this node any more or yet.
    #[error("this run asks for a stake; make one with `plumbline run stake`")]
    NoStake,
    /// Everything is taken.
    #[error("no more nodes can join")]
    Full,
    /// A message in another's name, or one that nodes do not send.
    #[error("it speaks out of turn: {0}")]
    Unexpected(&'static str),
    /// Nothing came for too long.
    #[error("nothing came for too long: {0}")]
    Stalled(&'static str),
    /// The connection ended.
    #[error("the connection ended: {0}")]
    Gone(String),
    /// A payload or piece is not what its hash says, or is too long.
    #[error("payload {digest}: {problem}")]
    Payload {
        /// The payload.
        digest: Digest,
        /// What is wrong.
        problem: PieceError,
    },
    /// Nobody who was asked has it.
    #[error("nobody has payload {0}")]
    Missing(Digest),
    /// Another connection of the same key took its place.
    #[error("another connection of this key took over")]
    Replaced,
    /// The coordinator cannot be reached at all.
    #[error(
        "cannot reach the coordinator {key} at {addresses:?}: {cause}; is it running, \
         and is that UDP port open to this machine?"
    )]
    Unreachable {
        /// Its public key.
        key: Digest,
        /// Where it was looked for.
        addresses: Vec<SocketAddr>,
        /// What happened.
        cause: String,
    },
    /// The run's coordinator refuses this node.
    #[error("the coordinator refuses this node: {0}")]
    Refused(String),
    /// The endpoint could not be opened.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        cause: String,
    },
    /// What the coordinator said of the run makes no sense.
    #[error("the run's description: {0}")]
    Job(String),
}

impl PeerError {
    /// A stable name, as it goes with a closed connection.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ticket(_) => "ticket",
            Self::Version(_) => "wrong-version",
            Self::Run => "wrong-run",
            Self::Replayed { .. } => "replayed",
            Self::Signature => "bad-signature",
            Self::Unreadable => "unreadable",
            Self::TooLong(_) => "too-long",
            Self::NotAdmitted => "not-admitted",
            Self::NoStake => "no-stake",
            Self::Full => "full",
            Self::Unexpected(_) => "unexpected",
            Self::Stalled(_) => "stalled",
            Self::Gone(_) => "gone",
            Self::Payload { .. } => "bad-payload",
            Self::Missing(_) => "missing-payload",
            Self::Replaced => "replaced",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused(_) => "refused",
            Self::Bind { .. } => "bind",
            Self::Job(_) => "job",
        }
    }

    /// What a connection is closed with: code 1 and `name: words`.
    pub(super) fn reason(&self) -> (VarInt, Vec<u8>) {
        let words = crate::message::bounded_reason(&format!("{}: {self}", self.name()));
        (VarInt::from_u32(1), words.into_bytes())
    }

    /// Whether trying again can help.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Job(_) | Self::Ticket(_) | Self::Replaced
        )
    }
}
