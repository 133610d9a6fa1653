//! Rows that are only ever added, and the statements that add them. Nothing reads them back within the
//! request that adds them, so the writer runs these statements when the request has succeeded: one that
//! fails has then written nothing, and needs no savepoint.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::ledger::Transfer;
use crate::prepared::prepared;
use crate::prices::Price;
use crate::trades::Trade;

/// A fact to be added. Keys that grow are given before, so that the caller can have them at once.
#[derive(Debug)]
pub(crate) enum Append {
    /// A transfer under this key, and its entries.
    Transfer(i64, Transfer),
    /// A trade; nobody needs its key before it is there.
    Trade(Trade),
    /// A price under this key.
    Price(i64, Price),
    /// An event.
    Event(Event),
    /// An answer.
    Answer(Answer),
}

/// An event to be added.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its key.
    pub(crate) id: i64,
    /// When, unix ms.
    pub(crate) at: i64,
    /// What it is about.
    pub(crate) topic: String,
    /// What happened.
    pub(crate) kind: String,
    /// The details, JSON.
    pub(crate) payload: String,
}

/// An answer to be kept for the case that its request comes again.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Who asked.
    pub(crate) account_id: String,
    /// Under which key.
    pub(crate) key: String,
    /// Hash of the request.
    pub(crate) request_hash: String,
    /// HTTP status.
    pub(crate) status: i64,
    /// Body.
    pub(crate) body: String,
    /// When, unix ms.
    pub(crate) at: i64,
}

impl Append {
    /// Adds it to its table.
    pub(crate) fn apply(&self, conn: &mut SqliteConnection) -> QueryResult<()> {
        match self {
            Self::Transfer(seq, transfer) => add_transfer(conn, *seq, transfer),
            Self::Trade(trade) => add_trade(conn, trade),
            Self::Price(seq, price) => add_price(conn, *seq, price),
            Self::Event(event) => add_event(conn, event),
            Self::Answer(answer) => add_answer(conn, answer),
        }
    }
}

// Each takes its value apart by name: who adds a column is told here that it is not written yet.

fn add_transfer(conn: &mut SqliteConnection, seq: i64, transfer: &Transfer) -> QueryResult<()> {
    let Transfer {
        id,
        at,
        kind,
        reference,
        entries,
    } = transfer;
    prepared!(
        [
            (
                "INSERT INTO transfers (seq, id, at, kind, reference) VALUES (",
                seq
            ),
            (", ", id),
            (", ", *at),
            (", ", kind),
            (", ", reference),
        ],
        ")"
    )
    .execute(conn)?;
    // One statement each: one for all of them could fail half-way, so SQLite would first copy every page
    // that it touches.
    for (ordinal, (account, amount_micro)) in (0_i64..).zip(entries) {
        prepared!(
            [
                (
                    "INSERT INTO entries (transfer_seq, ordinal, account_id, amount_micro) VALUES (",
                    seq
                ),
                (", ", ordinal),
                (", ", account),
                (", ", *amount_micro),
            ],
            ")"
        )
        .execute(conn)?;
    }
    Ok(())
}

fn add_trade(conn: &mut SqliteConnection, trade: &Trade) -> QueryResult<()> {
    let Trade {
        id,
        market_id,
        account_id,
        at,
        outcome,
        yes_micro,
        no_micro,
        cost_micro,
        log_odds_before,
        log_odds_after,
        cause,
    } = trade;
    prepared!(
        [
            (
                "INSERT INTO trades (id, market_id, account_id, at, outcome, yes_micro, no_micro, \
                 cost_micro, log_odds_before, log_odds_after, cause) VALUES (",
                id
            ),
            (", ", market_id),
            (", ", account_id),
            (", ", *at),
            (", ", outcome),
            (", ", *yes_micro),
            (", ", *no_micro),
            (", ", *cost_micro),
            (", ", *log_odds_before),
            (", ", *log_odds_after),
            (", ", cause),
        ],
        ")"
    )
    .execute(conn)?;
    Ok(())
}

fn add_price(conn: &mut SqliteConnection, seq: i64, price: &Price) -> QueryResult<()> {
    let Price {
        seq: _,
        market_id,
        at,
        log_odds,
        cause,
        reference,
    } = price;
    prepared!(
        [
            (
                "INSERT INTO prices (seq, market_id, at, log_odds, cause, reference) VALUES (",
                seq
            ),
            (", ", market_id),
            (", ", *at),
            (", ", *log_odds),
            (", ", cause),
            (", ", reference),
        ],
        ")"
    )
    .execute(conn)?;
    Ok(())
}

fn add_event(conn: &mut SqliteConnection, event: &Event) -> QueryResult<()> {
    prepared!(
        [
            (
                "INSERT INTO outbox (id, at, topic, kind, payload) VALUES (",
                event.id
            ),
            (", ", event.at),
            (", ", &event.topic),
            (", ", &event.kind),
            (", ", &event.payload),
        ],
        ")"
    )
    .execute(conn)?;
    Ok(())
}

fn add_answer(conn: &mut SqliteConnection, answer: &Answer) -> QueryResult<()> {
    prepared!(
        [
            (
                "INSERT INTO idempotency (account_id, key, request_hash, status, body, at) VALUES (",
                &answer.account_id
            ),
            (", ", &answer.key),
            (", ", &answer.request_hash),
            (", ", answer.status),
            (", ", &answer.body),
            (", ", answer.at),
        ],
        ")"
    )
    .execute(conn)?;
    Ok(())
}
