//! Ed25519 signatures: those of notes (checkpoints) and of DSSE envelopes (decisions).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;

use crate::hashes;
use crate::merkle::{Hash, sha256};
use crate::record::SigningKey;

/// Payload type of a decision, part of what is signed.
pub(crate) const DECISION: &str = "application/vnd.plumbline.allocation+json";
/// Payload type of a statement that vouches for a key.
pub(crate) const KEY: &str = "application/vnd.plumbline.key+json";
/// What key identifiers are derived under.
const KEY_ID: &str = "plumbline 2026 ed25519 key identifier";

/// A key as far as it can be used.
pub(crate) struct Key<'a> {
    /// Its row.
    pub(crate) row: &'a SigningKey,
    bytes: [u8; 32],
    key: VerifyingKey,
}

impl<'a> Key<'a> {
    /// The key of a row; `None` where it is no key, or has another name.
    pub(crate) fn of(row: &'a SigningKey) -> Option<Self> {
        let bytes = hashes::parse(&row.public_key)?;
        let name = blake3::Hash::from(blake3::derive_key(KEY_ID, &bytes)).to_hex();
        let key = VerifyingKey::from_bytes(&bytes).ok()?;
        (name.as_str()[..32] == row.key_id).then_some(Self { row, bytes, key })
    }

    /// Whether it may sign at that time.
    pub(crate) fn counts(&self, at: i64) -> bool {
        self.row.not_before <= at && self.row.not_after.is_none_or(|end| at < end)
    }

    /// Whether it is the service's own.
    pub(crate) fn is_own(&self) -> bool {
        self.row.owner_id.is_none()
    }

    fn signed(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }

    /// The key as base64.
    pub(crate) fn base64(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    /// Whether it signed a payload of this type, given the signature as base64.
    pub(crate) fn signed_envelope(&self, kind: &str, payload: &[u8], signature: &str) -> bool {
        let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
        let text = [head.as_bytes(), payload].concat();
        STANDARD
            .decode(signature)
            .is_ok_and(|bytes| self.signed(&text, &bytes))
    }

    /// Whether it signed a note, given its text and one of its signature lines.
    pub(crate) fn signed_note(&self, origin: &str, text: &str, line: &str) -> bool {
        let Some((name, base64)) = line
            .strip_prefix("— ")
            .and_then(|line| line.rsplit_once(' '))
        else {
            return false;
        };
        let Ok(bytes) = STANDARD.decode(base64) else {
            return false;
        };
        let named = sha256(&[origin.as_bytes(), b"\n\x01", &self.bytes].concat());
        name == origin
            && bytes.len() == 68
            && bytes[..4] == named[..4]
            && self.signed(text.as_bytes(), &bytes[4..])
    }
}

/// A payload, and its signatures with the names of their keys.
type Signed = (Vec<u8>, Vec<(String, String)>);

/// A note taken apart.
pub(crate) struct Note<'a> {
    /// Which log.
    pub(crate) origin: &'a str,
    /// Number of entries.
    pub(crate) size: u64,
    /// Root over them.
    pub(crate) root: Hash,
    /// What is signed.
    pub(crate) text: &'a str,
    /// Signature lines.
    pub(crate) lines: Vec<&'a str>,
}

/// Takes a note apart; `None` for what is none.
pub(crate) fn note(note: &str) -> Option<Note<'_>> {
    let (text, signatures) = note.split_once("\n\n")?;
    let mut lines = text.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let size: u64 = size.parse().ok().filter(|n: &u64| n.to_string() == size)?;
    let root = STANDARD.decode(root).ok()?.try_into().ok()?;
    lines.next().is_none().then(|| Note {
        origin,
        size,
        root,
        // With the end of its last line.
        text: &note[..text.len() + 1],
        lines: signatures.lines().collect(),
    })
}

/// The signed bytes and the signatures, with the names of their keys, of a DSSE envelope of this type; `None` for
/// anything else.
pub(crate) fn envelope(text: &str, kind: &str) -> Option<Signed> {
    let value: Value = serde_json::from_str(text).ok()?;
    let payload = STANDARD.decode(value["payload"].as_str()?).ok()?;
    let signatures = value["signatures"].as_array()?;
    let signatures = signatures
        .iter()
        .map(|one| {
            Some((
                one["keyid"].as_str()?.to_owned(),
                one["sig"].as_str()?.to_owned(),
            ))
        })
        .collect::<Option<_>>()?;
    (value["payloadType"] == kind).then_some((payload, signatures))
}
