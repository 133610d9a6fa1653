//! A typed client of the public HTTP API.
//!
//! Every call has a timeout and bounded retries; every POST carries an
//! `Idempotency-Key` that stays the same over its retries, so that a lost
//! answer never makes a second trade.

mod completions;
mod documents;
mod exhibit;
mod http;
mod jury;
mod retry;
mod types;

pub use completions::{Choice, CompletionRequest, Completions, Logprobs, Model, Usage};
pub use exhibit::{content_hash, fresh_nonce, usual_kind};
pub use jury::{Opening, Panel, Seat};
pub use retry::RetryPolicy;
pub use types::{
    Ack, Allocations, Checkpoint, Commitment, Decision, Dispute, EnforcementReport, Evidence,
    EvidenceFee, HeldShare, Judgement, Key, Market, Me, NewEvidence, NewToken, Order, Outcome,
    Page, Polled, Price, Quote, Run, Settlement, Trade, Training, evidence_commitment,
};

use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::json;
use uuid::Uuid;

use crate::error::ClientError;
use http::root_cause;

/// A client of one service, cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    retry: RetryPolicy,
    timeout: Duration,
}

impl Client {
    /// A client of the service at `base_url` (for example
    /// `http://127.0.0.1:8600`), with a bearer token for what needs one.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] when the address is not an HTTP URL, the
    /// token cannot be sent in a header, or TLS cannot be set up.
    pub fn new(base_url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let base = Url::parse(base_url).map_err(|error| {
            ClientError::Configuration(format!("`{base_url}` is not a URL: {error}"))
        })?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(ClientError::Configuration(format!(
                "`{base_url}` does not start with http:// or https://"
            )));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("plumbline-agents/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Configuration(root_cause(&error)))?;
        let client = Self {
            http,
            base,
            token: None,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(30),
        };
        client.with_token(token)
    }

    /// The same client with another token, or none.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] when the token cannot be sent in a header.
    pub fn with_token(mut self, token: Option<String>) -> Result<Self, ClientError> {
        if token
            .as_ref()
            .is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(ClientError::Configuration(
                "the token holds characters that cannot be sent; pass it exactly as it was shown"
                    .to_owned(),
            ));
        }
        self.token = token;
        Ok(self)
    }

    /// The same client with another retry policy.
    #[must_use]
    pub const fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The same client with another timeout per try (default 30 s; long polls add their wait).
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The service's address.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.base.as_str()
    }

    // ---- accounts

    /// Signs up. A handle is 3 to 32 of `a-z 0-9 _ -`, a password at least 12 characters.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn create_account(&self, handle: &str, password: &str) -> Result<Me, ClientError> {
        self.post(
            &["api", "v1", "accounts"],
            &json!({"handle": handle, "password": password}),
        )
        .await
    }

    /// Logs in with a password, makes a token with `scopes`, and logs out again.
    ///
    /// # Errors
    /// [`ClientError::Api`] with `bad-credentials` when handle or password is wrong; otherwise as every call.
    pub async fn create_token(
        &self,
        handle: &str,
        password: &str,
        name: &str,
        scopes: &[&str],
    ) -> Result<NewToken, ClientError> {
        let anonymous = self.clone().with_token(None)?;
        let body = json!({"handle": handle, "password": password});
        let answer = anonymous
            .send(&anonymous.post_request(&["api", "v1", "sessions"], &body)?)
            .await?;
        let cookie = answer.cookies();
        let csrf = answer.csrf_token();
        let body = json!({"name": name, "scopes": scopes});
        let mut request = anonymous.post_request(&["api", "v1", "tokens"], &body)?;
        request.cookie = Some(cookie.clone());
        request.csrf = csrf.clone();
        let made = anonymous.send(&request).await?.json()?;
        let mut request = anonymous.request(Method::DELETE, &["api", "v1", "sessions"]);
        request.cookie = Some(cookie);
        request.csrf = csrf;
        if let Err(error) = anonymous.send(&request).await {
            tracing::debug!(%error, "the session that made the token was not closed; it lapses by itself");
        }
        Ok(made)
    }

    /// The token's account and balance.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn me(&self) -> Result<Me, ClientError> {
        self.get(&["api", "v1", "me"], Vec::new()).await
    }

    // ---- runs and markets

    /// Every run, following pages.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn runs(&self) -> Result<Vec<Run>, ClientError> {
        self.list(&["api", "v1", "runs"], Vec::new()).await
    }

    /// One run, by id or name.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn run(&self, id: &str) -> Result<Run, ClientError> {
        self.get(&["api", "v1", "runs", id], Vec::new()).await
    }

    /// A run's checkpoints that the service knows.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn checkpoints(&self, run_id: &str) -> Result<Vec<Checkpoint>, ClientError> {
        let path = ["api", "v1", "runs", run_id, "checkpoints"];
        self.send(&self.request(Method::GET, &path))
            .await?
            .rows(&["items", "checkpoints"])
    }

    /// Live training figures of a run.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn training(&self, run_id: &str) -> Result<Training, ClientError> {
        self.get(&["api", "v1", "training", "runs", run_id], Vec::new())
            .await
    }

    /// Every market, optionally of one run or in one status, following pages.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn markets(
        &self,
        run_id: Option<&str>,
        status: Option<&str>,
    ) -> Result<Vec<Market>, ClientError> {
        let mut query = Vec::new();
        query.extend(run_id.map(|id| ("run_id", id.to_owned())));
        query.extend(status.map(|status| ("status", status.to_owned())));
        self.list(&["api", "v1", "markets"], query).await
    }

    /// One market.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn market(&self, id: &str) -> Result<Market, ClientError> {
        self.get(&["api", "v1", "markets", id], Vec::new()).await
    }

    /// A market's whole price history, oldest first, following pages.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn prices(&self, market_id: &str) -> Result<Vec<Price>, ClientError> {
        self.list(&["api", "v1", "markets", market_id, "prices"], Vec::new())
            .await
    }

    /// What an order would do now.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn quote(&self, market_id: &str, order: &Order) -> Result<Quote, ClientError> {
        self.post(&["api", "v1", "markets", market_id, "quotes"], order)
            .await
    }

    /// Trades.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn trade(&self, market_id: &str, order: &Order) -> Result<Trade, ClientError> {
        self.post(&["api", "v1", "markets", market_id, "trades"], order)
            .await
    }

    // ---- evidence

    /// Submits evidence. The answer may still be `pending`.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn submit_evidence(
        &self,
        market_id: &str,
        evidence: &NewEvidence,
    ) -> Result<Evidence, ClientError> {
        self.post(&["api", "v1", "markets", market_id, "evidence"], evidence)
            .await
    }

    /// One submission.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn evidence(&self, id: &str) -> Result<Evidence, ClientError> {
        self.get(&["api", "v1", "evidence", id], Vec::new()).await
    }

    /// Every submission to a market, following pages.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn evidence_of(&self, market_id: &str) -> Result<Vec<Evidence>, ClientError> {
        self.list(&["api", "v1", "markets", market_id, "evidence"], Vec::new())
            .await
    }

    /// What the next submission to a market costs.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn evidence_fee(&self, market_id: &str) -> Result<EvidenceFee, ClientError> {
        let path = ["api", "v1", "markets", market_id, "evidence", "fee"];
        self.get(&path, Vec::new()).await
    }

    /// Commits to evidence by the hash that [`evidence_commitment`] makes; reveal it by
    /// submitting with the commitment's id and the nonce.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn commit_evidence(
        &self,
        market_id: &str,
        commitment: &str,
    ) -> Result<Commitment, ClientError> {
        let path = ["api", "v1", "markets", market_id, "commitments"];
        self.post(&path, &json!({"commitment": commitment})).await
    }

    /// Disputes that a submission is what it says.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn dispute_evidence(
        &self,
        id: &str,
        reason: &str,
        bond_micro: i64,
    ) -> Result<Dispute, ClientError> {
        let path = ["api", "v1", "evidence", id, "challenges"];
        let body = json!({"reason": reason, "bond_micro": bond_micro});
        self.post(&path, &body).await
    }

    // ---- the decision contract

    /// The full desired state of some runs or pools (at most 64), of every target when none is named.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn allocations(&self, targets: &[Uuid]) -> Result<Allocations, ClientError> {
        let query = only(targets).into_iter().collect();
        self.get(&["api", "v1", "allocations"], query).await
    }

    /// Waits up to `wait` (at most 60 s) for a decision newer than `since`, on `targets` as in
    /// [`Client::allocations`].
    ///
    /// It is tried once: a consumer of decisions has its own rhythm.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn poll_allocations(
        &self,
        since: i64,
        wait: Duration,
        targets: &[Uuid],
    ) -> Result<Polled, ClientError> {
        let seconds = wait.as_secs().min(60);
        let mut request = self.request(Method::GET, &["api", "v1", "allocations"]);
        request.query = vec![
            ("since", since.to_string()),
            ("wait", seconds.to_string()),
            ("changes", "true".to_owned()),
        ];
        request.query.extend(only(targets));
        request.timeout = self.timeout + Duration::from_secs(seconds);
        let once = self.clone().with_retry(RetryPolicy::once());
        let answer = match once.send(&request).await {
            Ok(answer) => answer,
            Err(ClientError::Api(error)) if error.status == 410 => return Ok(Polled::Relist),
            Err(error) => return Err(error),
        };
        if matches!(answer.status, 204 | 304) {
            return Ok(Polled::Unchanged);
        }
        let state: Allocations = answer.json()?;
        // An answer that is not newer is how a wait without news ends, too.
        Ok(match state.version.cmp(&since) {
            std::cmp::Ordering::Greater => Polled::Changed(state),
            std::cmp::Ordering::Equal => Polled::Unchanged,
            std::cmp::Ordering::Less => Polled::Relist,
        })
    }

    /// Acknowledges a phase of a decision.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn acknowledge(&self, ack: &Ack) -> Result<(), ClientError> {
        let request = self.post_request(&["api", "v1", "acks"], ack)?;
        self.send(&request).await.map(drop)
    }

    /// Reports what is held, in the place of the report before.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn report_enforcement(&self, report: &EnforcementReport) -> Result<(), ClientError> {
        let request = self.post_request(&["api", "v1", "enforcement"], report)?;
        self.send(&request).await.map(drop)
    }

    /// The service's verification keys.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn keys(&self) -> Result<Vec<Key>, ClientError> {
        let answer = self
            .send(&self.request(Method::GET, &["api", "v1", "keys"]))
            .await?;
        answer.rows(&["items", "keys"])
    }

    // ---- the completion gateway

    /// What the gateway serves.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn models(&self) -> Result<Vec<Model>, ClientError> {
        let answer = self
            .send(&self.request(Method::GET, &["v1", "models"]))
            .await?;
        answer.rows(&["data", "items"])
    }

    /// Completes every prompt; the choices come in the order of the prompts.
    ///
    /// # Errors
    /// As every call; [`ClientError::Malformed`] also when the number of completions differs from that of prompts.
    pub async fn complete(
        &self,
        request: &CompletionRequest,
    ) -> Result<(Vec<Choice>, Usage), ClientError> {
        let mut sent = self.post_request(&["v1", "completions"], request)?;
        sent.timeout = self.timeout.saturating_mul(4);
        let answer = self.send(&sent).await?;
        let mut completions: Completions = answer.json()?;
        completions.choices.sort_by_key(|choice| choice.index);
        let in_order = completions
            .choices
            .iter()
            .enumerate()
            .all(|(at, choice)| choice.index == at);
        if completions.choices.len() != request.prompt.len() || !in_order {
            return Err(answer.malformed(format!(
                "{} completions for {} prompts",
                completions.choices.len(),
                request.prompt.len()
            )));
        }
        Ok((completions.choices, completions.usage))
    }
}

/// The parameter that names targets, if any are named.
fn only(targets: &[Uuid]) -> Option<(&'static str, String)> {
    let named: Vec<String> = targets.iter().map(Uuid::to_string).collect();
    (!named.is_empty()).then(|| ("targets", named.join(",")))
}

#[cfg(test)]
mod tests;
