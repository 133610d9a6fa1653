//! Orders, portfolio, standings and calibration over HTTP.

use reqwest::Method;
use serde_json::json;

use crate::world::{Answer, World};

#[tokio::test]
async fn orders_are_placed_listed_and_taken_back() {
    let world = World::new();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market().await;
    let id = market["id"].as_str().unwrap();
    let orders = format!("/api/v1/markets/{id}/orders");
    let body = json!({"outcome": "yes", "limit_probability": 0.4, "spend_micro": 5_000_000});
    let placed = world.post(&orders, &ada, &body).await;
    assert_eq!(placed.status, 201, "{}", placed.text);
    assert_eq!(placed.json()["status"], "open");
    for (token, body, code) in [
        (
            &ada,
            json!({"outcome": "yes", "limit_probability": 0.4}),
            (422, "bad-size"),
        ),
        (
            &ada,
            json!({"outcome": "yes", "limit_probability": 2, "spend_micro": 5_000_000}),
            (422, "bad-probability"),
        ),
        (
            &ada,
            json!({"outcome": "no", "limit_probability": 0.2, "spend_micro": 5_000_000}),
            (409, "crosses-own-order"),
        ),
        (
            &ada,
            json!({"outcome": "yes", "limit": 0.4, "spend_micro": 5_000_000}),
            (400, "unknown-field"),
        ),
    ] {
        let refused = world.post(&orders, token, &body).await;
        let (status, told) = refused.problem();
        assert_eq!((status, told.as_str()), code, "{body}");
    }
    let book = world
        .get(&format!("/api/v1/markets/{id}/book"))
        .await
        .json();
    assert_eq!(book["up"][0]["spend_micro"], 5_000_000);
    let get = |token: &String, path: &str| {
        Answer::of(world.request(Method::GET, path).bearer_auth(token))
    };
    let own = get(&ada, &orders).await.json();
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    assert!(
        get(&bob, &orders).await.json()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.get(&orders).await.problem().0, 401);
    let path = format!("/api/v1/orders/{}", placed.json()["id"].as_str().unwrap());
    let delete =
        |token: &String| Answer::of(world.request(Method::DELETE, &path).bearer_auth(token));
    assert_eq!(delete(&bob).await.problem(), (404, "not-found".to_owned()));
    assert_eq!(delete(&ada).await.json()["status"], "cancelled");
    assert_eq!(
        delete(&ada).await.problem(),
        (409, "order-ended".to_owned())
    );
    let portfolio = get(&ada, "/api/v1/portfolio").await.json();
    assert_eq!(portfolio["reserved_micro"], 0);
    assert_eq!(portfolio["equity_micro"], portfolio["balance_micro"]);
    let history = get(&ada, "/api/v1/portfolio/history?limit=1").await.json();
    assert_eq!(history["items"][0]["kind"], "order-refund");
    assert!(history["next_cursor"].is_string());
}

#[tokio::test]
async fn everybody_sees_standings_calibration_and_manipulation() {
    let world = World::new();
    let ada = world.person("ada");
    let market = world.market().await;
    let id = market["id"].as_str().unwrap();
    let body = json!({"outcome": "no", "spend_micro": 3_000_000});
    world
        .post(&format!("/api/v1/markets/{id}/trades"), &ada, &body)
        .await;
    let view = world
        .get(&format!("/api/v1/markets/{id}/manipulation"))
        .await
        .json();
    assert_eq!(view["thresholds"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&view["trades"], &view["locked"]["top1"]),
        (&json!(1), &json!(1.0))
    );
    let board = world.get("/api/v1/leaderboard?by=evidence").await.json();
    assert_eq!(board["items"], json!([]));
    assert_eq!(
        world.get("/api/v1/leaderboard?by=luck").await.problem(),
        (422, "bad-order".to_owned())
    );
    assert_eq!(world.get("/api/v1/calibration").await.json()["cases"], 0);
    for path in [
        "/leaderboard",
        "/leaderboard?by=trading",
        "/calibration",
        &format!("/markets/{id}"),
    ] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    for path in ["/portfolio", "/portfolio/history"] {
        assert_eq!(world.get(path).await.status, 303, "{path} is one's own");
    }
}
