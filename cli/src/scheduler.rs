//! The embedded training host as a scheduler like any other: it reads signed
//! decisions over HTTP, verifies them, sets shares and acknowledges.

use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use plumbline_agents::Client;
use plumbline_agents::enforce::{Consumer, ConsumerConfig, Enforcer, TrustedKeys};
use plumbline_governance::dsse::PublicKeyRecord;
use plumbline_service::Service;
use plumbline_service::commands::CreateToken;
use plumbline_service::context::{Actor, Context as ActorContext, Scope};
use tokio::sync::watch;

/// Account and scheduler name of the embedded host.
const NAME: &str = "embedded-scheduler";

/// The running consumer; stops when dropped.
pub struct EmbeddedScheduler {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedScheduler {
    /// Starts consuming the decisions about the pool of `service`.
    pub fn start(
        service: &Service,
        url: &str,
        state_file: &Path,
        runs: impl Enforcer + 'static,
    ) -> Result<Self> {
        let token = fresh_token(service)?;
        // The keys come from the service in this very process: nothing is taken on trust.
        let keys = service
            .keys()?
            .into_iter()
            .map(|key| Ok(serde_json::from_value(serde_json::to_value(key)?)?));
        let keys = keys.collect::<Result<Vec<PublicKeyRecord>>>()?;
        let config =
            ConsumerConfig::new(NAME, service.pool(), TrustedKeys::Pinned(keys), state_file);
        let client = Client::new(url, Some(token))?;
        let mut consumer = Consumer::new(client, config, runs)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new().name("scheduler".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(consumer.run(stopped)) {
                tracing::error!(%error, "the embedded scheduler ended; shares stay as they are");
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for EmbeddedScheduler {
    fn drop(&mut self) {
        // An error means that the consumer has ended already.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A new token at every start; those of earlier starts are revoked.
fn fresh_token(service: &Service) -> Result<String> {
    let account = service
        .system_scheduler(NAME)
        .context("cannot make the embedded scheduler's account")?;
    let actor = Actor {
        account_id: Some(account.id),
        handle: account.handle,
        roles: account.roles,
        scopes: vec![Scope::Read, Scope::Schedule],
        session: false,
    };
    let ctx = ActorContext::of(actor);
    for old in service.tokens(&ctx)? {
        service.revoke_token(&ctx, &old.id)?;
    }
    let cmd = CreateToken {
        name: NAME.to_owned(),
        scopes: vec!["read".to_owned(), "schedule".to_owned()],
        valid_days: None,
    };
    Ok(service.create_token(&ctx, &cmd)?.token)
}
