//! Long polls and event streams.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// Reads events from a stream until one is of `kind`; returns it with everything before.
async fn until(response: reqwest::Response, kind: &str) -> Vec<Value> {
    let (mut body, mut text) = (response.bytes_stream(), String::new());
    let mut events = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_secs(20), body.next()).await
        else {
            break;
        };
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        while let Some(end) = text.find("\n\n") {
            let frame: String = text.drain(..end + 2).collect();
            if let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) {
                events.push(serde_json::from_str::<Value>(data).unwrap());
            }
        }
        if events.iter().any(|event| event["kind"] == kind) {
            return events;
        }
    }
    panic!("no event of kind {kind} came: {events:?}");
}

#[tokio::test]
async fn events_stream_and_resume_where_they_broke_off() {
    let world = World::new();
    let ada = world.person("ada");
    let market = world.market().await;
    let id = market["id"].as_str().unwrap();
    let url = format!("/api/v1/events?topics=market:{id}");
    let stream = world
        .request(Method::GET, &url)
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let trade = json!({"outcome": "yes", "spend_micro": 1_000_000});
    let path = format!("/api/v1/markets/{id}/trades");
    assert_eq!(world.post(&path, &ada, &trade).await.status, 201);
    let first = until(stream, "price").await;
    let last_id = first.last().unwrap()["id"].as_i64().unwrap();
    for _ in 0..3 {
        assert_eq!(world.post(&path, &ada, &trade).await.status, 201);
    }
    let resumed = world
        .request(Method::GET, &url)
        .header("last-event-id", last_id)
        .send()
        .await
        .unwrap();
    let missed = until(resumed, "price").await;
    assert!(
        missed
            .iter()
            .all(|event| event["id"].as_i64().unwrap() > last_id),
        "nothing is sent twice"
    );
    let pattern = "/api/v1/events?topics=market:*&after=0";
    let all = world.request(Method::GET, pattern).send().await.unwrap();
    let all = until(all, "price").await;
    let own = format!("market:{id}");
    assert!(all.iter().all(|event| event["topic"] == own), "{all:?}");
    let after = Answer::of(
        world
            .request(Method::GET, &url)
            .header("last-event-id", "x"),
    )
    .await;
    assert_eq!(after.problem().0, 400);
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_decision_is_made() {
    let world = World::new();
    let before = world.get("/api/v1/allocations").await;
    let version = before.json()["version"].as_i64().unwrap();
    assert_eq!(before.header("etag"), format!("\"{version}\""));
    let started = Instant::now();
    let idle = world
        .get(&format!("/api/v1/allocations?since={version}&wait=0.3"))
        .await;
    assert_eq!(
        (
            idle.status.as_u16(),
            started.elapsed() >= Duration::from_millis(300)
        ),
        (304, true)
    );
    let matched = Answer::of(
        world
            .request(Method::GET, "/api/v1/allocations")
            .header("if-none-match", format!("\"{version}\"")),
    )
    .await;
    assert_eq!(matched.status, 304);
    let relist = world
        .get(&format!("/api/v1/allocations?since={}", version + 1_000))
        .await;
    assert_eq!(relist.problem(), (410, "relist".into()));
    let path = format!("/api/v1/allocations?since={version}&wait=30");
    let (woken, _) = tokio::join!(world.get(&path), world.market());
    assert_eq!(woken.status, 200, "{}", woken.text);
    assert!(woken.json()["version"].as_i64().unwrap() > version);
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "it did not sleep to the end"
    );
}

/// The list once no decision has been added to it for a while: what follows on one change may take several.
async fn settled(world: &World) -> Value {
    let mut before = world
        .get("/api/v1/allocations?since=0&wait=30")
        .await
        .json();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = world.get("/api/v1/allocations").await.json();
        if now["version"] == before["version"] {
            return now;
        }
        before = now;
    }
    panic!("decisions never stop: {}", before["version"]);
}

#[tokio::test]
async fn signed_decisions_come_by_stream_and_as_what_changed() {
    let world = World::new();
    world.market().await;
    let version = settled(&world).await["version"].as_i64().unwrap();
    let stream = format!("/api/v1/allocations/stream?since={version}");
    let stream = world.request(Method::GET, &stream).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let path = format!("/api/v1/allocations?since={version}&wait=30&changes=true");
    let register = json!({"name": "another", "parameters": 1});
    let operator = world.operator.clone();
    let (changes, registered) = tokio::join!(
        world.get(&path),
        world.post("/api/v1/runs", &operator, &register)
    );
    assert_eq!(registered.status, 201, "{}", registered.text);
    let changes = changes.json();
    let newest = changes["version"].as_i64().unwrap();
    let items = changes["items"].as_array().unwrap();
    assert!(newest > version && !items.is_empty());
    for item in items {
        assert!(item["version"].as_i64().unwrap() > version, "{item}");
        assert!(item["envelope"]["signatures"].is_array());
    }
    let (mut body, mut text) = (stream.bytes_stream(), String::new());
    let whole = |text: &str| {
        let data = text.split_once("data: ");
        data.is_some_and(|(_, rest)| rest.contains("\n\n"))
    };
    while !whole(&text) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), body.next()).await;
        let chunk = chunk.expect("a decision comes").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: "));
    let item: Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(item["envelope"], items[0]["envelope"]);
    // What the server no longer knows the changes of is given in full, and named on a stream.
    let listed = settled(&world).await;
    let all = world
        .get("/api/v1/allocations?since=-5&changes=true")
        .await
        .json();
    assert_eq!(all["items"], listed["items"]);
    let ahead = format!("/api/v1/allocations/stream?since={}", newest + 1_000);
    let ahead = world.request(Method::GET, &ahead).send().await.unwrap();
    let mut body = ahead.bytes_stream();
    let mut text = String::new();
    while !text.contains("event: relist") {
        let chunk = tokio::time::timeout(Duration::from_secs(20), body.next()).await;
        let chunk = chunk.expect("it says so").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn who_names_runs_waits_for_decisions_on_these_alone() {
    let world = World::new();
    let market = world.market().await;
    let mine = market["run_id"].as_str().unwrap();
    let version = settled(&world).await["version"].as_i64().unwrap();
    let operator = world.operator.clone();
    let path = format!("/api/v1/allocations?since={version}&wait=2&changes=true&targets={mine}");
    let register = json!({"name": "another", "parameters": 1});
    let (alone, registered) = tokio::join!(
        world.get(&path),
        world.post("/api/v1/runs", &operator, &register)
    );
    let other = registered.json()["id"].as_str().unwrap().to_owned();
    let listed = settled(&world).await;
    let of = |list: &Value, run: &str| -> Vec<Value> {
        let items = list["items"].as_array().unwrap().iter();
        let about = items.filter(|item| item["decision"]["target"]["uid"] == run);
        about.cloned().collect()
    };
    let theirs = of(&listed, &other);
    assert!(!theirs.is_empty(), "the other run was decided on");
    // The share of this run may have changed with it; nothing else may be told.
    if alone.status == 200 {
        let told = alone.json();
        let items = told["items"].as_array().unwrap().len();
        assert!(items > 0 && items == of(&told, mine).len(), "{told}");
    } else {
        assert_eq!(alone.status, 304);
    }
    for (targets, expected) in [
        (other.clone(), theirs.len()),
        (
            format!("{mine},{other}"),
            of(&listed, mine).len() + theirs.len(),
        ),
        (uuid::Uuid::nil().to_string(), 0),
    ] {
        let few = world
            .get(&format!("/api/v1/allocations?targets={targets}"))
            .await
            .json();
        assert_eq!(
            few["items"].as_array().unwrap().len(),
            expected,
            "{targets}"
        );
    }
    let path = format!("/api/v1/allocations/stream?since=0&targets={other}");
    let stream = world.request(Method::GET, &path).send().await.unwrap();
    let (mut body, mut text) = (stream.bytes_stream(), String::new());
    while !(text.contains("data: ") && text.ends_with("\n\n")) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), body.next()).await;
        let chunk = chunk.expect("something comes").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(text.contains(&other) && !text.contains(mine), "{text}");
    for bad in ["x", "", &format!("{other},")] {
        let refused = world
            .get(&format!("/api/v1/allocations?targets={bad}"))
            .await;
        assert_eq!(
            refused.problem(),
            (400, "invalid-parameter".into()),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn stopping_ends_streams_and_polls_at_once() {
    let mut world = World::new();
    let stream = world
        .request(Method::GET, "/api/v1/events?topics=allocations")
        .send()
        .await
        .unwrap();
    let version = world.get("/api/v1/allocations").await.json()["version"]
        .as_i64()
        .unwrap();
    let waiting = world
        .request(
            Method::GET,
            &format!("/api/v1/allocations?since={version}&wait=60"),
        )
        .send();
    let waiting = tokio::spawn(waiting);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let took = world.stop();
    assert!(took < 4.0, "{took} s");
    assert_eq!(waiting.await.unwrap().unwrap().status(), 304);
    let rest = stream.text().await;
    assert!(rest.is_ok(), "the stream ends cleanly: {rest:?}");
}
