//! Peers that send rubbish, lie about it, or say nothing: the round goes on.
#![allow(clippy::unwrap_used)]

use plumbline_training_core::codec::{Memory, PayloadError, SparseOptions};

use super::tests::{Rig, Setting, fresh};
use super::*;
use crate::run::HistoryPoint;
use crate::transport::LocalEndpoint;

/// What a bad peer does in a round: the payload that it shows, what it
/// promises, and the tokens that it claims.
struct Lie {
    name: &'static str,
    payload: Vec<u8>,
    tokens: u64,
    /// Changes the promise after it was made.
    breaks_promise: bool,
    /// Shows nothing.
    silent: bool,
    /// Speaks of another round.
    round: u64,
}

fn lie(name: &'static str, payload: Vec<u8>) -> Lie {
    Lie {
        name,
        payload,
        tokens: 160,
        breaks_promise: false,
        silent: false,
        round: 0,
    }
}

const SCHEME: Scheme = Scheme::SparseLoCo(SparseOptions {
    feedback: 0.9,
    rate: LrSchedule::flat(1.0, 0),
});

fn good(seed: f32) -> Vec<u8> {
    let geometry = Geometry::new(&[[16, 16]]).unwrap();
    let delta: Vec<f32> = (0..256).map(|n| seed * (n as f32 * 0.37).sin()).collect();
    SCHEME
        .encode(&geometry, &mut Memory::default(), &delta)
        .unwrap()
}

fn lies() -> Vec<Lie> {
    let changed = |at: usize, to: u8| {
        let mut bytes = good(1.0);
        bytes[at] = to;
        bytes
    };
    let mut nan = good(2.0);
    nan[48..52].copy_from_slice(&f32::NAN.to_le_bytes());
    let full = payload::encode(VectorKind::PseudoGradient, &[0.1; 256]);
    vec![
        lie("empty", Vec::new()),
        lie("truncated", good(1.0)[..60].to_vec()),
        lie("too long", [good(1.0), vec![0; 9]].concat()),
        lie("another version", changed(4, 9)),
        lie("another kind", full),
        lie("another model", changed(8, 1)),
        lie("not finite", nan),
        Lie {
            tokens: 161,
            ..lie("too many tokens", good(3.0))
        },
        Lie {
            tokens: 0,
            ..lie("no tokens", good(3.0))
        },
        Lie {
            breaks_promise: true,
            ..lie("another payload than promised", good(4.0))
        },
        Lie {
            silent: true,
            ..lie("promised and not shown", good(5.0))
        },
        Lie {
            round: 7,
            ..lie("another round", good(6.0))
        },
    ]
}

/// Goes through its lies, one a round, and joins again whenever it is dropped.
fn misbehave(peer: &LocalEndpoint, lies: &[Lie]) {
    let (mut next, mut promised) = (0, None);
    peer.announce(&Message::hello()).unwrap();
    while let Some(envelope) = peer.receive(Duration::from_secs(20)).unwrap() {
        match envelope.message {
            Message::Open(open) => {
                if !open.assignments.iter().any(|a| a.node == *peer.id()) {
                    peer.announce(&Message::hello()).unwrap();
                    continue;
                }
                let Some(lie) = lies.get(next) else { return };
                next += 1;
                let round = open.round + lie.round;
                let id = peer.id();
                let digest = commitment(round, id, &Digest::of(&lie.payload), None, lie.tokens);
                let tokens = lie.tokens;
                peer.announce(&Message::Commit {
                    round,
                    digest,
                    tokens,
                })
                .unwrap();
                promised = Some(lie);
            }
            Message::RequestReveals { round, nodes } if nodes.contains(peer.id()) => {
                let Some(lie) = promised.take().filter(|lie| !lie.silent) else {
                    continue;
                };
                let shown = if lie.breaks_promise {
                    good(9.0)
                } else {
                    lie.payload.clone()
                };
                let payload = peer.put(shown).unwrap();
                let report = RoundReport::default();
                let reveal = Message::Reveal {
                    round,
                    payload,
                    report,
                    state: None,
                };
                peer.announce(&reveal).unwrap();
            }
            Message::Stop => return,
            _ => {}
        }
    }
}

#[test]
fn a_peer_that_sends_anything_wrong_is_not_counted_and_the_round_goes_on() {
    let setting = Setting {
        scheme: SCHEME,
        ..Setting::default()
    };
    let rig = Rig::patient(setting, 1, fresh(), Duration::from_millis(300));
    let honest = rig.node("honest", 0);
    let peer = rig.hub.connect(NodeId::new("bad").unwrap()).unwrap();
    let lies = lies();
    misbehave(&peer, &lies);
    let after = rig.rounds();
    rig.wait_for(|rig| rig.rounds() >= after + 2);
    rig.control.stop();
    drop(peer);
    let board = Arc::clone(&rig.board);
    let (status, log) = rig.join();
    assert_eq!(status, RunStatus::Stopped);
    let log = log.lock().unwrap();
    let bad = NodeId::new("bad").unwrap();
    let counted = |point: &HistoryPoint| point.node_losses.iter().any(|(node, _)| *node == bad);
    assert!(!log.1.iter().any(counted));
    let account = log
        .0
        .last()
        .unwrap()
        .accounts
        .get(&bad)
        .cloned()
        .unwrap_or_default();
    assert_eq!(account.tokens, 0);
    assert!(
        account.missed > 0,
        "{:?}",
        lies.iter().map(|lie| lie.name).collect::<Vec<_>>()
    );
    let voided = |event: &&RunEvent| matches!(event, RunEvent::RoundVoided { .. });
    assert_eq!(log.2.iter().filter(voided).count(), 0, "no round was lost");
    assert_eq!(board.lock().status, RunStatus::Stopped);
    drop(honest);
}

/// Every payload that was refused has a name for what is wrong with it.
#[test]
fn what_is_wrong_with_a_payload_is_said() {
    let geometry = Geometry::new(&[[16, 16]]).unwrap();
    for lie in lies().iter().take(7) {
        let error = SCHEME.decode(&geometry, &lie.payload).unwrap_err();
        let want = match lie.name {
            "not finite" => PayloadError::NotFinite(0),
            _ => PayloadError::Format(VectorKind::SparseDelta),
        };
        assert_eq!(error, want, "{}", lie.name);
    }
    let hub = crate::transport::LocalHub::new(crate::transport::TransportLimits {
        payload_bytes: 100,
        ..Default::default()
    });
    let peer = hub.connect(NodeId::new("a").unwrap()).unwrap();
    assert_eq!(
        peer.put(vec![0; 101]).unwrap_err(),
        TransportError::TooLarge {
            size: 101,
            limit: 100
        }
    );
}
