//! Follows the loop until it has closed, telling what changes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use plumbline_service::views::{MarketView, RunView};

use super::stage::{Stage, Subject};
use crate::wiring::Running;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Shares count as final when they have not moved for this long: longer than the policy's dwell and step times.
const SETTLED_FOR: Duration = Duration::from_secs(9);
/// Speed is measured over this long.
const MEASURE: Duration = Duration::from_secs(12);
/// Lines of the table are at least this far apart when nothing happens.
const QUIET: Duration = Duration::from_secs(10);

/// What was seen of one run.
#[derive(Debug, Default, Clone)]
pub struct Track {
    pub share_first: Option<i64>,
    pub share_last: i64,
    pub loss_first: Option<f64>,
    /// Tokens and time when training began under the first decision.
    began: Option<(u64, Instant)>,
    pub speed_before: f64,
    pub speed_after: f64,
}

/// The loop as it was observed.
pub struct Story<'a> {
    running: &'a Running,
    stage: &'a Stage,
    show: bool,
    started: Instant,
    pub tracks: BTreeMap<&'static str, Track>,
    told: BTreeMap<&'static str, String>,
    told_at: Instant,
    moved_at: Instant,
}

impl<'a> Story<'a> {
    pub fn new(running: &'a Running, stage: &'a Stage, show: bool) -> Self {
        let tracks = stage
            .subjects
            .iter()
            .map(|subject| (subject.name, Track::default()))
            .collect();
        let now = Instant::now();
        Self {
            running,
            stage,
            show,
            started: now,
            tracks,
            told: BTreeMap::new(),
            told_at: now,
            moved_at: now,
        }
    }

    /// Until both markets are paid, the shares have come to rest, and the speed after it is measured; `false` when
    /// told to stop before.
    pub fn follow(&mut self, deadline: Instant, told: &AtomicBool) -> Result<bool> {
        loop {
            if told.load(Ordering::SeqCst) {
                return Ok(false);
            }
            let open = self.look()?;
            let at_rest = self.moved_at.elapsed() >= SETTLED_FOR;
            if !open && at_rest {
                break;
            }
            if Instant::now() >= deadline {
                bail!(
                    "the loop did not close in time; see the log, and the pages while the service ran"
                );
            }
            std::thread::sleep(LOOK);
        }
        self.measure_after()?;
        Ok(true)
    }

    /// One look at everything; whether a market is still on its way.
    fn look(&mut self) -> Result<bool> {
        let mut open = false;
        for subject in &self.stage.subjects {
            let run = self
                .running
                .service
                .run(&self.stage.operator, &subject.run_id)?;
            let market = self
                .running
                .service
                .market(&self.stage.operator, &subject.market_id)?;
            if let Some(training) = run
                .training
                .as_ref()
                .filter(|training| training.status == "failed")
            {
                bail!("run {} failed: see the log", training.name);
            }
            if market.status == "void" {
                bail!(
                    "the market on {} was voided: {:?}",
                    subject.name,
                    market.settlement.statistics
                );
            }
            open |= market.status != "paid";
            self.note(subject, &run, &market);
            self.tell(subject, &run, &market);
        }
        Ok(open)
    }

    fn note(&mut self, subject: &Subject, run: &RunView, market: &MarketView) {
        let Some(track) = self.tracks.get_mut(subject.name) else {
            return;
        };
        if let Some(allocation) = &run.allocation {
            track.share_first = track.share_first.or(Some(allocation.share_bps));
            // What counts in the end is what the scheduler says is in force.
            let enforced = allocation.actual_bps.unwrap_or(track.share_last);
            if track.share_last != enforced {
                track.share_last = enforced;
                self.moved_at = Instant::now();
            }
        }
        let Some(training) = &run.training else {
            return;
        };
        track.loss_first = track.loss_first.or(training.loss_first);
        if market.status == "paid" {
            return;
        }
        self.moved_at = Instant::now();
        match track.began {
            None if training.tokens > 0 => track.began = Some((training.tokens, Instant::now())),
            Some((tokens, at)) if market.status == "open" && training.tokens > tokens => {
                track.speed_before = (training.tokens - tokens) as f64 / at.elapsed().as_secs_f64();
            }
            _ => {}
        }
    }

    /// Tokens per second once everything is at rest.
    fn measure_after(&mut self) -> Result<()> {
        let tokens = |story: &Self, subject: &Subject| -> Result<u64> {
            let run = story
                .running
                .service
                .run(&story.stage.operator, &subject.run_id)?;
            Ok(run.training.map_or(0, |training| training.tokens))
        };
        let mut before = Vec::new();
        for subject in &self.stage.subjects {
            before.push((tokens(self, subject)?, Instant::now()));
        }
        std::thread::sleep(MEASURE);
        for (subject, (first, at)) in self.stage.subjects.iter().zip(before) {
            let last = tokens(self, subject)?;
            if let Some(track) = self.tracks.get_mut(subject.name) {
                track.speed_after = last.saturating_sub(first) as f64 / at.elapsed().as_secs_f64();
            }
        }
        Ok(())
    }

    /// A line when something changed, or now and then.
    fn tell(&mut self, subject: &Subject, run: &RunView, market: &MarketView) {
        if !self.show {
            return;
        }
        let share = run
            .allocation
            .as_ref()
            .map_or(0, |allocation| allocation.share_bps);
        let key = format!(
            "{} {:.2} {share} {}",
            market.status, market.probability, market.evidence
        );
        let quiet = self.told_at.elapsed() >= QUIET;
        if self.told.get(subject.name) == Some(&key) && !quiet {
            return;
        }
        self.told.insert(subject.name, key);
        self.told_at = Instant::now();
        let training = run.training.as_ref();
        println!(
            "{:5.0} s  {:8} {:9}  price {:.3} [{:.2}, {:.2}]  share {:5.1} %  {:7} tokens  loss {:>4}  {:5.0} tok/s  evidence {}",
            self.started.elapsed().as_secs_f64(),
            subject.name,
            market.status,
            market.probability,
            market.interval.low,
            market.interval.high,
            share as f64 / 100.0,
            training.map_or(0, |training| training.tokens),
            training
                .and_then(|training| training.loss_last)
                .map_or_else(|| "–".to_owned(), |loss| format!("{loss:.2}")),
            training.map_or(0.0, |training| training.tokens_per_second),
            market.evidence,
        );
    }
}
