#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::policy::{LeaseSettings, Signatures};

fn bps(value: u16) -> Bps {
    Bps::new(value).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn terms(epoch: u64) -> Terms {
    Terms {
        audience: "core".into(),
        epoch,
        mode: Mode::Enforce,
        lease: LeaseSettings {
            refresh_s: 10,
            expires_s: 30,
            grace_s: 2,
            enforce_within_s: 5,
            expiry_floor_bps: bps(500),
        },
    }
}

fn basis() -> DecisionBasis {
    DecisionBasis {
        policy_hash: "00".repeat(32),
        market: Some(Uuid::from_u128(7)),
        price_window: Some(BasisWindow {
            from: at(-5),
            to: at(0),
            price: 1.0 / 3.0,
        }),
        bound: Some(BasisBound {
            lower: 0.1,
            upper: 2.0 / 3.0,
        }),
        liquidity_micro: Some(100_000_000),
        settlement: None,
        exhibit_digests: vec!["ab".repeat(32)],
        proposal_id: None,
        seal_id: None,
        reason_code: "risk_upper_bound".into(),
        explanation: "Because.".into(),
    }
}

fn draft(id: u128, action: Action, share: u16) -> Draft {
    Draft {
        decision_id: Uuid::from_u128(id),
        target: DecisionTarget {
            kind: TargetKind::Run,
            uid: Uuid::from_u128(1),
            workload: Workload::Training,
        },
        action,
        share_bps: bps(share),
        baseline: Some(Baseline {
            resource: "inner_steps_per_s".into(),
            amount: 33,
            measured_at: at(-9),
        }),
        inference: None,
        checkpoint: CheckpointDemand::BestEffort,
        deadline_s: Some(3),
        txn_id: None,
        depends_on: vec![],
        basis: basis(),
    }
}

fn first() -> AllocationDecision {
    issue(draft(10, Action::Allow, 5_000), &terms(1), None, at(0)).unwrap()
}

fn addressee() -> Addressee {
    Addressee {
        audience: "core".into(),
        target: Uuid::from_u128(1),
    }
}

#[test]
fn decisions_follow_one_another() {
    let one = first();
    assert_eq!((one.generation, one.supersedes), (1, None));
    assert_eq!(one.max_units, Some(16));
    assert_eq!(one.enforce_by, at(3));
    let two = issue(
        draft(11, Action::Throttle, 300),
        &terms(2),
        Some(&one),
        at(4),
    )
    .unwrap();
    assert_eq!((two.epoch, two.generation), (2, 2));
    assert_eq!(two.supersedes, Some(one.decision_id));
    assert_eq!(two.on_expiry.floor_bps, bps(300), "expiry never loosens");
    let error = issue(draft(12, Action::Allow, 1), &terms(1), Some(&two), at(5)).unwrap_err();
    assert!(matches!(error, DecisionError::EpochWentBack { .. }));
    let error = issue(draft(12, Action::Pause, 1), &terms(2), Some(&two), at(5)).unwrap_err();
    assert!(error.to_string().contains("share_bps"));
}

#[test]
fn the_wire_form_is_the_contract() {
    let json = serde_json::to_value(first()).unwrap();
    assert_eq!(json["target"]["kind"], "run");
    assert_eq!(json["target"]["workload"], "training");
    assert_eq!(json["action"], "allow");
    assert_eq!(json["share_bps"], 5_000);
    assert_eq!(json["mode"], "enforce");
    assert_eq!(json["checkpoint"], "best_effort");
    assert_eq!(json["on_expiry"]["floor_bps"], 500);
    assert_eq!(json["not_before"], "2027-01-15T08:00:00Z");
    assert_eq!(json["basis"]["price_window"]["price"], 0.333_333);
    assert_eq!(json["basis"]["bound"]["upper"], 0.666_667);
    for field in [
        "decision_id",
        "audience",
        "epoch",
        "generation",
        "supersedes",
        "baseline",
        "max_units",
        "grace_s",
        "enforce_by",
        "refresh_after",
        "expires_at",
        "txn_id",
        "depends_on",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    let text = serde_json::to_string(&first()).unwrap();
    let again: AllocationDecision = serde_json::from_str(&text).unwrap();
    assert_eq!(again, first());
}

#[test]
fn signed_and_opened() {
    let signer = DecisionSigner::from_seed(&[4; 32]);
    let keys = [signer.public_key(at(-100), None)];
    let envelope = first().sign(&[&signer]).unwrap();
    let opened = AllocationDecision::open(&envelope, &keys, 1, at(0)).unwrap();
    assert_eq!(opened, first());
    assert!(AllocationDecision::open(&envelope, &keys, 2, at(0)).is_err());
    assert!(AllocationDecision::open(&envelope, &[], 1, at(0)).is_err());
}

#[test]
fn contradictions_are_named() {
    type Breakage = fn(&mut AllocationDecision);
    let cases: Vec<(&str, Breakage)> = vec![
        ("audience", |d| d.audience.clear()),
        ("generation", |d| d.generation = 0),
        ("supersedes", |d| d.supersedes = Some(d.decision_id)),
        ("share_bps", |d| d.action = Action::Terminate),
        ("refresh_after", |d| d.refresh_after = d.not_before),
        ("expires_at", |d| d.expires_at = d.refresh_after),
        ("enforce_by", |d| d.enforce_by = at(-1)),
        ("on_expiry", |d| d.on_expiry.floor_bps = bps(6_000)),
        ("max_units", |d| d.max_units = Some(17)),
        ("inference", |d| {
            d.inference = Some(InferenceLimits {
                max_replicas: 1,
                rps: 1,
                tpm: 1,
                concurrency: 1,
                admit_new: true,
            });
        }),
        ("basis", |d| {
            d.basis.settlement = Some(f64::NAN);
        }),
        ("basis.reason_code", |d| d.basis.reason_code.clear()),
    ];
    for (name, change) in cases {
        let mut decision = first();
        change(&mut decision);
        match decision.validate() {
            Err(DecisionError::Field { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
        assert!(accept(&addressee(), None, &decision, at(0)).is_err());
    }
}

#[test]
fn consumers_take_newer_decisions_only() {
    let one = first();
    let two = issue(
        draft(11, Action::Allow, 4_000),
        &terms(1),
        Some(&one),
        at(1),
    )
    .unwrap();
    let who = addressee();
    let check = |previous: Option<&AllocationDecision>, incoming: &AllocationDecision, second| {
        accept(&who, previous, incoming, at(second)).map_err(|reason| reason.code())
    };
    assert_eq!(check(None, &one, 0), Ok(Accepted::Newer));
    assert_eq!(check(Some(&one), &two, 1), Ok(Accepted::Newer));
    assert_eq!(check(Some(&one), &one, 1), Ok(Accepted::Repeated));
    assert_eq!(check(Some(&two), &one, 1), Err("stale_generation"));
    assert_eq!(check(None, &one, 30), Err("expired"));
    let fork = issue(
        draft(99, Action::Allow, 9_000),
        &terms(1),
        Some(&one),
        at(1),
    )
    .unwrap();
    assert_eq!(check(Some(&two), &fork, 1), Err("conflict"));
    let mut altered = one.clone();
    altered.basis.explanation.push('!');
    assert_eq!(check(Some(&one), &altered, 1), Err("conflict"));
    // After a restore the epoch is higher; the old side is fenced off.
    let restored = issue(draft(12, Action::Allow, 4_000), &terms(2), None, at(2)).unwrap();
    assert_eq!(check(Some(&two), &restored, 2), Ok(Accepted::Newer));
    assert_eq!(check(Some(&restored), &two, 2), Err("stale_epoch"));
    let stop = issue(
        draft(13, Action::Terminate, 0),
        &terms(2),
        Some(&restored),
        at(3),
    )
    .unwrap();
    let revive = issue(draft(14, Action::Allow, 1), &terms(3), Some(&stop), at(4)).unwrap();
    assert_eq!(check(Some(&stop), &revive, 4), Err("terminated"));
    let mut other = one.clone();
    other.audience = "elsewhere".into();
    assert_eq!(check(None, &other, 0), Err("wrong_audience"));
    other = one;
    other.target.uid = Uuid::from_u128(2);
    assert_eq!(check(None, &other, 0), Err("wrong_target"));
}

#[test]
fn a_lease_lapses_in_stages() {
    let decision = first();
    let cases = [
        (-1, LeasePhase::Pending, 5_000, false, false),
        (0, LeasePhase::Live, 5_000, true, true),
        (9, LeasePhase::Live, 5_000, true, true),
        (10, LeasePhase::Overdue, 5_000, false, true),
        (29, LeasePhase::Overdue, 5_000, false, true),
        (30, LeasePhase::Expired, 500, false, true),
        (99_999, LeasePhase::Expired, 500, false, true),
    ];
    for (second, phase, share, admit_new, binding) in cases {
        let effective = decision.effective(at(second));
        assert_eq!(effective.phase, phase);
        assert_eq!(effective.share_bps, bps(share));
        assert_eq!(effective.admit_new, admit_new, "{second}");
        assert_eq!(effective.binding, binding);
    }
    let expired = decision.effective(at(30));
    assert_eq!(expired.action, Action::Throttle);
    assert_eq!(expired.max_units, Some(1));
    assert!(expired.checkpoint_first);
    let pause = issue(
        draft(11, Action::Pause, 0),
        &terms(1),
        Some(&decision),
        at(0),
    )
    .unwrap();
    let lapsed = pause.effective(at(30));
    assert_eq!(
        (lapsed.action, lapsed.share_bps),
        (Action::Pause, Bps::ZERO)
    );
    let mut shadow = decision;
    shadow.mode = Mode::Shadow;
    assert!(!shadow.effective(at(1)).binding);
}

#[test]
fn renewal_is_due_on_change_and_before_half_time() {
    let mut one = first();
    one.target.uid = Uuid::from_u128(u128::MAX);
    let terms = terms(1);
    let due = |action, share, second| is_due(Some(&one), action, bps(share), &terms, at(second));
    assert!(is_due(None, Action::Allow, bps(1), &terms, at(0)));
    assert!(!due(Action::Allow, 5_000, 4));
    assert!(due(Action::Allow, 5_000, 5));
    assert!(due(Action::Allow, 4_999, 1));
    assert!(due(Action::Throttle, 5_000, 1));
}

#[test]
fn renewals_of_many_targets_are_spread_over_time() {
    let (mut one, terms) = (first(), terms(1));
    let mut in_tenths = [0; 10];
    for target in 0..1_000_u128 {
        // Spread over all drawn places.
        one.target.uid = Uuid::from_u128(target * 65_535 / 999);
        // Refreshed after ten seconds, so due between 3.75 and 5 seconds.
        let due = |ms| {
            let now = at(0) + SignedDuration::from_millis(ms);
            is_due(Some(&one), Action::Allow, bps(5_000), &terms, now)
        };
        assert!(!due(3_749) && due(5_000), "{target}");
        let first = (0..10).find(|part| due(3_750 + (part + 1) * 125));
        in_tenths[first.unwrap() as usize] += 1;
    }
    assert!(in_tenths.iter().all(|count| (80..=120).contains(count)));
}

#[test]
fn loosening_and_terminating_need_more_signatures() {
    let signatures = Signatures {
        tighten: 1,
        loosen: 2,
    };
    let one = first();
    let next =
        |action, share| issue(draft(11, action, share), &terms(1), Some(&one), at(1)).unwrap();
    let needed =
        |decision: &AllocationDecision| required_signatures(Some(&one), decision, &signatures);
    assert_eq!(required_signatures(None, &one, &signatures), 2);
    assert_eq!(needed(&next(Action::Allow, 5_000)), 1, "renewal");
    assert_eq!(needed(&next(Action::Throttle, 4_000)), 1);
    assert_eq!(needed(&next(Action::Pause, 0)), 1);
    assert_eq!(needed(&next(Action::Allow, 5_001)), 2);
    assert_eq!(needed(&next(Action::Terminate, 0)), 2);
    let mut shadow = next(Action::Allow, 5_000);
    shadow.mode = Mode::Shadow;
    assert_eq!(needed(&shadow), 2);
    for (binding, expected) in [
        (next(Action::Throttle, 100), 2),
        (next(Action::Pause, 0), 1),
    ] {
        let after = required_signatures(Some(&shadow), &binding, &signatures);
        assert_eq!(after, expected);
    }
    let pause = next(Action::Pause, 0);
    let drain = issue(draft(12, Action::Drain, 0), &terms(1), Some(&pause), at(2)).unwrap();
    assert_eq!(required_signatures(Some(&pause), &drain, &signatures), 2);
}

proptest! {
    #[test]
    fn any_order_of_arrival_ends_at_the_newest(order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle()) {
        let mut chain = vec![first()];
        for id in 1..8u16 {
            let epoch = terms(1 + u64::from(id) / 3);
            let next = draft(10 + u128::from(id), Action::Allow, 1_000 * id);
            chain.push(issue(next, &epoch, chain.last(), at(1)).unwrap());
        }
        let mut held: Option<AllocationDecision> = None;
        for index in order {
            let incoming = &chain[index];
            if let Ok(Accepted::Newer) = accept(&addressee(), held.as_ref(), incoming, at(2)) {
                prop_assert!(held.as_ref().is_none_or(|h| h.generation < incoming.generation));
                held = Some(incoming.clone());
            }
        }
        prop_assert_eq!(held.as_ref(), chain.last());
    }

    #[test]
    fn time_alone_never_loosens(share in 0u16..=10_000, early in -50i64..200, more in 0i64..200) {
        let decision = issue(draft(10, Action::Allow, share), &terms(1), None, at(0)).unwrap();
        let before = decision.effective(at(early));
        let after = decision.effective(at(early + more));
        prop_assert!(after.share_bps <= before.share_bps);
        prop_assert!(before.phase == LeasePhase::Pending || before.admit_new || !after.admit_new);
    }
}
