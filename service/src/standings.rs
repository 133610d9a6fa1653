//! Who made how much in paid markets. Kept up by the transactions that pay, never by looking back.

use std::collections::HashMap;

use plumbline_access::Action;
use plumbline_market::money::Micro;
use plumbline_market::probability::Pi;
use plumbline_store::markets::Market;
use plumbline_store::positions::Position as PositionRow;
use plumbline_store::standings::{self, By, EvidenceMoves, Gain, Standing};
use plumbline_store::{Tx, accounts, fees};

use crate::context::Context;
use crate::time::Millis;
use crate::trades::position_from;
use crate::views::{Page, StandingView};
use crate::{Result, Service, ServiceError, page};

impl Service {
    /// Accounts by settled profit (`by` is `total`, `trading` or `evidence`), the best first.
    /// Void markets count nothing.
    pub fn leaderboard(
        &self,
        ctx: &Context,
        by: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<StandingView>> {
        self.allow(&ctx.actor, Action::ReadLeaderboard)?;
        let by = match by {
            "total" => By::Total,
            "trading" => By::Trading,
            "evidence" => By::Evidence,
            other => {
                return Err(ServiceError::invalid(
                    "bad-order",
                    format!("by is total, trading or evidence, not '{other}'"),
                ));
            }
        };
        let (after, limit) = (After::parse(cursor)?, page::bounded(limit));
        self.read(move |tx| {
            let place = after
                .as_ref()
                .map(|after| (after.amount, after.account.as_str()));
            let mut rank = after.as_ref().map_or(0, |after| after.rank);
            let rows = standings::list(tx, by, place, (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.account_id.clone(), |row| row);
            let last = page.items.last().cloned();
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                rank += 1;
                items.push(standing_view(tx, row, rank)?);
            }
            let next = last.filter(|_| page.next_cursor.is_some());
            Ok(Page {
                items,
                next_cursor: next
                    .map(|row| format!("{rank}:{}:{}", amount_of(&row, by), row.account_id)),
            })
        })
    }
}

/// The last line of the page before.
struct After {
    rank: i64,
    amount: i64,
    account: String,
}

impl After {
    fn parse(cursor: Option<&str>) -> Result<Option<Self>> {
        let parse = |text: &str| {
            let mut parts = text.splitn(3, ':');
            Some(Self {
                rank: parts
                    .next()?
                    .parse()
                    .ok()
                    .filter(|rank| (0..1 << 40).contains(rank))?,
                amount: parts.next()?.parse().ok()?,
                account: parts.next()?.to_owned(),
            })
        };
        cursor
            .map(|text| {
                parse(text).ok_or_else(|| {
                    ServiceError::invalid(
                        "bad-cursor",
                        "pass the next_cursor of the page before, unchanged",
                    )
                })
            })
            .transpose()
    }
}

fn amount_of(row: &Standing, by: By) -> i64 {
    match by {
        By::Total => row.total_micro,
        By::Trading => row.trading_micro,
        By::Evidence => row.evidence_micro,
    }
}

fn standing_view(tx: &mut Tx, row: Standing, rank: i64) -> Result<StandingView> {
    Ok(StandingView {
        rank,
        account: accounts::get(tx, &row.account_id)?.handle,
        markets: row.markets,
        hits: row.hits,
        hit_rate: row.hits as f64 / row.markets.max(1) as f64,
        trading_micro: row.trading_micro,
        evidence_micro: row.evidence_micro,
        total_micro: row.total_micro,
    })
}

/// Adds what `rows`, which are being paid what is `due` at `pi`, made; they are in order of their
/// accounts.
pub(crate) fn book_paid(
    tx: &mut Tx,
    market: &Market,
    rows: &[PositionRow],
    due: &[Micro],
    pi: Pi,
    now: Millis,
) -> Result<()> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(());
    };
    let (first, last) = (first.account_id.as_str(), last.account_id.as_str());
    let moves: HashMap<String, EvidenceMoves> =
        standings::evidence_moves(tx, &market.id, first, last)?
            .into_iter()
            .map(|row| (row.account_id.clone(), row))
            .collect();
    let charged: HashMap<String, i64> = fees::between(tx, &market.id, first, last)?
        .into_iter()
        .map(|row| (row.account_id, row.trade_micro + row.creator_micro))
        .collect();
    for (row, paid) in rows.iter().zip(due) {
        let total = paid.get() - position_from(row).locked().get();
        let evidence = moves
            .get(&row.account_id)
            .map_or(0, |moves| earned(moves, pi));
        let gain = Gain {
            trading_micro: total - evidence - charged.get(&row.account_id).copied().unwrap_or(0),
            evidence_micro: evidence,
        };
        standings::add(tx, &row.account_id, gain, now)?;
    }
    Ok(())
}

/// `⌊yes·π + no·(1−π)⌋ − cost` of the moves that an account's evidence made.
fn earned(moves: &EvidenceMoves, pi: Pi) -> i64 {
    let (scale, pi) = (i128::from(Pi::SCALE), i128::from(pi.billionths()));
    let value = i128::from(moves.yes_micro) * pi + i128::from(moves.no_micro) * (scale - pi);
    let floor = i64::try_from(value.div_euclid(scale)).unwrap_or(i64::MAX);
    floor.saturating_sub(moves.cost_micro)
}
