//! Following and unfollowing by hand.

use plumbline_access::Action;
use plumbline_market::probability::sigmoid;
use plumbline_store::follows::{self, Follow};
use plumbline_store::{Tx, decisions, markets, proposals, runs};

use super::{HOW_ASKED, HOW_LEFT, MOST_FOLLOWS};
use crate::accounts::account_of;
use crate::commands::FollowTopic;
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::{FollowView, Page};
use crate::{Result, Service, ServiceError, page, voting};

/// Longest topic, bytes.
const LONGEST: usize = 128;

impl Service {
    /// What the actor follows, by topic.
    pub fn follows(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<FollowView>> {
        self.allow(&ctx.actor, Action::Follow)?;
        let (account, limit) = (account_of(&ctx.actor)?, page::bounded(limit));
        self.read(|tx| {
            let (mut rows, mut after) = (Vec::new(), cursor.map(str::to_owned));
            // Those that were left are skipped, so that a page is short only where it is the last.
            loop {
                let some =
                    follows::of_account(tx, &account, after.as_deref(), page::MAX_LIMIT as i64)?;
                let last = some.len() < page::MAX_LIMIT;
                after = some.last().map(|row| row.topic.clone());
                rows.extend(some.into_iter().filter(|row| row.how != HOW_LEFT));
                if last || rows.len() > limit {
                    break;
                }
            }
            let page = page::cut(rows, limit, |row| row.topic.clone(), |row| row);
            let views = page.items.into_iter().map(|row| view(tx, row));
            Ok(Page {
                items: views.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// Whether the actor follows a topic; false for a visitor.
    pub fn is_following(&self, ctx: &Context, topic: &str) -> Result<bool> {
        let Some(account) = ctx.actor.account_id.as_deref() else {
            return Ok(false);
        };
        let row = self.read(|tx| Ok(follows::get(tx, account, topic)?))?;
        Ok(row.is_some_and(|row| row.how != HOW_LEFT))
    }

    /// Follows a market, a run, a proposal, or all proposals.
    ///
    /// # Errors
    /// `bad-topic`; `not-found`; `too-many-follows`.
    pub fn follow(&self, ctx: &Context, cmd: &FollowTopic) -> Result<FollowView> {
        self.allow(&ctx.actor, Action::Follow)?;
        let (account_id, topic) = (account_of(&ctx.actor)?, cmd.topic.clone());
        self.write_once(ctx, move |tx, now| {
            let told = figure_of(tx, &topic)?;
            let before = follows::get(tx, &account_id, &topic)?;
            if before.is_none() && follows::count(tx, &account_id)? >= MOST_FOLLOWS {
                return Err(ServiceError::refused(
                    "too-many-follows",
                    "an account follows 2,000 things at most; leave some first",
                ));
            }
            if let Some(before) = before.filter(|before| before.how != HOW_LEFT) {
                return view(tx, before);
            }
            let row = Follow {
                account_id,
                topic,
                since: now,
                how: HOW_ASKED.to_owned(),
                told,
            };
            follows::put(tx, &row)?;
            view(tx, row)
        })
    }

    /// Leaves a topic: also taking part does not make the actor follow it again.
    ///
    /// # Errors
    /// `not-found` where the actor does not follow it.
    pub fn unfollow(&self, ctx: &Context, topic: &str) -> Result<()> {
        self.allow(&ctx.actor, Action::Follow)?;
        let (account, topic) = (account_of(&ctx.actor)?, topic.to_owned());
        self.write(move |tx| {
            let row = follows::get(tx, &account, &topic)?.filter(|row| row.how != HOW_LEFT);
            let row = row.ok_or_else(|| ServiceError::not_found("follow", &topic))?;
            let left = Follow {
                how: HOW_LEFT.to_owned(),
                ..row
            };
            Ok(follows::put(tx, &left)?)
        })
    }
}

/// The figure of a topic, which is not told again before it changes.
///
/// # Errors
/// `bad-topic`; `not-found` where it names nothing.
fn figure_of(tx: &mut Tx, topic: &str) -> Result<Option<f64>> {
    let bad = || {
        ServiceError::invalid(
            "bad-topic",
            "follow market:ID, run:ID, proposal:ID or proposals",
        )
    };
    if topic == voting::TOPIC {
        return Ok(None);
    }
    match topic.split_once(':').filter(|_| topic.len() <= LONGEST) {
        Some(("market", id)) => Ok(Some(sigmoid(markets::get(tx, id)?.log_odds))),
        Some(("run", id)) => {
            runs::get(tx, id)?;
            let newest = decisions::latest(tx, id, "training")?;
            Ok(newest.map(|row| row.share_bps as f64))
        }
        Some(("proposal", id)) => proposals::get(tx, id).map(|_| None).map_err(Into::into),
        _ => Err(bad()),
    }
}

fn view(tx: &mut Tx, row: Follow) -> Result<FollowView> {
    let (name, link) = match row.topic.split_once(':') {
        Some(("market", id)) => (
            markets::get(tx, id)?.claim.clone(),
            format!("/markets/{id}"),
        ),
        Some(("run", id)) => (runs::get(tx, id)?.name, format!("/runs/{id}")),
        Some(("proposal", id)) => (proposals::get(tx, id)?.title, format!("/proposals/{id}")),
        Some(("panel", id)) => (
            "A panel that you sat on".to_owned(),
            format!("/panels/{id}"),
        ),
        _ => ("All proposals".to_owned(), "/proposals".to_owned()),
    };
    Ok(FollowView {
        topic: row.topic,
        name,
        link,
        by_taking_part: row.how != HOW_ASKED,
        since: rfc3339(row.since),
    })
}
