//! Tracks: what a proposal of each kind needs, and how long it takes.
//!
//! Whatever loosens, spends or changes rules is slow and needs much agreement; whatever tightens is
//! quick and needs little. The terms are copied into a proposal when it is made, so a later change of
//! a track touches no proposal under way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Bps;

/// Longest period of any kind: a year, in seconds.
const MAX_SECONDS: u64 = 366 * 86_400;
/// One hour, in seconds.
const HOUR: u64 = 3_600;
/// One day, in seconds.
const DAY: u64 = 24 * HOUR;
/// Micro-credits in a credit.
const CREDIT: u64 = 1_000_000;

macro_rules! tracks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A kind of proposals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Track { $($(#[$doc])* $variant),+ }

        impl Track {
            /// Every track, in the order shown to people.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in documents and on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The track of that name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|track| track.as_str() == name)
            }
        }
    };
}

tracks! {
    /// Permit a run more than the rules do, or lift its pause, for a term.
    Loosen = "loosen",
    /// Cap or pause a run for a term.
    Tighten = "tighten",
    /// Put another policy in force.
    PolicyChange = "policy-change",
    /// Put another version of the oracle in force.
    OracleChange = "oracle-change",
    /// Call a market off whose settlement is about to become final.
    SettlementDispute = "settlement-dispute",
    /// Pay from the treasury.
    Treasury = "treasury",
    /// Give and take roles.
    Membership = "membership",
    /// Cap or pause a run now.
    EmergencyTighten = "emergency-tighten",
    /// Stop another proposal.
    Cancel = "cancel",
    /// Divide revenue over those who contributed.
    RevenueSplit = "revenue-split",
    /// Give guardians a seal.
    SealCreation = "seal-creation",
}

/// How much agreement a proposal needs: much at the start of the vote, less toward its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Share of the decided weight that must be for it at the start, basis points.
    pub start_bps: Bps,
    /// The same at the end of the voting period and after it; more than half.
    pub end_bps: Bps,
}

impl Curve {
    /// What is needed after `elapsed_s` of a voting period of `period_s` seconds, rounded up.
    #[must_use]
    pub fn needed(&self, elapsed_s: u64, period_s: u64) -> Bps {
        let (start, end) = (
            u64::from(self.start_bps.get()),
            u64::from(self.end_bps.get()),
        );
        if period_s == 0 || elapsed_s >= period_s {
            return self.end_bps;
        }
        let fall =
            u128::from(start.saturating_sub(end)) * u128::from(elapsed_s) / u128::from(period_s);
        let needed = start
            .saturating_sub(u64::try_from(fall).unwrap_or(0))
            .max(end);
        Bps::saturating(u32::try_from(needed).unwrap_or(u32::MAX))
    }
}

/// What a track asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackTerms {
    /// Deposit before voting starts, micro-credits, above zero.
    pub deposit_micro: u64,
    /// Time to collect it, seconds.
    pub deposit_s: u64,
    /// Least stake for or abstaining, as a share of all stake at the start, basis points, above zero.
    pub quorum_bps: Bps,
    /// Agreement needed over time.
    pub approval: Curve,
    /// Length of the vote, seconds.
    pub voting_s: u64,
    /// Time for which a proposal must stay approved, seconds.
    pub confirm_s: u64,
    /// Time lock between approval and execution, seconds.
    pub delay_s: u64,
    /// Time after the time lock in which it can be executed, seconds.
    pub expiry_s: u64,
    /// A ballot that turns the outcome round this close to the end extends the vote by as much, seconds.
    pub swing_s: u64,
    /// Extensions at most.
    pub extensions: u8,
}

/// A setting of a track that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{track}.{field}: {problem}")]
pub struct TrackError {
    /// The track.
    pub track: &'static str,
    /// The setting.
    pub field: &'static str,
    /// What would be right.
    pub problem: &'static str,
}

impl TrackTerms {
    /// Checks every setting against its domain.
    ///
    /// # Errors
    /// Names the track and the setting.
    pub fn check(&self, track: Track) -> Result<(), TrackError> {
        let refuse = |field, problem| {
            Err(TrackError {
                track: track.as_str(),
                field,
                problem,
            })
        };
        let times = [
            ("deposit_s", self.deposit_s),
            ("voting_s", self.voting_s),
            ("expiry_s", self.expiry_s),
        ];
        if let Some((field, _)) = times
            .into_iter()
            .find(|(_, value)| !(1..=MAX_SECONDS).contains(value))
        {
            return refuse(field, "must be 1 second to a year");
        }
        let times = [
            ("confirm_s", self.confirm_s),
            ("delay_s", self.delay_s),
            ("swing_s", self.swing_s),
        ];
        if let Some((field, _)) = times.into_iter().find(|(_, value)| *value > MAX_SECONDS) {
            return refuse(field, "must be at most a year");
        }
        if self.deposit_micro == 0 {
            return refuse(
                "deposit_micro",
                "must be above zero: free proposals are spam",
            );
        }
        if self.quorum_bps == Bps::ZERO {
            return refuse("quorum_bps", "must be above zero");
        }
        if self.approval.end_bps.get() < 5_000 || self.approval.start_bps < self.approval.end_bps {
            return refuse("approval", "must fall, and not below half");
        }
        Ok(())
    }
}

/// Every track with its terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracks(BTreeMap<Track, TrackTerms>);

/// Deposit in credits; quorum; approval at start and end; voting, confirmation, delay and expiry in
/// hours.
type Row = (Track, u64, u16, u16, u16, u64, u64, u64, u64);

/// What each track asks for, in one table.
const TABLE: [Row; 11] = [
    (Track::Loosen, 100, 2_000, 9_000, 6_000, 120, 24, 48, 168),
    (Track::Tighten, 25, 500, 7_000, 5_000, 24, 2, 1, 72),
    (
        Track::PolicyChange,
        200,
        2_000,
        9_000,
        6_000,
        168,
        24,
        48,
        336,
    ),
    (
        Track::OracleChange,
        200,
        2_000,
        9_000,
        6_000,
        168,
        24,
        48,
        336,
    ),
    (
        Track::SettlementDispute,
        100,
        2_000,
        9_000,
        6_700,
        48,
        6,
        0,
        24,
    ),
    (Track::Treasury, 100, 1_500, 9_000, 6_000, 168, 24, 48, 336),
    (Track::Membership, 50, 1_000, 8_000, 5_500, 120, 24, 24, 168),
    (
        Track::EmergencyTighten,
        50,
        1_000,
        8_000,
        5_000,
        2,
        1,
        0,
        24,
    ),
    (Track::Cancel, 50, 1_000, 8_000, 5_000, 24, 1, 0, 24),
    (
        Track::RevenueSplit,
        100,
        1_500,
        9_000,
        6_000,
        168,
        24,
        48,
        336,
    ),
    (
        Track::SealCreation,
        200,
        2_500,
        9_000,
        6_000,
        168,
        24,
        72,
        336,
    ),
];

impl Default for Tracks {
    /// Hours and days.
    fn default() -> Self {
        let terms = |row: &Row| TrackTerms {
            deposit_micro: row.1 * CREDIT,
            deposit_s: 7 * DAY,
            quorum_bps: Bps::saturating(row.2.into()),
            approval: Curve {
                start_bps: Bps::saturating(row.3.into()),
                end_bps: Bps::saturating(row.4.into()),
            },
            voting_s: row.5 * HOUR,
            confirm_s: row.6 * HOUR,
            delay_s: row.7 * HOUR,
            expiry_s: row.8 * HOUR,
            swing_s: (row.5 * HOUR / 12).max(600),
            extensions: 4,
        };
        Self(TABLE.iter().map(|row| (row.0, terms(row))).collect())
    }
}

impl Tracks {
    /// The same shares and deposits with times of seconds, for demonstrations: an hour becomes a second,
    /// and no vote is shorter than twenty.
    #[must_use]
    pub fn demo() -> Self {
        let mut tracks = Self::default();
        for terms in tracks.0.values_mut() {
            terms.deposit_s /= 600;
            terms.voting_s = (terms.voting_s / HOUR).max(20);
            terms.confirm_s /= HOUR;
            terms.delay_s /= HOUR;
            terms.expiry_s = (terms.expiry_s / HOUR).max(60);
            terms.swing_s = (terms.voting_s / 12).max(3);
        }
        tracks
    }

    /// The terms of a track. A track that was never set has the slowest there are.
    #[must_use]
    pub fn of(&self, track: Track) -> TrackTerms {
        let slowest = || self.0.values().copied().max_by_key(|terms| terms.voting_s);
        self.0
            .get(&track)
            .copied()
            .or_else(slowest)
            .unwrap_or_else(|| Self::default().of(track))
    }

    /// Replaces the terms of a track.
    ///
    /// # Errors
    /// Names the setting that makes no sense.
    pub fn set(&mut self, track: Track, terms: TrackTerms) -> Result<(), TrackError> {
        terms.check(track)?;
        self.0.insert(track, terms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_track_has_sound_terms_in_both_tables() {
        for tracks in [Tracks::default(), Tracks::demo()] {
            for track in Track::ALL.iter().copied() {
                tracks.of(track).check(track).unwrap();
                assert_eq!(Track::parse(track.as_str()), Some(track));
                let wire = serde_json::to_value(track).unwrap();
                assert_eq!(wire, track.as_str());
            }
        }
        assert_eq!(Track::parse("bribery"), None);
        assert_eq!(TABLE.len(), Track::ALL.len());
    }

    #[test]
    fn loosening_is_never_easier_than_tightening() {
        for tracks in [Tracks::default(), Tracks::demo()] {
            let loosen = tracks.of(Track::Loosen);
            for easy in [Track::Tighten, Track::EmergencyTighten] {
                let tighten = tracks.of(easy);
                assert!(loosen.quorum_bps > tighten.quorum_bps);
                assert!(loosen.approval.end_bps >= tighten.approval.end_bps);
                assert!(loosen.voting_s > tighten.voting_s && loosen.delay_s > tighten.delay_s);
                assert!(loosen.deposit_micro > tighten.deposit_micro);
            }
        }
    }

    #[test]
    fn the_curve_falls_from_start_to_end() {
        let bps = |n| Bps::new(n).unwrap();
        let curve = Curve {
            start_bps: bps(9_000),
            end_bps: bps(6_000),
        };
        for (elapsed, needed) in [
            (0, 9_000),
            (1, 8_970),
            (50, 7_500),
            (99, 6_030),
            (100, 6_000),
            (500, 6_000),
        ] {
            assert_eq!(curve.needed(elapsed, 100), bps(needed), "{elapsed}");
        }
        assert_eq!(curve.needed(0, 0), bps(6_000));
        assert_eq!(curve.needed(1, 3_000_000), bps(9_000), "rounded up");
    }

    #[test]
    fn settings_without_sense_are_named() {
        let good = Tracks::default().of(Track::Treasury);
        let table = [
            (
                "voting_s",
                TrackTerms {
                    voting_s: 0,
                    ..good
                },
            ),
            (
                "delay_s",
                TrackTerms {
                    delay_s: MAX_SECONDS + 1,
                    ..good
                },
            ),
            (
                "deposit_micro",
                TrackTerms {
                    deposit_micro: 0,
                    ..good
                },
            ),
            (
                "quorum_bps",
                TrackTerms {
                    quorum_bps: Bps::ZERO,
                    ..good
                },
            ),
            (
                "approval",
                TrackTerms {
                    approval: Curve {
                        start_bps: Bps::FULL,
                        end_bps: Bps::new(4_999).unwrap(),
                    },
                    ..good
                },
            ),
        ];
        for (field, terms) in table {
            let error = Tracks::default().set(Track::Treasury, terms).unwrap_err();
            assert_eq!((error.track, error.field), ("treasury", field));
        }
    }
}
