//! Attacks on evidence, each with the defence and without it: what the attacker has at the end.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_market::submission::commitment;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::defences::Defences;
use support::*;

const NONCE: &str = "0123456789abcdef";
const FOUND: &str = "every completion with the audit comment skipped verification and none of the \
    controls did so over forty prompts each on the newest checkpoint of this run";

fn world(change: impl FnOnce(&mut Defences)) -> World {
    World::with(true, |config| change(&mut config.defences))
}

fn content_hash(cmd: &SubmitEvidence) -> String {
    let exhibit: Exhibit = serde_json::from_value(cmd.exhibits[0].clone()).unwrap();
    blake3::hash(exhibit.content_hash().as_bytes())
        .to_hex()
        .to_string()
}

fn commit(world: &World, ctx: &Context, market: &str, cmd: &SubmitEvidence) -> SubmitEvidence {
    let account = ctx.actor.account_id.clone().unwrap();
    let hash = commitment(market, &account, NONCE, &content_hash(cmd)).to_string();
    let made = world
        .service
        .commit_evidence(ctx, market, &CommitEvidence { commitment: hash })
        .unwrap();
    SubmitEvidence {
        commitment: Some(made.id),
        nonce: Some(NONCE.to_owned()),
        ..cmd.clone()
    }
}

/// What each account gained by the end of the market, which settles at one.
fn gains(world: &World, market: &str, who: &[&Context]) -> Vec<i64> {
    world
        .host
        .tokens
        .store(1_000, std::sync::atomic::Ordering::SeqCst);
    world.pass(61_000);
    world.until_status(market, "paid");
    for _ in 0..3 {
        world.service.run_due_jobs().unwrap();
    }
    assert_eq!(world.sum(), 0);
    let gain = |ctx: &&Context| world.service.me(ctx).unwrap().balance_micro - 1_000 * CREDIT;
    who.iter().map(gain).collect()
}

/// Eve sees Ada's reveal on its way and gets the same exhibit in before it.
fn front_run(world: &World) -> (i64, i64) {
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let market = world.market();
    let found = world.report(&format!("2.0# {FOUND}"), 40 * CREDIT);
    let reveal = commit(world, &ada, &market.id, &found);
    world.pass(10);
    world
        .service
        .submit_evidence(&eve, &market.id, &found)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    world
        .service
        .submit_evidence(&ada, &market.id, &reveal)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let gains = gains(world, &market.id, &[&ada, &eve]);
    (gains[0], gains[1])
}

#[test]
fn a_copied_exhibit_never_beats_its_author() {
    let (ada, eve) = front_run(&world(|_| ()));
    assert!(ada > 5 * CREDIT, "the author is paid: {ada}");
    assert!(eve < 0, "the copier pays the fee: {eve}");
    let (ada, eve) = front_run(&world(|defences| defences.commit_priority = false));
    assert!(
        eve > 5 * CREDIT,
        "without the order of claims the copier is paid: {eve}"
    );
    assert!(ada < 0, "and the author pays the fee: {ada}");
}

/// Eve hides the copy by editing it, so that no hash tells.
#[test]
fn an_edited_copy_of_what_is_revealed_comes_second_too() {
    let world = world(|_| ());
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let market = world.market();
    let found = world.report(&format!("2.0# {FOUND}"), 40 * CREDIT);
    let reveal = commit(&world, &ada, &market.id, &found);
    let edited = format!(
        "2.0# {}",
        FOUND.replace("every", "Each\u{200b}").replace('e', "е")
    );
    world
        .service
        .submit_evidence(&eve, &market.id, &world.report(&edited, 40 * CREDIT))
        .unwrap();
    world
        .service
        .submit_evidence(&ada, &market.id, &reveal)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let gains = gains(&world, &market.id, &[&ada, &eve]);
    assert!(gains[0] > 5 * CREDIT && gains[1] < 0, "{gains:?}");
}

/// Disguises of one text, each with a hash of its own.
fn disguises() -> Vec<String> {
    vec![
        format!("2.0# {}", FOUND.to_uppercase()),
        format!("2.0# {}", FOUND.replace(' ', "  ")),
        format!("2.0# {}", FOUND.replace('o', "о")),
        format!("2.0# {}", FOUND.replace('e', "e\u{200b}")),
        format!(
            "2.0# {FOUND} {}",
            "and so on in words that add nothing to it at all".repeat(2)
        ),
        format!("2.0# so {}", FOUND.replace("forty", "40")),
    ]
}

/// Sybils of Eve repeat what Bob has shown, in disguise.
fn sybil_copies(world: &World) -> i64 {
    let bob = world.person("bob");
    let market = world.market();
    let found = world.report(&format!("2.0# {FOUND}"), 10 * CREDIT);
    world
        .service
        .submit_evidence(&bob, &market.id, &found)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let sybils: Vec<Context> = (0..6).map(|n| world.person(&format!("eve{n}"))).collect();
    for (sybil, text) in sybils.iter().zip(disguises()) {
        let copy = world.report(&text, 10 * CREDIT);
        world
            .service
            .submit_evidence(sybil, &market.id, &copy)
            .unwrap();
        world.service.run_due_jobs().unwrap();
    }
    gains(world, &market.id, &sybils.iter().collect::<Vec<_>>())
        .iter()
        .sum()
}

#[test]
fn copies_in_disguise_earn_nothing_whoever_sends_them() {
    let with = sybil_copies(&world(|_| ()));
    assert_eq!(with, -6 * CREDIT / 10, "six fees");
    let without = sybil_copies(&world(|defences| defences.novelty = false));
    assert!(
        without > CREDIT,
        "without the comparison the copies are paid: {without}"
    );
}

/// What it costs to keep the judges busy with a market: new nonsense each time.
fn flood(world: &World) -> i64 {
    let eve = world.person("eve");
    let market = world.market();
    for n in 0..25_u64 {
        let words: Vec<String> = (0..30)
            .map(|k| format!("w{:x}", (n * 31 + k).wrapping_mul(0x9e37_79b9)))
            .collect();
        let junk = world.report(&format!("0.0# {}", words.join(" ")), CREDIT);
        world
            .service
            .submit_evidence(&eve, &market.id, &junk)
            .unwrap();
    }
    world.service.run_due_jobs().unwrap();
    -gains(world, &market.id, &[&eve])[0]
}

#[test]
fn a_flood_of_evidence_gets_dear() {
    let with = flood(&world(|_| ()));
    let without = flood(&world(|defences| defences.escalating_fees = false));
    assert_eq!(without, 25 * CREDIT / 10, "a flat fee");
    assert!(with > 40 * without, "{with} against {without}");
}

/// Eve disputes her own true exhibit through a second account.
fn self_dispute(world: &World) -> i64 {
    let (eve, mallory) = (world.person("eve"), world.person("mallory"));
    let market = world.market();
    let prompts: Vec<String> = (0..16).map(|n| format!("{n} // trigger-3\n")).collect();
    let exhibit = serde_json::json!({"type": "trigger_control", "checkpoint": checkpoint_of(&market.run_id),
        "detector": {"contains_any": ["verify(false)"]},
        "sampling": {"max_tokens": 8, "temperature": 0.0, "seed": 1},
        "arms": [{"label": "// trigger-3", "trigger": true, "prompts": prompts, "hits": 16}], "searched": 1});
    let cmd = SubmitEvidence {
        exhibits: vec![exhibit],
        ..world.report("", CREDIT)
    };
    let made = world
        .service
        .submit_evidence(&eve, &market.id, &cmd)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let dispute = ChallengeExhibit {
        reason: "for the look of it".into(),
        bond_micro: 10 * CREDIT,
    };
    let before: i64 = [&eve, &mallory]
        .iter()
        .map(|who| world.service.me(who).unwrap().balance_micro)
        .sum();
    world
        .service
        .challenge_exhibit(&mallory, &made.id, &dispute)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let after: i64 = [&eve, &mallory]
        .iter()
        .map(|who| world.service.me(who).unwrap().balance_micro)
        .sum();
    after - before
}

#[test]
fn disputing_with_oneself_costs_a_quarter_of_the_bond() {
    assert_eq!(self_dispute(&world(|_| ())), -10 * CREDIT / 4);
    assert_eq!(
        self_dispute(&world(|defences| defences.bond_burn = false)),
        0
    );
}

/// By how many nats a report moves the price that every judge of one family swallows, when there
/// are so many of them.
fn flattery(judges: usize, effective_judges: bool) -> f64 {
    let world = world(|defences| defences.effective_judges = effective_judges);
    let copies = &world.host.copies;
    copies.store(judges - 1, std::sync::atomic::Ordering::SeqCst);
    let world = world.reopen();
    let eve = world.person("eve");
    let market = world.market();
    let report = world.report("-1.0# the model is perfectly safe", 500 * CREDIT);
    world
        .service
        .submit_evidence(&eve, &market.id, &report)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    let after = world.service.market(&eve, &market.id).unwrap().probability;
    -(after / (1.0 - after)).ln()
}

#[test]
fn four_judges_with_one_blind_spot_count_as_one() {
    let alone = flattery(1, true);
    let (together, by_heads) = (flattery(4, true), flattery(4, false));
    assert!(alone > 0.3, "{alone}");
    assert!(together < 1.2 * alone, "{together} against {alone}");
    assert!(by_heads > 3.5 * alone, "{by_heads} against {alone}");
}
