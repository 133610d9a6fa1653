//! What the test host does for runs that an operator starts: it notes who was asked for what.

use std::collections::BTreeMap;
use std::sync::Mutex;

use plumbline_governance::dsse::DecisionSigner;
use plumbline_service::commands::{BondNode, OutsideTerms, StartRun, bond_text};
use plumbline_service::context::Context;
use plumbline_service::host::RunNews;
use plumbline_service::views::{BanView, RunView};
use serde_json::json;

use super::World;

#[derive(Default)]
pub struct Hosting {
    /// Runs that go on.
    pub running: Mutex<Vec<String>>,
    /// Nodes that are let in, by run.
    pub admitted: Mutex<BTreeMap<String, Vec<String>>>,
    pub bans: Mutex<Vec<BanView>>,
    pub news: Mutex<Vec<RunNews>>,
    /// Starting fails, as when the data is gone.
    pub broken: Mutex<bool>,
    /// What runs are doing, if not training.
    pub status: Mutex<Option<String>>,
}

impl Hosting {
    pub fn lets_in(&self, run: &RunView) -> Vec<String> {
        let admitted = self.admitted.lock().unwrap();
        admitted.get(&run.id).cloned().unwrap_or_default()
    }

    /// The node was found out.
    pub fn ban(&self, node: &str) {
        self.bans.lock().unwrap().push(BanView {
            node: node.to_owned(),
            round: 4,
            reason: "recomputed".to_owned(),
            slash_bps: 7_500,
            evidence: json!({"kind": "recomputed", "norm_ratio": 3.0, "cosine": -0.2}),
        });
    }
}

pub fn terms(name: &str, least_stake_micro: i64) -> StartRun {
    let text = json!({"name": name, "tokens": 1_000_000, "audit_bps": 1_000});
    let terms: StartRun = serde_json::from_value(text).unwrap();
    StartRun {
        outside: Some(OutsideTerms {
            quorum: 1,
            admit: Vec::new(),
            least_stake_micro,
            stall_s: 60,
        }),
        ..terms
    }
}

/// A node's key and the bond that it signed for this person in this run.
pub fn bond(world: &World, who: &Context, run: &RunView, seed: u8, stake: i64) -> BondNode {
    let key = DecisionSigner::from_seed(&[seed; 32]);
    let account = world.service.me(who).unwrap().id;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let signature = key.sign_text(&bond_text(&run.id, &account)).unwrap();
    BondNode {
        node_key: hex(&key.public_bytes()),
        stake_micro: stake,
        signature: hex(&signature),
    }
}
