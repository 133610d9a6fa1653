//! `plumbline serve`: the service on a data folder of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use plumbline_governance::policy::Policy;
use plumbline_service::{EvidenceTerms, PanelConfig, ServiceConfig, SignUp, VotingConfig};
use plumbline_web::WebConfig;

use crate::data_dir::DataDir;
use crate::postman::Mail;
use crate::remote::Remote;
use crate::wiring;

/// Runs the service until it is told to stop.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8600", env = "PLUMBLINE_LISTEN")]
    listen: SocketAddr,
    /// Folder for the database, the signing key and checkpoints
    #[arg(long, default_value = "data/serve", env = "PLUMBLINE_DATA_DIR")]
    data_dir: PathBuf,
    /// Policy that is put in force when there is none yet; the built-in one by default
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Who may make an account: open (anybody), invite (whoever brings an invitation), closed (operators alone)
    #[arg(long, value_name = "WHO", env = "PLUMBLINE_SIGN_UP", default_value = "open", value_parser = sign_up)]
    sign_up: SignUp,
    /// Visitors cannot read without signing in
    #[arg(long)]
    private: bool,
    /// A stake is enough to be drawn as a juror, without the role
    #[arg(long)]
    open_juries: bool,
    /// Credits granted at sign-up give weight in votes: for groups whose members are known
    #[arg(long)]
    grants_vote: bool,
    /// Webhooks may go to private addresses, and without TLS: for receivers beside the service
    #[arg(long)]
    allow_private_webhooks: bool,
    #[command(flatten)]
    mail: Mail,
    /// Seconds in which a commitment to evidence must be revealed
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    reveal_window: u32,
    /// Folder of the optional models of judges, as `make models` fills it
    #[arg(
        long,
        value_name = "FOLDER",
        env = "PLUMBLINE_MODELS",
        default_value = "models"
    )]
    models: PathBuf,
    /// Let nodes elsewhere join runs that are trained here, at this UDP address, for example 127.0.0.1:7700
    #[arg(long, value_name = "ADDR", env = "PLUMBLINE_SWARM_LISTEN")]
    swarm_listen: Option<SocketAddr>,
    /// Folder of files and folders that runs may be trained on, by name [default: corpora in the data folder]
    #[arg(long, value_name = "FOLDER", env = "PLUMBLINE_CORPORA")]
    corpora: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

fn sign_up(text: &str) -> Result<SignUp, String> {
    SignUp::parse(text).ok_or_else(|| "say open, invite or closed".to_owned())
}

impl Serve {
    pub fn run(self) -> Result<()> {
        let data = DataDir::open(&self.data_dir)?;
        let policy = match &self.policy {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => Policy::default_toml().to_owned(),
        };
        let options = wiring::Options {
            listen: self.listen,
            models: self.models,
            private_webhooks: self.allow_private_webhooks,
            postman: self.mail.postman()?,
            remote: self.remote.judge()?,
            policy,
            service: ServiceConfig {
                sign_up: self.sign_up,
                public_read: !self.private,
                public_url: self.mail.public_url(self.listen),
                evidence: EvidenceTerms {
                    reveal_window_ms: i64::from(self.reveal_window) * 1_000,
                    ..EvidenceTerms::default()
                },
                panels: PanelConfig {
                    open_juries: self.open_juries,
                    ..PanelConfig::default()
                },
                voting: VotingConfig {
                    grants_count: self.grants_vote,
                    ..VotingConfig::default()
                },
                ..ServiceConfig::default()
            },
            web: WebConfig::default(),
            swarm: self.swarm_listen,
            corpora: self.corpora,
        };
        let running = wiring::start(&data, options)?;
        let url = running.server.url();
        println!("Plumbline listens on {url}");
        if running.service.needs_setup()? {
            println!(
                "First start: make the operator's account at {url}/setup?code={}",
                running.service.setup_code()
            );
        }
        running.wait()
    }
}
