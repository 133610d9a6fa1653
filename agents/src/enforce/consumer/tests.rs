#![allow(clippy::unwrap_used)]
use super::super::fixtures::{Contact, at, bps, decision, key, signer};
use super::super::{Applied, EnforceError, Order};
use super::*;
use plumbline_governance::Action;
use plumbline_governance::dsse::DecisionSigner;
use plumbline_governance::keys::KeyStatement;
use std::sync::{Arc, Mutex};

/// Does as told and writes it down.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(u16, bool, bool)>>>);

impl Enforcer for Recorder {
    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        self.0
            .lock()
            .unwrap()
            .push((order.share_bps.get(), order.admit_new, order.expired));
        Ok(Applied {
            actual_bps: order.share_bps,
            method: "recorded".to_owned(),
        })
    }

    async fn admission(&mut self, _order: &Order) {}
}

impl Recorder {
    fn shares(&self) -> Vec<u16> {
        let mut shares: Vec<u16> = self
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|(share, ..)| *share)
            .collect();
        shares.dedup();
        shares
    }
}

struct Bench {
    contact: Contact,
    recorder: Recorder,
}

impl Bench {
    async fn new() -> Self {
        Self {
            contact: Contact::new().await,
            recorder: Recorder::default(),
        }
    }

    fn consumer(&self, keys: TrustedKeys) -> Consumer<Recorder> {
        self.contact.consumer(keys, self.recorder.clone())
    }

    /// Runs a consumer until `done` holds, at most five seconds.
    async fn run(&self, keys: TrustedKeys, done: impl Fn(&Self) -> bool) {
        let (stop, stopped) = watch::channel(false);
        let mut consumer = self.consumer(keys);
        let running = tokio::spawn(async move { consumer.run(stopped).await });
        for _ in 0..500 {
            if done(self) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(done(self), "{:?} {:?}", self.recorder, self.contact.acks());
        stop.send(true).unwrap();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_decision_is_verified_applied_acknowledged_and_kept() {
    let bench = Bench::new().await;
    let (envelope, first) = decision(1, Action::Allow, 6_000, None, at(0));
    bench.contact.publish(1, &envelope);
    bench
        .run(TrustedKeys::FirstSeen, |bench| {
            bench.contact.acks().len() >= 5
        })
        .await;
    let phases = ["received", "accepted", "applying", "enforced", "released"];
    assert_eq!(
        bench.contact.acks(),
        phases.map(|phase| (phase.to_owned(), 1))
    );
    assert_eq!(bench.recorder.shares(), [6_000]);

    // After a restart without contact the cap is held again at once, then the floor.
    bench.contact.lose();
    bench.contact.set_time(12);
    bench
        .run(TrustedKeys::FirstSeen, |bench| {
            bench.recorder.0.lock().unwrap().len() >= 2
        })
        .await;
    assert_eq!(bench.recorder.0.lock().unwrap()[1], (6_000, false, false));
    bench.contact.set_time(40);
    bench
        .run(TrustedKeys::FirstSeen, |bench| {
            bench.recorder.shares().ends_with(&[500])
        })
        .await;

    // A newer decision takes over; the older one, offered again, does not.
    let (next, _) = decision(2, Action::Throttle, 2_500, Some(&first), at(41));
    bench.contact.publish(2, &next);
    bench.contact.set_time(41);
    bench
        .run(TrustedKeys::FirstSeen, |bench| {
            bench.recorder.shares().ends_with(&[2_500])
        })
        .await;
    bench.contact.publish(3, &envelope);
    let refused = |bench: &Bench| bench.contact.acks().contains(&("rejected".to_owned(), 1));
    bench.run(TrustedKeys::FirstSeen, refused).await;
    assert_eq!(bench.recorder.shares().last(), Some(&2_500));
}

#[tokio::test]
async fn a_forged_decision_is_neither_applied_nor_acknowledged() {
    let bench = Bench::new().await;
    let (_, genuine) = decision(1, Action::Allow, 9_000, None, at(0));
    let forged = genuine
        .sign(&[&DecisionSigner::from_seed(&[9; 32])])
        .unwrap();
    bench.contact.publish(1, &forged);
    let listed = |bench: &Bench| {
        bench
            .contact
            .server
            .seen()
            .iter()
            .filter(|seen| seen.path.contains("since=1"))
            .count()
            >= 2
    };
    bench.run(TrustedKeys::Pinned(vec![key()]), listed).await;
    assert!(bench.recorder.shares().is_empty() && bench.contact.acks().is_empty());
}

#[tokio::test]
async fn loosening_may_need_more_signatures_than_tightening() {
    let bench = Bench::new().await;
    let mut consumer = bench.consumer(TrustedKeys::Pinned(vec![key()]));
    consumer.config.signatures = Signatures {
        tighten: 1,
        loosen: 2,
    };
    let (envelope, _) = decision(1, Action::Allow, 9_000, None, at(0));
    let item = Decision {
        version: 1,
        envelope: serde_json::to_value(&envelope).unwrap(),
        target_name: String::new(),
    };
    let error = consumer.open(&item, at(0)).unwrap_err();
    assert_eq!(
        error,
        DsseError::TooFewSignatures {
            valid: 1,
            threshold: 2
        }
    );
    assert!(bps(1) > bps(0));
}

/// A key as the service publishes it: from a seed, with its end and who vouches for it.
fn published(seed: u8, until: Option<i64>, by: &[&DecisionSigner]) -> serde_json::Value {
    let record = DecisionSigner::from_seed(&[seed; 32]).public_key(at(-10), until.map(at));
    let statement = KeyStatement::of("core", &record.public_key, at(-10));
    let mut value = serde_json::to_value(record).unwrap();
    if !by.is_empty() {
        value["statement"] = serde_json::to_value(statement.sign(by).unwrap()).unwrap();
    }
    value
}

#[tokio::test]
async fn a_key_that_the_old_one_vouches_for_takes_over_and_the_old_one_is_refused() {
    let bench = Bench::new().await;
    let (envelope, first) = decision(1, Action::Throttle, 2_000, None, at(0));
    bench.contact.publish(1, &envelope);
    let pinned = || TrustedKeys::Pinned(vec![key()]);
    bench
        .run(pinned(), |bench| bench.contact.acks().len() >= 5)
        .await;

    // The next decision is signed with a key that nobody has seen.
    let new = DecisionSigner::from_seed(&[8; 32]);
    let (_, second) = decision(2, Action::Throttle, 1_500, Some(&first), at(1));
    bench.contact.set_time(1);
    bench.contact.publish(2, &second.sign(&[&new]).unwrap());
    *bench.contact.keys.lock().unwrap() =
        serde_json::json!([published(7, None, &[]), published(8, None, &[&signer()])]);
    bench
        .run(pinned(), |bench| {
            bench.recorder.shares().ends_with(&[1_500])
        })
        .await;

    // The old one is over, and whoever stole it signs a looser decision of a later epoch.
    *bench.contact.keys.lock().unwrap() =
        serde_json::json!([published(7, Some(1), &[]), published(8, None, &[&signer()])]);
    let (_, mut stolen) = decision(3, Action::Allow, 9_000, Some(&second), at(2));
    stolen.epoch = 7;
    bench.contact.set_time(2);
    bench
        .contact
        .publish(3, &stolen.sign(&[&signer()]).unwrap());
    bench
        .run(pinned(), |bench| {
            bench.contact.acks().contains(&("rejected".to_owned(), 3))
        })
        .await;
    assert_eq!(bench.recorder.shares().last(), Some(&1_500));

    // Another state, another pin: what the old keys vouched for is not believed on its own.
    let held = bench.contact.folder.path().join("state.json");
    let text = std::fs::read_to_string(&held).unwrap();
    assert!(text.contains("pinned"));
    let state = Consumer::with_clock(
        Client::new(&bench.contact.server.url, None).unwrap(),
        ConsumerConfig::new(
            "host",
            "core",
            TrustedKeys::Pinned(vec![
                DecisionSigner::from_seed(&[9; 32]).public_key(at(-10), None),
            ]),
            held,
        ),
        bench.recorder.clone(),
        Box::new(|| at(3)),
    );
    assert!(matches!(state, Err(ConsumerError::StateFile { .. })));
}

#[tokio::test]
async fn an_older_generation_of_an_older_epoch_does_not_come_back_after_a_restore() {
    let bench = Bench::new().await;
    let (old, first) = decision(1, Action::Allow, 8_000, None, at(0));
    let (_, mut second) = decision(2, Action::Throttle, 2_000, Some(&first), at(1));
    second.epoch = 2;
    bench.contact.set_time(2);
    bench
        .contact
        .publish(1, &second.sign(&[&signer()]).unwrap());
    let pinned = || TrustedKeys::Pinned(vec![key()]);
    bench
        .run(pinned(), |bench| bench.contact.acks().len() >= 5)
        .await;
    // The service was restored from a backup of before: the same generation and an older one.
    let (_, mut third) = decision(3, Action::Allow, 9_000, Some(&first), at(2));
    third.generation = 9;
    for (version, envelope) in [(2, old), (3, third.sign(&[&signer()]).unwrap())] {
        let before = bench.contact.acks().len();
        bench.contact.publish(version, &envelope);
        bench
            .run(pinned(), |bench| {
                bench.contact.acks()[before..]
                    .iter()
                    .any(|(phase, _)| phase == "rejected")
            })
            .await;
        assert_eq!(bench.recorder.shares().last(), Some(&2_000));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = |scheduler: &str, keys| {
        ConsumerConfig::new(scheduler, "core", keys, folder.path().join("s.json"))
    };
    let make = |config| {
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        Consumer::new(client, config, Recorder::default())
    };
    let first_seen = || config("host", TrustedKeys::FirstSeen);
    assert!(make(first_seen()).is_ok());
    assert!(matches!(
        make(config("", TrustedKeys::FirstSeen)),
        Err(ConsumerError::Settings(_))
    ));
    assert!(matches!(
        make(config("host", TrustedKeys::Pinned(vec![]))),
        Err(ConsumerError::Keys(_))
    ));
    let slow = ConsumerConfig {
        reconcile: Duration::from_secs(61),
        ..first_seen()
    };
    assert!(matches!(make(slow), Err(ConsumerError::Settings(_))));
    std::fs::write(folder.path().join("s.json"), "{").unwrap();
    assert!(matches!(
        make(first_seen()),
        Err(ConsumerError::StateFile { .. })
    ));
}
