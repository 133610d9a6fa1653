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
    /// Proposes and challenges settlements, and disputes exhibits, by what it believes.
    Disputer,
    /// Commits to evidence that it never shows, so that others wait.
    Holdout,
    /// Sees a reveal on its way and submits the same before it.
    FrontRunner,
    /// Bets on the wrong side where the judges settle, and shows them what convinces them of it.
    JudgeGamer,
    /// Proposes, and challenges its own proposals and exhibits through a second account.
    SelfChallenger,
    /// Bets on the wrong side where a jury settles; some jurors are its friends.
    RingLeader,
    /// A juror who votes by what the case says.
    Juror,
    /// A juror who always says the same, and now and then shows somebody the vote.
    LazyJuror,
    /// A juror who commits and mostly does not reveal.
    SilentJuror,
    /// A juror who votes for the ring leader's side where there is one.
    Accomplice,
    /// A juror who bets on the wrong side where juries settle, and would vote for its own money.
    BettingJuror,
}

/// Every kind with its weight among people, per mille.
const SHARES: [(Kind, u64); 19] = [
    (Kind::Informed, 380),
    (Kind::Noisy, 240),
    (Kind::Pusher, 50),
    (Kind::LastMinute, 35),
    (Kind::WashTrader, 35),
    (Kind::EvidenceSpammer, 45),
    (Kind::Copyist, 45),
    (Kind::Hostile, 60),
    (Kind::Disputer, 20),
    (Kind::Holdout, 6),
    (Kind::FrontRunner, 8),
    (Kind::JudgeGamer, 8),
    (Kind::SelfChallenger, 8),
    (Kind::RingLeader, 5),
    (Kind::Juror, 32),
    (Kind::LazyJuror, 6),
    (Kind::SilentJuror, 6),
    (Kind::Accomplice, 6),
    (Kind::BettingJuror, 5),
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
            Self::Disputer => "disputer",
            Self::Holdout => "holdout",
            Self::FrontRunner => "front runner",
            Self::JudgeGamer => "judge gamer",
            Self::SelfChallenger => "self-challenger",
            Self::RingLeader => "ring leader",
            Self::Juror => "juror",
            Self::LazyJuror => "lazy juror",
            Self::SilentJuror => "silent juror",
            Self::Accomplice => "accomplice",
            Self::BettingJuror => "betting juror",
        }
    }

    /// Whether it does jury duty.
    pub(crate) fn is_juror(self) -> bool {
        matches!(
            self,
            Self::Juror
                | Self::LazyJuror
                | Self::SilentJuror
                | Self::Accomplice
                | Self::BettingJuror
        )
    }

    /// A kind, by the shares of all. Those who have nothing to do where there are no courts are
    /// noisy there.
    pub(crate) fn draw(rng: &mut Rng, courts: bool) -> Self {
        let mut left = rng.below(SHARES.iter().map(|(_, share)| share).sum());
        for (kind, share) in SHARES {
            if left < share {
                return if courts || kind.is_plain() {
                    kind
                } else {
                    Self::Noisy
                };
            }
            left -= share;
        }
        Self::Noisy
    }

    /// Whether it only trades and submits.
    fn is_plain(self) -> bool {
        matches!(
            self,
            Self::Informed
                | Self::Noisy
                | Self::Pusher
                | Self::LastMinute
                | Self::WashTrader
                | Self::EvidenceSpammer
                | Self::Copyist
                | Self::Hostile
        )
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

    /// What it believes about the outcomes of a market that has several: which is likeliest, and
    /// how likely.
    pub(crate) fn favourite(&self, market: usize, outcomes: usize, truth: usize) -> (usize, f64) {
        let mut rng = Rng::new(self.seed ^ market as u64, "favourite");
        let signals: Vec<f64> = (0..outcomes)
            .map(|outcome| if outcome == truth { 2.5 } else { 0.0 } + rng.normal())
            .collect();
        let sum: f64 = signals.iter().map(|signal| signal.exp()).sum();
        let best = (0..outcomes).max_by(|a, b| signals[*a].total_cmp(&signals[*b]));
        best.map_or((0, 0.0), |best| (best, signals[best].exp() / sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_per_mille() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u64>(), 1_000);
        let mut rng = Rng::new(1, "kinds");
        let informed = (0..10_000)
            .filter(|_| Kind::draw(&mut rng, true) == Kind::Informed)
            .count();
        assert!((3_600..4_000).contains(&informed), "{informed}");
    }
}
