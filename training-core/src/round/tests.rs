#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn node(number: usize) -> NodeId {
    NodeId::new(format!("node-{number}")).unwrap()
}

fn payload(node: usize, round: u64) -> Digest {
    Digest::derive("test payload", &[&node.to_le_bytes(), &round.to_le_bytes()])
}

fn rules(quorum: usize) -> RoundRules {
    RoundRules {
        quorum,
        max_members: 4,
        warm_up: Micros(10),
        reveal: Micros(50),
        cooldown: Micros(5),
        deadline: DeadlineRule {
            initial: Micros(1_000),
            least: Micros(100),
            most: Micros(10_000),
            ..DeadlineRule::default()
        },
        max_age: 0,
        max_missed: 1,
        sequences_per_node: 8,
        tokens_per_node: 800,
        unit: 0,
    }
}

/// A machine with its log, driven by hand.
struct Bench {
    state: RoundState,
    now: u64,
    seen: Vec<Effect>,
}

impl Bench {
    fn new(rules: RoundRules) -> Self {
        let origin = Origin {
            run_seed: 1,
            round: 0,
            parameters: Digest::of(b"start"),
            cursor: 0,
            tokens: 0,
        };
        Self {
            state: RoundState::new(rules, origin, Micros(0)).unwrap(),
            now: 0,
            seen: Vec::new(),
        }
    }

    fn with_members(rules: RoundRules, count: usize) -> Self {
        let mut bench = Self::new(rules);
        for number in 0..count {
            bench.send(Event::Join { node: node(number) }).unwrap();
        }
        bench.wait(10);
        assert_eq!(bench.state.phase(), Phase::Train);
        bench
    }

    fn send(&mut self, event: Event) -> Result<Vec<Effect>, RoundError> {
        let (next, effects) = step(&self.state, &event, Micros(self.now))?;
        self.state = next;
        self.seen.extend(effects.iter().cloned());
        Ok(effects)
    }

    fn wait(&mut self, time: u64) -> Vec<Effect> {
        self.now += time;
        self.send(Event::Tick).unwrap()
    }

    fn commit(&mut self, number: usize, round: u64) -> Result<Vec<Effect>, RoundError> {
        self.send(Event::Commit {
            node: node(number),
            round,
            digest: payload(number, round),
            tokens: 800,
        })
    }

    fn reveal(&mut self, number: usize, round: u64) -> Result<Vec<Effect>, RoundError> {
        self.send(Event::Reveal {
            node: node(number),
            digest: payload(number, round),
        })
    }

    fn finish(&mut self, name: &[u8]) -> Vec<Effect> {
        self.send(Event::Audited { rejected: vec![] }).unwrap();
        let parameters = Digest::of(name);
        self.send(Event::Aggregated { parameters }).unwrap()
    }
}

#[test]
fn a_whole_round() {
    let mut bench = Bench::with_members(rules(2), 2);
    let Effect::Opened {
        round: 0,
        assignments,
        tokens: 0,
        ..
    } = &bench.seen[0]
    else {
        panic!("{:?}", bench.seen)
    };
    assert_eq!(assignments.len(), 2);
    bench.now += 100;
    bench.commit(0, 0).unwrap();
    assert_eq!(bench.state.phase(), Phase::Commit);
    assert!(matches!(bench.reveal(0, 0), Err(RoundError::WrongPhase(_))));
    let effects = bench.commit(1, 0).unwrap();
    assert!(matches!(&effects[..], [Effect::RequestReveals { nodes, .. }] if nodes.len() == 2));
    bench.reveal(1, 0).unwrap();
    let effects = bench.reveal(0, 0).unwrap();
    assert!(
        matches!(&effects[..], [Effect::Audit { contributions, .. }] if contributions.len() == 2)
    );
    let effects = bench.finish(b"next");
    let Effect::Closed {
        round: 0,
        contributions,
        missed,
        duration,
        ..
    } = &effects[0]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((contributions.len(), missed.len(), duration.0), (2, 0, 100));
    assert_eq!(bench.state.tokens(), 1_600);
    let effects = bench.wait(5);
    let Effect::Opened {
        round: 1,
        parameters,
        assignments,
        ..
    } = &effects[0]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*parameters, Digest::of(b"next"));
    assert_eq!(assignments.iter().map(|a| a.start).min(), Some(16));
}

#[test]
fn bad_events_are_refused() {
    let mut bench = Bench::with_members(rules(1), 2);
    let before = bench.state.clone();
    assert!(matches!(bench.commit(7, 0), Err(RoundError::NotMember(_))));
    assert!(matches!(bench.commit(0, 3), Err(RoundError::Stale { .. })));
    let claim = |tokens| Event::Commit {
        node: node(0),
        round: 0,
        digest: payload(0, 0),
        tokens,
    };
    assert!(matches!(
        bench.send(claim(0)),
        Err(RoundError::Tokens { .. })
    ));
    assert!(matches!(
        bench.send(claim(801)),
        Err(RoundError::Tokens { .. })
    ));
    let parameters = Digest::default();
    assert!(bench.send(Event::Aggregated { parameters }).is_err());
    assert!(bench.send(Event::Audited { rejected: vec![] }).is_err());
    assert_eq!(bench.state, before);
    bench.commit(0, 0).unwrap();
    bench.commit(0, 0).unwrap();
    let other = Event::Commit {
        node: node(0),
        round: 0,
        digest: Digest::of(b"second thoughts"),
        tokens: 800,
    };
    assert!(matches!(
        bench.send(other),
        Err(RoundError::AlreadyCommitted(_))
    ));
    bench.commit(1, 0).unwrap();
    let forged = Event::Reveal {
        node: node(1),
        digest: Digest::of(b"forged"),
    };
    assert!(matches!(
        bench.send(forged),
        Err(RoundError::RevealMismatch { .. })
    ));
    assert!(matches!(
        bench.reveal(3, 0),
        Err(RoundError::NotCommitted(_))
    ));
}

#[test]
fn joins_take_part_from_the_next_round() {
    let mut bench = Bench::with_members(rules(1), 1);
    bench.send(Event::Join { node: node(1) }).unwrap();
    assert!(matches!(
        bench.commit(1, 0),
        Err(RoundError::NotAssigned(_))
    ));
    bench.commit(0, 0).unwrap();
    bench.reveal(0, 0).unwrap();
    bench.finish(b"1");
    let effects = bench.wait(5);
    assert!(matches!(&effects[..], [Effect::Opened { assignments, .. }] if assignments.len() == 2));
    bench.send(Event::Join { node: node(2) }).unwrap();
    bench.send(Event::Join { node: node(3) }).unwrap();
    let refused = bench.send(Event::Join { node: node(4) });
    assert_eq!(refused.unwrap_err(), RoundError::Full(4));
}

#[test]
fn a_dead_node_delays_a_round_once_and_is_evicted() {
    let mut bench = Bench::with_members(rules(1), 2);
    for round in 0..2 {
        bench.commit(0, round).unwrap();
        assert_eq!(bench.state.phase(), Phase::Commit);
        bench.wait(1_000);
        bench.reveal(0, round).unwrap();
        let effects = bench.finish(b"x");
        let Effect::Closed { missed, .. } = &effects[0] else {
            panic!()
        };
        assert_eq!(missed, &[node(1)]);
        bench.wait(5);
    }
    assert!(bench.seen.contains(&Effect::Evicted { node: node(1) }));
    assert_eq!(bench.state.members().len(), 1);
    assert!(
        bench.commit(0, 2).unwrap().len() == 1,
        "alone it need not wait"
    );
}

#[test]
fn below_quorum_extends_then_empties_and_recovers() {
    let mut bench = Bench::with_members(rules(2), 2);
    bench.commit(0, 0).unwrap();
    bench.wait(1_000);
    assert_eq!(bench.state.phase(), Phase::Commit);
    assert_eq!(bench.state.open().unwrap().extensions, 1);
    // The second extension evicts the silent node and the quorum is out of reach.
    bench.wait(2_000);
    assert!(matches!(
        bench.seen.last(),
        Some(Effect::Voided {
            reason: VoidReason::MembersLeft,
            ..
        })
    ));
    bench.wait(5);
    assert_eq!(bench.state.phase(), Phase::WarmUp { quorum_since: None });
    bench.send(Event::Join { node: node(1) }).unwrap();
    bench.wait(10);
    assert_eq!(
        (bench.state.phase(), bench.state.round()),
        (Phase::Train, 1)
    );
    assert!(matches!(bench.commit(0, 0), Err(RoundError::Stale { .. })));
}

#[test]
fn withheld_payloads_are_not_counted() {
    let mut bench = Bench::with_members(rules(1), 2);
    bench.commit(0, 0).unwrap();
    bench.commit(1, 0).unwrap();
    bench.reveal(1, 0).unwrap();
    let effects = bench.wait(50);
    assert!(
        matches!(&effects[..], [Effect::Audit { contributions, .. }] if contributions.len() == 1)
    );
    let effects = bench
        .send(Event::Audited {
            rejected: vec![node(1)],
        })
        .unwrap();
    assert_eq!(
        effects,
        [Effect::Voided {
            round: 0,
            reason: VoidReason::Rejected
        }]
    );
}

#[test]
fn old_work_counts_within_max_age_only() {
    let lenient = RoundRules {
        max_age: 1,
        max_missed: 5,
        ..rules(1)
    };
    let mut bench = Bench::with_members(lenient, 2);
    for round in 0..2 {
        bench.commit(0, round).unwrap();
        bench.wait(1_000);
        bench.reveal(0, round).unwrap();
        bench.finish(&[round as u8]);
        bench.wait(5);
    }
    assert!(matches!(
        bench.commit(1, 0),
        Err(RoundError::Stale {
            round: 0,
            current: 2
        })
    ));
    bench.commit(1, 1).unwrap();
    assert_eq!(bench.state.open().unwrap().commitments[&node(1)].age, 1);
    assert!(matches!(
        bench.commit(1, 2),
        Err(RoundError::AlreadyCommitted(_))
    ));
}

#[test]
fn a_paused_run_never_times_out_and_a_throttled_one_gets_longer() {
    let mut bench = Bench::with_members(rules(1), 2);
    bench.commit(0, 0).unwrap();
    bench.send(Event::Rate { bps: 0 }).unwrap();
    assert!(bench.wait(1_000_000).is_empty());
    bench.send(Event::Rate { bps: 2_500 }).unwrap();
    assert!(bench.wait(3_999).is_empty());
    assert_eq!(bench.wait(1).len(), 1);
}

#[test]
fn a_shown_payload_outlives_its_node_and_a_promise_does_not() {
    let mut bench = Bench::with_members(rules(1), 3);
    for number in 0..3 {
        bench.commit(number, 0).unwrap();
    }
    bench.reveal(0, 0).unwrap();
    bench.send(Event::Leave { node: node(0) }).unwrap();
    bench.send(Event::Leave { node: node(1) }).unwrap();
    let effects = bench.reveal(2, 0).unwrap();
    let Effect::Audit { contributions, .. } = &effects[0] else {
        panic!()
    };
    let names: Vec<_> = contributions.iter().map(|c| c.node.clone()).collect();
    assert_eq!(names, [node(0), node(2)]);
}

#[test]
fn a_banned_node_counts_for_nothing_and_cannot_come_back() {
    let mut bench = Bench::with_members(rules(1), 3);
    for number in 0..3 {
        bench.commit(number, 0).unwrap();
    }
    bench.reveal(1, 0).unwrap();
    bench.send(Event::Ban { node: node(1) }).unwrap();
    bench.send(Event::Ban { node: node(1) }).unwrap();
    bench.reveal(0, 0).unwrap();
    let effects = bench.reveal(2, 0).unwrap();
    let Effect::Audit { contributions, .. } = &effects[0] else {
        panic!()
    };
    let names: Vec<_> = contributions.iter().map(|c| c.node.clone()).collect();
    assert_eq!(names, [node(0), node(2)]);
    bench.send(Event::Ban { node: node(0) }).unwrap();
    let effects = bench.finish(b"x");
    assert!(effects.iter().any(|effect| matches!(effect,
        Effect::Closed { contributions, .. } if contributions.len() == 1)));
    let refused = bench.send(Event::Join { node: node(1) }).unwrap_err();
    assert_eq!(refused, RoundError::Banned(node(1)));
    assert_eq!(bench.state.banned().len(), 2);
}

#[test]
fn node_names_and_rules_have_domains() {
    for name in ["", "a b", "ä", "x/y"] {
        assert!(NodeId::new(name).is_err(), "{name:?}");
    }
    assert!(NodeId::new("x".repeat(65)).is_err());
    assert!(serde_json::from_str::<NodeId>("\"a b\"").is_err());
    assert!(rules(0).validate().is_err());
    assert!(rules(5).validate().is_err());
    assert!(
        RoundRules {
            tokens_per_node: 0,
            unit: 0,
            ..rules(1)
        }
        .validate()
        .is_err()
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let who = || (0_usize..4).prop_map(node);
    let digest = (0_usize..4, 0_u64..4).prop_map(|(n, r)| payload(n, r));
    prop_oneof![
        3 => who().prop_map(|node| Event::Join { node }),
        1 => who().prop_map(|node| Event::Leave { node }),
        6 => (0_usize..4, 0_u64..6).prop_map(|(number, round)| Event::Commit {
            node: node(number), round, digest: payload(number, round), tokens: 100,
        }),
        1 => (who(), digest, 0_u64..4).prop_map(|(node, digest, round)| Event::Commit {
            node, round, digest, tokens: 10,
        }),
        6 => (0_usize..4, 0_u64..6).prop_map(|(number, round)| Event::Reveal {
            node: node(number), digest: payload(number, round),
        }),
        3 => Just(Event::Audited { rejected: vec![] }),
        1 => who().prop_map(|node| Event::Audited { rejected: vec![node] }),
        3 => any::<u8>().prop_map(|n| Event::Aggregated { parameters: Digest::of(&[n]) }),
        1 => (2_usize..4).prop_map(|number| Event::Ban { node: node(number) }),
        1 => (0_u32..12_000).prop_map(|bps| Event::Rate { bps }),
        3 => Just(Event::Tick),
    ]
}

/// Nodes that commit, reveal, and a coordinator that answers: does a round close?
fn closes_when_everyone_works(mut bench: Bench) -> bool {
    bench.send(Event::Rate { bps: 10_000 }).unwrap();
    for _ in 0..200 {
        bench.now += 400;
        // A working node that was dropped for its silence before joins again.
        for number in 0..2 {
            bench.send(Event::Join { node: node(number) }).ok();
        }
        let round = bench.state.round();
        let members: Vec<usize> = (0..4)
            .filter(|&n| bench.state.members().contains_key(&node(n)))
            .collect();
        for &number in &members {
            bench.commit(number, round).ok();
        }
        for number in 0..4 {
            let promised = bench
                .state
                .open()
                .and_then(|o| o.commitments.get(&node(number)));
            if let Some(digest) = promised.map(|c| c.digest) {
                let node = node(number);
                bench.send(Event::Reveal { node, digest }).ok();
            }
        }
        bench.send(Event::Audited { rejected: vec![] }).ok();
        let closed = bench.send(Event::Aggregated {
            parameters: Digest::of(b"y"),
        });
        if closed.is_ok() {
            return true;
        }
        bench.send(Event::Tick).unwrap();
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_laws(
        quorum in 1_usize..3, max_age in 0_u64..2,
        events in prop::collection::vec((any_event(), 0_u64..700), 1..120),
    ) {
        let mut bench = Bench::new(RoundRules { max_age, ..rules(quorum) });
        let first = bench.state.clone();
        let mut accepted = Vec::new();
        for (event, pause) in events {
            bench.now += pause;
            if bench.send(event.clone()).is_ok() {
                accepted.push((event, bench.now));
            }
            let open_phase = !matches!(bench.state.phase(), Phase::WarmUp { .. } | Phase::Cooldown { .. });
            prop_assert_eq!(open_phase, bench.state.open().is_some());
        }
        // Nobody is counted twice, counted work was committed and then
        // revealed with the same hash, and tokens add up.
        let mut total = 0;
        for effect in &bench.seen {
            if let Effect::Closed { contributions, round, .. } = effect {
                let names: BTreeSet<&NodeId> = contributions.iter().map(|c| &c.node).collect();
                prop_assert_eq!(names.len(), contributions.len());
                prop_assert!(contributions.len() >= quorum);
                for contribution in contributions {
                    let committed = accepted.iter().any(|(event, _)| matches!(event,
                        Event::Commit { node, digest, round: from, .. }
                            if *node == contribution.node && *digest == contribution.digest
                                && *from + contribution.age == *round));
                    let revealed = accepted.iter().any(|(event, _)| matches!(event,
                        Event::Reveal { node, digest }
                            if *node == contribution.node && *digest == contribution.digest));
                    prop_assert!(committed && revealed);
                    total += contribution.tokens;
                }
            }
        }
        prop_assert_eq!(total, bench.state.tokens());
        // Equal events give equal states, also through a serialised state.
        let mut replayed = first;
        for (event, now) in &accepted {
            let text = serde_json::to_string(&replayed).unwrap();
            let parsed: RoundState = serde_json::from_str(&text).unwrap();
            replayed = step(&parsed, event, Micros(*now)).unwrap().0;
        }
        prop_assert_eq!(&replayed, &bench.state);
        // And from wherever this ended, working nodes get a round closed.
        prop_assert!(closes_when_everyone_works(bench));
    }
}
