//! Checkpoints: C2SP tlog-checkpoint in C2SP signed notes, with Ed25519 signatures.
//!
//! ```text
//! plumbline/<id>            origin: which log this is
//! 1234                      entries
//! <base64 of the root>
//!
//! — plumbline/<id> <base64 of key hash (4 bytes) ‖ signature (64 bytes)>
//! ```
//!
//! What is signed is the text up to and including the end of its third line. The key hash is the first four
//! bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::tree::Hash;

/// Most signatures that are looked at in one note.
pub const MAX_SIGNATURES: usize = 16;
/// Longest note that is read, bytes.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;
/// Kind of an Ed25519 signature in a note.
const ED25519: u8 = 1;

/// What a log says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// The hash that tells keys of one name apart.
    pub key_hash: [u8; 4],
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

/// A text is no note with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a checkpoint: {0}")]
pub struct NoteError(
    /// What is wrong with it.
    pub &'static str,
);

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let root = STANDARD.encode(self.root);
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// The note: the text, an empty line, one line for each signature.
    #[must_use]
    pub fn note(&self, signatures: &[NoteSignature]) -> String {
        let mut note = self.text() + "\n";
        for one in signatures.iter().take(MAX_SIGNATURES) {
            let bytes = [&one.key_hash[..], &one.signature[..]].concat();
            note += &format!("— {} {}\n", one.name, STANDARD.encode(bytes));
        }
        note
    }
}

/// What tells keys of one name apart in a note.
#[must_use]
pub fn key_hash(name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', ED25519]);
    hasher.update(public_key);
    let [a, b, c, d, ..]: Hash = hasher.finalize().into();
    [a, b, c, d]
}

/// Takes a note apart. Says nothing about whether its signatures are good.
///
/// # Errors
/// When it is too long, or is not written exactly as [`Checkpoint::note`] writes one.
pub fn parse(note: &str) -> Result<(Checkpoint, Vec<NoteSignature>), NoteError> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(NoteError("it is too long"));
    }
    let (text, signatures) = note.split_once("\n\n").ok_or(NoteError("no signatures"))?;
    let lines: Vec<&str> = text.split('\n').collect();
    let [origin, size, root] = lines[..] else {
        return Err(NoteError("its text does not have three lines"));
    };
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size: size
            .parse()
            .map_err(|_| NoteError("its size is no number"))?,
        root: bytes(root).ok_or(NoteError("its root is no base64 of 32 bytes"))?,
    };
    let signatures = signatures
        .strip_suffix('\n')
        .ok_or(NoteError("its last line has no end"))?
        .split('\n')
        .map(signature)
        .collect::<Option<Vec<_>>>()
        .ok_or(NoteError("a line is no signature"))?;
    // One spelling only, so that two texts of one checkpoint do not pass for two.
    if origin.is_empty() || checkpoint.note(&signatures) != note {
        return Err(NoteError(
            "it is spelled in another way, or has too many lines",
        ));
    }
    Ok((checkpoint, signatures))
}

fn signature(line: &str) -> Option<NoteSignature> {
    let (name, base64) = line.strip_prefix("— ")?.rsplit_once(' ')?;
    let all: [u8; 68] = bytes(base64)?;
    let (hash, signature) = all.split_at(4);
    Some(NoteSignature {
        name: name.to_owned(),
        key_hash: hash.try_into().ok()?,
        signature: signature.try_into().ok()?,
    })
}

fn bytes<const N: usize>(base64: &str) -> Option<[u8; N]> {
    STANDARD.decode(base64).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> (Checkpoint, Vec<NoteSignature>) {
        let checkpoint = Checkpoint {
            origin: "plumbline/ab".to_owned(),
            size: 12,
            root: [7; 32],
        };
        let signature = NoteSignature {
            name: "plumbline/ab".to_owned(),
            key_hash: key_hash("plumbline/ab", &[9; 32]),
            signature: [3; 64],
        };
        (checkpoint, vec![signature])
    }

    #[test]
    fn a_note_is_read_as_written() {
        let (checkpoint, signatures) = example();
        let note = checkpoint.note(&signatures);
        assert!(note.starts_with("plumbline/ab\n12\nBwcHBwcH"), "{note}");
        assert!(note.contains("=\n\n— plumbline/ab "), "{note}");
        assert_eq!(parse(&note).unwrap(), (checkpoint, signatures));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let (checkpoint, signatures) = example();
        let note = checkpoint.note(&signatures);
        for (from, to) in [
            ("\n12\n", "\n012\n"),
            ("\n12\n", "\n+12\n"),
            ("\n12\n", "\n-12\n"),
            ("\n12\n", "\n12\r\n"),
            ("\n\n—", "\n—"),
            ("— ", "- "),
            ("plumbline/ab\n", "\n"),
            ("=\n\n", "=\nmore\n\n"),
        ] {
            let odd = note.replacen(from, to, 1);
            assert!(odd != note && parse(&odd).is_err(), "{odd}");
        }
        assert!(parse(note.trim_end()).is_err());
        assert!(parse(&format!("{note}\n")).is_err());
        assert!(parse(&"x".repeat(MAX_NOTE_BYTES + 1)).is_err());
        let many = vec![signatures[0].clone(); MAX_SIGNATURES];
        let full = checkpoint.note(&many);
        assert_eq!(parse(&full).unwrap().1.len(), MAX_SIGNATURES);
        let line = note.lines().last().unwrap();
        assert!(parse(&format!("{full}{line}\n")).is_err());
    }
}
