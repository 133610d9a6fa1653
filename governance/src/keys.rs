//! Which keys a consumer trusts, and how that set changes: a new key is vouched for by keys that are
//! trusted already, an old one loses its time.
//!
//! A [`KeyStatement`] says that a key may sign for an audience from some time on. It is a DSSE envelope of type
//! [`KEY_PAYLOAD_TYPE`], signed by as many trusted keys as a loosening decision needs, or by all where there
//! are fewer: whoever has stolen one of several keys cannot bring in another one of their own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dsse::{DecisionSigner, DsseError, Envelope, PublicKeyRecord, verify};
use crate::policy::Signatures;

/// Payload type of a statement about a key.
pub const KEY_PAYLOAD_TYPE: &str = "application/vnd.plumbline.key+json";
/// Most keys that are looked at.
pub const MAX_KEYS: usize = 64;

/// That a key may sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyStatement {
    /// Whose decisions it may sign: the audience of those.
    pub audience: String,
    /// The key, 32 bytes as standard base64.
    pub public_key: String,
    /// From when on.
    pub not_before: Timestamp,
}

impl KeyStatement {
    /// A statement about a key.
    #[must_use]
    pub fn of(audience: &str, public_key: &[u8; 32], not_before: Timestamp) -> Self {
        Self {
            audience: audience.to_owned(),
            public_key: STANDARD.encode(public_key),
            not_before,
        }
    }

    /// Signs it.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn sign(&self, signers: &[&DecisionSigner]) -> Result<Envelope, DsseError> {
        let payload =
            serde_json::to_vec(self).map_err(|error| DsseError::Json(error.to_string()))?;
        Ok(Envelope::sign(KEY_PAYLOAD_TYPE, &payload, signers))
    }
}

/// A key as a service publishes it.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedKey {
    /// The key with its time.
    pub record: PublicKeyRecord,
    /// Who vouches for it; none for the first one.
    pub statement: Option<Envelope>,
}

/// What a guardian signs to show that a public key is theirs: the text names the pool and the account, so
/// that it serves nobody else.
#[must_use]
pub fn possession_text(audience: &str, account_id: &str, public_key: &[u8; 32]) -> String {
    format!(
        "plumbline key possession v1\n{audience}\n{account_id}\n{}\n",
        STANDARD.encode(public_key)
    )
}

/// The keys that are trusted after `published` was read: those that were, with their time cut where the
/// service says so, and those that trusted keys vouch for at `now`. Nothing published can lengthen
/// the time of a key that is trusted already, or make a key begin earlier than its statement says.
#[must_use]
pub fn trusted(
    known: &[PublicKeyRecord],
    published: &[PublishedKey],
    signatures: &Signatures,
    audience: &str,
    now: Timestamp,
) -> Vec<PublicKeyRecord> {
    let mut trusted: Vec<PublicKeyRecord> = known.iter().map(|key| cut(key, published)).collect();
    loop {
        let next = published.iter().take(MAX_KEYS).find_map(|offered| {
            let new = trusted
                .iter()
                .all(|key| key.public_key != offered.record.public_key);
            let vouched = new && is_vouched_for(offered, &trusted, signatures, audience, now);
            vouched.then_some(offered.record)
        });
        match next {
            Some(key) if trusted.len() < MAX_KEYS => trusted.push(key),
            _ => return trusted,
        }
    }
}

/// The key with its end as published, if that is the earlier one.
fn cut(key: &PublicKeyRecord, published: &[PublishedKey]) -> PublicKeyRecord {
    let ends = published
        .iter()
        .filter(|offered| offered.record.public_key == key.public_key)
        .filter_map(|offered| offered.record.not_after);
    PublicKeyRecord {
        not_after: ends.chain(key.not_after).min(),
        ..*key
    }
}

fn is_vouched_for(
    offered: &PublishedKey,
    trusted: &[PublicKeyRecord],
    signatures: &Signatures,
    audience: &str,
    now: Timestamp,
) -> bool {
    let Some(envelope) = &offered.statement else {
        return false;
    };
    let valid = trusted.iter().filter(|key| key.valid_at(now)).count();
    let threshold = usize::from(signatures.loosen).clamp(1, valid.max(1));
    let Ok(verified) = verify(envelope, KEY_PAYLOAD_TYPE, trusted, threshold, now) else {
        return false;
    };
    serde_json::from_slice::<KeyStatement>(&verified.payload).is_ok_and(|statement| {
        statement.audience == audience
            && statement.public_key == STANDARD.encode(offered.record.public_key)
            && statement.not_before <= offered.record.not_before
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn signer(seed: u8) -> DecisionSigner {
        DecisionSigner::from_seed(&[seed; 32])
    }

    fn offered(seed: u8, since: i64, until: Option<i64>, by: &[u8]) -> PublishedKey {
        let key = signer(seed);
        let record = key.public_key(at(since), until.map(at));
        let signers: Vec<DecisionSigner> = by.iter().map(|seed| signer(*seed)).collect();
        let signers: Vec<&DecisionSigner> = signers.iter().collect();
        let statement = KeyStatement::of("core", &record.public_key, at(since));
        PublishedKey {
            record,
            statement: (!by.is_empty()).then(|| statement.sign(&signers).unwrap()),
        }
    }

    const TWO: Signatures = Signatures {
        tighten: 1,
        loosen: 2,
    };

    fn seeds(keys: &[PublicKeyRecord]) -> Vec<u8> {
        let of = |key: &PublicKeyRecord| {
            (0..=255).find(|seed| signer(*seed).public_bytes() == key.public_key)
        };
        keys.iter().filter_map(of).collect()
    }

    fn after(known: &[u8], published: &[PublishedKey], signatures: Signatures) -> Vec<u8> {
        let known: Vec<PublicKeyRecord> = known
            .iter()
            .map(|seed| signer(*seed).public_key(at(0), None))
            .collect();
        seeds(&trusted(&known, published, &signatures, "core", at(100)))
    }

    #[test]
    fn keys_are_vouched_for_one_after_the_other() {
        let chain = [
            offered(3, 20, None, &[2]),
            offered(2, 10, None, &[1]),
            offered(9, 10, None, &[8]),
            offered(7, 10, None, &[]),
        ];
        assert_eq!(after(&[1], &chain, Signatures::default()), [1, 2, 3]);
    }

    #[test]
    fn one_stolen_key_of_two_brings_in_no_third() {
        let first = offered(2, 10, None, &[1]);
        assert_eq!(after(&[1], std::slice::from_ref(&first), TWO), [1, 2]);
        let of_thief = offered(66, 20, None, &[1]);
        assert_eq!(after(&[1, 2], &[of_thief], TWO), [1, 2]);
        let twice = offered(66, 20, None, &[1, 1]);
        assert_eq!(after(&[1, 2], &[twice], TWO), [1, 2]);
        let agreed = offered(3, 20, None, &[1, 2]);
        assert_eq!(after(&[1, 2], &[agreed], TWO), [1, 2, 3]);
    }

    #[test]
    fn a_retired_key_vouches_for_nobody_and_comes_not_back() {
        let ended = PublishedKey {
            statement: None,
            ..offered(1, 0, Some(50), &[])
        };
        let known = [signer(1).public_key(at(0), None)];
        let published = [ended, offered(2, 10, None, &[1])];
        let keys = trusted(&known, &published, &Signatures::default(), "core", at(100));
        assert_eq!((seeds(&keys), keys[0].not_after), (vec![1], Some(at(50))));
        // Later the service says that it has no end.
        let again = trusted(&keys, &[offered(1, 0, None, &[])], &TWO, "core", at(100));
        assert_eq!(again[0].not_after, Some(at(50)));
    }

    #[test]
    fn a_statement_is_about_one_key_one_audience_and_one_time() {
        let mut other_key = offered(2, 10, None, &[1]);
        other_key.record = signer(3).public_key(at(10), None);
        let mut earlier = offered(2, 10, None, &[1]);
        earlier.record.not_before = at(5);
        assert_eq!(
            after(&[1], &[other_key, earlier], Signatures::default()),
            [1]
        );
        let fine = [offered(2, 10, None, &[1])];
        let known = [signer(1).public_key(at(0), None)];
        let elsewhere = trusted(&known, &fine, &Signatures::default(), "other", at(100));
        assert_eq!(seeds(&elsewhere), [1]);
    }
}
