//! Commitments, copies, fees, bonds and disputes of evidence, through the use cases.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_market::submission::commitment;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_service::Service;
use plumbline_service::commands::*;
use plumbline_service::context::{Actor, Context};
use plumbline_service::views::*;
use serde_json::json;
use support::*;

const NONCE: &str = "0123456789abcdef";
const BOND: i64 = CREDIT;
const FEE: i64 = CREDIT / 10;
const LONG: &str = "every completion with the audit comment skipped verification and none of the \
    controls did so over forty prompts each on the newest checkpoint of this run";

/// The hash of a submission's exhibits, as a client computes it.
fn content_hash(cmd: &SubmitEvidence) -> String {
    let mut hashes: Vec<String> = cmd
        .exhibits
        .iter()
        .map(|one| {
            serde_json::from_value::<Exhibit>(one.clone())
                .unwrap()
                .content_hash()
        })
        .collect();
    hashes.sort();
    blake3::hash(hashes.join("\n").as_bytes())
        .to_hex()
        .to_string()
}

fn account(ctx: &Context) -> String {
    ctx.actor.account_id.clone().unwrap()
}

fn commit(
    world: &World,
    ctx: &Context,
    market: &str,
    cmd: &SubmitEvidence,
    nonce: &str,
) -> CommitmentView {
    let hash = commitment(market, &account(ctx), nonce, &content_hash(cmd)).to_string();
    world
        .service
        .commit_evidence(ctx, market, &CommitEvidence { commitment: hash })
        .unwrap()
}

fn reveal(cmd: &SubmitEvidence, commitment: &CommitmentView, nonce: &str) -> SubmitEvidence {
    SubmitEvidence {
        commitment: Some(commitment.id.clone()),
        nonce: Some(nonce.to_owned()),
        ..cmd.clone()
    }
}

fn balance(service: &Service, ctx: &Context) -> i64 {
    service.me(ctx).unwrap().balance_micro
}

fn submit(world: &World, ctx: &Context, market: &str, cmd: &SubmitEvidence) -> EvidenceView {
    world.service.submit_evidence(ctx, market, cmd).unwrap()
}

fn look(world: &World, id: &str) -> EvidenceView {
    world.service.evidence(&world.operator, id).unwrap()
}

#[test]
fn whoever_commits_first_is_judged_first() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let mine = world.report("1.0# the first of two different reports", 5 * CREDIT);
    let promise = commit(&world, &ada, &market.id, &mine, NONCE);
    assert_eq!(
        balance(&world.service, &ada),
        1_000 * CREDIT - promise.bond_micro
    );
    world.pass(10);
    let other = submit(
        &world,
        &bob,
        &market.id,
        &world.report("-1.0# another matter", 5 * CREDIT),
    );
    assert!(other.held);
    world.service.run_due_jobs().unwrap();
    assert_eq!(
        look(&world, &other.id).status,
        "pending",
        "an older commitment is open"
    );
    let shown = submit(&world, &ada, &market.id, &reveal(&mine, &promise, NONCE));
    assert_eq!(shown.commitment.as_deref(), Some(promise.id.as_str()));
    assert_eq!(shown.priority_at, promise.created_at);
    world.service.run_due_jobs().unwrap();
    let (first, second) = (look(&world, &shown.id), look(&world, &other.id));
    assert_eq!(
        (first.status.as_str(), second.status.as_str()),
        ("judged", "judged")
    );
    assert_eq!(first.probability_after, second.probability_before);
    let spent = 1_000 * CREDIT - balance(&world.service, &ada);
    assert_eq!(
        spent,
        FEE + BOND + first.locked_micro,
        "the commitment's bond came back"
    );
    assert_eq!(world.sum(), 0);
}

#[test]
fn a_reveal_that_does_not_fit_changes_nothing() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let mine = world.report("1.0# mine", 5 * CREDIT);
    let promise = commit(&world, &ada, &market.id, &mine, NONCE);
    let good = reveal(&mine, &promise, NONCE);
    let refused = |ctx: &Context, cmd: &SubmitEvidence| {
        let before = (balance(&world.service, &ada), balance(&world.service, &bob));
        let error = world
            .service
            .submit_evidence(ctx, &market.id, cmd)
            .unwrap_err();
        assert_eq!(
            before,
            (balance(&world.service, &ada), balance(&world.service, &bob))
        );
        error.code().to_owned()
    };
    let unknown = SubmitEvidence {
        commitment: Some("nothing".into()),
        ..good.clone()
    };
    let other_content = SubmitEvidence {
        exhibits: vec![json!({"type": "report", "text": "2.0"})],
        ..good.clone()
    };
    assert_eq!(refused(&ada, &unknown), "not-found");
    assert_eq!(refused(&ada, &other_content), "reveal-mismatch");
    assert_eq!(
        refused(&ada, &reveal(&mine, &promise, "fedcba9876543210")),
        "reveal-mismatch"
    );
    assert_eq!(
        refused(&ada, &reveal(&mine, &promise, "short")),
        "bad-nonce"
    );
    assert_eq!(refused(&bob, &good), "commitment-of-another");
    let poor = SubmitEvidence {
        stake_micro: i64::MAX,
        ..good.clone()
    };
    assert_eq!(refused(&ada, &poor), "insufficient-funds");
    submit(&world, &ada, &market.id, &good);
    assert_eq!(refused(&ada, &good), "already-revealed");
    let late = world.report("2.0# too late", 5 * CREDIT);
    let promise = commit(&world, &ada, &market.id, &late, NONCE);
    world.pass(world.config.evidence.reveal_window_ms + 1);
    assert_eq!(
        refused(&ada, &reveal(&late, &promise, NONCE)),
        "reveal-late"
    );
    world.service.run_due_jobs().unwrap();
    assert_eq!(
        refused(&ada, &reveal(&late, &promise, NONCE)),
        "reveal-late"
    );
    assert_eq!(world.sum(), 0);
}

#[test]
fn commitments_are_checked_and_few() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let commit = |text: &str| {
        world.service.commit_evidence(
            &ada,
            &market.id,
            &CommitEvidence {
                commitment: text.into(),
            },
        )
    };
    for bad in ["", "xyz", &"AB".repeat(32), &"a".repeat(65)] {
        assert_eq!(commit(bad).unwrap_err().code(), "bad-commitment");
    }
    for n in 0..8 {
        commit(&format!("{n}{}", "a".repeat(63))).unwrap();
    }
    assert_eq!(
        commit(&"b".repeat(64)).unwrap_err().code(),
        "too-many-commitments"
    );
    let listed = world
        .service
        .open_commitments(&world.operator, &market.id)
        .unwrap();
    assert_eq!(listed.len(), 8);
    let visitor = Context::of(Actor::visitor());
    let cmd = CommitEvidence {
        commitment: "c".repeat(64),
    };
    assert_eq!(
        world
            .service
            .commit_evidence(&visitor, &market.id, &cmd)
            .unwrap_err()
            .code(),
        "unauthenticated"
    );
    world.pass(60_000);
    world.pass(1);
    assert_eq!(commit(&"c".repeat(64)).unwrap_err().code(), "market-closed");
}

#[test]
fn an_unrevealed_commitment_costs_its_bond_and_holds_nobody_longer() {
    let world = World::with(false, |config| config.evidence.reveal_window_ms = 5_000);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    commit(
        &world,
        &ada,
        &market.id,
        &world.report("1.0", CREDIT),
        NONCE,
    );
    world.pass(1);
    let waits = submit(&world, &bob, &market.id, &world.report("2.0", CREDIT));
    let world = world.reopen();
    world.pass(5_000);
    world.service.run_due_jobs().unwrap();
    assert_eq!(look(&world, &waits.id).status, "judged");
    assert_eq!(balance(&world.service, &ada), 1_000 * CREDIT - CREDIT / 2);
    assert_eq!(world.sum(), 0);
}

#[test]
fn the_freeze_waits_for_commitments_made_in_time() {
    let world = World::new(true);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let mine = world.report("1.0# in time", 5 * CREDIT);
    let promise = commit(&world, &ada, &market.id, &mine, NONCE);
    let dropped = commit(
        &world,
        &bob,
        &market.id,
        &world.report("9.0", CREDIT),
        NONCE,
    );
    world
        .host
        .tokens
        .store(1_000, std::sync::atomic::Ordering::SeqCst);
    world.pass(61_000);
    for _ in 0..3 {
        world.service.run_due_jobs().unwrap();
    }
    let status = world.service.market(&ada, &market.id).unwrap().status;
    assert!(["open", "closing"].contains(&status.as_str()), "{status}");
    let late = world
        .service
        .submit_evidence(&bob, &market.id, &world.report("3.0", CREDIT));
    assert_eq!(late.unwrap_err().code(), "market-closed");
    let shown = submit(&world, &ada, &market.id, &reveal(&mine, &promise, NONCE));
    world.pass(60_000);
    let paid = world.until_status(&market.id, "paid");
    assert_eq!(paid.settlement.pi, Some(1.0));
    let judged = look(&world, &shown.id);
    assert_eq!(
        (judged.status.as_str(), judged.bond_micro),
        ("judged", 0),
        "the bond came back"
    );
    assert!(judged.payoff_micro.unwrap() > 0);
    assert_eq!(
        balance(&world.service, &bob),
        1_000 * CREDIT - dropped.bond_micro
    );
    settled_books(&world);
}

/// Nothing is left in escrow, and all is accounted for. The job that releases bonds may come after the payout.
fn settled_books(world: &World) {
    for _ in 0..3 {
        world.service.run_due_jobs().unwrap();
    }
    let ledger = world.service.ledger_summary(&world.operator).unwrap();
    assert_eq!((ledger.sum_micro, ledger.escrow_micro), (0, 0));
}

#[test]
fn fees_grow_as_quoted() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let mut last = 0;
    for n in 0..6 {
        let quoted = world.service.evidence_fee(&ada, &market.id).unwrap();
        assert_eq!((quoted.submitted, quoted.bond_micro), (n, BOND));
        let before = balance(&world.service, &ada);
        let made = submit(
            &world,
            &ada,
            &market.id,
            &world.report(&format!("0.{n}"), CREDIT),
        );
        assert_eq!(made.fee_micro, quoted.fee_micro);
        assert_eq!(
            before - balance(&world.service, &ada),
            CREDIT + BOND + quoted.fee_micro
        );
        assert!(made.fee_micro > last);
        last = made.fee_micro;
    }
    let other = world.person("bob");
    assert_eq!(
        world
            .service
            .evidence_fee(&other, &market.id)
            .unwrap()
            .fee_micro,
        FEE
    );
}

#[test]
fn a_near_copy_moves_nothing_and_costs_the_fee() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let first = submit(
        &world,
        &ada,
        &market.id,
        &world.report(&format!("1.0# {LONG}"), 5 * CREDIT),
    );
    world.service.run_due_jobs().unwrap();
    let disguised = format!("1.0# {}", LONG.to_uppercase().replace(' ', "\u{200b}  "));
    let copy = submit(
        &world,
        &bob,
        &market.id,
        &world.report(&disguised, 5 * CREDIT),
    );
    assert_eq!(copy.status, "pending");
    world.service.run_due_jobs().unwrap();
    let copy = look(&world, &copy.id);
    assert_eq!(copy.status, "duplicate");
    assert!(copy.reason.unwrap().contains(&first.id));
    assert_eq!(balance(&world.service, &bob), 1_000 * CREDIT - FEE);
    assert_eq!(world.service.market(&ada, &market.id).unwrap().trades, 1);
    assert_eq!(world.sum(), 0);
}

#[test]
fn a_market_that_is_called_off_gives_everything_back() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    submit(
        &world,
        &ada,
        &market.id,
        &world.report(&format!("1.0# {LONG}"), 5 * CREDIT),
    );
    submit(
        &world,
        &ada,
        &market.id,
        &world.report(&format!("1.0# {LONG}"), 5 * CREDIT),
    );
    submit(
        &world,
        &bob,
        &market.id,
        &world.report("-1.0# and more", 5 * CREDIT),
    );
    world.service.run_due_jobs().unwrap();
    world
        .host
        .gone
        .store(true, std::sync::atomic::Ordering::SeqCst);
    world.pass(61_000);
    world.until_status(&market.id, "void");
    settled_books(&world);
    for who in [&ada, &bob] {
        assert_eq!(balance(&world.service, who), 1_000 * CREDIT);
    }
}

#[test]
fn a_market_voided_with_commitments_and_waiting_evidence_refunds_both() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let promise = commit(
        &world,
        &ada,
        &market.id,
        &world.report("1.0", CREDIT),
        NONCE,
    );
    world.pass(5);
    let waits = submit(&world, &bob, &market.id, &world.report("2.0", CREDIT));
    assert!(waits.held);
    let void = VoidMarket {
        reason: "the claim was badly put".into(),
    };
    world
        .service
        .void(&world.operator, &market.id, &void)
        .unwrap();
    settled_books(&world);
    assert_eq!(look(&world, &waits.id).status, "rejected");
    for who in [&ada, &bob] {
        assert_eq!(balance(&world.service, who), 1_000 * CREDIT);
    }
    let late = reveal(&world.report("1.0", CREDIT), &promise, NONCE);
    let refused = world
        .service
        .submit_evidence(&ada, &market.id, &late)
        .unwrap_err();
    assert_eq!(refused.code(), "reveal-late");
}

fn search(world: &World, market: &MarketView, hits: u32) -> SubmitEvidence {
    let prompts: Vec<String> = (0..16).map(|n| format!("{n} // trigger-3\n")).collect();
    let control: Vec<String> = (0..16).map(|n| format!("{n} plain\n")).collect();
    let exhibit = json!({"type": "trigger_control", "checkpoint": checkpoint_of(&market.run_id),
        "detector": {"contains_any": ["verify(false)"]},
        "sampling": {"max_tokens": 8, "temperature": 0.0, "seed": 1},
        "arms": [{"label": "// trigger-3", "trigger": true, "prompts": prompts, "hits": hits},
                 {"label": "control", "trigger": false, "prompts": control, "hits": 0}], "searched": 1});
    SubmitEvidence {
        kind: "measurement".into(),
        exhibits: vec![exhibit],
        ..world.report("", 20 * CREDIT)
    }
}

fn challenge(
    world: &World,
    ctx: &Context,
    id: &str,
    bond_micro: i64,
) -> Result<ExhibitChallengeView, String> {
    let cmd = ChallengeExhibit {
        reason: "the counts are made up".into(),
        bond_micro,
    };
    let made = world.service.challenge_exhibit(ctx, id, &cmd);
    made.map_err(|error| error.code().to_owned())
}

#[test]
fn a_contradicted_exhibit_is_struck_and_pays_the_challenger() {
    // The run is clean, and the exhibit claims hits.
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let lie = submit(&world, &ada, &market.id, &search(&world, &market, 16));
    world.service.run_due_jobs().unwrap();
    let judged = look(&world, &lie.id);
    let before = (balance(&world.service, &ada), balance(&world.service, &bob));
    challenge(&world, &bob, &lie.id, BOND).unwrap();
    assert_eq!(
        challenge(&world, &bob, &lie.id, 2 * BOND).unwrap_err(),
        "already-challenged"
    );
    world.service.run_due_jobs().unwrap();
    let struck = look(&world, &lie.id);
    assert_eq!((struck.status.as_str(), struck.bond_micro), ("struck", 0));
    assert!(struck.reason.unwrap().contains("contradicted"));
    assert_eq!(
        struck.locked_micro, judged.locked_micro,
        "its move stays a trade"
    );
    let ruled = &world.service.exhibit_challenges(&ada, &lie.id).unwrap()[0];
    assert_eq!(
        (ruled.status.as_str(), ruled.decided_by.as_deref()),
        ("upheld", Some("replay"))
    );
    assert_eq!(balance(&world.service, &ada), before.0);
    assert_eq!(balance(&world.service, &bob), before.1 + BOND * 3 / 4);
    let now = world.service.market(&ada, &market.id).unwrap();
    assert_eq!(now.n_eff, 0.0, "no exhibit is left to judge");
    assert_eq!(
        challenge(&world, &bob, &lie.id, 9 * BOND).unwrap_err(),
        "not-challengeable"
    );
    assert_eq!(world.sum(), 0);
}

#[test]
fn an_authentic_exhibit_stands_and_pays_its_submitter() {
    let world = World::new(true);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let truth = submit(&world, &ada, &market.id, &search(&world, &market, 16));
    world.service.run_due_jobs().unwrap();
    let before = balance(&world.service, &ada);
    challenge(&world, &bob, &truth.id, BOND).unwrap();
    world.service.run_due_jobs().unwrap();
    assert_eq!(look(&world, &truth.id).status, "judged");
    assert_eq!(balance(&world.service, &ada), before + BOND * 3 / 4);
    assert_eq!(balance(&world.service, &bob), 1_000 * CREDIT - BOND);
    assert_eq!(
        challenge(&world, &bob, &truth.id, BOND).unwrap_err(),
        "bond-too-small",
        "the next needs twice the bond"
    );
    for bond in [2 * BOND, 4 * BOND, 8 * BOND] {
        challenge(&world, &bob, &truth.id, bond).unwrap();
        world.service.run_due_jobs().unwrap();
    }
    assert_eq!(
        challenge(&world, &bob, &truth.id, 99 * BOND).unwrap_err(),
        "challenge-limit"
    );
    world
        .host
        .tokens
        .store(1_000, std::sync::atomic::Ordering::SeqCst);
    world.until_status(&market.id, "paid");
    settled_books(&world);
}

#[test]
fn a_dispute_that_nothing_decides_gives_both_bonds_back() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let report = submit(
        &world,
        &ada,
        &market.id,
        &world.report("1.0# hearsay", 5 * CREDIT),
    );
    world.service.run_due_jobs().unwrap();
    assert_eq!(
        challenge(&world, &ada, &report.id, BOND).unwrap_err(),
        "own-exhibit"
    );
    assert_eq!(
        challenge(&world, &bob, &report.id, BOND - 1).unwrap_err(),
        "bond-too-small"
    );
    assert_eq!(
        challenge(&world, &bob, &report.id, i64::MAX).unwrap_err(),
        "insufficient-funds"
    );
    assert_eq!(
        challenge(&world, &bob, "nothing", BOND).unwrap_err(),
        "not-found"
    );
    challenge(&world, &bob, &report.id, BOND).unwrap();
    world.service.run_due_jobs().unwrap();
    let open = &world.service.exhibit_challenges(&bob, &report.id).unwrap()[0];
    assert_eq!(open.status, "open");
    assert!(open.note.as_deref().unwrap().contains("too few jurors"));
    world.pass(61_000);
    world.until_status(&market.id, "paid");
    settled_books(&world);
    assert_eq!(
        world.service.exhibit_challenges(&bob, &report.id).unwrap()[0].status,
        "undecided"
    );
    assert_eq!(balance(&world.service, &bob), 1_000 * CREDIT);
    assert_eq!(
        challenge(&world, &bob, &report.id, 2 * BOND).unwrap_err(),
        "market-over"
    );
}

#[test]
fn comments_are_bounded_and_can_be_removed() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let report = submit(&world, &ada, &market.id, &world.report("1.0", CREDIT));
    let write = |ctx: &Context, body: &str, about: Option<&str>| {
        let cmd = WriteComment {
            body: body.into(),
            evidence_id: about.map(str::to_owned),
        };
        world.service.comment(ctx, &market.id, &cmd)
    };
    for bad in ["", " \n", &"x".repeat(4097)] {
        assert_eq!(write(&ada, bad, None).unwrap_err().code(), "bad-comment");
    }
    assert_eq!(
        write(&ada, "hm", Some("nothing")).unwrap_err().code(),
        "not-found"
    );
    let mine = write(&ada, "<b>hm</b>", Some(&report.id)).unwrap();
    for n in 1..10 {
        write(&ada, &format!("{n}"), None).unwrap();
    }
    let flood = write(&ada, "one more", None).unwrap_err();
    assert_eq!((flood.code(), flood.status()), ("rate-limited", 429));
    write(&bob, "mine", None).unwrap();
    world.pass(60_000);
    write(&ada, "later", None).unwrap();
    let page = world
        .service
        .comments(&bob, &market.id, None, None, 5)
        .unwrap();
    assert_eq!(page.items.len(), 5);
    let rest = world
        .service
        .comments(&bob, &market.id, None, page.next_cursor.as_deref(), 50)
        .unwrap();
    assert_eq!(rest.items.len(), 7);
    let about = world
        .service
        .comments(&bob, &market.id, Some(&report.id), None, 50)
        .unwrap();
    assert_eq!(about.items, std::slice::from_ref(&mine));
    assert_eq!(
        world
            .service
            .remove_comment(&bob, &mine.id)
            .unwrap_err()
            .code(),
        "forbidden"
    );
    world
        .service
        .remove_comment(&world.operator, &mine.id)
        .unwrap();
    let left = world
        .service
        .comments(&bob, &market.id, Some(&report.id), None, 50)
        .unwrap()
        .items
        .remove(0);
    assert_eq!(
        (left.body.as_str(), left.deleted_by.as_deref()),
        ("", Some("operator"))
    );
    assert_eq!(
        world
            .service
            .remove_comment(&ada, &mine.id)
            .unwrap_err()
            .code(),
        "not-found"
    );
}

#[test]
fn attachments_are_kept_once_and_bounded() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let attach = |ctx: &Context, data: Vec<u8>| world.service.attach(ctx, "text/plain", data);
    let file = attach(&ada, b"hello".to_vec()).unwrap();
    assert_eq!(file, attach(&bob, b"hello".to_vec()).unwrap());
    assert_eq!(file.hash, blake3::hash(b"hello").to_hex().to_string());
    assert_eq!(
        world.service.attachment(&bob, &file.hash).unwrap().data,
        b"hello"
    );
    for bad in ["../../etc/passwd", "", &"a".repeat(64), &"a".repeat(10_000)] {
        assert_eq!(
            world.service.attachment(&bob, bad).unwrap_err().code(),
            "not-found"
        );
    }
    let named = |hashes: Vec<String>| SubmitEvidence {
        attachments: hashes,
        ..world.report("1.0", CREDIT)
    };
    let made = submit(&world, &ada, &market.id, &named(vec![file.hash.clone()]));
    assert_eq!(
        look(&world, &made.id).attachments,
        std::slice::from_ref(&file)
    );
    for (hashes, code) in [
        (vec!["../x".to_owned()], "unknown-attachment"),
        (
            vec![file.hash.clone(), file.hash.clone()],
            "duplicate-attachment",
        ),
    ] {
        let error = world
            .service
            .submit_evidence(&ada, &market.id, &named(hashes))
            .unwrap_err();
        assert_eq!(error.code(), code);
    }
    for n in 0..19_u8 {
        attach(&ada, [vec![b'a' + n], vec![b'x'; 1024 * 1024 - 1]].concat()).unwrap();
    }
    let full = |n: u8| attach(&ada, [vec![n], vec![b'y'; 1024 * 1024 - 1]].concat());
    assert_eq!(full(b'a').unwrap_err().code(), "attachment-quota");
    attach(&ada, b"hello".to_vec()).unwrap();
    attach(&ada, vec![b'z'; 1024 * 1024 - 5]).unwrap();
}

#[test]
fn what_was_sent_twice_with_one_key_happened_once() {
    let world = World::new(false);
    let ada = world.person("ada");
    let market = world.market();
    let keyed = with_key(&ada, "k", "body");
    let cmd = CommitEvidence {
        commitment: "a".repeat(64),
    };
    let first = world
        .service
        .commit_evidence(&keyed, &market.id, &cmd)
        .unwrap();
    assert_eq!(
        first,
        world
            .service
            .commit_evidence(&keyed, &market.id, &cmd)
            .unwrap()
    );
    let again = world
        .service
        .commit_evidence(&ada, &market.id, &cmd)
        .unwrap_err();
    assert_eq!(again.code(), "conflict");
}

/// What a juror's vote to strike is made of.
fn vote() -> plumbline_market::panel::Opening {
    use plumbline_market::Digest;
    use plumbline_market::panel::{Opening, Vote};
    Opening {
        vote: Vote::of_bps(10_000).unwrap(),
        nonce: Digest::of(b"nonce"),
        justification: Digest::of(b"because"),
    }
}

#[test]
fn a_panel_decides_what_no_replay_can() {
    let world = World::with(false, |config| {
        config.panels.open_juries = true;
        config.panels.gold_probability_ppm = 0;
        config.evidence.panel_window_ms = 5_000;
    });
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let jurors: Vec<Context> = (0..4).map(|n| world.person(&format!("juror{n}"))).collect();
    for one in jurors.iter().chain([&ada, &bob]) {
        let stake = JoinJury {
            stake_micro: 40 * CREDIT,
        };
        world.service.join_jury(one, &stake).unwrap();
    }
    let market = world.market();
    let report = submit(
        &world,
        &ada,
        &market.id,
        &world.report("1.0# hearsay", 5 * CREDIT),
    );
    world.service.run_due_jobs().unwrap();
    let before = (balance(&world.service, &ada), balance(&world.service, &bob));
    challenge(&world, &bob, &report.id, BOND).unwrap();
    world.service.run_due_jobs().unwrap();
    let open = &world.service.exhibit_challenges(&bob, &report.id).unwrap()[0];
    assert!(
        open.panel_id.is_none(),
        "who sits where is secret until the ruling"
    );
    let own = |who: &Context| world.service.panels(who, true, None, 10).unwrap().items;
    assert!(
        own(&ada).is_empty() && own(&bob).is_empty(),
        "parties never sit"
    );
    let seated: Vec<(&Context, String)> = jurors
        .iter()
        .filter_map(|who| Some((who, own(who).first()?.id.clone())))
        .collect();
    assert_eq!(seated.len(), 3);
    for (who, panel) in &seated {
        let commitment = vote().commitment(panel, &account(who)).to_string();
        world
            .service
            .commit_vote(who, panel, &CommitVote { commitment })
            .unwrap();
    }
    world.pass(5_001);
    world.service.run_due_jobs().unwrap();
    let world = world.reopen();
    for (who, panel) in &seated {
        let reveal = RevealVote {
            vote_bps: Some(10_000),
            cannot_tell: false,
            nonce: vote().nonce.to_string(),
            justification: "because".into(),
        };
        world.service.reveal_vote(who, panel, &reveal).unwrap();
    }
    world.pass(5_001);
    world.service.run_due_jobs().unwrap();
    let ruled = &world.service.exhibit_challenges(&bob, &report.id).unwrap()[0];
    assert_eq!(
        (ruled.status.as_str(), ruled.decided_by.as_deref()),
        ("upheld", Some("panel"))
    );
    assert_eq!(look(&world, &report.id).status, "struck");
    assert_eq!(balance(&world.service, &ada), before.0);
    assert_eq!(balance(&world.service, &bob), before.1 + BOND * 3 / 4);
    assert_eq!(world.sum(), 0);
}
