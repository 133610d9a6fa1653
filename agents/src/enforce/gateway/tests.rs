#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plumbline_governance::decision::{AllocationDecision, InferenceLimits};
use plumbline_governance::dsse::Envelope;
use plumbline_governance::{Action, Bps};
use tokio::sync::watch;

use super::super::TrustedKeys;
use super::super::fixtures::{Contact, at, decision, key, signer};
use super::*;

const RUN: Uuid = Uuid::from_u128(1);

fn limits(rps: u32, tpm: u64, concurrency: u32) -> InferenceLimits {
    InferenceLimits {
        max_replicas: 1,
        rps,
        tpm,
        concurrency,
        admit_new: true,
    }
}

/// A signed decision on the inference of target 1; it falls to 500 bps.
fn on_inference(
    id: u128,
    action: Action,
    share: u16,
    limits: InferenceLimits,
    previous: Option<&AllocationDecision>,
    second: i64,
) -> (Envelope, AllocationDecision) {
    let (_, mut decision) = decision(id, action, share, previous, at(second));
    decision.target.workload = Workload::Inference;
    decision.inference = Some(limits);
    decision.validate().unwrap();
    (decision.sign(&[&signer()]).unwrap(), decision)
}

fn order(share: u16, limits: InferenceLimits) -> Order {
    let (_, decision) = on_inference(1, Action::Throttle, share, limits, None, 0);
    Order {
        target: decision.target,
        target_name: String::new(),
        decision_id: decision.decision_id,
        generation: 1,
        action: Action::Throttle,
        share_bps: decision.share_bps,
        max_units: None,
        admit_new: true,
        inference: decision.inference,
        checkpoint_first: false,
        grace_s: 0,
        expired: false,
    }
}

#[test]
fn requests_tokens_and_concurrency_are_held_to() {
    let (gateway, now) = (Gateway::default(), Instant::now());
    assert!(
        gateway.admit(RUN, 1, now).unwrap().is_none(),
        "no order yet"
    );
    gateway.take(&order(5_000, limits(2, 600, 3)), now);
    let first = gateway.admit(RUN, 100, now).unwrap().unwrap();
    let second = gateway.admit(RUN, 100, now).unwrap().unwrap();
    let third = gateway.admit(RUN, 100, now).unwrap_err();
    assert_eq!((third.stopped, third.retry_after_s), (false, 1), "rps");
    assert_eq!(third.decision_id, Uuid::from_u128(1));

    let later = now + Duration::from_secs(1);
    let third = gateway.admit(RUN, 100, later).unwrap().unwrap();
    let crowded = gateway.admit(RUN, 1, later + Duration::from_secs(5));
    assert_eq!(crowded.unwrap_err().retry_after_s, 1, "concurrency");

    // 300 taken ahead, 30 used: the rest comes back, and ten a second are added.
    first.used(30);
    drop((first, second, third));
    let soon = later + Duration::from_secs(1);
    let thirsty = gateway.admit(RUN, 600, soon).unwrap_err();
    assert_eq!((thirsty.stopped, thirsty.retry_after_s), (false, 1));
    // More than a minute's worth may be asked for once the minute is whole.
    let rested = soon + Duration::from_secs(10);
    let _long = gateway.admit(RUN, 10_000, rested).unwrap().unwrap();
    let refused = gateway.admit(RUN, 1, rested + Duration::from_secs(2));
    assert_eq!(refused.unwrap_err().retry_after_s, LONGEST_RETRY_S);
}

#[test]
fn a_lower_limit_holds_for_the_next_request() {
    let (gateway, now) = (Gateway::default(), Instant::now());
    gateway.take(&order(5_000, limits(100, 6_000, 10)), now);
    let open = gateway.admit(RUN, 6_000, now).unwrap().unwrap();
    gateway.take(&order(500, limits(10, 600, 1)), now);
    assert!(gateway.admit(RUN, 1, now).is_err());
    drop(open);
    assert!(gateway.admit(RUN, 1, now).unwrap().is_some());
    let mut paused = order(0, limits(1, 1, 1).at(Bps::ZERO, Bps::FULL));
    paused.action = Action::Pause;
    gateway.take(&paused, now);
    assert!(gateway.admit(RUN, 1, now).unwrap_err().stopped);
}

/// What a gateway admits once a consumer without contact has come to `second`.
async fn admitted(contact: &Contact, second: i64) -> (u32, u64) {
    contact.set_time(second);
    let gateway = Gateway::default();
    let mut consumer = contact.consumer(TrustedKeys::Pinned(vec![key()]), gateway.clone());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(async move { consumer.run(stopped).await });
    let in_force = || {
        gateway
            .lock()
            .get(&RUN)
            .and_then(|held| held.order.inference)
    };
    for _ in 0..500 {
        if in_force().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    running.await.unwrap().unwrap();
    let limits = in_force().unwrap();
    (limits.rps, limits.tpm)
}

#[tokio::test]
async fn without_contact_inference_falls_to_its_floor_and_a_stop_stays() {
    let contact = Contact::new().await;
    let (envelope, first) =
        on_inference(1, Action::Throttle, 5_000, limits(100, 6_000, 8), None, 0);
    contact.publish(1, &envelope);
    assert_eq!(admitted(&contact, 1).await, (100, 6_000));
    contact.lose();
    assert_eq!(
        admitted(&contact, 15).await,
        (100, 6_000),
        "overdue: the cap"
    );
    assert_eq!(
        admitted(&contact, 31).await,
        (10, 600),
        "expired: the floor, not zero"
    );
    let (newer, second) = on_inference(
        2,
        Action::Throttle,
        2_500,
        limits(50, 3_000, 4),
        Some(&first),
        40,
    );
    contact.publish(2, &newer);
    assert_eq!(admitted(&contact, 41).await, (50, 3_000));
    contact.publish(3, &envelope);
    assert_eq!(
        admitted(&contact, 42).await,
        (50, 3_000),
        "an older one changes nothing"
    );
    let none = limits(1, 1, 1).at(Bps::ZERO, Bps::FULL);
    let (paused, _) = on_inference(3, Action::Pause, 0, none, Some(&second), 50);
    contact.publish(4, &paused);
    assert_eq!(admitted(&contact, 51).await, (0, 0));
    contact.lose();
    assert_eq!(
        admitted(&contact, 500).await,
        (0, 0),
        "a stop never lifts itself"
    );
}
