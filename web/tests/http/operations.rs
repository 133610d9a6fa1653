//! What an operator watches: figures, the page of what is stuck, and that the shipped dashboard asks for figures that exist.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::world::{Answer, World};

const DASHBOARD: &str = include_str!("../../../docs/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../../docs/prometheus-alerts.yml");

/// Words of a text that look like names of our figures.
fn figures(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("plumbline_"))
        .collect()
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_figures_that_exist() {
    let world = World::new();
    world.get("/markets").await;
    let answer = world.get("/metrics").await;
    let known: BTreeSet<&str> = answer
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    assert!(known.len() > 20, "{known:?}");
    for asked in figures(DASHBOARD).union(&figures(ALERTS)) {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| asked.strip_suffix(end).filter(|name| known.contains(name)));
        assert!(
            known.contains(asked) || family.is_some(),
            "{asked} is not one of {known:?}"
        );
    }
    let panels: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() > 12);
    assert!(
        answer
            .text
            .contains("route=\"/markets\",status=\"2xx\",le=\"+Inf\"} 1\n"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn only_operators_see_the_service_at_work() {
    let world = World::new();
    for path in ["/operations", "/api/v1/operations"] {
        let refused = world.get(path).await;
        assert!(
            [303, 401].contains(&refused.status.as_u16()),
            "{path}: {}",
            refused.status
        );
    }
    let operator = |path: &str| {
        world
            .request(Method::GET, path)
            .bearer_auth(&world.operator)
    };
    let seen = Answer::of(operator("/api/v1/operations")).await.json();
    assert_eq!(seen["ledger_sum_micro"], 0);
    assert!(seen["threads"].is_array() && seen["stuck"].is_array());
}
