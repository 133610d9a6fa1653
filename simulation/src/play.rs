//! One seed from the first account to the last payout.

use std::collections::{BTreeMap, BTreeSet};

use plumbline_service::commands::{CreateAccount, Login, RegisterRun};
use plumbline_service::context::{Actor as Credential, Context, Idempotency};
use plumbline_service::defences::Defences;
use plumbline_service::{Service, ServiceError};
use serde::Serialize;
use serde_json::Value;

use crate::SimulationError;
use crate::actors::{Actor, Kind};
use crate::market::{self, Venue};
use crate::plan::Scale;
use crate::promise::Promise;
use crate::report::{Finding, Outcome};
use crate::rng::Rng;
use crate::together::Asked;
use crate::world::World;

/// Everybody's password; nobody is attacked here.
const PASSWORD: &str = "correct horse battery";
/// Length of a turn, milliseconds.
const TURN: i64 = 30_000;
/// Turns that a market lives.
const LIFE_OF_A_MARKET: i64 = 12;
/// Turns after which everything must be over.
const LAST_TURNS: usize = 400;

/// Something that a client was told had happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Account(String),
    Market(String),
    Trade(String),
    Evidence(String),
    Order(String),
    Commitment(String),
    Dispute(String),
    /// So many entries in the record of a market's settlement.
    Claims(String, usize),
    /// A vote on a panel by an account.
    Vote(String, String),
}

/// A submission that somebody was told of.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) id: String,
    pub(crate) account: String,
    /// It is not what it says, as its maker knows.
    pub(crate) made_up: bool,
}

/// A seed under way.
pub(crate) struct Play {
    pub(crate) seed: u64,
    pub(crate) world: World,
    pub(crate) rng: Rng,
    pub(crate) scale: Scale,
    pub(crate) operator: Context,
    runs: Vec<String>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) venues: Vec<Venue>,
    /// Exhibits that anybody has submitted, by market, for those who copy.
    pub(crate) shown: Vec<Vec<Value>>,
    /// Submissions, for those who dispute.
    pub(crate) reports: Vec<Report>,
    /// Texts of exhibits that are not what they say.
    pub(crate) made_up: BTreeSet<String>,
    /// Markets that are known to be final, paid or void.
    pub(crate) over: BTreeSet<usize>,
    /// Sides of markets that money was bet on with a jury in mind, by whose friends know; nobody's
    /// name stands for the ring.
    pub(crate) bets: BTreeMap<(usize, String), bool>,
    /// Commitments to be revealed.
    pub(crate) promises: Vec<Promise>,
    /// Those among the people who do jury duty.
    pub(crate) jurors: Vec<usize>,
    /// Jurors who had a seat on a running panel when they looked last.
    pub(crate) busy: BTreeSet<usize>,
    /// Last event that the jurors have heard of.
    pub(crate) heard: i64,
    /// Trades that people are about to ask for together.
    pub(crate) crowd: Vec<Asked>,
    /// The turn.
    pub(crate) turn: usize,
    /// Orders that were placed, with their owners.
    pub(crate) orders: Vec<(Actor, String)>,
    findings: Vec<Finding>,
    /// Told since the last death, and not yet looked for.
    pub(crate) told: Vec<Told>,
    /// Every trade that somebody was told of.
    pub(crate) trades: BTreeSet<String>,
    /// Trades that were asked for by clients who gave up before they got an answer.
    pub(crate) abandoned: u64,
    keys: u64,
    requests: BTreeMap<&'static str, u64>,
}

/// Runs one seed.
pub(crate) fn run(
    seed: u64,
    scale: &Scale,
    defences: Defences,
) -> Result<Outcome, SimulationError> {
    let world = World::new(seed, scale, defences)?;
    let mut play = Play {
        seed,
        world,
        rng: Rng::new(seed, "play"),
        scale: *scale,
        operator: Context::of(Credential::visitor()),
        runs: Vec::new(),
        actors: Vec::new(),
        venues: Vec::new(),
        shown: Vec::new(),
        reports: Vec::new(),
        made_up: BTreeSet::new(),
        over: BTreeSet::new(),
        bets: BTreeMap::new(),
        promises: Vec::new(),
        jurors: Vec::new(),
        busy: BTreeSet::new(),
        heard: 0,
        crowd: Vec::new(),
        turn: 0,
        orders: Vec::new(),
        findings: Vec::new(),
        told: Vec::new(),
        trades: BTreeSet::new(),
        abandoned: 0,
        keys: 0,
        requests: BTreeMap::new(),
    };
    play.set_up()?;
    play.populate()?;
    play.enlist()?;
    for turn in 0..scale.turns {
        play.turn(turn)?;
    }
    play.finish()?;
    play.conclude()
}

impl Play {
    /// Notes something that must not be.
    pub(crate) fn found(&mut self, what: String) {
        self.findings.push(Finding {
            seed: self.seed,
            what,
        });
    }

    /// Revives the service if it has died; true if it had.
    pub(crate) fn revive_if_dead(&mut self) -> Result<bool, SimulationError> {
        if !self.world.has_died() {
            return Ok(false);
        }
        self.world.revive()?;
        self.look_for_what_was_told()?;
        Ok(true)
    }

    /// Does something that has to succeed, however often the service dies over it.
    fn insist<T>(
        &mut self,
        what: &'static str,
        f: impl Fn(&Service) -> plumbline_service::Result<T>,
    ) -> Result<T, SimulationError> {
        loop {
            let result = f(self.world.service()?);
            if !self.revive_if_dead()? {
                return result.map_err(|error| SimulationError::service(what, error));
            }
        }
    }

    /// A request of a client: with an idempotency key, sent again with the same key when the
    /// service died over it, and now and then although it had answered. `None` when the client
    /// gave up without an answer.
    pub(crate) fn ask<T: Serialize>(
        &mut self,
        context: &Context,
        persistent: bool,
        f: impl Fn(&Service, &Context) -> plumbline_service::Result<T>,
    ) -> Result<Option<Result<T, ServiceError>>, SimulationError> {
        let context = self.keyed(context);
        self.ask_keyed(&context, persistent, f)
    }

    /// The context with a key of its own.
    pub(crate) fn keyed(&mut self, context: &Context) -> Context {
        self.keys += 1;
        let key = format!("key-{}", self.keys);
        Context {
            idempotency: Some(Idempotency {
                request_hash: blake3::hash(key.as_bytes()).to_hex().to_string(),
                key,
            }),
            ..context.clone()
        }
    }

    /// As [`Play::ask`], with the key in the context.
    pub(crate) fn ask_keyed<T: Serialize>(
        &mut self,
        context: &Context,
        persistent: bool,
        f: impl Fn(&Service, &Context) -> plumbline_service::Result<T>,
    ) -> Result<Option<Result<T, ServiceError>>, SimulationError> {
        loop {
            let result = f(self.world.service()?, context);
            if self.revive_if_dead()? {
                self.count("unanswered");
                if persistent {
                    continue;
                }
                return Ok(None);
            }
            self.hear(context, &f, &result)?;
            return Ok(Some(result));
        }
    }

    /// Counts an answer, and now and then asks for it again.
    pub(crate) fn hear<T: Serialize>(
        &mut self,
        context: &Context,
        f: &impl Fn(&Service, &Context) -> plumbline_service::Result<T>,
        result: &Result<T, ServiceError>,
    ) -> Result<(), SimulationError> {
        match result {
            Ok(answer) => {
                self.count("done");
                let answer = serde_json::to_string(answer).unwrap_or_default();
                self.ask_again(context, f, &answer)
            }
            Err(error) => {
                self.refused(error);
                Ok(())
            }
        }
    }

    /// A client whose answer was lost asks again and must get the same one.
    fn ask_again<T: Serialize>(
        &mut self,
        context: &Context,
        f: &impl Fn(&Service, &Context) -> plumbline_service::Result<T>,
        answer: &str,
    ) -> Result<(), SimulationError> {
        if !self.rng.chance(0.03) {
            return Ok(());
        }
        let again = f(self.world.service()?, context);
        if self.revive_if_dead()? {
            return Ok(());
        }
        self.count("repeated");
        let same = match &again {
            Ok(again) => serde_json::to_string(again).unwrap_or_default() == answer,
            Err(_) => false,
        };
        if !same {
            self.found(format!(
                "a repeated request was answered otherwise: {answer}"
            ));
        }
        Ok(())
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.requests.entry(what).or_default() += 1;
    }

    /// A refusal is fine when it says why; an internal error never is.
    pub(crate) fn refused(&mut self, error: &ServiceError) {
        self.count("refused");
        if matches!(error, ServiceError::Internal(_)) {
            self.found(format!("a request ended in an internal error: {error}"));
        }
    }

    fn set_up(&mut self) -> Result<(), SimulationError> {
        let cmd = CreateAccount {
            handle: "operator".to_owned(),
            password: PASSWORD.to_owned(),
            invitation: None,
        };
        self.insist("set up", |service| {
            match service.set_up(service.setup_code(), &cmd) {
                Err(error) if error.code() == "already-set-up" => Ok(()),
                other => other.map(|_| ()),
            }
        })?;
        self.operator = self.sign_in("operator")?;
        for number in 0..self.scale.runs {
            let (operator, cmd) = (
                self.operator.clone(),
                RegisterRun {
                    name: format!("run-{number}"),
                    parameters: 1_000,
                },
            );
            let run = self.insist("given a run", |service| {
                match service.register_run(&operator, &cmd) {
                    // It was registered before the death.
                    Err(error) if error.status() == 409 => service.run(&operator, &cmd.name),
                    other => other,
                }
            })?;
            if self.rng.chance(0.05) {
                self.world.models.lose(run.id.clone());
            }
            self.runs.push(run.id);
        }
        Ok(())
    }

    fn sign_in(&mut self, handle: &str) -> Result<Context, SimulationError> {
        let login = Login {
            handle: handle.to_owned(),
            password: PASSWORD.to_owned(),
            code: None,
        };
        let secret = self
            .insist("signed in to", |service| service.login(&login))?
            .secret;
        let found = self.insist("signed in to", |service| service.actor_of_session(&secret))?;
        found
            .map(|(actor, _)| Context::of(actor))
            .ok_or_else(|| SimulationError::service("signed in to", "the session is gone"))
    }

    fn populate(&mut self) -> Result<(), SimulationError> {
        let template = self.operator.actor.scopes.clone();
        for number in 0..self.scale.actors {
            let cmd = CreateAccount {
                handle: format!("actor-{number}"),
                password: PASSWORD.to_owned(),
                invitation: None,
            };
            let visitor = Context::of(Credential::visitor());
            let created = self.insist("given an account", |service| {
                match service.create_account(&visitor, &cmd) {
                    Err(error) if error.code() == "handle-taken" => Ok(None),
                    other => other.map(Some),
                }
            })?;
            let context = match created {
                // Signing in costs a session; nobody needs one to be told who they are.
                Some(me) => {
                    self.told.push(Told::Account(me.id.clone()));
                    Context::of(Credential {
                        account_id: Some(me.id),
                        handle: me.handle,
                        roles: me.roles,
                        scopes: template
                            .iter()
                            .copied()
                            .filter(|scope| !["admin", "schedule"].contains(&scope.as_str()))
                            .collect(),
                        session: false,
                    })
                }
                None => self.sign_in(&cmd.handle)?,
            };
            let actor = Actor {
                kind: Kind::draw(&mut self.rng, self.scale.courts),
                context,
                persistent: self.rng.chance(0.8),
                seed: self.rng.next(),
            };
            self.actors.push(actor);
        }
        Ok(())
    }

    fn turn(&mut self, turn: usize) -> Result<(), SimulationError> {
        self.turn = turn;
        // All are open for some turns before the play ends.
        let last = (self.scale.turns * 4 / 5).max(1);
        let due = self.scale.markets * (turn + 1).min(last) / last;
        while self.venues.len() < due {
            self.open_market()?;
        }
        self.keep_promises()?;
        for action in 0..self.scale.actions {
            let number = (turn * self.scale.actions + action) % self.actors.len();
            self.act(number)?;
        }
        self.trade_together()?;
        self.serve()?;
        self.let_pass(TURN);
        self.work()
    }

    /// Lets time pass. Now and then a machine sleeps, and now and then somebody sets its clock.
    fn let_pass(&mut self, millis: i64) {
        let slept = if self.rng.chance(0.03) {
            self.rng.between(TURN, 20 * TURN)
        } else {
            0
        };
        self.world.clock.pass(millis + slept);
        if self.rng.chance(0.03) {
            self.world
                .clock
                .set_by(self.rng.between(-3_600_000, 3_600_000));
        }
    }

    /// Lets the jobs run until none is due.
    fn work(&mut self) -> Result<(), SimulationError> {
        loop {
            let result = self.world.service()?.run_due_jobs();
            if !self.revive_if_dead()? {
                if let Err(error) = result {
                    self.found(format!("the jobs failed: {error}"));
                }
                return Ok(());
            }
        }
    }

    fn open_market(&mut self) -> Result<(), SimulationError> {
        let number = self.venues.len();
        let truth = self.rng.chance(0.4);
        let life = self
            .rng
            .between(TURN * LIFE_OF_A_MARKET / 2, TURN * LIFE_OF_A_MARKET);
        let closes_at = self.world.now() + life;
        let Some(run) = self.rng.pick(&self.runs).cloned() else {
            return Ok(());
        };
        let plan = market::plan(number, &run, closes_at, self.scale.courts, &mut self.rng)
            .map_err(|error| SimulationError::service("given a market", error))?;
        let operator = self.operator.clone();
        let opened = self.ask(&operator, true, |service, context| {
            service.open_market(context, &plan.terms)
        })?;
        match opened {
            Some(Ok(view)) => {
                self.told.push(Told::Market(view.id.clone()));
                if truth {
                    self.world.models.plant(market::trigger(number));
                }
                self.venues.push(Venue {
                    id: view.id,
                    number,
                    truth,
                    method: plan.method,
                    outcomes: plan.outcomes,
                    closes_at,
                });
                self.shown.push(Vec::new());
                Ok(())
            }
            // The service died over it, and came back at a later time.
            Some(Err(_)) if self.world.now() >= closes_at => Ok(()),
            Some(Err(error)) => Err(SimulationError::service("given a market", error)),
            None => Ok(()),
        }
    }

    /// Lets time pass until every market is over and no job is left.
    fn finish(&mut self) -> Result<(), SimulationError> {
        let mut left = Vec::new();
        for turn in 0..LAST_TURNS {
            self.serve()?;
            // Windows of days end too, in fewer turns, unless somebody has to act in one.
            let steps = if self.busy.is_empty() {
                4 * (1 + turn as i64 / 20)
            } else {
                2
            };
            self.let_pass(TURN * steps);
            self.work()?;
            left = self.what_goes_on()?;
            if left.is_empty() {
                return Ok(());
            }
        }
        left.truncate(5);
        self.found(format!(
            "not everything came to an end: {}",
            left.join("; ")
        ));
        Ok(())
    }

    fn conclude(mut self) -> Result<Outcome, SimulationError> {
        let export = self.audit()?;
        Ok(Outcome {
            actors: self.actors.len() as u64,
            markets: self.venues.len() as u64,
            crashes: u64::from(self.world.deaths()),
            profits: export.profits,
            coverage: self.world.coverage(),
            requests: self.requests,
            checked: export.checked,
            export: export.text,
            findings: self.findings,
        })
    }
}
