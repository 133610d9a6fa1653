//! Signed decisions for tests.

#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use plumbline_governance::decision::{
    AllocationDecision, DecisionBasis, DecisionTarget, Draft, TargetKind, Terms, issue,
};
use plumbline_governance::dsse::{DecisionSigner, Envelope, PublicKeyRecord};
use plumbline_governance::policy::LeaseSettings;
use plumbline_governance::{Action, Bps, Mode, Workload};
use uuid::Uuid;

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
