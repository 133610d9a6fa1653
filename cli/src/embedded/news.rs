//! What happened to the hosted runs, as the service hears of it: bounded, whatever happens how often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plumbline_service::host::RunNews;
use plumbline_service::time::rfc3339;
use plumbline_service::views::MemberChange;
use plumbline_training_net::run::{HistoryPoint, RunEvent};
use serde_json::{Value, json};

/// Of the rounds that close within this time the newest is told.
const ROUNDS_EVERY: Duration = Duration::from_secs(3);
/// Events that wait to be told; the oldest give way.
const WAITING_MAX: usize = 256;
/// Comings and goings remembered of each run.
const CHANGES_MAX: usize = 100;

/// Collects what the host's threads say.
#[derive(Default)]
pub struct News(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<RunNews>,
    rounds: BTreeMap<String, Rounds>,
    changes: BTreeMap<String, VecDeque<MemberChange>>,
}

#[derive(Default)]
struct Rounds {
    newest: Option<Value>,
    told: Option<Instant>,
}

impl News {
    /// Takes an event in; called on a run's own thread.
    pub fn hear(&self, event: &RunEvent) {
        let mut state = self.lock();
        match event {
            RunEvent::RoundClosed { run, point } => {
                state.rounds.entry(run.clone()).or_default().newest = Some(round(point));
            }
            RunEvent::RoundVoided { run, round, reason } => {
                state.say(run, "voided", json!({"round": round, "reason": reason}));
            }
            RunEvent::NodeChanged {
                run,
                node,
                status,
                failure,
            } => {
                let (node, status) = (node.to_string(), status.as_str());
                let detail = json!({"node": node, "status": status, "reason": failure});
                // A ban says so itself, with its evidence.
                if status != "banned" {
                    state.say(run, "node", detail);
                    state.note(run, node, status, failure.clone());
                }
            }
            RunEvent::NodeBanned { run, ban } => {
                let (node, reason) = (ban.node.to_string(), ban.evidence.name());
                let detail = json!({"node": node, "round": ban.round, "reason": reason,
                    "slash_bps": ban.slash_bps});
                state.say(run, "banned", detail);
                state.note(run, node, "banned", Some(reason.to_owned()));
            }
            RunEvent::StatusChanged { run, status } => {
                state.say(run, "status", json!({"status": status.as_str()}));
            }
            RunEvent::ShareChanged { run, share_bps } => {
                state.say(run, "share", json!({"share_bps": share_bps}));
            }
            RunEvent::CheckpointSaved { run, checkpoint } => {
                let detail = json!({"hash": checkpoint.id, "round": checkpoint.round,
                    "tokens": checkpoint.tokens});
                state.say(run, "checkpoint", detail);
            }
        }
    }

    /// What waits to be told.
    pub fn take(&self) -> Vec<RunNews> {
        let mut state = self.lock();
        let mut news: Vec<RunNews> = state.waiting.drain(..).collect();
        for (run, rounds) in &mut state.rounds {
            if rounds.told.is_none_or(|at| at.elapsed() >= ROUNDS_EVERY)
                && let Some(detail) = rounds.newest.take()
            {
                rounds.told = Some(Instant::now());
                news.push(RunNews {
                    run_id: run.clone(),
                    kind: "round",
                    detail,
                });
            }
        }
        news
    }

    /// Who came to a run and went, newest first.
    pub fn changes(&self, run: &str) -> Vec<MemberChange> {
        let state = self.lock();
        let changes = state.changes.get(run).into_iter().flatten();
        changes.rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Lists of what happened: whole whoever died while adding to them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn say(&mut self, run: &str, kind: &'static str, detail: Value) {
        self.waiting.push_back(RunNews {
            run_id: run.to_owned(),
            kind,
            detail,
        });
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
    }

    fn note(&mut self, run: &str, node: String, status: &str, reason: Option<String>) {
        let changes = self.changes.entry(run.to_owned()).or_default();
        changes.push_back(MemberChange {
            at: rfc3339(jiff::Timestamp::now().as_millisecond()),
            node,
            status: status.to_owned(),
            reason,
        });
        while changes.len() > CHANGES_MAX {
            changes.pop_front();
        }
    }
}

fn round(point: &HistoryPoint) -> Value {
    // A figure that is no number is none.
    json!({"round": point.round, "tokens": point.tokens, "loss": point.loss,
        "seconds": point.seconds, "bytes": point.bytes, "nodes": point.node_losses.len(),
        "missed": point.missed.len()})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use plumbline_training_core::round::NodeId;
    use plumbline_training_net::run::NodeStatus;

    fn closed(round: u64) -> RunEvent {
        let point = json!({"round": round, "at_ms": 1, "tokens": 10, "loss": 1.5, "node_losses": [], "missed": [],
            "bytes": 1, "bytes_every_step": 2, "seconds": 0.1, "share_bps": 1, "update_norm": 0.5});
        let (run, point) = ("r".to_owned(), serde_json::from_value(point).unwrap());
        RunEvent::RoundClosed { run, point }
    }

    #[test]
    fn of_many_rounds_the_newest_is_told_now_and_then() {
        let news = News::default();
        (1..=50).for_each(|round| news.hear(&closed(round)));
        let told = news.take();
        assert_eq!((told.len(), told[0].kind), (1, "round"));
        assert_eq!(told[0].detail["round"], 50);
        news.hear(&closed(51));
        assert!(news.take().is_empty(), "it was told just now");
    }

    #[test]
    fn what_is_not_fetched_stays_bounded() {
        let news = News::default();
        for number in 0..1_000 {
            news.hear(&RunEvent::NodeChanged {
                run: "r".to_owned(),
                node: NodeId::new(format!("n{number}")).unwrap(),
                status: NodeStatus::Left,
                failure: None,
            });
        }
        assert_eq!(news.changes("r").len(), CHANGES_MAX);
        assert_eq!(news.changes("r")[0].node, "n999");
        let told = news.take();
        assert_eq!(told.len(), WAITING_MAX);
        assert_eq!(told[WAITING_MAX - 1].detail["node"], "n999");
    }
}
