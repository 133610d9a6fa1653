//! Enforcement by a program of the operator's own, which is told every order.
//!
//! The program gets the order as one JSON object on its standard input and as `PLUMBLINE_…` variables.
//! Status 0 says that the order is in force. When the last line that it writes is a JSON object, its
//! `actual_bps` and `method` are reported instead of the order's share and the program's name. It is
//! called again at every reconcile and must then change nothing, and each time new work is to be
//! admitted or not.

use std::collections::BTreeMap;
use std::time::Duration;

use plumbline_governance::Bps;
use plumbline_governance::decision::DecisionTarget;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::command::{command, run};
use super::{Applied, EnforceError, Enforcer, Order};

/// Runs a program for every order about its runs.
#[derive(Debug)]
pub struct ExecEnforcer {
    program: String,
    arguments: Vec<String>,
    limit: Duration,
    /// The runs, with the names that the operator gave them and whether the program was last told to admit work.
    runs: BTreeMap<Uuid, (String, Option<bool>)>,
}

/// What the program may say about the order.
#[derive(Debug, Default, Deserialize)]
struct Said {
    actual_bps: Option<u16>,
    method: Option<String>,
}

impl ExecEnforcer {
    /// Runs `program` with `arguments`, at most `limit` long, for orders about `runs` (id and name).
    #[must_use]
    pub fn new(
        program: String,
        arguments: Vec<String>,
        limit: Duration,
        runs: BTreeMap<Uuid, String>,
    ) -> Self {
        let runs = runs.into_iter().map(|(uid, name)| (uid, (name, None)));
        Self {
            program,
            arguments,
            limit,
            runs: runs.collect(),
        }
    }

    async fn tell(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        let Some((name, told)) = self.runs.get_mut(&order.target.uid) else {
            return Err(EnforceError("this run is not one of ours".to_owned()));
        };
        *told = None;
        let mut hook = command(&self.program, &self.arguments);
        for (variable, value) in variables(order, name) {
            hook.env(variable, value);
        }
        let output = run(hook, document(order, name).as_bytes(), self.limit).await?;
        *told = Some(order.admit_new);
        let last = output.lines().rev().find(|line| !line.trim().is_empty());
        let said: Said = last
            .filter(|line| line.trim_start().starts_with('{'))
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| EnforceError(format!("its last line cannot be understood: {error}")))?
            .unwrap_or_default();
        let actual_bps = match said.actual_bps {
            Some(actual) => Bps::new(actual).map_err(|error| EnforceError(error.to_string()))?,
            None => order.share_bps,
        };
        Ok(Applied {
            actual_bps,
            method: said
                .method
                .unwrap_or_else(|| format!("exec {}", self.program)),
        })
    }
}

impl Enforcer for ExecEnforcer {
    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        self.tell(order).await
    }

    fn controls(&self, target: &DecisionTarget) -> bool {
        self.runs.contains_key(&target.uid)
    }

    async fn admission(&mut self, order: &Order) {
        let told = self.runs.get(&order.target.uid).and_then(|(_, told)| *told);
        // `apply` has told it, or has failed and comes again.
        if told.is_none_or(|told| told == order.admit_new) {
            return;
        }
        if let Err(error) = self.tell(order).await {
            tracing::warn!(target = %order.target.uid, %error, "admission was not changed");
        }
    }
}

fn variables(order: &Order, name: &str) -> [(&'static str, String); 11] {
    let flag = |value: bool| u8::from(value).to_string();
    [
        ("PLUMBLINE_RUN", name.to_owned()),
        ("PLUMBLINE_TARGET", order.target.uid.to_string()),
        ("PLUMBLINE_DECISION", order.decision_id.to_string()),
        ("PLUMBLINE_GENERATION", order.generation.to_string()),
        ("PLUMBLINE_ACTION", order.action.as_str().to_owned()),
        ("PLUMBLINE_SHARE_BPS", order.share_bps.get().to_string()),
        (
            "PLUMBLINE_MAX_UNITS",
            order
                .max_units
                .map_or(String::new(), |units| units.to_string()),
        ),
        ("PLUMBLINE_ADMIT_NEW", flag(order.admit_new)),
        ("PLUMBLINE_CHECKPOINT_FIRST", flag(order.checkpoint_first)),
        ("PLUMBLINE_GRACE_S", order.grace_s.to_string()),
        ("PLUMBLINE_EXPIRED", flag(order.expired)),
    ]
}

fn document(order: &Order, name: &str) -> String {
    json!({
        "run": name,
        "target": order.target.uid,
        "decision_id": order.decision_id,
        "generation": order.generation,
        "action": order.action.as_str(),
        "share_bps": order.share_bps.get(),
        "max_units": order.max_units,
        "admit_new": order.admit_new,
        "checkpoint_first": order.checkpoint_first,
        "grace_s": order.grace_s,
        "expired": order.expired,
    })
    .to_string()
}
