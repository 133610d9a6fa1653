//! Passkeys (WebAuthn, level 3): keys in people's devices that sign in instead of a password and a one-time code,
//! because the device itself checks who holds it.
//!
//! The rules of the ceremonies are those of `webauthn_rp`; what is kept here is who may begin one, for how long a
//! challenge is good, and what a passkey that was proven may do. Nothing that a device says of its maker is asked for.

mod adding;
mod attempts;
mod signing_in;
mod site;

use plumbline_access::Action;
use plumbline_store::accounts;
use plumbline_store::passkeys::{self, Passkey};
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::register::UserHandle16;
use webauthn_rp::response::Backup;
use webauthn_rp::response::register::DynamicState;

use self::attempts::{Attempts, LIFE};
use self::site::Site;
use crate::accounts::account_of;
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::{PasskeyView, PasskeysView};
use crate::{Result, Service, ServiceError, notices};

/// Passkeys of an account.
const MOST: usize = 10;
/// Longest answer of a browser, bytes; theirs have one or two thousand.
const LONGEST_ANSWER: usize = 32 * 1024;

/// The site, and what browsers were asked. Adding and signing in are kept apart, so that neither's challenge is good
/// for the other.
#[derive(Debug)]
pub(crate) struct Desk {
    site: std::result::Result<Site, String>,
    adding: Attempts<adding::Asked>,
    signing_in: Attempts<signing_in::Asked>,
}

impl Desk {
    /// A desk of the service that people reach at `public_url`.
    pub(crate) fn of(public_url: &str) -> Self {
        Self {
            site: Site::of(public_url),
            adding: Attempts::default(),
            signing_in: Attempts::default(),
        }
    }

    fn site(&self) -> Result<&Site> {
        let refused = |why: &String| ServiceError::refused("passkeys-unavailable", why.as_str());
        self.site.as_ref().map_err(refused)
    }
}

impl Service {
    /// Origin of the pages on which passkeys work, where they do.
    pub fn passkey_origin(&self) -> Option<&str> {
        let site = self.passkeys.site.as_ref().ok();
        site.map(|site| site.origin.as_str())
    }

    /// The actor's passkeys, oldest first.
    pub fn passkeys(&self, ctx: &Context) -> Result<PasskeysView> {
        self.allow(&ctx.actor, Action::ManagePasskeys)?;
        let id = account_of(&ctx.actor)?;
        let rows = self.read(move |tx| Ok(passkeys::of_account(tx, &id)?))?;
        Ok(PasskeysView {
            origin: self.passkey_origin().map(str::to_owned),
            unavailable: self.passkeys.site.as_ref().err().cloned(),
            passkeys: rows.iter().map(view).collect::<Result<_>>()?,
        })
    }

    /// Removes one of the actor's passkeys.
    ///
    /// # Errors
    /// `not-found` for one that is none of the actor's; `last-way-in` for the last of an account without a password.
    pub fn remove_passkey(&self, ctx: &Context, id: &str) -> Result<()> {
        self.allow(&ctx.actor, Action::ManagePasskeys)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        self.write_at(move |tx, now| {
            let all = passkeys::of_account(tx, &account)?;
            let found = all.iter().find(|row| row.id == id);
            let row = found.ok_or_else(|| ServiceError::not_found("passkey", &id))?;
            if all.len() == 1 && accounts::get(tx, &account)?.password_hash.is_none() {
                return Err(ServiceError::refused(
                    "last-way-in",
                    "without it nobody could sign in to this account",
                ));
            }
            passkeys::delete(tx, &row.id)?;
            notices::warn(
                tx,
                &account,
                &format!("passkey-removed:{}", row.id),
                &format!("The passkey “{}” was removed", row.name),
                "It does not sign in any more. If it was not you, change your password and look at your sessions.",
                now,
            )
        })
    }
}

fn view(row: &Passkey) -> Result<PasskeyView> {
    Ok(PasskeyView {
        id: row.id.clone(),
        name: row.name.clone(),
        synced: matches!(state_of(row)?.backup, Backup::Exists),
        created_at: rfc3339(row.created_at),
        last_used_at: row.last_used_at.map(rfc3339),
    })
}

/// What every sign-in may change of a passkey.
fn state_of(row: &Passkey) -> Result<DynamicState> {
    let bytes = <[u8; 7]>::try_from(row.state.as_slice()).map_err(ServiceError::internal)?;
    DynamicState::decode(bytes).map_err(ServiceError::internal)
}

/// The same as bytes, for the store.
fn bytes_of(state: &DynamicState) -> Vec<u8> {
    let Ok(bytes) = state.encode();
    bytes.to_vec()
}

/// What devices keep as the name of an account: a hash, because they show and copy it about as they like.
fn user_handle(account_id: &str) -> UserHandle16 {
    let hash = blake3::derive_key(
        "plumbline passkeys 2026: user handle",
        account_id.as_bytes(),
    );
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash[..16]);
    let Ok(handle) = UserHandle16::decode(bytes);
    handle
}

/// A browser's answer as text, unless it is longer than any browser's.
fn answer_of(credential: &serde_json::Value) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(credential).ok()?;
    (text.len() <= LONGEST_ANSWER).then_some(text)
}
