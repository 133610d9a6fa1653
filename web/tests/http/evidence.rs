//! Commitments, disputes, comments and attachments over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World};

fn report(text: &str) -> Value {
    json!({"kind": "report", "title": "A report", "body": "", "stake_micro": 1_000_000,
        "exhibits": [{"type": "report", "text": text}]})
}

/// BLAKE3 of the canonical form of a submission with one report.
fn content_hash(text: &str) -> String {
    let exhibit = format!("{{\"type\":\"report\",\"text\":{}}}", json!(text));
    let exhibit = blake3::hash(exhibit.as_bytes()).to_hex().to_string();
    blake3::hash(exhibit.as_bytes()).to_hex().to_string()
}

async fn account_of(world: &World, token: &str) -> String {
    let me = Answer::of(world.request(Method::GET, "/api/v1/me").bearer_auth(token)).await;
    me.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn evidence_is_committed_to_by_the_documented_hash_and_revealed() {
    let world = World::new();
    world.person("ada");
    let market = world.market().await["id"].as_str().unwrap().to_owned();
    let (token, nonce) = (world.operator.clone(), "0123456789abcdef");
    let account = account_of(&world, &token).await;
    let text = format!(
        "plumbline evidence commitment v1\n{market}\n{account}\n{nonce}\n{}",
        content_hash("Mine.")
    );
    let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
    let path = format!("/api/v1/markets/{market}/commitments");
    let made = world
        .post(&path, &token, &json!({"commitment": hash}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let listed = world.get(&path).await.json();
    assert_eq!(listed[0]["commitment"], hash);
    let mut reveal = report("Mine.");
    reveal["commitment"] = made.json()["id"].clone();
    reveal["nonce"] = json!("another-nonce-01");
    let evidence = format!("/api/v1/markets/{market}/evidence");
    let wrong = world.post(&evidence, &token, &reveal).await;
    assert_eq!(wrong.problem(), (409, "reveal-mismatch".to_owned()));
    reveal["nonce"] = json!(nonce);
    let shown = world.post(&evidence, &token, &reveal).await;
    assert_eq!(shown.status, 201, "{}", shown.text);
    assert_eq!(shown.json()["commitment"], made.json()["id"]);
    let again = world.post(&evidence, &token, &reveal).await;
    assert_eq!(again.problem(), (409, "already-revealed".to_owned()));
    let fee = Answer::of(
        world
            .request(Method::GET, &format!("{evidence}/fee"))
            .bearer_auth(&token),
    )
    .await;
    assert_eq!(fee.json()["submitted"], 1);
    assert!(fee.json()["fee_micro"].as_i64() > shown.json()["fee_micro"].as_i64());
    for (body, code) in [
        (json!({"commitment": "zz"}), "bad-commitment"),
        (json!({"commitment": hash, "more": 1}), "unknown-field"),
        (json!({}), "invalid-field"),
    ] {
        assert_eq!(world.post(&path, &token, &body).await.problem().1, code);
    }
}

#[tokio::test]
async fn attachments_are_only_ever_downloads() {
    let world = World::new();
    let put = async |kind: &str, data: Vec<u8>| {
        let request = world
            .request(Method::POST, "/api/v1/attachments")
            .bearer_auth(&world.operator);
        Answer::of(request.header("content-type", kind).body(data)).await
    };
    let html = b"<script>alert(1)</script>".to_vec();
    let made = put("text/plain", html.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let hash = made.json()["hash"].as_str().unwrap().to_owned();
    assert_eq!(hash, blake3::hash(&html).to_hex().to_string());
    let file = world.get(&format!("/api/v1/attachments/{hash}")).await;
    assert_eq!(
        (file.status.as_u16(), file.header("content-type")),
        (200, "text/plain")
    );
    assert!(
        file.header("content-disposition")
            .starts_with("attachment;")
    );
    assert!(file.header("content-security-policy").contains("sandbox"));
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    assert!(file.header("cache-control").contains("immutable"));
    for (kind, data, status, code) in [
        ("text/html", html.clone(), 422, "attachment-type"),
        ("image/svg+xml", b"<svg/>".to_vec(), 422, "attachment-type"),
        ("image/png", html.clone(), 422, "attachment-type"),
        ("text/plain", Vec::new(), 422, "attachment-empty"),
        (
            "text/plain",
            vec![b'x'; 1024 * 1024 + 1],
            413,
            "body-too-large",
        ),
    ] {
        assert_eq!(
            put(kind, data).await.problem(),
            (status, code.to_owned()),
            "{kind}"
        );
    }
    for path in ["..%2f..%2fetc%2fpasswd", "%00", &"a".repeat(64), "x"] {
        let answer = world.get(&format!("/api/v1/attachments/{path}")).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    let ada = world.person("ada");
    let visitor = world
        .request(Method::POST, "/api/v1/attachments")
        .header("content-type", "text/plain")
        .body("x");
    assert_eq!(Answer::of(visitor).await.problem().0, 401);
    let without_role = world
        .request(Method::POST, "/api/v1/attachments")
        .bearer_auth(&ada);
    let without_role =
        Answer::of(without_role.header("content-type", "text/plain").body("x")).await;
    assert!([201, 403].contains(&without_role.status.as_u16()));
}

#[tokio::test]
async fn comments_are_shown_without_their_markup() {
    let world = World::new();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market().await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/markets/{market}/comments");
    let hostile = "**bold** <script>alert(1)</script> [x](javascript:alert(1)) \u{202e}gnirts";
    let made = world.post(&path, &ada, &json!({"body": hostile})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let page = world.get(&format!("/markets/{market}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("<strong>bold</strong>"));
    assert!(page.text.contains("&lt;script&gt;alert(1)"));
    assert!(!page.text.contains("javascript:alert") && page.text.contains("⟨U+202E⟩"));
    for n in 0..9 {
        world
            .post(&path, &ada, &json!({"body": format!("{n}")}))
            .await;
    }
    let flood = world.post(&path, &ada, &json!({"body": "more"})).await;
    assert_eq!(flood.problem(), (429, "rate-limited".to_owned()));
    assert_eq!(flood.header("retry-after"), "60");
    let one = format!("/api/v1/comments/{}", made.json()["id"].as_str().unwrap());
    let remove = async |token: &str| {
        Answer::of(world.request(Method::DELETE, &one).bearer_auth(token)).await
    };
    assert_eq!(remove(&bob).await.problem().0, 403);
    assert_eq!(remove(&ada).await.status, 204);
    assert_eq!(remove(&ada).await.problem().0, 404);
    let listed = world.get(&format!("{path}?limit=1")).await.json();
    assert_eq!(
        (
            &listed["items"][0]["body"],
            &listed["items"][0]["deleted_by"]
        ),
        (&json!(""), &json!("author"))
    );
    assert_eq!(
        world
            .post(&path, &bob, &json!({"body": "x".repeat(4097)}))
            .await
            .problem()
            .1,
        "bad-comment"
    );
}

#[tokio::test]
async fn a_dispute_needs_a_judged_exhibit_of_somebody_else() {
    let world = World::new();
    let ada = world.person("ada");
    let market = world.market().await["id"].as_str().unwrap().to_owned();
    let evidence = format!("/api/v1/markets/{market}/evidence");
    let made = world
        .post(&evidence, &world.operator, &report("Found it."))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/evidence/{id}/challenges");
    let bond = json!({"reason": "no", "bond_micro": 1_000_000});
    for _ in 0..100 {
        if world.get(&format!("/api/v1/evidence/{id}")).await.json()["status"] == "judged" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        world.post(&path, &world.operator, &bond).await.problem().1,
        "own-exhibit"
    );
    let small = json!({"reason": "no", "bond_micro": -5});
    assert_eq!(
        world.post(&path, &ada, &small).await.problem().1,
        "bond-too-small"
    );
    assert_eq!(
        world
            .post(
                &path,
                &ada,
                &json!({"reason": " ", "bond_micro": 1_000_000})
            )
            .await
            .problem()
            .1,
        "bad-reason"
    );
    let made = world.post(&path, &ada, &bond).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(world.get(&path).await.json()[0]["status"], "open");
    let page = world.get(&format!("/evidence/{id}")).await;
    assert!(
        page.status == 200 && page.text.contains("Authenticity"),
        "{}",
        page.text
    );
}
