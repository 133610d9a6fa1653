//! DSSE envelopes (Dead Simple Signing Envelope, protocol version 1) with
//! ed25519 signatures (RFC 8032).
//!
//! What is signed is the pre-authentication encoding of payload type and
//! payload, so that a signature over one kind of document can never be passed
//! off as one over another. Verification counts distinct keys, not
//! signatures, and rejects weak keys and malleable signatures.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Payload type of an allocation decision.
pub const ALLOCATION_PAYLOAD_TYPE: &str = "application/vnd.plumbline.allocation+json";
/// Largest payload accepted, bytes.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// Most signatures looked at in one envelope.
pub const MAX_SIGNATURES: usize = 16;

/// What every pre-authentication encoding begins with.
const PAE_PREFIX: &str = "DSSEv1 ";

const KEY_ID_CONTEXT: &str = "plumbline 2026 ed25519 key identifier";

/// Why an envelope was not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DsseError {
    /// Payload or signature is not base64.
    #[error("the {0} is not base64")]
    NotBase64(&'static str),
    /// The payload is of another type than the one asked for.
    #[error("the payload type is {found:?}, not {expected:?}")]
    WrongPayloadType {
        /// Type asked for.
        expected: String,
        /// Type in the envelope.
        found: String,
    },
    /// Payload above [`MAX_PAYLOAD_BYTES`] or more than [`MAX_SIGNATURES`].
    #[error("the envelope is too large")]
    TooLarge,
    /// Fewer distinct valid keys than the threshold.
    #[error("{valid} valid signature(s) by known keys, {threshold} needed")]
    TooFewSignatures {
        /// Distinct keys with a valid signature.
        valid: usize,
        /// How many were asked for.
        threshold: usize,
    },
    /// Too few signatures count, and one of those that do not is good but by a key whose time is over, or
    /// has not begun.
    #[error("it was signed with key {0}, which does not count at this time")]
    NotInForce(String),
    /// A threshold of zero would accept anything.
    #[error("a threshold of zero signatures verifies nothing")]
    ZeroThreshold,
    /// The payload could not be written or read as JSON.
    #[error("the payload is not the JSON expected: {0}")]
    Json(String),
}

/// A DSSE envelope in its JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Base64 (standard alphabet, padded) of the payload.
    pub payload: String,
    /// Media type of the payload; part of what is signed.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// Signatures over the pre-authentication encoding.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// Hint which key to try; not authenticated, may be empty.
    #[serde(default)]
    pub keyid: String,
    /// Base64 of the 64 signature bytes.
    pub sig: String,
}

/// A published key with the time in which it may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PublicKeyJson", into = "PublicKeyJson")]
pub struct PublicKeyRecord {
    /// The key, 32 bytes.
    pub public_key: [u8; 32],
    /// First instant at which it counts.
    pub not_before: Timestamp,
    /// First instant at which it no longer counts; none: no end.
    pub not_after: Option<Timestamp>,
}

/// JSON form of a key record: the key as base64, its identifier beside it. A service publishes more about
/// each, which is not for verifying.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PublicKeyJson {
    key_id: String,
    algorithm: String,
    public_key: String,
    not_before: Timestamp,
    #[serde(default)]
    not_after: Option<Timestamp>,
}

impl From<PublicKeyRecord> for PublicKeyJson {
    fn from(record: PublicKeyRecord) -> Self {
        Self {
            key_id: record.key_id(),
            algorithm: "ed25519".into(),
            public_key: STANDARD.encode(record.public_key),
            not_before: record.not_before,
            not_after: record.not_after,
        }
    }
}

impl TryFrom<PublicKeyJson> for PublicKeyRecord {
    type Error = String;

    fn try_from(json: PublicKeyJson) -> Result<Self, String> {
        if json.algorithm != "ed25519" {
            return Err(format!("unknown key algorithm {:?}", json.algorithm));
        }
        let bytes = STANDARD
            .decode(&json.public_key)
            .map_err(|_| "public_key is not base64".to_owned())?;
        let public_key = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| format!("public_key has {} bytes, not 32", bytes.len()))?;
        if json.key_id != key_id(&public_key) {
            return Err("key_id does not belong to public_key".into());
        }
        Ok(Self {
            public_key,
            not_before: json.not_before,
            not_after: json.not_after,
        })
    }
}

impl PublicKeyRecord {
    /// Identifier of the key; see [`key_id`].
    #[must_use]
    pub fn key_id(&self) -> String {
        key_id(&self.public_key)
    }

    /// Whether a signature by the key counts at `at`.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.not_before <= at && self.not_after.is_none_or(|end| at < end)
    }
}

/// First 16 bytes of BLAKE3 in key-derivation mode over the public key, in
/// hexadecimal. It only names a key; nothing is trusted because of it.
#[must_use]
pub fn key_id(public_key: &[u8; 32]) -> String {
    let digest = blake3::derive_key(KEY_ID_CONTEXT, public_key);
    blake3::Hash::from_bytes(digest).to_hex()[..32].to_owned()
}

/// A signing key. Its debug form shows the identifier only.
pub struct DecisionSigner {
    key: SigningKey,
    key_id: String,
}

impl std::fmt::Debug for DecisionSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DecisionSigner").field(&self.key_id).finish()
    }
}

impl DecisionSigner {
    /// The key of a 32-byte RFC 8032 seed, which the caller draws and keeps.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = key_id(key.verifying_key().as_bytes());
        Self { key, key_id }
    }

    /// Identifier of the key.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half, with the time in which it may sign.
    #[must_use]
    pub fn public_key(
        &self,
        not_before: Timestamp,
        not_after: Option<Timestamp>,
    ) -> PublicKeyRecord {
        PublicKeyRecord {
            public_key: self.key.verifying_key().to_bytes(),
            not_before,
            not_after,
        }
    }

    /// The public half as bytes.
    #[must_use]
    pub fn public_bytes(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs a text that is no envelope: a checkpoint of the transparency log. Its first line
    /// names the log, so that it is never the beginning of a pre-authentication encoding.
    ///
    /// # Errors
    /// [`DsseError::Json`] for a text that could be taken for one.
    pub fn sign_text(&self, text: &str) -> Result<[u8; 64], DsseError> {
        if text.starts_with(PAE_PREFIX) {
            return Err(DsseError::Json(
                "a text that begins as an envelope does".into(),
            ));
        }
        Ok(self.key.sign(text.as_bytes()).to_bytes())
    }

    fn sign(&self, message: &[u8]) -> EnvelopeSignature {
        EnvelopeSignature {
            keyid: self.key_id.clone(),
            sig: STANDARD.encode(self.key.sign(message).to_bytes()),
        }
    }
}

/// Pre-authentication encoding of DSSE v1:
/// `PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`,
/// with SP one space (0x20) and LEN the ASCII decimal number of bytes.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "{PAE_PREFIX}{} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    let mut encoded = head.into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

impl Envelope {
    /// Signs `payload` with every signer.
    #[must_use]
    pub fn sign(payload_type: &str, payload: &[u8], signers: &[&DecisionSigner]) -> Self {
        let message = pae(payload_type, payload);
        Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: signers.iter().map(|signer| signer.sign(&message)).collect(),
        }
    }

    /// Adds the signature of one more signer.
    ///
    /// # Errors
    /// When the payload is not base64.
    pub fn add_signature(&mut self, signer: &DecisionSigner) -> Result<(), DsseError> {
        let payload = decode("payload", &self.payload)?;
        let message = pae(&self.payload_type, &payload);
        self.signatures.push(signer.sign(&message));
        Ok(())
    }

    /// The payload without any check; for display only.
    ///
    /// # Errors
    /// When the payload is not base64.
    pub fn unverified_payload(&self) -> Result<Vec<u8>, DsseError> {
        decode("payload", &self.payload)
    }
}

/// A payload that enough known keys signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The payload bytes, exactly as signed.
    pub payload: Vec<u8>,
    /// Identifiers of the distinct keys whose signatures are valid.
    pub key_ids: Vec<String>,
}

/// Verifies an envelope: of the expected type, and signed by at least
/// `threshold` distinct keys out of `keys` that are valid at `at` (the time of
/// issue, or of reception where the issue time is not trusted).
///
/// # Errors
/// Says what is missing; nothing of the payload is returned then.
pub fn verify(
    envelope: &Envelope,
    expected_type: &str,
    keys: &[PublicKeyRecord],
    threshold: usize,
    at: Timestamp,
) -> Result<Verified, DsseError> {
    if threshold == 0 {
        return Err(DsseError::ZeroThreshold);
    }
    if envelope.payload_type != expected_type {
        return Err(DsseError::WrongPayloadType {
            expected: expected_type.to_owned(),
            found: envelope.payload_type.clone(),
        });
    }
    let too_long = envelope.payload.len() > MAX_PAYLOAD_BYTES.div_ceil(3) * 4;
    if too_long || envelope.signatures.len() > MAX_SIGNATURES {
        return Err(DsseError::TooLarge);
    }
    let payload = decode("payload", &envelope.payload)?;
    let message = pae(expected_type, &payload);
    let mut signed_by: Vec<[u8; 32]> = Vec::new();
    for signature in &envelope.signatures {
        let key = keys
            .iter()
            .filter(|key| key.valid_at(at) && !signed_by.contains(&key.public_key))
            .filter(|key| signature.keyid.is_empty() || signature.keyid == key.key_id())
            .find(|key| is_valid(&key.public_key, &message, &signature.sig));
        signed_by.extend(key.map(|key| key.public_key));
    }
    if signed_by.len() < threshold {
        let untimely = |key: &&PublicKeyRecord| {
            let by = |one: &EnvelopeSignature| is_valid(&key.public_key, &message, &one.sig);
            !key.valid_at(at) && envelope.signatures.iter().any(by)
        };
        if let Some(key) = keys.iter().find(untimely) {
            return Err(DsseError::NotInForce(key.key_id()));
        }
        return Err(DsseError::TooFewSignatures {
            valid: signed_by.len(),
            threshold,
        });
    }
    Ok(Verified {
        payload,
        key_ids: signed_by.iter().map(key_id).collect(),
    })
}

/// Whether `signature` (base64) is one over this envelope with the key.
#[must_use]
pub fn is_signed_with(envelope: &Envelope, public_key: &[u8; 32], signature: &str) -> bool {
    envelope.unverified_payload().is_ok_and(|payload| {
        is_valid(
            public_key,
            &pae(&envelope.payload_type, &payload),
            signature,
        )
    })
}

/// Whether a text that is no envelope was signed with this key; see [`DecisionSigner::sign_text`].
#[must_use]
pub fn verify_text(public_key: &[u8; 32], text: &str, signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(text.as_bytes(), &signature).is_ok())
}

/// `verify_strict` also refuses small-order keys and points, which plain
/// RFC 8032 verification lets through.
fn is_valid(public_key: &[u8; 32], message: &[u8], signature: &str) -> bool {
    let Ok(bytes) = decode("signature", signature) else {
        return false;
    };
    let Ok(signature) = Signature::from_slice(&bytes) else {
        return false;
    };
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// The specification lets a producer use either base64 alphabet.
fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, DsseError> {
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|_| DsseError::NotBase64(what))
}

#[cfg(test)]
mod tests;
