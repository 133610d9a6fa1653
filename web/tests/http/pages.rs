//! Pages and their forms, as a browser without JavaScript uses them.

use reqwest::Method;
use serde_json::json;

use crate::accounts::Session;
use crate::world::{Answer, PASSWORD, World};

/// A browser's session.
pub(crate) struct Browser<'a> {
    world: &'a World,
    cookie: String,
    csrf: String,
}

impl<'a> Browser<'a> {
    pub(crate) async fn sign_in(world: &'a World, handle: &str) -> Self {
        let form = [
            ("handle", handle),
            ("password", PASSWORD),
            ("next", "/account"),
        ];
        let answer = Answer::of(world.request(Method::POST, "/login").form(&form)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/account"),
            "{}",
            answer.text
        );
        let cookie = answer
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let mut browser = Self {
            world,
            cookie,
            csrf: String::new(),
        };
        let page = browser.get("/account").await;
        assert_eq!(page.status, 200);
        browser.csrf = between(&page.text, "data-csrf=\"", "\"").to_owned();
        browser
    }

    /// The same in a session that is open already.
    pub(crate) fn of(world: &'a World, session: &Session) -> Self {
        Self {
            world,
            cookie: session.cookie.clone(),
            csrf: session.csrf.clone(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(
            self.world
                .request(Method::GET, path)
                .header("cookie", &self.cookie),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = vec![("csrf", self.csrf.as_str())];
        form.extend_from_slice(fields);
        Answer::of(
            self.world
                .request(Method::POST, path)
                .header("cookie", &self.cookie)
                .form(&form),
        )
        .await
    }
}

pub(crate) fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = &text[text
        .find(start)
        .unwrap_or_else(|| panic!("{start} is not in the page"))
        + start.len()..];
    &rest[..rest.find(end).unwrap()]
}

#[tokio::test]
async fn every_page_answers_with_and_without_data() {
    let world = World::new();
    let empty = [
        "/",
        "/markets",
        "/allocations",
        "/training",
        "/oracle",
        "/policy",
        "/ledger",
        "/log",
        "/panels",
        "/login",
        "/signup",
        "/setup",
        "/api/docs",
    ];
    for path in empty {
        let page = world.get(path).await;
        assert_eq!(
            (page.status.as_u16(), page.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}: {}",
            page.text
        );
    }
    let ada = world.person("ada");
    let market = world.market().await;
    let (id, run) = (
        market["id"].as_str().unwrap(),
        market["run_id"].as_str().unwrap(),
    );
    world
        .post(
            &format!("/api/v1/markets/{id}/trades"),
            &ada,
            &json!({"outcome": "no", "spend_micro": 3_000_000}),
        )
        .await;
    let operator = Browser::sign_in(&world, "operator").await;
    let paths = [
        format!("/markets/{id}"),
        format!("/runs/{run}"),
        "/runs/subject".to_owned(),
        format!("/training/{run}"),
        "/jobs".to_owned(),
        "/account".to_owned(),
        "/account/webhooks".to_owned(),
        "/notifications".to_owned(),
    ];
    for path in empty.iter().map(|path| (*path).to_owned()).chain(paths) {
        let page = operator.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(
            page.text.contains("operator"),
            "{path} shows who is signed in"
        );
    }
    let told = operator.get("/").await.text;
    assert!(
        told.contains("subject: now "),
        "the feed tells of the trade"
    );
    let missing = world.get("/markets/nope").await;
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("<h1>Not Found</h1>") && missing.text.contains("not-found"));
    let private = world.get("/account").await;
    assert_eq!(
        (private.status.as_u16(), private.header("location")),
        (303, "/login?next=%2Faccount")
    );
}

#[tokio::test]
async fn a_person_trades_without_javascript() {
    let world = World::new();
    world.person("ada");
    let market = world.market().await;
    let path = format!("/markets/{}", market["id"].as_str().unwrap());
    let ada = Browser::sign_in(&world, "ada").await;
    let quoted = ada
        .post(
            &path,
            &[
                ("outcome", "yes"),
                ("mode", "spend"),
                ("amount", "10"),
                ("do", "quote"),
            ],
        )
        .await;
    assert_eq!(quoted.status, 200);
    assert!(quoted.text.contains("You pay") && quoted.text.contains("10.00 cr"));
    let unchanged = world.get(&format!("/api/v1{path}")).await.json();
    assert_eq!(unchanged["trades"], 0, "a quote changes nothing");
    let wrong = ada
        .post(
            &path,
            &[
                ("outcome", "yes"),
                ("mode", "spend"),
                ("amount", "lots"),
                ("do", "trade"),
            ],
        )
        .await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("must be a number") && wrong.text.contains("value=\"lots\""));
    let key = between(&quoted.text, "name=\"idempotency\" value=\"", "\"").to_owned();
    let order = [
        ("outcome", "yes"),
        ("mode", "spend"),
        ("amount", "10"),
        ("do", "trade"),
        ("idempotency", key.as_str()),
    ];
    for _ in 0..2 {
        let placed = ada.post(&path, &order).await;
        assert_eq!(placed.status, 303, "{}", placed.text);
        assert_eq!(placed.header("location"), format!("{path}#trade"));
        let flash = placed
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let both = format!("{}; {flash}", ada.cookie);
        let page = Answer::of(world.request(Method::GET, &path).header("cookie", both)).await;
        assert!(page.text.contains("Bought ") && page.text.contains("Your position"));
        assert!(
            page.header("set-cookie").contains("plumbline_flash=;"),
            "a message is shown once"
        );
    }
    let after = world.get(&format!("/api/v1{path}")).await.json();
    assert_eq!(after["trades"], 1, "a double click trades once");
}

#[tokio::test]
async fn forms_refuse_other_sites_and_missing_tokens() {
    let world = World::new();
    world.person("ada");
    let ada = Browser::sign_in(&world, "ada").await;
    let post = |path: &str| {
        world
            .request(Method::POST, path)
            .header("cookie", &ada.cookie)
    };
    let no_token =
        Answer::of(post("/account/tokens").form(&[("name", "x"), ("scope", "read")])).await;
    assert_eq!(no_token.status, 403);
    assert!(no_token.text.contains("csrf"));
    let cross = post("/logout")
        .header("origin", "https://evil.example")
        .form(&[("csrf", ada.csrf.as_str())]);
    assert_eq!(Answer::of(cross).await.status, 403);
    let login = world
        .request(Method::POST, "/login")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(
        Answer::of(login.form(&[("handle", "ada"), ("password", PASSWORD)]))
            .await
            .status,
        403
    );
    assert_eq!(ada.get("/account").await.status, 200, "still signed in");
}

#[tokio::test]
async fn tokens_are_shown_once_and_can_be_revoked() {
    let world = World::new();
    world.person("ada");
    let ada = Browser::sign_in(&world, "ada").await;
    let made = ada
        .post(
            "/account/tokens",
            &[
                ("name", "<b>bot</b>"),
                ("scope", "read"),
                ("scope", "trade"),
            ],
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.text.contains("&lt;b&gt;bot") && !made.text.contains("<b>bot"));
    let secret = between(&made.text, "data-copy=\"plb_", "\"").to_owned();
    let secret = format!("plb_{secret}");
    assert_eq!(
        Answer::of(
            world
                .request(Method::GET, "/api/v1/me")
                .bearer_auth(&secret)
        )
        .await
        .status,
        200
    );
    let page = ada.get("/account").await;
    assert!(!page.text.contains(&secret));
    let revoked = page
        .text
        .split("action=\"/account/tokens/")
        .skip(1)
        .map(|rest| rest.split('/').next().unwrap().to_owned());
    for id in revoked.collect::<Vec<_>>() {
        assert_eq!(
            ada.post(&format!("/account/tokens/{id}/revoke"), &[])
                .await
                .status,
            303
        );
    }
    assert_eq!(
        Answer::of(
            world
                .request(Method::GET, "/api/v1/me")
                .bearer_auth(&secret)
        )
        .await
        .status,
        401
    );
    let nothing = ada.post("/account/tokens", &[("name", "none")]).await;
    assert_eq!(nothing.status, 422);
}

#[tokio::test]
async fn credentials_forms_say_what_is_wrong_and_forget_passwords() {
    let world = World::new();
    let form = [
        ("handle", "operator"),
        ("password", "wrong wrong wrong"),
        ("next", "//evil.example"),
    ];
    let refused = Answer::of(world.request(Method::POST, "/login").form(&form)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains("role=\"alert\"") && !refused.text.contains("wrong wrong"));
    assert!(!refused.text.contains("evil.example"));
    let form = [("handle", "grace"), ("password", "short")];
    let refused = Answer::of(world.request(Method::POST, "/signup").form(&form)).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("value=\"grace\""));
    let form = [
        ("handle", "grace"),
        ("password", PASSWORD),
        ("next", "/markets"),
    ];
    let made = Answer::of(world.request(Method::POST, "/signup").form(&form)).await;
    assert_eq!(
        (made.status.as_u16(), made.header("location")),
        (303, "/markets"),
        "{}",
        made.text
    );
    let setup = Answer::of(world.request(Method::POST, "/setup").form(&[
        ("setup_code", "x"),
        ("handle", "mallory"),
        ("password", PASSWORD),
    ]))
    .await;
    assert!(setup.status.is_client_error(), "set-up is over");
}

#[tokio::test]
async fn themes_and_static_files() {
    let world = World::new();
    let chosen = world.get("/theme?to=dark&back=/markets").await;
    assert_eq!(chosen.header("location"), "/markets");
    let cookie = chosen
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let page = Answer::of(
        world
            .request(Method::GET, "/markets")
            .header("cookie", cookie),
    )
    .await;
    assert!(page.text.contains("data-theme=\"dark\""));
    let sheet = between(&page.text, "rel=\"stylesheet\" href=\"", "\"").to_owned();
    let css = world.get(&sheet).await;
    assert!(
        css.header("cache-control").contains("immutable")
            && css.header("content-type").starts_with("text/css")
    );
    assert_eq!(world.get("/static/../Cargo.toml").await.status, 404);
}
