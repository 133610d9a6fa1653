//! Everything that the service has about an account, for its owner.

use plumbline_access::Action;
use plumbline_store::{comments, tokens};
use serde_json::json;

use crate::accounts::account_of;
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::AccountExport;
use crate::{Result, Service, page};

/// Entries of one kind at most: an export is answered from memory.
const MOST: usize = 20_000;

impl Service {
    /// What the service has about the actor's account, secrets left out: who it is, what it may do, what it
    /// holds, every transfer, order and comment. `complete` is false where a list was cut.
    pub fn export_account(&self, ctx: &Context) -> Result<AccountExport> {
        self.allow(&ctx.actor, Action::ExportAccount)?;
        let id = account_of(&ctx.actor)?;
        let mut complete = true;
        let mut all = |name: &str, read: &dyn Fn(Option<&str>) -> Result<_>| {
            let (items, whole) = gather(name, read)?;
            complete &= whole;
            Ok::<_, crate::ServiceError>(items)
        };
        let transfers = all("transfers", &|cursor| {
            let page = self.account_transfers(ctx, &id, cursor, page::MAX_LIMIT)?;
            Ok((json!(page.items), page.next_cursor))
        })?;
        let orders = all("orders", &|cursor| {
            let page = self.orders(ctx, None, cursor, page::MAX_LIMIT)?;
            Ok((json!(page.items), page.next_cursor))
        })?;
        let history = all("history", &|cursor| {
            let page = self.history(ctx, cursor, page::MAX_LIMIT)?;
            Ok((json!(page.items), page.next_cursor))
        })?;
        let follows = all("follows", &|cursor| {
            let page = self.follows(ctx, cursor, page::MAX_LIMIT)?;
            Ok((json!(page.items), page.next_cursor))
        })?;
        let notifications = all("notifications", &|cursor| {
            let page = self.notices(ctx, false, cursor, page::MAX_LIMIT)?;
            Ok((json!(page.items), page.next_cursor))
        })?;
        let account = id.clone();
        let (tokens, comments) = self.read(move |tx| {
            let tokens = tokens::list(tx, &account)?;
            Ok((tokens, comments::of_account(tx, &account, MOST as i64)?))
        })?;
        let tokens = tokens.into_iter().map(|row| {
            json!({"id": row.id, "name": row.name, "scopes": row.scopes, "created_at": rfc3339(row.created_at),
                "expires_at": row.expires_at.map(rfc3339), "last_used_at": row.last_used_at.map(rfc3339),
                "revoked_at": row.revoked_at.map(rfc3339)})
        });
        let tokens = tokens.collect();
        complete &= comments.len() < MOST;
        let comments = comments.into_iter().map(|row| {
            json!({"id": row.id, "market_id": row.market_id, "evidence_id": row.evidence_id, "body": row.body,
                "created_at": rfc3339(row.created_at)})
        });
        Ok(AccountExport {
            exported_at: rfc3339(self.now()),
            account: self.me(ctx)?,
            second_factor: self.second_factor(ctx)?,
            passkeys: self.passkeys(ctx)?.passkeys,
            sessions: self.sessions(ctx, None)?,
            tokens,
            positions: json!(self.my_positions(ctx)?),
            juror: json!(self.own_juror(ctx)?),
            transfers,
            orders,
            history,
            comments: comments.collect(),
            follows,
            notifications,
            mail: self.mail_address(ctx)?,
            complete,
        })
    }
}

type Cut = (serde_json::Value, Option<String>);

/// Reads page after page; whether that was all.
fn gather(
    name: &str,
    read: &dyn Fn(Option<&str>) -> Result<Cut>,
) -> Result<(Vec<serde_json::Value>, bool)> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = read(cursor.as_deref())?;
        match page {
            serde_json::Value::Array(rows) => items.extend(rows),
            _ => return Err(crate::ServiceError::internal(format!("{name} is no list"))),
        }
        match next {
            None => return Ok((items, true)),
            Some(_) if items.len() >= MOST => return Ok((items, false)),
            next => cursor = next,
        }
    }
}
