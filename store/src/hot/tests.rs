//! The memory is not seen: random histories, with it and without it, read the same and leave the same tables.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::mpsc::sync_channel;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use proptest::prelude::*;
use tempfile::TempDir;

use super::Hot;
use crate::markets::Market;
use crate::positions::Position;
use crate::prices::Price;
use crate::testing::{GRANT, account, market, seed, transfer};
use crate::trades::Trade;
use crate::writer::{Call, Request, Shared, commit};
use crate::{
    StoreError, Tx, accounts, fees, idempotency, jobs, ledger, markets, open, orders, outbox,
    positions, prices, trades,
};

/// Something that a request does.
#[derive(Debug, Clone)]
enum Step {
    /// Moves money between two of the accounts, under one of a few ids.
    Post {
        id: u8,
        from: u8,
        to: u8,
        micro: i64,
    },
    /// A trade, as the use case makes it; a failing check of its rows now and then.
    Trade { id: u8, who: u8, shares: i64 },
    /// Answers under one of a few keys, unless that was answered before.
    Answer { who: u8, key: u8 },
    /// Changes something of a market that trades do not.
    Close(u8),
    /// Changes an account's roles.
    Promote(u8),
    /// Adds an account.
    SignUp(u8),
    /// Pays a position out.
    Pay { market: u8, who: u8 },
    /// Reads whole tables.
    Read,
    /// Reads single rows.
    Look { market: u8, who: u8 },
    /// Queues a job.
    Enqueue(u8),
    /// Notes the best limits of a market.
    Limits { market: u8, bid: u8 },
    /// Notes a fee that an account paid.
    Fee { market: u8, who: u8 },
}

/// A request's steps, and whether it fails at the end although they all succeeded.
type Plan = (Vec<Step>, bool);

const PEOPLE: [&str; 5] = ["ada", "bob", "treasury", "escrow", "nobody"];
const MARKETS: [&str; 3] = ["m1", "m2", "none"];

fn person(number: u8) -> &'static str {
    PEOPLE[usize::from(number) % PEOPLE.len()]
}

fn place(number: u8) -> &'static str {
    MARKETS[usize::from(number) % MARKETS.len()]
}

/// A name like an identifier made in the order of time for two of three numbers, and of words for the others.
fn name(kind: &str, number: u8) -> String {
    match number % 3 {
        0 => format!("{kind}{number}"),
        _ => format!("{number:08x}-{kind}"),
    }
}

/// Does the step; what it read, in words.
fn perform(tx: &mut Tx<'_>, step: &Step) -> Result<String, StoreError> {
    match step {
        Step::Post {
            id,
            from,
            to,
            micro,
        } => {
            let entries = [(person(*from), -micro), (person(*to), *micro)];
            ledger::post(tx, &transfer(&name("t", *id), &entries))?;
            Ok(String::new())
        }
        Step::Trade { id, who, shares } => trade(tx, *id, *who, *shares),
        Step::Answer { who, key } => {
            let (who, key) = (person(*who), format!("k{key}"));
            if let Some(answer) = idempotency::get(tx, who, &key)? {
                return Ok(format!("{answer:?}"));
            }
            idempotency::put(tx, who, &key, "hash", 200, "{}", 1)?;
            Ok(format!("{:?}", idempotency::get(tx, who, &key)?))
        }
        Step::Close(number) => {
            let stored = markets::get(tx, place(*number))?;
            let evidence = stored.evidence + 1;
            markets::update(tx, &Market { evidence, ..stored })?;
            Ok(evidence.to_string())
        }
        Step::Promote(number) => {
            accounts::set_roles(tx, person(*number), &[format!("role{number}")])?;
            Ok(format!("{:?}", accounts::get(tx, person(*number))?))
        }
        Step::SignUp(number) => {
            let row = account(&format!("new{number}"), accounts::AccountKind::User);
            accounts::insert(tx, &row).map(|()| String::new())
        }
        Step::Pay { market, who } => {
            positions::mark_paid(tx, place(*market), person(*who), 7, 1)?;
            Ok(String::new())
        }
        Step::Read => Ok(format!(
            "{:?} {:?} {:?} {:?} {:?}",
            accounts::list(tx, None, 100)?,
            positions::list(tx, "m1", None, 100)?,
            trades::list(tx, "m1", None, 100)?,
            prices::list(tx, "m1", 0, 100)?,
            outbox::last_id(tx)?,
        )),
        Step::Limits { market, bid } => {
            let limits = orders::BestLimits {
                bid: Some(f64::from(*bid)),
                ask: None,
            };
            let before = orders::best_limits(tx, place(*market))?;
            orders::set_best_limits(tx, place(*market), limits)?;
            Ok(format!(
                "{before:?} {:?}",
                orders::best_limits(tx, place(*market))?
            ))
        }
        Step::Fee { market, who } => {
            fees::add(tx, place(*market), person(*who), 3, 1)?;
            Ok(format!("{:?}", fees::totals(tx, place(*market))?))
        }
        Step::Look { market, who } => Ok(format!(
            "{:?} {:?} {:?} {:?}",
            orders::best_limits(tx, place(*market))?,
            markets::get(tx, place(*market)),
            accounts::get(tx, person(*who)),
            positions::get(tx, place(*market), person(*who))?,
        )),
        Step::Enqueue(number) => {
            let id = jobs::enqueue(tx, "judge", &format!("job{number}"), "{}", 1)?;
            Ok(id.to_string())
        }
    }
}

fn trade(tx: &mut Tx<'_>, id: u8, who: u8, shares: i64) -> Result<String, StoreError> {
    let (id, who) = (name("trade", id), person(who));
    let stored = markets::get(tx, "m1")?;
    let held = positions::get(tx, "m1", who)?;
    let yes_micro = held.as_ref().map_or(0, |held| held.yes_micro) + shares;
    // Out of the tables' domain when somebody moves the price far enough.
    let log_odds = stored.log_odds + shares as f64 / 10.0;
    let entries = [(who, -shares), ("escrow", shares)];
    ledger::post(tx, &transfer(&id, &entries))?;
    trades::insert(
        tx,
        &Trade {
            id: id.clone(),
            market_id: "m1".to_owned(),
            account_id: who.to_owned(),
            at: 1,
            outcome: "yes".to_owned(),
            yes_micro: shares,
            no_micro: 0,
            cost_micro: shares,
            log_odds_before: stored.log_odds,
            log_odds_after: log_odds,
            cause: "trade".to_owned(),
        },
    )?;
    positions::upsert(
        tx,
        &Position {
            market_id: "m1".to_owned(),
            account_id: who.to_owned(),
            yes_micro,
            no_micro: 0,
            cost_micro: yes_micro,
            paid_micro: None,
            paid_at: None,
        },
    )?;
    let seq = prices::insert(
        tx,
        &Price {
            seq: 0,
            market_id: "m1".to_owned(),
            at: 1,
            log_odds,
            cause: "trade".to_owned(),
            reference: Some(id),
        },
    )?;
    let event = outbox::push(tx, 1, "market:m1", "price", &serde_json::Value::Null)?;
    let version = markets::update(
        tx,
        &Market {
            log_odds,
            trades: stored.trades + 1,
            ..stored
        },
    )?;
    Ok(format!("{seq} {event} {version} {held:?}"))
}

fn request(tx: &mut Tx<'_>, (steps, fails): &Plan) -> Result<String, StoreError> {
    let mut seen = String::new();
    for step in steps {
        let read = perform(tx, step)?;
        writeln!(seen, "{read}").unwrap();
    }
    if *fails {
        return Err(StoreError::conflict("on purpose"));
    }
    Ok(seen)
}

/// What the callers were told.
type Told = Vec<Result<String, String>>;

fn told(result: Result<String, StoreError>) -> Result<String, String> {
    // The tables and the memory word a refusal differently; what matters is its kind.
    result.map_err(|error| format!("{:?}", std::mem::discriminant(&error)))
}

/// A file with accounts, a run and two markets; made once, because migrations take longer than a history.
static TEMPLATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    let mut conn = open::writer(&path).unwrap();
    let mut tx = Tx::new(&mut conn);
    seed(&mut tx).unwrap();
    markets::insert(&mut tx, &market("m2")).unwrap();
    drop(conn);
    std::fs::read(&path).unwrap()
});

fn fresh() -> (TempDir, SqliteConnection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plumbline.db");
    std::fs::write(&path, &*TEMPLATE).unwrap();
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    // Durability is not what is compared here.
    for setting in ["synchronous = OFF", "foreign_keys = ON"] {
        conn.batch_execute(&format!("PRAGMA {setting}")).unwrap();
    }
    (folder, conn)
}

fn plainly(conn: &mut SqliteConnection, batches: &[Vec<Plan>]) -> Told {
    let mut answers = Vec::new();
    for plan in batches.iter().flatten() {
        conn.batch_execute("BEGIN IMMEDIATE").unwrap();
        let result = request(&mut Tx::new(conn), plan);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        conn.batch_execute(end).unwrap();
        answers.push(told(result));
    }
    answers
}

fn from_memory(conn: &mut SqliteConnection, batches: &[Vec<Plan>]) -> Told {
    let mut hot = Hot::default();
    let mut answers = Vec::new();
    for batch in batches {
        let (mut taken, mut waiting) = (Vec::<Box<dyn Request>>::new(), Vec::new());
        for plan in batch.clone() {
            let (reply, answer) = sync_channel(1);
            taken.push(Box::new(Call {
                closure: Some(move |tx: &mut Tx<'_>| request(tx, &plan)),
                result: None,
                reply,
            }));
            waiting.push(answer);
        }
        let failure = commit(conn, &mut hot, &mut taken, &Shared::default()).err();
        assert_eq!(failure, None, "a request must not harm its batch");
        for request in taken {
            request.answer(None);
        }
        answers.extend(
            waiting
                .into_iter()
                .map(|answer| told(answer.recv().unwrap())),
        );
    }
    answers
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Every row of every table that the steps touch.
fn dump(conn: &mut SqliteConnection) -> Vec<String> {
    let tables = [
        ("accounts", "id, roles, balance_micro"),
        ("transfers", "seq, id, at, kind, reference"),
        ("entries", "transfer_seq, ordinal, account_id, amount_micro"),
        (
            "idempotency",
            "account_id, key, request_hash, status, body, at",
        ),
        (
            "markets",
            "id, log_odds, net_shares_micro, trades, evidence, version",
        ),
        ("prices", "seq, market_id, at, log_odds, cause, reference"),
        (
            "trades",
            "seq, id, market_id, account_id, yes_micro, log_odds_after",
        ),
        (
            "positions",
            "market_id, account_id, yes_micro, no_micro, cost_micro, paid_micro, paid_at",
        ),
        ("outbox", "id, at, topic, kind, payload"),
        ("jobs", "id, key"),
        ("order_books", "market_id, best_bid, best_ask"),
        ("fees", "market_id, account_id, trade_micro, creator_micro"),
        ("sqlite_sequence", "name, seq"),
    ];
    let mut lines = Vec::new();
    for (table, columns) in tables {
        let query = format!(
            "SELECT '{table} ' || json_array({columns}) AS line FROM {table} ORDER BY line"
        );
        let rows: Vec<Line> = diesel::sql_query(query).load(conn).unwrap();
        lines.extend(rows.into_iter().map(|row| row.line));
    }
    lines
}

fn step() -> impl Strategy<Value = Step> {
    let small = || 0..6_u8;
    prop_oneof![
        4 => (0..40_u8, small(), small(), -3..GRANT + 5)
            .prop_map(|(id, from, to, micro)| Step::Post { id, from, to, micro }),
        8 => (0..60_u8, small(), -4..9_i64)
            .prop_map(|(id, who, shares)| Step::Trade { id, who, shares }),
        4 => (small(), 0..9_u8).prop_map(|(who, key)| Step::Answer { who, key }),
        1 => small().prop_map(Step::Close),
        1 => small().prop_map(Step::Promote),
        1 => small().prop_map(Step::SignUp),
        1 => (small(), small()).prop_map(|(market, who)| Step::Pay { market, who }),
        1 => Just(Step::Read),
        2 => (small(), small()).prop_map(|(market, who)| Step::Look { market, who }),
        1 => small().prop_map(Step::Enqueue),
        1 => (small(), small()).prop_map(|(market, bid)| Step::Limits { market, bid }),
        1 => (small(), small()).prop_map(|(market, who)| Step::Fee { market, who }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nobody_can_tell_that_rows_are_kept_in_memory(
        batches in prop::collection::vec(
            prop::collection::vec(
                (prop::collection::vec(step(), 1..5), prop::bool::weighted(0.15)),
                1..9,
            ),
            1..6,
        )
    ) {
        let (_a, mut plain) = fresh();
        let (_b, mut kept) = fresh();
        let expected = plainly(&mut plain, &batches);
        prop_assert_eq!(from_memory(&mut kept, &batches), expected);
        prop_assert_eq!(dump(&mut kept), dump(&mut plain));
        let sums = ledger::sums(&mut Tx::new(&mut kept)).unwrap();
        prop_assert_eq!((sums.balances_micro, sums.entries_micro), (0, 0));
        prop_assert_eq!(ledger::drift(&mut Tx::new(&mut kept)).unwrap(), Vec::new());
    }
}

/// Trades, and nothing else: no statement but theirs may need a savepoint.
#[test]
fn a_trade_needs_no_savepoint() {
    let (_folder, mut conn) = fresh();
    let mut hot = Hot::default();
    hot.begin();
    let mut tx = Tx::writing(&mut conn, &mut hot);
    assert_eq!(idempotency::get(&mut tx, "ada", "k").unwrap(), None);
    trade(&mut tx, 1, 0, 5).unwrap();
    idempotency::put(&mut tx, "ada", "k", "h", 200, "{}", 1).unwrap();
    assert_eq!(tx.end(true), (Some(1), None));
    assert!(!hot.has_savepoint());
}

#[test]
fn what_another_process_changed_is_read_anew() {
    let (folder, mut conn) = fresh();
    let mut hot = Hot::default();
    let balance = |conn: &mut SqliteConnection, hot: &mut Hot| {
        let (reply, answer) = sync_channel(1);
        let closure = Some(|tx: &mut Tx<'_>| Ok(accounts::get(tx, "ada")?.balance_micro));
        let mut taken: Vec<Box<dyn Request>> = vec![Box::new(Call::<i64, StoreError, _, _> {
            closure,
            result: None,
            reply,
        })];
        let shared = Shared::default();
        commit(conn, hot, &mut taken, &shared).unwrap();
        let changed = shared.epoch.into_inner() > 0;
        taken.pop().unwrap().answer(None);
        (answer.recv().unwrap().unwrap(), changed)
    };
    assert_eq!(balance(&mut conn, &mut hot), (GRANT, true));
    assert_eq!(balance(&mut conn, &mut hot), (GRANT, false));
    let mut other =
        SqliteConnection::establish(folder.path().join("plumbline.db").to_str().unwrap()).unwrap();
    other
        .batch_execute("UPDATE accounts SET balance_micro = 5 WHERE id = 'ada'")
        .unwrap();
    assert_eq!(balance(&mut conn, &mut hot), (5, true));
}
