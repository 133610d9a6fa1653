//! Passkeys, with a device in software: what signs in, and what does not, however it is made.
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plumbline_service::commands::*;
use plumbline_service::context::{Actor, Context, Scope};
use plumbline_service::time::Clock;
use plumbline_service::totp::code_of;
use plumbline_service::views::{PasskeyChallenge, PasskeyView, SessionOpened};
use plumbline_service::{Result, ServiceError};
use plumbline_store::accounts::{Account, AccountKind};
use plumbline_store::passkeys::Passkey;
use plumbline_store::{Store, StoreError, StoreOptions, accounts, passkeys};
use serde_json::{Value, json};
use support::device::Device;
use support::*;

const SITE: &str = "http://localhost:8600";
const MINUTE: i64 = 60_000;

/// What is wrong with a device.
type Fault = (&'static str, fn(&mut Device));

fn world() -> World {
    World::with(false, |config| config.public_url = SITE.to_owned())
}

fn password() -> BeginPasskey {
    BeginPasskey {
        password: PASSWORD.into(),
        code: None,
    }
}

fn begin(world: &World, who: &Context) -> PasskeyChallenge {
    let begun = world.service.begin_passkey(who, &password(), None);
    begun.unwrap()
}

fn finish(
    world: &World,
    who: &Context,
    begun: &PasskeyChallenge,
    made: Value,
) -> Result<PasskeyView> {
    let cmd = AddPasskey {
        attempt: begun.attempt.clone(),
        name: "laptop".into(),
        credential: made,
    };
    world.service.add_passkey(who, &cmd, None)
}

fn add(world: &World, who: &Context, device: &mut Device) -> PasskeyView {
    let begun = begin(world, who);
    let made = device.make(&begun.options);
    finish(world, who, &begun, made).unwrap()
}

fn ask(world: &World) -> PasskeyChallenge {
    world.service.begin_passkey_sign_in("192.0.2.1").unwrap()
}

fn answer(world: &World, asked: &PasskeyChallenge, signed: Value) -> Result<SessionOpened> {
    let cmd = PasskeyLogin {
        attempt: asked.attempt.clone(),
        credential: signed,
    };
    world.service.sign_in_with_passkey(&cmd, "Firefox")
}

fn sign_in_with(world: &World, device: &Device) -> Result<SessionOpened> {
    let asked = ask(world);
    answer(world, &asked, device.sign(&asked.options))
}

fn handle_of(world: &World, opened: &SessionOpened) -> String {
    let found = world.service.actor_of_session(&opened.secret).unwrap();
    found.unwrap().0.handle
}

fn told(world: &World, who: &Context) -> Vec<String> {
    let page = world.service.notices(who, false, None, 50).unwrap();
    page.items.into_iter().map(|one| one.title).collect()
}

fn refused<T: std::fmt::Debug>(answer: Result<T>) -> &'static str {
    answer.unwrap_err().code()
}

#[test]
fn a_passkey_signs_in_without_password_and_code() {
    let world = world();
    let ada = world.person("ada");
    let key = GivePassword {
        password: PASSWORD.into(),
    };
    let secret = world
        .service
        .begin_second_factor(&ada, &key)
        .unwrap()
        .secret;
    let shown = || code_of(&secret, world.clock.now()).unwrap();
    let confirm = ConfirmSecondFactor { code: shown() };
    world.service.confirm_second_factor(&ada, &confirm).unwrap();
    world.pass(MINUTE);
    let without = world.service.begin_passkey(&ada, &password(), None);
    assert_eq!(
        refused(without),
        "second-factor",
        "a passkey would go round it"
    );
    for (n, mut device) in [Device::p256(7), Device::ed25519(8)]
        .into_iter()
        .enumerate()
    {
        world.pass(MINUTE);
        let proof = BeginPasskey {
            code: Some(shown()),
            ..password()
        };
        let begun = world.service.begin_passkey(&ada, &proof, None).unwrap();
        let excluded = begun.options["excludeCredentials"].as_array().unwrap();
        assert_eq!(
            excluded.len(),
            n,
            "a device makes one passkey for an account"
        );
        let made = device.make(&begun.options);
        finish(&world, &ada, &begun, made).unwrap();
        let opened = sign_in_with(&world, &device).unwrap();
        assert_eq!(handle_of(&world, &opened), "ada");
    }
    let listed = world.service.passkeys(&ada).unwrap();
    assert_eq!(listed.origin.as_deref(), Some(SITE));
    assert_eq!(listed.passkeys.len(), 2);
    assert!(
        listed
            .passkeys
            .iter()
            .all(|one| one.last_used_at.is_some() && !one.synced)
    );
    assert!(
        told(&world, &ada)
            .iter()
            .any(|one| one == "The passkey “laptop” was added")
    );
}

#[test]
fn what_is_asked_of_a_browser_is_what_protects() {
    let world = world();
    let ada = world.person("ada");
    let begun = begin(&world, &ada);
    let options = &begun.options;
    assert_eq!(options["rp"]["id"], "localhost");
    assert_eq!(options["user"]["name"], "ada");
    let choice = &options["authenticatorSelection"];
    assert_eq!(choice["userVerification"], "required");
    assert_eq!(choice["residentKey"], "required");
    assert_eq!(options["attestation"], "none");
    assert_eq!(
        options["extensions"],
        json!({}),
        "not every device knows any"
    );
    let user = options["user"]["id"].as_str().unwrap();
    let id = ada.actor.account_id.clone().unwrap();
    assert!(!user.contains(&id[..8]), "devices learn no identifier");
    let asked = ask(&world);
    assert_eq!(asked.options["userVerification"], "required");
    assert_eq!(asked.options["allowCredentials"], json!([]));
    assert_ne!(asked.options["challenge"], ask(&world).options["challenge"]);
    assert_eq!(asked.expires_in_s, 300);
}

#[test]
fn adding_needs_the_password_once_more_and_the_same_session() {
    let world = world();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let wrong = BeginPasskey {
        password: "not the password".into(),
        code: None,
    };
    let begun = world.service.begin_passkey(&ada, &wrong, None);
    assert_eq!(refused(begun), "wrong-password");
    let token = Context::of(Actor {
        session: false,
        scopes: Scope::ALL.to_vec(),
        ..ada.actor.clone()
    });
    assert_eq!(
        refused(world.service.begin_passkey(&token, &password(), None)),
        "forbidden"
    );
    let mut device = Device::p256(7);
    let mut once = |who: &Context, begun: &PasskeyChallenge| {
        let made = device.make(&begun.options);
        finish(&world, who, begun, made)
    };
    // Another account's attempt, an attempt that is answered, and one that nobody began.
    let begun = begin(&world, &ada);
    assert_eq!(refused(once(&bob, &begun)), "passkey-attempt");
    assert_eq!(
        refused(once(&ada, &begun)),
        "passkey-attempt",
        "it was tried"
    );
    let begun = begin(&world, &ada);
    let other = PasskeyChallenge {
        attempt: "guessed".into(),
        ..begun.clone()
    };
    assert_eq!(refused(once(&ada, &other)), "passkey-attempt");
    // Another session of the same account.
    let begun = world
        .service
        .begin_passkey(&ada, &password(), Some("this session"));
    assert_eq!(refused(once(&ada, &begun.unwrap())), "passkey-attempt");
    // Too late.
    let begun = begin(&world, &ada);
    world.pass(5 * MINUTE);
    assert_eq!(refused(once(&ada, &begun)), "passkey-attempt");
    // An attempt to sign in.
    assert_eq!(
        refused(once(
            &ada,
            &PasskeyChallenge {
                options: begun.options,
                ..ask(&world)
            }
        )),
        "passkey-attempt"
    );
    assert!(world.service.passkeys(&ada).unwrap().passkeys.is_empty());
}

#[test]
fn what_a_device_made_has_to_fit() {
    let world = world();
    let ada = world.person("ada");
    let faults: [Fault; 3] = [
        ("another origin", |device| {
            device.origin = "http://localhost:8601".into()
        }),
        ("another host", |device| device.host = "evil.example".into()),
        ("nobody looked", |device| device.verifies = false),
    ];
    for (what, fault) in faults {
        let mut device = Device::p256(7);
        fault(&mut device);
        let begun = begin(&world, &ada);
        let made = device.make(&begun.options);
        assert_eq!(
            refused(finish(&world, &ada, &begun, made)),
            "passkey-refused",
            "{what}"
        );
    }
    let mut device = Device::p256(7);
    let (first, second) = (begin(&world, &ada), begin(&world, &ada));
    let of_first = device.make(&first.options);
    assert_eq!(
        refused(finish(&world, &ada, &second, of_first)),
        "passkey-refused",
        "another challenge"
    );
    for nonsense in [
        json!(null),
        json!({}),
        json!({"response": {}}),
        json!({"pad": "x".repeat(40_000)}),
    ] {
        let begun = begin(&world, &ada);
        assert_eq!(
            refused(finish(&world, &ada, &begun, nonsense)),
            "passkey-refused"
        );
    }
    for name in ["", " ", "a\nb", &"x".repeat(61)] {
        let cmd = AddPasskey {
            attempt: "x".into(),
            name: name.into(),
            credential: json!({}),
        };
        assert_eq!(
            refused(world.service.add_passkey(&ada, &cmd, None)),
            "bad-passkey-name"
        );
    }
}

#[test]
fn a_passkey_belongs_to_one_account_and_an_account_has_ten() {
    let world = world();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let mut device = Device::p256(1);
    add(&world, &ada, &mut device);
    let begun = begin(&world, &bob);
    let made = device.make(&begun.options);
    assert_eq!(refused(finish(&world, &bob, &begun, made)), "passkey-known");
    let spare = begin(&world, &ada);
    for seed in 2..=10 {
        add(&world, &ada, &mut Device::ed25519(seed));
    }
    let more = world.service.begin_passkey(&ada, &password(), None);
    assert_eq!(refused(more), "too-many-passkeys");
    let made = Device::p256(11).make(&spare.options);
    assert_eq!(
        refused(finish(&world, &ada, &spare, made)),
        "too-many-passkeys"
    );
    assert_eq!(world.service.passkeys(&ada).unwrap().passkeys.len(), 10);
}

#[test]
fn an_answer_that_does_not_fit_opens_nothing() {
    let world = world();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let (mut hers, mut his) = (Device::p256(7), Device::ed25519(8));
    add(&world, &ada, &mut hers);
    add(&world, &bob, &mut his);
    let faults: [Fault; 6] = [
        ("another origin", |device| {
            device.origin = "https://localhost:8600".into()
        }),
        ("a page in a frame of another", |device| {
            device.origin = "http://localhost:8600\",\"topOrigin\":\"x".into()
        }),
        ("another host", |device| device.host = "evil.example".into()),
        ("nobody looked who holds it", |device| {
            device.verifies = false
        }),
        ("an unknown passkey", |device| device.id = vec![9; 16]),
        ("another's passkey", |device| device.id = vec![8; 16]),
    ];
    for (what, fault) in faults {
        let mut device = Device::p256(7);
        device.user.clone_from(&hers.user);
        fault(&mut device);
        assert_eq!(
            refused(sign_in_with(&world, &device)),
            "bad-passkey",
            "{what}"
        );
    }
    // Her key, said to be his.
    let mut device = Device::p256(7);
    device.user.clone_from(&his.user);
    assert_eq!(refused(sign_in_with(&world, &device)), "bad-passkey");
    // A right answer with one byte changed, wherever.
    for part in [
        "signature",
        "authenticatorData",
        "clientDataJSON",
        "userHandle",
    ] {
        let asked = ask(&world);
        let mut signed = hers.sign(&asked.options);
        let mut bytes = URL_SAFE_NO_PAD
            .decode(signed["response"][part].as_str().unwrap())
            .unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        signed["response"][part] = URL_SAFE_NO_PAD.encode(bytes).into();
        assert_eq!(
            refused(answer(&world, &asked, signed)),
            "bad-passkey",
            "{part}"
        );
    }
    assert_eq!(
        handle_of(&world, &sign_in_with(&world, &hers).unwrap()),
        "ada"
    );
    assert_eq!(
        handle_of(&world, &sign_in_with(&world, &his).unwrap()),
        "bob"
    );
}

#[test]
fn a_challenge_is_good_once_in_time_and_for_what_it_was_made() {
    let world = world();
    let ada = world.person("ada");
    let mut device = Device::p256(7);
    add(&world, &ada, &mut device);
    let asked = ask(&world);
    let signed = device.sign(&asked.options);
    answer(&world, &asked, signed.clone()).unwrap();
    assert_eq!(
        refused(answer(&world, &asked, signed.clone())),
        "bad-passkey",
        "replayed"
    );
    assert_eq!(
        refused(answer(&world, &ask(&world), signed)),
        "bad-passkey",
        "of another attempt"
    );
    let asked = ask(&world);
    let signed = device.sign(&asked.options);
    world.pass(5 * MINUTE);
    assert_eq!(
        refused(answer(&world, &asked, signed)),
        "bad-passkey",
        "too late"
    );
    // One for adding, and one that was signed as if it were.
    let begun = begin(&world, &ada);
    let signed = device.sign(&begun.options);
    assert_eq!(refused(answer(&world, &begun, signed)), "bad-passkey");
    let asked = ask(&world);
    let signed = device.sign_text(&device.client("webauthn.create", &asked.options));
    assert_eq!(refused(answer(&world, &asked, signed)), "bad-passkey");
    // A wrong answer ends the attempt.
    let asked = ask(&world);
    assert_eq!(refused(answer(&world, &asked, json!({}))), "bad-passkey");
    assert_eq!(
        refused(answer(&world, &asked, device.sign(&asked.options))),
        "bad-passkey"
    );
}

#[test]
fn a_device_that_counts_is_held_to_it_and_its_owner_hears_of_a_copy() {
    let world = world();
    let ada = world.person("ada");
    let mut device = Device::p256(7);
    device.count = 3;
    add(&world, &ada, &mut device);
    for (count, good) in [
        (4, true),
        (4, false),
        (9, true),
        (8, false),
        (0, false),
        (10, true),
    ] {
        device.count = count;
        let opened = sign_in_with(&world, &device);
        assert_eq!(opened.is_ok(), good, "{count}: {opened:?}");
    }
    let copies = told(&world, &ada);
    let copies = copies
        .iter()
        .filter(|one| *one == "The passkey “laptop” was refused");
    assert_eq!(copies.count(), 1, "once a day");
}

#[test]
fn a_removed_passkey_signs_in_no_more() {
    let world = world();
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let mut device = Device::p256(7);
    let passkey = add(&world, &ada, &mut device);
    assert_eq!(
        refused(world.service.remove_passkey(&bob, &passkey.id)),
        "not-found"
    );
    let asked = ask(&world);
    let signed = device.sign(&asked.options);
    world.service.remove_passkey(&ada, &passkey.id).unwrap();
    assert_eq!(refused(answer(&world, &asked, signed)), "bad-passkey");
    assert_eq!(
        refused(world.service.remove_passkey(&ada, &passkey.id)),
        "not-found"
    );
    assert!(
        told(&world, &ada)
            .iter()
            .any(|one| one == "The passkey “laptop” was removed")
    );
    // The password is still there, so it may go, and come again.
    add(&world, &ada, &mut device);
    sign_in_with(&world, &device).unwrap();
}

#[test]
fn an_account_takes_its_passkeys_along() {
    let world = world();
    let ada = world.person("ada");
    let mut device = Device::p256(7);
    add(&world, &ada, &mut device);
    let opened = sign_in_with(&world, &device).unwrap();
    let change = ChangePassword {
        current: PASSWORD.into(),
        new: "quite another password altogether".into(),
    };
    world.service.change_password(&ada, &change, None).unwrap();
    assert!(
        world
            .service
            .actor_of_session(&opened.secret)
            .unwrap()
            .is_none()
    );
    let exported = world.service.export_account(&ada).unwrap();
    assert_eq!(exported.passkeys.len(), 1);
    let world = world.reopen();
    sign_in_with(&world, &device).unwrap();
    let close = CloseAccount {
        password: change.new,
        code: None,
        surrender: true,
    };
    world.service.close_account(&ada, &close).unwrap();
    assert_eq!(refused(sign_in_with(&world, &device)), "bad-passkey");
}

#[test]
fn the_last_way_in_stays() {
    let World {
        service,
        host,
        clock,
        operator,
        folder,
        config,
    } = world();
    drop(service);
    let path = folder.path().join("plumbline.db");
    let kiosk = Account {
        id: "kiosk".into(),
        kind: AccountKind::User,
        handle: "kiosk".into(),
        password_hash: None,
        roles: vec!["participant".into()],
        balance_micro: 0,
        created_at: 1,
    };
    let row = |n: u8| Passkey {
        id: n.to_string(),
        account_id: "kiosk".into(),
        credential_id: vec![n; 16],
        name: "tablet".into(),
        public_key: vec![1],
        state: vec![0; 7],
        transports: 0,
        created_at: i64::from(n),
        last_used_at: None,
    };
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    let rows = [row(1), row(2)];
    let written = store.write(move |tx| {
        accounts::insert(tx, &kiosk)?;
        rows.iter().try_for_each(|row| passkeys::insert(tx, row))?;
        Ok::<_, StoreError>(())
    });
    written.unwrap();
    let world = World {
        service: open_on(store, &host, &clock, &config),
        host,
        clock,
        operator,
        folder,
        config,
    };
    let kiosk = Context::of(Actor {
        account_id: Some("kiosk".into()),
        handle: "kiosk".into(),
        roles: vec!["participant".into()],
        scopes: Scope::ALL.to_vec(),
        session: true,
    });
    world.service.remove_passkey(&kiosk, "1").unwrap();
    assert_eq!(
        refused(world.service.remove_passkey(&kiosk, "2")),
        "last-way-in"
    );
}

#[test]
fn an_address_that_cannot_carry_passkeys_says_so() {
    let world = World::new(false);
    let ada = world.person("ada");
    let listed = world.service.passkeys(&ada).unwrap();
    assert_eq!(listed.origin, None);
    assert!(listed.unavailable.unwrap().contains("--public-url"));
    assert_eq!(world.service.passkey_origin(), None);
    for refused in [
        world
            .service
            .begin_passkey(&ada, &password(), None)
            .unwrap_err(),
        world.service.begin_passkey_sign_in("x").unwrap_err(),
    ] {
        assert!(matches!(
            refused,
            ServiceError::Refused {
                code: "passkeys-unavailable",
                ..
            }
        ));
    }
}
