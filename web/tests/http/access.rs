//! Every route, asked by every kind of caller: the answer is the policy's.

use std::collections::BTreeSet;

use plumbline_access::{Access, Action, Circumstances, Person, Principal, Question, ROLES, SCOPES};
use plumbline_governance::policy::Policy;
use plumbline_service::commands::{CreateAccount, Login};
use plumbline_service::context::Actor;
use plumbline_service::{ServiceConfig, SignUp};
use plumbline_web::{Mounted, RateLimits, WebConfig, routes};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, PASSWORD, World};

/// Somebody who walks round, and what the policy knows of them.
struct Walker {
    name: String,
    principal: Principal,
    account_id: String,
    /// Header that says who they are.
    credential: Option<(&'static str, String)>,
}

fn world(service: ServiceConfig) -> World {
    let limits = RateLimits {
        requests_per_second: 0.0,
        account_requests_per_second: 0.0,
        credentials_per_minute: 0.0,
    };
    let config = WebConfig {
        limits,
        ..WebConfig::default()
    };
    World::of(config, service, Policy::demo_toml().to_owned())
}

fn visitor() -> Walker {
    Walker {
        name: "visitor".into(),
        principal: Principal::Visitor,
        account_id: "nobody".into(),
        credential: None,
    }
}

/// The secret of a fresh session, and whom it stands for.
fn signed_in(world: &World, handle: &str) -> (String, Actor) {
    let login = Login {
        handle: handle.into(),
        password: PASSWORD.into(),
        code: None,
    };
    let session = world.service.login(&login).unwrap();
    let found = world.service.actor_of_session(&session.secret).unwrap();
    (session.secret, found.unwrap().0)
}

/// An account with these roles, once with a session and once with a token of all scopes that it may have.
fn account(world: &World, handle: &str, roles: &[&str]) -> [Walker; 2] {
    let cmd = CreateAccount {
        handle: handle.into(),
        password: PASSWORD.into(),
        invitation: None,
    };
    let me = world.service.provision_account(&cmd, roles).unwrap();
    let (session, actor) = signed_in(world, handle);
    let scopes: Vec<&str> = actor.scopes.iter().map(|scope| scope.as_str()).collect();
    let person = |session| {
        let roles = roles.iter().copied();
        Principal::Person(Person::new(roles, scopes.iter().copied(), session))
    };
    let token = world.token_of(&actor, &actor.scopes);
    [
        Walker {
            name: format!("{handle} with a session"),
            principal: person(true),
            account_id: me.id.clone(),
            credential: Some(("cookie", format!("plumbline_session={session}"))),
        },
        Walker {
            name: format!("{handle} with a token"),
            principal: person(false),
            account_id: me.id,
            credential: Some(("authorization", format!("Bearer {token}"))),
        },
    ]
}

/// Asks for a route with a body that no handler accepts, so that nothing happens behind the gate.
async fn ask(world: &World, walker: &Walker, route: &Mounted) -> (u16, String, String) {
    let mut path = route
        .path
        .replace("{name:.*}", "app.css")
        .replace("{version}", "1");
    if path.starts_with("/api/v1/ledger/accounts/") {
        path = path.replace("{id}", &walker.account_id);
    }
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        path.replace_range(from..=to, "00000000-0000-7000-8000-000000000000");
    }
    let mut request = world.request(route.method.as_str().parse().unwrap(), &path);
    if let Some((name, value)) = &walker.credential {
        request = request.header(*name, value);
    }
    if route.method == "POST" {
        request = request
            .header("content-type", "application/json")
            .body(vec![0xff]);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let location = response.headers().get("location");
    let location = location
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    // Only refusals are read: a stream of events has no end.
    let text = match status {
        401 | 403 => response.text().await.unwrap(),
        _ => String::new(),
    };
    (status, location, text)
}

async fn walk(
    world: &World,
    routes: &[Mounted],
    walkers: &[Walker],
    circumstances: Circumstances,
) -> usize {
    let policy = Access::new(circumstances).unwrap();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for route in routes {
        for walker in walkers {
            let (status, location, text) = ask(world, walker, route).await;
            let question = Question {
                principal: walker.principal,
                action: route.action,
                own: true,
            };
            let denied = match status {
                401 => true,
                303 => location.starts_with("/login?next="),
                // A session without its CSRF token was let in and is refused behind the gate.
                403 => !text.contains("CSRF") && !text.contains("\"csrf\""),
                _ => false,
            };
            asked += 1;
            if denied == policy.permits(question) {
                wrong.push(format!(
                    "{} {} ({:?}) by {}: {status} {text:.120}",
                    route.method, route.path, route.action, walker.name
                ));
            }
            let kind = if walker.credential.is_none() {
                [401, 303, 403]
            } else {
                [403; 3]
            };
            assert!(
                !denied || kind.contains(&status),
                "{} {}: {status}",
                route.path,
                walker.name
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_role_as_the_policy_says() {
    let world = world(ServiceConfig::default());
    let mut walkers = vec![visitor()];
    walkers.extend(account(&world, "plain", &[]));
    for role in ROLES {
        walkers.extend(account(&world, &format!("one-{role}"), &[role]));
    }
    walkers.extend(account(&world, "everything", &ROLES));
    let open = Circumstances {
        public_read: true,
        sign_up: SignUp::Open,
    };
    let asked = walk(&world, &routes(), &walkers, open).await;
    println!("{asked} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_service_answers_as_the_policy_says() {
    let closed = ServiceConfig {
        public_read: false,
        sign_up: SignUp::Closed,
        ..ServiceConfig::default()
    };
    let world = world(closed);
    let mut walkers = vec![visitor()];
    walkers.extend(account(&world, "plain", &[]));
    walkers.extend(account(&world, "one-operator", &["operator"]));
    let circumstances = Circumstances {
        public_read: false,
        sign_up: SignUp::Closed,
    };
    walk(&world, &routes(), &walkers, circumstances).await;
}

/// A path without the names of its parts.
fn nameless(path: &str) -> String {
    let parts = path.split('/');
    let plain = parts.map(|part| if part.starts_with('{') { "{}" } else { part });
    plain.collect::<Vec<_>>().join("/")
}

/// The document and the table of routes are of the same endpoints, and no job's work has a route.
#[test]
fn no_route_is_missing() {
    let document = plumbline_web::openapi_document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert(format!("{} {}", method.to_uppercase(), nameless(path)));
        }
    }
    let mounted: BTreeSet<String> = routes()
        .iter()
        .filter(|route| route.path.starts_with("/api/v1") || route.path.starts_with("/v1"))
        .map(|route| format!("{} {}", route.method, nameless(&route.path)))
        .collect();
    let undocumented: Vec<_> = mounted.difference(&documented).collect();
    assert!(
        undocumented.is_empty(),
        "not in the OpenAPI document: {undocumented:?}"
    );
    let all: BTreeSet<String> = routes()
        .iter()
        .map(|route| format!("{} {}", route.method, nameless(&route.path)))
        .collect();
    let missing: Vec<_> = documented.difference(&all).collect();
    assert!(
        missing.is_empty(),
        "documented and not mounted: {missing:?}"
    );
    assert_eq!(all.len(), routes().len(), "a route is mounted twice");
    let access = Access::new(Circumstances {
        public_read: true,
        sign_up: SignUp::Open,
    })
    .unwrap();
    let everybody = Principal::Person(Person::new(ROLES, SCOPES, true));
    for route in routes() {
        let by = |principal| {
            access.permits(Question {
                principal,
                action: route.action,
                own: true,
            })
        };
        let participant = Principal::Person(Person::new(["participant"], SCOPES, true));
        assert!(
            by(everybody) || by(participant),
            "nobody may {:?}",
            route.action
        );
    }
}

/// Tokens are narrowed by their scopes on every route, whatever the account may do.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_scopes_name_and_no_more() {
    let world = world(ServiceConfig::default());
    account(&world, "everything", &ROLES);
    let (_, actor) = signed_in(&world, "everything");
    let walkers: Vec<Walker> = actor
        .scopes
        .iter()
        .map(|scope| Walker {
            name: format!("a token for {}", scope.as_str()),
            principal: Principal::Person(Person::new(ROLES, [scope.as_str()], false)),
            account_id: actor.account_id.clone().unwrap(),
            credential: Some((
                "authorization",
                format!("Bearer {}", world.token_of(&actor, &[*scope])),
            )),
        })
        .collect();
    assert_eq!(walkers.len(), SCOPES.len());
    let open = Circumstances {
        public_read: true,
        sign_up: SignUp::Open,
    };
    // Pages are for browsers, whose sessions may read whatever else they do.
    let endpoints =
        |route: &Mounted| route.path.starts_with("/api/") || route.path.starts_with("/v1/");
    let listed: Vec<Mounted> = routes().into_iter().filter(endpoints).collect();
    walk(&world, &listed, &walkers, open).await;
}

/// Conflicts, by route: with every role and scope the operator has no part in how a case ends.
#[tokio::test]
async fn the_operator_cannot_settle_or_sit() {
    let world = world(ServiceConfig::default());
    let market = world.market().await;
    let id = market["id"].as_str().unwrap();
    let give = json!({"roles": ["juror"]});
    let path = "/api/v1/accounts/operator/roles";
    assert_eq!(world.post(path, &world.operator, &give).await.status, 201);
    let any = "00000000-0000-7000-8000-000000000000";
    let claim = json!({"pi": 1.0, "bond_micro": 50_000_000, "reason": "because"});
    let cases: [(String, Value); 6] = [
        (format!("/api/v1/markets/{id}/settlement"), claim.clone()),
        (format!("/api/v1/markets/{id}/challenges"), claim),
        (
            format!("/api/v1/panels/{any}/commits"),
            json!({"commitment": "00"}),
        ),
        (
            format!("/api/v1/panels/{any}/reveals"),
            json!({"pi": 1.0, "nonce": "00"}),
        ),
        (
            format!("/api/v1/panels/{any}/denouncements"),
            json!({"account": "ada"}),
        ),
        ("/api/v1/jurors".into(), json!({"stake_micro": 100_000_000})),
    ];
    for (path, body) in cases {
        let refused = world.post(&path, &world.operator, &body).await;
        assert_eq!(refused.problem(), (403, "forbidden".into()), "{path}");
        assert!(
            refused.text.contains("a role that permits"),
            "{}",
            refused.text
        );
    }
    // Choosing who is audited or who sits, settling and paying have no route at all.
    let work = [
        Action::SettleMarket,
        Action::PayMarket,
        Action::AdvancePanels,
        Action::ConveneGoldPanel,
    ];
    assert!(routes().iter().all(|route| !work.contains(&route.action)));
    let hidden =
        Answer::of(world.request(Method::POST, &format!("/api/v1/markets/{id}/audits"))).await;
    assert_eq!(hidden.status, 404);
}
