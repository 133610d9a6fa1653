//! Jury duty over HTTP: who may, what is refused, and a whole panel by forms without JavaScript.

use plumbline_service::StudyPanel;
use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::{Browser, between};
use crate::world::World;

/// Three verified jurors, drawn to a panel on an open market.
async fn panel(world: &World, reveal_ms: i64) -> (Vec<String>, String) {
    let market = world.market().await;
    let mut tokens = Vec::new();
    for name in ["juror-a", "juror-b", "juror-c"] {
        world.person(name);
        let roles = json!({"roles": ["juror"]});
        let path = format!("/api/v1/accounts/{name}/roles");
        let granted = world.post(&path, &world.operator, &roles).await;
        assert_eq!(granted.status, 201, "{}", granted.text);
        let token = world.token(name);
        let joined = world
            .post(
                "/api/v1/jurors",
                &token,
                &json!({"stake_micro": 60_000_000}),
            )
            .await;
        assert_eq!(joined.status, 201, "{}", joined.text);
        tokens.push(token);
    }
    world.service.tick().unwrap();
    let ask = StudyPanel {
        market_id: market["id"].as_str().unwrap().to_owned(),
        round: 1_000,
        size: 3,
        barred: Vec::new(),
        seed: [1; 32],
        commit_ms: 60_000,
        reveal_ms,
    };
    (tokens, world.service.convene_study(&ask).unwrap().unwrap())
}

#[tokio::test]
async fn jury_duty_is_for_jurors_and_faults_have_codes() {
    let world = World::new();
    let (jurors, id) = panel(&world, 60_000).await;
    let ada = world.person("ada");
    let at = |tail: &str| format!("/api/v1/panels/{id}/{tail}");
    let commitment = json!({"commitment": "00".repeat(32)});
    let reveal = json!({"vote_bps": 1, "nonce": "00".repeat(32)});
    let denounce = json!({"account": "juror-a", "vote_bps": 1, "nonce": "00".repeat(32)});
    let case = json!({"claim": "c", "claim_kind": "k", "rubric": "r", "exhibits": [], "pi": 1});
    let voter = world.token("ada");
    let juror = jurors[0].as_str();
    let table: Vec<(&str, String, &str, Value, u16, &str)> = vec![
        (
            "visitor",
            at("commits"),
            "",
            commitment.clone(),
            401,
            "unauthenticated",
        ),
        (
            "scope",
            at("commits"),
            &ada,
            commitment.clone(),
            403,
            "forbidden",
        ),
        (
            "no seat",
            at("commits"),
            &voter,
            commitment.clone(),
            409,
            "no-seat",
        ),
        (
            "no panel",
            "/api/v1/panels/nope/commits".into(),
            juror,
            commitment,
            404,
            "not-found",
        ),
        (
            "hash",
            at("commits"),
            juror,
            json!({"commitment": "xyz"}),
            422,
            "bad-commitment",
        ),
        (
            "field",
            at("commits"),
            juror,
            json!({"vote_bps": 1}),
            400,
            "unknown-field",
        ),
        (
            "early",
            at("reveals"),
            juror,
            reveal.clone(),
            409,
            "reveals-not-open",
        ),
        (
            "range",
            at("reveals"),
            juror,
            json!({"vote_bps": 10_001, "nonce": "00".repeat(32)}),
            422,
            "bad-vote",
        ),
        (
            "opening",
            at("denouncements"),
            &voter,
            denounce,
            422,
            "bad-opening",
        ),
        (
            "stake",
            "/api/v1/jurors".into(),
            juror,
            json!({"stake_micro": -1}),
            422,
            "bad-stake",
        ),
        (
            "no role",
            "/api/v1/jurors".into(),
            &voter,
            json!({"stake_micro": 60_000_000}),
            403,
            "forbidden",
        ),
        (
            "roles",
            "/api/v1/accounts/ada/roles".into(),
            juror,
            json!({"roles": ["operator"]}),
            403,
            "forbidden",
        ),
        (
            "role",
            "/api/v1/accounts/ada/roles".into(),
            &world.operator,
            json!({"roles": ["king"]}),
            422,
            "bad-role",
        ),
        (
            "cases",
            "/api/v1/gold-cases".into(),
            juror,
            case.clone(),
            403,
            "forbidden",
        ),
        (
            "case",
            "/api/v1/gold-cases".into(),
            &world.operator,
            case,
            422,
            "bad-case",
        ),
    ];
    for (name, path, token, body, status, code) in table {
        let request = world.request(Method::POST, &path).json(&body);
        let request = if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        };
        let answer = crate::world::Answer::of(request).await;
        assert_eq!(
            answer.problem(),
            (status, code.to_owned()),
            "{name}: {}",
            answer.text
        );
    }
    let hidden = world.get(&format!("/api/v1/panels/{id}")).await.json();
    assert_eq!(
        (hidden["status"].as_str(), &hidden["case"]),
        (Some("closed"), &Value::Null)
    );
    let listed = world.get("/api/v1/panels").await.json();
    assert_eq!(listed["items"], json!([]), "a running panel is on no list");
    assert_eq!(world.get("/api/v1/panels?mine=true").await.problem().0, 401);
    assert_eq!(world.get("/api/v1/panels?own=true").await.problem().0, 400);
    let draws = world.get("/api/v1/panels/draws").await.json();
    assert!(draws.as_array().unwrap().len() > 30 && draws[0].get("secret").is_none());
    let leave = world
        .request(Method::DELETE, "/api/v1/jurors")
        .bearer_auth(juror);
    let left = crate::world::Answer::of(leave).await.json();
    assert_eq!(
        (&left["stake_micro"], &left["leaving"]),
        (&json!(20_000_000), &json!(true))
    );
}

#[tokio::test]
async fn a_juror_votes_by_forms_and_keeps_the_opening() {
    let world = World::new();
    let (_, id) = panel(&world, 60_000).await;
    let juror = Browser::sign_in(&world, "juror-a").await;
    let list = juror.get("/panels").await;
    assert_eq!(list.status, 200);
    assert!(list.text.contains(&format!("/panels/{id}")) && list.text.contains("Your seats"));
    let page = juror.get(&format!("/panels/{id}")).await.text;
    assert!(
        page.contains("A trigger makes subject unsafe"),
        "the case is shown"
    );
    assert!(!page.contains("/markets/"), "and not its market");
    let nonce = between(&page, "name=\"nonce\" value=\"", "\"").to_owned();
    let at = format!("/panels/{id}/commit");
    let fields = |vote: &'static str| {
        [
            ("vote", vote),
            ("nonce", nonce.as_str()),
            ("justification", "<b>clear</b>"),
        ]
    };
    let wrong = juror.post(&at, &fields("150")).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("a vote is 0 to 10000 basis points"));
    let kept = juror.post(&at, &fields("87.5")).await;
    assert_eq!(kept.status, 201, "{}", kept.text);
    let text = between(&kept.text, "data-opening=\"", "</textarea>");
    let text = text.split_once('>').unwrap().1.replace("&quot;", "\"");
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&#x2F;", "/");
    let opening: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&opening["vote_bps"], &opening["nonce"]),
        (&json!(8_750), &json!(nonce))
    );
    assert_eq!(opening["justification"], "<b>clear</b>");
    let again = juror.post(&at, &fields("10")).await;
    assert_eq!(again.status, 422);
    assert!(again.text.contains("a commitment stands"));
    let early = juror
        .post(&format!("/panels/{id}/reveal"), &[("opening", &text)])
        .await;
    assert_eq!(early.status, 422);
    assert!(
        early.text.contains("after the panel&#x27;s first deadline")
            || early.text.contains("first deadline")
    );
    let garbage = juror
        .post(&format!("/panels/{id}/reveal"), &[("opening", "{")])
        .await;
    assert!(garbage.text.contains("Paste the whole text"));
    let visitor = world.get(&format!("/panels/{id}")).await;
    assert!(visitor.text.contains("published with its ruling"));
    let operator = Browser::sign_in(&world, "operator").await;
    assert!(
        !operator.get("/panels").await.text.contains(&id),
        "running panels are on no list"
    );
    let staked = juror.post("/panels/stake", &[("stake", "lots")]).await;
    assert_eq!(staked.status, 422);
    let left = juror.post("/panels/leave", &[]).await;
    assert_eq!(
        (left.status.as_u16(), left.header("location")),
        (303, "/panels")
    );
}
