//! Bearer tokens are remembered between requests, and a revocation counts from the moment it is acknowledged.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use plumbline_service::Service;
use plumbline_service::commands::{CreateAccount, CreateToken, Invite};
use plumbline_service::context::{Actor, Context, Scope};
use plumbline_service::views::TokenCreated;
use support::*;

fn token(world: &World, owner: &Context, scopes: &[&str]) -> TokenCreated {
    let ask = CreateToken {
        name: "test".into(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        valid_days: None,
    };
    world.service.create_token(owner, &ask).unwrap()
}

/// As the web server asks: what is remembered, else what is stored.
fn admits(service: &Service, secret: &str) -> bool {
    service.known_actor(secret).is_some() || service.actor_of_token(secret).is_ok()
}

#[test]
fn a_token_is_read_once_and_trades_do_not_make_it_forgotten() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let secret = token(&world, &ada, &["read", "trade"]).token;
    assert_eq!(world.service.known_actor(&secret), None);
    let actor = world.service.actor_of_token(&secret).unwrap();
    assert_eq!(actor.scopes, [Scope::Read, Scope::Trade]);
    let order = spend("yes", CREDIT);
    world
        .service
        .trade(&Context::of(actor.clone()), &market.id, &order)
        .unwrap();
    assert_eq!(world.service.known_actor(&secret), Some(actor));
    assert_eq!(world.service.known_actor("plb_other"), None);
}

#[test]
fn a_revoked_token_is_refused_at_once() {
    let world = World::new(false);
    let ada = world.person("ada");
    let made = token(&world, &ada, &["read"]);
    assert!(admits(&world.service, &made.token));
    assert!(world.service.known_actor(&made.token).is_some());
    world.service.revoke_token(&ada, &made.id).unwrap();
    assert!(!admits(&world.service, &made.token));
}

#[test]
fn a_role_that_was_taken_is_gone_at_once() {
    let world = World::new(false);
    let ada = world.person("ada");
    let secret = token(&world, &ada, &["read", "trade"]).token;
    let scopes = |world: &World| {
        let known = world.service.known_actor(&secret);
        let actor = known.unwrap_or_else(|| world.service.actor_of_token(&secret).unwrap());
        actor.scopes
    };
    assert_eq!(scopes(&world), [Scope::Read, Scope::Trade]);
    let operator = &world.operator;
    world
        .service
        .revoke_role(operator, "ada", "participant")
        .unwrap();
    assert_eq!(scopes(&world), [Scope::Read]);
}

/// A reader that looked the token up just before the revocation must not be remembered after it.
#[test]
fn no_race_lets_a_revoked_token_in() {
    let world = World::new(false);
    let ada = world.person("ada");
    for _ in 0..30 {
        let made = token(&world, &ada, &["read"]);
        let (revoked, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        // Asked before: an answer may come late, a question may not.
                        let late = revoked.load(Ordering::SeqCst);
                        let let_in = admits(&world.service, &made.token);
                        assert!(!(late && let_in), "a revoked token was let in");
                        admitted.fetch_add(usize::from(let_in), Ordering::SeqCst);
                    }
                });
            }
            while admitted.load(Ordering::SeqCst) < 3 {
                std::thread::yield_now();
            }
            world.service.revoke_token(&ada, &made.id).unwrap();
            revoked.store(true, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(2));
            over.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn the_last_use_is_still_written_about_once_a_minute() {
    let world = World::new(false);
    let ada = world.person("ada");
    let secret = token(&world, &ada, &["read"]).token;
    let last_used = || world.service.tokens(&ada).unwrap()[0].last_used_at.clone();
    world.service.actor_of_token(&secret).unwrap();
    let first = last_used();
    assert!(first.is_some());
    world.pass(59_000);
    assert!(world.service.known_actor(&secret).is_some());
    world.pass(2_000);
    assert_eq!(world.service.known_actor(&secret), None);
    world.service.actor_of_token(&secret).unwrap();
    assert_ne!(last_used(), first);
    assert!(world.service.known_actor(&secret).is_some());
}

#[test]
fn what_ends_by_itself_ends_on_time() {
    const DAY: i64 = 24 * 3_600_000;
    let world = World::new(false);
    let ada = world.person("ada");
    let ask = CreateToken {
        name: "test".into(),
        scopes: vec!["read".into()],
        valid_days: Some(1),
    };
    let secret = world.service.create_token(&ada, &ask).unwrap().token;
    world.pass(DAY - 1);
    assert!(admits(&world.service, &secret));
    assert!(world.service.known_actor(&secret).is_some(), "remembered");
    world.pass(1);
    assert!(
        !admits(&world.service, &secret),
        "what is remembered ends too"
    );
    assert_eq!(world.service.tokens(&ada).unwrap().len(), 0);
    let invite = Invite {
        note: String::new(),
        valid_days: 1,
        roles: vec![],
    };
    let made = world.service.invite(&world.operator, &invite).unwrap();
    world.pass(DAY);
    let join = CreateAccount {
        handle: "grace".into(),
        password: PASSWORD.into(),
        invitation: Some(made.code),
    };
    let visitor = Context::of(Actor::visitor());
    let late = world.service.create_account(&visitor, &join).unwrap_err();
    assert_eq!(late.code(), "bad-invitation");
    let listed = world.service.invitations(&world.operator, None, 9).unwrap();
    assert_eq!(listed.items[0].state, "expired");
}
