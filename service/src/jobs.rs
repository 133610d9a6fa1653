//! What happens without anybody asking: deadlines, the policy and queued jobs.
//!
//! Five threads: one keeps deadlines and the policy, one judges evidence (in
//! order, because each assessment builds on the one before), one settles and
//! pays, one runs and closes resting orders, one learns from settled cases. Jobs are rows, so a crash only delays them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plumbline_access::{Action, Job as Acting};
use plumbline_store::jobs::{self, Job};
use plumbline_store::{Tx, control, idempotency, policy_inputs, sessions};

use crate::authorise::work_of;
use crate::context::Context;
use crate::operations::job_view;
use crate::time::Millis;
use crate::views::JobView;
use crate::{Result, Service, ServiceError, policy_record};

pub(crate) const JUDGE_EVIDENCE: &str = "judge-evidence";
pub(crate) const DECIDE_CHALLENGE: &str = "decide-exhibit-challenge";
pub(crate) const REASSESS_MARKET: &str = "reassess-market";
pub(crate) const SETTLE_MARKET: &str = "settle-market";
pub(crate) const PAY_MARKET: &str = "pay-market";
pub(crate) const RELEASE_MARKET: &str = "release-market";
pub(crate) const GOLD_PANEL: &str = "gold-panel";
pub(crate) const MATCH_ORDERS: &str = "match-orders";
pub(crate) const LEARN_ORACLE: &str = "learn-oracle";
pub(crate) const CLOSE_ORDERS: &str = "close-orders";

/// Jobs of the judging thread.
const JUDGING: &[&str] = &[JUDGE_EVIDENCE, DECIDE_CHALLENGE, REASSESS_MARKET];
/// Jobs of the settling thread.
const SETTLING: &[&str] = &[SETTLE_MARKET, PAY_MARKET, RELEASE_MARKET, GOLD_PANEL];
/// Kinds of the thread that runs and closes resting orders.
const ORDERS: &[&str] = &[MATCH_ORDERS, CLOSE_ORDERS];

/// Kinds of the thread that learns from settled cases.
const LEARNING: &[&str] = &[LEARN_ORACLE];

/// The thread that keeps deadlines and the policy.
const DEADLINES: &str = "deadlines";
/// A turn of it that takes longer hangs.
const LONGEST_TURN: Duration = Duration::from_secs(60);
/// A write that takes longer than this says that the service is not ready.
const LONGEST_WRITE: Duration = Duration::from_secs(2);
/// A write that went well says so for this long.
const WRITTEN_FOR: Duration = Duration::from_secs(1);
/// A job is tried this often before it is given up and shown as failed.
const MAX_ATTEMPTS: i64 = 6;
/// A job whose worker died is taken over after this long.
const LEASE_MS: Millis = 10 * 60 * 1000;
/// Turns in one tick at most.
const BREATHS: u32 = 5;
/// Doublings after which the pause grows no more: about half a minute.
const LONGEST_BACKOFF: i64 = 6;
/// Between two rounds of tidying up.
const TIDY_EVERY: Millis = 3_600_000;
/// An idempotency key is good for a day.
const KEEP_ANSWERS: Millis = 24 * 3_600_000;
/// Done jobs stay visible for a week.
const KEEP_DONE_JOBS: Millis = 7 * 24 * 3_600_000;
/// First pause after a failure; doubles with every attempt.
const BACKOFF_MS: Millis = 500;

/// Wakes sleeping threads; a ring while nobody sleeps is not lost.
#[derive(Debug, Default)]
pub struct Bell {
    rings: Mutex<u64>,
    heard: Condvar,
}

impl Bell {
    /// Wakes everybody.
    pub fn ring(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.heard.notify_all();
    }

    /// Sleeps until a ring after the `seen`-th, or for `timeout`; returns the number of rings so far.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let (rings, _) = self
            .heard
            .wait_timeout_while(rings, timeout, |rings| *rings == seen)
            .unwrap_or_else(PoisonError::into_inner);
        *rings
    }
}

/// The running threads; stops and joins them when dropped.
pub struct JobRunner {
    service: Service,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl JobRunner {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(service: &Service) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut runner = Self {
            service: service.clone(),
            stop,
            threads: Vec::new(),
        };
        runner.spawn(DEADLINES, |service| service.tick())?;
        runner.spawn("judging", |service| service.work(JUDGING))?;
        runner.spawn("settling", |service| service.work(SETTLING))?;
        runner.spawn("orders", |service| service.work(ORDERS))?;
        runner.spawn("learning", |service| service.work(LEARNING))?;
        runner.spawn("webhooks", |service| service.deliver_webhooks())?;
        runner.spawn("notices", |service| service.tell_notices())?;
        runner.spawn("mail", |service| service.send_mail())?;
        Ok(runner)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        turn: impl Fn(&Service) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (service, stop) = (self.service.clone(), Arc::clone(&self.stop));
        let pause = Duration::from_millis(service.config.tick_ms);
        let breath = pause / BREATHS;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut seen = 0;
            while !stop.load(Ordering::Acquire) {
                service.turns.begin(name);
                let result = turn(&service);
                service.turns.end(name, result.is_err());
                if let Err(error) = result {
                    tracing::error!(%error, thread = std::thread::current().name(), "a turn of the jobs failed");
                }
                // Every commit rings. Under load that is hundreds of times a second, and a
                // turn looks at all runs and markets: commits in a breath share a turn.
                std::thread::sleep(breath);
                seen = service.bell.wait(seen, pause.saturating_sub(breath));
            }
        });
        self.threads.push(thread.map_err(ServiceError::internal)?);
        Ok(())
    }
}

impl Drop for JobRunner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.service.bell.ring();
        for thread in self.threads.drain(..) {
            // A thread that panicked has already reported it.
            let _ = thread.join();
        }
    }
}

impl Service {
    /// Ticks and works on jobs of every kind until none is due, on the caller's thread: for
    /// programs that drive the service themselves instead of starting a [`JobRunner`].
    pub fn run_due_jobs(&self) -> Result<()> {
        self.tick()?;
        self.deliver_webhooks()?;
        loop {
            self.work(JUDGING)?;
            self.work(ORDERS)?;
            self.work(SETTLING)?;
            self.work(LEARNING)?;
            // A job may have queued one of a kind that was already looked at.
            let due = self.read(|tx| Ok(jobs::next_run_at(tx, JUDGING)?))?;
            if due.is_none_or(|due| due > self.now()) {
                break;
            }
        }
        self.tell_notices()?;
        self.send_mail()
    }

    /// One look at the deadlines and the policy.
    pub fn tick(&self) -> Result<()> {
        type Step = fn(&Service) -> Result<()>;
        let steps: [(Action, Step); 11] = [
            (Action::ExpireCommitments, Self::expire_commitments),
            (Action::AdvanceMarkets, Self::advance_markets),
            (Action::AdvancePanels, Self::advance_panels),
            (Action::ExpireOrders, Self::expire_orders),
            (Action::AdvanceProposals, Self::advance_proposals),
            (Action::EvaluatePolicy, Self::evaluate_policy),
            (Action::FollowTraining, Self::follow_training),
            (Action::TidyUp, Self::close_revenue),
            (Action::TidyUp, Self::remember_time),
            (Action::KeepCheckpoint, Self::keep_checkpoint),
            (Action::TidyUp, Self::tidy_up),
        ];
        for (action, step) in steps {
            self.allow_job(Acting::Deadlines, action)?;
            step(self)?;
        }
        Ok(())
    }

    /// Forgets what nobody can ask for any more, once an hour.
    fn tidy_up(&self) -> Result<()> {
        let now = self.now();
        let last = self.tidied_at.load(Ordering::Acquire);
        if now - last < TIDY_EVERY {
            return Ok(());
        }
        self.write(move |tx| {
            idempotency::prune(tx, now - KEEP_ANSWERS)?;
            jobs::prune(tx, now - KEEP_DONE_JOBS)?;
            sessions::delete_expired(tx, now)?;
            policy_inputs::prune(tx, now - policy_record::KEEP)?;
            Ok(())
        })?;
        self.tidied_at.store(now, Ordering::Release);
        Ok(())
    }

    /// Runs due jobs of these kinds until none is left.
    pub(crate) fn work(&self, kinds: &'static [&'static str]) -> Result<()> {
        loop {
            let now = self.now();
            // Looking first keeps the writer free of empty transactions.
            let due = self.read(|tx| Ok(jobs::next_run_at(tx, kinds)?))?;
            if due.is_none_or(|due| due > now) {
                return Ok(());
            }
            let mut claimed = self.write(move |tx| claim_one(tx, kinds, now))?;
            while let Some(job) = claimed {
                claimed = self.run_job(&job, kinds)?;
            }
        }
    }

    /// Runs a job, and claims the next one in the transaction that finishes it.
    fn run_job(&self, job: &Job, kinds: &'static [&'static str]) -> Result<Option<Job>> {
        // Whatever is logged meanwhile names the job, as what a request causes names the request.
        let span =
            tracing::error_span!("job", kind = %job.kind, key = %job.key, attempt = job.attempts);
        let _within = span.enter();
        if let Err(error) = self.perform(job) {
            self.job_failed(job, &error)?;
            return Ok(None);
        }
        let (id, now) = (job.id, self.now());
        self.write(move |tx| {
            jobs::finish(tx, id)?;
            claim_one(tx, kinds, now)
        })
    }

    fn perform(&self, job: &Job) -> Result<()> {
        let payload: serde_json::Value =
            serde_json::from_str(&job.payload).map_err(ServiceError::internal)?;
        let field = |name: &str| {
            payload[name]
                .as_str()
                .ok_or_else(|| ServiceError::internal(format!("job {} lacks {name}", job.key)))
        };
        let acting = Acting::parse(&job.kind)
            .ok_or_else(|| ServiceError::internal(format!("no job is called {}", job.kind)))?;
        self.allow_job(acting, work_of(acting))?;
        match job.kind.as_str() {
            JUDGE_EVIDENCE => self.judge_evidence(field("evidence_id")?),
            DECIDE_CHALLENGE => self.decide_challenge(field("challenge_id")?),
            REASSESS_MARKET => self.reassess_market(field("market_id")?),
            SETTLE_MARKET => self.settle_market(field("market_id")?),
            PAY_MARKET => self.pay_market(field("market_id")?),
            RELEASE_MARKET => self.release_market(field("market_id")?),
            LEARN_ORACLE => self.learn_from_cases(),
            GOLD_PANEL => self.open_gold_panel(&job.payload),
            MATCH_ORDERS => self.match_orders(field("market_id")?),
            CLOSE_ORDERS => self.close_orders(field("market_id")?),
            other => Err(ServiceError::internal(format!("no job is called {other}"))),
        }
    }

    fn job_failed(&self, job: &Job, error: &ServiceError) -> Result<()> {
        let (id, text, now) = (job.id, error.to_string(), self.now());
        tracing::warn!(job = %job.key, attempt = job.attempts, error = %text, "a job failed");
        // Money is owed: it is tried for ever, and the operator sees why it fails.
        let owed = [PAY_MARKET, RELEASE_MARKET, CLOSE_ORDERS].contains(&job.kind.as_str());
        if job.attempts < MAX_ATTEMPTS || owed {
            let again = now + (BACKOFF_MS << job.attempts.clamp(0, LONGEST_BACKOFF));
            return self.write(move |tx| Ok(jobs::retry(tx, id, again, &text)?));
        }
        let reason = text.clone();
        self.write(move |tx| Ok(jobs::fail(tx, id, &text)?))?;
        self.give_up(job, &reason)
    }

    /// What a job that cannot be done leaves behind must not hold people's money for ever.
    fn give_up(&self, job: &Job, reason: &str) -> Result<()> {
        let payload: serde_json::Value =
            serde_json::from_str(&job.payload).map_err(ServiceError::internal)?;
        match (
            job.kind.as_str(),
            payload["market_id"].as_str(),
            payload["evidence_id"].as_str(),
        ) {
            (SETTLE_MARKET, Some(market), _) => self.settlement_not_found(market, reason),
            (JUDGE_EVIDENCE, _, Some(evidence)) => self.reject_evidence(evidence, reason),
            _ => Ok(()),
        }
    }

    /// Jobs, newest first, for the operator.
    pub fn jobs(&self, ctx: &Context, limit: usize) -> Result<Vec<JobView>> {
        self.allow(&ctx.actor, Action::ListJobs)?;
        let rows = self.read(|tx| Ok(jobs::list(tx, None, limit.clamp(1, 500) as i64)?))?;
        Ok(rows.into_iter().map(job_view).collect())
    }

    /// Whether the service can do its work: the writer answers, the reader sees the schema, and the thread that keeps
    /// deadlines and the policy does not hang.
    pub fn ready(&self) -> Result<()> {
        if self.turns.is_stuck(DEADLINES, LONGEST_TURN) {
            return Err(ServiceError::internal(
                "the thread of deadlines and policy hangs",
            ));
        }
        self.read(|tx| Ok(plumbline_store::outbox::last_id(tx)?))?;
        self.has_written()
    }

    /// Whether something can be written now: a row is, so that a full disk and a writer that waits for one show. Who
    /// asks need not be known here, so it is written once a second at most.
    fn has_written(&self) -> Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some_and(|at| at.elapsed() < WRITTEN_FOR) {
            return Ok(());
        }
        let now = self.now();
        let answer = self.store.write_within(LONGEST_WRITE, move |tx| {
            control::put(tx, "ready", &now.to_string(), now)
        });
        let answered = answer.map_err(ServiceError::from)?;
        answered.ok_or_else(|| ServiceError::internal("the writer does not answer"))?;
        *written = Some(Instant::now());
        Ok(())
    }
}

fn claim_one(tx: &mut Tx, kinds: &[&str], now: Millis) -> Result<Option<Job>> {
    Ok(jobs::claim(tx, kinds, now, LEASE_MS, 1)?.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard() {
        let bell = Bell::default();
        bell.ring();
        let seen = bell.wait(0, Duration::from_secs(60));
        assert_eq!(seen, 1);
        assert_eq!(
            bell.wait(seen, Duration::from_millis(1)),
            1,
            "no ring: the wait times out"
        );
    }
}
