//! Adding a passkey: with the password once more, because whoever adds one signs in from then on.

use plumbline_access::Action;
use plumbline_store::Tx;
use plumbline_store::passkeys::{self, Passkey};
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::PublicKeyCredentialDescriptor;
use webauthn_rp::request::register::{
    CredProtect, Nickname, PublicKeyCredentialUserEntity, RegistrationVerificationOptions, Username,
};
use webauthn_rp::response::{AuthTransports, CredentialId};
use webauthn_rp::{
    PublicKeyCredentialCreationOptions, RegisteredCredential, Registration, RegistrationServerState,
};

use super::site::Site;
use super::{LIFE, MOST, answer_of, bytes_of, user_handle, view};
use crate::accounts::account_of;
use crate::commands::{AddPasskey, BeginPasskey};
use crate::context::Context;
use crate::people::second_factor::check_code;
use crate::secrets::fingerprint;
use crate::time::Millis;
use crate::views::{PasskeyChallenge, PasskeyView};
use crate::{Result, Service, ServiceError, notices};

/// Longest name, in characters.
const LONGEST_NAME: usize = 60;

/// What a browser was asked: to make a key for an account, in the session that gave the password.
#[derive(Debug)]
pub(super) struct Asked {
    account_id: String,
    session: Option<String>,
    state: RegistrationServerState<16>,
}

impl Service {
    /// Proves that the actor is its owner and says what to ask the device; `session` is the secret of the session
    /// that asks, to which the answer is bound.
    ///
    /// # Errors
    /// `passkeys-unavailable`; `wrong-password`; `second-factor` where the account asks for a one-time code;
    /// `too-many-passkeys`.
    pub fn begin_passkey(
        &self,
        ctx: &Context,
        cmd: &BeginPasskey,
        session: Option<&str>,
    ) -> Result<PasskeyChallenge> {
        self.allow(&ctx.actor, Action::ManagePasskeys)?;
        let site = self.passkeys.site()?;
        self.check_own_password(ctx, &cmd.password)?;
        let (id, now) = (account_of(&ctx.actor)?, self.now());
        let (code, defences) = (cmd.code.clone(), self.config.defences);
        let account = id.clone();
        // A wrong code has to be written down, so it must not undo the transaction.
        let known = self.write(move |tx| {
            if let Some(refused) = check_code(tx, &account, code.as_deref(), now, defences)? {
                return Ok(Err(refused));
            }
            Ok(room(tx, &account))
        })??;
        let (state, options) = ask(site, &id, &ctx.actor.handle, &known)?;
        let attempt = self.new_secret()?;
        let asked = Asked {
            account_id: id.clone(),
            session: session.map(fingerprint),
            state,
        };
        self.passkeys.adding.begin(&attempt, &id, now, asked);
        Ok(PasskeyChallenge {
            attempt,
            options,
            expires_in_s: LIFE / 1000,
        })
    }

    /// Keeps the passkey that a device made.
    ///
    /// # Errors
    /// `bad-passkey-name`; `passkey-attempt` where it was not begun here, by this account in this session, or is over;
    /// `passkey-refused` with what does not fit; `passkey-known`; `too-many-passkeys`.
    pub fn add_passkey(
        &self,
        ctx: &Context,
        cmd: &AddPasskey,
        session: Option<&str>,
    ) -> Result<PasskeyView> {
        self.allow(&ctx.actor, Action::ManagePasskeys)?;
        let name = checked_name(&cmd.name)?;
        let (account_id, id) = (account_of(&ctx.actor)?, self.new_id());
        let (service, session) = (self.clone(), session.map(fingerprint));
        let (attempt, credential) = (cmd.attempt.clone(), cmd.credential.clone());
        self.write_once(ctx, move |tx, now| {
            let asked = service.passkeys.adding.take(&attempt, now);
            let asked = asked
                .filter(|asked| asked.account_id == account_id && asked.session == session)
                .ok_or_else(|| {
                    ServiceError::refused("passkey-attempt", "this took too long; begin again")
                })?;
            let text = answer_of(&credential).ok_or_else(|| refused("its answer is too long"))?;
            let registration = Registration::from_json_relaxed(&text).map_err(refused)?;
            let made = check(service.passkeys.site()?, asked.state, &registration)?;
            let row = row_of(&made, id, account_id, name, now);
            keep(tx, &row, now)?;
            view(&row)
        })
    }
}

fn refused(why: impl std::fmt::Display) -> ServiceError {
    ServiceError::invalid(
        "passkey-refused",
        format!("what the device made cannot be taken: {why}"),
    )
}

fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    let printable = !name.chars().any(char::is_control);
    if printable && (1..=LONGEST_NAME).contains(&name.chars().count()) {
        return Ok(name.to_owned());
    }
    Err(ServiceError::invalid(
        "bad-passkey-name",
        "give it a name of 1 to 60 characters, such as the device's",
    ))
}

/// The passkeys that an account has, if there is room for one more.
fn room(tx: &mut Tx, account_id: &str) -> Result<Vec<Passkey>> {
    let known = passkeys::of_account(tx, account_id)?;
    if known.len() < MOST {
        return Ok(known);
    }
    Err(ServiceError::refused(
        "too-many-passkeys",
        format!("an account has at most {MOST} passkeys; remove one first"),
    ))
}

/// What to ask a device, and what to remember of it.
fn ask(
    site: &Site,
    account_id: &str,
    handle: &str,
    known: &[Passkey],
) -> Result<(RegistrationServerState<16>, serde_json::Value)> {
    let user = user_handle(account_id);
    let entity = PublicKeyCredentialUserEntity {
        name: Username::try_from(handle).map_err(ServiceError::internal)?,
        id: &user,
        display_name: Nickname::try_from(handle).ok(),
    };
    let known: Result<Vec<_>> = known.iter().map(descriptor).collect();
    let mut options = PublicKeyCredentialCreationOptions::passkey(&site.rp_id, entity, known?);
    // Browsers refuse devices that do not know this extension, which phones and laptops need not; every sign-in asks
    // for the check of its owner anyway.
    options.extensions.cred_protect = CredProtect::None;
    let (state, client) = options.start_ceremony().map_err(ServiceError::internal)?;
    let options = serde_json::to_value(&client).map_err(ServiceError::internal)?;
    Ok((state, options))
}

/// A passkey that a device which has it is not to make again.
fn descriptor(row: &Passkey) -> Result<PublicKeyCredentialDescriptor<Vec<u8>>> {
    let transports = u8::try_from(row.transports).map_err(ServiceError::internal)?;
    Ok(PublicKeyCredentialDescriptor {
        id: CredentialId::<Vec<u8>>::decode(row.credential_id.clone())
            .map_err(ServiceError::internal)?,
        transports: AuthTransports::decode(transports).map_err(ServiceError::internal)?,
    })
}

fn check<'a>(
    site: &Site,
    state: RegistrationServerState<16>,
    registration: &'a Registration,
) -> Result<RegisteredCredential<'a, 16>> {
    let origins = [site.origin.as_str()];
    let options = RegistrationVerificationOptions::<&str, &str> {
        allowed_origins: &origins,
        // Security keys answer extensions that nobody asked for; what is not understood decides nothing.
        error_on_unsolicited_extensions: false,
        ..RegistrationVerificationOptions::default()
    };
    let made = state.verify(&site.rp_id, registration, &options);
    made.map_err(refused)
}

fn row_of(
    made: &RegisteredCredential<'_, 16>,
    id: String,
    account_id: String,
    name: String,
    now: Millis,
) -> Passkey {
    let Ok(public_key) = made.static_state().encode();
    let Ok(transports) = made.transports().encode();
    Passkey {
        id,
        account_id,
        credential_id: made.id().as_ref().to_vec(),
        name,
        public_key,
        state: bytes_of(&made.dynamic_state()),
        transports: i32::from(transports),
        created_at: now,
        last_used_at: None,
    }
}

fn keep(tx: &mut Tx, row: &Passkey, now: Millis) -> Result<()> {
    room(tx, &row.account_id)?;
    if passkeys::by_credential(tx, &row.credential_id)?.is_some() {
        return Err(ServiceError::refused(
            "passkey-known",
            "this passkey was added before",
        ));
    }
    passkeys::insert(tx, row)?;
    notices::warn(
        tx,
        &row.account_id,
        &format!("passkey-added:{}", row.id),
        &format!("The passkey “{}” was added", row.name),
        "It signs in as you, without your password. If it was not you, remove it and change your password.",
        now,
    )
}
