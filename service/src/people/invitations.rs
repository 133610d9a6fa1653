//! Invitations: an operator's leave to make an account, good once and for a while.

use plumbline_access::{Action, SignUp};
use plumbline_store::invitations::{self, Invitation};
use plumbline_store::{Tx, accounts};

use crate::accounts::account_of;
use crate::commands::Invite;
use crate::context::Context;
use crate::secrets::fingerprint;
use crate::time::{Millis, rfc3339};
use crate::views::{InvitationMade, InvitationView, Page};
use crate::{Result, Service, ServiceError, page, roles};

/// Prefix of codes, so that scanners recognise a leaked one.
const PREFIX: &str = "plbi_";
const MAX_NOTE: usize = 120;
const MAX_DAYS: u32 = 90;
const DAY: Millis = 24 * 3_600_000;

impl Service {
    /// Makes an invitation. Its code is in the answer and nowhere else.
    ///
    /// # Errors
    /// `bad-invitation` for a note or time out of bounds; `bad-role`.
    pub fn invite(&self, ctx: &Context, cmd: &Invite) -> Result<InvitationMade> {
        self.allow(&ctx.actor, Action::Invite)?;
        let note = cmd.note.trim().to_owned();
        if note.chars().count() > MAX_NOTE || !(1..=MAX_DAYS).contains(&cmd.valid_days) {
            return Err(ServiceError::invalid(
                "bad-invitation",
                "a note has at most 120 characters, and an invitation is good for 1 to 90 days",
            ));
        }
        roles::check(cmd.roles.iter())?;
        if cmd.roles.len() > 8 || cmd.roles.iter().any(|role| role == "operator") {
            return Err(ServiceError::invalid(
                "bad-role",
                "an invitation makes no operators; give that role by name",
            ));
        }
        let (code, now) = (format!("{PREFIX}{}", self.new_secret()?), self.now());
        let row = Invitation {
            id: self.new_id(),
            code_hash: fingerprint(&code),
            note,
            roles: cmd.roles.clone(),
            created_by: account_of(&ctx.actor)?,
            created_at: now,
            expires_at: now + i64::from(cmd.valid_days) * DAY,
            used_by: None,
            used_at: None,
            revoked_at: None,
        };
        self.write(move |tx| {
            invitations::insert(tx, &row)?;
            let invitation = view_of(tx, row, now)?;
            Ok(InvitationMade { invitation, code })
        })
    }

    /// Invitations, newest first, without their codes.
    pub fn invitations(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<InvitationView>> {
        self.allow(&ctx.actor, Action::ListInvitations)?;
        let (before, limit, now) = (cursor.map(str::to_owned), page::bounded(limit), self.now());
        self.read(move |tx| {
            let rows = invitations::list(tx, before.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let views = page.items.into_iter().map(|row| view_of(tx, row, now));
            Ok(Page {
                items: views.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// `not-found` for one that was used or taken back.
    pub fn revoke_invitation(&self, ctx: &Context, id: &str) -> Result<()> {
        self.allow(&ctx.actor, Action::RevokeInvitation)?;
        let id = id.to_owned();
        self.write_at(move |tx, now| Ok(invitations::revoke(tx, &id, now)?))
    }

    /// Whether whoever asks has to bring an invitation to make an account.
    pub fn needs_invitation(&self, ctx: &Context) -> bool {
        // Whoever may make invitations needs none.
        self.config.sign_up == SignUp::Invite && !self.may(&ctx.actor, Action::Invite)
    }
}

/// The invitation with that code, if it can still be used.
///
/// # Errors
/// `bad-invitation`, the same for one that never was.
pub(crate) fn usable(tx: &mut Tx, code: &str, now: Millis) -> Result<Invitation> {
    let found = invitations::by_code(tx, &fingerprint(code.trim()))?;
    found
        .filter(|row| state_of(row, now) == "open")
        .ok_or_else(|| {
            ServiceError::invalid(
                "bad-invitation",
                "this invitation is unknown, used, taken back or too old; ask for another",
            )
        })
}

fn state_of(row: &Invitation, now: Millis) -> &'static str {
    match row {
        Invitation {
            used_at: Some(_), ..
        } => "used",
        Invitation {
            revoked_at: Some(_),
            ..
        } => "revoked",
        _ if row.expires_at <= now => "expired",
        _ => "open",
    }
}

fn view_of(tx: &mut Tx, row: Invitation, now: Millis) -> Result<InvitationView> {
    let state = state_of(&row, now).to_owned();
    let used_by = row.used_by.map(|id| accounts::get(tx, &id)).transpose()?;
    Ok(InvitationView {
        state,
        id: row.id,
        note: row.note,
        roles: row.roles,
        created_by: accounts::get(tx, &row.created_by)?.handle,
        created_at: rfc3339(row.created_at),
        expires_at: rfc3339(row.expires_at),
        used_by: used_by.map(|account| account.handle),
        used_at: row.used_at.map(rfc3339),
    })
}
