//! What an event of the outbox means to people: who is told, of which kind, in which words.

use plumbline_store::outbox::Event;
use plumbline_store::{Tx, accounts, evidence, markets, proposals, runs};
use serde_json::Value;

use super::drafts::{cut, percent};
use super::kind::Kind;
use crate::{Result, ServiceError, allocations, panels, voting};

/// Longest quotation of a claim or title, in characters.
const QUOTED: usize = 90;

/// What is told to whoever follows something.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// The same to everybody.
    Said {
        /// One line.
        title: String,
        /// The rest.
        body: String,
    },
    /// A price, to whom it has moved far enough for.
    Price {
        /// The claim.
        claim: String,
        /// The price.
        probability: f64,
    },
    /// A share of compute, to whom it is another than the one told last.
    Share {
        /// The run's name.
        run: String,
        /// The share, basis points.
        bps: f64,
        /// The decision's action.
        action: String,
    },
    /// What a settlement paid, to whom it paid.
    Paid {
        /// The claim.
        claim: String,
        /// The market.
        market_id: String,
    },
}

/// One event, as people are told of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Story {
    /// Whoever follows any of these is told.
    pub(super) topics: Vec<String>,
    /// The sort.
    pub(super) kind: Kind,
    /// What they are told.
    pub(super) what: What,
    /// Path of the page about it.
    pub(super) link: String,
    /// Who did it, and knows.
    pub(super) except: Option<String>,
    /// The price that goes with it, which need not be told again.
    pub(super) price: Option<f64>,
}

/// What follows from an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    /// Who follows what from now on because of it, with the figure that they know.
    pub(super) joins: Vec<(String, String, Option<f64>)>,
    /// What is told.
    pub(super) story: Option<Story>,
}

/// Reads an event.
///
/// # Errors
/// Those of the database. What names something that is gone tells nothing.
pub(super) fn read(tx: &mut Tx, event: &Event) -> Result<Reading> {
    let payload: Value = serde_json::from_str(&event.payload).map_err(ServiceError::internal)?;
    let found = match event.topic.split_once(':') {
        Some(("market", id)) => of_market(tx, id, &event.kind, &payload),
        Some(("run", id)) => of_run(tx, id, &event.kind),
        _ if event.topic == allocations::TOPIC => of_decision(tx, &event.kind, &payload),
        _ if event.topic == voting::TOPIC => of_proposal(tx, &event.kind, &payload),
        _ if event.topic == panels::TOPIC => Ok(of_panel(&event.kind, &payload)),
        _ => Ok(Reading::default()),
    };
    match found {
        Err(ServiceError::NotFound { .. }) => Ok(Reading::default()),
        found => found,
    }
}

fn text<'a>(payload: &'a Value, field: &str) -> &'a str {
    payload[field].as_str().unwrap_or_default()
}

fn of_market(tx: &mut Tx, id: &str, kind: &str, payload: &Value) -> Result<Reading> {
    match kind {
        "price" => of_price(tx, id, payload),
        "evidence-submitted" | "evidence-judged" | "evidence-struck" | "exhibit-challenged"
        | "exhibit-ruled" => of_evidence(tx, id, kind, payload),
        "opened" | "proposed" | "challenged" | "ruled" | "settled" | "void" | "paid" => {
            of_life(tx, id, kind, payload)
        }
        _ => Ok(Reading::default()),
    }
}

fn of_price(tx: &mut Tx, id: &str, payload: &Value) -> Result<Reading> {
    let topic = format!("market:{id}");
    let (account, cause) = (text(payload, "account_id"), text(payload, "cause"));
    // Of a market with several outcomes it is the price of one of them, which says little about the others.
    let probability = payload["probability"]
        .as_f64()
        .filter(|_| payload["outcome"].is_null());
    let mut reading = Reading::default();
    // Evidence brings an event of its own, which says why the price moved.
    if cause == "evidence" {
        return Ok(reading);
    }
    let trader = is_person(tx, account)?.then(|| account.to_owned());
    if let Some(trader) = &trader {
        let join = (trader.clone(), topic.clone(), probability);
        reading.joins.push(join);
    }
    if let Some(probability) = probability {
        let claim = cut(&markets::get(tx, id)?.claim, QUOTED);
        reading.story = Some(Story {
            topics: vec![topic],
            kind: Kind::Price,
            what: What::Price { claim, probability },
            link: format!("/markets/{id}"),
            except: trader,
            price: Some(probability),
        });
    }
    Ok(reading)
}

fn is_person(tx: &mut Tx, account: &str) -> Result<bool> {
    if account.is_empty() {
        return Ok(false);
    }
    let row = accounts::get(tx, account)?;
    Ok(row.kind == accounts::AccountKind::User)
}

fn of_evidence(tx: &mut Tx, id: &str, kind: &str, payload: &Value) -> Result<Reading> {
    let topic = format!("market:{id}");
    let row = evidence::get(tx, text(payload, "evidence_id"))?;
    let title = cut(&row.title, QUOTED);
    let after = payload["probability_after"].as_f64();
    let moved = match (payload["probability_before"].as_f64(), after) {
        (Some(before), Some(after)) => {
            format!(
                "The price went from {} to {}.",
                percent(before),
                percent(after)
            )
        }
        _ => "It did not move the price.".to_owned(),
    };
    let status = text(payload, "status");
    let (sort, title, body) = match kind {
        "evidence-submitted" => {
            let join = (row.account_id, topic, None);
            let joins = vec![join];
            return Ok(Reading { joins, story: None });
        }
        "evidence-judged" if status == "judged" => {
            (Kind::Evidence, format!("Evidence judged: {title}"), moved)
        }
        "evidence-judged" => (Kind::Evidence, format!("Evidence {status}: {title}"), moved),
        "evidence-struck" => (
            Kind::Challenge,
            format!("Evidence struck: {title}"),
            "It no longer counts, and the price is assessed again.".to_owned(),
        ),
        "exhibit-challenged" => (
            Kind::Challenge,
            format!("Evidence challenged: {title}"),
            "A jury decides whether it counts.".to_owned(),
        ),
        _ => (
            Kind::Challenge,
            format!("A challenge was decided: {title}"),
            format!("The challenge is {status}."),
        ),
    };
    Ok(Reading {
        joins: Vec::new(),
        story: Some(Story {
            topics: vec![topic],
            kind: sort,
            what: What::Said { title, body },
            link: format!("/markets/{id}"),
            except: None,
            price: after,
        }),
    })
}

/// What a step in a market's life is to people: its sort, the words before the claim, and what follows.
fn of_step(kind: &str, payload: &Value) -> (Kind, &'static str, String) {
    let as_found = match (text(payload, "settled_as"), payload["settlement"].as_f64()) {
        ("", Some(pi)) => format!("Settled at {}.", percent(pi)),
        ("", None) => "Payouts follow.".to_owned(),
        (name, _) => format!("Settled as {name}."),
    };
    let (sort, words, body) = match kind {
        "proposed" => (
            Kind::Settled,
            "A settlement was proposed",
            "It can be challenged until its window ends.",
        ),
        "challenged" => (
            Kind::Challenge,
            "A settlement was challenged",
            "It goes to the next instance.",
        ),
        "ruled" => (
            Kind::Challenge,
            "A jury ruled",
            "The ruling can be challenged until its window ends.",
        ),
        "void" => (
            Kind::Settled,
            "Called off",
            "Everybody gets back what they paid in.",
        ),
        _ => (Kind::Settled, "Settled", as_found.as_str()),
    };
    (sort, words, body.to_owned())
}

fn of_life(tx: &mut Tx, id: &str, kind: &str, payload: &Value) -> Result<Reading> {
    let market = markets::get(tx, id)?;
    let claim = cut(&market.claim, QUOTED);
    let (own, run_topic) = (format!("market:{id}"), format!("run:{}", market.run_id));
    let (topics, sort, what) = match kind {
        "opened" => {
            let run = runs::get(tx, &market.run_id)?.name;
            let title = format!("A market opened on {run}");
            let what = What::Said { title, body: claim };
            (vec![run_topic], Kind::Market, what)
        }
        "paid" => {
            let market_id = id.to_owned();
            (vec![own], Kind::Settled, What::Paid { claim, market_id })
        }
        _ => {
            let (sort, words, body) = of_step(kind, payload);
            let title = format!("{words}: {claim}");
            let ends = matches!(kind, "settled" | "void");
            let topics = if ends {
                vec![own, run_topic]
            } else {
                vec![own]
            };
            (topics, sort, What::Said { title, body })
        }
    };
    Ok(Reading {
        joins: Vec::new(),
        story: Some(Story {
            topics,
            kind: sort,
            what,
            link: format!("/markets/{id}"),
            except: None,
            price: None,
        }),
    })
}

fn of_run(tx: &mut Tx, id: &str, kind: &str) -> Result<Reading> {
    let mut reading = Reading::default();
    if kind != "registered" {
        return Ok(reading);
    }
    let run = runs::get(tx, id)?;
    if is_person(tx, &run.owner_id)? {
        let join = (run.owner_id, format!("run:{id}"), None);
        reading.joins.push(join);
    }
    Ok(reading)
}

fn of_decision(tx: &mut Tx, kind: &str, payload: &Value) -> Result<Reading> {
    let id = text(payload, "run_id");
    let share = payload["share_bps"].as_f64();
    let (Some(bps), true) = (share, kind == "decided") else {
        return Ok(Reading::default());
    };
    let run = runs::get(tx, id)?;
    Ok(Reading {
        joins: Vec::new(),
        story: Some(Story {
            topics: vec![format!("run:{id}")],
            kind: Kind::Decision,
            what: What::Share {
                run: run.name,
                bps,
                action: text(payload, "action").to_owned(),
            },
            link: format!("/runs/{id}"),
            except: None,
            price: None,
        }),
    })
}

fn of_proposal(tx: &mut Tx, kind: &str, payload: &Value) -> Result<Reading> {
    let id = text(payload, "proposal_id");
    let topic = format!("proposal:{id}");
    if kind == "voted" {
        let join = (text(payload, "account_id").to_owned(), topic, None);
        let joins = vec![join];
        return Ok(Reading { joins, story: None });
    }
    if kind != "proposal" {
        return Ok(Reading::default());
    }
    let row = proposals::get(tx, id)?;
    let title = cut(&row.title, QUOTED);
    let (everybody, said) = match text(payload, "state") {
        "deposit" => (true, format!("A proposal waits for its deposit: {title}")),
        "voting" => (true, format!("Voting began: {title}")),
        "confirming" => (false, format!("Ahead, and being confirmed: {title}")),
        "queued" => (
            false,
            format!("Passed, and waits for its time lock: {title}"),
        ),
        "executed" => (true, format!("Executed: {title}")),
        "rejected" => (true, format!("Rejected: {title}")),
        "expired" => (true, format!("Expired: {title}")),
        "cancelled" => (true, format!("Withdrawn: {title}")),
        _ => return Ok(Reading::default()),
    };
    let mut topics = vec![topic.clone()];
    if everybody {
        topics.push(voting::TOPIC.to_owned());
    }
    Ok(Reading {
        joins: vec![(row.author_id, topic, None)],
        story: Some(Story {
            topics,
            kind: Kind::Proposal,
            what: What::Said {
                title: said,
                body: format!("Track {}.", row.track),
            },
            link: format!("/proposals/{id}"),
            except: None,
            price: None,
        }),
    })
}

/// Only what is public is in the event; who sits was told when they were drawn.
fn of_panel(kind: &str, payload: &Value) -> Reading {
    let id = text(payload, "panel_id");
    if kind != "panel-ended" || id.is_empty() {
        return Reading::default();
    }
    let title = match payload["pi"].as_f64() {
        Some(pi) => format!("Your panel ruled {}", percent(pi)),
        None => format!("Your panel ended: {}", text(payload, "status")),
    };
    Reading {
        joins: Vec::new(),
        story: Some(Story {
            topics: vec![format!("panel:{id}")],
            kind: Kind::Seat,
            what: What::Said {
                title,
                body: "Jurors are paid when the market is settled.".to_owned(),
            },
            link: format!("/panels/{id}"),
            except: None,
            price: None,
        }),
    }
}
