//! Standing orders: what votes and seals put on a run for a term, beside what the policy's rules say.
//!
//! A cap tightens, a permit loosens: it lifts what rules impose up to its own share, for its term. Where
//! both are in force the lower one holds, and a termination is never lifted. When a term is over the
//! rules alone count again; after a seal the cap stays at what the run had before for one dwell time
//! more, so that nothing jumps back to the full.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::control::after;
use crate::policy::Verdict;
use crate::{Action, Bps};

/// What an order does to its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OrderEffect {
    /// At most this share.
    Cap {
        /// The share.
        bps: Bps,
    },
    /// No share; the run stays paused after the term until a permit lifts it.
    Pause,
    /// Up to this share whatever rules say, and a pause is lifted.
    Permit {
        /// The share.
        bps: Bps,
    },
}

/// What an order rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum OrderSource {
    /// A vote.
    Proposal {
        /// The proposal.
        id: Uuid,
    },
    /// A seal.
    Seal {
        /// The seal.
        id: Uuid,
    },
}

/// An order on one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingOrder {
    /// What it does.
    pub effect: OrderEffect,
    /// What it rests on.
    pub source: OrderSource,
    /// In force from then.
    pub from: Timestamp,
    /// In force before then.
    pub until: Timestamp,
    /// For a seal's: the share that the run was granted when it was used.
    #[serde(default)]
    pub before: Option<Bps>,
}

/// What the orders on one run come to at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The lowest cap with what it rests on.
    pub cap: Option<(Bps, OrderSource)>,
    /// A pause with what it rests on.
    pub pause: Option<OrderSource>,
    /// The highest permit with what it rests on.
    pub permit: Option<(Bps, OrderSource)>,
}

impl Standing {
    /// What `orders` come to at `now`, where the policy's dwell time is `dwell_s` seconds.
    #[must_use]
    pub fn of(orders: &[StandingOrder], dwell_s: u64, now: Timestamp) -> Self {
        let mut standing = Self::default();
        for order in orders.iter().filter(|order| now >= order.from) {
            if now < order.until {
                standing.add(order.effect, order.source);
            } else if let Some(before) = order.before
                && now < after(order.until, dwell_s)
            {
                standing.add(OrderEffect::Cap { bps: before }, order.source);
            }
        }
        standing
    }

    fn add(&mut self, effect: OrderEffect, source: OrderSource) {
        match effect {
            OrderEffect::Cap { bps } => {
                if self.cap.is_none_or(|(lowest, _)| bps < lowest) {
                    self.cap = Some((bps, source));
                }
            }
            OrderEffect::Pause => self.pause = self.pause.or(Some(source)),
            OrderEffect::Permit { bps } => {
                if self.permit.is_none_or(|(highest, _)| bps > highest) {
                    self.permit = Some((bps, source));
                }
            }
        }
    }

    /// The share that may be granted without any other basis, at most: the permit, as far as no cap or
    /// pause stands against it.
    #[must_use]
    pub fn permitted(&self) -> Option<Bps> {
        let (permit, _) = self.permit.filter(|_| self.pause.is_none())?;
        Some(self.cap.map_or(permit, |(cap, _)| permit.min(cap)))
    }

    /// Whether a pause in force is lifted.
    #[must_use]
    pub const fn lifts(&self) -> bool {
        self.permit.is_some() && self.pause.is_none()
    }

    /// Puts the orders on what the rules say; what binds comes back.
    pub fn apply(&self, verdict: &mut Verdict) -> Option<OrderSource> {
        let mut binding = None;
        let restricted = verdict.action != Action::Allow;
        if let Some((permit, source)) = self.permit
            && restricted
            && verdict.action != Action::Terminate
            && permit > verdict.cap
        {
            verdict.action = Action::Throttle;
            verdict.cap = permit;
            verdict.reason = "voted_permit".to_owned();
            verdict.explanation = format!(
                "A vote permits {permit} for a term, above what the rules say ({}).",
                verdict.explanation.trim_end_matches('.')
            );
            binding = Some(source);
        }
        if let Some((cap, source)) = self.cap.filter(|(cap, _)| *cap < verdict.cap) {
            verdict.action = verdict.action.max(Action::Throttle);
            verdict.cap = cap;
            (verdict.reason, verdict.explanation) = said(source, &format!("at most {cap}"));
            binding = Some(source);
        }
        if let Some(source) = self.pause.filter(|_| verdict.action < Action::Pause) {
            verdict.action = Action::Pause;
            verdict.cap = Bps::ZERO;
            (verdict.reason, verdict.explanation) = said(source, "paused");
            binding = Some(source);
        }
        if binding.is_some() {
            verdict.rule = None;
        }
        binding
    }
}

/// Stable reason and sentence of an order that tightens.
fn said(source: OrderSource, what: &str) -> (String, String) {
    let (reason, who) = match source {
        OrderSource::Proposal { .. } => ("voted_cap", "A vote"),
        OrderSource::Seal { .. } => ("sealed_cap", "A seal used by its guardians"),
    };
    let sentence = format!("{who} ordered this run to be {what} for a term.");
    (reason.to_owned(), sentence)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn bps(n: u16) -> Bps {
        Bps::new(n).unwrap()
    }

    fn vote(n: u128) -> OrderSource {
        OrderSource::Proposal {
            id: Uuid::from_u128(n),
        }
    }

    fn seal() -> OrderSource {
        OrderSource::Seal {
            id: Uuid::from_u128(9),
        }
    }

    fn order(effect: OrderEffect, source: OrderSource, from: i64, until: i64) -> StandingOrder {
        StandingOrder {
            effect,
            source,
            from: at(from),
            until: at(until),
            before: None,
        }
    }

    fn verdict(action: Action, cap: u16) -> Verdict {
        Verdict {
            action,
            cap: bps(cap),
            reason: "rule".to_owned(),
            explanation: "A rule.".to_owned(),
            rule: Some("rule".to_owned()),
            deadline_s: None,
            fired: Vec::new(),
            faults: Vec::new(),
        }
    }

    #[test]
    fn orders_hold_for_their_term_and_the_lowest_cap_wins() {
        let cap = |n| OrderEffect::Cap { bps: bps(n) };
        let orders = [
            order(cap(3_000), vote(1), 10, 20),
            order(cap(1_000), vote(2), 15, 30),
        ];
        let caps = |second| {
            let standing = Standing::of(&orders, 0, at(second));
            standing.cap.map(|(cap, _)| cap.get())
        };
        let table = [
            (9, None),
            (10, Some(3_000)),
            (15, Some(1_000)),
            (29, Some(1_000)),
            (30, None),
        ];
        for (second, expected) in table {
            assert_eq!(caps(second), expected, "{second}");
        }
    }

    #[test]
    fn after_a_seal_the_cap_is_what_the_run_had_before_for_a_dwell_time() {
        let sealed = StandingOrder {
            before: Some(bps(4_000)),
            ..order(OrderEffect::Cap { bps: Bps::ZERO }, seal(), 0, 10)
        };
        let cap = |second| {
            Standing::of(&[sealed], 5, at(second))
                .cap
                .map(|(cap, _)| cap.get())
        };
        assert_eq!(
            [cap(9), cap(10), cap(14), cap(15)],
            [Some(0), Some(4_000), Some(4_000), None]
        );
    }

    #[test]
    fn a_permit_lifts_what_rules_impose_but_no_termination_and_no_cap() {
        let permit = order(OrderEffect::Permit { bps: bps(4_000) }, vote(1), 0, 9);
        let standing = Standing::of(&[permit], 0, at(1));
        for (before, after, cap) in [
            (verdict(Action::Throttle, 500), Action::Throttle, 4_000),
            (verdict(Action::Pause, 0), Action::Throttle, 4_000),
            (verdict(Action::Throttle, 6_000), Action::Throttle, 6_000),
            (verdict(Action::Allow, 10_000), Action::Allow, 10_000),
            (verdict(Action::Terminate, 0), Action::Terminate, 0),
        ] {
            let mut now = before.clone();
            standing.apply(&mut now);
            assert_eq!((now.action, now.cap.get()), (after, cap), "{before:?}");
        }
        let cap = order(OrderEffect::Cap { bps: bps(1_000) }, seal(), 0, 9);
        let both = Standing::of(&[permit, cap], 0, at(1));
        let mut now = verdict(Action::Throttle, 500);
        assert_eq!(both.apply(&mut now), Some(seal()));
        assert_eq!((now.cap.get(), now.reason.as_str()), (1_000, "sealed_cap"));
        assert_eq!(both.permitted(), Some(bps(1_000)));
        let pause = order(OrderEffect::Pause, vote(3), 0, 9);
        let paused = Standing::of(&[permit, pause], 0, at(1));
        assert!(!paused.lifts() && paused.permitted().is_none());
        assert_eq!(paused.apply(&mut now), Some(vote(3)));
        assert_eq!((now.action, now.cap), (Action::Pause, Bps::ZERO));
    }
}
