//! Guardians and their keys: signatures beside the service's own, without which nothing loosens where the
//! policy asks for more than one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plumbline_access::Action;
use plumbline_governance::decision::{AllocationDecision, required_signatures};
use plumbline_governance::dsse::{
    DecisionSigner, Envelope, EnvelopeSignature, MAX_SIGNATURES, is_signed_with, key_id,
    verify_text,
};
use plumbline_governance::keys::{KeyStatement, possession_text};
use plumbline_governance::policy::Signatures;
use plumbline_store::decisions::{self, Decision};
use plumbline_store::keys::{self, DecisionSignature, SigningKey};
use plumbline_store::{Tx, control, outbox};
use serde_json::json;

use crate::accounts::account_of;
use crate::allocations::{decision_view, payload_of};
use crate::commands::{AddSignature, RegisterKey};
use crate::context::Context;
use crate::keys::{add, end, epoch, hex, key_view, unhex};
use crate::policy::{EPOCH, timestamp};
use crate::time::Millis;
use crate::views::{DecisionView, KeyView};
use crate::{Inner, Result, Service, ServiceError};

/// Keys of one account that count at the same time.
const KEYS_OF_ONE: usize = 2;
/// Keys that are ever registered.
const MAX_KEYS: usize = 60;
/// Topic of signatures: the one of decisions.
const TOPIC: &str = crate::allocations::TOPIC;

/// What decides how many signatures a decision needs.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    signatures: Signatures,
    /// Keys that count now.
    active: usize,
    /// Whether there can be signatures beside the service's own.
    guarded: bool,
}

impl Inner {
    /// The terms of now.
    pub(crate) fn signing_terms(&self, tx: &mut Tx, signatures: Signatures) -> Result<Terms> {
        let (now, all) = (self.now(), keys::list(tx)?);
        Ok(Terms {
            signatures,
            active: all.iter().filter(|key| counts(key, now)).count(),
            guarded: all.iter().any(|key| key.owner_id.is_some()),
        })
    }
}

fn counts(key: &SigningKey, now: Millis) -> bool {
    key.not_before <= now && key.not_after.is_none_or(|end| now < end)
}

impl Terms {
    /// Distinct signatures that a decision needs: what the policy asks for, or as many as there are keys.
    pub(crate) fn needed(&self, tx: &mut Tx, decision: &AllocationDecision) -> Result<usize> {
        let Signatures { tighten, loosen } = self.signatures;
        if tighten == loosen {
            return Ok(usize::from(loosen).min(self.active.max(1)));
        }
        let previous = match decision.supersedes {
            Some(id) => Some(payload_of(&decisions::get(tx, &id.to_string())?)?),
            None => None,
        };
        let needed = required_signatures(previous.as_ref(), decision, &self.signatures);
        Ok(needed.min(self.active.max(1)))
    }

    /// The envelope with every signature that has come.
    pub(crate) fn envelope(&self, tx: &mut Tx, row: &Decision) -> Result<Envelope> {
        let mut envelope: Envelope =
            serde_json::from_str(&row.envelope).map_err(ServiceError::internal)?;
        if self.guarded {
            let more = keys::signatures(tx, &row.decision_id)?;
            envelope
                .signatures
                .extend(more.into_iter().map(|one| EnvelopeSignature {
                    keyid: one.key_id,
                    sig: one.signature,
                }));
        }
        Ok(envelope)
    }
}

fn bytes<const N: usize>(what: &str, base64: &str) -> Result<[u8; N]> {
    let decoded = STANDARD.decode(base64).ok();
    decoded
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            ServiceError::invalid("bad-signature", format!("{what} is {N} bytes as base64"))
        })
}

impl Service {
    /// Registers a key of the actor's, who must be a guardian and show that it is theirs. The service vouches
    /// for it; where consumers ask for more than one signature, other guardians do so too.
    ///
    /// # Errors
    /// `bad-signature`; `not-your-key` for a proof that is none; `key-known`; `too-many-keys`.
    pub fn register_key(&self, ctx: &Context, cmd: &RegisterKey) -> Result<KeyView> {
        self.allow(&ctx.actor, Action::RegisterKey)?;
        let account = account_of(&ctx.actor)?;
        let public_key: [u8; 32] = bytes("public_key", &cmd.public_key)?;
        let proof: [u8; 64] = bytes("proof", &cmd.proof)?;
        let pool = self.config.pool.clone();
        let text = possession_text(&pool, &account, &public_key);
        if !verify_text(&public_key, &text, &proof) {
            return Err(ServiceError::invalid(
                "not-your-key",
                "proof is no signature with public_key over this account's text",
            ));
        }
        // Signed here: the key must not leave this thread for the writer's.
        let now = self.now();
        let statement = vouch(&pool, &public_key, now, &self.signing_key)?;
        self.write_once(ctx, move |tx, at| {
            let known = keys::list(tx)?;
            if known.iter().any(|row| row.public_key == hex(&public_key)) {
                return Err(ServiceError::refused(
                    "key-known",
                    "this key was registered before",
                ));
            }
            let own = known
                .iter()
                .filter(|row| row.owner_id.as_ref() == Some(&account) && counts(row, at));
            if own.count() >= KEYS_OF_ONE || known.len() >= MAX_KEYS {
                return Err(ServiceError::refused(
                    "too-many-keys",
                    "retire one of your keys first",
                ));
            }
            let row = SigningKey {
                key_id: key_id(&public_key),
                public_key: hex(&public_key),
                owner_id: Some(account),
                epoch: epoch(tx)?,
                not_before: now,
                not_after: None,
                statement: Some(statement),
            };
            add(tx, &row, at)?;
            key_view(tx, row)
        })
    }

    /// Ends a guardian's key at once: what it signs from now on counts nowhere, and a new epoch begins. The
    /// owner may, and an operator.
    ///
    /// # Errors
    /// `own-key` for the service's, which is rotated instead; `key-ended`.
    pub fn retire_key(&self, ctx: &Context, key_id: &str) -> Result<KeyView> {
        let (account, id) = (account_of(&ctx.actor)?, key_id.to_owned());
        self.allow(&ctx.actor, Action::RetireKey)?;
        let owner = self.read(|tx| Ok(keys::get(tx, &id)?.owner_id))?;
        let Some(owner) = owner else {
            return Err(ServiceError::refused(
                "own-key",
                "this is the service's own key; rotate it with `plumbline keys rotate`",
            ));
        };
        self.allow_on(&ctx.actor, Action::RetireKey, owner == account)?;
        self.write_once(ctx, move |tx, now| {
            let row = keys::get(tx, &id)?;
            if !counts(&row, now) {
                return Err(ServiceError::refused(
                    "key-ended",
                    "this key counts no more",
                ));
            }
            end(tx, &row, now, now)?;
            let epoch = epoch(tx)? + 1;
            control::put(tx, EPOCH, &epoch.to_string(), now)?;
            let row = keys::get(tx, &id)?;
            key_view(tx, row)
        })
    }

    /// Adds a guardian's signature to the statement that vouches for a key.
    ///
    /// # Errors
    /// As [`Service::cosign`]; `no-statement` for a key that nobody vouches for.
    pub fn vouch_for_key(&self, ctx: &Context, key: &str, cmd: &AddSignature) -> Result<KeyView> {
        self.allow(&ctx.actor, Action::VouchForKey)?;
        let (account, key, cmd) = (account_of(&ctx.actor)?, key.to_owned(), cmd.clone());
        self.write_once(ctx, move |tx, now| {
            let mut row = keys::get(tx, &key)?;
            let statement = row.statement.as_deref().ok_or_else(|| {
                ServiceError::refused("no-statement", "no key vouches for this one")
            })?;
            let mut envelope: Envelope =
                serde_json::from_str(statement).map_err(ServiceError::internal)?;
            check(tx, &account, &envelope, &cmd, now)?;
            envelope.signatures.push(EnvelopeSignature {
                keyid: cmd.key_id.clone(),
                sig: cmd.signature.clone(),
            });
            let text = serde_json::to_string(&envelope).map_err(ServiceError::internal)?;
            keys::set_statement(tx, &key, &text)?;
            row.statement = Some(text);
            let told = json!({"key_id": key, "with": cmd.key_id});
            outbox::push(tx, now, "keys", "key-vouched", &told)?;
            key_view(tx, row)
        })
    }

    /// Adds a guardian's signature to a decision.
    ///
    /// # Errors
    /// `not-your-key`; `key-ended`; `wrong-signature`; `signed-already`; `decision-over` for one that has
    /// lapsed or was superseded.
    pub fn cosign(&self, ctx: &Context, id: &str, cmd: &AddSignature) -> Result<DecisionView> {
        self.allow(&ctx.actor, Action::Cosign)?;
        let (account, id, cmd) = (account_of(&ctx.actor)?, id.to_owned(), cmd.clone());
        let signatures = self.active_policy()?.document().signatures;
        let inner = std::sync::Arc::clone(&self.inner);
        self.write_once(ctx, move |tx, now| {
            let row = decisions::get(tx, &id)?;
            let newest = decisions::latest(tx, &row.target_uid, &row.workload)?;
            let current = newest.is_some_and(|newest| newest.decision_id == id);
            if !current || row.expires_at <= now {
                return Err(ServiceError::refused(
                    "decision-over",
                    "this decision has lapsed, or a newer one took its place",
                ));
            }
            let terms = inner.signing_terms(tx, signatures)?;
            let envelope = terms.envelope(tx, &row)?;
            check(tx, &account, &envelope, &cmd, now)?;
            let signature = DecisionSignature {
                decision_id: id.clone(),
                key_id: cmd.key_id.clone(),
                signature: cmd.signature.clone(),
                at: now,
            };
            keys::sign(tx, &signature)?;
            let told = json!({
                "decision_id": id,
                "key_id": cmd.key_id,
                "signature": cmd.signature,
            });
            outbox::push(tx, now, TOPIC, "cosigned", &told)?;
            decision_view(tx, row, &terms)
        })
    }
}

/// The service's word for a key, as JSON.
pub(crate) fn vouch(
    pool: &str,
    public_key: &[u8; 32],
    now: Millis,
    signer: &DecisionSigner,
) -> Result<String> {
    let statement = KeyStatement::of(pool, public_key, timestamp(now)?);
    let envelope = statement.sign(&[signer]).map_err(ServiceError::internal)?;
    serde_json::to_string(&envelope).map_err(ServiceError::internal)
}

/// Whether this is a new signature over the envelope with a key of the account's that counts.
fn check(
    tx: &mut Tx,
    account: &str,
    envelope: &Envelope,
    cmd: &AddSignature,
    now: Millis,
) -> Result<()> {
    bytes::<64>("signature", &cmd.signature)?;
    let row = keys::get(tx, &cmd.key_id)?;
    if row.owner_id.as_deref() != Some(account) {
        return Err(ServiceError::Forbidden {
            needs: "a key of your own".to_owned(),
        });
    }
    if !counts(&row, now) {
        return Err(ServiceError::refused(
            "key-ended",
            "this key counts no more",
        ));
    }
    let signed = |one: &EnvelopeSignature| one.keyid == cmd.key_id;
    if envelope.signatures.iter().any(signed) || envelope.signatures.len() >= MAX_SIGNATURES {
        return Err(ServiceError::refused(
            "signed-already",
            "this key has signed it, or there is no room for more signatures",
        ));
    }
    let public_key = unhex(&row.public_key)
        .ok_or_else(|| ServiceError::internal("a registered key is no key"))?;
    if !is_signed_with(envelope, &public_key, &cmd.signature) {
        return Err(ServiceError::invalid(
            "wrong-signature",
            "this is no signature with that key over this envelope",
        ));
    }
    Ok(())
}
