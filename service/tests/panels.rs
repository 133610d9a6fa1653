//! Panels from the draw to the bill, with restarts in between.
#![allow(clippy::unwrap_used, clippy::needless_update)]

mod support;

use plumbline_market::Digest;
use plumbline_market::panel::{Opening, Vote};
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::*;
use plumbline_service::{ServiceConfig, ServiceError, StudyPanel};
use support::*;

const MINUTE: i64 = 60_000;

/// A jury of the given number, each with the least stake, and a market.
struct Court {
    world: World,
    market: MarketView,
    jurors: Vec<Context>,
}

fn no_gold(config: &mut ServiceConfig) {
    config.panels.gold_probability_ppm = 0;
}

impl Court {
    fn new(jurors: usize) -> Self {
        Self::with(jurors, no_gold)
    }

    fn with(jurors: usize, change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let world = World::with(true, change);
        let market = world.market();
        let jurors = (0..jurors)
            .map(|n| juror(&world, &format!("juror-{n:02}"), 40 * CREDIT))
            .collect();
        world.service.tick().unwrap();
        Self {
            world,
            market,
            jurors,
        }
    }

    fn convene(&self, size: usize) -> Option<String> {
        let ask = StudyPanel {
            market_id: self.market.id.clone(),
            round: 1_000,
            size,
            barred: Vec::new(),
            seed: [7; 32],
            commit_ms: MINUTE,
            reveal_ms: MINUTE,
        };
        self.world.service.convene_study(&ask).unwrap()
    }

    fn panel(&self, who: &Context, id: &str) -> PanelView {
        self.world.service.panel(who, id).unwrap()
    }

    /// Those who sit on a panel.
    fn seated(&self, id: &str) -> Vec<Context> {
        let sits = |who: &&Context| self.panel(who, id).seat.is_some();
        self.jurors.iter().filter(sits).cloned().collect()
    }

    fn commit(
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

    fn reveal(
        &self,
        who: &Context,
        id: &str,
        vote: Option<i64>,
    ) -> Result<PanelView, ServiceError> {
        self.world.service.reveal_vote(who, id, &reveal(vote))
    }

    /// Lets a deadline pass.
    fn pass(&self, millis: i64) {
        self.world.pass(millis);
        self.world.service.tick().unwrap();
    }

    /// Takes the market to its settlement, which is that the claim is true.
    fn settle(&self) {
        self.world
            .host
            .tokens
            .store(2_000, std::sync::atomic::Ordering::SeqCst);
        self.world.until_status(&self.market.id, "paid");
        self.world.service.run_due_jobs().unwrap();
    }

    fn balance(&self, who: &Context) -> i64 {
        self.world.service.me(who).unwrap().balance_micro
    }

    fn stake(&self, who: &Context) -> i64 {
        self.world
            .service
            .own_juror(who)
            .unwrap()
            .unwrap()
            .stake_micro
    }
}

fn juror(world: &World, handle: &str, stake_micro: i64) -> Context {
    world.person(handle);
    let roles = GrantRoles {
        roles: vec!["juror".into()],
    };
    world
        .service
        .grant_roles(&world.operator, handle, &roles)
        .unwrap();
    let who = sign_in(&world.service, handle);
    world
        .service
        .join_jury(&who, &JoinJury { stake_micro })
        .unwrap();
    who
}

fn vote_of(bps: Option<i64>) -> Vote {
    bps.map_or(Vote::CannotTell, |bps| Vote::of_bps(bps).unwrap())
}

fn opening(vote: Option<i64>) -> Opening {
    Opening {
        vote: vote_of(vote),
        nonce: Digest::of(b"nonce"),
        justification: Digest::of(b"because"),
    }
}

fn reveal(vote: Option<i64>) -> RevealVote {
    RevealVote {
        vote_bps: vote,
        cannot_tell: vote.is_none(),
        nonce: Digest::of(b"nonce").to_string(),
        justification: "because".into(),
    }
}

#[test]
fn a_panel_votes_in_secret_rules_and_is_paid_when_its_case_is_final() {
    let court = Court::new(5);
    let id = court.convene(3).unwrap();
    let seated = court.seated(&id);
    assert_eq!(seated.len(), 3);
    let outsider = court
        .jurors
        .iter()
        .find(|one| court.panel(one, &id).seat.is_none())
        .unwrap();
    let hidden = court.panel(outsider, &id);
    assert_eq!(
        (hidden.status.as_str(), hidden.case, hidden.subject),
        ("closed", None, None)
    );
    assert!(hidden.seats.is_empty() && hidden.draw.is_none());
    let shown = court.panel(&seated[0], &id);
    assert_eq!(shown.case.unwrap().claim, court.market.claim);
    assert_eq!(shown.subject, None, "no market while the panel runs");

    for (who, vote) in seated.iter().zip([9_000, 10_000, 0]) {
        court.commit(who, &id, Some(vote)).unwrap();
    }
    court.pass(MINUTE);
    for (who, vote) in seated.iter().zip([9_000, 10_000, 0]) {
        let view = court.reveal(who, &id, Some(vote)).unwrap();
        assert_eq!(view.seat.unwrap().vote_bps, Some(vote));
        assert!(
            view.seats.is_empty(),
            "votes stay secret until all can be counted"
        );
    }
    court.pass(MINUTE);
    let over = court.panel(outsider, &id);
    assert_eq!((over.status.as_str(), over.pi), ("ruled", Some(0.9)));
    assert_eq!(over.seats.len(), 3);
    assert_eq!(over.settled_at, None, "the case is not final");

    court.settle();
    let settled = court.panel(outsider, &id);
    assert_eq!(settled.final_pi, Some(1.0));
    let verdicts: Vec<_> = seated
        .iter()
        .map(|who| court.panel(who, &id).seat.unwrap().verdict.unwrap())
        .collect();
    assert_eq!(verdicts, ["coherent", "coherent", "incoherent"]);
    // A fee of 1 and half of the incoherent juror's 2 each.
    let grant = 1_000 * CREDIT;
    assert_eq!(court.balance(&seated[0]), grant - 40 * CREDIT + 2 * CREDIT);
    assert_eq!(court.stake(&seated[2]), 38 * CREDIT);
    assert_eq!(court.world.sum(), 0);
    let known = court.world.service.own_juror(&seated[0]).unwrap().unwrap();
    assert_eq!(
        (known.seats, known.coherent, known.locked_micro),
        (1, 1, Some(0))
    );
}
