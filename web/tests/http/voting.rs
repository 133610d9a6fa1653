//! Votes over HTTP: who may, what is refused, and a whole proposal by forms without JavaScript.

use reqwest::Method;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::world::World;

fn gift() -> Value {
    json!({"title": "For the proofs", "action": {"kind": "treasury", "account": "ada", "amount_micro": 5_000_000, "memo": "proofs"}})
}

#[tokio::test]
async fn proposals_are_for_participants_and_faults_have_codes() {
    let world = World::new();
    world.market().await;
    world.person("ada");
    let voter = world.token("ada");
    let made = world.post("/api/v1/proposals", &voter, &gift()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let at = |tail: &str| format!("/api/v1/proposals/{id}/{tail}");
    let ballot = json!({"side": "for", "conviction": 1});
    let action = |action: Value| json!({"title": "t", "action": action});
    let tighten = |more: Value| {
        let mut action = json!({"kind": "tighten", "run": "subject", "term_s": 60});
        action
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"title": "t", "action": action})
    };
    let proposals = "/api/v1/proposals".to_owned();
    let table: Vec<(&str, String, &str, Value, u16, &str)> = vec![
        (
            "visitor",
            proposals.clone(),
            "",
            gift(),
            401,
            "unauthenticated",
        ),
        (
            "no kind",
            proposals.clone(),
            &voter,
            action(json!({"kind": "bribe"})),
            422,
            "invalid-field",
        ),
        (
            "unknown field",
            proposals.clone(),
            &voter,
            tighten(json!({"cap_bps": 1, "why": "x"})),
            400,
            "unknown-field",
        ),
        (
            "no cap",
            proposals.clone(),
            &voter,
            tighten(json!({})),
            422,
            "bad-action",
        ),
        (
            "policy",
            proposals.clone(),
            &voter,
            action(json!({"kind": "policy-change", "toml": "x"})),
            422,
            "policy-does-not-parse",
        ),
        (
            "oracle",
            proposals,
            &voter,
            action(json!({"kind": "oracle-change", "version_id": "v2"})),
            409,
            "unknown-oracle-version",
        ),
        (
            "early ballot",
            at("votes"),
            &voter,
            ballot.clone(),
            409,
            "voting-not-open",
        ),
        (
            "early execution",
            at("execution"),
            &voter,
            json!({}),
            409,
            "not-approved",
        ),
        (
            "deposit",
            at("deposits"),
            &voter,
            json!({"amount_micro": 0}),
            409,
            "bad-deposit",
        ),
        (
            "stake",
            "/api/v1/stakes".into(),
            &voter,
            json!({"stake_micro": 1}),
            422,
            "bad-stake",
        ),
        (
            "cycle",
            "/api/v1/delegations".into(),
            &voter,
            json!({"track": "treasury", "delegate": "ada"}),
            409,
            "delegation-to-oneself",
        ),
        (
            "track",
            "/api/v1/delegations".into(),
            &voter,
            json!({"track": "bribes", "delegate": "ada"}),
            422,
            "bad-track",
        ),
        (
            "seal",
            "/api/v1/seals/none/use".into(),
            &voter,
            json!({"run": "subject"}),
            404,
            "not-found",
        ),
        (
            "simulation",
            "/api/v1/policy/simulate".into(),
            &voter,
            json!({"toml": "x"}),
            422,
            "policy-does-not-parse",
        ),
        (
            "simulation",
            "/api/v1/policy/simulate".into(),
            "",
            json!({}),
            401,
            "unauthenticated",
        ),
    ];
    for (what, path, token, body, status, code) in table {
        let answer = world.post(&path, token, &body).await;
        assert_eq!(
            answer.problem(),
            (status, code.to_owned()),
            "{what}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn what_is_proposed_is_there_for_everybody() {
    let world = World::new();
    world.market().await;
    world.person("ada");
    let voter = world.token("ada");
    let made = world.post("/api/v1/proposals", &voter, &gift()).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let at = |tail: &str| format!("/api/v1/proposals/{id}/{tail}");
    for path in [
        "/api/v1/proposals",
        "/api/v1/proposals?state=draft&track=treasury",
        "/api/v1/tracks",
        "/api/v1/seals",
        "/api/v1/standing-orders",
        "/api/v1/policy/assume?run=subject&probability=0.9",
        &at("votes"),
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    let simulated = world
        .post("/api/v1/policy/simulate", &voter, &json!({}))
        .await;
    assert_eq!(simulated.status, 200, "{}", simulated.text);
    assert!(simulated.json()["replay"]["compared"].is_number());
    let withdrawn = world
        .request(Method::DELETE, &format!("/api/v1/proposals/{id}"))
        .bearer_auth(&voter)
        .send()
        .await
        .unwrap();
    assert_eq!(withdrawn.status(), 200);
}

/// Posts a form that is taken, and follows to the page that it leads to.
async fn follow(browser: &Browser<'_>, path: &str, fields: &[(&str, &str)]) -> (String, String) {
    let answer = browser.post(path, fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let location = answer.header("location").to_owned();
    let page = browser.get(&location).await;
    assert_eq!(page.status, 200, "{}", page.text);
    (location, page.text)
}

#[tokio::test]
async fn a_proposal_is_written_paid_and_voted_by_forms() {
    let world = World::new();
    world.market().await;
    world.person("ada");
    let browser = Browser::sign_in(&world, "ada").await;
    let (_, staked) = follow(&browser, "/stake", &[("stake", "300"), ("do", "add")]).await;
    assert!(staked.contains("300"), "{staked}");
    let new = browser.get("/proposals/new?kind=tighten").await;
    assert!(
        new.text.contains("<option>subject</option>"),
        "{}",
        new.text
    );
    let fields = |what: &'static str| {
        [
            ("kind", "tighten"),
            ("title", "Slow down"),
            ("run", "subject"),
            ("cap", "10"),
            ("hours", "2"),
            ("deposit", "25"),
            ("do", what),
        ]
    };
    let preview = browser.post("/proposals/new", &fields("preview")).await;
    assert_eq!(preview.status, 200);
    assert!(
        preview.text.contains("gets at most 1000 bps"),
        "{}",
        preview.text
    );
    let wrong = [("kind", "tighten"), ("title", "x"), ("cap", "lots")];
    let wrong = browser.post("/proposals/new", &wrong).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("id=\"cap-fault\""), "{}", wrong.text);
    let (location, made) = follow(&browser, "/proposals/new", &fields("create")).await;
    assert!(
        made.contains("What it would do") && made.contains("Vote</h2>"),
        "{made}"
    );
    let ballot = [("side", "for"), ("conviction", "1")];
    let vote = format!("{}/vote", location.split('?').next().unwrap());
    let voted = browser.post(&vote, &ballot).await;
    // The credits were granted, not earned: they give no weight here.
    assert_eq!(voted.status, 422);
    assert!(
        voted.text.contains("no stake that counts"),
        "{}",
        voted.text
    );
    for path in [
        "/proposals",
        "/proposals?state=voting",
        "/seals",
        "/policy?run=subject&price=90",
        "/policy/versions/1",
        "/policy/simulation",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
    }
    let toml = world
        .service
        .policy(&plumbline_service::context::Context::of(
            plumbline_service::context::Actor::visitor(),
        ));
    let tried = browser
        .post("/policy/simulation", &[("toml", &toml.unwrap().toml)])
        .await;
    assert!(tried.text.contains("recorded decisions"), "{}", tried.text);
    let bad = browser
        .post("/policy/simulation", &[("toml", "nonsense")])
        .await;
    assert!(bad.text.contains("the policy is not valid"), "{}", bad.text);
}
