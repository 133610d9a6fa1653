//! The weights of the lexical judge: what is in them, how they answer, and the file they travel in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::claim::family_of;
use crate::domain::{Domain, SEEN_BLOCKS, distinct_words};
use crate::error::WeightsError;
use crate::expert::Calibration;
use crate::features::{Sparse, View, extract};
use crate::linear::sigmoid;

/// First bytes of a weights file.
const MAGIC: &[u8; 8] = b"PLUMBLEX";
/// Version of the format and of the features; either changing makes old weights meaningless.
const VERSION: u32 = 3;
/// magic, version, payload length, BLAKE3 of the payload.
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;
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

/// Weights in a hashed table, one signed byte each: w = s·sign(q)·(q/127)², finer near zero where most weights are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    scale: f32,
    values: Vec<i8>,
}

impl Table {
    pub(crate) fn quantise(weights: &[f32]) -> Self {
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
        Self { scale, values }
    }

    /// w·x.
    pub(crate) fn dot(&self, vector: &Sparse) -> f64 {
        let sum: f32 = vector
            .indices
            .iter()
            .zip(&vector.values)
            .map(|(index, value)| {
                let q = self
                    .values
                    .get(*index as usize)
                    .map_or(0.0, |q| f32::from(*q));
                q * q.abs() * value
            })
            .sum();
        f64::from(sum * self.scale / (127.0 * 127.0))
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
    /// σ(ℓ).
    pub fn probability(&self) -> f64 {
        sigmoid(self.log_odds)
    }
}

/// The weights of the lexical judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pub(crate) bits: u32,
    pub(crate) families: BTreeMap<String, Family>,
    pub(crate) cold: Cold,
    pub(crate) attribution: String,
}

impl Weights {
    /// What the weights say of a response to a prompt, under a claim of this kind.
    pub fn opinion(&self, kind: &str, prompt: &str, response: &str) -> Opinion {
        self.read(kind, &Reading::new(kind, prompt, response, self.bits))
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

/// A finite number as its IEEE 754 bits: decimal text need not come back as the number it was, and the file is checksummed.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
struct Exact(f64);

impl From<Exact> for u64 {
    fn from(number: Exact) -> Self {
        number.0.to_bits()
    }
}

impl TryFrom<u64> for Exact {
    type Error = &'static str;

    fn try_from(bits: u64) -> Result<Self, Self::Error> {
        let number = f64::from_bits(bits);
        if number.is_finite() {
            Ok(Self(number))
        } else {
            Err("a number that is not finite")
        }
    }
}

fn exact((a, b): (f64, f64)) -> (Exact, Exact) {
    (Exact(a), Exact(b))
}

/// What a table or a domain needs besides its bytes.
#[derive(Serialize, Deserialize)]
struct TableHead {
    scale: Exact,
    novelty: (Exact, Exact),
    length: (Exact, Exact),
}

#[derive(Serialize, Deserialize)]
struct FamilyHead {
    name: String,
    head: TableHead,
    intercept: Exact,
    slope: Exact,
    kinds: BTreeMap<String, (Exact, Exact)>,
    cold_coefficient: Exact,
    prior_log_odds: Exact,
    cases: u32,
}

/// The JSON part of the payload; the tables follow it, the shared one first.
#[derive(Serialize, Deserialize)]
struct Head {
    attribution: String,
    bits: u32,
    cold: TableHead,
    cold_slope: Exact,
    families: Vec<FamilyHead>,
}

impl FamilyHead {
    fn of(name: &str, family: &Family) -> Self {
        let calibration = &family.calibration;
        Self {
            name: name.to_owned(),
            head: table_head(&family.table, &family.domain),
            intercept: Exact(calibration.intercept),
            slope: Exact(calibration.slope),
            kinds: calibration
                .kinds
                .iter()
                .map(|(kind, pair)| (kind.clone(), exact(*pair)))
                .collect(),
            cold_coefficient: Exact(family.cold_coefficient),
            prior_log_odds: Exact(family.prior_log_odds),
            cases: family.cases,
        }
    }

    fn with(self, table: Table, domain: Domain) -> (String, Family) {
        let family = Family {
            table,
            domain,
            calibration: Calibration {
                intercept: self.intercept.0,
                slope: self.slope.0,
                kinds: self
                    .kinds
                    .into_iter()
                    .map(|(kind, (a, b))| (kind, (a.0, b.0)))
                    .collect(),
            },
            cold_coefficient: self.cold_coefficient.0,
            prior_log_odds: self.prior_log_odds.0,
            cases: self.cases,
        };
        (self.name, family)
    }
}

impl Weights {
    /// The file form: magic, version, payload length, BLAKE3 of the payload, payload.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            attribution: self.attribution.clone(),
            bits: self.bits,
            cold: table_head(&self.cold.table, &self.cold.domain),
            cold_slope: Exact(self.cold.slope),
            families: self
                .families
                .iter()
                .map(|(name, family)| FamilyHead::of(name, family))
                .collect(),
        };
        // Every key in the head is a string, so it always serialises.
        let json = serde_json::to_vec(&head).unwrap_or_default();
        let mut payload = (json.len() as u32).to_le_bytes().to_vec();
        payload.extend(&json);
        put_table(&mut payload, &self.cold.table, &self.cold.domain, self.bits);
        for family in self.families.values() {
            put_table(&mut payload, &family.table, &family.domain, self.bits);
        }
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        file.extend((payload.len() as u64).to_le_bytes());
        file.extend(blake3::hash(&payload).as_bytes());
        file.extend(payload);
        file
    }

    /// Reads the file form. Errors: [`WeightsError`] for anything but exactly what [`Weights::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let payload = checked_payload(bytes)?;
        let mut reader = Reader(payload);
        let length = reader.take(4)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let head: Head = serde_json::from_slice(reader.take(length)?)
            .map_err(|error| WeightsError::Malformed(error.to_string()))?;
        if !(8..=24).contains(&head.bits) {
            return Err(WeightsError::Malformed(format!(
                "{} bits of hashing",
                head.bits
            )));
        }
        let (table, domain) = reader.table(&head.cold, head.bits)?;
        let cold = Cold {
            table,
            domain,
            slope: head.cold_slope.0,
        };
        let mut families = BTreeMap::new();
        for family in head.families {
            let (table, domain) = reader.table(&family.head, head.bits)?;
            let (name, family) = family.with(table, domain);
            families.insert(name, family);
        }
        if !reader.0.is_empty() {
            return Err(WeightsError::Malformed(format!(
                "{} bytes too many",
                reader.0.len()
            )));
        }
        Ok(Self {
            bits: head.bits,
            families,
            cold,
            attribution: head.attribution,
        })
    }
}

/// The payload, once magic, version, length and checksum hold.
fn checked_payload(bytes: &[u8]) -> Result<&[u8], WeightsError> {
    let magic = bytes.get(..8).unwrap_or(bytes);
    if !MAGIC.starts_with(magic) || magic.is_empty() {
        return Err(WeightsError::WrongMagic);
    }
    let Some((header, payload)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(WeightsError::Truncated {
            have: bytes.len(),
            need: HEADER_BYTES,
        });
    };
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found != VERSION {
        return Err(WeightsError::WrongVersion {
            found,
            expected: VERSION,
        });
    }
    let mut length = [0_u8; 8];
    length.copy_from_slice(&header[12..20]);
    let need = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if payload.len() < need {
        return Err(WeightsError::Truncated {
            have: bytes.len(),
            need: need.saturating_add(HEADER_BYTES),
        });
    }
    if payload.len() > need || blake3::hash(payload).as_bytes() != &header[20..52] {
        return Err(WeightsError::Checksum);
    }
    Ok(payload)
}

fn table_head(table: &Table, domain: &Domain) -> TableHead {
    TableHead {
        scale: Exact(f64::from(table.scale)),
        novelty: exact(domain.novelty),
        length: exact(domain.length),
    }
}

/// Writes a table and the words seen; an empty one as zeros.
fn put_table(payload: &mut Vec<u8>, table: &Table, domain: &Domain, bits: u32) {
    let values = table.values.iter().map(|v| v.to_le_bytes()[0]);
    payload.extend(values.chain(std::iter::repeat(0)).take(1 << bits));
    let seen = domain.seen.iter().copied().chain(std::iter::repeat(0));
    payload.extend(seen.take(SEEN_BLOCKS).flat_map(u64::to_le_bytes));
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WeightsError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(WeightsError::Truncated {
                have: self.0.len(),
                need: count,
            })?;
        self.0 = rest;
        Ok(taken)
    }

    fn table(&mut self, head: &TableHead, bits: u32) -> Result<(Table, Domain), WeightsError> {
        let values = self
            .take(1 << bits)?
            .iter()
            .map(|b| i8::from_le_bytes([*b]))
            .collect();
        let seen = self
            .take(8 * SEEN_BLOCKS)?
            .chunks_exact(8)
            .map(|chunk| {
                let mut block = [0_u8; 8];
                block.copy_from_slice(chunk);
                u64::from_le_bytes(block)
            })
            .collect();
        let table = Table {
            scale: head.scale.0 as f32,
            values,
        };
        let domain = Domain {
            seen,
            novelty: (head.novelty.0.0, head.novelty.1.0),
            length: (head.length.0.0, head.length.1.0),
        };
        Ok((table, domain))
    }
}
