//! Passkeys over HTTP, with a device in software: the endpoints, the forms behind the pages, and what an attacker sees.

use std::time::Instant;

use plumbline_governance::policy::Policy;
use plumbline_service::ServiceConfig;
use plumbline_web::{RateLimits, WebConfig};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::Session;
use crate::device::Device;
use crate::pages::{Browser, between};
use crate::world::{Answer, PASSWORD, World};

const MINE: &str = "/api/v1/me/passkeys";
const SESSIONS: &str = "/api/v1/passkey-sessions";

fn world() -> World {
    limited(RateLimits::default())
}

fn limited(limits: RateLimits) -> World {
    let web = WebConfig {
        limits,
        ..WebConfig::default()
    };
    let service = ServiceConfig {
        public_url: "http://localhost:8600".to_owned(),
        ..ServiceConfig::default()
    };
    World::of(web, service, Policy::demo_toml().to_owned())
}

async fn begin_with(world: &World, session: &Session) -> Value {
    let proof = json!({"password": PASSWORD});
    let begun = session.post(world, &format!("{MINE}/options"), proof).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    begun.json()
}

async fn ask(world: &World) -> Value {
    let asked = world.request(Method::POST, &format!("{SESSIONS}/options"));
    let asked = Answer::of(asked).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    asked.json()
}

async fn answer(world: &World, body: &Value) -> Answer {
    Answer::of(world.request(Method::POST, SESSIONS).json(body)).await
}

async fn sign_in_with(world: &World, device: &Device) -> Answer {
    let asked = ask(world).await;
    let signed = device.sign(&asked["options"]);
    answer(
        world,
        &json!({"attempt": asked["attempt"], "credential": signed}),
    )
    .await
}

/// A device with a passkey of the session's account, and the passkey.
async fn add(world: &World, session: &Session) -> (Device, Value) {
    let mut device = Device::p256(7);
    let begun = begin_with(world, session).await;
    let body = json!({"attempt": begun["attempt"], "name": "laptop", "credential": device.make(&begun["options"])});
    let added = session.post(world, MINE, body).await;
    assert_eq!(added.status, 201, "{}", added.text);
    (device, added.json())
}

#[tokio::test]
async fn a_client_adds_a_passkey_signs_in_with_it_and_removes_it() {
    let world = world();
    world.person("ada");
    let ada = Session::open(&world, "ada").await;
    let wrong = json!({"password": "not the password"});
    let wrong = ada.post(&world, &format!("{MINE}/options"), wrong).await;
    assert_eq!(wrong.problem(), (422, "wrong-password".into()));
    let (device, passkey) = add(&world, &ada).await;
    let opened = Session::of(&sign_in_with(&world, &device).await);
    assert_eq!(
        opened.get(&world, "/api/v1/me").await.json()["handle"],
        "ada"
    );
    let listed = ada.get(&world, MINE).await.json();
    assert_eq!(listed["passkeys"][0]["id"], passkey["id"]);
    assert!(listed["passkeys"][0]["last_used_at"].is_string());
    assert_eq!(listed["origin"], "http://localhost:8600");
    let export = ada.get(&world, "/api/v1/me/export").await.json();
    assert_eq!(export["passkeys"][0]["name"], "laptop");
    let path = format!("{MINE}/{}", passkey["id"].as_str().unwrap());
    let bob = world.person("bob");
    let with_token = world.request(Method::DELETE, &path).bearer_auth(&bob);
    assert_eq!(
        Answer::of(with_token).await.problem(),
        (403, "forbidden".into())
    );
    let removed = ada.ask(&world, Method::DELETE, &path, None).await;
    assert_eq!(removed.status, 204);
    let late = sign_in_with(&world, &device).await;
    assert_eq!(late.problem(), (401, "bad-passkey".into()));
}

#[tokio::test]
async fn the_attempt_of_one_session_is_worth_nothing_in_another() {
    let world = world();
    world.person("ada");
    let (here, there) = (
        Session::open(&world, "ada").await,
        Session::open(&world, "ada").await,
    );
    let begun = begin_with(&world, &here).await;
    let made = Device::p256(7).make(&begun["options"]);
    let body = json!({"attempt": begun["attempt"], "name": "laptop", "credential": made});
    let elsewhere = there.post(&world, MINE, body).await;
    assert_eq!(elsewhere.problem(), (409, "passkey-attempt".into()));
}

#[tokio::test]
async fn passkeys_cannot_be_told_by_signing_in() {
    let world = world();
    world.person("ada");
    let ada = Session::open(&world, "ada").await;
    let (known, _) = add(&world, &ada).await;
    let mut unknown = Device::p256(9);
    unknown.user.clone_from(&known.user);
    let mut wrong = Device::p256(9);
    wrong.user.clone_from(&known.user);
    wrong.id.clone_from(&known.id);
    let (mut answers, mut times) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..8 {
        for (at, device) in [&wrong, &unknown].into_iter().enumerate() {
            let asked = ask(&world).await;
            let body =
                json!({"attempt": asked["attempt"], "credential": device.sign(&asked["options"])});
            let start = Instant::now();
            let refused = answer(&world, &body).await;
            times[at].push(start.elapsed());
            let mut told = refused.json();
            told["instance"] = Value::Null;
            answers.push((refused.status, told));
        }
    }
    assert!(answers.iter().all(|one| *one == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, 401);
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [known, unknown] = [times[0][0], times[1][0]];
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.4..2.5).contains(&ratio), "{known:?} against {unknown:?}");
}

#[tokio::test]
async fn attempts_are_counted_as_those_at_passwords_are() {
    let world = limited(RateLimits {
        credentials_per_minute: 4.0,
        ..RateLimits::default()
    });
    for _ in 0..4 {
        ask(&world).await;
    }
    let path = format!("{SESSIONS}/options");
    let fifth = Answer::of(world.request(Method::POST, &path)).await;
    assert_eq!(fifth.problem(), (429, "rate-limited".into()));
    let body = json!({"attempt": "x", "credential": {}});
    assert_eq!(
        answer(&world, &body).await.problem(),
        (429, "rate-limited".into())
    );
}

#[tokio::test]
async fn another_sites_page_signs_nobody_in() {
    let world = world();
    world.person("ada");
    let ada = Session::open(&world, "ada").await;
    let (device, _) = add(&world, &ada).await;
    let asked = ask(&world).await;
    let signed = device.sign(&asked["options"]);
    for path in [SESSIONS.to_owned(), format!("{SESSIONS}/options")] {
        let body = json!({"attempt": asked["attempt"], "credential": signed});
        let request = world.request(Method::POST, &path).json(&body);
        let request = request.header("origin", "https://evil.example");
        assert_eq!(
            Answer::of(request).await.problem(),
            (403, "cross-origin".into())
        );
    }
    let fields = [
        ("attempt", asked["attempt"].as_str().unwrap().to_owned()),
        ("credential", signed.to_string()),
    ];
    let form = world.request(Method::POST, "/login/passkey").form(&fields);
    let form = form.header("sec-fetch-site", "cross-site");
    assert_eq!(Answer::of(form).await.status, 403);
}

#[tokio::test]
async fn the_pages_do_what_the_endpoints_do() {
    let world = world();
    world.person("ada");
    let session = Session::open(&world, "ada").await;
    let login = world.get("/login?next=/portfolio").await;
    assert!(login.text.contains("/static/passkeys.js?v="));
    assert!(login.text.contains("data-origin=\"http://localhost:8600\""));
    let script = world.get("/static/passkeys.js").await;
    assert!(script.header("content-type").starts_with("text/javascript"));
    // The browser's forms send what the script got from these very endpoints, in the same session.
    let ada = Browser::of(&world, &session);
    let begun = begin_with(&world, &session).await;
    let mut device = Device::ed25519(5);
    let made = device.make(&begun["options"]).to_string();
    let attempt = begun["attempt"].as_str().unwrap();
    let nameless = ada
        .post(
            "/account/passkeys",
            &[("name", ""), ("attempt", attempt), ("credential", &made)],
        )
        .await;
    assert_eq!(nameless.status, 422);
    assert!(
        nameless.text.contains("id=\"passkey-name-fault\""),
        "{}",
        nameless.text
    );
    let added = ada
        .post(
            "/account/passkeys",
            &[
                ("name", "<b>key</b>"),
                ("attempt", attempt),
                ("credential", &made),
            ],
        )
        .await;
    assert_eq!(
        (added.status.as_u16(), added.header("location")),
        (303, "/account/security")
    );
    let page = ada.get("/account/security").await;
    assert!(page.text.contains("&lt;b&gt;key&lt;"), "{}", page.text);
    let asked = ask(&world).await;
    let fields = [
        ("next", "/portfolio".to_owned()),
        ("attempt", asked["attempt"].as_str().unwrap().to_owned()),
        ("credential", device.sign(&asked["options"]).to_string()),
    ];
    let enter = || world.request(Method::POST, "/login/passkey").form(&fields);
    let entered = Answer::of(enter()).await;
    assert_eq!(
        (entered.status.as_u16(), entered.header("location")),
        (303, "/portfolio")
    );
    assert!(entered.header("set-cookie").contains("HttpOnly"));
    let again = Answer::of(enter()).await;
    assert_eq!(again.status, 401);
    assert!(again.text.contains("does not sign in here"));
    let id = between(&page.text, "/account/passkeys/", "/remove");
    let remove = format!("/account/passkeys/{id}/remove");
    assert_eq!(ada.post(&remove, &[]).await.status, 303);
    assert_eq!(ada.post(&remove, &[]).await.status, 404);
}

#[tokio::test]
async fn where_passkeys_cannot_be_used_nothing_offers_them() {
    let world = World::new();
    world.person("ada");
    assert!(!world.get("/login").await.text.contains("passkey"));
    let ada = Session::open(&world, "ada").await;
    let page = Browser::of(&world, &ada).get("/account/security").await;
    assert!(page.text.contains("--public-url") && !page.text.contains("passkeys.js"));
    let proof = json!({"password": PASSWORD});
    let begun = ada.post(&world, &format!("{MINE}/options"), proof).await;
    assert_eq!(begun.problem(), (409, "passkeys-unavailable".into()));
    let asked = world.request(Method::POST, &format!("{SESSIONS}/options"));
    assert_eq!(
        Answer::of(asked).await.problem(),
        (409, "passkeys-unavailable".into())
    );
}
