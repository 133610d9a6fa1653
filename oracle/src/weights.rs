//! The weights of a judge's heads: what is in them, and how they answer. The file they travel in is in `file`.

mod file;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::claim::family_of;
use crate::domain::{Domain, SEEN_BLOCKS, distinct_words};
use crate::expert::{Calibration, Columns};
use crate::features::{Sparse, View, extract};
use crate::linear::sigmoid;
use crate::logistic::dense_dot;
use crate::reader::{Features, Passage, Widths, full_vector, shared_vector};

/// Largest |ℓ − prior| one text may move the judge; no wording is worth more than odds of about 50 to 1.
const EXPERT_BOUND: f64 = 4.0;
/// The same for a kind of claim never trained on.
const COLD_BOUND: f64 = 1.0;
/// Log-odds for a unit of the shared model's score that every text of an unknown kind moves the judge. Too little to
/// matter to a price; it puts texts in the order in which a reviewer should look at them.
const COLD_ORDER: f64 = 0.002;
/// Distinct words up to which an answer is short, and from which it is long; see [`Cold::gated_score`].
const SHORT: f64 = 14.0;
const LONG: f64 = 60.0;

/// What the columns of a judge's vectors are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Space {
    /// 2^bits buckets of hashed words and characters.
    Hashed {
        /// log₂ of the buckets, 8..=24.
        bits: u32,
    },
    /// What a model makes of a text.
    Dense(ReaderHead),
}

/// The model that a head was fitted on: with another, its weights mean nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReaderHead {
    /// [`crate::Reader::name`].
    pub(crate) name: String,
    /// [`crate::Reader::version`].
    pub(crate) version: String,
    /// [`crate::Reader::widths`].
    pub(crate) widths: Widths,
}

impl Space {
    /// Columns of the vectors that experts use.
    pub(crate) fn full(&self) -> Columns {
        match self {
            Self::Hashed { bits } => Columns::Hashed(1 << bits),
            Self::Dense(head) => Columns::Dense(head.widths.full_shares()),
        }
    }

    /// Columns of the vectors that carry over.
    pub(crate) fn shared(&self) -> Columns {
        match self {
            Self::Hashed { bits } => Columns::Hashed(1 << bits),
            Self::Dense(head) => Columns::Dense(head.widths.shared_shares()),
        }
    }

    /// The form in which this space's weights are kept.
    pub(crate) fn table(&self, weights: Vec<f32>) -> Table {
        match self {
            Self::Hashed { .. } => Table::quantise(&weights),
            Self::Dense(_) => Table::Plain(weights),
        }
    }
}

/// Weights by column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Table {
    /// One signed byte each: w = s·sign(q)·(q/127)², finer near zero where most weights are.
    Coded {
        /// The largest |w|.
        scale: f32,
        /// q.
        values: Vec<i8>,
    },
    /// As they were fitted: there are few of them.
    Plain(Vec<f32>),
}

impl Default for Table {
    fn default() -> Self {
        Self::Coded {
            scale: 0.0,
            values: Vec::new(),
        }
    }
}

impl Table {
    fn quantise(weights: &[f32]) -> Self {
        let scale = weights.iter().fold(0.0_f32, |max, w| max.max(w.abs()));
        let values = weights
            .iter()
            .map(|w| {
                if scale > 0.0 {
                    ((w.abs() / scale).sqrt() * 127.0).round().copysign(*w) as i8
                } else {
                    0
                }
            })
            .collect();
        Self::Coded { scale, values }
    }

    /// w·x; columns that are not there count as 0.
    pub(crate) fn dot(&self, vector: &Sparse) -> f64 {
        let (scale, values) = match self {
            Self::Coded { scale, values } => (*scale, values),
            Self::Plain(weights) if vector.values.len() <= weights.len() => {
                return f64::from(dense_dot(weights, &vector.values));
            }
            Self::Plain(_) => return 0.0,
        };
        let sum: f32 = vector
            .indices
            .iter()
            .zip(&vector.values)
            .map(|(index, value)| {
                let q = values.get(*index as usize).map_or(0.0, |q| f32::from(*q));
                q * q.abs() * value
            })
            .sum();
        f64::from(sum * scale / (127.0 * 127.0))
    }
}

/// Everything read from one text.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) full: Sparse,
    pub(crate) shared: Sparse,
    pub(crate) words: Vec<u64>,
}

impl Reading {
    pub(crate) fn new(kind: &str, prompt: &str, response: &str, bits: u32) -> Self {
        Self {
            full: extract(View::Full, kind, prompt, response, bits),
            shared: extract(View::Shared, kind, prompt, response, bits),
            words: distinct_words(response),
        }
    }

    pub(crate) fn of(passage: &Passage<'_>, features: &Features) -> Self {
        Self {
            full: full_vector(passage, features),
            shared: shared_vector(features),
            words: distinct_words(passage.response),
        }
    }
}

/// One family's expert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub(crate) table: Table,
    pub(crate) domain: Domain,
    pub(crate) calibration: Calibration,
    /// Coefficient of the shared model's score, for families fitted on few cases.
    pub(crate) cold_coefficient: f64,
    /// Log-odds of the mean training label.
    pub(crate) prior_log_odds: f64,
    pub(crate) cases: u32,
}

/// What is used for claims of a family never trained on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cold {
    pub(crate) table: Table,
    pub(crate) domain: Domain,
    /// Slope on the gated score, fitted on families held out whole.
    pub(crate) slope: f64,
}

impl Cold {
    /// Of a space in which nothing carries over.
    pub(crate) fn silent(space: &Space) -> Self {
        let columns = match space.shared() {
            Columns::Hashed(size) => size,
            Columns::Dense(shares) => shares.len(),
        };
        Self {
            table: space.table(vec![0.0; columns]),
            domain: Domain {
                seen: vec![0; SEEN_BLOCKS],
                ..Domain::default()
            },
            slope: 0.0,
        }
    }

    /// g(n)·s: the shared model's score, faded out for short answers.
    ///
    /// ```text
    /// g(n) = clamp( ln(n/14) / ln(60/14), 0, 1 ),   n distinct words
    /// ```
    ///
    /// What a short answer means lies in the question, and does not carry over from other kinds of question.
    pub(crate) fn gated_score(&self, reading: &Reading) -> f64 {
        gate(reading.words.len()) * self.table.dot(&reading.shared)
    }
}

/// g(n) of [`Cold::gated_score`].
pub(crate) fn gate(words: usize) -> f64 {
    ((words.max(1) as f64 / SHORT).ln() / (LONG / SHORT).ln()).clamp(0.0, 1.0)
}

/// How well a text lies within what the judge was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Familiarity {
    /// Claims of this kind were trained on.
    KnownKind,
    /// Claims of this family were, of this kind not.
    KnownFamily,
    /// Neither: only what carries over from other families is used.
    Unknown,
}

/// What the weights say of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opinion {
    /// Log-odds that a reviewer finds the claim true, at the training base rate of its family (even odds when unknown).
    pub log_odds: f64,
    /// That base rate, log-odds: `log_odds − prior_log_odds` is the evidence in the text.
    pub prior_log_odds: f64,
    /// Standard error of `log_odds`, nats.
    pub standard_error: f64,
    /// Whether the kind of claim is known.
    pub familiarity: Familiarity,
    /// How far the text itself is like those trained on, 0..=1; the evidence has already been scaled by it.
    pub trust: f64,
}

impl Opinion {
    /// No opinion at all.
    pub(crate) fn none() -> Self {
        Self {
            log_odds: 0.0,
            prior_log_odds: 0.0,
            standard_error: crate::lexical::OUT_OF_DOMAIN_ERROR,
            familiarity: Familiarity::Unknown,
            trust: 0.0,
        }
    }

    /// σ(ℓ).
    pub fn probability(&self) -> f64 {
        sigmoid(self.log_odds)
    }
}

/// The weights of a judge: of the lexical one, or of the heads on a model's features.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pub(crate) space: Space,
    pub(crate) families: BTreeMap<String, Family>,
    pub(crate) cold: Cold,
    pub(crate) attribution: String,
}

impl Weights {
    /// Weights that know nothing of any family.
    pub(crate) fn silent(space: &Space) -> Self {
        Self {
            space: space.clone(),
            families: BTreeMap::new(),
            cold: Cold::silent(space),
            attribution: String::new(),
        }
    }

    /// What the weights of the lexical judge say of a passage; those of a head, which need features, know nothing.
    pub fn opinion(&self, kind: &str, prompt: &str, response: &str) -> Opinion {
        match self.space {
            Space::Hashed { bits } => self.read(kind, &Reading::new(kind, prompt, response, bits)),
            Space::Dense(_) => Opinion::none(),
        }
    }

    /// What the weights of a head say of a passage that its model has read; those of the lexical judge know nothing.
    pub fn head_opinion(&self, passage: &Passage<'_>, features: &Features) -> Opinion {
        match &self.space {
            Space::Dense(head) if head.widths.fit(features) => {
                self.read(passage.kind, &Reading::of(passage, features))
            }
            _ => Opinion::none(),
        }
    }

    /// (name, version) of the model that the heads were fitted on; none for the lexical judge.
    pub fn reader(&self) -> Option<(&str, &str)> {
        match &self.space {
            Space::Hashed { .. } => None,
            Space::Dense(head) => Some((&head.name, &head.version)),
        }
    }

    /// Lengths of the features that the heads take; none for the lexical judge.
    pub fn widths(&self) -> Option<Widths> {
        match &self.space {
            Space::Hashed { .. } => None,
            Space::Dense(head) => Some(head.widths),
        }
    }

    /// The data the weights were fitted on, with authors, sources and licences.
    pub fn attribution(&self) -> &str {
        &self.attribution
    }

    /// Families of claims with an expert of their own, and the cases each was fitted on.
    pub fn families(&self) -> Vec<(String, u32)> {
        self.families
            .iter()
            .map(|(name, family)| (name.clone(), family.cases))
            .collect()
    }

    pub(crate) fn read(&self, kind: &str, reading: &Reading) -> Opinion {
        match self.families.get(family_of(kind)) {
            Some(family) => self.read_known(family, kind, reading),
            None => self.read_cold(reading),
        }
    }

    fn read_known(&self, family: &Family, kind: &str, reading: &Reading) -> Opinion {
        let known =
            family.calibration.kinds.is_empty() || family.calibration.kinds.contains_key(kind);
        let mut raw = family
            .calibration
            .log_odds(family.table.dot(&reading.full), kind);
        if family.cold_coefficient != 0.0 {
            raw += family.cold_coefficient * self.cold.gated_score(reading);
        }
        let trust = family.domain.trust(&reading.words);
        let prior = family.prior_log_odds;
        let evidence = trust * (raw - prior).clamp(-EXPERT_BOUND, EXPERT_BOUND);
        let spread = 0.6 + 40.0 / f64::from(family.cases.max(1)) + if known { 0.0 } else { 0.5 };
        Opinion {
            log_odds: prior + evidence,
            prior_log_odds: prior,
            standard_error: (spread.sqrt() / trust).min(crate::lexical::OUT_OF_DOMAIN_ERROR),
            familiarity: if known {
                Familiarity::KnownKind
            } else {
                Familiarity::KnownFamily
            },
            trust,
        }
    }

    fn read_cold(&self, reading: &Reading) -> Opinion {
        let trust = self.cold.domain.trust(&reading.words);
        let evidence = self.cold.slope * self.cold.gated_score(reading);
        let order = COLD_ORDER * self.cold.table.dot(&reading.shared);
        // An unlike text widens the error and not more: the slope was chosen on families held out whole,
        // whose texts were unlike too.
        Opinion {
            log_odds: evidence.clamp(-COLD_BOUND, COLD_BOUND) + order,
            prior_log_odds: 0.0,
            standard_error: (2.5 / trust).min(crate::lexical::OUT_OF_DOMAIN_ERROR),
            familiarity: Familiarity::Unknown,
            trust,
        }
    }

    /// First 16 hexadecimal digits of the BLAKE3 of the file form.
    pub fn version(&self) -> String {
        blake3::hash(&self.to_bytes()).to_hex()[..16].to_owned()
    }
}
