//! Attacks on signing in: planted sessions, guessed handles, frames and redirects, secrets in the log.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{OTHER, Session, sign_in};
use crate::pages::Browser;
use crate::world::{Answer, PASSWORD, World};

#[tokio::test]
async fn a_session_that_somebody_planted_is_worth_nothing() {
    let world = World::new();
    world.person("ada");
    let planted = "plumbline_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let body = json!({"handle": "ada", "password": PASSWORD});
    let answer = Answer::of(
        world
            .request(Method::POST, "/api/v1/sessions")
            .header("cookie", planted)
            .json(&body),
    )
    .await;
    let opened = Session::of(&answer);
    assert_ne!(opened.cookie, planted);
    let me = |cookie: &str| {
        world
            .request(Method::GET, "/api/v1/me")
            .header("cookie", cookie)
    };
    assert_eq!(Answer::of(me(planted)).await.status, 401);
    assert_eq!(Answer::of(me(&opened.cookie)).await.status, 200);
    // Nor does a real one of before live on beside the new one.
    let fields = [
        ("handle", "ada"),
        ("password", PASSWORD),
        ("csrf", opened.csrf.as_str()),
    ];
    let again = world
        .request(Method::POST, "/login")
        .header("cookie", &opened.cookie)
        .form(&fields);
    let again = Answer::of(again).await;
    assert_eq!(again.status, 303, "{}", again.text);
    assert_eq!(Answer::of(me(&opened.cookie)).await.status, 401);
}

#[tokio::test]
async fn handles_cannot_be_told_by_signing_in() {
    let world = World::new();
    world.person("ada");
    let ask = |handle: &str| json!({"handle": handle, "password": OTHER});
    let mut answers = Vec::new();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        for (at, handle) in ["ada", "nobody-here"].into_iter().enumerate() {
            let start = Instant::now();
            let refused = sign_in(&world, &ask(handle)).await;
            times[at].push(start.elapsed());
            let mut body = refused.json();
            body["instance"] = Value::Null;
            answers.push((refused.status, body));
        }
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    times.iter_mut().for_each(|times| times.sort_unstable());
    let [known, unknown] = [times[0][0], times[1][0]];
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.4..2.5).contains(&ratio), "{known:?} against {unknown:?}");
}

#[tokio::test]
async fn nobody_is_sent_away_or_framed_after_signing_in() {
    let world = World::new();
    world.person("ada");
    for next in [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\r\nx: y",
    ] {
        let fields = [("handle", "ada"), ("password", PASSWORD), ("next", next)];
        let answer = Answer::of(world.request(Method::POST, "/login").form(&fields)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/"),
            "{next}"
        );
        let form = world
            .request(Method::GET, "/login")
            .query(&[("next", next)]);
        assert!(
            !Answer::of(form).await.text.contains("evil.example"),
            "{next}"
        );
    }
    let browser = Browser::sign_in(&world, "ada").await;
    for path in ["/account", "/account/security"] {
        let page = browser.get(path).await;
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert!(
            page.header("content-security-policy")
                .contains("frame-ancestors 'none'")
        );
        assert_eq!(page.header("cache-control"), "no-store");
    }
    for path in ["/login", "/signup"] {
        assert_eq!(
            world.get(path).await.header("x-frame-options"),
            "DENY",
            "{path}"
        );
    }
}

/// Where the log of this process goes while a test looks at it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let filter = "plumbline_web=trace,plumbline_service=trace,plumbline_store=trace,actix_web=trace,actix_http=trace";
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .init();
    let world = World::new();
    let token = world.person("ada");
    let ada = Session::open(&world, "ada").await;
    let guess = "a password that was never right";
    sign_in(&world, &json!({"handle": "ada", "password": guess})).await;
    let fake = "plb_a-token-that-never-was-one-0123456789abcdef";
    for bearer in [token.as_str(), fake] {
        Answer::of(world.request(Method::GET, "/api/v1/me").bearer_auth(bearer)).await;
        Answer::of(world.request(Method::GET, "/v1/models").bearer_auth(bearer)).await;
    }
    ada.get(&world, "/api/v1/me").await;
    ada.post(&world, "/api/v1/tokens", json!({"name": 7})).await;
    let key = ada
        .post(
            &world,
            "/api/v1/me/second-factor",
            json!({"password": PASSWORD}),
        )
        .await
        .json();
    tracing::warn!(target: "plumbline_web", "the log is heard");
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("the log is heard"));
    let cookie = ada.cookie.split_once('=').unwrap().1;
    let secret = key["secret"].as_str().unwrap();
    for hidden in [
        token.as_str(),
        fake,
        PASSWORD,
        guess,
        cookie,
        ada.csrf.as_str(),
        secret,
    ] {
        assert!(!text.contains(hidden), "{hidden} is in the log");
    }
}
