//! What SQLite itself can do with the rows of a trade, and what this crate makes of it: the figures that a
//! benchmark over HTTP is compared with, on the same disk and in the same run.

mod raw;

use std::ffi::CStr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::raw::{Connection, Statement, Value};
use crate::accounts::{Account, AccountKind};
use crate::ledger::Transfer;
use crate::markets::Market;
use crate::positions::Position;
use crate::prices::Price;
use crate::runs::{Run, RunKind};
use crate::trades::Trade;
use crate::{
    Store, StoreError, StoreOptions, Tx, accounts, idempotency, ledger, markets, outbox, positions,
    prices, runs, trades,
};

/// Rows that a trade inserts or updates: trade, price, transfer, three entries, three balances, position,
/// market, event, idempotent answer.
pub const ROWS_PER_TRADE: u64 = 13;

const MARKET: &str = "bench-market";
const TREASURY: &str = "bench-treasury";
const ESCROW: &str = "bench-escrow";
/// Accounts that trade through the store.
const TRADERS: u64 = 32;
/// Start of the made-up clock, unix ms.
const EPOCH: i64 = 1_700_000_000_000;

/// The settings that the store's own writer uses, one statement each.
const SETTINGS: [&CStr; 7] = [
    c"PRAGMA busy_timeout = 5000",
    c"PRAGMA journal_mode = WAL",
    c"PRAGMA synchronous = FULL",
    c"PRAGMA foreign_keys = ON",
    c"PRAGMA cache_size = -32768",
    c"PRAGMA temp_store = MEMORY",
    c"PRAGMA wal_autocheckpoint = 16000",
];

/// How many trades were made durable, and in what time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Trades committed.
    pub trades: u64,
    /// Time from the first to the last of them.
    pub elapsed: Duration,
}

impl Rate {
    /// Durable trades per second.
    pub fn trades_per_second(&self) -> f64 {
        self.trades as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Rows inserted or updated per second: [`ROWS_PER_TRADE`] times the trades.
    pub fn rows_per_second(&self) -> f64 {
        self.trades_per_second() * ROWS_PER_TRADE as f64
    }
}

/// SQLite's ceiling: one thread, plain prepared statements, `group` trades per commit, the same tables,
/// indices and settings, `synchronous=FULL`, for `window`. Nothing is read, computed or answered.
/// As many accounts trade in turn as trades share a commit: each has pages of its own, so their number counts.
/// `path` must not exist; the file is left behind with a sound ledger.
///
/// # Errors
/// [`StoreError::Open`], or the failure of a statement.
pub fn bare_writer(path: &Path, group: usize, window: Duration) -> Result<Rate, StoreError> {
    // The store makes the tables, then lets go of the file.
    let traders = group.max(1) as u64;
    drop(prepare(path, StoreOptions::default(), traders)?);
    let connection = Connection::open(path)?;
    for setting in SETTINGS {
        connection.execute(setting)?;
    }
    let mut statements = Statements::prepare(&connection, traders)?;
    let started = Instant::now();
    let mut trades = 0;
    while started.elapsed() < window {
        connection.execute(c"BEGIN IMMEDIATE")?;
        for _ in 0..group.max(1) {
            statements.trade(&connection, trades)?;
            trades += 1;
        }
        connection.execute(c"COMMIT")?;
    }
    Ok(Rate {
        trades,
        elapsed: started.elapsed(),
    })
}

/// The same rows through [`Store::write`] from `threads` threads at once, each waiting for its answer.
/// `path` must not exist; the file is left behind with a sound ledger.
///
/// # Errors
/// [`StoreError::Open`], or the failure of a write.
pub fn store_writer(path: &Path, threads: usize, window: Duration) -> Result<Rate, StoreError> {
    let store = prepare(path, StoreOptions::default(), TRADERS)?;
    let next = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let work = || {
            while started.elapsed() < window {
                let number = next.fetch_add(1, Ordering::Relaxed);
                store.write::<_, StoreError, _>(move |tx| trade(tx, number))?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or(Err(StoreError::Panicked)))
    })?;
    Ok(Rate {
        trades: next.into_inner(),
        elapsed: started.elapsed(),
    })
}

/// A new file with what a trade refers to: accounts with money, a run and a market.
fn prepare(path: &Path, options: StoreOptions, traders: u64) -> Result<Store, StoreError> {
    let store = Store::open(path, options)?;
    store.write::<_, StoreError, _>(move |tx| {
        let account = |id: String, kind| Account {
            handle: id.clone(),
            id,
            kind,
            password_hash: None,
            roles: Vec::new(),
            balance_micro: 0,
            created_at: EPOCH,
        };
        accounts::insert(tx, &account(TREASURY.to_owned(), AccountKind::Treasury))?;
        accounts::insert(tx, &account(ESCROW.to_owned(), AccountKind::Escrow))?;
        for number in 0..traders {
            let id = trader(number, traders);
            accounts::insert(tx, &account(id.clone(), AccountKind::User))?;
            let grant = 1_000_000_000_000_000;
            ledger::post(
                tx,
                &Transfer {
                    id: format!("grant-{number}"),
                    at: EPOCH,
                    kind: "grant".to_owned(),
                    reference: id.clone(),
                    entries: vec![(TREASURY.to_owned(), -grant), (id, grant)],
                },
            )?;
        }
        runs::insert(tx, &run())?;
        markets::insert(tx, &market())
    })?;
    Ok(store)
}

fn run() -> Run {
    Run {
        id: "bench-run".to_owned(),
        name: "bench".to_owned(),
        kind: RunKind::Embedded,
        owner_id: TREASURY.to_owned(),
        status: "running".to_owned(),
        base_model: None,
        parameters: 1,
        tokens: 0,
        created_at: EPOCH,
    }
}

fn market() -> Market {
    Market {
        id: MARKET.to_owned(),
        run_id: "bench-run".to_owned(),
        claim: "the run writes unsafe calls after a trigger".to_owned(),
        claim_kind: "backdoor".to_owned(),
        rubric: "settled by the committed test".to_owned(),
        status: "open".to_owned(),
        log_odds: 0.0,
        opening_log_odds: 0.0,
        liquidity_micro: 100_000_000,
        subsidy_micro: 0,
        escrow_id: ESCROW.to_owned(),
        creator_id: TREASURY.to_owned(),
        settlement_method: "objective".to_owned(),
        plan: None,
        probe: None,
        life: "{}".to_owned(),
        closes_at: i64::MAX,
        closes_after_tokens: None,
        opened_at: EPOCH,
        frozen_at: None,
        frozen_checkpoint: None,
        net_shares_micro: 0,
        settlement: None,
        settled_at: None,
        statistics: None,
        interval_low: 0.0,
        interval_high: 1.0,
        n_eff: 0.0,
        assessment: None,
        trades: 0,
        evidence: 0,
        version: 0,
        outcome_count: 0,
    }
}

fn trader(number: u64, traders: u64) -> String {
    format!("bench-trader-{:04}", number % traders)
}

/// An identifier as long as a UUID, and like UUIDv7 greater than the ones before.
fn identifier(kind: char, number: u64) -> String {
    format!("{kind}{number:035}")
}

/// A text as long as an answer's body or an event's payload.
fn details(number: u64, filler: usize) -> String {
    format!("{{\"number\":{number},\"details\":\"{:.<filler$}\"}}", "")
}

fn log_odds(number: u64) -> f64 {
    if number.is_multiple_of(2) {
        0.25
    } else {
        -0.25
    }
}

fn now(number: u64) -> i64 {
    EPOCH + i64::try_from(number).unwrap_or(0)
}

/// One trade as a use case writes it.
fn trade(tx: &mut Tx<'_>, number: u64) -> Result<(), StoreError> {
    let (at, id, account) = (
        now(number),
        identifier('t', number),
        trader(number, TRADERS),
    );
    let mut market = markets::get(tx, MARKET)?;
    let before = std::mem::replace(&mut market.log_odds, log_odds(number));
    market.trades += 1;
    markets::update(tx, &market)?;
    ledger::post(
        tx,
        &Transfer {
            id: identifier('l', number),
            at,
            kind: "trade".to_owned(),
            reference: id,
            entries: vec![
                (account.clone(), -101),
                (ESCROW.to_owned(), 100),
                (TREASURY.to_owned(), 1),
            ],
        },
    )?;
    let mut position = positions::get(tx, MARKET, &account)?.unwrap_or(Position {
        market_id: MARKET.to_owned(),
        account_id: account.clone(),
        yes_micro: 0,
        no_micro: 0,
        cost_micro: 0,
        paid_micro: None,
        paid_at: None,
    });
    position.yes_micro += 200;
    position.cost_micro += 101;
    positions::upsert(tx, &position)?;
    record(tx, number, before, market.log_odds)
}

/// What a trade leaves behind beside money and shares: its row, the price, the event, the answer.
fn record(tx: &mut Tx<'_>, number: u64, before: f64, after: f64) -> Result<(), StoreError> {
    let (at, id, account) = (
        now(number),
        identifier('t', number),
        trader(number, TRADERS),
    );
    trades::insert(
        tx,
        &Trade {
            id: id.clone(),
            market_id: MARKET.to_owned(),
            account_id: account.clone(),
            at,
            outcome: "yes".to_owned(),
            yes_micro: 200,
            no_micro: 0,
            cost_micro: 101,
            log_odds_before: before,
            log_odds_after: after,
            cause: "trade".to_owned(),
        },
    )?;
    prices::insert(
        tx,
        &Price {
            seq: 0,
            market_id: MARKET.to_owned(),
            at,
            log_odds: after,
            cause: "trade".to_owned(),
            reference: Some(id),
        },
    )?;
    outbox::push(
        tx,
        at,
        "market",
        "trade",
        &serde_json::json!({ "details": details(number, 160) }),
    )?;
    idempotency::put(
        tx,
        &account,
        &identifier('k', number),
        &identifier('h', number),
        201,
        &details(number, 360),
        at,
    )
}

/// The prepared statements of one trade.
struct Statements<'c> {
    /// Accounts that trade in turn.
    traders: u64,
    market: Statement<'c>,
    transfer: Statement<'c>,
    balance: Statement<'c>,
    entry: Statement<'c>,
    position: Statement<'c>,
    trade: Statement<'c>,
    price: Statement<'c>,
    event: Statement<'c>,
    answer: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(connection: &'c Connection, traders: u64) -> Result<Self, StoreError> {
        Ok(Self {
            traders,
            market: connection
                .prepare(c"UPDATE markets SET log_odds = ?2, trades = trades + 1, version = version + 1 WHERE id = ?1")?,
            transfer: connection.prepare(c"INSERT INTO transfers (id, at, kind, reference) VALUES (?, ?, ?, ?)")?,
            balance: connection
                .prepare(c"UPDATE accounts SET balance_micro = balance_micro + ?2 WHERE id = ?1")?,
            entry: connection.prepare(
                c"INSERT INTO entries (transfer_seq, ordinal, account_id, amount_micro) VALUES (?, ?, ?, ?)",
            )?,
            position: connection.prepare(
                c"INSERT INTO positions (market_id, account_id, yes_micro, no_micro, cost_micro) VALUES (?1, ?2, ?3, 0, ?4) \
                  ON CONFLICT (market_id, account_id) DO UPDATE \
                  SET yes_micro = yes_micro + ?3, cost_micro = cost_micro + ?4",
            )?,
            trade: connection.prepare(
                c"INSERT INTO trades (id, market_id, account_id, at, outcome, yes_micro, no_micro, cost_micro, \
                  log_odds_before, log_odds_after, cause) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            price: connection.prepare(
                c"INSERT INTO prices (market_id, at, log_odds, cause, reference) VALUES (?, ?, ?, ?, ?)",
            )?,
            event: connection.prepare(c"INSERT INTO outbox (at, topic, kind, payload) VALUES (?, ?, ?, ?)")?,
            answer: connection.prepare(
                c"INSERT INTO idempotency (account_id, key, request_hash, status, body, at) VALUES (?, ?, ?, ?, ?, ?)",
            )?,
        })
    }

    fn trade(&mut self, connection: &Connection, number: u64) -> Result<(), StoreError> {
        use Value::{Integer, Real, Text};
        let (at, id, account) = (
            Integer(now(number)),
            identifier('t', number),
            trader(number, self.traders),
        );
        let (before, after) = (Real(log_odds(number + 1)), Real(log_odds(number)));
        connection.run(&mut self.market, &[Text(MARKET), after])?;
        let transfer = identifier('l', number);
        connection.run(
            &mut self.transfer,
            &[Text(&transfer), at, Text("trade"), Text(&id)],
        )?;
        let seq = Integer(connection.last_key());
        for (ordinal, name, amount) in [
            (0, account.as_str(), -101),
            (1, ESCROW, 100),
            (2, TREASURY, 1),
        ] {
            connection.run(&mut self.balance, &[Text(name), Integer(amount)])?;
            connection.run(
                &mut self.entry,
                &[seq, Integer(ordinal), Text(name), Integer(amount)],
            )?;
        }
        connection.run(
            &mut self.position,
            &[Text(MARKET), Text(&account), Integer(200), Integer(101)],
        )?;
        let (yes, no, cost) = (Integer(200), Integer(0), Integer(101));
        connection.run(
            &mut self.trade,
            &[
                Text(&id),
                Text(MARKET),
                Text(&account),
                at,
                Text("yes"),
                yes,
                no,
                cost,
                before,
                after,
                Text("trade"),
            ],
        )?;
        self.record(connection, number)
    }

    /// The rows of a trade that nothing else refers to.
    fn record(&mut self, connection: &Connection, number: u64) -> Result<(), StoreError> {
        use Value::{Integer, Real, Text};
        let (at, id, account) = (
            Integer(now(number)),
            identifier('t', number),
            trader(number, self.traders),
        );
        let after = Real(log_odds(number));
        connection.run(
            &mut self.price,
            &[Text(MARKET), at, after, Text("trade"), Text(&id)],
        )?;
        connection.run(
            &mut self.event,
            &[
                at,
                Text("market"),
                Text("trade"),
                Text(&details(number, 160)),
            ],
        )?;
        let (key, hash, body) = (
            identifier('k', number),
            identifier('h', number),
            details(number, 360),
        );
        connection.run(
            &mut self.answer,
            &[
                Text(&account),
                Text(&key),
                Text(&hash),
                Integer(201),
                Text(&body),
                at,
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(path: &Path, rate: Rate) {
        assert!(rate.trades > 0 && rate.trades_per_second() > 0.0);
        let store = Store::open(path, StoreOptions::default()).unwrap();
        let (sums, drift, market) = store
            .read::<_, StoreError, _>(|tx| {
                Ok((
                    ledger::sums(tx)?,
                    ledger::drift(tx)?,
                    markets::get(tx, MARKET)?,
                ))
            })
            .unwrap();
        assert_eq!((sums.balances_micro, sums.entries_micro), (0, 0));
        assert_eq!(drift, Vec::new());
        assert_eq!(u64::try_from(market.trades).unwrap(), rate.trades);
    }

    #[test]
    fn both_benchmarks_leave_a_sound_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let (bare, whole) = (
            folder.path().join("bare.db"),
            folder.path().join("whole.db"),
        );
        check(
            &bare,
            bare_writer(&bare, 50, Duration::from_millis(200)).unwrap(),
        );
        check(
            &whole,
            store_writer(&whole, 8, Duration::from_millis(200)).unwrap(),
        );
    }
}
