//! Input that is wrong in every way we could think of: each gets its own stable
//! code, and nothing changes.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plumbline_tests::fixture::market_terms;
use plumbline_tests::{CREDIT, Call, Http, Site};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// What must be the same before and after: money as a whole, one's own money, the market.
fn state(site: &Site, ada: &Http, market: &str) -> Value {
    let path = format!("/api/v1/markets/{market}");
    json!({
        "ledger": site.ledger(),
        "me": ada.get("/api/v1/me"),
        "market": ada.get(&path),
        "trades": ada.get(&format!("{path}/trades")),
        "evidence": ada.get(&format!("{path}/evidence")),
        "markets": ada.get("/api/v1/markets")["items"].as_array().map(Vec::len),
        "runs": ada.get("/api/v1/runs")["items"].as_array().map(Vec::len),
        "tokens": ada.get("/api/v1/tokens").as_array().map(Vec::len),
    })
}

/// Holds an answer to the problem that a table expects, written `422 bad-size`.
fn expect(who: &Http, call: &Call, expected: &str, what: &str) {
    let (status, code) = who.send(call).problem();
    assert_eq!(format!("{status} {code}"), expected, "{what}");
}

/// Rows of `expected | body`, each body posted to `path` exactly as it stands.
fn refuse_bodies(who: &Http, path: &str, table: &str) {
    for (expected, body) in rows(table) {
        let call = Call::raw(path, "application/json", body);
        expect(who, &call, expected, body);
    }
}

/// Rows of `expected | changes`, the changes made to a good body, which is then posted.
fn refuse_changes(who: &Http, path: &str, good: &Value, table: &str) {
    for (expected, changes) in rows(table) {
        let mut body = good.clone();
        let changes: Value = serde_json::from_str(changes).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        expect(
            who,
            &Call::post(path, &body),
            expected,
            &changes.to_string(),
        );
    }
}

/// Rows of `expected | path`, read.
fn refuse_reads(who: &Http, table: &str) {
    for (expected, path) in rows(table) {
        expect(who, &Call::get(path), expected, path);
    }
}

fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.split_once(" | ").unwrap())
}

/// Bodies that cannot be read as an order, whatever it would mean.
const UNREADABLE: &str = r#"
    400 malformed-json | {"outcome": "yes"
    400 malformed-json | {"outcome":"yes","spend_micro":1}x
    400 malformed-json | {"outcome":"yes","target_probability":NaN}
    400 malformed-json | {"outcome":"yes","target_probability":Infinity}
    400 malformed-json | {"outcome":"yes","target_probability":1e400}
    400 unknown-field  | {"outcome":"yes","spend":1}
    400 unknown-field  | {"outcome":"yes","spend_micro":1,"account":"bob"}
    422 invalid-field  | {"spend_micro":1}
    422 invalid-field  | {"outcome":"yes","spend_micro":"1"}
    422 invalid-field  | {"outcome":"yes","spend_micro":1.5}
    422 invalid-field  | {"outcome":"yes","spend_micro":9223372036854775808}
    422 invalid-field  | {"outcome":"yes","spend_micro":-9223372036854775809}
    422 invalid-field  | {"outcome":null,"spend_micro":1}
    422 invalid-field  | null
    422 invalid-field  | "yes"
"#;

#[test]
fn bodies_that_cannot_be_read_change_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let before = state(&site, &ada, &market);
    let path = format!("/api/v1/markets/{market}/trades");
    refuse_bodies(&ada, &path, &squeeze(UNREADABLE));
    let json = "application/json";
    let raw = |body: &[u8]| Call::raw(&path, json, body);
    expect(&ada, &raw(b""), "400 malformed-json", "empty");
    expect(
        &ada,
        &raw("[".repeat(10_000).as_bytes()),
        "422 invalid-field",
        "deep",
    );
    let bytes = b"{\"outcome\":\"\xff\xfe\",\"spend_micro\":1}";
    expect(&ada, &raw(bytes), "400 not-utf8", "not UTF-8");
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    expect(&ada, &raw(&large), "413 body-too-large", "too large");
    let order = json!({"outcome": "yes", "spend_micro": CREDIT});
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let call = Call::raw(&path, kind, order.to_string());
        expect(&ada, &call, "415 unsupported-media-type", kind);
    }
    for key in [&b""[..], b"a b", b"\xff", &[b'k'; 129]] {
        let call = Call::post(&path, &order).header("idempotency-key", key);
        expect(&ada, &call, "400 invalid-idempotency-key", "key");
    }
    assert_eq!(state(&site, &ada, &market), before);
}

/// Orders that can be read and make no sense, or ask for more than there is.
const SENSELESS_ORDERS: &str = r#"
    422 zero-size           | {"outcome":"yes","spend_micro":0}
    422 zero-size           | {"outcome":"yes","spend_micro":-1}
    422 zero-size           | {"outcome":"yes","spend_micro":-9223372036854775808}
    409 insufficient-funds  | {"outcome":"yes","spend_micro":1001000000}
    409 insufficient-shares | {"outcome":"no","shares_micro":-1}
    422 amount-out-of-range | {"outcome":"no","shares_micro":-9223372036854775808}
    422 bad-probability     | {"outcome":"yes","target_probability":1.0}
    422 bad-probability     | {"outcome":"yes","target_probability":-0.5}
    422 bad-probability     | {"outcome":"yes","target_probability":1e300}
    422 bad-probability     | {"outcome":"yes","spend_micro":1000000,"limit_probability":7}
    422 bad-outcome         | {"outcome":"maybe","spend_micro":1}
    422 bad-size            | {"outcome":"yes"}
    422 bad-size            | {"outcome":"yes","spend_micro":1,"shares_micro":1}
    409 limit-exceeded      | {"outcome":"yes","spend_micro":500000000,"limit_probability":0.51}
"#;

#[test]
fn orders_without_sense_change_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    // So deep that nobody here could pay for moving the price to its bound.
    let mut terms = market_terms(&site.run("subject"), HOUR);
    terms["liquidity_micro"] = json!(1_000 * CREDIT);
    let market = site.market_as(&terms);
    let before = state(&site, &ada, &market);
    let path = format!("/api/v1/markets/{market}/trades");
    refuse_bodies(&ada, &path, &squeeze(SENSELESS_ORDERS));
    for size in [i64::MAX, i64::MAX - 1] {
        for kind in ["spend_micro", "shares_micro"] {
            let order = json!({"outcome": "yes", kind: size});
            let (status, code) = ada.send(&Call::post(&path, &order)).problem();
            let known = ["insufficient-funds", "amount-out-of-range"];
            assert!(known.contains(&code.as_str()), "{order}: {status} {code}");
        }
    }
    for part in ["trades", "quotes"] {
        let nowhere = format!("/api/v1/markets/nothing/{part}");
        let order = json!({"outcome": "yes", "spend_micro": 1});
        expect(&ada, &Call::post(&nowhere, &order), "404 not-found", part);
    }
    assert_eq!(state(&site, &ada, &market), before);
    // A key belongs to the order that it came with.
    let order = |micro: i64| {
        Call::post(&path, &json!({"outcome": "yes", "spend_micro": micro})).key("once")
    };
    assert_eq!(ada.send(&order(CREDIT)).status, 201);
    let after = state(&site, &ada, &market);
    expect(
        &ada,
        &order(2 * CREDIT),
        "422 idempotency-mismatch",
        "reused key",
    );
    assert_eq!(state(&site, &ada, &market), after);
}

/// Lets tables align their columns.
fn squeeze(table: &str) -> String {
    let line = |line: &str| match line.split_once('|') {
        Some((expected, rest)) => format!("{} |{rest}\n", expected.trim()),
        None => String::new(),
    };
    table.lines().map(line).collect()
}

const SENSELESS_EVIDENCE: &str = r#"
    422 bad-kind           | {"kind":"song"}
    422 bad-title          | {"title":" "}
    422 bad-stake          | {"stake_micro":0}
    422 bad-stake          | {"stake_micro":-9223372036854775808}
    409 insufficient-funds | {"stake_micro":1000000000}
    409 insufficient-funds | {"stake_micro":9223372036854775807}
    422 bad-exhibits       | {"exhibits":[]}
    422 bad-exhibit        | {"exhibits":[{"type":"song"}]}
    422 bad-exhibit        | {"exhibits":[{"type":"transcript","messages":[]}]}
    422 bad-exhibit        | {"exhibits":[{"type":"report","text":"x","extra":1}]}
    422 invalid-field      | {"exhibits":"none"}
    400 unknown-field      | {"bribe":1}
"#;

#[test]
fn evidence_without_sense_changes_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let before = state(&site, &ada, &market);
    let good = json!({
        "kind": "report", "title": "t", "stake_micro": CREDIT,
        "exhibits": [{"type": "report", "text": "It lies."}],
    });
    let path = format!("/api/v1/markets/{market}/evidence");
    refuse_changes(&ada, &path, &good, &squeeze(SENSELESS_EVIDENCE));
    let mut long = good.clone();
    long["body"] = json!("x".repeat(1 << 20));
    expect(&ada, &Call::post(&path, &long), "422 body-too-long", "long");
    let nowhere = Call::post("/api/v1/markets/nothing/evidence", &good);
    expect(&ada, &nowhere, "404 not-found", "nowhere");
    assert_eq!(state(&site, &ada, &market), before);
}

const WRONG_READS: &str = "
    400 invalid-parameter | /api/v1/markets?limit=0
    400 invalid-parameter | /api/v1/markets?limit=100000
    400 invalid-parameter | /api/v1/markets?limit=-1
    400 unknown-parameter | /api/v1/markets?sort=up
    422 bad-status        | /api/v1/markets?status=merry
    404 not-found         | /api/v1/markets?run_id=nothing
    404 not-found         | /api/v1/markets/nothing
    404 not-found         | /api/v1/markets/nothing/trades
    404 not-found         | /api/v1/markets/nothing/prices
    404 not-found         | /api/v1/markets/nothing/settlement
    404 not-found         | /api/v1/runs/nothing
    404 not-found         | /api/v1/evidence/nothing
    404 not-found         | /api/v1/allocations/nothing
    404 not-found         | /api/v1/training/runs/nothing
    404 not-found         | /api/v1/nothing
    400 invalid-parameter | /api/v1/events?topics=
    400 invalid-parameter | /api/v1/allocations?since=x
    400 invalid-parameter | /api/v1/allocations?since=0&wait=1e9
    400 invalid-parameter | /api/v1/allocations?since=0&wait=NaN
    400 invalid-parameter | /api/v1/allocations?since=0&wait=-1
";

#[test]
fn reads_and_accounts_that_are_wrong_change_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let before = state(&site, &ada, &market);
    refuse_reads(&ada, &squeeze(WRONG_READS));
    let of_market = |rest: &str| Call::get(&format!("/api/v1/markets/{market}/{rest}"));
    for part in ["trades", "prices"] {
        let call = of_market(&format!("{part}?cursor=x"));
        expect(&ada, &call, "422 bad-cursor", part);
    }
    let long = Call::get(&format!("/api/v1/markets/{}", "x".repeat(4_000)));
    expect(&ada, &long, "404 not-found", "long id");
    let resumed = Call::get("/api/v1/events?topics=allocations").header("last-event-id", "x");
    expect(&ada, &resumed, "400 invalid-parameter", "event id");
    let method = Call::delete("/api/v1/markets");
    expect(&ada, &method, "405 method-not-allowed", "method");
    let accounts = r#"
        422 bad-handle    | {"handle":"x y","password":"long enough to pass"}
        422 bad-handle    | {"handle":"ab","password":"long enough to pass"}
        422 bad-password  | {"handle":"short","password":"short"}
        409 handle-taken  | {"handle":"ADA","password":"long enough to pass"}
        400 unknown-field | {"handle":"eve","password":"long enough to pass","roles":["operator"]}
    "#;
    refuse_bodies(&ada, "/api/v1/accounts", &squeeze(accounts));
    let tokens = r#"
        422 unknown-scope  | {"name":"t","scopes":["fly"]}
        422 no-scopes      | {"name":"t","scopes":[]}
        422 bad-token-name | {"name":" ","scopes":["read"]}
        403 forbidden      | {"name":"t","scopes":["admin"]}
    "#;
    refuse_bodies(&ada, "/api/v1/tokens", &squeeze(tokens));
    let others = Call::delete("/api/v1/tokens/nothing");
    expect(&ada, &others, "404 not-found", "another's token");
    assert_eq!(state(&site, &ada, &market), before);
}

#[test]
fn credentials_that_are_wrong_open_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let before = state(&site, &ada, &market);
    let visitor = site.server.http();
    let path = format!("/api/v1/markets/{market}/trades");
    let order = Call::post(&path, &json!({"outcome": "yes", "spend_micro": CREDIT}));
    expect(&visitor, &order, "401 unauthenticated", "none");
    for wrong in ["plb_wrong", "x", &"y".repeat(2_000), ""] {
        let answer = visitor.with_token(wrong).send(&order);
        assert_eq!(answer.problem(), (401, "unauthenticated".into()), "{wrong}");
        assert!(!answer.header("www-authenticate").is_empty());
    }
    let basic = order.clone().header("authorization", "Basic YTpi");
    expect(&visitor, &basic, "401 unauthenticated", "another scheme");
    let forged = order.clone().header("cookie", "plumbline_session=forged");
    expect(&visitor, &forged, "401 unauthenticated", "forged session");
    let made = ada.post(
        "/api/v1/tokens",
        &json!({"name": "t", "scopes": ["read", "trade"]}),
    );
    let revoked = Call::delete(&format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()));
    assert_eq!(ada.send(&revoked).status, 204);
    let late = visitor.with_token(made["token"].as_str().unwrap());
    expect(&late, &order, "401 unauthenticated", "revoked");
    let login = r#"
        401 bad-credentials | {"handle":"ada","password":"not the password"}
        401 bad-credentials | {"handle":"nobody","password":"not the password"}
    "#;
    refuse_bodies(&visitor, "/api/v1/sessions", &squeeze(login));
    assert_eq!(state(&site, &ada, &market), before);
}

const SENSELESS_MARKETS: &str = r#"
    422 bad-probability | {"probability":1.0}
    422 bad-probability | {"probability":-1}
    422 bad-liquidity   | {"liquidity_micro":0}
    422 bad-liquidity   | {"liquidity_micro":-5}
    422 bad-liquidity   | {"liquidity_micro":9223372036854775807}
    422 bad-time        | {"closes_at":"soon"}
    422 closes-too-soon | {"closes_at":"2001-01-01T00:00:00Z"}
    422 bad-tokens      | {"closes_after_tokens":0}
    422 bad-claim       | {"claim":""}
    404 not-found       | {"run_id":"nothing"}
    422 bad-plan        | {"settlement":{"method":"objective","plan":{"alpha_ppm":1}}}
    422 bad-method      | {"settlement":{"method":"vibes","plan":{}}}
    400 unknown-field   | {"winner":"yes"}
"#;

#[test]
fn markets_and_acknowledgements_without_sense_change_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    let run = site.run("subject");
    let market = site.market(&run, HOUR);
    let before = state(&site, &ada, &market);
    let good = market_terms(&run, HOUR);
    refuse_changes(
        &site.operator,
        "/api/v1/markets",
        &good,
        &squeeze(SENSELESS_MARKETS),
    );
    let runs = r#"
        409 run-name-taken | {"name":"subject"}
        422 bad-run-name   | {"name":"Not A Name"}
    "#;
    refuse_bodies(&site.operator, "/api/v1/runs", &squeeze(runs));
    let ack = json!({"decision_id": "nothing", "scheduler": "tests", "phase": "received", "observed_generation": 1});
    let acks = r#"404 not-found | {"scheduler":"tests"}"#;
    refuse_changes(&site.operator, "/api/v1/acks", &ack, acks);
    let checkpoints = format!("/api/v1/runs/{run}/checkpoints");
    let hash = r#"422 bad-hash | {"hash":"x","round":1,"tokens":1}"#;
    refuse_bodies(&site.operator, &checkpoints, hash);
    assert_eq!(state(&site, &ada, &market), before);
}

#[test]
fn a_market_past_its_time_takes_nothing() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), Duration::from_secs(2));
    std::thread::sleep(Duration::from_millis(2_100));
    let before = state(&site, &ada, &market);
    let path = format!("/api/v1/markets/{market}");
    let order = r#"409 market-closed | {"outcome":"yes","spend_micro":1000000}"#;
    refuse_bodies(&ada, &format!("{path}/trades"), order);
    let evidence = r#"409 market-closed | {"kind":"report","title":"t","stake_micro":1,"exhibits":[{"type":"report","text":"x"}]}"#;
    refuse_bodies(&ada, &format!("{path}/evidence"), evidence);
    let after = state(&site, &ada, &market);
    // Its status moves on by itself; nothing else does.
    for part in ["ledger", "me", "trades", "evidence"] {
        assert_eq!(after[part], before[part], "{part}");
    }
}
