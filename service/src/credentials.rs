//! Who the bearer tokens in use belong to, remembered, so that a request need not read two rows to learn
//! what the one before it learnt.
//!
//! What is remembered counts only as long as the store's epoch stands: it grows before any write is
//! answered that may have changed a token, an account or its roles. So a token that was revoked is refused
//! from the moment that the revocation is acknowledged.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use plumbline_store::{accounts, tokens};

use crate::accounts::{actor_of, tokens_live};
use crate::authorise::scopes_of;
use crate::context::{Actor, Scope};
use crate::secrets::fingerprint;
use crate::time::Millis;
use crate::{Result, Service, ServiceError};

/// Most tokens remembered; past it all are forgotten.
const MAX_REMEMBERED: usize = 16_384;
/// A token's last use is written at most this often: it is for people, not for audit.
const TOUCH_EVERY: Millis = 60_000;

/// What was read of a token.
#[derive(Debug)]
struct Known {
    epoch: u64,
    actor: Actor,
    /// Last use that was written.
    used_at: Millis,
    /// When the token ends by itself.
    expires_at: Option<Millis>,
}

/// Tokens by their fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    known: Mutex<HashMap<String, Known>>,
}

impl Credentials {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // An entry is replaced as a whole, so a poisoned lock is still good.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Who a bearer token belongs to, if that is remembered; never blocks for long. `None` says nothing
    /// about the token: ask [`Service::actor_of_token`].
    pub fn known_actor(&self, token: &str) -> Option<Actor> {
        let (hash, now, epoch) = (fingerprint(token), self.now(), self.store.epoch());
        let known = self.credentials.lock();
        let found = known.get(&hash)?;
        let fresh = found.epoch == epoch
            && now - found.used_at <= TOUCH_EVERY
            && found.expires_at.is_none_or(|end| end > now);
        fresh.then(|| found.actor.clone())
    }

    /// Who a bearer token belongs to.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`] for an unknown or revoked token.
    pub fn actor_of_token(&self, token: &str) -> Result<Actor> {
        // Before the read: what changes during it is then not taken for known.
        let epoch = self.store.epoch();
        let (hash, now) = (fingerprint(token), self.now());
        let looked_up = hash.clone();
        let (actor, id, used_at, expires_at) = self.read(move |tx| {
            let found = tokens::by_hash(tx, &looked_up)?;
            let token = found
                .filter(|token| tokens_live(token, now))
                .ok_or(ServiceError::Unauthenticated)?;
            let account = accounts::get(tx, &token.account_id)?;
            let allowed = scopes_of(&account.roles);
            let held = token.scopes.iter().filter_map(|name| Scope::parse(name));
            let scopes = held.filter(|scope| allowed.contains(scope)).collect();
            Ok((
                actor_of(account, scopes, false),
                token.id,
                token.last_used_at,
                token.expires_at,
            ))
        })?;
        let written = used_at.filter(|used| now - used <= TOUCH_EVERY);
        if written.is_none() {
            self.write(move |tx| Ok(tokens::touch(tx, &id, now)?))?;
        }
        let mut known = self.credentials.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(
            hash,
            Known {
                epoch,
                actor: actor.clone(),
                used_at: written.unwrap_or(now),
                expires_at,
            },
        );
        Ok(actor)
    }
}
