//! Signed decisions and a service that publishes them, for tests.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use plumbline_governance::decision::{
    AllocationDecision, DecisionBasis, DecisionTarget, Draft, TargetKind, Terms, issue,
};
use plumbline_governance::dsse::{DecisionSigner, Envelope, PublicKeyRecord};
use plumbline_governance::policy::LeaseSettings;
use plumbline_governance::{Action, Bps, Mode, Workload};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Consumer, ConsumerConfig, Enforcer, TrustedKeys};
use crate::client::Client;
use crate::testing::{Received, Reply, Server};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn bps(value: u16) -> Bps {
    Bps::new(value).unwrap()
}

pub(super) fn signer() -> DecisionSigner {
    DecisionSigner::from_seed(&[7; 32])
}

pub(super) fn key() -> PublicKeyRecord {
    signer().public_key(at(-1_000_000), None)
}

/// A signed decision of target 1 that refreshes after 10 s, expires after 30 s to 500 bps.
pub(super) fn decision(
    id: u128,
    action: Action,
    share: u16,
    previous: Option<&AllocationDecision>,
    now: Timestamp,
) -> (Envelope, AllocationDecision) {
    let draft = Draft {
        decision_id: Uuid::from_u128(id),
        target: DecisionTarget {
            kind: TargetKind::Run,
            uid: Uuid::from_u128(1),
            workload: Workload::Training,
        },
        action,
        share_bps: bps(share),
        baseline: None,
        inference: None,
        checkpoint: Default::default(),
        deadline_s: None,
        txn_id: None,
        depends_on: Vec::new(),
        basis: DecisionBasis {
            policy_hash: "00".repeat(32),
            market: None,
            price_window: None,
            bound: None,
            liquidity_micro: None,
            settlement: None,
            exhibit_digests: Vec::new(),
            proposal_id: None,
            seal_id: None,
            reason_code: "test".into(),
            explanation: "Because.".into(),
        },
    };
    let terms = Terms {
        audience: "core".into(),
        epoch: 1,
        mode: Mode::Enforce,
        lease: LeaseSettings {
            refresh_s: 10,
            expires_s: 30,
            grace_s: 2,
            enforce_within_s: 5,
            expiry_floor_bps: bps(500),
        },
    };
    let decision = issue(draft, &terms, previous, now).unwrap();
    (decision.sign(&[&signer()]).unwrap(), decision)
}

/// What a service publishes; `None` makes it unreachable.
type Published = Arc<Mutex<Option<(i64, Value)>>>;
/// The keys that it publishes.
type Keys = Arc<Mutex<Value>>;

/// A service that publishes one decision, and the time that its consumers see.
pub(super) struct Contact {
    published: Published,
    /// What `GET /keys` answers.
    pub(super) keys: Keys,
    pub(super) server: Server,
    second: Arc<AtomicI64>,
    pub(super) folder: tempfile::TempDir,
}

impl Contact {
    pub(super) async fn new() -> Self {
        let published = Published::default();
        let keys: Keys = Arc::new(Mutex::new(json!([serde_json::to_value(key()).unwrap()])));
        let (shown, offered) = (published.clone(), keys.clone());
        Self {
            server: Server::start(move |request| answer(request, &shown, &offered)).await,
            keys,
            published,
            second: Arc::new(AtomicI64::new(0)),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn publish(&self, version: i64, envelope: &Envelope) {
        *self.published.lock().unwrap() = Some((version, serde_json::to_value(envelope).unwrap()));
    }

    /// Every request is hung up on from now on.
    pub(super) fn lose(&self) {
        *self.published.lock().unwrap() = None;
    }

    pub(super) fn set_time(&self, second: i64) {
        self.second.store(second, Ordering::SeqCst);
    }

    pub(super) fn consumer<E: Enforcer>(&self, keys: TrustedKeys, enforcer: E) -> Consumer<E> {
        let client = Client::new(&self.server.url, Some("plb_x".to_owned())).unwrap();
        let state = self.folder.path().join("state.json");
        let config = ConsumerConfig::new("host", "core", keys, state);
        let second = self.second.clone();
        let clock = Box::new(move || at(second.load(Ordering::SeqCst)));
        Consumer::with_clock(client, config, enforcer, clock).unwrap()
    }

    /// Phases and generations that were acknowledged, oldest first.
    pub(super) fn acks(&self) -> Vec<(String, i64)> {
        let seen = self.server.seen().into_iter();
        let posts = seen.filter(|request| request.path == "/api/v1/acks");
        let bodies = posts.map(|request| serde_json::from_str::<Value>(&request.body).unwrap());
        let phase = |body: Value| {
            let generation = body["observed_generation"].as_i64().unwrap();
            (body["phase"].as_str().unwrap().to_owned(), generation)
        };
        bodies.map(phase).collect()
    }
}

fn answer(request: &Received, published: &Published, keys: &Keys) -> Reply {
    let Some((version, envelope)) = published.lock().unwrap().clone() else {
        return Reply::hang_up();
    };
    if request.path == "/api/v1/keys" {
        return Reply::json(200, &keys.lock().unwrap().clone());
    }
    if request.method == "POST" {
        return Reply::json(201, &json!({}));
    }
    if request.path.contains(&format!("since={version}&")) {
        return Reply::text(304, "");
    }
    let item = json!({"version": version, "envelope": envelope, "target_name": "sleeper"});
    Reply::json(200, &json!({"version": version, "items": [item]}))
}
