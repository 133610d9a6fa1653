//! The log of a real service, checked as a stranger would check it.
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plumbline_governance::dsse::verify_text;
use plumbline_service::context::{Actor, Context};
use plumbline_service::views::{LogEntryView, LogProofView};
use plumbline_transparency::Hash;
use plumbline_transparency::checkpoint::{key_hash, parse};
use plumbline_transparency::tree::{leaf, sha256, verify_consistency, verify_inclusion};
use support::*;

fn hash(text: &str) -> Hash {
    STANDARD.decode(text).unwrap().try_into().unwrap()
}

fn hashes(texts: &[String]) -> Vec<Hash> {
    texts.iter().map(|text| hash(text)).collect()
}

/// The root of a note that the service's key signed, and how many entries it is for.
fn opened(world: &World, note: &str) -> (Hash, u64) {
    let (checkpoint, signatures) = parse(note).unwrap();
    let key = &world.service.keys().unwrap()[0];
    let public_key = hash(&key.public_key);
    let [signature] = &signatures[..] else {
        panic!("{note}");
    };
    assert_eq!(
        signature.key_hash,
        key_hash(&checkpoint.origin, &public_key)
    );
    assert!(verify_text(
        &public_key,
        &checkpoint.text(),
        &signature.signature
    ));
    let other = checkpoint.text().replacen('p', "q", 1);
    assert!(!verify_text(&public_key, &other, &signature.signature));
    (checkpoint.root, checkpoint.size)
}

fn included(world: &World, proof: &LogProofView) -> bool {
    let (root, size) = opened(world, &proof.checkpoint);
    let of = leaf(proof.entry.as_bytes());
    size == proof.size
        && hash(&proof.leaf) == of
        && verify_inclusion(&root, &of, proof.index, size, &hashes(&proof.hashes))
}

fn anyone() -> Context {
    Context::of(Actor {
        scopes: vec![plumbline_service::context::Scope::Read],
        ..Actor::visitor()
    })
}

fn all(world: &World) -> Vec<LogEntryView> {
    let (mut entries, mut start) = (Vec::new(), 0);
    loop {
        let page = world.service.log_entries(&anyone(), start, 500).unwrap();
        if page.items.is_empty() {
            return entries;
        }
        start += page.items.len() as u64;
        entries.extend(page.items);
    }
}

#[test]
fn every_fact_is_in_the_log_and_can_be_proven() {
    let world = World::new(true);
    let market = world.market();
    let ada = world.person("ada");
    let first = world.service.log_checkpoint(&anyone()).unwrap();
    let (old, from) = opened(&world, &first.note);
    let trade = world
        .service
        .trade(&ada, &market.id, &spend("yes", 9_000_000))
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let entries = all(&world);
    assert!(entries.len() as u64 > from);
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.index, index as u64);
        let proof = world
            .service
            .log_proof(&anyone(), entry.index, None)
            .unwrap();
        assert_eq!(proof.entry, entry.entry);
        assert!(included(&world, &proof));
        let earlier = world
            .service
            .log_proof(&anyone(), entry.index, Some(entry.index + 1));
        assert!(included(&world, &earlier.unwrap()));
    }
    let told = |what: &str| entries.iter().any(|entry| entry.entry.contains(what));
    assert!(told(&trade.id) && told("\ndecided\n") && told("\nkey-added\n"));
    let proof = world
        .service
        .log_consistency(&anyone(), from, None)
        .unwrap();
    let (new, to) = opened(&world, &proof.checkpoint);
    assert!(verify_consistency(
        from,
        &old,
        to,
        &new,
        &hashes(&proof.hashes)
    ));
    let beyond = world.service.log_proof(&anyone(), to, None).unwrap_err();
    assert_eq!(beyond.code(), "no-such-entry");
    for (from, to) in [(to + 1, None), (0, Some(to + 1)), (2, Some(1))] {
        let error = world.service.log_consistency(&anyone(), from, to);
        assert_eq!(error.unwrap_err().code(), "no-such-tree");
    }
}

#[test]
fn a_decision_comes_with_its_place_in_the_log() {
    let world = World::new(true);
    world.market();
    world.service.run_due_jobs().unwrap();
    let state = world.service.allocations(&anyone()).unwrap();
    assert!(!state.items.is_empty());
    for item in state.items {
        let id = item.decision["decision_id"].as_str().unwrap();
        let view = world.service.decision(&anyone(), id).unwrap();
        let proof = view.proof.unwrap();
        assert!(included(&world, &proof));
        // The entry commits to every byte that was signed.
        let payload = view.envelope["payload"].as_str().unwrap();
        let digest = sha256(&STANDARD.decode(payload).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(proof.entry.contains(id) && proof.entry.contains(&digest));
    }
}

#[test]
fn checkpoints_are_kept_from_time_to_time_and_extend_each_other() {
    let world = World::new(true);
    let (market, ada) = (world.market(), world.person("ada"));
    world.service.run_due_jobs().unwrap();
    for _ in 0..2 {
        let order = spend("yes", 1_000_000);
        world.service.trade(&ada, &market.id, &order).unwrap();
        world.pass(29_000);
        world.service.run_due_jobs().unwrap();
        world.pass(1_500);
        world.service.run_due_jobs().unwrap();
        world.service.run_due_jobs().unwrap();
    }
    let page = world.service.log_checkpoints(&anyone(), None, 50).unwrap();
    let mut kept: Vec<(Hash, u64)> = page
        .items
        .iter()
        .map(|one| opened(&world, &one.note))
        .collect();
    kept.reverse();
    // One at the start, one after the first minute.
    assert_eq!(kept.len(), 2, "{kept:?}");
    let (from, to) = (kept[0].1, kept[1].1);
    let proof = world
        .service
        .log_consistency(&anyone(), from, Some(to))
        .unwrap();
    assert!(verify_consistency(
        from,
        &kept[0].0,
        to,
        &kept[1].0,
        &hashes(&proof.hashes)
    ));
}
