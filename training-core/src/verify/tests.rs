#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;

use super::screen::Shown;
use super::statement::{StatementError, node_of};
use super::*;
use crate::codec::{Geometry, Memory, Scheme, SparseOptions};
use crate::local::{NodeState, Work};

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

#[test]
fn two_promises_are_a_proof_and_nothing_else_is() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let other = SigningKey::from_bytes(&[8; 32]);
    let say = |key, run: &[u8], round, what: &[u8]| {
        Statement::sign(key, Digest::of(run), round, Digest::of(what)).unwrap()
    };
    let first = say(&key, b"run", 3, b"a");
    let proof = Equivocation::prove(first.clone(), say(&key, b"run", 3, b"b")).unwrap();
    assert_eq!(*proof.node(), node_of(&key).unwrap());
    for second in [
        first.clone(),
        say(&key, b"run", 4, b"b"),
        say(&key, b"other", 3, b"b"),
        say(&other, b"run", 3, b"b"),
    ] {
        let refused = Equivocation::prove(first.clone(), second).unwrap_err();
        assert_eq!(refused, StatementError::NoContradiction);
    }
    // Nobody can be framed: changed words, another's key, no key at all.
    let mut framed = say(&other, b"run", 3, b"b");
    framed.node = first.node.clone();
    let refused = Equivocation::prove(first.clone(), framed).unwrap_err();
    assert_eq!(refused, StatementError::Signature(first.node.clone()));
    let mut changed = first.clone();
    changed.commitment = Digest::of(b"c");
    assert!(changed.verify().is_err());
    changed = first.clone();
    changed.signature.pop();
    assert!(changed.verify().is_err());
    changed = first;
    changed.node = id("node-1");
    assert_eq!(
        changed.verify().unwrap_err(),
        StatementError::Key(id("node-1"))
    );
}

#[test]
fn the_draw_spends_its_rate_and_nobody_waits_long() {
    for count in [1_usize, 2, 8, 20] {
        let nodes: Vec<NodeId> = (0..count).map(|n| id(&format!("n{n}"))).collect();
        let mut lottery = Lottery::new([3; 32], 1_000);
        let (mut drawn, mut waits) = (0, Vec::new());
        let mut last = vec![0_u64; count];
        for round in 0..1_000 {
            for node in lottery.draw(round, &nodes) {
                drawn += 1;
                let index = nodes.iter().position(|n| *n == node).unwrap();
                waits.push(round + 1 - last[index]);
                last[index] = round + 1;
            }
        }
        let part = f64::from(drawn) / (1_000 * count) as f64;
        assert!((0.099..=0.1).contains(&part), "{part} of {count}");
        waits.sort_unstable();
        let late = waits[waits.len() * 99 / 100];
        assert!(
            late <= 14,
            "one in a hundred waits {late} rounds of {count}"
        );
    }
}

#[test]
fn signs_bring_the_draw_forward_and_secrets_decide_it() {
    let nodes: Vec<NodeId> = (0..10).map(|n| id(&format!("n{n}"))).collect();
    let first = |secret: u8, suspect: bool| {
        let mut lottery = Lottery::new([secret; 32], 1_000);
        for round in 0.. {
            if suspect {
                lottery.suspect(round, &nodes[4], 2.0);
            }
            if lottery.draw(round, &nodes).contains(&nodes[4]) {
                return round;
            }
        }
        0
    };
    let mean = |suspect| (0..100).map(|s| first(s, suspect) as f64).sum::<f64>() / 100.0;
    assert!(mean(true) < 1.0, "{}", mean(true));
    assert!(mean(false) > 3.0, "{}", mean(false));
    let orders: std::collections::BTreeSet<Vec<NodeId>> = (0..20)
        .map(|secret| {
            let mut lottery = Lottery::new([secret; 32], 1_000);
            (0..3)
                .flat_map(|round| lottery.draw(round, &nodes))
                .collect()
        })
        .collect();
    assert!(orders.len() > 15);
}

#[test]
fn repeated_loud_silent_and_alike_are_seen() {
    let rules = VerifyRules::default();
    let names: Vec<NodeId> = (0..5).map(|n| id(&format!("n{n}"))).collect();
    let vector = |seed: u64, scale: f32| -> Vec<f32> {
        let mut draw = crate::draw::Draw::new("test", &[&seed.to_le_bytes()]);
        (0..6_000)
            .map(|_| scale * (draw.unit() as f32 - 0.5))
            .collect()
    };
    let mut screen = Screen::default();
    let look = |screen: &mut Screen, round, rows: &[Vec<f32>]| {
        let shown: Vec<Shown<'_>> = names
            .iter()
            .zip(rows)
            .map(|(node, delta)| {
                let bytes: Vec<u8> = delta.iter().flat_map(|v| v.to_le_bytes()).collect();
                let payload = Digest::of(&bytes);
                Shown {
                    node,
                    payload,
                    delta,
                }
            })
            .collect();
        screen.look(&rules, round, &shown)
    };
    let honest: Vec<Vec<f32>> = (0..5).map(|seed| vector(seed, 1.0)).collect();
    assert_eq!(look(&mut screen, 0, &honest), Default::default());
    let rows = [
        vector(10, 1.0),
        vector(11, 1000.0),
        vec![0.0; 6_000],
        honest[0].clone(),
        vector(10, 1.0001),
    ];
    let found = look(&mut screen, 1, &rows);
    assert_eq!(found.rejected, [names[1].clone(), names[2].clone()]);
    let [
        (
            node,
            Evidence::Repeated {
                round: 0,
                node: owner,
                ..
            },
        ),
    ] = &found.proofs[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!((node, owner), (&names[3], &names[0]));
    let against = |name: &NodeId, kind: fn(&Sign) -> bool| {
        found
            .signs
            .iter()
            .any(|(node, sign)| node == name && kind(sign))
    };
    let alike = |sign: &Sign| matches!(sign, Sign::Alike(_));
    assert!(against(&names[0], alike) && against(&names[4], alike) && against(&names[3], alike));
    assert!(against(&names[1], |s| matches!(s, Sign::Norm(_))));
    assert!(against(&names[2], |s| matches!(s, Sign::Norm(_))));
}

#[test]
fn recomputation_tells_lies_from_rounding() {
    let geometry = Geometry::new(&[[64, 64]]).unwrap();
    let scheme = Scheme::SparseLoCo(SparseOptions::default());
    let mut draw = crate::draw::Draw::new("test", &[b"x"]);
    let delta: Vec<f32> = (0..4096).map(|_| (draw.unit() - 0.5) as f32).collect();
    let work = |delta: &[f32]| {
        let mut memory = Memory::default();
        let payload = scheme.encode(&geometry, &mut memory, delta).unwrap();
        let state = NodeState {
            optimizer: vec![1],
            memory,
        };
        Work { payload, state }
    };
    let honest = work(&delta);
    let rounded: Vec<f32> = delta
        .iter()
        .map(|v| v * (1.0 + 1e-4 * (v * 7e3).sin()))
        .collect();
    let check = |sent: &Work, state: bool, tokens, same| {
        let payload = scheme.decode(&geometry, &sent.payload).unwrap();
        let claim = Claim {
            payload: &payload,
            digest: Digest::of(&sent.payload),
            state: state.then(|| compare::state_digest(&sent.state)),
            tokens,
        };
        examine(&scheme, &geometry, &claim, (&honest, 100), same).map(|e| e.name())
    };
    assert_eq!(check(&honest, true, 100, true), None);
    assert_eq!(check(&honest, true, 101, true), Some("tokens"));
    let mut other_state = honest.clone();
    other_state.state.optimizer = vec![2];
    assert_eq!(check(&other_state, true, 100, true), Some("state"));
    assert_eq!(check(&other_state, true, 100, false), None);
    let near = work(&rounded);
    assert_ne!(near.payload, honest.payload);
    assert_eq!(check(&near, true, 100, false), None);
    assert_eq!(check(&near, true, 100, true), Some("recomputed"));
    let flipped: Vec<f32> = delta.iter().map(|v| -v).collect();
    assert_eq!(check(&work(&flipped), true, 100, false), Some("recomputed"));
    assert_eq!(
        check(&work(&vec![0.0; 4096]), true, 100, false),
        Some("recomputed")
    );
    let loud: Vec<f32> = delta.iter().map(|v| 3.0 * v).collect();
    assert_eq!(check(&work(&loud), true, 100, false), Some("recomputed"));
}

#[test]
fn rules_are_checked() {
    assert_eq!(VerifyRules::default().problem(), None);
    for spoil in [
        |r: &mut VerifyRules| r.audit_bps = 10_001,
        |r: &mut VerifyRules| r.norm_ratio = 1.0,
        |r: &mut VerifyRules| r.norm_ratio = f64::NAN,
        |r: &mut VerifyRules| r.gain_rows = 1 << 20,
    ] {
        let mut rules = VerifyRules::default();
        spoil(&mut rules);
        assert!(rules.problem().is_some());
    }
}
