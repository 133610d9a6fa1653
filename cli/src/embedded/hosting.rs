//! Runs that an operator starts: what the service's terms mean to the training host.

use std::collections::BTreeSet;
use std::time::Duration;

use plumbline_service::host::{HostError, HostedRun};
use plumbline_service::views::{LinkView, SwarmView};
use plumbline_training_core::digest::Digest;
use plumbline_training_net::error::HostError as TrainingError;
use plumbline_training_net::remote::Link;
use plumbline_training_net::run::{RunSpec, RunStatus};

use super::EmbeddedRuns;
use crate::job;

impl EmbeddedRuns {
    fn spec(&self, run: &HostedRun) -> Result<RunSpec, HostError> {
        let spec = job::hosted(run, &self.corpora)?;
        if spec.outside.is_some() && !self.host.listens() {
            return Err(HostError::BadTerms(
                "nodes elsewhere cannot reach this service; it was started without --swarm-listen"
                    .to_owned(),
            ));
        }
        Ok(spec)
    }

    pub(super) fn examine_run(&self, run: &HostedRun) -> Result<u64, HostError> {
        Ok(self.spec(run)?.model.parameter_count() as u64)
    }

    pub(super) fn start_run(&self, run: &HostedRun) -> Result<(), HostError> {
        let stats = self.host.stats(&run.id);
        if stats.is_ok_and(|stats| stats.status == RunStatus::Finished) {
            return Ok(());
        }
        let spec = self.spec(run)?;
        let failed = |error: TrainingError| HostError::Failed(error.to_string());
        if self.host.is_ending(&run.id) {
            self.host.stop(&run.id).map_err(failed)?;
        }
        match self.host.start_run(spec) {
            Ok(()) | Err(TrainingError::AlreadyRunning(_)) => Ok(()),
            Err(error) => Err(HostError::BadTerms(error.to_string())),
        }
    }

    pub(super) fn stop_run(&self, run_id: &str) -> Result<(), HostError> {
        let Ok(stats) = self.host.stats(run_id) else {
            return Ok(());
        };
        // Nobody waits for data to be read that is not needed.
        let stopped = if stats.status == RunStatus::Preparing {
            self.host.ask_to_stop(run_id)
        } else {
            self.host.stop(run_id)
        };
        stopped.map_err(|error: TrainingError| HostError::Failed(error.to_string()))
    }

    pub(super) fn ticket_of(&self, run_id: &str) -> Result<String, HostError> {
        self.host.ticket(run_id).map_err(|error| match error {
            TrainingError::NotReady(..) => HostError::NotYet(error.to_string()),
            TrainingError::Spec(_) | TrainingError::UnknownRun(_) => {
                HostError::Closed(run_id.to_owned())
            }
            other => HostError::Failed(other.to_string()),
        })
    }

    pub(super) fn admit_nodes(&self, run_id: &str, keys: &[String]) {
        let keys = keys.iter().filter_map(|key| key.parse::<Digest>().ok());
        let keys: BTreeSet<Digest> = keys.collect();
        if let Err(error) = self.host.admit(run_id, keys) {
            tracing::debug!(run = run_id, %error, "nobody to admit nodes");
        }
    }

    pub(super) fn swarm_of(&self, run: &str) -> Option<SwarmView> {
        let (stats, spec) = (self.host.stats(run).ok()?, self.host.spec(run).ok()?);
        let rules = spec.outside.filter(|_| self.host.listens());
        let links = self.host.links(run).unwrap_or_default();
        Some(SwarmView {
            open: rules.is_some() && !stats.status.is_over(),
            staked: rules.is_some_and(|rules| rules.staked),
            deadline_s: stats.deadline.map(|left: Duration| left.as_secs_f64()),
            audits: stats.audits,
            changes: self.news.changes(run),
            links: links.into_iter().map(link_view).collect(),
        })
    }
}

fn link_view(link: Link) -> LinkView {
    let (sent, lost) = link.packets;
    LinkView {
        node: link.node.to_string(),
        rtt_ms: link.rtt.as_secs_f64() * 1_000.0,
        loss: lost as f64 / sent.max(1) as f64,
        bytes_received: link.bytes.1,
        bytes_sent: link.bytes.0,
    }
}
