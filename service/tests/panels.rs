//! Panels from the draw to the bill, with restarts in between, and everything that is refused.
#![allow(clippy::unwrap_used, clippy::needless_update)]

mod support;

use plumbline_market::Digest;
use plumbline_market::sortition::{self, Candidate};
use plumbline_service::ServiceError;
use plumbline_service::commands::*;
use plumbline_service::context::{Actor, Context};
use plumbline_service::views::*;
use support::court::*;
use support::*;

fn code<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn a_panel_votes_in_secret_rules_and_is_paid_when_its_case_is_final() {
    let court = Court::new(5);
    let id = court.convene(3).unwrap();
    let (seated, outsider) = (court.seated(&id), court.outsider(&id));
    assert_eq!(seated.len(), 3);
    for who in [&outsider, &court.world.operator] {
        let hidden = court.panel(who, &id);
        assert_eq!(hidden.status, "closed");
        assert_eq!(
            (hidden.case, hidden.subject, hidden.seat),
            (None, None, None)
        );
        assert!(hidden.seats.is_empty() && hidden.draw.is_none());
    }
    let shown = court.panel(&seated[0], &id);
    assert_eq!(shown.case.unwrap().claim, court.market.claim);
    assert_eq!(shown.subject, None, "no market while the panel runs");
    let others: Vec<_> = court
        .world
        .service
        .jurors(&outsider, None, 50)
        .unwrap()
        .items;
    assert!(
        others.iter().all(|one| one.stake_micro == STAKE),
        "deposits show nowhere"
    );
    assert_eq!(
        others
            .iter()
            .filter(|one| one.locked_micro.is_some())
            .count(),
        1
    );

    for (who, vote) in seated.iter().zip([9_000, 10_000, 0]) {
        court.commit(who, &id, Some(vote)).unwrap();
    }
    court.pass(MINUTE);
    for (who, vote) in seated.iter().zip([9_000, 10_000, 0]) {
        let view = court.reveal(who, &id, Some(vote)).unwrap();
        assert_eq!(view.seat.unwrap().vote_bps, Some(vote));
        assert!(
            view.seats.is_empty(),
            "votes stay secret until all can be counted"
        );
    }
    court.pass(MINUTE);
    let over = court.panel(&Context::of(Actor::visitor()), &id);
    assert_eq!((over.status.as_str(), over.pi), ("ruled", Some(0.9)));
    assert_eq!((over.seats.len(), over.settled_at), (3, None));

    court.settle();
    let settled = court.panel(&outsider, &id);
    assert_eq!(settled.final_pi, Some(1.0));
    let verdict = |who: &Context| court.panel(who, &id).seat.unwrap().verdict.unwrap();
    let verdicts: Vec<_> = seated.iter().map(verdict).collect();
    assert_eq!(verdicts, ["coherent", "coherent", "incoherent"]);
    // A fee of 1, and half each of the 2 that the third loses.
    assert_eq!(court.wealth(&seated[0]), GRANT + 2 * CREDIT);
    assert_eq!(court.wealth(&seated[2]), GRANT - 2 * CREDIT);
    let juror = court.juror(&seated[0]);
    assert_eq!(
        (juror.seats, juror.coherent, juror.locked_micro),
        (1, 1, Some(0))
    );
}

#[test]
fn the_published_draw_can_be_drawn_again_and_was_committed_before() {
    let court = Court::new(7);
    let committed = court
        .world
        .service
        .draw_commitments(&court.jurors[0])
        .unwrap();
    let id = court.convene(3).unwrap();
    let seated = court.seated(&id);
    court.vote(&id, |_| Some(10_000));
    let panel = court.panel(&court.world.operator, &id);
    let draw = panel.draw.unwrap();
    let digest = |text: &str| text.parse::<Digest>().unwrap();
    assert_eq!(draw.secret_number, committed[0].number);
    assert_eq!(draw.secret_commitment, committed[0].commitment);
    assert_eq!(
        sortition::commitment(&digest(&draw.secret).0).to_string(),
        draw.secret_commitment
    );
    let parts = [digest(&draw.public_seed).0, digest(&draw.secret).0];
    assert_eq!(parts[0], [7; 32]);
    let seed = sortition::subseed(&parts, &draw.label);
    assert_eq!(Digest(seed).to_string(), draw.seed);
    let candidate = |one: &CandidateView| Candidate {
        account: one.account_id.clone(),
        weight: one.weight,
    };
    let candidates: Vec<_> = draw.candidates.iter().map(candidate).collect();
    assert_eq!(candidates.len(), 7);
    let drawn: Vec<_> = sortition::draw(&seed, &candidates, 3)
        .unwrap()
        .into_iter()
        .map(|position| candidates[position].account.clone())
        .collect();
    let seats: Vec<_> = panel
        .seats
        .iter()
        .map(|seat| seat.account_id.clone())
        .collect();
    assert_eq!(seats, drawn);
    assert_eq!(seats.len(), seated.len());
    // Every published vote opens its commitment.
    for seat in &panel.seats {
        let opening = opening(seat.vote_bps);
        let commitment = opening.commitment(&id, &seat.account_id).to_string();
        assert_eq!(seat.commitment.as_deref(), Some(commitment.as_str()));
    }
    // The next draw has the next secret.
    let next = court
        .world
        .service
        .draw_commitments(&court.jurors[0])
        .unwrap();
    assert_eq!(next[0].number, draw.secret_number + 1);
}

#[test]
fn a_restart_at_any_stage_changes_nothing() {
    let court = Court::new(3);
    let id = court.convene(3).unwrap();
    let court = court.restart();
    let seated = court.seated(&id);
    court.commit(&seated[0], &id, Some(10_000)).unwrap();
    court.commit(&seated[1], &id, Some(9_000)).unwrap();
    let court = court.restart();
    assert_eq!(
        code(court.commit(&seated[0], &id, Some(0))),
        "already-committed"
    );
    court.commit(&seated[2], &id, Some(8_000)).unwrap();
    // Nobody looked at the deadline before the service went down for an hour.
    court.world.pass(60 * MINUTE);
    let court = court.restart();
    court.reveal(&seated[0], &id, Some(10_000)).unwrap();
    court.pass(MINUTE / 2);
    let court = court.restart();
    for (who, vote) in seated[1..].iter().zip([9_000, 8_000]) {
        court.reveal(who, &id, Some(vote)).unwrap();
    }
    court.pass(MINUTE);
    let court = court.restart();
    assert_eq!(court.panel(&seated[0], &id).pi, Some(0.9));
    court.settle();
    let court = court.restart();
    court.settle();
    for who in &seated {
        assert_eq!(court.wealth(who), GRANT + CREDIT, "paid once");
    }
}

#[test]
fn votes_that_cannot_be_are_refused_and_change_nothing() {
    let court = Court::new(4);
    let id = court.convene(3).unwrap();
    let (seated, outsider) = (court.seated(&id), court.outsider(&id));
    let service = &court.world.service;
    let visitor = Context::of(Actor::visitor());
    let commitment = |text: &str| CommitVote {
        commitment: text.into(),
    };
    let zeros = commitment(&"00".repeat(32));
    assert_eq!(
        code(service.commit_vote(&visitor, &id, &zeros)),
        "unauthenticated"
    );
    assert_eq!(code(service.commit_vote(&outsider, &id, &zeros)), "no-seat");
    assert_eq!(
        code(service.commit_vote(&outsider, "nowhere", &zeros)),
        "not-found"
    );
    assert_eq!(
        code(service.commit_vote(&seated[0], &id, &commitment("xyz"))),
        "bad-commitment"
    );
    assert_eq!(
        code(court.reveal(&seated[0], &id, Some(1))),
        "reveals-not-open"
    );
    court.commit(&seated[0], &id, Some(9_000)).unwrap();
    assert_eq!(
        code(court.commit(&seated[0], &id, Some(9_000))),
        "already-committed"
    );
    assert_eq!(
        code(court.reveal(&seated[0], &id, Some(9_000))),
        "reveals-not-open"
    );
    court.pass(MINUTE);
    assert_eq!(code(court.commit(&seated[1], &id, Some(1))), "commits-over");
    assert_eq!(
        code(court.reveal(&seated[1], &id, Some(1))),
        "nothing-committed"
    );
    assert_eq!(code(court.reveal(&outsider, &id, Some(1))), "no-seat");
    assert_eq!(
        code(court.reveal(&seated[0], &id, Some(8_999))),
        "bad-opening"
    );
    assert_eq!(code(court.reveal(&seated[0], &id, None)), "bad-opening");
    let with = |change: &dyn Fn(&mut RevealVote)| {
        let mut cmd = reveal(Some(9_000));
        change(&mut cmd);
        code(service.reveal_vote(&seated[0], &id, &cmd))
    };
    assert_eq!(with(&|cmd| cmd.vote_bps = Some(10_001)), "bad-vote");
    assert_eq!(with(&|cmd| cmd.vote_bps = Some(-1)), "bad-vote");
    assert_eq!(with(&|cmd| cmd.vote_bps = Some(i64::MIN)), "bad-vote");
    assert_eq!(with(&|cmd| cmd.vote_bps = None), "bad-vote");
    assert_eq!(with(&|cmd| cmd.cannot_tell = true), "bad-vote");
    assert_eq!(with(&|cmd| cmd.nonce = "00".into()), "bad-nonce");
    assert_eq!(
        with(&|cmd| cmd.justification = "other".into()),
        "bad-opening"
    );
    assert_eq!(
        with(&|cmd| cmd.justification = "x".repeat(4_097)),
        "bad-justification"
    );
    court.reveal(&seated[0], &id, Some(9_000)).unwrap();
    assert_eq!(
        code(court.reveal(&seated[0], &id, Some(9_000))),
        "already-revealed"
    );
    court.pass(MINUTE);
    assert_eq!(code(court.commit(&seated[1], &id, Some(1))), "panel-over");
    assert_eq!(
        code(court.reveal(&seated[0], &id, Some(9_000))),
        "panel-over"
    );
    let over = court.panel(&outsider, &id);
    assert_eq!((over.status.as_str(), over.pi), ("no_quorum", None));
}

#[test]
fn ties_and_silence_rule_nothing_and_silence_costs() {
    let court = Court::new(2);
    let id = court.convene(2).unwrap();
    let first = court.seated(&id)[0].actor.handle.clone();
    court.vote(&id, |who| {
        Some(if who.actor.handle == first { 0 } else { 10_000 })
    });
    assert_eq!(court.panel(&court.jurors[0], &id).status, "tie");

    for who in &court.jurors {
        let more = JoinJury { stake_micro: STAKE };
        court.world.service.join_jury(who, &more).unwrap();
    }
    let silent = court.convene(2).unwrap();
    let seated = court.seated(&silent);
    court.commit(&seated[0], &silent, None).unwrap();
    court.pass(MINUTE);
    court.reveal(&seated[0], &silent, None).unwrap();
    court.pass(MINUTE);
    assert_eq!(court.panel(&court.jurors[0], &silent).status, "no_quorum");
    court.settle();
    let seat = |who: &Context| court.panel(who, &silent).seat.unwrap();
    assert_eq!(seat(&seated[0]).verdict.as_deref(), Some("abstained"));
    assert_eq!(seat(&seated[0]).slashed_micro, 0);
    assert_eq!(seat(&seated[1]).verdict.as_deref(), Some("silent"));
    assert_eq!(seat(&seated[1]).slashed_micro, 4 * CREDIT);
}

#[test]
fn a_case_that_is_called_off_gives_every_deposit_back() {
    let court = Court::new(3);
    let running = court.convene(3).unwrap();
    let seated = court.seated(&running);
    court.commit(&seated[0], &running, Some(5_000)).unwrap();
    court
        .world
        .host
        .gone
        .store(true, std::sync::atomic::Ordering::SeqCst);
    court
        .world
        .host
        .tokens
        .store(2_000, std::sync::atomic::Ordering::SeqCst);
    court.world.until_status(&court.market.id, "void");
    court.pass(0);
    let panel = court.panel(&court.world.operator, &running);
    assert_eq!((panel.status.as_str(), panel.final_pi), ("withdrawn", None));
    for who in &seated {
        assert_eq!(
            (court.wealth(who), court.juror(who).locked_micro),
            (GRANT, Some(0))
        );
    }
    assert_eq!(
        code(court.commit(&seated[1], &running, Some(1))),
        "panel-over"
    );
}

#[test]
fn jurors_join_add_and_leave_with_what_is_theirs() {
    let court = Court::new(3);
    let (service, world) = (&court.world.service, &court.world);
    let stake = |stake_micro| JoinJury { stake_micro };
    let plain = world.person("plain");
    assert_eq!(code(service.join_jury(&plain, &stake(STAKE))), "forbidden");
    let fresh = verified(world, "fresh");
    for wrong in [0, -1, i64::MIN, i64::MAX, STAKE - 1] {
        assert_eq!(code(service.join_jury(&fresh, &stake(wrong))), "bad-stake");
    }
    assert_eq!(
        code(service.join_jury(&fresh, &stake(GRANT + 1))),
        "insufficient-funds"
    );
    assert_eq!(code(service.leave_jury(&fresh)), "no-juror");

    let id = court.convene(3).unwrap();
    let who = &court.jurors[0];
    service.join_jury(who, &stake(CREDIT)).unwrap();
    let left = service.leave_jury(who).unwrap();
    assert_eq!(
        (left.stake_micro, left.locked_micro),
        (20 * CREDIT, Some(20 * CREDIT))
    );
    assert_eq!(left.leaving, Some(true));
    assert_eq!(court.balance(who), GRANT - 20 * CREDIT);
    assert_eq!(code(service.leave_jury(who)), "no-juror");
    for other in &court.jurors[1..] {
        service.join_jury(other, &stake(STAKE)).unwrap();
    }
    assert_eq!(court.draw(3, [8; 32]), None, "who leaves is not drawn");
    assert!(court.draw(2, [8; 32]).is_some());
    court.vote(&id, |_| Some(10_000));
    court.settle();
    assert_eq!(court.juror(who).stake_micro, 0);
    assert_eq!(court.balance(who), GRANT + CREDIT);
    // Whoever comes back has the record it left with.
    let back = service.join_jury(who, &stake(STAKE)).unwrap();
    assert_eq!((back.seats, back.leaving), (1, Some(false)));
}

#[test]
fn a_juror_without_the_role_any_more_is_not_drawn() {
    let court = Court::new(3);
    let service = &court.world.service;
    service
        .revoke_role(&court.world.operator, "juror-00", "juror")
        .unwrap();
    assert_eq!(court.convene(3), None);
    let open = Court::with(0, |config| {
        no_gold(config);
        config.panels.open_juries = true;
    });
    for n in 0..3 {
        let who = open.world.person(&format!("anyone-{n}"));
        let stake = JoinJury { stake_micro: STAKE };
        open.world.service.join_jury(&who, &stake).unwrap();
    }
    assert!(
        open.convene(3).is_some(),
        "where juries are open a stake is enough"
    );
}

#[test]
fn roles_are_the_operators_to_give_and_on_record() {
    let world = World::new(false);
    let ada = world.person("ada");
    let service = &world.service;
    let grant = |names: &[&str]| GrantRoles {
        roles: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(
        code(service.grant_roles(&ada, "ada", &grant(&["operator"]))),
        "forbidden"
    );
    assert_eq!(
        code(service.revoke_role(&ada, "operator", "operator")),
        "forbidden"
    );
    for wrong in [&["king"][..], &[], &["juror"; 9]] {
        assert_eq!(
            code(service.grant_roles(&world.operator, "ada", &grant(wrong))),
            "bad-role"
        );
    }
    let nobody = service.grant_roles(&world.operator, "nobody", &grant(&["juror"]));
    assert_eq!(code(nobody), "not-found");
    let treasury = service.grant_roles(&world.operator, "treasury", &grant(&["operator"]));
    assert_eq!(code(treasury), "not-found");
    let own = service.revoke_role(&world.operator, "Operator", "operator");
    assert_eq!(code(own), "own-role");
    let view = service
        .grant_roles(&world.operator, "ada", &grant(&["juror", "juror"]))
        .unwrap();
    assert_eq!(view.roles, ["participant", "researcher", "juror"]);
    let view = service
        .revoke_role(&world.operator, "ada", "researcher")
        .unwrap();
    assert_eq!(view.roles, ["participant", "juror"]);
    assert!(sign_in(service, "ada").actor.has_role("juror"));
    // A token in use gains and loses roles with the answer that says so.
    let token = CreateToken {
        name: "t".into(),
        scopes: vec!["read".into()],
        valid_days: None,
    };
    let token = service.create_token(&ada, &token).unwrap().token;
    assert!(service.actor_of_token(&token).unwrap().has_role("juror"));
    service
        .revoke_role(&world.operator, "ada", "juror")
        .unwrap();
    assert_eq!(service.known_actor(&token), None);
    assert!(!service.actor_of_token(&token).unwrap().has_role("juror"));
    let events = service
        .events_after(&world.operator, 0, &["accounts".to_owned()], 50)
        .unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(
        events[1].data["roles"],
        serde_json::json!(["participant", "juror"])
    );
}

#[test]
fn known_cases_look_like_any_other_and_count_for_the_next_draw() {
    let court = Court::with(3, |config| config.panels.gold_probability_ppm = 1_000_000);
    known_cases(&court.world, 1);
    let real = court.convene(3).unwrap();
    let vote = |_: &Context, claim: &str| {
        Some(if claim.starts_with("It does not") {
            0
        } else {
            10_000
        })
    };
    // Known cases come within two lengths of a panel.
    for _ in 0..8 {
        for who in &court.jurors {
            serve(&court, who, &vote);
        }
        court.pass(MINUTE);
    }
    for who in &court.jurors {
        let own = court
            .world
            .service
            .panels(who, true, None, 9)
            .unwrap()
            .items;
        assert_eq!(own.len(), 2);
        let known = own.iter().find(|panel| panel.id != real).unwrap();
        // The size of the panel that it came with, and no word on what it is about.
        assert_eq!((known.size, known.quorum, &known.subject), (3, 2, &None));
        assert_eq!(known.status, "ruled");
    }
    for who in &court.jurors {
        let juror = court.juror(who);
        assert_eq!((juror.known_cases, juror.known_right), (1, 1));
        assert_eq!(juror.weight, 26_666_640, "two thirds of the stake");
        assert_eq!(court.wealth(who), GRANT + CREDIT, "paid alike");
    }
    let listed = court
        .world
        .service
        .panels(&court.world.operator, false, None, 9)
        .unwrap();
    assert_eq!(
        listed.items.len(),
        1,
        "known cases stay their jurors' matter"
    );
}

#[test]
fn a_tested_market_becomes_a_known_case_and_the_operator_keeps_the_list() {
    let court = Court::new(3);
    let (service, operator) = (&court.world.service, &court.world.operator);
    let ada = court.world.person("ada");
    let report = court.world.report("2", 5 * CREDIT);
    let item = service
        .submit_evidence(&ada, &court.market.id, &report)
        .unwrap();
    court.world.until_judged(&item.id);
    court.settle();
    let cases = service.gold_cases(operator, true, None, 9).unwrap().items;
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].market_id.as_ref(), Some(&court.market.id));
    assert_eq!(code(service.gold_cases(&ada, true, None, 9)), "forbidden");
    service.retire_gold_case(operator, &cases[0].id).unwrap();
    assert!(
        service
            .gold_cases(operator, true, None, 9)
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        code(service.retire_gold_case(operator, "nothing")),
        "not-found"
    );
    let bad = CreateGoldCase {
        claim: "x".into(),
        claim_kind: "trigger_backdoor".into(),
        rubric: "r".into(),
        exhibits: Vec::new(),
        pi: 1.5,
    };
    let refused = code(service.create_gold_case(operator, &bad));
    assert!(
        ["bad-claim", "bad-case", "bad-pi"].contains(&refused),
        "{refused}"
    );
}
