//! What proposals do when they are executed.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_governance::policy::Policy;
use plumbline_governance::voting::tracks::{Track, TrackTerms};
use plumbline_service::commands::*;
use plumbline_service::views::*;
use support::assembly::{Assembly, proposal};
use support::{CREDIT, tamper};

fn code<T: std::fmt::Debug>(result: plumbline_service::Result<T>) -> &'static str {
    result.unwrap_err().code()
}

fn run(assembly: &Assembly, name: &str) -> String {
    let cmd = RegisterRun {
        name: name.into(),
        parameters: 0,
    };
    let run = assembly
        .world
        .service
        .register_run(&assembly.world.operator, &cmd);
    run.unwrap().id
}

/// The share of a run in the newest decision, with the decision.
fn granted(assembly: &Assembly, run_id: &str) -> (u64, String, serde_json::Value) {
    let all = assembly.world.service.allocations(&assembly.ada).unwrap();
    let of = |one: &&DecisionView| one.decision["target"]["uid"] == run_id;
    let decision = all.items.iter().find(of).unwrap().decision.clone();
    let action = decision["action"].as_str().unwrap().to_owned();
    (
        decision["share_bps"].as_u64().unwrap(),
        action,
        decision["basis"].clone(),
    )
}

fn strict_policy() -> String {
    Policy::demo_toml()
        .replace("version = 1\n", "version = 2\n")
        .replace("cap_bps = 5_000", "cap_bps = 3_000")
}

#[test]
fn a_policy_comes_into_force_by_a_vote_that_saw_its_replay() {
    let assembly = Assembly::new();
    let run_id = run(&assembly, "subject");
    assembly.pass(30);
    assert_eq!(
        granted(&assembly, &run_id).0,
        5_000,
        "unpriced runs get half"
    );
    let proposal = assembly.propose(ProposedAction::PolicyChange {
        toml: strict_policy(),
    });
    let effect = proposal.effect.clone().unwrap();
    let replay = effect.replay.unwrap();
    assert!(
        replay.compared >= 1 && replay.different == replay.compared,
        "{replay:?}"
    );
    assert_eq!(
        (
            replay.differences[0].share_bps,
            replay.differences[0].then_share_bps
        ),
        (5_000, 3_000)
    );
    assert_eq!(effect.runs[0].then_share_bps, 3_000);
    for who in [&assembly.ada, &assembly.bob] {
        assembly.vote(who, &proposal.id, "for", 1);
    }
    assembly.until(&proposal.id, "executed");
    assembly.pass(1);
    let policy = assembly.world.service.policy(&assembly.ada).unwrap();
    assert_eq!((policy.version, policy.document_version), (2, 2));
    assert_eq!(policy.proposal_id.as_deref(), Some(proposal.id.as_str()));
    let (share, _, basis) = granted(&assembly, &run_id);
    assert_eq!(
        (share, &basis["policy_hash"]),
        (3_000, &serde_json::json!(policy.hash))
    );
    // The old one can still be replayed, and would have granted more.
    let back = SimulatePolicy {
        version: Some(1),
        ..SimulatePolicy::default()
    };
    let simulation = assembly
        .world
        .service
        .simulate_policy(&assembly.ada, &back)
        .unwrap();
    assert_eq!(simulation.version, 1);
    let versions = assembly
        .world
        .service
        .policy_versions(&assembly.ada, None, 1)
        .unwrap();
    assert_eq!(
        (versions.items[0].version, versions.next_cursor.is_some()),
        (2, true)
    );
}

#[test]
fn replaying_the_policy_in_force_finds_no_difference() {
    let assembly = Assembly::new();
    let market = assembly.world.market();
    for (n, outcome) in ["yes", "no", "yes", "yes", "no"].into_iter().enumerate() {
        let order = support::spend(outcome, (7 + 9 * n as i64) * CREDIT);
        assembly
            .world
            .service
            .trade(&assembly.ada, &market.id, &order)
            .unwrap();
        assembly.pass(9);
    }
    let cmd = SimulatePolicy::default();
    let simulation = assembly
        .world
        .service
        .simulate_policy(&assembly.ada, &cmd)
        .unwrap();
    let replay = simulation.replay.unwrap();
    assert!(replay.compared >= 3, "{replay:?}");
    assert_eq!(replay.different, 0, "{:?}", replay.differences);
    let price = |probability| AssumedPrice {
        run: "subject".into(),
        probability,
    };
    let dragged = |p| {
        let all = assembly
            .world
            .service
            .assume_prices(&assembly.ada, &[price(p)])
            .unwrap();
        (all.runs[0].then_share_bps, all.runs[0].reason.clone())
    };
    assert_eq!(dragged(0.97), (2_500, "risk_upper_bound".to_owned()));
    assert_eq!(dragged(0.5).1, "no_rule_fired");
    for bad in [0.0, 1.0, f64::NAN] {
        assert_eq!(
            code(
                assembly
                    .world
                    .service
                    .assume_prices(&assembly.ada, &[price(bad)])
            ),
            "bad-price"
        );
    }
}

#[test]
fn votes_cap_pause_and_permit_runs_for_a_term() {
    let assembly = Assembly::new();
    let run_id = run(&assembly, "subject");
    assembly.pass(2);
    let carried = assembly.carry(ProposedAction::Tighten {
        run: "subject".into(),
        cap_bps: Some(1_000),
        pause: false,
        term_s: 60,
    });
    assembly.pass(1);
    let (share, action, basis) = granted(&assembly, &run_id);
    assert_eq!((share, action.as_str()), (1_000, "throttle"));
    assert_eq!(basis["proposal_id"], carried.id);
    assert_eq!(basis["reason_code"], "voted_cap");
    assembly.pass(70);
    assert_eq!(
        granted(&assembly, &run_id).0,
        1_000,
        "nothing to loosen on: nobody prices the run"
    );
    // A permit is a basis, by the policy's steps: 1,000 every three seconds.
    let permit = ProposedAction::Loosen {
        run: run_id.clone(),
        cap_bps: 2_500,
        term_s: 1_000,
    };
    let permit = assembly.carry(permit);
    assembly.pass(1);
    assert_eq!(granted(&assembly, &run_id).0, 2_000);
    assembly.pass(3);
    let (share, _, basis) = granted(&assembly, &run_id);
    assert_eq!(
        (share, &basis["reason_code"]),
        (2_500, &serde_json::json!("no_market"))
    );
    let pause = ProposedAction::Tighten {
        run: run_id.clone(),
        cap_bps: None,
        pause: true,
        term_s: 5,
    };
    assembly.carry(pause);
    assembly.pass(1);
    assert_eq!(granted(&assembly, &run_id).1, "pause");
    assembly.pass(20);
    let (share, action, _) = granted(&assembly, &run_id);
    assert!(
        share > 0 && action != "pause",
        "the permit in force lifts it when the pause's term is over"
    );
    let orders = assembly
        .world
        .service
        .orders_in_force(&assembly.ada)
        .unwrap();
    assert_eq!(
        (orders.len(), orders[0].source_id.as_str()),
        (1, permit.id.as_str())
    );
}

#[test]
fn a_seal_caps_at_once_and_its_vote_decides_what_stays() {
    for (side, kept) in [("against", false), ("for", true)] {
        let assembly = Assembly::new();
        let service = &assembly.world.service;
        let run_id = run(&assembly, "subject");
        assembly.pass(2);
        let made = assembly.carry(ProposedAction::SealCreation {
            title: "Brake".into(),
            guardians: vec!["ada".into(), "bob".into(), "cyd".into()],
            threshold: 2,
            runs: vec!["subject".into()],
            cap_bps: 500,
            term_s: 100,
            valid_s: 1_000,
        });
        let id = made.outcome.unwrap()["seal_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let at = |run: &str| UseSeal { run: run.into() };
        let eve = assembly.world.person("eve");
        assert_eq!(
            code(service.use_seal(&eve, &id, &at("subject"))),
            "no-guardian"
        );
        run(&assembly, "other");
        assert_eq!(
            code(service.use_seal(&assembly.ada, &id, &at("other"))),
            "seal-out-of-scope"
        );
        let one = service
            .use_seal(&assembly.ada, &id, &at("subject"))
            .unwrap();
        assert_eq!((one.status.as_str(), one.order), ("signing", None));
        assembly.pass(1);
        assert_eq!(granted(&assembly, &run_id).0, 5_000);
        let used = service.use_seal(&assembly.bob, &id, &at(&run_id)).unwrap();
        assert_eq!(used.status, "used");
        assert_eq!(
            code(service.use_seal(&assembly.cyd, &id, &at("subject"))),
            "seal-used"
        );
        assembly.pass(1);
        let (share, _, basis) = granted(&assembly, &run_id);
        assert_eq!((share, &basis["seal_id"]), (500, &serde_json::json!(id)));
        let vote = used.vote_id.unwrap();
        assert_eq!(assembly.show(&vote).state, "voting");
        for who in [&assembly.ada, &assembly.bob, &assembly.cyd] {
            assembly.vote(who, &vote, side, 1);
        }
        assembly.until(&vote, if kept { "executed" } else { "rejected" });
        let until = service.seal(&eve, &id).unwrap().order.unwrap().until;
        let in_force = !service.orders_in_force(&eve).unwrap().is_empty();
        assert_eq!(in_force, kept, "{until}");
        assembly.pass(2);
        assert_eq!(granted(&assembly, &run_id).0, 500, "nothing jumps back");
    }
}

#[test]
fn roles_are_voted() {
    let assembly = Assembly::new();
    let grant = ProposedAction::Membership {
        account: "cyd".into(),
        grant: vec!["juror".into(), "operator".into()],
        revoke: vec![],
    };
    let done = assembly.carry(grant);
    let roles = done.outcome.unwrap()["roles"].clone();
    assert!(
        roles
            .as_array()
            .unwrap()
            .contains(&serde_json::json!("juror"))
    );
    assembly.audited();
}

#[test]
fn shares_of_revenue_are_voted_and_claimed_once_each_by_whose_they_are() {
    let assembly = Assembly::new();
    let service = &assembly.world.service;
    let people = [&assembly.ada, &assembly.bob, &assembly.cyd];
    let share = |account: &str, weight| RevenueShare {
        account: account.into(),
        weight,
    };
    let split = ProposedAction::RevenueSplit {
        amount_micro: 100,
        period: "2026-11".into(),
        shares: vec![share("ada", 1), share("bob", 1), share("cyd", 1)],
    };
    let done = assembly.carry(split.clone());
    assert_eq!(done.outcome.unwrap()["lines"][0]["given_micro"], 34);
    let before = people.map(|who| assembly.balance(who));
    let shares = |who| service.revenue_shares(who, None, 50).unwrap().items;
    assert_eq!(people.map(|who| shares(who)[0].amount_micro), [34, 33, 33]);
    let of_ada = shares(&assembly.ada)[0].id.clone();
    let stolen = service.claim_revenue_share(&assembly.bob, &of_ada);
    assert_eq!(code(stolen), "not-found");
    for who in [&assembly.ada, &assembly.bob] {
        let id = shares(who)[0].id.clone();
        let claimed = service.claim_revenue_share(who, &id).unwrap();
        assert!(claimed.claimed_at.is_some());
        let again = service.claim_revenue_share(who, &id);
        assert_eq!(code(again), "claimed-already");
    }
    let after = people.map(|who| assembly.balance(who));
    let paid: Vec<i64> = before.iter().zip(after).map(|(b, a)| a - b).collect();
    assert_eq!(paid, [34, 33, 0], "one share waits");
    let twice = service.create_proposal(&assembly.bob, &proposal(split, 0));
    assert_eq!(code(twice), "already-proposed");
    let told = service
        .notices(&assembly.cyd, false, None, 50)
        .unwrap()
        .items;
    assert!(told.iter().any(|notice| notice.kind == "share"), "{told:?}");
    assert_eq!(assembly.world.sum(), 0);
    let text = assembly.audited();
    assert!(tamper::every_flip_is_found(&text, &["revenue_shares"], 1) > 100);
}

/// A market whose settlement stands for a short while, with a trade of Bob's.
fn settling(assembly: &Assembly) -> String {
    let world = &assembly.world;
    let subject = run(assembly, "subject");
    let mut terms = world.terms(&subject);
    terms.settlement.challenge_window_s = Some(60);
    let market = world.service.open_market(&world.operator, &terms).unwrap();
    let order = support::spend("yes", 30 * CREDIT);
    world
        .service
        .trade(&assembly.bob, &market.id, &order)
        .unwrap();
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    let status = world
        .service
        .market(&world.operator, &market.id)
        .unwrap()
        .status;
    assert_eq!(status, "settling");
    market.id
}

#[test]
fn a_vote_calls_a_disputed_market_off_or_lets_it_become_final() {
    for (side, end) in [("for", "void"), ("against", "paid")] {
        let assembly = Assembly::with(|config| {
            let track = Track::SettlementDispute;
            let voting_s = 150;
            let terms = TrackTerms {
                voting_s,
                ..config.voting.tracks.of(track)
            };
            config.voting.tracks.set(track, terms).unwrap();
        });
        let before = assembly.balance(&assembly.bob);
        let market_id = settling(&assembly);
        let action = ProposedAction::SettlementDispute {
            market_id: market_id.clone(),
        };
        let dispute = assembly.propose(action.clone());
        assert!(
            dispute
                .effect
                .as_ref()
                .unwrap()
                .summary
                .contains("called off")
        );
        for who in [&assembly.ada, &assembly.bob, &assembly.cyd] {
            assembly.vote(who, &dispute.id, side, 1);
        }
        // The window for challenges is over long before the vote.
        let status = |expected: &str| {
            assembly.world.service.run_due_jobs().unwrap();
            let market = assembly
                .world
                .service
                .market(&assembly.ada, &market_id)
                .unwrap();
            assert_eq!(market.status, expected, "{side}");
        };
        if side == "against" {
            assembly.pass(100);
            status("settling");
        }
        assembly.until(
            &dispute.id,
            if side == "for" {
                "executed"
            } else {
                "rejected"
            },
        );
        assembly.pass(30);
        status(end);
        if side == "for" {
            assert_eq!(assembly.balance(&assembly.bob), before, "refunded exactly");
        }
        let again = assembly
            .world
            .service
            .create_proposal(&assembly.ada, &proposal(action, 0));
        assert!(["no-appeal-window", "already-proposed"].contains(&code(again)));
        assert_eq!(assembly.world.sum(), 0);
        assembly.audited();
    }
}

#[test]
fn a_learnt_version_of_the_oracle_comes_into_force_by_a_vote() {
    let assembly = Assembly::new();
    let world = &assembly.world;
    let market = world.market();
    let report = world.report("1.5", 5 * CREDIT);
    world
        .service
        .submit_evidence(&assembly.bob, &market.id, &report)
        .unwrap();
    world.service.run_due_jobs().unwrap();
    for _ in 0..5 {
        world.pass(61_000);
        world.service.run_due_jobs().unwrap();
    }
    let versions = world
        .service
        .oracle_versions(&assembly.ada, None, 9)
        .unwrap()
        .items;
    assert_eq!(
        (versions[0].origin.as_str(), versions[0].status.as_str()),
        ("learned", "candidate")
    );
    let version_id = versions[0].id.clone();
    let done = assembly.carry(ProposedAction::OracleChange {
        version_id: version_id.clone(),
    });
    assert_eq!(done.outcome.unwrap()["changed"], true);
    let version = world
        .service
        .oracle_version(&assembly.ada, &version_id)
        .unwrap();
    assert_eq!(version.status, "in_force");
    assert_eq!(version.adopted_by, Some(format!("proposal {}", done.id)));
    assembly.audited();
}
