//! The people: what each kind wants, knows and does.

use plumbline_service::context::Context;

use crate::rng::Rng;

/// Kinds of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Knows something about the truth, trades toward it and submits what it finds.
    Informed,
    /// Trades at random.
    Noisy,
    /// Pushes the price away from the truth with much money.
    Pusher,
    /// Pushes it at the last moment.
    LastMinute,
    /// Buys and sells back, over and over.
    WashTrader,
    /// Submits exhibits that argue for the wrong side and are worth little.
    EvidenceSpammer,
    /// Submits other people's exhibits as its own.
    Copyist,
    /// Sends what makes no sense.
    Hostile,
}

/// Every kind with its weight among people, per cent.
const SHARES: [(Kind, u64); 8] = [
    (Kind::Informed, 42),
    (Kind::Noisy, 26),
    (Kind::Pusher, 6),
    (Kind::LastMinute, 4),
    (Kind::WashTrader, 4),
    (Kind::EvidenceSpammer, 5),
    (Kind::Copyist, 5),
    (Kind::Hostile, 8),
];

impl Kind {
    /// The kind's name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informed => "informed",
            Self::Noisy => "noisy",
            Self::Pusher => "price pusher",
            Self::LastMinute => "last-minute mover",
            Self::WashTrader => "wash trader",
            Self::EvidenceSpammer => "evidence spammer",
            Self::Copyist => "copyist",
            Self::Hostile => "hostile",
        }
    }

    /// A kind, by the shares of all.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut left = rng.below(SHARES.iter().map(|(_, share)| share).sum());
        for (kind, share) in SHARES {
            if left < share {
                return kind;
            }
            left -= share;
        }
        Self::Noisy
    }
}

/// One person.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// What it wants.
    pub(crate) kind: Kind,
    /// Its account and scopes.
    pub(crate) context: Context,
    /// It asks again with the same key when it got no answer.
    pub(crate) persistent: bool,
    /// Decides what it knows about each market.
    pub(crate) seed: u64,
}

impl Actor {
    /// The account's id.
    pub(crate) fn account(&self) -> &str {
        self.context.actor.account_id.as_deref().unwrap_or_default()
    }

    /// What it believes about a market: the truth seen through its own noise, as a probability.
    pub(crate) fn belief(&self, market: usize, truth: bool) -> f64 {
        let mut rng = Rng::new(self.seed ^ market as u64, "belief");
        let signal = if truth { 1.5 } else { -1.5 } + rng.normal();
        1.0 / (1.0 + (-signal).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_per_cent() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u64>(), 100);
        let mut rng = Rng::new(1, "kinds");
        let informed = (0..10_000)
            .filter(|_| Kind::draw(&mut rng) == Kind::Informed)
            .count();
        assert!((4_000..4_400).contains(&informed), "{informed}");
    }
}
