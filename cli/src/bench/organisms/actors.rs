//! The adversaries of a world, each on a thread of its own, with a token and an address like anybody.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use plumbline_agents::adversary::{Adversary, AdversaryConfig};
use plumbline_agents::misleader::{MisleaderConfig, Strategy, Target, run_until};
use plumbline_service::commands::CreateToken;
use plumbline_service::context::Context as ActorContext;
use tokio::sync::watch;

use super::conditions::Condition;
use super::playback::Playback;
use super::record::ActorRecord;
use crate::wiring::Running;

const CREDIT: i64 = 1_000_000;
/// What the honest adversary may stake over both markets: what an account is granted. The four misleading ones may
/// stake 800 together.
const HONEST_BUDGET: i64 = 1_000 * CREDIT;
/// What each misleading one may stake in each market.
const MISLEADING_BUDGET: i64 = 100 * CREDIT;
const MISLEADING_STAKE: i64 = 30 * CREDIT;
/// Between two attempts of the misleading ones.
const MISLEADING_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait for an actor that was told to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an actor says of itself: submissions and trades.
type Deeds = (u64, u64);

/// The adversaries of one world.
pub struct Actors {
    stop: watch::Sender<bool>,
    actors: Vec<Actor>,
}

struct Actor {
    role: String,
    context: ActorContext,
    balance_micro: i64,
    deeds: Receiver<Deeds>,
}

impl Actors {
    /// Starts the honest one and those that `condition` adds.
    pub fn start(
        running: &Running<Playback>,
        condition: &Condition,
        targets: &[Target],
        seed: u64,
        seconds: u64,
    ) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut started = Self {
            stop,
            actors: Vec::new(),
        };
        let (context, token) = enrol(running, "red-team")?;
        let mut config = AdversaryConfig::new(running.server.url(), token, HONEST_BUDGET);
        config.seed = seed;
        config.probe.duty = 0.5;
        config.probe.interval = Duration::from_secs((seconds / 12).max(1));
        config.probe.search.varied = condition.varied;
        config.stake.trades = true;
        config.stop.for_settlement = PATIENCE;
        let stop = stopped.clone();
        started.add(running, "honest", context, async move {
            let report = Adversary::run_until(config, stop).await?;
            let submissions = report
                .markets
                .iter()
                .map(|market| market.submissions.len() as u64);
            let trades = report
                .markets
                .iter()
                .map(|market| market.trades.len() as u64);
            Ok((submissions.sum(), trades.sum()))
        })?;
        for (number, strategy) in condition.misleading.iter().enumerate() {
            let config = MisleaderConfig {
                base_url: running.server.url(),
                token: String::new(),
                strategy: *strategy,
                targets: targets.to_vec(),
                budget_micro: MISLEADING_BUDGET,
                stake_micro: MISLEADING_STAKE,
                interval: MISLEADING_INTERVAL,
                seed: seed.wrapping_mul(31).wrapping_add(number as u64),
            };
            started.mislead(running, config, stopped.clone())?;
        }
        Ok(started)
    }

    fn mislead(
        &mut self,
        running: &Running<Playback>,
        config: MisleaderConfig,
        stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let role = config.strategy.as_str();
        let (context, token) = enrol(running, &handle_of(config.strategy))?;
        let config = MisleaderConfig { token, ..config };
        self.add(running, role, context, async move {
            let report = run_until(config, stop).await?;
            Ok((report.submissions, report.trades))
        })
    }

    fn add(
        &mut self,
        running: &Running<Playback>,
        role: &str,
        context: ActorContext,
        work: impl Future<Output = Result<Deeds>> + Send + 'static,
    ) -> Result<()> {
        let balance_micro = running.service.me(&context)?.balance_micro;
        let (sender, deeds) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let name = role.to_owned();
        std::thread::Builder::new()
            .name(format!("actor-{role}"))
            .spawn(move || {
                match runtime.block_on(work) {
                    // Nobody waits any more when the world has failed first.
                    Ok(done) => drop(sender.send(done)),
                    Err(error) => tracing::error!(%error, actor = name, "ended"),
                }
            })?;
        self.actors.push(Actor {
            role: role.to_owned(),
            context,
            balance_micro,
            deeds,
        });
        Ok(())
    }

    /// Balances of all, in order.
    pub fn balances(&self, running: &Running<Playback>) -> Result<Vec<i64>> {
        let balance = |actor: &Actor| Ok(running.service.me(&actor.context)?.balance_micro);
        self.actors.iter().map(balance).collect()
    }

    /// Stops them and says what each got, once the markets are paid.
    pub fn finish(self, running: &Running<Playback>) -> Result<Vec<ActorRecord>> {
        // An error means that all have ended already.
        let _ = self.stop.send(true);
        let balances = self.balances(running)?;
        self.actors
            .into_iter()
            .zip(balances)
            .map(|(actor, balance)| {
                let (submissions, trades) = actor
                    .deeds
                    .recv_timeout(PATIENCE)
                    .with_context(|| format!("the {} adversary did not end", actor.role))?;
                Ok(ActorRecord {
                    earned_micro: balance - actor.balance_micro,
                    role: actor.role,
                    submissions,
                    trades,
                })
            })
            .collect()
    }
}

fn handle_of(strategy: Strategy) -> String {
    format!("second-team-{}", strategy.as_str().replace('_', "-"))
}

fn enrol(running: &Running<Playback>, handle: &str) -> Result<(ActorContext, String)> {
    let (context, _) = running.provision(handle, &["participant", "researcher"])?;
    let token = CreateToken {
        name: "benchmark".into(),
        scopes: vec!["read".into(), "evidence".into(), "trade".into()],
        valid_days: None,
    };
    let token = running.service.create_token(&context, &token)?.token;
    Ok((context, token))
}
