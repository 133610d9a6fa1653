//! The job that reads the outbox and tells people what concerns them.
//!
//! Looking is done beside the writer: what is to be written is gathered first, and then stored together with the
//! place that was reached, in one transaction. So a death at any moment tells nobody twice and leaves nobody out.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use plumbline_store::follows::{self, Follow};
use plumbline_store::outbox::{self, Event};
use plumbline_store::panels::{self, Panel};
use plumbline_store::{Tx, control, positions};
use serde::{Deserialize, Serialize};

use super::drafts::{self, Draft, credits, percent};
use super::kind::Kind;
use super::stories::{self, Story, What};
use super::{HOW_LEFT, HOW_OWN, MOST_FOLLOWS};
use crate::time::{Millis, rfc3339};
use crate::{Result, Service, ServiceError};

/// Where the place is kept.
const PLACE: &str = "notices";
/// Events that are read at a time.
const READ: i64 = 500;
/// Followers of a topic that are looked at at a time, and so about the most notices in one transaction.
const PAGE: i64 = 200;
/// A place that brought nothing to write is written down after so many events.
const KEEP_EVERY: i64 = 5_000;
/// A price is told again when it has moved this far.
const POINTS: f64 = 0.05;
/// Jurors are reminded this long before a deadline at most, and in the last quarter of the time that they have.
const REMIND_MS: Millis = 6 * 3_600_000;
/// Panels that are looked at for a reminder in one turn.
const PANELS: i64 = 200;
/// What is remembered so that it is not looked up again: about so many, then it starts anew.
const REMEMBERED: usize = 20_000;

/// How far the outbox was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Everything up to this event is told.
    done: i64,
    /// How far an event with many followers is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    event: i64,
    /// Which of its topics.
    topic: usize,
    /// The last account of that topic.
    after: String,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Plan {
    place: Place,
    joins: Vec<Follow>,
    told: Vec<(String, String, f64)>,
    drafts: Vec<Draft>,
}

/// What the job remembers between its turns.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    place: Mutex<Option<Place>>,
    kept: Mutex<i64>,
    /// Who is known to follow what, or to have left it.
    joined: Mutex<HashSet<(String, String)>>,
    /// Jurors' reminders that were given.
    reminded: Mutex<HashSet<String>>,
}

impl Service {
    /// Tells people of everything that happened since the last turn.
    pub(crate) fn tell_notices(&self) -> Result<()> {
        self.remind_jurors()?;
        loop {
            let place = self.place_of_notices()?;
            let plan = self.read(|tx| plan(tx, &place, &self.notices.telling))?;
            if plan.place == place {
                return Ok(());
            }
            self.carry_out(plan)?;
        }
    }

    /// Events that nobody was told of yet.
    pub(crate) fn untold_events(&self) -> Result<i64> {
        let place = self.place_of_notices()?;
        Ok((self.last_event_id()? - place.done).max(0))
    }

    fn place_of_notices(&self) -> Result<Place> {
        let memory = self.notices.telling.place.lock();
        if let Some(place) = memory.unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(place);
        }
        let stored = self.read(|tx| Ok(control::get(tx, PLACE)?))?;
        stored.map_or_else(
            || Ok(Place::default()),
            |text| serde_json::from_str(&text).map_err(ServiceError::internal),
        )
    }

    fn carry_out(&self, plan: Plan) -> Result<()> {
        let memory = &self.notices.telling;
        let place = plan.place.clone();
        let kept = *memory.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = plan.joins.is_empty() && plan.told.is_empty() && plan.drafts.is_empty();
        // The place itself is no news: without notices, reading the same events again finds none either.
        if !nothing || place.part.is_some() || place.done - kept >= KEEP_EVERY {
            let text = serde_json::to_string(&place).map_err(ServiceError::internal)?;
            let told = self.write_at(move |tx, now| {
                let told = write_down(tx, plan, now)?;
                control::put(tx, PLACE, &text, now)?;
                Ok(told)
            });
            if told.is_err() {
                // What was to be joined was not; it is looked up again.
                let joined = memory.joined.lock();
                joined.unwrap_or_else(PoisonError::into_inner).clear();
            }
            let told = told?;
            *memory.kept.lock().unwrap_or_else(PoisonError::into_inner) = place.done;
            self.notices.changed(told, self);
        }
        *memory.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Ok(())
    }

    /// Reminds jurors whose seat waits for them, in the last quarter of their time.
    fn remind_jurors(&self) -> Result<()> {
        let now = self.now();
        let memory = &self.notices.telling.reminded;
        let mut given = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() > REMEMBERED {
            given.clear();
        }
        let drafts = self.read(|tx| {
            let mut drafts = Vec::new();
            for panel in panels::closing(tx, now, now + REMIND_MS, PANELS)? {
                let source = format!("seat:{}:{}", panel.id, panel.status);
                if is_urgent(&panel, now) && !given.contains(&source) {
                    drafts.extend(reminders(tx, &panel, &source, now)?);
                    given.insert(source);
                }
            }
            Ok(drafts)
        })?;
        if drafts.is_empty() {
            return Ok(());
        }
        let told = self.write(move |tx| post_all(tx, drafts, now));
        if told.is_err() {
            given.clear();
        }
        self.notices.changed(told?, self);
        Ok(())
    }
}

/// Whether three quarters of the time for the next step are over. A reveal is told of as soon as it is possible.
fn is_urgent(panel: &Panel, now: Millis) -> bool {
    match panel.status.as_str() {
        "revealing" => true,
        _ => (panel.commit_by - now) * 4 <= panel.commit_by - panel.drawn_at,
    }
}

fn reminders(tx: &mut Tx, panel: &Panel, source: &str, now: Millis) -> Result<Vec<Draft>> {
    let (state, title, by) = match panel.status.as_str() {
        "revealing" => ("committed", "Reveal your vote", panel.reveal_by),
        _ => ("waiting", "Commit your vote", panel.commit_by),
    };
    let seats = panels::seats(tx, &panel.id)?.into_iter();
    let waiting = seats.filter(|seat| seat.state == state);
    Ok(waiting
        .map(|seat| Draft {
            account_id: seat.account_id,
            source: source.to_owned(),
            kind: Kind::Seat,
            title: title.to_owned(),
            body: format!(
                "Your seat waits for it until {}; a seat that stays silent loses its deposit.",
                rfc3339(by)
            ),
            link: format!("/panels/{}", panel.id),
            at: now,
        })
        .collect())
}

fn write_down(tx: &mut Tx, plan: Plan, now: Millis) -> Result<Vec<String>> {
    for join in plan.joins {
        if follows::count(tx, &join.account_id)? < MOST_FOLLOWS {
            follows::add(tx, &join)?;
        }
    }
    for (account, topic, told) in plan.told {
        follows::set_told(tx, &account, &topic, told)?;
    }
    post_all(tx, plan.drafts, now)
}

fn post_all(tx: &mut Tx, drafts: Vec<Draft>, now: Millis) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for draft in drafts {
        let account = draft.account_id.clone();
        if drafts::post(tx, draft, now)? {
            told.push(account);
        }
    }
    Ok(told)
}

/// Reads the next events, until their notices fill a transaction.
fn plan(tx: &mut Tx, place: &Place, memory: &Memory) -> Result<Plan> {
    let events = outbox::after(tx, place.done, READ)?;
    let newest = newest_prices(&events);
    let mut plan = Plan {
        place: place.clone(),
        ..Plan::default()
    };
    let mut joined = memory.joined.lock().unwrap_or_else(PoisonError::into_inner);
    if joined.len() > REMEMBERED {
        joined.clear();
    }
    for event in &events {
        let begun = plan.place.part.take().filter(|part| part.event == event.id);
        let reading = stories::read(tx, event)?;
        for (account_id, topic, told) in reading.joins {
            if joined.insert((account_id.clone(), topic.clone())) {
                plan.joins.push(Follow {
                    account_id,
                    topic,
                    since: event.at,
                    how: HOW_OWN.to_owned(),
                    told,
                });
            }
        }
        let superseded = newest.get(event.topic.as_str());
        let is_old_price =
            superseded.is_some_and(|newest| event.kind == "price" && *newest > event.id);
        if let Some(story) = reading.story.filter(|_| !is_old_price)
            && let Some(part) = tell(tx, event, &story, begun, &mut plan)?
        {
            plan.place.part = Some(part);
            return Ok(plan);
        }
        plan.place.done = event.id;
        // What somebody joined is not in the tables yet, so the next events wait for it.
        if plan.drafts.len() as i64 >= PAGE || !plan.joins.is_empty() {
            return Ok(plan);
        }
    }
    Ok(plan)
}

/// The newest price event of each market: the ones before it are told with it.
fn newest_prices(events: &[Event]) -> HashMap<&str, i64> {
    let prices = events.iter().filter(|event| event.kind == "price");
    prices
        .map(|event| (event.topic.as_str(), event.id))
        .collect()
}

/// Tells a page of followers of each topic; the place to go on at where a page was full.
fn tell(
    tx: &mut Tx,
    event: &Event,
    story: &Story,
    begun: Option<Part>,
    plan: &mut Plan,
) -> Result<Option<Part>> {
    let (from, mut after) = begun.map_or((0, String::new()), |part| (part.topic, part.after));
    for (at, topic) in story.topics.iter().enumerate().skip(from) {
        let page = follows::of_topic(tx, topic, &after, PAGE)?;
        let full = page.len() as i64 == PAGE;
        let last = page.last().map(|follow| follow.account_id.clone());
        for follow in page {
            if follow.how != HOW_LEFT && follow.since <= event.at {
                tell_one(tx, event, story, &follow, plan)?;
            }
        }
        if let (true, Some(after)) = (full, last) {
            return Ok(Some(Part {
                event: event.id,
                topic: at,
                after,
            }));
        }
        after.clear();
    }
    Ok(None)
}

fn tell_one(
    tx: &mut Tx,
    event: &Event,
    story: &Story,
    follow: &Follow,
    plan: &mut Plan,
) -> Result<()> {
    let figure = match &story.what {
        What::Share { bps, .. } => Some(*bps),
        What::Price { probability, .. } => Some(*probability),
        _ => story.price,
    };
    // Only of its own topic: a run's share says nothing about the price of a market.
    let figure = figure.filter(|_| {
        follow.topic.starts_with("market:") || matches!(story.what, What::Share { .. })
    });
    let own = story.except.as_deref() == Some(follow.account_id.as_str());
    let words = words(tx, story, follow)?.filter(|_| !own);
    let quiet_price = matches!(story.what, What::Price { .. })
        && words.is_none()
        && !own
        && follow.told.is_some();
    if let Some(figure) = figure.filter(|figure| !quiet_price && follow.told != Some(*figure)) {
        let told = (follow.account_id.clone(), follow.topic.clone(), figure);
        plan.told.push(told);
    }
    let Some((title, body)) = words else {
        return Ok(());
    };
    plan.drafts.push(Draft {
        account_id: follow.account_id.clone(),
        source: format!("event:{}", event.id),
        kind: story.kind,
        title,
        body,
        link: story.link.clone(),
        at: event.at,
    });
    Ok(())
}

/// What a follower is told, if anything: not of a price that hardly moved, nor of a share that stayed.
fn words(tx: &mut Tx, story: &Story, follow: &Follow) -> Result<Option<(String, String)>> {
    Ok(match &story.what {
        What::Said { title, body } => Some((title.clone(), body.clone())),
        What::Price { claim, probability } => {
            let before = follow
                .told
                .filter(|told| (told - probability).abs() >= POINTS);
            before.map(|before| {
                let title = format!("{} → {}: {claim}", percent(before), percent(*probability));
                let points = (probability - before) * 100.0;
                let body = format!("The price moved by {points:+.0} points since you were told.");
                (title, body)
            })
        }
        What::Share { run, bps, action } => {
            let before = follow.told.filter(|told| told != bps);
            before.map(|before| {
                let title = format!(
                    "{run}: {:.1} % of compute, was {:.1} %",
                    bps / 100.0,
                    before / 100.0
                );
                (title, format!("The decision is: {action}."))
            })
        }
        What::Paid { claim, market_id } => {
            let position = positions::get(tx, market_id, &follow.account_id)?;
            let paid = position.and_then(|row| row.paid_micro);
            paid.map(|paid| {
                let title = format!("Paid {}: {claim}", credits(paid));
                (title, "The payout is on your balance.".to_owned())
            })
        }
    })
}
