//! Every edge of the machine, and random walks over it.

use super::*;

/// Every state that a life can be in, as far as steps distinguish them.
fn every_state() -> Vec<Life> {
    let searches = [
        None,
        Some(Search::Test),
        Some(Search::Ensemble),
        Some(Search::Reference),
        Some(Search::Proposals { until: Time(100) }),
        Some(Search::Panel { size: 3 }),
        Some(Search::Panel { size: 15 }),
    ];
    let proposal = |source| {
        Some(Proposal {
            pi: Pi::NO,
            final_after: Time(100),
            source,
        })
    };
    let proposals = [None, proposal(Source::Test), proposal(Source::Panel)];
    let mut states = Vec::new();
    for status in Status::ALL {
        for search in searches {
            for proposal in proposals {
                let panel = |search| match search {
                    Some(Search::Panel { size }) => size,
                    _ => 0,
                };
                states.push(Life {
                    status,
                    stops_at: Some(Time(1)),
                    search,
                    proposal,
                    last_panel: panel(search),
                    freeze: Some(Freeze {
                        checkpoint: Some(Digest::of(b"c")),
                        exhibits_root: Digest::of(b"e"),
                        terms: None,
                    }),
                    ..Life::draft(rules(), Time(0)).unwrap()
                });
            }
        }
    }
    states
}

/// Whether a state allows an event, said another way than the machine does.
fn allows(life: &Life, event: &Event) -> bool {
    use Status::*;
    let (search, standing) = (life.search, life.proposal.is_some());
    let deciding = matches!(life.status, Settling | Challenged);
    match event {
        Event::Open => life.status == Draft,
        Event::Close { .. } => life.status == Open,
        // Only a self-resolving market stops by itself.
        Event::Stop => false,
        Event::Freeze(_) => life.status == Closing,
        Event::Audit { .. } => life.status == Frozen,
        Event::Settle => life.status == Auditing,
        Event::Propose { by, .. } => {
            let fits = matches!(
                (search, by),
                (Some(Search::Test), Proposer::Test { .. })
                    | (Some(Search::Ensemble), Proposer::Ensemble)
                    | (Some(Search::Reference), Proposer::Reference)
                    | (Some(Search::Proposals { .. }), Proposer::Person { .. })
            );
            life.status == Settling && !standing && fits
        }
        Event::CallPanel => {
            let other = matches!(
                search,
                Some(Search::Test | Search::Ensemble | Search::Reference)
            );
            deciding && other
        }
        Event::Challenge { .. } => life.status == Settling && standing && life.appeal().is_some(),
        Event::Rule { by, .. } => {
            let fits = match by {
                Ruler::Test { .. } => search == Some(Search::Test) && standing,
                Ruler::Panel => matches!(search, Some(Search::Panel { .. })),
            };
            deciding && fits
        }
        Event::NoRuling => deciding && matches!(search, Some(Search::Panel { .. })),
        // The window of the proposals above is still open.
        Event::Finalise => false,
        Event::Pay => life.status == Final,
        Event::Void => Status::ALL[..7].contains(&life.status),
    }
}

#[test]
fn every_state_allows_its_events_and_no_others() {
    let reference = Event::Propose {
        by: Proposer::Reference,
        pi: Pi::YES,
    };
    let ensemble = Event::Propose {
        by: Proposer::Ensemble,
        pi: Pi::YES,
    };
    let events = [
        Event::Open,
        close(500, 0.0),
        Event::Stop,
        frozen(),
        Event::Audit { audited: false },
        Event::Settle,
        propose(Pi::YES),
        ensemble,
        reference,
        by_person(Pi::YES, 10),
        Event::CallPanel,
        challenge(Pi::YES, i64::MAX),
        test_says(Pi::YES),
        panel_says(Pi::YES),
        Event::NoRuling,
        Event::Finalise,
        Event::Pay,
        Event::Void,
    ];
    let mut edges = 0;
    for life in every_state() {
        for event in &events {
            let result = step(&life, event, Time(10));
            assert_eq!(
                result.is_ok(),
                allows(&life, event),
                "{event:?} in {life:?}: {result:?}"
            );
            edges += usize::from(result.is_ok());
            if let Ok((next, _)) = result {
                assert_ne!(next, life, "{event:?} changes something");
                assert_eq!(next.rules, life.rules, "rules never change");
            }
        }
    }
    assert!(edges > 300, "{edges}");
}

proptest::proptest! {
    /// Whatever happens, in whatever order and at whatever times: refused events change
    /// nothing, statuses only go forward, a settlement that stands stays, the ladder ends.
    #[test]
    fn any_history_ends_well(
        method in 0..4u8,
        history in proptest::collection::vec((0..18u8, 0..60i64, 0..=1_000u32), 1..60),
    ) {
        let method = [rules().method, Method::Panel, Method::Ensemble, REFERENCE][usize::from(method)];
        let draft = Life::draft(Rules { method, ..rules() }, Time(0)).unwrap();
        let (mut life, _) = step(&draft, &Event::Open, Time(0)).unwrap();
        let mut now = 0;
        let mut settled = None;
        for (event, wait, number) in history {
            now += wait;
            let pi = Pi::new(f64::from(number) / 1e3).unwrap();
            let event = any_event(event, pi, number);
            let Ok((next, effects)) = step(&life, &event, Time(now)) else { continue };
            let order = |status: Status| match status {
                Status::Challenged => Status::Settling as u8,
                other => other as u8,
            };
            proptest::prop_assert!(order(next.status) >= order(life.status));
            proptest::prop_assert_eq!(next.rules, life.rules);
            proptest::prop_assert!(next.challenges <= 4 && next.tests <= 2);
            proptest::prop_assert!(next.challenges == life.challenges || next.status == Status::Challenged);
            for effect in effects {
                if let Effect::Payout(pi) = effect {
                    proptest::prop_assert_eq!(settled.replace(pi), None);
                }
            }
            proptest::prop_assert_eq!(next.settlement(), settled);
            life = next;
        }
        let text = serde_json::to_string(&life).unwrap();
        proptest::prop_assert_eq!(serde_json::from_str::<Life>(&text).unwrap(), life);
    }
}

fn any_event(index: u8, pi: Pi, number: u32) -> Event {
    let by = |by| Event::Propose { by, pi };
    match index {
        0 => Event::Open,
        1 => close(u64::from(number), 0.5),
        2 => Event::Stop,
        3 => frozen(),
        4 => Event::Audit {
            audited: number.is_multiple_of(2),
        },
        5 => Event::Settle,
        6 => propose(pi),
        7 => by(Proposer::Ensemble),
        8 => by(Proposer::Reference),
        9 => by_person(pi, 10),
        10 => Event::CallPanel,
        11 | 12 => challenge(pi, 1_000),
        13 => test_says(pi),
        14 => panel_says(pi),
        15 => Event::NoRuling,
        16 => Event::Finalise,
        _ if number == 0 => Event::Void,
        _ => Event::Pay,
    }
}
