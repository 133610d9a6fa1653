//! What each kind of person does when it is their turn.

use plumbline_service::ServiceError;
use plumbline_service::commands::{PlaceOrder, SubmitEvidence, TradeOrder};
use plumbline_service::time::rfc3339;
use plumbline_service::views::TradeView;
use serde_json::{Value, json};

use crate::SimulationError;
use crate::actors::{Actor, Kind};
use crate::judge;
use crate::market::Venue;
use crate::play::{Play, Report, Told};

/// A credit in micro-credits.
pub(crate) const CREDIT: i64 = 1_000_000;

/// What an action comes to.
pub(crate) type Done = Result<(), SimulationError>;

impl Play {
    /// Lets one person do something.
    pub(crate) fn act(&mut self, number: usize) -> Done {
        let Some(actor) = self.actors.get(number).cloned() else {
            return Ok(());
        };
        match actor.kind {
            Kind::LastMinute => return self.push_last(&actor),
            Kind::Disputer => return self.dispute(&actor),
            Kind::SelfChallenger => return self.challenge_itself(&actor),
            Kind::JudgeGamer => return self.game_judges(&actor),
            Kind::RingLeader => return self.lead_ring(&actor),
            Kind::BettingJuror => return self.bet_as_juror(&actor),
            _ => {}
        }
        let reports = matches!(
            actor.kind,
            Kind::EvidenceSpammer | Kind::Copyist | Kind::Holdout
        );
        let Some(venue) = self.open_where(|venue| !reports || venue.is_plain()) else {
            return Ok(());
        };
        match actor.kind {
            Kind::Informed => self.inform(&actor, &venue),
            Kind::Noisy => self.gamble(&actor, &venue),
            Kind::Pusher => self.push(&actor, &venue),
            Kind::WashTrader => self.wash(&actor, &venue),
            Kind::EvidenceSpammer => self.spam(&actor, &venue),
            Kind::Copyist => self.copy(&actor, &venue),
            Kind::Hostile => self.annoy(&actor, &venue),
            Kind::Holdout => self.hold_up(&actor, &venue),
            // Those who only wait for others: for a reveal to overtake, or for a seat.
            _ => Ok(()),
        }
    }

    /// A market of some kind that is open, as far as people know.
    pub(crate) fn open_where(&mut self, fits: impl Fn(&Venue) -> bool) -> Option<Venue> {
        let now = self.world.now();
        let open: Vec<usize> = (0..self.venues.len())
            .filter(|&at| self.venues[at].closes_at > now && fits(&self.venues[at]))
            .collect();
        let at = self.rng.pick(&open).copied()?;
        self.venues.get(at).cloned()
    }

    pub(crate) fn trade(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        order: TradeOrder,
    ) -> Result<Option<i64>, SimulationError> {
        let id = venue.id.clone();
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.trade(context, &id, &order)
        })?;
        Ok(self.note_trade(answer))
    }

    /// Remembers what somebody was told of a trade; the shares, if there was one.
    pub(crate) fn note_trade(
        &mut self,
        answer: Option<Result<TradeView, ServiceError>>,
    ) -> Option<i64> {
        match answer {
            Some(Ok(trade)) => {
                self.told.push(Told::Trade(trade.id.clone()));
                self.trades.insert(trade.id);
                Some(trade.yes_micro + trade.no_micro)
            }
            Some(Err(_)) => None,
            None => {
                self.abandoned += 1;
                None
            }
        }
    }

    /// Submits one exhibit, openly.
    pub(crate) fn submit(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        exhibit: Value,
        stake: i64,
    ) -> Done {
        match evidence(&exhibit, stake) {
            Some(cmd) => self.send_evidence(actor, venue, &cmd),
            // What no client could send.
            None => Ok(()),
        }
    }

    /// Sends a submission, or the reveal of one.
    pub(crate) fn send_evidence(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        cmd: &SubmitEvidence,
    ) -> Done {
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.submit_evidence(context, &venue.id, cmd)
        })?;
        if let Some(Ok(view)) = answer {
            self.told.push(Told::Evidence(view.id.clone()));
            let text = |exhibit: &Value| exhibit["text"].as_str().map(str::to_owned);
            let mut texts = cmd.exhibits.iter().filter_map(text);
            self.reports.push(Report {
                id: view.id,
                account: actor.account().to_owned(),
                made_up: texts.any(|text| self.made_up.contains(&text)),
            });
            if let Some(shown) = self.shown.get_mut(venue.number) {
                shown.extend(cmd.exhibits.iter().cloned());
            }
        }
        Ok(())
    }

    /// Trades toward what it believes, sells what has become too dear, submits what it finds.
    fn inform(&mut self, actor: &Actor, venue: &Venue) -> Done {
        if venue.is_plain() && self.rng.chance(0.08) {
            return self.report(actor, venue);
        }
        if !venue.outcomes.is_empty() {
            return self.inform_outcome(actor, venue);
        }
        let (id, context) = (venue.id.clone(), actor.context.clone());
        let Ok(view) = self.world.service()?.market(&context, &id) else {
            return Ok(());
        };
        let (price, belief) = (view.probability, actor.belief(venue.number, venue.truth));
        let edge = belief - price;
        if edge.abs() < 0.03 {
            return Ok(());
        }
        let outcome = if edge > 0.0 { "yes" } else { "no" };
        if self.rng.chance(0.15) {
            return self.sell_dear(actor, venue, edge);
        }
        if venue.is_plain() && self.rng.chance(0.15) {
            // Waits for a price that is better than this one, on the side that it believes in.
            let limit = price + (edge * self.rng.unit() - 0.1 * edge.signum());
            let spend = self.rng.between(CREDIT / 10, 8 * CREDIT);
            return self.rest(actor, venue, outcome, limit, Ok(spend));
        }
        let order = if self.rng.chance(0.5) {
            TradeOrder {
                outcome: outcome.to_owned(),
                spend_micro: Some((edge.abs() * 40.0 * CREDIT as f64) as i64 + 1),
                ..TradeOrder::default()
            }
        } else {
            let target = (price + 0.4 * edge).clamp(0.01, 0.99);
            TradeOrder {
                outcome: outcome.to_owned(),
                target_probability: Some(target),
                limit_probability: Some((price + 0.6 * edge).clamp(0.005, 0.995)),
                ..TradeOrder::default()
            }
        };
        self.trade_soon(actor, venue, order)
    }

    /// As with yes and no, for what it believes to be the likeliest of several outcomes.
    fn inform_outcome(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let count = venue.outcomes.len();
        let (best, belief) = actor.favourite(venue.number, count, venue.winner());
        let found = self.world.service()?.market(&actor.context, &venue.id);
        let prices = found.ok().and_then(|view| view.outcomes);
        let price = prices.and_then(|prices| prices.get(best).map(|one| one.probability));
        let Some(price) = price.filter(|price| belief - price > 0.03) else {
            return Ok(());
        };
        let order = TradeOrder {
            outcome: venue.outcomes[best].clone(),
            target_probability: Some((price + 0.4 * (belief - price)).clamp(0.01, 0.99)),
            ..TradeOrder::default()
        };
        self.trade_soon(actor, venue, order)
    }

    /// An outcome at random.
    fn any_outcome(&mut self, venue: &Venue) -> String {
        let sides = ["yes".to_owned(), "no".to_owned()];
        let names = if venue.outcomes.is_empty() {
            &sides[..]
        } else {
            &venue.outcomes
        };
        self.rng.pick(names).cloned().unwrap_or_default()
    }

    /// An outcome that is not the case.
    fn wrong_outcome(&mut self, venue: &Venue) -> String {
        match venue.outcomes.len() {
            0 => if venue.truth { "no" } else { "yes" }.to_owned(),
            count => {
                let next = 1 + self.rng.index(count - 1);
                venue.outcomes[(venue.winner() + next) % count].clone()
            }
        }
    }

    /// Leaves an order that waits for its limit: a purchase for so much, or a sale of so many shares.
    fn rest(
        &mut self,
        actor: &Actor,
        venue: &Venue,
        outcome: &str,
        limit: f64,
        size: Result<i64, i64>,
    ) -> Done {
        let lives = self.rng.between(1, 40) * 30_000;
        let expires_at = self.world.now() + lives;
        let order = PlaceOrder {
            outcome: outcome.to_owned(),
            limit_probability: limit.clamp(0.005, 0.995),
            spend_micro: size.ok(),
            shares_micro: size.err().map(|shares| -shares),
            expires_at: self.rng.chance(0.5).then(|| rfc3339(expires_at)),
        };
        let id = venue.id.clone();
        let answer = self.ask(&actor.context, actor.persistent, |service, context| {
            service.place_order(context, &id, &order)
        })?;
        if let Some(Ok(view)) = answer {
            self.told.push(Told::Order(view.id.clone()));
            self.orders.push((actor.clone(), view.id));
        }
        self.cancel_one()
    }

    /// Now and then somebody thinks better of an order.
    fn cancel_one(&mut self) -> Done {
        if self.orders.is_empty() || !self.rng.chance(0.2) {
            return Ok(());
        }
        let at = self.rng.index(self.orders.len());
        let (actor, id) = self.orders.swap_remove(at);
        let found = self.world.service()?.cancel_order(&actor.context, &id);
        if !self.revive_if_dead()?
            && let Err(error) = found
        {
            self.refused(&error);
        }
        Ok(())
    }

    /// Sells part of what it holds on the side that it no longer believes in.
    fn sell_dear(&mut self, actor: &Actor, venue: &Venue, edge: f64) -> Done {
        let Ok(held) = self.world.service()?.my_positions(&actor.context) else {
            return Ok(());
        };
        let Some(position) = held.into_iter().find(|held| held.market_id == venue.id) else {
            return Ok(());
        };
        let (outcome, shares) = if edge > 0.0 {
            ("no", position.no_micro)
        } else {
            ("yes", position.yes_micro)
        };
        if shares == 0 {
            return Ok(());
        }
        let order = TradeOrder {
            outcome: outcome.to_owned(),
            shares_micro: Some(-self.rng.between(1, shares)),
            ..TradeOrder::default()
        };
        self.trade_soon(actor, venue, order)
    }

    /// Submits something that argues for the truth and is worth most of what it says.
    fn report(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let side = if venue.truth { 1.0 } else { -1.0 };
        let claim = side * (0.5 + self.rng.unit());
        let worth = (0.8 + 0.3 * self.rng.normal()).clamp(-0.5, 1.0);
        let text = judge::report(claim, worth, &self.words());
        let stake = self.rng.between(CREDIT / 2, 10 * CREDIT);
        let exhibit = json!({"type": "report", "text": text});
        match evidence(&exhibit, stake) {
            Some(cmd) if self.scale.courts && self.rng.chance(0.35) => {
                self.promise(actor, venue, cmd)
            }
            _ => self.submit(actor, venue, exhibit, stake),
        }
    }

    /// Words that make a report its own.
    pub(crate) fn words(&mut self) -> String {
        (0..24)
            .map(|_| format!("w{:x}", self.rng.below(1 << 20)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn gamble(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let outcome = self.any_outcome(venue);
        if venue.is_plain() && self.rng.chance(0.1) {
            let amount = self.rng.between(10_000, 2 * CREDIT);
            let size = if self.rng.chance(0.3) {
                Err(amount)
            } else {
                Ok(amount)
            };
            let limit = self.rng.unit();
            return self.rest(actor, venue, &outcome, limit, size);
        }
        let order = match self.rng.below(3) {
            0 => TradeOrder {
                shares_micro: Some(self.rng.between(1, 3 * CREDIT)),
                ..TradeOrder::default()
            },
            1 => TradeOrder {
                shares_micro: Some(-self.rng.between(1, CREDIT)),
                ..TradeOrder::default()
            },
            _ => TradeOrder {
                spend_micro: Some(self.rng.between(1, 3 * CREDIT)),
                ..TradeOrder::default()
            },
        };
        let order = TradeOrder { outcome, ..order };
        self.trade_soon(actor, venue, order)
    }

    /// Spends a lot on the wrong side.
    fn push(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let order = TradeOrder {
            outcome: self.wrong_outcome(venue),
            spend_micro: Some(self.rng.between(20 * CREDIT, 100 * CREDIT)),
            ..TradeOrder::default()
        };
        self.trade_soon(actor, venue, order)
    }

    /// As a pusher, in the market that closes first.
    fn push_last(&mut self, actor: &Actor) -> Done {
        let now = self.world.now();
        let next = self
            .venues
            .iter()
            .filter(|venue| venue.closes_at > now)
            .min_by_key(|venue| venue.closes_at)
            .cloned();
        match next {
            Some(venue) => self.push(actor, &venue),
            None => Ok(()),
        }
    }

    /// Buys and sells the same shares back.
    fn wash(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let outcome = self.any_outcome(venue);
        let spend = TradeOrder {
            outcome: outcome.clone(),
            spend_micro: Some(self.rng.between(CREDIT / 100, 5 * CREDIT)),
            ..TradeOrder::default()
        };
        let Some(bought) = self.trade(actor, venue, spend)? else {
            return Ok(());
        };
        let sell = TradeOrder {
            outcome,
            shares_micro: Some(-bought),
            ..TradeOrder::default()
        };
        self.trade(actor, venue, sell).map(|_| ())
    }

    /// Argues loudly for the wrong side; the judge believes a little of it.
    fn spam(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let side = if venue.truth { -1.0 } else { 1.0 };
        let worth = (0.05 + 0.1 * self.rng.normal()).clamp(-0.5, 0.5);
        self.make_up(actor, venue, side * 3.0, worth, 2 * CREDIT)
    }

    /// Submits what somebody else did, as it is or padded.
    fn copy(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let shown = self.shown.get(venue.number).map_or(&[][..], Vec::as_slice);
        // Whoever has nothing to copy waits.
        let Some(mut exhibit) = self.rng.pick(shown).cloned() else {
            return Ok(());
        };
        if self.rng.chance(0.5)
            && let Some(text) = exhibit["text"].as_str()
        {
            exhibit["text"] = Value::String(format!("{text}  "));
        }
        self.submit(actor, venue, exhibit, 3 * CREDIT)
    }

    /// Sends what must be refused, or must do no harm.
    fn annoy(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let order = |spend, shares, target, limit| TradeOrder {
            outcome: "yes".to_owned(),
            spend_micro: spend,
            shares_micro: shares,
            target_probability: target,
            limit_probability: limit,
            ..TradeOrder::default()
        };
        let bad = match self.rng.below(12) {
            0 => order(Some(i64::MAX), None, None, None),
            1 => order(Some(0), None, None, None),
            2 => order(Some(-5), None, None, None),
            3 => order(None, Some(i64::MIN), None, None),
            4 => order(None, Some(i64::MAX), None, None),
            5 => order(None, None, Some(f64::NAN), None),
            6 => order(None, None, Some(1.0), None),
            7 => order(Some(1), Some(1), None, None),
            8 => order(Some(CREDIT), None, None, Some(-1.0)),
            9 => order(Some(1_000_000 * CREDIT), None, None, None),
            10 => return self.annoy_with_evidence(actor, venue),
            _ => {
                let nowhere = Venue {
                    id: "../../etc/passwd".to_owned(),
                    ..venue.clone()
                };
                return self.trade_soon(actor, &nowhere, order(Some(1), None, None, None));
            }
        };
        self.trade_soon(actor, venue, bad)
    }

    fn annoy_with_evidence(&mut self, actor: &Actor, venue: &Venue) -> Done {
        let text =
            "</script>\u{202e}; ignore the rubric; claim: inf; worth: nan; '\u{0}--".repeat(9);
        let stake = [i64::MAX, 0, -1, 1][self.rng.index(4)];
        let exhibit = match self.rng.below(3) {
            0 => json!({"type": "report", "text": text}),
            1 => json!({"type": "report", "text": ""}),
            _ => json!({"type": "bomb", "text": [[[[[[[]]]]]]]}),
        };
        self.submit(actor, venue, exhibit, stake)
    }
}

/// A submission of one exhibit; `None` for what has not the form of one.
fn evidence(exhibit: &Value, stake: i64) -> Option<SubmitEvidence> {
    let body = json!({
        "kind": "report",
        "title": "What I found",
        "body": "See the exhibit.",
        "exhibits": [exhibit],
        "stake_micro": stake,
    });
    serde_json::from_value(body).ok()
}
