//! Nodes that are processes of their own, reached over QUIC (iroh).
//!
//! ```text
//! coordinator ── LocalHub ── threads of this process
//!                   │
//!                gateway ══ control (frames) ══ member ── node
//!                   ╚══════ pieces (payloads) ═══╝ ║
//!                                                  ╚═ pieces ═ other members
//! ```
//!
//! A [`Gateway`] stands in a run's [`LocalHub`](crate::transport::LocalHub) for
//! each node elsewhere: what the coordinator announces goes out as signed
//! frames, what the node says comes in under the name of its key, and what it
//! shows is fetched, checked and stored before the coordinator hears of it. So
//! neither coordinator nor round machine knows the difference, and nobody slow
//! holds them up. A [`Member`] is the other end: a
//! [`Transport`](crate::transport::Transport) for a node.
//!
//! Keys are identities. There is no relay and no discovery unless an address of
//! one is given; everything is bound to loopback unless told otherwise.

mod door;
mod error;
mod exchange;
mod gateway;
#[cfg(test)]
mod hostile;
mod member;
mod network;
mod peer;
mod shelf;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use iroh::endpoint::{Endpoint, IdleTimeout, QuicTransportConfig, VarInt, presets};
use iroh::{RelayMode, RelayUrl, SecretKey};
use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::digest::Digest;
use plumbline_training_core::local::InnerPlan;
use plumbline_training_model::{AdamW, ModelConfig};
use serde::{Deserialize, Serialize};

pub use door::Link;
pub use error::PeerError;
pub use gateway::Gateway;
pub use member::{Member, MemberOptions};
pub use network::Network;
pub use wire::{Peer, Ticket};
pub use worker::{Worker, WorkerError};

/// A connection without a sign of life for so long is dead.
const IDLE: Duration = Duration::from_secs(8);
/// Signs of life while nothing else is said.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Streams that the other side may have open at once.
const STREAMS: u32 = 32;
/// Bytes that may be under way on a stream and on a connection: what a link of
/// 100 Mb/s holds in a third of a second.
const WINDOW: u32 = 4 << 20;

/// Where and how a process can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// Address to bind; port 0 takes a free one.
    pub address: SocketAddr,
    /// A relay to be reached through as well.
    pub relay: Option<String>,
}

impl Default for ListenOptions {
    /// Loopback, a free port, no relay.
    fn default() -> Self {
        Self {
            address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
            relay: None,
        }
    }
}

/// What a node has to know of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The run's id.
    pub run: String,
    /// The name that people see.
    pub name: String,
    /// Shape of the model.
    pub model: ModelConfig,
    /// The inner optimiser.
    pub optimizer: AdamW,
    /// Seeds initial parameters and data order.
    pub seed: u64,
    /// What nodes do in a round.
    pub plan: InnerPlan,
    /// How contributions become one.
    pub aggregator: AggregatorSpec,
    /// The tokenised corpus, a payload.
    pub corpus: Digest,
    /// The tokenizer's JSON, a payload.
    pub tokenizer: Digest,
    /// Whether work is done again, so that it must be on the run's own data.
    pub verified: bool,
}

impl Job {
    /// Longest contribution or vector of parameters, bytes.
    pub fn payload_most(&self) -> u64 {
        let values = self.model.parameter_count() as u64;
        values.saturating_mul(4).saturating_add(1 << 12)
    }

    /// Longest state of a node, bytes: two moments, error feedback, and a bit.
    pub fn state_most(&self) -> u64 {
        self.payload_most().saturating_mul(4)
    }
}

/// Longest tokenizer and corpus, bytes.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;
const CORPUS_BYTES_MAX: u64 = 2 << 30;

/// The key in `path`, made when there is none.
///
/// # Errors
/// [`PeerError::Job`] naming the file when it cannot be read or written, or is
/// no key.
pub fn identity(path: &Path) -> Result<SecretKey, PeerError> {
    let wrong =
        |cause: &dyn std::fmt::Display| PeerError::Job(format!("{}: {cause}", path.display()));
    match std::fs::read(path) {
        Ok(bytes) => {
            let key: [u8; 32] = bytes
                .try_into()
                .map_err(|_| wrong(&"not a key of 32 bytes"))?;
            return Ok(SecretKey::from_bytes(&key));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(&error)),
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| wrong(&error))?;
    crate::vault::write_secret(path, &key).map_err(|error| wrong(&error))?;
    Ok(SecretKey::from_bytes(&key))
}

/// Opens a process's end of the network.
async fn open(
    key: SecretKey,
    options: &ListenOptions,
    protocols: &[&[u8]],
) -> Result<Endpoint, PeerError> {
    let failed = |cause: String| PeerError::Bind {
        address: options.address,
        cause,
    };
    let idle = IdleTimeout::try_from(IDLE).map_err(|error| failed(error.to_string()))?;
    let transport = QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(KEEP_ALIVE)
        .build();
    let relay = match &options.relay {
        None => RelayMode::Disabled,
        Some(url) => {
            let url: RelayUrl = url
                .parse()
                .map_err(|_| failed(format!("{url:?} is no relay's address")))?;
            RelayMode::custom([url])
        }
    };
    Endpoint::builder(presets::Minimal)
        .secret_key(key)
        .alpns(protocols.iter().map(|name| name.to_vec()).collect())
        .relay_mode(relay)
        .clear_ip_transports()
        .bind_addr(options.address)
        .map_err(|error| failed(error.to_string()))?
        .transport_config(transport)
        .bind()
        .await
        .map_err(|error| failed(error.to_string()))
}

/// Where `endpoint` can be reached, for others to be told.
fn addresses_of(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let address = endpoint.addr();
    address
        .ip_addrs()
        .copied()
        .take(wire::ADDRESSES_MAX)
        .collect()
}
