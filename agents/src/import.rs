//! Logs of the tools that researchers already use, as exhibits.
//!
//! | tool | what is read |
//! |---|---|
//! | UK AISI Inspect | eval logs, `.json` and `.eval` |
//! | garak | report JSONL (`*.report.jsonl`) |
//! | promptfoo | results, `.json` and `.jsonl` |
//!
//! Every log gives two kinds of exhibits: for each test the share of its cases that failed, as a
//! measurement over *all* scored cases, and the conversations themselves, by default only those
//! that failed. Everything here is a function of the bytes: no file is opened, no path in a log is
//! followed, and every text in it is data.

mod archive;
mod collect;
mod garak;
mod inspect;
mod json;
mod pack;
mod promptfoo;

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use thiserror::Error;

use collect::Collector;

/// Largest log that is read, bytes.
pub const MAX_INPUT_BYTES: usize = 64 * 1024 * 1024;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// UK AISI Inspect, eval log.
    Inspect,
    /// NVIDIA garak, report.
    Garak,
    /// promptfoo, results.
    Promptfoo,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inspect => "inspect",
            Self::Garak => "garak",
            Self::Promptfoo => "promptfoo",
        })
    }
}

impl Format {
    /// Whose log this is, by its first bytes and the names in its first JSON value.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Names {
            entry_type: Option<IgnoredAny>,
            eval: Option<IgnoredAny>,
            results: Option<IgnoredAny>,
            #[serde(rename = "promptIdx")]
            prompt: Option<IgnoredAny>,
        }
        if archive::is_archive(bytes) {
            return Some(Self::Inspect);
        }
        let names: Names = json::first(bytes)?;
        match names {
            Names {
                entry_type: Some(_),
                ..
            } => Some(Self::Garak),
            Names { eval: Some(_), .. } => Some(Self::Inspect),
            Names {
                results: Some(_), ..
            }
            | Names {
                prompt: Some(_), ..
            } => Some(Self::Promptfoo),
            _ => None,
        }
    }
}

/// What to take from a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Only conversations that failed; measurements are over all cases either way.
    pub only_failed: bool,
    /// Take conversations.
    pub transcripts: bool,
    /// Take shares of failures.
    pub measurements: bool,
    /// Where a score begins to count, in the scorer's unit; the log's own bound unless given, else one half.
    pub threshold: Option<f64>,
    /// Inspect: a score at or above the threshold is the failure, as scorers of harm give it.
    pub high_is_failure: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            only_failed: true,
            transcripts: true,
            measurements: true,
            threshold: None,
            high_is_failure: false,
        }
    }
}

/// An exhibit, in the form that `POST /markets/{id}/evidence` takes, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The exhibit.
    pub exhibit: Value,
    /// One line: which case of the log it is, and what the tool found.
    pub note: String,
}

/// What was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// Where the first one is.
    pub first: String,
}

/// What a log came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// Whose log it is.
    pub format: Format,
    /// What was tested with what, as the log says.
    pub subject: String,
    /// Cases read: samples, outputs of attempts, rows.
    pub cases: u64,
    /// Cases with at least one test that failed.
    pub failed: u64,
    /// The exhibits, measurements first, then conversations in the order of the log.
    pub items: Vec<Item>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// Why a log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    /// Larger than what is read.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// The log, or what in it.
        what: String,
        /// The bound.
        limit: usize,
    },
    /// No tool's log that is known here.
    #[error("this is no log of Inspect, garak or promptfoo that is known here; name its --format")]
    Unknown,
    /// It is not what the format says.
    #[error("{place}: {why}")]
    Malformed {
        /// Line, sample or member.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// It cannot be submitted as it was asked for.
    #[error("{0}")]
    Refused(String),
}

/// Reads a log of at most [`MAX_INPUT_BYTES`]; without a format, of whichever it looks like.
///
/// # Errors
/// [`ImportError`] when it is too large, of no known tool, or not what its format says. Cases that
/// hold nothing to show are counted in [`Import::skipped`] instead.
pub fn read(
    bytes: &[u8],
    format: Option<Format>,
    options: &Options,
) -> Result<Import, ImportError> {
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(ImportError::TooLarge {
            what: "the log".to_owned(),
            limit: MAX_INPUT_BYTES,
        });
    }
    let format = format
        .or_else(|| Format::of(bytes))
        .ok_or(ImportError::Unknown)?;
    let mut found = Collector::new(format, options.clone());
    match format {
        Format::Inspect => inspect::read(bytes, &mut found)?,
        Format::Garak => garak::read(bytes, &mut found)?,
        Format::Promptfoo => promptfoo::read(bytes, &mut found)?,
    }
    Ok(found.finish())
}

fn malformed(place: impl Into<String>, why: impl fmt::Display) -> ImportError {
    ImportError::Malformed {
        place: place.into(),
        why: why.to_string(),
    }
}
