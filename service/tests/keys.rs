//! Keys: guardians who sign beside the service, rotation, retirement.
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use plumbline_audit::verify;
use plumbline_governance::decision::AllocationDecision;
use plumbline_governance::dsse::{DecisionSigner, Envelope, PublicKeyRecord};
use plumbline_governance::keys::{KeyStatement, PublishedKey, possession_text, trusted};
use plumbline_governance::policy::{Policy, Signatures};
use plumbline_service::commands::{AddSignature, GrantRoles, RegisterKey};
use plumbline_service::context::Context;
use plumbline_service::time::Clock;
use plumbline_service::views::{DecisionView, KeyView};
use plumbline_service::{KeyChange, ServiceConfig};
use plumbline_store::{Store, StoreError, StoreOptions, policies};
use support::tamper::every_flip_is_found;
use support::*;

const TWO: Signatures = Signatures {
    tighten: 1,
    loosen: 2,
};

/// The world with its service opened again, with the signing key of a seed.
fn reopened(
    world: World,
    seed: u8,
    first: impl FnOnce(&Store),
    change: impl FnOnce(&mut ServiceConfig),
) -> World {
    let World {
        service,
        host,
        clock,
        operator,
        folder,
        mut config,
    } = world;
    drop(service);
    change(&mut config);
    let path = folder.path().join("plumbline.db");
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    first(&store);
    let service = open_signing(store, &host, &clock, &config, seed, Policy::demo_toml());
    World {
        service,
        host,
        clock,
        operator,
        folder,
        config,
    }
}

/// A world with a first decision, whose policy asks for two signatures to loosen.
fn guarded() -> World {
    let policy = Policy::demo_toml().replace("loosen = 1", "loosen = 2");
    let hash = Policy::parse(&policy).unwrap().hash().to_owned();
    let put = move |store: &Store| {
        let done = store.write::<_, StoreError, _>(move |tx| {
            policies::insert_active(tx, &hash, &policy, "treasury", None, 1)
        });
        done.unwrap();
    };
    let world = reopened(World::new(true), 7, put, |_| ());
    world.market();
    world.service.run_due_jobs().unwrap();
    world
}

fn guardian(world: &World, handle: &str) -> Context {
    world.person(handle);
    let cmd = GrantRoles {
        roles: vec!["guardian".to_owned()],
    };
    world
        .service
        .grant_roles(&world.operator, handle, &cmd)
        .unwrap();
    // Keys are listed by their time: the guardian's is after the service's.
    world.pass(10);
    sign_in(&world.service, handle)
}

fn key(seed: u8) -> DecisionSigner {
    DecisionSigner::from_seed(&[seed; 32])
}

fn registration(world: &World, who: &Context, seed: u8) -> RegisterKey {
    let key = key(seed);
    let account = who.actor.account_id.clone().unwrap();
    let text = possession_text(world.service.pool(), &account, &key.public_bytes());
    RegisterKey {
        public_key: STANDARD.encode(key.public_bytes()),
        proof: STANDARD.encode(key.sign_text(&text).unwrap()),
    }
}

/// The signature of a key over an envelope.
fn signature(seed: u8, envelope: &serde_json::Value) -> AddSignature {
    let mut envelope: Envelope = serde_json::from_value(envelope.clone()).unwrap();
    envelope.add_signature(&key(seed)).unwrap();
    let last = envelope.signatures.pop().unwrap();
    AddSignature {
        key_id: last.keyid,
        signature: last.sig,
    }
}

fn current(world: &World) -> DecisionView {
    world
        .service
        .allocations(&world.operator)
        .unwrap()
        .items
        .remove(0)
}

fn records(world: &World) -> Vec<PublishedKey> {
    let published = |view: KeyView| PublishedKey {
        record: serde_json::from_value(serde_json::to_value(&view).unwrap()).unwrap(),
        statement: view.statement.map(|it| serde_json::from_value(it).unwrap()),
    };
    world
        .service
        .keys()
        .unwrap()
        .into_iter()
        .map(published)
        .collect()
}

fn now(world: &World) -> Timestamp {
    Timestamp::from_millisecond(world.clock.now()).unwrap()
}

fn opens(view: &DecisionView, keys: &[PublicKeyRecord], threshold: usize, at: Timestamp) -> bool {
    let envelope: Envelope = serde_json::from_value(view.envelope.clone()).unwrap();
    AllocationDecision::open(&envelope, keys, threshold, at).is_ok()
}

fn audited(world: &World) {
    let mut text = Vec::new();
    world.service.keep_checkpoint_now().unwrap();
    world.service.export_books(&mut text).unwrap();
    let report = verify(text.as_slice()).unwrap();
    assert!(report.is_green(), "{:#?}", report.violations);
    every_flip_is_found(&text, &["signing_keys", "decision_signatures"], 23);
}

#[test]
fn what_loosens_waits_for_a_guardian() {
    let world = guarded();
    // One key: its signature is all there can be, and that is stated.
    assert_eq!(current(&world).signatures_needed, 1);
    let grace = guardian(&world, "grace");
    let ada = world.person("ada");
    let cmd = registration(&world, &grace, 21);
    let not_hers = registration(&world, &ada, 21);
    let code =
        |who: &Context, cmd: &RegisterKey| world.service.register_key(who, cmd).unwrap_err().code();
    assert_eq!(code(&ada, &not_hers), "forbidden");
    assert_eq!(code(&grace, &not_hers), "not-your-key");
    let mut odd = cmd.clone();
    odd.proof = "x".to_owned();
    assert_eq!(code(&grace, &odd), "bad-signature");
    let registered = world.service.register_key(&grace, &cmd).unwrap();
    assert_eq!(registered.owner.as_deref(), Some("grace"));
    assert_eq!(code(&grace, &cmd), "key-known");
    // A consumer that trusts the service's key alone takes in the guardian's.
    let published = records(&world);
    let keys = trusted(
        &[published[0].record],
        &published,
        &TWO,
        world.service.pool(),
        now(&world),
    );
    assert_eq!(keys.len(), 2);
    // The next decision that loosens needs two.
    let view = current(&world);
    assert_eq!(view.signatures_needed, 2);
    assert!(opens(&view, &keys, 1, now(&world)) && !opens(&view, &keys, 2, now(&world)));
    let id = view.decision["decision_id"].as_str().unwrap();
    let good = signature(21, &view.envelope);
    let code =
        |who: &Context, cmd: &AddSignature| world.service.cosign(who, id, cmd).unwrap_err().code();
    assert_eq!(code(&ada, &good), "forbidden");
    let heidi = guardian(&world, "heidi");
    assert_eq!(code(&heidi, &good), "forbidden");
    let foreign = AddSignature {
        key_id: good.key_id.clone(),
        ..signature(22, &view.envelope)
    };
    assert_eq!(code(&grace, &foreign), "wrong-signature");
    let signed = world.service.cosign(&grace, id, &good).unwrap();
    assert!(opens(&signed, &keys, 2, now(&world)));
    assert!(opens(&current(&world), &keys, 2, now(&world)));
    assert_eq!(code(&grace, &good), "signed-already");
    // The bytes were signed once for all: another decision does not take them.
    world.pass(600_000);
    world.service.run_due_jobs().unwrap();
    let next = current(&world);
    assert!(next.decision["decision_id"] != view.decision["decision_id"]);
    assert_eq!(
        code(&grace, &signature(21, &view.envelope)),
        "decision-over"
    );
    let next_id = next.decision["decision_id"].as_str().unwrap();
    let refused = world.service.cosign(&grace, next_id, &good).unwrap_err();
    assert_eq!(refused.code(), "wrong-signature");
    audited(&world);
}

#[test]
fn a_retired_key_signs_nothing_more_and_a_new_epoch_begins() {
    let world = guarded();
    let grace = guardian(&world, "grace");
    let cmd = registration(&world, &grace, 21);
    let registered = world.service.register_key(&grace, &cmd).unwrap();
    let before = current(&world).decision["epoch"].as_i64().unwrap();
    let ada = world.person("ada");
    let refused = world
        .service
        .retire_key(&ada, &registered.key_id)
        .unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    let own = world.service.keys().unwrap().remove(0).key_id;
    let refused = world.service.retire_key(&world.operator, &own).unwrap_err();
    assert_eq!(refused.code(), "own-key");
    let ended = world
        .service
        .retire_key(&grace, &registered.key_id)
        .unwrap();
    assert!(ended.not_after.is_some());
    let again = world
        .service
        .retire_key(&world.operator, &registered.key_id);
    assert_eq!(again.unwrap_err().code(), "key-ended");
    world.service.run_due_jobs().unwrap();
    let view = current(&world);
    assert_eq!(view.decision["epoch"].as_i64(), Some(before + 1));
    assert_eq!(view.signatures_needed, 1);
    let id = view.decision["decision_id"].as_str().unwrap();
    let late = world
        .service
        .cosign(&grace, id, &signature(21, &view.envelope));
    assert_eq!(late.unwrap_err().code(), "key-ended");
    // A consumer that knew it does not count it any more.
    let published = records(&world);
    let known = [
        published[0].record,
        key(21).public_key(Timestamp::UNIX_EPOCH, None),
    ];
    let keys = trusted(&known, &published, &TWO, world.service.pool(), now(&world));
    let mut envelope: Envelope = serde_json::from_value(view.envelope).unwrap();
    envelope.add_signature(&key(21)).unwrap();
    let refused = AllocationDecision::open(&envelope, &keys, 2, now(&world)).unwrap_err();
    assert!(
        refused.to_string().contains(&registered.key_id),
        "{refused}"
    );
    audited(&world);
}

#[test]
fn the_service_takes_a_new_key_and_consumers_follow() {
    let world = guarded();
    let old = records(&world).remove(0).record;
    let before = current(&world);
    world.pass(1_000);
    let at = now(&world);
    let statement = KeyStatement::of(world.service.pool(), &key(8).public_bytes(), at);
    let envelope = statement.sign(&[&key(7)]).unwrap();
    let world = reopened(
        world,
        8,
        |_| (),
        |config| {
            config.key_change = Some(KeyChange {
                statement: serde_json::to_string(&envelope).unwrap(),
                overlap_ms: 60_000,
            });
        },
    );
    world.service.run_due_jobs().unwrap();
    let after = current(&world);
    assert_eq!(after.decision["epoch"], 2);
    assert!(after.decision["generation"].as_i64() > before.decision["generation"].as_i64());
    let published = records(&world);
    let keys = trusted(&[old], &published, &TWO, world.service.pool(), now(&world));
    assert_eq!(keys.len(), 2);
    assert!(opens(&after, &keys, 1, now(&world)) && !opens(&after, &[old], 1, now(&world)));
    // After the overlap the old key counts no more, and vouches for nobody.
    world.pass(61_000);
    let keys = trusted(&[old], &published, &TWO, world.service.pool(), now(&world));
    assert_eq!(keys.len(), 1);
    assert!(!opens(&before, &keys, 1, now(&world)));
    audited(&world);
    // Again, and this time nobody vouches: the key was lost, or stolen.
    let world = reopened(world, 9, |_| (), |config| config.key_change = None);
    world.service.run_due_jobs().unwrap();
    let published = records(&world);
    assert_eq!(current(&world).decision["epoch"], 3);
    assert!(published[1].record.not_after.is_some() && published[2].statement.is_none());
    let keys = trusted(
        &[published[1].record],
        &published,
        &TWO,
        world.service.pool(),
        now(&world),
    );
    assert_eq!(keys.len(), 1);
    audited(&world);
}
