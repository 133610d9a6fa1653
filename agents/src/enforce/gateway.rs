//! Enforcement at a gateway: which requests for completions are admitted.
//!
//! The gateway of a run keeps to the requests per second, tokens per minute and
//! requests at once of the decision in force. What is admitted is let finish; a
//! lower limit holds for the next request. A target without an order is not
//! limited here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use plumbline_governance::Workload;
use plumbline_governance::decision::DecisionTarget;
use uuid::Uuid;

use super::{Applied, EnforceError, Enforcer, Order};

/// A request that a stopped run refuses may come again after this, seconds.
const STOPPED_RETRY_S: u32 = 30;
/// Longest wait that a refusal asks for, seconds.
const LONGEST_RETRY_S: u32 = 60;

/// What is admitted to every run. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    runs: Arc<Mutex<BTreeMap<Uuid, Held>>>,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Decision in force.
    pub decision_id: Uuid,
    /// Whether it stops the run, rather than limiting it.
    pub stopped: bool,
    /// Seconds after which a request may be admitted.
    pub retry_after_s: u32,
}

/// An order in force with what is used of it.
#[derive(Debug)]
struct Held {
    order: Order,
    requests: Bucket,
    tokens: Bucket,
    open: u32,
}

/// So much a second, at most `most` at once. It may be overdrawn by one request.
#[derive(Debug)]
struct Bucket {
    most: f64,
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn full(most: f64, per_second: f64, now: Instant) -> Self {
        Self {
            most,
            per_second,
            level: most,
            at: now,
        }
    }

    /// Other limits from now on; what was used stays used.
    fn resize(&mut self, most: f64, per_second: f64, now: Instant) {
        self.refill(now);
        let used = self.most - self.level;
        (self.most, self.per_second) = (most, per_second);
        self.level = most - used;
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.most);
        self.at = now;
    }

    /// Seconds until `amount` may be taken; 0 if it may be now. More than the
    /// bucket holds may be taken when it is full.
    fn wait(&mut self, amount: f64, now: Instant) -> f64 {
        self.refill(now);
        let missing = amount.min(self.most) - self.level;
        if missing <= 0.0 {
            0.0
        } else {
            missing / self.per_second
        }
    }
}

/// A request that was admitted. Dropping it says that it is over.
#[derive(Debug)]
pub struct Place {
    gateway: Gateway,
    run: Uuid,
    /// Tokens that were taken ahead and not used, less those used beyond.
    spare: Mutex<f64>,
}

impl Place {
    /// Says that `tokens` were used; what was taken ahead and not used is given back when the request is over.
    pub fn used(&self, tokens: u64) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) -= tokens as f64;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let spare = *self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = self.gateway.lock().get_mut(&self.run) {
            held.open = held.open.saturating_sub(1);
            held.tokens.level = (held.tokens.level + spare).min(held.tokens.most);
        }
    }
}

impl Gateway {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Held>> {
        // Counts and limits are whole whoever died while holding them.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a request that may take `tokens`; `None` when no order is in force for the run.
    ///
    /// # Errors
    /// When the run is stopped or a limit is used up, with the decision that says so.
    pub fn admit(&self, run: Uuid, tokens: u64, now: Instant) -> Result<Option<Place>, Refusal> {
        let mut runs = self.lock();
        let Some(held) = runs.get_mut(&run) else {
            return Ok(None);
        };
        let refusal = |stopped, retry_after_s| Refusal {
            decision_id: held.order.decision_id,
            stopped,
            retry_after_s,
        };
        let Some(limits) = held.order.inference.filter(|limits| limits.admit_new) else {
            return Err(refusal(held.order.action.stops(), STOPPED_RETRY_S));
        };
        if held.order.action.stops() {
            return Err(refusal(true, STOPPED_RETRY_S));
        }
        if held.open >= limits.concurrency {
            return Err(refusal(false, 1));
        }
        let tokens = tokens as f64;
        let wait = held
            .requests
            .wait(1.0, now)
            .max(held.tokens.wait(tokens, now));
        if wait > 0.0 {
            let seconds = wait.ceil().min(f64::from(LONGEST_RETRY_S)) as u32;
            return Err(Refusal {
                decision_id: held.order.decision_id,
                stopped: false,
                retry_after_s: seconds.max(1),
            });
        }
        held.requests.level -= 1.0;
        held.tokens.level -= tokens;
        held.open += 1;
        Ok(Some(Place {
            gateway: self.clone(),
            run,
            spare: Mutex::new(tokens),
        }))
    }

    fn take(&self, order: &Order, now: Instant) {
        let (rps, tpm) = order.inference.map_or((0.0, 0.0), |limits| {
            (f64::from(limits.rps), limits.tpm as f64)
        });
        let mut runs = self.lock();
        let held = runs.entry(order.target.uid).or_insert_with(|| Held {
            order: order.clone(),
            requests: Bucket::full(rps, rps, now),
            tokens: Bucket::full(tpm, tpm / 60.0, now),
            open: 0,
        });
        held.requests.resize(rps, rps, now);
        held.tokens.resize(tpm, tpm / 60.0, now);
        held.order = order.clone();
    }
}

impl Enforcer for Gateway {
    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        if order.target.workload != Workload::Inference {
            return Err(EnforceError("a gateway limits inference only".to_owned()));
        }
        self.take(order, Instant::now());
        Ok(Applied {
            actual_bps: order.share_bps,
            method: "admission of requests".to_owned(),
        })
    }

    fn controls(&self, target: &DecisionTarget) -> bool {
        target.workload == Workload::Inference
    }

    /// Requests are admitted by the limits of the order; nothing else waits to be let in.
    async fn admission(&mut self, _order: &Order) {}
}

#[cfg(test)]
mod tests;
