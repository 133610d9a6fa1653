//! The step of a market's life.

use serde::{Deserialize, Serialize};

use super::case::{AUDIT_PANEL, Freeze, PANEL_SIZES, Proposal, Search, Source, next_panel};
use super::{Life, LifeError, Method, Status, Time};
use crate::digest::Digest;
use crate::money::Micro;
use crate::probability::Pi;

/// What can happen to a market.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Start trading.
    Open,
    /// A close condition holds. `draw` ∈ [0, 1) places the last moment in the window.
    Close {
        /// Training tokens that the run has reported.
        reported_tokens: u64,
        /// Where in the closing window orders stop.
        draw: f64,
    },
    /// A self-resolving market was drawn to stop after its last trade.
    Stop,
    /// Fix checkpoint and exhibits.
    Freeze(Freeze),
    /// The audit draw has come out.
    Audit {
        /// Whether the case goes to the strongest method whatever the cheap one says.
        audited: bool,
    },
    /// Begin to find the settlement.
    Settle,
    /// Somebody or something proposes the first settlement.
    Propose {
        /// Who.
        by: Proposer,
        /// The proposed settlement.
        pi: Pi,
    },
    /// What looked for the settlement cannot find it: the window for proposals passed without
    /// one, the checkpoint is gone, the judges are silent. A jury takes over.
    CallPanel,
    /// Somebody disputes the proposal.
    Challenge {
        /// The settlement that the challenger wants instead.
        pi: Pi,
        /// Bond that comes with it; see [`Life::challenge_bond`].
        bond: Micro,
    },
    /// The test was repeated, or the jury has decided.
    Rule {
        /// Who ruled.
        by: Ruler,
        /// The settlement that the ruling proposes.
        pi: Pi,
    },
    /// The jury tied, missed its quorum, or could not be drawn: a larger one takes over.
    NoRuling,
    /// The window has passed without a challenge.
    Finalise,
    /// All payouts have been made.
    Pay,
    /// Call the market off.
    Void,
}

/// Who makes the first proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposer {
    /// The committed test.
    Test {
        /// Commitment of the plan that was run; must be the one in the rules.
        commitment: Digest,
    },
    /// The judges.
    Ensemble,
    /// The market's own last price.
    Reference,
    /// Somebody without a stake.
    Person {
        /// The bond that comes with it, at least that of the rules.
        bond: Micro,
    },
}

impl Proposer {
    const fn source(self) -> Source {
        match self {
            Self::Test { .. } => Source::Test,
            Self::Ensemble => Source::Ensemble,
            Self::Reference => Source::Reference,
            Self::Person { .. } => Source::Person,
        }
    }
}

/// Who decides about a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruler {
    /// The committed test, run again.
    Test {
        /// Commitment of the plan that was run; must be the one in the rules.
        commitment: Digest,
    },
    /// A jury.
    Panel,
}

/// What has to be done after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Move the subsidy from the treasury to the market's escrow.
    LockSubsidy,
    /// Refuse orders from this moment on, then freeze.
    StopOrdersAt(Time),
    /// Make the audit draw.
    DrawAudit,
    /// Let this find the settlement.
    Find(Search),
    /// Come back at this moment to make the proposal final.
    FinaliseAt(Time),
    /// Pay every position at this settlement.
    Payout(Pi),
    /// Give every account back what it put in.
    Refund,
}

/// The next state of a market's life and what has to be done.
///
/// Errors: see [`LifeError`]. Deterministic in its arguments; draws come inside the event.
pub fn step(life: &Life, event: &Event, now: Time) -> Result<(Life, Vec<Effect>), LifeError> {
    if now < life.stepped_at {
        return Err(LifeError::Backwards);
    }
    let mut next = Life {
        stepped_at: now,
        ..life.clone()
    };
    let effects = match (life.status, *event) {
        (Status::Draft, Event::Open) => open(&mut next, now)?,
        (
            Status::Open,
            Event::Close {
                reported_tokens,
                draw,
            },
        ) => close(&mut next, reported_tokens, draw, now)?,
        (Status::Open, Event::Stop) => stop(&mut next, now)?,
        (Status::Closing, Event::Freeze(freeze)) => frozen(&mut next, freeze, now)?,
        (Status::Frozen, Event::Audit { audited }) => {
            next.status = Status::Auditing;
            next.audited = Some(audited);
            vec![]
        }
        (Status::Auditing, Event::Settle) => {
            next.status = Status::Settling;
            find(&mut next, first_search(life, now))
        }
        (Status::Settling, Event::Propose { by, pi }) => propose(&mut next, by, pi, now)?,
        (Status::Settling | Status::Challenged, Event::CallPanel) => call_panel(&mut next, now)?,
        (Status::Settling, Event::Challenge { pi, bond }) => challenge(&mut next, pi, bond, now)?,
        (Status::Settling | Status::Challenged, Event::Rule { by, pi }) => {
            rule(&mut next, by, pi, now)?
        }
        (Status::Settling | Status::Challenged, Event::NoRuling) => no_ruling(&mut next)?,
        (Status::Settling, Event::Finalise) => finalise(&mut next, now)?,
        (Status::Final, Event::Pay) => {
            next.status = Status::Paid;
            vec![]
        }
        (status, Event::Void) if status.may_be_voided() => void(&mut next),
        (status, _) => return Err(LifeError::NotAllowed(status)),
    };
    Ok((next, effects))
}

fn open(next: &mut Life, now: Time) -> Result<Vec<Effect>, LifeError> {
    let never_opens = next.rules.closes_after_tokens == Some(0) || now >= next.rules.closes_at;
    if never_opens {
        return Err(LifeError::InvalidRules);
    }
    next.status = Status::Open;
    Ok(vec![Effect::LockSubsidy])
}

/// The window counts from its announced start where time is the reason, so that a late step
/// does not move it; from now where the tokens are. It never reaches past `closes_at`.
fn close(next: &mut Life, tokens: u64, draw: f64, now: Time) -> Result<Vec<Effect>, LifeError> {
    if !next.close_is_due(tokens, now) {
        return Err(LifeError::TooEarly);
    }
    if !(0.0..1.0).contains(&draw) {
        return Err(LifeError::InvalidDraw);
    }
    let start = now.min(next.rules.window_begins_at());
    let wait = (draw * next.rules.closing_window_millis as f64) as i64;
    let stop = start.plus_millis(wait).min(next.rules.closes_at);
    next.status = Status::Closing;
    next.stops_at = Some(stop);
    Ok(vec![Effect::StopOrdersAt(stop)])
}

fn stop(next: &mut Life, now: Time) -> Result<Vec<Effect>, LifeError> {
    if !next.rules.method.is_advisory() {
        return Err(LifeError::NotAllowed(next.status));
    }
    next.status = Status::Closing;
    next.stops_at = Some(now);
    Ok(vec![Effect::StopOrdersAt(now)])
}

fn frozen(next: &mut Life, freeze: Freeze, now: Time) -> Result<Vec<Effect>, LifeError> {
    if next.stops_at.is_none_or(|stop| now < stop) {
        return Err(LifeError::TooEarly);
    }
    next.status = Status::Frozen;
    next.freeze = Some(freeze);
    Ok(vec![Effect::DrawAudit])
}

/// The first search: the strongest method for audited cases, else the one of the rules.
fn first_search(life: &Life, now: Time) -> Search {
    let audited = life.audited == Some(true);
    let can_test = life.can_test();
    match life.rules.method {
        Method::Objective { .. } if can_test => Search::Test,
        _ if audited && can_test => Search::Test,
        _ if audited => Search::Panel { size: AUDIT_PANEL },
        Method::Objective { .. } => Search::Panel {
            size: PANEL_SIZES[0],
        },
        Method::Panel => Search::Proposals {
            until: now.plus_millis(life.rules.proposal_window_millis),
        },
        Method::Ensemble => Search::Ensemble,
        Method::SelfResolving { .. } => Search::Reference,
    }
}

fn find(next: &mut Life, search: Search) -> Vec<Effect> {
    if let Search::Panel { size } = search {
        next.last_panel = size;
    }
    next.search = Some(search);
    vec![Effect::Find(search)]
}

fn propose(next: &mut Life, by: Proposer, pi: Pi, now: Time) -> Result<Vec<Effect>, LifeError> {
    match (next.search, by) {
        _ if next.proposal.is_some() => return Err(LifeError::NotAllowed(next.status)),
        (Some(Search::Test), Proposer::Test { commitment }) => tested(next, commitment)?,
        (Some(Search::Ensemble), Proposer::Ensemble)
        | (Some(Search::Reference), Proposer::Reference) => {}
        (Some(Search::Proposals { until }), Proposer::Person { bond }) => {
            if now >= until {
                return Err(LifeError::TooLate);
            }
            if bond < next.rules.bond {
                return Err(LifeError::BondTooSmall(next.rules.bond));
            }
        }
        _ => return Err(LifeError::NotAllowed(next.status)),
    }
    Ok(stand(next, pi, by.source(), now))
}

/// One more run of the committed test.
fn tested(next: &mut Life, commitment: Digest) -> Result<(), LifeError> {
    if next.rules.plan() != Some(commitment) {
        return Err(LifeError::WrongPlan);
    }
    next.tests = next.tests.saturating_add(1);
    Ok(())
}

/// A proposal stands until it is challenged; its window is empty when nothing could decide
/// about a challenge.
fn stand(next: &mut Life, pi: Pi, source: Source, now: Time) -> Vec<Effect> {
    next.status = Status::Settling;
    next.search = None;
    next.proposal = Some(Proposal {
        pi,
        final_after: now,
        source,
    });
    let window = if next.appeal().is_some() {
        next.rules.challenge_window_millis
    } else {
        0
    };
    let final_after = now.plus_millis(window);
    next.proposal = Some(Proposal {
        pi,
        final_after,
        source,
    });
    vec![Effect::FinaliseAt(final_after)]
}

fn call_panel(next: &mut Life, now: Time) -> Result<Vec<Effect>, LifeError> {
    match next.search {
        Some(Search::Proposals { until }) if now < until => return Err(LifeError::TooEarly),
        None | Some(Search::Panel { .. }) => return Err(LifeError::NotAllowed(next.status)),
        Some(_) => {}
    }
    let first = if next.audited == Some(true) {
        AUDIT_PANEL
    } else {
        PANEL_SIZES[0]
    };
    let size = if next.last_panel == 0 {
        Some(first)
    } else {
        next_panel(next.last_panel)
    };
    Ok(match size {
        Some(size) => find(next, Search::Panel { size }),
        None => void(next),
    })
}

fn challenge(next: &mut Life, pi: Pi, bond: Micro, now: Time) -> Result<Vec<Effect>, LifeError> {
    let Some(proposal) = next.proposal else {
        return Err(LifeError::NotAllowed(next.status));
    };
    if now >= proposal.final_after {
        return Err(LifeError::TooLate);
    }
    if pi == proposal.pi {
        return Err(LifeError::SameSettlement);
    }
    let search = next.appeal().ok_or(LifeError::TooLate)?;
    let required = next.challenge_bond().ok_or(LifeError::TooLate)?;
    if bond < required {
        return Err(LifeError::BondTooSmall(required));
    }
    next.status = Status::Challenged;
    next.challenges += 1;
    Ok(find(next, search))
}

fn rule(next: &mut Life, by: Ruler, pi: Pi, now: Time) -> Result<Vec<Effect>, LifeError> {
    let source = match (next.search, by) {
        // The first run of the test proposes; only a repeated one rules.
        (Some(Search::Test), Ruler::Test { commitment }) if next.proposal.is_some() => {
            tested(next, commitment)?;
            Source::Test
        }
        (Some(Search::Panel { .. }), Ruler::Panel) => Source::Panel,
        _ => return Err(LifeError::NotAllowed(next.status)),
    };
    Ok(stand(next, pi, source, now))
}

fn no_ruling(next: &mut Life) -> Result<Vec<Effect>, LifeError> {
    let Some(Search::Panel { size }) = next.search else {
        return Err(LifeError::NotAllowed(next.status));
    };
    Ok(match next_panel(size) {
        Some(size) => find(next, Search::Panel { size }),
        None => void(next),
    })
}

fn finalise(next: &mut Life, now: Time) -> Result<Vec<Effect>, LifeError> {
    let Some(proposal) = next.proposal else {
        return Err(LifeError::NotAllowed(next.status));
    };
    if now < proposal.final_after {
        return Err(LifeError::TooEarly);
    }
    next.status = Status::Final;
    Ok(vec![Effect::Payout(proposal.pi)])
}

fn void(next: &mut Life) -> Vec<Effect> {
    let opened = next.status != Status::Draft;
    next.status = Status::Void;
    next.search = None;
    if opened { vec![Effect::Refund] } else { vec![] }
}
