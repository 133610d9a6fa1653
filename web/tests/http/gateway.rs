//! The OpenAI-compatible gateway.

use plumbline_governance::policy::Policy;
use plumbline_web::WebConfig;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World};

#[tokio::test]
async fn completions_have_openai_shape() {
    let world = World::new();
    let ada = world.person("ada");
    world.market().await;
    let models = world.get("/v1/models").await.json();
    assert_eq!(
        (&models["object"], &models["data"][0]["id"]),
        (&json!("list"), &json!("subject"))
    );
    let body = json!({"model": "subject", "prompt": ["a", "bcd"], "n": 2, "seed": 5, "max_tokens": 8, "temperature": 0.5, "logprobs": 1, "stop": ["\n"]});
    let answer = world.post("/v1/completions", &ada, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let texts: Vec<&str> = answer["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        ["echo 5 of 1", "echo 6 of 1", "echo 5 of 3", "echo 6 of 3"]
    );
    assert_eq!(answer["usage"]["total_tokens"], 20);
    assert_eq!(answer["choices"][0]["logprobs"]["token_logprobs"][0], -0.25);
    let chat =
        json!({"model": "subject", "messages": [{"role": "user", "content": "hi"}], "seed": 1});
    let answer = world.post("/v1/chat/completions", &ada, &chat).await.json();
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        format!("echo 1 of {}", "user: hi\nassistant:".len())
    );
}

#[tokio::test]
async fn streams_end_with_done() {
    let world = World::new();
    let ada = world.person("ada");
    world.market().await;
    for (path, body) in [
        (
            "/v1/completions",
            json!({"model": "subject", "prompt": "a", "seed": 1, "stream": true}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "subject", "messages": [{"role": "user", "content": "a"}], "stream": true}),
        ),
    ] {
        let answer = world.post(path, &ada, &body).await;
        assert!(
            answer
                .header("content-type")
                .starts_with("text/event-stream"),
            "{path}"
        );
        let frames: Vec<&str> = answer
            .text
            .split("\n\n")
            .filter(|frame| !frame.is_empty())
            .collect();
        assert_eq!(frames.last(), Some(&"data: [DONE]"));
        for frame in &frames[..frames.len() - 1] {
            let chunk: Value = serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(chunk["model"], "subject");
        }
    }
}

#[tokio::test]
async fn errors_have_openai_shape() {
    let world = World::new();
    let ada = world.person("ada");
    world.market().await;
    let visitor = Answer::of(
        world
            .request(Method::POST, "/v1/completions")
            .json(&json!({"model": "subject", "prompt": "a"})),
    )
    .await;
    assert_eq!(
        (visitor.status.as_u16(), &visitor.json()["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    for (body, status, code) in [
        (json!({"model": "other", "prompt": "a"}), 404, "not-found"),
        (
            json!({"model": "subject", "prompt": "a", "wings": true}),
            400,
            "unknown-field",
        ),
        (
            json!({"model": "subject", "prompt": "a", "temperature": 9}),
            422,
            "invalid-field",
        ),
        (
            json!({"model": "subject", "prompt": [1]}),
            422,
            "invalid-field",
        ),
    ] {
        let answer = world.post("/v1/completions", &ada, &body).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status.as_u16(), &error["code"], &error["type"]),
            (status, &json!(code), &json!("invalid_request_error")),
            "{body}"
        );
    }
    assert_eq!(
        world.get("/v1/nothing").await.json()["error"]["code"],
        "not-found"
    );
}

#[tokio::test]
async fn a_paused_run_answers_503_with_its_decision() {
    let pausing = Policy::demo_toml().replace(
        "action = \"throttle\"\ncap_bps = 5_000",
        "action = \"pause\"",
    );
    let world = World::with(WebConfig::default(), pausing);
    let ada = world.person("ada");
    let run = world
        .post("/api/v1/runs", &world.operator, &json!({"name": "subject"}))
        .await
        .json();
    *world.host.run_id.lock().unwrap() = run["id"].as_str().unwrap().to_owned();
    let body = json!({"model": "subject", "prompt": "a"});
    for _ in 0..200 {
        let answer = world.post("/v1/completions", &ada, &body).await;
        if answer.status == 503 {
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "run-paused");
            let decision = error["decision_id"].as_str().unwrap();
            assert_eq!(
                world
                    .get(&format!("/api/v1/allocations/{decision}"))
                    .await
                    .json()["decision"]["action"],
                "pause"
            );
            assert!(!answer.header("retry-after").is_empty());
            let page = world.get(&format!("/allocations/{decision}")).await;
            assert_eq!(page.status, 200, "{}", page.text);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the policy never paused the run");
}

#[tokio::test]
async fn models_are_shown_prompts_echoed_and_tokens_metered() {
    let world = World::new();
    let ada = world.person("ada");
    world.market().await;
    assert_eq!(
        world.get("/v1/models/subject").await.json()["id"],
        "subject"
    );
    let unknown = world.get("/v1/models/other").await;
    assert_eq!(unknown.json()["error"]["code"], "not-found");
    let body = json!({"model": "subject", "prompt": "abc", "echo": true, "seed": -1, "user": "u"});
    let answer = world.post("/v1/completions", &ada, &body).await.json();
    let text = answer["choices"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("abcecho "), "{text}");
    assert_eq!(answer["system_fingerprint"], "subject");
    for _ in 0..200 {
        let usage = Answer::of(
            world
                .request(Method::GET, "/api/v1/usage")
                .bearer_auth(&ada),
        )
        .await
        .json();
        if usage[0]["completion_tokens"] == 3 {
            let treasury = world.get("/api/v1/treasury").await.json();
            assert_eq!(
                (&treasury["open_micro"], &treasury["periods"]),
                (&json!(0), &json!([]))
            );
            let missing = world.get("/api/v1/treasury/statements/1").await;
            assert_eq!(missing.problem(), (404, "not-found".into()));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the tokens were never booked");
}

/// Hanging up ends the work, whether the text was to come piece by piece or whole.
#[tokio::test]
async fn a_client_that_hangs_up_is_not_worked_for() {
    let world = World::new();
    let ada = world.person("ada");
    world.market().await;
    let going = || world.host.endless.load(std::sync::atomic::Ordering::SeqCst);
    for stream in [true, false] {
        let body = json!({"model": "subject", "prompt": "endless", "stream": stream});
        let asking = world
            .request(Method::POST, "/v1/completions")
            .bearer_auth(&ada)
            .json(&body)
            .send();
        let client = tokio::spawn(async move {
            let mut answer = asking.await.unwrap();
            while answer.chunk().await.unwrap().is_some() {}
        });
        until(|| going() == 1).await;
        client.abort();
        until(|| going() == 0).await;
    }
}

async fn until(done: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed().as_secs() < 20, "waited in vain");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
