#![allow(clippy::unwrap_used)]
use super::*;

fn rules() -> Rules {
    Rules {
        closes_at: Time(1_000),
        closes_after_tokens: Some(500),
        closing_window_millis: 100,
        challenge_window_millis: 50,
        bond: Micro(10),
        method: Method::Objective {
            commitment: Digest::of(b"plan"),
        },
    }
}

fn frozen() -> Event {
    Event::Freeze(Freeze {
        checkpoint: Digest::of(b"c"),
        exhibits_root: Digest::of(b"e"),
    })
}

fn propose(pi: Pi) -> Event {
    Event::Propose {
        commitment: Digest::of(b"plan"),
        pi,
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
        (frozen(), 1_050),
        (Event::Audit { audited: true }, 1_050),
        (Event::Settle, 1_050),
    ]
}

#[test]
fn the_whole_life() {
    let mut events = until_settling();
    assert_eq!(run(&events).unwrap().1, [Effect::RunTest]);
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
    assert!(life.accepts_orders(499, Time(999)));
    assert!(!life.accepts_orders(500, Time(1)));
    assert!(!life.accepts_orders(0, Time(1_000)));
    assert_eq!(
        step(&life, &close(499, 0.0), Time(999)),
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
    assert_eq!(late.stops_at, Some(Time(1_050)));
}

#[test]
fn only_the_committed_plan_settles_and_only_once() {
    let (life, _) = run(&until_settling()).unwrap();
    let other = Event::Propose {
        commitment: Digest::of(b"other"),
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
fn challenges_double_the_bond_and_end() {
    let mut events = until_settling();
    events.push((propose(Pi::NO), 2_000));
    for (rung, bond) in [20, 40, 80].into_iter().enumerate() {
        let (life, _) = run(&events).unwrap();
        assert_eq!(life.challenge_bond(), Some(Micro(bond)));
        let short = Event::Challenge {
            bond: Micro(bond - 1),
        };
        assert_eq!(
            step(&life, &short, Time(2_000)),
            Err(LifeError::BondTooSmall(Micro(bond)))
        );
        let challenge = Event::Challenge { bond: Micro(bond) };
        assert_eq!(
            step(&life, &challenge, Time(2_050)),
            Err(LifeError::TooLate)
        );
        events.push((challenge, 2_000));
        assert_eq!(run(&events).unwrap().1, [Effect::RepeatTest]);
        events.push((Event::Rule { pi: Pi::YES }, 2_000));
        let (life, _) = run(&events).unwrap();
        assert_eq!(usize::from(life.challenges), rung + 1);
    }
    let (life, effects) = run(&events).unwrap();
    assert_eq!(effects, [Effect::FinaliseAt(Time(2_000))]);
    assert_eq!(life.challenge_bond(), None);
    let more = Event::Challenge { bond: Micro::MAX };
    assert_eq!(step(&life, &more, Time(2_000)), Err(LifeError::TooLate));
    let (life, _) = step(&life, &Event::Finalise, Time(2_000)).unwrap();
    assert_eq!(life.settlement(), Some(Pi::YES));
}

#[test]
fn each_status_allows_its_events_and_no_others() {
    let life = |status| Life {
        status,
        stops_at: Some(Time(1)),
        proposal: None,
        ..Life::draft(rules(), Time(0)).unwrap()
    };
    let events = [
        (Event::Open, vec![Status::Draft]),
        (close(500, 0.0), vec![Status::Open]),
        (frozen(), vec![Status::Closing]),
        (Event::Audit { audited: false }, vec![Status::Frozen]),
        (Event::Settle, vec![Status::Auditing]),
        (propose(Pi::YES), vec![Status::Settling]),
        (Event::Rule { pi: Pi::YES }, vec![Status::Challenged]),
        (Event::Challenge { bond: Micro::MAX }, vec![]),
        (Event::Finalise, vec![]),
        (Event::Pay, vec![Status::Final]),
        (Event::Void, Status::ALL[..7].to_vec()),
    ];
    for (event, allowed) in events {
        for status in Status::ALL {
            let result = step(&life(status), &event, Time(10));
            assert_eq!(
                result.is_ok(),
                allowed.contains(&status),
                "{event:?} in {status}"
            );
            if result.is_err() {
                assert_eq!(result, Err(LifeError::NotAllowed(status)));
            }
        }
    }
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
    assert_eq!(draft(|r| r.bond = Micro(-1)), Err(LifeError::InvalidRules));
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
