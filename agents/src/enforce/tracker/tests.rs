#![allow(clippy::unwrap_used)]
use super::super::fixtures::{at, bps, decision};
use super::*;
use plumbline_governance::Action;

fn tracker_with(share: u16) -> (Tracker, AllocationDecision) {
    let mut tracker = Tracker::new("host", "core");
    let (envelope, first) = decision(1, Action::Allow, share, None, at(0));
    assert!(tracker.offer(envelope, first.clone(), "run", at(0)));
    (tracker, first)
}

/// Carries out everything due, as an enforcer that does exactly as told.
fn obey(tracker: &mut Tracker, now: Timestamp) -> Vec<Step> {
    let steps = tracker.due(now, false);
    for step in &steps {
        match step {
            Step::Apply(order) => {
                tracker.applying(order);
                tracker.applied(
                    order,
                    &Ok(Applied {
                        actual_bps: order.share_bps,
                        method: "test".into(),
                    }),
                );
            }
            Step::Admission(order) => tracker.admitted(order),
        }
    }
    steps
}

fn phases(tracker: &mut Tracker) -> Vec<String> {
    let mut phases = Vec::new();
    while let Some(ack) = tracker.owed().cloned() {
        phases.push(ack.phase);
        tracker.settled();
    }
    phases
}

#[test]
fn the_lease_without_contact() {
    let (mut tracker, _) = tracker_with(4_000);
    // second, (admits, share, expired) of the one step due, or nothing to do
    let table = [
        (0, Some((true, 4_000, false))),
        (5, None),
        (9, None),
        (10, Some((false, 4_000, false))),
        (29, None),
        (30, Some((false, 500, true))),
        (31, None),
        (1_000_000, None),
    ];
    for (second, expected) in table {
        let steps = obey(&mut tracker, at(second));
        let seen: Vec<_> = steps
            .iter()
            .map(|step| {
                let (Step::Apply(order) | Step::Admission(order)) = step;
                (order.admit_new, order.share_bps.get(), order.expired)
            })
            .collect();
        assert_eq!(
            seen,
            expected.into_iter().collect::<Vec<_>>(),
            "second {second}"
        );
    }
    assert_eq!(
        phases(&mut tracker),
        ["received", "accepted", "applying", "enforced", "released"]
    );
    let (tracker, _) = tracker_with(4_000);
    assert_eq!(tracker.next_change(at(0)), Some(at(10)));
    assert_eq!(tracker.next_change(at(10)), Some(at(30)));
    assert_eq!(tracker.next_change(at(30)), None);
}

#[test]
fn the_overdue_step_only_closes_the_door() {
    let (mut tracker, _) = tracker_with(4_000);
    obey(&mut tracker, at(0));
    assert!(matches!(
        tracker.due(at(10), false)[..],
        [Step::Admission(_)]
    ));
    assert!(
        matches!(tracker.due(at(10), true)[..], [Step::Apply(_)]),
        "a reconcile applies in full"
    );
    assert!(matches!(tracker.due(at(30), false)[..], [Step::Apply(_)]));
}

#[test]
fn older_repeated_and_foreign_decisions_change_nothing() {
    let (mut tracker, first) = tracker_with(4_000);
    let (envelope, second) = decision(2, Action::Throttle, 1_000, Some(&first), at(5));
    assert!(tracker.offer(envelope.clone(), second.clone(), "run", at(5)));
    obey(&mut tracker, at(5));
    phases(&mut tracker);
    assert!(
        !tracker.offer(envelope, second.clone(), "run", at(6)),
        "the same again"
    );
    assert_eq!(phases(&mut tracker), [""; 0]);
    let stale = first.sign(&[]).unwrap();
    for _ in 0..3 {
        assert!(!tracker.offer(stale.clone(), first.clone(), "run", at(6)));
    }
    assert_eq!(
        phases(&mut tracker),
        ["received", "rejected"],
        "refused once"
    );
    let foreign = AllocationDecision {
        audience: "elsewhere".into(),
        generation: 9,
        ..second.clone()
    };
    assert!(!tracker.offer(stale, foreign, "run", at(6)));
    assert_eq!(phases(&mut tracker), [""; 0], "not ours to refuse");
    assert_eq!(tracker.current(&key_of(&second.target)), Some(&second));
}

#[test]
fn a_refusal_says_why() {
    let (mut tracker, first) = tracker_with(4_000);
    phases(&mut tracker);
    let (envelope, late) = decision(3, Action::Allow, 9_000, Some(&first), at(-100));
    assert!(!tracker.offer(envelope, late, "run", at(1)));
    tracker.settled();
    let ack = tracker.owed().unwrap();
    assert_eq!(
        (ack.phase.as_str(), ack.observed_generation),
        ("rejected", 2)
    );
    assert!(
        ack.detail.as_ref().unwrap().starts_with("expired: "),
        "{ack:?}"
    );
}

#[test]
fn what_did_not_end_well_is_tried_again_and_said() {
    let (mut tracker, _) = tracker_with(4_000);
    let Step::Apply(order) = tracker.due(at(0), false).remove(0) else {
        panic!("an order")
    };
    tracker.applying(&order);
    tracker.applied(
        &order,
        &Ok(Applied {
            actual_bps: bps(6_000),
            method: "test".into(),
        }),
    );
    assert!(tracker.has_unfinished());
    assert_eq!(obey(&mut tracker, at(1)).len(), 1);
    assert!(!tracker.has_unfinished());
    assert_eq!(
        phases(&mut tracker),
        [
            "received", "accepted", "applying", "partial", "enforced", "released"
        ]
    );

    let (mut tracker, _) = tracker_with(4_000);
    tracker.applying(&order);
    tracker.applied(&order, &Err(EnforceError("no such job".into())));
    assert_eq!(obey(&mut tracker, at(1)).len(), 1);
    assert_eq!(
        phases(&mut tracker),
        ["received", "accepted", "applying", "failed", "released"]
    );
}

#[test]
fn a_restart_keeps_generation_cap_and_debts() {
    let (mut tracker, first) = tracker_with(4_000);
    let (envelope, second) = decision(2, Action::Throttle, 1_000, Some(&first), at(5));
    tracker.offer(envelope, second.clone(), "run", at(5));
    obey(&mut tracker, at(5));
    let kept = tracker.snapshot();

    let mut again = Tracker::new("host", "core");
    again.restore(kept[0].clone(), second.clone());
    assert!(
        !again.offer(first.sign(&[]).unwrap(), first, "run", at(6)),
        "older than what was kept"
    );
    let steps = obey(&mut again, at(6));
    assert!(matches!(&steps[..], [Step::Apply(order)] if order.share_bps == bps(1_000)));
    let said = phases(&mut again);
    assert_eq!(
        said[..5],
        ["received", "accepted", "applying", "enforced", "released"],
        "said again, word for word"
    );
    assert_eq!(said[5..], ["received", "rejected"]);

    let mut late = Tracker::new("host", "core");
    late.restore(kept[0].clone(), second);
    let steps = obey(&mut late, at(1_000));
    assert!(
        matches!(&steps[..], [Step::Apply(order)] if order.expired && order.share_bps == bps(500))
    );
}

#[test]
fn a_shadow_decision_is_taken_but_not_applied() {
    let mut tracker = Tracker::new("host", "core");
    let (envelope, mut shadow) = decision(1, Action::Throttle, 100, None, at(0));
    shadow.mode = Mode::Shadow;
    shadow.on_expiry.floor_bps = bps(0);
    assert!(tracker.offer(envelope, shadow, "run", at(0)));
    assert!(tracker.due(at(0), true).is_empty() && !tracker.has_unfinished());
    assert_eq!(phases(&mut tracker), ["received", "accepted"]);
}
