//! The keys that verify decisions and checkpoints, and the time in which each may sign.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plumbline_governance::dsse::{DecisionSigner, Envelope, EnvelopeSignature, is_signed_with};
use plumbline_governance::keys::KeyStatement;
use plumbline_store::keys::{self, SigningKey};
use plumbline_store::{Tx, accounts, control};
use serde_json::json;

use crate::events::publish;
use crate::policy::EPOCH;
use crate::time::{Millis, rfc3339};
use crate::views::KeyView;
use crate::{Result, Service, ServiceConfig, ServiceError};

/// Topic of everything about keys.
const TOPIC: &str = "keys";

/// What was written when one signing key took the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// DSSE envelope in which the old key vouches for the new one, JSON; see
    /// [`plumbline_governance::keys::KeyStatement`].
    pub statement: String,
    /// For how long the old key counts from the first start with the new one, milliseconds: so long
    /// consumers that were away can still learn of the new one.
    pub overlap_ms: Millis,
}

/// A key with which this process signs.
pub(crate) struct OwnKey {
    /// Its name.
    pub(crate) key_id: String,
    public_key: [u8; 32],
    change: Option<KeyChange>,
}

impl OwnKey {
    /// The change that brought it, if that is about this key and signed with the one before it.
    fn change_from(&self, old: &SigningKey) -> Option<&KeyChange> {
        self.change.as_ref().filter(|change| {
            let Ok(envelope) = serde_json::from_str::<Envelope>(&change.statement) else {
                return false;
            };
            let about_this = envelope.unverified_payload().is_ok_and(|payload| {
                serde_json::from_slice::<KeyStatement>(&payload)
                    .is_ok_and(|said| said.public_key == STANDARD.encode(self.public_key))
            });
            let by_old = unhex(&old.public_key).is_some_and(|key| {
                let good = |one: &EnvelopeSignature| is_signed_with(&envelope, &key, &one.sig);
                envelope.signatures.iter().any(good)
            });
            about_this && by_old
        })
    }
}

/// What has to be known of the process's own key.
pub(crate) fn own(signer: &DecisionSigner, config: &ServiceConfig) -> OwnKey {
    OwnKey {
        key_id: signer.key_id().to_owned(),
        public_key: signer.public_bytes(),
        change: config.key_change.clone(),
    }
}

/// 32 bytes as hexadecimal.
pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from(*bytes).to_hex().to_string()
}

/// Exactly `N` bytes from hexadecimal.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The epoch of decisions that are issued now.
pub(crate) fn epoch(tx: &mut Tx) -> Result<i64> {
    let stored = control::get(tx, EPOCH)?;
    Ok(stored.and_then(|text| text.parse().ok()).unwrap_or(1))
}

/// Registers the process's own key. Where another one signed until now, a new epoch begins, so that what that
/// one signs is older than everything, and its time ends: after the overlap if it vouched for the new
/// one, at once if it did not.
pub(crate) fn ensure_own(tx: &mut Tx, key: &OwnKey, now: Millis) -> Result<()> {
    let before = keys::active_of_service(tx)?;
    if before.iter().any(|row| row.key_id == key.key_id) && before.len() == 1 {
        return Ok(());
    }
    let mut epoch = epoch(tx)?;
    let mut statement = None;
    for old in before.iter().filter(|row| row.key_id != key.key_id) {
        let change = key.change_from(old);
        let overlap = change.map_or(0, |change| change.overlap_ms.max(0));
        end(tx, old, now.saturating_add(overlap), now)?;
        statement = change.map(|change| change.statement.clone()).or(statement);
        epoch += 1;
        control::put(tx, EPOCH, &epoch.to_string(), now)?;
    }
    if before.iter().any(|row| row.key_id == key.key_id) {
        return Ok(());
    }
    let since = control::get(tx, &format!("signing-key:{}", key.key_id))?;
    let row = SigningKey {
        key_id: key.key_id.clone(),
        public_key: hex(&key.public_key),
        owner_id: None,
        epoch,
        // Versions before this one noted only when the key was first used.
        not_before: since.and_then(|text| text.parse().ok()).unwrap_or(now),
        not_after: None,
        statement,
    };
    add(tx, &row, now)
}

/// Adds a key, and tells.
pub(crate) fn add(tx: &mut Tx, row: &SigningKey, now: Millis) -> Result<()> {
    keys::insert(tx, row)?;
    let told = json!({
        "key_id": row.key_id,
        "public_key": row.public_key,
        "owner_id": row.owner_id,
        "epoch": row.epoch,
        "not_before": row.not_before,
    });
    publish(tx, now, TOPIC, "key-added", &told)
}

/// Ends a key at `at`, and tells.
pub(crate) fn end(tx: &mut Tx, row: &SigningKey, at: Millis, now: Millis) -> Result<()> {
    let at = at.max(row.not_before);
    keys::end(tx, &row.key_id, at)?;
    let told = json!({"key_id": row.key_id, "not_after": at});
    publish(tx, now, TOPIC, "key-ended", &told)
}

impl Service {
    /// Every key that signed or signs decisions, oldest first, with the time in which it may.
    pub fn keys(&self) -> Result<Vec<KeyView>> {
        self.read(|tx| {
            keys::list(tx)?
                .into_iter()
                .map(|row| key_view(tx, row))
                .collect()
        })
    }
}

pub(crate) fn key_view(tx: &mut Tx, row: SigningKey) -> Result<KeyView> {
    let public_key = unhex::<32>(&row.public_key)
        .ok_or_else(|| ServiceError::internal(format!("key {} is no key", row.key_id)))?;
    let owner = match &row.owner_id {
        Some(id) => Some(accounts::get(tx, id)?.handle),
        None => None,
    };
    Ok(KeyView {
        key_id: row.key_id,
        algorithm: "ed25519".to_owned(),
        public_key: STANDARD.encode(public_key),
        not_before: rfc3339(row.not_before),
        not_after: row.not_after.map(rfc3339),
        owner,
        epoch: row.epoch,
        statement: row
            .statement
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(ServiceError::internal)?,
    })
}
