//! Quotes, and what they are made from, remembered from one commit to the next: somebody who looks at a market
//! asks again and again what a trade would do, and mostly nothing has happened in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plumbline_access::Action;
use plumbline_market::trade::Position;
use plumbline_store::markets::{self, Market};

use crate::commands::TradeOrder;
use crate::context::Context;
use crate::outcomes::require_binary;
use crate::outcomes::trades::is_binary;
use crate::time::Millis;
use crate::trades::{Asked, check_open, position_of, quote_view};
use crate::views::QuoteView;
use crate::{Result, Service};

/// Most pairs of market and account remembered; past it all are forgotten.
const MAX_REMEMBERED: usize = 1_024;

/// Everything that a quote depends on beside the order and the time.
#[derive(Debug, Clone)]
struct Basis {
    /// Commits of the store before it was read.
    commits: u64,
    market: Arc<Market>,
    held: Position,
}

impl Basis {
    fn quote(&self, asked: &Asked, now: Millis) -> Result<QuoteView> {
        require_binary(&self.market)?;
        check_open(&self.market, Some(now))?;
        quote_view(&asked.order, &asked.price(&self.market, &self.held)?)
    }
}

/// What quotes were made from lately, by market and account.
#[derive(Debug, Default)]
pub(crate) struct Board {
    known: Mutex<HashMap<(String, Option<String>), Basis>>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Option<String>), Basis>> {
        // An entry is replaced as a whole, so a poisoned lock is still good.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// What a trade would do now.
    pub fn quote(&self, ctx: &Context, market_id: &str, order: &TradeOrder) -> Result<QuoteView> {
        self.allow(&ctx.actor, Action::ReadMarket)?;
        if !is_binary(order) {
            return self.quote_outcome(ctx, market_id, order);
        }
        let asked = Asked::parse(order)?;
        let (id, account) = (market_id.to_owned(), ctx.actor.account_id.clone());
        // Before the read: what changes during it is then not taken for known.
        let commits = self.store.commits();
        let basis = self.read(|tx| {
            let held = match &account {
                Some(account) => position_of(tx, &id, account)?,
                None => Position::default(),
            };
            Ok(Basis {
                commits,
                market: Arc::new(markets::get(tx, &id)?),
                held,
            })
        })?;
        let mut known = self.board.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert((id, account), basis.clone());
        drop(known);
        basis.quote(&asked, self.now())
    }

    /// As [`Service::quote`], if nothing was committed since the actor last asked about this market; never
    /// blocks for long. `None` says nothing about the order.
    pub fn known_quote(
        &self,
        ctx: &Context,
        market_id: &str,
        order: &TradeOrder,
    ) -> Option<Result<QuoteView>> {
        if !is_binary(order) || self.allow(&ctx.actor, Action::ReadMarket).is_err() {
            return None;
        }
        let key = (market_id.to_owned(), ctx.actor.account_id.clone());
        let basis = self.board.lock().get(&key)?.clone();
        let fresh = basis.commits == self.store.commits();
        fresh.then(|| basis.quote(&Asked::parse(order)?, self.now()))
    }
}
