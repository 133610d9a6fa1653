//! Proposals from the draft to their effect, and every way in which one does not get there.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_governance::policy::Policy;
use plumbline_service::commands::*;
use support::assembly::{Assembly, gift, proposal, stake};
use support::{CREDIT, with_key};

fn code<T: std::fmt::Debug>(result: plumbline_service::Result<T>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn a_payment_is_proposed_voted_locked_and_made_once() {
    let assembly = Assembly::new();
    let before = [&assembly.ada, &assembly.cyd].map(|who| assembly.balance(who));
    let draft = assembly
        .world
        .service
        .create_proposal(&assembly.ada, &proposal(gift(), 0))
        .unwrap();
    assert_eq!(
        (draft.state.as_str(), draft.track.as_str()),
        ("draft", "treasury")
    );
    let effect = draft.effect.clone().unwrap();
    assert!(effect.summary.contains("10.000000 credits"), "{effect:?}");
    let voting = assembly.pay(draft);
    assert_eq!(voting.state, "voting");
    assert_eq!(
        voting.tally.as_ref().unwrap().electorate_micro,
        700 * CREDIT as u64
    );
    assert_eq!(assembly.balance(&assembly.ada), before[0] - 100 * CREDIT);
    assembly.vote(&assembly.ada, &voting.id, "for", 2);
    let voted = assembly.vote(&assembly.bob, &voting.id, "against", 0);
    let tally = voted.tally.unwrap();
    // 400 at conviction 2 against 200 at a tenth.
    assert_eq!(tally.approval_bps, (8_000_u32 * 10_000 / 8_200) as u16);
    assert_eq!((tally.support_bps, tally.counted), (5_714, 2));
    let queued = assembly.until(&voting.id, "queued");
    assert_eq!(
        assembly.balance(&assembly.ada),
        before[0],
        "the deposit is back"
    );
    let early = assembly
        .world
        .service
        .execute_proposal(&assembly.bob, &queued.id);
    assert_eq!(code(early), "time-locked");
    let done = assembly.until(&voting.id, "executed");
    assert_eq!(assembly.balance(&assembly.cyd), before[1] + 10 * CREDIT);
    assert_eq!(done.outcome.unwrap()["paid_micro"], 10 * CREDIT);
    let states: Vec<_> = done.steps.iter().map(|step| step.state.as_str()).collect();
    assert_eq!(
        states,
        ["draft", "voting", "confirming", "queued", "executed"]
    );
    let again = assembly
        .world
        .service
        .execute_proposal(&assembly.bob, &voting.id);
    assert_eq!(code(again), "executed-already");
    assert_eq!(
        code(
            assembly
                .world
                .service
                .cast_vote(&assembly.bob, &voting.id, &for_it())
        ),
        "voting-over"
    );
    assembly.pass(100);
    assert_eq!(assembly.balance(&assembly.cyd), before[1] + 10 * CREDIT);
    assert_eq!(assembly.world.sum(), 0);
    assembly.audited();
}

fn for_it() -> CastVote {
    CastVote {
        side: "for".into(),
        conviction: 1,
    }
}

#[test]
fn a_restart_forgets_nothing_and_a_key_pays_once() {
    let mut assembly = Assembly::new();
    let key = with_key(&assembly.ada, "k1", "body");
    let cmd = proposal(gift(), 40 * CREDIT);
    let first = assembly.world.service.create_proposal(&key, &cmd).unwrap();
    let second = assembly.world.service.create_proposal(&key, &cmd).unwrap();
    assert_eq!(
        (first.id.as_str(), first.state.as_str()),
        (second.id.as_str(), "deposit")
    );
    let too_much = PayDeposit {
        amount_micro: 60 * CREDIT + 1,
    };
    assert_eq!(
        code(
            assembly
                .world
                .service
                .pay_deposit(&assembly.bob, &first.id, &too_much)
        ),
        "deposit-too-large"
    );
    let rest = PayDeposit {
        amount_micro: 60 * CREDIT,
    };
    assembly
        .world
        .service
        .pay_deposit(&assembly.bob, &first.id, &rest)
        .unwrap();
    assembly.vote(&assembly.ada, &first.id, "for", 1);
    assembly.world = assembly.world.reopen();
    let there = assembly.show(&first.id);
    assert_eq!(
        (there.state.as_str(), there.tally.unwrap().counted),
        ("confirming", 1)
    );
    assembly.until(&first.id, "executed");
    assert_eq!(
        assembly.balance(&assembly.bob),
        800 * CREDIT,
        "each has the own part back"
    );
    assert_eq!(assembly.world.sum(), 0);
    assembly.audited();
}

#[test]
fn deposits_come_back_unless_nobody_turned_out() {
    let assembly = Assembly::new();
    let before = assembly.balance(&assembly.ada);
    let service = &assembly.world.service;
    let withdrawn = service
        .create_proposal(&assembly.ada, &proposal(gift(), 5 * CREDIT))
        .unwrap();
    assert_eq!(
        code(service.withdraw_proposal(&assembly.bob, &withdrawn.id)),
        "forbidden"
    );
    let withdrawn = service
        .withdraw_proposal(&assembly.ada, &withdrawn.id)
        .unwrap();
    assert_eq!(
        (withdrawn.state.as_str(), withdrawn.ended_by.as_deref()),
        ("cancelled", Some("author"))
    );
    let expired = service
        .create_proposal(&assembly.ada, &proposal(gift(), 5 * CREDIT))
        .unwrap();
    let expired = assembly.until(&expired.id, "expired");
    assert_eq!(expired.ended_by.as_deref(), Some("deposit"));
    assert_eq!(assembly.balance(&assembly.ada), before);
    let lost = assembly.propose(gift());
    assembly.vote(&assembly.ada, &lost.id, "for", 1);
    assembly.vote(&assembly.bob, &lost.id, "against", 6);
    let lost = assembly.until(&lost.id, "rejected");
    assert_eq!(lost.ended_by.as_deref(), Some("not_approved"));
    assert_eq!(assembly.balance(&assembly.ada), before);
    let ignored = assembly.propose(gift());
    let ignored = assembly.until(&ignored.id, "rejected");
    assert_eq!(ignored.ended_by.as_deref(), Some("no_quorum"));
    assert_eq!(assembly.balance(&assembly.ada), before - 100 * CREDIT);
    assert_eq!(assembly.world.sum(), 0);
    assembly.audited();
}

#[test]
fn stakes_are_locked_by_votes_and_delegations() {
    let assembly = Assembly::new();
    let service = &assembly.world.service;
    let all = ChangeStake {
        stake_micro: 200 * CREDIT,
    };
    let proposal = assembly.propose(gift());
    assembly.vote(&assembly.bob, &proposal.id, "against", 1);
    assert_eq!(
        code(service.withdraw_stake(&assembly.bob, &all)),
        "stake-locked"
    );
    assembly.pass(400);
    let back = service.withdraw_stake(&assembly.bob, &all).unwrap();
    assert_eq!(
        (back.stake_micro, assembly.balance(&assembly.bob)),
        (0, 1_000 * CREDIT)
    );
    let delegate = |who, to: &str| {
        let cmd = Delegate {
            track: "treasury".into(),
            delegate: to.into(),
            conviction: 1,
        };
        service.delegate(who, &cmd)
    };
    assert_eq!(
        code(delegate(&assembly.cyd, "cyd")),
        "delegation-to-oneself"
    );
    delegate(&assembly.cyd, "ada").unwrap();
    delegate(&assembly.ada, "bob").unwrap();
    assert_eq!(code(delegate(&assembly.bob, "cyd")), "delegation-cycle");
    assert_eq!(code(delegate(&assembly.bob, "nobody")), "not-found");
    let some = ChangeStake {
        stake_micro: CREDIT,
    };
    assert_eq!(
        code(service.withdraw_stake(&assembly.cyd, &some)),
        "stake-delegated"
    );
    service.undelegate(&assembly.cyd, "treasury").unwrap();
    assert_eq!(
        code(service.withdraw_stake(&assembly.cyd, &some)),
        "stake-locked"
    );
    assert_eq!(
        code(service.undelegate(&assembly.cyd, "treasury")),
        "not-found"
    );
    assert_eq!(assembly.world.sum(), 0);
    assembly.audited();
}

#[test]
fn delegates_carry_stakes_until_their_owners_vote() {
    let assembly = Assembly::new();
    let cmd = Delegate {
        track: "treasury".into(),
        delegate: "bob".into(),
        conviction: 2,
    };
    assembly
        .world
        .service
        .delegate(&assembly.ada, &cmd)
        .unwrap();
    let proposal = assembly.propose(gift());
    let carried = assembly.vote(&assembly.bob, &proposal.id, "for", 1);
    let tally = carried.tally.unwrap();
    assert_eq!((tally.for_micro, tally.delegated), (600 * CREDIT as u64, 1));
    let own = assembly.vote(&assembly.ada, &proposal.id, "against", 1);
    let tally = own.tally.unwrap();
    let expected = (200 * CREDIT as u64, 400 * CREDIT as u64, 0);
    assert_eq!(
        (tally.for_micro, tally.against_micro, tally.delegated),
        expected
    );
    // A delegation on one track is none on another.
    let other = assembly.propose(ProposedAction::Membership {
        account: "cyd".into(),
        grant: vec!["juror".into()],
        revoke: vec![],
    });
    let tally = assembly
        .vote(&assembly.bob, &other.id, "for", 1)
        .tally
        .unwrap();
    assert_eq!((tally.for_micro, tally.delegated), (200 * CREDIT as u64, 0));
}

#[test]
fn a_vote_stops_another_until_it_is_executed() {
    let assembly = Assembly::new();
    let target = assembly.propose(gift());
    for who in [&assembly.ada, &assembly.bob] {
        assembly.vote(who, &target.id, "for", 1);
    }
    let done = assembly.carry(ProposedAction::Cancel {
        proposal_id: target.id.clone(),
    });
    assert_eq!(done.outcome.unwrap()["state"], "cancelled");
    let target = assembly.show(&target.id);
    assert_eq!(
        (target.state.as_str(), target.ended_by.as_deref()),
        ("cancelled", Some("vote"))
    );
    let again = proposal(
        ProposedAction::Cancel {
            proposal_id: target.id,
        },
        0,
    );
    assert_eq!(
        code(
            assembly
                .world
                .service
                .create_proposal(&assembly.ada, &again)
        ),
        "proposal-over"
    );
    assert_eq!(assembly.world.sum(), 0);
    assembly.audited();
}

#[test]
fn an_effect_that_cannot_be_made_is_recorded_tried_again_and_expires() {
    let assembly = Assembly::new();
    let last = ProposedAction::Membership {
        account: "operator".into(),
        grant: vec![],
        revoke: vec!["operator".into()],
    };
    let proposal = assembly.propose(last);
    for who in [&assembly.ada, &assembly.bob, &assembly.cyd] {
        assembly.vote(who, &proposal.id, "for", 1);
    }
    let expired = assembly.until(&proposal.id, "expired");
    assert_eq!(expired.outcome.unwrap()["error"], "last-operator");
    assert_eq!(expired.ended_by.as_deref(), Some("execution"));
}

#[test]
fn what_can_never_be_done_is_refused_by_name_when_it_is_written() {
    let assembly = Assembly::new();
    let market = assembly.world.market();
    let service = &assembly.world.service;
    let policy = |from: &str, to: &str| {
        let toml = Policy::demo_toml().replacen(from, to, 1);
        ProposedAction::PolicyChange { toml }
    };
    let table = [
        (policy("schema = 1", "schema ="), "policy-does-not-parse"),
        (
            policy("clear = 0.60", "clear = 0.99"),
            "policy-contradicts-itself",
        ),
        (
            policy("risk = 1.0", "risk = 0.0"),
            "policy-starves-every-run",
        ),
        (
            policy("upper > trip", "1.0 / price > 3.0"),
            "policy-divides-by-nothing",
        ),
        (
            policy("loosen = 1", "loosen = 2"),
            "policy-needs-more-signers",
        ),
        (
            ProposedAction::OracleChange {
                version_id: "v9".into(),
            },
            "unknown-oracle-version",
        ),
        (
            ProposedAction::SettlementDispute {
                market_id: market.id,
            },
            "no-appeal-window",
        ),
        (
            ProposedAction::Ratify {
                seal_id: "s".into(),
                run: "subject".into(),
                keep_s: 1,
            },
            "ratification-by-seal",
        ),
        (
            ProposedAction::Loosen {
                run: "nobody".into(),
                cap_bps: 1,
                term_s: 1,
            },
            "not-found",
        ),
        (
            ProposedAction::Loosen {
                run: "subject".into(),
                cap_bps: 0,
                term_s: 1,
            },
            "bad-action",
        ),
        (
            ProposedAction::Tighten {
                run: "subject".into(),
                cap_bps: None,
                pause: false,
                term_s: 1,
            },
            "bad-action",
        ),
        (
            ProposedAction::Membership {
                account: "ada".into(),
                grant: vec!["god".into()],
                revoke: vec![],
            },
            "bad-role",
        ),
        (
            ProposedAction::Treasury {
                account: "cyd".into(),
                amount_micro: -5,
                memo: "x".into(),
            },
            "bad-action",
        ),
        (
            ProposedAction::Cancel {
                proposal_id: "none".into(),
            },
            "not-found",
        ),
    ];
    for (action, expected) in table {
        let result = service.create_proposal(&assembly.ada, &proposal(action.clone(), 0));
        assert_eq!(code(result), expected, "{action:?}");
    }
    let wrong = CreateProposal {
        track: Some("tighten".into()),
        ..proposal(gift(), 0)
    };
    assert_eq!(
        code(service.create_proposal(&assembly.ada, &wrong)),
        "wrong-track"
    );
    let wrong = CreateProposal {
        track: Some("bribes".into()),
        ..proposal(gift(), 0)
    };
    assert_eq!(
        code(service.create_proposal(&assembly.ada, &wrong)),
        "bad-track"
    );
    let wrong = CreateProposal {
        title: "a\nb".into(),
        ..proposal(gift(), 0)
    };
    assert_eq!(
        code(service.create_proposal(&assembly.ada, &wrong)),
        "bad-proposal"
    );
    assert!(
        service
            .proposals(&assembly.ada, None, None, None, 9)
            .unwrap()
            .items
            .is_empty()
    );
    for _ in 0..5 {
        service
            .create_proposal(&assembly.ada, &proposal(gift(), 0))
            .unwrap();
    }
    assert_eq!(
        code(service.create_proposal(&assembly.ada, &proposal(gift(), 0))),
        "too-many-proposals"
    );
}

#[test]
fn a_ballot_needs_weight_and_words() {
    let assembly = Assembly::new();
    let service = &assembly.world.service;
    let voting = assembly.propose(gift());
    let eve = assembly.world.person("eve");
    assert_eq!(
        code(service.cast_vote(&eve, &voting.id, &for_it())),
        "no-weight"
    );
    let odd = CastVote {
        side: "maybe".into(),
        conviction: 1,
    };
    assert_eq!(
        code(service.cast_vote(&assembly.ada, &voting.id, &odd)),
        "bad-side"
    );
    let odd = CastVote {
        side: "for".into(),
        conviction: 7,
    };
    assert_eq!(
        code(service.cast_vote(&assembly.ada, &voting.id, &odd)),
        "bad-conviction"
    );
    let visitor =
        plumbline_service::context::Context::of(plumbline_service::context::Actor::visitor());
    assert_eq!(
        code(service.cast_vote(&visitor, &voting.id, &for_it())),
        "unauthenticated"
    );
    let small = ChangeStake { stake_micro: 5 };
    assert_eq!(code(service.stake(&eve, &small)), "bad-stake");
    let much = ChangeStake {
        stake_micro: 1_001 * CREDIT,
    };
    assert_eq!(code(service.stake(&eve, &much)), "insufficient-funds");
    stake(&assembly.world, &eve, 10);
    assert_eq!(
        code(service.cast_vote(&eve, &voting.id, &for_it())),
        "no-weight"
    );
    // What is taken back before it is locked does not count either.
    let most = ChangeStake {
        stake_micro: 80 * CREDIT,
    };
    service.withdraw_stake(&assembly.cyd, &most).unwrap();
    let tally = assembly
        .vote(&assembly.cyd, &voting.id, "for", 1)
        .tally
        .unwrap();
    assert_eq!(tally.for_micro, 20 * CREDIT as u64);
    let all = ChangeStake {
        stake_micro: 200 * CREDIT,
    };
    service.withdraw_stake(&assembly.bob, &all).unwrap();
    assert_eq!(
        code(service.cast_vote(&assembly.bob, &voting.id, &for_it())),
        "no-weight"
    );
    let ballots = service.votes(&eve, &voting.id, None, 9).unwrap();
    assert_eq!(ballots.items.len(), 1);
}
