//! Prometheus figures: counters of this process, and gauges of the store, the queues, the judges and the nodes.

use std::sync::atomic::{AtomicU64, Ordering};

use plumbline_store::{decisions, jobs, ledger, mails, outbox, runs, webhooks};

use crate::exposition::Exposition;
use crate::views::{JudgeView, NodeView};
use crate::{Result, Service};

/// Runs whose training is listed; a service hosts a handful.
const MOST_RUNS: usize = 200;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) trades: Counter,
    pub(crate) evidence: Counter,
    pub(crate) decisions: Counter,
    pub(crate) completions: Counter,
}

impl Service {
    /// The figures in Prometheus' text format.
    pub fn metrics(&self) -> Result<String> {
        let mut text = Exposition::default();
        self.write_counters(&mut text);
        self.write_store(&mut text)?;
        self.write_threads(&mut text);
        self.write_judges(&mut text)?;
        self.write_training(&mut text)?;
        self.write_enforcement(&mut text)?;
        Ok(text.finish())
    }

    fn write_counters(&self, text: &mut Exposition) {
        let counters = &self.counters;
        for (name, help, value) in [
            (
                "plumbline_trades_total",
                "Trades since start.",
                counters.trades.get(),
            ),
            (
                "plumbline_evidence_total",
                "Submissions of evidence since start.",
                counters.evidence.get(),
            ),
            (
                "plumbline_decisions_total",
                "Allocation decisions since start.",
                counters.decisions.get(),
            ),
            (
                "plumbline_clock_jumps_total",
                "Jumps of the wall clock by more than a minute since start.",
                self.clock.jumps(),
            ),
            (
                "plumbline_completions_total",
                "Prompts completed since start.",
                counters.completions.get(),
            ),
        ] {
            text.single(name, "counter", help, value as f64);
        }
        text.single(
            "plumbline_writer_queue",
            "gauge",
            "Requests waiting for the writer.",
            self.store.queue_depth() as f64,
        );
        text.single(
            "plumbline_clock_offset_ms",
            "gauge",
            "How far the wall clock is ahead of the service's time.",
            self.clock.offset() as f64,
        );
    }

    fn write_store(&self, text: &mut Exposition) -> Result<()> {
        let now = self.now();
        let (counts, pending, sum, events, version) = self.read(|tx| {
            Ok((
                jobs::counts(tx)?,
                jobs::pending(tx)?,
                ledger::sum(tx)?,
                outbox::last_id(tx)?,
                decisions::last_version(tx)?,
            ))
        })?;
        text.family("plumbline_jobs", "gauge", "Jobs by status.");
        for (status, count) in [
            ("queued", counts.queued),
            ("running", counts.running),
            ("done", counts.done),
            ("failed", counts.failed),
        ] {
            text.sample("plumbline_jobs", &[("status", status)], count as f64);
        }
        let kind = "gauge";
        text.family(
            "plumbline_jobs_pending",
            kind,
            "Jobs that are not done, by kind.",
        );
        for row in &pending {
            let labels = [("kind", row.kind.as_str()), ("status", row.status.as_str())];
            text.sample("plumbline_jobs_pending", &labels, row.count as f64);
        }
        let name = "plumbline_job_overdue_seconds";
        text.family(
            name,
            kind,
            "How long the oldest queued job of a kind has been due.",
        );
        for row in pending.iter().filter(|row| row.status == "queued") {
            let late = row.oldest_run_at.map_or(0, |due| (now - due).max(0));
            text.sample(name, &[("kind", &row.kind)], late as f64 / 1e3);
        }
        self.write_notices(text)?;
        let help = "Sum of all balances in micro-credits; anything but 0 is an error.";
        text.single("plumbline_ledger_sum_micro", kind, help, sum as f64);
        let help = "Number of the newest event.";
        text.single("plumbline_outbox_last_event", kind, help, events as f64);
        let help = "Version of the newest allocations.";
        text.single("plumbline_allocations_version", kind, help, version as f64);
        Ok(())
    }

    fn write_notices(&self, text: &mut Exposition) -> Result<()> {
        let (now, untold) = (self.now(), self.untold_events()?);
        let (waiting, failing) =
            self.read(|tx| Ok((mails::backlog(tx)?, webhooks::count_failing(tx)?)))?;
        let late = waiting.first_due_at.map_or(0, |due| (now - due).max(0));
        for (name, help, value) in [
            (
                "plumbline_notices_behind_events",
                "Events that nobody was told of yet.",
                untold as f64,
            ),
            (
                "plumbline_mails_waiting",
                "Mails that wait to be sent.",
                waiting.mails as f64,
            ),
            (
                "plumbline_mails_failing",
                "Mails that the server did not take yet.",
                waiting.failing as f64,
            ),
            (
                "plumbline_mail_overdue_seconds",
                "How long the first mail that waits has been due.",
                late as f64 / 1e3,
            ),
            (
                "plumbline_webhooks_failing",
                "Webhooks whose receiver does not take notices.",
                failing as f64,
            ),
        ] {
            text.single(name, "gauge", help, value);
        }
        Ok(())
    }

    fn write_threads(&self, text: &mut Exposition) {
        let name = "plumbline_thread_turn_age_seconds";
        text.family(
            name,
            "gauge",
            "Since a thread's last turn ended, or since the one under way began.",
        );
        let turns = self.turns.view();
        for turn in &turns {
            text.sample(name, &[("thread", turn.name)], turn.age.as_secs_f64());
        }
        let name = "plumbline_thread_failures_total";
        text.family(name, "counter", "Turns of a thread that failed.");
        for turn in &turns {
            text.sample(name, &[("thread", turn.name)], turn.failures as f64);
        }
    }

    fn write_judges(&self, text: &mut Exposition) -> Result<()> {
        let judges = self.judge_figures()?;
        type Figure = (&'static str, &'static str, fn(&JudgeView) -> Option<f64>);
        let figures: [Figure; 5] = [
            (
                "plumbline_judge_up",
                "Whether a judge can judge.",
                |judge| {
                    Some(f64::from(u8::from(matches!(
                        judge.status.as_str(),
                        "ok" | "idle"
                    ))))
                },
            ),
            (
                "plumbline_judge_judged",
                "Judgements among the latest submissions.",
                |judge| Some(judge.judged as f64),
            ),
            (
                "plumbline_judge_failed",
                "Failures among the latest submissions.",
                |judge| Some(judge.failed as f64),
            ),
            (
                "plumbline_judge_latency_p99_seconds",
                "99 % of the latest judgements took no longer.",
                |judge| judge.latency_p99_ms.map(|ms| ms as f64 / 1e3),
            ),
            (
                "plumbline_judge_weight",
                "Weight of a judge in the pool.",
                |judge| Some(judge.weight),
            ),
        ];
        for (name, help, value) in figures {
            text.family(name, "gauge", help);
            for judge in &judges {
                if let Some(value) = value(judge) {
                    text.sample(name, &[("judge", &judge.name)], value);
                }
            }
        }
        Ok(())
    }

    fn write_enforcement(&self, text: &mut Exposition) -> Result<()> {
        let state = self.enforcement_now()?;
        for (name, help, value) in [
            (
                "plumbline_stop_coverage_bps",
                "Share of the granted compute whose scheduler reported the newest due decision as enforced.",
                state.stop_coverage_bps as f64,
            ),
            (
                "plumbline_silent_targets",
                "Targets whose newest due decision nobody reported as enforced.",
                state.silent as f64,
            ),
            (
                "plumbline_diverging_targets",
                "Targets that hold more than decided.",
                state.diverging as f64,
            ),
        ] {
            text.single(name, "gauge", help, value);
        }
        Ok(())
    }

    fn write_training(&self, text: &mut Exposition) -> Result<()> {
        let runs = self.read(|tx| Ok(runs::list(tx)?))?;
        let hosted: Vec<_> = runs
            .iter()
            .take(MOST_RUNS)
            .filter_map(|run| self.host.training(&run.id))
            .collect();
        let name = "plumbline_run_share_bps";
        text.family(name, "gauge", "Share of compute that is enforced on a run.");
        for run in &hosted {
            text.sample(name, &[("run", &run.name)], f64::from(run.share_bps));
        }
        let name = "plumbline_run_members";
        text.family(name, "gauge", "Live nodes of a run.");
        for run in &hosted {
            text.sample(name, &[("run", &run.name)], f64::from(run.members));
        }
        let name = "plumbline_run_loss";
        text.family(
            name,
            "gauge",
            "Mean loss of a run's last round, nats per token.",
        );
        for run in &hosted {
            if let Some(loss) = run.loss_last.filter(|loss| loss.is_finite()) {
                text.sample(name, &[("run", &run.name)], loss);
            }
        }
        let nodes: Vec<(&str, NodeView)> = hosted
            .iter()
            .flat_map(|run| {
                let nodes = self.host.nodes(&run.run_id);
                nodes.into_iter().map(|node| (run.name.as_str(), node))
            })
            .collect();
        let name = "plumbline_node_tokens_total";
        text.family(name, "counter", "Tokens that a node trained on.");
        for (run, node) in &nodes {
            let labels = [("run", *run), ("node", node.id.as_str())];
            text.sample(name, &labels, node.tokens as f64);
        }
        let name = "plumbline_node_active";
        text.family(name, "gauge", "Whether a node is an active member.");
        for (run, node) in &nodes {
            let labels = [("run", *run), ("node", node.id.as_str())];
            let active = f64::from(u8::from(node.status == "active"));
            text.sample(name, &labels, active);
        }
        Ok(())
    }
}
