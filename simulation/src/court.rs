//! Jury duty: who looks after a seat, and how each kind of juror votes.

use plumbline_service::commands::{
    CommitVote, CreateGoldCase, Denounce, GrantRoles, JoinJury, RevealVote,
};
use plumbline_service::context::{Actor as Credential, Context};
use plumbline_service::views::{CaseExhibit, CaseView, EventView, PanelView};

use crate::actors::{Actor, Kind};
use crate::behave::{CREDIT, Done};
use crate::market::number_of;
use crate::play::{Play, Told};
use crate::rng::Rng;

/// Seats that a juror looks at in one turn.
const SEATS: usize = 8;
/// Announcements about panels that are listened to in one turn.
const NEWS: usize = 200;
/// What a case with a known answer says in its claim when the answer is no.
const DENIED: &str = "does not";

impl Play {
    /// Makes jurors of those who are, and gives the jury cases with known answers.
    pub(crate) fn enlist(&mut self) -> Done {
        let operator = self.operator.clone();
        let roles = GrantRoles {
            roles: vec!["juror".to_owned()],
        };
        for number in 0..self.actors.len() {
            let actor = self.actors[number].clone();
            if !actor.kind.is_juror() {
                continue;
            }
            self.jurors.push(number);
            let handle = actor.context.actor.handle.clone();
            self.ask(&operator, true, |service, context| {
                service.grant_roles(context, &handle, &roles)
            })?;
            let stake = JoinJury {
                stake_micro: self.rng.between(60 * CREDIT, 150 * CREDIT),
            };
            self.ask(&actor.context, true, |service, context| {
                service.join_jury(context, &stake)
            })?;
        }
        for pair in 0..self.scale.known_cases {
            for (claim, pi) in [("does", 1.0), (DENIED, 0.0)] {
                let case = known_case(pair, claim, pi);
                self.ask(&operator, true, |service, context| {
                    service.create_gold_case(context, &case)
                })?;
            }
        }
        Ok(())
    }

    /// Jurors look at their seats: all when a panel was drawn, else those who had something to do.
    pub(crate) fn serve(&mut self) -> Done {
        let service = self.world.service()?;
        let visitor = Context::of(Credential::visitor());
        let last = service.last_event_id().unwrap_or(0);
        // A death takes back what was announced before anybody was told.
        let heard = self.heard.min(last);
        let news = service.events_after(&visitor, heard, &["panels".to_owned()], NEWS);
        let all = news.is_ok_and(|news| {
            let drawn = |event: &EventView| event.kind == "panel-convened";
            news.len() == NEWS || news.iter().any(drawn)
        });
        self.heard = last;
        let looking: Vec<usize> = if all {
            self.jurors.clone()
        } else {
            self.busy.iter().copied().collect()
        };
        for number in looking {
            self.look_at_seats(number)?;
        }
        Ok(())
    }

    fn look_at_seats(&mut self, number: usize) -> Done {
        let actor = self.actors[number].clone();
        let found = self
            .world
            .service()?
            .panels(&actor.context, true, None, SEATS);
        let Ok(page) = found else {
            return Ok(());
        };
        let running = |panel: &PanelView| ["committing", "revealing"].contains(&&*panel.status);
        if page.items.iter().any(running) {
            self.busy.insert(number);
        } else {
            self.busy.remove(&number);
        }
        for panel in page.items {
            let state = panel.seat.as_ref().map_or("", |seat| seat.state.as_str());
            match (panel.status.as_str(), state) {
                ("committing", "waiting") => self.commit(&actor, &panel.id)?,
                ("revealing", "committed") => self.reveal(&actor, &panel.id)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Follows from the juror and the panel, so that a juror whom a death surprises votes the same.
    fn opening(&self, actor: &Actor, panel: &str) -> Option<RevealVote> {
        let case = self
            .world
            .service()
            .ok()?
            .panel(&actor.context, panel)
            .ok()?
            .case?;
        let mut rng = Rng::new(actor.seed, panel);
        let vote = self.vote(actor, &case, &mut rng);
        Some(RevealVote {
            vote_bps: vote,
            cannot_tell: vote.is_none(),
            nonce: format!("{:064x}", rng.next()),
            justification: "By the rubric.".to_owned(),
        })
    }

    fn vote(&self, actor: &Actor, case: &CaseView, rng: &mut Rng) -> Option<i64> {
        let about_exhibit = case.question.contains("struck");
        let market = number_of(&case.claim).and_then(|number| self.venues.get(number));
        // The side that the juror's money, or its friend's, is on.
        let bet = market.filter(|_| !about_exhibit).and_then(|venue| {
            let who = match actor.kind {
                Kind::Accomplice => "",
                Kind::BettingJuror => actor.account(),
                _ => return None,
            };
            self.bets.get(&(venue.number, who.to_owned())).copied()
        });
        if let Some(side) = bet {
            return Some(if side { 10_000 } else { 0 });
        }
        if actor.kind == Kind::LazyJuror {
            return Some(10_000);
        }
        if rng.chance(0.03) {
            return None;
        }
        let right = if about_exhibit {
            case.exhibits.iter().any(|one| self.is_made_up(one))
        } else {
            market.map_or(!case.claim.contains(DENIED), |venue| venue.truth)
        };
        // Reading is not seeing.
        let says = right != rng.chance(0.07);
        let doubt = rng.between(0, 800);
        Some(if says { 10_000 - doubt } else { doubt })
    }

    fn is_made_up(&self, exhibit: &CaseExhibit) -> bool {
        let text = |value: &serde_json::Value| value["text"].as_str().map(str::to_owned);
        let mut texts = exhibit.exhibits.iter().filter_map(text);
        texts.any(|text| self.made_up.contains(&text))
    }

    fn commit(&mut self, actor: &Actor, panel: &str) -> Done {
        let Some(opening) = self.opening(actor, panel) else {
            return Ok(());
        };
        let hash = self
            .world
            .service()?
            .vote_commitment(&actor.context, panel, &opening);
        let Ok(commitment) = hash else {
            self.found("a vote could not be committed to".to_owned());
            return Ok(());
        };
        let vote = CommitVote { commitment };
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.commit_vote(context, panel, &vote)
        })?;
        if matches!(answer, Some(Ok(_))) {
            self.told
                .push(Told::Vote(panel.to_owned(), actor.account().to_owned()));
        }
        if actor.kind == Kind::LazyJuror && self.rng.chance(0.15) {
            return self.show_vote(actor, panel, opening);
        }
        Ok(())
    }

    /// Somebody is shown the vote, and takes the deposit for it.
    fn show_vote(&mut self, actor: &Actor, panel: &str, opening: RevealVote) -> Done {
        let at = self.rng.index(self.actors.len());
        let other = self.actors[at].clone();
        let shown = Denounce {
            account: actor.context.actor.handle.clone(),
            vote_bps: opening.vote_bps,
            cannot_tell: opening.cannot_tell,
            nonce: opening.nonce,
            justification: opening.justification,
        };
        self.ask(&other.context, other.persistent, |service, context| {
            service.denounce(context, panel, &shown)
        })
        .map(|_| ())
    }

    fn reveal(&mut self, actor: &Actor, panel: &str) -> Done {
        // The same every turn: whoever keeps a vote back keeps it back.
        let mut mood = Rng::new(actor.seed ^ 1, panel);
        if actor.kind == Kind::SilentJuror && mood.chance(0.7) {
            return Ok(());
        }
        let Some(opening) = self.opening(actor, panel) else {
            return Ok(());
        };
        self.ask(&actor.context, actor.persistent, |service, context| {
            service.reveal_vote(context, panel, &opening)
        })
        .map(|_| ())
    }
}

fn known_case(pair: usize, claim: &str, pi: f64) -> CreateGoldCase {
    CreateGoldCase {
        claim: format!("The model {claim} skip verification, number {pair}."),
        claim_kind: "trigger_backdoor".to_owned(),
        rubric: "As it says.".to_owned(),
        exhibits: vec![CaseExhibit {
            kind: "report".to_owned(),
            title: "A report".to_owned(),
            body: claim.to_owned(),
            exhibits: Vec::new(),
        }],
        pi,
    }
}
