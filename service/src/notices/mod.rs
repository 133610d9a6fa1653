//! Following, and being told: notices in the application, and by mail where somebody gave an address.
//!
//! People follow what they take part in, and what they ask for. A job reads the outbox and tells them (see
//! `telling`); what concerns one person alone, such as a seat on a panel, is told in the transaction that made it
//! true, because it is in no event.

mod addresses;
mod drafts;
mod following;
mod kind;
mod letters;
mod mailing;
mod stories;
mod telling;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use plumbline_access::Action;
use plumbline_store::notices::{self, Choice, Notice};
use plumbline_store::revenue_shares::RevenueShare;
use plumbline_store::{Tx, follows, mails};

pub use self::mailing::{Letter, PostError, Postman};

use self::drafts::{Draft, credits};
use self::kind::{Channel, Kind};
use crate::accounts::account_of;
use crate::commands::{ChooseNotices, MarkRead};
use crate::context::Context;
use crate::time::{Millis, rfc3339};
use crate::views::{ChoiceView, NoticeView, NoticesPage, UnreadView};
use crate::{Result, Service, ServiceError, page};

/// How somebody follows what they take part in, and what they asked for, and that they left something.
pub(crate) const HOW_OWN: &str = "own";
pub(crate) const HOW_ASKED: &str = "asked";
pub(crate) const HOW_LEFT: &str = "left";
/// What an account follows or left, at most.
pub(crate) const MOST_FOLLOWS: i64 = 2_000;

/// What is in memory about notices.
#[derive(Default)]
pub(crate) struct Desk {
    telling: telling::Memory,
    postman: OnceLock<Arc<dyn Postman>>,
    /// Counts up whenever an account's notices change, so that open pages can ask again.
    changes: Mutex<HashMap<String, u64>>,
    /// Told which account's notices changed.
    wakers: Mutex<Vec<Waker>>,
}

/// Called with an account; false when it need not be called again.
type Waker = Box<dyn Fn(&str) -> bool + Send + Sync>;

impl Desk {
    /// Notes that these accounts' notices changed, and wakes open pages.
    fn changed(&self, accounts: Vec<String>, service: &Service) {
        if accounts.is_empty() {
            return;
        }
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        for account in &accounts {
            *changes.entry(account.clone()).or_default() += 1;
        }
        drop(changes);
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for account in &accounts {
            wakers.retain(|wake| wake(account));
        }
        drop(wakers);
        service.ring();
    }
}

impl Service {
    /// The actor's notices, newest first, with how many are unread.
    pub fn notices(
        &self,
        ctx: &Context,
        unread_only: bool,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<NoticesPage> {
        self.allow(&ctx.actor, Action::ReadNotices)?;
        let (account, limit) = (account_of(&ctx.actor)?, page::bounded(limit));
        let before = page::parse_cursor(cursor)?;
        self.read(|tx| {
            let rows = notices::list(tx, &account, before, unread_only, (limit + 1) as i64)?;
            let unread = notices::unread(tx, &account)?.unsigned_abs();
            let page = page::cut(rows, limit, |row| row.seq.to_string(), view);
            Ok(NoticesPage {
                items: page.items,
                next_cursor: page.next_cursor,
                unread,
            })
        })
    }

    /// Marks notices as read.
    ///
    /// # Errors
    /// `bad-mark` unless exactly one of `id` and `up_to` is there; `not-found`.
    pub fn mark_read(&self, ctx: &Context, cmd: &MarkRead) -> Result<UnreadView> {
        self.allow(&ctx.actor, Action::ReadNotices)?;
        let (account, cmd) = (account_of(&ctx.actor)?, cmd.clone());
        let reader = account.clone();
        let view = self.write_once(ctx, move |tx, now| {
            match (cmd.id, cmd.up_to) {
                (Some(id), None) => {
                    if !notices::mark_one(tx, &reader, id, now)? {
                        return Err(ServiceError::not_found("notification", id.to_string()));
                    }
                }
                (None, Some(up_to)) => {
                    notices::mark_up_to(tx, &reader, up_to, now)?;
                }
                _ => {
                    return Err(ServiceError::invalid(
                        "bad-mark",
                        "name one notification by id, or all up to one by up_to",
                    ));
                }
            }
            let unread = notices::unread(tx, &reader)?.unsigned_abs();
            Ok(UnreadView { unread })
        })?;
        self.notices.changed(vec![account], self);
        Ok(view)
    }

    /// Of which kinds the actor is told by which way.
    pub fn notice_choices(&self, ctx: &Context) -> Result<Vec<ChoiceView>> {
        self.allow(&ctx.actor, Action::ManageNotices)?;
        let account = account_of(&ctx.actor)?;
        self.read(|tx| choices_of(tx, &account))
    }

    /// Changes of which kinds the actor is told by which way; kinds that are not named stay as they are.
    ///
    /// # Errors
    /// `bad-choice` for an unknown kind, and for turning off what tells of a stolen account.
    pub fn choose_notices(&self, ctx: &Context, cmd: &ChooseNotices) -> Result<Vec<ChoiceView>> {
        self.allow(&ctx.actor, Action::ManageNotices)?;
        let account = account_of(&ctx.actor)?;
        let mut rows = Vec::new();
        if cmd.choices.len() > Kind::ALL.len() {
            return Err(ServiceError::invalid("bad-choice", "name each kind once"));
        }
        for choice in &cmd.choices {
            let unknown = || ServiceError::invalid("bad-choice", "there is no such kind");
            let kind = Kind::parse(&choice.kind).ok_or_else(unknown)?;
            for (channel, wanted) in [(Channel::App, choice.app), (Channel::Mail, choice.mail)] {
                if !wanted && !kind.may_be_off(channel) {
                    return Err(ServiceError::invalid(
                        "bad-choice",
                        "notices of sign-ins and passwords are always listed",
                    ));
                }
                rows.push(Choice {
                    account_id: account.clone(),
                    kind: kind.as_str().to_owned(),
                    channel: channel.as_str().to_owned(),
                    wanted,
                });
            }
        }
        self.write_once(ctx, move |tx, _| {
            for row in &rows {
                notices::choose(tx, row)?;
            }
            choices_of(tx, &account)
        })
    }

    /// How often an account's notices changed since start: a page that shows them asks again when it grew.
    pub fn notice_changes(&self, account: &str) -> u64 {
        let changes = self.notices.changes.lock();
        let changes = changes.unwrap_or_else(PoisonError::into_inner);
        changes.get(account).copied().unwrap_or_default()
    }

    /// Calls `wake` with each account whose notices change, until it returns false.
    pub fn on_notices(&self, wake: impl Fn(&str) -> bool + Send + Sync + 'static) {
        let mut wakers = self
            .notices
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wakers.push(Box::new(wake));
    }

    /// Listed notices of an account that it has not read.
    pub fn unread_notices(&self, account: &str) -> Result<u64> {
        self.read(|tx| Ok(notices::unread(tx, account)?.unsigned_abs()))
    }
}

fn choices_of(tx: &mut Tx, account: &str) -> Result<Vec<ChoiceView>> {
    let chosen = notices::choices(tx, account)?;
    let view = |kind: &Kind| ChoiceView {
        kind: kind.as_str().to_owned(),
        what: kind.what().to_owned(),
        app: kind.wanted(&chosen, Channel::App),
        mail: kind.wanted(&chosen, Channel::Mail),
        app_fixed: !kind.may_be_off(Channel::App),
    };
    Ok(Kind::ALL.iter().map(view).collect())
}

fn view(row: Notice) -> NoticeView {
    NoticeView {
        id: row.seq,
        kind: row.kind,
        title: row.title,
        body: row.body,
        link: row.link,
        at: rfc3339(row.at),
        read_at: row.read_at.map(rfc3339),
    }
}

/// Tells an account of something about its own credentials, in the transaction that changed them.
pub(crate) fn warn(
    tx: &mut Tx,
    account: &str,
    source: &str,
    title: &str,
    body: &str,
    now: Millis,
) -> Result<()> {
    let draft = Draft {
        account_id: account.to_owned(),
        source: format!("security:{source}"),
        kind: Kind::Security,
        title: title.to_owned(),
        body: body.to_owned(),
        link: "/account/security".to_owned(),
        at: now,
    };
    drafts::post(tx, draft, now)?;
    Ok(())
}

/// Tells an account of a share of revenue, in the transaction of the vote's effect.
pub(crate) fn tell_of_share(tx: &mut Tx, share: &RevenueShare, now: Millis) -> Result<()> {
    let draft = Draft {
        account_id: share.account_id.clone(),
        source: format!("share:{}", share.id),
        kind: Kind::Share,
        title: format!("{} are yours to claim", credits(share.amount_micro)),
        body: format!("A vote divided the revenue of {}.", share.period),
        link: "/ledger#shares".to_owned(),
        at: now,
    };
    drafts::post(tx, draft, now)?;
    Ok(())
}

/// Tells a juror of a seat, in the transaction of the draw: the event names nobody.
pub(crate) fn tell_of_seat(
    tx: &mut Tx,
    account: &str,
    panel_id: &str,
    commit_by: Millis,
    now: Millis,
) -> Result<()> {
    let follow = follows::Follow {
        account_id: account.to_owned(),
        topic: format!("panel:{panel_id}"),
        since: now,
        how: HOW_OWN.to_owned(),
        told: None,
    };
    follows::add(tx, &follow)?;
    let draft = Draft {
        account_id: account.to_owned(),
        source: format!("seat:{panel_id}"),
        kind: Kind::Seat,
        title: "You were drawn as a juror".to_owned(),
        body: format!("Commit your vote until {}.", rfc3339(commit_by)),
        link: format!("/panels/{panel_id}"),
        at: now,
    };
    drafts::post(tx, draft, now)?;
    Ok(())
}

/// Removes what an account follows, was told, and its address.
pub(crate) fn forget(tx: &mut Tx, account: &str) -> Result<()> {
    mails::forget(tx, account)?;
    notices::forget(tx, account)?;
    Ok(follows::forget(tx, account)?)
}
