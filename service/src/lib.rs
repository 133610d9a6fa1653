//! Use cases and jobs: the one place where market, oracle, governance and the
//! store meet.
//!
//! Data goes one way: request → use case (here) → domain → store → event.
//! Every use case takes a [`context::Context`], checks that its actor may do
//! it, and makes its whole change in one transaction together with its ledger
//! entries and its outbox event.
//!
//! **Invariant.** No HTTP, no tensors, no SQL: web, the training core and the
//! store are reached only through values and the [`host::RunHost`] trait.

pub mod commands;
pub mod context;
pub mod error;
pub mod host;
pub mod views;

pub use error::ServiceError;

/// Result of a use case.
pub type Result<T> = std::result::Result<T, ServiceError>;

use std::sync::Arc;
use std::time::Duration;
use commands::*;
use context::{Actor, Context};
use host::{Generated, Sampling};
use views::*;

/// The running service; cheap to clone.
#[derive(Clone)]
pub struct Service { inner: Arc<()> }

#[allow(unused_variables, missing_docs)]
impl Service {
    // ---- accounts.rs
    /// Who a session cookie's secret belongs to, with the CSRF token that forms must carry.
    pub fn actor_of_session(&self, secret: &str) -> Result<Option<(Actor, String)>> { todo!() }
    /// Who a bearer token belongs to.
    pub fn actor_of_token(&self, token: &str) -> Result<Actor> { todo!() }
    pub fn create_account(&self, ctx: &Context, cmd: &CreateAccount) -> Result<MeView> { todo!() }
    pub fn login(&self, cmd: &Login) -> Result<SessionOpened> { todo!() }
    pub fn logout(&self, secret: &str) -> Result<()> { todo!() }
    pub fn me(&self, ctx: &Context) -> Result<MeView> { todo!() }
    pub fn create_token(&self, ctx: &Context, cmd: &CreateToken) -> Result<TokenCreated> { todo!() }
    pub fn tokens(&self, ctx: &Context) -> Result<Vec<TokenView>> { todo!() }
    pub fn revoke_token(&self, ctx: &Context, id: &str) -> Result<()> { todo!() }
    /// True until the first account exists.
    pub fn needs_setup(&self) -> Result<bool> { todo!() }
    /// Creates the first account (operator) when `setup_code` is the one printed at start.
    pub fn set_up(&self, setup_code: &str, cmd: &CreateAccount) -> Result<MeView> { todo!() }
    // ---- runs.rs
    pub fn register_run(&self, ctx: &Context, cmd: &RegisterRun) -> Result<RunView> { todo!() }
    pub fn runs(&self, ctx: &Context, cursor: Option<&str>, limit: usize) -> Result<Page<RunView>> { todo!() }
    /// By id or by name.
    pub fn run(&self, ctx: &Context, id: &str) -> Result<RunView> { todo!() }
    pub fn register_checkpoint(&self, ctx: &Context, run_id: &str, cmd: &RegisterCheckpoint) -> Result<CheckpointView> { todo!() }
    pub fn checkpoints(&self, ctx: &Context, run_id: &str) -> Result<Vec<CheckpointView>> { todo!() }
    // ---- markets.rs
    pub fn open_market(&self, ctx: &Context, cmd: &OpenMarket) -> Result<MarketView> { todo!() }
    pub fn markets(&self, ctx: &Context, run_id: Option<&str>, status: Option<&str>, cursor: Option<&str>, limit: usize) -> Result<Page<MarketView>> { todo!() }
    pub fn market(&self, ctx: &Context, id: &str) -> Result<MarketView> { todo!() }
    pub fn prices(&self, ctx: &Context, market_id: &str, cursor: Option<&str>, limit: usize) -> Result<Page<PricePoint>> { todo!() }
    /// At most `points` points of the whole history, for a chart.
    pub fn price_chart(&self, ctx: &Context, market_id: &str, points: usize) -> Result<Vec<PricePoint>> { todo!() }
    pub fn trades(&self, ctx: &Context, market_id: &str, cursor: Option<&str>, limit: usize) -> Result<Page<TradeView>> { todo!() }
    pub fn positions(&self, ctx: &Context, market_id: &str, cursor: Option<&str>, limit: usize) -> Result<Page<PositionView>> { todo!() }
    pub fn my_positions(&self, ctx: &Context) -> Result<Vec<PositionView>> { todo!() }
    pub fn quote(&self, ctx: &Context, market_id: &str, order: &TradeOrder) -> Result<QuoteView> { todo!() }
    pub fn trade(&self, ctx: &Context, market_id: &str, order: &TradeOrder) -> Result<TradeView> { todo!() }
    pub fn freeze_market(&self, ctx: &Context, market_id: &str) -> Result<MarketView> { todo!() }
    // ---- evidence.rs
    pub fn submit_evidence(&self, ctx: &Context, market_id: &str, cmd: &SubmitEvidence) -> Result<EvidenceView> { todo!() }
    pub fn evidence_list(&self, ctx: &Context, market_id: &str, cursor: Option<&str>, limit: usize) -> Result<Page<EvidenceView>> { todo!() }
    pub fn evidence(&self, ctx: &Context, id: &str) -> Result<EvidenceView> { todo!() }
    // ---- allocations.rs
    pub fn allocations(&self, ctx: &Context) -> Result<AllocationsView> { todo!() }
    /// Long poll: returns at once when the version is above `since`, else after `wait` at the latest (then `None`).
    pub fn wait_allocations(&self, ctx: &Context, since: i64, wait: Duration) -> Result<Option<AllocationsView>> { todo!() }
    pub fn decision(&self, ctx: &Context, decision_id: &str) -> Result<DecisionView> { todo!() }
    /// Newest first, all targets.
    pub fn decisions(&self, ctx: &Context, cursor: Option<&str>, limit: usize) -> Result<Page<DecisionView>> { todo!() }
    pub fn acknowledge(&self, ctx: &Context, cmd: &Acknowledge) -> Result<AckView> { todo!() }
    pub fn keys(&self) -> Vec<KeyView> { todo!() }
    pub fn policy(&self, ctx: &Context) -> Result<PolicyView> { todo!() }
    pub fn policy_versions(&self, ctx: &Context) -> Result<Vec<PolicyView>> { todo!() }
    // ---- oracle.rs
    pub fn oracle(&self, ctx: &Context) -> Result<OracleView> { todo!() }
    // ---- ledger.rs
    pub fn account_transfers(&self, ctx: &Context, account_id: &str, cursor: Option<&str>, limit: usize) -> Result<Page<TransferView>> { todo!() }
    pub fn ledger_summary(&self, ctx: &Context) -> Result<LedgerSummary> { todo!() }
    // ---- training.rs
    pub fn training(&self, ctx: &Context, run_id: &str) -> Result<TrainingView> { todo!() }
    pub fn rounds(&self, ctx: &Context, run_id: &str, after: u64, limit: usize) -> Result<Vec<RoundView>> { todo!() }
    pub fn nodes(&self, ctx: &Context, run_id: &str) -> Result<Vec<NodeView>> { todo!() }
    pub fn contributions(&self, ctx: &Context, run_id: &str) -> Result<Vec<ContributionView>> { todo!() }
    pub fn models(&self, ctx: &Context) -> Result<Vec<ModelView>> { todo!() }
    /// Blocks while the model generates; refuses with `Limited` when the run's allocation forbids it.
    pub fn complete(&self, ctx: &Context, model: &str, prompts: &[String], sampling: &Sampling) -> Result<Vec<Generated>> { todo!() }
    // ---- events.rs
    /// Events after `after` on any of `topics` (`topic` or `topic:*`), oldest first.
    pub fn events_after(&self, ctx: &Context, after: i64, topics: &[String], limit: usize) -> Result<Vec<EventView>> { todo!() }
    pub fn last_event_id(&self) -> Result<i64> { todo!() }
    /// Calls `wake` after every commit that added events; dropped when it returns false.
    pub fn on_events(&self, wake: impl Fn() -> bool + Send + Sync + 'static) { todo!() }
    // ---- jobs.rs
    pub fn jobs(&self, ctx: &Context, limit: usize) -> Result<Vec<JobView>> { todo!() }
    /// Liveness: the writer answers. Readiness: migrations done, jobs running, key loaded.
    pub fn ready(&self) -> Result<()> { todo!() }
    /// Prometheus text.
    pub fn metrics(&self) -> Result<String> { todo!() }
}
