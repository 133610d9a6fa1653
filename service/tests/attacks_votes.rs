//! Attacks on votes. Each runs twice: with all defences, where the attacker gains nothing, and with one of
//! them switched off, where it gains; so that every test fails if its defence is taken out.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_governance::voting::tracks::{Track, TrackTerms};
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use support::CREDIT;
use support::assembly::{Assembly, gift, proposal, stake};

fn with(defence: &str, on: bool) -> Assembly {
    Assembly::with(|config| {
        if !on {
            assert!(config.defences.switch_off(defence));
        }
    })
}

/// A gift of a thousand credits to the attacker.
fn plunder() -> ProposedAction {
    ProposedAction::Treasury {
        account: "eve".into(),
        amount_micro: 1_000 * CREDIT,
        memo: "services".into(),
    }
}

/// What the attacker has in cash and at stake.
fn wealth(assembly: &Assembly, eve: &Context) -> i64 {
    let stake = assembly.world.service.own_stake(eve).unwrap().stake_micro;
    assembly.balance(eve) + stake
}

/// A vote that honest people are about to win; the attacker brings in a stake larger than all of theirs
/// when the vote is under way.
fn flash_stake(on: bool) -> i64 {
    let assembly = with("stake_snapshot", on);
    let eve = assembly.world.person("eve");
    let before = wealth(&assembly, &eve);
    let proposal = assembly.propose(plunder());
    assembly.vote(&assembly.bob, &proposal.id, "against", 1);
    stake(&assembly.world, &eve, 900);
    let cmd = CastVote {
        side: "for".into(),
        conviction: 6,
    };
    let voted = assembly.world.service.cast_vote(&eve, &proposal.id, &cmd);
    assert_eq!(voted.is_err(), on);
    assembly.pass(400);
    wealth(&assembly, &eve) - before
}

#[test]
fn a_stake_that_comes_after_the_vote_began_does_not_count() {
    assert_eq!(flash_stake(true), 0);
    assert_eq!(flash_stake(false), 1_000 * CREDIT);
}

/// The attacker's 300 are delegated to an accomplice with next to nothing, and both vote: 300 counted
/// twice outweigh 400.
fn double_vote(on: bool) -> i64 {
    let assembly = with("single_count", on);
    let [eve, mal] = ["eve", "mal"].map(|handle| assembly.world.person(handle));
    stake(&assembly.world, &eve, 500);
    stake(&assembly.world, &mal, 1);
    let to_mal = Delegate {
        track: "treasury".into(),
        delegate: "mal".into(),
        conviction: 1,
    };
    assembly.world.service.delegate(&eve, &to_mal).unwrap();
    let before = wealth(&assembly, &eve);
    let proposal = assembly.propose(plunder());
    assembly.vote(&assembly.ada, &proposal.id, "against", 1);
    assembly.vote(&assembly.bob, &proposal.id, "against", 0);
    assembly.vote(&mal, &proposal.id, "for", 1);
    let tally = assembly.vote(&eve, &proposal.id, "for", 1).tally.unwrap();
    assert_eq!(
        tally.for_micro,
        if on { 501 } else { 1_001 } * CREDIT as u64
    );
    assembly.pass(400);
    wealth(&assembly, &eve) - before
}

#[test]
fn a_delegated_stake_is_not_counted_again_when_its_owner_votes() {
    assert_eq!(double_vote(true), 0);
    assert_eq!(double_vote(false), 1_000 * CREDIT);
}

/// The attacker keeps quiet until the last second of the vote and then turns it round; the others answer
/// as soon as they see it.
fn late_swing(on: bool) -> i64 {
    let assembly = Assembly::with(|config| {
        if !on {
            assert!(config.defences.switch_off("late_swing"));
        }
        // Without a time of confirmation, which would give the others time too.
        let terms = TrackTerms {
            confirm_s: 0,
            swing_s: 40,
            ..config.voting.tracks.of(Track::Treasury)
        };
        config.voting.tracks.set(Track::Treasury, terms).unwrap();
    });
    let eve = assembly.world.person("eve");
    stake(&assembly.world, &eve, 300);
    let before = wealth(&assembly, &eve);
    let proposal = assembly.propose(plunder());
    // 100 of 1,000 against; 168 seconds, of which 167 pass.
    assembly.vote(&assembly.cyd, &proposal.id, "against", 1);
    let length = proposal.terms.voting_s as i64;
    assembly.pass(length - 1);
    assembly.vote(&eve, &proposal.id, "for", 1);
    // The others look at the page every half minute; without an extension that is too late.
    assembly.pass(30);
    for who in [&assembly.ada, &assembly.bob] {
        let cmd = CastVote {
            side: "against".into(),
            conviction: 1,
        };
        let answered = assembly.world.service.cast_vote(who, &proposal.id, &cmd);
        assert_eq!(answered.is_ok(), on, "{answered:?}");
    }
    assembly.pass(400);
    wealth(&assembly, &eve) - before
}

#[test]
fn a_late_swing_gives_the_others_time_to_answer() {
    assert_eq!(late_swing(true), 0);
    assert_eq!(late_swing(false), 1_000 * CREDIT);
}

/// One after the other, the attacker fills the track's votes with proposals that nobody cares for. What
/// it costs is what is left to pay for it.
fn deposit_spam(on: bool) -> i64 {
    let assembly = with("deposit_forfeit", on);
    let eve = assembly.world.person("eve");
    let before = assembly.balance(&eve);
    for _ in 0..3 {
        let cmd = proposal(gift(), 100 * CREDIT);
        let spam = assembly.world.service.create_proposal(&eve, &cmd).unwrap();
        assert_eq!(
            assembly.until(&spam.id, "rejected").ended_by.unwrap(),
            "no_quorum"
        );
    }
    before - assembly.balance(&eve)
}

#[test]
fn proposals_that_nobody_turns_out_for_cost_their_deposits() {
    assert_eq!(deposit_spam(true), 300 * CREDIT);
    assert_eq!(deposit_spam(false), 0);
}

/// Somebody signs up again and again and votes with what each account was granted. Ada alone has earned
/// something.
fn many_accounts(on: bool) -> i64 {
    let assembly = Assembly::with(|config| {
        config.voting.grants_count = false;
        if !on {
            assert!(config.defences.switch_off("earned_weight"));
        }
    });
    let puppets = ["eve", "eve2", "eve3", "eve4"].map(|handle| assembly.world.person(handle));
    let before: i64 = puppets.iter().map(|who| wealth(&assembly, who)).sum();
    for puppet in &puppets {
        let view = stake(&assembly.world, puppet, 800);
        assert_eq!(view.voting_micro, if on { 0 } else { 800 * CREDIT });
    }
    let proposal = assembly.propose(plunder());
    for puppet in &puppets {
        let cmd = CastVote {
            side: "for".into(),
            conviction: 6,
        };
        let voted = assembly.world.service.cast_vote(puppet, &proposal.id, &cmd);
        assert_eq!(voted.is_err(), on);
    }
    assembly.pass(400);
    let after: i64 = puppets.iter().map(|who| wealth(&assembly, who)).sum();
    after - before
}

#[test]
fn granted_credits_give_no_weight() {
    assert_eq!(many_accounts(true), 0);
    assert_eq!(many_accounts(false), 1_000 * CREDIT);
}

/// What was earned does count, for the operator as for anybody.
#[test]
fn earned_credits_give_weight_and_the_operator_has_no_other() {
    let assembly = Assembly::new();
    let paid = ProposedAction::Treasury {
        account: "bob".into(),
        amount_micro: 50 * CREDIT,
        memo: "for work".into(),
    };
    assembly.carry(paid);
    let mut world = assembly.world;
    world.config.voting.grants_count = false;
    let world = world.reopen();
    let bob = stake(&world, &assembly.bob, 1);
    assert_eq!(bob.voting_micro, 50 * CREDIT);
    let operator = stake(&world, &world.operator, 500);
    assert_eq!(
        (operator.stake_micro, operator.voting_micro),
        (500 * CREDIT, 0)
    );
}
