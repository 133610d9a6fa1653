//! Comments on markets and evidence: talk that moves no price.

use plumbline_access::Action;
use plumbline_store::comments::{self, Comment};
use plumbline_store::{Tx, accounts, evidence, markets};
use serde_json::json;

use crate::accounts::account_of;
use crate::commands::WriteComment;
use crate::context::Context;
use crate::events::publish;
use crate::time::{Millis, rfc3339};
use crate::views::{CommentView, Page};
use crate::{Result, Service, ServiceError, page};

/// Longest comment, bytes.
const MAX_BODY: usize = 4 * 1024;
/// Most comments of an account in [`WINDOW_MS`].
const MOST_PER_WINDOW: i64 = 10;
const WINDOW_MS: Millis = 60_000;

impl Service {
    /// Writes a comment on a market, or on a submission in it.
    ///
    /// Errors: `bad-comment`, `wrong-market` for a submission of another market, and
    /// [`ServiceError::TooMany`] for more than ten in a minute.
    pub fn comment(
        &self,
        ctx: &Context,
        market_id: &str,
        cmd: &WriteComment,
    ) -> Result<CommentView> {
        self.allow(&ctx.actor, Action::WriteComment)?;
        if cmd.body.trim().is_empty() || cmd.body.len() > MAX_BODY {
            return Err(ServiceError::invalid(
                "bad-comment",
                format!("a comment has 1 to {MAX_BODY} bytes"),
            ));
        }
        let handle = ctx.actor.handle.clone();
        let row = Comment {
            id: self.new_id(),
            market_id: market_id.to_owned(),
            evidence_id: cmd.evidence_id.clone(),
            account_id: account_of(&ctx.actor)?,
            body: cmd.body.trim_end().to_owned(),
            created_at: 0,
            deleted_at: None,
            deleted_by: None,
        };
        self.write_once(ctx, move |tx, now| {
            markets::get(tx, &row.market_id)?;
            if let Some(id) = &row.evidence_id
                && evidence::get(tx, id)?.market_id != row.market_id
            {
                return Err(ServiceError::invalid(
                    "wrong-market",
                    "evidence_id names a submission of another market",
                ));
            }
            let recent = comments::count_since(tx, &row.account_id, now - WINDOW_MS + 1)?;
            if recent >= MOST_PER_WINDOW {
                return Err(ServiceError::TooMany {
                    what: "comments",
                    retry_after_s: 60,
                });
            }
            let row = Comment {
                created_at: now,
                ..row
            };
            comments::insert(tx, &row)?;
            announce(tx, now, &row, "comment")?;
            Ok(view_of(row, handle))
        })
    }

    /// Comments on a market and its evidence, oldest first; with `evidence_id` only those on it.
    pub fn comments(
        &self,
        ctx: &Context,
        market_id: &str,
        evidence_id: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<CommentView>> {
        self.allow(&ctx.actor, Action::ListComments)?;
        let (market_id, about) = (market_id.to_owned(), evidence_id.map(str::to_owned));
        let (after, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        self.read(move |tx| {
            markets::get(tx, &market_id)?;
            let (after, most) = (after.as_deref(), (limit + 1) as i64);
            let rows = match about {
                // A submission of another market has no comments in this one.
                Some(id) if evidence::get(tx, &id)?.market_id != market_id => Vec::new(),
                Some(id) => comments::of_evidence(tx, &id, after, most)?,
                None => comments::of_market(tx, &market_id, after, most)?,
            };
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                items.push(view_of(row, handle));
            }
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// Removes a comment's text for good; its place stays. For its author and the operator.
    ///
    /// Errors: `forbidden` for anybody else, `not-found` for one that is gone.
    pub fn remove_comment(&self, ctx: &Context, id: &str) -> Result<()> {
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        let [own, others] =
            [true, false].map(|own| self.may_on(&ctx.actor, Action::RemoveComment, own));
        self.write_once(ctx, move |tx, now| {
            let row = comments::get(tx, &id)?;
            let may = if row.account_id == account {
                own
            } else {
                others
            };
            if !may {
                return Err(ServiceError::Forbidden {
                    needs: "to be its author or the operator".to_owned(),
                });
            }
            comments::remove(tx, &id, &account, now)?;
            announce(tx, now, &row, "comment-removed")
        })
    }
}

fn announce(tx: &mut Tx, now: Millis, row: &Comment, kind: &str) -> Result<()> {
    let payload = json!({
        "market_id": row.market_id,
        "evidence_id": row.evidence_id,
        "comment_id": row.id,
    });
    publish(
        tx,
        now,
        &format!("market:{}", row.market_id),
        kind,
        &payload,
    )
}

fn view_of(row: Comment, account: String) -> CommentView {
    let by_author = row.deleted_by.as_ref().map(|by| *by == row.account_id);
    CommentView {
        id: row.id,
        market_id: row.market_id,
        evidence_id: row.evidence_id,
        account,
        body: row.body,
        created_at: rfc3339(row.created_at),
        deleted_at: row.deleted_at.map(rfc3339),
        deleted_by: by_author.map(|own| if own { "author" } else { "operator" }.to_owned()),
    }
}
