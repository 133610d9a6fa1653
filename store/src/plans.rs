//! Tests of what SQLite makes of our queries: that each finds its rows by an index and reads them in the
//! order of one, and that the tables are as `schema.rs` says.

#![allow(clippy::unwrap_used)]

mod governance;
mod notices;
mod passkeys;

use std::sync::{Arc, Mutex};

use diesel::connection::InstrumentationEvent;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};

use crate::enforcement_reports;
use crate::hot::Hot;
use crate::markets::Market;
use crate::testing::seed_outcomes;
use crate::testing::{
    evidence, juror, market, panel, proposal, seat, seed, standing_order, transfer,
};
use crate::{
    StoreError, Tx, accounts, acks, cases, checkpoints, claims, control, decisions, export, fees,
    gold, idempotency, jobs, jurors, ledger, markets, open, orders, outbox, panels, policies,
    portfolio, positions, prices, runs, schema, sessions, standings, tokens, trades,
};
use crate::{
    attachments, ballots, comments, commitments, exhibit_challenges, fingerprints, keys, log,
    webhooks,
};
use crate::{hosted, inference, oracle_versions, settled_cases};
use crate::{invitations, second_factors};
use crate::{market_outcomes, outcome_holdings, outcome_trades};
use crate::{policy_inputs, proposals, stakes, standing};

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct Columns {
    #[diesel(sql_type = Text)]
    names: String,
}

/// Reads through every public query once. The arguments matter little: the plan does not depend on them.
fn every_read(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let _ = accounts::get(tx, "ada")?;
    export::rows::<StoreError>(tx, export::Scope::Market("m1"), |_, _| Ok(()))?;
    accounts::by_handle(tx, "ada")?;
    accounts::list(tx, Some("a"), 10)?;
    accounts::any_user(tx)?;
    accounts::locked_micro(tx, "ada")?;
    sessions::get(tx, "x")?;
    sessions::of_account(tx, "ada")?;
    enforcement_reports::of_targets(tx, &["r1".to_owned(), "r2".to_owned()])?;
    invitations::by_code(tx, "x")?;
    invitations::list(tx, Some("x"), 10)?;
    second_factors::get(tx, "ada")?;
    second_factors::count_recovery(tx, "ada")?;
    comments::of_account(tx, "ada", 10)?;
    tokens::by_hash(tx, "x")?;
    tokens::list(tx, "ada")?;
    ledger::transfers(tx, "ada", None, 10)?;
    ledger::entries(tx, 1)?;
    ledger::first(tx, "ada")?;
    ledger::newest(tx)?;
    idempotency::get(tx, "ada", "k")?;
    let _ = runs::get(tx, "r1")?;
    runs::by_name(tx, "sleeper")?;
    checkpoints::list(tx, "r1", 10)?;
    let _ = checkpoints::get(tx, "r1", "x").is_err();
    let _ = markets::get(tx, "m1")?;
    for (run, status) in [
        (None, None),
        (Some("r1"), None),
        (None, Some("open")),
        (Some("r1"), Some("open")),
    ] {
        markets::list(tx, run, status, Some("m"), 10)?;
        markets::list(tx, run, status, None, 10)?;
    }
    markets::due(tx, 5)?;
    markets::in_status(tx, "open")?;
    markets::newest_binary(tx, "r1", 10)?;
    prices::list(tx, "m1", 0, 10)?;
    prices::last_before(tx, "m1", 5)?;
    prices::since(tx, "m1", 5)?;
    prices::sample(tx, "m1", 10)?;
    trades::list(tx, "m1", None, 10)?;
    trades::by_account(tx, "ada", 10)?;
    let _ = trades::seq_of(tx, "x").is_err();
    positions::get(tx, "m1", "ada")?;
    positions::list(tx, "m1", None, 10)?;
    positions::by_account(tx, "ada")?;
    positions::unpaid(tx, "m1", 10)?;
    positions::any_paid(tx, "m1")?;
    let _ = crate::evidence::get(tx, "e").is_err();
    crate::evidence::list(tx, "m1", None, 10)?;
    crate::evidence::pending(tx, 10)?;
    crate::evidence::count_pending(tx, "m1")?;
    crate::evidence::judged(tx, "m1")?;
    crate::evidence::count_by_account(tx, "m1", "ada")?;
    crate::evidence::by_hash(tx, "m1", "h")?;
    every_read_of_trading(tx)?;
    every_read_of_outcomes(tx)?;
    every_read_of_a_settlement(tx)?;
    every_read_about_evidence(tx)?;
    every_read_of_the_oracle(tx)?;
    every_read_of_the_machinery(tx)
}

/// Orders, fees and standings.
fn every_read_of_trading(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let _ = orders::get(tx, "x").is_err();
    for side in ["up", "down"] {
        orders::best(tx, "m1", side)?;
        orders::levels(tx, "m1", side, 10)?;
    }
    orders::best_limits(tx, "m1")?;
    orders::open_in_market(tx, "m1", 10)?;
    orders::open_of_owner(tx, "m1", "ada")?;
    orders::open_of_account(tx, "ada", 10)?;
    for market in [None, Some("m1")] {
        orders::list(tx, "ada", market, Some(9), 10)?;
    }
    orders::expired(tx, 5, 10)?;
    orders::count_fills(tx, "x")?;
    fees::get(tx, "m1", "ada")?;
    fees::between(tx, "m1", "a", "b")?;
    fees::held(tx, "m1", 10)?;
    fees::totals(tx, "m1")?;
    inference::reservations(tx, 10)?;
    inference::usage_of(tx, "ada", 5, 10)?;
    inference::usage_between(tx, 1, 9, 10)?;
    inference::periods(tx, None, 10)?;
    portfolio::open_positions(tx, "ada", 10)?;
    portfolio::pending_stakes(tx, "ada")?;
    portfolio::trades_of(tx, "ada", None, 10)?;
    portfolio::holdings(tx, "m1", 10)?;
    portfolio::newest_prices(tx, "m1", 10)?;
    standings::get(tx, "ada")?;
    for by in [
        standings::By::Total,
        standings::By::Trading,
        standings::By::Evidence,
    ] {
        standings::list(tx, by, None, 10)?;
    }
    standings::evidence_moves(tx, "m1", "a", "b")?;
    standings::forecasts(tx, None, 10)?;
    standings::forecasts(tx, Some("backdoor"), 10)?;
    Ok(())
}

/// Markets of several outcomes.
fn every_read_of_outcomes(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    market_outcomes::list(tx, "m1")?;
    outcome_holdings::of(tx, "m1", "ada")?;
    outcome_holdings::between(tx, "m1", "a", "z")?;
    outcome_trades::list(tx, "m1", None, 10)?;
    outcome_trades::after(tx, "m1", 0, 10)?;
    outcome_trades::sample(tx, "m1", 10)?;
    outcome_trades::by_account(tx, "ada", 10)?;
    let _ = outcome_trades::seq_of(tx, "x").is_err();
    outcome_trades::named(tx, "t1")?;
    Ok(())
}

/// Cases and their records.
fn every_read_of_a_settlement(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    cases::get(tx, "m1")?;
    cases::seed(tx, "m1")?;
    cases::due(tx, 5, 10)?;
    cases::waiting_for_tokens(tx)?;
    cases::log_after(tx, "m1", 0, 10)?;
    cases::last_trades(tx, "m1", 10)?;
    cases::pending(tx, "m1", 10)?;
    cases::exhibits(tx, "m1")?;
    let _ = cases::exhibit(tx, "m1", "e").is_err();
    claims::list(tx, "m1")?;
    Ok(())
}

/// What stands beside evidence.
fn every_read_about_evidence(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    crate::evidence::held(tx, "m1", 10)?;
    crate::evidence::unreleased(tx, "m1", 10)?;
    let _ = commitments::get(tx, "x").is_err();
    commitments::oldest_open(tx, "m1", 5)?;
    commitments::open(tx, "m1", 10)?;
    commitments::count_open(tx, "m1", "ada")?;
    commitments::due(tx, 5, 10)?;
    fingerprints::list(tx, "m1", None, 10)?;
    crate::evidence::count_waiting(tx, "m1")?;
    crate::evidence::newest_judgements(tx, 10)?;
    let _ = exhibit_challenges::get(tx, "x").is_err();
    exhibit_challenges::of_evidence(tx, "e1", 10)?;
    exhibit_challenges::open_in(tx, "m1", 10)?;
    exhibit_challenges::open(tx, None, 10)?;
    let _ = comments::get(tx, "x").is_err();
    comments::of_market(tx, "m1", None, 10)?;
    comments::of_evidence(tx, "e1", None, 10)?;
    comments::count_since(tx, "ada", 5)?;
    let _ = attachments::get(tx, "x").is_err();
    let _ = attachments::about(tx, "x").is_err();
    attachments::is_owner(tx, "ada", "x")?;
    attachments::bytes_of(tx, "ada")?;
    Ok(())
}

/// Settled cases and versions of the oracle.
fn every_read_of_the_oracle(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    settled_cases::last(tx)?;
    settled_cases::of_market(tx, "m1")?;
    settled_cases::after(tx, 0, 10)?;
    settled_cases::newest(tx, Some("backdoor"), 10)?;
    let _ = oracle_versions::get(tx, "x").is_err();
    oracle_versions::in_force(tx)?;
    oracle_versions::in_force_id(tx)?;
    oracle_versions::latest(tx, "learned")?;
    oracle_versions::list(tx, Some(5), 10)?;
    let _ = oracle_versions::weights(tx, "x").is_err();
    Ok(())
}

/// Events, jobs, decisions and what belongs to them.
fn every_read_of_the_machinery(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let topics = ["a".to_owned(), "b".to_owned()];
    outbox::after(tx, 0, 10)?;
    outbox::after_topics(tx, 0, &topics, 10)?;
    outbox::last_id(tx)?;
    let size = log::size(tx)?;
    log::entries(tx, 0, 10, size)?;
    log::root(tx, 0)?;
    log::index_of(tx, "d")?;
    log::checkpoints(tx, None, 10)?;
    keys::list(tx)?;
    keys::active_of_service(tx)?;
    let _ = keys::get(tx, "k").is_err();
    keys::signatures(tx, "x")?;
    let _ = webhooks::get(tx, "w").is_err();
    webhooks::of_account(tx, "ada")?;
    webhooks::due(tx, 5, 10)?;
    webhooks::count_failing(tx)?;
    webhooks::deliveries(tx, "w", 10)?;
    notices::every_read(tx)?;
    passkeys::every_read(tx)?;
    jobs::claim(tx, &["judge", "settle"], 5, 10, 10)?;
    jobs::next_run_at(tx, &["judge", "settle"])?;
    jobs::list(tx, None, 10)?;
    jobs::list(tx, Some("done"), 10)?;
    let _ = decisions::get(tx, "x").is_err();
    decisions::latest(tx, "r1", "training")?;
    decisions::current(tx)?;
    decisions::since(tx, 0, 10)?;
    decisions::list(tx, None, 10)?;
    decisions::by_target(tx, "r1", 10)?;
    decisions::shares(tx, "r1", "training", 10)?;
    decisions::last_version(tx)?;
    decisions::of_targets_since(tx, &["r1".to_owned(), "r2".to_owned()], 3)?;
    acks::of_decisions(tx, &["x".to_owned(), "y".to_owned()])?;
    acks::latest_of_targets(tx, &["r1".to_owned(), "r2".to_owned()])?;
    acks::list(tx, "x")?;
    policies::active(tx)?;
    policies::list(tx, None, 10)?;
    policies::list(tx, Some(5), 10)?;
    let _ = policies::get(tx, 5).is_err();
    policy_inputs::between(tx, 1, 9, 10)?;
    policy_inputs::last_of_run(tx, "r1", 9)?;
    control::get(tx, "k")?;
    hosted::get(tx, "r1")?;
    hosted::wanted(tx, "running")?;
    hosted::count_running(tx)?;
    let _ = hosted::stake_row(tx, "s").is_err();
    hosted::held(tx, "r1", 10)?;
    hosted::stakes_of(tx, "r1", "s", 10)?;
    hosted::any_held_of(tx, "ada")?;
    hosted::runs_with_stakes(tx)?;
    governance::every_read(tx)
}

/// The writes about accounts that look rows up.
fn every_lookup_about_people(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    accounts::set_roles(tx, "ada", &[])?;
    accounts::set_password(tx, "ada", "x")?;
    sessions::delete_expired(tx, 1)?;
    sessions::touch(tx, "x", 1)?;
    sessions::delete(tx, "x")?;
    tokens::forget(tx, "nobody")?;
    let _ = invitations::redeem(tx, "x", "ada", 1).is_err();
    let _ = invitations::revoke(tx, "x", 1).is_err();
    second_factors::use_recovery(tx, "ada", "x")?;
    second_factors::remove(tx, "ada")?;
    let _ = tokens::touch(tx, "x", 1).is_err();
    let _ = tokens::revoke(tx, "x", "ada", 1).is_err();
    passkeys::every_lookup_of_a_write(tx)
}

/// The writes that look rows up.
fn every_lookup_of_a_write(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    every_lookup_about_people(tx)?;
    ledger::post(tx, &transfer("t", &[("ada", -1), ("bob", 1)]))?;
    markets::update(tx, &market("m1"))?;
    crate::evidence::insert(tx, &evidence("e1", "h"))?;
    crate::evidence::update(tx, &evidence("e1", "h"))?;
    market_outcomes::set_shares(tx, "m2", 0, 5)?;
    market_outcomes::set_pi(tx, "m2", &[1_000_000_000, 0])?;
    outcome_holdings::put(tx, "m2", "ada", 0, 5)?;
    outcome_holdings::put(tx, "m2", "ada", 0, 0)?;
    let _ = commitments::close(tx, "x", "expired", None).is_err();
    let _ = comments::remove(tx, "x", "ada", 1).is_err();
    runs::set_progress(tx, "r1", "running", 5)?;
    let _ = positions::mark_paid(tx, "m1", "ada", 1, 1).is_err();
    let _ = claims::mark_paid(tx, "m1", 0, 1).is_err();
    let job = jobs::enqueue(tx, "judge", "e1", "{}", 1)?;
    jobs::requeue_running(tx)?;
    jobs::retry(tx, job, 2, "error")?;
    jobs::fail(tx, job, "error")?;
    jobs::finish(tx, job)?;
    jobs::prune(tx, 1)?;
    idempotency::prune(tx, 1)?;
    for at in 0..4 {
        let log_odds = 0.0;
        let (market_id, cause) = ("m1".to_owned(), "trade".to_owned());
        let price = prices::Price {
            seq: 0,
            market_id,
            at,
            log_odds,
            cause,
            reference: None,
        };
        prices::insert(tx, &price)?;
    }
    assert_eq!(prices::sample(tx, "m1", 3)?.len(), 3);
    policies::insert_active(tx, "h", "", "ada", None, 1)?;
    policy_inputs::prune(tx, 1)?;
    proposals::insert(tx, &proposal("p"))?;
    proposals::update(tx, &proposal("p"))?;
    proposals::add_step(tx, "p", "draft", "", 1)?;
    let _ = ballots::lower_stake(tx, "p", "ada", 1).is_err();
    ballots::forget_electors(tx, "p")?;
    stakes::undelegate(tx, "ada", "treasury")?;
    standing::insert(tx, &standing_order("o", 5))?;
    standing::update(tx, &standing_order("o", 9))?;
    let _ = fees::mark_returned(tx, "m1", "ada", 1).is_err();
    let _ = inference::release(tx, "x").is_err();
    let _ = hosted::want(tx, "r1", "stopped", 1).is_err();
    let version = oracle_versions::NewVersion {
        id: "v".to_owned(),
        origin: "shipped".to_owned(),
        content: "{}".to_owned(),
        report: None,
        cases: 0,
        created_at: 1,
        created_by: None,
    };
    oracle_versions::insert(tx, &version)?;
    oracle_versions::adopt(tx, "v", "start", 1)?;
    let _ = settled_cases::predicted(tx, 1, 0.5, 0.5).is_err();
    let _ = jurors::update(tx, &juror("ada")).is_err();
    let _ = panels::update(tx, &panel("p")).is_err();
    let _ = panels::update_seat(tx, &seat("p", "ada", 0)).is_err();
    let _ = gold::retire(tx, "g").is_err();
    let _ = gold::use_secret(tx, 1, "p").is_err();
    Ok(())
}

/// What the writer's memory writes to the tables.
fn what_the_memory_writes(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut hot = Hot::default();
    hot.begin();
    let mut tx = Tx::writing(conn, &mut hot);
    ledger::post(&mut tx, &transfer("0-memory", &[("ada", -1), ("bob", 1)]))?;
    let read = markets::get(&mut tx, "m1")?;
    markets::update(
        &mut tx,
        &Market {
            trades: read.trades + 1,
            ..read
        },
    )?;
    assert_eq!(tx.end(true).1, None);
    hot.flush(conn)
}

/// What runs when `f` does, as SQL without its bound values.
fn statements_of(
    f: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError>,
) -> (SqliteConnection, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut conn = open::writer(&folder.path().join("plumbline.db")).unwrap();
    seed(&mut Tx::new(&mut conn)).unwrap();
    seed_outcomes(&mut Tx::new(&mut conn)).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            sink.lock().unwrap().push(query.to_string());
        }
    });
    f(&mut Tx::new(&mut conn)).unwrap();
    what_the_memory_writes(&mut conn).unwrap();
    conn.set_instrumentation(|_: InstrumentationEvent<'_>| ());
    let mut statements: Vec<String> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|query| query.split(" -- binds").next().unwrap_or(query).to_owned())
        .filter(|query| !query.starts_with("INSERT") && !query.contains("last_insert_rowid"))
        .collect();
    statements.sort();
    statements.dedup();
    (conn, statements)
}

fn plan(conn: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
        .load(conn)
        .unwrap();
    steps.into_iter().map(|step| step.detail).collect()
}

/// Whole tables that are read whole, or in the order of their key up to a limit.
fn is_meant_to_scan(sql: &str, step: &str) -> bool {
    match step {
        // The current decision of each target: as many rows as there are targets.
        "SCAN decision_heads" => true,
        // Mails that wait: counted for the figures, and bounded by the accounts that gave an address.
        "SCAN mails USING COVERING INDEX mails_due" => true,
        // A few.
        "SCAN signing_keys USING INDEX signing_keys_by_time" => true,
        // One row for each table with a growing key; asked once, then remembered.
        "SCAN sqlite_sequence" => true,
        // The outside of an EXISTS.
        "SCAN CONSTANT ROW" => true,
        // Newest first, up to a limit.
        "SCAN proposals USING INDEX sqlite_autoindex_proposals_1"
        | "SCAN seals USING INDEX sqlite_autoindex_seals_1"
        | "SCAN policies"
        | "SCAN jobs"
        | "SCAN settled_cases"
        | "SCAN forecasts USING INDEX forecasts_by_time" => sql.contains("DESC LIMIT"),
        // Bounded by the number of electors that a vote takes; counted where one comes or goes.
        "SCAN stakes" => true,
        // `list` without a filter walks the key from its start.
        "SCAN markets USING INDEX sqlite_autoindex_markets_1" => sql.contains("LIMIT"),
        // The stakes that are held, and only those: the index has no others.
        "SCAN node_stakes USING INDEX node_stakes_held"
        | "SCAN node_stakes USING COVERING INDEX node_stakes_held" => sql.contains("DISTINCT"),
        // Requests that are being answered, by the key.
        "SCAN inference_reservations" => sql.contains("LIMIT"),
        _ => false,
    }
}

/// Added up once for each period of revenue, over the rows of that period alone.
fn is_meant_to_add_up(sql: &str) -> bool {
    sql.contains("AS amount_micro") && sql.contains("GROUP BY") && sql.ends_with("LIMIT ?3")
}

#[test]
fn every_query_finds_its_rows_by_an_index_and_in_its_order() {
    let (mut conn, mut statements) = statements_of(every_read);
    let (_, writes) = statements_of(every_lookup_of_a_write);
    statements.extend(writes);
    assert!(
        statements.len() > 60,
        "only {} statements were seen",
        statements.len()
    );
    let mut wrong = Vec::new();
    for sql in &statements {
        for step in plan(&mut conn, sql) {
            let scans = step.starts_with("SCAN") && !is_meant_to_scan(sql, &step);
            if scans || step.contains("TEMP B-TREE") && !is_meant_to_add_up(sql) {
                wrong.push(format!("{step}\n    in {sql}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The column names in "SELECT `table`.`column`, … FROM …".
fn names_in(query: &str) -> Vec<String> {
    let selected = query.split(" FROM ").next().unwrap_or_default();
    let columns = selected.trim_start_matches("SELECT ").split(", ");
    columns
        .map(|column| {
            column
                .rsplit('.')
                .next()
                .unwrap_or(column)
                .trim_matches('`')
                .to_owned()
        })
        .collect()
}

/// Each table with the names of the columns that diesel knows.
macro_rules! columns {
    ($($table:ident),+ $(,)?) => {
        [$({
            let query = schema::$table::table.select(schema::$table::all_columns);
            (stringify!($table), names_in(&diesel::debug_query::<Sqlite, _>(&query).to_string()))
        }),+]
    };
}

/// Every table of the schema with the columns that it names.
fn all_tables() -> Vec<(&'static str, Vec<String>)> {
    // In braces, so that the formatter leaves several on a line.
    let tables = columns! {
        accounts, sessions, tokens, invitations, second_factors, recovery_codes, transfers, entries, idempotency,
        runs, checkpoints, markets, prices, trades, positions, order_books, orders, order_fills, fees, standings,
        inference_reservations, inference_usage, revenue_periods, revenue_shares,
        forecasts, evidence, commitments, fingerprints, settled_cases, oracle_versions, oracle_weights,
        exhibit_challenges, comments, attachments, attachment_owners, outbox, log_tiles, log_places, log_checkpoints,
        signing_keys, decision_signatures, webhooks, webhook_deliveries, hosted_runs, node_stakes, jobs, decisions,
        decision_heads, acks, enforcement_reports, policies, policy_inputs, control,
        stakes, delegations, proposals, proposal_deposits, proposal_electors, proposal_votes, proposal_steps, seals,
        standing_orders, jurors, draw_secrets, gold_cases, gold_views, panels, panel_seats, market_outcomes,
        outcome_holdings, outcome_trades, settlement_cases, settlement_seeds, settlement_claims, frozen_exhibits,
        follows, notices, notice_choices, mail_addresses, mail_items, mails,
        passkeys,
    };
    tables.into()
}

#[test]
fn the_tables_are_as_the_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut conn = open::writer(&folder.path().join("plumbline.db")).unwrap();
    let tables = all_tables();
    for (table, columns) in &tables {
        let query = format!("SELECT group_concat(name) AS names FROM pragma_table_info('{table}')");
        let stored: Columns = diesel::sql_query(query).get_result(&mut conn).unwrap();
        let mut stored: Vec<&str> = stored.names.split(',').collect();
        let mut known = columns.clone();
        stored.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, stored, "{table}");
    }
    let names = "SELECT group_concat(name) AS names FROM sqlite_master WHERE type = 'table' \
                 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\'";
    let stored: Columns = diesel::sql_query(names).get_result(&mut conn).unwrap();
    assert_eq!(stored.names.split(',').count(), tables.len());
}
