//! Puts the parts together: store, judges, training host, service, jobs, web.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use plumbline_agents::enforce::Enforcer;
use plumbline_governance::decision::Baseline;
use plumbline_governance::dsse::DecisionSigner;
use plumbline_oracle::pool::PoolConfig;
use plumbline_oracle::{Ensemble, SharedJudge};
use plumbline_oracle_candle::{CheckpointRunner, ReplayJudge, ReplayOptions};
use plumbline_oracle_remote::RemoteJudge;
use plumbline_service::commands::{CreateAccount, Login};
use plumbline_service::context::Context as ActorContext;
use plumbline_service::host::RunHost;
use plumbline_service::jobs::JobRunner;
use plumbline_service::{Service, ServiceConfig, ServiceParts};
use plumbline_store::{Store, StoreOptions};
use plumbline_training_net::host::{Host, HostOptions};
use plumbline_training_net::remote::ListenOptions;
use plumbline_training_net::run::RunSpec;
use plumbline_web::{RunningServer, WebConfig};

use crate::courier::HttpCourier;
use crate::data_dir::DataDir;
use crate::embedded::EmbeddedRuns;
use crate::entropy::random_hex;
use crate::judges;
use crate::postman::SmtpPostman;
use crate::scheduler::EmbeddedScheduler;
use crate::stop::told_to_stop;

/// A whole service in this process, with whatever trains its runs. Fields drop in order:
/// the scheduler lets go, the server stops answering, then the jobs end, then the training stops.
pub struct Running<H = Host> {
    consumer: EmbeddedScheduler,
    pub server: RunningServer,
    _jobs: JobRunner,
    pub service: Service,
    pub host: H,
}

/// How a service is to be run.
pub struct Options {
    pub listen: SocketAddr,
    pub policy: String,
    /// Folder of the optional models of judges.
    pub models: std::path::PathBuf,
    /// Webhooks may go to private addresses.
    pub private_webhooks: bool,
    /// Who sends mail, where somebody does.
    pub postman: Option<SmtpPostman>,
    /// A judge behind an endpoint, besides those of this program.
    pub remote: Option<RemoteJudge>,
    pub service: ServiceConfig,
    pub web: WebConfig,
    /// Where nodes elsewhere reach the runs that are trained here; nowhere unless given.
    pub swarm: Option<SocketAddr>,
    /// Training data of runs that are trained here; `corpora` in the data folder unless given.
    pub corpora: Option<PathBuf>,
}

/// Starts everything on `data`. The port is bound last, so that whoever can
/// connect finds a service that works.
pub fn start(data: &DataDir, options: Options) -> Result<Running> {
    let cores = cores();
    let store = Store::open(&data.database(), StoreOptions::default())?;
    let host = Host::start(HostOptions {
        data_dir: data.training(),
        cores,
        ..HostOptions::default()
    })?;
    if let Some(address) = options.swarm {
        let relay = None;
        host.listen(&ListenOptions { address, relay })?;
    }
    // Runs first: the scheduler's first order is about them, and the jobs call off
    // a market that is due when nothing knows its run.
    resume_runs(&host)?;
    let corpora = options.corpora.clone().unwrap_or_else(|| data.corpora());
    let runs = EmbeddedRuns::new(host.clone(), &corpora);
    assemble(data, store, options, runs, Vec::new(), host)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A service round `runs`, whatever trains and serves them; `more` judges sit beside the default ones.
pub fn assemble<R, H>(
    data: &DataDir,
    store: Store,
    options: Options,
    runs: R,
    more: Vec<SharedJudge>,
    host: H,
) -> Result<Running<H>>
where
    R: RunHost + CheckpointRunner + Enforcer + Clone + 'static,
{
    let baseline = Baseline {
        resource: "cpu_milli_cores".to_owned(),
        amount: cores() as u64 * 1000,
        measured_at: jiff::Timestamp::now(),
    };
    let parts = ServiceParts {
        store,
        ensemble: Arc::new(ensemble(
            Arc::new(runs.clone()),
            &options.models,
            options.remote,
            more,
        )?),
        host: Arc::new(runs.clone()),
        signing_key: DecisionSigner::from_seed(&data.signing_seed()?),
        first_policy: options.policy,
        config: ServiceConfig {
            baseline: Some(baseline),
            key_change: data.key_change()?,
            ..options.service
        },
    };
    let service = Service::open(parts).context("cannot open the service")?;
    service.connect_courier(Arc::new(HttpCourier::new(options.private_webhooks)?));
    if let Some(postman) = options.postman {
        service.connect_postman(Arc::new(postman));
    }
    service.bring_up_all()?;
    let jobs = JobRunner::start(&service)?;
    let server = plumbline_web::serve(
        service.clone(),
        WebConfig {
            listen: options.listen,
            ..options.web
        },
    )?;
    let consumer = EmbeddedScheduler::start(&service, &server.url(), &data.consumer_state(), runs)?;
    Ok(Running {
        server,
        consumer,
        _jobs: jobs,
        service,
        host,
    })
}

/// Training goes on where it was; a run that cannot is named and left alone.
fn resume_runs(host: &Host) -> Result<()> {
    for spec in host.stored_runs()? {
        let name = spec.name.clone();
        // Nothing runs before a decision says how much it may use.
        let spec = RunSpec {
            share_bps: 0,
            ..spec
        };
        if let Err(error) = host.start_run(spec) {
            tracing::error!(run = name, %error, "cannot resume");
        }
    }
    Ok(())
}

/// The default ensemble: `lexical`, `trained` and `replay`, `encoder` and `causal` with a model or a word on why there
/// is none, the remote judge if there is one, and `more`.
fn ensemble(
    runs: Arc<dyn CheckpointRunner>,
    models: &std::path::Path,
    remote: Option<RemoteJudge>,
    more: Vec<SharedJudge>,
) -> Result<Ensemble> {
    let replay = ReplayJudge::new(runs, ReplayOptions::default())?;
    let started = Instant::now();
    let clock = Arc::new(move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut judges = judges::text_judges(models)?;
    judges.push(Arc::new(replay));
    judges.extend(remote.map(|judge| Arc::new(judge) as SharedJudge));
    judges.extend(more);
    Ok(Ensemble::new(judges, PoolConfig::default())?
        .with_reference(judges::reference()?)?
        .with_clock(clock))
}

impl<H> Running<H> {
    /// Makes an account with a random password and gives back a context for it.
    pub fn provision(&self, handle: &str, roles: &[&str]) -> Result<(ActorContext, String)> {
        let password = random_hex::<12>()?;
        let cmd = CreateAccount {
            handle: handle.to_owned(),
            password: password.clone(),
            invitation: None,
        };
        self.service.provision_account(&cmd, roles)?;
        let session = self.service.login(&Login {
            handle: handle.to_owned(),
            password: password.clone(),
            code: None,
        })?;
        let found = self.service.actor_of_session(&session.secret)?;
        let (actor, _) = found.context("the account that was just made cannot sign in")?;
        self.service.logout(&session.secret)?;
        Ok((ActorContext::of(actor), password))
    }

    /// Stops answering and lets jobs end; the training is left as it is.
    pub fn stop_service(self) -> Result<H> {
        let Self {
            server,
            consumer,
            _jobs: jobs,
            host,
            ..
        } = self;
        // Before the server: else it loses contact, and says so.
        drop(consumer);
        server.stop()?;
        drop(jobs);
        Ok(host)
    }
}

impl Running {
    /// Waits for Ctrl-C or SIGTERM, then stops in order.
    pub fn wait(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(told_to_stop())?;
        self.stop()
    }

    /// Stops answering, lets jobs end, saves and stops training.
    pub fn stop(self) -> Result<()> {
        let host = self.stop_service()?;
        for run in host.runs() {
            if let Err(error) = host.stop(&run) {
                tracing::warn!(run, %error, "cannot stop a run cleanly");
            }
        }
        Ok(())
    }
}
