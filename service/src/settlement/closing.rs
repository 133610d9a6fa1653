//! The closing window, the freeze and the audit draw.

use plumbline_access::Action;
use plumbline_market::Digest;
use plumbline_market::draw::{AUDIT, CLOSE, audit_probability, draw, unit_interval};
use plumbline_market::life::{Event, Freeze, Status, Time};
use plumbline_market::merkle;
use plumbline_market::probability::sigmoid;
use plumbline_store::cases::{self, Case, FrozenExhibit};
use plumbline_store::checkpoints::{self, Checkpoint};
use plumbline_store::markets::{self, Market};
use plumbline_store::{Tx, evidence, jobs};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::log::Log;
use super::matter::Matter;
use crate::context::Context;
use crate::host::{FrozenCheckpoint, HostError};
use crate::jobs::CLOSE_ORDERS;
use crate::markets::{life_of, view_of};
use crate::time::Millis;
use crate::views::MarketView;
use crate::{Result, Service, ServiceConfig, ServiceError};

/// Markets moved on in one look at the deadlines.
const MOST_DUE: i64 = 500;
/// Where in the window orders stop when no draw places it: at its end.
const END_OF_WINDOW: f64 = 1.0 - f64::EPSILON / 2.0;

/// The closing window as it was drawn. Secret until the stop moment has passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Closing {
    /// When the window began.
    pub(super) at: Millis,
    /// The log then.
    pub(super) log: Log,
    /// The draw, if a seed was committed.
    pub(super) draw: Option<Digest>,
    /// Where in the window it falls, in [0, 1).
    pub(super) unit: f64,
    /// Orders stop at this moment.
    pub(super) stops_at: Millis,
}

/// The freeze and the audit draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Frozen {
    /// When.
    pub(super) at: Millis,
    /// The log then, exhibits included.
    pub(super) log: Log,
    /// The posted price.
    pub(super) price: f64,
    /// Probability of an audit at that price.
    pub(super) probability: f64,
    /// The draw, if a seed was committed.
    pub(super) draw: Option<Digest>,
    /// The draw as a number; audited when below the probability.
    pub(super) unit: Option<f64>,
}

impl Closing {
    pub(super) fn of(case: &Case) -> Result<Option<Self>> {
        read(case.closing.as_deref())
    }
}

impl Frozen {
    pub(super) fn of(case: &Case) -> Result<Option<Self>> {
        read(case.frozen.as_deref())
    }
}

fn read<T: for<'a> Deserialize<'a>>(text: Option<&str>) -> Result<Option<T>> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(ServiceError::internal)
}

impl Service {
    /// Closes a market whose close is due, and freezes it once orders have stopped. Anybody may
    /// ask: the rules decide, not the caller.
    pub fn freeze_market(&self, ctx: &Context, market_id: &str) -> Result<MarketView> {
        self.allow(&ctx.actor, Action::FreezeMarket)?;
        let id = market_id.to_owned();
        let market = self.read(move |tx| Ok(markets::get(tx, &id)?))?;
        let life = life_of(&market)?;
        if life.status == Status::Open
            && !life.close_is_due(self.reported_tokens(&market.run_id)?, Time(self.now()))
        {
            return Err(ServiceError::refused(
                "not-due",
                "the market's closing rules do not hold yet",
            ));
        }
        self.advance(market_id)?;
        let id = market_id.to_owned();
        self.read(move |tx| {
            let market = markets::get(tx, &id)?;
            view_of(tx, market)
        })
    }

    /// Moves every market on whose next stage is due. Called on every tick; deadlines are found
    /// by an index, never from memory.
    pub(crate) fn advance_markets(&self) -> Result<()> {
        let now = self.now();
        let (mut due, waiting) = self.read(|tx| {
            let mut due = cases::due(tx, now, MOST_DUE)?;
            // Markets from before there were cases have only this deadline.
            due.extend(markets::due(tx, now)?.into_iter().map(|market| market.id));
            Ok((due, cases::waiting_for_tokens(tx)?))
        })?;
        for (market_id, run_id, tokens) in waiting {
            let enough = u64::try_from(tokens).unwrap_or(u64::MAX);
            if self.reported_tokens(&run_id)? >= enough {
                due.push(market_id);
            }
        }
        due.sort_unstable();
        due.dedup();
        for market_id in due {
            if let Err(error) = self.advance(&market_id) {
                // One market that cannot go on must not hold up the others.
                tracing::warn!(market = %market_id, %error, "cannot move the market on");
            }
        }
        Ok(())
    }

    pub(super) fn advance(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let market = self.read(move |tx| Ok(markets::get(tx, &id)?))?;
        let (life, now) = (life_of(&market)?, Time(self.now()));
        match life.status {
            Status::Open => {
                let reported_tokens = self.reported_tokens(&market.run_id)?;
                if !life.close_is_due(reported_tokens, now) {
                    return Ok(());
                }
                self.close(market_id, reported_tokens)?;
                self.freeze(market_id)
            }
            Status::Closing => self.freeze(market_id),
            _ => self.keep_deadline(market_id),
        }
    }

    /// Tokens that the run has reported: live ones if it is hosted here.
    fn reported_tokens(&self, run_id: &str) -> Result<u64> {
        if let Some(training) = self.host.training(run_id) {
            return Ok(training.tokens);
        }
        Ok(u64::try_from(self.run_row(run_id)?.tokens).unwrap_or(0))
    }

    /// The log up to now, read beside the writer; what is traded meanwhile is added inside the
    /// transaction that needs the head.
    fn log_of(&self, market_id: &str) -> Result<Log> {
        let id = market_id.to_owned();
        self.read(move |tx| {
            let terms = cases::get(tx, &id)?.map_or_else(String::new, |case| case.terms);
            Log::open(&terms).follow(tx, &id)
        })
    }

    fn close(&self, market_id: &str, reported_tokens: u64) -> Result<()> {
        let log = self.log_of(market_id)?;
        let (id, random_close) = (market_id.to_owned(), self.config.defences.random_close);
        self.write_at(move |tx, now| {
            let mut matter = Matter::load(tx, &id)?;
            if matter.life.status != Status::Open {
                return Ok(());
            }
            let log = log.follow(tx, &id)?;
            let drawn = seed_of(tx, &id)?.map(|seed| draw(&seed, &log.head.head, CLOSE));
            let unit = match &drawn {
                Some(drawn) if random_close => unit_interval(drawn),
                _ => END_OF_WINDOW,
            };
            let event = Event::Close {
                reported_tokens,
                draw: unit,
            };
            matter.step(&event, now)?;
            let stops_at = matter.life.stops_at.map_or(now, |stop| stop.0);
            let closing = Closing {
                at: now,
                log,
                draw: drawn,
                unit,
                stops_at,
            };
            matter.case.closing = Some(json_of(&closing)?);
            matter.tell(tx, "closing", now)?;
            matter.save(tx).map(drop)
        })
    }

    /// Fixes checkpoint and exhibits, once all evidence that came in time is judged.
    fn freeze(&self, market_id: &str) -> Result<()> {
        let id = market_id.to_owned();
        let (market, pending) = self.read(move |tx| {
            let pending = evidence::count_pending(tx, &id)?;
            Ok((markets::get(tx, &id)?, pending))
        })?;
        let life = life_of(&market)?;
        let stopped = life.stops_at.is_some_and(|stop| stop.0 <= self.now());
        if life.status != Status::Closing || !stopped || pending > 0 {
            return Ok(());
        }
        let checkpoint = match self.host.freeze(&market.run_id) {
            Ok(checkpoint) => Some(checkpoint),
            // The run is gone for good: a jury decides, or nobody can.
            Err(HostError::UnknownModel(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let (log, config) = (self.log_of(market_id)?, self.config.clone());
        self.write_at(move |tx, now| book_freeze(tx, &config, &market.id, checkpoint, log, now))
    }
}

fn book_freeze(
    tx: &mut Tx,
    config: &ServiceConfig,
    market_id: &str,
    checkpoint: Option<FrozenCheckpoint>,
    log: Log,
    now: Millis,
) -> Result<()> {
    let mut matter = Matter::load(tx, market_id)?;
    if matter.life.status != Status::Closing || evidence::count_pending(tx, market_id)? > 0 {
        return Ok(());
    }
    let leaves = leaves_of(tx, market_id)?;
    cases::insert_exhibits(tx, &leaves)?;
    let digest = checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.id.parse::<Digest>())
        .transpose()
        .map_err(ServiceError::internal)?;
    let has_terms = !matter.case.terms.is_empty();
    let freeze = Freeze {
        checkpoint: digest,
        exhibits_root: exhibits_root(&leaves)?,
        terms: has_terms.then(|| Digest::of(matter.case.terms.as_bytes())),
    };
    let log = log.follow(tx, market_id)?.exhibits(&leaves)?;
    let frozen = audit_draw(tx, &matter, log, now)?;
    let audited = frozen
        .unit
        .is_some_and(|unit| config.defences.audit_draw && unit < frozen.probability);
    matter.case.frozen = Some(json_of(&frozen)?);
    matter.step(&Event::Freeze(freeze), now)?;
    matter.step(&Event::Audit { audited }, now)?;
    let effects = matter.step(&Event::Settle, now)?;
    if let Some(checkpoint) = &checkpoint {
        pin(tx, &matter.market, checkpoint, now)?;
    }
    matter.market = Market {
        frozen_at: Some(now),
        frozen_checkpoint: checkpoint.map(|checkpoint| checkpoint.id),
        ..matter.market
    };
    // Cash that rests in orders goes back: nothing will be traded any more.
    jobs::enqueue(
        tx,
        CLOSE_ORDERS,
        &format!("{CLOSE_ORDERS}:{market_id}"),
        &json!({"market_id": market_id}).to_string(),
        now,
    )?;
    matter.tell(tx, "frozen", now)?;
    matter.pursue(tx, config, effects, now)?;
    matter.save(tx).map(drop)
}

fn audit_draw(tx: &mut Tx, matter: &Matter, log: Log, now: Millis) -> Result<Frozen> {
    let price = sigmoid(matter.market.log_odds);
    let rules = &matter.life.rules;
    let drawn = seed_of(tx, &matter.market.id)?.map(|seed| draw(&seed, &log.head.head, AUDIT));
    Ok(Frozen {
        at: now,
        log,
        price,
        probability: audit_probability(price, rules.audit_floor_bps, rules.audit_peak_bps),
        unit: drawn.as_ref().map(unit_interval),
        draw: drawn,
    })
}

/// The seed of a market's draws, while it is still secret too.
pub(super) fn seed_of(tx: &mut Tx, market_id: &str) -> Result<Option<[u8; 32]>> {
    let text = cases::seed(tx, market_id)?;
    let seed: Option<Digest> = text
        .map(|text| text.parse())
        .transpose()
        .map_err(ServiceError::internal)?;
    Ok(seed.map(|digest| digest.0))
}

/// The exhibits that count, in order of their ids.
fn leaves_of(tx: &mut Tx, market_id: &str) -> Result<Vec<FrozenExhibit>> {
    let rows = evidence::judged(tx, market_id)?;
    let leaf = |(ordinal, row): (i64, evidence::Evidence)| FrozenExhibit {
        market_id: market_id.to_owned(),
        ordinal,
        evidence_id: row.id,
        content_hash: row.content_hash,
    };
    Ok((0..).zip(rows).map(leaf).collect())
}

/// The leaves as the tree hashes them.
pub(super) fn tree(leaves: &[FrozenExhibit]) -> Result<Vec<Digest>> {
    let leaf = |row: &FrozenExhibit| {
        let content: Digest = row.content_hash.parse().map_err(ServiceError::internal)?;
        Ok(merkle::exhibit_leaf(&row.evidence_id, &content))
    };
    leaves.iter().map(leaf).collect()
}

fn exhibits_root(leaves: &[FrozenExhibit]) -> Result<Digest> {
    Ok(merkle::root(&tree(leaves)?))
}

fn pin(tx: &mut Tx, market: &Market, checkpoint: &FrozenCheckpoint, now: Millis) -> Result<()> {
    let row = Checkpoint {
        run_id: market.run_id.clone(),
        id: checkpoint.id.clone(),
        round: checkpoint.round as i64,
        tokens: checkpoint.tokens as i64,
        at: now,
        pinned: true,
    };
    Ok(checkpoints::upsert(tx, &row)?)
}

fn json_of<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(ServiceError::internal)
}
