//! What nodes and the coordinator say to each other: small, bounded,
//! versioned values without pointers. Anything large travels as a
//! content-addressed payload and is only named here.

use std::collections::BTreeMap;

use plumbline_training_core::assignment::Assignment;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::round::NodeId;
use serde::{Deserialize, Serialize};

use crate::transport::TransportError;

/// Version of the message format; another version is refused, not guessed at.
pub const WIRE_VERSION: u16 = 3;

/// Longest text that a message may carry, in bytes.
pub const REASON_BYTES_MAX: usize = 512;

/// A message with its sender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`WIRE_VERSION`] of the sender.
    pub version: u16,
    /// Who says it.
    pub from: NodeId,
    /// What it says.
    pub message: Message,
}

/// A round as it is announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundAnnouncement {
    /// Its number.
    pub round: u64,
    /// Hash of the start parameters' payload.
    pub parameters: Digest,
    /// Who trains on what.
    pub assignments: Vec<Assignment>,
    /// Tokens that the run had counted before it.
    pub tokens: u64,
    /// State that each node begins from; those not named begin afresh.
    pub bases: BTreeMap<NodeId, Digest>,
    /// Whether nodes shall show their state with their contribution.
    pub save_state: bool,
    /// How the parameters follow from those before, where that is less to send.
    pub recipe: Option<Recipe>,
}

/// An outer step that whoever has the parameters before can take himself. The
/// announced hash says whether he took it rightly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Hash of the parameters before.
    pub from: Digest,
    /// Tokens that the run had counted before the step.
    pub tokens: u64,
    /// Who was counted, with the payload and its weight, in the order of the step.
    pub contributions: Vec<(NodeId, Digest, u64)>,
}

/// How a node's local steps in a round went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// Inner steps taken.
    pub steps: u64,
    /// Tokens predicted.
    pub tokens: u64,
    /// Mean loss over the steps, nats per token.
    pub loss: f64,
    /// Loss of the first step, before its update.
    pub loss_first: f64,
    /// CPU time used, µs; on a GPU the time of its steps.
    pub cpu_us: u64,
    /// Bytes of the contribution.
    pub bytes: u64,
}

/// Everything that can be said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Node: I am here and want to take part.
    Hello {
        /// States that it can go on from, where it keeps them itself.
        holds: Vec<Digest>,
        /// Sequences that it trains in 1,000 seconds by its own measure; 0 for unknown.
        speed: u64,
    },
    /// Node: one more inner step is done.
    Progress {
        /// Round it belongs to.
        round: u64,
        /// Steps done in the round.
        step: u64,
        /// Tokens of this step.
        tokens: u64,
        /// Its loss, nats per token.
        loss: f64,
    },
    /// Node: I promise the contribution with this hash.
    Commit {
        /// Round it started from.
        round: u64,
        /// Hash of the contribution; see [`commitment`].
        ///
        /// [`commitment`]: plumbline_training_core::local::commitment
        digest: Digest,
        /// Tokens it stands for.
        tokens: u64,
    },
    /// Node: the payload can be fetched now.
    Reveal {
        /// Round it was committed in.
        round: u64,
        /// Hash of the payload.
        payload: Digest,
        /// How the round went.
        report: RoundReport,
        /// Payload with the node's state after it, when it was asked for.
        state: Option<Digest>,
    },
    /// Node: I leave.
    Bye {
        /// What went wrong, if something did.
        failure: Option<String>,
    },
    /// The channel itself: this node cannot be reached any more. Only the
    /// coordinator's own process may say so, under the node's name.
    Lost {
        /// What happened to the connection.
        reason: String,
    },
    /// Coordinator: you are a member.
    Welcome {
        /// Who.
        node: NodeId,
    },
    /// Coordinator: this node is removed for good.
    Banned {
        /// Who.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Coordinator: a round is open.
    Open(RoundAnnouncement),
    /// Coordinator: committing is over, show your payloads.
    RequestReveals {
        /// The round.
        round: u64,
        /// Who has committed.
        nodes: Vec<NodeId>,
    },
    /// Coordinator: each node may use this much of one core, in basis points.
    Rate {
        /// `0..=10000`; 0 pauses.
        bps: u32,
        /// The same for nodes on machines of their own, which share no cores with others.
        outside_bps: u32,
    },
    /// Coordinator: the run is over.
    Stop,
}

impl Message {
    /// The greeting of a node that holds nothing and knows nothing of itself.
    pub const fn hello() -> Self {
        Self::Hello {
            holds: Vec::new(),
            speed: 0,
        }
    }
}

impl Envelope {
    /// A message in this version.
    pub fn new(from: NodeId, message: Message) -> Self {
        Self {
            version: WIRE_VERSION,
            from,
            message,
        }
    }

    /// The bytes on the wire.
    ///
    /// # Errors
    /// [`TransportError::TooLarge`] above `limit` bytes.
    pub fn encode(&self, limit: usize) -> Result<Vec<u8>, TransportError> {
        let bytes = postcard::to_stdvec(self).map_err(|e| TransportError::Codec(e.to_string()))?;
        if bytes.len() > limit {
            return Err(TransportError::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        Ok(bytes)
    }

    /// Parses what [`Envelope::encode`] gave.
    ///
    /// # Errors
    /// [`TransportError::Codec`] for rubbish, [`TransportError::Version`] for another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, TransportError> {
        // The version comes first on the wire and is read alone, because the
        // rest of another version may not parse.
        let (version, _) = postcard::take_from_bytes::<u16>(bytes)
            .map_err(|e| TransportError::Codec(e.to_string()))?;
        if version != WIRE_VERSION {
            return Err(TransportError::Version(version));
        }
        postcard::from_bytes(bytes).map_err(|e| TransportError::Codec(e.to_string()))
    }
}

/// Cuts a reason to [`REASON_BYTES_MAX`] at a character boundary.
pub(crate) fn bounded_reason(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn envelope(message: Message) -> Envelope {
        Envelope {
            version: WIRE_VERSION,
            from: NodeId::new("node-1").unwrap(),
            message,
        }
    }

    #[test]
    fn messages_round_trip() {
        let node = NodeId::new("node-2").unwrap();
        let digest = Digest::of(b"x");
        for message in [
            Message::hello(),
            Message::Commit {
                round: 3,
                digest,
                tokens: 9,
            },
            Message::Reveal {
                round: 3,
                payload: digest,
                report: RoundReport::default(),
                state: Some(digest),
            },
            Message::Welcome { node: node.clone() },
            Message::Banned {
                node: node.clone(),
                reason: "recomputed".into(),
            },
            Message::Open(RoundAnnouncement {
                round: 1,
                parameters: digest,
                assignments: vec![Assignment {
                    node,
                    start: 5,
                    count: 6,
                }],
                tokens: 7,
                bases: BTreeMap::new(),
                save_state: true,
                recipe: Some(Recipe {
                    from: digest,
                    tokens: 7,
                    contributions: vec![(NodeId::new("node-3").unwrap(), digest, 8)],
                }),
            }),
        ] {
            let sent = envelope(message);
            assert_eq!(
                Envelope::decode(&sent.encode(1_000).unwrap()).unwrap(),
                sent
            );
        }
    }

    #[test]
    fn other_versions_rubbish_and_long_messages_are_refused() {
        let mut other = envelope(Message::hello());
        other.version = 4;
        let bytes = other.encode(100).unwrap();
        assert!(matches!(
            Envelope::decode(&bytes),
            Err(TransportError::Version(4))
        ));
        assert!(matches!(
            Envelope::decode(&[]),
            Err(TransportError::Codec(_))
        ));
        assert!(matches!(
            Envelope::decode(&[3, 1, b' ']),
            Err(TransportError::Codec(_))
        ));
        let failure = Some(bounded_reason(&"ä".repeat(1_000)));
        assert_eq!(failure.as_ref().map(String::len), Some(REASON_BYTES_MAX));
        let long = envelope(Message::Bye { failure });
        assert!(matches!(
            long.encode(100),
            Err(TransportError::TooLarge { limit: 100, .. })
        ));
    }
}
