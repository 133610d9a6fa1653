//! What the HTTP API answers about the transparency log. Hashes are standard base64 of 32 bytes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A signed statement of how large the log is and what its root is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogCheckpointView {
    /// Which log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: String,
    /// C2SP signed note: origin, size and root, an empty line, one line for each signature.
    pub note: String,
    /// When it was kept; absent for one that was signed for this answer.
    pub kept_at: Option<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntryView {
    /// Its index, from 0.
    pub index: u64,
    /// The text whose bytes the leaf is the hash of: six lines, the last without an end.
    pub entry: String,
    /// SHA-256 of a zero byte and the text.
    pub leaf: String,
}

/// `GET /log/entries`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntriesView {
    /// Entries in the log.
    pub size: u64,
    /// Those asked for, in order.
    pub items: Vec<LogEntryView>,
}

/// That an entry is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogProofView {
    /// Index of the entry, from 0.
    pub index: u64,
    /// Size of the tree that the proof is for.
    pub size: u64,
    /// The entry's text.
    pub entry: String,
    /// Its hash.
    pub leaf: String,
    /// The siblings on the way to the root, nearest first.
    pub hashes: Vec<String>,
    /// The signed note of that tree.
    pub checkpoint: String,
}

/// That one tree is the beginning of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsistencyView {
    /// Size of the older tree.
    pub from: u64,
    /// Size of the newer one.
    pub to: u64,
    /// The proof of RFC 6962, section 2.1.2.
    pub hashes: Vec<String>,
    /// The signed note of the newer tree.
    pub checkpoint: String,
}
