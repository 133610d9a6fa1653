//! Following and notifications, over the API and as pages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use plumbline_service::notices::{Letter, PostError, Postman};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::Session;
use crate::pages::{Browser, between};
use crate::world::{Answer, World};

/// Asks until the answer fits, for as long as the jobs may need.
async fn until(world: &World, token: &str, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..200 {
        let answer = world.request(Method::GET, path).bearer_auth(token);
        let answer = Answer::of(answer).await.json();
        if fits(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} never answered so");
}

async fn ask(world: &World, method: Method, path: &str, token: &str, body: &Value) -> Answer {
    Answer::of(world.request(method, path).bearer_auth(token).json(body)).await
}

#[tokio::test]
async fn what_is_followed_is_told_and_read_and_left() {
    let world = World::new();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let id = world.market().await["id"].as_str().unwrap().to_owned();
    let topic = json!({"topic": format!("market:{id}")});
    let followed = world.post("/api/v1/follows", &ada, &topic).await;
    assert_eq!(followed.status, 201, "{}", followed.text);
    assert_eq!(followed.json()["by_taking_part"], false);
    for (bad, problem) in [
        (json!({"topic": "weather"}), (422, "bad-topic")),
        (json!({"topic": "market:nope"}), (404, "not-found")),
        (json!({"topic": "x", "more": 1}), (400, "bad-json")),
    ] {
        let answer = world.post("/api/v1/follows", &ada, &bad).await;
        assert_eq!(answer.problem().0, problem.0, "{bad}: {}", answer.text);
    }
    let trade = json!({"outcome": "yes", "spend_micro": 20_000_000});
    let traded = world
        .post(&format!("/api/v1/markets/{id}/trades"), &bob, &trade)
        .await;
    assert_eq!(traded.status, 201, "{}", traded.text);
    let path = "/api/v1/notifications";
    let told = until(&world, &ada, path, |page| {
        page["items"][0]["kind"] == "price"
    })
    .await;
    // The other one is of the token that the test made.
    assert_eq!(told["unread"], 2);
    assert_eq!(told["items"][0]["link"], format!("/markets/{id}"));
    // Nobody reads or marks another's.
    let others = until(&world, &bob, path, |_| true).await;
    let others = others["items"].as_array().unwrap();
    assert!(others.iter().all(|one| one["kind"] == "security"));
    let mark = json!({"id": told["items"][0]["id"]});
    let refused = world.post("/api/v1/notifications/read", &bob, &mark).await;
    assert_eq!(refused.problem(), (404, "not-found".into()));
    assert_eq!(world.get(path).await.problem().0, 401);
    let both = json!({"id": 1, "up_to": 1});
    let refused = world.post("/api/v1/notifications/read", &ada, &both).await;
    assert_eq!(refused.problem(), (422, "bad-mark".into()));
    let read = world.post("/api/v1/notifications/read", &ada, &mark).await;
    assert_eq!(read.json()["unread"], 1);
    let listed = until(&world, &ada, "/api/v1/follows", |_| true).await;
    let link = format!("/api/v1/follows/market:{id}");
    assert_eq!(listed["items"][0]["topic"], format!("market:{id}"));
    let gone = ask(&world, Method::DELETE, &link, &ada, &json!({})).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    let again = ask(&world, Method::DELETE, &link, &ada, &json!({})).await;
    assert_eq!(again.status, 404);
    // Who traded follows by that.
    let own = until(&world, &bob, "/api/v1/follows", |page| {
        page["items"][0].is_object()
    })
    .await;
    assert_eq!(own["items"][0]["by_taking_part"], true);
}

#[tokio::test]
async fn preferences_are_kept_and_warnings_stay_on() {
    let world = World::new();
    let ada = world.person("ada");
    let path = "/api/v1/notifications/preferences";
    let off = json!({"choices": [{"kind": "price", "app": false, "mail": true}]});
    let kept = ask(&world, Method::PUT, path, &ada, &off).await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    let price = |all: Value| {
        all.as_array()
            .unwrap()
            .iter()
            .find(|one| one["kind"] == "price")
            .unwrap()
            .clone()
    };
    assert_eq!(price(kept.json())["app"], false);
    let all = until(&world, &ada, path, |_| true).await;
    assert_eq!(
        (
            price(all.clone())["mail"].clone(),
            all.as_array().unwrap().len()
        ),
        (json!(true), 10)
    );
    let silent = json!({"choices": [{"kind": "security", "app": false, "mail": false}]});
    let refused = ask(&world, Method::PUT, path, &ada, &silent).await;
    assert_eq!(refused.problem(), (422, "bad-choice".into()));
    // An address is set by whoever signed in, not by a token that may be stolen.
    let mail = json!({"address": "ada@example.org", "pace": "once"});
    let refused = ask(&world, Method::PUT, "/api/v1/me/mail", &ada, &mail).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn the_bell_counts_and_an_open_page_hears_of_it() {
    let world = World::new();
    let bob = world.person("bob");
    world.person("ada");
    let id = world.market().await["id"].as_str().unwrap().to_owned();
    let ada = Browser::sign_in(&world, "ada").await;
    let page = ada.get(&format!("/markets/{id}")).await.text;
    assert!(
        page.contains("aria-label=\"Notifications, 1 unread\"")
            && page.contains(">Follow</button>")
    );
    let topic = format!("market:{id}");
    let back = format!("/markets/{id}");
    let form = [("topic", topic.as_str()), ("back", back.as_str())];
    let followed = ada.post("/follow", &form).await;
    assert_eq!(
        (followed.status.as_u16(), followed.header("location")),
        (303, back.as_str())
    );
    assert!(ada.get(&back).await.text.contains("Following · leave"));
    let session = Session::open(&world, "ada").await;
    let stream = world
        .request(Method::GET, "/api/v1/events?topics=notices")
        .header("cookie", &session.cookie);
    let mut stream = stream.send().await.unwrap().bytes_stream();
    let trade = json!({"outcome": "no", "spend_micro": 20_000_000});
    world
        .post(&format!("/api/v1/markets/{id}/trades"), &bob, &trade)
        .await;
    let mut heard = String::new();
    while !heard.contains("\"topic\":\"notices\"") {
        let chunk = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        heard.push_str(std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap());
    }
    let page = ada.get("/notifications").await.text;
    assert!(
        page.contains("aria-label=\"Notifications, 2 unread\""),
        "{page}"
    );
    let up_to = between(&page, "name=\"up_to\" value=\"", "\"").to_owned();
    let read = ada.post("/notifications/read", &[("up_to", &up_to)]).await;
    assert_eq!(read.status, 303);
    assert!(
        ada.get("/")
            .await
            .text
            .contains("aria-label=\"Notifications\"")
    );
    let leave = [
        ("topic", topic.as_str()),
        ("leave", "1"),
        ("back", "https://evil.example/"),
    ];
    let left = ada.post("/follow", &leave).await;
    assert_eq!(left.header("location"), "/");
    // The boxes of the form are all of them: what is not ticked is off.
    let chosen = ada
        .post(
            "/notifications/choices",
            &[("app", "seat"), ("mail", "price")],
        )
        .await;
    assert_eq!(chosen.status, 303);
    let page = ada.get("/notifications").await.text;
    assert!(page.contains("value=\"seat\" aria-label=\"List: You were drawn as a juror, or a deadline of your seat is near\" checked"));
    assert!(!page.contains(
        "aria-label=\"Mail: You were drawn as a juror, or a deadline of your seat is near\" checked"
    ));
}

/// Keeps letters.
#[derive(Default)]
struct Box(Mutex<Vec<Letter>>);

impl Postman for Box {
    fn send(&self, letter: &Letter) -> Result<(), PostError> {
        self.0.lock().unwrap().push(letter.clone());
        Ok(())
    }
}

#[tokio::test]
async fn mail_is_set_up_and_ended_in_pages() {
    let world = World::new();
    world.person("ada");
    let ada = Browser::sign_in(&world, "ada").await;
    assert!(
        ada.get("/notifications")
            .await
            .text
            .contains("This service sends no mail")
    );
    let mailbox = Arc::new(Box::default());
    world.service.connect_postman(mailbox.clone());
    let hostile = [
        ("address", "ada@example.org\r\nBcc: eve@example.org"),
        ("pace", "once"),
    ];
    let refused = ada.post("/notifications/mail", &hostile).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text.contains("no mail address")
            && refused.text.contains("value=\"ada@example.org")
    );
    let good = [("address", "ada@example.org"), ("pace", "daily")];
    let set = ada.post("/notifications/mail", &good).await;
    assert_eq!(set.status, 303, "{}", set.text);
    let mut code = String::new();
    for _ in 0..200 {
        if let Some(letter) = mailbox.0.lock().unwrap().first() {
            code = letter.subject.rsplit(' ').next().unwrap().to_owned();
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(code.len(), 8);
    let wrong = ada
        .post("/notifications/mail/verify", &[("code", "nonsense")])
        .await;
    assert_eq!(wrong.status, 422);
    assert_eq!(
        ada.post("/notifications/mail/verify", &[("code", &code)])
            .await
            .status,
        303
    );
    assert!(
        ada.get("/notifications")
            .await
            .text
            .contains("<strong>ada@example.org</strong>, once a day")
    );
    // A link that nobody signed ends nothing, with or without a session, and needs no token of a form.
    let forged = format!("/notifications/unsubscribe/nobody.{}", "0".repeat(64));
    let asked = world.get(&forged).await;
    assert_eq!(asked.status, 200);
    let one_click = [("List-Unsubscribe", "One-Click")];
    let ended = Answer::of(world.request(Method::POST, &forged).form(&one_click)).await;
    assert_eq!(ended.status, 404);
    assert_eq!(
        ada.post("/notifications/mail/remove", &[]).await.status,
        303
    );
    assert!(
        !ada.get("/notifications")
            .await
            .text
            .contains("ada@example.org</strong>")
    );
}
