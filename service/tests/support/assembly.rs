//! A world whose people hold stakes, and votes of seconds.

use plumbline_governance::voting::tracks::Tracks;
use plumbline_service::ServiceConfig;
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::*;

use super::{CREDIT, World};

/// Where granted credits count, so that people need not earn theirs first.
pub fn known_people(config: &mut ServiceConfig) {
    config.voting.grants_count = true;
    config.voting.tracks = Tracks::demo();
    config.voting.lock_period_ms = 100_000;
}

pub struct Assembly {
    pub world: World,
    pub ada: Context,
    pub bob: Context,
    pub cyd: Context,
}

impl Assembly {
    /// Ada, Bob and Cyd with stakes of 400, 200 and 100 credits.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let world = World::with(false, |config| {
            known_people(config);
            change(config);
        });
        let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(|handle| world.person(handle));
        for (who, credits) in [(&ada, 400), (&bob, 200), (&cyd, 100)] {
            stake(&world, who, credits);
        }
        Self {
            world,
            ada,
            bob,
            cyd,
        }
    }

    /// A proposal with its deposit paid by Ada: its vote has begun.
    pub fn propose(&self, action: ProposedAction) -> ProposalView {
        let draft = self
            .world
            .service
            .create_proposal(&self.ada, &proposal(action, 0));
        self.pay(draft.unwrap())
    }

    /// Pays what a proposal's track asks for.
    pub fn pay(&self, draft: ProposalView) -> ProposalView {
        let amount_micro = draft.terms.deposit_micro as i64 - draft.deposit_paid_micro;
        let paid = PayDeposit { amount_micro };
        self.world
            .service
            .pay_deposit(&self.ada, &draft.id, &paid)
            .unwrap()
    }

    pub fn vote(&self, who: &Context, id: &str, side: &str, conviction: u8) -> ProposalView {
        let cmd = CastVote {
            side: side.into(),
            conviction,
        };
        self.world.service.cast_vote(who, id, &cmd).unwrap()
    }

    /// Lets seconds pass one by one, with a look at the deadlines after each.
    pub fn pass(&self, seconds: i64) {
        for _ in 0..seconds {
            self.world.pass(1_000);
            self.world.service.tick().unwrap();
        }
    }

    /// Lets seconds pass until the proposal is in that state.
    pub fn until(&self, id: &str, state: &str) -> ProposalView {
        for _ in 0..1_200 {
            let proposal = self.show(id);
            if proposal.state == state {
                return proposal;
            }
            self.pass(1);
        }
        panic!("never {state}: {:?}", self.show(id).steps);
    }

    /// Everybody is for it, and it is executed.
    pub fn carry(&self, action: ProposedAction) -> ProposalView {
        let proposal = self.propose(action);
        for who in [&self.ada, &self.bob, &self.cyd] {
            self.vote(who, &proposal.id, "for", 1);
        }
        self.until(&proposal.id, "executed")
    }

    /// The auditor, who shares no code with the service, agrees with everything; the books.
    pub fn audited(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.world.service.export_books(&mut text).unwrap();
        let report = plumbline_audit::verify(text.as_slice()).unwrap();
        assert!(report.is_green(), "{:#?}", report.violations);
        assert!(report.checked["proposals"] > 0);
        text
    }

    pub fn show(&self, id: &str) -> ProposalView {
        self.world.service.proposal(&self.ada, id).unwrap()
    }

    pub fn balance(&self, who: &Context) -> i64 {
        self.world.service.me(who).unwrap().balance_micro
    }
}

pub fn stake(world: &World, who: &Context, credits: i64) -> StakeView {
    let cmd = ChangeStake {
        stake_micro: credits * CREDIT,
    };
    world.service.stake(who, &cmd).unwrap()
}

pub fn proposal(action: ProposedAction, deposit_micro: i64) -> CreateProposal {
    CreateProposal {
        title: "Something to decide".into(),
        body: "Because.".into(),
        track: None,
        action,
        deposit_micro,
    }
}

/// Ten credits for Cyd.
pub fn gift() -> ProposedAction {
    ProposedAction::Treasury {
        account: "cyd".into(),
        amount_micro: 10 * CREDIT,
        memo: "for the proofs".into(),
    }
}
