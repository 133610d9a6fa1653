//! Signing in with a passkey: the device says whose it is, and has looked who holds it.

use plumbline_store::passkeys::{self, Passkey};
use plumbline_store::{Tx, accounts};
use webauthn_rp::bin::Decode;
use webauthn_rp::request::auth::{AuthenticationVerificationOptions, SignatureCounterEnforcement};
use webauthn_rp::response::auth::error::AuthCeremonyErr;
use webauthn_rp::response::register::{
    AuthenticatorExtensionOutputStaticState, CompressedP256PubKey, CompressedPubKey,
    CredentialProtectionPolicy, DynamicState, StaticState,
};
use webauthn_rp::response::{AuthenticatorAttachment, Backup};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthentication16, DiscoverableAuthenticationServerState,
    DiscoverableCredentialRequestOptions,
};

use super::site::Site;
use super::{LIFE, answer_of, bytes_of, state_of, user_handle};
use crate::commands::PasskeyLogin;
use crate::defences::Defences;
use crate::people::sessions::open;
use crate::time::Millis;
use crate::views::{PasskeyChallenge, SessionOpened};
use crate::{Result, Service, ServiceError, notices};

/// What a browser was asked: to sign a challenge with any passkey of this site.
pub(super) type Asked = DiscoverableAuthenticationServerState;

/// A public key as it is stored.
type PublicKey = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

/// A point of P-256 to which nobody has the key: the first of the SHA-256 hashes of "plumbline: a passkey that nobody
/// has", counted from 0, that is the x of one (it is number 3).
const NOBODYS_X: [u8; 32] = [
    0xc9, 0x84, 0x9a, 0xea, 0x2f, 0x33, 0xb4, 0xde, 0x35, 0x42, 0xc3, 0x21, 0x6d, 0xe5, 0xa0, 0xd0,
    0x68, 0x1d, 0x10, 0x57, 0x89, 0xb3, 0x86, 0x30, 0x56, 0x31, 0x16, 0x84, 0xf0, 0xe5, 0x5d, 0xe1,
];

/// What a device's answer was worth.
enum Proof {
    /// It fits; the state of the passkey from now on.
    Good(DynamicState),
    /// It is signed with the key, by a device that counts less than the one before: there is a copy.
    Copied,
    /// It does not fit.
    Bad,
}

impl Service {
    /// Says what to ask a device. `holder` is whose attempts make room for this one first: the visitor's address.
    ///
    /// # Errors
    /// `passkeys-unavailable`.
    pub fn begin_passkey_sign_in(&self, holder: &str) -> Result<PasskeyChallenge> {
        let site = self.passkeys.site()?;
        let options = DiscoverableCredentialRequestOptions::passkey(&site.rp_id);
        let (state, client) = options.start_ceremony().map_err(ServiceError::internal)?;
        let options = serde_json::to_value(&client).map_err(ServiceError::internal)?;
        let attempt = self.new_secret()?;
        let desk = &self.passkeys.signing_in;
        desk.begin(&attempt, holder, self.now(), state);
        Ok(PasskeyChallenge {
            attempt,
            options,
            expires_in_s: LIFE / 1000,
        })
    }

    /// Opens a session for whoever's passkey signed; `agent` is what the browser calls itself. No one-time code is
    /// asked for: the device has checked its owner by a PIN or a body.
    ///
    /// # Errors
    /// `passkeys-unavailable`; [`ServiceError::BadPasskey`], the same for an unknown passkey, a wrong answer, and
    /// an attempt that is over.
    pub fn sign_in_with_passkey(&self, cmd: &PasskeyLogin, agent: &str) -> Result<SessionOpened> {
        let (site, now) = (self.passkeys.site()?, self.now());
        let asked = self.passkeys.signing_in.take(&cmd.attempt, now);
        let asked = asked.ok_or(ServiceError::BadPasskey)?;
        let answer = answer_of(&cmd.credential)
            .and_then(|text| DiscoverableAuthentication16::from_json_relaxed(&text).ok())
            .ok_or(ServiceError::BadPasskey)?;
        let named = answer.raw_id().as_ref().to_vec();
        let found = self.read(move |tx| Ok(passkeys::by_credential(tx, &named)?))?;
        let found =
            found.filter(|row| user_handle(&row.account_id) == *answer.response().user_handle());
        // Also for a passkey that nobody has: the work must not tell.
        let proof = prove(site, asked, &answer, found.as_ref(), self.config.defences)?;
        let row = found.ok_or(ServiceError::BadPasskey)?;
        match proof {
            Proof::Good(state) => self.enter(row, &state, agent, now),
            Proof::Copied => {
                self.write(move |tx| warn_of_copy(tx, &row, now))?;
                Err(ServiceError::BadPasskey)
            }
            Proof::Bad => Err(ServiceError::BadPasskey),
        }
    }

    fn enter(
        &self,
        row: Passkey,
        state: &DynamicState,
        agent: &str,
        now: Millis,
    ) -> Result<SessionOpened> {
        let (session, opened) = self.opening(&row.account_id, agent)?;
        let state = bytes_of(state);
        self.write(move |tx| {
            // It may have been removed, or have signed in elsewhere, while this answer was looked at.
            let current = passkeys::by_credential(tx, &row.credential_id)?;
            let same = |now: &Passkey| (&now.id, &now.state) == (&row.id, &row.state);
            if !current.as_ref().is_some_and(same) {
                return Err(ServiceError::BadPasskey);
            }
            passkeys::used(tx, &row.id, &state, now)?;
            let account = accounts::get(tx, &row.account_id)?;
            open(tx, &account, &session, now)
        })?;
        Ok(opened)
    }
}

/// Looks at a device's answer. Without a passkey it does the work of one, and the answer is never good.
fn prove(
    site: &Site,
    asked: Asked,
    answer: &DiscoverableAuthentication16,
    row: Option<&Passkey>,
    defences: Defences,
) -> Result<Proof> {
    let (key, state) = match row {
        Some(row) => (
            StaticState::<PublicKey>::decode(&row.public_key).map_err(ServiceError::internal)?,
            state_of(row)?,
        ),
        None => nobodys(),
    };
    let user = *answer.response().user_handle();
    let mut credential = AuthenticatedCredential::new(answer.raw_id(), &user, key, state)
        .map_err(ServiceError::internal)?;
    let origins = [site.origin.as_str()];
    let options = AuthenticationVerificationOptions::<&str, &str> {
        allowed_origins: &origins,
        // As in adding.
        error_on_unsolicited_extensions: false,
        sig_counter_enforcement: match defences.passkey_counter {
            true => SignatureCounterEnforcement::Fail,
            false => SignatureCounterEnforcement::Update,
        },
        ..AuthenticationVerificationOptions::default()
    };
    let checked = asked.verify(&site.rp_id, answer, &mut credential, &options);
    Ok(match checked {
        Ok(_) if row.is_some() => Proof::Good(credential.dynamic_state()),
        Err(AuthCeremonyErr::SignatureCounter) => Proof::Copied,
        Ok(_) | Err(_) => Proof::Bad,
    })
}

/// The passkey of nobody.
fn nobodys() -> (StaticState<PublicKey>, DynamicState) {
    let key = StaticState {
        credential_public_key: CompressedPubKey::P256(CompressedP256PubKey::from((
            NOBODYS_X, false,
        ))),
        extensions: AuthenticatorExtensionOutputStaticState {
            cred_protect: CredentialProtectionPolicy::None,
            hmac_secret: None,
        },
    };
    let state = DynamicState {
        user_verified: true,
        backup: Backup::NotEligible,
        sign_count: 0,
        authenticator_attachment: AuthenticatorAttachment::None,
    };
    (key, state)
}

/// Tells the owner once a day that a passkey is in two devices that do not know of each other.
fn warn_of_copy(tx: &mut Tx, row: &Passkey, now: Millis) -> Result<()> {
    notices::warn(
        tx,
        &row.account_id,
        &format!("passkey-copied:{}:{}", row.id, now / 86_400_000),
        &format!("The passkey “{}” was refused", row.name),
        "It counted fewer sign-ins than it had made before, as a copy of it would. Remove it and add a new one.",
        now,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_key_of_nobody_is_a_key_so_that_the_check_costs_the_same() {
        let (key, _) = nobodys();
        let CompressedPubKey::P256(key) = key.credential_public_key else {
            panic!("another curve");
        };
        key.validate().unwrap();
    }
}
