#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{Reply, Server};
use serde_json::json;
use std::collections::HashSet;

#[test]
fn percentiles_are_by_nearest_rank() {
    let sorted: Vec<u32> = (1..=100).map(|n| n * 1_000).collect();
    for (q, value) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)] {
        assert_eq!(percentile(&sorted, q), value);
    }
    assert_eq!(percentile(&[], 0.5), 0.0);
    assert_eq!(percentile(&[7_000], 0.99), 7.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_alternates_with_fresh_keys() {
    let server = Server::start(|_| Reply::json(201, &json!({"id": "t"}))).await;
    let tokens = ["plb_a".to_owned(), "plb_b".to_owned()];
    let report = trades(&server.url, &tokens, "m-1", 3, 0.2).await.unwrap();
    assert!(report.trades > 10 && report.errors == 0, "{report:?}");
    assert!(report.p50_ms <= report.p99_ms && report.p99_ms <= report.max_ms);
    let seen = server.seen();
    let keys: HashSet<_> = seen
        .iter()
        .map(|request| request.header("idempotency-key").unwrap())
        .collect();
    assert_eq!(keys.len(), seen.len());
    assert!(
        seen.iter()
            .all(|request| request.path == "/api/v1/markets/m-1/trades")
    );
    let bought = seen
        .iter()
        .filter(|request| request.body.contains(":10000"))
        .count();
    let sold = seen
        .iter()
        .filter(|request| request.body.contains(":-10000"))
        .count();
    assert!(bought >= sold && bought - sold <= 3, "{bought} {sold}");
}

#[tokio::test]
async fn refusals_are_counted_and_shown() {
    let refused = Reply::json(409, &json!({"code": "market-closed", "detail": "too late"}));
    let server = Server::scripted(vec![refused]).await;
    let error = trades(&server.url, &["plb_a".to_owned()], "m", 1, 0.1)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("409") && error.to_string().contains("market-closed"),
        "{error}"
    );
    let mixed = Server::start(|request| match request.body.contains(":-") {
        true => Reply::hang_up(),
        false => Reply::json(201, &json!({})),
    })
    .await;
    let report = trades(&mixed.url, &["plb_a".to_owned()], "m", 1, 0.3)
        .await
        .unwrap();
    assert!(
        report.trades > 0 && report.errors > 0 && report.first_error.is_some(),
        "{report:?}"
    );
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let tokens = ["plb_a".to_owned()];
    for (url, tokens, market, connections, seconds) in [
        ("http://127.0.0.1:1", &[] as &[String], "m", 1, 1.0),
        ("http://127.0.0.1:1", &tokens, "m", 0, 1.0),
        ("http://127.0.0.1:1", &tokens, "m", 1, f64::NAN),
        ("https://127.0.0.1:1", &tokens, "m", 1, 1.0),
        ("http://127.0.0.1:1/x", &tokens, "m", 1, 1.0),
    ] {
        let error = trades(url, tokens, market, connections, seconds)
            .await
            .unwrap_err();
        assert!(matches!(error, BenchError::Settings(_)), "{url}: {error}");
    }
    let error = trades("http://127.0.0.1:1", &tokens, "m", 1, 1.0)
        .await
        .unwrap_err();
    assert!(matches!(error, BenchError::Connect { .. }), "{error}");
}
