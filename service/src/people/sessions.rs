//! Signing in and out, and the sessions that an account has.

use plumbline_access::Action;
use plumbline_store::{Tx, accounts, sessions};

use super::second_factor::check_code;
use crate::accounts::{account_of, actor_of};
use crate::authorise::scopes_of;
use crate::commands::Login;
use crate::context::{Actor, Context};
use crate::secrets::{fingerprint, verify_password};
use crate::time::{Millis, rfc3339};
use crate::views::{SessionInfo, SessionOpened};
use crate::{Result, Service, ServiceError, notices};

const SESSION_SECONDS: i64 = 14 * 24 * 3600;
/// Sessions of an account; past it, the oldest ends.
const MOST_SESSIONS: usize = 50;
/// A session's last use is written at most this often: it is for people, not for audit.
const SEEN_EVERY: Millis = 10 * 60_000;
/// Nobody is told of signing in to an account that they have just made.
const SETTLING_IN: Millis = 10 * 60_000;
/// Longest name of a browser that is kept, in characters.
const MAX_AGENT: usize = 160;
/// Digits of the hash that name a session to its owner.
const NAME_DIGITS: usize = 16;

impl Service {
    /// Who a session cookie's secret belongs to, with the CSRF token that forms must carry.
    pub fn actor_of_session(&self, secret: &str) -> Result<Option<(Actor, String)>> {
        let (hash, now) = (fingerprint(secret), self.now());
        let looked_up = hash.clone();
        let found = self.read(move |tx| {
            let Some(session) = sessions::get(tx, &looked_up)? else {
                return Ok(None);
            };
            if session.expires_at <= now {
                return Ok(None);
            }
            let account = accounts::get(tx, &session.account_id)?;
            let scopes = scopes_of(&account.roles);
            let seen = session.last_seen_at.unwrap_or(session.created_at);
            Ok(Some((actor_of(account, scopes, true), session.csrf, seen)))
        })?;
        let Some((actor, csrf, seen)) = found else {
            return Ok(None);
        };
        if now - seen > SEEN_EVERY {
            self.write(move |tx| Ok(sessions::touch(tx, &hash, now)?))?;
        }
        Ok(Some((actor, csrf)))
    }

    /// Opens a session; `agent` is what the browser calls itself.
    ///
    /// # Errors
    /// [`ServiceError::BadCredentials`], the same for an unknown handle and a wrong password; `second-factor`
    /// where the account asks for a one-time code and `code` is none; `rate-limited` after wrong codes.
    pub fn sign_in(&self, cmd: &Login, agent: &str) -> Result<SessionOpened> {
        let handle = cmd.handle.trim().to_lowercase();
        let account = self.read(move |tx| Ok(accounts::by_handle(tx, &handle)?))?;
        let stored = account
            .as_ref()
            .and_then(|account| account.password_hash.as_deref());
        // Also for a handle that nobody has: the work must not tell.
        if !verify_password(&cmd.password, stored) {
            return Err(ServiceError::BadCredentials);
        }
        let account = account.ok_or(ServiceError::BadCredentials)?;
        let (session, opened) = self.opening(&account.id, agent)?;
        let now = session.created_at;
        let (code, defences) = (cmd.code.clone(), self.config.defences);
        // A wrong code has to be written down, so it must not undo the transaction.
        let refused = self.write(move |tx| {
            // The password may have been changed while this one was looked at.
            let now_stored = accounts::get(tx, &account.id)?.password_hash;
            if now_stored != account.password_hash {
                return Ok(Some(ServiceError::BadCredentials));
            }
            let refused = check_code(tx, &account.id, code.as_deref(), now, defences)?;
            if refused.is_none() {
                open(tx, &account, &session, now)?;
            }
            Ok(refused)
        })?;
        refused.map_or(Ok(opened), Err)
    }

    /// A session that is about to be opened, as a row and as its owner gets it.
    pub(super) fn opening(
        &self,
        account_id: &str,
        agent: &str,
    ) -> Result<(sessions::Session, SessionOpened)> {
        let (secret, csrf, now) = (self.new_secret()?, self.new_secret()?, self.now());
        let session = sessions::Session {
            id_hash: fingerprint(&secret),
            account_id: account_id.to_owned(),
            csrf: csrf.clone(),
            created_at: now,
            expires_at: now + SESSION_SECONDS * 1000,
            agent: printable(agent),
            last_seen_at: None,
        };
        let opened = SessionOpened {
            secret,
            csrf,
            max_age_s: SESSION_SECONDS,
        };
        Ok((session, opened))
    }

    /// As [`Service::sign_in`], for programs without a browser.
    ///
    /// # Errors
    /// As [`Service::sign_in`].
    pub fn login(&self, cmd: &Login) -> Result<SessionOpened> {
        self.sign_in(cmd, "")
    }

    /// Ends a session; an unknown one is already over.
    pub fn logout(&self, secret: &str) -> Result<()> {
        let hash = fingerprint(secret);
        self.write(move |tx| Ok(sessions::delete(tx, &hash)?))
    }

    /// The actor's sessions, newest first; `current` is the secret of the one that asks.
    pub fn sessions(&self, ctx: &Context, current: Option<&str>) -> Result<Vec<SessionInfo>> {
        self.allow(&ctx.actor, Action::ListSessions)?;
        let (id, now) = (account_of(&ctx.actor)?, self.now());
        let current = current.map(fingerprint);
        let rows = self.read(move |tx| Ok(sessions::of_account(tx, &id)?))?;
        let live = rows.into_iter().filter(|row| row.expires_at > now);
        Ok(live
            .map(|row| SessionInfo {
                id: name_of(&row.id_hash).to_owned(),
                current: current.as_deref() == Some(row.id_hash.as_str()),
                agent: row.agent,
                created_at: rfc3339(row.created_at),
                last_seen_at: rfc3339(row.last_seen_at.unwrap_or(row.created_at)),
                expires_at: rfc3339(row.expires_at),
            })
            .collect())
    }

    /// Ends one of the actor's sessions.
    ///
    /// # Errors
    /// `not-found` for one that is none of the actor's.
    pub fn revoke_session(&self, ctx: &Context, id: &str) -> Result<()> {
        self.allow(&ctx.actor, Action::RevokeSession)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        self.write(move |tx| {
            let all = sessions::of_account(tx, &account)?;
            let found = all.iter().find(|row| name_of(&row.id_hash) == id);
            let row = found.ok_or_else(|| ServiceError::not_found("session", &id))?;
            Ok(sessions::delete(tx, &row.id_hash)?)
        })
    }
}

/// Opens a session for whoever proved to be the account's owner, and tells the owner.
pub(super) fn open(
    tx: &mut Tx,
    account: &accounts::Account,
    session: &sessions::Session,
    now: Millis,
) -> Result<()> {
    sessions::delete_expired(tx, now)?;
    let held = sessions::of_account(tx, &account.id)?;
    for old in held.iter().skip(MOST_SESSIONS - 1) {
        sessions::delete(tx, &old.id_hash)?;
    }
    sessions::insert(tx, session)?;
    if now - account.created_at > SETTLING_IN {
        warn_of_sign_in(tx, session, now)?;
    }
    Ok(())
}

/// Tells the account that somebody signed in.
fn warn_of_sign_in(tx: &mut Tx, session: &sessions::Session, now: Millis) -> Result<()> {
    let from = match session.agent.as_str() {
        "" => "From a program.".to_owned(),
        agent => format!("From {agent}."),
    };
    notices::warn(
        tx,
        &session.account_id,
        name_of(&session.id_hash),
        "Somebody signed in as you",
        &format!("{from} If it was not you, end that session and change your password."),
        now,
    )
}

/// What its owner calls a session: part of a hash of the secret, from which nobody gets the secret.
fn name_of(id_hash: &str) -> &str {
    id_hash.get(..NAME_DIGITS).unwrap_or(id_hash)
}

fn printable(agent: &str) -> String {
    let kept = agent.chars().filter(|c| !c.is_control());
    kept.take(MAX_AGENT).collect()
}
