//! The loop round the tracker: polling, verifying, keeping, applying, acknowledging.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use plumbline_governance::Workload;
use plumbline_governance::decision::{AllocationDecision, RejectReason, required_signatures};
use plumbline_governance::dsse::{DsseError, Envelope, PublicKeyRecord};
use plumbline_governance::keys::{PublishedKey, trusted};
use plumbline_governance::policy::Signatures;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::state::State;
use super::tracker::{Step, Tracker, key_of};
use super::{ConsumerError, Enforcer};
use crate::client::{Allocations, Client, Decision, EnforcementReport, Key, Polled, RetryPolicy};
use crate::error::ClientError;

/// Least time between two polls, whatever the service answers.
const LEAST_ROUND: Duration = Duration::from_millis(100);
/// Longest wait after a failed poll.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Longest wait for one acknowledgement: leases must not wait for a service that hangs.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// Which targets a consumer controls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Only these runs or pools; none: every target of the audience.
    pub uids: Option<BTreeSet<Uuid>>,
    /// Only this workload; none: both.
    pub workload: Option<Workload>,
}

/// Most targets that the service takes in one report.
const MAX_REPORTED: usize = 256;
/// Most targets that the service takes in one request.
const MAX_NAMED: usize = 64;

impl Targets {
    /// Those to ask the service for; none means all of them.
    fn named(&self) -> Vec<Uuid> {
        let few = self.uids.iter().filter(|uids| uids.len() <= MAX_NAMED);
        few.flatten().copied().collect()
    }

    fn includes(&self, decision: &AllocationDecision) -> bool {
        let target = &decision.target;
        self.uids
            .as_ref()
            .is_none_or(|uids| uids.contains(&target.uid))
            && self
                .workload
                .is_none_or(|workload| workload == target.workload)
    }
}

/// Where the keys come from that decisions are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedKeys {
    /// These, got by a way that is trusted, and those that they vouch for later.
    Pinned(Vec<PublicKeyRecord>),
    /// What the service published at the first contact, kept in the state file
    /// from then on, and those that they vouch for later. Only as good as that first connection: use it where the
    /// service is on the same machine, or behind TLS.
    FirstSeen,
}

/// What a poll brought.
enum News {
    /// The newest decision of every target.
    All(Allocations),
    /// Those that changed.
    Changes(Allocations),
}

/// Settings of a consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerConfig {
    /// Stable name of this scheduler in its acknowledgements.
    pub scheduler: String,
    /// Audience (the pool) whose decisions it acts on.
    pub audience: String,
    /// Which targets of the audience it controls.
    pub targets: Targets,
    /// What it verifies decisions with.
    pub keys: TrustedKeys,
    /// Distinct signatures that it asks for.
    pub signatures: Signatures,
    /// Where it keeps what it holds.
    pub state_file: PathBuf,
    /// Longest wait of a poll, at most 60 s.
    pub poll: Duration,
    /// Time between full reconciles, at most a minute.
    pub reconcile: Duration,
    /// Time after which what is in force is applied again, contact or not: whoever loosened it by hand is undone.
    pub reapply: Duration,
    /// Time between two reports of what it holds, 5 s to an hour.
    pub report: Duration,
}

impl ConsumerConfig {
    /// The usual settings: every target of the audience, one signature, a reconcile each 30 s.
    #[must_use]
    pub fn new(
        scheduler: impl Into<String>,
        audience: impl Into<String>,
        keys: TrustedKeys,
        state_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            scheduler: scheduler.into(),
            audience: audience.into(),
            targets: Targets::default(),
            keys,
            signatures: Signatures::default(),
            state_file: state_file.into(),
            poll: Duration::from_secs(25),
            reconcile: Duration::from_secs(30),
            reapply: Duration::from_secs(30),
            report: Duration::from_secs(60),
        }
    }

    fn check(&self) -> Result<(), ConsumerError> {
        let wrong = |what: &str| Err(ConsumerError::Settings(what.to_owned()));
        if self.scheduler.is_empty() || self.audience.is_empty() {
            return wrong("a consumer needs a scheduler name and an audience");
        }
        if self.reconcile.is_zero() || self.reconcile > Duration::from_secs(60) {
            return wrong("the time between full reconciles must be above 0 and at most 60 s");
        }
        if !(5..=3_600).contains(&self.report.as_secs()) {
            return wrong("the time between two reports must be 5 s to an hour");
        }
        if self.reapply < LEAST_ROUND {
            return wrong("the time between two applications must be at least 0.1 s");
        }
        if self.signatures.tighten == 0 || self.signatures.loosen == 0 {
            return wrong("at least one signature must be asked for");
        }
        Ok(())
    }
}

/// Tells the time; an argument so that leases can be tested without waiting.
type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// A consumer of allocation decisions; see the module [`crate::enforce`].
pub struct Consumer<E> {
    client: Client,
    config: ConsumerConfig,
    enforcer: E,
    clock: Clock,
    keys: Vec<PublicKeyRecord>,
    tracker: Tracker,
    version: Option<i64>,
    reconciled_at: Option<Instant>,
    applied_at: Option<Instant>,
    reported_at: Option<Instant>,
    failures: u32,
}

impl<E> fmt::Debug for Consumer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("config", &self.config)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<E: Enforcer> Consumer<E> {
    /// A consumer that takes up what its state file holds.
    ///
    /// # Errors
    /// When the settings make no sense, or the state file is not readable, not
    /// this scheduler's, or holds a decision that no trusted key signed.
    pub fn new(client: Client, config: ConsumerConfig, enforcer: E) -> Result<Self, ConsumerError> {
        Self::with_clock(client, config, enforcer, Box::new(Timestamp::now))
    }

    /// As [`Consumer::new`], with a clock.
    ///
    /// # Errors
    /// As [`Consumer::new`].
    pub fn with_clock(
        client: Client,
        config: ConsumerConfig,
        enforcer: E,
        clock: Clock,
    ) -> Result<Self, ConsumerError> {
        config.check()?;
        let saved = State::load(&config.state_file, &config.scheduler)?;
        let keys = match (&config.keys, &saved) {
            (TrustedKeys::Pinned(keys), _) if keys.is_empty() => {
                return Err(ConsumerError::Keys(
                    "the list of pinned keys is empty".to_owned(),
                ));
            }
            (TrustedKeys::Pinned(keys), Some(saved)) if saved.pinned == *keys => saved.keys.clone(),
            (TrustedKeys::Pinned(keys), _) => keys.clone(),
            (TrustedKeys::FirstSeen, Some(saved)) => saved.keys.clone(),
            (TrustedKeys::FirstSeen, None) => Vec::new(),
        };
        let mut tracker = Tracker::new(&config.scheduler, &config.audience);
        for held in saved.into_iter().flat_map(|saved| saved.held) {
            let opened = AllocationDecision::open(&held.envelope, &keys, 1, held.received_at);
            let decision = opened.map_err(|error| ConsumerError::StateFile {
                path: config.state_file.clone(),
                why: format!("holds a decision that cannot be believed: {error}"),
            })?;
            tracker.restore(held, decision);
        }
        // The service is asked again at its own rhythm, not in a burst of retries.
        let client = client.with_retry(RetryPolicy::once());
        Ok(Self {
            client,
            config,
            enforcer,
            clock,
            keys,
            tracker,
            version: None,
            reconciled_at: None,
            applied_at: None,
            reported_at: None,
            failures: 0,
        })
    }

    fn is_mine(&self, decision: &AllocationDecision) -> bool {
        self.config.targets.includes(decision) && self.enforcer.controls(&decision.target)
    }

    /// Runs until `stop` turns true or its sender is gone.
    ///
    /// # Errors
    /// When the state file cannot be written any more. Without contact it goes
    /// on and keeps to the leases.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), ConsumerError> {
        while !*stop.borrow() {
            let round = Instant::now();
            self.enforce(self.must_reapply()).await?;
            let wait = self.wait();
            let news = tokio::select! {
                news = self.news(wait) => Some(news),
                // A lease changes by itself, or an order is to be tried again.
                () = tokio::time::sleep(wait) => None,
                changed = stop.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    None
                }
            };
            let outcome = match news {
                Some(Ok(Some(news))) => self.take(news).await,
                Some(Err(error)) => Err(error.into()),
                Some(Ok(None)) | None => Ok(()),
            };
            match outcome {
                Ok(()) => self.failures = 0,
                // Contact and keys may come back; a state file that cannot be written is the end.
                Err(error @ (ConsumerError::Client(_) | ConsumerError::Keys(_))) => {
                    self.back_off(&error, &mut stop).await;
                }
                Err(error) => return Err(error),
            }
            let rest = LEAST_ROUND.saturating_sub(round.elapsed());
            tokio::time::sleep(rest).await;
        }
        // What was done but not said yet is still worth saying.
        self.acknowledge().await;
        self.report().await;
        Ok(())
    }

    /// Says what is held, when it is time to. A report that is lost is not sent again: the next one says more.
    async fn report(&mut self) {
        let due = self
            .reported_at
            .is_none_or(|at| at.elapsed() >= self.config.report);
        let items = self.tracker.holdings();
        if !due || items.is_empty() {
            return;
        }
        self.reported_at = Some(Instant::now());
        let client = self.client.clone().with_timeout(ACK_TIMEOUT);
        for items in items.chunks(MAX_REPORTED) {
            let report = EnforcementReport {
                scheduler: self.config.scheduler.clone(),
                every_s: self.config.report.as_secs(),
                items: items.to_vec(),
            };
            if let Err(error) = client.report_enforcement(&report).await {
                tracing::debug!(%error, "what is held was not reported");
                return;
            }
        }
    }

    /// The enforcer, for what it recorded.
    pub const fn enforcer(&self) -> &E {
        &self.enforcer
    }

    /// What changed, or all of it when it is time to reconcile.
    async fn news(&self, wait: Duration) -> Result<Option<News>, ClientError> {
        let targets = self.config.targets.named();
        let all = async || {
            let found = self.client.allocations(&targets).await;
            found.map(News::All).map(Some)
        };
        let Some(since) = self.version.filter(|_| !self.must_reconcile()) else {
            return all().await;
        };
        match self
            .client
            .poll_allocations(since, wait.min(self.config.poll), &targets)
            .await?
        {
            Polled::Changed(state) => Ok(Some(News::Changes(state))),
            Polled::Unchanged => Ok(None),
            Polled::Relist => all().await,
        }
    }

    fn must_reapply(&self) -> bool {
        self.applied_at
            .is_some_and(|at| at.elapsed() >= self.config.reapply)
    }

    fn must_reconcile(&self) -> bool {
        self.reconciled_at
            .is_none_or(|at| at.elapsed() >= self.config.reconcile)
    }

    /// Until the next thing to do by itself.
    fn wait(&self) -> Duration {
        let now = (self.clock)();
        let lease = self
            .tracker
            .next_change(now)
            .and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        // A listing that is overdue is already under way; only leases may cut it short.
        let reconcile = self.reconciled_at.filter(|_| !self.must_reconcile());
        let reconcile = reconcile.map(|at| self.config.reconcile.saturating_sub(at.elapsed()));
        let again = self.tracker.has_unfinished().then_some(E::TRY_AGAIN);
        let reapply = self.applied_at;
        let reapply = reapply.map(|at| self.config.reapply.saturating_sub(at.elapsed()));
        let report = self.reported_at;
        let report = report.map(|at| self.config.report.saturating_sub(at.elapsed()));
        let soonest = [lease, reconcile, again, reapply, report]
            .into_iter()
            .flatten()
            .min();
        soonest
            .unwrap_or(self.config.poll)
            .clamp(LEAST_ROUND, Duration::from_secs(60))
    }

    /// Takes what came: verify, order, keep, apply, acknowledge.
    async fn take(&mut self, news: News) -> Result<(), ConsumerError> {
        let (state, all) = match news {
            News::All(state) => (state, true),
            News::Changes(state) => (state, false),
        };
        let mut other_keys = self.keys.is_empty();
        if other_keys {
            self.learn_keys().await?;
        }
        let now = (self.clock)();
        let doubtful = |consumer: &Self| {
            let believed = |item| consumer.open(item, now).is_ok();
            !state.items.iter().all(believed)
        };
        // Keys end, and others take their place: looked at with every full list, and when a signature is strange.
        if !other_keys && (self.must_reconcile() || doubtful(self)) {
            other_keys = self.refresh_keys(now).await;
        }
        let mut newer = false;
        for item in &state.items {
            match self.open(item, now) {
                Ok((envelope, decision)) if self.is_mine(&decision) => {
                    newer |= self
                        .tracker
                        .offer(envelope, decision, &item.target_name, now);
                }
                Ok(_) => {}
                Err(error) => self.disbelieve(item, &error),
            }
        }
        if newer || other_keys {
            // Kept before it is acted on: a restart must never take an older one for new.
            self.save().await?;
        }
        self.version = Some(state.version);
        if all {
            self.reconciled_at = Some(Instant::now());
        }
        self.enforce(all).await
    }

    /// Verifies an envelope with as many signatures as its effect needs.
    fn open(
        &self,
        item: &Decision,
        now: Timestamp,
    ) -> Result<(Envelope, AllocationDecision), DsseError> {
        let envelope: Envelope = serde_json::from_value(item.envelope.clone())
            .map_err(|error| DsseError::Json(error.to_string()))?;
        let decision = AllocationDecision::open(&envelope, &self.keys, 1, now)?;
        let previous = self.tracker.current(&key_of(&decision.target));
        let threshold = required_signatures(previous, &decision, &self.config.signatures);
        let decision = AllocationDecision::open(&envelope, &self.keys, threshold, now)?;
        Ok((envelope, decision))
    }

    /// A decision that is not acted on. Only one by a key that was ours once is answered: anybody can make
    /// the others.
    fn disbelieve(&mut self, item: &Decision, error: &DsseError) {
        tracing::warn!(target = %item.target_name, %error, "a decision is not believed");
        let DsseError::NotInForce(key) = error else {
            return;
        };
        let envelope = serde_json::from_value::<Envelope>(item.envelope.clone());
        let payload = envelope.ok().and_then(|it| it.unverified_payload().ok());
        let decision = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(decision) = decision.filter(|decision| self.is_mine(decision)) else {
            return;
        };
        let current = self.tracker.current(&key_of(&decision.target));
        if current.is_none_or(|current| current.decision_id != decision.decision_id) {
            self.tracker
                .refuse(&decision, &RejectReason::RetiredKey(key.clone()));
        }
    }

    /// Reads the published keys again. True when others are trusted than before.
    async fn refresh_keys(&mut self, now: Timestamp) -> bool {
        let published = match self.client.keys().await {
            Ok(keys) => keys.iter().filter_map(published_of).collect::<Vec<_>>(),
            Err(error) => {
                tracing::debug!(%error, "the keys could not be read again");
                return false;
            }
        };
        let (signatures, audience) = (&self.config.signatures, &self.config.audience);
        let keys = trusted(&self.keys, &published, signatures, audience, now);
        let changed = keys != self.keys;
        self.keys = keys;
        changed
    }

    async fn learn_keys(&mut self) -> Result<(), ConsumerError> {
        let published = self.client.keys().await?;
        let records: Result<Vec<_>, _> = published.iter().map(record_of).collect();
        let records = records.map_err(|error| ConsumerError::Keys(error.to_string()))?;
        if records.is_empty() {
            return Err(ConsumerError::Keys("the service publishes none".to_owned()));
        }
        self.keys = records;
        Ok(())
    }

    /// Carries out what is due and reports it.
    async fn enforce(&mut self, reconcile: bool) -> Result<(), ConsumerError> {
        let now = (self.clock)();
        if reconcile {
            self.applied_at = Some(Instant::now());
        }
        let before = self.tracker.snapshot();
        for step in self.tracker.due(now, reconcile) {
            match step {
                Step::Apply(order) => {
                    self.tracker.applying(&order);
                    let outcome = self.enforcer.apply(&order).await;
                    if let Err(error) = &outcome {
                        tracing::warn!(target = %order.target.uid, %error, "an order was not carried out");
                    }
                    self.enforcer.admission(&order).await;
                    self.tracker.applied(&order, &outcome);
                }
                Step::Admission(order) => {
                    self.enforcer.admission(&order).await;
                    self.tracker.admitted(&order);
                }
            }
        }
        if self.tracker.snapshot() != before {
            self.save().await?;
        }
        self.acknowledge().await;
        Ok(())
    }

    /// Sends what is owed, oldest first, until the service does not answer.
    async fn acknowledge(&mut self) {
        let client = self.client.clone().with_timeout(ACK_TIMEOUT);
        while let Some(ack) = self.tracker.owed().cloned() {
            match client.acknowledge(&ack).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "acknowledgements wait");
                    return;
                }
                // It will not be taken later either; holding it back would hold back the rest.
                Err(error) => {
                    tracing::warn!(%error, phase = %ack.phase, "an acknowledgement was refused")
                }
            }
            self.tracker.settled();
        }
    }

    async fn save(&self) -> Result<(), ConsumerError> {
        let pinned: &[PublicKeyRecord] = match &self.config.keys {
            TrustedKeys::Pinned(keys) => keys,
            TrustedKeys::FirstSeen => &[],
        };
        let state = State::new(
            &self.config.scheduler,
            self.keys.clone(),
            pinned,
            self.tracker.snapshot(),
        );
        let path = self.config.state_file.clone();
        let saved = tokio::task::spawn_blocking(move || state.save(&path)).await;
        saved.map_err(|error| ConsumerError::StateFile {
            path: self.config.state_file.clone(),
            why: format!("writing was interrupted: {error}"),
        })?
    }

    /// Waits after a failure, but no longer than a lease allows.
    async fn back_off(&mut self, error: &ConsumerError, stop: &mut watch::Receiver<bool>) {
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(%error, failures = self.failures, "no contact; leases run on");
        let doubled = Duration::from_millis(250).saturating_mul(1 << self.failures.min(8));
        let asked = match error {
            ConsumerError::Client(error) => error.retry_after().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let wait = doubled.max(asked).min(LONGEST_BACKOFF).min(self.wait());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.changed() => {}
        }
    }
}

fn published_of(key: &Key) -> Option<PublishedKey> {
    Some(PublishedKey {
        record: record_of(key).ok()?,
        statement: key
            .statement
            .as_ref()
            .and_then(|envelope| serde_json::from_value(envelope.clone()).ok()),
    })
}

fn record_of(key: &Key) -> Result<PublicKeyRecord, serde_json::Error> {
    serde_json::to_value(key).and_then(serde_json::from_value)
}

#[cfg(test)]
mod tests;
