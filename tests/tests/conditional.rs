//! What a client has already is not sent again: entity tags, and streams that go on after the service was away.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plumbline_tests::fixture::{number, text};
use plumbline_tests::{Answer, CREDIT, Call, Http, Site};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

fn read(client: &Http, path: &str, tag: Option<&str>) -> Answer {
    let call = Call::get(path);
    client.send(&match tag {
        Some(tag) => call.header("if-none-match", tag),
        None => call,
    })
}

/// The tag of what is there; asking with it gives 304 and nothing else.
fn tag_of(client: &Http, path: &str) -> String {
    let first = read(client, path, None);
    let tag = first.header("etag");
    assert_eq!(first.status, 200, "{path}: {}", first.text());
    assert!(!tag.is_empty(), "{path} has no tag");
    let again = read(client, path, Some(&tag));
    assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    assert_eq!(again.header("etag"), tag, "{path}");
    let other = read(client, path, Some("\"other\""));
    assert_eq!((other.status, other.body), (200, first.body), "{path}");
    tag
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let site = Site::new();
    let ada = site.person("ada");
    let run = site.run("subject");
    let market = site.market(&run, HOUR);
    let of_market = format!("/api/v1/markets/{market}");
    let style = text_between(&site.server.http().send(&Call::get("/")).text());
    let paths = [
        &format!("/api/v1/runs/{run}"),
        "/api/v1/runs",
        "/api/v1/markets",
        &format!("{of_market}/evidence"),
        "/api/v1/decisions",
        "/api/v1/policy",
        "/api/v1/policy/versions",
        "/api/v1/keys",
        "/api/openapi.json",
        &style,
    ];
    for path in paths {
        let tag = tag_of(&ada, path);
        assert!(tag.starts_with("W/\""), "{path}: {tag}");
    }
    let before = tag_of(&ada, &of_market);
    let order = json!({"outcome": "yes", "spend_micro": 5 * CREDIT});
    ada.post(&format!("{of_market}/trades"), &order);
    let moved = read(&ada, &of_market, Some(&before));
    assert_eq!(moved.status, 200, "the price has moved");
    assert!(number(&moved.json()["probability"]) > 0.5);
    assert_ne!(moved.header("etag"), before);
    // One account's answer is never another's, whatever caches stand between.
    assert_eq!(moved.header("cache-control"), "private, no-cache");
    assert!(moved.header("vary").contains("authorization"));
    let own = tag_of(&ada, "/api/v1/me");
    assert_eq!(
        read(&site.operator, "/api/v1/me", Some(&own)).status,
        200,
        "another account's tag says nothing here"
    );
    let visitor = read(&site.server.http(), "/api/v1/me", Some(&own));
    assert_eq!(visitor.status, 401);
}

/// The address of the page's style sheet.
fn text_between(page: &str) -> String {
    let (_, after) = page.split_once("href=\"/static/app.css").unwrap();
    let (query, _) = after.split_once('"').unwrap();
    format!("/static/app.css{query}")
}

#[test]
fn a_stream_goes_on_where_it_was_after_the_service_was_killed() {
    let mut site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let trades = format!("/api/v1/markets/{market}/trades");
    let topics = format!("/api/v1/events?topics=market:{market}");
    let order = json!({"outcome": "yes", "spend_micro": CREDIT});
    let wait = Duration::from_secs(10);
    let mut live = ada.events(&Call::get(&topics));
    ada.post(&trades, &order);
    let (seen, _) = live.next(wait).expect("the trade is told");
    // One trade that the client never hears of before the service dies, and one after.
    let mut missed = vec![text(&ada.post(&trades, &order)["id"])];
    site.crash_and_restart();
    let ada = ada.at(site.server.url());
    missed.push(text(&ada.post(&trades, &order)["id"]));
    let resume = Call::get(&topics).header("last-event-id", seen.to_string());
    let mut resumed = ada.events(&resume);
    let mut last = seen;
    for expected in &missed {
        let (id, event) = resumed.next(wait).expect("every missed event");
        assert!(id > last, "ids go up across the restart");
        assert_eq!(event["data"]["ref"], json!(expected));
        last = id;
    }
    assert!(resumed.next(Duration::from_millis(300)).is_none());
}

#[test]
fn every_answer_says_how_much_may_still_be_asked() {
    let site = Site::new();
    let ada = site.person("ada");
    let left = |answer: &Answer| -> u32 {
        let said = answer.header("ratelimit");
        let rest = said.split(";r=").nth(1).unwrap();
        rest.split(';').next().unwrap().parse().unwrap()
    };
    let first = read(&ada, "/api/v1/me", None);
    let policy = first.header("ratelimit-policy");
    assert!(policy.contains(";q=") && policy.contains(";w="), "{policy}");
    // More requests than come back in the time between them.
    let lowest = (0..50).map(|_| left(&read(&ada, "/api/v1/me", None)));
    assert!(lowest.min().unwrap() < left(&first));
    // Who guesses at passwords is told how long to wait.
    let login = json!({"handle": "ada", "password": "wrong wrong wrong"});
    let visitor = site.server.http();
    let refused = (0..200)
        .map(|_| visitor.send(&Call::post("/api/v1/sessions", &login)))
        .find(|answer| answer.status == 429)
        .expect("a limit");
    assert_eq!(refused.problem(), (429, "rate-limited".into()));
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
}
