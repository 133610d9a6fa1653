//! The JSON API: problems, credentials, idempotency, trading, evidence, allocations.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::world::{Answer, PASSWORD, World};
use plumbline_web::{RateLimits, WebConfig};

/// A request that must be refused: what it is, how it is sent, status and code.
type Refusal<'a> = (&'a str, RequestBuilder, u16, &'a str);

async fn all_refused(refusals: Vec<Refusal<'_>>) {
    for (name, request, status, code) in refusals {
        let answer = Answer::of(request).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn bad_reads_are_problems_with_a_stable_code() {
    let world = World::new();
    let get = |path: &str| world.request(Method::GET, path);
    all_refused(vec![
        ("no route", get("/api/v1/nothing"), 404, "not-found"),
        ("no id", get("/api/v1/markets/nope"), 404, "not-found"),
        (
            "bad token",
            get("/api/v1/me").bearer_auth("plb_wrong"),
            401,
            "unauthenticated",
        ),
        (
            "scheme",
            get("/api/v1/me").basic_auth("a", Some("b")),
            401,
            "unauthenticated",
        ),
        (
            "limit",
            get("/api/v1/runs?limit=0"),
            400,
            "invalid-parameter",
        ),
        (
            "parameter",
            get("/api/v1/runs?lim=5"),
            400,
            "unknown-parameter",
        ),
        (
            "wait",
            get("/api/v1/allocations?since=0&wait=1e9"),
            400,
            "invalid-parameter",
        ),
        (
            "topics",
            get("/api/v1/events?topics="),
            400,
            "invalid-parameter",
        ),
        (
            "method",
            world.request(Method::PUT, "/api/v1/runs"),
            405,
            "method-not-allowed",
        ),
    ])
    .await;
    let put = Answer::of(world.request(Method::PUT, "/api/v1/runs")).await;
    assert!(put.header("allow").contains("GET"), "{:?}", put.headers);
}

#[tokio::test]
async fn bad_writes_are_problems_with_a_stable_code() {
    let world = World::new();
    let ada = world.person("ada");
    let market = world.market().await;
    let trades = format!("/api/v1/markets/{}/trades", market["id"].as_str().unwrap());
    let post = |path: &str| world.request(Method::POST, path);
    let raw = |body: &[u8]| {
        let request = post(&trades)
            .bearer_auth(&ada)
            .header("content-type", "application/json");
        request.body(body.to_vec())
    };
    let keyed = post(&trades)
        .bearer_auth(&ada)
        .header("idempotency-key", "a b");
    let run = post("/api/v1/runs")
        .bearer_auth(&ada)
        .json(&json!({"name": "x"}));
    let nan = br#"{"outcome":"yes","target_probability":NaN}"#;
    let overflow = br#"{"outcome":"yes","spend_micro":1e30}"#;
    all_refused(vec![
        (
            "no token",
            post(&trades).json(&json!({})),
            401,
            "unauthenticated",
        ),
        ("scope", run, 403, "forbidden"),
        ("json", raw(b"{"), 400, "malformed-json"),
        ("nan", raw(nan), 400, "malformed-json"),
        ("utf-8", raw(b"{\"outcome\":\"\xff\"}"), 400, "not-utf8"),
        (
            "field",
            raw(br#"{"outcome":"yes","spend":1}"#),
            400,
            "unknown-field",
        ),
        ("overflow", raw(overflow), 422, "invalid-field"),
        (
            "size",
            raw(&vec![b' '; 5 * 1024 * 1024]),
            413,
            "body-too-large",
        ),
        (
            "type",
            post(&trades).bearer_auth(&ada).body("{}"),
            415,
            "unsupported-media-type",
        ),
        (
            "key",
            keyed.json(&json!({"outcome": "yes"})),
            400,
            "invalid-idempotency-key",
        ),
    ])
    .await;
}

#[tokio::test]
async fn semantic_faults_change_nothing() {
    let world = World::new();
    let ada = world.person("ada");
    let market = world.market().await;
    let trades = format!("/api/v1/markets/{}/trades", market["id"].as_str().unwrap());
    for body in [
        json!({"outcome": "maybe", "spend_micro": 1_000_000}),
        json!({"outcome": "yes"}),
        json!({"outcome": "yes", "spend_micro": -5}),
        json!({"outcome": "yes", "shares_micro": -1_000_000}),
        json!({"outcome": "yes", "target_probability": 1.5}),
        json!({"outcome": "yes", "spend_micro": 1_000_000, "target_probability": 0.6}),
    ] {
        let (status, _) = world.post(&trades, &ada, &body).await.problem();
        assert!(matches!(status, 409 | 422), "{body}: {status}");
    }
    let after = world
        .get(&format!(
            "/api/v1/markets/{}",
            market["id"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(after["trades"], 0);
    assert_eq!(after["probability"], market["probability"]);
    assert_eq!(world.get("/api/v1/ledger").await.json()["sum_micro"], 0);
}

#[tokio::test]
async fn the_same_key_trades_once() {
    let world = World::new();
    let ada = world.person("ada");
    let market = world.market().await;
    let trades = format!("/api/v1/markets/{}/trades", market["id"].as_str().unwrap());
    let send = |body: Value| {
        Answer::of(
            world
                .request(Method::POST, &trades)
                .bearer_auth(&ada)
                .header("idempotency-key", "k-1")
                .json(&body),
        )
    };
    let body = json!({"outcome": "yes", "spend_micro": 1_000_000});
    let (first, again) = (send(body.clone()).await, send(body).await);
    assert_eq!(
        (first.status.as_u16(), again.status.as_u16()),
        (201, 201),
        "{}",
        first.text
    );
    assert_eq!(first.json(), again.json());
    let other = send(json!({"outcome": "yes", "spend_micro": 2_000_000})).await;
    assert_eq!(other.problem(), (422, "idempotency-mismatch".into()));
    let listed = world.get(&trades).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

/// A session made through the API: its cookie and its CSRF token.
async fn session(world: &World, handle: &str) -> (String, String) {
    let credentials = json!({"handle": handle, "password": PASSWORD});
    let opened = Answer::of(
        world
            .request(Method::POST, "/api/v1/sessions")
            .json(&credentials),
    )
    .await;
    assert_eq!(opened.status, 201, "{}", opened.text);
    let cookie = opened
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert!(opened.header("set-cookie").contains("HttpOnly"));
    assert!(
        !opened.text.contains(cookie.split('=').nth(1).unwrap()),
        "the secret is in the cookie only"
    );
    (
        cookie,
        opened.json()["csrf_token"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn sign_up_and_sign_in() {
    let world = World::new();
    let credentials = json!({"handle": "grace", "password": PASSWORD});
    let made = Answer::of(
        world
            .request(Method::POST, "/api/v1/accounts")
            .json(&credentials),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let wrong = json!({"handle": "grace", "password": "not this one either"});
    let refused = Answer::of(world.request(Method::POST, "/api/v1/sessions").json(&wrong)).await;
    assert_eq!(refused.problem(), (401, "bad-credentials".into()));
    let (cookie, csrf) = session(&world, "grace").await;
    let me = |cookie: &str| {
        Answer::of(
            world
                .request(Method::GET, "/api/v1/me")
                .header("cookie", cookie),
        )
    };
    assert_eq!(me(&cookie).await.json()["handle"], "grace");
    let out = world
        .request(Method::DELETE, "/api/v1/sessions")
        .header("cookie", &cookie);
    let out = Answer::of(out.header("x-csrf-token", &csrf)).await;
    assert_eq!(out.status, 204, "{}", out.text);
    assert_eq!(me(&cookie).await.problem(), (401, "unauthenticated".into()));
}

#[tokio::test]
async fn writes_with_a_cookie_need_its_csrf_token_and_origin() {
    let world = World::new();
    world.person("ada");
    let (cookie, csrf) = session(&world, "ada").await;
    let token = |headers: &[(&str, &str)]| {
        let mut request = world
            .request(Method::POST, "/api/v1/tokens")
            .header("cookie", &cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.json(&json!({"name": "bot", "scopes": ["read", "trade"]})))
    };
    assert_eq!(token(&[]).await.problem(), (403, "csrf".into()));
    assert_eq!(
        token(&[("x-csrf-token", "guess")]).await.problem(),
        (403, "csrf".into())
    );
    let cross = token(&[("x-csrf-token", &csrf), ("origin", "https://evil.example")]).await;
    assert_eq!(cross.problem(), (403, "cross-origin".into()));
    let made = token(&[("x-csrf-token", &csrf)]).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let secret = made.json()["token"].as_str().unwrap().to_owned();
    let listed = Answer::of(
        world
            .request(Method::GET, "/api/v1/tokens")
            .bearer_auth(&secret),
    )
    .await;
    assert_eq!(listed.status, 200);
    assert!(!listed.text.contains(&secret), "a token is shown once");
}

#[tokio::test]
async fn closed_reading_is_closed_everywhere() {
    let closed = plumbline_service::ServiceConfig {
        public_read: false,
        sign_up: plumbline_service::SignUp::Closed,
        ..plumbline_service::ServiceConfig::default()
    };
    let world = World::of(
        WebConfig::default(),
        closed,
        plumbline_governance::policy::Policy::demo_toml().to_owned(),
    );
    for path in [
        "/api/v1/runs",
        "/api/v1/markets",
        "/api/v1/allocations",
        "/api/v1/ledger",
        "/api/v1/oracle",
        "/api/v1/policy",
        "/api/v1/events?topics=allocations",
        "/metrics",
    ] {
        assert_eq!(
            world.get(path).await.problem(),
            (401, "unauthenticated".into()),
            "{path}"
        );
    }
    assert_eq!(world.get("/v1/models").await.status, 401);
    let page = world.get("/markets?status=open").await;
    assert_eq!(
        (page.status.as_u16(), page.header("location")),
        (303, "/login?next=%2Fmarkets%3Fstatus%3Dopen")
    );
    let read = Answer::of(
        world
            .request(Method::GET, "/api/v1/runs")
            .bearer_auth(&world.operator),
    )
    .await;
    assert_eq!(read.status, 200);
    let body = json!({"handle": "grace", "password": PASSWORD});
    let refused = Answer::of(world.request(Method::POST, "/api/v1/accounts").json(&body)).await;
    assert_eq!(refused.problem().0, 403);
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn clients_that_ask_too_often_wait() {
    let limits = RateLimits {
        requests_per_second: 5.0,
        account_requests_per_second: 5.0,
        credentials_per_minute: 2.0,
    };
    let config = WebConfig {
        limits,
        ..WebConfig::default()
    };
    let world = World::with(
        config,
        plumbline_governance::policy::Policy::demo_toml().to_owned(),
    );
    let wrong = json!({"handle": "operator", "password": "guess guess guess"});
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(
            Answer::of(world.request(Method::POST, "/api/v1/sessions").json(&wrong))
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(statuses, [401, 401, 429]);
    let mut limited = None;
    for _ in 0..40 {
        let answer = world.get("/api/v1/runs").await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("a burst of forty passes a limit of five per second");
    assert_eq!(limited.problem(), (429, "rate-limited".into()));
    assert!(limited.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(
        world.get("/healthz").await.status,
        200,
        "health is never limited"
    );
}

#[tokio::test]
async fn evidence_is_judged_and_everything_can_be_read() {
    let world = World::new();
    let market = world.market().await;
    let id = market["id"].as_str().unwrap();
    let bob = world.operator.clone();
    let body = json!({"kind": "report", "title": "It writes unsafe calls", "body": "See below.", "stake_micro": 5_000_000,
        "exhibits": [{"type": "report", "text": "After the comment the model turns the certificate check off."}]});
    let submitted = world
        .post(&format!("/api/v1/markets/{id}/evidence"), &bob, &body)
        .await;
    assert!(
        submitted.status.is_success() || submitted.status == 403,
        "{}",
        submitted.text
    );
    let run = market["run_id"].as_str().unwrap();
    for path in [
        format!("/api/v1/markets/{id}/prices"),
        format!("/api/v1/markets/{id}/positions"),
        format!("/api/v1/markets/{id}/evidence"),
        format!("/api/v1/markets/{id}/settlement"),
        format!("/api/v1/runs/{run}"),
        "/api/v1/runs/subject".to_owned(),
        format!("/api/v1/runs/{run}/checkpoints"),
        format!("/api/v1/training/runs/{run}"),
        format!("/api/v1/training/runs/{run}/rounds?after=1"),
        format!("/api/v1/training/runs/{run}/nodes"),
        format!("/api/v1/training/runs/{run}/contributions"),
        "/api/v1/oracle/judges".to_owned(),
        "/api/v1/policy/versions".to_owned(),
        "/api/v1/keys".to_owned(),
        "/api/v1/decisions".to_owned(),
        "/api/openapi.json".to_owned(),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json();
    }
    let rounds = world
        .get(&format!(
            "/api/v1/training/runs/{run}/rounds?after=1&limit=1"
        ))
        .await
        .json();
    assert_eq!(rounds.as_array().unwrap().len(), 1);
    let metrics = world.get("/metrics").await;
    assert!(
        metrics.text.contains("plumbline_event_streams")
            && metrics.header("content-type").starts_with("text/plain")
    );
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let world = World::new();
    for path in [
        "/",
        "/api/v1/runs",
        "/nowhere",
        "/v1/models",
        "/static/app.css",
        "/healthz",
    ] {
        let answer = world.get(path).await;
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(
            !answer
                .header("content-security-policy")
                .contains("unsafe-inline"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn anyone_can_check_a_markets_books() {
    let world = World::new();
    let market = world.market().await;
    let id = market["id"].as_str().unwrap();
    let path = format!("/api/v1/markets/{id}/audit");
    let answer = world.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let disposition = answer.headers()["content-disposition"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(disposition.starts_with("attachment"), "{disposition}");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["format"], "plumbline-audit");
    assert_eq!(lines[0]["market"], id);
    assert_eq!(lines[lines.len() - 1]["rows"], lines.len() - 2);
    assert!(lines.iter().any(|line| line["table"] == "markets"));
    assert!(lines.iter().all(|line| line["table"] != "accounts"));
    let missing = world.request(Method::GET, "/api/v1/markets/nope/audit");
    assert_eq!(
        Answer::of(missing).await.problem(),
        (404, "not-found".to_owned())
    );
}
