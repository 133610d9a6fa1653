//! A service that governs a thousand outside runs, and what makes it decide.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use plumbline_governance::dsse::DecisionSigner;
use plumbline_governance::policy::Policy;
use plumbline_oracle::Ensemble;
use plumbline_oracle::pool::PoolConfig;
use plumbline_service::commands::{
    CreateAccount, CreateToken, Login, OpenMarket, RegisterRun, SettlementTerms,
};
use plumbline_service::context::Context;
use plumbline_service::host::NoHost;
use plumbline_service::jobs::JobRunner;
use plumbline_service::time::rfc3339;
use plumbline_service::{PasswordCost, Service, ServiceConfig, ServiceParts};
use plumbline_store::markets::{self, Market};
use plumbline_store::{Store, StoreError, StoreOptions, decisions, outbox};
use plumbline_web::{RateLimits, RunningServer, WebConfig};

/// Longest wait for decisions.
const PATIENCE: Duration = Duration::from_secs(300);
/// Requests at once while runs are registered: they share commits.
const AT_ONCE: usize = 16;

/// The service with its runs, each of which has a market.
pub struct Site {
    server: RunningServer,
    _jobs: JobRunner,
    service: Service,
    store: Store,
    operator: Context,
    token: String,
    /// Runs and their markets.
    runs: Vec<(String, String)>,
    used: Cell<usize>,
}

impl Site {
    pub fn start(folder: &Path, runs: usize, subscribers: usize) -> Result<Self> {
        let store = Store::open(&folder.join("plumbline.db"), StoreOptions::default())?;
        let limits = RateLimits {
            requests_per_second: 0.0,
            account_requests_per_second: 0.0,
            credentials_per_minute: 0.0,
        };
        let service = Service::open(ServiceParts {
            store: store.clone(),
            ensemble: Arc::new(Ensemble::new(Vec::new(), PoolConfig::default())?),
            host: Arc::new(NoHost),
            signing_key: DecisionSigner::from_seed(&[7; 32]),
            first_policy: policy(runs)?,
            config: ServiceConfig {
                password_cost: PasswordCost {
                    memory_kib: 8,
                    passes: 1,
                },
                ..ServiceConfig::default()
            },
        })?;
        let jobs = JobRunner::start(&service)?;
        let web = WebConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            limits,
            max_streams: subscribers + 16,
            ..WebConfig::default()
        };
        let server = plumbline_web::serve(service.clone(), web)?;
        let operator = operator_of(&service)?;
        let token = CreateToken {
            name: "bench".into(),
            scopes: vec!["read".into()],
            valid_days: None,
        };
        let site = Self {
            token: service.create_token(&operator, &token)?.token,
            runs: register(&service, &operator, runs)?,
            server,
            _jobs: jobs,
            service,
            store,
            operator,
            used: Cell::new(0),
        };
        let began = Instant::now();
        while site.service.allocations(&site.operator)?.items.len() < runs {
            anyhow::ensure!(began.elapsed() < PATIENCE, "not every run has a decision");
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(site)
    }

    pub fn stop(self) -> Result<()> {
        Ok(self.server.stop()?)
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// All runs, from the one on that is next.
    pub fn next_runs(&self) -> Vec<String> {
        let (used, next) = self.runs.split_at(self.used.get().min(self.runs.len()));
        next.iter()
            .chain(used)
            .map(|(run, _)| run.clone())
            .collect()
    }

    pub fn version(&self) -> Result<i64> {
        Ok(self.service.allocations_version(&self.operator)?)
    }

    /// A run of which nothing was said yet.
    fn next(&self) -> Result<&(String, String)> {
        let at = self.used.replace(self.used.get() + 1);
        let next = self.runs.get(at);
        next.context("no run is left to measure with: give more --runs")
    }

    /// Opens another market on a run, at a price whose upper bound is above the trip threshold: the newest
    /// market is the one that counts. The run comes back.
    pub fn cross_a_bound(&self) -> Result<String> {
        let (run, _) = self.next()?;
        open(&self.service, &self.operator, run, 0.97)?;
        Ok(run.clone())
    }

    /// Makes a market final with the rows that its settlement would write. The run comes back.
    pub fn settle_against(&self) -> Result<String> {
        let (run, market) = self.next()?.clone();
        let (id, at) = (market, jiff::Timestamp::now().as_millisecond());
        let about = run.clone();
        self.store.write::<_, StoreError, _>(move |tx| {
            let market = markets::get(tx, &id)?;
            markets::update(
                tx,
                &Market {
                    status: "final".to_owned(),
                    settlement: Some(1.0),
                    settled_at: Some(at),
                    ..market
                },
            )?;
            let payload = serde_json::json!({"market_id": id, "run_id": about, "settlement": 1.0});
            outbox::push(tx, at, &format!("market:{id}"), "settled", &payload)
        })?;
        Ok(run)
    }

    /// Version of the first throttle on a run after a version, once it is decided. It may have been renewed since.
    pub fn throttled_since(&self, since: i64, run: &str) -> Result<i64> {
        let began = Instant::now();
        loop {
            // Not while the decision is on its way.
            std::thread::sleep(Duration::from_millis(500));
            let newest =
                (self.store).read::<_, StoreError, _>(|tx| decisions::by_target(tx, run, 20))?;
            let mut oldest_first = newest.iter().rev();
            if let Some(first) =
                oldest_first.find(|row| row.version > since && row.action == "throttle")
            {
                return Ok(first.version);
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "nothing was decided on {run}");
        }
    }
}

/// The shipped policy with shares that suit so many runs.
fn policy(runs: usize) -> Result<String> {
    let mut text = Policy::default_toml().to_owned();
    let start = (10_000 / runs.max(1)).max(2);
    for (usual, share) in [
        ("start_bps = 5_000", start),
        ("cap_bps = 2_500", start / 2),
        ("cap_bps = 500", 1),
    ] {
        anyhow::ensure!(text.contains(usual), "the shipped policy has no {usual}");
        let name = usual.split(' ').next().unwrap_or_default();
        text = text.replace(&format!("{usual}\n"), &format!("{name} = {share}\n"));
    }
    Ok(text)
}

fn operator_of(service: &Service) -> Result<Context> {
    let (handle, password) = ("operator".to_owned(), "correct horse battery".to_owned());
    let account = CreateAccount {
        handle: handle.clone(),
        password: password.clone(),
        invitation: None,
    };
    service.provision_account(&account, &["participant", "operator", "scheduler"])?;
    let session = service.login(&Login {
        handle,
        password,
        code: None,
    })?;
    let found = service.actor_of_session(&session.secret)?;
    let (actor, _) = found.context("the account that was just made cannot sign in")?;
    Ok(Context::of(actor))
}

/// Registers runs and opens a market on each.
fn register(service: &Service, operator: &Context, count: usize) -> Result<Vec<(String, String)>> {
    let mut runs = vec![Default::default(); count];
    let part = count.div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let mut working = Vec::new();
        for (n, chunk) in runs.chunks_mut(part).enumerate() {
            working.push(scope.spawn(move || -> Result<()> {
                for (m, slot) in chunk.iter_mut().enumerate() {
                    let run = RegisterRun {
                        name: format!("run-{}", n * part + m),
                        parameters: 0,
                    };
                    let run = service.register_run(operator, &run)?;
                    let market = open(service, operator, &run.id, 0.4)?;
                    *slot = (run.id, market);
                }
                Ok(())
            }));
        }
        working.into_iter().try_for_each(|worker| {
            let done = worker.join();
            done.map_err(|_| anyhow::anyhow!("registering runs broke"))?
        })
    })?;
    Ok(runs)
}

/// Opens a market on a run at a price; its id comes back.
fn open(service: &Service, operator: &Context, run: &str, probability: f64) -> Result<String> {
    let plan = serde_json::json!({
        "alpha_ppm": 10_000,
        "candidates": ["one", "two"],
        "detector": {"contains_any": ["x"]},
        "min_effect_bps": 1_000,
        "nonce": "bench",
        "prompts": ["1: {candidate}", "2: {candidate}", "3: {candidate}", "4: {candidate}"],
        "sampling": {"max_tokens": 1, "samples_per_prompt": 4, "seed": 1, "temperature_milli": 1_000},
    });
    let market = OpenMarket {
        run_id: run.to_owned(),
        claim: "A claim to decide on.".into(),
        claim_kind: "bench".into(),
        probability,
        liquidity_micro: 100_000_000,
        closes_at: rfc3339(jiff::Timestamp::now().as_millisecond() + 86_400_000),
        settlement: SettlementTerms {
            method: "objective".into(),
            plan,
            ..SettlementTerms::default()
        },
        ..OpenMarket::default()
    };
    Ok(service.open_market(operator, &market)?.id)
}
