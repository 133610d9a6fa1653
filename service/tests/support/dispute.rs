//! A market with a jury to hand, and what it takes to drive both.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use plumbline_market::Digest;
use plumbline_market::panel::{Opening, Vote};

use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::*;
use plumbline_service::{ServiceConfig, ServiceError};

use crate::support::*;

/// What every juror stakes: two seats' deposits.
const STAKE: i64 = 40 * CREDIT;

/// A market that ends by some method, with jurors who have no part in it.
pub struct Court {
    pub world: World,
    pub market: MarketView,
    pub jurors: Vec<Context>,
}

impl Court {
    /// `terms` changes what [`World::terms`] asks for.
    pub fn new(world: World, jurors: usize, terms: impl FnOnce(&World, &mut OpenMarket)) -> Self {
        let run = RegisterRun {
            name: "subject".into(),
            parameters: 0,
        };
        let run = world.service.register_run(&world.operator, &run).unwrap();
        let mut cmd = world.terms(&run.id);
        terms(&world, &mut cmd);
        let market = world.service.open_market(&world.operator, &cmd).unwrap();
        let jurors = (0..jurors)
            .map(|n| juror(&world, &format!("juror-{n:02}")))
            .collect();
        world.service.run_due_jobs().unwrap();
        Self {
            world,
            market,
            jurors,
        }
    }

    /// A market of this method, whose windows are a minute each.
    pub fn of(method: &str, world: World, jurors: usize) -> Self {
        Self::new(world, jurors, |_, cmd| minutes(method, cmd))
    }

    pub fn reopen(self) -> Self {
        Self {
            world: self.world.reopen(),
            ..self
        }
    }

    pub fn record(&self) -> SettlementRecord {
        self.world
            .service
            .case(&self.world.operator, &self.market.id)
            .unwrap()
    }

    pub fn stage(&self) -> String {
        self.record().stage
    }

    /// Lets time pass and the jobs run.
    pub fn pass(&self, millis: i64) {
        self.world.pass(millis);
        self.run();
    }

    pub fn run(&self) {
        self.world.service.run_due_jobs().unwrap();
    }

    /// Until the market is frozen and whatever looks for its settlement has had its turn.
    pub fn freeze(&self) {
        self.pass(61_000);
    }

    pub fn propose(&self, who: &Context, pi: f64) -> Result<SettlementRecord, ServiceError> {
        let cmd = ProposeSettlement {
            pi,
            bond_micro: i64::MAX,
            reason: String::new(),
        };
        self.world
            .service
            .propose_settlement(who, &self.market.id, &cmd)
    }

    pub fn challenge(&self, who: &Context, pi: f64) -> Result<SettlementRecord, ServiceError> {
        let cmd = ChallengeSettlement {
            pi,
            bond_micro: i64::MAX,
            reason: "it is wrong".into(),
        };
        self.world
            .service
            .challenge_settlement(who, &self.market.id, &cmd)
    }

    /// The jurors who sit on the panel that runs now, with its id.
    pub fn seated(&self) -> Vec<(&Context, String)> {
        let seat = |who| {
            let own = self.world.service.panels(who, true, None, 1).unwrap();
            let newest = own.items.into_iter().next()?;
            newest.ended_at.is_none().then_some((who, newest.id))
        };
        self.jurors.iter().filter_map(seat).collect()
    }

    /// Lets the panel that sits now vote: as many as there are votes, in order of the seats.
    pub fn rule(&self, votes: &[i64]) {
        let seated = self.seated();
        for ((who, id), vote) in seated.iter().zip(votes) {
            let account = who.actor.account_id.as_deref().unwrap();
            let commitment = opening(*vote).commitment(id, account).to_string();
            self.world
                .service
                .commit_vote(who, id, &CommitVote { commitment })
                .unwrap();
        }
        self.pass(60_000);
        for ((who, id), vote) in seated.iter().zip(votes) {
            let reveal = RevealVote {
                vote_bps: Some(*vote),
                cannot_tell: false,
                nonce: Digest::of(b"nonce").to_string(),
                justification: "because".into(),
            };
            self.world.service.reveal_vote(who, id, &reveal).unwrap();
        }
        self.pass(60_000);
    }

    pub fn balance(&self, who: &Context) -> i64 {
        self.world.service.me(who).unwrap().balance_micro
    }

    /// Nothing is held for anybody any more, and the ledger sums to zero.
    pub fn assert_empty(&self) {
        self.run();
        let ledger = self
            .world
            .service
            .ledger_summary(&self.world.operator)
            .unwrap();
        let staked = STAKE * self.jurors.len() as i64;
        let slashed: i64 = self.jurors.iter().map(|who| STAKE - self.stake(who)).sum();
        assert_eq!(
            (ledger.sum_micro, ledger.escrow_micro),
            (0, staked - slashed),
            "only the jurors' stakes are held"
        );
    }

    fn stake(&self, who: &Context) -> i64 {
        let juror = self.world.service.own_juror(who).unwrap().unwrap();
        assert_eq!(juror.locked_micro, Some(0), "no seat is left open");
        juror.stake_micro
    }
}

/// Terms of this method, with windows of a minute each.
pub fn minutes(method: &str, cmd: &mut OpenMarket) {
    let terms = &mut cmd.settlement;
    terms.method = method.into();
    terms.challenge_window_s = Some(60);
    terms.bond_micro = Some(5 * CREDIT);
    terms.jury_commit_s = Some(60);
    terms.jury_reveal_s = Some(60);
    if method == "panel" {
        terms.proposal_window_s = Some(60);
    }
    if method != "objective" {
        terms.plan = serde_json::Value::Null;
    }
    if method == "self_resolving" {
        (terms.stop_ppm, terms.undone, terms.fee_micro) = (Some(1), Some(3), Some(CREDIT));
    }
}

fn juror(world: &World, handle: &str) -> Context {
    world.person(handle);
    let roles = GrantRoles {
        roles: vec!["juror".into()],
    };
    world
        .service
        .grant_roles(&world.operator, handle, &roles)
        .unwrap();
    let who = sign_in(&world.service, handle);
    let join = JoinJury { stake_micro: STAKE };
    world.service.join_jury(&who, &join).unwrap();
    who
}

fn opening(vote: i64) -> Opening {
    Opening {
        vote: Vote::of_bps(vote).unwrap(),
        nonce: Digest::of(b"nonce"),
        justification: Digest::of(b"because"),
    }
}

/// Without cases with a known answer, and never audited unless the rules say always.
pub fn plain(config: &mut ServiceConfig) {
    config.panels.gold_probability_ppm = 0;
    config.defences.audit_draw = false;
}
