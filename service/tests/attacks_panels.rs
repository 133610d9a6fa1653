//! Attacks on juries, each with its defence and without: with it the attacker gains nothing,
//! without it the attack pays, so a test fails when its defence is taken away.
#![allow(clippy::unwrap_used, clippy::needless_update)]

mod support;

use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::{ServiceConfig, ServiceError};
use support::court::*;
use support::*;

fn seed(n: u32) -> [u8; 32] {
    *blake3::hash(&n.to_le_bytes()).as_bytes()
}

/// How many of `draws` panels of three have a majority for one account's friends.
fn captured(court: &Court, draws: u32, friends: impl Fn(&Context) -> bool) -> (u32, u32) {
    let (mut seats, mut majorities) = (0, 0);
    for n in 0..draws {
        let id = court.draw(3, seed(n)).unwrap();
        let held = court.seated(&id).iter().filter(|who| friends(who)).count() as u32;
        seats += held;
        majorities += u32::from(held >= 2);
        // Let it end, so that deposits are free again at the end of the case.
        court.world.service.tick().unwrap();
    }
    (seats, majorities)
}

/// Enough stake for every draw of a test, so that deposits of panels that still run bar nobody.
fn deep(config: &mut ServiceConfig) {
    no_gold(config);
    config.panels.seat_deposit_micro = CREDIT / 100;
}

/// Oracle capture: one rich account among nine small ones buys panels by its stake.
#[test]
fn a_rich_juror_does_not_own_panels() {
    let seats_of_the_rich = |defence: bool| {
        let court = Court::with(9, |config| {
            deep(config);
            config.panels.stake_cap_micro = STAKE;
            config.defences.stake_cap = defence;
        });
        let rich = juror(&court.world, "rich", 900 * CREDIT);
        let court = Court {
            jurors: [court.jurors.clone(), vec![rich]].concat(),
            ..court
        };
        captured(&court, 40, |who| who.actor.handle == "rich").0
    };
    let (capped, uncapped) = (seats_of_the_rich(true), seats_of_the_rich(false));
    // At the cap the rich one weighs as the nine others: three of ten panels.
    assert!(capped <= 22, "{capped} of 40");
    assert!(
        uncapped >= 36,
        "{uncapped} of 40: without the cap the attack works"
    );
}

/// Sybils: twenty accounts of one person, each with a stake, want seats.
#[test]
fn accounts_that_nobody_verified_take_no_panel() {
    let taken = |defence: bool| {
        let mut court = Court::with(9, |config| {
            deep(config);
            config.defences.verified_jurors = defence;
        });
        for n in 0..20 {
            let sybil = court.world.person(&format!("sybil-{n:02}"));
            let stake = JoinJury { stake_micro: STAKE };
            match court.world.service.join_jury(&sybil, &stake) {
                Ok(_) => court.jurors.push(sybil),
                Err(error) => assert_eq!(error.code(), "forbidden"),
            }
        }
        captured(&court, 20, |who| who.actor.handle.starts_with("sybil"))
    };
    assert_eq!(taken(true), (0, 0));
    let (_, majorities) = taken(false);
    assert!(
        majorities >= 10,
        "{majorities} of 20: twenty accounts outnumber nine jurors"
    );
}

/// The same where juries are open to all: a stake has one weight, however it is split.
#[test]
fn a_split_stake_draws_no_more_seats() {
    let weight = |defence: bool, accounts: i64| -> u64 {
        let world = World::with(false, |config| {
            deep(config);
            config.panels.open_juries = true;
            config.panels.stake_cap_micro = 1_000 * CREDIT;
            config.defences.stake_weight = defence;
        });
        let join = |n: i64| {
            let who = world.person(&format!("part-{n:02}"));
            let stake_micro = 600 * CREDIT / accounts;
            world
                .service
                .join_jury(&who, &JoinJury { stake_micro })
                .unwrap()
                .weight
        };
        (0..accounts).map(join).sum()
    };
    assert_eq!(weight(true, 1), weight(true, 10));
    assert_eq!(
        weight(false, 10),
        10 * weight(false, 1),
        "counted by heads, ten accounts are ten"
    );
}

/// Collusion before the vote: Mallory can afford two of nine jurors and would buy those who sit.
#[test]
fn nobody_knows_whom_to_buy() {
    let bought = |defence: bool| {
        let court = Court::with(9, |config| {
            deep(config);
            config.defences.secret_draw = defence;
        });
        let mallory = court.world.person("mallory");
        let service = &court.world.service;
        let id_of = |who: &Context| who.actor.account_id.clone().unwrap();
        let guess: Vec<String> = court.jurors.iter().map(id_of).collect();
        let mut panels = 0;
        for n in 0..24 {
            let before = service.last_event_id().unwrap();
            let id = court.draw(3, seed(n)).unwrap();
            let events = service.events_after(&mallory, before, &[], 500).unwrap();
            let named = events.iter().find_map(|event| {
                let seats = event.data["seats"].as_array()?.iter();
                Some(
                    seats
                        .filter_map(|id| Some(id.as_str()?.to_owned()))
                        .collect(),
                )
            });
            let named: Vec<String> = named.unwrap_or_else(|| guess.clone());
            let sits = |who: &Context| named[..2].contains(&id_of(who));
            let friends = court.seated(&id).iter().filter(|who| sits(who)).count();
            panels += u32::from(friends == 2);
            assert!(service.panel(&mallory, &id).unwrap().seats.is_empty());
            service.tick().unwrap();
        }
        panels
    };
    // Two of nine sit together on one panel of three in twelve.
    assert!(bought(true) <= 6);
    assert_eq!(bought(false), 24);
}

/// A juror who reads nothing commits to anything, asks the others how they voted once that is
/// no secret any more, and wants to have voted so too.
#[test]
fn a_juror_who_copies_revealed_votes_earns_nothing() {
    let gain = |defence: bool| {
        let court = Court::with(3, |config| {
            no_gold(config);
            config.defences.vote_commitments = defence;
        });
        let id = court.convene(3).unwrap();
        let (lazy, honest) = (&court.jurors[0], &court.jurors[1..]);
        court.commit(lazy, &id, Some(0)).unwrap();
        for who in honest {
            court.commit(who, &id, Some(10_000)).unwrap();
        }
        court.pass(MINUTE);
        for who in honest {
            court.reveal(who, &id, Some(10_000)).unwrap();
        }
        let copied = court.reveal(lazy, &id, Some(10_000));
        if let Err(error) = &copied {
            assert_eq!(error.code(), "bad-opening");
            court.reveal(lazy, &id, Some(0)).unwrap();
        }
        court.pass(MINUTE);
        court.settle();
        court.wealth(lazy) - GRANT
    };
    let (bound, unbound) = (gain(true), gain(false));
    assert!(bound < 0, "{bound}");
    assert!(
        unbound > 0,
        "{unbound}: without the commitment copying pays"
    );
}

/// A juror with a position: it would rule for its own money.
#[test]
fn a_juror_with_a_position_does_not_rule_for_it() {
    // Two of three jurors hold "no" and vote it, though the claim is true.
    let ruled = |bar: bool| {
        let court = Court::with(5, |config| {
            no_gold(config);
            config.defences.conflict_bar = bar;
        });
        let holders = ["juror-00", "juror-01", "juror-02", "juror-03"];
        for who in &court.jurors[..4] {
            let order = spend("no", 5 * CREDIT);
            court
                .world
                .service
                .trade(who, &court.market.id, &order)
                .unwrap();
        }
        let id = court.convene(3)?;
        court.vote(&id, |who| {
            Some(if holders.contains(&who.actor.handle.as_str()) {
                0
            } else {
                10_000
            })
        });
        court.panel(&court.world.operator, &id).pi
    };
    assert_eq!(
        ruled(true),
        None,
        "there is no jury of people without a part in it"
    );
    assert_eq!(
        ruled(false),
        Some(0.0),
        "without the bar they rule for themselves"
    );
}

/// The same after the draw: evidence panels sit while trading goes on.
#[test]
fn a_juror_who_trades_after_the_draw_loses_the_seat() {
    let outcome = |bar: bool| {
        let court = Court::with(3, |config| {
            no_gold(config);
            config.defences.conflict_bar = bar;
        });
        let id = court.convene(3).unwrap();
        let bought = &court.jurors[0];
        court.commit(bought, &id, Some(0)).unwrap();
        let order = spend("no", 5 * CREDIT);
        court
            .world
            .service
            .trade(bought, &court.market.id, &order)
            .unwrap();
        for who in &court.jurors[1..] {
            court.commit(who, &id, Some(10_000)).unwrap();
        }
        court.pass(MINUTE);
        let refused = court.reveal(bought, &id, Some(0));
        for who in &court.jurors[1..] {
            court.reveal(who, &id, Some(10_000)).unwrap();
        }
        court.pass(MINUTE);
        (
            refused.is_ok(),
            court.panel(bought, &id).seat.unwrap().state,
        )
    };
    assert_eq!(outcome(true), (false, "conflicted".to_owned()));
    assert_eq!(outcome(false), (true, "revealed".to_owned()));
}

/// Colluding jurors sell their votes: the buyer wants to see the committed vote before paying.
/// Whoever is shown it can take half of the deposit, so showing it is never safe.
#[test]
fn a_juror_who_shows_a_vote_can_be_denounced() {
    let sell = |defence: bool| {
        let court = Court::with(4, |config| {
            no_gold(config);
            config.defences.denouncement = defence;
        });
        let id = court.convene(3).unwrap();
        let (seller, buyer) = (court.seated(&id)[0].clone(), court.outsider(&id));
        let honest: Vec<_> = court.seated(&id)[1..].to_vec();
        court.commit(&seller, &id, Some(0)).unwrap();
        // The buyer sees the opening, as agreed.
        let shown = denounce(&seller, Some(0));
        let denounced = court.world.service.denounce(&buyer, &id, &shown);
        for who in &honest {
            court.commit(who, &id, Some(10_000)).unwrap();
        }
        court.pass(MINUTE);
        let counted = court.reveal(&seller, &id, Some(0)).is_ok();
        for who in &honest {
            court.reveal(who, &id, Some(10_000)).unwrap();
        }
        court.pass(MINUTE);
        court.settle();
        let gained = court.wealth(&buyer) - GRANT;
        (
            denounced.is_ok(),
            counted,
            court.wealth(&seller) - GRANT,
            gained,
        )
    };
    assert_eq!(sell(true), (true, false, -20 * CREDIT, 10 * CREDIT));
    assert_eq!(
        sell(false),
        (false, true, -2 * CREDIT, 0),
        "the bought vote counts, for the price of an error"
    );
}

#[test]
fn denouncing_is_no_way_to_ask_who_sits_nor_to_get_a_deposit_back() {
    let court = Court::new(4);
    let id = court.convene(3).unwrap();
    let (seated, outsider) = (court.seated(&id), court.outsider(&id));
    let service = &court.world.service;
    court.commit(&seated[0], &id, Some(0)).unwrap();
    let ask = |cmd: Denounce| {
        service
            .denounce(&outsider, &id, &cmd)
            .map_err(|error: ServiceError| error.code())
    };
    let nobody = Denounce {
        account: "nobody".into(),
        ..denounce(&seated[0], Some(0))
    };
    for wrong in [
        denounce(&seated[0], Some(1)),
        denounce(&seated[1], Some(0)),
        denounce(&court.world.operator, Some(0)),
        nobody,
    ] {
        assert_eq!(ask(wrong).unwrap_err(), "bad-opening");
    }
    let own = service.denounce(&seated[0], &id, &denounce(&seated[0], Some(0)));
    assert_eq!(own.unwrap_err().code(), "own-seat");
    ask(denounce(&seated[0], Some(0))).unwrap();
    assert_eq!(
        ask(denounce(&seated[0], Some(0))).unwrap_err(),
        "bad-opening",
        "once"
    );
    court.commit(&seated[1], &id, Some(0)).unwrap();
    court.pass(MINUTE);
    assert_eq!(
        ask(denounce(&seated[1], Some(0))).unwrap_err(),
        "commits-over",
        "reveals are public soon"
    );
    // With a friend the juror gets half back: it costs more than any vote would have.
    court.pass(MINUTE);
    court.settle();
    assert_eq!(court.juror(&seated[0]).stake_micro, STAKE - 20 * CREDIT);
}

/// Silence: a juror who sees that the vote would be incoherent keeps it back.
#[test]
fn keeping_a_wrong_vote_back_costs_more_than_owning_up() {
    let lost = |defence: bool, reveals: bool| {
        let court = Court::with(3, |config| {
            no_gold(config);
            config.defences.reveal_slash = defence;
        });
        let id = court.convene(3).unwrap();
        let wrong = &court.jurors[0];
        let vote = |who: &Context| Some(if who.actor == wrong.actor { 0 } else { 10_000 });
        for who in &court.jurors {
            court.commit(who, &id, vote(who)).unwrap();
        }
        court.pass(MINUTE);
        for who in &court.jurors {
            if who.actor != wrong.actor || reveals {
                court.reveal(who, &id, vote(who)).unwrap();
            }
        }
        court.pass(MINUTE);
        court.settle();
        GRANT - court.wealth(wrong)
    };
    assert!(lost(true, false) > lost(true, true), "silence is dearer");
    assert!(
        lost(false, false) < lost(false, true),
        "without the slash silence hides the error"
    );
}

/// Herding: a juror who votes with the expected majority without reading. On real cases the
/// crowd is right; known cases, half of them the other way, cost more than the fees bring.
#[test]
fn a_juror_who_does_not_read_loses_money_and_weight() {
    let gain = |defence: bool| {
        let court = Court::with(3, |config| {
            config.defences.gold_cases = defence;
            config.panels.gold_probability_ppm = 1_000_000;
            // Forty panels at a time, at the usual ratio of fee to deposit.
            config.panels.seat_deposit_micro = 4 * CREDIT;
            config.panels.juror_fee_micro = CREDIT / 5;
        });
        known_cases(&court.world, 40);
        let lazy = court.jurors[0].clone();
        let vote = |who: &Context, claim: &str| {
            let denied = who.actor != lazy.actor && claim.starts_with("It does not");
            Some(if denied { 0 } else { 10_000 })
        };
        for n in 0..40 {
            for who in &court.jurors {
                let stake_micro = 7 * CREDIT;
                let join = JoinJury { stake_micro };
                court.world.service.join_jury(who, &join).unwrap();
            }
            court.draw(3, seed(n)).unwrap();
            for _ in 0..7 {
                for who in &court.jurors {
                    serve(&court, who, &vote);
                }
                court.pass(MINUTE);
            }
        }
        court.settle();
        let weights = (
            court.juror(&lazy).accuracy,
            court.juror(&court.jurors[1]).accuracy,
        );
        let diligent = court.wealth(&court.jurors[1]) - GRANT;
        (court.wealth(&lazy) - GRANT, diligent, weights)
    };
    let (lazy, diligent, (low, high)) = gain(true);
    assert!(lazy < 0, "{lazy}");
    assert!(diligent > 0, "{diligent}");
    assert!(low < 0.75 && high > 0.9, "{low} {high}");
    let (lazy, _, (low, _)) = gain(false);
    assert!(
        lazy > 0,
        "{lazy}: without known cases the crowd's vote pays"
    );
    assert!((low - 0.5).abs() < 1e-9, "and nobody knows");
}
