//! Prometheus figures: counters of this process and gauges of the store.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use plumbline_store::jobs;

use crate::{Result, Service};

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
        let jobs = self.read(|tx| Ok(jobs::counts(tx)?))?;
        let mut text = String::new();
        for (name, help, value) in [
            (
                "plumbline_trades_total",
                "Trades since start.",
                self.counters.trades.get(),
            ),
            (
                "plumbline_evidence_total",
                "Submissions of evidence since start.",
                self.counters.evidence.get(),
            ),
            (
                "plumbline_decisions_total",
                "Allocation decisions since start.",
                self.counters.decisions.get(),
            ),
            (
                "plumbline_clock_jumps_total",
                "Jumps of the wall clock by more than a minute since start.",
                self.clock.jumps(),
            ),
            (
                "plumbline_completions_total",
                "Prompts completed since start.",
                self.counters.completions.get(),
            ),
        ] {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
            );
        }
        let _ = writeln!(
            text,
            "# HELP plumbline_writer_queue Requests waiting for the writer."
        );
        let _ = writeln!(
            text,
            "# TYPE plumbline_writer_queue gauge\nplumbline_writer_queue {}",
            self.store.queue_depth()
        );
        let _ = writeln!(
            text,
            "# HELP plumbline_clock_offset_ms How far the wall clock is ahead of the service's time.\n\
             # TYPE plumbline_clock_offset_ms gauge\nplumbline_clock_offset_ms {}",
            self.clock.offset()
        );
        let _ = writeln!(
            text,
            "# HELP plumbline_jobs Jobs by status.\n# TYPE plumbline_jobs gauge"
        );
        for (status, count) in [
            ("queued", jobs.queued),
            ("running", jobs.running),
            ("done", jobs.done),
            ("failed", jobs.failed),
        ] {
            let _ = writeln!(text, "plumbline_jobs{{status=\"{status}\"}} {count}");
        }
        Ok(text)
    }
}
