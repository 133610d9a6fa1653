//! A market with a jury, and short ways to vote on a panel.

use plumbline_market::Digest;
use plumbline_market::panel::{Opening, Vote};
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::*;
use plumbline_service::{ServiceConfig, ServiceError, StudyPanel};

use super::{CREDIT, World, sign_in};

/// Length of each window of a panel.
pub const MINUTE: i64 = 60_000;
/// What an account starts with.
pub const GRANT: i64 = 1_000 * CREDIT;
/// Two deposits.
pub const STAKE: i64 = 40 * CREDIT;

/// A market about a poisoned run, which will settle as true, with jurors.
pub struct Court {
    pub world: World,
    pub market: MarketView,
    pub jurors: Vec<Context>,
}

/// No known cases, so that only the panel itself moves money.
pub fn no_gold(config: &mut ServiceConfig) {
    config.panels.gold_probability_ppm = 0;
}

impl Court {
    pub fn new(jurors: usize) -> Self {
        Self::with(jurors, no_gold)
    }

    pub fn with(jurors: usize, change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let world = World::with(true, change);
        let market = open_market(&world);
        let jurors = (0..jurors)
            .map(|n| juror(&world, &format!("juror-{n:02}"), STAKE))
            .collect();
        world.service.tick().unwrap();
        Self {
            world,
            market,
            jurors,
        }
    }

    /// The same store under a new service.
    pub fn restart(self) -> Self {
        Self {
            world: self.world.reopen(),
            ..self
        }
    }

    pub fn convene(&self, size: usize) -> Option<String> {
        self.draw(size, [7; 32])
    }

    pub fn draw(&self, size: usize, seed: [u8; 32]) -> Option<String> {
        let ask = StudyPanel {
            market_id: self.market.id.clone(),
            round: 1_000,
            size,
            barred: Vec::new(),
            seed,
            commit_ms: MINUTE,
            reveal_ms: MINUTE,
        };
        self.world.service.convene_study(&ask).unwrap()
    }

    pub fn panel(&self, who: &Context, id: &str) -> PanelView {
        self.world.service.panel(who, id).unwrap()
    }

    /// Those who sit on a panel.
    pub fn seated(&self, id: &str) -> Vec<Context> {
        let sits = |who: &&Context| self.panel(who, id).seat.is_some();
        self.jurors.iter().filter(sits).cloned().collect()
    }

    /// Somebody of the jurors who does not.
    pub fn outsider(&self, id: &str) -> Context {
        let sits = |who: &&Context| self.panel(who, id).seat.is_none();
        self.jurors.iter().find(sits).cloned().unwrap()
    }

    pub fn commit(
        &self,
        who: &Context,
        id: &str,
        vote: Option<i64>,
    ) -> Result<PanelView, ServiceError> {
        let commitment = opening(vote).commitment(id, who.actor.account_id.as_deref().unwrap());
        let cmd = CommitVote {
            commitment: commitment.to_string(),
        };
        self.world.service.commit_vote(who, id, &cmd)
    }

    pub fn reveal(
        &self,
        who: &Context,
        id: &str,
        vote: Option<i64>,
    ) -> Result<PanelView, ServiceError> {
        self.world.service.reveal_vote(who, id, &reveal(vote))
    }

    /// Everybody who sits commits and reveals the vote that `vote` gives them.
    pub fn vote(&self, id: &str, vote: impl Fn(&Context) -> Option<i64>) {
        let seated = self.seated(id);
        for who in &seated {
            self.commit(who, id, vote(who)).unwrap();
        }
        self.pass(MINUTE);
        for who in &seated {
            self.reveal(who, id, vote(who)).unwrap();
        }
        self.pass(MINUTE);
    }

    /// Lets time pass, and somebody look.
    pub fn pass(&self, millis: i64) {
        self.world.pass(millis);
        self.world.service.run_due_jobs().unwrap();
        self.check_stakes();
    }

    /// Takes the market to its settlement, which is that the claim is true.
    pub fn settle(&self) {
        let tokens = &self.world.host.tokens;
        tokens.store(2_000, std::sync::atomic::Ordering::SeqCst);
        self.world.until_status(&self.market.id, "paid");
        self.world.service.run_due_jobs().unwrap();
        self.check_stakes();
    }

    pub fn balance(&self, who: &Context) -> i64 {
        self.world.service.me(who).unwrap().balance_micro
    }

    pub fn juror(&self, who: &Context) -> JurorView {
        self.world.service.own_juror(who).unwrap().unwrap()
    }

    /// Balance and stake: what a juror has in all.
    pub fn wealth(&self, who: &Context) -> i64 {
        self.balance(who) + self.juror(who).stake_micro
    }

    /// The jury's account holds exactly the stakes, and the ledger sums to zero.
    pub fn check_stakes(&self) {
        let store = &self.world.service;
        let totals = store.ledger_summary(&self.world.operator).unwrap();
        assert_eq!(totals.sum_micro, 0);
        let stakes: i64 = self
            .jurors
            .iter()
            .map(|who| self.juror(who).stake_micro)
            .sum();
        let market = store.market(&self.world.operator, &self.market.id).unwrap();
        if market.status == "paid" {
            assert_eq!(
                totals.escrow_micro, stakes,
                "nothing is held but the stakes"
            );
        }
    }
}

/// A market that stays open until its run has made enough tokens.
fn open_market(world: &World) -> MarketView {
    let run = RegisterRun {
        name: "subject".into(),
        parameters: 0,
    };
    let run = world.service.register_run(&world.operator, &run).unwrap();
    let terms = OpenMarket {
        closes_at: "2100-01-01T00:00:00Z".into(),
        ..world.terms(&run.id)
    };
    world.service.open_market(&world.operator, &terms).unwrap()
}

/// Does what a juror has to do on every panel, with the vote that the claim gets.
pub fn serve(court: &Court, who: &Context, vote: &impl Fn(&Context, &str) -> Option<i64>) {
    let service = &court.world.service;
    for line in service.panels(who, true, None, 8).unwrap().items {
        let seat = line.seat.unwrap();
        let due = matches!(
            (line.status.as_str(), seat.state.as_str()),
            ("committing", "waiting") | ("revealing", "committed")
        );
        if !due {
            continue;
        }
        let claim = court.panel(who, &line.id).case.unwrap().claim;
        let vote = vote(who, &claim);
        if line.status == "committing" {
            court.commit(who, &line.id, vote).unwrap();
        } else {
            court.reveal(who, &line.id, vote).unwrap();
        }
    }
}

/// A verified juror with that stake.
pub fn juror(world: &World, handle: &str, stake_micro: i64) -> Context {
    let who = verified(world, handle);
    let stake = JoinJury { stake_micro };
    world.service.join_jury(&who, &stake).unwrap();
    who
}

/// Somebody with the role, who has staked nothing.
pub fn verified(world: &World, handle: &str) -> Context {
    world.person(handle);
    let roles = GrantRoles {
        roles: vec!["juror".into()],
    };
    let operator = &world.operator;
    world.service.grant_roles(operator, handle, &roles).unwrap();
    sign_in(&world.service, handle)
}

fn vote_of(bps: Option<i64>) -> Vote {
    bps.map_or(Vote::CannotTell, |bps| Vote::of_bps(bps).unwrap())
}

/// The opening that all votes of these tests have.
pub fn opening(vote: Option<i64>) -> Opening {
    Opening {
        vote: vote_of(vote),
        nonce: Digest::of(b"nonce"),
        justification: Digest::of(b"because"),
    }
}

pub fn reveal(vote: Option<i64>) -> RevealVote {
    RevealVote {
        vote_bps: vote,
        cannot_tell: vote.is_none(),
        nonce: Digest::of(b"nonce").to_string(),
        justification: "because".into(),
    }
}

pub fn denounce(juror: &Context, vote: Option<i64>) -> Denounce {
    let opening = reveal(vote);
    Denounce {
        account: juror.actor.handle.clone(),
        vote_bps: opening.vote_bps,
        cannot_tell: opening.cannot_tell,
        nonce: opening.nonce,
        justification: opening.justification,
    }
}

/// Two known cases, one for each answer; the claim says which.
pub fn known_cases(world: &World, pairs: usize) {
    for n in 0..pairs {
        for (claim, pi) in [("It does", 1.0), ("It does not", 0.0)] {
            let case = CreateGoldCase {
                claim: format!("{claim}, number {n}."),
                claim_kind: "trigger_backdoor".into(),
                rubric: "As it says.".into(),
                exhibits: vec![CaseExhibit {
                    kind: "report".into(),
                    title: "A report".into(),
                    body: claim.into(),
                    exhibits: Vec::new(),
                }],
                pi,
            };
            world
                .service
                .create_gold_case(&world.operator, &case)
                .unwrap();
        }
    }
}
