//! What is settled about, what looks for the settlement, and what has been proposed.

use serde::{Deserialize, Serialize};

use super::Time;
use crate::digest::Digest;
use crate::probability::Pi;

/// Jurors of the panels, in order of appeal.
pub const PANEL_SIZES: [u8; 3] = [3, 7, 15];
/// Jurors of the first panel of an audited case.
pub const AUDIT_PANEL: u8 = 7;

/// Hashes that fix what is settled about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Hash of the frozen checkpoint; `None` if the run could not be reached.
    pub checkpoint: Option<Digest>,
    /// Root of the Merkle tree over the exhibits that had been submitted
    /// (see [`crate::merkle`]).
    pub exhibits_root: Digest,
    /// Hash of the terms published at the opening; `None` for markets that published none.
    #[serde(default)]
    pub terms: Option<Digest>,
}

/// What is looking for the settlement now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Search {
    /// The committed test runs on the frozen checkpoint.
    Test,
    /// The judges pool their probabilities.
    Ensemble,
    /// The last price of a self-resolving market is read.
    Reference,
    /// Anybody without a stake may propose until then.
    Proposals {
        /// The end of the window.
        until: Time,
    },
    /// A jury sits.
    Panel {
        /// Number of jurors.
        size: u8,
    },
}

/// Where a settlement came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The committed test.
    Test,
    /// The judges' pooled probability.
    Ensemble,
    /// The market's own last price.
    Reference,
    /// Somebody's bonded proposal.
    Person,
    /// A jury's ruling.
    Panel,
}

impl Source {
    /// The name under which the source is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Ensemble => "ensemble",
            Self::Reference => "reference",
            Self::Person => "person",
            Self::Panel => "panel",
        }
    }
}

/// A proposed settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The proposed settlement.
    pub pi: Pi,
    /// From this moment on it can be made final; until then it can be challenged.
    pub final_after: Time,
    /// Where it came from.
    #[serde(default = "test")]
    pub source: Source,
}

const fn test() -> Source {
    Source::Test
}

/// The smallest panel larger than `last` (zero when none has sat); `None` after the largest.
pub fn next_panel(last: u8) -> Option<u8> {
    PANEL_SIZES.into_iter().find(|&size| size > last)
}
