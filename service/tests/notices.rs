//! Following and being told: what people hear of, once each, and how it is mailed.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::notices::{Letter, PostError, Postman};
use plumbline_service::time::{Clock, rfc3339};
use plumbline_service::views::{MarketView, NoticeView};
use support::court::Court;
use support::death::at_every_commit;
use support::*;

fn told(world: &World, who: &Context) -> Vec<NoticeView> {
    world.service.run_due_jobs().unwrap();
    world.service.notices(who, false, None, 100).unwrap().items
}

fn of_kind(world: &World, who: &Context, kind: &str) -> Vec<String> {
    let all = told(world, who).into_iter();
    let mut titles: Vec<String> = all
        .filter(|notice| notice.kind == kind)
        .map(|notice| notice.title)
        .collect();
    titles.reverse();
    titles
}

fn follow(world: &World, who: &Context, topic: &str) {
    let topic = FollowTopic {
        topic: topic.to_owned(),
    };
    world.service.follow(who, &topic).unwrap();
}

fn buy(world: &World, who: &Context, market: &str, outcome: &str, credits: i64) {
    let order = spend(outcome, credits * CREDIT);
    world.service.trade(who, market, &order).unwrap();
}

/// A market that is open for a day.
fn lasting(world: &World) -> MarketView {
    let run = RegisterRun {
        name: "subject".into(),
        parameters: 0,
    };
    let run = world.service.register_run(&world.operator, &run).unwrap();
    let terms = OpenMarket {
        closes_at: rfc3339(world.clock.now() + 86_400_000),
        closes_after_tokens: None,
        ..world.terms(&run.id)
    };
    world.service.open_market(&world.operator, &terms).unwrap()
}

#[test]
fn a_price_is_told_when_it_moved_by_five_points_and_not_to_who_moved_it() {
    let world = World::new(false);
    let (ada, bob, eve) = (
        world.person("ada"),
        world.person("bob"),
        world.person("eve"),
    );
    let market = world.market();
    follow(&world, &ada, &format!("market:{}", market.id));
    buy(&world, &bob, &market.id, "yes", 1);
    assert_eq!(of_kind(&world, &ada, "price"), Vec::<String>::new());
    buy(&world, &bob, &market.id, "yes", 10);
    let first = of_kind(&world, &ada, "price");
    assert_eq!(first.len(), 1);
    assert!(first[0].starts_with("50 % → "), "{first:?}");
    // Three moves before the next look are told as one.
    for _ in 0..3 {
        buy(&world, &bob, &market.id, "yes", 10);
    }
    assert_eq!(of_kind(&world, &ada, "price").len(), 2);
    // Who trades follows from then on, and is told of the moves of others.
    assert_eq!(of_kind(&world, &bob, "price"), Vec::<String>::new());
    buy(&world, &eve, &market.id, "no", 40);
    assert_eq!(of_kind(&world, &bob, "price").len(), 1);
    assert_eq!(of_kind(&world, &eve, "price").len(), 0);
    // Who left is left alone, also after taking part again.
    let topic = format!("market:{}", market.id);
    world.service.unfollow(&bob, &topic).unwrap();
    buy(&world, &bob, &market.id, "yes", 40);
    buy(&world, &eve, &market.id, "no", 60);
    assert_eq!(of_kind(&world, &bob, "price").len(), 1);
    assert!(!world.service.is_following(&bob, &topic).unwrap());
}

#[test]
fn evidence_and_settlement_and_payout_are_told() {
    let world = World::new(true);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    buy(&world, &bob, &market.id, "yes", 5);
    follow(&world, &ada, &format!("run:{}", market.run_id));
    world.service.run_due_jobs().unwrap();
    let report = world.report("2.0", 5 * CREDIT);
    world
        .service
        .submit_evidence(&ada, &market.id, &report)
        .unwrap();
    let judged = of_kind(&world, &bob, "evidence");
    assert_eq!(judged, ["Evidence judged: A number"]);
    // The price that the evidence moved is not told a second time.
    assert_eq!(of_kind(&world, &bob, "price"), Vec::<String>::new());
    world.pass(61_000);
    let settled = of_kind(&world, &bob, "settled");
    assert!(
        settled.iter().any(|title| title.starts_with("Settled: ")),
        "{settled:?}"
    );
    assert!(
        settled.iter().any(|title| title.starts_with("Paid ")),
        "{settled:?}"
    );
    let position = world.service.my_positions(&bob).unwrap();
    drop(position);
    assert_eq!(world.sum(), 0);
    // Reading them counts down, one by one and all at once.
    let page = world.service.notices(&bob, true, None, 100).unwrap();
    let one = MarkRead {
        id: Some(page.items[0].id),
        up_to: None,
    };
    let left = world.service.mark_read(&bob, &one).unwrap().unread;
    assert_eq!(left, page.unread - 1);
    let all = MarkRead {
        id: None,
        up_to: Some(page.items[0].id),
    };
    assert_eq!(world.service.mark_read(&bob, &all).unwrap().unread, 0);
    let foreign = world.service.mark_read(&ada, &one).unwrap_err();
    assert_eq!(foreign.code(), "not-found");
}

#[test]
fn a_seat_is_told_to_its_juror_alone_and_its_deadline_once() {
    let court = Court::new(9);
    let panel = court.convene(3).unwrap();
    let seated = court.seated(&panel);
    for juror in &court.jurors {
        let drawn = of_kind(&court.world, juror, "seat");
        let sits = seated.iter().any(|seat| seat.actor == juror.actor);
        assert_eq!(drawn.len(), usize::from(sits));
    }
    court.world.pass(50_000);
    for juror in &seated {
        for _ in 0..2 {
            let told = of_kind(&court.world, juror, "seat");
            assert_eq!(told, ["You were drawn as a juror", "Commit your vote"]);
        }
    }
}

#[test]
fn credentials_that_change_are_told_and_cannot_be_silenced() {
    let world = World::new(false);
    let ada = world.person("ada");
    world.pass(3_600_000);
    sign_in(&world.service, "ada");
    let ask = CreateToken {
        name: "bot".into(),
        scopes: vec!["read".into()],
        valid_days: None,
    };
    world.service.create_token(&ada, &ask).unwrap();
    let told = of_kind(&world, &ada, "security");
    assert_eq!(told, ["Somebody signed in as you", "A token was made: bot"]);
    let off = |kind: &str, app| ChooseNotices {
        choices: vec![ChooseKind {
            kind: kind.into(),
            app,
            mail: false,
        }],
    };
    let refused = world.service.choose_notices(&ada, &off("security", false));
    assert_eq!(refused.unwrap_err().code(), "bad-choice");
    assert!(
        world
            .service
            .choose_notices(&ada, &off("weather", true))
            .is_err()
    );
    let market = world.market();
    follow(&world, &ada, &format!("market:{}", market.id));
    world
        .service
        .choose_notices(&ada, &off("price", false))
        .unwrap();
    let bob = world.person("bob");
    buy(&world, &bob, &market.id, "yes", 40);
    assert_eq!(of_kind(&world, &ada, "price"), Vec::<String>::new());
}

#[test]
fn a_death_at_any_commit_tells_everybody_once() {
    let world = World::new(false);
    let people: Vec<Context> = (0..5)
        .map(|n| world.person(&format!("person-{n}")))
        .collect();
    let market = world.market();
    for who in &people {
        follow(&world, who, &format!("market:{}", market.id));
    }
    world.service.run_due_jobs().unwrap();
    let bob = world.person("bob");
    for _ in 0..3 {
        buy(&world, &bob, &market.id, "yes", 20);
    }
    let World {
        service,
        host,
        clock,
        folder,
        config,
        ..
    } = world;
    drop(service);
    let start = folder.path().join("plumbline.db");
    let open = |store| open_on(store, &host, &clock, &config);
    let finish = |service: &plumbline_service::Service| service.run_due_jobs().is_ok();
    let check = |service: &plumbline_service::Service, at: usize| {
        for who in &people {
            let page = service.notices(who, false, None, 100).unwrap();
            let prices = page.items.iter().filter(|one| one.kind == "price").count();
            assert_eq!(prices, 1, "death at commit {at}");
        }
    };
    let deaths = at_every_commit(&start, open, finish, check);
    assert!(deaths >= 2, "{deaths}");
}

/// Keeps letters, or refuses them as told.
#[derive(Default)]
struct Box {
    letters: Mutex<Vec<Letter>>,
    refuses: Mutex<Option<PostError>>,
}

impl Postman for Box {
    fn send(&self, letter: &Letter) -> Result<(), PostError> {
        if let Some(error) = self.refuses.lock().unwrap().clone() {
            return Err(error);
        }
        self.letters.lock().unwrap().push(letter.clone());
        Ok(())
    }
}

impl Box {
    fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut self.letters.lock().unwrap())
    }
}

fn address(text: &str) -> SetMailAddress {
    SetMailAddress {
        address: text.into(),
        pace: "once".into(),
    }
}

#[test]
fn an_address_is_proved_before_anything_else_is_mailed_to_it() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let refused = world
        .service
        .set_mail_address(&ada, &address("ada@example.org"));
    assert_eq!(refused.unwrap_err().code(), "mail-off");
    let mailbox = Arc::new(Box::default());
    world.service.connect_postman(mailbox.clone());
    world
        .service
        .set_mail_address(&ada, &address("ada@example.org"))
        .unwrap();
    let again = world
        .service
        .set_mail_address(&ada, &address("eve@example.org"));
    assert_eq!(again.unwrap_err().code(), "wait");
    world.service.run_due_jobs().unwrap();
    let letter = mailbox.take().remove(0);
    let code = letter.subject.rsplit(' ').next().unwrap().to_owned();
    // Nothing of the market before the code was shown.
    let market = lasting(&world);
    follow(&world, &ada, &format!("market:{}", market.id));
    let all_on = ChooseNotices {
        choices: vec![ChooseKind {
            kind: "price".into(),
            app: true,
            mail: true,
        }],
    };
    world.service.choose_notices(&ada, &all_on).unwrap();
    buy(&world, &bob, &market.id, "yes", 40);
    world.service.run_due_jobs().unwrap();
    world.pass(120_000);
    world.service.run_due_jobs().unwrap();
    assert_eq!(mailbox.take(), []);
    let verify = |code: &str| {
        world
            .service
            .verify_mail_address(&ada, &VerifyMailAddress { code: code.into() })
    };
    for _ in 0..3 {
        assert_eq!(verify("nonsense").unwrap_err().code(), "bad-code");
    }
    assert!(verify(&code).unwrap().verified_at.is_some());
    buy(&world, &bob, &market.id, "yes", 60);
    world.service.run_due_jobs().unwrap();
    assert_eq!(
        mailbox.take(),
        [],
        "what happens within a minute goes into one mail"
    );
    *mailbox.refuses.lock().unwrap() = Some(PostError {
        permanent: false,
        why: "busy".into(),
    });
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    *mailbox.refuses.lock().unwrap() = None;
    world.service.run_due_jobs().unwrap();
    assert_eq!(mailbox.take(), [], "tried again after a pause");
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    let letters = mailbox.take();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].subject.contains("→"), "{}", letters[0].subject);
    world.service.run_due_jobs().unwrap();
    assert_eq!(mailbox.take(), [], "once");
    // The link ends it, without an account; another does not.
    let link = letters[0].unsubscribe.clone().unwrap();
    let token = link.rsplit('/').next().unwrap();
    let mut forged = token.to_owned();
    forged.replace_range(
        forged.len() - 1..,
        if token.ends_with('0') { "1" } else { "0" },
    );
    assert_eq!(
        world.service.unsubscribe(&forged).unwrap_err().code(),
        "not-found"
    );
    world.service.unsubscribe(token).unwrap();
    assert_eq!(world.service.mail_address(&ada).unwrap().address, None);
    assert!(world.service.unsubscribe(token).is_err());
}

#[test]
fn a_code_is_worth_five_guesses() {
    let world = World::new(false);
    let ada = world.person("ada");
    let mailbox = Arc::new(Box::default());
    world.service.connect_postman(mailbox.clone());
    world
        .service
        .set_mail_address(&ada, &address("ada@example.org"))
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let code = mailbox.take()[0]
        .subject
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();
    let verify = |code: &str| {
        world
            .service
            .verify_mail_address(&ada, &VerifyMailAddress { code: code.into() })
    };
    for _ in 0..5 {
        assert!(verify("00000000").is_err() || code == "00000000");
    }
    assert_eq!(verify(&code).unwrap_err().code(), "bad-code");
}
