//! A long history for a market, written through the store's own functions in large transactions. Each trade
//! is priced by the market crate and booked with the rows of a real one, so the books balance.

use anyhow::{Context, Result};
use plumbline_market::lmsr::Maker;
use plumbline_market::money::{Micro, MicroShares};
use plumbline_market::probability::LogOdds;
use plumbline_market::trade::{Fill, Order, Outcome, Position as Held, Size, quote};
use plumbline_store::accounts::{self, Account, AccountKind};
use plumbline_store::ledger::{self, Transfer};
use plumbline_store::markets::{self, Market};
use plumbline_store::positions::{self, Position};
use plumbline_store::prices::{self, Price};
use plumbline_store::trades::{self, Trade};
use plumbline_store::{Store, StoreError, Tx, outbox};

/// Rows of one transaction.
const CHUNK: u64 = 5_000;
/// Opening balance of a holder, micro-credits.
const GRANT_MICRO: i64 = 100_000_000;
/// Shares that each trade buys, micro-shares.
const SHARES_MICRO: i64 = 10_000;
/// Time between two trades of the past, milliseconds.
const SPACING_MS: i64 = 100;
/// Where the money comes from.
const TREASURY: &str = "treasury";

/// What to write.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The market.
    pub market_id: String,
    /// Accounts that trade on it, in turn.
    pub holders: u64,
    /// When it began, unix ms; what is written lies after it.
    pub began_at: i64,
}

/// Id of one of the accounts; by their ids they come after those made by sign-up.
pub fn holder(number: u64) -> String {
    format!("holder-{number:07}")
}

impl Seed {
    /// Makes the accounts, each with a balance.
    pub fn open_accounts(&self, store: &Store) -> Result<()> {
        let at = self.began_at;
        for from in (0..self.holders).step_by(CHUNK as usize) {
            let range = from..(from + CHUNK).min(self.holders);
            let write = move |tx: &mut Tx<'_>| {
                for number in range.clone() {
                    accounts::insert(tx, &account(number, at))?;
                }
                range
                    .into_iter()
                    .try_for_each(|number| grant(tx, number, at))
            };
            store.write::<_, StoreError, _>(write)?;
        }
        Ok(())
    }

    /// Writes the trades with these numbers.
    pub fn trade(&self, store: &Store, numbers: std::ops::Range<u64>) -> Result<()> {
        let (from, to) = (numbers.start, numbers.end);
        for from in (from..to).step_by(CHUNK as usize) {
            let (seed, range) = (self.clone(), from..(from + CHUNK).min(to));
            let written = store.write::<_, StoreError, _>(move |tx| {
                let mut market = markets::get(tx, &seed.market_id)?;
                for number in range {
                    match seed.one(tx, market, number)? {
                        Some(next) => market = next,
                        None => return Ok(false),
                    }
                }
                Ok(true)
            })?;
            anyhow::ensure!(written, "a trade of the history was refused");
        }
        Ok(())
    }

    /// Books one trade; the market after it, or nothing if it was refused.
    fn one(
        &self,
        tx: &mut Tx<'_>,
        market: Market,
        number: u64,
    ) -> Result<Option<Market>, StoreError> {
        let account_id = holder(number % self.holders);
        let stored = positions::get(tx, &market.id, &account_id)?;
        let held = stored.map_or_else(Held::default, |row| Held {
            yes: MicroShares(row.yes_micro),
            no: MicroShares(row.no_micro),
            net_cost: Micro(row.cost_micro),
        });
        let Some(fill) = fill(&market, &held, number) else {
            return Ok(None);
        };
        let id = format!("seed-trade-{number:025}");
        let at = self.began_at + i64::try_from(number).unwrap_or(0) * SPACING_MS;
        let cash = fill.cash.get();
        ledger::post(
            tx,
            &Transfer {
                id: format!("seed-transfer-{number:022}"),
                at,
                kind: "trade".to_owned(),
                reference: id.clone(),
                entries: vec![
                    (account_id.clone(), -cash),
                    (market.escrow_id.clone(), cash),
                ],
            },
        )?;
        let position = Position {
            market_id: market.id.clone(),
            account_id: account_id.clone(),
            yes_micro: fill.position.yes.get(),
            no_micro: fill.position.no.get(),
            cost_micro: fill.position.net_cost.get(),
            paid_micro: None,
            paid_at: None,
        };
        positions::upsert(tx, &position)?;
        record(
            tx,
            &market,
            &fill,
            Mark {
                id,
                account_id,
                at,
                number,
            },
        )?;
        let traded = Market {
            log_odds: fill.to.log_odds.get(),
            net_shares_micro: fill.maker.net_shares().get(),
            trades: market.trades + 1,
            ..market
        };
        let version = markets::update(tx, &traded)?;
        Ok(Some(Market { version, ..traded }))
    }
}

/// What names a trade.
struct Mark {
    id: String,
    account_id: String,
    at: i64,
    number: u64,
}

/// Both sides in turn, so that the price stays where it is.
fn side(number: u64) -> Outcome {
    if number.is_multiple_of(2) {
        Outcome::Yes
    } else {
        Outcome::No
    }
}

fn fill(market: &Market, held: &Held, number: u64) -> Option<Fill> {
    let opening = LogOdds::new(market.opening_log_odds).ok()?;
    let (liquidity, net) = (
        Micro(market.liquidity_micro),
        MicroShares(market.net_shares_micro),
    );
    let maker = Maker::restore(opening, liquidity, net).ok()?;
    let order = Order {
        outcome: side(number),
        size: Size::Shares(MicroShares(SHARES_MICRO)),
        limit: None,
    };
    quote(&maker, held, &order).ok()
}

/// The trade, the price and the event.
fn record(tx: &mut Tx<'_>, market: &Market, fill: &Fill, mark: Mark) -> Result<(), StoreError> {
    let Mark {
        id,
        account_id,
        at,
        number,
    } = mark;
    let after = fill.to.log_odds.get();
    trades::insert(
        tx,
        &Trade {
            id: id.clone(),
            market_id: market.id.clone(),
            account_id,
            at,
            outcome: side(number).as_str().to_owned(),
            yes_micro: fill.yes.get(),
            no_micro: fill.no.get(),
            cost_micro: fill.cost.get(),
            log_odds_before: fill.from.log_odds.get(),
            log_odds_after: after,
            cause: "trade".to_owned(),
        },
    )?;
    let payload = serde_json::json!({
        "market_id": market.id,
        "cause": "trade",
        "ref": id,
        "probability": fill.to.probability.get(),
    });
    prices::insert(
        tx,
        &Price {
            seq: 0,
            market_id: market.id.clone(),
            at,
            log_odds: after,
            cause: "trade".to_owned(),
            reference: Some(id),
        },
    )?;
    outbox::push(tx, at, &format!("market:{}", market.id), "price", &payload)?;
    Ok(())
}

fn account(number: u64, at: i64) -> Account {
    Account {
        id: holder(number),
        kind: AccountKind::User,
        handle: holder(number),
        password_hash: None,
        roles: Vec::new(),
        balance_micro: 0,
        created_at: at,
    }
}

fn grant(tx: &mut Tx<'_>, number: u64, at: i64) -> Result<(), StoreError> {
    let id = holder(number);
    ledger::post(
        tx,
        &Transfer {
            id: format!("seed-grant-{number:025}"),
            at,
            kind: "grant".to_owned(),
            reference: id.clone(),
            entries: vec![(TREASURY.to_owned(), -GRANT_MICRO), (id, GRANT_MICRO)],
        },
    )
}

/// Fails unless the ledger sums to zero and every balance is the sum of its entries.
pub fn audit(store: &Store) -> Result<()> {
    let (sums, drift) = store
        .read::<_, StoreError, _>(|tx| Ok((ledger::sums(tx)?, ledger::drift(tx)?)))
        .context("cannot audit the ledger")?;
    anyhow::ensure!(
        sums.balances_micro == 0 && sums.entries_micro == 0 && drift.is_empty(),
        "the ledger does not balance: {sums:?}"
    );
    Ok(())
}
