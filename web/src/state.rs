//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actix_web::{HttpRequest, web};
use plumbline_service::Service;
use tokio::sync::{Semaphore, watch};

use crate::config::WebConfig;
use crate::limit::Limiter;
use crate::news::{Listing, SharedNews};
use crate::problem::Problem;
use crate::tail::Tail;
use crate::templates::Templates;
use crate::traffic::Traffic;
use crate::waiters::Waiters;

/// The server's state; one value for all workers.
pub(crate) struct AppState {
    /// The use cases.
    pub(crate) service: Service,
    /// What the operator chose.
    pub(crate) config: WebConfig,
    /// The compiled templates.
    pub(crate) templates: Templates,
    /// The newest events, and who waits for more.
    pub(crate) tail: Arc<Tail>,
    /// The newest decisions.
    pub(crate) allocations: watch::Receiver<SharedNews>,
    /// Who waits for decisions, by the target.
    pub(crate) concerned: Arc<Waiters>,
    /// Epoch of the store that [`AppState::allocations`] is at least as new as.
    pub(crate) followed: Arc<AtomicU64>,
    /// All decisions in force.
    pub(crate) listing: Listing,
    /// Becomes true when the server is asked to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    /// One permit per open event stream.
    pub(crate) streams: Arc<Semaphore>,
    /// One permit per completion request that may be answered at once.
    pub(crate) completions: Arc<Semaphore>,
    /// What was asked and how long it took.
    pub(crate) traffic: Traffic,
    /// Requests of any kind.
    pub(crate) requests: Limiter,
    /// Requests of signed-in accounts, whatever their credentials and addresses.
    pub(crate) accounts: Limiter,
    /// Attempts to sign in or up, by address and by account.
    pub(crate) credentials: Limiter,
}

impl AppState {
    /// The state behind a request.
    pub(crate) fn of(req: &HttpRequest) -> Result<&Self, Problem> {
        req.app_data::<web::Data<Self>>()
            .map(|data| data.get_ref())
            .ok_or_else(|| Problem::internal("a route was mounted without the server's state"))
    }
}
