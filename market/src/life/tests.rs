#![allow(clippy::unwrap_used)]
use super::*;
use crate::digest::Digest;

fn rules() -> Rules {
    Rules {
        closes_at: Time(1_000),
        closes_after_tokens: Some(500),
        closing_window_millis: 100,
        challenge_window_millis: 50,
        proposal_window_millis: 30,
        bond: Micro(10),
        method: Method::Objective {
            commitment: Digest::of(b"plan"),
        },
        audit_plan: None,
        audit_floor_bps: 500,
        audit_peak_bps: 2_500,
        seed_commitment: None,
        trade_fee_bps: 0,
        creator_fee_bps: 0,
    }
}

fn frozen() -> Event {
    Event::Freeze(Freeze {
        checkpoint: Some(Digest::of(b"c")),
        exhibits_root: Digest::of(b"e"),
        terms: None,
    })
}

fn commitment() -> Digest {
    Digest::of(b"plan")
}

fn propose(pi: Pi) -> Event {
    Event::Propose {
        by: Proposer::Test {
            commitment: commitment(),
        },
        pi,
    }
}

fn by_person(pi: Pi, bond: i64) -> Event {
    Event::Propose {
        by: Proposer::Person { bond: Micro(bond) },
        pi,
    }
}

fn panel_says(pi: Pi) -> Event {
    Event::Rule {
        by: Ruler::Panel,
        pi,
    }
}

fn test_says(pi: Pi) -> Event {
    Event::Rule {
        by: Ruler::Test {
            commitment: commitment(),
        },
        pi,
    }
}

fn challenge(pi: Pi, bond: i64) -> Event {
    Event::Challenge {
        pi,
        bond: Micro(bond),
    }
}

fn close(reported_tokens: u64, draw: f64) -> Event {
    Event::Close {
        reported_tokens,
        draw,
    }
}

/// Steps through `events` at their times and returns the last state and effects.
fn run(events: &[(Event, i64)]) -> Result<(Life, Vec<Effect>), LifeError> {
    let mut state = (Life::draft(rules(), Time(0))?, vec![]);
    for (event, at) in events {
        state = step(&state.0, event, Time(*at))?;
    }
    Ok(state)
}

fn until_settling() -> Vec<(Event, i64)> {
    vec![
        (Event::Open, 0),
        (close(0, 0.5), 1_000),
        (frozen(), 1_000),
        (Event::Audit { audited: true }, 1_000),
        (Event::Settle, 1_000),
    ]
}

#[test]
fn the_whole_life() {
    let mut events = until_settling();
    assert_eq!(run(&events).unwrap().1, [Effect::Find(Search::Test)]);
    events.push((propose(Pi::YES), 1_060));
    assert_eq!(run(&events).unwrap().1, [Effect::FinaliseAt(Time(1_110))]);
    events.push((Event::Finalise, 1_110));
    let (life, effects) = run(&events).unwrap();
    assert_eq!(effects, [Effect::Payout(Pi::YES)]);
    assert_eq!(life.settlement(), Some(Pi::YES));
    events.push((Event::Pay, 1_111));
    assert_eq!(run(&events).unwrap().0.status, Status::Paid);
    let text = serde_json::to_string(&life).unwrap();
    assert_eq!(serde_json::from_str::<Life>(&text).unwrap(), life);
}

#[test]
fn closes_by_time_or_by_tokens_and_not_before() {
    let opened = [(Event::Open, 0)];
    let (life, _) = run(&opened).unwrap();
    assert!(life.accepts_orders(499, Time(899)));
    assert!(!life.accepts_orders(500, Time(1)));
    assert!(!life.accepts_orders(0, Time(900)));
    assert_eq!(
        step(&life, &close(499, 0.0), Time(899)),
        Err(LifeError::TooEarly)
    );
    assert_eq!(
        step(&life, &close(0, 1.0), Time(1_000)),
        Err(LifeError::InvalidDraw)
    );
    assert_eq!(
        step(&life, &close(0, f64::NAN), Time(1_000)),
        Err(LifeError::InvalidDraw)
    );
    let (by_tokens, effects) = step(&life, &close(500, 0.25), Time(40)).unwrap();
    assert_eq!(effects, [Effect::StopOrdersAt(Time(65))]);
    assert!(by_tokens.accepts_orders(500, Time(64)));
    assert!(!by_tokens.accepts_orders(500, Time(65)));
    assert_eq!(
        step(&by_tokens, &frozen(), Time(64)),
        Err(LifeError::TooEarly)
    );
    // A step that comes late does not lengthen the window.
    let (late, _) = step(&life, &close(0, 0.5), Time(5_000)).unwrap();
    assert_eq!(late.stops_at, Some(Time(950)));
    // Nor do tokens that come late.
    let (late, _) = step(&life, &close(500, 0.9), Time(990)).unwrap();
    assert_eq!(late.stops_at, Some(Time(990)));
}

#[test]
fn only_the_committed_plan_settles_and_only_once() {
    let (life, _) = run(&until_settling()).unwrap();
    let other = Event::Propose {
        by: Proposer::Test {
            commitment: Digest::of(b"other"),
        },
        pi: Pi::YES,
    };
    assert_eq!(step(&life, &other, Time(1_060)), Err(LifeError::WrongPlan));
    assert_eq!(
        step(&life, &Event::Finalise, Time(9_000)),
        Err(LifeError::NotAllowed(Status::Settling))
    );
    let (life, _) = step(&life, &propose(Pi::NO), Time(1_060)).unwrap();
    let again = step(&life, &propose(Pi::YES), Time(1_061));
    assert_eq!(again, Err(LifeError::NotAllowed(Status::Settling)));
    assert_eq!(
        step(&life, &Event::Finalise, Time(1_109)),
        Err(LifeError::TooEarly)
    );
}

#[test]
fn an_objective_case_climbs_from_the_test_to_the_largest_panel() {
    let mut events = until_settling();
    events.push((propose(Pi::NO), 2_000));
    let rungs = [
        (20, Search::Test, test_says(Pi::NO)),
        (40, Search::Panel { size: 3 }, panel_says(Pi::NO)),
        (80, Search::Panel { size: 7 }, panel_says(Pi::NO)),
        (160, Search::Panel { size: 15 }, panel_says(Pi::YES)),
    ];
    for (rung, (bond, search, ruling)) in rungs.into_iter().enumerate() {
        let (life, _) = run(&events).unwrap();
        assert_eq!(life.due_at(), Some(Time(2_050)));
        assert_eq!(life.appeal(), Some(search));
        assert_eq!(life.challenge_bond(), Some(Micro(bond)));
        let at = |event, at| step(&life, &event, Time(at));
        assert_eq!(
            at(challenge(Pi::YES, bond - 1), 2_000),
            Err(LifeError::BondTooSmall(Micro(bond)))
        );
        assert_eq!(
            at(challenge(Pi::NO, bond), 2_000),
            Err(LifeError::SameSettlement)
        );
        assert_eq!(at(challenge(Pi::YES, bond), 2_050), Err(LifeError::TooLate));
        events.push((challenge(Pi::YES, bond), 2_000));
        let (life, effects) = run(&events).unwrap();
        assert_eq!(effects, [Effect::Find(search)]);
        assert_eq!((life.status, life.due_at()), (Status::Challenged, None));
        assert_eq!(usize::from(life.challenges), rung + 1);
        events.push((ruling, 2_000));
    }
    let (life, effects) = run(&events).unwrap();
    assert_eq!(
        effects,
        [Effect::FinaliseAt(Time(2_000))],
        "no window after the last"
    );
    assert_eq!((life.challenge_bond(), life.appeal()), (None, None));
    let more = challenge(Pi::NO, i64::MAX);
    assert_eq!(step(&life, &more, Time(2_000)), Err(LifeError::TooLate));
    let (life, _) = step(&life, &Event::Finalise, Time(2_000)).unwrap();
    assert_eq!(life.settlement(), Some(Pi::YES));
}

/// The life of a market of this method up to `settling`, with what then looks for π.
fn settling(method: Method, audited: bool, reachable: bool, plan: bool) -> (Life, Search) {
    let rules = Rules {
        method,
        audit_plan: plan.then(commitment),
        ..rules()
    };
    let freeze = Event::Freeze(Freeze {
        checkpoint: reachable.then(|| Digest::of(b"c")),
        exhibits_root: Digest::of(b"e"),
        terms: None,
    });
    let mut life = Life::draft(rules, Time(0)).unwrap();
    let mut effects = vec![];
    for event in [
        Event::Open,
        close(500, 0.0),
        freeze,
        Event::Audit { audited },
        Event::Settle,
    ] {
        (life, effects) = step(&life, &event, Time(1)).unwrap();
    }
    let [Effect::Find(search)] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(life.search, Some(search));
    (life, search)
}

const REFERENCE: Method = Method::SelfResolving {
    stop_ppm: 100_000,
    undone: 2,
    fee: Micro(1),
};

#[test]
fn each_method_begins_its_own_way_and_audits_go_to_the_strongest() {
    let objective = rules().method;
    let proposals = Search::Proposals { until: Time(31) };
    let (three, seven) = (Search::Panel { size: 3 }, Search::Panel { size: 7 });
    for (method, audited, reachable, plan, search) in [
        (objective, false, true, false, Search::Test),
        (objective, true, true, false, Search::Test),
        (objective, false, false, false, three),
        (objective, true, false, false, seven),
        (Method::Panel, false, true, false, proposals),
        (Method::Panel, false, true, true, proposals),
        (Method::Panel, true, true, false, seven),
        (Method::Panel, true, true, true, Search::Test),
        (Method::Panel, true, false, true, seven),
        (Method::Ensemble, false, true, true, Search::Ensemble),
        (Method::Ensemble, true, true, true, Search::Test),
        (Method::Ensemble, true, true, false, seven),
        (REFERENCE, false, true, false, Search::Reference),
        (REFERENCE, true, true, false, seven),
    ] {
        assert_eq!(
            settling(method, audited, reachable, plan).1,
            search,
            "{method:?}"
        );
    }
}

#[test]
fn a_panel_market_waits_for_a_proposal_and_then_calls_a_jury() {
    let (life, _) = settling(Method::Panel, false, true, false);
    assert_eq!(life.due_at(), Some(Time(31)));
    let at = |event, at| step(&life, &event, Time(at));
    assert_eq!(
        at(by_person(Pi::YES, 9), 2),
        Err(LifeError::BondTooSmall(Micro(10)))
    );
    assert_eq!(at(by_person(Pi::YES, 10), 31), Err(LifeError::TooLate));
    assert_eq!(at(Event::CallPanel, 30), Err(LifeError::TooEarly));
    let (proposed, effects) = at(by_person(Pi::YES, 10), 30).unwrap();
    assert_eq!(effects, [Effect::FinaliseAt(Time(80))]);
    assert_eq!(proposed.appeal(), Some(Search::Panel { size: 3 }));
    let (called, effects) = at(Event::CallPanel, 31).unwrap();
    assert_eq!(effects, [Effect::Find(Search::Panel { size: 3 })]);
    let (ruled, _) = step(&called, &panel_says(Pi::new(0.3).unwrap()), Time(40)).unwrap();
    assert_eq!(ruled.status, Status::Settling);
    assert_eq!(ruled.appeal(), Some(Search::Panel { size: 7 }));
    assert_eq!(ruled.challenge_bond(), Some(Micro(20)));
}

#[test]
fn juries_that_cannot_decide_grow_and_end_in_a_void() {
    let (mut life, _) = settling(Method::Panel, false, true, false);
    (life, _) = step(&life, &Event::CallPanel, Time(31)).unwrap();
    for size in [7, 15] {
        let effects;
        (life, effects) = step(&life, &Event::NoRuling, Time(32)).unwrap();
        assert_eq!(effects, [Effect::Find(Search::Panel { size })]);
    }
    let (life, effects) = step(&life, &Event::NoRuling, Time(33)).unwrap();
    assert_eq!((life.status, effects), (Status::Void, vec![Effect::Refund]));
}

#[test]
fn silent_judges_and_lost_checkpoints_hand_over_to_a_jury() {
    let (life, _) = settling(Method::Ensemble, false, true, false);
    let (life, _) = step(&life, &Event::CallPanel, Time(2)).unwrap();
    assert_eq!(life.search, Some(Search::Panel { size: 3 }));
    let (life, _) = settling(rules().method, true, true, false);
    let (life, _) = step(&life, &Event::CallPanel, Time(2)).unwrap();
    assert_eq!(life.search, Some(Search::Panel { size: 7 }), "audited");
    // A repetition that cannot run is decided by a jury too.
    let (life, _) = settling(rules().method, false, true, false);
    let (life, _) = step(&life, &propose(Pi::NO), Time(2)).unwrap();
    let (life, _) = step(&life, &challenge(Pi::YES, 20), Time(3)).unwrap();
    let (life, _) = step(&life, &Event::CallPanel, Time(4)).unwrap();
    assert_eq!(life.search, Some(Search::Panel { size: 3 }));
    assert_eq!(life.status, Status::Challenged);
}

#[test]
fn a_self_resolving_market_stops_at_once_and_cannot_be_challenged() {
    let rules = Rules {
        method: REFERENCE,
        ..rules()
    };
    let draft = Life::draft(rules, Time(0)).unwrap();
    let (open, _) = step(&draft, &Event::Open, Time(0)).unwrap();
    let (stopped, effects) = step(&open, &Event::Stop, Time(7)).unwrap();
    assert_eq!(effects, [Effect::StopOrdersAt(Time(7))]);
    assert!(!stopped.accepts_orders(0, Time(7)));
    let (life, _) = settling(REFERENCE, false, true, false);
    let by = Proposer::Reference;
    let (life, effects) = step(&life, &Event::Propose { by, pi: Pi::NO }, Time(2)).unwrap();
    assert_eq!(effects, [Effect::FinaliseAt(Time(2))]);
    assert_eq!(
        step(&life, &challenge(Pi::YES, i64::MAX), Time(2)),
        Err(LifeError::TooLate)
    );
}

#[test]
fn lives_stored_before_panels_are_read() {
    let text = r#"{"status":"open","rules":{"closes_at":1000,"closes_after_tokens":null,
        "closing_window_millis":0,"challenge_window_millis":0,"bond":0,"method":{"method":"objective",
        "commitment":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}},"stepped_at":0,
        "stops_at":null,"freeze":null,"audited":null,"proposal":null,"challenges":0}"#;
    let life: Life = serde_json::from_str(text).unwrap();
    assert_eq!(
        (life.status, life.rules.audit_floor_bps),
        (Status::Open, 500)
    );
}

#[test]
fn rules_and_time_are_checked() {
    let draft = |change: fn(&mut Rules)| {
        let mut changed = rules();
        change(&mut changed);
        Life::draft(changed, Time(0))
    };
    assert_eq!(
        draft(|r| r.closing_window_millis = -1),
        Err(LifeError::InvalidRules)
    );
    assert_eq!(
        draft(|r| r.challenge_window_millis = -1),
        Err(LifeError::InvalidRules)
    );
    type Spoil = fn(&mut Rules);
    let spoils: [Spoil; 8] = [
        |r| r.bond = Micro(-1),
        |r| r.proposal_window_millis = -1,
        |r| r.audit_floor_bps = 499,
        |r| r.audit_peak_bps = 400,
        |r| r.audit_peak_bps = 10_001,
        |r| {
            r.method = Method::SelfResolving {
                stop_ppm: 0,
                undone: 1,
                fee: Micro(0),
            }
        },
        |r| {
            r.method = Method::SelfResolving {
                stop_ppm: 1_000_001,
                undone: 1,
                fee: Micro(0),
            }
        },
        |r| {
            r.method = Method::SelfResolving {
                stop_ppm: 1,
                undone: 1,
                fee: Micro(-1),
            }
        },
    ];
    for spoil in spoils {
        assert_eq!(draft(spoil), Err(LifeError::InvalidRules));
    }
    let late = step(&draft(|_| ()).unwrap(), &Event::Open, Time(1_000));
    assert_eq!(late, Err(LifeError::InvalidRules));
    let none = draft(|r| r.closes_after_tokens = Some(0)).unwrap();
    assert_eq!(
        step(&none, &Event::Open, Time(0)),
        Err(LifeError::InvalidRules)
    );
    let back = step(&draft(|_| ()).unwrap(), &Event::Open, Time(-1));
    assert_eq!(back, Err(LifeError::Backwards));
    for status in Status::ALL {
        assert_eq!(status.as_str().parse(), Ok(status));
    }
}

#[test]
fn void_refunds_what_was_opened() {
    let draft = Life::draft(rules(), Time(0)).unwrap();
    assert_eq!(step(&draft, &Event::Void, Time(1)).unwrap().1, []);
    let (open, _) = step(&draft, &Event::Open, Time(1)).unwrap();
    let (void, effects) = step(&open, &Event::Void, Time(2)).unwrap();
    assert_eq!((void.status, effects), (Status::Void, vec![Effect::Refund]));
    assert_eq!(void.settlement(), None);
}

mod edges;
