//! Accounts of people: invitations, one-time codes, sessions, leaving.

use plumbline_governance::policy::Policy;
use plumbline_service::{ServiceConfig, SignUp};
use plumbline_web::WebConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::pages::{Browser, between};
use crate::world::{Answer, PASSWORD, World};

pub(crate) const OTHER: &str = "seven quiet lamps over water";

/// A session: its cookie and its CSRF token.
pub(crate) struct Session {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Session {
    pub(crate) async fn open(world: &World, handle: &str) -> Self {
        let body = json!({"handle": handle, "password": PASSWORD});
        Self::of(&sign_in(world, &body).await)
    }

    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 201, "{}", answer.text);
        let cookie = answer.header("set-cookie").split(';').next().unwrap();
        Self {
            cookie: cookie.to_owned(),
            csrf: answer.json()["csrf_token"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn ask(
        &self,
        world: &World,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = world.request(method, path).header("cookie", &self.cookie);
        let request = request.header("x-csrf-token", &self.csrf);
        Answer::of(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    pub(crate) async fn get(&self, world: &World, path: &str) -> Answer {
        self.ask(world, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, world: &World, path: &str, body: Value) -> Answer {
        self.ask(world, Method::POST, path, Some(body)).await
    }
}

pub(crate) async fn sign_in(world: &World, body: &Value) -> Answer {
    Answer::of(world.request(Method::POST, "/api/v1/sessions").json(body)).await
}

pub(crate) async fn sign_up(world: &World, body: &Value) -> Answer {
    Answer::of(world.request(Method::POST, "/api/v1/accounts").json(body)).await
}

/// What an authenticator shows, `ahead` periods from now.
pub(crate) fn code(secret: &str, ahead: i64) -> String {
    let at = jiff::Timestamp::now().as_millisecond() + ahead * 30_000;
    plumbline_service::totp::code_of(secret, at).unwrap()
}

#[tokio::test]
async fn an_invitation_makes_one_account() {
    let invite_only = ServiceConfig {
        sign_up: SignUp::Invite,
        ..ServiceConfig::default()
    };
    let world = World::of(
        WebConfig::default(),
        invite_only,
        Policy::demo_toml().to_owned(),
    );
    let grace = json!({"handle": "grace", "password": PASSWORD});
    assert_eq!(
        sign_up(&world, &grace).await.problem(),
        (422, "bad-invitation".into())
    );
    let path = "/api/v1/invitations";
    for (bad, why) in [
        (json!({"valid_days": 0}), "bad-invitation"),
        (json!({"valid_days": 91}), "bad-invitation"),
        (json!({"roles": ["operator"]}), "bad-role"),
        (json!({"roles": ["king"]}), "bad-role"),
        (json!({"note": "x".repeat(121)}), "bad-invitation"),
    ] {
        assert_eq!(
            world.post(path, &world.operator, &bad).await.problem(),
            (422, why.into())
        );
    }
    let ask = json!({"note": "Grace", "roles": ["participant", "juror"]});
    let made = world.post(path, &world.operator, &ask).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let code = made.json()["code"].as_str().unwrap().to_owned();
    let with = |handle: &str, code: &str| json!({"handle": handle, "password": PASSWORD, "invitation": code});
    assert_eq!(
        sign_up(&world, &with("grace", "plbi_guess"))
            .await
            .problem()
            .1,
        "bad-invitation"
    );
    // A refused request uses nothing up.
    let weak = json!({"handle": "grace", "password": "passwordpassword", "invitation": code});
    assert_eq!(
        sign_up(&world, &weak).await.problem(),
        (422, "weak-password".into())
    );
    let joined = sign_up(&world, &with("grace", &code)).await;
    assert_eq!(joined.status, 201, "{}", joined.text);
    assert_eq!(joined.json()["roles"], json!(["participant", "juror"]));
    assert_eq!(
        sign_up(&world, &with("alan", &code)).await.problem().1,
        "bad-invitation"
    );
    let second = world.post(path, &world.operator, &json!({})).await.json();
    let one = format!("{path}/{}", second["invitation"]["id"].as_str().unwrap());
    let revoke = || {
        world
            .request(Method::DELETE, &one)
            .bearer_auth(&world.operator)
    };
    assert_eq!(Answer::of(revoke()).await.status, 204);
    assert_eq!(Answer::of(revoke()).await.status, 404);
    let gone = second["code"].as_str().unwrap();
    assert_eq!(
        sign_up(&world, &with("alan", gone)).await.problem().1,
        "bad-invitation"
    );
    let listed = Answer::of(
        world
            .request(Method::GET, path)
            .bearer_auth(&world.operator),
    )
    .await;
    let states: Vec<Value> = listed.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].clone())
        .collect();
    assert_eq!(states, ["revoked", "used"]);
    assert!(!listed.text.contains(&code) && listed.text.contains("grace"));
    // By the page, with the link that the operator sends.
    let third = world.post(path, &world.operator, &json!({})).await.json();
    let code = third["code"].as_str().unwrap();
    let form = world.get(&format!("/signup?invitation={code}")).await;
    assert!(
        form.text.contains(&format!("value=\"{code}\"")),
        "{}",
        form.text
    );
    let fields = [
        ("handle", "alan"),
        ("password", PASSWORD),
        ("invitation", code),
    ];
    let joined = Answer::of(world.request(Method::POST, "/signup").form(&fields)).await;
    assert_eq!(joined.status, 303, "{}", joined.text);
}

#[tokio::test]
async fn one_time_codes_are_asked_for_and_good_once() {
    let world = World::new();
    let token = world.person("ada");
    let ada = Session::open(&world, "ada").await;
    let path = "/api/v1/me/second-factor";
    // Whoever stole a token must not be able to lock the owner out.
    let stolen = world
        .post(path, &token, &json!({"password": PASSWORD}))
        .await;
    assert_eq!(stolen.problem(), (403, "forbidden".into()));
    let wrong = ada
        .post(&world, path, json!({"password": "guess guess guess"}))
        .await;
    assert_eq!(wrong.problem(), (422, "wrong-password".into()));
    let early = ada
        .post(
            &world,
            &format!("{path}/confirmation"),
            json!({"code": "123456"}),
        )
        .await;
    assert_eq!(early.problem(), (409, "no-key".into()));
    let key = ada.post(&world, path, json!({"password": PASSWORD})).await;
    let secret = key.json()["secret"].as_str().unwrap().to_owned();
    assert!(key.json()["address"].as_str().unwrap().contains(&secret));
    // A key that was never confirmed locks nobody out.
    Session::open(&world, "ada").await;
    let confirm = format!("{path}/confirmation");
    let wrong = ada.post(&world, &confirm, json!({"code": "000000"})).await;
    assert_eq!(wrong.problem(), (422, "second-factor".into()));
    let first = code(&secret, 0);
    let on = ada.post(&world, &confirm, json!({"code": first})).await;
    assert_eq!(on.status, 201, "{}", on.text);
    let recovery = on.json()["codes"][0].as_str().unwrap().to_owned();
    let bare = json!({"handle": "ada", "password": PASSWORD});
    assert_eq!(
        sign_in(&world, &bare).await.problem(),
        (422, "second-factor".into())
    );
    let with = |code: &str| json!({"handle": "ada", "password": PASSWORD, "code": code});
    // The code that turned it on was used; the next one is good, once.
    assert_eq!(
        sign_in(&world, &with(&first)).await.problem().1,
        "second-factor"
    );
    let next = code(&secret, 1);
    Session::of(&sign_in(&world, &with(&next)).await);
    assert_eq!(
        sign_in(&world, &with(&next)).await.problem().1,
        "second-factor"
    );
    let typed = recovery.to_lowercase().replace('-', " ");
    Session::of(&sign_in(&world, &with(&typed)).await);
    assert_eq!(
        sign_in(&world, &with(&recovery)).await.problem().1,
        "second-factor"
    );
    let left = ada.get(&world, path).await.json();
    assert_eq!(
        (&left["enabled"], &left["recovery_codes_left"]),
        (&json!(true), &json!(9))
    );
    // A wrong password says nothing about the code.
    let blind = json!({"handle": "ada", "password": OTHER, "code": next});
    assert_eq!(
        sign_in(&world, &blind).await.problem(),
        (401, "bad-credentials".into())
    );
    let mut codes = Vec::new();
    for guess in 0..8 {
        codes.push(
            sign_in(&world, &with(&format!("{guess:06}")))
                .await
                .problem()
                .0,
        );
    }
    assert!(
        codes.starts_with(&[422, 422]) && codes.ends_with(&[429, 429]),
        "{codes:?}"
    );
    let locked = sign_in(&world, &with(on.json()["codes"][1].as_str().unwrap())).await;
    assert_eq!(locked.problem().0, 429, "also for the right one");
}

#[tokio::test]
async fn sessions_are_listed_ended_and_do_not_outlive_a_password() {
    let world = World::new();
    let token = world.person("ada");
    let (one, two, three) = (
        Session::open(&world, "ada").await,
        Session::open(&world, "ada").await,
        Session::open(&world, "ada").await,
    );
    let path = "/api/v1/sessions";
    let listed = one.get(&world, path).await.json();
    let listed = listed.as_array().unwrap();
    // One more was opened to make the token.
    assert_eq!(listed.len(), 4);
    let own: Vec<&Value> = listed.iter().filter(|one| one["current"] == true).collect();
    assert_eq!(own.len(), 1);
    let named = |session: &Session| {
        let secret = session.cookie.split_once('=').unwrap().1.to_owned();
        blake3::hash(secret.as_bytes()).to_hex()[..16].to_owned()
    };
    let end = format!("{path}/{}", named(&two));
    assert_eq!(
        one.ask(&world, Method::DELETE, &end, None).await.status,
        204
    );
    assert_eq!(
        one.ask(&world, Method::DELETE, &end, None).await.status,
        404
    );
    assert_eq!(two.get(&world, "/api/v1/me").await.status, 401);
    world.person("eve");
    let eve = Session::open(&world, "eve").await;
    let stranger = format!("{path}/{}", named(&one));
    assert_eq!(
        eve.ask(&world, Method::DELETE, &stranger, None)
            .await
            .status,
        404
    );
    let change = "/api/v1/me/password";
    let weak = one
        .post(
            &world,
            change,
            json!({"current": PASSWORD, "new": "aaaaaaaaaaaaaaaa"}),
        )
        .await;
    assert_eq!(weak.problem(), (422, "weak-password".into()));
    let body = json!({"current": PASSWORD, "new": OTHER});
    assert_eq!(world.post(change, &token, &body).await.problem().0, 403);
    assert_eq!(one.post(&world, change, body.clone()).await.status, 204);
    assert_eq!(
        one.post(&world, change, body).await.problem().1,
        "wrong-password"
    );
    assert_eq!(one.get(&world, "/api/v1/me").await.status, 200);
    assert_eq!(
        three.get(&world, "/api/v1/me").await.status,
        401,
        "other sessions are over"
    );
    let old = json!({"handle": "ada", "password": PASSWORD});
    assert_eq!(sign_in(&world, &old).await.problem().0, 401);
    assert_eq!(
        sign_in(&world, &json!({"handle": "ada", "password": OTHER}))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn an_account_is_taken_along_and_closed_and_the_books_stay() {
    let world = World::new();
    world.person("ada");
    let ada = Session::open(&world, "ada").await;
    let me = ada.get(&world, "/api/v1/me").await.json();
    let export = ada.get(&world, "/api/v1/me/export").await;
    assert_eq!(export.status, 200, "{}", export.text);
    assert_eq!(export.json()["account"]["id"], me["id"]);
    assert_eq!(export.json()["transfers"][0]["kind"], "grant");
    assert_eq!(export.json()["complete"], true);
    let secret = ada.cookie.split_once('=').unwrap().1;
    for hidden in ["$argon2", "hash", secret, ada.csrf.as_str()] {
        assert!(!export.text.contains(hidden), "{hidden}");
    }
    let path = "/api/v1/me/closure";
    let wrong = ada
        .post(&world, path, json!({"password": OTHER, "surrender": true}))
        .await;
    assert_eq!(wrong.problem().1, "wrong-password");
    let rich = ada.post(&world, path, json!({"password": PASSWORD})).await;
    assert_eq!(rich.problem(), (409, "balance-left".into()));
    let market = world.market().await;
    let trade = format!("/api/v1/markets/{}/trades", market["id"].as_str().unwrap());
    assert_eq!(
        ada.post(
            &world,
            &trade,
            json!({"outcome": "yes", "spend_micro": 1_000_000})
        )
        .await
        .status,
        201
    );
    let busy = ada
        .post(
            &world,
            path,
            json!({"password": PASSWORD, "surrender": true}),
        )
        .await;
    assert_eq!(busy.problem(), (409, "account-in-use".into()));
    world.person("eve");
    let eve = Session::open(&world, "eve").await;
    let id = eve.get(&world, "/api/v1/me").await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        eve.post(
            &world,
            path,
            json!({"password": PASSWORD, "surrender": true})
        )
        .await
        .status,
        204
    );
    assert_eq!(eve.get(&world, "/api/v1/me").await.status, 401);
    let back = json!({"handle": "eve", "password": PASSWORD});
    assert_eq!(
        sign_in(&world, &back).await.problem(),
        (401, "bad-credentials".into())
    );
    let statement = format!("/api/v1/ledger/accounts/{id}/transfers");
    let statement = Answer::of(
        world
            .request(Method::GET, &statement)
            .bearer_auth(&world.operator),
    )
    .await;
    assert_eq!(statement.json()["items"][0]["kind"], "account-closed");
    assert_eq!(world.get("/api/v1/ledger").await.json()["sum_micro"], 0);
    // The name is free for somebody else, who is somebody else.
    let again = sign_up(&world, &back).await;
    assert!(again.status == 201 && again.json()["id"] != json!(id));
    let operator = Session::open(&world, "operator").await;
    let last = operator
        .post(
            &world,
            path,
            json!({"password": PASSWORD, "surrender": true}),
        )
        .await;
    assert_eq!(last.problem(), (409, "last-operator".into()));
}

#[tokio::test]
async fn the_security_page_does_what_the_endpoints_do() {
    let world = World::new();
    world.person("ada");
    let ada = Browser::sign_in(&world, "ada").await;
    let other = Session::open(&world, "ada").await;
    let refused = ada
        .post("/account/password", &[("current", OTHER), ("new", OTHER)])
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("not your password"));
    let begun = ada
        .post("/account/second-factor", &[("password", PASSWORD)])
        .await;
    assert_eq!(begun.status, 201);
    assert!(begun.text.contains("class=\"qr\""));
    let secret = between(&begun.text, "<code class=\"token\">", "</code>").replace(' ', "");
    let wrong = ada
        .post("/account/second-factor/confirm", &[("code", "1")])
        .await;
    assert!(wrong.status == 422 && wrong.text.contains("/account/second-factor/confirm"));
    let on = ada
        .post(
            "/account/second-factor/confirm",
            &[("code", &code(&secret, 0))],
        )
        .await;
    assert_eq!(on.status, 201, "{}", on.text);
    let recovery = between(&on.text, "<ul class=\"codes\"><li><code>", "</code>").to_owned();
    let login = [("handle", "ada"), ("password", PASSWORD), ("code", "")];
    let asked = Answer::of(world.request(Method::POST, "/login").form(&login)).await;
    assert!(
        asked.status == 422 && asked.text.contains("one-time code"),
        "{}",
        asked.text
    );
    let login = [
        ("handle", "ada"),
        ("password", PASSWORD),
        ("code", recovery.as_str()),
    ];
    assert_eq!(
        Answer::of(world.request(Method::POST, "/login").form(&login))
            .await
            .status,
        303
    );
    let page = ada.get("/account/security").await;
    let revoke = page
        .text
        .split("/account/sessions/")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let ended = ada.post(&format!("/account/sessions/{revoke}"), &[]).await;
    assert_eq!(ended.status, 303, "{}", ended.text);
    let changed = ada
        .post(
            "/account/password",
            &[("current", PASSWORD), ("new", OTHER)],
        )
        .await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_eq!(
        other.get(&world, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let file = ada.get("/account/export").await;
    assert!(file.header("content-disposition").starts_with("attachment"));
}

#[tokio::test]
async fn what_is_left_of_a_limit_is_said() {
    let world = World::new();
    let token = world.person("ada");
    let visitor = world.get("/api/v1/runs").await;
    assert_eq!(visitor.header("ratelimit-policy"), "\"default\";q=2000;w=2");
    assert!(visitor.header("ratelimit").starts_with("\"default\";r="));
    let ask = || world.request(Method::GET, "/api/v1/me").bearer_auth(&token);
    let left = |answer: &Answer| -> u32 {
        between(answer.header("ratelimit"), "r=", ";")
            .parse()
            .unwrap()
    };
    let first = left(&Answer::of(ask()).await);
    assert!(
        (1_900..2_000).contains(&first),
        "the account's own, not the address's"
    );
}

#[tokio::test]
async fn a_token_ends_by_itself_and_unreasonable_times_are_refused() {
    let world = World::new();
    let token = world.person("ada");
    let ask = |days: Value| json!({"name": "t", "scopes": ["read"], "valid_days": days});
    for bad in [json!(0), json!(3_651)] {
        let refused = world.post("/api/v1/tokens", &token, &ask(bad)).await;
        assert_eq!(refused.problem(), (422, "bad-token-time".into()));
    }
    let made = world.post("/api/v1/tokens", &token, &ask(json!(1))).await;
    assert!(made.json()["expires_at"].is_string(), "{}", made.text);
    let without = json!({"name": "t", "scopes": ["read"]});
    let made = world.post("/api/v1/tokens", &token, &without).await;
    assert_eq!(made.json()["expires_at"], Value::Null);
}
