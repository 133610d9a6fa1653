//! Use cases and jobs: the one place where market, oracle, governance and the
//! store meet.
//!
//! Data goes one way: request → use case (here) → domain → store → event.
//! Every use case takes a [`context::Context`], checks that its actor may do
//! it, and makes its whole change in one transaction together with its ledger
//! entries and its outbox event. Reading order: [`context`] (who asks),
//! [`commands`] and [`views`] (what goes in and out), then one module per
//! aggregate, then [`jobs`] (what happens without anybody asking).
//!
//! **Invariant.** No HTTP, no tensors, no SQL: web, the training core and the
//! store are reached only through values and the [`host::RunHost`] trait.

mod accounts;
mod allocations;
pub mod attachments;
pub mod audit;
mod authorise;
mod calibration;
pub mod commands;
mod comments;
pub mod context;
mod cosigning;
mod credentials;
pub mod defences;
mod enforcement;
pub mod entropy;
pub mod error;
mod events;
mod evidence;
pub mod exposition;
mod fees;
pub mod host;
mod hosting;
mod inference;
pub mod jobs;
mod keys;
mod learning;
mod ledger;
mod lives;
mod manipulation;
mod markets;
mod metering;
mod metrics;
mod node_stakes;
pub mod notices;
mod operations;
mod oracle;
mod orders;
mod outcomes;
mod page;
mod panels;
mod people;
mod policy;
mod policy_facts;
mod policy_record;
mod policy_simulation;
mod portfolio;
mod price_window;
mod quotes;
mod release;
pub mod restore;
mod revenue;
mod roles;
mod runs;
mod secrets;
mod settlement;
mod standings;
mod steady;
pub mod time;
mod trades;
mod training;
mod transparency;
mod turns;
pub mod views;
mod voting;
pub mod webhooks;

use std::ops::Deref;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use plumbline_access::Access;
pub use plumbline_access::table::{Need, needs};
pub use plumbline_access::{Action, SignUp};
use plumbline_governance::decision::Baseline;
use plumbline_governance::dsse::DecisionSigner;
use plumbline_governance::policy::Policy;
use plumbline_oracle::Ensemble;
use plumbline_store::{Store, Tx, idempotency};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::account_of;
use crate::context::Context;
use crate::defences::Defences;
use crate::entropy::{Entropy, Ids, OsEntropy};
pub use crate::error::ServiceError;
pub use crate::evidence::{EvidenceTerms, JudgingQueue};
use crate::host::RunHost;
pub use crate::keys::KeyChange;
pub use crate::node_stakes::NodeTerms;
pub use crate::panels::{PanelConfig, StudyPanel};
pub use crate::people::{recovery, totp};
pub use crate::secrets::PasswordCost;
pub use crate::settlement::SettlementConfig;
use crate::time::{Clock, Millis, SteadyClock};
pub use crate::voting::VotingConfig;

/// Result of a use case.
pub type Result<T> = std::result::Result<T, ServiceError>;

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Who may make an account.
    pub sign_up: SignUp,
    /// Visitors may read.
    pub public_read: bool,
    /// Opening balance of a new account, issued by the treasury.
    pub sign_up_grant_micro: i64,
    /// Fee of an account's first submission of evidence to a market, to the treasury.
    pub evidence_fee_micro: i64,
    /// Further terms of evidence.
    pub evidence: EvidenceTerms,
    /// Weight κ ∈ (0, 1] with which the ensemble's shift moves a price.
    pub kappa: f64,
    /// Milliseconds between two looks at deadlines and the policy.
    pub tick_ms: u64,
    /// Name of the pool whose compute the policy divides; the decisions' audience.
    pub pool: String,
    /// What the pool has, so that a share can be said in units too.
    pub baseline: Option<Baseline>,
    /// Positions that are paid out in one transaction; at least one.
    pub payout_chunk: i64,
    /// Which defences against known attacks stand; all of them, outside of experiments.
    pub defences: Defences,
    /// How much evidence may wait for the judges.
    pub judging: JudgingQueue,
    /// Prices and odds of jury duty.
    pub panels: PanelConfig,
    /// Windows, bonds and audits of markets that do not say otherwise.
    pub settlement: SettlementConfig,
    /// Terms of proposals and votes.
    pub voting: VotingConfig,
    /// Milliseconds between two checkpoints of the transparency log that are kept.
    pub checkpoint_every_ms: i64,
    /// How this process came by its signing key, where another one signed before.
    pub key_change: Option<KeyChange>,
    /// Terms of nodes' stakes.
    pub nodes: NodeTerms,
    /// What guessing a password costs whoever has its hash.
    pub password_cost: PasswordCost,
    /// Where people reach the service, for links in mail and for passkeys: scheme, host and port,
    /// without a slash at the end.
    pub public_url: String,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            sign_up: SignUp::Open,
            public_read: true,
            sign_up_grant_micro: 1_000_000_000,
            evidence_fee_micro: 100_000,
            evidence: EvidenceTerms::default(),
            kappa: 0.8,
            tick_ms: 500,
            pool: "default".to_owned(),
            baseline: None,
            payout_chunk: 500,
            defences: Defences::default(),
            judging: JudgingQueue::default(),
            panels: PanelConfig::default(),
            settlement: SettlementConfig::default(),
            voting: VotingConfig::default(),
            checkpoint_every_ms: 60_000,
            key_change: None,
            nodes: NodeTerms::default(),
            password_cost: PasswordCost::default(),
            public_url: "http://127.0.0.1:8600".to_owned(),
        }
    }
}

/// What a service is made of.
pub struct ServiceParts {
    /// Where everything is kept.
    pub store: Store,
    /// The judges.
    pub ensemble: Arc<Ensemble>,
    /// Whatever trains and serves runs.
    pub host: Arc<dyn RunHost>,
    /// Signs decisions.
    pub signing_key: DecisionSigner,
    /// The policy that is put in force when the store has none.
    pub first_policy: String,
    /// Settings.
    pub config: ServiceConfig,
}

type Waker = Box<dyn Fn() -> bool + Send + Sync>;

/// Everything behind a [`Service`].
pub struct Inner {
    store: Store,
    /// The judges as they were shipped; those in force are [`Inner::judges`].
    ensemble: Arc<Ensemble>,
    in_force: learning::InForce,
    host: Arc<dyn RunHost>,
    signing_key: DecisionSigner,
    log_origin: String,
    checkpointed_at: AtomicI64,
    config: ServiceConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ids: Ids,
    setup_code: String,
    wakers: Mutex<Vec<Waker>>,
    bell: jobs::Bell,
    counters: metrics::Counters,
    turns: turns::Turns,
    compiled_policy: Mutex<Option<(i64, Arc<Policy>)>>,
    tidied_at: AtomicI64,
    marked_at: AtomicI64,
    lately: manipulation::Lately,
    exporting: Mutex<()>,
    replaying: Mutex<()>,
    credentials: credentials::Credentials,
    access: Access,
    policy_memory: policy_facts::Memory,
    board: quotes::Board,
    webhooks: webhooks::Desk,
    notices: notices::Desk,
    passkeys: people::passkeys::Desk,
    clerk: metering::Clerk,
    revenue_closed: AtomicI64,
    /// When a probe of readiness last wrote something.
    written: Mutex<Option<std::time::Instant>>,
}

/// The running service; cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

impl Deref for Service {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Service {
    /// Opens the service on its parts: makes the treasury, puts the first
    /// policy in force if there is none, and connects the outbox to its readers.
    pub fn open(parts: ServiceParts) -> Result<Self> {
        let clock = SteadyClock::system(steady::high_water(&parts.store)?);
        Self::open_with_clock(parts, Arc::new(clock))
    }

    /// As [`Service::open`], with a clock of the caller's.
    pub fn open_with_clock(parts: ServiceParts, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(parts, clock, Arc::new(OsEntropy))
    }

    /// As [`Service::open`], with a clock and an entropy of the caller's: then everything that
    /// the service does is a function of its requests.
    pub fn open_with(
        parts: ServiceParts,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let now = clock.now();
        let access =
            Access::new(authorise::circumstances(&parts.config)).map_err(ServiceError::internal)?;
        let first_policy = policy::check_text(&parts.first_policy)?;
        let key = keys::own(&parts.signing_key, &parts.config);
        let shipped = Arc::clone(&parts.ensemble);
        let log_origin = parts.store.write(move |tx| {
            ledger::ensure_treasury(tx, now)?;
            panels::ensure_jury(tx, now)?;
            voting::ensure_accounts(tx, now)?;
            metering::ensure_accounts(tx, now)?;
            revenue::ensure_account(tx, now)?;
            metering::release_leftovers(tx, now)?;
            // The file is ours alone from here on, so no worker of another process holds a job.
            plumbline_store::jobs::requeue_running(tx)?;
            policy::ensure_active(tx, &first_policy, now)?;
            learning::start(tx, &shipped, now)?;
            keys::ensure_own(tx, &key, now)?;
            transparency::origin(tx, &key.key_id, now)
        })?;
        let inner = Arc::new(Inner {
            store: parts.store,
            ensemble: parts.ensemble,
            in_force: learning::InForce::default(),
            host: parts.host,
            signing_key: parts.signing_key,
            log_origin,
            checkpointed_at: AtomicI64::new(0),
            passkeys: people::passkeys::Desk::of(&parts.config.public_url),
            config: parts.config,
            clock,
            setup_code: secrets::random_secret(entropy.as_ref())?,
            entropy,
            ids: Ids::default(),
            wakers: Mutex::new(Vec::new()),
            bell: jobs::Bell::default(),
            counters: metrics::Counters::default(),
            turns: turns::Turns::default(),
            compiled_policy: Mutex::new(None),
            tidied_at: AtomicI64::new(0),
            marked_at: AtomicI64::new(0),
            lately: manipulation::Lately::default(),
            exporting: Mutex::new(()),
            replaying: Mutex::new(()),
            credentials: credentials::Credentials::default(),
            access,
            policy_memory: policy_facts::Memory::default(),
            board: quotes::Board::default(),
            webhooks: webhooks::Desk::default(),
            notices: notices::Desk::default(),
            clerk: metering::Clerk::default(),
            revenue_closed: AtomicI64::new(0),
            written: Mutex::new(None),
        });
        let weak = Arc::downgrade(&inner);
        inner.store.on_commit(move |_last| {
            if let Some(inner) = weak.upgrade() {
                inner.ring();
            }
        });
        Ok(Self { inner })
    }

    /// A use case that writes: replays the stored answer when the actor sent
    /// the same idempotency key before, else runs `f` and stores its answer in
    /// the same transaction. Only successes are stored: a refused request may
    /// be tried again with the same key.
    pub(crate) fn write_once<T, F>(&self, ctx: &Context, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(&mut Tx, Millis) -> Result<T> + Send + 'static,
    {
        self.write(self.once(ctx, f)?)
    }

    /// As [`Service::write_once`], for a task instead of a thread.
    pub(crate) async fn write_once_async<T, F>(&self, ctx: &Context, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(&mut Tx, Millis) -> Result<T> + Send + 'static,
    {
        self.store.write_async(self.once(ctx, f)?).await
    }

    /// The write of [`Service::write_once`].
    fn once<T, F>(
        &self,
        ctx: &Context,
        f: F,
    ) -> Result<impl FnOnce(&mut Tx) -> Result<T> + Send + 'static>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(&mut Tx, Millis) -> Result<T> + Send + 'static,
    {
        let clock = Arc::clone(&self.clock);
        let idempotency = match ctx.idempotency.clone() {
            Some(idempotency) => Some((account_of(&ctx.actor)?, idempotency)),
            None => None,
        };
        Ok(move |tx: &mut Tx| {
            let now = clock.now();
            let Some((account, idempotency)) = idempotency else {
                return f(tx, now);
            };
            if let Some(answer) = idempotency::get(tx, &account, &idempotency.key)? {
                if answer.request_hash != idempotency.request_hash {
                    return Err(ServiceError::IdempotencyMismatch);
                }
                return serde_json::from_str(&answer.body).map_err(ServiceError::internal);
            }
            let value = f(tx, now)?;
            let body = serde_json::to_string(&value).map_err(ServiceError::internal)?;
            idempotency::put(
                tx,
                &account,
                &idempotency.key,
                &idempotency.request_hash,
                200,
                &body,
                now,
            )?;
            Ok(value)
        })
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// A fresh UUIDv7: sorts by time of creation.
    pub(crate) fn new_id(&self) -> String {
        self.new_uuid().to_string()
    }

    /// As [`Inner::new_id`], not yet as text.
    pub(crate) fn new_uuid(&self) -> uuid::Uuid {
        self.ids.next(self.now(), self.entropy.as_ref())
    }

    /// 32 random bytes, for seeds and nonces.
    pub(crate) fn random_seed(&self) -> Result<[u8; 32]> {
        let mut seed = [0u8; 32];
        self.entropy.fill(&mut seed)?;
        Ok(seed)
    }

    /// A fresh secret; see [`secrets::random_secret`].
    pub(crate) fn new_secret(&self) -> Result<String> {
        secrets::random_secret(self.entropy.as_ref())
    }

    #[track_caller]
    pub(crate) fn read<T>(&self, f: impl FnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        self.store.read(f)
    }

    pub(crate) fn write<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx) -> Result<T> + Send + 'static,
    {
        self.store.write(f)
    }

    /// As [`Inner::write`], with the time at which the transaction begins: what is written in one order is dated in
    /// that order, however long it waited for its turn.
    pub(crate) fn write_at<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx, Millis) -> Result<T> + Send + 'static,
    {
        let clock = Arc::clone(&self.clock);
        self.store.write(move |tx| f(tx, clock.now()))
    }

    /// Wakes the jobs and everybody who waits for events.
    fn ring(&self) {
        self.bell.ring();
        let mut wakers = self
            .wakers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        wakers.retain(|wake| wake());
    }
}
