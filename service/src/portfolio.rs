//! One's own holdings, marked to market, and what one did.

use plumbline_access::Action;
use plumbline_market::probability::sigmoid;
use plumbline_store::ledger::TransferRow;
use plumbline_store::markets::Market;
use plumbline_store::positions::Position as PositionRow;
use plumbline_store::trades::Trade;
use plumbline_store::{
    Tx, accounts, evidence, exhibit_challenges, fees, ledger, markets, orders, outcome_trades,
    portfolio, standings,
};

use crate::accounts::account_of;
use crate::context::Context;
use crate::error::if_found;
use crate::fees::schedule_of;
use crate::orders::order_view;
use crate::outcomes::with_holdings;
use crate::time::rfc3339;
use crate::trades::{fee_of, position_from, position_view};
use crate::views::{HistoryView, HoldingView, Page, PortfolioView};
use crate::{Result, Service, ServiceError, page};

/// Open positions and orders that a portfolio lists and adds up.
const MOST: i64 = 500;
/// Transfers that the history tells as trades.
const TOLD_AS_TRADES: [&str; 2] = ["trade", "order-fill"];

impl Service {
    /// The actor's open positions at posted prices, open orders, stakes, and totals.
    pub fn portfolio(&self, ctx: &Context) -> Result<PortfolioView> {
        self.allow(&ctx.actor, Action::ReadPortfolio)?;
        let account = account_of(&ctx.actor)?;
        self.read(move |tx| {
            let owner = accounts::get(tx, &account)?;
            let rows = portfolio::open_positions(tx, &account, MOST + 1)?;
            let open = orders::open_of_account(tx, &account, MOST + 1)?;
            let complete = rows.len().max(open.len()) <= MOST as usize;
            let positions = rows
                .into_iter()
                .take(MOST as usize)
                .map(|row| holding(tx, row))
                .collect::<Result<Vec<_>>>()?;
            let orders = open
                .into_iter()
                .take(MOST as usize)
                .map(|row| order_view(tx, row))
                .collect::<Result<Vec<_>>>()?;
            let standing = standings::get(tx, &account)?;
            let sum = |of: fn(&HoldingView) -> i64| positions.iter().map(of).sum::<i64>();
            let value = sum(|holding| holding.value_micro);
            let reserved = orders.iter().map(|order| order.reserved_micro).sum::<i64>();
            let staked = portfolio::pending_stakes(tx, &account)?;
            Ok(PortfolioView {
                account: owner.handle,
                balance_micro: owner.balance_micro,
                reserved_micro: reserved,
                staked_micro: staked,
                locked_micro: sum(|holding| holding.locked_micro),
                value_micro: value,
                equity_micro: owner.balance_micro + reserved + staked + value,
                unrealised_micro: sum(|holding| holding.unrealised_micro),
                realised_micro: standing.as_ref().map_or(0, |row| row.total_micro),
                markets: standing.as_ref().map_or(0, |row| row.markets),
                hits: standing.as_ref().map_or(0, |row| row.hits),
                positions,
                orders,
                complete,
            })
        })
    }

    /// The actor's own trades, moves of evidence, payouts and other transfers, newest first.
    pub fn history(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<HistoryView>> {
        self.allow(&ctx.actor, Action::ReadPortfolio)?;
        let account = account_of(&ctx.actor)?;
        let (mut place, limit) = (Place::parse(cursor)?, page::bounded(limit));
        self.read(move |tx| {
            let most = (limit + 1) as i64;
            let trades = portfolio::trades_of(tx, &account, place.trade, most)?;
            let transfers = ledger::transfers(tx, &account, place.transfer, most)?;
            let more = trades.len().max(transfers.len()) > limit;
            let (mut trades, mut transfers) = (
                trades.into_iter().peekable(),
                transfers.into_iter().peekable(),
            );
            let mut items = Vec::with_capacity(limit);
            let mut seen = 0;
            while items.len() < limit && seen < 2 * limit {
                seen += 1;
                let trade_at = trades.peek().map(|(_, trade)| trade.at);
                let transfer_at = transfers.peek().map(|row| row.at);
                if trade_at.is_none() && transfer_at.is_none() {
                    break;
                }
                // Of one moment the transfer comes first: a payout ends what trades began.
                if transfer_at >= trade_at {
                    if let Some(row) = transfers.next() {
                        place.transfer = Some(row.seq);
                        items.extend(line_of(tx, row)?);
                    }
                } else if let Some((seq, trade)) = trades.next() {
                    place.trade = Some(seq);
                    items.push(trade_line(tx, trade)?);
                }
            }
            let left = trades.peek().is_some() || transfers.peek().is_some();
            Ok(Page {
                items,
                next_cursor: (left || more).then(|| place.to_string()),
            })
        })
    }
}

/// Where a page of the history ends: in the trades and in the transfers.
struct Place {
    trade: Option<i64>,
    transfer: Option<i64>,
}

impl Place {
    fn parse(cursor: Option<&str>) -> Result<Self> {
        let Some(cursor) = cursor else {
            return Ok(Self {
                trade: None,
                transfer: None,
            });
        };
        let number = |text: &str| match text {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        let parts = cursor.split_once('-');
        let parsed = parts.and_then(|(trade, transfer)| {
            Some(Self {
                trade: number(trade)?,
                transfer: number(transfer)?,
            })
        });
        parsed.ok_or_else(|| {
            ServiceError::invalid(
                "bad-cursor",
                "pass the next_cursor of the page before, unchanged",
            )
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |number: Option<i64>| number.map(|number| number.to_string());
        let (trade, transfer) = (text(self.trade), text(self.transfer));
        write!(
            f,
            "{}-{}",
            trade.unwrap_or_default(),
            transfer.unwrap_or_default()
        )
    }
}

fn holding(tx: &mut Tx, row: PositionRow) -> Result<HoldingView> {
    let market = markets::get(tx, &row.market_id)?;
    let paid_fees = fees::get(tx, &row.market_id, &row.account_id)?;
    let locked = position_from(&row).locked().get();
    let account_id = row.account_id.clone();
    let view = position_view(row, &market, String::new());
    let view = with_holdings(tx, view, &market, &account_id)?;
    Ok(HoldingView {
        probability: market
            .settlement
            .unwrap_or_else(|| sigmoid(market.log_odds)),
        market_id: view.market_id,
        claim: market.claim,
        status: market.status,
        yes_micro: view.yes_micro,
        no_micro: view.no_micro,
        outcomes: view.outcomes,
        cost_micro: view.cost_micro,
        locked_micro: locked,
        value_micro: view.value_micro,
        unrealised_micro: view.value_micro - locked,
        fee_micro: paid_fees.map_or(0, |row| row.trade_micro + row.creator_micro),
    })
}

fn trade_line(tx: &mut Tx, trade: Trade) -> Result<HistoryView> {
    let market = markets::get(tx, &trade.market_id)?;
    let fee = fee_of(&trade, &schedule_of(&market)?)?;
    let shares = if trade.outcome == "yes" {
        trade.yes_micro
    } else {
        trade.no_micro
    };
    Ok(HistoryView {
        at: rfc3339(trade.at),
        kind: trade.cause,
        reference: trade.id,
        market_id: Some(trade.market_id),
        claim: Some(market.claim),
        outcome: Some(trade.outcome),
        shares_micro: Some(shares),
        amount_micro: -trade.cost_micro - fee,
        fee_micro: fee,
        probability_before: Some(sigmoid(trade.log_odds_before)),
        probability_after: Some(sigmoid(trade.log_odds_after)),
    })
}

/// A transfer as the history tells it. Trades of several outcomes are told by the transfers that they
/// made, because they are no rows of [`Trade`].
fn line_of(tx: &mut Tx, row: TransferRow) -> Result<Option<HistoryView>> {
    if row.kind != "trade" {
        return transfer_line(tx, row);
    }
    let Some((trade, outcome)) = outcome_trades::named(tx, &row.reference)? else {
        return Ok(None);
    };
    let market = markets::get(tx, &trade.market_id)?;
    Ok(Some(HistoryView {
        at: rfc3339(trade.at),
        kind: "trade".to_owned(),
        reference: trade.id,
        market_id: Some(trade.market_id),
        claim: Some(market.claim),
        outcome: Some(outcome),
        shares_micro: Some(trade.shares_micro),
        amount_micro: -trade.cost_micro,
        fee_micro: 0,
        probability_before: Some(trade.price_before),
        probability_after: Some(trade.price_after),
    }))
}

fn transfer_line(tx: &mut Tx, row: TransferRow) -> Result<Option<HistoryView>> {
    if TOLD_AS_TRADES.contains(&row.kind.as_str()) {
        return Ok(None);
    }
    let market = market_behind(tx, &row.reference)?;
    let (market_id, claim) = market.map(|market| (market.id, market.claim)).unzip();
    Ok(Some(HistoryView {
        at: rfc3339(row.at),
        kind: row.kind,
        reference: row.reference,
        market_id,
        claim,
        outcome: None,
        shares_micro: None,
        amount_micro: row.amount_micro,
        fee_micro: 0,
        probability_before: None,
        probability_after: None,
    }))
}

/// The market that a transfer belongs to: transfers refer to it, or to evidence, a dispute or an order in it.
fn market_behind(tx: &mut Tx, reference: &str) -> Result<Option<Market>> {
    if let Some(market) = if_found(markets::get(tx, reference))? {
        return Ok(Some(market));
    }
    let dispute = if_found(exhibit_challenges::get(tx, reference))?;
    let submitted = dispute.as_ref().map_or(reference, |row| &row.evidence_id);
    let mut market_id = if_found(evidence::get(tx, submitted))?.map(|row| row.market_id);
    if market_id.is_none() {
        market_id = if_found(orders::get(tx, reference))?.map(|row| row.market_id);
    }
    market_id.map(|id| Ok(markets::get(tx, &id)?)).transpose()
}
